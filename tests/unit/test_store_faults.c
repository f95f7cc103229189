/* The store: no fault leaves half of anything. Faults are real where they can be: a child that holds the lock, a child
 * killed with SIGKILL between and inside commits, flipped bits, limits on file and database size, a folder without
 * write permission (as an unprivileged user). A disk that fails or loses power: test_store_disk.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store_fixture.h"

/* ---- opening ---- */

static void test_pragmas_and_schema(void **state)
{
    struct world *w = *state;
    fill(w);
    assert_int_equal(count(w, "PRAGMA foreign_keys"), 1);
    assert_int_equal(count(w, "PRAGMA trusted_schema"), 0);
    assert_int_equal(count(w, "PRAGMA synchronous"), 3);
    assert_int_equal(count(w, "PRAGMA busy_timeout"), 10000);
    assert_int_equal(count(w, "PRAGMA application_id"), STORE_APPLICATION_ID);
    assert_int_equal(count(w, "PRAGMA user_version"), STORE_SCHEMA);
    assert_int_equal(count(w, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'delete'"), 1);
    assert_int_equal(
        count(w, "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0"
                 " AND name NOT LIKE 'sqlite_%'"),
        0);
    assert_string_equal(store_path(w->s), w->path);
}

static void test_identities_are_created_once(void **state)
{
    struct world *w = *state;
    json_t *j = object("K", "other");
    int64_t id;
    fill(w);
    GOOD(store_candidate(w->s, DIGEST_A, j, &id, &w->e));
    assert_int_equal(id, w->a);
    GOOD(store_environment(w->s, "env-1", j, &id, &w->e));
    assert_int_equal(id, w->environment);
    GOOD(store_space(w->s, "space-1", "x", "y", j, &id, &w->e));
    assert_int_equal(id, w->space);
    GOOD(store_environment(w->s, "env-2", j, &id, &w->e));
    assert_int_not_equal(id, w->environment);
    json_decref(j);
}

static void test_reader_of_nothing(void **state)
{
    struct world *w = *state;
    assert_int_equal(store_open(&w->s, w->path, STORE_READ, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    assert_text(w->e.text, "no store at");
    assert_text(w->e.text, "fatune run");
    assert_int_equal(access(w->path, F_OK), -1);
}

static void test_reader_writes_nothing(void **state)
{
    struct world *w = *state;
    struct store_run r;
    fill(w);
    reopen(w, STORE_READ);
    GOOD(store_run_get(w->s, w->run, &r, &w->e));
    store_run_free(&r);
    assert_int_equal(store_run_state(w->s, w->run, "done", 1, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    forget(w);
    assert_int_equal(store_champion_revoke(w->s, "track-1", "x", &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
}

static void test_reader_beside_the_writer(void **state)
{
    struct world *w = *state;
    struct store *reader = NULL;
    struct store_run r;
    bool found;
    fill(w);
    GOOD(store_open(&reader, w->path, STORE_READ, &w->e));
    GOOD(store_run_state(w->s, w->run, "race", 2.5, NULL, &w->e));
    GOOD(store_run_find(reader, "key-1", &r, &found, &w->e));
    assert_true(found);
    assert_string_equal(r.state, "race");
    store_run_free(&r);
    store_close(reader);
}

/* Runs f in a child; returns its exit code. */
static int in_child(struct world *w, int (*f)(struct world *w))
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) _exit(f(w));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_second_writer_is_told_who(void **state)
{
    struct world *w = *state;
    struct timespec start, end;
    char pid_text[32], byte;
    int up[2], down[2], status;
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct store *s;
        if (store_open(&s, w->path, STORE_WRITE, NULL) != 0 || write(up[1], "x", 1) != 1) _exit(1);
        if (read(down[0], &byte, 1) != 1) _exit(2);
        store_close(s);
        _exit(0);
    }
    assert_int_equal(read(up[0], &byte, 1), 1);
    snprintf(pid_text, sizeof pid_text, "%ld", (long)pid);
    for (int i = 0; i < 2; i++) { /* who is refused leaves the holder's name to the next */
        clock_gettime(CLOCK_MONOTONIC, &start);
        assert_int_equal(store_open(&w->s, w->path, STORE_WRITE, &w->e), -1);
        clock_gettime(CLOCK_MONOTONIC, &end);
        assert_true(end.tv_sec - start.tv_sec < 3);
        assert_int_equal(w->e.code, ERR_LOCKED);
        assert_text(w->e.text, pid_text);
        forget(w);
    }
    assert_int_equal(write(down[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    GOOD(store_open(&w->s, w->path, STORE_WRITE, &w->e));
    for (int i = 0; i < 2; i++) {
        close(up[i]);
        close(down[i]);
    }
}

static void test_lock_holds_through_another_name(void **state)
{
    struct world *w = *state;
    struct store *second = NULL;
    char link[120];
    fill(w);
    snprintf(link, sizeof link, "%s/other.db", w->folder);
    assert_int_equal(symlink(w->path, link), 0);
    assert_int_equal(store_open(&second, link, STORE_WRITE, &w->e), -1);
    assert_int_equal(w->e.code, ERR_LOCKED);
}

/* ---- files that are not ours, or not whole ---- */

static void slurp(const char *path, struct buf *b)
{
    struct err e = {0};
    if (buf_read_file(b, path, 1 << 26, ERR_STORE, &e) != 0) fail_msg("%s", e.text);
}

static void assert_unchanged(const char *path, const struct buf *before)
{
    struct buf after = {0};
    slurp(path, &after);
    assert_int_equal(before->n, after.n);
    assert_memory_equal(before->p, after.p, after.n);
    buf_free(&after);
}

static void poke(const char *path, off_t at, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    close(fd);
}

static void refused(struct world *w, const char *says)
{
    struct buf before = {0};
    static const enum store_mode modes[] = {STORE_READ, STORE_WRITE};
    slurp(w->path, &before);
    for (size_t i = 0; i < 2; i++) {
        forget(w);
        assert_int_equal(store_open(&w->s, w->path, modes[i], &w->e), -1);
        assert_null(w->s);
        assert_int_equal(w->e.code, ERR_STORE);
        assert_text(w->e.text, w->path);
        assert_text(w->e.text, says);
        assert_unchanged(w->path, &before);
    }
    buf_free(&before);
}

static void test_newer_schema_is_refused_unchanged(void **state)
{
    struct world *w = *state;
    fill(w);
    assert_int_equal(sqlite3_exec(w->s->db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    store_close(w->s);
    w->s = NULL;
    refused(w, "newer fatune");
    forget(w);
    /* A newer version may keep a write-ahead log: opening with SQLite would already touch the file. */
    poke(w->path, 18, "\2\2", 2);
    refused(w, "newer fatune");
}

static void test_foreign_files_are_refused_unchanged(void **state)
{
    struct world *w = *state;
    sqlite3 *db;
    char folder[96];
    snprintf(folder, sizeof folder, "%s/results", w->folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    poke(w->path, 0, "just some text, longer than nothing", 35);
    refused(w, "not an SQLite database");
    unlink(w->path);
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA application_id=7; CREATE TABLE x(y)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    refused(w, "another program");
    unlink(w->path);
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE x(y)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    refused(w, "another program");
}

static void test_damage_is_refused_and_a_snapshot_named(void **state)
{
    struct world *w = *state;
    char snapshot[STORE_PATH_MAX];
    struct buf whole = {0};
    unsigned char zeros[512] = {0};
    fill(w);
    put_many(w, 0, 50);
    GOOD(store_snapshot(w->s, 14, snapshot, &w->e));
    store_close(w->s);
    w->s = NULL;
    slurp(w->path, &whole);
    /* The head of a table's page: quick_check must see it. */
    poke(w->path, 4096 * 20, zeros, sizeof zeros);
    refused(w, "damaged");
    assert_text(w->e.text, snapshot);
    /* Flipped bits anywhere end in an open store or in a refusal, never in a crash. */
    srandom(1);
    for (int round = 0; round < 60; round++) {
        poke(w->path, 0, whole.p, whole.n);
        for (int i = 0; i < 8; i++) {
            off_t at = random() % (long)whole.n;
            char byte = (char)(whole.p[at] ^ (1 << random() % 8));
            poke(w->path, at, &byte, 1);
        }
        forget(w);
        if (store_open(&w->s, w->path, STORE_WRITE, &w->e) != 0) {
            assert_int_equal(w->e.code, ERR_STORE);
            assert_text(w->e.text, w->path);
        }
        store_close(w->s);
        w->s = NULL;
    }
    /* The snapshot is a store. */
    GOOD(store_open(&w->s, snapshot, STORE_READ, &w->e));
    assert_int_equal(count(w, "SELECT count(*) FROM evaluation"), 50);
    buf_free(&whole);
}

static void test_snapshots_are_pruned(void **state)
{
    struct world *w = *state;
    char name[STORE_PATH_MAX], old[160];
    fill(w);
    for (int i = 0; i < 5; i++) {
        snprintf(old, sizeof old, "%s.snapshot-2001-01-0%dT00.00.00", w->path, i + 1);
        poke(old, 0, "x", 1);
    }
    GOOD(store_snapshot(w->s, 3, name, &w->e));
    assert_int_equal(access(name, F_OK), 0);
    for (int i = 0; i < 5; i++) {
        snprintf(old, sizeof old, "%s.snapshot-2001-01-0%dT00.00.00", w->path, i + 1);
        assert_int_equal(access(old, F_OK), i < 3 ? -1 : 0);
    }
}

static void test_migration_backs_up_and_is_one_transaction(void **state)
{
    struct world *w = *state;
    static const char *const good[] = {"ALTER TABLE run ADD COLUMN extra TEXT;"};
    static const char *const bad[] = {"ALTER TABLE run ADD COLUMN more TEXT;", "CREATE TABLE nonsense("};
    char copy[120];
    fill(w);
    snprintf(copy, sizeof copy, "%s.bak-v%d", w->path, STORE_SCHEMA);
    assert_int_equal(store_migrate(w->s, STORE_SCHEMA, bad, 2, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    forget(w);
    assert_int_equal(count(w, "PRAGMA user_version"), STORE_SCHEMA);
    assert_int_equal(count(w, "SELECT count(*) FROM pragma_table_info('run') WHERE name = 'more'"), 0);
    GOOD(store_migrate(w->s, STORE_SCHEMA, good, 1, &w->e));
    assert_int_equal(count(w, "PRAGMA user_version"), STORE_SCHEMA + 1);
    assert_int_equal(count(w, "SELECT count(*) FROM pragma_table_info('run') WHERE name = 'extra'"), 1);
    store_close(w->s);
    w->s = NULL;
    GOOD(store_open(&w->s, copy, STORE_READ, &w->e));
    assert_int_equal(count(w, "SELECT count(*) FROM candidate"), 3);
}

/* What schema 4 added, taken away; and schema 3. */
#define TO_SCHEMA_3 "DROP TABLE prior; DROP TABLE import; PRAGMA user_version=3;"
#define TO_SCHEMA_2                                                                                                    \
    TO_SCHEMA_3                                                                                                        \
    "DROP TABLE night; PRAGMA writable_schema=ON;"                                                                     \
    "UPDATE sqlite_schema SET sql = replace(sql, ',''settle'',''refute'',''rollback''', '') WHERE name = 'champion';"  \
    "PRAGMA writable_schema=RESET; PRAGMA user_version=2;"

static int no_night(void *ctx, const struct store_night *n)
{
    (void)ctx, (void)n;
    fail_msg("a store of schema 2 has a night");
    return 1;
}

/* A store of schema 2 as it was: read as it is, migrated by a writer with all that is in it. */
static void test_schema_2(void **state)
{
    static const char settle[] =
        "INSERT INTO champion(track, version, action, at) VALUES('track-1', 1, 'settle', 'now')";
    struct world *w = *state;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    struct store_champion c;
    char copy[120];
    bool found;
    fill(w);
    decision(w, &d, &v, 0, w->a, "crown");
    GOOD(store_decide(w->s, &d, 1, NULL, NULL, &w->e));
    assert_int_equal(sqlite3_exec(w->s->db, TO_SCHEMA_2, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(w->s->db, settle, NULL, NULL, NULL), SQLITE_CONSTRAINT_CHECK);
    reopen(w, STORE_READ);
    GOOD(store_nights(w->s, NULL, no_night, NULL, &w->e));
    reopen(w, STORE_WRITE);
    assert_int_equal(count(w, "PRAGMA user_version"), STORE_SCHEMA);
    GOOD(store_champion(w->s, "track-1", &c, &found, &w->e));
    assert_true(found);
    assert_string_equal(c.version.name, "v1");
    store_champion_free(&c);
    assert_int_equal(sqlite3_exec(w->s->db, settle, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(count(w, "SELECT count(*) FROM night"), 0);
    assert_int_equal(count(w, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    snprintf(copy, sizeof copy, "%s.bak-v2", w->path);
    assert_int_equal(access(copy, F_OK), 0);
}

static int no_import(void *ctx, const struct store_import *i)
{
    (void)ctx, (void)i;
    fail_msg("a store of schema 3 has an import");
    return 1;
}

/* The same of schema 3. */
static void test_schema_3(void **state)
{
    struct world *w = *state;
    json_t *j = object("K", "1");
    struct store_prior p = {j, 7};
    char copy[120];
    bool added;
    fill(w);
    assert_int_equal(sqlite3_exec(w->s->db, TO_SCHEMA_3, NULL, NULL, NULL), SQLITE_OK);
    reopen(w, STORE_READ);
    GOOD(store_imports(w->s, no_import, NULL, &w->e));
    reopen(w, STORE_WRITE);
    assert_int_equal(count(w, "PRAGMA user_version"), STORE_SCHEMA);
    assert_int_equal(count(w, "SELECT count(*) FROM candidate"), 3);
    GOOD(store_import_put(w->s, w->space, "theirs.json", "digest-1", &p, 1, &added, &w->e));
    assert_true(added);
    snprintf(copy, sizeof copy, "%s.bak-v3", w->path);
    assert_int_equal(access(copy, F_OK), 0);
    json_decref(j);
}

/* The same of schema 1. */
static void test_schema_1(void **state)
{
    static const char old[] =
        TO_SCHEMA_2 "DROP TRIGGER verdict_on_candidates; PRAGMA writable_schema=ON;"
                    "UPDATE sqlite_schema SET sql = replace(sql, ',''contestant''', '') WHERE name = 'trial';"
                    "PRAGMA writable_schema=RESET; PRAGMA user_version=1;";
    static const char put[] =
        "INSERT INTO trial(kind, a, b, settings, created) VALUES('contestant', 1, 2, '{}', 'now')";
    struct world *w = *state;
    struct store *s = NULL;
    const double samples[] = {1, 2, 2, 1};
    const struct store_quad quad = {.quad = {.letter = {1, 2, 2, 1}}, .samples = samples, .nsamples = 4};
    json_t *settings = object("m", "1");
    struct trial kept;
    int64_t trial;
    char copy[120];
    fill(w);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    json_decref(settings);
    GOOD(store_session_put(w->s, trial, 0, 7, &quad, 1, NULL, &w->e));
    assert_int_equal(sqlite3_exec(w->s->db, old, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(w->s->db, put, NULL, NULL, NULL), SQLITE_CONSTRAINT_CHECK);
    store_close(w->s);
    w->s = NULL;
    GOOD(store_open(&s, w->path, STORE_READ, &w->e));
    store_close(s);
    GOOD(store_open(&w->s, w->path, STORE_WRITE, &w->e));
    assert_int_equal(count(w, "PRAGMA user_version"), STORE_SCHEMA);
    GOOD(store_trial_get(w->s, trial, &kept, NULL, &w->e));
    assert_int_equal(kept.n, 1);
    trial_free(&kept);
    assert_int_equal(count(w, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_int_equal(sqlite3_exec(w->s->db, put, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(count(w, "SELECT count(*) FROM trial"), 2);
    /* and no verdict may cite such a trial */
    assert_int_equal(sqlite3_exec(w->s->db,
                                  "INSERT INTO verdict(trial, candidate, outcome, body, created)"
                                  " SELECT max(id), 1, 'PROMOTE', '{}', 'now' FROM trial",
                                  NULL, NULL, NULL),
                     SQLITE_CONSTRAINT_TRIGGER);
    snprintf(copy, sizeof copy, "%s.bak-v1", w->path);
    assert_int_equal(access(copy, F_OK), 0);
}

/* ---- permissions, disk full, I/O errors ---- */

static int read_only_folder(struct world *w)
{
    struct store *s = NULL;
    struct err e = {0};
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 10;
    if (store_open(&s, w->path, STORE_READ, &e) != 0) return 11;
    store_close(s);
    if (store_open(&s, w->path, STORE_WRITE, &e) == 0) return 12;
    if (e.code != ERR_STORE || !strstr(e.text, w->path) || !strstr(e.text, "--store")) return 13;
    return 0;
}

static void test_read_only_folder(void **state)
{
    struct world *w = *state;
    char folder[96];
    fill(w);
    store_close(w->s);
    w->s = NULL;
    snprintf(folder, sizeof folder, "%s/results", w->folder);
    assert_int_equal(chmod(w->folder, 0755), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(in_child(w, read_only_folder), 0);
    chmod(folder, 0755);
}

static int file_too_large(struct world *w)
{
    struct store *s = NULL;
    struct err e = {0};
    double *samples = calloc(1 << 20, sizeof *samples);
    struct stat st;
    if (!samples || store_open(&s, w->path, STORE_WRITE, &e) != 0 || stat(w->path, &st) != 0) return 10;
    struct rlimit limit = {(rlim_t)st.st_size + 65536, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 11;
    struct store_evaluation v = {
        .run = w->run, .candidate = w->a, .seq = 1, .us = 1, .alias_of = -1, .samples = samples, .nsamples = 1 << 20};
    if (store_evaluation_put(s, &v, &e) == 0) return 12;
    if (e.code != ERR_STORE || !strstr(e.text, "free in") || !strstr(e.text, w->path)) return 13;
    v.nsamples = 10; /* and goes on once there is room */
    e = (struct err){0};
    int rc = store_evaluation_put(s, &v, &e) == 0 ? 0 : 14;
    store_close(s);
    free(samples);
    return rc;
}

static void test_write_error(void **state)
{
    struct world *w = *state;
    fill(w);
    store_close(w->s);
    w->s = NULL;
    assert_int_equal(in_child(w, file_too_large), 0);
    GOOD(store_open(&w->s, w->path, STORE_WRITE, &w->e));
    assert_int_equal(count(w, "SELECT count(*) FROM evaluation"), 1);
    assert_int_equal(count(w, "SELECT n FROM series"), 10);
}

static void test_full_disk_leaves_no_half_promotion(void **state)
{
    struct world *w = *state;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    json_t *facts = json_object();
    char name[64], *filler = malloc(3000), sql[64];
    int full = 0;
    fill(w);
    memset(filler, 'x', 2999);
    filler[2999] = '\0';
    json_object_set_new(facts, "filler", json_string(filler));
    decision(w, &d, &v, 0, w->b, "promote");
    d.facts = facts;
    int64_t pages = count(w, "PRAGMA page_count");
    for (int room = 0; room < 12; room++) {
        snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", (int)pages + room);
        assert_int_equal(sqlite3_exec(w->s->db, sql, NULL, NULL, NULL), SQLITE_OK);
        forget(w);
        char as[16];
        snprintf(as, sizeof as, "n%d", room);
        d.as = as;
        if (store_decide(w->s, &d, 1, NULL, name, &w->e) != 0) {
            full++;
            assert_int_equal(w->e.code, ERR_STORE);
            assert_text(w->e.text, "full");
            assert_text(w->e.text, "free in");
        }
        int64_t n = count(w, "SELECT count(*) FROM verdict");
        assert_int_equal(count(w, "SELECT count(*) FROM version"), n);
        assert_int_equal(count(w, "SELECT count(*) FROM champion"), n);
    }
    assert_true(full > 0 && full < 12);
    json_decref(facts);
    free(filler);
}

/* ---- SIGKILL ---- */

/* Writes evaluations until it is killed; tells each commit through the pipe. */
static void write_for_ever(struct world *w, int from, int fd)
{
    struct store *s = NULL;
    double samples[600];
    for (int i = 0; i < 600; i++)
        samples[i] = i;
    if (store_open(&s, w->path, STORE_WRITE, NULL) != 0) _exit(1);
    for (int seq = from;; seq++) {
        struct store_evaluation v = {
            .run = w->run, .candidate = w->a, .seq = seq, .us = 1, .alias_of = -1, .samples = samples, .nsamples = 600};
        if (store_evaluation_put(s, &v, NULL) != 0 || write(fd, &seq, sizeof seq) != sizeof seq) _exit(2);
    }
}

static void test_killed_writer_loses_nothing(void **state)
{
    struct world *w = *state;
    int committed = -1, hot = 0;
    char journal[120];
    fill(w);
    store_close(w->s);
    w->s = NULL;
    snprintf(journal, sizeof journal, "%s-journal", w->path);
    srandom(7);
    for (int round = 0; round < 40; round++) {
        int p[2], seq, status;
        assert_int_equal(pipe(p), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(p[0]);
            write_for_ever(w, committed + 1, p[1]);
        }
        close(p[1]);
        /* Now and then surely after a commit, however busy the machine is. */
        if (round % 4 == 0 && read(p[0], &seq, sizeof seq) == sizeof seq) committed = seq;
        struct timespec pause = {0, 1000000 + random() % 25000000};
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(p[0], &seq, sizeof seq) == sizeof seq)
            committed = seq;
        close(p[0]);
        hot += access(journal, F_OK) == 0;
        /* Readers and writers alike must find what was committed. */
        GOOD(store_open(&w->s, w->path, round % 2 ? STORE_READ : STORE_WRITE, &w->e));
        int64_t last = count(w, "SELECT coalesce(max(seq), -1) FROM evaluation");
        assert_true(last == committed || last == committed + 1);
        assert_int_equal(count(w, "SELECT count(*) FROM evaluation"), last + 1);
        assert_int_equal(count(w, "SELECT count(*) FROM series"), last + 1);
        committed = (int)last;
        store_close(w->s);
        w->s = NULL;
    }
    print_message("killed 40 writers, %d in the middle of a commit; %d evaluations kept\n", hot, committed + 1);
    assert_true(committed > 0);
}

/* Leaves a hot journal for certain: the child spills an uncommitted transaction to the file and dies. */
static int die_in_transaction(struct world *w)
{
    struct store *s = NULL;
    if (store_open(&s, w->path, STORE_WRITE, NULL) != 0) return 1;
    sqlite3_exec(s->db,
                 "PRAGMA cache_size=5; BEGIN IMMEDIATE; UPDATE run SET state='failed';"
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000)"
                 " INSERT INTO candidate(digest, params, created) SELECT 'x' || i, hex(randomblob(200)), '' FROM n;",
                 NULL, NULL, NULL);
    sqlite3_db_cacheflush(s->db);
    _exit(0);
}

static int read_hot_without_permission(struct world *w)
{
    struct store *s = NULL;
    struct err e = {0};
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 10;
    if (store_open(&s, w->path, STORE_READ, &e) == 0) return 11;
    return e.code == ERR_STORE && strstr(e.text, "killed in the middle of a write") ? 0 : 12;
}

static void test_reader_recovers_a_hot_journal(void **state)
{
    struct world *w = *state;
    char journal[120], folder[96];
    fill(w);
    store_close(w->s);
    w->s = NULL;
    assert_int_equal(in_child(w, die_in_transaction), 0);
    snprintf(journal, sizeof journal, "%s-journal", w->path);
    snprintf(folder, sizeof folder, "%s/results", w->folder);
    assert_int_equal(access(journal, F_OK), 0);
    assert_int_equal(chmod(w->folder, 0755), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    chmod(journal, 0644);
    assert_int_equal(in_child(w, read_hot_without_permission), 0);
    chmod(folder, 0755);
    GOOD(store_open(&w->s, w->path, STORE_READ, &w->e));
    assert_int_equal(count(w, "SELECT count(*) FROM candidate"), 3);
    assert_int_equal(count(w, "SELECT count(*) FROM run WHERE state = 'failed'"), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_pragmas_and_schema),
                                       T(test_identities_are_created_once),
                                       T(test_reader_of_nothing),
                                       T(test_reader_writes_nothing),
                                       T(test_reader_beside_the_writer),
                                       T(test_second_writer_is_told_who),
                                       T(test_lock_holds_through_another_name),
                                       T(test_newer_schema_is_refused_unchanged),
                                       T(test_foreign_files_are_refused_unchanged),
                                       T(test_damage_is_refused_and_a_snapshot_named),
                                       T(test_snapshots_are_pruned),
                                       T(test_migration_backs_up_and_is_one_transaction),
                                       T(test_schema_1),
                                       T(test_schema_2),
                                       T(test_schema_3),
                                       T(test_read_only_folder),
                                       T(test_write_error),
                                       T(test_full_disk_leaves_no_half_promotion),
                                       T(test_killed_writer_loses_nothing),
                                       T(test_reader_recovers_a_hot_journal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
