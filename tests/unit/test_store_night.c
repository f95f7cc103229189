/* Promotions that nights settle or refute, going back, the ledger, and what earlier runs know. */
#include <math.h>

#include "store_fixture.h"

static void crown(struct world *w, int64_t who, const char *action)
{
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    decision(w, &d, &v, 0, who, action);
    GOOD(store_decide(w->s, &d, 1, NULL, NULL, &w->e));
}

/* name NULL: nobody stands. */
static void assert_stands(struct world *w, const char *name, const char *action, bool provisional)
{
    struct store_champion c;
    bool found;
    GOOD(store_champion(w->s, "track-1", &c, &found, &w->e));
    assert_int_equal(found, name != NULL);
    if (found) {
        assert_string_equal(c.version.name, name);
        assert_string_equal(c.action, action);
        assert_int_equal(c.provisional, provisional);
    }
    store_champion_free(&c);
}

static void assert_before(struct world *w, const char *name)
{
    struct store_version v;
    bool found;
    GOOD(store_champion_before(w->s, "track-1", &v, &found, &w->e));
    assert_int_equal(found, name != NULL);
    if (found) assert_string_equal(v.name, name);
    store_version_free(&v);
}

static int settle(struct world *w, bool refuted, const char *note)
{
    struct verdict v = {.outcome = refuted ? VERDICT_PROMOTE : VERDICT_KEEP, .ratio = refuted ? 0.9 : 1.1};
    struct store_decision d;
    decision(w, &d, &v, 0, 0, NULL);
    d.note = note;
    return store_settle(w->s, &d, refuted, &w->e);
}

static int take_actions(void *ctx, const struct store_champion *c)
{
    buf_printf(ctx, "%s %s%s%s; ", c->action, c->version.name, strcmp(c->note, "why") ? ": " : "",
               strcmp(c->note, "why") ? c->note : "");
    return 0;
}

static void assert_log(struct world *w, const char *want)
{
    struct buf log = {0};
    GOOD(store_champion_history(w->s, "track-1", take_actions, &log, &w->e));
    assert_string_equal(buf_text(&log), want);
    buf_free(&log);
}

static void test_a_promotion_is_settled(void **state)
{
    struct world *w = *state;
    fill(w);
    crown(w, w->a, "crown");
    assert_stands(w, "v1", "crown", false); /* nobody's place was taken */
    assert_before(w, NULL);
    assert_int_equal(settle(w, false, "why"), -1);
    assert_int_equal(w->e.code, ERR_BUG);
    forget(w);
    assert_int_equal(count(w, "SELECT count(*) FROM verdict"), 1);
    crown(w, w->b, "promote");
    assert_stands(w, "v2", "promote", true);
    assert_before(w, "v1");
    GOOD(settle(w, false, "why"));
    assert_stands(w, "v2", "promote", false);
    assert_int_equal(settle(w, true, "why"), -1);
    forget(w);
    reopen(w, STORE_READ);
    assert_stands(w, "v2", "promote", false);
    assert_log(w, "crown v1; promote v2; settle v2; ");
}

static void test_a_promotion_is_refuted(void **state)
{
    struct world *w = *state;
    struct buf log = {0};
    fill(w);
    crown(w, w->a, "crown");
    crown(w, w->b, "promote");
    GOOD(settle(w, false, "why"));
    crown(w, w->c, "promote");
    GOOD(settle(w, true, "slower tonight"));
    assert_stands(w, "v2", "restore", false);
    assert_log(w,
               "crown v1; promote v2; settle v2; promote v3; refute v3: slower tonight; restore v2: slower tonight; ");
    assert_int_equal(count(w, "SELECT count(DISTINCT verdict) FROM champion WHERE action IN ('refute', 'restore')"), 1);
    assert_int_equal(
        count(w, "SELECT count(*) FROM champion h JOIN verdict v ON v.id = h.verdict WHERE h.action = 'refute' AND "
                 "v.outcome = 'PROMOTE'"),
        1);
    /* Fresh evidence may promote it again, and the log remembers. */
    crown(w, w->c, "promote");
    assert_stands(w, "v3", "promote", true);
    GOOD(store_champion_history(w->s, "track-1", take_actions, &log, &w->e));
    assert_text(buf_text(&log), "promote v3: why; it was refuted on 20");
    buf_free(&log);
    /* Refuted again, it leaves that place alone. */
    GOOD(settle(w, true, "why"));
    assert_stands(w, "v2", "restore", false);
    GOOD(store_champion_revoke(w->s, "track-1", "wrong", &w->e));
    assert_stands(w, "v1", "restore", false);
    crown(w, w->b, "promote");
    log = (struct buf){0};
    GOOD(store_champion_history(w->s, "track-1", take_actions, &log, &w->e));
    assert_text(buf_text(&log), "promote v2: why; it was revoked on 20");
    buf_free(&log);
}

