/* A damaged store: what reads it answers or refuses, and never takes it for a fault of fatune.
 *
 * The store is a good one with a little of everything, built anew by the store's own functions, so that it is always of the current schema.
 * The input's first byte names the reader, the others are edits until it is empty: of the file's bytes, or through SQL, with digests made
 * right again, which gets behind the checks that stop a flipped bit. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "digest.h"
#include "fuzz.h"
#include "report_document.h"
#include "report_space.h"
#include "store_private.h"
#include "tune_private.h"

#define TRACK "7777777777777777777777777777777777777777777777777777777777777777"
#define DIGEST_A "aaaaaa1111111111111111111111111111111111111111111111111111111111"
#define DIGEST_B "bbbbbb2222222222222222222222222222222222222222222222222222222222"
#define DIGEST_T "cccccc3333333333333333333333333333333333333333333333333333333333"

static const char space_text[] =
    "name: s512\nproblem: {op: attention_forward, batch: 2, heads: 8, seq_q: 512, head_dim: 64, dtype: f16, mask: "
    "none}\n"
    "templates: [fa_wmma, fa_opencl]\nparams:\n  BLOCK_M: [16, 32, 64]\npromote: {sessions: 8}\n";

/* ---- a good store ---- */

static struct err trouble;
#define GOOD(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != 0) fuzz_broken(__FILE__, __LINE__, trouble.text);                                                \
    } while (0)

struct world {
    struct store *s;
    int64_t environment, space, run, a, b, contestant;
};

static json_t *json(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);

    FUZZ_REQUIRE(j);
    return j;
}

static void fill_identities(struct world *w)
{
    json_t *facts = json("{\"target\":{\"name\":\"Fuzzed\",\"driver\":\"fake\"},\"fatune\":\"0.1.0\"}");
    json_t *problem = json("{\"batch\":2,\"heads\":8}"), *settings;
    json_t *a = json("{\"template\":\"fa_wmma\",\"params\":{\"BLOCK_M\":16}}");
    json_t *b = json("{\"template\":\"fa_wmma\",\"params\":{\"BLOCK_M\":64}}");
    json_t *contestant = json("{\"contestant\":\"triton\",\"version\":\"triton 3.1\"}");

    settings = json("{\"strategy\":\"auto\",\"evaluations\":12,\"seed\":42,\"contestants\":"
                    "[{\"name\":\"mine\",\"folder\":\"/tmp\",\"command\":[\"./bench\",\"--fast\"]}]}");
    GOOD(store_environment(w->s, "environment-1", facts, &w->environment, &trouble));
    GOOD(store_space(w->s, "space-1", "s512", space_text, problem, &w->space, &trouble));
    GOOD(store_candidate(w->s, DIGEST_A, a, &w->a, &trouble));
    GOOD(store_candidate(w->s, DIGEST_B, b, &w->b, &trouble));
    GOOD(store_candidate(w->s, DIGEST_T, contestant, &w->contestant, &trouble));
    GOOD(store_run_begin(w->s, w->space, w->environment, "key-1", TRACK, settings, &w->run, &trouble));
    json_decref(facts);
    json_decref(problem);
    json_decref(settings);
    json_decref(a);
    json_decref(b);
    json_decref(contestant);
}

static void fill_evaluations(struct world *w)
{
    const double samples[4] = {7.5, 7.25, 7.75, 7.5};
    json_t *detail =
        json("{\"k\":4,\"identity\":\"x\",\"report\":{\"full\":true,\"max_abs\":0.001},\"resources\":"
             "{\"registers\":96},\"seed\":{\"kind\":\"shape\",\"from\":\"s1024\",\"device\":\"Fuzzed\",\"version\":"
             "\"v4\",\"distance\":2.0}}");
    const struct store_prior prior = {detail, 7.5};
    bool added;

    GOOD(store_import_put(w->s, w->space, "theirs.json", "import-1", &prior, 1, &added, &trouble));
    for (int i = 0; i < 3; i++) {
        struct store_evaluation v = {.run = w->run,
                                     .candidate = i == 0 ? w->a : w->b,
                                     .seq = i,
                                     .us = 7.5,
                                     .fate = i == 2 ? FATE_COMPILE : FATE_OK,
                                     .binary = "b1",
                                     .code = "c1",
                                     .alias_of = i == 1 ? 0 : -1,
                                     .detail = detail,
                                     .log = (char *)(uintptr_t) "ptxas info",
                                     .samples = i == 2 ? NULL : samples,
                                     .nsamples = 4};
        GOOD(store_evaluation_put(w->s, &v, &trouble));
    }
    GOOD(store_check_put(w->s, w->run, w->b, "b1", "full", FATE_OK, detail, &trouble));
    GOOD(store_race_block(w->s, w->run, 0, (int[]){0, 1}, (double[]){7.5, (double)NAN}, 2, &trouble));
    json_decref(detail);
}

