/* store.c - opening: lock, pragmas, schema, migration, snapshots.
 *
 * PRAGMAs and why. A run commits a few times a second, so durability is worth more than speed:
 *   journal_mode DELETE   copies of the one file are complete, network file systems stay safe, and the write-ahead log
 * of SQLite before 3.51.3 can lose data with two checkpointing connections; synchronous EXTRA     a commit survives
 * power loss: the folder is synced after the journal is unlinked; foreign_keys ON       no sample without its quad, no
 * champion without its version; trusted_schema OFF    a store may come from somebody else: its schema must not call
 * functions with side effects; mmap_size 0           an I/O error is a result code, not a SIGBUS; busy_timeout 10000 a
 * reader's short read lock makes the writer wait, not fail; recursive_triggers ON REPLACE fires delete triggers, so
 * append-only tables stay so.
 *
 * Invariants: a file is looked at (magic, application_id, user_version) before anything may write to it; only the
 * holder of the flock on FILE.lock opens for writing; the lock file is never unlinked (a waiter could hold the old
 * inode); schema changes happen in one transaction, after a backup. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "paths.h"
#include "store_private.h"

/* A new fate needs a new schema version: the CHECKs name them. */
_Static_assert(FATE_N == 12, "fates are part of the schema: add a migration");
#define FATE_CHECK                                                                                                     \
    "CHECK(fate IN "                                                                                                   \
    "('OK','RENDER','COMPILE','COMPILE_TIMEOUT','COMPILE_CRASH','LIMITS','LAUNCH','WRONG','NONDET','CORRUPT',"         \
    "'CRASH','HANG'))"
#define DIGEST_CHECK(column) "CHECK(length(" #column ") BETWEEN 1 AND 64)"
#define APPEND_ONLY(table)                                                                                             \
    "CREATE TRIGGER " #table "_no_update BEFORE UPDATE ON " #table " BEGIN SELECT RAISE(ABORT, '" #table               \
    " is append-only'); END;"                                                                                          \
    "CREATE TRIGGER " #table "_no_delete BEFORE DELETE ON " #table " BEGIN SELECT RAISE(ABORT, '" #table               \
    " is append-only'); END;"