/* Two promotions in a row that no night has looked at: one night takes back the second alone. */
static void test_promotions_are_refuted_one_by_one(void **state)
{
    struct world *w = *state;
    fill(w);
    crown(w, w->a, "crown");
    crown(w, w->b, "promote");
    crown(w, w->c, "promote");
    GOOD(settle(w, true, "why"));
    assert_stands(w, "v2", "restore", true);
    GOOD(settle(w, true, "why"));
    assert_stands(w, "v1", "restore", false);
}

static void assert_first(struct world *w, const char *name)
{
    struct store_version v;
    bool found;
    GOOD(store_champion_first(w->s, "track-1", &v, &found, &w->e));
    assert_int_equal(found, name != NULL);
    if (found) assert_string_equal(v.name, name);
    store_version_free(&v);
}

static void test_the_first_that_was_not_revoked(void **state)
{
    struct world *w = *state;
    fill(w);
    assert_first(w, NULL);
    crown(w, w->a, "crown");
    crown(w, w->b, "promote");
    assert_first(w, "v1");
    GOOD(settle(w, true, "why")); /* slower is not wrong */
    crown(w, w->c, "promote");
    GOOD(store_champion_rollback(w->s, "track-1", "v1", "why", &w->e));
    assert_first(w, "v1");
    GOOD(store_champion_revoke(w->s, "track-1", "wrong", &w->e));
    assert_first(w, "v2");
}

static void test_nothing_to_return_to(void **state)
{
    struct world *w = *state;
    fill(w);
    crown(w, w->a, "crown");
    crown(w, w->b, "promote");
    crown(w, w->a, "promote");
    GOOD(store_champion_revoke(w->s, "track-1", "wrong", &w->e)); /* takes the crown along */
    assert_stands(w, "v2", "restore", false);
    assert_int_equal(settle(w, true, "why"), -1);
    assert_int_equal(w->e.code, ERR_BUG);
    forget(w);
}

static void test_rollback(void **state)
{
    struct world *w = *state;
    static const char *const refused[] = {"v3", "v9", "v4"};
    struct store_version v = {0};
    bool found;
    fill(w);
    crown(w, w->a, "crown");
    crown(w, w->b, "promote");
    GOOD(settle(w, false, "why"));
    crown(w, w->c, "promote");
    GOOD(store_champion_rollback(w->s, "track-1", "v1", "v2 and v3 overheat", &w->e));
    assert_stands(w, "v1", "rollback", false);
    assert_before(w, NULL);
    assert_log(w, "crown v1; promote v2; settle v2; promote v3; rollback v1: v2 and v3 overheat; ");
    /* Those in between are not deleted. */
    GOOD(store_version_find(w->s, "track-1", "v3", &v, &found, &w->e));
    assert_true(found);
    store_version_free(&v);
    crown(w, w->b, "promote");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(store_champion_rollback(w->s, "track-1", refused[i], "x", &w->e), -1);
        assert_int_equal(w->e.code, ERR_USAGE);
        assert_text(w->e.text, refused[i]);
        forget(w);
    }
    assert_int_equal(store_champion_rollback(w->s, "track-1", "v2", "x", &w->e), -1);
    assert_text(w->e.text, "v2 stands already");
    forget(w);
    assert_stands(w, "v2", "promote", true);
}

/* ---- the ledger ---- */

static struct store_night night(const struct world *w, int number, const char *before, const char *after)
{
    struct store_night n = {.run = w->run,
                            .number = number,
                            .track = "track-1",
                            .outcome = "kept",
                            .promotion = "settled",
                            .control = 1.0004,
                            .control_low = 0.999,
                            .control_high = 1.002,
                            .trials = 4,
                            .alpha = 0.01,
                            .anchor = w->a,
                            .anchor_us = 6.82,
                            .note = "P3 failed"};
    snprintf(n.before, sizeof n.before, "%s", before);
    snprintf(n.after, sizeof n.after, "%s", after);
    return n;
}

static void next_run(struct world *w, const char *key, const char *track)
{
    json_t *j = json_object();
    GOOD(store_run_begin(w->s, w->space, w->environment, key, track, j, &w->run, &w->e));
    json_decref(j);
}

static int take_night(void *ctx, const struct store_night *n)
{
    assert_string_equal(n->space, "s512");
    assert_string_equal(n->device, "Fake 9000");
    assert_string_equal(n->environment, "env-1");
    buf_printf(ctx, "%d %s %s %s>%s %.4f [%.3f, %.3f] %d %.3f %.2f %.1f %s; ", n->number, n->outcome, n->promotion,
               n->before, n->after, n->control, n->control_low, n->control_high, n->trials, n->alpha, n->anchor_us,
               n->seconds, n->note);
    return 0;
}

