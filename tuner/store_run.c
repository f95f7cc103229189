/* store_run.c - identities, runs, evaluations, proofs, race.
 *
 * Invariants: an identity's row is written once and found by its digest for ever; an evaluation and its samples are one
 * transaction and never change; a race may be cleared, because its numbers select and never decide. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "store_private.h"

/* ---- identities ---- */

/* The id of the row of table with this digest. */
static int identity_id(struct store *s, const char *table, const char *digest, int64_t *id, bool *found,
                       const char *what, struct err *e)
{
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT id FROM %s WHERE digest = ?", table);
    return store_number(s, id, found, what, e, sql, "s", digest);
}

int store_environment(struct store *s, const char *digest, const json_t *facts, int64_t *id, struct err *e)
{
    static const char what[] = "add an environment";
    char now[32];
    bool found;
    int rc;
    TRY(store_writable(s, what, e));
    TRY(identity_id(s, "environment", digest, id, &found, what, e));
    if (found) return 0;
    store_now(now);
    TRY(store_write(s, id, what, e, "INSERT INTO environment(digest, facts, created) VALUES(?,?,?)", "sjs", digest,
                    facts, now));
out:
    return rc;
}

int store_space(struct store *s, const char *digest, const char *name, const char *text, const json_t *problem,
                int64_t *id, struct err *e)
{
    static const char what[] = "add a space";
    char now[32];
    bool found;
    int rc;
    TRY(store_writable(s, what, e));
    TRY(identity_id(s, "space", digest, id, &found, what, e));
    if (found) return 0;
    store_now(now);
    TRY(store_write(s, id, what, e, "INSERT INTO space(digest, name, text, problem, created) VALUES(?,?,?,?,?)",
                    "sssjs", digest, name, text, problem, now));
out:
    return rc;
}

int store_space_text(struct store *s, int64_t space, char **name, char **text, struct err *e)
{
    static const char what[] = "read a space";
    sqlite3_stmt *st;
    int rc;

    *name = *text = NULL;
    TRY(store_query(s, &st, what, e, "SELECT name, text FROM space WHERE id = ?", "i", space));
    rc = store_step(s, st, what, e);
    if (rc == 1) {
        *name = strdup((const char *)sqlite3_column_text(st, 0));
        *text = strdup((const char *)sqlite3_column_text(st, 1));
        rc = *name && *text ? 0 : err_nomem(e);
    } else if (rc == 0) {
        rc = store_damaged(s, what, "the space of a run is missing", e);
    }
    sqlite3_finalize(st);
out:
    return rc;
}

int store_candidate(struct store *s, const char *digest, const json_t *params, int64_t *id, struct err *e)
{
    static const char what[] = "add a candidate";
    char now[32];
    bool found;
    int rc;
    TRY(store_writable(s, what, e));
    TRY(identity_id(s, "candidate", digest, id, &found, what, e));
    if (found) return 0;
    store_now(now);
    TRY(store_write(s, id, what, e, "INSERT INTO candidate(digest, params, created) VALUES(?,?,?)", "sjs", digest,
                    params, now));
out:
    return rc;
}

/* ---- runs ---- */

#define RUN_COLUMNS "id, space, environment, key, track, state, started, ended, elapsed_s, settings, summary"

void store_run_free(struct store_run *r)
{
    if (!r) return;
    json_decref(r->settings);
    json_decref(r->summary);
    *r = (struct store_run){0};
}

static int run_row(struct store *s, sqlite3_stmt *st, struct store_run *r, const char *what, struct err *e)
{
    int rc;
    *r = (struct store_run){0};
    r->id = sqlite3_column_int64(st, 0);
    r->space = sqlite3_column_int64(st, 1);
    r->environment = sqlite3_column_int64(st, 2);
    store_text(st, 3, r->key, sizeof r->key);
    store_text(st, 4, r->track, sizeof r->track);
    store_text(st, 5, r->state, sizeof r->state);
    store_text(st, 6, r->started, sizeof r->started);
    store_text(st, 7, r->ended, sizeof r->ended);
    r->elapsed_s = sqlite3_column_double(st, 8);
    TRY(store_json(s, st, 9, &r->settings, what, e));
    TRY(store_json(s, st, 10, &r->summary, what, e));
out:
    if (rc != 0) store_run_free(r);
    return rc;
}

int store_run_find(struct store *s, const char *key, struct store_run *out, bool *found, struct err *e)
{
    static const char what[] = "look up a run";
    sqlite3_stmt *st = NULL;
    int rc;
    *found = false;
    *out = (struct store_run){0};
    TRY(store_query(s, &st, what, e, "SELECT " RUN_COLUMNS " FROM run WHERE key = ? ORDER BY id DESC LIMIT 1", "s",
                    key));
    rc = store_step(s, st, what, e);
    if (rc != 1) goto out;
    TRY(run_row(s, st, out, what, e));
    *found = true;
out:
    sqlite3_finalize(st);
    return rc;
}

