/* store_trial.c - trials: sessions of quads with their raw samples.
 *
 * Invariants: a session is written whole or not at all, and never changes; a trial that is read has had the digests of
 * all its samples checked; a trial is *finished* when a verdict cites it or its run is done.
 *
 * A session's health may say why the trial is not valid, as {"invalid": "reason"}, and that letters or quads were cut
 * to fit a time box, as {"boxed": true}; the trial read back says so too. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "store_private.h"

int store_trial_begin(struct store *s, int64_t run, const char *kind, int64_t a, int64_t b, const json_t *settings,
                      int64_t *id, struct err *e)
{
    static const char what[] = "begin a trial";
    char now[32];
    if (store_writable(s, what, e) != 0) return -1;
    store_now(now);
    return store_write(s, id, what, e, "INSERT INTO trial(run, kind, a, b, settings, created) VALUES(?,?,?,?,?,?)",
                       "ksiijs", run, kind, a, b, settings, now);
}

static int put_quad(struct store *s, int64_t session, int number, const struct store_quad *q, const char *what,
                    struct err *e)
{
    int64_t id;
    int rc = store_write(
        s, &id, what, e,
        "INSERT INTO quad(session, number, baab, discarded, letter0, letter1, letter2, letter3, sm_mhz, health)"
        " VALUES(?,?,?,?,?,?,?,?,?,?)",
        "iiiidddddj", session, (int64_t)number, (int64_t)q->quad.baab, (int64_t)q->quad.discarded, q->quad.letter[0],
        q->quad.letter[1], q->quad.letter[2], q->quad.letter[3], q->quad.sm_mhz, q->health);
    return rc != 0 ? rc : store_series_put(s, 0, id, q->samples, q->nsamples, what, e);
}

int store_session_put(struct store *s, int64_t trial, int session, uint64_t seed, const struct store_quad *quads, int n,
                      const json_t *health, struct err *e)
{
    static const char what[] = "add a session";
    char now[32], hex[20];
    int64_t id;
    if (store_begin(s, what, e) != 0) return -1;
    store_now(now);
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)seed); /* SQLite's integers are signed */
    int rc = store_write(s, &id, what, e, "INSERT INTO session(trial, number, seed, health, created) VALUES(?,?,?,?,?)",
                         "iisjs", trial, (int64_t)session, hex, health, now);
    for (int i = 0; i < n && rc == 0; i++)
        rc = put_quad(s, id, i, &quads[i], what, e);
    return store_end(s, rc, what, e);
}

/* ---- reading ---- */

static int add_quad(struct trial_session *t, const struct trial_quad *q, struct err *e)
{
    struct trial_quad *more = realloc(t->quads, ((size_t)t->n + 1) * sizeof *more);
    if (!more) return err_nomem(e);
    t->quads = more;
    t->quads[t->n++] = *q;
    return 0;
}

static int read_quads(struct store *s, int64_t session, struct trial_session *t, int *m, const char *what,
                      struct err *e)
{
    sqlite3_stmt *st = NULL;
    double *samples = NULL;
    int rc, n;
    TRY(store_query(s, &st, what, e,
                    "SELECT id, baab, discarded, letter0, letter1, letter2, letter3, sm_mhz, json_extract(health, "
                    "'$.letter_mhz[0]'),"
                    " json_extract(health, '$.letter_mhz[1]'), json_extract(health, '$.letter_mhz[2]'),"
                    " json_extract(health, '$.letter_mhz[3]') FROM quad WHERE session = ?"
                    " ORDER BY number",
                    "i", session));
    while ((rc = store_step(s, st, what, e)) == 1) {
        struct trial_quad q = {.baab = sqlite3_column_int(st, 1) != 0, .discarded = sqlite3_column_int(st, 2) != 0};
        for (int i = 0; i < 4; i++)
            q.letter[i] =
                sqlite3_column_type(st, 3 + i) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, 3 + i);
        q.sm_mhz = sqlite3_column_double(st, 7);
        for (int i = 0; i < 4; i++)
            q.letter_mhz[i] = sqlite3_column_double(st, 8 + i); /* NULL is 0: not known */
        TRY(store_series_get(s, 0, sqlite3_column_int64(st, 0), &samples, &n, what, e));
        free(samples);
        if (n / 4 > *m) *m = n / 4;
        TRY(add_quad(t, &q, e));
    }
out:
    sqlite3_finalize(st);
    return rc;
}