static void test_ledger(void **state)
{
    struct world *w = *state;
    static const char *const attempts[] = {"UPDATE night SET outcome = 'promoted'", "DELETE FROM night",
                                           "REPLACE INTO night SELECT * FROM night"};
    struct store_run r;
    struct buf text = {0};
    json_t *summary = object("champion", "v1");
    struct store_night n;
    fill(w);
    crown(w, w->a, "crown");
    n = night(w, 1, "", "v1");
    GOOD(store_night_put(w->s, &n, "done", 12.5, summary, &w->e));
    GOOD(store_run_get(w->s, w->run, &r, &w->e));
    assert_string_equal(r.state, "done");
    assert_float_equal(r.elapsed_s, 12.5, 0);
    assert_non_null(json_object_get(r.summary, "champion"));
    store_run_free(&r);
    next_run(w, "key-2", "track-1");
    n = night(w, 1, "v1", "v1"); /* a night has one row, and the run stays as it was */
    assert_int_equal(store_night_put(w->s, &n, "done", 1, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_BUG);
    forget(w);
    GOOD(store_run_get(w->s, w->run, &r, &w->e));
    assert_string_equal(r.state, "search");
    store_run_free(&r);
    n = night(w, 2, "v1", "v1");
    n.control = n.control_low = n.control_high = n.anchor_us = NAN;
    n.anchor = 0;
    memcpy(n.outcome, "broken", 7);
    GOOD(store_night_put(w->s, &n, "failed", 0, NULL, &w->e));
    GOOD(store_nights(w->s, "track-1", take_night, &text, &w->e));
    assert_string_equal(buf_text(&text), "1 kept settled >v1 1.0004 [0.999, 1.002] 4 0.010 6.82 12.5 P3 failed; "
                                         "2 broken settled v1>v1 nan [nan, nan] 4 0.010 nan 0.0 P3 failed; ");
    buf_clear(&text);
    GOOD(store_nights(w->s, "track-2", take_night, &text, &w->e));
    assert_int_equal(text.n, 0);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        assert_int_equal(sqlite3_exec(w->s->db, attempts[i], NULL, NULL, NULL), SQLITE_CONSTRAINT_TRIGGER);
    buf_free(&text);
    json_decref(summary);
}

/* ---- what is known ---- */

static void scored(struct world *w, int seq, int64_t candidate, double us, int alias_of)
{
    struct store_evaluation v = {.run = w->run,
                                 .candidate = candidate,
                                 .seq = seq,
                                 .fate = us > 0 ? FATE_OK : FATE_WRONG,
                                 .us = us > 0 ? us : (double)NAN,
                                 .alias_of = alias_of};
    GOOD(store_evaluation_put(w->s, &v, &w->e));
}

static int take_best(void *ctx, const json_t *params, const char *cand, double us)
{
    assert_non_null(json_object_get(params, "K"));
    buf_printf(ctx, "%.6s %.1f; ", cand, us);
    return 0;
}

static void assert_best(struct world *w, int64_t environment, int64_t run, int n, const char *want)
{
    struct buf text = {0};
    GOOD(store_best(w->s, "track-1", environment, run, n, take_best, &text, &w->e));
    assert_string_equal(buf_text(&text), want);
    buf_free(&text);
}

static void test_best_of_earlier_runs(void **state)
{
    struct world *w = *state;
    json_t *facts = object("device", "Fake 9000");
    int64_t other;
    fill(w);
    assert_best(w, w->environment, w->run, 8, "");
    scored(w, 0, w->a, 3, -1);
    scored(w, 1, w->b, 2, -1);
    scored(w, 2, w->b, 1, 1); /* an alias is somebody else's score */
    scored(w, 3, w->c, -1, -1);
    assert_best(w, w->environment, w->run, 8, ""); /* earlier ones alone */
    assert_best(w, w->environment, w->run + 1, 8, "bbbbbb 2.0; aaaaaa 3.0; ");
    assert_best(w, w->environment, w->run + 1, 1, "bbbbbb 2.0; ");
    next_run(w, "key-2", "track-1");
    scored(w, 0, w->b, 4, -1); /* the newest score counts */
    next_run(w, "key-3", "track-2");
    scored(w, 0, w->c, 1, -1);
    assert_best(w, w->environment, w->run + 1, 8, "aaaaaa 3.0; bbbbbb 4.0; ");
    /* Nothing was measured in the new environment: the newest that has scores gives the order. */
    GOOD(store_environment(w->s, "env-2", facts, &other, &w->e));
    assert_best(w, other, w->run + 1, 8, "aaaaaa 3.0; bbbbbb 4.0; ");
    w->environment = other;
    next_run(w, "key-4", "track-1");
    scored(w, 0, w->c, 9, -1);
    assert_best(w, other, w->run + 1, 8, "bbbbbb 9.0; ");
    json_decref(facts);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_a_promotion_is_settled),
                                       T(test_a_promotion_is_refuted),
                                       T(test_promotions_are_refuted_one_by_one),
                                       T(test_nothing_to_return_to),
                                       T(test_the_first_that_was_not_revoked),
                                       T(test_rollback),
                                       T(test_ledger),
                                       T(test_best_of_earlier_runs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
