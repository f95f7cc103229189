/* A set is judged in this order:
 *   candidate (output poisoned with NaN pattern A), reference, candidate again (pattern B);
 *   guard bands of o and lse, every input word and its bands, after each candidate run            -> CORRUPT
 *   an element that still holds both patterns was not written                                     -> WRONG
 *   reference: finite everywhere, and on the sampled rows within
 *       1e-4 (1 + |o|) (1 + L / 64), L the row's |lse|, of the f64 host row; lse within 1e-4 + 1e-6 |lse| -> an error
 *   runs A and B differ: with a NaN in one of them the output depends on what lay there           -> WRONG, else NONDET
 *   fully masked rows are exactly 0 (lse -inf)                                                    -> WRONG
 *   |o - ref| <= atol + rtol |ref|, every element                                                 -> WRONG
 *   max |o - ref| <= 2 max |low - ref| + 2 max |(ref + 0.3 - 0.3) - ref|   (two-times rule)       -> WRONG
 *   |lse - ref| <= 1e-3 + 1e-6 |ref| (the second term is f32's own step where logits are large)   -> WRONG
 *
 * low is the reference template's straightforward computation in the dtype; the last term of the two-times rule is
 * computed in the dtype. With u the dtype's unit roundoff (2^-11 f16, 2^-8 bf16) the laws hold to
 *   ones            |o - 1| <= 4 u                                     (rounded weights against an exact sum)
 *   linear          |o(v1+v2) - o(v1) - o(v2)| <= 4 u (sum of the three magnitudes) + 1e-4
 *   permute, shift  max |o' - o| <= 4 u max |v|, and the relative L2 distance <= 8 u
 *                   (weights are rounded relative to another running maximum)
 *
 * Blame: until the candidate has run, and while the reference runs, every failure of the device is the machine's.
 * Out of memory for the check's own buffers is the machine's too. */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check_diagnose.h"
#include "check_host.h"
#include "check_inputs.h"
#include "rng.h"

#define GUARD_BYTES 4096u
#define GUARD_WORD 0xc5a3u /* xor its index: no kernel writes this by accident */
#define F64_ROWS_ALL 256u
#define F64_ROWS_SAMPLED 64u
#define LSE_ATOL 1e-3
#define LSE_RTOL 1e-6
#define MIN_REPEATS 2

/* Device memory of one argument: band, tensor, band. bytes may be 0: then any write is caught. */
struct tensor {
    struct device_buffer *buffer;
    size_t bytes;
};

struct outputs {
    uint16_t *o;
    float *lse; /* NULL unless the problem has lse */
};

struct check {
    const struct device_driver *drv;
    struct device *d;
    const struct problem *p;
    const struct check_kernel *candidate, *reference;
    const struct check_rule *rule;
    void (*progress)(void *ctx, const char *stage);
    void *ctx;
    struct check_report *out;
    struct err *e;