static void take_health(struct trial *t, const json_t *health)
{
    const char *invalid = json_string_value(json_object_get(health, "invalid"));
    if (json_is_true(json_object_get(health, "boxed"))) t->boxed = true;
    if (!invalid || t->invalid) return;
    t->invalid = true;
    snprintf(t->reason, sizeof t->reason, "%s", invalid);
    buf_clean(t->reason);
}

static int read_sessions(struct store *s, int64_t trial, struct trial *out, const char *what, struct err *e)
{
    sqlite3_stmt *st = NULL;
    json_t *health = NULL;
    int rc;
    TRY(store_query(s, &st, what, e, "SELECT id, health FROM session WHERE trial = ? ORDER BY number", "i", trial));
    while ((rc = store_step(s, st, what, e)) == 1) {
        struct trial_session *more = realloc(out->sessions, ((size_t)out->n + 1) * sizeof *more);
        if (!more) {
            rc = err_nomem(e);
            goto out;
        }
        out->sessions = more;
        out->sessions[out->n] = (struct trial_session){0};
        TRY(store_json(s, st, 1, &health, what, e));
        take_health(out, health);
        json_decref(health);
        health = NULL;
        TRY(read_quads(s, sqlite3_column_int64(st, 0), &out->sessions[out->n++], &out->m, what, e));
    }
out:
    json_decref(health);
    sqlite3_finalize(st);
    return rc;
}

int store_trial_get(struct store *s, int64_t trial, struct trial *out, json_t **settings, struct err *e)
{
    static const char what[] = "read a trial";
    sqlite3_stmt *st = NULL;
    json_t *set = NULL;
    int rc;
    *out = (struct trial){0};
    if (settings) *settings = NULL;
    TRY(store_query(s, &st, what, e, "SELECT settings FROM trial WHERE id = ?", "i", trial));
    rc = store_step(s, st, what, e);
    if (rc == 0) rc = err_set(e, ERR_STORE, "store %.1000s: there is no trial %lld", s->path, (long long)trial);
    if (rc < 0) goto out;
    TRY(store_json(s, st, 0, &set, what, e));
    out->m = (int)json_integer_value(json_object_get(set, "m"));
    out->boxed = json_is_true(json_object_get(set, "boxed"));
    TRY(read_sessions(s, trial, out, what, e));
    if (settings) *settings = json_incref(set);
out:
    sqlite3_finalize(st);
    json_decref(set);
    if (rc != 0) trial_free(out);
    return rc;
}

int store_trial_find(struct store *s, int64_t run, const char *kind, int64_t a, int64_t b, int64_t *id,
                     json_t **settings, struct trial *kept, bool *found, struct err *e)
{
    static const char what[] = "look up a trial";
    /* A control serves every verdict of its run, so one that is cited already is still of use. */
    int rc =
        store_number(s, id, found, what, e,
                     "SELECT id FROM trial t WHERE run = ?1 AND kind = ?2 AND a = ?3 AND b = ?4 AND"
                     " (kind = 'aa' OR NOT EXISTS (SELECT 1 FROM verdict WHERE trial = t.id)) ORDER BY id DESC LIMIT 1",
                     "isii", run, kind, a, b);
    if (settings) *settings = NULL;
    *kept = (struct trial){0};
    if (rc != 0 || !*found) return rc;
    rc = store_trial_get(s, *id, kept, settings, e);
    if (rc != 0) *found = false;
    return rc;
}

int store_trial_health(struct store *s, int64_t trial,
                       int (*f)(void *ctx, int session, int quad, bool discarded, const json_t *health), void *ctx,
                       struct err *e)
{
    static const char what[] = "read the health of a trial";
    sqlite3_stmt *st = NULL;
    json_t *health = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e,
                    "SELECT s.number AS session, -1 AS quad, 0, s.health FROM session s WHERE s.trial = ?1 UNION ALL"
                    " SELECT s.number, q.number, q.discarded, q.health FROM session s JOIN quad q ON q.session = s.id"
                    " WHERE s.trial = ?1 ORDER BY session, quad",
                    "i", trial));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        TRY(store_json(s, st, 3, &health, what, e));
        stop = f(ctx, sqlite3_column_int(st, 0), sqlite3_column_int(st, 1), sqlite3_column_int(st, 2) != 0, health);
        json_decref(health);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

#define FINISHED                                                                                                       \
    "(r.state = 'done' OR EXISTS (SELECT 1 FROM verdict WHERE t.id IN (trial, control)))"                              \
    " AND EXISTS (SELECT 1 FROM session WHERE trial = t.id)"

