/* store_private.h - what the store's own files share: the handle, statements, transactions. Only store*.c and
 * tests/unit/test_store.c include it.
 *
 * A statement is prepared for each call: a store sees a few calls a second, and a statement that lives for one call
 * cannot hold a read lock longer than that. `what` completes "cannot ..." in messages, such as "add an evaluation". */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

#define STORE_APPLICATION_ID 0x6661746e /* "fatn" */
#define STORE_LOG_MAX 65536
#define STORE_PREFIX_MIN 6 /* hex digits of an abbreviated digest */

struct store {
    sqlite3 *db;
    char *path;  /* as given, for messages and people */
    int lock_fd; /* -1 for a reader */
    enum store_mode mode;
};

/* Turns an SQLite result into ERR_STORE with the path, what was attempted, the free space where it matters and what to
 * do. Returns -1. */
int store_fail(struct store *s, int sqlite_rc, const char *what, struct err *e);
/* The stored data contradicts itself: ERR_STORE, "damaged". */
int store_damaged(struct store *s, const char *what, const char *detail, struct err *e);
/* ERR_STORE unless the store is open for writing. */
int store_writable(struct store *s, const char *what, struct err *e);

/* Prepares sql and binds by format, one letter a parameter: i int64_t, d double (NAN becomes NULL), s text (NULL is
 * NULL), j const json_t * (NULL is NULL), b blob: const void * and size_t, k int64_t key of which 0 becomes NULL. */
int store_query(struct store *s, sqlite3_stmt **out, const char *what, struct err *e, const char *sql, const char *fmt,
                ...);
/* 1: a row, 0: no more, -1: error. */
int store_step(struct store *s, sqlite3_stmt *st, const char *what, struct err *e);
/* store_query, one step, finalize. id (may be NULL) receives the new row's id. */
int store_write(struct store *s, int64_t *id, const char *what, struct err *e, const char *sql, const char *fmt, ...);
/* One number of one row; *found (may be NULL: then no row is damage). */
int store_number(struct store *s, int64_t *out, bool *found, const char *what, struct err *e, const char *sql,
                 const char *fmt, ...);

/* BEGIN IMMEDIATE; ends with store_end, which commits when rc is 0 and rolls back otherwise, and returns the outcome.
 */
int store_begin(struct store *s, const char *what, struct err *e);
int store_end(struct store *s, int rc, const char *what, struct err *e);

/* Columns. Text is cut to size and made UTF-8 (buf_clean), which SQLite does not see to; a NULL is "". */
void store_text(sqlite3_stmt *st, int column, char *out, size_t size);
/* A NULL column is *out = NULL. */
int store_json(struct store *s, sqlite3_stmt *st, int column, json_t **out, const char *what, struct err *e);
int store_fate(struct store *s, sqlite3_stmt *st, int column, enum fate *out, const char *what, struct err *e);
void store_now(char out[32]);
/* The device's name in an environment's facts: "device" (a string, or an object with "name"), "name", or
 * "target"."name". */
void store_device(const json_t *facts, char out[128]);

/* Raw samples: bytes are little-endian doubles, the digest is SHA-256 over them. Exactly one of evaluation and quad is
 * not 0. */
int store_series_put(struct store *s, int64_t evaluation, int64_t quad, const double *samples, int n, const char *what,
                     struct err *e);
/* Checks the digest. *samples is malloc'ed, NULL and *n = 0 when there is no series. */
int store_series_get(struct store *s, int64_t evaluation, int64_t quad, double **samples, int *n, const char *what,
                     struct err *e);

/* Candidate by digest prefix; ambiguous or malformed: ERR_USAGE. named: only those that have a version (in track,
 * unless NULL). */
int store_candidate_find(struct store *s, const char *prefix, const char *track, bool named, int64_t *id, bool *found,
                         struct err *e);
bool store_is_prefix(const char *text); /* at least STORE_PREFIX_MIN hex digits */
/* Brings a database of schema `from` to `from + n`: steps[i] is the SQL from version from+i to the next. A file that
 * has tables is copied to <path>.bak-v<from> first; all steps are one transaction. */
int store_migrate(struct store *s, int from, const char *const *steps, int n, struct err *e);

#endif