    struct tensor tensors[ARG_N];
    struct check_inputs plain, in; /* drawn once; what the current set runs on */
    struct outputs run[2];
    float *ref_o, *ref_low, *ref_lse;
    float *decode;
    uint16_t *scratch; /* the largest input with both bands */
    double started_s, first_run_s;
    bool blame_candidate; /* the candidate has run since the device was last known good */
    json_t *sets, *laws;
    int repeats_done;
    bool repeats_cut;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void step(struct check *c, const char *stage)
{
    if (c->progress != NULL) c->progress(c->ctx, stage);
}

static void fate(struct check *c, enum fate f, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fate(struct check *c, enum fate f, const char *fmt, ...)
{
    va_list ap;
    if (c->out->fate != FATE_OK) return;
    c->out->fate = f;
    va_start(ap, fmt);
    vsnprintf(c->out->text, sizeof c->out->text, fmt, ap);
    va_end(ap);
}

static bool decided(const struct check *c, enum device_class cls)
{
    return cls != DEVICE_OK || c->out->fate != FATE_OK;
}

/* A device call other than the candidate's launch failed. */
static enum device_class device_failed(struct check *c, enum device_class cls, const struct err *why, const char *what)
{
    if (cls == DEVICE_STICKY && c->blame_candidate) {
        fate(c, FATE_CRASH, "the device context broke after the candidate ran (%s): %.600s", what, why->text);
        return DEVICE_STICKY;
    }
    err_set(c->e, ERR_DEVICE, "%s failed: %s", what, why->text);
    return DEVICE_LOST;
}

static enum device_class host_failed(void)
{
    return DEVICE_LOST; /* e is set */
}

/* ---- device memory ---- */

static size_t buffer_bytes(const struct tensor *t)
{
    return 2 * GUARD_BYTES + (t->bytes + 3) / 4 * 4;
}

static enum device_class tensors_alloc(struct check *c)
{
    size_t q = problem_q_elements(c->p), kv = problem_kv_elements(c->p), rows = problem_rows(c->p);
    const size_t bytes[ARG_N] = {[ARG_Q] = 2 * q,
                                 [ARG_K] = 2 * kv,
                                 [ARG_V] = 2 * kv,
                                 [ARG_O] = 2 * q,
                                 [ARG_LSE] = c->p->lse ? 4 * rows : 0,
                                 [ARG_REF_O] = 4 * q,
                                 [ARG_REF_LOW] = 4 * q};
    size_t total = 0;
    for (int a = 0; a < ARG_N; a++) {
        struct err why = {0};
        enum device_class cls;
        c->tensors[a].bytes = bytes[a];
        total += buffer_bytes(&c->tensors[a]);
        cls = c->drv->alloc(c->d, buffer_bytes(&c->tensors[a]), &c->tensors[a].buffer, &why);
        if (cls == DEVICE_OK) continue;
        err_set(
            c->e, ERR_DEVICE,
            "no device memory for the check (argument %s, %zu MiB so far): %s; free the device of other processes or "
            "take a smaller problem",
            arg_name((enum arg)a), total >> 20, why.text);
        return DEVICE_LOST;
    }
    return DEVICE_OK;
}

static enum device_class host_alloc(struct check *c)
{
    size_t q = problem_q_elements(c->p), kv = problem_kv_elements(c->p), rows = problem_rows(c->p);
    bool ok = true;
    for (int i = 0; i < 2; i++) {
        c->run[i].o = malloc(q * sizeof *c->run[i].o);
        ok = ok && c->run[i].o != NULL;
        if (!c->p->lse) continue;
        c->run[i].lse = malloc(rows * sizeof *c->run[i].lse);
        ok = ok && c->run[i].lse != NULL;
    }
    c->ref_o = malloc(q * sizeof *c->ref_o);
    c->ref_low = malloc(q * sizeof *c->ref_low);
    c->ref_lse = malloc(rows * sizeof *c->ref_lse);
    c->decode = check_decode_table(c->p->dtype);
    c->scratch = malloc(2 * GUARD_BYTES + 2 * (q > kv ? q : kv) + 4);
    if (!ok || c->ref_o == NULL || c->ref_low == NULL || c->ref_lse == NULL || c->decode == NULL ||
        c->scratch == NULL) {
        err_nomem(c->e);
        return host_failed();
    }
    if (check_inputs_init(&c->plain, c->p, c->e) != 0 || check_inputs_init(&c->in, c->p, c->e) != 0)
        return host_failed();
    return DEVICE_OK;
}

/* The buffer of an input as it must look before and after every run: NaN, tensor, NaN. */
static size_t input_image(struct check *c, enum arg a)
{
    const uint16_t *words = a == ARG_Q ? c->in.q : a == ARG_K ? c->in.k : c->in.v;
    size_t n = buffer_bytes(&c->tensors[a]) / 2, band = GUARD_BYTES / 2, tensor = c->tensors[a].bytes / 2;
    for (size_t i = 0; i < band; i++)
        c->scratch[i] = check_nan(c->p->dtype);
    memcpy(c->scratch + band, words, tensor * sizeof *words);
    for (size_t i = band + tensor; i < n; i++)
        c->scratch[i] = check_nan(c->p->dtype);
    return n * 2;
}

static enum device_class inputs_put(struct check *c)
{
    for (enum arg a = ARG_Q; a <= ARG_V; a++) {
        struct err why = {0};
        size_t n = input_image(c, a);
        enum device_class cls = c->drv->write(c->d, c->tensors[a].buffer, 0, c->scratch, n, &why);
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "writing the inputs");
    }
    return DEVICE_OK;
}

/* Every word of q, k, v and of the NaN around them. */
static enum device_class inputs_verify(struct check *c, const char *set)
{
    for (enum arg a = ARG_Q; a <= ARG_V; a++) {
        struct err why = {0};
        size_t n = input_image(c, a), words = n / 2, band = GUARD_BYTES / 2, tensor = c->tensors[a].bytes / 2, i = 0;
        uint16_t *device = malloc(n);
        enum device_class cls;
        if (device == NULL) {
            err_nomem(c->e);
            return host_failed();
        }
        cls = c->drv->read(c->d, c->tensors[a].buffer, 0, device, n, &why);
        if (cls != DEVICE_OK) {
            free(device);
            return device_failed(c, cls, &why, "reading the inputs back");
        }
        if (memcmp(device, c->scratch, n) == 0) i = words;
        while (i < words && device[i] == c->scratch[i])
            i++;
        if (i < words && i >= band && i < band + tensor)
            fate(c, FATE_CORRUPT, "%s: the kernel changed its input %s at element %zu: 0x%04x became 0x%04x", set,
                 arg_name(a), i - band, c->scratch[i], device[i]);
        else if (i < words)
            fate(c, FATE_CORRUPT, "%s: the kernel wrote %s its input %s, %zu bytes away from it", set,
                 i < band ? "before" : "after", arg_name(a), i < band ? 2 * (band - i) : 2 * (i - band - tensor));
        free(device);
        if (c->out->fate != FATE_OK) break;
    }
    return DEVICE_OK;
}

static uint32_t poison_word(const struct check *c, enum arg a, int which)
{
    uint32_t half = check_poison(c->p->dtype, which);
    if (a == ARG_O) return half << 16 | half;
    return which == 0 ? 0x7fc1dead : 0xffe2beef; /* f32 NaNs */
}

static uint16_t guard_word(size_t i)
{
    return (uint16_t)(GUARD_WORD ^ i);
}

/* Fills an output with NaN and both its bands with the guard pattern. */
static enum device_class output_poison(struct check *c, enum arg a, int which)
{
    const struct tensor *t = &c->tensors[a];
    size_t padded = (t->bytes + 3) / 4 * 4, band = GUARD_BYTES / 2, odd = (padded - t->bytes) / 2;
    uint16_t words[GUARD_BYTES / 2 + 1];
    struct err why = {0};
    enum device_class cls = DEVICE_OK;
    for (size_t i = 0; i < band + odd; i++)
        words[i] = guard_word(i);
    if (padded > 0) cls = c->drv->fill(c->d, t->buffer, GUARD_BYTES, padded, poison_word(c, a, which), &why);
    if (cls == DEVICE_OK) cls = c->drv->write(c->d, t->buffer, 0, words, GUARD_BYTES, &why);
    if (cls == DEVICE_OK)
        cls = c->drv->write(c->d, t->buffer, GUARD_BYTES + t->bytes, words, GUARD_BYTES + 2 * odd, &why);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "poisoning the outputs");
}

