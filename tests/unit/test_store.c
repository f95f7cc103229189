/* The store: what is written comes back, what must not change does not, and no fault leaves half of anything.
 *
 * Each test works in its own folder under /tmp. Faults are real: a child that holds the lock, a child killed with SIGKILL
 * between and inside commits, flipped bits, limits on file and database size, a folder without write permission (as an
 * unprivileged user). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "digest.h"
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

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/test_store.XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/results/fatune.db", w->folder);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    store_close(w->s);
    nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

static json_t *object(const char *key, const char *value)
{
    return json_pack("{s:s}", key, value);
}

/* An open store with an environment, a space, a run on track "track-1" and candidates a, b, c. */
static void fill(struct world *w)
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

static void reopen(struct world *w, enum store_mode mode)
{
    store_close(w->s);
    w->s = NULL;
    GOOD(store_open(&w->s, w->path, mode, &w->e));
}

static int64_t count(struct world *w, const char *sql)
{
    int64_t n = -1;
    GOOD(store_number(w->s, &n, NULL, "count", &w->e, sql, ""));
    return n;
}

static void assert_text(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("'%s' does not say '%s'", text, part);
}

static void forget(struct world *w)
{
    w->e = (struct err){0};
}

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
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_int_equal(store_open(&w->s, w->path, STORE_WRITE, &w->e), -1);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 3);
    assert_int_equal(w->e.code, ERR_LOCKED);
    snprintf(pid_text, sizeof pid_text, "%ld", (long)pid);
    assert_text(w->e.text, pid_text);
    assert_int_equal(write(down[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    forget(w);
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
    assert_int_equal(sqlite3_exec(w->s->db, "PRAGMA user_version=2", NULL, NULL, NULL), SQLITE_OK);
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

static void put_many(struct world *w, int from, int n)
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
    snprintf(copy, sizeof copy, "%s.bak-v1", w->path);
    assert_int_equal(store_migrate(w->s, 1, bad, 2, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    forget(w);
    assert_int_equal(count(w, "PRAGMA user_version"), 1);
    assert_int_equal(count(w, "SELECT count(*) FROM pragma_table_info('run') WHERE name = 'more'"), 0);
    GOOD(store_migrate(w->s, 1, good, 1, &w->e));
    assert_int_equal(count(w, "PRAGMA user_version"), 2);
    assert_int_equal(count(w, "SELECT count(*) FROM pragma_table_info('run') WHERE name = 'extra'"), 1);
    store_close(w->s);
    w->s = NULL;
    GOOD(store_open(&w->s, copy, STORE_READ, &w->e));
    assert_int_equal(count(w, "SELECT count(*) FROM candidate"), 3);
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

static void decision(struct world *w, struct store_decision *d, const struct verdict *v, int64_t trial, int64_t who,
                     const char *action)
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
        if (store_decide(w->s, &d, name, &w->e) != 0) {
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

/* ---- runs and evaluations ---- */

static int count_runs(void *ctx, const struct store_run *r)
{
    int64_t *ids = ctx;
    ids[++ids[0]] = r->id;
    return 0;
}

static void test_runs(void **state)
{
    struct world *w = *state;
    struct store_run r;
    json_t *j = object("x", "y");
    int64_t second, ids[8] = {0};
    bool found;
    fill(w);
    GOOD(store_run_find(w->s, "nothing", &r, &found, &w->e));
    assert_false(found);
    GOOD(store_run_begin(w->s, w->space, w->environment, "key-1", "track-2", j, &second, &w->e));
    GOOD(store_run_find(w->s, "key-1", &r, &found, &w->e));
    assert_true(found);
    assert_int_equal(r.id, second);
    assert_string_equal(r.state, "search");
    assert_string_equal(r.ended, "");
    assert_null(r.summary);
    assert_true(json_equal(r.settings, j));
    store_run_free(&r);
    GOOD(store_run_state(w->s, second, "race", 1.5, NULL, &w->e));
    GOOD(store_run_state(w->s, second, "done", 2.0, j, &w->e));
    GOOD(store_run_state(w->s, second, "done", 0, NULL, &w->e));
    GOOD(store_run_get(w->s, second, &r, &w->e));
    assert_float_equal(r.elapsed_s, 3.5, 0);
    assert_true(json_equal(r.summary, j));
    assert_int_equal(strlen(r.ended), 24);
    assert_int_equal(r.ended[23], 'Z');
    store_run_free(&r);
    GOOD(store_runs(w->s, NULL, count_runs, ids, &w->e));
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], second);
    ids[0] = 0;
    GOOD(store_runs(w->s, "track-1", count_runs, ids, &w->e));
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], w->run);
    assert_int_equal(store_run_state(w->s, second, "dancing", 0, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    forget(w);
    assert_int_equal(store_run_get(w->s, 99, &r, &w->e), -1);
    json_decref(j);
}

static int check_evaluation(void *ctx, const struct store_evaluation *v)
{
    int *seen = ctx;
    assert_int_equal(v->seq, *seen);
    if (v->seq == 0) {
        assert_int_equal(v->fate, FATE_OK);
        assert_float_equal(v->us, 12.25, 0);
        assert_string_equal(v->binary, "bin");
        assert_string_equal(v->code, "");
        assert_int_equal(v->alias_of, -1);
        assert_null(v->log);
        assert_string_equal(v->cand, DIGEST_A);
        assert_non_null(v->params);
    } else {
        assert_int_equal(v->fate, FATE_COMPILE);
        assert_true(isnan(v->us));
        assert_int_equal(v->alias_of, 0);
        assert_true(strlen(v->log) <= STORE_LOG_MAX);
        assert_text(v->log, "[cut: 100000 bytes in all]");
        assert_memory_equal(v->log, "??\xc3\xa9", 4);
    }
    ++*seen;
    return 0;
}

static void test_evaluations(void **state)
{
    struct world *w = *state;
    double samples[] = {1.5, -0.0, 1e300, 5e-324, 12.25}, *back;
    int seen = 0, n;
    bool found;
    char *log = malloc(100001);
    struct store_evaluation known,
        v = {.run = w->run, .us = 12.25, .binary = "bin", .alias_of = -1, .samples = samples, .nsamples = 5};
    fill(w);
    v.run = w->run;
    v.candidate = w->a;
    GOOD(store_evaluation_put(w->s, &v, &w->e));
    memset(log, 'e', 100000);
    log[100000] = '\0';
    memcpy(log, "\xff\xc0\xc3\xa9", 4); /* two bytes that no UTF-8 holds, then an e acute */
    struct store_evaluation bad = {
        .run = w->run, .candidate = w->b, .seq = 1, .fate = FATE_COMPILE, .us = 3, .code = "code", .log = log};
    GOOD(store_evaluation_put(w->s, &bad, &w->e));
    assert_int_equal(store_evaluation_put(w->s, &v, &w->e), -1); /* seq 0 again */
    assert_int_equal(w->e.code, ERR_STORE);
    forget(w);
    GOOD(store_evaluations(w->s, w->run, check_evaluation, &seen, &w->e));
    assert_int_equal(seen, 2);
    GOOD(store_evaluation_samples(w->s, w->run, 0, &back, &n, &w->e));
    assert_int_equal(n, 5);
    assert_memory_equal(back, samples, sizeof samples);
    free(back);
    GOOD(store_evaluation_known(w->s, DIGEST_A, w->environment, "track-1", &known, &found, &w->e));
    assert_true(found);
    assert_float_equal(known.us, 12.25, 0);
    store_evaluation_free(&known);
    GOOD(store_evaluation_known(w->s, DIGEST_A, w->environment, "track-9", &known, &found, &w->e));
    assert_false(found);
    GOOD(store_evaluation_known(w->s, DIGEST_A, w->environment + 1, "track-1", &known, &found, &w->e));
    assert_false(found);
    free(log);
}

static void test_every_fate_fits_the_schema(void **state)
{
    struct world *w = *state;
    fill(w);
    for (int f = 0; f < FATE_N; f++) {
        struct store_evaluation v = {
            .run = w->run, .candidate = w->a, .seq = f, .fate = (enum fate)f, .us = 1, .alias_of = -1};
        GOOD(store_evaluation_put(w->s, &v, &w->e));
    }
}

static void test_checks(void **state)
{
    struct world *w = *state;
    json_t *j = object("law", "holds"), *back;
    enum fate fate;
    bool found;
    fill(w);
    GOOD(store_check_get(w->s, w->run, w->a, "full", &fate, &back, &found, &w->e));
    assert_false(found);
    GOOD(store_check_put(w->s, w->run, w->a, "bin1", "full", FATE_WRONG, NULL, &w->e));
    GOOD(store_check_put(w->s, w->run, w->a, "bin2", "full", FATE_OK, j, &w->e));
    GOOD(store_check_get(w->s, w->run, w->a, "full", &fate, &back, &found, &w->e));
    assert_true(found);
    assert_int_equal(fate, FATE_OK);
    assert_true(json_equal(j, back));
    json_decref(back);
    GOOD(store_check_get(w->s, w->run, w->a, "quick", &fate, NULL, &found, &w->e));
    assert_false(found);
    json_decref(j);
}

struct measured {
    int n, block[8], seq[8];
    double us[8];
};
static int take_race(void *ctx, int block, int seq, double us)
{
    struct measured *m = ctx;
    m->block[m->n] = block;
    m->seq[m->n] = seq;
    m->us[m->n++] = us;
    return 0;
}

static void test_race(void **state)
{
    struct world *w = *state;
    struct measured m = {0};
    fill(w);
    GOOD(store_race_block(w->s, w->run, 0, (int[]){5, 2}, (double[]){1.5, (double)NAN}, 2, &w->e));
    GOOD(store_race_block(w->s, w->run, 1, (int[]){2}, (double[]){2.5}, 1, &w->e));
    /* One bad row refuses the whole block. */
    assert_int_equal(store_race_block(w->s, w->run, 2, (int[]){2, 5}, (double[]){1, -1}, 2, &w->e), -1);
    forget(w);
    GOOD(store_race(w->s, w->run, take_race, &m, &w->e));
    assert_int_equal(m.n, 3);
    assert_int_equal(m.seq[0], 5);
    assert_true(isnan(m.us[1]));
    assert_int_equal(m.block[2], 1);
    GOOD(store_race_clear(w->s, w->run, &w->e));
    m.n = 0;
    GOOD(store_race(w->s, w->run, take_race, &m, &w->e));
    assert_int_equal(m.n, 0);
}

/* ---- trials ---- */

static void put_session(struct world *w, int64_t trial, int number, const char *invalid)
{
    double samples[20];
    struct store_quad q[2] = {0};
    json_t *health = invalid ? object("invalid", invalid) : NULL;
    for (int i = 0; i < 20; i++)
        samples[i] = 100 + number + i / 16.0;
    for (int i = 0; i < 2; i++) {
        q[i] = (struct store_quad){
            .quad = {.baab = i == 1, .discarded = i == 0, .letter = {1, 2, 3, 4.5 + number}, .sm_mhz = 1980},
            .samples = samples,
            .nsamples = 20};
    }
    GOOD(store_session_put(w->s, trial, number, 0xffffffffffffff00u + (unsigned)number, q, 2, health, &w->e));
    json_decref(health);
}

static void test_trial_goes_on(void **state)
{
    struct world *w = *state;
    json_t *settings = json_pack("{s:i, s:b}", "m", 5, "boxed", 1), *back;
    struct trial t;
    struct verdict v = {.outcome = VERDICT_KEEP, .ratio = 1.01};
    struct store_decision d;
    int64_t trial, control, id;
    bool found;
    fill(w);
    GOOD(store_trial_find(w->s, w->run, "ab", w->a, w->b, &id, &back, &t, &found, &w->e));
    assert_false(found);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    GOOD(store_trial_begin(w->s, w->run, "aa", w->a, w->a, settings, &control, &w->e));
    put_session(w, trial, 0, NULL);
    put_session(w, trial, 1, NULL);
    struct store_quad none = {0};
    assert_int_equal(store_session_put(w->s, trial, 1, 0, &none, 1, NULL, &w->e), -1); /* twice the same session */
    forget(w);
    reopen(w, STORE_WRITE);
    GOOD(store_trial_find(w->s, w->run, "ab", w->a, w->b, &id, &back, &t, &found, &w->e));
    assert_true(found);
    assert_int_equal(id, trial);
    assert_true(json_equal(back, settings));
    assert_int_equal(t.n, 2);
    assert_int_equal(t.m, 5);
    assert_true(t.boxed);
    assert_false(t.invalid);
    assert_int_equal(t.sessions[1].n, 2);
    assert_true(t.sessions[1].quads[1].baab);
    assert_true(t.sessions[1].quads[0].discarded);
    assert_float_equal(t.sessions[1].quads[0].letter[3], 5.5, 0);
    assert_float_equal(t.sessions[1].quads[0].sm_mhz, 1980, 0);
    trial_free(&t);
    json_decref(back);
    GOOD(store_trial_latest(w->s, w->a, w->b, w->environment, &id, &found, &w->e));
    assert_false(found); /* not finished */
    decision(w, &d, &v, trial, 0, NULL);
    d.control = control;
    GOOD(store_decide(w->s, &d, NULL, &w->e));
    GOOD(store_trial_find(w->s, w->run, "ab", w->a, w->b, &id, NULL, &t, &found, &w->e));
    assert_false(found);
    GOOD(store_trial_find(w->s, w->run, "aa", w->a, w->a, &id, NULL, &t, &found, &w->e));
    assert_true(found); /* the control serves the next finalist too */
    assert_int_equal(t.n, 0);
    trial_free(&t);
    GOOD(store_trial_latest(w->s, w->a, w->b, w->environment, &id, &found, &w->e));
    assert_true(found);
    assert_int_equal(id, trial);
    GOOD(store_trial_latest(w->s, w->b, w->a, w->environment, &id, &found, &w->e));
    assert_false(found);
    GOOD(store_trial_latest(w->s, w->a, w->b, w->environment + 1, &id, &found, &w->e));
    assert_false(found);
    json_decref(settings);
}

static void test_invalid_trial_says_why(void **state)
{
    struct world *w = *state;
    json_t *settings = json_object();
    struct trial t;
    int64_t trial;
    fill(w);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    put_session(w, trial, 0, "throttled");
    GOOD(store_trial_get(w->s, trial, &t, NULL, &w->e));
    assert_true(t.invalid);
    assert_string_equal(t.reason, "throttled");
    trial_free(&t);
    json_decref(settings);
}

static int sum_samples(void *ctx, int session, int quad, const double *samples, int n)
{
    double *sum = ctx;
    assert_int_equal(session, 0);
    assert_int_equal(n, 20);
    sum[quad] += samples[0] + samples[19];
    return 0;
}

static void test_digest_mismatch_is_seen(void **state)
{
    struct world *w = *state;
    json_t *settings = json_object();
    struct trial t;
    double sum[2] = {0};
    int64_t trial;
    fill(w);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    put_session(w, trial, 0, NULL);
    GOOD(store_trial_samples(w->s, trial, sum_samples, sum, &w->e));
    assert_float_equal(sum[1], 201.1875, 0);
    GOOD(store_trial_get(w->s, trial, &t, NULL, &w->e));
    trial_free(&t);
    /* Another program may drop the triggers; the digest still tells. */
    assert_int_equal(
        sqlite3_exec(w->s->db,
                     "DROP TRIGGER series_no_update; UPDATE series SET samples = zeroblob(160) WHERE quad = 2", NULL,
                     NULL, NULL),
        SQLITE_OK);
    assert_int_equal(store_trial_get(w->s, trial, &t, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_STORE);
    assert_text(w->e.text, "digest");
    assert_int_equal(t.n, 0);
    json_decref(settings);
}

/* ---- champions ---- */

static void crown(struct world *w, const char *track, int64_t who, const char *action, const char *as, char name[64])
{
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    decision(w, &d, &v, 0, who, action);
    d.track = track;
    d.as = as;
    GOOD(store_decide(w->s, &d, name, &w->e));
}

static void assert_champion(struct world *w, const char *track, const char *name, const char *action)
{
    struct store_champion c;
    bool found;
    GOOD(store_champion(w->s, track, &c, &found, &w->e));
    assert_int_equal(found, name != NULL);
    if (found) {
        assert_string_equal(c.version.name, name);
        assert_string_equal(c.action, action);
        assert_string_equal(c.version.space, "s512");
        assert_string_equal(c.version.device, "Fake 9000");
        assert_true(c.verdict > 0);
        assert_string_equal(c.version.track, track);
    }
    store_champion_free(&c);
}

static int take_actions(void *ctx, const struct store_champion *c)
{
    buf_printf(ctx, "%s %s; ", c->action, c->version.name);
    return 0;
}

static void test_revoke_and_restore(void **state)
{
    struct world *w = *state;
    struct buf log = {0};
    char name[64];
    fill(w);
    assert_champion(w, "track-1", NULL, NULL);
    assert_int_equal(store_champion_revoke(w->s, "track-1", "x", &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    forget(w);
    crown(w, "track-1", w->a, "crown", NULL, name);
    assert_string_equal(name, "v1");
    crown(w, "track-1", w->b, "promote", NULL, name);
    assert_string_equal(name, "v2");
    crown(w, "track-1", w->c, "promote", "fast.one", name);
    assert_string_equal(name, "fast.one");
    assert_champion(w, "track-1", "fast.one", "promote");
    GOOD(store_champion_revoke(w->s, "track-1", "wrong on masked rows", &w->e));
    assert_champion(w, "track-1", "v2", "restore");
    /* The same candidate again keeps its name; revoking it removes both of its promotions. */
    crown(w, "track-1", w->a, "promote", NULL, name);
    assert_string_equal(name, "v1");
    crown(w, "track-1", w->b, "promote", NULL, name);
    assert_string_equal(name, "v2");
    GOOD(store_champion_revoke(w->s, "track-1", "slow", &w->e));
    assert_champion(w, "track-1", "v1", "restore");
    GOOD(store_champion_revoke(w->s, "track-1", "old", &w->e));
    assert_champion(w, "track-1", NULL, NULL);
    assert_int_equal(store_champion_revoke(w->s, "track-1", "x", &w->e), -1);
    forget(w);
    reopen(w, STORE_WRITE);
    crown(w, "track-1", w->b, "crown", NULL, name);
    assert_champion(w, "track-1", "v2", "crown");
    GOOD(store_champion_history(w->s, "track-1", take_actions, &log, &w->e));
    assert_string_equal(buf_text(&log),
                        "crown v1; promote v2; promote fast.one; revoke fast.one; restore v2; promote v1; "
                        "promote v2; revoke v2; restore v1; revoke v1; crown v2; ");
    buf_free(&log);
}

static void test_names(void **state)
{
    struct world *w = *state;
    struct store_version found_version;
    struct store_decision d;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    char name[64];
    bool found;
    fill(w);
    crown(w, "track-1", w->a, "crown", "v7", name);
    crown(w, "track-1", w->b, "promote", NULL, name);
    assert_string_equal(name, "v8");
    static const char *const bad[] = {"v7",
                                      "",
                                      "a b",
                                      "-x",
                                      "../x",
                                      "abcdef12",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaz"};
    int64_t verdicts = count(w, "SELECT count(*) FROM verdict");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        decision(w, &d, &v, 0, w->b, "promote");
        d.as = bad[i];
        forget(w);
        assert_int_equal(store_decide(w->s, &d, name, &w->e), -1);
        assert_int_equal(w->e.code, ERR_USAGE);
    }
    forget(w);
    assert_int_equal(count(w, "SELECT count(*) FROM verdict"), verdicts);
    crown(w, "track-1", w->c, "promote", NULL, name);
    /* By name, by prefix, ambiguous, unknown, too short. */
    GOOD(store_version_find(w->s, NULL, "v7", &found_version, &found, &w->e));
    assert_true(found);
    assert_string_equal(found_version.cand, DIGEST_A);
    assert_string_equal(found_version.binary, "bin");
    store_version_free(&found_version);
    GOOD(store_version_find(w->s, "track-1", "AAAAAA1", &found_version, &found, &w->e));
    assert_true(found);
    assert_string_equal(found_version.name, "v7");
    store_version_free(&found_version);
    assert_int_equal(store_version_find(w->s, NULL, "bbbbbb", &found_version, &found, &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    assert_text(w->e.text, DIGEST_B);
    assert_text(w->e.text, DIGEST_C);
    forget(w);
    GOOD(store_version_find(w->s, NULL, "bbbbbb2", &found_version, &found, &w->e));
    assert_true(found);
    store_version_free(&found_version);
    GOOD(store_version_find(w->s, NULL, "aaaaa", &found_version, &found, &w->e));
    assert_false(found);
    GOOD(store_version_find(w->s, "track-2", "v7", &found_version, &found, &w->e));
    assert_false(found);
}

static void test_decision_on_another_track_is_a_bug(void **state)
{
    struct world *w = *state;
    struct store_decision d;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    fill(w);
    decision(w, &d, &v, 0, w->b, "promote");
    d.track = "track-2";
    assert_int_equal(store_decide(w->s, &d, NULL, &w->e), -1);
    assert_int_equal(w->e.code, ERR_BUG);
    assert_int_equal(count(w, "SELECT count(*) FROM verdict"), 0);
}

static int take_track(void *ctx, const char *track, const char *space, const char *device)
{
    buf_printf(ctx, "%s/%s/%s; ", track, space, device);
    return 0;
}

static void test_newest_track_wins_a_name(void **state)
{
    struct world *w = *state;
    struct store_version v;
    struct buf tracks = {0};
    json_t *j = json_object();
    char name[64];
    bool found;
    fill(w);
    crown(w, "track-1", w->a, "crown", NULL, name);
    GOOD(store_run_begin(w->s, w->space, w->environment, "key-2", "track-2", j, &w->run, &w->e));
    crown(w, "track-2", w->b, "crown", NULL, name);
    assert_string_equal(name, "v1");
    GOOD(store_version_find(w->s, NULL, "v1", &v, &found, &w->e));
    assert_true(found);
    assert_string_equal(v.track, "track-2");
    store_version_free(&v);
    GOOD(store_version_find(w->s, "track-1", "v1", &v, &found, &w->e));
    assert_true(found);
    assert_string_equal(v.cand, DIGEST_A);
    store_version_free(&v);
    GOOD(store_tracks(w->s, take_track, &tracks, &w->e));
    assert_string_equal(buf_text(&tracks), "track-2/s512/Fake 9000; track-1/s512/Fake 9000; ");
    assert_champion(w, "track-1", "v1", "crown");
    buf_free(&tracks);
    json_decref(j);
}

static void test_evidence_is_append_only(void **state)
{
    struct world *w = *state;
    static const char *const attempts[] = {
        "UPDATE champion SET note = 'x'",
        "DELETE FROM champion",
        "UPDATE verdict SET outcome = 'KEEP'",
        "DELETE FROM verdict",
        "UPDATE series SET n = n",
        "DELETE FROM series",
        "UPDATE quad SET letter0 = 1",
        "DELETE FROM quad",
        "DELETE FROM session",
        "UPDATE version SET name = 'x'",
        "DELETE FROM version",
        "UPDATE evaluation SET us = 1",
        "DELETE FROM evaluation",
        "REPLACE INTO champion(id, track, version, action, at) SELECT id, track, version, action, at FROM champion"};
    json_t *settings = json_object();
    char name[64], *message;
    int64_t trial;
    fill(w);
    put_many(w, 0, 1);
    GOOD(store_trial_begin(w->s, w->run, "ab", w->a, w->b, settings, &trial, &w->e));
    put_session(w, trial, 0, NULL);
    crown(w, "track-1", w->a, "crown", NULL, name);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        message = NULL;
        int rc = sqlite3_exec(w->s->db, attempts[i], NULL, NULL, &message);
        if (rc != SQLITE_CONSTRAINT_TRIGGER) fail_msg("%s: %d", attempts[i], rc);
        assert_text(message, "append-only");
        sqlite3_free(message);
    }
    json_decref(settings);
}

static void test_all_that_is_known_of_a_candidate(void **state)
{
    struct world *w = *state;
    json_t *settings = json_pack("{s:i}", "m", 5), *all, *body;
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    int64_t trial;
    char name[64];
    bool found;
    fill(w);
    put_many(w, 0, 2);
    GOOD(store_check_put(w->s, w->run, w->a, "bin", "quick", FATE_OK, settings, &w->e));
    GOOD(store_trial_begin(w->s, w->run, "ab", w->b, w->a, settings, &trial, &w->e));
    put_session(w, trial, 0, NULL);
    decision(w, &d, &v, trial, w->a, "crown");
    d.candidate = w->a;
    GOOD(store_decide(w->s, &d, name, &w->e));
    GOOD(store_candidate_json(w->s, "aaaaaa", &all, &found, &w->e));
    assert_true(found);
    assert_string_equal(json_string_value(json_object_get(all, "id")), DIGEST_A);
    static const struct {
        const char *key;
        size_t n;
    } want[] = {{"evaluations", 2}, {"checks", 1}, {"trials", 1}, {"verdicts", 1}, {"versions", 1}, {"champion", 1}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(json_array_size(json_object_get(all, want[i].key)), want[i].n);
    json_t *t = json_array_get(json_object_get(all, "trials"), 0);
    assert_string_equal(json_string_value(json_object_get(t, "arm")), "b");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(t, "settings"), "m")), 5);
    GOOD(store_verdict_json(
        w->s, json_integer_value(json_object_get(json_array_get(json_object_get(all, "verdicts"), 0), "id")), &body,
        &w->e));
    assert_string_equal(json_string_value(json_object_get(body, "outcome")), verdict_name(VERDICT_PROMOTE));
    json_decref(body);
    json_decref(all);
    GOOD(store_candidate_json(w->s, "cccccc", &all, &found, &w->e));
    assert_false(found);
    assert_int_equal(store_candidate_json(w->s, "bbbbbb", &all, &found, &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    forget(w);
    assert_int_equal(store_candidate_json(w->s, "xyz", &all, &found, &w->e), -1);
    assert_int_equal(w->e.code, ERR_USAGE);
    json_decref(settings);
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
                                       T(test_read_only_folder),
                                       T(test_write_error),
                                       T(test_full_disk_leaves_no_half_promotion),
                                       T(test_killed_writer_loses_nothing),
                                       T(test_reader_recovers_a_hot_journal),
                                       T(test_runs),
                                       T(test_evaluations),
                                       T(test_every_fate_fits_the_schema),
                                       T(test_checks),
                                       T(test_race),
                                       T(test_trial_goes_on),
                                       T(test_invalid_trial_says_why),
                                       T(test_digest_mismatch_is_seen),
                                       T(test_revoke_and_restore),
                                       T(test_names),
                                       T(test_decision_on_another_track_is_a_bug),
                                       T(test_newest_track_wins_a_name),
                                       T(test_evidence_is_append_only),
                                       T(test_all_that_is_known_of_a_candidate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
