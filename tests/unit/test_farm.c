/* The compile queue against scripted workers: this program, started again with --worker, reads in the source what to do.
 * Lines "fail", "error", "hang", "nonsense", "leave" mean themselves; "crash FILE" crashes while FILE has fewer than two
 * lines, adding one; "crash" always; "sleep MS" first takes its time; "spill STORES LOADS" and "static BYTES" say what the
 * compiler reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "farm.h"
#include "wire.h"

/* ---- the worker ---- */

static void answer_take(json_t *j)
{
    json_object_set_new(j, "done", json_true());
    if (wire_send(WIRE_FD, j, NULL) != 0) _exit(98);
    json_decref(j);
}

/* Whether this is one of the first `times` calls with this file. */
static bool first_times(const char *path, int times)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    struct stat st;
    bool first;

    if (fd < 0 || fstat(fd, &st) != 0) _exit(97);
    first = st.st_size < times;
    if (write(fd, "x", 1) != 1) _exit(96);
    close(fd);
    return first;
}

static void compile(const char *cache, const json_t *r)
{
    const char *key = json_string_value(json_object_get(r, "key"));
    struct device_binary b = {.code_digest = "c0de", .res = {.registers = 7}};
    struct buf source = {0};
    struct err e = {0};
    char path[200];
    int ms, times;

    if (!key || cache_source(cache, key, &source, &e) != 0) _exit(95);
    const char *text = buf_text(&source);
    if (sscanf(text, "sleep %d", &ms) == 1) usleep((useconds_t)ms * 1000);
    if (strncmp(text, "hang", 4) == 0) sleep(60);
    if (strcmp(text, "crash") == 0) abort();
    if (sscanf(text, "crash %d %199s", &times, path) == 2 && first_times(path, times)) {
        (void)!write(STDERR_FILENO, "internal error", 14);
        kill(getpid(), SIGKILL);
    }
    sscanf(text, "spill %" SCNd64 " %" SCNd64, &b.res.spill_store_bytes, &b.res.spill_load_bytes);
    sscanf(text, "static %" SCNd64, &b.res.shared_static_bytes);
    if (strncmp(text, "count ", 6) == 0) first_times(text + 6, 0);
    if (strncmp(text, "nonsense", 8) == 0) {
        answer_take(json_pack("{s:s}", "fate", "GLORY"));
    } else if (strncmp(text, "error", 5) == 0) {
        answer_take(json_pack("{s:{s:i,s:s}}", "error", "code", ERR_DEVICE, "text", "no compiler here"));
    } else if (strncmp(text, "fail", 4) == 0) {
        answer_take(json_pack("{s:s,s:s,s:s,s:s}", "fate", "COMPILE", "text", "short", "code", "", "log",
                              "line 1: syntax error"));
    } else {
        buf_puts(&b.image, text);
        if (cache_put(cache, key, &b, &e) != 0) _exit(94);
        answer_take(json_pack("{s:s,s:s,s:s,s:o,s:s}", "fate", "OK", "text", "", "code", b.code_digest, "resources",
                              device_resources_to_json(&b.res), "log", ""));
    }
    if (strncmp(text, "leave", 5) == 0) _exit(0);
    device_binary_free(&b);
    buf_free(&source);
}

static int worker_main(void)
{
    struct wire_decoder d = {0};
    const char *cache = getenv("FATUNE_CACHE");
    json_t *r;

    if (!cache) return 93;
    while (wire_receive(WIRE_FD, &d, &r, NULL) == 0 && r) {
        compile(cache, r);
        json_decref(r);
    }
    _exit(0);
}

/* ---- the queue ---- */

static char folder[] = "/tmp/test_farm.XXXXXX";
static char cache_dir[64];

struct scene {
    struct worker_loop *loop;
    struct farm *farm;
};

static struct scene open_scene(int jobs, double deadline_s)
{
    static const struct target target = {.driver = "fake", .compute_capability = 90, .arch = "sm_90"};
    struct scene s = {0};
    struct err e = {0};

