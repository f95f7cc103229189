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
 * Then the repeats, and at level FULL the stress inputs (check_inputs.c) and the laws (tolerances: check_judge.c). The
 * first set that fails ends the check. */
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

static enum device_class set_run(struct check *c, enum check_set s)
{
    const char *name = check_set_name(s);
    size_t rows = 0;
    double worst = 0, t;
    enum device_class cls;
    check_inputs_stress(&c->in, &c->plain, c->p, s, c->rule->seed, c->decode);
    if ((cls = check_put_inputs(c)) != DEVICE_OK) return cls;
    t = now_s();
    if (check_decided(c, cls = check_run_candidate(c, 0, &c->run[0], name))) return cls;
    if (s == CHECK_SET_PLAIN) c->first_run_s = now_s() - t;
    if (check_decided(c, cls = check_verify_inputs(c, name)))
        return cls; /* else the reference would be asked another question */
    if (check_decided(c, cls = check_run_reference(c))) return cls;
    if (check_decided(c, cls = check_run_candidate(c, 1, &c->run[1], name))) return cls;
    if (check_decided(c, cls = check_verify_inputs(c, name))) return cls;
    check_progress(c, "comparing");
    if ((cls = check_trust_reference(c, name, &rows, &worst)) != DEVICE_OK) return cls;
    check_judge_runs(c, name, &c->run[0], &c->run[1]);
    return check_judge_set(c, name, rows, worst); /* numbers also for a set that has failed */
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
        if (check_inputs_law(&c->in, &c->plain, c->p, l, run, c->rule->seed, c->decode, c->e) != 0) return DEVICE_LOST;
        if ((cls = check_put_inputs(c)) != DEVICE_OK) return cls;
        if (check_decided(c, cls = check_run_candidate(c, run % 2, &c->run[0], check_law_name(l)))) return cls;
        for (size_t i = 0; i < n && run < runs - 1; i++) {
            c->ref_o[i] += c->decode[c->run[0].o[i]];
            c->ref_low[i] += fabsf(c->decode[c->run[0].o[i]]);
        }
    }
    check_judge_law(c, l);
    return DEVICE_OK;
}

/* Further runs of the plain set against run A, until `repeats` or the time box; inputs verified once more at the end. */
static enum device_class repeats_run(struct check *c)
{
    struct check_outputs a = c->run[0], *b = &c->run[1];
    enum device_class cls;
    int wanted = c->rule->repeats;
    for (int i = 0; i < wanted; i++) {
        double left = c->rule->box_s - (now_s() - c->started_s);
        if (c->rule->box_s > 0 && i >= MIN_REPEATS && left < c->first_run_s) {
            c->repeats_cut = true;
            break;
        }
        if (check_decided(c, cls = check_run_candidate(c, 1, b, "repeats"))) return cls;
        c->repeats_done++;
        check_judge_runs(c, "repeats", &a, b);
        if (c->out->fate != FATE_OK) {
            char more[64];
            snprintf(more, sizeof more, "; in repeat %d of %d", i + 1, wanted);
            strncat(c->out->text, more, sizeof c->out->text - strlen(c->out->text) - 1);
            return DEVICE_OK;
        }
    }
    return wanted > 0 ? check_verify_inputs(c, "repeats") : DEVICE_OK;
}

static enum device_class stages(struct check *c)
{
    enum device_class cls;
    check_inputs_plain(&c->plain, c->p, c->rule->seed);
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
        check_fate(c, FATE_WRONG, "the problem asks for lse, but the template has no argument `lse`");
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
    if (check_open(&c) != 0) cls = DEVICE_LOST;
    if (!check_decided(&c, cls)) cls = check_alloc(&c);
    if (!check_decided(&c, cls)) cls = stages(&c);
    if (cls != DEVICE_LOST && report_json(&c) != 0) cls = DEVICE_LOST;
    check_release(&c);
    json_decref(c.sets);
    json_decref(c.laws);
    if (cls == DEVICE_LOST) check_report_free(out);
    return cls;
}

void check_report_free(struct check_report *r)
{
    if (r == NULL) return;
    json_decref(r->json);
    r->json = NULL;
}
