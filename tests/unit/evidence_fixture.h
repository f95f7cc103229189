/* evidence_fixture.h - the files of a small collection that holds, made by the program's own functions: a trial and a control of eight sessions,
 * the verdict that follows, a source and its key. For test_evidence.c and the fuzz target. */
#ifndef EVIDENCE_FIXTURE_H
#define EVIDENCE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "evidence_private.h"
#include "tune.h"

static const char fixture_space[] = "name: small\n"
                                    "problem: {op: attention_forward, batch: 1, heads: 2, seq_q: 64, head_dim: 32}\n"
                                    "templates: [tile_cl]\n"
                                    "promote: {sessions: 8}\n";
static const char fixture_source[] = "#define BATCH 1\nextern \"C\" __global__ void k() {}\n";

#define FIXTURE_MUST(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) abort();                                                                                     \
    } while (0)

static inline json_t *fixture_trial(const char *kind, double gain, int id)
{
    json_t *sessions = json_array(), *quads = json_array();

    for (int s = 0; s < 8; s++) {
        json_array_append_new(sessions, json_pack("{s:i,s:s,s:{}}", "session", s, "seed", "00", "health"));
        for (int q = 0; q < 4; q++) {
            double a = 10 + 0.01 * s + 0.003 * ((q * 7 + s) % 5), b = a * (1 - gain) + 0.002 * ((q + s) % 3);
            const double letters[4] = {q % 2 ? b : a, q % 2 ? a : b, q % 2 ? a : b, q % 2 ? b : a};
            char sum[DIGEST_HEX];
            FIXTURE_MUST(store_samples_digest(sum, letters, 4, NULL) == 0);
            json_array_append_new(quads, json_pack("{s:i,s:i,s:i,s:i,s:f,s:f,s:f,s:f,s:f,s:{},s:[f,f,f,f],s:s}",
                                                   "session", s, "quad", q, "baab", q % 2, "discarded", 0, "letter0",
                                                   letters[0], "letter1", letters[1], "letter2", letters[2], "letter3",
                                                   letters[3], "sm_mhz", 0.0, "health", "samples_us", letters[0],
                                                   letters[1], letters[2], letters[3], "digest", sum));
        }
    }
    return json_pack("{s:i,s:i,s:s,s:s,s:s,s:{s:i},s:o,s:o}", "id", id, "run", 1, "kind", kind, "a", "aa", "b",
                     gain > 0 ? "bb" : "aa", "settings", "m", 1, "sessions", sessions, "quads", quads);
}

static inline void fixture_put(struct evidence_files *f, enum evidence_file id, json_t *j)
{
    FIXTURE_MUST(evidence_put_json_take(f, id, j, NULL) == 0);
}

static inline void fixture_text(struct evidence_files *f, enum evidence_file id, const char *text)
{
    buf_puts(&f->bytes[id], text);
    f->there[id] = true;
}

/* The verdict of the two trials, by the rule of the space. */
static inline json_t *fixture_verdict(const struct space *s, const json_t *run, const json_t *ab, const json_t *aa)
{
    struct verdict_rule rule = tune_promotion_rule(s, 1);
    struct store_verdict row = {.id = 3, .run = 1, .trial = 2, .control = 1, .cand = "bb", .created = "2026"};
    struct trial trial, control;
    struct verdict v;
    struct rng rng;
    json_t *out;

    FIXTURE_MUST(evidence_trial_read(&trial, ab, "trial.json", NULL) == 0);
    FIXTURE_MUST(evidence_trial_read(&control, aa, "control.json", NULL) == 0);
    rng_init(&rng, 42 + 2, "verdict");
    FIXTURE_MUST(verdict_decide(&v, &rule, &trial, &control, &rng, NULL) == 0 && v.outcome == VERDICT_PROMOTE);
    row.body = verdict_to_json(&v);
    out = evidence_verdict_json(&row, s, run, true, NULL);
    FIXTURE_MUST(out);
    store_verdict_free(&row);
    trial_free(&trial);
    trial_free(&control);
    return out;
}

