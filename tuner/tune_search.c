/* The search phase. At most TUNE_LAG proposals are in flight; compiling runs ahead in the farm while the device worker measures
 * what is compiled, and both it and the strategy's answers keep the order of asking. So the proposals depend on seed and answers alone.
 *
 * The device worker has one request at a time, and while it works the supervisor proposes, renders and commits: an answer is read, the next
 * request sent, and only then the answer committed. No request lies in the worker's pipe ahead of its turn, so who is blamed is as plain as
 * ever; what the device waits for is the one piece of work that the supervisor has in hand.
 *
 * A candidate is stopped after one sample when that and the one before it exceed TUNE_STOP_FACTOR times the best that had been told when
 * it was proposed: known from the order of asking alone, so a restart decides the same.
 *
 * Where the device is the host's own CPU, compiling and timing take turns: a window is compiled to the end, then measured, and while
 * anything is measured the supervisor waits.
 *
 * Resume: proposals whose number is in the store already are asked for again and answered from there. Proposals 0..nforced-1 are not the
 * strategy's: the standing champion, or each template's default configuration; then the seeds of the run's settings (tune_seeds.c). The
 * strategy learns them before it is asked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search.h"
#include "tune_private.h"

#define SAMPLES_GPU 5
#define SAMPLES_CPU 3
/* Evaluations between two times that the clock is kept: as much of it a killed invocation may lose. */
#define KEEP_EVERY 16

/* What the store has of this run from before. */
struct past {
    int n, end; /* evaluations; behind the number of the last one */
};

static void adopt(struct tune_item *i, const struct store_evaluation *v)
{
    const char *identity = json_string_value(json_object_get(v->detail, "identity"));

    i->fate = v->fate;
    i->us = v->us;
    i->alias_of = v->alias_of;
    json_decref(i->detail);
    i->detail = json_incref(v->detail);
    i->k = (int)json_integer_value(json_object_get(v->detail, "k"));
    if (identity && strlen(identity) < sizeof i->identity) memcpy(i->identity, identity, strlen(identity) + 1);
    memcpy(i->job.key, v->binary, sizeof i->job.key); /* a known evaluation is stored again, with its binary */
    memcpy(i->job.code, v->code, sizeof i->job.code);
    free(i->log);
    i->log = v->log ? strdup(v->log) : NULL;
    i->done = true;
}

/* ---- one item's way ---- */

static enum timeline_doing doing(struct tune *t, enum timeline_doing what)
{
    return timeline_do(&t->clock, what, worker_now());
}

static int put(struct tune *t, struct tune_item *i, struct err *e)
{
    struct store_evaluation v = {.run = t->run.id,
                                 .candidate = i->row,
                                 .seq = i->seq,
                                 .fate = i->fate,
                                 .us = i->us,
                                 .alias_of = i->alias_of,
                                 .params = cand_to_json(t->domain, &i->cand),
                                 .samples = i == t->sampled && t->nsamples > 0 ? t->samples : NULL,
                                 .nsamples = t->nsamples,
                                 .log = i->log};
    int rc;

    if (i->identity[0]) { /* so that twins are known as such after a restart */
        if (!i->detail) i->detail = json_object();
        json_object_set_new(i->detail, "identity", json_string(i->identity));
    }
    if (i->seed) {
        if (!i->detail) i->detail = json_object();
        json_object_set_new(i->detail, "seed", json_copy((json_t *)(uintptr_t)i->seed));
        json_object_del(json_object_get(i->detail, "seed"), "point"); /* the evaluation's own */
    }
    v.detail = i->detail;
    memcpy(v.cand, i->id, sizeof v.cand);
    memcpy(v.binary, i->job.key, sizeof v.binary);
    memcpy(v.code, i->job.code, sizeof v.code);
    rc = v.params ? store_evaluation_put(t->store, &v, e) : err_nomem(e);
    if (rc == 0) {
        i->row = v.candidate;
        i->committed = true;
    }
    json_decref(v.params);
    return rc;
}

/* The same candidate again (a default that the strategy proposes too), or its twin under another name; NULL: neither. */
static struct tune_item *twin(const struct tune *t, const struct tune_item *i)
{
    struct tune_item *same = tune_item_named(t, i->id);