    assert_int_equal(worker_loop_open(&s.loop, &e), 0);
    assert_int_equal(farm_open(&s.farm, s.loop, &target, cache_dir, jobs, deadline_s, &e), 0);
    return s;
}

static void close_scene(struct scene *s)
{
    farm_close(s->farm);
    worker_loop_close(s->loop);
    assert_true(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD); /* nobody is left */
}

static void submit_as(struct scene *s, struct farm_job *j, const char *source, bool again)
{
    static const char *const options[] = {"-O3", NULL};
    struct rendered r = {.launch = {.entry = "kernel"}, .options = options};
    struct err e = {0};

    *j = (struct farm_job){.again = again};
    buf_puts(&r.source, source);
    assert_int_equal(farm_submit(s->farm, j, &r, &e), 0);
    buf_free(&r.source);
}

static void submit(struct scene *s, struct farm_job *j, const char *source)
{
    submit_as(s, j, source, false);
}

static void wait_for(struct scene *s, struct farm_job *j)
{
    struct err e = {0};

    assert_int_equal(farm_wait(s->farm, j, &e), 0);
    assert_true(j->done);
}

static void hit_and_miss(void **state)
{
    struct scene s = open_scene(2, 20);
    struct farm_job j, again, failed;

    (void)state;
    submit(&s, &j, "good");
    assert_false(j.done);
    assert_int_equal(farm_pending(s.farm), 1);
    wait_for(&s, &j);
    assert_int_equal(j.fate, FATE_OK);
    assert_false(j.cached);
    assert_string_equal(j.code, "c0de");
    assert_null(j.log);
    assert_int_equal(json_integer_value(json_object_get(j.resources, "registers")), 7);
    assert_true(j.seconds > 0 && farm_seconds(s.farm) >= j.seconds);
    assert_int_equal(farm_compiled(s.farm), 1);

    submit(&s, &again, "good"); /* done at once */
    assert_true(again.done && again.cached && again.fate == FATE_OK);
    assert_string_equal(again.key, j.key);
    assert_string_equal(again.code, "c0de");
    assert_int_equal(json_integer_value(json_object_get(again.resources, "registers")), 7);
    assert_int_equal(farm_compiled(s.farm), 1);
    assert_int_equal(farm_pending(s.farm), 0);

    submit(&s, &failed, "fail");
    wait_for(&s, &failed);
    assert_int_equal(failed.fate, FATE_COMPILE);
    assert_string_equal(failed.log, "line 1: syntax error");
    farm_job_free(&failed);
    submit(&s, &failed, "fail"); /* a failure is not cached here */
    assert_false(failed.done);
    wait_for(&s, &failed);

    farm_job_free(&j);
    farm_job_free(&j);
    farm_job_free(&again);
    farm_job_free(&failed);
    close_scene(&s);
}

/* A second copy is compiled each time that it is asked for, and lies beside the first. */
static void compiled_again(void **state)
{
    struct scene s = open_scene(1, 20);
    struct farm_job first, twin;
    struct buf images[2] = {{0}};
    struct err e = {0};
    struct stat st;
    char path[120], text[160];

    (void)state;
    snprintf(path, sizeof path, "%s/compilations", folder);
    snprintf(text, sizeof text, "count %s", path); /* a byte for each */
    submit(&s, &first, text);
    wait_for(&s, &first);
    for (int i = 2; i <= 3; i++) {
        submit_as(&s, &twin, text, true);
        assert_false(twin.done);
        wait_for(&s, &twin);
        assert_true(twin.fate == FATE_OK && !twin.cached);
        assert_string_not_equal(twin.key, first.key);
        assert_string_equal(twin.code, first.code);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, i);
        assert_int_equal(cache_image(cache_dir, first.key, &images[0], &e), 0);
        assert_int_equal(cache_image(cache_dir, twin.key, &images[1], &e), 0);
        assert_true(images[0].n == images[1].n && memcmp(images[0].p, images[1].p, images[0].n) == 0);
        buf_free(&images[0]);
        buf_free(&images[1]);
        farm_job_free(&twin);
    }
    assert_int_equal(farm_compiled(s.farm), 1);
    farm_job_free(&first);
    submit(&s, &first, text);
    assert_true(first.cached);
    farm_job_free(&first);
    close_scene(&s);
}

