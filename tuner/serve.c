/* One request at a time. A poisoned context, or a lost device, is reported once and the process leaves at once by _exit: no destructor of
 * a GPU library runs in a broken context. */
#include "serve_private.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "rng.h"
#include "target.h"
#include "wire.h"

/* ---- answers ---- */

void serve_progress(void *ctx, const char *stage)
{
    json_t *j = json_pack("{s:s}", "stage", stage);

    (void)ctx;
    if (wire_send(WIRE_FD, j, NULL) != 0) _exit(0); /* the supervisor is gone */
    json_decref(j);
}

void serve_answer_take(json_t *j)
{
    json_object_set_new(j, "done", json_true());
    if (wire_send(WIRE_FD, j, NULL) != 0) _exit(0);
    json_decref(j);
}

json_t *serve_error(const struct err *e)
{
    return json_pack("{s:{s:i,s:o}}", "error", "code", (int)e->code, "text",
                     device_text_to_json(e->text, strlen(e->text)));
}

void serve_fate(enum fate f, const char *text, json_t *more)
{
    json_t *j = more ? more : json_object();

    json_object_set_new(j, "fate", json_string(fate_name(f)));
    json_object_set_new(j, "text", device_text_to_json(text, strlen(text)));
    serve_answer_take(j);
}

void serve_class(enum device_class c, enum fate refused, const struct err *e, json_t *more)
{
    json_t *j = more ? more : json_object();

    if (c == DEVICE_LOST) {
        json_decref(j);
        j = serve_error(e);
    } else {
        json_object_set_new(j, "fate", json_string(fate_name(c == DEVICE_STICKY ? FATE_CRASH : refused)));
        json_object_set_new(j, "text", device_text_to_json(e->text, strlen(e->text)));
    }
    if (c != DEVICE_FATE) json_object_set_new(j, "leave", json_true());
    serve_answer_take(j);
    if (c != DEVICE_FATE) _exit(0);
}

/* ---- enumerate ---- */

static void do_targets(void)
{
    struct target list[TARGET_MAX];
    struct buf note = {0};
    json_t *targets = json_array();

    for (int i = 0; device_drivers[i]; i++) {
        int n = device_drivers[i]->enumerate(list, TARGET_MAX, &note);
        for (int k = 0; k < n; k++)
            json_array_append_new(targets, target_to_json(&list[k]));
    }
    serve_answer_take(json_pack("{s:o,s:s}", "targets", targets, "note", buf_text(&note)));
    buf_free(&note);
}

static void do_arch(const json_t *r)
{
    const char *arch = json_string_value(json_object_get(r, "arch"));
    struct err e = {0};
    struct target t = {0};

    for (int i = 0; device_drivers[i]; i++) {
        if (!device_drivers[i]->arch_target) continue;
        if (device_drivers[i]->arch_target(&t, arch ? arch : "", &e) == 0) {
            serve_answer_take(json_pack("{s:o}", "target", target_to_json(&t)));
            return;
        }
    }
    err_set(&e, ERR_USAGE, "this build has no CUDA support: --arch needs it; build with the CUDA headers installed");
    serve_answer_take(serve_error(&e));
}

/* ---- compile ---- */

/* A compiler that runs away is stopped by the kernel before it takes the machine along: at FATUNE_COMPILE_MB of address space, else 16 GiB.
 * Sanitizers reserve more than any limit. And compiling runs ahead, while a device waits for the threads of its worker: they go first. */
static void confine_compiler(void)
{
    setpriority(PRIO_PROCESS, 0, 10);
#ifndef __SANITIZE_ADDRESS__
    const char *text = getenv("FATUNE_COMPILE_MB");
    unsigned long mb = text ? strtoul(text, NULL, 10) : 0;
    rlim_t most = (rlim_t)(mb > 0 ? mb : 16384) << 20;
    struct rlimit space = {most, most};

    setrlimit(RLIMIT_AS, &space);
#endif
}

static const char *cuda_include(void)
{
    const char *dir = getenv("FATUNE_CUDA_INCLUDE");

    return dir ? dir : "/usr/local/cuda/include";
}