int store_run_begin(struct store *s, int64_t space, int64_t environment, const char *key, const char *track,
                    const json_t *settings, int64_t *id, struct err *e)
{
    static const char what[] = "begin a run";
    char now[32];
    if (store_writable(s, what, e) != 0) return -1;
    store_now(now);
    return store_write(
        s, id, what, e,
        "INSERT INTO run(space, environment, key, track, state, settings, started) VALUES(?,?,?,?,'search',?,?)",
        "iissjs", space, environment, key, track, settings, now);
}

int store_run_state(struct store *s, int64_t run, const char *state, double add_elapsed_s, const json_t *summary,
                    struct err *e)
{
    static const char what[] = "update a run";
    char now[32];
    if (store_writable(s, what, e) != 0) return -1;
    bool ended = state && (strcmp(state, "done") == 0 || strcmp(state, "failed") == 0);
    store_now(now);
    return store_write(
        s, NULL, what, e,
        "UPDATE run SET state = coalesce(?1, state), elapsed_s = elapsed_s + ?2, summary = coalesce(?3, summary),"
        " ended = CASE WHEN ?1 IS NULL THEN ended ELSE ?4 END WHERE id = ?5",
        "sdjsi", state, add_elapsed_s > 0 ? add_elapsed_s : 0.0, summary, ended ? now : NULL, run);
}

int store_run_get(struct store *s, int64_t id, struct store_run *out, struct err *e)
{
    static const char what[] = "read a run";
    sqlite3_stmt *st = NULL;
    int rc;
    *out = (struct store_run){0};
    TRY(store_query(s, &st, what, e, "SELECT " RUN_COLUMNS " FROM run WHERE id = ?", "i", id));
    rc = store_step(s, st, what, e);
    if (rc == 1)
        rc = run_row(s, st, out, what, e);
    else if (rc == 0)
        rc = err_set(e, ERR_STORE, "store %.1000s: there is no run %lld\nlist runs with `fatune report`", s->path,
                     (long long)id);
out:
    sqlite3_finalize(st);
    return rc;
}

int store_runs(struct store *s, const char *track, int (*f)(void *ctx, const struct store_run *r), void *ctx,
               struct err *e)
{
    static const char what[] = "list runs";
    sqlite3_stmt *st = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e, "SELECT " RUN_COLUMNS " FROM run WHERE ?1 IS NULL OR track = ?1 ORDER BY id DESC",
                    "s", track));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_run r;
        TRY(run_row(s, st, &r, what, e));
        stop = f(ctx, &r);
        store_run_free(&r);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

int store_tracks(struct store *s, int (*f)(void *ctx, const struct store_track *t), void *ctx, struct err *e)
{
    static const char what[] = "list tracks";
    sqlite3_stmt *st = NULL;
    json_t *facts = NULL, *problem = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e,
                    "SELECT r.track, s.name, n.facts, s.problem FROM run r JOIN space s ON s.id = r.space"
                    " JOIN environment n ON n.id = r.environment"
                    " WHERE r.id = (SELECT max(id) FROM run WHERE track = r.track) ORDER BY r.id DESC",
                    ""));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_track t;
        store_text(st, 0, t.digest, sizeof t.digest);
        store_text(st, 1, t.space, sizeof t.space);
        TRY(store_json(s, st, 2, &facts, what, e));
        TRY(store_json(s, st, 3, &problem, what, e));
        store_device(facts, t.device);
        t.problem = problem;
        stop = f(ctx, &t);
        json_decref(facts);
        json_decref(problem);
        facts = problem = NULL;
    }
    if (stop) rc = 0;
out:
    json_decref(facts);
    json_decref(problem);
    sqlite3_finalize(st);
    return rc;
}

/* ---- evaluations ---- */

#define EVALUATION_COLUMNS                                                                                             \
    "v.run, v.candidate, v.seq, c.digest, v.fate, v.us, v.binary, v.code, v.alias_of, c.params, v.detail, v.log, "     \
    "v.created"

void store_evaluation_free(struct store_evaluation *v)
{
    if (!v) return;
    json_decref(v->params);
    json_decref(v->detail);
    free(v->log);
    *v = (struct store_evaluation){0};
}

int store_fate(struct store *s, sqlite3_stmt *st, int column, enum fate *out, const char *what, struct err *e)
{
    const char *name = (const char *)sqlite3_column_text(st, column);
    if (!name) return err_nomem(e);
    return fate_parse(out, name) == 0 ? 0 : store_damaged(s, what, "an unknown fate", e);
}

