/* err.h - what went wrong, where, and what to do about it.
 *
 * A function that can fail returns 0 or -1 and takes a `struct err *e` last. On success *e is untouched; on failure it
 * holds the first error met: a later err_set on a used err is ignored, so cleanup paths cannot hide the cause. Callers
 * add context in front with err_context. Nothing here prints or exits. e may be NULL: then only the code is lost. */
#ifndef ERR_H
#define ERR_H

#include <stddef.h>

/* X(name, exit code of the process, what the class means) */
#define ERR_CODES(X)                                                                                                   \
    X(OK, 0, "ok")                                                                                                     \
    X(USAGE, 2, "wrong usage")                                                                                         \
    X(INPUT, 3, "bad space, template or other input file")                                                             \
    X(DEVICE, 4, "device or environment unfit")                                                                        \
    X(STORE, 5, "store")                                                                                               \
    X(LOCKED, 6, "another run holds the lock")                                                                         \
    X(SYSTEM, 70, "system call or memory")                                                                             \
    X(BUG, 70, "a bug in fatune")                                                                                      \
    X(INTERRUPTED, 130, "interrupted, resumable")

enum err_code {
#define X(name, exit, text) ERR_##name,
    ERR_CODES(X)
#undef X
};

struct err {
    enum err_code code;
    char text[3072]; /* one or more lines, no newline at the end */
};

/* A place in a text that a user wrote. line and column count from 1; text is the whole file (for the quoted line), may
 * be NULL. Borrowed. */
struct pos {
    const char *file;
    const char *text;
    int line, column;
};

/* All return -1, so that `return err_set(...)` reads well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Adds "file:line:column: " in front, the quoted line and a caret behind. Code is ERR_INPUT. */
int err_at(struct err *e, const struct pos *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Out of memory. */
int err_nomem(struct err *e);
/* Puts "context: " in front of a set error. */
void err_context(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_code_name(enum err_code code);
int err_exit_code(enum err_code code);

/* The name in names[0..n-1] nearest to word (edit distance at most a third of its length, at least 1), or NULL: for
 * "did you mean". */
const char *err_nearest(const char *word, const char *const *names, size_t n);

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        rc = (call);                                                                                                   \
        if (rc != 0) goto out;                                                                                         \
    } while (0)

#endif