int store_trial_latest(struct store *s, const char *track, int64_t a, int64_t b, int64_t *trial, bool *swapped,
                       bool *found, struct err *e)
{
    static const char what[] = "look up a trial";
    int64_t first = a;
    int rc;
    TRY(store_number(s, trial, found, what, e,
                     "SELECT t.id FROM trial t JOIN run r ON r.id = t.run WHERE t.kind IN ('ab', 'aa') AND"
                     " ((t.a = ?1 AND t.b = ?2) OR (t.a = ?2 AND t.b = ?1)) AND r.track = ?3 AND " FINISHED
                     " ORDER BY t.id DESC LIMIT 1",
                     "iis", a, b, track));
    if (*found) TRY(store_number(s, &first, NULL, what, e, "SELECT a FROM trial WHERE id = ?", "i", *trial));
    *swapped = first != a;
out:
    return rc;
}

#define ARM_NAME(arm)                                                                                                  \
    "coalesce((SELECT name FROM version v WHERE v.candidate = " arm                                                    \
    ".id AND v.track = r.track ORDER BY v.id DESC LIMIT"                                                               \
    " 1), json_extract(" arm ".params, '$.contestant'), substr(" arm ".digest, 1, 12))"

int store_trials(struct store *s, const char *track, int (*f)(void *ctx, const struct store_trial *t), void *ctx,
                 struct err *e)
{
    static const char what[] = "list trials";
    sqlite3_stmt *st = NULL;
    int rc, stop = 0;
    TRY(store_query(
        s, &st, what, e,
        "SELECT t.id, t.kind, t.created, " ARM_NAME("a") ", " ARM_NAME(
            "b") ", (SELECT count(*) FROM"
                 " session WHERE trial = t.id) FROM trial t JOIN run r ON r.id = t.run JOIN candidate a ON a.id ="
                 " t.a JOIN candidate b ON b.id = t.b WHERE r.track = ? AND " FINISHED " ORDER BY t.id DESC",
        "s", track));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_trial t = {.id = sqlite3_column_int64(st, 0), .sessions = sqlite3_column_int(st, 5)};
        store_text(st, 1, t.kind, sizeof t.kind);
        store_text(st, 2, t.created, sizeof t.created);
        store_text(st, 3, t.a, sizeof t.a);
        store_text(st, 4, t.b, sizeof t.b);
        stop = f(ctx, &t);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

int store_trial_contestant(struct store *s, const char *track, int64_t candidate, const char *contestant,
                           int64_t *trial, bool *contestant_is_b, bool *found, struct err *e)
{
    static const char what[] = "look up a trial";
    int64_t first = 0;
    int rc;
    *found = false;
    TRY(store_number(
        s, trial, found, what, e,
        "SELECT t.id FROM trial t JOIN run r ON r.id = t.run JOIN candidate c ON c.id = iif(t.a = ?1, t.b, t.a)"
        " WHERE t.kind = 'contestant' AND (t.a = ?1 OR t.b = ?1) AND json_extract(c.params, '$.contestant') = ?2"
        " AND r.track = ?3 AND r.state = 'done'" /* and it did not leave in the middle */
        " AND (SELECT count(*) FROM session WHERE trial = t.id) >= json_extract(t.settings, '$.sessions')"
        " ORDER BY t.id DESC LIMIT 1",
        "iss", candidate, contestant, track));
    if (*found)
        TRY(store_number(s, &first, NULL, what, e, "SELECT a = ? FROM trial WHERE id = ?", "ii", candidate, *trial));
    *contestant_is_b = first != 0;
out:
    return rc;
}

int store_trial_samples(struct store *s, int64_t trial,
                        int (*f)(void *ctx, int session, int quad, const double *samples, int n), void *ctx,
                        struct err *e)
{
    static const char what[] = "read samples";
    sqlite3_stmt *st = NULL;
    double *samples = NULL;
    int rc, n, stop = 0;
    TRY(store_query(s, &st, what, e,
                    "SELECT q.id, s.number, q.number FROM session s JOIN quad q ON q.session = s.id WHERE s.trial = ?"
                    " ORDER BY s.number, q.number",
                    "i", trial));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        TRY(store_series_get(s, 0, sqlite3_column_int64(st, 0), &samples, &n, what, e));
        stop = f(ctx, sqlite3_column_int(st, 1), sqlite3_column_int(st, 2), samples, n);
        free(samples);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}