static const char SCHEMA_1[] =
    "CREATE TABLE environment( -- numbers of different environments are never compared\n"
    " id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE " DIGEST_CHECK(
        digest) ","
                " facts TEXT NOT NULL, -- JSON: device, driver, compiler, clocks, version of fatune\n"
                " created TEXT NOT NULL) STRICT;"

                "CREATE TABLE space(id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE " DIGEST_CHECK(
                    digest) ","
                            " name TEXT NOT NULL, text TEXT NOT NULL, -- the YAML as the user wrote it\n"
                            " problem TEXT NOT NULL, created TEXT NOT NULL) STRICT;"

                            "CREATE TABLE candidate(id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE " DIGEST_CHECK(
                                digest) ","
                                        " params TEXT NOT NULL, created TEXT NOT NULL) STRICT;"

                                        "CREATE TABLE run(id INTEGER PRIMARY KEY, space INTEGER NOT NULL REFERENCES "
                                        "space,"
                                        " environment INTEGER NOT NULL REFERENCES environment,"
                                        " key TEXT NOT NULL " DIGEST_CHECK(
                                            key) ", -- what makes two invocations the same run\n"
                                                 " track TEXT NOT NULL " DIGEST_CHECK(
                                                     track) ", -- what a champion is champion of\n"
                                                            " state TEXT NOT NULL CHECK(state IN "
                                                            "('search','race','confirm','done','failed')),"
                                                            " settings TEXT NOT NULL, summary TEXT, elapsed_s REAL NOT "
                                                            "NULL DEFAULT 0 CHECK(elapsed_s >= 0),"
                                                            " started TEXT NOT NULL, ended TEXT) STRICT;"
                                                            "CREATE INDEX run_key ON run(key);"
                                                            "CREATE INDEX run_track ON run(track);"

                                                            "CREATE TABLE evaluation( -- one proposal of a run's "
                                                            "search\n"
                                                            " id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES "
                                                            "run, seq INTEGER NOT NULL CHECK(seq >= 0),"
                                                            " candidate INTEGER NOT NULL REFERENCES candidate, fate "
                                                            "TEXT NOT NULL " FATE_CHECK ","
                                                            " us REAL CHECK(us IS NULL OR (fate = 'OK' AND us > 0)), "
                                                            "-- search score: selects, never decides\n"
                                                            " binary TEXT, code TEXT, alias_of INTEGER CHECK(alias_of "
                                                            ">= 0), -- seq with equal code\n"
                                                            " detail TEXT, log TEXT, created TEXT NOT NULL, "
                                                            "UNIQUE(run, seq)) STRICT;"
                                                            "CREATE INDEX evaluation_candidate ON "
                                                            "evaluation(candidate);"

                                                            "CREATE TABLE proof( -- a candidate's validation at a "
                                                            "level\n"
                                                            " run INTEGER NOT NULL REFERENCES run, candidate INTEGER "
                                                            "NOT NULL REFERENCES candidate, level TEXT NOT NULL,"
                                                            " binary TEXT, fate TEXT NOT NULL " FATE_CHECK
                                                            ", report TEXT, created TEXT NOT NULL,"
                                                            " PRIMARY KEY(run, candidate, level)) STRICT;"

                                                            "CREATE TABLE race( -- block: every live candidate once, "
                                                            "in random order\n"
                                                            " id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES "
                                                            "run, block INTEGER NOT NULL CHECK(block >= 0),"
                                                            " seq INTEGER NOT NULL, us REAL CHECK(us IS NULL OR us > "
                                                            "0), -- NULL: failed\n"
                                                            " UNIQUE(run, block, seq)) STRICT;"

                                                            "CREATE TABLE trial( -- paired comparison over fresh "
                                                            "sessions; A stands, B challenges (aa: the control)\n"
                                                            " id INTEGER PRIMARY KEY, run INTEGER REFERENCES run, kind "
                                                            "TEXT NOT NULL CHECK(kind IN ('ab','aa')),"
                                                            " a INTEGER NOT NULL REFERENCES candidate, b INTEGER NOT "
                                                            "NULL REFERENCES candidate,"
                                                            " settings TEXT NOT NULL, created TEXT NOT NULL) STRICT;"
                                                            "CREATE INDEX trial_run ON trial(run);"
                                                            "CREATE INDEX trial_arms ON trial(a, b);"

                                                            "CREATE TABLE session( -- one fresh process and context; "
                                                            "the unit of replication\n"
                                                            " id INTEGER PRIMARY KEY, trial INTEGER NOT NULL "
                                                            "REFERENCES trial, number INTEGER NOT NULL CHECK(number >= "
                                                            "0),"
                                                            " seed TEXT NOT NULL, -- 64 bits, hexadecimal\n"
                                                            " health TEXT, created TEXT NOT NULL, UNIQUE(trial, "
                                                            "number)) STRICT;"

                                                            "CREATE TABLE quad( -- ABBA or BAAB; letter: median of m "
                                                            "consecutive samples of one arm, microseconds\n"
                                                            " id INTEGER PRIMARY KEY, session INTEGER NOT NULL "
                                                            "REFERENCES session, number INTEGER NOT NULL CHECK(number "
                                                            ">= 0),"
                                                            " baab INTEGER NOT NULL CHECK(baab IN (0,1)), discarded "
                                                            "INTEGER NOT NULL CHECK(discarded IN (0,1)),"
                                                            " letter0 REAL, letter1 REAL, letter2 REAL, letter3 REAL, "
                                                            "sm_mhz REAL NOT NULL, health TEXT,"
                                                            " UNIQUE(session, number)) STRICT;"

                                                            "CREATE TABLE series( -- raw samples: one timed batch of k "
                                                            "launches each, time / k, microseconds\n"
                                                            " id INTEGER PRIMARY KEY, phase TEXT NOT NULL CHECK(phase "
                                                            "IN ('search','trial')),"
                                                            " evaluation INTEGER UNIQUE REFERENCES evaluation, quad "
                                                            "INTEGER UNIQUE REFERENCES quad,"
                                                            " n INTEGER NOT NULL CHECK(n > 0), samples BLOB NOT NULL "
                                                            "CHECK(length(samples) = 8 * n), -- little-endian doubles\n"
                                                            " digest TEXT NOT NULL CHECK(length(digest) = 64), -- "
                                                            "SHA-256 of samples\n"
                                                            " CHECK((evaluation IS NULL) <> (quad IS NULL))) STRICT;"

                                                            "CREATE TABLE verdict(id INTEGER PRIMARY KEY, run INTEGER "
                                                            "REFERENCES run, trial INTEGER REFERENCES trial,"
                                                            " control INTEGER REFERENCES trial, candidate INTEGER NOT "
                                                            "NULL REFERENCES candidate,"
                                                            " outcome TEXT NOT NULL, body TEXT NOT NULL, created TEXT "
                                                            "NOT NULL) STRICT;"
                                                            "CREATE INDEX verdict_trial ON verdict(trial);"
                                                            "CREATE INDEX verdict_control ON verdict(control);"

                                                            "CREATE TABLE version( -- immutable name of one candidate "
                                                            "in one track\n"
                                                            " id INTEGER PRIMARY KEY, track TEXT NOT "
                                                            "NULL " DIGEST_CHECK(
                                                                track) ", name TEXT NOT NULL,"
                                                                       " candidate INTEGER NOT NULL REFERENCES "
                                                                       "candidate, run INTEGER NOT NULL REFERENCES run,"
                                                                       " environment INTEGER NOT NULL REFERENCES "
                                                                       "environment, binary TEXT, facts TEXT, created "
                                                                       "TEXT NOT NULL,"
                                                                       " UNIQUE(track, name)) STRICT;"

                                                                       "CREATE TABLE champion( -- the log; who stands "
                                                                       "follows from replaying it\n"
                                                                       " id INTEGER PRIMARY KEY AUTOINCREMENT, track "
                                                                       "TEXT NOT NULL " DIGEST_CHECK(
                                                                           track) ","
                                                                                  " version INTEGER NOT NULL "
                                                                                  "REFERENCES version,"
                                                                                  " action TEXT NOT NULL CHECK(action "
                                                                                  "IN "
                                                                                  "('crown','promote','revoke','"
                                                                                  "restore')),"
                                                                                  " verdict INTEGER REFERENCES "
                                                                                  "verdict, note TEXT NOT NULL DEFAULT "
                                                                                  "'', at TEXT NOT NULL) STRICT;"
                                                                                  "CREATE INDEX champion_track ON "
                                                                                  "champion(track);"

    APPEND_ONLY(evaluation) APPEND_ONLY(session) APPEND_ONLY(quad) APPEND_ONLY(series) APPEND_ONLY(verdict)
        APPEND_ONLY(version) APPEND_ONLY(champion);

