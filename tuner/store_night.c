/* store_night.c - the ledger of nights, and what earlier runs of a track know.
 *
 * Invariants: a night has one row, written with the end of its run, so a night that was cut off has none and goes on; rows never change
 * (triggers in the schema). A store of an older schema has no table, and no nights. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store_private.h"

static int put(struct store *s, const struct store_night *n, const char *what, struct err *e)
{
    int64_t taken = 0;
    char now[32];
    int rc;
    TRY(store_number(s, &taken, NULL, what, e, "SELECT count(*) FROM night WHERE track = ? AND number = ?", "si",
                     n->track, (int64_t)n->number));
    if (taken) {
        rc = err_set(e, ERR_BUG, "store: night %d of track %.64s is in the ledger already", n->number, n->track);
        goto out;
    }
    store_now(now);
    TRY(store_write(s, NULL, what, e,
                    "INSERT INTO night(track, number, run, outcome, promotion, before, after, control, control_low,"
                    " control_high, trials, alpha, anchor, anchor_us, seconds, note, at) VALUES(?1, ?2, ?3, ?4, ?5,"
                    " (SELECT id FROM version WHERE track = ?1 AND name = ?6),"
                    " (SELECT id FROM version WHERE track = ?1 AND name = ?7), ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
                    " (SELECT elapsed_s FROM run WHERE id = ?3), ?15, ?16)",
                    "siissssdddidkdss", n->track, (int64_t)n->number, n->run, n->outcome, n->promotion, n->before,
                    n->after, n->control, n->control_low, n->control_high, (int64_t)n->trials, n->alpha, n->anchor,
                    n->anchor_us, n->note, now));
out:
    return rc;
}

int store_night_put(struct store *s, const struct store_night *n, const char *state, double add_elapsed_s,
                    const json_t *summary, struct err *e)
{
    static const char what[] = "write a night into the ledger";
    if (store_begin(s, what, e) != 0) return -1;
    int rc = store_run_state(s, n->run, state, add_elapsed_s, summary, e);
    if (rc == 0) rc = put(s, n, what, e);
    return store_end(s, rc, what, e);
}

static double real(sqlite3_stmt *st, int column)
{
    return sqlite3_column_type(st, column) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, column);
}

static int night_row(struct store *s, sqlite3_stmt *st, struct store_night *n, const char *what, struct err *e)
{
    json_t *facts = NULL;
    *n = (struct store_night){.run = sqlite3_column_int64(st, 0),
                              .number = sqlite3_column_int(st, 1),
                              .control = real(st, 9),
                              .control_low = real(st, 10),
                              .control_high = real(st, 11),
                              .trials = sqlite3_column_int(st, 12),
                              .alpha = sqlite3_column_double(st, 13),
                              .anchor = sqlite3_column_int64(st, 14),
                              .anchor_us = real(st, 15),
                              .seconds = sqlite3_column_double(st, 16)};
    store_text(st, 2, n->track, sizeof n->track);
    store_text(st, 3, n->space, sizeof n->space);
    store_text(st, 4, n->environment, sizeof n->environment);
    store_text(st, 5, n->outcome, sizeof n->outcome);
    store_text(st, 6, n->promotion, sizeof n->promotion);
    store_text(st, 7, n->before, sizeof n->before);
    store_text(st, 8, n->after, sizeof n->after);
    store_text(st, 17, n->note, sizeof n->note);
    store_text(st, 18, n->at, sizeof n->at);
    if (store_json(s, st, 19, &facts, what, e) != 0) return -1;
    store_device(facts, n->device);
    json_decref(facts);
    return 0;
}

int store_nights(struct store *s, const char *track, int (*f)(void *ctx, const struct store_night *n), void *ctx,
                 struct err *e)
{
    static const char what[] = "read the ledger of nights";
    sqlite3_stmt *st = NULL;
    int64_t tables = 0;
    int rc, stop = 0;
    TRY(store_number(s, &tables, NULL, what, e, "SELECT count(*) FROM sqlite_schema WHERE name = 'night'", ""));
    if (!tables) goto out;
    TRY(store_query(s, &st, what, e,
                    "SELECT n.run, n.number, n.track, s.name, e.digest, n.outcome, n.promotion, b.name, a.name,"
                    " n.control, n.control_low, n.control_high, n.trials, n.alpha, n.anchor, n.anchor_us, n.seconds,"
                    " n.note, n.at, e.facts FROM night n JOIN run r ON r.id = n.run JOIN space s ON s.id = r.space"
                    " JOIN environment e ON e.id = r.environment LEFT JOIN version b ON b.id = n.before"
                    " LEFT JOIN version a ON a.id = n.after WHERE ?1 IS NULL OR n.track = ?1 ORDER BY n.id",
                    "s", track));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_night n;
        TRY(night_row(s, st, &n, what, e));
        stop = f(ctx, &n);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

/* The environment whose scores are to be compared; 0 when nothing was measured yet. */
static int scored_environment(struct store *s, const char *track, int64_t environment, int64_t run, int64_t *out,
                              const char *what, struct err *e)
{
    bool found;
    *out = 0;
    return store_number(s, out, &found, what, e,
                        "SELECT environment FROM run WHERE track = ?1 AND id < ?2 AND EXISTS"
                        " (SELECT 1 FROM evaluation WHERE run = run.id AND fate = 'OK' AND alias_of IS NULL)"
                        " ORDER BY environment = ?3 DESC, id DESC LIMIT 1",
                        "sii", track, run, environment);
}

int store_best(struct store *s, const char *track, int64_t environment, int64_t run, int n,
               int (*f)(void *ctx, const json_t *params, const char *cand, double us), void *ctx, struct err *e)
{
    static const char what[] = "look up the best of earlier runs";
    sqlite3_stmt *st = NULL;
    json_t *params = NULL;
    int64_t from;
    int rc, stop = 0;
    TRY(scored_environment(s, track, environment, run, &from, what, e));
    /* A bare column beside max() is of the row that has the maximum: the newest score, so that no lucky one is kept for good. */
    TRY(store_query(s, &st, what, e,
                    "SELECT c.params, c.digest, v.us, max(v.id) FROM evaluation v JOIN run r ON r.id = v.run"
                    " JOIN candidate c ON c.id = v.candidate WHERE r.track = ? AND r.environment = ? AND v.run < ?"
                    " AND v.alias_of IS NULL AND v.us IS NOT NULL GROUP BY c.id ORDER BY v.us, c.id LIMIT ?",
                    "siii", track, from, run, (int64_t)n));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        char cand[65];
        store_text(st, 1, cand, sizeof cand);
        TRY(store_json(s, st, 0, &params, what, e));
        stop = f(ctx, params, cand, sqlite3_column_double(st, 2));
        json_decref(params);
        params = NULL;
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}
