/* JSON and lines that come from outside a process. The first byte says what the rest is: 0 one JSON text, for every reader of values, files
 * of the cache and records; 1 what workers answer during a whole run, as a script (fuzz_worker.h); 2 what one contestant answers; 3 both, in
 * a run with a contestant, which takes longer. Whatever is answered, a run ends well or with the device to blame: never with a fault of
 * fatune, and never because the store refused what had been let through. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "cache.h"
#include "cand.h"
#include "contestant.h"
#include "device.h"
#include "fuzz.h"
#include "fuzz_worker.h"
#include "health.h"
#include "report.h"
#include "report_kept.h"
#include "report_night.h"
#include "store.h"
#include "tune.h"

#define DATABASE "fatune.db"

static char space_path[512], store_path_text[512], cache_path[512];

static const char space_text[] = "name: fuzzed\n"
                                 "problem: {op: attention_forward, batch: 1, heads: 2, seq_q: 64, head_dim: 32}\n"
                                 "templates: [tile_cl]\n"
                                 "params: {BLOCK_M: [16, 32], BLOCK_N: [32], SPLIT: [1]}\n"
                                 "search: {strategy: exhaustive, evaluations: 2, minutes: 0.05, seed: 7}\n"
                                 "promote: {sessions: 8}\n"
                                 "contestants: [{name: mine, command: [/bin/true]}]\n";

void fuzz_begin(void)
{
    snprintf(space_path, sizeof space_path, "%s", fuzz_file("space.yaml", space_text, sizeof space_text - 1));
    snprintf(store_path_text, sizeof store_path_text, "%s/" DATABASE, fuzz_folder());
    snprintf(cache_path, sizeof cache_path, "%s/entry", fuzz_folder());
    if (mkdir(cache_path, 0700) != 0) abort();
    fuzz_quiet();
}

/* ---- one text ---- */

static struct domain *domain(void)
{
    static const char *const folders[] = {FUZZ_SOURCE "/tests/data/templates"};
    static struct domain *d;
    static struct space s;

    if (!d && (space_parse(&s, space_text, sizeof space_text - 1, "space.yaml", NULL) != 0 ||
               domain_open(&d, &s, folders, 1, &fuzz_targets[1], NULL) != 0))
        abort();
    return d;
}

/* What was read goes out and comes in again as it was. */
static void values(const json_t *j)
{
    struct problem p = {0};
    struct target t = {0};
    struct launch l = {0};
    struct device_resources r;
    struct health_reading h;
    struct cand c;
    struct err e = {0};
    json_t *out;

    if (problem_from_json(&p, j, &e) == 0) {
        out = problem_to_json(&p);
        FUZZ_REQUIRE(out && problem_from_json(&p, out, &e) == 0);
        json_decref(out);
    }
    e = (struct err){0};
    if (target_from_json(&t, j, &e) == 0) {
        out = target_to_json(&t);
        FUZZ_REQUIRE(out && target_from_json(&t, out, &e) == 0);
        json_decref(out);
    }
    e = (struct err){0};
    if (launch_from_json(&l, j, &e) == 0) {
        out = launch_to_json(&l);
        FUZZ_REQUIRE(out && launch_from_json(&l, out, &e) == 0);
        json_decref(out);
    }
    e = (struct err){0};
    if (device_resources_from_json(&r, j, &e) == 0) json_decref(device_resources_to_json(&r));
    health_from_json(&h, j);
    json_decref(health_to_json(&h));
    e = (struct err){0};
    if (cand_from_json(domain(), j, &c, &e) == 0) {
        out = cand_to_json(domain(), &c);
        FUZZ_REQUIRE(json_equal(json_object_get(out, "params"), json_object_get(j, "params")));
        json_decref(out);
    }
}

static void reports(const json_t *j)
{
    struct buf out = {0};

    report_verdict(&out, j, "a", "b");
    report_comparison(&out, j);
    report_contestant(&out, j);
    report_run(&out, j);
    report_dead(&out, j);
    report_compilation(&out, j);
    report_kept(&out, j);
    report_night(&out, j);
    report_night_page(&out, j);
    (void)report_night_news(j);
    buf_free(&out);
}

