/* The store: what is written comes back, and what must not change does not. (Faults: test_store_faults.c.) */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_fixture.h"

/* ---- runs and evaluations ---- */

static int count_runs(void *ctx, const struct store_run *r)
{
    int64_t *ids = ctx;
    ids[++ids[0]] = r->id;
    return 0;
}

static void test_runs(void **state)
{
    struct world *w = *state;
    struct store_run r;
    json_t *j = object("x", "y");
    int64_t second, ids[8] = {0};
    bool found;
    fill(w);
    GOOD(store_run_find(w->s, "nothing", &r, &found, &w->e));
    assert_false(found);
    GOOD(store_run_begin(w->s, w->space, w->environment, "key-1", "track-2", j, &second, &w->e));
    GOOD(store_run_find(w->s, "key-1", &r, &found, &w->e));
    assert_true(found);
    assert_int_equal(r.id, second);
    assert_string_equal(r.state, "search");
    assert_string_equal(r.ended, "");
    assert_null(r.summary);
    assert_true(json_equal(r.settings, j));
    store_run_free(&r);
    GOOD(store_run_state(w->s, second, "race", 1.5, NULL, &w->e));
    GOOD(store_run_state(w->s, second, "done", 2.0, j, &w->e));
    GOOD(store_run_state(w->s, second, "done", 0, NULL, &w->e));
    GOOD(store_run_state(w->s, second, NULL, 0.5, NULL, &w->e)); /* no state: only the time grows */
    GOOD(store_run_get(w->s, second, &r, &w->e));
    assert_string_equal(r.state, "done");
    assert_float_equal(r.elapsed_s, 4.0, 0);
    assert_true(json_equal(r.summary, j));
    assert_int_equal(strlen(r.ended), 24);
    assert_int_equal(r.ended[23], 'Z');
    store_run_free(&r);
    GOOD(store_runs(w->s, NULL, count_runs, ids, &w->e));
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], second);
    ids[0] = 0;
    GOOD(store_runs(w->s, "track-1", count_runs, ids, &w->e));
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], w->run);
    assert_int_equal(store_run_state(w->s, second, "dancing", 0, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    forget(w);
    assert_int_equal(store_run_get(w->s, 99, &r, &w->e), -1);
    json_decref(j);
}

static int check_evaluation(void *ctx, const struct store_evaluation *v)
{
    int *seen = ctx;
    assert_int_equal(v->seq, *seen);
    if (v->seq == 0) {
        assert_int_equal(v->fate, FATE_OK);
        assert_float_equal(v->us, 12.25, 0);
        assert_string_equal(v->binary, "bin");
        assert_string_equal(v->code, "");
        assert_int_equal(v->alias_of, -1);
        assert_null(v->log);
        assert_string_equal(v->cand, DIGEST_A);
        assert_non_null(v->params);
    } else {
        assert_int_equal(v->fate, FATE_COMPILE);
        assert_true(isnan(v->us));
        assert_int_equal(v->alias_of, 0);
        assert_true(strlen(v->log) <= STORE_LOG_MAX);
        assert_text(v->log, "[cut: 100000 bytes in all]");
        assert_memory_equal(v->log, "??\xc3\xa9", 4);
    }
    ++*seen;
    return 0;
}

static void test_evaluations(void **state)
{
    struct world *w = *state;
    double samples[] = {1.5, -0.0, 1e300, 5e-324, 12.25}, *back;
    int seen = 0, n;
    bool found;
    char *log = malloc(100001);
    struct store_evaluation known,
        v = {.run = w->run, .us = 12.25, .binary = "bin", .alias_of = -1, .samples = samples, .nsamples = 5};
    fill(w);
    v.run = w->run;
    v.candidate = w->a;
    GOOD(store_evaluation_put(w->s, &v, &w->e));
    memset(log, 'e', 100000);
    log[100000] = '\0';
    memcpy(log, "\xff\xc0\xc3\xa9", 4); /* two bytes that no UTF-8 holds, then an e acute */
    struct store_evaluation bad = {
        .run = w->run, .candidate = w->b, .seq = 1, .fate = FATE_COMPILE, .us = 3, .code = "code", .log = log};
    GOOD(store_evaluation_put(w->s, &bad, &w->e));
    assert_int_equal(store_evaluation_put(w->s, &v, &w->e), -1); /* seq 0 again */
    assert_int_equal(w->e.code, ERR_STORE);
    forget(w);
    GOOD(store_evaluations(w->s, w->run, check_evaluation, &seen, &w->e));
    assert_int_equal(seen, 2);
    GOOD(store_evaluation_samples(w->s, w->run, 0, &back, &n, &w->e));
    assert_int_equal(n, 5);
    assert_memory_equal(back, samples, sizeof samples);
    free(back);
    GOOD(store_evaluation_known(w->s, DIGEST_A, w->environment, "track-1", &known, &found, &w->e));
    assert_true(found);
    assert_float_equal(known.us, 12.25, 0);
    store_evaluation_free(&known);
    GOOD(store_evaluation_known(w->s, DIGEST_A, w->environment, "track-9", &known, &found, &w->e));
    assert_false(found);
    GOOD(store_evaluation_known(w->s, DIGEST_A, w->environment + 1, "track-1", &known, &found, &w->e));
    assert_false(found);
    free(log);
}

/* A candidate that is new comes with its first evaluation, and goes with it. */
static void test_candidate_with_its_evaluation(void **state)
{
    struct world *w = *state;
    static const char digest[] = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
    json_t *params = object("template", "third");
    struct store_evaluation v = {.run = 0, .us = 3, .alias_of = -1, .params = params}, first;
    int64_t id;
    fill(w);
    memcpy(v.cand, digest, sizeof digest);
    assert_int_equal(store_evaluation_put(w->s, &v, &w->e), -1); /* there is no run 0 */
    assert_int_equal(v.candidate, 0);
    forget(w);
    GOOD(store_number(w->s, &id, NULL, "count", &w->e, "SELECT count(*) FROM candidate WHERE digest = ?", "s", digest));
    assert_int_equal(id, 0);
    v.run = w->run;
    GOOD(store_evaluation_put(w->s, &v, &w->e));
    GOOD(store_candidate(w->s, digest, params, &id, &w->e));
    assert_int_equal(v.candidate, id);
    first = v;
    v.candidate = 0;
    v.seq = 1;
    GOOD(store_evaluation_put(w->s, &v, &w->e)); /* known by now */
    assert_int_equal(v.candidate, first.candidate);
    json_decref(params);
}

static void test_every_fate_fits_the_schema(void **state)
{
    struct world *w = *state;
    fill(w);
    for (int f = 0; f < FATE_N; f++) {
        struct store_evaluation v = {
            .run = w->run, .candidate = w->a, .seq = f, .fate = (enum fate)f, .us = 1, .alias_of = -1};
        GOOD(store_evaluation_put(w->s, &v, &w->e));
    }
}

static void test_checks(void **state)
{
    struct world *w = *state;
    json_t *j = object("law", "holds"), *back;
    enum fate fate;
    bool found;
    fill(w);
    GOOD(store_check_get(w->s, w->run, w->a, "full", &fate, &back, &found, &w->e));
    assert_false(found);
    GOOD(store_check_put(w->s, w->run, w->a, "bin1", "full", FATE_WRONG, NULL, &w->e));
    GOOD(store_check_put(w->s, w->run, w->a, "bin2", "full", FATE_OK, j, &w->e));
    GOOD(store_check_get(w->s, w->run, w->a, "full", &fate, &back, &found, &w->e));
    assert_true(found);
    assert_int_equal(fate, FATE_OK);
    assert_true(json_equal(j, back));
    json_decref(back);
    GOOD(store_check_get(w->s, w->run, w->a, "quick", &fate, NULL, &found, &w->e));
    assert_false(found);
    json_decref(j);
}

struct measured {
    int n, block[8], seq[8];
    double us[8];
};
static int take_race(void *ctx, int block, int seq, double us)
{
    struct measured *m = ctx;
    m->block[m->n] = block;
    m->seq[m->n] = seq;
    m->us[m->n++] = us;
    return 0;
}

static void test_race(void **state)
{
    struct world *w = *state;
    struct measured m = {0};
    fill(w);
    GOOD(store_race_block(w->s, w->run, 0, (int[]){5, 2}, (double[]){1.5, (double)NAN}, 2, &w->e));
    GOOD(store_race_block(w->s, w->run, 1, (int[]){2}, (double[]){2.5}, 1, &w->e));
    /* One bad row refuses the whole block. */
    assert_int_equal(store_race_block(w->s, w->run, 2, (int[]){2, 5}, (double[]){1, -1}, 2, &w->e), -1);
    forget(w);
    GOOD(store_race(w->s, w->run, take_race, &m, &w->e));
    assert_int_equal(m.n, 3);
    assert_int_equal(m.seq[0], 5);
    assert_true(isnan(m.us[1]));
    assert_int_equal(m.block[2], 1);
    GOOD(store_race_clear(w->s, w->run, &w->e));
    m.n = 0;
    GOOD(store_race(w->s, w->run, take_race, &m, &w->e));
    assert_int_equal(m.n, 0);
}

/* ---- trials ---- */

static void put_session(struct world *w, int64_t trial, int number, const char *invalid)
{
    double samples[20];
    struct store_quad q[2] = {0};
    json_t *health = invalid ? object("invalid", invalid) : NULL;
    json_t *clocks = json_pack("{s:[f,f,i,f]}", "letter_mhz", 1980.5, 1965.0, 1950, 1935.0);
    for (int i = 0; i < 20; i++)
        samples[i] = 100 + number + i / 16.0;
    for (int i = 0; i < 2; i++) {
        q[i] = (struct store_quad){
            .quad = {.baab = i == 1, .discarded = i == 0, .letter = {1, 2, 3, 4.5 + number}, .sm_mhz = 1980},
            .samples = samples,
            .nsamples = 20,
            .health = i == 1 ? clocks : NULL};
    }
    GOOD(store_session_put(w->s, trial, number, 0xffffffffffffff00u + (unsigned)number, q, 2, health, &w->e));
    json_decref(health);
    json_decref(clocks);
}

static int count_health(void *ctx, int session, int quad, bool discarded, const json_t *health)
{
    int *n = ctx;
    assert_int_equal(session, *n / 3);
    assert_int_equal(quad, *n % 3 - 1);
    assert_int_equal(discarded, quad == 0);
    assert_int_equal(health != NULL, quad == 1);
    ++*n;
    return 0;
}

static int count_named(void *ctx, const struct store_trial *t)
{
    int *n = ctx;
    assert_true(t->id > 0 && t->sessions > 0);
    assert_int_equal(strlen(t->a), 12); /* of the digest: nobody has a name here */
    ++*n;
    return 0;
}

static int count_trials(struct world *w, const char *track)
{
    int n = 0;
    GOOD(store_trials(w->s, track, count_named, &n, &w->e));
    return n;
}

static void test_trial_goes_on(void **state)
{
    struct world *w = *state;
    json_t *settings = json_pack("{s:i, s:b}", "m", 5, "boxed", 1), *back;
    struct trial t;
    struct verdict v = {.outcome = VERDICT_KEEP, .ratio = 1.01};
    struct store_decision d;
    int64_t trial, control, id;
    bool found, swapped;
    fill(w);
    GOOD(store_trial_find(w->s, w->run, "ab", w->a, w->b, &id, &back, &t, &found, &w->e));
    assert_false(found);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    GOOD(store_trial_begin(w->s, w->run, "aa", w->a, w->a, settings, &control, &w->e));
    put_session(w, trial, 0, NULL);
    put_session(w, trial, 1, NULL);
    struct store_quad none = {0};
    assert_int_equal(store_session_put(w->s, trial, 1, 0, &none, 1, NULL, &w->e), -1); /* twice the same session */
    forget(w);
    reopen(w, STORE_WRITE);
    GOOD(store_trial_find(w->s, w->run, "ab", w->a, w->b, &id, &back, &t, &found, &w->e));
    assert_true(found);
    assert_int_equal(id, trial);
    assert_true(json_equal(back, settings));
    assert_int_equal(t.n, 2);
    assert_int_equal(t.m, 5);
    assert_true(t.boxed);
    assert_false(t.invalid);
    assert_int_equal(t.sessions[1].n, 2);
    assert_true(t.sessions[1].quads[1].baab);
    assert_true(t.sessions[1].quads[0].discarded);
    assert_float_equal(t.sessions[1].quads[0].letter[3], 5.5, 0);
    assert_float_equal(t.sessions[1].quads[0].sm_mhz, 1980, 0);
    assert_float_equal(t.sessions[1].quads[0].letter_mhz[0], 0, 0);
    assert_float_equal(t.sessions[1].quads[1].letter_mhz[0], 1980.5, 0);
    assert_float_equal(t.sessions[1].quads[1].letter_mhz[2], 1950, 0);
    trial_free(&t);
    int seen = 0;
    GOOD(store_trial_health(w->s, trial, count_health, &seen, &w->e));
    assert_int_equal(seen, 6); /* two sessions of two quads */
    json_decref(back);
    GOOD(store_trial_latest(w->s, "track-1", w->a, w->b, &id, &swapped, &found, &w->e));
    assert_false(found); /* not finished */
    decision(w, &d, &v, trial, 0, NULL);
    d.control = control;
    GOOD(store_decide(w->s, &d, 1, NULL, NULL, &w->e));
    GOOD(store_trial_find(w->s, w->run, "ab", w->a, w->b, &id, NULL, &t, &found, &w->e));
    assert_false(found);
    GOOD(store_trial_find(w->s, w->run, "aa", w->a, w->a, &id, NULL, &t, &found, &w->e));
    assert_true(found); /* the control serves the next finalist too */
    assert_int_equal(t.n, 0);
    trial_free(&t);
    GOOD(store_trial_latest(w->s, "track-1", w->a, w->b, &id, &swapped, &found, &w->e));
    assert_true(found);
    assert_false(swapped);
    assert_int_equal(id, trial);
    GOOD(store_trial_latest(w->s, "track-1", w->b, w->a, &id, &swapped, &found, &w->e));
    assert_true(found && swapped); /* its arms change places */
    assert_int_equal(id, trial);
    /* A comparison decides nothing: its trial is finished with its run. */
    int64_t other;
    GOOD(store_trial_begin(w->s, w->run, "ab", w->b, w->a, settings, &other, &w->e));
    put_session(w, other, 0, NULL);
    GOOD(store_trial_latest(w->s, "track-1", w->b, w->a, &id, &swapped, &found, &w->e));
    assert_int_equal(id, trial); /* the other is not finished */
    assert_int_equal(count_trials(w, "track-1"), 1);
    GOOD(store_run_state(w->s, w->run, "done", 0, NULL, &w->e));
    GOOD(store_trial_latest(w->s, "track-1", w->b, w->a, &id, &swapped, &found, &w->e));
    assert_true(found);
    assert_false(swapped);
    assert_int_equal(id, other);
    assert_int_equal(count_trials(w, "track-1"), 2); /* the control has no session */
    GOOD(store_trial_latest(w->s, "track-2", w->a, w->b, &id, &swapped, &found, &w->e));
    assert_false(found);
    assert_int_equal(count_trials(w, "track-2"), 0);
    /* A candidate against itself is a control, in either order. */
    GOOD(store_trial_latest(w->s, "track-1", w->a, w->a, &id, &swapped, &found, &w->e));
    assert_false(found);
    put_session(w, control, 0, NULL);
    GOOD(store_trial_latest(w->s, "track-1", w->a, w->a, &id, &swapped, &found, &w->e));
    assert_true(found && !swapped);
    assert_int_equal(id, control);
    json_decref(settings);
}

static void test_invalid_trial_says_why(void **state)
{
    struct world *w = *state;
    json_t *settings = json_object();
    struct trial t;
    int64_t trial;
    fill(w);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    put_session(w, trial, 0, "throttled");
    GOOD(store_trial_get(w->s, trial, &t, NULL, &w->e));
    assert_true(t.invalid);
    assert_string_equal(t.reason, "throttled");
    trial_free(&t);
    json_decref(settings);
}

static int sum_samples(void *ctx, int session, int quad, const double *samples, int n)
{
    double *sum = ctx;
    assert_int_equal(session, 0);
    assert_int_equal(n, 20);
    sum[quad] += samples[0] + samples[19];
    return 0;
}

static void test_digest_mismatch_is_seen(void **state)
{
    struct world *w = *state;
    json_t *settings = json_object();
    struct trial t;
    double sum[2] = {0};
    int64_t trial;
    fill(w);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    put_session(w, trial, 0, NULL);
    GOOD(store_trial_samples(w->s, trial, sum_samples, sum, &w->e));
    assert_float_equal(sum[1], 201.1875, 0);
    GOOD(store_trial_get(w->s, trial, &t, NULL, &w->e));
    trial_free(&t);
    /* Another program may drop the triggers; the digest still tells. */
    assert_int_equal(
        sqlite3_exec(w->s->db,
                     "DROP TRIGGER series_no_update; UPDATE series SET samples = zeroblob(160) WHERE quad = 2", NULL,
                     NULL, NULL),
        SQLITE_OK);
    assert_int_equal(store_trial_get(w->s, trial, &t, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    assert_text(w->e.text, "digest");
    assert_int_equal(t.n, 0);
    json_decref(settings);
}

/* ---- champions ---- */

static void crown(struct world *w, const char *track, int64_t who, const char *action, const char *as, char name[64])
{
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    decision(w, &d, &v, 0, who, action);
    d.track = track;
    d.as = as;
    GOOD(store_decide(w->s, &d, 1, NULL, name, &w->e));
}

static void assert_champion(struct world *w, const char *track, const char *name, const char *action)
{
    struct store_champion c;
    bool found;
    GOOD(store_champion(w->s, track, &c, &found, &w->e));
    assert_int_equal(found, name != NULL);
    if (found) {
        assert_string_equal(c.version.name, name);
        assert_string_equal(c.action, action);
        assert_string_equal(c.version.space, "s512");
        assert_string_equal(c.version.device, "Fake 9000");
        assert_true(c.verdict > 0);
        assert_string_equal(c.version.track, track);
    }
    store_champion_free(&c);
}

static int take_actions(void *ctx, const struct store_champion *c)
{
    buf_printf(ctx, "%s %s; ", c->action, c->version.name);
    return 0;
}

static void test_revoke_and_restore(void **state)
{
    struct world *w = *state;
    struct buf log = {0};
    char name[64];
    fill(w);
    assert_champion(w, "track-1", NULL, NULL);
    assert_int_equal(store_champion_revoke(w->s, "track-1", "x", &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    forget(w);
    crown(w, "track-1", w->a, "crown", NULL, name);
    assert_string_equal(name, "v1");
    crown(w, "track-1", w->b, "promote", NULL, name);
    assert_string_equal(name, "v2");
    crown(w, "track-1", w->c, "promote", "fast.one", name);
    assert_string_equal(name, "fast.one");
    assert_champion(w, "track-1", "fast.one", "promote");
    GOOD(store_champion_revoke(w->s, "track-1", "wrong on masked rows", &w->e));
    assert_champion(w, "track-1", "v2", "restore");
    /* The same candidate again keeps its name; revoking it removes both of its promotions. */
    crown(w, "track-1", w->a, "promote", NULL, name);
    assert_string_equal(name, "v1");
    crown(w, "track-1", w->b, "promote", NULL, name);
    assert_string_equal(name, "v2");
    GOOD(store_champion_revoke(w->s, "track-1", "slow", &w->e));
    assert_champion(w, "track-1", "v1", "restore");
    GOOD(store_champion_revoke(w->s, "track-1", "old", &w->e));
    assert_champion(w, "track-1", NULL, NULL);
    assert_int_equal(store_champion_revoke(w->s, "track-1", "x", &w->e), -1);
    forget(w);
    reopen(w, STORE_WRITE);
    crown(w, "track-1", w->b, "crown", NULL, name);
    assert_champion(w, "track-1", "v2", "crown");
    GOOD(store_champion_history(w->s, "track-1", take_actions, &log, &w->e));
    assert_string_equal(buf_text(&log),
                        "crown v1; promote v2; promote fast.one; revoke fast.one; restore v2; promote v1; "
                        "promote v2; revoke v2; restore v1; revoke v1; crown v2; ");
    buf_free(&log);
}

static void test_names(void **state)
{
    struct world *w = *state;
    struct store_version found_version;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    char name[64];
    bool found;
    fill(w);
    crown(w, "track-1", w->a, "crown", "v7", name);
    struct store_decision both[2];
    json_t *after = json_pack("{s:i}", "winner", 7), *lost = json_pack("{s:i}", "winner", 8);
    decision(w, &both[0], &v, 0, w->c, NULL);
    decision(w, &both[1], &v, 0, w->b, "promote");
    GOOD(store_decide(w->s, both, 2, after, name, &w->e));
    assert_string_equal(name, "v8");
    assert_int_equal(count(w, "SELECT count(*) FROM verdict"), 3);
    static const char *const bad[] = {"v7",
                                      "",
                                      "a b",
                                      "-x",
                                      "../x",
                                      "abcdef12",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaz"};
    int64_t verdicts = count(w, "SELECT count(*) FROM verdict");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_decision all[2]; /* the other finalist's verdict must not be written either */
        decision(w, &all[0], &v, 0, w->c, NULL);
        decision(w, &all[1], &v, 0, w->b, "promote");
        all[1].as = bad[i];
        forget(w);
        assert_int_equal(store_decide(w->s, all, 2, lost, name, &w->e), -1);
        assert_int_equal(w->e.code, ERR_USAGE);
    }
    forget(w);
    assert_int_equal(count(w, "SELECT count(*) FROM verdict"), verdicts);
    assert_int_equal(count(w, "SELECT json_extract(summary, '$.winner') FROM run WHERE id = 1"), 7);
    json_decref(after);
    json_decref(lost);
    crown(w, "track-1", w->c, "promote", NULL, name);
    /* By name, by prefix, ambiguous, unknown, too short. */
    GOOD(store_version_find(w->s, NULL, "v7", &found_version, &found, &w->e));
    assert_true(found);
    assert_string_equal(found_version.cand, DIGEST_A);
    assert_string_equal(found_version.binary, "bin");
    store_version_free(&found_version);
    GOOD(store_version_find(w->s, "track-1", "AAAAAA1", &found_version, &found, &w->e));
    assert_true(found);
    assert_string_equal(found_version.name, "v7");
    store_version_free(&found_version);
    assert_int_equal(store_version_find(w->s, NULL, "bbbbbb", &found_version, &found, &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    assert_text(w->e.text, DIGEST_B);
    assert_text(w->e.text, DIGEST_C);
    forget(w);
    GOOD(store_version_find(w->s, NULL, "bbbbbb2", &found_version, &found, &w->e));
    assert_true(found);
    store_version_free(&found_version);
    GOOD(store_version_find(w->s, NULL, "aaaaa", &found_version, &found, &w->e));
    assert_false(found);
    GOOD(store_version_find(w->s, "track-2", "v7", &found_version, &found, &w->e));
    assert_false(found);
}

static void test_decision_on_another_track_is_a_bug(void **state)
{
    struct world *w = *state;
    struct store_decision d;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    fill(w);
    decision(w, &d, &v, 0, w->b, "promote");
    d.track = "track-2";
    assert_int_equal(store_decide(w->s, &d, 1, NULL, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_BUG);
    assert_int_equal(count(w, "SELECT count(*) FROM verdict"), 0);
}

static int take_prior(void *ctx, const json_t *params, double us)
{
    struct buf *out = ctx;
    buf_printf(out, "%s=%g ", json_string_value(json_object_get(params, "K")), us);
    return out->n > 8; /* the first two */
}

static int take_import(void *ctx, const struct store_import *i)
{
    buf_printf(ctx, "%lld %s %s %s; ", (long long)i->id, i->file, i->space,
               json_string_value(json_object_get(i->problem, "K")));
    return 0;
}

/* A file is in a space once; its points come best first; nothing of it changes, and none of it is an evaluation. */
static void test_imports(void **state)
{
    struct world *w = *state;
    json_t *three = object("K", "3"), *one = object("K", "1"), *two = object("K", "2");
    const struct store_prior points[] = {{three, 30}, {one, 10}, {two, 20}};
    struct buf text = {0};
    bool added;
    fill(w);
    GOOD(store_import_put(w->s, w->space, "theirs.json", "digest-1", points, 3, &added, &w->e));
    assert_true(added);
    GOOD(store_import_put(w->s, w->space, "copy.json", "digest-1", points, 2, &added, &w->e));
    assert_false(added);
    GOOD(store_import_put(w->s, w->space, "more.csv", "digest-2", points, 1, &added, &w->e));
    assert_true(added);
    GOOD(store_imports(w->s, take_import, &text, &w->e));
    assert_string_equal(buf_text(&text), "2 more.csv s512 1; 1 theirs.json s512 1; ");
    buf_clear(&text);
    GOOD(store_priors(w->s, 1, take_prior, &text, &w->e));
    assert_string_equal(buf_text(&text), "1=10 2=20 ");
    assert_int_equal(count(w, "SELECT count(*) FROM evaluation"), 0);
    assert_int_equal(sqlite3_exec(w->s->db, "UPDATE prior SET us = 1", NULL, NULL, NULL), SQLITE_CONSTRAINT_TRIGGER);
    assert_int_equal(sqlite3_exec(w->s->db, "DELETE FROM import", NULL, NULL, NULL), SQLITE_CONSTRAINT_TRIGGER);
    buf_free(&text);
    json_decref(one);
    json_decref(two);
    json_decref(three);
}

static int take_track(void *ctx, const struct store_track *t)
{
    buf_printf(ctx, "%s/%s/%s %s; ", t->digest, t->space, t->device,
               json_string_value(json_object_get(t->problem, "K")));
    return 0;
}

static void test_newest_track_wins_a_name(void **state)
{
    struct world *w = *state;
    struct store_version v;
    struct buf tracks = {0};
    json_t *j = json_object();
    char name[64];
    bool found;
    fill(w);
    crown(w, "track-1", w->a, "crown", NULL, name);
    GOOD(store_run_begin(w->s, w->space, w->environment, "key-2", "track-2", j, &w->run, &w->e));
    crown(w, "track-2", w->b, "crown", NULL, name);
    assert_string_equal(name, "v1");
    GOOD(store_version_find(w->s, NULL, "v1", &v, &found, &w->e));
    assert_true(found);
    assert_string_equal(v.track, "track-2");
    store_version_free(&v);
    GOOD(store_version_find(w->s, "track-1", "v1", &v, &found, &w->e));
    assert_true(found);
    assert_string_equal(v.cand, DIGEST_A);
    store_version_free(&v);
    GOOD(store_tracks(w->s, take_track, &tracks, &w->e));
    assert_string_equal(buf_text(&tracks), "track-2/s512/Fake 9000 1; track-1/s512/Fake 9000 1; ");
    assert_champion(w, "track-1", "v1", "crown");
    buf_free(&tracks);
    json_decref(j);
}

static void test_evidence_is_append_only(void **state)
{
    struct world *w = *state;
    static const char *const attempts[] = {
        "UPDATE champion SET note = 'x'",
        "DELETE FROM champion",
        "UPDATE verdict SET outcome = 'KEEP'",
        "DELETE FROM verdict",
        "UPDATE series SET n = n",
        "DELETE FROM series",
        "UPDATE quad SET letter0 = 1",
        "DELETE FROM quad",
        "DELETE FROM session",
        "UPDATE version SET name = 'x'",
        "DELETE FROM version",
        "UPDATE evaluation SET us = 1",
        "DELETE FROM evaluation",
        "REPLACE INTO champion(id, track, version, action, at) SELECT id, track, version, action, at FROM champion"};
    json_t *settings = json_object();
    char name[64], *message;
    int64_t trial;
    fill(w);
    put_many(w, 0, 1);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    put_session(w, trial, 0, NULL);
    crown(w, "track-1", w->a, "crown", NULL, name);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        message = NULL;
        int rc = sqlite3_exec(w->s->db, attempts[i], NULL, NULL, &message);
        if (rc != SQLITE_CONSTRAINT_TRIGGER) fail_msg("%s: %d", attempts[i], rc);
        assert_text(message, "append-only");
        sqlite3_free(message);
    }
    json_decref(settings);
}

static void test_all_that_is_known_of_a_candidate(void **state)
{
    struct world *w = *state;
    json_t *settings = json_pack("{s:i}", "m", 5), *all;
    struct store_verdict row;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    int64_t trial;
    char name[64];
    bool found;
    fill(w);
    put_many(w, 0, 2);
    GOOD(store_check_put(w->s, w->run, w->a, "bin", "quick", FATE_OK, settings, &w->e));
    GOOD(store_trial_begin(w->s, w->run, "ab", w->b, w->a, settings, &trial, &w->e));
    put_session(w, trial, 0, NULL);
    decision(w, &d, &v, trial, w->a, "crown");
    d.candidate = w->a;
    GOOD(store_decide(w->s, &d, 1, NULL, name, &w->e));
    GOOD(store_candidate_json(w->s, "aaaaaa", &all, &found, &w->e));
    assert_true(found);
    assert_string_equal(json_string_value(json_object_get(all, "id")), DIGEST_A);
    static const struct {
        const char *key;
        size_t n;
    } want[] = {{"evaluations", 2}, {"checks", 1}, {"trials", 1}, {"verdicts", 1}, {"versions", 1}, {"champion", 1}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(json_array_size(json_object_get(all, want[i].key)), want[i].n);
    json_t *t = json_array_get(json_object_get(all, "trials"), 0);
    assert_string_equal(json_string_value(json_object_get(t, "arm")), "b");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(t, "settings"), "m")), 5);
    GOOD(store_verdict_get(
        w->s, json_integer_value(json_object_get(json_array_get(json_object_get(all, "verdicts"), 0), "id")), &row,
        &w->e));
    assert_string_equal(json_string_value(json_object_get(row.body, "outcome")), verdict_name(VERDICT_PROMOTE));
    assert_string_equal(row.cand, DIGEST_A);
    assert_int_equal(row.trial, trial);
    assert_int_equal(row.run, w->run);
    assert_int_equal(row.control, 0);
    store_verdict_free(&row);
    store_verdict_free(&row);
    assert_int_equal(store_verdict_get(w->s, 99, &row, &w->e), -1);
    forget(w);
    json_decref(all);
    GOOD(store_candidate_json(w->s, "cccccc", &all, &found, &w->e));
    assert_false(found);
    assert_int_equal(store_candidate_json(w->s, "bbbbbb", &all, &found, &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    forget(w);
    assert_int_equal(store_candidate_json(w->s, "xyz", &all, &found, &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    json_decref(settings);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_runs),
                                       T(test_evaluations),
                                       T(test_candidate_with_its_evaluation),
                                       T(test_every_fate_fits_the_schema),
                                       T(test_checks),
                                       T(test_race),
                                       T(test_trial_goes_on),
                                       T(test_invalid_trial_says_why),
                                       T(test_digest_mismatch_is_seen),
                                       T(test_revoke_and_restore),
                                       T(test_names),
                                       T(test_decision_on_another_track_is_a_bug),
                                       T(test_imports),
                                       T(test_newest_track_wins_a_name),
                                       T(test_evidence_is_append_only),
                                       T(test_all_that_is_known_of_a_candidate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
