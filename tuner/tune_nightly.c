/* One night of a space: a run of its own kind. Its number within the track gives its seed, so nights differ and can be repeated; what it has
 * done so far lies in its run's summary, and its row in the ledger is written with the run's end, so a night that was cut off goes on and
 * has one row. In order: the champion is checked anew, a provisional promotion is settled or refuted, then the stages of a run, then the
 * anchor: a kernel that stays the same over the nights, whose time shows whether the machine does. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "target.h"
#include "tune_private.h"

#define SAMPLES 3
#define ANCHOR_SESSIONS 4
#define ANCHOR_QUADS 5

/* ---- what was done so far ---- */

static int keep_facts(struct tune *t, struct err *e)
{
    json_t *summary = json_pack("{s:O,s:{s:o}}", "night", t->night_facts, "seconds", "search", tune_clock_json(t));
    int rc = summary ? store_run_state(t->store, t->run.id, NULL, 0, summary, e) : err_nomem(e);

    json_decref(summary);
    return rc;
}

static const char *fact(const struct tune *t, const char *name)
{
    const char *s = json_string_value(json_object_get(t->night_facts, name));

    return s ? s : "";
}

static json_t *text_or_null(const char *s)
{
    return *s ? json_string(s) : json_null();
}

/* Somebody else has changed the champion since this night was cut off: what it did for another one does not count. */
static bool outdated(const struct tune *t, const json_t *kept)
{
    const char *before = json_string_value(json_object_get(kept, "before"));

    if (!t->has_champion) return before != NULL;
    return t->champion.run != t->run.id && (!before || strcmp(before, t->champion.version.name) != 0);
}

/* A restart finds them in the run; a new night begins with who stands. */
static int open_facts(struct tune *t, struct err *e)
{
    const json_t *kept = json_object_get(t->run.summary, "night");
    char date[11];

    if (kept && !outdated(t, kept)) {
        t->night_facts = json_deep_copy(kept);
        return t->night_facts ? 0 : err_nomem(e);
    }
    snprintf(date, sizeof date, "%.10s", t->run.started);
    t->night_facts = json_pack("{s:i,s:s,s:s,s:o}", "night", t->night, "date", date, "space", t->space.name, "before",
                               text_or_null(t->has_champion ? t->champion.version.name : ""));
    return t->night_facts ? keep_facts(t, e) : err_nomem(e);
}

/* ---- kernels that are no proposals ---- */

/* A version, rendered and compiled; again: though its binary is there. NULL: why is in e. */
static struct tune_item *version_item(struct tune *t, const struct store_version *v, bool again, struct err *e)
{
    struct tune_item *i;

    for (int n = 0; n < t->napart; n++)
        if (strcmp(t->apart[n].id, v->cand) == 0 && t->apart[n].job.again == again) return &t->apart[n];
    i = &t->apart[t->napart++];
    *i = (struct tune_item){.seq = -1, .row = v->candidate, .alias_of = -1, .us = NAN, .job.again = again};
    if (tune_champion_point(t, v, &i->cand, e) != 0) return NULL;
    cand_id(t->domain, &i->cand, i->id);
    return tune_prepare(t, i, e) != 0 || (i->rendered && farm_wait(t->farm, &i->job, e) != 0) ? NULL : i;
}

/* Why it could not be made, or NULL. */
static const char *not_made(const struct tune_item *i)
{
    if (!i->rendered) return i->log ? i->log : fate_text(FATE_RENDER);
    return i->job.fate == FATE_OK ? NULL : i->job.log ? i->job.log : fate_text(i->job.fate);
}

/* Its time and launches a sample, unless known. *ok false: its log says why. */
static int timed(struct tune *t, struct tune_item *i, bool *ok, struct err *e)
{
    *ok = isfinite(i->us) && i->k > 0;
    if (*ok) return 0;
    if (tune_evaluate(t, i, TUNE_NO_CHECK, SAMPLES, NULL, NULL, e) != 0) return -1;
    *ok = i->fate == FATE_OK && isfinite(i->us) && i->k > 0;
    return 0;
}

/* ---- the champion, checked anew ---- */

static int broken(const struct tune *t, const char *what, const char *fate, const char *log, struct err *e)
{
    return err_set(e, ERR_INPUT,
                   "the standing champion %s %s (%s): %s\nnobody takes its place silently: find out why, or `fatune "
                   "champion revoke` it",
                   t->champion.version.name, what, fate, log ? log : "");
}