static void do_compile(struct serve *s, const json_t *r)
{
    const char *key = json_string_value(json_object_get(r, "key"));
    const char *entry = json_string_value(json_object_get(r, "entry"));
    const json_t *list = json_object_get(r, "options");
    const char *options[16] = {NULL};
    struct device_binary b = {0};
    struct buf source = {0};
    struct err e = {0};
    struct target t;
    enum device_class c = DEVICE_LOST;
    json_t *reply;

    confine_compiler();
    for (size_t i = 0; i < json_array_size(list) && i < 15; i++)
        options[i] = json_string_value(json_array_get(list, i));
    if (!key || !entry || target_from_json(&t, json_object_get(r, "target"), &e) != 0 ||
        cache_source(s->cache, key, &source, &e) != 0)
        goto out;
    const struct device_driver *driver = device_driver_named(t.driver);
    const struct device_source src = {buf_text(&source), entry, options,
                                      json_is_true(json_object_get(r, "headers")) ? cuda_include() : NULL};
    if (!driver) {
        err_set(&e, ERR_BUG, "no driver named %s", t.driver);
        goto out;
    }
    c = driver->compile(&t, &src, &b, &e);
    if (c == DEVICE_OK && cache_put(s->cache, key, &b, &e) != 0) c = DEVICE_LOST;
out:
    if (c == DEVICE_LOST || c == DEVICE_STICKY) {
        serve_answer_take(serve_error(&e));
    } else {
        const char *text = c == DEVICE_OK ? "" : e.text; /* compilers quote sources: any bytes */
        reply = json_pack("{s:s,s:o,s:s,s:o,s:o}", "fate", fate_name(c == DEVICE_OK ? FATE_OK : FATE_COMPILE), "text",
                          device_text_to_json(text, strlen(text)), "code", b.code_digest, "resources",
                          device_resources_to_json(&b.res), "log", device_text_to_json(buf_text(&b.log), b.log.n));
        serve_answer_take(reply);
    }
    device_binary_free(&b);
    buf_free(&source);
}

/* ---- the device ---- */

static void do_open(struct serve *s, const json_t *r)
{
    struct err e = {0};
    struct buf note = {0};
    enum device_class c = DEVICE_LOST;

    if (target_from_json(&s->target, json_object_get(r, "target"), &e) == 0 && parallel_open(&s->threads, 0, &e) == 0) {
        s->driver = device_driver_named(s->target.driver);
        if (!s->driver)
            err_set(&e, ERR_BUG, "no driver named %s", s->target.driver);
        else if ((c = s->driver->open(&s->device, &s->target, &e)) == DEVICE_OK)
            c = s->driver->canary(s->device, &e);
    }
    if (c != DEVICE_OK) {
        err_context(&e, "device %s", s->target.name);
        serve_answer_take(serve_error(&e));
        _exit(0);
    }
    s->health = health_open(&s->target, &note);
    serve_answer_take(
        json_pack("{s:o?,s:o?,s:s}", "environment", s->health ? health_environment(s->health) : NULL, "complaints",
                  s->health && json_is_true(json_object_get(r, "look")) ? health_complaints(s->health) : NULL, "note",
                  buf_text(&note)));
    buf_free(&note);
}

static void close_bench(struct serve *s)
{
    s->met = NULL;
    for (int i = 0; i < s->nloaded; i++) {
        bench_arm_close(s->loaded[i].arm);
        s->loaded[i].arm = NULL;
    }
    bench_close(s->bench);
    s->bench = NULL;
    json_decref(s->bench_key);
    s->bench_key = NULL;
}

static void drop(struct serve *s, struct loaded *l)
{
    bench_arm_close(l->arm);
    s->driver->unload(s->device, l->kernel);
    *l = s->loaded[--s->nloaded];
}

enum device_class serve_load(struct serve *s, const json_t *j, struct loaded **out, struct err *e)
{
    const char *key = json_string_value(json_object_get(j, "key"));
    struct loaded *l = &s->loaded[s->nloaded];
    struct buf image = {0};
    enum device_class c;