    return same ? same : tune_item_named(t, i->identity);
}

static void become_alias(struct tune_item *i, const struct tune_item *same)
{
    i->alias_of = same->seq;
    i->fate = same->fate;
    i->us = same->us;
    i->k = same->k;
    i->done = true;
}

static void note(struct tune *t, const struct tune_item *i)
{
    struct buf text = {0};

    t->progress.fates[i->fate]++;
    if (i->alias_of >= 0) t->progress.aliases++;
    if (i->known) t->progress.known++;
    if (json_object_get(i->detail, "stopped")) t->stopped++;
    t->progress.done++;
    if (i->fate == FATE_OK && (t->progress.best_us <= 0 || i->us < t->progress.best_us)) {
        t->progress.best_us = i->us;
        cand_text(t->domain, &i->cand, &text);
        snprintf(t->best_text, sizeof t->best_text, "%s", buf_text(&text));
        buf_free(&text);
    }
    tune_tick(t);
}

/* An item is done, and found by its names from now on. It is committed in its turn. */
static int settle(struct tune *t, struct tune_item *i, struct err *e)
{
    if (i->alias_of < 0 && tune_item_name(t, i, e) != 0) return -1;
    *t->settled_end = i;
    t->settled_end = &i->next;
    return 0;
}

static int commit(struct tune *t, struct err *e)
{
    enum timeline_doing before = doing(t, TIMELINE_STORE);
    int rc = 0;

    for (struct tune_item *i = t->settled; i && rc == 0; i = i->next) {
        bool stored = i->committed;
        if (!stored) rc = put(t, i, e);
        if (rc == 0) note(t, i);
        if (rc == 0 && !stored && ++t->unkept >= KEEP_EVERY) rc = tune_clock_keep(t, e);
    }
    t->settled = t->sampled = NULL;
    t->settled_end = &t->settled;
    doing(t, before);
    return rc;
}

/* Takes the answer from the store when this number is there already, or when this candidate was evaluated in this environment before. */
static int recall(struct tune *t, struct tune_item *i, const struct past *past, struct err *e)
{
    struct store_evaluation v = {0};
    struct tune_item *same;
    bool found = false;
    int rc;

    if (i->seq < past->end && store_evaluation_get(t->store, t->run.id, i->seq, &v, &found, e) != 0) return -1;
    if (found) {
        if (strcmp(v.cand, i->id) != 0) {
            t->outdated = true;
            store_evaluation_free(&v);
            return err_set(e, ERR_STORE,
                           "proposal %d of run %lld differs from the one in the store: a template or fatune itself has "
                           "changed since; start anew with --fresh",
                           i->seq, (long long)t->run.id);
        }
        adopt(i, &v);
        i->row = v.candidate;
        i->committed = true;
        store_evaluation_free(&v);
        return 0;
    }
    same = twin(t, i);
    if (same) become_alias(i, same);
    if (same || t->o->fresh) return 0;
    rc = store_evaluation_known(t->store, i->id, t->run.environment, t->track, &v, &found, e);
    if (rc == 0 && found && v.alias_of < 0) {
        adopt(i, &v);
        i->known = true;
        if (!i->detail) i->detail = json_object();
        json_object_del(i->detail, "seed");   /* of that run */
        json_object_del(i->detail, "report"); /* that run has it: a store that grows by nights need not repeat it */
        if (!json_object_get(i->detail, "known_from_run"))
            json_object_set_new(i->detail, "known_from_run", json_integer(v.run));
        same = twin(t, i);
        if (same) become_alias(i, same);
    }
    store_evaluation_free(&v);
    return rc;
}

/* A new item: answered from the store, refused at rendering, or on its way through the compilers. */
static struct tune_item *start(struct tune *t, const struct cand *c, const json_t *seed, const struct past *past,
                               struct err *e)
{
    struct tune_item *i = tune_item_new(t, c, e);
    enum timeline_doing before = doing(t, TIMELINE_STORE);
    int rc;