static int check_champion(struct tune *t, struct err *e)
{
    const char *code = json_string_value(json_object_get(t->champion.version.source_facts, "code"));
    struct tune_item *i;
    json_t *list = NULL, *facts;
    bool passed;
    int rc;

    if (!t->has_champion || json_object_get(t->night_facts, "check")) return 0;
    t->progress.phase = TUNE_CHECK;
    tune_report(t, "night %d: champion %s is checked anew, with fresh inputs and on shapes beside its own", t->night,
                t->champion.version.name);
    if (!(i = version_item(t, &t->champion.version, true, e))) return -1;
    if (not_made(i))
        return broken(t, "cannot be compiled any more", fate_name(i->rendered ? i->job.fate : FATE_RENDER), not_made(i),
                      e);
    TRY(tune_prove(t, i, &passed, e));
    if (!passed) {
        rc = broken(t, "fails the full check with fresh inputs", fate_name(i->fate), i->log, e);
        goto out;
    }
    TRY(tune_check_shapes(t, i, t->champion.version.name, &list, e));
    facts = json_pack("{s:s,s:b,s:O}", "version", t->champion.version.name, "same_code",
                      !code || !*code || !*i->job.code || strcmp(code, i->job.code) == 0, "shapes", list);
    json_object_set_new(t->night_facts, "check", facts);
    rc = keep_facts(t, e);
out:
    json_decref(list);
    return rc;
}

/* ---- a promotion that no night has settled ---- */

struct rematch {
    struct tune_item *now, *before;
    struct store_version old;
    struct trial control, trial;
    int64_t control_id, trial_id;
    struct verdict verdict;
    char note[200]; /* why it cannot be tried, "" it can */
};

/* The champion before must be able to stand again, or there is nobody to return to. */
static int rematch_arms(struct tune *t, struct rematch *m, struct err *e)
{
    struct err why = {0};
    bool ok;

    if (!(m->now = version_item(t, &t->champion.version, false, e)) || tune_ready(t, m->now, e) != 0) return -1;
    m->before = version_item(t, &m->old, false, &why);
    if (!m->before && why.code != ERR_INPUT) {
        *e = why;
        return -1;
    }
    if (!m->before || not_made(m->before)) {
        snprintf(m->note, sizeof m->note, "%s, the champion before, cannot be made any more", m->old.name);
        return 0;
    }
    if (tune_prove(t, m->before, &ok, e) != 0) return -1;
    if (!ok) {
        snprintf(m->note, sizeof m->note, "%s, the champion before, fails the full check now (%s)", m->old.name,
                 fate_name(m->before->fate));
        return 0;
    }
    for (int side = 0; side < 2; side++) {
        struct tune_item *i = side ? m->before : m->now;
        if (timed(t, i, &ok, e) != 0) return -1;
        if (ok) continue;
        return err_set(e, ERR_DEVICE, "%s passes its check, but cannot be timed (%s): %s",
                       side ? m->old.name : t->champion.version.name, fate_name(i->fate), i->log ? i->log : "");
    }
    return 0;
}

/* The rule that promoted it, with signs swapped: the champion before is the candidate. A target is no reason to keep a slower one. */
static int rematch_trial(struct tune *t, struct rematch *m, struct err *e)
{
    struct verdict_rule rule = tune_promotion_rule(&t->space, 1);
    double box_s = t->minutes * 60 / 4;
    struct tune_plan plan = tune_plan_trial(t, m->now, m->now, box_s);
    struct rng rng;

    t->progress.phase = TUNE_CONFIRM;
    tune_report(t, "%s was promoted, and no night has settled it: %s, the champion before, is tried against it",
                t->champion.version.name, m->old.name);
    if (tune_trial(t, "aa", m->now, m->now, &plan, &m->control, &m->control_id, e) != 0) return -1;
    plan = tune_plan_trial(t, m->now, m->before, box_s);
    if (tune_trial(t, "ab", m->now, m->before, &plan, &m->trial, &m->trial_id, e) != 0) return -1;
    rule.target_us = 0;
    rng_init(&rng, t->seed + (uint64_t)m->trial_id, "verdict");
    return verdict_decide(&m->verdict, &rule, &m->trial, &m->control, &rng, e);
}