/* A kernel that compiles, against what its manifest expects and what a block of the target has; from the cache as well. */
static void limits(void **state)
{
    static const struct target target = {
        .driver = "fake", .compute_capability = 90, .smem_block_bytes = 1000, .regs_block = 2048};
    static const struct {
        const char *source;
        int64_t spills, shared, threads;
        const char *says; /* NULL: it passes */
    } cases[] = {{"spill 16 24", 0, 0, 32, "24 bytes of registers are spilled, and the manifest expects at most 0;"},
                 {"spill 24 16", 16, 0, 32, "24 bytes of registers are spilled, and the manifest expects at most 16;"},
                 {"spill 24 24", 24, 0, 32, NULL},
                 {"static 600", 0, 401, 32, "1001 bytes of shared memory, and a block has at most 1000"},
                 {"static 600", 0, 400, 32, NULL},
                 {"seven registers", 0, 0, 256, NULL}, /* eight are handed out */
                 {"seven registers", 0, 0, 257, "257 threads need 2304 registers, and a block has at most 2048"}};
    struct scene s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(worker_loop_open(&s.loop, &e), 0);
    assert_int_equal(farm_open(&s.farm, s.loop, &target, cache_dir, 1, 20, &e), 0);
    assert_int_equal(farm_jobs(s.farm), 1);
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        size_t k = i / 2;
        struct rendered r = {
            .launch = {.entry = "limits", .shared_bytes = cases[k].shared, .block = {cases[k].threads, 1, 1}},
            .spills = cases[k].spills};
        struct farm_job j = {0};
        buf_puts(&r.source, cases[k].source);
        assert_int_equal(farm_submit(s.farm, &j, &r, &e), 0);
        wait_for(&s, &j);
        assert_true(j.cached || i % 2 == 0);
        assert_int_equal(j.fate, cases[k].says ? FATE_LIMITS : FATE_OK);
        if (cases[k].says && strncmp(j.log, cases[k].says, strlen(cases[k].says)) != 0) fail_msg("%s", j.log);
        assert_string_equal(j.code, "c0de");
        farm_job_free(&j);
        buf_free(&r.source);
    }
    close_scene(&s);
}

/* Code and launch, each, make another kernel; unknown code is none. */
static void identities(void **state)
{
    struct farm_job j = {.code = "c0de"};
    struct launch l = {.entry = "k", .grid = {1, 1, 1}, .block = {32, 1, 1}, .nargs = 1, .args = {ARG_O}};
    char first[DIGEST_HEX], other[DIGEST_HEX];

    (void)state;
    farm_identity(first, &j, &l);
    assert_int_equal(strlen(first), 64);
    l.maps[0] = (struct tensor_map){.columns = 64, .rows = 8, .planes = 1, .box_columns = 64, .box_rows = 8};
    farm_identity(other, &j, &l);
    assert_string_not_equal(first, other);
    l.maps[0].swizzle_bytes = 128;
    farm_identity(first, &j, &l);
    assert_string_not_equal(first, other);
    snprintf(j.code, sizeof j.code, "c0d3");
    farm_identity(other, &j, &l);
    assert_string_not_equal(first, other);
    j.code[0] = '\0';
    farm_identity(other, &j, &l);
    assert_string_equal(other, "");
}

