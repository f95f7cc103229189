/* store_fixture.h - a store in its own folder under /tmp, with something in it, for test_store*.c. */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "store.h"
#include "store_private.h"

struct world {
    char folder[64], path[96];
    struct store *s;
    struct err e;
    int64_t environment, space, run, a, b, c;
};

static const char DIGEST_A[] = "aaaaaa1111111111111111111111111111111111111111111111111111111111";
static const char DIGEST_B[] = "bbbbbb2222222222222222222222222222222222222222222222222222222222";
static const char DIGEST_C[] = "bbbbbb3333333333333333333333333333333333333333333333333333333333";

#define GOOD(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != 0) fail_msg("%s: %s", #call, w->e.text);                                                         \
    } while (0)

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static inline int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/test_store.XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/results/fatune.db", w->folder);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    store_close(w->s);
    nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

static inline json_t *object(const char *key, const char *value)
{
    return json_pack("{s:s}", key, value);
}

/* An open store with an environment, a space, a run on track "track-1" and candidates a, b, c. */
static inline void fill(struct world *w)
{
    json_t *facts = object("device", "Fake 9000"), *j = object("K", "1");
    GOOD(store_open(&w->s, w->path, STORE_WRITE, &w->e));
    GOOD(store_environment(w->s, "env-1", facts, &w->environment, &w->e));
    GOOD(store_space(w->s, "space-1", "s512", "name: s512\n", j, &w->space, &w->e));
    GOOD(store_candidate(w->s, DIGEST_A, j, &w->a, &w->e));
    GOOD(store_candidate(w->s, DIGEST_B, j, &w->b, &w->e));
    GOOD(store_candidate(w->s, DIGEST_C, j, &w->c, &w->e));
    GOOD(store_run_begin(w->s, w->space, w->environment, "key-1", "track-1", j, &w->run, &w->e));
    json_decref(facts);
    json_decref(j);
}

static inline void reopen(struct world *w, enum store_mode mode)
{
    store_close(w->s);
    w->s = NULL;
    GOOD(store_open(&w->s, w->path, mode, &w->e));
}

static inline int64_t count(struct world *w, const char *sql)
{
    int64_t n = -1;
    GOOD(store_number(w->s, &n, NULL, "count", &w->e, sql, ""));
    return n;
}

static inline void assert_text(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("'%s' does not say '%s'", text, part);
}

static inline void forget(struct world *w)
{
    w->e = (struct err){0};
}

static inline void put_many(struct world *w, int from, int n)
{
    double samples[64];
    for (int i = 0; i < 64; i++)
        samples[i] = 100 + i;
    for (int i = from; i < from + n; i++) {
        struct store_evaluation v = {
            .run = w->run, .candidate = w->a, .seq = i, .us = 1.5, .alias_of = -1, .samples = samples, .nsamples = 64};
        GOOD(store_evaluation_put(w->s, &v, &w->e));
    }
}

static inline void decision(struct world *w, struct store_decision *d, const struct verdict *v, int64_t trial,
                            int64_t who, const char *action)
{
    *d = (struct store_decision){.run = w->run,
                                 .trial = trial,
                                 .track = "track-1",
                                 .verdict = v,
                                 .candidate = w->b,
                                 .binary = "bin",
                                 .action = action,
                                 .champion_candidate = who,
                                 .note = "why"};
}

#endif