static void rematch_words(const struct tune *t, const struct rematch *m, bool refuted, char *out, size_t size)
{
    const struct verdict *v = &m->verdict;

    if (*m->note)
        snprintf(out, size, "not tried: %s", m->note);
    else
        snprintf(out, size, "night %d: %s takes %.2f%% %s time than %s: %s", t->night, m->old.name,
                 100 * fabs(1 - v->ratio), v->ratio <= 1 ? "less" : "more", t->champion.version.name,
                 refuted ? "the promotion is refuted" : "the promotion is not refuted");
}

/* Writes what became of it; an invalid trial is no evidence, and the next night tries again. */
static int rematch_end(struct tune *t, const struct rematch *m, struct err *e)
{
    bool tried = !*m->note, open = tried && m->verdict.outcome == VERDICT_INVALID;
    bool refuted = tried && m->verdict.outcome == VERDICT_PROMOTE;
    char words[256];
    struct store_decision d = {.run = t->run.id,
                               .trial = m->trial_id,
                               .control = m->control_id,
                               .track = t->track,
                               .verdict = tried ? &m->verdict : NULL,
                               .candidate = m->old.candidate,
                               .note = words};
    json_t *facts;

    if (open)
        snprintf(words, sizeof words, "the trial is not valid: %.200s", m->verdict.why[VERDICT_VALID]);
    else
        rematch_words(t, m, refuted, words, sizeof words);
    facts = json_pack("{s:s,s:s,s:s,s:s,s:o}", "version", t->champion.version.name, "against", m->old.name, "became",
                      open      ? "open"
                      : refuted ? "refuted"
                                : "settled",
                      "note", words, "verdict", tried ? verdict_to_json(&m->verdict) : json_null());
    if (!facts) return err_nomem(e);
    json_object_set_new(t->night_facts, "promotion", facts);
    if ((open ? store_decide(t->store, &d, 1, NULL, NULL, e) : store_settle(t->store, &d, refuted, e)) != 0) return -1;
    tune_report(t, "%s", words);
    if (!refuted) return keep_facts(t, e);
    store_champion_free(&t->champion);
    return store_champion(t->store, t->track, &t->champion, &t->has_champion, e) != 0 ? -1 : keep_facts(t, e);
}

struct found {
    const struct tune *t;
    struct store_champion row; /* of this run, "" none */
};

static int find_row(void *ctx, const struct store_champion *c)
{
    struct found *f = ctx;

    if (c->run != f->t->run.id || (strcmp(c->action, "settle") != 0 && strcmp(c->action, "refute") != 0)) return 0;
    f->row = *c;
    return 1;
}

/* A night that was cut off between the decision and its own note of it finds it in the log. */
static int recall_promotion(struct tune *t, struct err *e)
{
    struct found f = {.t = t};
    struct store_verdict verdict;

    if (json_object_get(t->night_facts, "promotion")) return 0;
    if (store_champion_history(t->store, t->track, find_row, &f, e) != 0) return -1;
    if (f.row.id == 0) return 0;
    if (store_verdict_get(t->store, f.row.verdict, &verdict, e) != 0) return -1;
    json_object_set_new(t->night_facts, "promotion",
                        json_pack("{s:s,s:n,s:s,s:s,s:o}", "version", f.row.version.name, "against", "became",
                                  strcmp(f.row.action, "refute") == 0 ? "refuted" : "settled", "note", f.row.note,
                                  "verdict", verdict.body));
    return keep_facts(t, e);
}

static int try_promotion(struct tune *t, struct err *e)
{
    struct rematch m = {0};
    bool found = false;
    int rc;

    TRY(recall_promotion(t, e));
    if (!t->has_champion || !t->champion.provisional || t->champion.run == t->run.id ||
        json_object_get(t->night_facts, "promotion"))
        goto out;
    TRY(store_champion_before(t->store, t->track, &m.old, &found, e));
    TRY(rematch_arms(t, &m, e));
    if (!*m.note) TRY(rematch_trial(t, &m, e));
    rc = rematch_end(t, &m, e);
out:
    if (found) store_version_free(&m.old);
    trial_free(&m.trial);
    trial_free(&m.control);
    return rc;
}

/* ---- anchor ---- */

struct series {
    int64_t anchor;
    const char *environment;
    double x[512];
    int n;
};

static int take_point(void *ctx, const struct store_night *n)
{
    struct series *s = ctx;

    if (n->anchor != s->anchor || !isfinite(n->anchor_us) || strcmp(n->environment, s->environment) != 0) return 0;
    if (s->n == (int)(sizeof s->x / sizeof *s->x) - 1) { /* the newest are enough */
        memmove(s->x, s->x + 1, sizeof s->x - sizeof *s->x);
        s->n--;
    }
    s->x[s->n++] = log(n->anchor_us);
    return 0;
}