static void crashes(void **state)
{
    struct scene s = open_scene(1, 20);
    struct farm_job once, twice, after;
    char text[200];

    (void)state;
    snprintf(text, sizeof text, "crash 1 %s/once", folder);
    submit(&s, &once, text);
    snprintf(text, sizeof text, "crash 2 %s/twice", folder);
    submit(&s, &twice, text);
    submit(&s, &after, "after the crashes");
    wait_for(&s, &once); /* the second try succeeds */
    assert_int_equal(once.fate, FATE_OK);
    wait_for(&s, &twice);
    assert_int_equal(twice.fate, FATE_COMPILE_CRASH);
    assert_non_null(strstr(twice.log, "internal error"));
    assert_non_null(strstr(twice.log, "signal 9"));
    wait_for(&s, &after); /* and the queue goes on */
    assert_int_equal(after.fate, FATE_OK);
    assert_int_equal(farm_compiled(s.farm), 3);
    farm_job_free(&once);
    farm_job_free(&twice);
    farm_job_free(&after);
    close_scene(&s);
}

static void hangs(void **state)
{
    struct scene s = open_scene(1, 0.4);
    struct farm_job j, after;
    double start = worker_now();

    (void)state;
    submit(&s, &j, "hang");
    submit(&s, &after, "after the hang");
    wait_for(&s, &j);
    assert_int_equal(j.fate, FATE_COMPILE_TIMEOUT);
    assert_true(worker_now() - start >= 0.4 && worker_now() - start < 3); /* one try alone */
    wait_for(&s, &after);
    assert_int_equal(after.fate, FATE_OK);
    farm_job_free(&j);
    farm_job_free(&after);
    close_scene(&s);
}

/* More jobs than workers, with crashes and departures between them: each is done exactly once. (Crashes come first: a job that
 * meets a worker on its way out has used up one of its two tries.) */
static void many(void **state)
{
    enum { N = 40 };
    struct scene s = open_scene(3, 20);
    struct farm_job jobs[N];
    char text[200];

    (void)state;
    for (int i = 0; i < N; i++) {
        if (i % 10 == 3)
            snprintf(text, sizeof text, "fail %d", i);
        else if (i < 20 && i % 10 == 5)
            snprintf(text, sizeof text, "crash 1 %s/many%d", folder, i);
        else if (i > 20 && i % 10 == 7)
            snprintf(text, sizeof text, "leave %d", i);
        else
            snprintf(text, sizeof text, "job %d", i);
        submit(&s, &jobs[i], text);
    }
    assert_int_equal(farm_pending(s.farm), N);
    for (int i = N - 1; i >= 0; i--) {
        wait_for(&s, &jobs[i]);
        assert_int_equal(jobs[i].fate, i % 10 == 3 ? FATE_COMPILE : FATE_OK);
    }
    assert_int_equal(farm_compiled(s.farm), N);
    assert_int_equal(farm_pending(s.farm), 0);
    for (int i = 0; i < N; i++)
        farm_job_free(&jobs[i]);
    close_scene(&s);
}

/* At most `jobs` at once, and not one after the other either. */
static void side_by_side(void **state)
{
    struct scene s = open_scene(4, 20);
    struct farm_job jobs[8];
    char text[64];
    double start = worker_now(), took;

    (void)state;
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof text, "sleep 300 side %d", i);
        submit(&s, &jobs[i], text);
    }
    for (int i = 0; i < 8; i++)
        wait_for(&s, &jobs[i]);
    took = worker_now() - start;
    assert_true(took >= 0.6 && took < 2.3);
    for (int i = 0; i < 8; i++)
        farm_job_free(&jobs[i]);
    close_scene(&s);
}

static void close_in_flight(void **state)
{
    struct scene s = open_scene(2, 60);
    struct farm_job jobs[5];
    char text[64];
    double start;

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "hang %d", i);
        submit(&s, &jobs[i], text);
    }
    worker_pump(s.loop, 0.1);
    assert_int_equal(farm_pending(s.farm), 5);
    start = worker_now();
    close_scene(&s);
    assert_true(worker_now() - start < 3);
    for (int i = 0; i < 5; i++) {
        assert_false(jobs[i].done);
        farm_job_free(&jobs[i]);
    }
    farm_close(NULL);
}