    if (!key || strlen(key) >= sizeof l->key) {
        err_set(e, ERR_BUG, "a kernel without a key");
        return DEVICE_LOST;
    }
    for (int i = 0; i < s->nloaded; i++) {
        if (strcmp(s->loaded[i].key, key) == 0) {
            *out = &s->loaded[i];
            return DEVICE_OK;
        }
    }
    *l = (struct loaded){0};
    memcpy(l->key, key, strlen(key) + 1);
    if (launch_from_json(&l->launch, json_object_get(j, "launch"), e) != 0 ||
        cache_image(s->cache, key, &image, e) != 0) {
        buf_free(&image);
        return DEVICE_LOST;
    }
    c = s->driver->load(s->device, image.p, image.n, &l->launch, &l->kernel, e);
    buf_free(&image);
    if (c == DEVICE_OK) {
        *out = l;
        s->nloaded++;
    }
    return c;
}

enum device_class serve_bench(struct serve *s, const json_t *j, struct err *e)
{
    struct problem p;
    enum device_class c;

    if (s->bench && json_equal(s->bench_key, j)) return DEVICE_OK;
    close_bench(s);
    if (problem_from_json(&p, json_object_get(j, "problem"), e) != 0) return DEVICE_LOST;
    c = bench_open(&s->bench, s->driver, s->device, s->threads, &s->target, &p,
                   json_is_true(json_object_get(j, "cold")) ? BENCH_COLD : BENCH_WARM,
                   (uint64_t)json_integer_value(json_object_get(j, "seed")), s->health, e);
    if (c == DEVICE_OK) s->bench_key = json_deep_copy(j);
    return c;
}

/* ---- evaluate ---- */

enum device_class serve_check(struct serve *s, const json_t *j, struct err *e)
{
    struct problem p;
    enum device_class c;

    if (s->check && json_equal(s->check_key, j)) return DEVICE_OK;
    check_close(s->check);
    s->check = NULL;
    json_decref(s->check_key);
    s->check_key = NULL;
    if (problem_from_json(&p, j, e) != 0) return DEVICE_LOST;
    c = check_open(&s->check, s->driver, s->device, s->threads, &p, e);
    if (c == DEVICE_OK) s->check_key = json_deep_copy(j);
    return c;
}

static enum device_class do_check(struct serve *s, const json_t *r, const struct loaded *l, struct check_report *out,
                                  struct err *e)
{
    const json_t *rule = json_object_get(r, "rule");
    struct check_rule c = {.level = json_is_true(json_object_get(rule, "full")) ? CHECK_FULL : CHECK_QUICK,
                           .seed = (uint64_t)json_integer_value(json_object_get(rule, "seed")),
                           .atol = json_number_value(json_object_get(rule, "atol")),
                           .rtol = json_number_value(json_object_get(rule, "rtol")),
                           .repeats = (int)json_integer_value(json_object_get(rule, "repeats")),
                           .box_s = json_number_value(json_object_get(rule, "box_s")),
                           .unwritten = json_is_true(json_object_get(rule, "unwritten"))};
    struct check_kernel candidate = {l->kernel, &l->launch}, reference;
    struct loaded *ref;
    enum device_class class = serve_check(s, json_object_get(r, "problem"), e);

    if (class != DEVICE_OK) return class;
    class = serve_load(s, json_object_get(r, "reference"), &ref, e);
    if (class != DEVICE_OK) {
        err_context(e, "the reference kernel");
        return DEVICE_LOST;
    }
    reference = (struct check_kernel){ref->kernel, &ref->launch};
    return check_run(s->check, &candidate, &reference, &c, serve_progress, NULL, out, e);
}