/* Times of one kernel in one environment, night by night, tonight's last. */
static json_t *chart_of(struct tune *t, int64_t anchor, double us, struct err *e)
{
    struct series s = {.anchor = anchor, .environment = t->environment_digest};
    struct chart c;

    if (store_nights(t->store, t->track, take_point, &s, e) != 0) return NULL;
    s.x[s.n++] = log(us);
    if (!chart_judge(&c, s.x, s.n)) return json_pack("{s:i,s:i}", "nights", s.n, "needed", CHART_LEAST + 1);
    return json_pack("{s:i,s:i,s:f,s:f,s:f,s:f,s:b}", "nights", s.n, "needed", CHART_LEAST + 1, "mean_us", exp(c.mu),
                     "average_us", exp(c.z), "low_us", exp(c.low), "high_us", exp(c.high), "outside", (int)c.outside);
}

/* A candidate of this run, or made for this purpose. NULL with e untouched: it cannot be measured here, why says it. */
static struct tune_item *anchor_item(struct tune *t, const struct store_version *v, char why[256], struct err *e)
{
    struct err refused = {0};
    struct tune_item *i = NULL;
    bool ok;

    for (int n = 0; n < t->nitems && !i; n++)
        if (strcmp(t->items[n]->id, v->cand) == 0 && t->items[n]->fate == FATE_OK && t->items[n]->k > 0)
            i = t->items[n];
    if (i) return tune_ready(t, i, e) == 0 ? i : NULL;
    i = version_item(t, v, false, &refused);
    if (!i && refused.code != ERR_INPUT)
        *e = refused;
    else if (!i || not_made(i))
        snprintf(why, 256, "%s cannot be made any more", v->name);
    else if (timed(t, i, &ok, e) == 0 && !ok)
        snprintf(why, 256, "%s does not run (%s)", v->name, fate_name(i->fate));
    else if (e->code == ERR_OK)
        return i;
    return NULL;
}

static void take_control(struct store_night *n, double ratio, double low, double high)
{
    if (isfinite(n->control) || !isfinite(ratio) || !isfinite(low) || !isfinite(high)) return;
    n->control = ratio;
    n->control_low = low;
    n->control_high = high;
}

/* The median letter of an A/A trial, which is the night's control when no other was needed. *facts: new reference. */
static int measure_anchor(struct tune *t, const struct store_version *first, struct store_night *n, json_t **facts,
                          struct err *e)
{
    struct verdict_rule rule = tune_promotion_rule(&t->space, 1);
    struct tune_plan plan;
    struct tune_item *i;
    struct trial aa = {0};
    struct verdict v;
    char why[256] = "";
    struct rng rng;
    json_t *chart;
    int64_t id;
    int rc = 0;

    i = anchor_item(t, first, why, e);
    if (!i && e->code != ERR_OK) return -1;
    *facts = json_pack("{s:s,s:o}", "version", first->name, "left_out", text_or_null(why));
    if (!i) return 0;
    plan = tune_plan_trial(t, i, i, t->minutes * 60 / 4);
    plan.sessions = plan.sessions < ANCHOR_SESSIONS ? plan.sessions : ANCHOR_SESSIONS;
    plan.quads = plan.quads < ANCHOR_QUADS ? plan.quads : ANCHOR_QUADS;
    tune_report(t, "anchor: %s, which stays the same over the nights", first->name);
    TRY(tune_trial(t, "aa", i, i, &plan, &aa, &id, e)); /* where it is the standing arm, that is the control */
    rule.control_required = false;
    rng_init(&rng, t->seed + (uint64_t)id, "verdict");
    TRY(verdict_decide(&v, &rule, &aa, &aa, &rng, e)); /* its own control: for the ratio and its interval */
    if (aa.invalid || !isfinite(v.median_a_us) || !isfinite(v.median_b_us)) {
        json_object_set_new(*facts, "left_out", json_string(aa.invalid ? aa.reason : "it gave no times"));
        goto out;
    }
    take_control(n, v.aa_ratio, v.aa_ci.low, v.aa_ci.high);
    n->anchor_us = sqrt(v.median_a_us * v.median_b_us);
    if (!(chart = chart_of(t, i->row, n->anchor_us, e))) {
        rc = -1;
        goto out;
    }
    json_object_set_new(*facts, "us", json_real(n->anchor_us));
    json_object_set_new(*facts, "chart", chart);
    if (json_is_true(json_object_get(chart, "outside")))
        tune_report(t,
                    "the machine is not what it was: the anchor's average of %.3f us is outside its limits "
                    "[%.3f, %.3f] over %d nights; nothing is decided by it",
                    json_number_value(json_object_get(chart, "average_us")),
                    json_number_value(json_object_get(chart, "low_us")),
                    json_number_value(json_object_get(chart, "high_us")),
                    (int)json_integer_value(json_object_get(chart, "nights")));
out:
    trial_free(&aa);
    return rc;
}

