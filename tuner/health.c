/* One open monitor has one of three sources: NVML for a device that it knows, the host's /sys and /proc for a device that is the
 * host's CPU, or none. Each quantity that a source does not give stays unknown (-1 in a reading, absent in the
 * environment).
 *
 * Other processes: NVML lists process ids of the initial namespace. There, every id but ours (our supervisor's family) counts. Elsewhere (a
 * container) ids may be hidden or foreign, so the list is believed only when our own id is on it. */
#include "health.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "buf.h"
#include "cuda_nvml.h"

enum source { SOURCE_NONE, SOURCE_NVML, SOURCE_HOST };
enum { PROCESSES_MAX = 128, GENERATIONS_MAX = 64 };

struct health {
    enum source source;
    struct cuda_nvml nvml;
    cuda_nvml_device device; /* what was asked for, maybe a MIG slice */
    cuda_nvml_device board;  /* the whole device: clocks and power belong to it */
    bool initial_namespace;
    double load_average; /* of the host when opened; -1 unknown */
};

/* ---- host ---- */

/* The first "model name" of /proc/cpuinfo; false when there is none. */
static bool cpu_model(char *out, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[512];
    bool found = false;
    if (!f) return false;
    while (!found && fgets(line, sizeof line, f)) {
        const char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (!value) continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
        found = true;
    }
    fclose(f);
    return found;
}

static bool first_line(char *out, size_t size, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool ok = fgets(out, (int)size, f) != NULL;
    fclose(f);
    if (ok) out[strcspn(out, "\n")] = '\0';
    return ok;
}

/* ---- open ---- */

/* The kernel gives the initial process-id namespace a fixed number (PROC_PID_INIT_INO). */
static bool in_initial_namespace(void)
{
    char link[64];
    ssize_t n = readlink("/proc/self/ns/pid", link, sizeof link - 1);
    if (n <= 0) return false;
    link[n] = '\0';
    return strcmp(link, "pid:[4026531836]") == 0;
}

static bool open_nvml(struct health *h, const struct target *t, struct buf *note)
{
    if (!cuda_nvml_open(&h->nvml, note)) return false;
    int rc = -1;
    if (t->uuid[0]) {
        if (h->nvml.by_uuid) rc = h->nvml.by_uuid(t->uuid, &h->device);
    } else if (h->nvml.by_index && t->index >= 0)
        rc = h->nvml.by_index((unsigned)t->index, &h->device);
    if (rc != CUDA_NVML_OK) {
        if (note)
            buf_printf(
                note,
                "clocks, power and temperature of %s are unknown: NVML does not know the device (nvmlReturn_t %d)\n",
                t->uuid[0] ? t->uuid : t->name, rc);
        cuda_nvml_close(&h->nvml);
        return false;
    }
    h->board = h->device;
    cuda_nvml_device parent;
    if (strncmp(t->uuid, "MIG-", 4) == 0 && h->nvml.parent && h->nvml.parent(h->device, &parent) == CUDA_NVML_OK)
        h->board = parent;
    return true;
}

struct health *health_open(const struct target *t, struct buf *note)
{
    struct health *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    double load;
    h->load_average = getloadavg(&load, 1) == 1 ? load : -1;
    h->initial_namespace = in_initial_namespace();
    if (t->is_host_cpu)
        h->source = strcmp(t->driver, "fake") != 0 ? SOURCE_HOST : SOURCE_NONE;
    else if (t->uuid[0] || strcmp(t->driver, "cuda") == 0)
        h->source = open_nvml(h, t, note) ? SOURCE_NVML : SOURCE_NONE;
    else if (note)
        buf_printf(note, "clocks, power and temperature of %s are unknown: no monitor for driver '%s'\n", t->name,
                   t->driver);
    return h;
}

void health_close(struct health *h)
{
    if (!h) return;
    if (h->source == SOURCE_NVML) cuda_nvml_close(&h->nvml);
    free(h);
}

/* ---- readings ---- */

/* v points to where the call that gave rc has written: an argument beside the call would be read before it. */
static int number(int rc, const unsigned *v)
{
    return rc == CUDA_NVML_OK && *v <= INT_MAX ? (int)*v : -1;
}

/* The parent's id, 0 when there is none to be read. */
static long parent_of(long pid)
{
    char path[64], text[512], *name;
    FILE *f;
    size_t n;
    long parent;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    f = fopen(path, "re");
    if (!f) return 0;
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    name = strrchr(text, ')'); /* the program's name before it may hold anything */
    return name && sscanf(name, ") %*c %ld", &parent) == 1 ? parent : 0;
}

