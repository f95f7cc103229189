/* fatune devices and fatune doctor: what can be used here, what is missing, and how to get it. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "command.h"
#include "contestant.h"
#include "farm.h"
#include "fate.h"
#include "paths.h"
#include "store.h"
#include "target.h"
#include "version.h"
#include "wire.h"
#include "worker.h"

static json_t *list_json(const struct target *list, int n)
{
    json_t *out = json_array();

    for (int i = 0; i < n; i++) {
        char name[32];
        json_t *j = target_to_json(&list[i]);
        target_text(&list[i], name, sizeof name);
        json_object_set_new(j, "device", json_string(name));
        json_array_append_new(out, j);
    }
    return out;
}

static void print_target(const struct target *t)
{
    bool opencl = strcmp(t->language, "opencl") == 0;
    char name[32];

    target_text(t, name, sizeof name);
    printf("%-10s %s%s\n", name, t->name, t->is_host_cpu ? "  (the host's CPU)" : "");
    printf("           %s%s%s; driver %s\n", t->compiler, *t->arch ? ", builds for " : "", t->arch, t->driver_version);
    printf("           %lld %s, %lld %s, ", (long long)t->sms, opencl ? "compute units" : "multiprocessors",
           (long long)t->threads_block, opencl ? "work-items a group" : "threads a block");
    printf("%.0f KiB %s, %.1f MiB L2, %.1f GiB memory\n", (double)t->smem_block_bytes / 1024,
           opencl ? "local a group" : "shared a block", (double)t->l2_bytes / 1048576,
           (double)t->memory_bytes / 1073741824);
}

static int exec_devices(const struct command *self, int argc, char **argv)
{
    struct target *list = calloc(TARGET_MAX, sizeof *list);
    struct command_operands operands;
    struct err e = {0};
    struct buf note = {0};
    bool json = false;
    int n, rc;
    const struct command_option options[] = {{"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
                                             {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 0, 0, &operands, &e);
    n = rc == 0 ? target_list(list, &note, &e) : -1;
    if (rc > 0) {
        rc = 0;
    } else if (n < 0) {
        rc = command_fail(&e, json);
    } else if (json) {
        rc = command_print_json(json_pack("{s:o,s:s}", "devices", list_json(list, n), "note", buf_text(&note)));
    } else {
        for (int i = 0; i < n; i++)
            print_target(&list[i]);
        if (n == 0) printf("no device was found; `fatune doctor` says more\n");
        if (note.n) printf("\n%s%s", buf_text(&note), note.p[note.n - 1] == '\n' ? "" : "\n");
        rc = 0;
    }
    free(list);
    buf_free(&note);
    return rc;
}

const struct command cmd_devices = {
    "devices", "", "what can be used here",
    "Lists the devices of all drivers in the order of --device auto, and what is missing. A child process asks, so\n"
    "a broken driver cannot take fatune along.",
    exec_devices};

/* ---- doctor ---- */

struct report {
    json_t *rows;
    int problems;
    bool print;
};

static void row(struct report *r, bool good, const char *what, const char *text)
{
    json_array_append_new(r->rows, json_pack("{s:b,s:s,s:s}", "ok", (int)good, "what", what, "text", text));
    if (!good) r->problems++;
    if (r->print) printf("%-5s %-10s %s\n", good ? "ok" : "LOOK", what, text);
}

/* "; name value, name value" */
static void facts_text(const json_t *facts, struct buf *out)
{
    const char *name, *comma = "; ";
    json_t *x;

    json_object_foreach((json_t *)(uintptr_t)facts, name, x)
    {
        char *dump = json_dumps(x, JSON_ENCODE_ANY | JSON_REAL_PRECISION(4));
        buf_printf(out, "%s%s %s", comma, name, json_is_string(x) ? json_string_value(x) : dump ? dump : "?");
        free(dump);
        comma = ", ";
    }
}