static int anchor(struct tune *t, struct store_night *n, json_t **facts, struct err *e)
{
    struct store_version first;
    bool found;
    int rc;

    *facts = NULL;
    if (store_champion_first(t->store, t->track, &first, &found, e) != 0) return -1;
    if (!found) return 0;
    n->anchor = first.candidate;
    rc = measure_anchor(t, &first, n, facts, e);
    store_version_free(&first);
    return rc;
}

/* ---- the end ---- */

static void first_line(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
}

/* Why the best challenger did not make it, in a line. */
static void kept_because(const struct tune *t, char *out, size_t size)
{
    const json_t *v = json_object_get(json_array_get(t->trials, 0), "verdict"),
                 *clauses = json_object_get(v, "clauses");

    for (size_t i = 0; i < json_array_size(clauses); i++) {
        const json_t *c = json_array_get(clauses, i);
        if (json_is_true(json_object_get(c, "passed"))) continue;
        snprintf(out, size, "best challenger: %s, %s: %s", json_string_value(json_object_get(v, "outcome")),
                 json_string_value(json_object_get(c, "clause")), json_string_value(json_object_get(c, "why")));
        return;
    }
    if (json_array_size(t->trials) == 0) snprintf(out, size, "nobody was left to challenge it");
}

/* How it ended, from who stood and who stands. */
static int outcome(struct tune *t, struct store_night *n, struct err *e)
{
    const json_t *promotion = json_object_get(t->night_facts, "promotion");
    const char *became = json_string_value(json_object_get(promotion, "became")), *word;
    struct store_champion c = {0};
    bool found;

    if (store_champion(t->store, t->track, &c, &found, e) != 0) return -1;
    snprintf(n->before, sizeof n->before, "%s", fact(t, "before"));
    snprintf(n->after, sizeof n->after, "%s", found ? c.version.name : "");
    snprintf(n->promotion, sizeof n->promotion, "%s", became ? became : "");
    if (!found)
        word = "none";
    else if (!*n->before)
        word = "crowned";
    else if (c.run == t->run.id && strcmp(c.action, "promote") == 0)
        word = "promoted";
    else
        word = strcmp(n->promotion, "refuted") == 0 ? "refuted" : "kept";
    snprintf(n->outcome, sizeof n->outcome, "%s", word);
    if (strcmp(word, "kept") == 0)
        kept_because(t, n->note, sizeof n->note);
    else
        snprintf(n->note, sizeof n->note, "%s", found ? c.note : "no candidate could be proven");
    if (found) store_champion_free(&c);
    return 0;
}

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* All that --json prints of a night. Takes run and anchor (NULL: none). */
static json_t *night_json(struct tune *t, const struct store_night *n, json_t *run, json_t *anchor_facts)
{
    json_t *j = json_deep_copy(t->night_facts);
    char device[32];

    target_text(&t->target, device, sizeof device);
    json_object_set_new(j, "device", json_string(device));
    json_object_set_new(j, "device_name", json_string(t->target.name));
    json_object_set_new(j, "track", json_string(t->track));
    json_object_set_new(j, "outcome", json_string(n->outcome));
    json_object_set_new(j, "after", text_or_null(n->after));
    json_object_set_new(j, "note", json_string(n->note));
    json_object_set_new(j, "control", real(n->control));
    json_object_set_new(j, "control_ci", json_pack("[o,o]", real(n->control_low), real(n->control_high)));
    json_object_set_new(j, "trials", json_integer(n->trials));
    json_object_set_new(j, "alpha_spent", json_real(n->alpha));
    json_object_set_new(j, "anchor", anchor_facts ? anchor_facts : json_null());
    json_object_set_new(j, "run", run ? run : json_null());
    json_object_set_new(j, "seconds", json_real(tune_elapsed(t)));
    return j;
}

static struct store_night row(const struct tune *t)
{
    struct store_night n = {.run = t->run.id,
                            .number = t->night,
                            .control = NAN,
                            .control_low = NAN,
                            .control_high = NAN,
                            .anchor_us = NAN};