bool health_is_ours(long pid)
{
    const char *text = getenv("FATUNE_SUPERVISOR");
    long supervisor = text ? strtol(text, NULL, 10) : 0;

    if (pid == (long)getpid()) return true;
    for (int i = 0; i < GENERATIONS_MAX && pid > 1; i++) {
        if (pid == supervisor) return true;
        pid = parent_of(pid);
    }
    return false;
}

static int other_processes(const struct health *h)
{
    /* Room beyond what is announced, should a driver write longer records than this layout's. */
    struct cuda_nvml_process list[2 * PROCESSES_MAX];
    unsigned n = PROCESSES_MAX, own = (unsigned)getpid();
    if (!h->nvml.processes) return -1;
    int rc = h->nvml.processes(h->device, &n, list);
    if (rc == CUDA_NVML_MORE) return h->initial_namespace ? PROCESSES_MAX : -1; /* at least so many */
    if (rc != CUDA_NVML_OK || n > PROCESSES_MAX) return -1;
    bool seen = false;
    for (unsigned i = 0; i < n; i++)
        seen = seen || list[i].pid == own;
    if (!seen && !h->initial_namespace) return -1;
    int others = 0;
    for (unsigned i = 0; i < n; i++)
        others += !health_is_ours((long)list[i].pid);
    return others;
}

static int64_t throttle(const struct health *h)
{
    unsigned long long reasons = 0;
    int rc = -1;
    if (h->nvml.reasons) rc = h->nvml.reasons(h->board, &reasons);
    if (rc != CUDA_NVML_OK && h->nvml.reasons_old) rc = h->nvml.reasons_old(h->board, &reasons);
    return rc == CUDA_NVML_OK ? (int64_t)(reasons & 0x7fffffffffffffffULL) : -1;
}

void health_read(struct health *h, struct health_reading *out)
{
    *out = (struct health_reading){-1, -1, -1, -1, -1, -1};
    if (h->source != SOURCE_NVML) return;
    const struct cuda_nvml *m = &h->nvml;
    unsigned v = 0;
    if (m->clock) out->sm_mhz = number(m->clock(h->board, CUDA_NVML_CLOCK_SM, &v), &v);
    if (m->clock) out->mem_mhz = number(m->clock(h->board, CUDA_NVML_CLOCK_MEM, &v), &v);
    if (m->temperature) out->temperature_c = number(m->temperature(h->board, 0, &v), &v);
    if (m->power) out->power_mw = number(m->power(h->board, &v), &v);
    out->throttle = throttle(h);
    out->other_processes = other_processes(h);
}

json_t *health_to_json(const struct health_reading *r)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:I, s:i}", "sm_mhz", r->sm_mhz, "mem_mhz", r->mem_mhz, "temperature_c",
                     r->temperature_c, "power_mw", r->power_mw, "throttle", (json_int_t)r->throttle, "other_processes",
                     r->other_processes);
}

static int member(const json_t *j, const char *name)
{
    const json_t *x = json_object_get(j, name);

    return json_is_integer(x) && json_integer_value(x) >= 0 && json_integer_value(x) <= INT_MAX
               ? (int)json_integer_value(x)
               : -1;
}

void health_from_json(struct health_reading *r, const json_t *j)
{
    const json_t *throttle = json_object_get(j, "throttle");

    *r = (struct health_reading){.sm_mhz = member(j, "sm_mhz"),
                                 .mem_mhz = member(j, "mem_mhz"),
                                 .temperature_c = member(j, "temperature_c"),
                                 .power_mw = member(j, "power_mw"),
                                 .throttle = json_is_integer(throttle) ? json_integer_value(throttle) : -1,
                                 .other_processes = member(j, "other_processes")};
}

/* ---- changes ---- */

#define CLOCK_STEP 0.01
#define PAUSE_LEAST_S 0.05
#define PAUSE_MOST_S 0.5

void health_letter_clocks(const double *sample_mhz, int m, double letter_mhz[4])
{
    for (int letter = 0; letter < 4; letter++) {
        double sum = 0;
        int n = 0;
        for (int i = 0; i < m; i++) {
            if (!(sample_mhz[letter * m + i] > 0)) continue;
            sum += sample_mhz[letter * m + i];
            n++;
        }
        letter_mhz[letter] = n > 0 ? sum / n : 0;
    }
}

static bool steps(double mhz, double other)
{
    return mhz > 0 && other > 0 && fabs(mhz - other) > CLOCK_STEP * (mhz + other) / 2;
}