/* Eight sessions of four quads; B takes `ratio` of A's time. */
static int64_t fill_trial(struct world *w, const char *kind, int64_t a, int64_t b, double ratio)
{
    json_t *settings =
        json("{\"sessions\":8,\"quads\":4,\"m\":1,\"warm_s\":1.0,\"boxed\":false,\"k_a\":4,\"k_b\":4,"
             "\"again\":true,\"contestant\":{\"name\":\"triton\",\"choice\":\"best of 108\",\"wrong\":null}}");
    json_t *health =
        json("{\"letter_mhz\":[1980,1979,1980,1981],\"sample_mhz\":[1980,1979,1980,1981],\"before\":"
             "{\"sm_mhz\":1980,\"temperature_c\":40,\"power_mw\":200000,\"throttle\":4,\"other_processes\":0},"
             "\"after\":{\"sm_mhz\":1980,\"throttle\":0,\"other_processes\":1},\"change\":\"clock\"}");
    json_t *record = json("{\"boxed\":true,\"clock_moves\":3,\"steady\":false}");
    int64_t id;

    GOOD(store_trial_begin(w->s, w->run, kind, a, b, settings, &id, &trouble));
    for (int i = 0; i < 8; i++) {
        struct store_quad quads[4];
        double samples[4][4];
        for (int q = 0; q < 4; q++) {
            quads[q] = (struct store_quad){.quad = {.baab = q % 2, .discarded = q == 3, .sm_mhz = 1980},
                                           .samples = samples[q],
                                           .nsamples = 4,
                                           .health = q < 2 ? health : NULL};
            for (int l = 0; l < 4; l++) {
                bool outer = l == 0 || l == 3;
                double us = 7.5 * (1 + 0.001 * ((i * 7 + q * 3 + l) % 5));
                samples[q][l] = quads[q].quad.letter[l] = outer == (q % 2 == 0) ? us : us * ratio;
            }
        }
        GOOD(store_session_put(w->s, id, i, 42, quads, 4, i == 0 ? record : NULL, &trouble));
    }
    json_decref(settings);
    json_decref(health);
    json_decref(record);
    return id;
}

static void fill_decisions(struct world *w)
{
    const struct verdict_rule rule = {
        .min_gain = 0.005, .hedges_g = 0.8, .alpha = 0.01, .min_sessions = 8, .resamples = 99};
    int64_t trial = fill_trial(w, "ab", w->a, w->b, 0.8), control = fill_trial(w, "aa", w->a, w->a, 1);
    struct store_night night = {.run = w->run,
                                .number = 1,
                                .outcome = "promoted",
                                .promotion = "open",
                                .before = "v1",
                                .after = "v2",
                                .control = 1,
                                .control_low = 0.99,
                                .control_high = 1.01,
                                .trials = 1,
                                .alpha = 0.005,
                                .anchor = w->a,
                                .anchor_us = 7.5,
                                .note = "a night"};
    json_t *facts = json("{\"text\":\"fa_wmma BLOCK_M=64\",\"resources\":{\"registers\":96}}"), *summary;
    struct store_decision d = {.run = w->run,
                               .track = TRACK,
                               .candidate = w->a,
                               .champion_candidate = w->a,
                               .action = "crown",
                               .binary = "b1",
                               .facts = facts,
                               .note = "the first"};
    struct trial ab, aa;
    struct verdict v;
    struct rng rng;

    fill_trial(w, "contestant", w->b, w->contestant, 1.2);
    GOOD(store_decide(w->s, &d, 1, NULL, NULL, &trouble));
    GOOD(store_trial_get(w->s, trial, &ab, NULL, &trouble));
    GOOD(store_trial_get(w->s, control, &aa, NULL, &trouble));
    rng_init(&rng, 1, "fuzz");
    GOOD(verdict_decide(&v, &rule, &ab, &aa, &rng, &trouble));
    d.trial = trial;
    d.control = control;
    d.verdict = &v;
    d.candidate = d.champion_candidate = w->b;
    d.action = "promote";
    GOOD(store_decide(w->s, &d, 1, NULL, NULL, &trouble));
    summary = json("{\"standings\":[1,0],\"standing\":0,\"winner\":1}");
    snprintf(night.track, sizeof night.track, "%s", TRACK);
    GOOD(store_night_put(w->s, &night, "done", 10, summary, &trouble));
    trial_free(&ab);
    trial_free(&aa);
    json_decref(facts);
    json_decref(summary);
}

