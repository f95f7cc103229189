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
 * What the reference makes of the plain inputs is kept while they stay the same. Who is WRONG by it is only blamed when the reference, run
 * anew, still agrees with f64.
 *
 * Then the repeats, which the device compares with run A where its driver can (`same`): A is written back to it, bands and all; a repeat that
 * differs is fetched and looked at, and in the end A is read back. Then at level FULL the stress inputs (check_inputs.c) and the laws
 * (tolerances: check_judge.c). The first set that fails ends the check. */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check_host.h"
#include "check_private.h"

#define MIN_REPEATS 2

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void check_progress(struct check *c, const char *stage)
{
    if (c->progress != NULL) c->progress(c->ctx, stage);
}

void check_fate(struct check *c, enum fate f, const char *fmt, ...)
{
    va_list ap;
    if (c->out->fate != FATE_OK) return;
    c->out->fate = f;
    va_start(ap, fmt);
    vsnprintf(c->out->text, sizeof c->out->text, fmt, ap);
    va_end(ap);
}

bool check_decided(const struct check *c, enum device_class cls)
{
    return cls != DEVICE_OK || c->out->fate != FATE_OK;
}

void check_draw_plain(struct check *c, uint64_t seed)
{
    if (c->kept.drawn && c->kept.seed == seed) return;
    check_inputs_plain(&c->plain, c->p, c->draw, c->threads, seed);
    c->kept.drawn = true;
    c->kept.computed = false;
    c->kept.seed = seed;
}

enum device_class check_put_set(struct check *c, enum check_set s)
{
    if (s == CHECK_SET_PLAIN) return check_put_inputs(c, &c->plain);
    if (c->in.q == NULL && check_inputs_init(&c->in, c->p, c->e) != 0) return DEVICE_LOST;
    if (check_inputs_stress(&c->in, &c->plain, c->p, s, c->rule->seed, c->decode, c->threads, c->e) != 0)
        return DEVICE_LOST;
    return check_put_inputs(c, &c->in);
}

/* What the set's outputs must be. */
static enum device_class compute(struct check *c, enum check_set s)
{
    enum device_class cls = check_run_reference(c);
    if (cls == DEVICE_OK) cls = check_trust_reference(c, check_set_name(s), &c->kept.rows, &c->kept.worst);
    c->kept.reference = c->reference->kernel;
    c->kept.computed = cls == DEVICE_OK && s == CHECK_SET_PLAIN;
    return cls;
}

static enum device_class set_run(struct check *c, enum check_set s)
{
    const char *name = check_set_name(s);
    const bool known = s == CHECK_SET_PLAIN && c->kept.computed && c->kept.reference == c->reference->kernel;
    double t;
    enum device_class cls = check_put_set(c, s);
    if (cls != DEVICE_OK) return cls;
    t = now_s();
    if (check_decided(c, cls = check_run_candidate(c, 0, 0, name))) return cls;
    if (s == CHECK_SET_PLAIN) c->first_run_s = now_s() - t;
    if (check_decided(c, cls = check_verify_inputs(c, name)))
        return cls; /* else the reference would be asked another question */
    if (!known && (cls = compute(c, s)) != DEVICE_OK) return cls;
    if (check_decided(c, cls = check_run_candidate(c, 1, 1, name))) return cls;
    if (check_decided(c, cls = check_verify_inputs(c, name))) return cls;
    check_progress(c, "comparing");
    check_judge_runs(c, name);
    if ((cls = check_judge_set(c, name, c->kept.rows, c->kept.worst)) != DEVICE_OK)
        return cls; /* numbers also for a failure */
    /* Who is blamed on what was kept may be right, and the device not what it was: the reference must still pass. */
    return known && c->out->fate == FATE_WRONG ? compute(c, s) : DEVICE_OK;
}

/* What a law predicts: ones, or the sum of the outputs of all runs but the last. */
static void predict_ones(void *ctx, size_t first, size_t end)
{
    struct check *c = ctx;
    const size_t dim = (size_t)c->p->head_dim, seq = (size_t)c->p->seq_q;
    for (size_t i = first; i < end; i++) {
        c->ref_o[i] = problem_keys_seen(c->p, (int)(i / dim % seq)) > 0 ? 1 : 0;
        c->ref_low[i] = 0;
    }
}

static void predict_nothing(void *ctx, size_t first, size_t end)
{
    struct check *c = ctx;
    memset(c->ref_o + first, 0, (end - first) * sizeof *c->ref_o);
    memset(c->ref_low + first, 0, (end - first) * sizeof *c->ref_low);
}