enum health_change health_changed(const struct health_reading *before, const struct health_reading *after,
                                  const double letter_mhz[4])
{
    const double none[4] = {0}, *l = letter_mhz != NULL ? letter_mhz : none;
    const bool outer = l[0] > 0 && l[3] > 0, inner = l[1] > 0 && l[2] > 0;
    if (before->throttle >= 0 && after->throttle >= 0 &&
        ((before->throttle ^ after->throttle) & HEALTH_THROTTLE_BITS) != 0)
        return HEALTH_THROTTLE;
    if (steps(l[0], l[3]) || steps(l[1], l[2])) return HEALTH_CLOCK;
    return !outer && !inner && steps(before->sm_mhz, after->sm_mhz) ? HEALTH_CLOCK : HEALTH_STEADY;
}

const char *health_change_name(enum health_change c)
{
    static const char *const names[] = {"steady", "clock", "throttle"};
    return names[c];
}

double health_pause_s(struct health_pause *p, enum health_change last, int quads)
{
    p->spoiled += last != HEALTH_STEADY;
    if (last == HEALTH_STEADY || p->spoiled > HEALTH_RARE * quads)
        p->s = 0;
    else
        p->s = fmin(fmax(PAUSE_LEAST_S, 2 * p->s), PAUSE_MOST_S);
    return p->s;
}

/* ---- environment ---- */

/* Both consume the value; a failure shows in *failed. */
static void put(json_t *j, const char *key, json_t *value, bool *failed)
{
    if (!value || json_object_set_new(j, key, value) != 0) *failed = true;
}

static void put_text(json_t *j, const char *key, const char *text, bool *failed)
{
    json_t *value = json_string(text);
    if (!value) value = json_string("(not UTF-8)");
    put(j, key, value, failed);
}

static void put_numbers(json_t *j, const struct health *h, bool *failed)
{
    const struct cuda_nvml *m = &h->nvml;
    unsigned v = 0, pending = 0;
    int on = 0, later = 0;
    if (m->max_clock && m->max_clock(h->board, CUDA_NVML_CLOCK_SM, &v) == CUDA_NVML_OK)
        put(j, "max_sm_mhz", json_integer(v), failed);
    if (m->max_clock && m->max_clock(h->board, CUDA_NVML_CLOCK_MEM, &v) == CUDA_NVML_OK)
        put(j, "max_mem_mhz", json_integer(v), failed);
    if (m->power_limit && m->power_limit(h->board, &v) == CUDA_NVML_OK)
        put(j, "power_limit_mw", json_integer(v), failed);
    if (m->power_default && m->power_default(h->board, &v) == CUDA_NVML_OK)
        put(j, "power_limit_default_mw", json_integer(v), failed);
    if (m->ecc && m->ecc(h->board, &on, &later) == CUDA_NVML_OK) put(j, "ecc", json_boolean(on), failed);
    if (m->mig && m->mig(h->board, &v, &pending) == CUDA_NVML_OK) put(j, "mig", json_boolean(v), failed);
    if (m->persistence && m->persistence(h->board, &on) == CUDA_NVML_OK)
        put(j, "persistence", json_boolean(on), failed);
    if (m->compute_mode && m->compute_mode(h->board, &on) == CUDA_NVML_OK) {
        static const char *const modes[] = {"default", "exclusive thread", "prohibited", "exclusive process"};
        if (on >= 0 && on < 4) put_text(j, "compute_mode", modes[on], failed);
    }
}

/* MPS shares the device between clients; its control daemon leaves a pipe folder. */
static void put_mps(json_t *j, const struct health *h, bool *failed)
{
    struct cuda_nvml_process list[2 * PROCESSES_MAX];
    unsigned n = PROCESSES_MAX;
    const char *dir = getenv("CUDA_MPS_PIPE_DIRECTORY");
    char path[4096];
    snprintf(path, sizeof path, "%s/control", dir && *dir ? dir : "/tmp/nvidia-mps");
    put(j, "mps_control", json_boolean(access(path, F_OK) == 0), failed);
    if (!h->nvml.mps_processes) return;
    int rc = h->nvml.mps_processes(h->board, &n, list);
    if (rc == CUDA_NVML_OK || rc == CUDA_NVML_MORE) put(j, "mps_clients", json_integer(n), failed);
}

/* ---- complaints ---- */