static int evaluation_row(struct store *s, sqlite3_stmt *st, struct store_evaluation *v, const char *what,
                          struct err *e)
{
    int rc;
    *v = (struct store_evaluation){0};
    v->run = sqlite3_column_int64(st, 0);
    v->candidate = sqlite3_column_int64(st, 1);
    v->seq = sqlite3_column_int(st, 2);
    store_text(st, 3, v->cand, sizeof v->cand);
    TRY(store_fate(s, st, 4, &v->fate, what, e));
    v->us = sqlite3_column_type(st, 5) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, 5);
    store_text(st, 6, v->binary, sizeof v->binary);
    store_text(st, 7, v->code, sizeof v->code);
    v->alias_of = sqlite3_column_type(st, 8) == SQLITE_NULL ? -1 : sqlite3_column_int(st, 8);
    TRY(store_json(s, st, 9, &v->params, what, e));
    TRY(store_json(s, st, 10, &v->detail, what, e));
    store_text(st, 12, v->at, sizeof v->at);
    const char *log = (const char *)sqlite3_column_text(st, 11);
    if (log && !(v->log = strdup(log))) rc = err_nomem(e);
out:
    if (rc != 0) store_evaluation_free(v);
    return rc;
}

/* A compiler or a crashing process may print anything: what is stored is UTF-8 of at most STORE_LOG_MAX bytes. The
 * beginning is kept, where the first error stands. */
static int clean_log(const char *log, struct buf *out, struct err *e)
{
    size_t n = strlen(log), limit = n > STORE_LOG_MAX ? STORE_LOG_MAX - 64 : n;
    buf_add(out, log, limit);
    if (out->n > 0) buf_clean(out->p);
    if (n > limit) buf_printf(out, "\n[cut: %zu bytes in all]", n);
    return buf_check(out, e);
}

int store_evaluation_put(struct store *s, struct store_evaluation *v, struct err *e)
{
    static const char what[] = "add an evaluation";
    struct buf log = {0};
    const bool new = v->candidate == 0;
    char now[32];
    int64_t id;
    int rc;
    if (v->log && v->log[0]) TRY(clean_log(v->log, &log, e));
    TRY(store_begin(s, what, e));
    store_now(now);
    if (new) rc = store_candidate(s, v->cand, v->params, &v->candidate, e);
    if (rc == 0)
        rc = store_write(
            s, &id, what, e,
            "INSERT INTO evaluation(run, seq, candidate, fate, us, binary, code, alias_of, detail, log, created)"
            " VALUES(?,?,?,?,?,nullif(?,''),nullif(?,''),CASE WHEN ?8 < 0 THEN NULL ELSE ?8 END,?,?,?)",
            "iiisdssijss", v->run, (int64_t)v->seq, v->candidate, fate_name(v->fate),
            v->fate == FATE_OK ? v->us : (double)NAN, v->binary, v->code, (int64_t)v->alias_of, v->detail,
            log.n ? buf_text(&log) : NULL, now);
    if (rc == 0 && v->samples) rc = store_series_put(s, id, 0, v->samples, v->nsamples, what, e);
    rc = store_end(s, rc, what, e);
    if (rc != 0 && new) v->candidate = 0; /* it was taken back */
out:
    buf_free(&log);
    return rc;
}

int store_evaluations(struct store *s, int64_t run, int (*f)(void *ctx, const struct store_evaluation *v), void *ctx,
                      struct err *e)
{
    static const char what[] = "read evaluations";
    sqlite3_stmt *st = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e,
                    "SELECT " EVALUATION_COLUMNS " FROM evaluation v JOIN candidate c ON c.id = v.candidate"
                    " WHERE v.run = ? ORDER BY v.seq",
                    "i", run));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_evaluation v;
        TRY(evaluation_row(s, st, &v, what, e));
        stop = f(ctx, &v);
        store_evaluation_free(&v);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

int store_evaluations_count(struct store *s, int64_t run, int *n, int *end, struct err *e)
{
    static const char what[] = "count evaluations";
    sqlite3_stmt *st = NULL;
    int rc;
    TRY(store_query(s, &st, what, e, "SELECT count(*), coalesce(max(seq) + 1, 0) FROM evaluation WHERE run = ?", "i",
                    run));
    TRY(store_step(s, st, what, e) == 1 ? 0 : -1);
    *n = sqlite3_column_int(st, 0);
    *end = sqlite3_column_int(st, 1);
out:
    sqlite3_finalize(st);
    return rc;
}

/* The row that st gives, if any. */
static int one_evaluation(struct store *s, sqlite3_stmt *st, struct store_evaluation *out, bool *found,
                          const char *what, struct err *e)
{
    int rc = store_step(s, st, what, e);
    if (rc != 1) return rc;
    if (evaluation_row(s, st, out, what, e) != 0) return -1;
    *found = true;
    return 0;
}