static void predict_sum(void *ctx, size_t first, size_t end)
{
    struct check *c = ctx;
    for (size_t i = first; i < end; i++) {
        float x = c->decode[c->run[0].o[i]];
        c->ref_o[i] += x;
        c->ref_low[i] += fabsf(x);
    }
}

static enum device_class law_run(struct check *c, enum check_law l)
{
    const size_t n = problem_q_elements(c->p);
    int runs = check_law_runs(l);
    enum device_class cls;
    if (l == CHECK_LAW_PERMUTE && c->p->mask != MASK_NONE) {
        json_array_append_new(
            c->laws, json_pack("{s:s, s:s}", "law", check_law_name(l), "not_run", "holds only under the full mask"));
        return DEVICE_OK;
    }
    c->kept.computed = false;
    parallel_for(c->threads, n, CHECK_CHUNK, l == CHECK_LAW_ONES ? predict_ones : predict_nothing, c);
    for (int run = 0; run < runs; run++) {
        if (check_inputs_law(&c->in, &c->plain, c->p, l, run, c->rule->seed, c->decode, c->threads, c->e) != 0)
            return DEVICE_LOST;
        if ((cls = check_put_inputs(c, &c->in)) != DEVICE_OK) return cls;
        if (check_decided(c, cls = check_run_candidate(c, run % 2, 0, check_law_name(l)))) return cls;
        if (run < runs - 1) parallel_for(c->threads, n, CHECK_CHUNK, predict_sum, c);
    }
    check_judge_law(c, l);
    return DEVICE_OK;
}

/* Further runs of the plain set against run A, until `repeats` or the time box; inputs verified once more at the end. */
static enum device_class repeats_run(struct check *c)
{
    enum device_class cls;
    int wanted = c->rule->repeats;
    if (wanted > 0 && (cls = check_keep_first(c)) != DEVICE_OK) return cls;
    c->repeats_on_device = c->first[ARG_O] != NULL;
    for (int i = 0; i < wanted; i++) {
        bool same;
        double left = c->rule->box_s - (now_s() - c->started_s);
        if (c->rule->box_s > 0 && i >= MIN_REPEATS && left < c->first_run_s) {
            c->repeats_cut = true;
            break;
        }
        if (check_decided(c, cls = check_repeat(c, &same))) return cls;
        c->repeats_done++;
        if (!same) check_judge_runs(c, "repeats");
        if (c->out->fate != FATE_OK) {
            char more[64];
            snprintf(more, sizeof more, "; in repeat %d of %d", i + 1, wanted);
            strncat(c->out->text, more, sizeof c->out->text - strlen(c->out->text) - 1);
            return DEVICE_OK;
        }
    }
    if (wanted == 0) return DEVICE_OK;
    if (check_decided(c, cls = check_verify_first(c))) return cls;
    return check_verify_inputs(c, "repeats");
}

static enum device_class stages(struct check *c)
{
    enum device_class cls;
    check_draw_plain(c, c->rule->seed);
    if (check_decided(c, cls = set_run(c, CHECK_SET_PLAIN))) return cls;
    if (check_decided(c, cls = repeats_run(c))) return cls;
    if (c->rule->level != CHECK_FULL) return DEVICE_OK;
    for (int s = CHECK_SET_PLAIN + 1; s < CHECK_SET_N; s++)
        if (check_decided(c, cls = set_run(c, (enum check_set)s))) return cls;
    for (int l = 0; l < CHECK_LAW_N; l++)
        if (check_decided(c, cls = law_run(c, (enum check_law)l))) return cls;
    return DEVICE_OK;
}

/* ---- ends ---- */

static bool takes(const struct check_kernel *k, enum arg a)
{
    for (int i = 0; i < k->geometry->nargs; i++)
        if (k->geometry->args[i] == a) return true;
    return false;
}

static int run_open(struct check *c)
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
        check_fate(c, FATE_WRONG, "the problem asks for lse, but the template has no argument `lse`");
    return 0;
}

static int report_json(struct check *c)
{
    const struct check_rule *r = c->rule;
    const char *why = c->repeats_cut ? "time box" : c->repeats_done == r->repeats ? "all done" : "stopped at a failure";
    c->out->json = json_pack("{s:s, s:s, s:I, s:f, s:f, s:s, s:O, s:O, s:{s:i, s:i, s:s, s:f, s:s}, s:f, s:f}", "level",
                             r->level == CHECK_FULL ? "full" : "quick", "fate", fate_name(c->out->fate), "seed",
                             (json_int_t)r->seed, "atol", r->atol, "rtol", r->rtol, "text", c->out->text, "sets",
                             c->sets, "laws", c->laws, "repeats", "wanted", r->repeats, "done", c->repeats_done, "why",
                             why, "box_s", r->box_s, "compared_on", c->repeats_on_device ? "device" : "host",
                             "first_run_s", c->first_run_s, "seconds", now_s() - c->started_s);
    return c->out->json != NULL ? 0 : err_nomem(c->e);
}