static int forget(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* Has an empty kernel compiled for the device as candidates are, and loads it there: a compiler that is missing, does not know the device, or
 * makes what its driver does not take shows here. */
static void visit_compiler(struct report *r, struct worker_loop *l, struct worker *w, const struct target *t,
                           const char *name, const char *cache)
{
    bool opencl = strcmp(t->language, "opencl") == 0;
    struct rendered empty = {.launch = {.entry = "look", .grid = {1, 1, 1}, .block = {1, 1, 1}}};
    struct farm_job job = {0};
    struct farm *farm = NULL;
    struct err e = {0};
    json_t *reply = NULL, *kernel;
    const char *fate;
    char text[512];

    buf_puts(&empty.source, opencl ? "__kernel void look() {}\n" : "extern \"C\" __global__ void look() {}\n");
    if (farm_open(&farm, l, t, cache, 1, worker_deadline(FARM_DEADLINE_S), &e) != 0 ||
        farm_submit(farm, &job, &empty, &e) != 0 || farm_wait(farm, &job, &e) != 0) {
        row(r, false, name, e.text);
    } else if (job.fate != FATE_OK) {
        snprintf(text, sizeof text, "its compiler (%.60s) fails on an empty kernel, %s: %.300s", t->compiler,
                 fate_name(job.fate), job.log ? job.log : "");
        row(r, false, name, text);
    } else {
        kernel = json_pack("{s:s,s:o}", "key", job.key, "launch", launch_to_json(&empty.launch));
        worker_call_take(w, json_pack("{s:s,s:o}", "op", "evaluate", "kernel", kernel), worker_deadline(30), NULL, NULL,
                         &reply);
        fate = json_string_value(json_object_get(reply, "fate"));
        if (fate && strcmp(fate, "OK") == 0)
            snprintf(text, sizeof text, "%.80s compiles for it, and it takes the code", t->compiler);
        else
            snprintf(
                text, sizeof text,
                "it does not take what %.80s makes: %.250s; install a compiler that is no newer than the driver, or "
                "update the driver",
                t->compiler, fate ? json_string_value(json_object_get(reply, "text")) : worker_words(w));
        row(r, fate && strcmp(fate, "OK") == 0, name, text);
    }
    json_decref(reply);
    farm_close(farm);
    farm_job_free(&job);
    buf_free(&empty.source);
}

/* Opens the device in a worker, canary included, reads what the driver says of its state, and has something compiled for it. */
static void visit(struct report *r, const struct target *t)
{
    struct worker_loop *l = NULL;
    struct worker *w;
    struct err e = {0};
    json_t *reply = NULL, *one;
    const char *error, *tmp = getenv("TMPDIR");
    const json_t *facts;
    char name[32], text[512], cache[4096];
    enum worker_outcome outcome;
    size_t i;

    target_text(t, name, sizeof name);
    snprintf(cache, sizeof cache, "%s/fatune-doctor-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(cache)) {
        snprintf(text, sizeof text, "cannot make a folder below %.300s: %s; set TMPDIR", cache, strerror(errno));
        row(r, false, name, text);
        return;
    }
    if (worker_loop_open(&l, &e) != 0 || worker_spawn(l, cache, &w, &e) != 0) {
        row(r, false, name, e.text);
        goto out;
    }
    outcome = worker_call_take(w, json_pack("{s:s,s:o,s:b}", "op", "open", "target", target_to_json(t), "look", 1),
                               4 * worker_deadline(7.5), NULL, NULL, &reply);
    error = wire_error(reply);
    facts = json_object_get(reply, "environment");
    if (outcome != WORKER_REPLY || error) {
        snprintf(text, sizeof text, "%s: opening it failed: %.300s", t->name, error ? error : worker_words(w));
        row(r, false, name, text);
    } else {
        struct buf state = {0};
        facts_text(facts, &state);
        snprintf(text, sizeof text, "%.100s opens and its canary kernel is right%.350s", t->name, buf_text(&state));
        buf_free(&state);
        row(r, true, name, text);
        json_array_foreach(json_object_get(reply, "complaints"), i, one) row(r, false, name, json_string_value(one));
        visit_compiler(r, l, w, t, name, cache);
    }
    json_decref(reply);
out:
    worker_loop_close(l);
    nftw(cache, forget, 8, FTW_DEPTH | FTW_PHYS);
}

static void visit_mps(struct report *r)
{
    const char *dir = getenv("CUDA_MPS_PIPE_DIRECTORY");

    if (access(dir ? dir : "/tmp/nvidia-mps", F_OK) == 0)
        row(r, false, "mps",
            "an MPS control folder exists: one client's fault hits all clients of that GPU; stop MPS before measuring");
}

static void visit_store(struct report *r, const char *path)
{
    struct err e = {0};
    struct store *s = NULL;
    struct statvfs fs;
    char folder[4096], text[4200];
    const char *slash = strrchr(path, '/');

    if (access(path, F_OK) != 0) {
        snprintf(text, sizeof text, "no store at %s yet; `fatune run` makes it", path);
        row(r, true, "store", text);
    } else if (store_open(&s, path, STORE_READ, &e) != 0) {
        row(r, false, "store", e.text);
    } else {
        snprintf(text, sizeof text, "%s opens and is sound", path);
        row(r, true, "store", text);
    }
    store_close(s);
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    if (statvfs(folder, &fs) != 0 && statvfs(".", &fs) != 0) return;
    double free_mb = (double)fs.f_bavail * (double)fs.f_frsize / 1e6;
    snprintf(text, sizeof text, "%.1f GB free for the store%s", free_mb / 1e3,
             free_mb < 500 ? ": a run may need 0.5 GB, make room" : "");
    row(r, free_mb >= 500, "disk", text);
}

static void visit_load(struct report *r, bool cpu_only)
{
    double load[1];
    char text[128];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (getloadavg(load, 1) != 1) return;
    snprintf(text, sizeof text, "load %.1f on %ld cores%s", load[0], cores,
             cpu_only && load[0] > 0.5 * (double)cores ? ": other work will disturb measurements on this CPU" : "");
    row(r, !(cpu_only && load[0] > 0.5 * (double)cores), "host", text);
}

/* Those that lie where names are looked for, all asked at once: each imports its packages, and touches no device. */
static void visit_contestants(struct report *r, const char *extra)
{
    struct contestant_program *list = NULL;
    struct contestant **c = NULL;
    struct worker_loop *l = NULL;
    struct paths dirs;
    struct err e = {0};
    char text[1024];
    int n = 0;

    paths_contestants(&dirs, NULL, extra);
    if (contestant_list(&list, &n, &dirs, &e) == 0 && n > 0 && worker_loop_open(&l, &e) == 0)
        c = calloc((size_t)n, sizeof(struct contestant *));
    for (int i = 0; i < n && c; i++)
        contestant_open(&c[i], l, &list[i], NULL, NULL, &e);
    for (int i = 0; i < n && c && c[i]; i++) {
        bool ready = contestant_wait(c[i]);
        snprintf(text, sizeof text, "%s: %s", list[i].name, ready ? contestant_version(c[i]) : contestant_why(c[i]));
        row(r, ready || strncmp(contestant_why(c[i]), "missing", 7) == 0, "contestant", text);
    }
    if (e.code != ERR_OK) row(r, false, "contestant", e.text);
    for (int i = 0; i < n; i++) {
        if (c) contestant_close(c[i]);
        contestant_program_free(&list[i]);
    }
    free(c);
    free(list);
    worker_loop_close(l);
}

static int exec_doctor(const struct command *self, int argc, char **argv)
{
    struct target *list = calloc(TARGET_MAX, sizeof *list);
    struct command_operands operands;
    struct err e = {0};
    struct buf note = {0};
    struct report r = {0};
    const char *store = NULL, *contestants = NULL;
    bool json = false, cpu_only = true, no_contestants = false;
    int n, rc;
    const struct command_option options[] = {
        {"contestants", OPTION_TEXT, &contestants, "DIR", "look for contestants here too"},
        {"no-contestants", OPTION_FLAG, &no_contestants, NULL, "ask no contestant for its hello"},
        {"store", OPTION_TEXT, &store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 0, 0, &operands, &e);
    if (rc != 0) {
        free(list);
        return rc > 0 ? 0 : command_fail(&e, json);
    }
    r.rows = json_array();
    r.print = !json;
    row(&r, true, "fatune", FATUNE_VERSION " (" FATUNE_COMMIT ")");
    n = target_list(list, &note, &e);
    if (n < 0) row(&r, false, "devices", e.text);
    for (int i = 0; i < n; i++) {
        visit(&r, &list[i]);
        cpu_only = cpu_only && list[i].is_host_cpu;
    }
    if (n == 0) row(&r, false, "devices", "no device was found");
    for (char *line = note.n ? note.p : NULL, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end) *end++ = '\0';
        row(&r, n > 0, "missing", line);
        if (!end) break;
    }
    visit_mps(&r);
    visit_store(&r, paths_store(store));
    visit_load(&r, cpu_only);
    if (!no_contestants) visit_contestants(&r, contestants);
    rc = r.problems ? err_exit_code(ERR_DEVICE) : 0;
    if (json)
        command_print_json(json_pack("{s:i,s:o}", "problems", r.problems, "rows", r.rows));
    else
        printf("%s\n", r.problems ? "look at the lines marked LOOK" : "nothing stands in the way of a run");
    if (!json) json_decref(r.rows);
    free(list);
    buf_free(&note);
    return rc;
}

const struct command cmd_doctor = {
    "doctor", "", "what is missing, and how to get it",
    "Opens every device with its canary kernel, compiles for it, says what would spoil times there (other processes, "
    "MPS, MIG, limits of power and clock), looks at the store, the disk and the host, asks every contestant for "
    "its "
    "hello, and says what to do about\n"
    "what is wrong. Exit code 4 when something stands in the way; a contestant whose package is missing does not.",
    exec_doctor};
