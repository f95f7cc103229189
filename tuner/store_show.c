/* store_show.c - one candidate, found by an abbreviated digest, or one trial, and all that is known of it as JSON.
 *
 * Each list is one query whose columns become members under their own names; a column whose name ends in _json is
 * parsed and loses that ending, and a NULL is left out. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "store_private.h"

bool store_is_prefix(const char *text)
{
    size_t n = strspn(text, "0123456789abcdefABCDEF");
    return n >= STORE_PREFIX_MIN && n <= 64 && text[n] == '\0';
}

int store_candidate_find(struct store *s, const char *prefix, const char *track, bool named, int64_t *id, bool *found,
                         struct err *e)
{
    static const char what[] = "look up a candidate";
    sqlite3_stmt *st = NULL;
    struct buf list = {0};
    char lower[65];
    int rc, n = 0;
    *found = false;
    if (!store_is_prefix(prefix))
        return err_set(e, ERR_USAGE, "'%.80s' is not an id: give at least %d hexadecimal digits of one", prefix,
                       STORE_PREFIX_MIN);
    size_t length = strlen(prefix);
    for (size_t i = 0; i <= length; i++)
        lower[i] = (char)tolower((unsigned char)prefix[i]);
    TRY(store_query(s, &st, what, e,
                    "SELECT id, digest FROM candidate c WHERE substr(digest, 1, ?1) = ?2 AND (?3 = 0 OR EXISTS"
                    " (SELECT 1 FROM version WHERE candidate = c.id AND (?4 IS NULL OR substr(track, 1, length(?4)) = "
                    "?4))) ORDER BY digest LIMIT 9",
                    "isis", (int64_t)length, lower, (int64_t)named, track));
    while ((rc = store_step(s, st, what, e)) == 1) {
        *id = sqlite3_column_int64(st, 0);
        buf_printf(&list, n == 8 ? "\n  ..." : "\n  %s", (const char *)sqlite3_column_text(st, 1));
        n++;
    }
    if (rc == 0) rc = buf_check(&list, e);
    if (rc == 0 && n > 1)
        rc = err_set(e, ERR_USAGE, "'%s' is ambiguous: give more digits. It matches%s", prefix, buf_text(&list));
    *found = rc == 0 && n == 1;
out:
    sqlite3_finalize(st);
    buf_free(&list);
    return rc;
}

static json_t *text_value(const char *text)
{
    char *clean = text ? strdup(text) : NULL;
    json_t *j = NULL;
    if (clean) {
        buf_clean(clean);
        j = json_string(clean);
    }
    free(clean);
    return j;
}

static json_t *column_value(sqlite3_stmt *st, int i)
{
    double x;
    switch (sqlite3_column_type(st, i)) {
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(st, i));
    case SQLITE_FLOAT:
        x = sqlite3_column_double(st, i);
        return isfinite(x) ? json_real(x) : json_null();
    default:
        return text_value((const char *)sqlite3_column_text(st, i));
    }
}

static int row_object(struct store *s, sqlite3_stmt *st, json_t **out, const char *what, struct err *e)
{
    json_t *row = json_object(), *value;
    int rc = row ? 0 : err_nomem(e);
    for (int i = 0; i < sqlite3_column_count(st) && rc == 0; i++) {
        char key[64];
        if (sqlite3_column_type(st, i) == SQLITE_NULL) continue;
        snprintf(key, sizeof key, "%s", sqlite3_column_name(st, i));
        size_t n = strlen(key);
        if (n > 5 && strcmp(key + n - 5, "_json") == 0) {
            key[n - 5] = '\0';
            rc = store_json(s, st, i, &value, what, e);
        } else {
            value = column_value(st, i);
        }
        if (rc == 0 && json_object_set_new(row, key, value) != 0) rc = err_nomem(e);
    }
    if (rc != 0) {
        json_decref(row);
        row = NULL;
    }
    *out = row;
    return rc;
}

/* Adds to `to` the array of the query's rows as member `key`. */
static int add_list(struct store *s, json_t *to, const char *key, const char *sql, int64_t id, struct err *e)
{
    static const char what[] = "read what is known of a candidate";
    sqlite3_stmt *st = NULL;
    json_t *list = json_array(), *row;
    int rc;
    if (!list) return err_nomem(e);
    TRY(store_query(s, &st, what, e, sql, "i", id));
    while ((rc = store_step(s, st, what, e)) == 1) {
        TRY(row_object(s, st, &row, what, e));
        if (json_array_append_new(list, row) != 0) {
            rc = err_nomem(e);
            goto out;
        }
    }
    if (rc == 0 && json_object_set(to, key, list) != 0) rc = err_nomem(e);
out:
    sqlite3_finalize(st);
    json_decref(list);
    return rc;
}

