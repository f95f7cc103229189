/* An arm that meets something timed elsewhere, letter by letter; and the files in which tensors change hands. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve_private.h"

int serve_path(const struct serve *s, const json_t *r, const char *tensor, char out[4096], struct err *e)
{
    const char *folder = json_string_value(json_object_get(r, "folder"));

    if (!folder || !*folder || strchr(folder, '/') || *folder == '.' ||
        snprintf(out, 4096, "%s/%s/%s", s->cache, folder, tensor) >= 4096)
        return err_set(e, ERR_BUG, "no folder for tensors");
    return 0;
}

static int write_words(const char *path, const uint16_t *words, size_t n, struct err *e)
{
    FILE *f = fopen(path, "wbe");
    bool ok = f && fwrite(words, sizeof *words, n, f) == n;

    if (f && fclose(f) != 0) ok = false;
    return ok ? 0 : err_set(e, ERR_SYSTEM, "cannot write %s: %s; make room there", path, strerror(errno));
}

void serve_draw(struct serve *s, const json_t *r)
{
    static const char *const names[3] = {"q", "k", "v"};
    const uint16_t *words[3];
    struct err e = {0};
    struct problem p;
    char path[4096];
    int rc = -1;

    if (serve_check(s, json_object_get(r, "problem"), &e) != DEVICE_OK) goto out;
    TRY(problem_from_json(&p, json_object_get(r, "problem"), &e));
    check_plain(s->check, (uint64_t)json_integer_value(json_object_get(r, "seed")), words);
    for (int i = 0; i < 3; i++) {
        TRY(serve_path(s, r, names[i], path, &e));
        TRY(write_words(path, words[i], i == 0 ? problem_q_elements(&p) : problem_kv_elements(&p), &e));
    }
out:
    serve_answer_take(rc == 0 ? json_object() : serve_error(&e));
}

/* Judges the words that the other side has left; a file of another size is its fault. */
static enum device_class judge_words(struct serve *s, const json_t *r, const struct problem *p,
                                     struct check_report *report, struct err *e)
{
    const json_t *rule = json_object_get(r, "rule");
    const struct check_rule c = {.seed = (uint64_t)json_integer_value(json_object_get(rule, "seed")),
                                 .atol = json_number_value(json_object_get(rule, "atol")),
                                 .rtol = json_number_value(json_object_get(rule, "rtol"))};
    size_t bytes = 2 * problem_q_elements(p);
    struct buf words = {0};
    struct check_kernel reference;
    struct loaded *ref;
    char path[4096];
    enum device_class class = DEVICE_LOST;

    if (serve_path(s, r, "o", path, e) != 0) return DEVICE_LOST;
    if (buf_read_file(&words, path, bytes, ERR_DEVICE, &(struct err){0}) != 0 || words.n != bytes) {
        *report = (struct check_report){.fate = FATE_WRONG};
        snprintf(report->text, sizeof report->text, "its output is no file of %zu bytes", bytes);
        class = DEVICE_OK;
    } else if ((class = serve_check(s, json_object_get(r, "problem"), e)) == DEVICE_OK &&
               (class = serve_load(s, json_object_get(r, "reference"), &ref, e)) == DEVICE_OK) {
        reference = (struct check_kernel){ref->kernel, &ref->launch};
        class = check_output(s->check, &reference, &c, (const uint16_t *)(const void *)words.p, serve_progress, NULL,
                             report, e);
    }
    buf_free(&words);
    return class == DEVICE_FATE ? DEVICE_LOST : class;
}

void serve_judge(struct serve *s, const json_t *r)
{
    struct check_report report = {0};
    struct err e = {0};
    struct problem p;
    json_t *reply = json_object();

    serve_room(s);
    serve_progress(NULL, "reference");
    if (problem_from_json(&p, json_object_get(r, "problem"), &e) != 0 ||
        judge_words(s, r, &p, &report, &e) != DEVICE_OK) {
        json_decref(reply);
        serve_answer_take(serve_error(&e));
        return;
    }
    if (report.json) json_object_set(reply, "report", report.json);
    serve_fate(report.fate, report.text, reply);
    check_report_free(&report);
}

static enum device_class meet_inputs(struct serve *s, const json_t *r, struct err *e)
{
    static const char *const names[3] = {"q", "k", "v"};
    enum device_class c = DEVICE_OK;
    struct problem p;
    char path[4096];

    if (problem_from_json(&p, json_object_get(r, "problem"), e) != 0) return DEVICE_LOST;
    for (int i = 0; i < 3 && c == DEVICE_OK; i++) {
        size_t n = i == 0 ? problem_q_elements(&p) : problem_kv_elements(&p);
        uint16_t *words = malloc(n * sizeof *words);
        if (!words) {
            err_nomem(e);
            return DEVICE_LOST;
        }
        c = bench_input(s->bench, (enum arg)(ARG_Q + i), words, e);
        if (c == DEVICE_OK && (serve_path(s, r, names[i], path, e) != 0 || write_words(path, words, n, e) != 0))
            c = DEVICE_LOST;
        free(words);
    }
    return c;
}

void serve_meet(struct serve *s, const json_t *r)
{
    const json_t *kernel = json_object_get(r, "kernel");
    struct err e = {0};
    enum device_class c;

    serve_room(s);
    serve_progress(NULL, "loading");
    c = serve_bench(s, json_object_get(r, "bench"), &e);
    if (c == DEVICE_OK) c = meet_inputs(s, r, &e);
    if (c == DEVICE_OK) c = serve_load(s, kernel, &s->met, &e);
    if (c == DEVICE_OK)
        c = bench_arm_open(s->bench, s->met->kernel, &s->met->launch,
                           (int)json_integer_value(json_object_get(kernel, "k")), &s->met->arm, &e);
    if (c != DEVICE_OK) {
        s->met = NULL;
        serve_class(c, FATE_LAUNCH, &e, NULL);
        return;
    }
    serve_fate(FATE_OK, "", json_pack("{s:i}", "k", bench_arm_k(s->met->arm)));
}

/* warm, letter, health and verify of the session that is open. */
void serve_met(struct serve *s, const json_t *r, const char *op)
{
    struct bench_arm *arm = s->met->arm;
    int m = (int)json_integer_value(json_object_get(r, "m"));
    json_t *reply = json_object(), *samples, *clocks;
    struct health_reading reading;
    struct err e = {0};
    enum device_class c = DEVICE_OK;
    bool yes = false;
    double us;

    if (strcmp(op, "warm") == 0) {
        c = bench_warm_up(arm, json_number_value(json_object_get(r, "seconds")), &yes, &e);
        json_object_set_new(reply, "steady", json_boolean(yes));
    } else if (strcmp(op, "verify") == 0) {
        c = bench_verify(arm, &yes, &e);
        json_object_set_new(reply, "same", json_boolean(yes));
    } else if (strcmp(op, "health") == 0) {
        health_read(s->health, &reading);
        json_object_set_new(reply, "health", health_to_json(&reading));
    } else {
        json_object_set_new(reply, "samples", samples = json_array());
        json_object_set_new(reply, "mhz", clocks = json_array());
        for (int i = 0; i < m && c == DEVICE_OK; i++) {
            c = bench_sample(arm, &us, &e);
            if (c != DEVICE_OK) break;
            json_array_append_new(samples, json_real(us));
            json_array_append_new(clocks, json_real(bench_arm_mhz(arm)));
        }
    }
    if (c != DEVICE_OK)
        serve_class(c, FATE_LAUNCH, &e, reply);
    else
        serve_fate(FATE_OK, "", reply);
}