/* Another kind of trial. A CHECK does not touch what is stored, so its text is replaced in place, as SQLite's manual allows for such
 * changes; anew and copied, the table would orphan its sessions on the way. What a contestant does proves nothing of a candidate. */
static const char SCHEMA_2[] =
    "PRAGMA writable_schema=ON;"
    "UPDATE sqlite_schema SET sql = replace(sql, 'kind IN (''ab'',''aa'')', 'kind IN (''ab'',''aa'',''contestant'')')"
    " WHERE type = 'table' AND name = 'trial';"
    "PRAGMA writable_schema=RESET;"
    "CREATE TRIGGER verdict_on_candidates BEFORE INSERT ON verdict WHEN EXISTS (SELECT 1 FROM trial WHERE kind = "
    "'contestant' AND"
    " id IN (NEW.trial, NEW.control)) BEGIN SELECT RAISE(ABORT, 'a trial of a contestant decides nothing'); END;";

/* Nights: what became of a promotion, and the ledger. A promotion that was settled, refuted or rolled back is a row of the same log. */
static const char SCHEMA_3[] =
    "PRAGMA writable_schema=ON;"
    "UPDATE sqlite_schema SET sql = replace(sql, 'action IN (''crown'',''promote'',''revoke'',''restore'')',"
    " 'action IN (''crown'',''promote'',''revoke'',''restore'',''settle'',''refute'',''rollback'')')"
    " WHERE type = 'table' AND name = 'champion';"
    "PRAGMA writable_schema=RESET;"
    "CREATE TABLE night( -- the ledger: one row a night of a track\n"
    " id INTEGER PRIMARY KEY AUTOINCREMENT, track TEXT NOT NULL " DIGEST_CHECK(
        track) ", number INTEGER NOT NULL CHECK(number > 0),"
               " run INTEGER NOT NULL UNIQUE REFERENCES run,"
               " outcome TEXT NOT NULL CHECK(outcome IN ('crowned','promoted','refuted','kept','broken','none')),"
               " promotion TEXT NOT NULL CHECK(promotion IN ('','settled','refuted','open')), -- of the one that was "
               "provisional\n"
               " before INTEGER REFERENCES version, after INTEGER REFERENCES version, -- who stood, who stands\n"
               " control REAL, control_low REAL, control_high REAL, -- A/A ratio of the standing arm, 99%\n"
               " trials INTEGER NOT NULL CHECK(trials >= 0), alpha REAL NOT NULL CHECK(alpha >= 0), -- that could have "
               "changed the champion\n"
               " anchor INTEGER REFERENCES candidate, anchor_us REAL CHECK(anchor_us IS NULL OR anchor_us > 0),"
               " seconds REAL NOT NULL CHECK(seconds >= 0), note TEXT NOT NULL, at TEXT NOT NULL,"
               " UNIQUE(track, number)) STRICT;" APPEND_ONLY(night);

