/* From the race's standings to a champion: full checks until enough finalists stand, the A/A control, one trial for each finalist
 * against the standing arm, one verdict each, and one transaction that writes the decision.
 *
 * A finalist that breaks in its trial leaves its place to the next of the standings: it must not keep good ones from theirs. It still counts
 * among those that share alpha. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune_private.h"

struct finalist {
    struct tune_item *item;
    struct trial trial;
    int64_t trial_id;
    struct verdict verdict;
    json_t *sanitizers; /* what they said of it, NULL: not asked */
};

struct confirm {
    struct finalist f[TUNE_RACE_KEEP];
    int n, looked; /* finalists; standings that were looked at for them */
    struct trial control;
    int64_t control_id;
};

/* ---- full checks ---- */

int tune_prove(struct tune *t, struct tune_item *i, bool *passed, struct err *e)
{
    char shape[96], level[128] = "full";
    json_t *report = NULL, *detail;
    enum fate fate, search_fate = i->fate;
    bool found;
    double us = i->us;
    int rc, k = i->k;

    if (i->shape) {
        problem_text(&i->shape->problem, shape, sizeof shape);
        snprintf(level, sizeof level, "full, %s", shape);
    }
    TRY(store_check_get(t->store, t->run.id, i->row, level, &fate, &report, &found, e));
    if (!found) {
        detail = i->detail;
        i->detail = NULL; /* a check that its worker did not survive has no report */
        rc = tune_evaluate(t, i, TUNE_FULL, 0, NULL, NULL, e);
        report = i->detail;
        i->detail = detail;
        if (rc != 0) goto out;
        fate = i->fate;
        TRY(store_check_put(t->store, t->run.id, i->row, i->job.key, level, fate, report, e));
    }
    i->k = k;
    i->us = us;
    i->fate = search_fate;
    *passed = fate == FATE_OK;
    if (!*passed) {
        struct buf text = {0};
        cand_text(tune_domain(t, i), &i->cand, &text);
        tune_report(t, "fails the check (%s) as %s: %s%s%s", fate_name(fate), level, buf_text(&text),
                    i->log ? "\n  " : "", i->log ? i->log : "");
        buf_free(&text);
        i->fate = fate;
    }
out:
    json_decref(report);
    return rc;
}

/* The standing arm must hold under the full check too; where a default does not, finalists() finds one that stands in for it. */
static int prove_standing(struct tune *t, struct err *e)
{
    bool passed = false;

    if (t->standing) {
        if (tune_ready(t, t->standing, e) != 0 || tune_prove(t, t->standing, &passed, e) != 0) return -1;
        if (!passed && t->has_champion)
            return err_set(e, ERR_INPUT,
                           "the standing champion %s fails the full check with fresh inputs (%s): %s\n"
                           "nobody takes its place silently: find out why, or `fatune champion revoke` it",
                           t->champion.version.name, fate_name(t->standing->fate),
                           t->standing->log ? t->standing->log : "");
    }
    if (!passed) t->standing = NULL;
    return 0;
}

static int finalists(struct tune *t, struct confirm *c, int most, struct err *e)
{
    while (c->looked < t->nstandings && c->n < most) {
        struct tune_item *x = t->standings[c->looked++];
        bool passed;
        t->progress.done++;
        tune_tick(t);
        if (tune_interrupted(t, e) != 0 || tune_ready(t, x, e) != 0 || tune_prove(t, x, &passed, e) != 0) return -1;
        if (!passed) continue;
        if (!t->standing &&
            c->looked < t->nstandings) { /* no default stands: the slowest that passes is the arm to beat */
            struct tune_item *last = t->standings[t->nstandings - 1];
            bool ok;
            if (tune_ready(t, last, e) != 0 || tune_prove(t, last, &ok, e) != 0) return -1;
            if (ok && last != x) {
                t->standing = last;
                t->nstandings--;
                tune_report(t, "no default configuration passes here: the race's last stands in as the arm to beat");
            }
        }
        c->f[c->n++].item = x;
    }
    return 0;
}

/* ---- trials and verdicts ---- */