static void complain(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(json_t *list, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(list, json_string(text));
}

static void look_at_sharing(const struct health *h, const struct health_reading *now, json_t *list)
{
    struct cuda_nvml_process clients[2 * PROCESSES_MAX];
    unsigned on = 0, pending = 0, n = PROCESSES_MAX;

    if (h->nvml.mig && h->nvml.mig(h->board, &on, &pending) == CUDA_NVML_OK && on)
        complain(list, "MIG is on: times hold for this slice only; `nvidia-smi -mig 0` gives the whole device back");
    if (h->nvml.mps_processes && h->nvml.mps_processes(h->board, &n, clients) == CUDA_NVML_OK && n > 0)
        complain(list,
                 "%u clients of MPS are on it: they share its time, and a fault of one hits all; `echo quit | "
                 "nvidia-cuda-mps-control` ends MPS",
                 n);
    if (now->other_processes > 0)
        complain(
            list,
            "%d other processes compute on it: a trial that meets one is INVALID; `nvidia-smi` names them, end them "
            "or wait",
            now->other_processes);
}

static void look_at_clocks(const struct health *h, const struct health_reading *now, json_t *list)
{
    enum { AT_LOAD = 0x4 }; /* the power cap is how attention works at full tilt; the others are faults of the moment */
    const struct cuda_nvml *m = &h->nvml;
    unsigned is = 0, usual = 0;
    struct buf reasons = {0};

    if (m->power_limit && m->power_default && m->power_limit(h->board, &is) == CUDA_NVML_OK &&
        m->power_default(h->board, &usual) == CUDA_NVML_OK && is < usual)
        complain(list,
                 "its power limit is %u W, by default %u W: it is slower than others of its kind; `nvidia-smi -pl %u` "
                 "sets the default",
                 is / 1000, usual / 1000, usual / 1000);
    if (m->app_clock && m->app_clock_default && m->app_clock(h->board, CUDA_NVML_CLOCK_SM, &is) == CUDA_NVML_OK &&
        m->app_clock_default(h->board, CUDA_NVML_CLOCK_SM, &usual) == CUDA_NVML_OK && is != usual)
        complain(list,
                 "its applications clock is set to %u MHz, by default %u MHz: times hold for that clock; `nvidia-smi "
                 "-rac` resets it",
                 is, usual);
#define NAME(bit, name)                                                                                                \
    if (now->throttle >= 0 && bit != AT_LOAD && (now->throttle & bit))                                                 \
        buf_printf(&reasons, "%s%s", reasons.n ? ", " : "", name);
    HEALTH_REASONS(NAME)
#undef NAME
    if (reasons.n)
        complain(list,
                 "its clock is held down now (%s): see to its cooling and power supply; `nvidia-smi -q -d PERFORMANCE` "
                 "says more",
                 buf_text(&reasons));
    buf_free(&reasons);
}

json_t *health_complaints(struct health *h)
{
    struct health_reading now;
    json_t *list = json_array();

    if (!list || h->source != SOURCE_NVML) return list;
    health_read(h, &now);
    look_at_sharing(h, &now, list);
    look_at_clocks(h, &now, list);
    return list;
}

/* ---- the record ---- */

static void put_nvml(json_t *j, const struct health *h, bool *failed)
{
    const struct cuda_nvml *m = &h->nvml;
    char text[128] = "";
    if (m->driver_version && m->driver_version(text, sizeof text) == CUDA_NVML_OK) put_text(j, "driver", text, failed);
    if (m->vbios && m->vbios(h->board, text, sizeof text) == CUDA_NVML_OK) put_text(j, "vbios", text, failed);
    put_numbers(j, h, failed);
    put_mps(j, h, failed);
    put(j, "sees_all_processes", json_boolean(h->initial_namespace), failed);
}

static void put_host(json_t *j, const struct health *h, bool *failed)
{
    char text[512];
    struct utsname system;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cpu_model(text, sizeof text)) put_text(j, "cpu", text, failed);
    if (cores > 0) put(j, "cores", json_integer(cores), failed);
    if (first_line(text, sizeof text, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
        put_text(j, "governor", text, failed);
    if (uname(&system) == 0) put_text(j, "kernel", system.release, failed);
    if (h->load_average >= 0) put(j, "load_average", json_real(h->load_average), failed);
}

json_t *health_environment(struct health *h)
{
    static const char *const names[] = {"none", "nvml", "host"};
    json_t *j = json_object();
    bool failed = false;
    if (!j) return NULL;
    put_text(j, "monitor", names[h->source], &failed);
    if (h->source == SOURCE_NVML) put_nvml(j, h, &failed);
    if (h->source == SOURCE_HOST) put_host(j, h, &failed);
    if (!failed) return j;
    json_decref(j);
    return NULL;
}