/* Samples of l's arm into list. With a stop_us, one is enough when it and the one that warmed up took longer: *stopped. */
static enum device_class take_samples(struct serve *s, const json_t *time, struct loaded *l, json_t *list,
                                      bool *stopped, struct err *e)
{
    int n = (int)json_integer_value(json_object_get(time, "samples"));
    int k = (int)json_integer_value(json_object_get(time, "k"));
    double stop_us = json_number_value(json_object_get(time, "stop_us")), us = 0, before;
    enum device_class c = DEVICE_OK;

    if (!l->arm) {
        serve_progress(NULL, "timing");
        c = bench_arm_open(s->bench, l->kernel, &l->launch, k, &l->arm, e);
        if (c == DEVICE_OK) c = bench_sample(l->arm, &us, e); /* the first sample warms up and is not kept */
    }
    for (int i = 0; i < n && c == DEVICE_OK && !*stopped; i++) {
        serve_progress(NULL, "timing");
        before = us;
        c = bench_sample(l->arm, &us, e);
        if (c == DEVICE_OK) json_array_append_new(list, json_real(us));
        *stopped = i == 0 && stop_us > 0 && before > stop_us && us > stop_us;
    }
    return c;
}

/* Samples of the arm into reply; FATE_WRONG when the timed runs left another result than the run before them. */
static enum device_class do_time(struct serve *s, const json_t *time, struct loaded *l, json_t *reply, enum fate *fate,
                                 struct err *e)
{
    struct health_reading reading;
    json_t *samples = json_array();
    bool same = true, stopped = false;
    enum device_class c;

    json_object_set_new(reply, "samples", samples);
    c = serve_bench(s, json_object_get(time, "bench"), e);
    if (c == DEVICE_OK) c = take_samples(s, time, l, samples, &stopped, e);
    if (c == DEVICE_OK && stopped) json_object_set_new(reply, "stopped", json_true());
    if (c == DEVICE_OK) {
        json_object_set_new(reply, "k", json_integer(bench_arm_k(l->arm)));
        if (s->health) {
            health_read(s->health, &reading);
            json_object_set_new(reply, "health", health_to_json(&reading));
        }
        if (json_is_true(json_object_get(time, "verify"))) c = bench_verify(l->arm, &same, e);
    }
    if (c == DEVICE_OK && !same) {
        *fate = FATE_WRONG;
        err_set(e, ERR_DEVICE, "the output after the timed runs differs from the output before them");
    }
    return c;
}

void serve_room(struct serve *s)
{
    if (s->nloaded < MAX_LOADED - 3) return;
    close_bench(s);
    while (s->nloaded > 0)
        drop(s, &s->loaded[0]);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Where the time of an evaluation went, for the supervisor's timeline: when it began, and when its stages were over. */
static void put_seconds(json_t *reply, double begun, double loaded, double checked, double timed)
{
    json_object_set_new(
        reply, "seconds",
        json_pack("{s:f,s:f,s:f}", "whole", now_s() - begun, "check", checked - loaded, "measure", timed - checked));
}

static void do_evaluate(struct serve *s, const json_t *r)
{
    const json_t *time = json_object_get(r, "time");
    bool keep = json_is_true(json_object_get(r, "keep"));
    enum fate fate = FATE_OK, refused = FATE_LIMITS;
    struct device_resources res = {-1, -1, -1, -1, -1, -1, -1};
    struct check_report report = {0};
    struct err e = {0};
    struct loaded *l = NULL;
    json_t *reply = json_object();
    double begun = now_s(), loaded, checked, timed;
    enum device_class c;

    serve_room(s);
    serve_progress(NULL, "loading");
    c = serve_load(s, json_object_get(r, "kernel"), &l, &e);
    if (c == DEVICE_OK && s->driver->resources) {
        c = s->driver->resources(s->device, l->kernel, &res, &e);
        json_object_set_new(reply, "resources", device_resources_to_json(&res));
    }
    loaded = now_s();
    if (c == DEVICE_OK) refused = FATE_LAUNCH;
    if (c == DEVICE_OK && json_object_get(r, "rule")) {
        c = do_check(s, r, l, &report, &e);
        if (c == DEVICE_OK || c == DEVICE_STICKY) {
            fate = report.fate;
            if (report.json) json_object_set(reply, "report", report.json);
            err_set(&e, ERR_DEVICE, "%s", report.text); /* e keeps the first text */
        }
    }
    checked = now_s();
    if (c == DEVICE_OK && fate == FATE_OK && time) {
        e = (struct err){0};
        c = do_time(s, time, l, reply, &fate, &e);
    }
    timed = now_s();
    check_report_free(&report);
    if (c != DEVICE_OK) {
        put_seconds(reply, begun, loaded, checked, timed);
        serve_class(c, refused, &e, reply);
        return;
    }
    serve_progress(NULL, "canary");
    if (s->driver->canary(s->device, &(struct err){0}) != DEVICE_OK) {
        e = (struct err){0};
        put_seconds(reply, begun, loaded, checked, timed);
        err_set(&e, ERR_DEVICE, "the device context did not survive this kernel (canary failed)");
        serve_class(DEVICE_STICKY, FATE_CRASH, &e, reply);
    }
    if (fate != FATE_OK)
        close_bench(s); /* its tensors may have suffered; a good candidate's successor finds them drawn */
    if (!keep) drop(s, l);
    put_seconds(reply, begun, loaded, checked, timed);
    serve_fate(fate, fate == FATE_OK ? "" : e.text, reply);
}

/* ---- session ---- */

static json_t *reals(const double *x, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real(x[i]));
    return list;
}

