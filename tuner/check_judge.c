/* Judgement of one set in the order of check.c's head.
 *
 * low is the reference template's straightforward computation in the dtype; the last term of the two-times rule is
 * computed in the dtype. With u the dtype's unit roundoff (2^-11 f16, 2^-8 bf16) the laws hold to
 *   ones            |o - 1| <= 4 u                                     (rounded weights against an exact sum)
 *   linear          |o(v1+v2) - o(v1) - o(v2)| <= 4 u (sum of the three magnitudes) + 1e-4
 *   permute, shift  max |o' - o| <= 4 u max |v|, and the relative L2 distance <= 8 u
 *                   (weights are rounded relative to another running maximum) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_diagnose.h"
#include "check_host.h"
#include "check_private.h"
#include "rng.h"

#define F64_ROWS_ALL 256u
#define F64_ROWS_SAMPLED 64u

struct rows {
    const struct check *c;
    size_t n, row[F64_ROWS_ALL];
    double lse[F64_ROWS_ALL];
    double *o; /* n x head_dim */
};

static void rows_compute(void *ctx, size_t first, size_t end)
{
    struct rows *r = ctx;
    const struct check_inputs *in = r->c->now;
    for (size_t i = first; i < end; i++)
        check_row_f64(r->c->p, in->q, in->k, in->v, r->row[i], r->o + i * (size_t)r->c->p->head_dim, &r->lse[i]);
}

/* The reference's row against the host's. */
static enum device_class reference_row(struct check *c, const char *set, size_t row, const double *o, double lse,
                                       double *worst)
{
    size_t dim = (size_t)c->p->head_dim;
    double scale = 1 + (isfinite(lse) ? fabs(lse) : 0) / 64, got;
    for (size_t i = 0; i < dim; i++) {
        double d = fabs((got = (double)c->ref_o[row * dim + i]) - o[i]);
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
    if (!c->p->lse) return DEVICE_OK;
    got = (double)c->ref_lse[row];
    if (isinf(lse) ? got == lse : fabs(got - lse) <= 1e-4 + CHECK_LSE_RTOL * fabs(lse)) return DEVICE_OK;
    err_set(c->e, ERR_DEVICE,
            "reference kernel disagrees with f64 on %s inputs in the lse of row %zu: device %.9g, host %.9g; nothing "
            "can be "
            "proved here",
            set, row, got, lse);
    return DEVICE_LOST;
}

/* Rows are sampled at random, but the first row of the first head and the last row of the last are always among them. */
static void rows_choose(struct rows *r)
{
    const size_t all = problem_rows(r->c->p);
    struct rng rng;
    rng_init(&rng, r->c->rule->seed, "check:rows");
    r->n = all <= F64_ROWS_ALL ? all : F64_ROWS_SAMPLED;
    for (size_t i = 0; i < r->n; i++)
        r->row[i] = i == 0 ? 0 : i == r->n - 1 ? all - 1 : r->n == all ? i : (size_t)rng_below(&rng, all);
}

enum device_class check_trust_reference(struct check *c, const char *set, size_t *rows, double *worst)
{
    const size_t dim = (size_t)c->p->head_dim;
    struct rows r = {.c = c};
    enum device_class cls = DEVICE_OK;
    char place[96];
    rows_choose(&r);
    r.o = malloc(r.n * dim * sizeof *r.o);
    if (r.o == NULL) {
        err_nomem(c->e);
        return DEVICE_LOST;
    }
    parallel_for(c->threads, r.n, 1, rows_compute, &r);
    *worst = 0;
    *rows = r.n;
    for (size_t i = 0; i < r.n && cls == DEVICE_OK; i++)
        cls = reference_row(c, set, r.row[i], r.o + i * dim, r.lse[i], worst);
    if (cls == DEVICE_OK && c->ref_bad != SIZE_MAX) {
        check_place(c->p, c->ref_bad, place, sizeof place);
        err_set(c->e, ERR_DEVICE,
                "reference kernel gives %g (low precision %g) on %s inputs at %s; nothing can be proved here",
                (double)c->ref_o[c->ref_bad], (double)c->ref_low[c->ref_bad], set, place);
        cls = DEVICE_LOST;
    }
    free(r.o);
    return cls;
}

struct difference {
    size_t unwritten, differ, first_unwritten, first_differ;
};

/* Counts in the chunks that differ; the others are equal bit for bit. */
static struct difference difference_of(const struct check *c)
{
    const size_t n = problem_q_elements(c->p), chunks = (2 * n + 2 * CHECK_GUARD_BYTES - 1) / TRANSFER_CHUNK + 1;
    const uint16_t *a = c->run[0].o, *b = c->run[1].o;
    const uint16_t pa = check_poison(c->p->dtype, 0), pb = check_poison(c->p->dtype, 1);
    struct difference d = {0};
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        const size_t from = chunk * TRANSFER_CHUNK, to = from + TRANSFER_CHUNK;
        if (!c->image_o.differs[chunk]) continue;
        for (size_t i = from > CHECK_GUARD_BYTES ? (from - CHECK_GUARD_BYTES) / 2 : 0;
             i < (to - CHECK_GUARD_BYTES) / 2 && i < n; i++) {
            if (a[i] == b[i]) continue;
            if (a[i] == pa && b[i] == pb) {
                if (d.unwritten++ == 0) d.first_unwritten = i;
            } else if (d.differ++ == 0) {
                d.first_differ = i;
            }
        }
    }
    return d;
}