/* What others measured. It is no evaluation of any run: nothing but the search's first proposals may come from it. */
static const char SCHEMA_4[] =
    "CREATE TABLE import(id INTEGER PRIMARY KEY, space INTEGER NOT NULL REFERENCES space, file TEXT NOT NULL,"
    " digest TEXT NOT NULL " DIGEST_CHECK(
        digest) ", -- of the points\n"
                " created TEXT NOT NULL, UNIQUE(space, digest)) STRICT;"
                "CREATE TABLE prior( -- a point to try\n"
                " id INTEGER PRIMARY KEY, import INTEGER NOT NULL REFERENCES import, params TEXT NOT NULL,"
                " us REAL NOT NULL CHECK(us > 0)) STRICT;"
                "CREATE INDEX prior_import ON prior(import, us);" APPEND_ONLY(import) APPEND_ONLY(prior);

/* steps[v] brings schema v to v+1; an empty file is schema 0. */
static const char *const steps[STORE_SCHEMA] = {SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4};

/* ---- names of files ---- */

/* The newest snapshot or backup beside path, "" when there is none. */
static void newest_copy(const char *path, char *out, size_t size)
{
    static const char *const suffix[] = {".snapshot-*", ".bak-v*"};
    struct stat best = {0}, st;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        char pattern[PATH_MAX];
        glob_t g = {0};
        if (snprintf(pattern, sizeof pattern, "%s%s", path, suffix[i]) >= (int)sizeof pattern) continue;
        if (glob(pattern, 0, NULL, &g) == 0) {
            for (size_t k = 0; k < g.gl_pathc; k++) {
                if (stat(g.gl_pathv[k], &st) != 0 || (out[0] && st.st_mtime < best.st_mtime)) continue;
                best = st;
                snprintf(out, size, "%s", g.gl_pathv[k]);
            }
        }
        globfree(&g);
    }
}