    if (i) i->seed = seed;
    rc = i ? recall(t, i, past, e) : -1;
    if (rc == 0 && !i->done) {
        i->bar_us = t->told_us;
        doing(t, TIMELINE_RENDER);
        rc = tune_prepare(t, i, e);
    }
    doing(t, before);
    if (rc == 0 && i->done && (settle(t, i, e) != 0 || commit(t, e) != 0)) rc = -1;
    return rc == 0 ? i : NULL;
}

/* ---- the loop ---- */

static struct tune_timing timing_of(const struct tune *t, const struct tune_item *i)
{
    return (struct tune_timing){t->target.is_host_cpu ? SAMPLES_CPU : SAMPLES_GPU, tune_stop_factor(t) * i->bar_us};
}

/* Sends i, which is compiled, to the device worker, unless it failed or is another's twin: then it is settled. */
static int send(struct tune *t, struct tune_item *i, struct err *e)
{
    const struct tune_timing timing = timing_of(t, i);
    struct tune_item *same;

    if (i->job.fate != FATE_OK) {
        i->fate = i->job.fate;
        i->log = i->job.log ? strdup(i->job.log) : NULL;
        i->done = true;
        return settle(t, i, e);
    }
    farm_identity(i->identity, &i->job, i->launch);
    same = twin(t, i);
    if (same) {
        become_alias(i, same);
        return settle(t, i, e);
    }
    if (tune_evaluate_ask(t, i, TUNE_QUICK, &timing, e) != 0) return -1;
    t->measured = i;
    return 0;
}

/* Gives the device worker the next item, if it is compiled, and settles what needs no device on the way. In the order of asking, not of
 * compiling: which of two twins is measured, and what a device does in which order, then depend on no number of cores. from: the first number
 * that may be unfinished. */
static int feed(struct tune *t, int from, struct err *e)
{
    if (t->target.is_host_cpu && farm_pending(t->farm) > 0) return 0;
    for (int i = from; i < t->nitems && !t->measured; i++) {
        if (t->items[i]->done) continue;
        if (!t->items[i]->job.done) break;
        if (send(t, t->items[i], e) != 0) return -1;
    }
    return 0;
}

/* The answer of the device worker, waited for when it is not there yet. */
static int take(struct tune *t, struct err *e)
{
    struct tune_item *i = t->measured;
    const struct tune_timing timing = timing_of(t, i);

    t->measured = NULL;
    t->sampled = i;
    if (tune_evaluate_take(t, i, &timing, t->samples, &t->nsamples, e) != 0) return -1;
    return settle(t, i, e);
}

/* Moves on what can be moved on: the answer that is there, the next request, then what is to be committed. *moved: something was. from: see
 * feed. */
static int step(struct tune *t, int from, bool *moved, struct err *e)
{
    int rc = farm_check(t->farm, e);

    worker_pump(t->loop, 0);
    if (rc == 0 && t->measured && tune_device_answered(t)) rc = take(t, e);
    if (rc == 0 && !t->measured) rc = feed(t, from, e);
    if (rc == 0 && t->measured && t->target.is_host_cpu) rc = take(t, e); /* nothing else is done meanwhile */
    *moved = t->settled != NULL;
    if (commit(t, e) != 0) rc = -1;
    return rc;
}

/* A moment for the device worker or the compilers. */
static void wait_moment(struct tune *t)
{
    enum timeline_doing before = doing(t, TIMELINE_WAIT);

    worker_pump(t->loop, 0.2);
    doing(t, before);
    tune_tick(t);
}

static int finish_all(struct tune *t, int from, struct err *e)
{
    bool moved;

    for (int i = from; i < t->nitems; i++) {
        while (!t->items[i]->done) {
            if (tune_interrupted(t, e) != 0 || step(t, from, &moved, e) != 0) return -1;
            if (!moved) wait_moment(t);
        }
    }
    return 0;
}