static inline void fixture_version(struct evidence_files *f, const struct space *s)
{
    struct target t = {.driver = "fake", .language = "cuda", .name = "none"};
    char track[65], key[DIGEST_HEX];

    FIXTURE_MUST(tune_track(track, s, &t, NULL) == 0);
    cache_key(key, &t, fixture_source, "k", (const char *const[]){NULL});
    fixture_put(f, EVIDENCE_VERSION,
                json_pack("{s:s,s:s,s:s,s:s,s:{s:o,s:s,s:s,s:{s:s},s:{s:s}}}", "name", "v1", "track", track, "binary",
                          key, "candidate", "bb", "facts", "target", target_to_json(&t), "binary", key, "code", "",
                          "launch", "entry", "k", "environment", "fatune", "0"));
    fixture_put(f, EVIDENCE_KERNEL,
                json_pack("{s:s,s:s,s:s,s:[]}", "key", key, "source", "cache", "why_no_binary", "none", "options"));
    fixture_put(f, EVIDENCE_CORRECTNESS,
                json_pack("{s:[{s:s,s:s,s:s}],s:[]}", "stored", "level", "full", "fate", "OK", "binary", key, "now"));
}

/* To be freed by evidence_files_free. */
static inline void fixture_files(struct evidence_files *f)
{
    json_t *run = json_pack("{s:i,s:{s:i},s:{s:[{}]}}", "run", 1, "settings", "seed", 42, "summary", "trials");
    json_t *ab = fixture_trial("ab", 0.05, 2), *aa = fixture_trial("aa", 0, 1);
    struct space s;

    *f = (struct evidence_files){0};
    FIXTURE_MUST(run && ab && aa && space_parse(&s, fixture_space, sizeof fixture_space - 1, "space.yaml", NULL) == 0);
    fixture_text(f, EVIDENCE_SPACE, fixture_space);
    fixture_text(f, EVIDENCE_CU, fixture_source);
    fixture_text(f, EVIDENCE_PTX, "mma.sync.a; wmma.mma.sync.b;\n");
    fixture_text(f, EVIDENCE_SASS, " HGMMA.64x8 R1;\n @P0 HMMA R2;\n");
    fixture_text(f, EVIDENCE_RESOURCES, "run\n");
    fixture_put(f, EVIDENCE_TENSOR,
                json_pack("{s:{s:i,s:i,s:i},s:{s:i,s:i,s:i,s:i}}", "sass", "HMMA", 1, "HGMMA", 1, "UTCHMMA", 0, "ptx",
                          "mma", 1, "wmma.mma", 1, "wgmma.mma_async", 0, "tcgen05.mma", 0));
    fixture_put(f, EVIDENCE_HISTORY, json_pack("[{s:s,s:i}]", "name", "v1", "verdict", 3));
    fixture_put(f, EVIDENCE_ENVIRONMENT, json_pack("{s:{s:s}}", "environment", "fatune", "0"));
    fixture_version(f, &s);
    fixture_put(f, EVIDENCE_VERDICT, fixture_verdict(&s, run, ab, aa));
    fixture_put(f, EVIDENCE_TRIAL, ab);
    fixture_put(f, EVIDENCE_CONTROL, aa);
    fixture_put(f, EVIDENCE_RUN, run);
    space_free(&s);
}

/* The number of checks that failed; -1 when none holds. */
static inline int fixture_failures(struct evidence_files *f)
{
    json_t *checks = json_array(), *version;
    int failed = 0, hold = 0;
    bool good;

    FIXTURE_MUST(evidence_contents(f, checks, &good, &version, NULL) == 0);
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const char *outcome = json_string_value(json_object_get(json_array_get(checks, i), "outcome"));
        failed += strcmp(outcome, "failed") == 0;
        hold += strcmp(outcome, "ok") == 0;
    }
    FIXTURE_MUST(good == (failed == 0));
    json_decref(checks);
    json_decref(version);
    return failed > 0 ? failed : hold > 0 ? 0 : -1;
}

#endif