static enum device_class send_quad(struct bench_arm *a, struct bench_arm *b, bool baab, int m, int number,
                                   enum health_change *change, struct err *e)
{
    struct bench_quad q = {0};
    double letter_mhz[4];
    json_t *j;
    enum device_class c = bench_quad(a, b, baab, m, &q, e);

    if (c == DEVICE_OK) {
        health_letter_clocks(q.mhz, m, letter_mhz);
        *change = health_changed(&q.before, &q.after, letter_mhz);
        j = json_pack("{s:i,s:b,s:i,s:o,s:o,s:o,s:o}", "quad", number, "baab", (int)q.baab, "m", q.m, "samples",
                      reals(q.samples, 4 * m), "mhz", reals(q.mhz, 4 * m), "before", health_to_json(&q.before), "after",
                      health_to_json(&q.after));
        if (wire_send(WIRE_FD, j, NULL) != 0) _exit(0);
        json_decref(j);
    }
    bench_quad_free(&q);
    return c;
}

/* Number -1 is discarded: it settles caches and clocks. Behind a quad that was spoiled the device gets time to settle. */
static enum device_class send_quads(struct bench_arm *a, struct bench_arm *b, int quads, int m, struct rng *rng,
                                    struct err *e)
{
    int *baab = calloc((size_t)quads + 1, sizeof *baab);
    enum health_change change = HEALTH_STEADY;
    enum device_class c = DEVICE_OK;
    struct health_pause pause = {0};

    if (!baab) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    bench_quad_orders(baab, quads, rng);
    for (int i = -1; i < quads && c == DEVICE_OK; i++) {
        c = send_quad(a, b, i >= 0 && baab[i] == 1, m, i, &change, e);
        if (i >= 0) usleep((useconds_t)(1e6 * health_pause_s(&pause, change, quads)));
    }
    free(baab);
    return c;
}

static enum device_class session_arms(struct serve *s, const json_t *r, struct rng *rng, struct loaded *arm[2],
                                      int *which, struct err *e)
{
    const char *const names[2] = {"a", "b"};
    int first = (int)rng_below(rng, 2); /* module load order is part of the luck that sessions average */
    enum device_class c = DEVICE_OK;

    for (int i = 0; i < 2 && c == DEVICE_OK; i++) {
        const json_t *j = json_object_get(r, names[ *which = first ^ i]);
        c = serve_load(s, j, &arm[*which], e);
        if (c == DEVICE_OK)
            c = bench_arm_open(s->bench, arm[*which]->kernel, &arm[*which]->launch,
                               (int)json_integer_value(json_object_get(j, "k")), &arm[*which]->arm, e);
    }
    return c;
}