/* err_set for a file that must not be used, with where to find an older copy. */
static int refuse(const struct store *s, const char *detail, struct err *e)
{
    char copy[PATH_MAX];
    newest_copy(s->path, copy, sizeof copy);
    if (copy[0])
        return err_set(
            e, ERR_STORE,
            "store %.1000s: %.800s; it was not changed\nthe newest copy is %.900s: move the file away and put the copy "
            "in its place, or name another store with --store FILE",
            s->path, detail, copy);
    return err_set(
        e, ERR_STORE,
        "store %.1000s: %.800s; it was not changed\nno snapshot or backup lies beside it: move the file away to start "
        "anew, or name another store with --store FILE",
        s->path, detail);
}

static int make_folders(const char *path, struct err *e)
{
    struct err why = {0};

    if (paths_make(path, &why) == 0) return 0;
    return err_set(e, ERR_STORE, "store %.1000s: %.1200s\nname a writable place with --store FILE", path, why.text);
}

/* ---- the lock ---- */

/* The holder's pid, 0 when it has not written it yet. */
static long lock_holder(int fd)
{
    char text[32] = "";
    for (int i = 0; i < 20; i++) {
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        if (n > 0) {
            text[n] = '\0';
            return strtol(text, NULL, 10);
        }
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int lock_take(struct store *s, struct err *e)
{
    char path[PATH_MAX + 8], real[PATH_MAX], text[32];
    /* Two names of one file must meet at one lock. */
    snprintf(path, sizeof path, "%s.lock", realpath(s->path, real) ? real : s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock_fd < 0)
        return err_set(
            e, ERR_STORE,
            "store %.1000s: cannot create the lock file %.1000s: %s\nmake the folder writable, or keep the store "
            "elsewhere with --store FILE",
            s->path, path, strerror(errno));
    while (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        if (why == EINTR) continue;
        long pid = why == EWOULDBLOCK ? lock_holder(s->lock_fd) : 0;
        close(s->lock_fd);
        s->lock_fd = -1; /* the file is the holder's: lock_drop() would empty it */
        if (why != EWOULDBLOCK)
            return err_set(
                e, ERR_STORE,
                "store %.1000s: cannot lock %.1000s: %s\nkeep the store on a file system with locks: --store FILE",
                s->path, path, strerror(why));
        if (pid <= 0)
            return err_set(e, ERR_LOCKED, "store %.1000s: another fatune holds it\nwait for it to end", s->path);
        return err_set(
            e, ERR_LOCKED,
            "store %.1000s: process %ld holds it\nwait for it to end, or stop it (kill %ld): its work is kept", s->path,
            pid, pid);
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) != 0 || pwrite(s->lock_fd, text, (size_t)n, 0) != n)
        return err_set(e, ERR_STORE, "store %.1000s: cannot write %.1000s: %s\nfree some space, or use --store FILE",
                       s->path, path, strerror(errno));
    return 0;
}

static void lock_drop(struct store *s)
{
    if (s->lock_fd < 0) return;
    int ignored = ftruncate(s->lock_fd, 0); /* a stale pid would only confuse people */
    (void)ignored;
    close(s->lock_fd);
    s->lock_fd = -1;
}

/* ---- looking before touching ---- */

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int check_identity(const struct store *s, uint32_t application, int64_t version, struct err *e)
{
    char text[200];
    if (application != STORE_APPLICATION_ID) {
        snprintf(text, sizeof text, "is an SQLite file of another program (application_id 0x%08x)", application);
        return refuse(s, text, e);
    }
    if (version > STORE_SCHEMA)
        return err_set(
            e, ERR_STORE,
            "store %.1000s: written by a newer fatune (schema %lld, this one knows %d); it was not changed\nupdate "
            "fatune, or name another store with --store FILE",
            s->path, (long long)version, STORE_SCHEMA);
    if (version < 1) return refuse(s, "has no valid schema version", e);
    return 0;
}

/* Reads the header's bytes, so that a file that is not ours is refused before SQLite may roll back a journal or write.
 * *empty: missing or without a byte. Offsets: https://www.sqlite.org/fileformat.html, 1.3. */
static int peek(const struct store *s, bool *empty, struct err *e)
{
    unsigned char head[100];
    *empty = false;
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        *empty = true;
        return 0;
    }
    if (fd < 0)
        return err_set(e, ERR_STORE,
                       "store %.1000s: cannot open it: %s\nmake it readable, or name another with --store FILE",
                       s->path, strerror(errno));
    ssize_t n = read(fd, head, sizeof head);
    int why = errno;
    close(fd);
    if (n < 0)
        return err_set(e, ERR_STORE, "store %.1000s: cannot read it: %s\nname another with --store FILE", s->path,
                       strerror(why));
    if (n == 0) {
        *empty = true;
        return 0;
    }
    if (n < (ssize_t)sizeof head || memcmp(head, "SQLite format 3", 16) != 0)
        return refuse(s, "is not an SQLite database, or its first bytes are damaged", e);
    /* A crash while the file was being created leaves zeros here and a journal that empties it. */
    if (big_endian(head + 68) == 0 && big_endian(head + 60) == 0) return 0;
    return check_identity(s, big_endian(head + 68), big_endian(head + 60), e);
}