static const struct {
    const char *key, *sql;
} lists[] = {
    {"evaluations",
     "SELECT v.run, v.seq, v.fate, v.us, v.binary, v.code, v.alias_of, c.digest AS equals, c.params AS "
     "equals_params_json, v.detail AS detail_json, v.log, v.created AS at,"
     " r.track, s.name AS space, n.digest AS environment, x.n AS samples FROM evaluation v JOIN run r ON r.id = v.run"
     " JOIN space s ON s.id = r.space JOIN environment n ON n.id = r.environment LEFT JOIN series x ON x.evaluation = "
     "v.id"
     /* an alias may be the same candidate, proposed again */
     " LEFT JOIN evaluation w ON w.run = v.run AND w.seq = v.alias_of LEFT JOIN candidate c ON c.id = w.candidate AND "
     "c.id "
     "<> v.candidate WHERE v.candidate = ? ORDER BY v.id"},
    {"checks", "SELECT run, level, binary, fate, report AS report_json, created AS at FROM proof WHERE candidate = ? "
               "ORDER BY run, level"},
    {"trials",
     "SELECT t.id, t.run, t.kind, CASE WHEN t.b = ?1 THEN 'b' ELSE 'a' END AS arm, a.digest AS a, b.digest AS b,"
     " (SELECT count(*) FROM session WHERE trial = t.id) AS sessions, t.settings AS settings_json, t.created AS at"
     " FROM trial t JOIN candidate a ON a.id = t.a JOIN candidate b ON b.id = t.b WHERE t.a = ?1 OR t.b = ?1 ORDER BY "
     "t.id"},
    {"verdicts", "SELECT id, run, trial, control, outcome, body AS body_json, created AS at FROM verdict WHERE "
                 "candidate = ? ORDER BY id"},
    {"versions", "SELECT v.id, v.track, v.name, v.run, s.name AS space, v.binary, v.facts AS facts_json, v.created AS "
                 "at FROM version v"
                 " JOIN run r ON r.id = v.run JOIN space s ON s.id = r.space WHERE v.candidate = ? ORDER BY v.id"},
    {"champion", "SELECT h.id, h.track, v.name AS version, h.action, h.verdict, h.note, h.at FROM champion h JOIN "
                 "version v ON v.id = h.version"
                 " WHERE v.candidate = ? ORDER BY h.id"},
};

int store_candidate_json(struct store *s, const char *digest_prefix, json_t **out, bool *found, struct err *e)
{
    static const char what[] = "read what is known of a candidate";
    sqlite3_stmt *st = NULL;
    json_t *all = NULL;
    int64_t id = 0;
    int rc;
    *out = NULL;
    TRY(store_candidate_find(s, digest_prefix, NULL, false, &id, found, e));
    if (!*found) goto out;
    TRY(store_query(s, &st, what, e,
                    "SELECT digest AS id, params AS params_json, created AS at FROM candidate WHERE id = ?", "i", id));
    rc = store_step(s, st, what, e);
    if (rc < 0) goto out;
    TRY(row_object(s, st, &all, what, e));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        TRY(add_list(s, all, lists[i].key, lists[i].sql, id, e));
    *out = json_incref(all);
out:
    sqlite3_finalize(st);
    json_decref(all);
    return rc;
}

/* ---- a trial ---- */

static const struct {
    const char *key, *sql;
} trial_lists[] = {
    {"sessions", "SELECT number AS session, seed, health AS health_json, created AS at FROM session WHERE trial = ? "
                 "ORDER BY number"},
    {"quads", "SELECT s.number AS session, q.number AS quad, q.baab, q.discarded, q.letter0, q.letter1, q.letter2,"
              " q.letter3, q.sm_mhz, q.health AS health_json, x.digest FROM session s JOIN quad q ON q.session = s.id"
              " LEFT JOIN series x ON x.quad = q.id WHERE s.trial = ? ORDER BY s.number, q.number"},
};

struct quads {
    json_t *list;
    size_t at;
};

/* Non-zero: a sample is no number, or memory is out. */
static int add_samples(void *ctx, int session, int quad, const double *samples, int n)
{
    struct quads *x = ctx;
    json_t *list = json_array();
    int bad = !list;
    (void)session;
    (void)quad;
    for (int i = 0; i < n && !bad; i++)
        bad = json_array_append_new(list, json_real(samples[i])) != 0;
    bad = json_object_set_new(json_array_get(x->list, x->at), "samples_us", list) != 0 || bad;
    x->at += !bad;
    return bad;
}

int store_trial_json(struct store *s, int64_t trial, json_t **out, struct err *e)
{
    static const char what[] = "read a trial";
    sqlite3_stmt *st = NULL;
    json_t *all = NULL;
    struct quads x = {0};
    int rc;
    *out = NULL;
    TRY(store_query(s, &st, what, e,
                    "SELECT t.id, t.run, t.kind, a.digest AS a, b.digest AS b, a.params AS a_params_json,"
                    " b.params AS b_params_json, t.settings AS settings_json, t.created AS at FROM trial t"
                    " JOIN candidate a ON a.id = t.a JOIN candidate b ON b.id = t.b WHERE t.id = ?",
                    "i", trial));
    rc = store_step(s, st, what, e);
    if (rc == 0) rc = err_set(e, ERR_STORE, "store %.1000s: there is no trial %lld", s->path, (long long)trial);
    if (rc < 0) goto out;
    TRY(row_object(s, st, &all, what, e));
    for (size_t i = 0; i < sizeof trial_lists / sizeof *trial_lists; i++)
        TRY(add_list(s, all, trial_lists[i].key, trial_lists[i].sql, trial, e));
    x.list = json_object_get(all, "quads");
    TRY(store_trial_samples(s, trial, add_samples, &x, e));
    if (x.at != json_array_size(x.list)) rc = store_damaged(s, what, "a sample is no number", e);
    if (rc == 0) *out = json_incref(all);
out:
    sqlite3_finalize(st);
    json_decref(all);
    return rc;
}