int tune_champion_point(struct tune *t, const struct store_version *v, struct cand *out, struct err *e)
{
    struct err why = {0};
    char id[DIGEST_HEX];

    if (cand_from_json(t->domain, v->params, out, &why) != 0 || !domain_valid(t->domain, out, &why)) {
        return err_set(
            e, ERR_INPUT,
            "the standing champion %s is no longer a point of this space: %s\nrestore the template or the space, or "
            "`fatune champion revoke` it",
            v->name, why.text);
    }
    cand_id(t->domain, out, id);
    if (strcmp(id, v->cand) != 0)
        return err_set(e, ERR_INPUT,
                       "the template of the standing champion %s has changed since it was crowned, so it cannot be "
                       "measured again\nrestore the template, or `fatune champion revoke` it",
                       v->name);
    return 0;
}

static bool proposed(const struct tune *t, const struct cand *c)
{
    for (int i = 0; i < t->nitems; i++)
        if (cand_equal(t->domain, &t->items[i]->cand, c)) return true;
    return false;
}

/* What was known elsewhere when this run began, and is no champion's or default's point anyway. */
static int propose_seeds(struct tune *t, const struct past *past, struct err *e)
{
    const json_t *seeds = json_object_get(t->run.settings, "seeds"), *seed;
    json_t *used = json_array();
    struct buf text = {0};
    size_t i;
    int rc = used ? 0 : err_nomem(e);

    json_array_foreach(seeds, i, seed)
    {
        struct cand c;
        if (rc != 0 || cand_from_json(t->domain, json_object_get(seed, "point"), &c, NULL) != 0 ||
            !domain_valid(t->domain, &c, NULL) || proposed(t, &c))
            continue;
        rc = start(t, &c, seed, past, e) ? json_array_append(used, (json_t *)(uintptr_t)seed) : -1;
    }
    tune_seeds_text(used, &text);
    if (rc == 0 && text.n > 0) tune_report(t, "seeded: %s", buf_text(&text));
    buf_free(&text);
    json_decref(used);
    return rc;
}

/* Proposals that are not the strategy's: the standing champion as arm A, which must still be what it was, or the defaults; then seeds. */
static int forced(struct tune *t, const struct past *past, struct err *e)
{
    struct cand c;
    int first, rc = 0;

    if (t->has_champion) {
        TRY(tune_champion_point(t, &t->champion.version, &c, e));
        if (!(t->standing = start(t, &c, NULL, past, e))) return -1;
    } else {
        for (int i = 0; i < domain_templates(t->domain); i++) {
            if (domain_unfit(t->domain, i) || !domain_default(t->domain, i, &c)) continue;
            if (!start(t, &c, NULL, past, e)) return -1;
        }
    }
    first = t->nitems;
    TRY(propose_seeds(t, past, e));
    t->nforced = t->nitems;
    TRY(finish_all(t, 0, e));
    if (t->has_champion && t->standing->fate != FATE_OK) {
        rc = err_set(
            e, ERR_INPUT,
            "the standing champion %s no longer passes (%s: %s); nobody takes its place silently: find out why, or "
            "`fatune champion revoke` it",
            t->champion.version.name, fate_name(t->standing->fate), t->standing->log ? t->standing->log : "");
        goto out;
    }
    for (int i = 0; i < first && !t->standing; i++)
        if (t->items[i]->fate == FATE_OK) t->standing = t->items[i];
out:
    return rc;
}

static bool out_of_time(const struct tune *t, const struct past *past)
{
    return t->nitems >= past->end && tune_elapsed(t) > t->minutes * 60;
}

/* The time is used: what is not yet measured never will be in this run. Nothing may still be compiling when the race is timed. */
static int stop_searching(struct tune *t, const struct search *s, struct err *e)
{
    int kept = 0;

    if (t->measured && (take(t, e) != 0 || commit(t, e) != 0)) return -1;
    if (farm_cancel(t->farm, e) != 0) return -1;
    for (int i = 0; i < t->nitems; i++) {
        if (t->items[i]->done) {
            t->items[kept++] = t->items[i];
            continue;
        }
        tune_item_free(t->items[i]);
        free(t->items[i]);
    }
    t->nitems = kept;
    tune_report(t, "the time for searching (%.1f min) is used: %d of %d proposals are measured", t->minutes,
                kept - t->nforced, search_budget(s));
    return 0;
}