static enum device_class guards_verify(struct check *c, enum arg a, const char *stage)
{
    const struct tensor *t = &c->tensors[a];
    const size_t offset[2] = {0, GUARD_BYTES + t->bytes};
    uint16_t words[GUARD_BYTES / 2];
    for (int side = 0; side < 2; side++) {
        struct err why = {0};
        enum device_class cls = c->drv->read(c->d, t->buffer, offset[side], words, sizeof words, &why);
        size_t n = GUARD_BYTES / 2, first = n, bad = 0;
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "reading the guard bands");
        for (size_t i = 0; i < n; i++) {
            if (words[i] == guard_word(i)) continue;
            if (bad++ == 0) first = i;
        }
        if (bad == 0) continue;
        fate(c, FATE_CORRUPT, "%s: wrote %s its output %s: %zu of the band's %zu words changed, the first %zu bytes %s",
             stage, side == 0 ? "before" : "past the end of", arg_name(a), bad, n,
             side == 0 ? GUARD_BYTES - 2 * first : 2 * first, side == 0 ? "in front of it" : "past its end");
        return DEVICE_OK;
    }
    return DEVICE_OK;
}

/* ---- launches ---- */

static void launch_of(const struct check *c, const struct check_kernel *k, struct device_launch *l)
{
    *l = (struct device_launch){.kernel = k->kernel, .geometry = k->geometry};
    for (int i = 0; i < k->geometry->nargs; i++)
        l->args[i] = (struct device_arg){.buffer = c->tensors[k->geometry->args[i]].buffer, .offset = GUARD_BYTES};
}

static enum device_class fetch(struct check *c, enum arg a, void *to)
{
    struct err why = {0};
    enum device_class cls = c->drv->read(c->d, c->tensors[a].buffer, GUARD_BYTES, to, c->tensors[a].bytes, &why);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "reading the outputs");
}

/* One run with poisoned outputs, fetched to `to`, guard bands verified. */
static enum device_class candidate_run(struct check *c, int which, struct outputs *to, const char *stage)
{
    struct device_launch l;
    struct err why = {0};
    enum device_class cls;
    step(c, stage);
    if ((cls = output_poison(c, ARG_O, which)) != DEVICE_OK) return cls;
    if ((cls = output_poison(c, ARG_LSE, which)) != DEVICE_OK) return cls;
    launch_of(c, c->candidate, &l);
    c->blame_candidate = true;
    cls = c->drv->run(c->d, &l, &why);
    if (cls == DEVICE_FATE) {
        fate(c, FATE_LAUNCH, "%s: %.900s", stage, why.text);
        return DEVICE_OK;
    }
    if (cls == DEVICE_STICKY) {
        fate(c, FATE_CRASH, "%s: %.900s", stage, why.text);
        return DEVICE_STICKY;
    }
    if (cls != DEVICE_OK) {
        err_set(c->e, ERR_DEVICE, "%s", why.text);
        return DEVICE_LOST;
    }
    if ((cls = fetch(c, ARG_O, to->o)) != DEVICE_OK) return cls;
    if (to->lse != NULL && (cls = fetch(c, ARG_LSE, to->lse)) != DEVICE_OK) return cls;
    cls = guards_verify(c, ARG_O, stage);
    if (!decided(c, cls)) cls = guards_verify(c, ARG_LSE, stage);
    return cls;
}