/* ---- connection ---- */

static int run_sql(struct store *s, const char *sql, const char *what, struct err *e)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : store_fail(s, rc, what, e);
}

static int connect(struct store *s, struct err *e)
{
    char name[PATH_MAX + 3];
    int flags = (s->mode == STORE_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) |
                SQLITE_OPEN_EXRESCODE;
    /* "./" keeps SQLite's special names (":memory:") from meaning something. */
    snprintf(name, sizeof name, "%s%s", s->path[0] == '/' ? "" : "./", s->path);
    int rc = sqlite3_open_v2(name, &s->db, flags, NULL);
    if (rc != SQLITE_OK) return store_fail(s, rc, "open it", e);
    /* SQLite falls back to reading when it may not write. */
    if (s->mode == STORE_WRITE && sqlite3_db_readonly(s->db, "main") == 1)
        return store_fail(s, SQLITE_READONLY, "open it for writing", e);
    sqlite3_busy_timeout(s->db, 10000);
    return run_sql(
        s,
        "PRAGMA trusted_schema=OFF; PRAGMA mmap_size=0; PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON;"
        "PRAGMA cell_size_check=ON;",
        "set it up", e);
}

static void disconnect(struct store *s)
{
    sqlite3_close(s->db);
    s->db = NULL;
}

/* PRAGMA journal_mode answers what it became; it can only be set once the file is known to be ours. */
static int set_durability(struct store *s, struct err *e)
{
    sqlite3_stmt *st = NULL;
    char mode[16] = "";
    int rc;
    TRY(store_query(s, &st, "set its journal mode", e, "PRAGMA journal_mode=DELETE", ""));
    rc = store_step(s, st, "set its journal mode", e);
    if (rc < 0) goto out;
    store_text(st, 0, mode, sizeof mode);
    rc = 0;
    if (strcmp(mode, "delete") != 0) {
        rc = err_set(
            e, ERR_STORE,
            "store %.1000s: its journal mode is %s and cannot be changed to delete\nend other programs that use it",
            s->path, mode);
        goto out;
    }
    rc = run_sql(s, "PRAGMA synchronous=EXTRA;", "set it up", e);
out:
    sqlite3_finalize(st);
    return rc;
}