/* What is known when the next proposal is made. */
static void told(struct tune *t, const struct tune_item *i)
{
    if (i->fate == FATE_OK && (t->told_us <= 0 || i->us < t->told_us)) t->told_us = i->us;
}

/* Asking and telling alternate one by one once the window is full, however many answers are there already: proposal n has
 * seen the answers up to n - TUNE_LAG and no others, so a restart, which has all old answers at once, proposes the same. */
static int proposals(struct tune *t, struct search *s, const struct past *past, struct err *e)
{
    bool more = true, filling = true, moved = false;
    int at = t->nforced; /* the first whose answer was not told */

    while (more || at < t->nitems) {
        int in_flight = t->nitems - at;
        if (tune_interrupted(t, e) != 0) return -1;
        if (out_of_time(t, past)) return stop_searching(t, s, e);
        /* On the host's CPU a window is compiled and measured to its end before the next is opened. */
        if (t->target.is_host_cpu) filling = in_flight == 0 || (filling && in_flight < TUNE_LAG);
        bool ask = more && filling && in_flight < TUNE_LAG, tell = !ask && t->items[at]->done;
        if (!(t->target.is_host_cpu && (ask || tell)) && step(t, at, &moved, e) != 0) return -1;
        if (ask) {
            struct cand c;
            doing(t, TIMELINE_STRATEGY);
            more = search_ask(s, &c);
            doing(t, TIMELINE_OTHER);
            if (more && !start(t, &c, NULL, past, e)) return -1;
        } else if (tell) {
            struct tune_item *i = t->items[at++];
            told(t, i);
            doing(t, TIMELINE_STRATEGY);
            search_tell(s, &i->cand, i->fate == FATE_OK, i->us);
            doing(t, TIMELINE_OTHER);
            tune_item_release(i);
        } else if (!moved) {
            wait_moment(t);
        }
    }
    return 0;
}

static int search(struct tune *t, const struct past *past, struct err *e)
{
    struct search *s = NULL;
    bool exact;
    uint64_t points = domain_count(t->domain, &exact);
    int most, rc;

    TRY(search_open(&s, t->strategy, t->domain, t->seed, t->evaluations, e));
    snprintf(t->strategy, sizeof t->strategy, "%s", search_strategy_name(s));
    tune_report(t, "%llu%s valid points, strategy %s, seed %llu", (unsigned long long)points,
                exact ? "" : " (estimated)", t->strategy, (unsigned long long)t->seed);
    TRY(forced(t, past, e));
    most = t->evaluations + t->nforced; /* what was measured is not proposed again */
    t->progress.total = points < (uint64_t)most ? (int)points : most;
    for (int i = 0; i < t->nforced; i++) {
        told(t, t->items[i]);
        TRY(search_learn(s, &t->items[i]->cand, t->items[i]->fate == FATE_OK, t->items[i]->us, e));
    }
    rc = proposals(t, s, past, e);
out:
    search_close(s);
    return rc;
}

/* However a search ends: who interrupts it gets the sample in hand, and the clock is kept. */
static int leave(struct tune *t, int rc, struct err *e)
{
    struct err second = {0};

    if (t->measured && e->code == ERR_INTERRUPTED && take(t, &second) == 0) commit(t, &second);
    t->measured = NULL;
    tune_device_drop(t);
    timeline_end(&t->clock, farm_seconds(t->farm), worker_now());
    return tune_clock_keep(t, rc == 0 ? e : &second) == 0 ? rc : -1;
}

int tune_search(struct tune *t, struct err *e)
{
    struct past past = {0};

    t->progress.phase = TUNE_SEARCH;
    t->settled = NULL;
    t->settled_end = &t->settled;
    t->told_us = 0;
    if (store_evaluations_count(t->store, t->run.id, &past.n, &past.end, e) != 0) return -1;
    if (past.n > 0) tune_report(t, "going on with run %lld: %d evaluations are kept", (long long)t->run.id, past.n);
    timeline_begin(&t->clock, farm_jobs(t->farm), farm_seconds(t->farm), worker_now());
    return leave(t, search(t, &past, e), e);
}