enum device_class check_open(struct check **out, const struct device_driver *drv, struct device *d,
                             struct parallel *threads, const struct problem *p, struct err *e)
{
    struct check *c = calloc(1, sizeof *c);
    enum device_class cls;
    if (c == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    *c = (struct check){.drv = drv, .d = d, .threads = threads, .problem = *p, .e = e};
    c->p = &c->problem;
    cls = check_host_open(c);
    if (cls == DEVICE_OK)
        *out = c;
    else
        check_close(c);
    return cls;
}

void check_close(struct check *c)
{
    if (c == NULL) return;
    check_host_close(c);
    free(c);
}

void check_begin(struct check *c, const struct check_kernel *candidate, const struct check_kernel *reference,
                 const struct check_rule *rule, void (*progress)(void *ctx, const char *stage), void *ctx,
                 struct check_report *out, struct err *e)
{
    c->candidate = candidate;
    c->reference = reference;
    c->rule = rule;
    c->progress = progress;
    c->ctx = ctx;
    c->out = out;
    c->e = e;
    c->started_s = now_s();
    c->first_run_s = 0;
    c->blame_candidate = c->repeats_cut = c->repeats_on_device = false;
    c->repeats_done = 0;
    c->sets = c->laws = NULL;
    c->tile_bytes = 0;
    *out = (struct check_report){.fate = FATE_OK};
}

static enum device_class run_end(struct check *c, enum device_class cls)
{
    if (cls != DEVICE_LOST && report_json(c) != 0) cls = DEVICE_LOST;
    check_device_close(c);
    json_decref(c->sets);
    json_decref(c->laws);
    if (cls == DEVICE_LOST) check_report_free(c->out);
    return cls;
}

enum device_class check_run(struct check *c, const struct check_kernel *candidate, const struct check_kernel *reference,
                            const struct check_rule *rule, void (*progress)(void *ctx, const char *stage), void *ctx,
                            struct check_report *out, struct err *e)
{
    enum device_class cls = DEVICE_OK;
    check_begin(c, candidate, reference, rule, progress, ctx, out, e);
    if (run_open(c) != 0) cls = DEVICE_LOST;
    if (!check_decided(c, cls)) cls = check_device_open(c);
    if (!check_decided(c, cls)) cls = stages(c);
    return run_end(c, cls);
}

void check_report_free(struct check_report *r)
{
    if (r == NULL) return;
    json_decref(r->json);
    r->json = NULL;
}

/* ---- an output from elsewhere ---- */

static enum device_class output_judge(struct check *c, const uint16_t *o)
{
    const char *set = check_set_name(CHECK_SET_PLAIN);
    size_t rows = 0;
    double worst = 0;
    enum device_class cls;
    check_draw_plain(c, c->rule->seed);
    if ((cls = check_put_inputs(c, &c->plain)) != DEVICE_OK || (cls = check_run_reference(c)) != DEVICE_OK) return cls;
    check_progress(c, "comparing");
    if ((cls = check_trust_reference(c, set, &rows, &worst)) != DEVICE_OK) return cls;
    memcpy(c->run[0].o, o, problem_q_elements(c->p) * sizeof *o);
    if (c->p->lse) memcpy(c->run[0].lse, c->ref_lse, problem_rows(c->p) * sizeof *c->ref_lse); /* not asked for */
    return check_judge_set(c, set, rows, worst);
}

enum device_class check_output(struct check *c, const struct check_kernel *reference, const struct check_rule *rule,
                               const uint16_t *o, void (*progress)(void *ctx, const char *stage), void *ctx,
                               struct check_report *out, struct err *e)
{
    enum device_class cls = DEVICE_LOST;
    check_begin(c, NULL, reference, rule, progress, ctx, out, e);
    if ((c->sets = json_array()) == NULL || (c->laws = json_array()) == NULL)
        err_nomem(e);
    else
        cls = check_device_open(c);
    if (cls == DEVICE_OK) cls = output_judge(c, o);
    return run_end(c, cls);
}

void check_plain(struct check *c, uint64_t seed, const uint16_t *words[3])
{
    check_draw_plain(c, seed);
    words[0] = c->plain.q;
    words[1] = c->plain.k;
    words[2] = c->plain.v;
}