static int quick_check(struct store *s, struct err *e)
{
    sqlite3_stmt *st = NULL;
    char first[300] = "", text[400];
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) store_text(st, 0, first, sizeof first);
    sqlite3_finalize(st);
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        snprintf(first, sizeof first, "%s", sqlite3_errstr(rc));
    else if (rc != SQLITE_ROW)
        return store_fail(s, rc, "check it", e);
    if (strcmp(first, "ok") == 0) return 0;
    snprintf(text, sizeof text, "is damaged: %s", first);
    for (char *p = text; *p; p++)
        if (*p == '\n') *p = ' ';
    return refuse(s, text, e);
}

/* What the first read through SQLite says, after any roll back. *tables: objects in the schema. */
static int identity(struct store *s, int64_t *version, int64_t *tables, struct err *e)
{
    int64_t application = 0;
    int rc;
    TRY(store_number(s, &application, NULL, "read it", e, "PRAGMA application_id", ""));
    TRY(store_number(s, version, NULL, "read it", e, "PRAGMA user_version", ""));
    TRY(store_number(s, tables, NULL, "read it", e, "SELECT count(*) FROM sqlite_schema", ""));
    if (*version == 0 && *tables == 0 && application == 0) return 0; /* empty */
    TRY(check_identity(s, (uint32_t)application, *version, e));
out:
    return rc;
}

/* ---- migration ---- */

/* A complete copy of the database in a new file, on disk when this returns. */
static int copy_into(struct store *s, const char *file, const char *what, struct err *e)
{
    unlink(file);
    if (store_write(s, NULL, what, e, "VACUUM INTO ?", "s", file) != 0) {
        unlink(file);
        return -1;
    }
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) close(fd);
    if (!failed) return 0;
    unlink(file);
    return err_set(e, ERR_STORE, "store %.1000s: cannot write its copy %.1000s: %s", s->path, file, strerror(failed));
}

static int backup(struct store *s, int from, struct err *e)
{
    char copy[PATH_MAX], draft[PATH_MAX + 8];
    int rc;
    snprintf(copy, sizeof copy, "%s.bak-v%d", s->path, from);
    snprintf(draft, sizeof draft, "%s.tmp", copy);
    if (access(copy, F_OK) == 0) return 0; /* from a migration that did not finish; the older one is the better copy */
    TRY(copy_into(s, draft, "make a backup before migrating", e));
    if (rename(draft, copy) != 0) {
        rc = err_set(e, ERR_STORE, "store %.1000s: cannot name its backup %.1000s: %s", s->path, copy, strerror(errno));
        unlink(draft);
    }
out:
    return rc;
}

int store_migrate(struct store *s, int from, const char *const *step, int n, struct err *e)
{
    static const char what[] = "migrate it to this version's schema";
    char sql[128];
    int rc;
    if (n <= 0) return 0;
    if (from > 0) TRY(backup(s, from, e));
    TRY(store_begin(s, what, e));
    for (int i = 0; i < n && rc == 0; i++)
        rc = run_sql(s, step[i], what, e);
    if (rc == 0) {
        snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d;", STORE_APPLICATION_ID, from + n);
        rc = run_sql(s, sql, what, e);
    }
    rc = store_end(s, rc, what, e);
out:
    return rc;
}

/* ---- open and close ---- */

static int open_writer(struct store *s, struct err *e)
{
    int64_t version = 0, tables = 0;
    bool empty;
    int rc;
    TRY(make_folders(s->path, e));
    TRY(peek(s, &empty, e));
    TRY(lock_take(s, e));
    TRY(peek(s, &empty, e)); /* again: the holder before us may have migrated it */
    TRY(connect(s, e));
    TRY(quick_check(s, e));
    TRY(identity(s, &version, &tables, e));
    TRY(set_durability(s, e));
    TRY(store_migrate(s, (int)version, steps + version, STORE_SCHEMA - (int)version, e));
out:
    return rc;
}

/* A writer died in a commit: its journal must be rolled back, which a reader may not do. Takes the writer's lock for a
 * moment. When somebody else holds it, he is doing the same: wait. */