static int record(struct tune *t, const struct finalist *f, struct err *e)
{
    struct buf text = {0};
    json_t *j, *health;

    if (tune_trial_health(t->store, f->trial_id, &health, e) != 0) return -1;
    cand_text(t->domain, &f->item->cand, &text);
    j = json_pack("{s:I,s:s,s:s,s:b,s:o,s:o}", "trial", (json_int_t)f->trial_id, "candidate", buf_text(&text), "id",
                  f->item->id, "boxed", (int)f->trial.boxed, "health", health, "verdict", verdict_to_json(&f->verdict));
    buf_free(&text);
    if (j && f->sanitizers) json_object_set(j, "sanitizers", f->sanitizers);
    return j && json_array_append_new(t->trials, j) == 0 ? 0 : err_nomem(e);
}

/* The first look at more than n sessions; 0: none. A trial whose box had no room for the first look has none. */
static int next_look(const struct tune *t, int n)
{
    for (int i = 0; i < t->space.promote.nlooks; i++)
        if (t->space.promote.looks[i] > n && n >= t->space.promote.looks[0]) return t->space.promote.looks[i];
    return 0;
}

/* Whether a trial of n sessions may be judged: one that was interrupted on its way to a look may not. */
static bool at_look(const struct tune *t, int n)
{
    bool found = next_look(t, n) == 0;

    for (int i = 0; i < t->space.promote.nlooks; i++)
        found = found || n == t->space.promote.looks[i];
    return found;
}

static int go_on(struct tune *t, struct finalist *f, int sessions, struct err *e)
{
    struct tune_plan plan = {.look = sessions};

    tune_report(t, "undecided for want of sessions: on to %d", sessions);
    trial_free(&f->trial);
    return tune_trial(t, "ab", t->standing, f->item, &plan, &f->trial, &f->trial_id, e);
}

/* One verdict; with looks, the one of the last look that was needed. */
static int judge(struct tune *t, const struct confirm *c, struct finalist *f, const struct verdict_rule *rule,
                 struct err *e)
{
    struct rng rng;

    for (;;) {
        int next = f->trial.invalid ? 0 : next_look(t, f->trial.n);
        if (next == 0 || at_look(t, f->trial.n)) {
            rng_init(&rng, t->seed + (uint64_t)f->trial_id, "verdict");
            if (verdict_decide(&f->verdict, rule, &f->trial, &c->control, &rng, e) != 0) return -1;
            if (next == 0 || !verdict_wants_sessions(&f->verdict)) return 0;
        }
        if (go_on(t, f, next, e) != 0) return -1;
    }
}

struct verdict_rule tune_promotion_rule(const struct space *s, int shares)
{
    return (struct verdict_rule){.min_gain = s->promote.min_gain,
                                 .hedges_g = s->promote.hedges_g,
                                 .alpha = s->promote.alpha / shares,
                                 .target_us = s->promote.target_us,
                                 .min_sessions = TUNE_LEAST_SESSIONS,
                                 .resamples = TUNE_RESAMPLES,
                                 .control_required = true};
}

/* Of those that may be promoted, the one with the smallest ratio; -1: none. */
static int best_promotion(const struct confirm *c)
{
    int best = -1;

    for (int i = 0; i < c->n; i++)
        if (c->f[i].verdict.outcome == VERDICT_PROMOTE &&
            (best < 0 || c->f[i].verdict.ratio < c->f[best].verdict.ratio))
            best = i;
    return best;
}

/* Sanitizers see the best, and where they refuse it the next best: others would not be promoted anyway. */
static int ask_sanitizers(struct tune *t, struct confirm *c, struct err *e)
{
    enum verdict_sanitizer said = VERDICT_SANITIZER_NOT_RUN;
    char why[200];
    int best;

    while (said != VERDICT_SANITIZER_PASSED && (best = best_promotion(c)) >= 0) {
        struct finalist *f = &c->f[best];
        tune_report(t, "finalist %d of %d under the sanitizers", best + 1, c->n);
        if (tune_sanitize(t, f->item, &said, why, &f->sanitizers, e) != 0) return -1;
        verdict_sanitize(&f->verdict, said, why);
    }
    return 0;
}

