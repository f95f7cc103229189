/* The store on a disk that loses its power, or fails once, at each of its operations, in every transaction of a run, of a night and of a
 * migration. Afterwards all of the transaction is there or nothing, and nothing else has changed.
 *
 * The disk is a VFS in front of the real one. It remembers what each file would hold if the power went: what was synced, and of what was
 * written since any part, in sectors of 512 bytes, torn writes and garbage included. Real syncs are left out: they would only be slow. */

#include <math.h>

#include "store_fixture.h"

#define SECTOR 512
#define FILES 8

struct change { /* not synced; n bytes at `at`, or with bytes NULL a truncation to `at` */
    unsigned char *bytes;
    size_t at, n;
};

struct file {
    char path[160];
    struct buf synced;
    bool there;   /* its name survives */
    bool deleted; /* but its name may have gone */
    struct change change[4096];
    int nchanges;
};

static struct {
    sqlite3_vfs vfs, *below;
    sqlite3_io_methods methods;
    struct file files[FILES];
    int nfiles, met, fail; /* operations so far; the one that fails, 0: none */
    bool gone;             /* all behind it fail too */
    void (*at)(void *ctx); /* called in front of each operation */
    void *ctx;
} disk;

struct disk_file {
    sqlite3_file base;
    sqlite3_file *real;
    struct file *file; /* NULL: a temporary one */
};

/* ---- what survives ---- */

static struct file *file_of(const char *path)
{
    struct err e = {0};
    for (int i = 0; i < disk.nfiles; i++)
        if (strcmp(disk.files[i].path, path) == 0) return &disk.files[i];
    assert_true(disk.nfiles < FILES);
    struct file *f = &disk.files[disk.nfiles++];
    snprintf(f->path, sizeof f->path, "%s", path);
    f->there = access(path, F_OK) == 0;
    if (f->there && buf_read_file(&f->synced, path, 1 << 26, ERR_STORE, &e) != 0) fail_msg("%s", e.text);
    return f;
}

static void apply(struct buf *b, const struct change *c, size_t from, size_t n)
{
    if (!c->bytes) {
        if (c->at < b->n) b->n = c->at;
        return;
    }
    while (b->n < c->at + from + n)
        buf_add(b, "", 1);
    memcpy(b->p + c->at + from, c->bytes + from, n);
}

static void forget_changes(struct file *f)
{
    for (int i = 0; i < f->nchanges; i++)
        free(f->change[i].bytes);
    f->nchanges = 0;
}

static void note(struct file *f, const void *bytes, size_t at, size_t n)
{
    assert_true(f->nchanges < (int)(sizeof f->change / sizeof *f->change));
    struct change *c = &f->change[f->nchanges++];
    *c = (struct change){.at = at, .n = n, .bytes = bytes ? malloc(n) : NULL};
    if (c->bytes) memcpy(c->bytes, bytes, n);
}

enum luck { NOTHING, EVERYTHING, CHANCE };

static void survive(struct buf *out, const struct change *c, enum luck luck)
{
    if (!c->bytes) {
        if (luck == EVERYTHING || (luck == CHANCE && random() % 2)) apply(out, c, 0, 0);
        return;
    }
    for (size_t i = 0; i < c->n; i += SECTOR) {
        size_t n = c->n - i < SECTOR ? c->n - i : SECTOR;
        long fate = random() % 16;
        if (luck == NOTHING || (luck == CHANCE && fate < 8)) continue;
        apply(out, c, i, n);
        if (luck == CHANCE && fate == 15) memset(out->p + c->at + i, (int)(random() % 256), n);
    }
}

/* The files as a power loss at this moment leaves them, in folder. */
static void lose_power(const char *folder, enum luck luck)
{
    for (int i = 0; i < disk.nfiles; i++) {
        const struct file *f = &disk.files[i];
        struct buf left = {0};
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, strrchr(f->path, '/') + 1);
        unlink(path);
        bool there = f->there && !(f->deleted && luck != NOTHING && (luck == EVERYTHING || random() % 2));
        if (!f->there && f->nchanges > 0) there = luck == EVERYTHING || (luck == CHANCE && random() % 2);
        if (!there) continue;
        buf_add(&left, f->synced.n ? f->synced.p : "", f->synced.n);
        for (int k = 0; k < f->nchanges; k++)
            survive(&left, &f->change[k], luck);
        FILE *to = fopen(path, "w");
        assert_non_null(to);
        assert_int_equal(fwrite(buf_text(&left), 1, left.n, to), left.n);
        fclose(to);
        buf_free(&left);
    }
}