static int recover(const struct store *s, struct err *e)
{
    struct err inner = {0};
    for (int i = 0; i < 100; i++) {
        struct store writer = {.path = s->path, .lock_fd = -1, .mode = STORE_WRITE};
        inner = (struct err){0};
        int rc = lock_take(&writer, &inner);
        if (rc == 0) rc = connect(&writer, &inner);
        if (rc == 0) rc = quick_check(&writer, &inner);
        disconnect(&writer);
        lock_drop(&writer);
        if (rc == 0) return 0;
        if (inner.code != ERR_LOCKED) break;
        struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
        if (i >= 20) return 0; /* a living writer rolls back at its first read; the caller tries again */
    }
    return err_set(
        e, inner.code,
        "store %.1000s: a run was killed in the middle of a write, and undoing that needs write access once: run any "
        "fatune command as a user who may write there\n%.1200s",
        s->path, inner.text);
}

static int open_reader(struct store *s, struct err *e)
{
    int64_t version = 0, tables = 0;
    bool empty;
    int rc;
    TRY(peek(s, &empty, e));
    for (int i = 0; !empty; i++) {
        TRY(connect(s, e));
        int probe = sqlite3_exec(s->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
        if (i == 3 || (probe != SQLITE_READONLY_ROLLBACK && probe != SQLITE_READONLY_RECOVERY)) break;
        disconnect(s);
        TRY(recover(s, e));
    }
    if (!empty) {
        TRY(quick_check(s, e));
        TRY(identity(s, &version, &tables, e));
        TRY(run_sql(s, "PRAGMA query_only=ON;", "set it up", e));
    }
    if (version == 0)
        rc = err_set(e, ERR_STORE,
                     "no store at %.1000s\nrun `fatune run SPACE` first, or name the store with --store FILE", s->path);
out:
    return rc;
}

int store_open(struct store **out, const char *path, enum store_mode mode, struct err *e)
{
    *out = NULL;
    if (!path || !path[0]) return err_set(e, ERR_USAGE, "the store's file name is empty: give --store FILE");
    if (strlen(path) >= PATH_MAX - 64) return err_set(e, ERR_STORE, "store %.200s...: the path is too long", path);
    struct store *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        return err_nomem(e);
    }
    s->lock_fd = -1;
    s->mode = mode;
    if ((mode == STORE_WRITE ? open_writer(s, e) : open_reader(s, e)) != 0) {
        store_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s) return;
    disconnect(s);
    lock_drop(s);
    free(s->path);
    free(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}

/* ---- snapshots ---- */

int store_snapshot(struct store *s, int keep, char path[STORE_PATH_MAX], struct err *e)
{
    char draft[STORE_PATH_MAX], pattern[STORE_PATH_MAX], now[32];
    glob_t g = {0};
    int rc;
    TRY(store_writable(s, "make a snapshot", e));
    store_now(now);
    now[19] = '\0'; /* whole seconds */
    for (char *p = now; *p; p++)
        if (*p == ':') *p = '.';
    snprintf(path, STORE_PATH_MAX, "%s.snapshot-%s", s->path, now);
    snprintf(draft, sizeof draft, "%s.tmp", s->path);
    TRY(copy_into(s, draft, "make a snapshot", e));
    if (rename(draft, path) != 0) {
        rc = err_set(e, ERR_STORE, "store %.1000s: cannot name its snapshot %.1000s: %s", s->path, path,
                     strerror(errno));
        unlink(draft);
        goto out;
    }
    snprintf(pattern, sizeof pattern, "%s.snapshot-*", s->path);
    if (glob(pattern, 0, NULL, &g) == 0) /* sorted by name, which is by time */
        for (size_t i = 0; i + (size_t)(keep > 0 ? keep : 1) < g.gl_pathc; i++)
            unlink(g.gl_pathv[i]);
out:
    globfree(&g);
    return rc;
}