static int decide(struct tune *t, struct confirm *c, struct err *e)
{
    int looks = t->space.promote.nlooks > 0 ? t->space.promote.nlooks : 1;
    struct verdict_rule rule = tune_promotion_rule(&t->space, (c->n > 0 ? c->n : 1) * looks);

    for (int i = 0; i < c->n; i++)
        if (judge(t, c, &c->f[i], &rule, e) != 0) return -1;
    if (t->space.promote.sanitize && ask_sanitizers(t, c, e) != 0) return -1;
    for (int i = 0; i < c->n; i++) {
        struct finalist *f = &c->f[i];
        if (record(t, f, e) != 0) return -1;
        if (isfinite(f->verdict.ratio))
            tune_report(t, "%s: %.2f%% %s than the standing arm", verdict_name(f->verdict.outcome),
                        100 * fabs(1 - f->verdict.ratio), f->verdict.ratio <= 1 ? "faster" : "slower");
        else
            tune_report(t, "%s: %s", verdict_name(f->verdict.outcome), f->trial.reason);
    }
    return 0;
}

static int trials(struct tune *t, struct confirm *c, struct err *e)
{
    double box_s = t->minutes * 60 / 4;
    struct tune_plan plan = tune_plan_trial(t, t->standing, t->standing, box_s);

    t->progress.phase = TUNE_CONFIRM;
    if (plan.boxed)
        tune_report(t, "trials are cut to fit %.0f s each: %d sessions of %d quads, %d sample%s a letter", box_s,
                    plan.sessions, plan.quads, plan.m, plan.m == 1 ? "" : "s");
    tune_report(t, "A/A control: the standing arm against itself, compiled again");
    if (tune_trial(t, "aa", t->standing, t->standing, &plan, &c->control, &c->control_id, e) != 0) return -1;
    for (int i = 0; i < c->n; i++) {
        struct finalist *f = &c->f[i];
        tune_report(t, "finalist %d of %d against the standing arm", i + 1, c->n);
        plan = tune_plan_trial(t, t->standing, f->item, box_s);
        if (tune_trial(t, "ab", t->standing, f->item, &plan, &f->trial, &f->trial_id, e) != 0) return -1;
        if (f->trial.invalid && f->trial.n < plan.sessions && finalists(t, c, c->n + 1, e) != 0) return -1;
    }
    return 0;
}

/* ---- the decision ---- */

json_t *tune_facts(struct tune *t, struct tune_item *i)
{
    json_t *facts = json_object();
    json_t *launch = launch_to_json(i->launch);
    struct buf text = {0};

    cand_text(t->domain, &i->cand, &text);
    json_object_set_new(facts, "text", json_string(buf_text(&text)));
    json_object_set_new(facts, "launch", launch);
    json_object_set_new(facts, "binary", json_string(i->job.key));
    json_object_set_new(facts, "code", json_string(i->job.code));
    json_object_set_new(facts, "template_digest", json_string(domain_template(t->domain, i->cand.tmpl)->digest));
    if (i->job.resources) json_object_set(facts, "compiled", i->job.resources);
    if (json_object_get(i->detail, "resources"))
        json_object_set(facts, "loaded", json_object_get(i->detail, "resources"));
    json_object_set_new(facts, "k", json_integer(i->k));
    json_object_set_new(facts, "target", target_to_json(&t->target));
    if (t->environment) json_object_set(facts, "environment", t->environment);
    buf_free(&text);
    return facts;
}

/* Every finalist's verdict, that the run goes on behind them, and who becomes champion by one of them (by: -1: by none, nobody was there to try; becomes NULL: the champion stays). */
static int write_decision(struct tune *t, const struct confirm *c, int by, struct tune_item *becomes, const char *note,
                          char name[64], struct err *e)
{
    struct store_decision d[TUNE_RACE_KEEP + 1];
    json_t *facts = becomes ? tune_facts(t, becomes) : NULL, *state = tune_state(t, t->winner);
    int n = 0, rc;

    for (int i = 0; i < c->n; i++)
        d[n++] = (struct store_decision){.run = t->run.id,
                                         .trial = c->f[i].trial_id,
                                         .control = c->control_id,
                                         .track = t->track,
                                         .verdict = &c->f[i].verdict,
                                         .candidate = c->f[i].item->row,
                                         .binary = c->f[i].item->job.key};
    if (becomes && by < 0) {
        by = n;
        d[n++] = (struct store_decision){.run = t->run.id, .track = t->track, .candidate = becomes->row};
    }
    if (becomes) {
        d[by].action = t->has_champion ? "promote" : "crown";
        d[by].binary = becomes->job.key;
        d[by].facts = facts;
        d[by].champion_candidate = becomes->row;
        d[by].as = t->o->as;
        d[by].note = note;
    }
    if (!state)
        rc = err_nomem(e);
    else if (n > 0)
        rc = store_decide(t->store, d, n, state, name, e);
    else
        rc = store_run_state(t->store, t->run.id, NULL, 0, state, e);
    json_decref(facts);
    json_decref(state);
    return rc;
}