/* ---- the disk ---- */

/* Counts an operation; true: it fails. */
static bool fails(void)
{
    disk.met++;
    if (disk.at) disk.at(disk.ctx);
    return disk.met == disk.fail || (disk.gone && disk.fail && disk.met > disk.fail);
}

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct disk_file *)f)->real;
}

static int disk_close(sqlite3_file *f)
{
    int rc = real_of(f)->pMethods->xClose(real_of(f));
    sqlite3_free(real_of(f));
    return rc;
}

static int disk_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int disk_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    struct disk_file *d = (struct disk_file *)f;
    if (fails()) return SQLITE_IOERR_WRITE;
    if (d->file) note(d->file, p, (size_t)at, (size_t)n);
    return d->real->pMethods->xWrite(d->real, p, n, at);
}

static int disk_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    struct disk_file *d = (struct disk_file *)f;
    if (fails()) return SQLITE_IOERR_TRUNCATE;
    if (d->file) note(d->file, NULL, (size_t)n, 0);
    return d->real->pMethods->xTruncate(d->real, n);
}

static int disk_sync(sqlite3_file *f, int flags)
{
    struct file *file = ((struct disk_file *)f)->file;
    (void)flags;
    if (fails()) return SQLITE_IOERR_FSYNC;
    if (!file) return SQLITE_OK;
    for (int i = 0; i < file->nchanges; i++)
        apply(&file->synced, &file->change[i], 0, file->change[i].n);
    forget_changes(file);
    file->there = true;
    return SQLITE_OK;
}

static int disk_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), n);
}

static int disk_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int disk_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int disk_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int disk_control(sqlite3_file *f, int op, void *arg)
{
    if (op == SQLITE_FCNTL_SIZE_HINT) return SQLITE_OK; /* it would grow the file behind our back */
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int disk_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int disk_character(sqlite3_file *f)
{
    (void)f;
    return 0; /* promises nothing */
}

static int disk_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct disk_file *d = (struct disk_file *)f;
    (void)v;
    *d = (struct disk_file){.file = name ? file_of(name) : NULL, .real = sqlite3_malloc(disk.below->szOsFile)};
    if (!d->real) return SQLITE_NOMEM;
    int rc = disk.below->xOpen(disk.below, name, d->real, flags, out);
    if (rc == SQLITE_OK)
        d->base.pMethods = &disk.methods;
    else
        sqlite3_free(d->real);
    return rc;
}

static int disk_delete(sqlite3_vfs *v, const char *name, int sync)
{
    struct file *f = file_of(name);
    (void)v;
    if (fails()) return SQLITE_IOERR_DELETE;
    if (sync || !f->there) { /* for good */
        forget_changes(f);
        buf_clear(&f->synced);
        f->there = f->deleted = false;
    } else {
        f->deleted = true;
    }
    return disk.below->xDelete(disk.below, name, sync);
}

static void disk_install(void)
{
    disk.below = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.below;
    disk.vfs.zName = "forgetful";
    disk.vfs.pNext = NULL;
    disk.vfs.szOsFile = sizeof(struct disk_file);
    disk.vfs.xOpen = disk_open;
    disk.vfs.xDelete = disk_delete;
    disk.methods = (sqlite3_io_methods){.iVersion = 1,
                                        .xClose = disk_close,
                                        .xRead = disk_read,
                                        .xWrite = disk_write,
                                        .xTruncate = disk_truncate,
                                        .xSync = disk_sync,
                                        .xFileSize = disk_size,
                                        .xLock = disk_lock,
                                        .xUnlock = disk_unlock,
                                        .xCheckReservedLock = disk_reserved,
                                        .xFileControl = disk_control,
                                        .xSectorSize = disk_sector,
                                        .xDeviceCharacteristics = disk_character};
    disk.met = disk.fail = 0;
    disk.at = NULL;
    assert_int_equal(sqlite3_vfs_register(&disk.vfs, 1), SQLITE_OK);
}