static void judge_lse_runs(struct check *c, const char *set)
{
    const float *a = c->run[0].lse, *b = c->run[1].lse;
    for (size_t i = 0; a != NULL && i < problem_rows(c->p); i++) {
        bool nan;
        if (!c->image_lse.differs[(CHECK_GUARD_BYTES + 4 * i) / TRANSFER_CHUNK] || memcmp(&a[i], &b[i], sizeof *a) == 0)
            continue;
        nan = isnan(a[i]) || isnan(b[i]);
        check_fate(c, nan ? FATE_WRONG : FATE_NONDET, "%s: %s in row %zu (of all rows): %.9g and %.9g", set,
                   nan ? "lse not written, or not a number," : "lse differs between two runs", i, (double)a[i],
                   (double)b[i]);
        return;
    }
}

void check_judge_runs(struct check *c, const char *set)
{
    const size_t n = problem_q_elements(c->p);
    const struct difference d = difference_of(c);
    char place[96];
    if (d.unwritten > 0) {
        check_place(c->p, d.first_unwritten, place, sizeof place);
        check_fate(c, FATE_WRONG, "%s: %zu of %zu output elements (%.3g%%) were never written, the first at %s", set,
                   d.unwritten, n, 100.0 * (double)d.unwritten / (double)n, place);
    }
    if (d.differ > 0) {
        const double a = (double)c->decode[c->run[0].o[d.first_differ]];
        const double b = (double)c->decode[c->run[1].o[d.first_differ]];
        const bool nan = !isfinite(a) || !isfinite(b);
        check_place(c->p, d.first_differ, place, sizeof place);
        check_fate(c, nan ? FATE_WRONG : FATE_NONDET,
                   "%s: two runs on the same input differ in %zu of %zu elements, first at %s: %.6g and %.6g%s", set,
                   d.differ, n, place, a, b, nan ? " (the result depends on what lay in the output before)" : "");
    }
    judge_lse_runs(c, set);
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
        if (!(d <= CHECK_LSE_ATOL + CHECK_LSE_RTOL * fabs(want)) && *bad_row == rows) *bad_row = i;
    }
    return worst;
}