static enum device_class reference_run(struct check *c)
{
    struct device_launch l;
    struct err why = {0};
    enum device_class cls;
    step(c, "reference");
    for (enum arg a = ARG_LSE; a <= ARG_REF_LOW; a++)
        if ((cls = output_poison(c, a, 0)) != DEVICE_OK) return cls;
    launch_of(c, c->reference, &l);
    cls = c->drv->run(c->d, &l, &why);
    if (cls != DEVICE_OK) {
        err_set(c->e, ERR_DEVICE, "the reference kernel did not run: %s", why.text);
        return DEVICE_LOST;
    }
    if ((cls = fetch(c, ARG_REF_O, c->ref_o)) != DEVICE_OK) return cls;
    if ((cls = fetch(c, ARG_REF_LOW, c->ref_low)) != DEVICE_OK) return cls;
    return c->p->lse ? fetch(c, ARG_LSE, c->ref_lse) : DEVICE_OK;
}

/* ---- the reference's trust ---- */

static enum device_class reference_row(struct check *c, const char *set, size_t row, double *o, double *worst)
{
    size_t dim = (size_t)c->p->head_dim;
    double lse, scale;
    check_row_f64(c->p, c->in.q, c->in.k, c->in.v, row, o, &lse);
    scale = 1 + (isfinite(lse) ? fabs(lse) : 0) / 64;
    for (size_t i = 0; i < dim; i++) {
        double got = (double)c->ref_o[row * dim + i], d = fabs(got - o[i]);
        char place[96];
        if (d > *worst) *worst = d;
        if (d <= 1e-4 * (1 + fabs(o[i])) * scale) continue;
        check_place(c->p, row * dim + i, place, sizeof place);
        err_set(c->e, ERR_DEVICE,
                "reference kernel disagrees with f64 on %s inputs at %s: device %.9g, host %.9g; the device or its "
                "compiler "
                "computes wrongly, or the template `reference` was changed; nothing can be proved here",
                set, place, got, o[i]);
        return DEVICE_LOST;
    }
    if (c->p->lse) {
        double got = (double)c->ref_lse[row];
        bool same = isinf(lse) ? got == lse : fabs(got - lse) <= 1e-4 + LSE_RTOL * fabs(lse);
        if (same) return DEVICE_OK;
        err_set(c->e, ERR_DEVICE,
                "reference kernel disagrees with f64 on %s inputs in the lse of row %zu: device %.9g, host %.9g; "
                "nothing can be "
                "proved here",
                set, row, got, lse);
        return DEVICE_LOST;
    }
    return DEVICE_OK;
}

/* Rows are sampled at random, but the first row of the first head and the last row of the last are always among them. */
static enum device_class reference_verify(struct check *c, const char *set, size_t *rows, double *worst)
{
    size_t all = problem_rows(c->p), n = all <= F64_ROWS_ALL ? all : F64_ROWS_SAMPLED,
           elements = problem_q_elements(c->p);
    double *o = malloc((size_t)c->p->head_dim * sizeof *o);
    enum device_class cls = DEVICE_OK;
    struct rng r;
    if (o == NULL) {
        err_nomem(c->e);
        return host_failed();
    }
    rng_init(&r, c->rule->seed, "check:rows");
    *worst = 0;
    for (size_t i = 0; i < n && cls == DEVICE_OK; i++) {
        size_t row = i == 0 ? 0 : i == n - 1 ? all - 1 : n == all ? i : (size_t)rng_below(&r, all);
        cls = reference_row(c, set, row, o, worst);
    }
    *rows = n;
    for (size_t i = 0; i < elements && cls == DEVICE_OK; i++)
        if (!isfinite(c->ref_o[i]) || !isfinite(c->ref_low[i])) {
            char place[96];
            check_place(c->p, i, place, sizeof place);
            err_set(c->e, ERR_DEVICE,
                    "reference kernel gives %g (low precision %g) on %s inputs at %s; nothing can be proved here",
                    (double)c->ref_o[i], (double)c->ref_low[i], set, place);
            cls = DEVICE_LOST;
        }
    free(o);
    return cls;
}

/* ---- judgement ---- */