int store_evaluation_get(struct store *s, int64_t run, int seq, struct store_evaluation *out, bool *found,
                         struct err *e)
{
    static const char what[] = "read an evaluation";
    sqlite3_stmt *st = NULL;
    int rc;
    *found = false;
    *out = (struct store_evaluation){0};
    TRY(store_query(s, &st, what, e,
                    "SELECT " EVALUATION_COLUMNS " FROM evaluation v JOIN candidate c ON c.id = v.candidate"
                    " WHERE v.run = ? AND v.seq = ?",
                    "ii", run, (int64_t)seq));
    rc = one_evaluation(s, st, out, found, what, e);
out:
    sqlite3_finalize(st);
    return rc;
}

int store_evaluation_known(struct store *s, const char *cand, int64_t environment, const char *track,
                           struct store_evaluation *out, bool *found, struct err *e)
{
    static const char what[] = "look up an evaluation";
    sqlite3_stmt *st = NULL;
    int rc;
    *found = false;
    *out = (struct store_evaluation){0};
    TRY(store_query(s, &st, what, e,
                    "SELECT " EVALUATION_COLUMNS " FROM candidate c JOIN evaluation v ON v.candidate = c.id"
                    " JOIN run r ON r.id = v.run WHERE c.digest = ? AND r.environment = ? AND r.track = ?"
                    " ORDER BY v.id DESC LIMIT 1",
                    "sis", cand, environment, track));
    rc = one_evaluation(s, st, out, found, what, e);
out:
    sqlite3_finalize(st);
    return rc;
}

int store_evaluation_samples(struct store *s, int64_t run, int seq, double **samples, int *n, struct err *e)
{
    static const char what[] = "read samples";
    int64_t id = 0;
    bool found;
    *samples = NULL;
    *n = 0;
    if (store_number(s, &id, &found, what, e, "SELECT id FROM evaluation WHERE run = ? AND seq = ?", "ii", run,
                     (int64_t)seq) != 0)
        return -1;
    return found ? store_series_get(s, id, 0, samples, n, what, e) : 0;
}

/* ---- proofs ---- */

int store_check_put(struct store *s, int64_t run, int64_t candidate, const char *binary, const char *level,
                    enum fate fate, const json_t *report, struct err *e)
{
    static const char what[] = "add a proof";
    char now[32];
    if (store_writable(s, what, e) != 0) return -1;
    store_now(now);
    return store_write(
        s, NULL, what, e,
        "INSERT INTO proof(run, candidate, level, binary, fate, report, created) VALUES(?,?,?,nullif(?,''),?,?,?)"
        " ON CONFLICT(run, candidate, level) DO UPDATE SET binary = excluded.binary, fate = excluded.fate,"
        " report = excluded.report, created = excluded.created",
        "iisssjs", run, candidate, level, binary, fate_name(fate), report, now);
}

int store_check_get(struct store *s, int64_t run, int64_t candidate, const char *level, enum fate *fate,
                    json_t **report, bool *found, struct err *e)
{
    static const char what[] = "look up a proof";
    sqlite3_stmt *st = NULL;
    int rc;
    *found = false;
    if (report) *report = NULL;
    TRY(store_query(s, &st, what, e, "SELECT fate, report FROM proof WHERE run = ? AND candidate = ? AND level = ?",
                    "iis", run, candidate, level));
    rc = store_step(s, st, what, e);
    if (rc != 1) goto out;
    TRY(store_fate(s, st, 0, fate, what, e));
    if (report) TRY(store_json(s, st, 1, report, what, e));
    *found = true;
out:
    sqlite3_finalize(st);
    return rc;
}

/* ---- race ---- */

int store_race_block(struct store *s, int64_t run, int block, const int *seqs, const double *us, int n, struct err *e)
{
    static const char what[] = "add a block of the race";
    if (store_begin(s, what, e) != 0) return -1;
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++)
        rc = store_write(s, NULL, what, e, "INSERT INTO race(run, block, seq, us) VALUES(?,?,?,?)", "iiid", run,
                         (int64_t)block, (int64_t)seqs[i], us[i]);
    return store_end(s, rc, what, e);
}

int store_race(struct store *s, int64_t run, int (*f)(void *ctx, int block, int seq, double us), void *ctx,
               struct err *e)
{
    static const char what[] = "read the race";
    sqlite3_stmt *st = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e, "SELECT block, seq, us FROM race WHERE run = ? ORDER BY id", "i", run));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        double us = sqlite3_column_type(st, 2) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, 2);
        stop = f(ctx, sqlite3_column_int(st, 0), sqlite3_column_int(st, 1), us);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

int store_race_clear(struct store *s, int64_t run, struct err *e)
{
    static const char what[] = "clear the race";
    if (store_writable(s, what, e) != 0) return -1;
    return store_write(s, NULL, what, e, "DELETE FROM race WHERE run = ?", "i", run);
}