/* ---- edits ---- */

static sqlite3 *good;           /* in memory, without the triggers that forbid edits */
static unsigned char *pristine; /* the good store's file */
static sqlite3_int64 pristine_n;
static char path[512];

struct column {
    char table[32], name[32];
};
static struct column columns[160];
static unsigned ncolumns;

static void find_columns(void)
{
    sqlite3_stmt *st = NULL;

    if (sqlite3_prepare_v2(
            good,
            "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
            " AND m.name NOT LIKE 'sqlite_%' AND c.name <> 'id' ORDER BY m.name, c.cid",
            -1, &st, NULL) != SQLITE_OK)
        fuzz_broken(__FILE__, __LINE__, sqlite3_errmsg(good));
    while (sqlite3_step(st) == SQLITE_ROW && ncolumns < sizeof columns / sizeof columns[0]) {
        store_text(st, 0, columns[ncolumns].table, sizeof columns[0].table);
        store_text(st, 1, columns[ncolumns].name, sizeof columns[0].name);
        ncolumns++;
    }
    sqlite3_finalize(st);
    FUZZ_REQUIRE(ncolumns > 80 && ncolumns < sizeof columns / sizeof columns[0]);
}

static void sql(const char *text)
{
    if (sqlite3_exec(good, text, NULL, NULL, NULL) != SQLITE_OK) fuzz_broken(__FILE__, __LINE__, sqlite3_errmsg(good));
}