/* Runs A and B: unwritten elements, then differences. */
static void judge_runs(struct check *c, const char *set, const struct outputs *a, const struct outputs *b, int which_a,
                       int which_b)
{
    size_t n = problem_q_elements(c->p), rows = problem_rows(c->p), unwritten = 0, differ = 0, first_u = 0, first_d = 0;
    bool nan = false;
    char place[96];
    uint16_t pa = check_poison(c->p->dtype, which_a), pb = check_poison(c->p->dtype, which_b);
    for (size_t i = 0; i < n; i++) {
        if (a->o[i] == b->o[i]) continue;
        if (a->o[i] == pa && b->o[i] == pb) {
            if (unwritten++ == 0) first_u = i;
        } else if (differ++ == 0) {
            first_d = i;
            nan = !isfinite(c->decode[a->o[i]]) || !isfinite(c->decode[b->o[i]]);
        }
    }
    if (unwritten > 0) {
        check_place(c->p, first_u, place, sizeof place);
        fate(c, FATE_WRONG, "%s: %zu of %zu output elements (%.3g%%) were never written, the first at %s", set,
             unwritten, n, 100.0 * (double)unwritten / (double)n, place);
    }
    if (differ > 0) {
        check_place(c->p, first_d, place, sizeof place);
        fate(c, nan ? FATE_WRONG : FATE_NONDET,
             "%s: two runs on the same input differ in %zu of %zu elements, first at %s: %.6g and %.6g%s", set, differ,
             n, place, (double)c->decode[a->o[first_d]], (double)c->decode[b->o[first_d]],
             nan ? " (the result depends on what lay in the output before)" : "");
    }
    if (a->lse == NULL || memcmp(a->lse, b->lse, rows * sizeof *a->lse) == 0) return;
    for (size_t i = 0; i < rows; i++)
        if (memcmp(&a->lse[i], &b->lse[i], sizeof *a->lse) != 0) {
            nan = isnan(a->lse[i]) || isnan(b->lse[i]);
            fate(c, nan ? FATE_WRONG : FATE_NONDET, "%s: %s in row %zu (of all rows): %.9g and %.9g", set,
                 nan ? "lse not written, or not a number," : "lse differs between two runs", i, (double)a->lse[i],
                 (double)b->lse[i]);
            return;
        }
}

/* Largest lse error; the row of the first violation in *bad_row (rows when none). */
static double lse_error(const struct check *c, const float *lse, size_t *bad_row)
{
    size_t rows = problem_rows(c->p);
    double worst = 0;
    *bad_row = rows;
    for (size_t i = 0; i < rows; i++) {
        double got = (double)lse[i], want = (double)c->ref_lse[i], d = got == want ? 0 : fabs(got - want);
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
        if (!(d <= LSE_ATOL + LSE_RTOL * fabs(want)) && *bad_row == rows) *bad_row = i;
    }
    return worst;
}

/* Rows that see no key. */
static void judge_masked(struct check *c, const char *set, const struct outputs *o)
{
    size_t dim = (size_t)c->p->head_dim, rows = problem_rows(c->p);
    for (size_t row = 0; row < rows; row++) {
        if (problem_keys_seen(c->p, (int)(row % (size_t)c->p->seq_q)) > 0) continue;
        for (size_t i = row * dim; i < (row + 1) * dim; i++)
            if ((o->o[i] & 0x7fff) != 0) {
                char place[96];
                check_place(c->p, i, place, sizeof place);
                fate(c, FATE_WRONG, "%s: a row that sees no key must be exactly 0, but is %.6g at %s", set,
                     (double)c->decode[o->o[i]], place);
                return;
            }
        if (o->lse != NULL && !(isinf(o->lse[row]) && o->lse[row] < 0)) {
            fate(c, FATE_WRONG, "%s: a row that sees no key must have lse -inf, but row %zu (of all rows) has %.6g",
                 set, row, (double)o->lse[row]);
            return;
        }
    }
}

static json_t *worst_json(const struct check *c, const struct check_compare *cmp)
{
    json_t *list = json_array();
    for (int i = 0; i < cmp->nworst && list != NULL; i++)
        json_array_append_new(list, check_element_json(c->p, &cmp->worst[i]));
    return list;
}