/* Rows that see no key. */
static void judge_masked(struct check *c, const char *set, const struct check_outputs *o)
{
    size_t dim = (size_t)c->p->head_dim, rows = problem_rows(c->p);
    for (size_t row = 0; row < rows; row++) {
        if (problem_keys_seen(c->p, (int)(row % (size_t)c->p->seq_q)) > 0) continue;
        for (size_t i = row * dim; i < (row + 1) * dim; i++)
            if ((o->o[i] & 0x7fff) != 0) {
                char place[96];
                check_place(c->p, i, place, sizeof place);
                check_fate(c, FATE_WRONG, "%s: a row that sees no key must be exactly 0, but is %.6g at %s", set,
                           (double)c->decode[o->o[i]], place);
                return;
            }
        if (o->lse != NULL && !(isinf(o->lse[row]) && o->lse[row] < 0)) {
            check_fate(c, FATE_WRONG,
                       "%s: a row that sees no key must have lse -inf, but row %zu (of all rows) has %.6g", set, row,
                       (double)o->lse[row]);
            return;
        }
    }
}

static json_t *worst_json(const struct check *c, const struct check_compare *cmp)
{
    json_t *list = json_array();
    for (int i = 0; i < cmp->worst.n && list != NULL; i++)
        json_array_append_new(list, check_element_json(c->p, &cmp->worst.of[i]));
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
    check_fate(
        c, FATE_WRONG,
        "%s: %zu of %zu elements (%.3g%%) are wrong%s: %s; first at %s: got %.6g, expected %.6g; %zu not finite; "
        "largest error "
        "%.4g (atol %g, rtol %g), %.3g times what the two-times rule allows (%.4g)",
        set, why.bad, cmp->n, 100.0 * (double)why.bad / (double)cmp->n,
        cmp->bad == 0 ? " by the two-times rule alone" : "", why.pattern, place, why.first.got, why.first.expected,
        cmp->nonfinite, cmp->nonfinite > 0 ? INFINITY : cmp->max_abs, c->rule->atol, c->rule->rtol,
        cmp->nonfinite > 0 ? INFINITY : cmp->max_abs / cmp->bound, cmp->bound);
    return 0;
}

enum device_class check_judge_set(struct check *c, const char *set, size_t rows_f64, double reference_error)
{
    struct check_compare cmp;
    json_t *j;
    double lse = 0, ratio;
    size_t bad_row = 0;
    check_compare(c->p, c->threads, c->run[0].o, c->ref_o, c->ref_low, c->rule->atol, c->rule->rtol, c->decode, &cmp);
    ratio = cmp.max_abs > 0 ? cmp.max_abs / cmp.bound : 0;
    j = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:I, s:o}", "set", set, "max_abs",
                  check_number(cmp.max_abs), "rel_l2", check_number(cmp.rel_l2), "two_times_bound",
                  check_number(cmp.bound), "two_times_ratio", check_number(ratio), "max_low", check_number(cmp.max_low),
                  "max_step", check_number(cmp.max_step), "elements", (json_int_t)cmp.n, "bad", (json_int_t)cmp.bad,
                  "not_finite", (json_int_t)cmp.nonfinite, "worst", worst_json(c, &cmp), "rows_f64",
                  (json_int_t)rows_f64, "reference_error", check_number(reference_error));
    if (j == NULL) {
        err_nomem(c->e);
        return DEVICE_LOST;
    }
    json_array_append_new(c->sets, j);
    judge_masked(c, set, &c->run[0]);
    if ((cmp.bad > 0 || cmp.max_abs > cmp.bound) && judge_values(c, set, &cmp, j) != 0) return DEVICE_LOST;
    if (c->p->lse) {
        lse = lse_error(c, c->run[0].lse, &bad_row);
        json_object_set_new(j, "lse_error", check_number(lse));
        if (bad_row < problem_rows(c->p))
            check_fate(
                c, FATE_WRONG,
                "%s: lse is off by up to %.4g (limit %g), first in row %zu (of all rows): got %.9g, expected %.9g", set,
                lse, CHECK_LSE_ATOL, bad_row, (double)c->run[0].lse[bad_row], (double)c->ref_lse[bad_row]);
    }
    json_object_set_new(j, "ok", json_boolean(c->out->fate == FATE_OK));
    return DEVICE_OK;
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