    snprintf(n.track, sizeof n.track, "%s", t->track);
    return n;
}

/* What was spent on trials, and the control that they share: the one of the decision, or else of the rematch. */
static void spend(const struct tune *t, struct store_night *n)
{
    const json_t *rematch = json_object_get(json_object_get(t->night_facts, "promotion"), "verdict");
    const json_t *verdict = json_object_get(json_array_get(t->trials, 0), "verdict"), *ci;
    bool tried = json_is_object(rematch);

    n->trials = (int)json_array_size(t->trials) + tried;
    n->alpha = t->space.promote.alpha * ((verdict != NULL) + tried); /* the finalists share one */
    if (!verdict) verdict = rematch;
    ci = json_object_get(verdict, "aa_ci");
    if (json_is_number(json_object_get(verdict, "aa_ratio")) && json_is_number(json_array_get(ci, 0)))
        take_control(n, json_number_value(json_object_get(verdict, "aa_ratio")),
                     json_number_value(json_array_get(ci, 0)), json_number_value(json_array_get(ci, 1)));
}

static int finish(struct tune *t, json_t **out, struct err *e)
{
    struct store_night n = row(t);
    json_t *facts = NULL, *run = NULL, *kept = NULL;
    int rc;

    spend(t, &n);
    TRY(anchor(t, &n, &facts, e));
    TRY(outcome(t, &n, e));
    run = tune_summary(t, e);
    kept = run ? json_copy(run) : NULL;
    if (!kept) {
        rc = run ? err_nomem(e) : -1;
        goto out;
    }
    json_object_set(kept, "night", t->night_facts);
    TRY(store_night_put(t->store, &n, "done", worker_now() - t->started, kept, e));
    *out = night_json(t, &n, run, facts);
    run = facts = NULL;
out:
    json_decref(kept);
    json_decref(run);
    json_decref(facts);
    return rc;
}

/* The champion cannot be what it was: the night is over, its row says so, and e stays what it is. */
static void finish_broken(struct tune *t, json_t **out, const struct err *e)
{
    struct store_night n = row(t);
    struct err ignored = {0};
    json_t *summary = json_pack("{s:O}", "night", t->night_facts);

    snprintf(n.before, sizeof n.before, "%s", fact(t, "before"));
    snprintf(n.after, sizeof n.after, "%s", t->champion.version.name);
    snprintf(n.outcome, sizeof n.outcome, "broken");
    first_line(n.note, sizeof n.note, e->text);
    if (store_night_put(t->store, &n, "failed", worker_now() - t->started, summary, &ignored) == 0)
        *out = night_json(t, &n, NULL, NULL);
    json_decref(summary);
}

/* ---- night ---- */

static int count_night(void *ctx, const struct store_night *n)
{
    int *last = ctx;

    *last = n->number;
    return 0;
}

static int number_night(struct tune *t, struct err *e)
{
    char purpose[32];
    struct rng r;
    int last = 0;

    if (store_nights(t->store, t->track, count_night, &last, e) != 0) return -1;
    t->night = last + 1;
    snprintf(purpose, sizeof purpose, "night %d", t->night);
    rng_init(&r, t->seed, purpose);
    t->seed = rng_u64(&r) >> 1; /* JSON's integers have a sign */
    return 0;
}

static int pass_night(struct tune *t, json_t **out, struct err *e)
{
    int rc;

    TRY(open_facts(t, e));
    TRY(check_champion(t, e));
    TRY(try_promotion(t, e));
    TRY(tune_stages(t, e));
    rc = finish(t, out, e);
out:
    return rc;
}

int tune_night(const struct tune_options *o, json_t **out, struct err *e)
{
    struct tune *t = calloc(1, sizeof *t);
    bool begun = false;
    int rc;

    *out = NULL;
    if (!t) return err_nomem(e);
    TRY(tune_open(t, o, true, e));
    TRY(number_night(t, e));
    TRY(tune_begin(t, e));
    begun = true;
    rc = pass_night(t, out, e);
    if (rc != 0 && e->code == ERR_INPUT && t->has_champion && t->night_facts) finish_broken(t, out, e);
    if (*out) begun = false; /* its row is written */
out:
    if (begun) store_run_state(t->store, t->run.id, NULL, worker_now() - t->started, NULL, &(struct err){0});
    tune_close(t);
    free(t);
    return rc;
}