/* The sentence for a WRONG output, and first bad index and pattern for the report. */
static int judge_values(struct check *c, const char *set, const struct check_compare *cmp, json_t *j)
{
    struct check_limit limit = {.atol = c->rule->atol, .rtol = c->rule->rtol, .bound = cmp->bound};
    struct check_diagnosis why;
    char place[96];
    if (check_diagnose(c->p, c->run[0].o, c->ref_o, &limit, c->decode, &why, c->e) != 0) return -1;
    if (why.bad == 0) return 0;
    check_place(c->p, why.first.at, place, sizeof place);
    json_object_set_new(j, "first_bad", check_element_json(c->p, &why.first));
    json_object_set_new(j, "pattern", json_string(why.pattern));
    fate(c, FATE_WRONG,
         "%s: %zu of %zu elements (%.3g%%) are wrong%s: %s; first at %s: got %.6g, expected %.6g; %zu not finite; "
         "largest error "
         "%.4g (atol %g, rtol %g), %.3g times what the two-times rule allows (%.4g)",
         set, why.bad, cmp->n, 100.0 * (double)why.bad / (double)cmp->n,
         cmp->bad == 0 ? " by the two-times rule alone" : "", why.pattern, place, why.first.got, why.first.expected,
         cmp->nonfinite, cmp->nonfinite > 0 ? INFINITY : cmp->max_abs, c->rule->atol, c->rule->rtol,
         cmp->nonfinite > 0 ? INFINITY : cmp->max_abs / cmp->bound, cmp->bound);
    return 0;
}

static enum device_class judge(struct check *c, const char *set, size_t rows_f64, double reference_error)
{
    struct check_compare cmp;
    json_t *j;
    double lse = 0, ratio;
    size_t bad_row = 0;
    check_compare(c->p, c->run[0].o, c->ref_o, c->ref_low, c->rule->atol, c->rule->rtol, c->decode, &cmp);
    ratio = cmp.max_abs > 0 ? cmp.max_abs / cmp.bound : 0;
    j = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:I, s:o}", "set", set, "max_abs",
                  check_number(cmp.max_abs), "rel_l2", check_number(cmp.rel_l2), "two_times_bound",
                  check_number(cmp.bound), "two_times_ratio", check_number(ratio), "max_low", check_number(cmp.max_low),
                  "max_step", check_number(cmp.max_step), "elements", (json_int_t)cmp.n, "bad", (json_int_t)cmp.bad,
                  "not_finite", (json_int_t)cmp.nonfinite, "worst", worst_json(c, &cmp), "rows_f64",
                  (json_int_t)rows_f64, "reference_error", check_number(reference_error));
    if (j == NULL) {
        err_nomem(c->e);
        return host_failed();
    }
    json_array_append_new(c->sets, j);
    judge_masked(c, set, &c->run[0]);
    if ((cmp.bad > 0 || cmp.max_abs > cmp.bound) && judge_values(c, set, &cmp, j) != 0) return host_failed();
    if (c->p->lse) {
        lse = lse_error(c, c->run[0].lse, &bad_row);
        json_object_set_new(j, "lse_error", check_number(lse));
        if (bad_row < problem_rows(c->p))
            fate(c, FATE_WRONG,
                 "%s: lse is off by up to %.4g (limit %g), first in row %zu (of all rows): got %.9g, expected %.9g",
                 set, lse, LSE_ATOL, bad_row, (double)c->run[0].lse[bad_row], (double)c->ref_lse[bad_row]);
    }
    json_object_set_new(j, "ok", json_boolean(c->out->fate == FATE_OK));
    return DEVICE_OK;
}

/* ---- the stages ---- */

static enum device_class set_run(struct check *c, enum check_set s)
{
    const char *name = check_set_name(s);
    size_t rows = 0;
    double worst = 0, t;
    enum device_class cls;
    check_inputs_stress(&c->in, &c->plain, c->p, s, c->rule->seed, c->decode);
    if ((cls = inputs_put(c)) != DEVICE_OK) return cls;
    t = now_s();
    if (decided(c, cls = candidate_run(c, 0, &c->run[0], name))) return cls;
    if (s == CHECK_SET_PLAIN) c->first_run_s = now_s() - t;
    if (decided(c, cls = inputs_verify(c, name))) return cls; /* else the reference would be asked another question */
    if (decided(c, cls = reference_run(c))) return cls;
    if (decided(c, cls = candidate_run(c, 1, &c->run[1], name))) return cls;
    if (decided(c, cls = inputs_verify(c, name))) return cls;
    step(c, "comparing");
    if ((cls = reference_verify(c, name, &rows, &worst)) != DEVICE_OK) return cls;
    judge_runs(c, name, &c->run[0], &c->run[1], 0, 1);
    return judge(c, name, rows, worst); /* numbers also for a set that has failed */
}

static const struct check_law_limit {
    const char *what;
    double absolute, value, relative_l2; /* in units of u */
} law_limits[CHECK_LAW_N] = {
    [CHECK_LAW_ONES] = {"V of ones does not give ones", 4, 0, 0},
    [CHECK_LAW_LINEAR] = {"not linear in V", 0, 4, 0},
    [CHECK_LAW_PERMUTE] = {"permuting keys together with their values changes the output", 0, 0, 8},
    [CHECK_LAW_SHIFT] = {"adding a constant to the logits of a row changes the output", 0, 0, 8},
};

