/* store_sql.c - statements, transactions, messages and samples for the store's other files.
 *
 * Invariants: every statement is finalized by the function that prepared it; every error of SQLite passes store_fail
 * once; samples are never returned unless their digest holds. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "digest.h"
#include "paths.h"
#include "store_private.h"

/* ---- messages ---- */

/* What to do about a primary result code. */
static const char *remedy(int primary)
{
    switch (primary) {
    case SQLITE_FULL:
        return "free some space, or keep the store elsewhere with --store FILE; nothing was half written";
    case SQLITE_IOERR:
        return "check the disk and its quota, or keep the store elsewhere with --store FILE; nothing was half written";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return "make the file and its folder writable, or keep the store elsewhere with --store FILE";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another program holds the database for more than 10 s: end it and try again";
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return "the data breaks a rule of the schema and was not written; this is a bug in fatune, please report it";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "the file is damaged: move it away and restore a snapshot or backup, or start a new store with --store "
               "FILE";
    default:
        return "try again; if it stays, keep the store elsewhere with --store FILE";
    }
}

int store_fail(struct store *s, int sqlite_rc, const char *what, struct err *e)
{
    int primary = sqlite_rc & 0xff;
    int os = s->db ? sqlite3_system_errno(s->db) : 0;
    char space[4200] = "", cause[160] = "";
    if (primary == SQLITE_NOMEM) return err_nomem(e);
    if (primary == SQLITE_FULL || primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY)
        paths_free_space(space, sizeof space, s->path);
    if (os != 0 && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN))
        snprintf(cause, sizeof cause, ": %s", strerror(os));
    const char *text =
        s->db && sqlite3_extended_errcode(s->db) == sqlite_rc ? sqlite3_errmsg(s->db) : sqlite3_errstr(sqlite_rc);
    return err_set(e, ERR_STORE, "store %.1000s: cannot %s: %.500s%s%.600s\n%s", s->path, what, text, cause, space,
                   remedy(primary));
}

int store_damaged(struct store *s, const char *what, const char *detail, struct err *e)
{
    return err_set(e, ERR_STORE, "store %.1000s: cannot %s: the file is damaged: %s\n%s", s->path, what, detail,
                   remedy(SQLITE_CORRUPT));
}

int store_writable(struct store *s, const char *what, struct err *e)
{
    if (s->mode == STORE_WRITE) return 0;
    return err_set(e, ERR_STORE, "store %.1000s: cannot %s: it is open for reading only", s->path, what);
}

/* ---- statements ---- */

/* SQLite copies text: it may outlive the caller's. */
static int bind_json(sqlite3_stmt *st, int at, const json_t *j)
{
    if (!j) return sqlite3_bind_null(st, at);
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!text) return SQLITE_NOMEM;
    int rc = sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT);
    free(text);
    return rc;
}

static int bind_all(sqlite3_stmt *st, const char *fmt, va_list ap)
{
    int rc = SQLITE_OK;
    for (int at = 1; fmt[at - 1] && rc == SQLITE_OK; at++) {
        switch (fmt[at - 1]) {
        case 'i':
            rc = sqlite3_bind_int64(st, at, va_arg(ap, int64_t));
            break;
        case 'k': {
            int64_t key = va_arg(ap, int64_t);
            rc = key ? sqlite3_bind_int64(st, at, key) : sqlite3_bind_null(st, at);
            break;
        }
        case 'd':
            rc = sqlite3_bind_double(st, at, va_arg(ap, double)); /* NaN is stored as NULL */
            break;
        case 's':
            rc = sqlite3_bind_text(st, at, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'j':
            rc = bind_json(st, at, va_arg(ap, const json_t *));
            break;
        case 'b': {
            const void *bytes = va_arg(ap, const void *);
            rc = sqlite3_bind_blob64(st, at, bytes, va_arg(ap, size_t), SQLITE_TRANSIENT);
            break;
        }
        default:
            rc = SQLITE_MISUSE;
        }
    }
    return rc;
}

static int vquery(struct store *s, sqlite3_stmt **out, const char *what, struct err *e, const char *sql,
                  const char *fmt, va_list ap)
{
    sqlite3_stmt *st = NULL;
    *out = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK) rc = bind_all(st, fmt, ap);
    if (rc == SQLITE_OK) {
        *out = st;
        return 0;
    }
    store_fail(s, rc, what, e);
    sqlite3_finalize(st);
    return -1;
}

int store_query(struct store *s, sqlite3_stmt **out, const char *what, struct err *e, const char *sql, const char *fmt,
                ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = vquery(s, out, what, e, sql, fmt, ap);
    va_end(ap);
    return rc;
}

int store_step(struct store *s, sqlite3_stmt *st, const char *what, struct err *e)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) return 1;
    if (rc == SQLITE_DONE) return 0;
    return store_fail(s, rc, what, e);
}

int store_write(struct store *s, int64_t *id, const char *what, struct err *e, const char *sql, const char *fmt, ...)
{
    sqlite3_stmt *st = NULL;
    va_list ap;
    va_start(ap, fmt);
    int rc = vquery(s, &st, what, e, sql, fmt, ap);
    va_end(ap);
    if (rc != 0) return rc;
    rc = store_step(s, st, what, e);
    sqlite3_finalize(st);
    if (rc < 0) return -1;
    if (id) *id = sqlite3_last_insert_rowid(s->db);
    return 0;
}