static void drop_triggers(void)
{
    sqlite3_stmt *st = NULL;
    struct buf drops = {0};

    sqlite3_prepare_v2(good, "SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger'", -1, &st,
                       NULL);
    while (sqlite3_step(st) == SQLITE_ROW)
        buf_puts(&drops, (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    sql(buf_text(&drops));
    buf_free(&drops);
}

void fuzz_begin(void)
{
    struct world w = {0};
    sqlite3 *file;

    snprintf(path, sizeof path, "%s/fatune.db", fuzz_folder());
    GOOD(store_open(&w.s, path, STORE_WRITE, &trouble));
    fill_identities(&w);
    fill_evaluations(&w);
    fill_decisions(&w);
    store_close(w.s);
    if (sqlite3_open(path, &file) != SQLITE_OK || !(pristine = sqlite3_serialize(file, "main", &pristine_n, 0)))
        abort();
    sqlite3_close(file);
    if (sqlite3_open(":memory:", &good) != SQLITE_OK) abort();
    FUZZ_REQUIRE(sqlite3_deserialize(good, "main", pristine, pristine_n, pristine_n + (1 << 22),
                                     SQLITE_DESERIALIZE_RESIZEABLE | SQLITE_DESERIALIZE_FREEONCLOSE) == SQLITE_OK);
    drop_triggers();
    sql("PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON; PRAGMA journal_mode=MEMORY;");
    pristine = sqlite3_serialize(good, "main", &pristine_n, 0);
    find_columns();
    fuzz_quiet();
}

/* Takes at most n bytes. */
static struct fuzz_bytes take(struct fuzz_bytes *in, size_t n)
{
    struct fuzz_bytes part = {in->p, n < in->n ? n : in->n};

    in->p += part.n;
    in->n -= part.n;
    return part;
}

/* Runs an UPDATE of the row-th row; what the column's type refuses stays as it was. bind: ?1. */
static void update(const struct column *c, unsigned row, void (*bind)(sqlite3_stmt *st, const struct fuzz_bytes *bytes),
                   const char *value, const struct fuzz_bytes *bytes)
{
    sqlite3_stmt *st = NULL;
    char text[400];

    snprintf(text, sizeof text,
             "UPDATE OR IGNORE %s SET %s = %s WHERE rowid = (SELECT rowid FROM %s ORDER BY rowid LIMIT 1 OFFSET %u %% "
             "(SELECT "
             "max(1, count(*)) FROM %s))",
             c->table, c->name, value, c->table, row, c->table);
    if (sqlite3_prepare_v2(good, text, -1, &st, NULL) == SQLITE_OK) {
        bind(st, bytes);
        sqlite3_step(st);
    }
    sqlite3_finalize(st);
}

static void bind_text(sqlite3_stmt *st, const struct fuzz_bytes *b)
{
    sqlite3_bind_text(st, 1, b->n ? (const char *)b->p : "", (int)b->n, SQLITE_TRANSIENT);
}

static void bind_integer(sqlite3_stmt *st, const struct fuzz_bytes *b)
{
    int64_t x = 0;

    memcpy(&x, b->p, b->n);
    sqlite3_bind_int64(st, 1, x);
}

static void bind_real(sqlite3_stmt *st, const struct fuzz_bytes *b)
{
    double x = 0;

    memcpy(&x, b->p, b->n);
    sqlite3_bind_double(st, 1, x);
}

static void bind_null(sqlite3_stmt *st, const struct fuzz_bytes *b)
{
    (void)b;
    sqlite3_bind_null(st, 1);
}

/* Other samples, with their number and digest. */
static void edit_samples(unsigned row, const struct fuzz_bytes *b)
{
    static const struct column samples = {"series", "samples"}, digest = {"series", "digest"}, n = {"series", "n"};
    const size_t bytes = b->n / 8 * 8;
    const struct fuzz_bytes whole = {b->p, bytes};
    const int64_t count = (int64_t)bytes / 8;
    const struct fuzz_bytes number = {(const uint8_t *)&count, sizeof count};
    char hex[DIGEST_HEX];
    const struct fuzz_bytes text = {(const uint8_t *)hex, 64};

    digest_bytes(hex, b->p, bytes);
    update(&samples, row, bind_text, "CAST(?1 AS BLOB)", &whole);
    update(&digest, row, bind_text, "?1", &text);
    update(&n, row, bind_integer, "?1", &number);
}

enum { EDIT_BYTES, EDIT_CUT, EDIT_TEXT, EDIT_SPLICE, EDIT_INTEGER, EDIT_REAL, EDIT_NULL, EDIT_SAMPLES, EDIT_N };

/* One edit through SQL. */
static void edit(unsigned kind, struct fuzz_bytes *in)
{
    const struct column *c = &columns[fuzz_byte(in) % ncolumns];
    unsigned row = fuzz_byte(in), n = kind == EDIT_INTEGER || kind == EDIT_REAL ? 8
                                      : kind == EDIT_NULL                       ? 0
                                                                                : fuzz_byte(in);
    struct fuzz_bytes part = take(in, n);
    char splice[120];

    switch (kind) {
    case EDIT_TEXT:
        update(c, row, bind_text, "?1", &part);
        break;
    case EDIT_SPLICE: /* in front of a text's character that the first byte gives, in place of as many as the second gives */
        snprintf(splice, sizeof splice, "substr(%s, 1, %u) || ?1 || substr(%s, %u)", c->name, row, c->name,
                 row + 1 + (part.n ? part.p[0] % 16 : 0));
        if (part.n) part.p++, part.n--;
        update(c, 0, bind_text, splice, &part);
        break;
    case EDIT_INTEGER:
        update(c, row, bind_integer, "?1", &part);
        break;
    case EDIT_REAL:
        update(c, row, bind_real, "?1", &part);
        break;
    case EDIT_NULL:
        update(c, row, bind_null, "?1", &part);
        break;
    case EDIT_SAMPLES:
        edit_samples(row, &part);
    }
}

static size_t offset(struct fuzz_bytes *in, size_t size)
{
    unsigned high = fuzz_byte(in), middle = fuzz_byte(in);

    return (high << 16 | middle << 8 | fuzz_byte(in)) % size;
}

/* The edited file, at path. Edits of bytes come behind those through SQL, wherever they stand in the input. */
static void damage(struct fuzz_bytes in)
{
    struct fuzz_bytes again = in;
    sqlite3_int64 n;
    unsigned char *image;
    size_t size;

    sql("BEGIN");
    while (again.n > 0) {
        unsigned kind = fuzz_byte(&again) % EDIT_N;
        if (kind == EDIT_BYTES || kind == EDIT_CUT)
            take(&again, 3), take(&again, kind == EDIT_BYTES ? fuzz_byte(&again) % 16 : 0);
        else
            edit(kind, &again);
    }
    sql("COMMIT");
    image = sqlite3_serialize(good, "main", &n, 0);
    FUZZ_REQUIRE(image);
    size = (size_t)n;
    FUZZ_REQUIRE(in.n > 0 ||
                 (n == pristine_n && memcmp(image, pristine, size) == 0)); /* nothing is left of earlier inputs */
    while (in.n > 0) {
        unsigned kind = fuzz_byte(&in) % EDIT_N;
        if (kind == EDIT_BYTES || kind == EDIT_CUT) {
            size_t at = offset(&in, size ? size : 1);
            struct fuzz_bytes part = take(&in, kind == EDIT_BYTES ? fuzz_byte(&in) % 16 : 0);
            if (kind == EDIT_CUT) size = at;
            if (part.n > 0 && at + part.n <= size) memcpy(image + at, part.p, part.n);
        } else {
            take(&in, 2);
            take(&in, kind == EDIT_INTEGER || kind == EDIT_REAL ? 8 : kind == EDIT_NULL ? 0 : fuzz_byte(&in));
        }
    }
    fuzz_file("fatune.db", image, size);
    sqlite3_free(image);
}

/* The edited database in memory is made good again. */
static void mend(void)
{
    unsigned char *copy = sqlite3_malloc64((sqlite3_uint64)pristine_n);

    if (!copy) abort();
    memcpy(copy, pristine, (size_t)pristine_n);
    FUZZ_REQUIRE(sqlite3_deserialize(good, "main", copy, pristine_n, pristine_n,
                                     SQLITE_DESERIALIZE_RESIZEABLE | SQLITE_DESERIALIZE_FREEONCLOSE) == SQLITE_OK);
}

/* ---- readers ---- */

#define WORDS 8
static const struct {
    const struct command *command;
    const char *words[WORDS];
} lines[] = {
    {&cmd_champion, {"champion"}},
    {&cmd_champion, {"champion", "show", "--json"}},
    {&cmd_champion, {"champion", "history"}},
    {&cmd_champion, {"champion", "ledger"}},
    {&cmd_champion, {"champion", "ledger", "--json"}},
    {&cmd_show, {"show", "v2"}},
    {&cmd_show, {"show", "aaaaaa"}},
    {&cmd_show, {"show", "v1", "--source"}},
    {&cmd_compare, {"compare", "--stored", "v1", "v2"}},
    {&cmd_compare, {"compare", "--stored", "--json", "--samples", "champion", "v1"}},
    {&cmd_compare, {"compare", "--stored", "bbbbbb", "triton"}},
    {&cmd_compare, {"compare", "--stored", "--json", "v1", "aaaaaa"}},
};
enum { LINES = sizeof lines / sizeof lines[0], PAIR = LINES, HISTORY, REPORT, READERS };

/* What a code of the process means: everything but a fault of fatune is an answer here. */
static void answered(int code)
{
    FUZZ_REQUIRE(code == 0 || code == err_exit_code(ERR_USAGE) || code == err_exit_code(ERR_INPUT) ||
                 code == err_exit_code(ERR_STORE));
}

static void run_line(unsigned i)
{
    char words[WORDS + 2][600], *argv[WORDS + 3];
    int argc = 0;

    for (; argc < WORDS && lines[i].words[argc]; argc++)
        snprintf(words[argc], sizeof words[argc], "%s", lines[i].words[argc]);
    snprintf(words[argc], sizeof words[argc], "--store=%s", path);
    argc++;
    for (int k = 0; k < argc; k++)
        argv[k] = words[k];
    argv[argc] = NULL;
    answered(lines[i].command->exec(lines[i].command, argc, argv));
}

/* What a comparison that measures reads before it begins. */
static int read_pair(struct store *s, struct err *e)
{
    struct tune_pair p = {.contestant = -1};
    int rc = tune_pair_find(&p, s, NULL, "v2", "mine", false, NULL, e);

    tune_pair_free(&p);
    return rc;
}

static int see_evaluation(void *ctx, const struct store_evaluation *v)
{
    (void)ctx;
    FUZZ_REQUIRE((unsigned)v->fate < FATE_N);
    return 0;
}

static int see_race(void *ctx, int block, int seq, double us)
{
    (void)ctx, (void)block, (void)seq, (void)us;
    return 0;
}

static int see_run(void *ctx, const struct store_run *r)
{
    *(int64_t *)ctx = r->id;
    return 0;
}

static int see_best(void *ctx, const json_t *params, const char *cand, double us)
{
    (void)ctx, (void)params, (void)us;
    FUZZ_REQUIRE(strlen(cand) <= 64);
    return 0;
}

static int see_import(void *ctx, const struct store_import *i)
{
    FUZZ_REQUIRE(strlen(i->file) < sizeof i->file && strlen(i->space) < sizeof i->space);
    *(int64_t *)ctx = i->id;
    return 0;
}

static int see_prior(void *ctx, const json_t *params, double us)
{
    (void)ctx, (void)params, (void)us;
    return 0;
}

/* What a run reads that goes on. */
static int read_history(struct store *s, struct err *e)
{
    struct store_run run = {0};
    struct store_evaluation known = {0}, one = {0};
    struct store_version before = {0}, first = {0};
    struct trial kept = {0};
    json_t *report = NULL, *settings = NULL, *seeds = NULL;
    struct buf words = {0};
    double *samples = NULL;
    int64_t id = 0, import = 0, trial;
    enum fate fate;
    bool found;
    int n, rc;

    TRY(store_runs(s, NULL, see_run, &id, e));
    TRY(store_run_find(s, "key-1", &run, &found, e));
    TRY(store_evaluations(s, id, see_evaluation, NULL, e));
    TRY(store_evaluation_samples(s, id, 0, &samples, &n, e));
    TRY(store_check_get(s, id, 2, "full", &fate, &report, &found, e));
    TRY(store_race(s, id, see_race, NULL, e));
    TRY(store_trial_find(s, id, "aa", 1, 1, &trial, &settings, &kept, &found, e));
    TRY(store_best(s, TRACK, 1, id + 1, 8, see_best, NULL, e));
    TRY(store_evaluation_known(s, DIGEST_B, 1, TRACK, &known, &found, e));
    TRY(store_evaluation_get(s, id, 0, &one, &found, e));
    TRY(store_imports(s, see_import, &import, e));
    TRY(store_priors(s, import, see_prior, NULL, e));
    TRY(tune_seeds_used(s, id, &seeds, e));
    tune_seeds_text(seeds, &words);
    TRY(store_champion_before(s, TRACK, &before, &found, e));
    TRY(store_champion_first(s, TRACK, &first, &found, e));
out:
    store_run_free(&run);
    store_evaluation_free(&known);
    store_evaluation_free(&one);
    store_version_free(&before);
    store_version_free(&first);
    trial_free(&kept);
    json_decref(report);
    json_decref(settings);
    json_decref(seeds);
    buf_free(&words);
    free(samples);
    return rc;
}

/* A report and its pages. */
static int read_report(struct store *s, struct err *e)
{
    struct report_pictures none = {.why = "none are drawn"};
    struct page html = {.format = PAGE_HTML}, markdown = {.format = PAGE_MARKDOWN};
    json_t *report = NULL;
    int rc;

    TRY(report_space(s, TRACK, &report, e));
    TRY(report_document(&html, report, &none, e));
    TRY(report_document(&markdown, report, &none, e));
    FUZZ_REQUIRE(strstr(buf_text(&html.out), "</html>") && !strstr(buf_text(&html.out), "<script"));
out:
    json_decref(report);
    page_free(&html);
    page_free(&markdown);
    report_pictures_free(&none);
    return rc;
}

void fuzz_one(const uint8_t *data, size_t n)
{
    static const char *const beside[] = {"", "-wal", "-shm", "-journal", ".lock"};
    struct fuzz_bytes in = {data, n};
    unsigned reader = fuzz_byte(&in) % READERS;
    struct store *s = NULL;
    struct err e = {0};

    damage(in);
    if (reader < LINES) {
        run_line(reader);
    } else {
        if (store_open(&s, path, STORE_READ, &e) == 0) {
            (void)(reader == PAIR ? read_pair(s, &e) : reader == HISTORY ? read_history(s, &e) : read_report(s, &e));
        }
        answered(err_exit_code(e.code));
        store_close(s);
    }
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        char name[600];
        snprintf(name, sizeof name, "%s%s", path, beside[i]);
        unlink(name);
    }
    mend();
}