static void do_session(struct serve *s, const json_t *r)
{
    int quads = (int)json_integer_value(json_object_get(r, "quads")),
        m = (int)json_integer_value(json_object_get(r, "m"));
    double warm_s = json_number_value(json_object_get(r, "warm_s"));
    struct rng rng;
    struct loaded *arm[2] = {NULL, NULL};
    struct err e = {0};
    int which = 0;
    bool steady[2] = {false, false}, same[2] = {true, true};
    enum device_class c;

    rng_init(&rng, (uint64_t)json_integer_value(json_object_get(r, "seed")), "session");
    serve_room(s);
    serve_progress(NULL, "loading");
    c = serve_bench(s, json_object_get(r, "bench"), &e);
    if (c == DEVICE_OK) c = session_arms(s, r, &rng, arm, &which, &e);
    for (int i = 0; i < 2 && c == DEVICE_OK; i++) {
        serve_progress(NULL, "warming up");
        c = bench_warm_up(arm[i]->arm, warm_s / 2, &steady[i], &e);
    }
    if (c == DEVICE_OK) c = send_quads(arm[0]->arm, arm[1]->arm, quads, m, &rng, &e);
    for (int i = 0; i < 2 && c == DEVICE_OK; i++) {
        which = i;
        c = bench_verify(arm[i]->arm, &same[i], &e);
    }
    if (c != DEVICE_OK) {
        serve_class(c, FATE_LAUNCH, &e, json_pack("{s:s}", "arm", which ? "b" : "a"));
        return;
    }
    serve_answer_take(json_pack("{s:s,s:[b,b],s:[b,b],s:[i,i]}", "fate", "OK", "steady", (int)steady[0], (int)steady[1],
                                "same", (int)same[0], (int)same[1], "k", bench_arm_k(arm[0]->arm),
                                bench_arm_k(arm[1]->arm)));
}

/* ---- main ---- */

static bool one_of(const char *op, const char *const *names)
{
    while (*names && strcmp(op, *names) != 0)
        names++;
    return *names != NULL;
}

static void handle(struct serve *s, const json_t *r)
{
    static const char *const met[] = {"warm", "letter", "health", "verify", NULL};
    const char *op = json_string_value(json_object_get(r, "op"));
    struct err e = {0};

    if (!op) op = "";
    if (strcmp(op, "targets") == 0)
        do_targets();
    else if (strcmp(op, "arch") == 0)
        do_arch(r);
    else if (strcmp(op, "compile") == 0)
        do_compile(s, r);
    else if (strcmp(op, "open") == 0)
        do_open(s, r);
    else if (strcmp(op, "evaluate") == 0 && s->device)
        do_evaluate(s, r);
    else if (strcmp(op, "session") == 0 && s->device)
        do_session(s, r);
    else if (strcmp(op, "draw") == 0 && s->device)
        serve_draw(s, r);
    else if (strcmp(op, "judge") == 0 && s->device)
        serve_judge(s, r);
    else if (strcmp(op, "oracle") == 0 && s->device)
        serve_oracle(s, r);
    else if (strcmp(op, "meet") == 0 && s->device)
        serve_meet(s, r);
    else if (s->met && one_of(op, met))
        serve_met(s, r, op);
    else {
        err_set(&e, ERR_BUG, "request '%s' is unknown, or came before 'open'", op);
        serve_answer_take(serve_error(&e));
    }
}

int serve_main(void)
{
    static struct serve s;
    struct wire_decoder d = {0};
    struct rlimit core = {0, 0};
    const char *supervisor;
    json_t *r;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    supervisor = getenv("FATUNE_SUPERVISOR");
    if (supervisor && getppid() != strtol(supervisor, NULL, 10)) _exit(0); /* it died before the line above */
    setrlimit(RLIMIT_CORE, &core);
    s.cache = getenv("FATUNE_CACHE");
    if (!s.cache) s.cache = ".";
    while (wire_receive(WIRE_FD, &d, &r, NULL) == 0 && r) {
        handle(&s, r);
        json_decref(r);
    }
    _exit(0); /* destructors of compilers and GPU libraries have crashed at exit before */
}