static void disk_remove(void)
{
    sqlite3_vfs_unregister(&disk.vfs);
    for (int i = 0; i < disk.nfiles; i++) {
        forget_changes(&disk.files[i]);
        buf_free(&disk.files[i].synced);
        disk.files[i] = (struct file){0};
    }
    disk.nfiles = 0;
}

/* ---- every transaction of a run and of a night ---- */

static int64_t trial;

static int decide(struct world *w, int64_t who, const char *action)
{
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d[2]; /* another finalist's verdict, and this one */
    decision(w, &d[0], &v, trial, w->a, NULL);
    decision(w, &d[1], &v, trial, who, action);
    return store_decide(w->s, d, 2, NULL, NULL, &w->e);
}

static int open_store(struct world *w)
{
    return store_open(&w->s, w->path, STORE_WRITE, &w->e);
}

static int old_schema(struct world *w)
{
    return sqlite3_exec(w->s->db,
                        "DROP TABLE prior; DROP TABLE import; DROP TABLE night; PRAGMA writable_schema=ON; UPDATE "
                        "sqlite_schema SET sql = replace(sql, "
                        "',''settle'',''refute'',''rollback''', '') WHERE name = 'champion';"
                        "PRAGMA writable_schema=RESET; PRAGMA user_version=2;",
                        NULL, NULL, NULL);
}

/* Closed, and opened as a store of an older version. */
static int migrate(struct world *w)
{
    store_close(w->s);
    w->s = NULL;
    return open_store(w);
}

static int put_environment(struct world *w)
{
    json_t *j = object("device", "another");
    int64_t id;
    int rc = store_environment(w->s, "env-9", j, &id, &w->e);
    json_decref(j);
    return rc;
}

static int put_space(struct world *w)
{
    json_t *j = object("K", "1");
    int64_t id;
    int rc = store_space(w->s, "space-9", "s", "name: s\n", j, &id, &w->e);
    json_decref(j);
    return rc;
}

static int put_candidate(struct world *w)
{
    json_t *j = object("K", "9");
    int64_t id;
    int rc = store_candidate(w->s, "cccccc9999999999999999999999999999999999999999999999999999999999", j, &id, &w->e);
    json_decref(j);
    return rc;
}

static int begin_run(struct world *w)
{
    json_t *j = object("K", "1");
    int64_t id;
    int rc = store_run_begin(w->s, w->space, w->environment, "key-9", "track-1", j, &id, &w->e);
    json_decref(j);
    return rc;
}

static int put_evaluation(struct world *w)
{
    double samples[600];
    for (int i = 0; i < 600; i++)
        samples[i] = i;
    struct store_evaluation v = {
        .run = w->run, .candidate = w->a, .us = 1, .alias_of = -1, .samples = samples, .nsamples = 600};
    return store_evaluation_put(w->s, &v, &w->e);
}

static int put_proof(struct world *w)
{
    json_t *j = object("proof", "all");
    int rc = store_check_put(w->s, w->run, w->a, "bin", "full", FATE_OK, j, &w->e);
    json_decref(j);
    return rc;
}

static int put_block(struct world *w)
{
    const int seqs[] = {0, 1, 2};
    const double us[] = {1, 2, NAN};
    return store_race_block(w->s, w->run, 0, seqs, us, 3, &w->e);
}

static int clear_race(struct world *w)
{
    return store_race_clear(w->s, w->run, &w->e);
}

static int to_confirm(struct world *w)
{
    json_t *j = object("standings", "1");
    int rc = store_run_state(w->s, w->run, "confirm", 1, j, &w->e);
    json_decref(j);
    return rc;
}

static int begin_trial(struct world *w)
{
    json_t *j = object("m", "1");
    int rc = store_trial_begin(w->s, w->run, "ab", w->a, w->b, j, &trial, &w->e);
    json_decref(j);
    return rc;
}

static int put_session(struct world *w)
{
    const double samples[] = {1, 2, 2, 1};
    struct store_quad quads[20];
    for (int i = 0; i < 20; i++)
        quads[i] = (struct store_quad){.quad = {.letter = {1, 2, 2, 1}}, .samples = samples, .nsamples = 4};
    return store_session_put(w->s, trial, 0, 7, quads, 20, NULL, &w->e);
}

static int keep(struct world *w)
{
    return decide(w, 0, NULL);
}