int store_number(struct store *s, int64_t *out, bool *found, const char *what, struct err *e, const char *sql,
                 const char *fmt, ...)
{
    sqlite3_stmt *st = NULL;
    va_list ap;
    va_start(ap, fmt);
    int rc = vquery(s, &st, what, e, sql, fmt, ap);
    va_end(ap);
    if (rc != 0) return rc;
    rc = store_step(s, st, what, e);
    if (rc == 1) *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    if (rc < 0) return -1;
    if (found) *found = rc == 1;
    if (rc == 0 && !found) return store_damaged(s, what, "a row is missing", e);
    return 0;
}

/* ---- transactions ---- */

int store_begin(struct store *s, const char *what, struct err *e)
{
    if (store_writable(s, what, e) != 0) return -1;
    int rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : store_fail(s, rc, what, e);
}

int store_end(struct store *s, int rc, const char *what, struct err *e)
{
    if (rc == 0) {
        int sql = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
        if (sql == SQLITE_OK) return 0;
        store_fail(s, sql, what, e);
    }
    /* Some errors (full disk, I/O) have rolled back already. */
    if (!sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

/* ---- columns ---- */

void store_text(sqlite3_stmt *st, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    snprintf(out, size, "%s", text ? text : "");
    buf_clean(out);
}

int store_json(struct store *s, sqlite3_stmt *st, int column, json_t **out, const char *what, struct err *e)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    *out = NULL;
    if (!text) return sqlite3_column_type(st, column) == SQLITE_NULL ? 0 : err_nomem(e);
    json_error_t j;
    *out = json_loads(text, JSON_DECODE_ANY, &j);
    return *out ? 0 : store_damaged(s, what, "a JSON column does not parse", e);
}

void store_now(char out[32])
{
    struct timespec now;
    struct tm tm;
    char seconds[24];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 32, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000 % 1000));
}

void store_device(const json_t *facts, char out[128])
{
    const json_t *device = json_object_get(facts, "device");
    const char *name = json_string_value(device);
    if (!name) name = json_string_value(json_object_get(device, "name"));
    if (!name) name = json_string_value(json_object_get(facts, "name"));
    if (!name) name = json_string_value(json_object_get(json_object_get(facts, "target"), "name"));
    snprintf(out, 128, "%s", name ? name : "");
    buf_clean(out);
}

/* ---- raw samples ---- */

static void encode(unsigned char *out, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(bits >> (8 * i));
}

static double decode(const unsigned char *in)
{
    uint64_t bits = 0;
    double x;
    for (int i = 0; i < 8; i++)
        bits |= (uint64_t)in[i] << (8 * i);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* malloc'ed, NULL when out of memory. */
static unsigned char *encode_all(const double *samples, int n)
{
    unsigned char *bytes = malloc((size_t)n * 8 + 1);
    for (int i = 0; i < n && bytes; i++)
        encode(bytes + 8 * (size_t)i, samples[i]);
    return bytes;
}

int store_samples_digest(char out[65], const double *samples, int n, struct err *e)
{
    unsigned char *bytes = encode_all(samples, n);
    if (!bytes) return err_nomem(e);
    digest_bytes(out, bytes, (size_t)n * 8);
    free(bytes);
    return 0;
}

int store_series_put(struct store *s, int64_t evaluation, int64_t quad, const double *samples, int n, const char *what,
                     struct err *e)
{
    char digest[DIGEST_HEX];
    if (n <= 0) return 0;
    unsigned char *bytes = encode_all(samples, n);
    if (!bytes) return err_nomem(e);
    digest_bytes(digest, bytes, (size_t)n * 8);
    int rc = store_write(
        s, NULL, what, e, "INSERT INTO series(phase, evaluation, quad, n, samples, digest) VALUES(?,?,?,?,?,?)",
        "skkibs", evaluation ? "search" : "trial", evaluation, quad, (int64_t)n, bytes, (size_t)n * 8, digest);
    free(bytes);
    return rc;
}

int store_series_get(struct store *s, int64_t evaluation, int64_t quad, double **samples, int *n, const char *what,
                     struct err *e)
{
    sqlite3_stmt *st = NULL;
    char digest[DIGEST_HEX];
    int rc;
    *samples = NULL;
    *n = 0;
    TRY(store_query(s, &st, what, e,
                    evaluation ? "SELECT n, samples, digest FROM series WHERE evaluation = ?"
                               : "SELECT n, samples, digest FROM series WHERE quad = ?",
                    "i", evaluation ? evaluation : quad));
    rc = store_step(s, st, what, e);
    if (rc != 1) goto out;
    int64_t count = sqlite3_column_int64(st, 0);
    const unsigned char *bytes = sqlite3_column_blob(st, 1);
    int size = sqlite3_column_bytes(st, 1);
    const char *expected = (const char *)sqlite3_column_text(st, 2);
    rc = -1;
    if (bytes) digest_bytes(digest, bytes, (size_t)size);
    if (!bytes || !expected || count * 8 != size || strcmp(digest, expected) != 0) {
        store_damaged(s, what, "raw samples do not have their digest", e);
        goto out;
    }
    double *x = malloc((size_t)size);
    if (!x) {
        err_nomem(e);
        goto out;
    }
    for (int i = 0; i < (int)count; i++)
        x[i] = decode(bytes + 8 * (size_t)i);
    *samples = x;
    *n = (int)count;
    rc = 0;
out:
    sqlite3_finalize(st);
    return rc < 0 ? -1 : 0;
}