static void cancel(void **state)
{
    struct scene s = open_scene(1, 20);
    struct farm_job jobs[4], after;
    struct err e = {0};
    char text[64];

    (void)state;
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "sleep 200 cancel %d", i);
        submit(&s, &jobs[i], text);
    }
    assert_int_equal(farm_cancel(s.farm, &e), 0);
    assert_int_equal(farm_pending(s.farm), 0);
    assert_true(jobs[0].done && jobs[0].fate == FATE_OK); /* it was running */
    for (int i = 0; i < 4; i++) {
        if (i > 0) assert_false(jobs[i].done);
        farm_job_free(&jobs[i]);
        memset(&jobs[i], 0xa5, sizeof jobs[i]); /* nobody looks at it again */
    }
    submit(&s, &after, "after the cancel");
    wait_for(&s, &after);
    assert_int_equal(after.fate, FATE_OK);
    farm_job_free(&after);
    close_scene(&s);
}

/* A fault of the machine ends everything, and says so to whoever waits. */
static void machine(void **state)
{
    static const char *const sources[] = {"error 1", "nonsense 1"}, *const words[] = {"no compiler here", "no sense"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct scene s = open_scene(1, 20);
        struct farm_job bad, waiting;
        struct err e = {0};
        submit(&s, &bad, sources[i]);
        submit(&s, &waiting, "never compiled");
        assert_int_equal(farm_check(s.farm, &e), 0);
        assert_int_equal(farm_wait(s.farm, &waiting, &e), -1);
        assert_int_equal(e.code, ERR_DEVICE);
        assert_non_null(strstr(e.text, words[i]));
        assert_int_equal(farm_check(s.farm, NULL), -1);
        farm_job_free(&bad);
        farm_job_free(&waiting);
        close_scene(&s);
    }
}

static void unwritable(void **state)
{
    struct scene s = {0};
    struct rendered r = {.launch = {.entry = "kernel"}};
    struct farm_job j = {0};
    struct err e = {0};
    static const struct target target = {.driver = "fake"};

    (void)state;
    assert_int_equal(worker_loop_open(&s.loop, &e), 0);
    assert_int_equal(farm_open(&s.farm, s.loop, &target, "/proc/version/cache", 1, 5, &e), 0);
    buf_puts(&r.source, "source");
    assert_int_equal(farm_submit(s.farm, &j, &r, &e), -1);
    assert_int_equal(e.code, ERR_STORE);
    buf_free(&r.source);
    farm_job_free(&j);
    close_scene(&s);
}

static void interrupt(void **state)
{
    struct scene s = open_scene(1, 60);
    struct farm_job j;
    struct err e = {0};

    (void)state;
    submit(&s, &j, "hang for the signal");
    raise(SIGTERM);
    assert_int_equal(farm_wait(s.farm, &j, &e), -1);
    assert_int_equal(e.code, ERR_INTERRUPTED);
    close_scene(&s);
    farm_job_free(&j);
}

static int make(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(cache_dir, sizeof cache_dir, "%s/cache", folder);
    return 0;
}

static int clean(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hit_and_miss), cmocka_unit_test(compiled_again), cmocka_unit_test(limits),
        cmocka_unit_test(identities),   cmocka_unit_test(crashes),        cmocka_unit_test(hangs),
        cmocka_unit_test(many),         cmocka_unit_test(side_by_side),   cmocka_unit_test(close_in_flight),
        cmocka_unit_test(cancel),       cmocka_unit_test(machine),        cmocka_unit_test(unwritable),
        cmocka_unit_test(interrupt),
    };

    if (argc == 2 && strcmp(argv[1], "--worker") == 0) return worker_main();
    return cmocka_run_group_tests(tests, make, clean);
}