static int crown(struct world *w)
{
    return decide(w, w->a, "crown");
}

static int promote(struct world *w)
{
    return decide(w, w->b, "promote");
}

static int refute(struct world *w)
{
    struct verdict v = {.outcome = VERDICT_PROMOTE, .ratio = 0.9};
    struct store_decision d;
    decision(w, &d, &v, 0, 0, NULL);
    return store_settle(w->s, &d, true, &w->e);
}

static int withdraw(struct world *w)
{
    return store_champion_revoke(w->s, "track-1", "why", &w->e);
}

static int end_night(struct world *w)
{
    struct store_night n = {.run = w->run,
                            .number = 1,
                            .track = "track-1",
                            .outcome = "promoted",
                            .control = NAN,
                            .control_low = NAN,
                            .control_high = NAN,
                            .anchor_us = NAN};
    json_t *j = object("night", "1");
    int rc = store_night_put(w->s, &n, "done", 1, j, &w->e);
    json_decref(j);
    return rc;
}

static const struct step {
    const char *name;
    int (*make)(struct world *w);
    int chances; /* random survivals at each operation */
} steps[] = {{"environment", put_environment, 1},
             {"space", put_space, 1},
             {"candidate", put_candidate, 1},
             {"run", begin_run, 1},
             {"evaluation", put_evaluation, 2},
             {"block of a race", put_block, 1},
             {"race begun anew", clear_race, 1},
             {"proof", put_proof, 1},
             {"stage of a run", to_confirm, 1},
             {"trial", begin_trial, 1},
             {"session", put_session, 2},
             {"verdict", keep, 2},
             {"crown", crown, 2},
             {"promotion", promote, 10},
             {"migration", migrate, 2}, /* here: an older schema has no refutations */
             {"refutation", refute, 4},
             {"revocation", withdraw, 2},
             {"night", end_night, 4}};
enum { STEPS = sizeof steps / sizeof *steps };