/* What a thread finds in a part of the output, or of V. */
struct law_part {
    double worst, error2, sum2, largest;
    size_t bad, first;
};

struct law_pass {
    const struct check *c;
    double u, constant, value; /* allowed: constant + value u (the magnitudes) */
    size_t part;
    struct law_part parts[CHECK_PARTS];
};

static void largest_part(void *ctx, size_t first, size_t end)
{
    struct law_pass *p = ctx;
    double m = 0;
    for (size_t i = first; i < end; i++)
        m = fmax(m, fabs((double)p->c->decode[p->c->now->v[i]]));
    p->parts[first / p->part].largest = m;
}

static void law_part(void *ctx, size_t first, size_t end)
{
    struct law_pass *p = ctx;
    const struct check *c = p->c;
    struct law_part l = {0};
    for (size_t i = first; i < end; i++) {
        double got = (double)c->decode[c->run[0].o[i]], want = (double)c->ref_o[i];
        double d = isfinite(got) ? fabs(got - want) : INFINITY;
        double allowed = p->constant + p->value * p->u * ((double)c->ref_low[i] + fabs(got));
        if (d > l.worst) l.worst = d;
        l.error2 += d * d;
        l.sum2 += want * want;
        if (!(d <= allowed) && l.bad++ == 0) l.first = i;
    }
    p->parts[first / p->part] = l;
}

/* The parts in order, as one. */
static struct law_part law_passed(struct law_pass *p, size_t n, void (*fn)(void *ctx, size_t first, size_t end))
{
    struct law_part all = {0};
    p->part = check_part(n);
    parallel_for(p->c->threads, n, p->part, fn, p);
    for (size_t i = 0; i * p->part < n; i++) {
        const struct law_part *l = &p->parts[i];
        if (all.bad == 0) all.first = l->first;
        all.bad += l->bad;
        all.worst = fmax(all.worst, l->worst);
        all.largest = fmax(all.largest, l->largest);
        all.error2 += l->error2;
        all.sum2 += l->sum2;
    }
    return all;
}

void check_judge_law(struct check *c, enum check_law l)
{
    const struct check_law_limit *limit = &law_limits[l];
    const char *name = check_law_name(l);
    const size_t n = problem_q_elements(c->p);
    struct law_pass pass = {.c = c, .u = check_unit(c->p->dtype), .value = limit->value};
    struct law_part all;
    double l2;
    bool ok;
    char place[96];
    pass.constant = limit->absolute * pass.u;
    if (limit->relative_l2 > 0)
        pass.constant = 4 * pass.u * law_passed(&pass, problem_kv_elements(c->p), largest_part).largest;
    if (limit->value > 0) pass.constant = 1e-4;
    all = law_passed(&pass, n, law_part);
    l2 = all.error2 > 0 ? sqrt(all.error2 / fmax(all.sum2, 1e-30)) : 0;
    ok = all.bad == 0 && (limit->relative_l2 <= 0 || l2 <= limit->relative_l2 * pass.u);
    json_array_append_new(c->laws, json_pack("{s:s, s:o, s:o, s:o, s:I, s:b}", "law", name, "max_abs",
                                             check_number(all.worst), "rel_l2", check_number(l2), "allowed",
                                             check_number(pass.constant), "bad", (json_int_t)all.bad, "ok", ok));
    if (ok) return;
    check_place(c->p, all.first, place, sizeof place);
    check_fate(
        c, FATE_WRONG,
        "law `%s`: %s: %zu of %zu elements, first at %s (got %.6g, the law predicts %.6g), largest difference %.4g, "
        "relative L2 "
        "%.3g",
        name, limit->what, all.bad, n, place, (double)c->decode[c->run[0].o[all.first]], (double)c->ref_o[all.first],
        all.worst, l2);
}