static double largest(const struct check *c, const uint16_t *words, size_t n)
{
    double m = 0;
    for (size_t i = 0; i < n; i++)
        m = fmax(m, fabs((double)c->decode[words[i]]));
    return m;
}

/* ref_o holds what the law predicts, ref_low the magnitudes that went into it. */
static void judge_law(struct check *c, enum check_law l)
{
    const struct check_law_limit *limit = &law_limits[l];
    const char *name = check_law_name(l);
    size_t n = problem_q_elements(c->p), bad = 0, first = 0;
    double u = check_unit(c->p->dtype), constant = limit->absolute * u, worst = 0, error2 = 0, sum2 = 0, l2;
    bool ok;
    char place[96];
    if (limit->relative_l2 > 0) constant = 4 * u * largest(c, c->in.v, problem_kv_elements(c->p));
    if (limit->value > 0) constant = 1e-4;
    for (size_t i = 0; i < n; i++) {
        double got = (double)c->decode[c->run[0].o[i]], want = (double)c->ref_o[i];
        double d = isfinite(got) ? fabs(got - want) : INFINITY;
        double allowed = constant + limit->value * u * ((double)c->ref_low[i] + fabs(got));
        worst = fmax(worst, d);
        error2 += d * d;
        sum2 += want * want;
        if (!(d <= allowed) && bad++ == 0) first = i;
    }
    l2 = error2 > 0 ? sqrt(error2 / fmax(sum2, 1e-30)) : 0;
    ok = bad == 0 && (limit->relative_l2 <= 0 || l2 <= limit->relative_l2 * u);
    json_array_append_new(c->laws, json_pack("{s:s, s:o, s:o, s:o, s:I, s:b}", "law", name, "max_abs",
                                             check_number(worst), "rel_l2", check_number(l2), "allowed",
                                             check_number(constant), "bad", (json_int_t)bad, "ok", ok));
    if (ok) return;
    check_place(c->p, first, place, sizeof place);
    fate(c, FATE_WRONG,
         "law `%s`: %s: %zu of %zu elements, first at %s (got %.6g, the law predicts %.6g), largest difference %.4g, "
         "relative L2 "
         "%.3g",
         name, limit->what, bad, n, place, (double)c->decode[c->run[0].o[first]], (double)c->ref_o[first], worst, l2);
}

static enum device_class law_run(struct check *c, enum check_law l)
{
    size_t n = problem_q_elements(c->p), dim = (size_t)c->p->head_dim;
    int runs = check_law_runs(l);
    enum device_class cls;
    if (l == CHECK_LAW_PERMUTE && c->p->mask != MASK_NONE) {
        json_array_append_new(
            c->laws, json_pack("{s:s, s:s}", "law", check_law_name(l), "not_run", "holds only under the full mask"));
        return DEVICE_OK;
    }
    for (size_t i = 0; i < n; i++) {
        bool seen = problem_keys_seen(c->p, (int)(i / dim % (size_t)c->p->seq_q)) > 0;
        c->ref_o[i] = l == CHECK_LAW_ONES && seen ? 1 : 0;
        c->ref_low[i] = 0;
    }
    for (int run = 0; run < runs; run++) {
        if (check_inputs_law(&c->in, &c->plain, c->p, l, run, c->rule->seed, c->decode, c->e) != 0)
            return host_failed();
        if ((cls = inputs_put(c)) != DEVICE_OK) return cls;
        if (decided(c, cls = candidate_run(c, run % 2, &c->run[0], check_law_name(l)))) return cls;
        for (size_t i = 0; i < n && run < runs - 1; i++) {
            c->ref_o[i] += c->decode[c->run[0].o[i]];
            c->ref_low[i] += fabsf(c->decode[c->run[0].o[i]]);
        }
    }
    judge_law(c, l);
    return DEVICE_OK;
}

/* Further runs of the plain set against run A, until `repeats` or the time box; inputs verified once more at the end. */
static enum device_class repeats_run(struct check *c)
{
    struct outputs a = c->run[0], *b = &c->run[1];
    enum device_class cls;
    int wanted = c->rule->repeats;
    for (int i = 0; i < wanted; i++) {
        double left = c->rule->box_s - (now_s() - c->started_s);
        if (c->rule->box_s > 0 && i >= MIN_REPEATS && left < c->first_run_s) {
            c->repeats_cut = true;
            break;
        }
        if (decided(c, cls = candidate_run(c, 1, b, "repeats"))) return cls;
        c->repeats_done++;
        judge_runs(c, "repeats", &a, b, 0, 1);
        if (c->out->fate != FATE_OK) {
            char more[64];
            snprintf(more, sizeof more, "; in repeat %d of %d", i + 1, wanted);
            strncat(c->out->text, more, sizeof c->out->text - strlen(c->out->text) - 1);
            return DEVICE_OK;
        }
    }
    return wanted > 0 ? inputs_verify(c, "repeats") : DEVICE_OK;
}