/* The file that says what a binary is. */
static void cache_entry(const char *text, size_t n)
{
    char key[DIGEST_HEX], name[128];
    bool found, damaged;
    json_t *meta = NULL;
    struct buf image = {0};

    memset(key, 'a', DIGEST_HEX - 1);
    key[DIGEST_HEX - 1] = '\0';
    snprintf(name, sizeof name, "entry/%s.json", key);
    fuzz_file(name, text, n);
    snprintf(name, sizeof name, "entry/%s.bin", key);
    fuzz_file(name, "", 0);
    FUZZ_REQUIRE(cache_find(cache_path, key, &found, &damaged, &meta, NULL) == 0 && (found || !meta));
    json_decref(meta);
    (void)cache_image(cache_path, key, &image, NULL);
    buf_free(&image);
}

static void one_text(const char *text, size_t n)
{
    json_t *j = json_loadb(text, n, JSON_DECODE_ANY, NULL);

    cache_entry(text, n);
    values(j);
    reports(j);
    json_decref(j);
}

/* ---- answers ---- */

static void forget_store(void)
{
    static const char *const beside[] = {"", ".lock", "-journal"};

    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        char name[600];
        snprintf(name, sizeof name, "%s%s", store_path_text, beside[i]);
        remove(name);
    }
}

static void whole_run(const char *text, bool contestants)
{
    const struct tune_options o = {.space = space_path,
                                   .device = "opencl",
                                   .store = store_path_text,
                                   .templates = FUZZ_SOURCE "/tests/data/templates",
                                   .jobs = 1,
                                   .no_contestants = !contestants,
                                   .allow_contestants = true};
    struct store *s = NULL;
    struct buf out = {0};
    struct err e = {0};
    json_t *summary = NULL;
    int rc;

    fuzz_worker_script(text, 5000);
    rc = tune_run(&o, &summary, &e);
    if (rc == 0) {
        char *line = json_dumps(summary, JSON_SORT_KEYS);
        FUZZ_REQUIRE(line);
        free(line);
        report_run(&out, summary);
        json_decref(summary);
        buf_free(&out);
    } else {
        FUZZ_REQUIRE(summary == NULL && e.text[0]);
        if (e.code != ERR_DEVICE && e.code != ERR_INTERRUPTED && e.code != ERR_INPUT)
            fuzz_broken(__FILE__, __LINE__, e.text);
    }
    if (rc == 0) FUZZ_REQUIRE(store_open(&s, store_path_text, STORE_READ, &e) == 0);
    store_close(s);
    forget_store();
}

static void one_contestant(const char *text)
{
    char word[] = "bench", *words[] = {word, NULL};
    const struct contestant_program program = {.name = "mine", .args = words};
    const struct problem p = {
        .batch = 1, .heads = 2, .kv_heads = 2, .seq_q = 64, .seq_kv = 64, .head_dim = 32, .scale = 1};
    struct worker_loop *l = NULL;
    struct contestant *c = NULL;
    double us = 0;

    fuzz_worker_script(text, 100);
    if (worker_loop_open(&l, NULL) != 0 || contestant_open(&c, l, &program, &fuzz_targets[0], NULL, NULL) != 0) abort();
    if (contestant_wait(c) && contestant_problem(c, &p, &fuzz_targets[0], 2) && contestant_input(c, 'q', "/tmp/q") &&
        contestant_prepare(c)) {
        for (int i = 0; i < 8 && contestant_sample(c, 4, &us); i++)
            FUZZ_REQUIRE(isfinite(us) && us > 0);
        contestant_output(c, "/tmp/o");
    }
    FUZZ_REQUIRE((contestant_state(c) == CONTESTANT_OUT) == (contestant_why(c)[0] != '\0'));
    contestant_close(c);
    worker_loop_close(l);
}

void fuzz_one(const uint8_t *data, size_t n)
{
    struct fuzz_bytes in = {data, n};
    unsigned mode = fuzz_byte(&in) % 4;
    char *text = malloc(in.n + 1);

    if (!text) abort();
    if (in.n > 0) memcpy(text, in.p, in.n);
    text[in.n] = '\0';
    if (mode == 0)
        one_text(text, in.n);
    else if (mode == 2)
        one_contestant(text);
    else
        whole_run(text, mode == 3);
    free(text);
}