/* What a store holds, without the times of day: the number of rows of each table, the schema, the runs' stages. */
static void fingerprint(const char *path, struct buf *out, const char *when)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    char all[4096] =
        "SELECT (SELECT quick_check FROM pragma_quick_check LIMIT 1) || (SELECT ' schema ' || user_version FROM "
        "pragma_user_version) || coalesce((SELECT group_concat(state) || max(elapsed_s) FROM run), '')";
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix") != SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", -1, &st, NULL) !=
            SQLITE_OK)
        fail_msg("%s: %s", when, sqlite3_errmsg(db));
    while (sqlite3_step(st) == SQLITE_ROW) {
        size_t n = strlen(all);
        const char *name = (const char *)sqlite3_column_text(st, 0);
        snprintf(all + n, sizeof all - n, " || ' %s ' || (SELECT count(*) FROM \"%s\")", name, name);
    }
    sqlite3_finalize(st);
    if (sqlite3_prepare_v2(db, all, -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW)
        fail_msg("%s: %s", when, sqlite3_errmsg(db));
    buf_clear(out);
    buf_puts(out, (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    sqlite3_close(db);
    if (strncmp(buf_text(out), "ok ", 3) != 0) fail_msg("%s: %s", when, buf_text(out));
}

/* A store as it is in front of step i, open on the disk. */
static void make_until(struct world *w, int i)
{
    fill(w);
    for (int k = 0; k < i; k++)
        if (steps[k].make(w) != 0) fail_msg("%s: %s", steps[k].name, w->e.text);
    if (steps[i].make == migrate) assert_int_equal(old_schema(w), SQLITE_OK);
    store_close(w->s);
    w->s = NULL;
}

struct crashes {
    char folder[96], path[112];
    const struct step *step;
    struct buf before, after, now;
    int n, old, new;
    bool over; /* the step has returned */
};

/* All of the step or nothing of it; all of it once it is over. */
static void look(struct crashes *c, const char *when)
{
    fingerprint(c->path, &c->now, when);
    bool old = strcmp(buf_text(&c->now), buf_text(&c->before)) == 0,
         new = strcmp(buf_text(&c->now), buf_text(&c->after)) == 0;
    if ((!old || c->over) && !new)
        fail_msg("%s, operation %d: half of it is there%s\n before %s\n after  %s\n found  %s", when, disk.met,
                 c->over ? ", though it is over" : "", buf_text(&c->before), buf_text(&c->after), buf_text(&c->now));
    c->n++;
    c->old += old;
    c->new += new;
}

static void crash(void *ctx)
{
    struct crashes *c = ctx;
    for (int i = 0; i < 2 + c->step->chances; i++) {
        lose_power(c->folder, i < 2 ? (enum luck)i : CHANCE);
        look(c, c->step->name);
    }
}

/* Steps that write nothing new would prove nothing. */
static void before_and_after(struct world *w, struct crashes *c)
{
    fingerprint(w->path, &c->before, "before");
    GOOD(open_store(w));
    if (c->step->make(w) != 0) fail_msg("%s: %s", c->step->name, w->e.text);
    store_close(w->s);
    w->s = NULL;
    fingerprint(w->path, &c->after, "after");
    assert_string_not_equal(buf_text(&c->before), buf_text(&c->after));
}

static void clear(struct world *w)
{
    char folder[96];
    store_close(w->s);
    w->s = NULL;
    snprintf(folder, sizeof folder, "%s/results", w->folder);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    forget(w);
}

static void each_step(struct world *w, struct crashes *c, void (*test)(struct world *w, struct crashes *c))
{
    snprintf(c->folder, sizeof c->folder, "%s/crash", w->folder);
    snprintf(c->path, sizeof c->path, "%s/fatune.db", c->folder);
    assert_int_equal(mkdir(c->folder, 0755), 0);
    for (int i = 0; i < STEPS; i++) {
        c->step = &steps[i];
        make_until(w, i);
        before_and_after(w, c);
        clear(w);
        make_until(w, i);
        test(w, c);
        clear(w);
    }
    buf_free(&c->before);
    buf_free(&c->after);
    buf_free(&c->now);
}

static void lose_power_in(struct world *w, struct crashes *c)
{
    int n = c->n;
    disk_install();
    bool opened = c->step->make == migrate; /* which opens it itself */
    if (!opened) GOOD(open_store(w));
    disk.ctx = c;
    disk.at = crash;
    c->old = c->new = 0;
    c->over = false;
    if (c->step->make(w) != 0) fail_msg("%s: %s", c->step->name, w->e.text);
    c->over = true;
    crash(c);
    print_message("%-16s %4d crashes: %d leave nothing of it, %d all\n", c->step->name, c->n - n, c->old, c->new);
    assert_true(c->old > 0 && c->new > 0);
    disk.at = NULL;
    store_close(w->s);
    w->s = NULL;
    disk_remove();
}

static void test_power_loss(void **state)
{
    struct crashes c = {.n = 0};
    srandom(29);
    each_step(*state, &c, lose_power_in);
    print_message("%d power losses in %d transactions\n", c.n, STEPS);
    assert_true(c.n >= 200);
}

/* The n-th operation fails, for every n, until none is left that could. */
static void fail_in(struct world *w, struct crashes *c)
{
    int refused = 0, n = 0;
    snprintf(c->path, sizeof c->path, "%s", w->path);
    for (bool met = true; met;) {
        disk_install();
        if (c->step->make != migrate) GOOD(open_store(w));
        disk.met = 0;
        disk.fail = ++n;
        int rc = c->step->make(w);
        met = disk.met >= n;
        if (rc != 0) {
            refused++;
            assert_int_equal(w->e.code, ERR_STORE);
            if (c->step->make != migrate) assert_text(w->e.text, "nothing was half written");
            forget(w);
        }
        c->over = rc == 0;
        store_close(w->s);
        w->s = NULL;
        disk_remove();
        look(c, c->step->name);
        if (rc == 0 && met) { /* it was overcome: once more from the start */
            int step = (int)(c->step - steps);
            clear(w);
            make_until(w, step);
        }
    }
    print_message("%-16s %4d operations, %d reported\n", c->step->name, n - 1, refused);
    assert_true(refused > 0);
}

static void test_io_error(void **state)
{
    struct crashes c = {.n = 0};
    each_step(*state, &c, fail_in);
}

/* A disk that went away: the operations behind the n-th fail as well, the rollback's included. */
static void test_disk_gone(void **state)
{
    struct crashes c = {.n = 0};
    disk.gone = true;
    each_step(*state, &c, fail_in);
    disk.gone = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_power_loss, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_io_error, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_disk_gone, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