static enum device_class stages(struct check *c)
{
    enum device_class cls;
    check_inputs_plain(&c->plain, c->p, c->rule->seed);
    if (decided(c, cls = set_run(c, CHECK_SET_PLAIN))) return cls;
    if (decided(c, cls = repeats_run(c))) return cls;
    if (c->rule->level != CHECK_FULL) return DEVICE_OK;
    for (int s = CHECK_SET_PLAIN + 1; s < CHECK_SET_N; s++)
        if (decided(c, cls = set_run(c, (enum check_set)s))) return cls;
    for (int l = 0; l < CHECK_LAW_N; l++)
        if (decided(c, cls = law_run(c, (enum check_law)l))) return cls;
    return DEVICE_OK;
}

/* ---- ends ---- */

static bool takes(const struct check_kernel *k, enum arg a)
{
    for (int i = 0; i < k->geometry->nargs; i++)
        if (k->geometry->args[i] == a) return true;
    return false;
}

static int check_open(struct check *c)
{
    c->sets = json_array();
    c->laws = json_array();
    if (c->sets == NULL || c->laws == NULL) return err_nomem(c->e);
    if (!takes(c->reference, ARG_REF_O) || !takes(c->reference, ARG_REF_LOW) ||
        (c->p->lse && !takes(c->reference, ARG_LSE)))
        return err_set(c->e, ERR_INPUT, "the template `reference` must have the arguments ref_o, ref_low and lse");
    if (!takes(c->candidate, ARG_O) || takes(c->candidate, ARG_REF_O) || takes(c->candidate, ARG_REF_LOW))
        return err_set(c->e, ERR_INPUT, "a candidate must have the argument o, and neither ref_o nor ref_low");
    if (c->p->lse && !takes(c->candidate, ARG_LSE))
        fate(c, FATE_WRONG, "the problem asks for lse, but the template has no argument `lse`");
    return 0;
}

static int report_json(struct check *c)
{
    const struct check_rule *r = c->rule;
    const char *why = c->repeats_cut ? "time box" : c->repeats_done == r->repeats ? "all done" : "stopped at a failure";
    c->out->json = json_pack("{s:s, s:s, s:I, s:f, s:f, s:s, s:O, s:O, s:{s:i, s:i, s:s, s:f}, s:f, s:f}", "level",
                             r->level == CHECK_FULL ? "full" : "quick", "fate", fate_name(c->out->fate), "seed",
                             (json_int_t)r->seed, "atol", r->atol, "rtol", r->rtol, "text", c->out->text, "sets",
                             c->sets, "laws", c->laws, "repeats", "wanted", r->repeats, "done", c->repeats_done, "why",
                             why, "box_s", r->box_s, "first_run_s", c->first_run_s, "seconds", now_s() - c->started_s);
    return c->out->json != NULL ? 0 : err_nomem(c->e);
}

static void check_close(struct check *c)
{
    for (int a = 0; a < ARG_N; a++)
        if (c->tensors[a].buffer != NULL) c->drv->free(c->d, c->tensors[a].buffer);
    for (int i = 0; i < 2; i++) {
        free(c->run[i].o);
        free(c->run[i].lse);
    }
    check_inputs_free(&c->plain);
    check_inputs_free(&c->in);
    free(c->ref_o);
    free(c->ref_low);
    free(c->ref_lse);
    free(c->decode);
    free(c->scratch);
    json_decref(c->sets);
    json_decref(c->laws);
}

enum device_class check_run(const struct device_driver *drv, struct device *d, const struct problem *p,
                            const struct check_kernel *candidate, const struct check_kernel *reference,
                            const struct check_rule *rule, void (*progress)(void *ctx, const char *stage), void *ctx,
                            struct check_report *out, struct err *e)
{
    struct check c = {.drv = drv,
                      .d = d,
                      .p = p,
                      .candidate = candidate,
                      .reference = reference,
                      .rule = rule,
                      .progress = progress,
                      .ctx = ctx,
                      .out = out,
                      .e = e,
                      .started_s = now_s()};
    enum device_class cls = DEVICE_OK;
    *out = (struct check_report){.fate = FATE_OK};
    if (check_open(&c) != 0) cls = host_failed();
    if (!decided(&c, cls)) cls = tensors_alloc(&c);
    if (!decided(&c, cls)) cls = host_alloc(&c);
    if (!decided(&c, cls)) cls = stages(&c);
    if (cls != DEVICE_LOST && report_json(&c) != 0) cls = host_failed();
    check_close(&c);
    if (cls == DEVICE_LOST) check_report_free(out);
    return cls;
}

void check_report_free(struct check_report *r)
{
    if (r == NULL) return;
    json_decref(r->json);
    r->json = NULL;
}