static bool is_default(struct tune *t, const struct tune_item *i)
{
    struct cand c;

    return domain_default(t->domain, i->cand.tmpl, &c) && cand_equal(t->domain, &i->cand, &c);
}

/* Whether a standing arm that nobody beat may be crowned: whoever asks for sanitizers wants no champion without. */
static int may_stand(struct tune *t, bool *may, struct err *e)
{
    enum verdict_sanitizer said;
    json_t *tools;
    char why[200];

    if (!*may || !t->space.promote.sanitize) return 0;
    tune_report(t, "the standing arm under the sanitizers");
    if (tune_sanitize(t, t->standing, &said, why, &tools, e) != 0) return -1;
    json_decref(tools);
    *may = said == VERDICT_SANITIZER_PASSED;
    if (!*may) tune_report(t, "nobody is crowned: %s", why);
    return 0;
}

static int conclude(struct tune *t, const struct confirm *c, struct err *e)
{
    int fastest = best_promotion(c), best = t->o->no_promote ? -1 : fastest;
    bool crown = best < 0 && !t->has_champion && !t->o->no_promote && t->standing;
    char name[64] = "";

    t->winner = fastest >= 0 && (best >= 0 || !t->has_champion) ? c->f[fastest].item : t->standing;
    if (may_stand(t, &crown, e) != 0) return -1;
    if (best >= 0) {
        if (write_decision(t, c, best, c->f[best].item,
                           t->has_champion ? "faster than the champion before it"
                           : is_default(t, t->standing)
                               ? "faster than the default configuration"
                               : "faster than a configuration that stood in: no default passed",
                           name, e) != 0)
            return -1;
        tune_report(t, "%s is the new champion", name);
    } else if (crown) { /* on the first finalist's verdict */
        if (write_decision(t, c, c->n ? 0 : -1, t->standing,
                           is_default(t, t->standing) ? "the default configuration: no candidate was proven faster"
                                                      : "no default passed, and no other candidate was proven faster",
                           name, e) != 0)
            return -1;
        tune_report(t, "%s, the standing arm, is champion: no candidate was proven faster", name);
    } else {
        if (write_decision(t, c, -1, NULL, "", name, e) != 0) return -1;
        if (t->has_champion) tune_report(t, "champion %s stays", t->champion.version.name);
    }
    return 0;
}

int tune_confirm(struct tune *t, struct err *e)
{
    struct confirm c = {.n = 0};
    int most = t->confirms || t->target.is_host_cpu ? 1 : TUNE_FINALISTS;
    int rc;

    t->progress.phase = TUNE_CHECK;
    t->progress.done = 0;
    t->progress.total = t->nstandings;
    tune_report(t, "full check of the finalists: stress inputs and the laws of attention");
    TRY(prove_standing(t, e));
    TRY(finalists(t, &c, most, e));
    if (!t->standing) {
        if (c.n == 0) {
            rc = err_set(e, ERR_DEVICE, "no candidate passes the full check: no champion");
            goto out;
        }
        t->standing = c.f[--c.n].item; /* the only one that passes */
    }
    if (c.n > 0) {
        TRY(trials(t, &c, e));
        TRY(decide(t, &c, e));
    }
    rc = conclude(t, &c, e);
out:
    for (int i = 0; i < c.n; i++) {
        trial_free(&c.f[i].trial);
        json_decref(c.f[i].sanitizers);
    }
    trial_free(&c.control);
    return rc;
}
