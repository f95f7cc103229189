/* store_import.c - what others measured, as points to try.
 *
 * Invariants: an import and its points are one transaction and never change; equal points are in a space once. */
#include "store_private.h"

static int put_points(struct store *s, int64_t import, const struct store_prior *p, int n, const char *what,
                      struct err *e)
{
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++)
        rc = store_write(s, NULL, what, e, "INSERT INTO prior(import, params, us) VALUES(?,?,?)", "ijd", import,
                         p[i].params, p[i].us);
    return rc;
}

int store_import_put(struct store *s, int64_t space, const char *file, const char *digest, const struct store_prior *p,
                     int n, bool *added, struct err *e)
{
    static const char what[] = "add an import";
    char now[32];
    int64_t id;
    bool found;
    int rc;
    *added = false;
    TRY(store_writable(s, what, e));
    TRY(store_number(s, &id, &found, what, e, "SELECT id FROM import WHERE space = ? AND digest = ?", "is", space,
                     digest));
    if (found) return 0;
    TRY(store_begin(s, what, e));
    store_now(now);
    rc = store_write(s, &id, what, e, "INSERT INTO import(space, file, digest, created) VALUES(?,?,?,?)", "isss", space,
                     file, digest, now);
    if (rc == 0) rc = put_points(s, id, p, n, what, e);
    rc = store_end(s, rc, what, e);
    *added = rc == 0;
out:
    return rc;
}

int store_imports(struct store *s, int (*f)(void *ctx, const struct store_import *i), void *ctx, struct err *e)
{
    static const char what[] = "list imports";
    sqlite3_stmt *st = NULL;
    json_t *problem = NULL;
    int64_t tables = 0;
    int rc, stop = 0;
    TRY(store_number(s, &tables, NULL, what, e, "SELECT count(*) FROM sqlite_schema WHERE name = 'import'", ""));
    if (!tables) goto out;
    TRY(store_query(s, &st, what, e,
                    "SELECT i.id, i.file, s.name, i.created, s.problem FROM import i JOIN space s ON s.id = i.space"
                    " ORDER BY i.id DESC",
                    ""));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_import i = {.id = sqlite3_column_int64(st, 0)};
        store_text(st, 1, i.file, sizeof i.file);
        store_text(st, 2, i.space, sizeof i.space);
        store_text(st, 3, i.at, sizeof i.at);
        TRY(store_json(s, st, 4, &problem, what, e));
        i.problem = problem;
        stop = f(ctx, &i);
        json_decref(problem);
        problem = NULL;
    }
    if (stop) rc = 0;
out:
    json_decref(problem);
    sqlite3_finalize(st);
    return rc;
}

int store_priors(struct store *s, int64_t import, int (*f)(void *ctx, const json_t *params, double us), void *ctx,
                 struct err *e)
{
    static const char what[] = "read an import";
    sqlite3_stmt *st = NULL;
    json_t *params = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e, "SELECT params, us FROM prior WHERE import = ? ORDER BY us, id", "i", import));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        TRY(store_json(s, st, 0, &params, what, e));
        stop = f(ctx, params, sqlite3_column_double(st, 1));
        json_decref(params);
        params = NULL;
    }
    if (stop) rc = 0;
out:
    json_decref(params);
    sqlite3_finalize(st);
    return rc;
}
