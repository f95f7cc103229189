/* The table: a row of names that begins with "ID", a row of units, a row for each launch; fields in quotes. Lines that begin with == are the
 * tool's talk. Numbers may have commas between thousands. */
#include "profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "tool.h"
#include "tune.h"

#define MOST_FIELDS 4096
#define SKIPPED "2" /* launches: the check runs it more often than that before anything is timed */
#define STALL_BEGIN "smsp__average_warps_issue_stalled_"
#define STALL_END "_per_issue_active.ratio"

/* Metrics as ncu names them, with the unit of its table and the factor to ours. Where its sections once asked for another: that, too. */
static const struct {
    const char *name, *metric, *unit, *words;
    double factor;
    const char *older;
} metrics[PROFILE_METRIC_N] = {
    [PROFILE_TENSOR] = {"tensor_pct", "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active", "%",
                        "tensor cores active", 1},
    [PROFILE_SM_BUSY] = {"sm_busy_pct", "sm__instruction_throughput.avg.pct_of_peak_sustained_elapsed", "%", "SM busy",
                         1, "sm__instruction_throughput.avg.pct_of_peak_sustained_active"},
    [PROFILE_SM] = {"sm_pct", "sm__throughput.avg.pct_of_peak_sustained_elapsed", "%", "SM throughput", 1},
    [PROFILE_L1] = {"l1_pct", "l1tex__throughput.avg.pct_of_peak_sustained_active", "%", "L1 throughput", 1},
    [PROFILE_L2] = {"l2_pct", "lts__throughput.avg.pct_of_peak_sustained_elapsed", "%", "L2 throughput", 1},
    [PROFILE_DRAM] = {"dram_pct", "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed", "%", "DRAM throughput", 1},
    [PROFILE_DRAM_BYTES] = {"dram_bytes_s", "dram__bytes.sum.per_second", "byte/s", "DRAM bytes a second", 1},
    [PROFILE_OCCUPANCY_MOST] = {"occupancy_most_pct", "sm__maximum_warps_per_active_cycle_pct", "%",
                                "occupancy, theoretical", 1},
    [PROFILE_OCCUPANCY] = {"occupancy_pct", "sm__warps_active.avg.pct_of_peak_sustained_active", "%",
                           "occupancy, achieved", 1},
    [PROFILE_DURATION] = {"duration_us", "gpu__time_duration.sum", "ns", "duration of this launch", 1e-3},
};

/* Sections whose counters are read above, by identifier. A section leaves out what a GPU has not; naming the counters themselves would
 * make ncu refuse them all. */
static const char *const sections[] = {"SpeedOfLight", "ComputeWorkloadAnalysis", "MemoryWorkloadAnalysis", "Occupancy",
                                       "WarpStateStats"};

/* ---- the table ---- */

struct row {
    int n;
    char **field; /* into text */
    char *text;   /* owned */
};

static void row_free(struct row *r)
{
    free(r->field);
    free(r->text);
    *r = (struct row){0};
}

/* The fields of the n bytes at line: in quotes, a quote inside doubled, or bare. -1: a quote does not close. */
static int row_read(struct row *r, const char *line, size_t n)
{
    const char *end = line + n;
    char *to;

    *r = (struct row){.text = malloc(n + 1), .field = malloc(MOST_FIELDS * sizeof(char *))};
    if (!(to = r->text) || !r->field) return -1;
    while (line <= end && r->n < MOST_FIELDS) {
        const bool quoted = line < end && *line == '"';
        r->field[r->n++] = to;
        if (quoted) line++;
        while (line < end && (quoted || *line != ',')) {
            if (quoted && *line == '"' && !(line + 1 < end && line[1] == '"')) break;
            if (quoted && *line == '"') line++;
            *to++ = *line++;
        }
        if (quoted && (line >= end || *line++ != '"')) return -1;
        *to++ = '\0';
        if (line < end && *line != ',') return -1;
        line++;
    }
    return 0;
}

/* The next line of the table. 1: there is none; -1: it is cut off. */
static int next_row(const char **at, struct row *r)
{
    for (;;) {
        const char *line = *at;
        size_t n = strcspn(line, "\n");
        if (line[n] == '\0') return n == 0 ? 1 : -1;
        *at = line + n + 1;
        if (n > 0 && line[n - 1] == '\r') n--;
        if (n > 0 && *line == '"') return row_read(r, line, n);
    }
}

static int column(const struct row *names, const char *name)
{
    for (int i = 0; i < names->n; i++)
        if (strcmp(names->field[i], name) == 0) return i;
    return -1;
}

/* NAN: no number. */
static double number(const char *text)
{
    char plain[64], *end;
    size_t n = 0;
    double x;

    for (; *text && n < sizeof plain - 1; text++)
        if (*text != ',') plain[n++] = *text;
    plain[n] = '\0';
    x = strtod(plain, &end);
    return n > 0 && *end == '\0' && isfinite(x) ? x : (double)NAN;
}

/* ncu has changed how it writes units: nsecond is ns, byte/second is byte/s. */
static bool same_unit(const char *theirs, const char *ours)
{
    return strcmp(theirs, ours) == 0 || (strcmp(ours, "ns") == 0 && strcmp(theirs, "nsecond") == 0) ||
           (strcmp(ours, "byte/s") == 0 && strcmp(theirs, "byte/second") == 0);
}

static int most_first(const void *a, const void *b)
{
    double x = ((const struct profile_stall *)a)->warps, y = ((const struct profile_stall *)b)->warps;

    return (x < y) - (x > y);
}

/* A warp that issues is in the state "selected": that is no stall. */
static void read_stall(struct profile_result *out, const char *name, const char *value)
{
    size_t begin = strlen(STALL_BEGIN), n = strlen(name), end = strlen(STALL_END);
    struct profile_stall *s = &out->stall[out->nstalls];

    if (n <= begin + end || strncmp(name, STALL_BEGIN, begin) != 0 || strcmp(name + n - end, STALL_END) != 0) return;
    n -= begin + end;
    if (out->nstalls == PROFILE_STALLS || n >= sizeof s->reason || !isfinite(number(value))) return;
    memcpy(s->reason, name + begin, n);
    s->reason[n] = '\0';
    s->warps = number(value);
    if (strcmp(s->reason, "selected") != 0) out->nstalls++;
}

static void read_values(struct profile_result *out, const struct row *names, const struct row *units,
                        const struct row *values)
{
    for (int k = 0; k < PROFILE_METRIC_N; k++) {
        int i = column(names, metrics[k].metric);
        if (i < 0 && metrics[k].older && (i = column(names, metrics[k].older)) >= 0) out->metric[k] = metrics[k].older;
        if (i >= 0 && same_unit(units->field[i], metrics[k].unit))
            out->value[k] = metrics[k].factor * number(values->field[i]);
    }
    for (int i = 0; i < names->n; i++)
        read_stall(out, names->field[i], values->field[i]);
    qsort(out->stall, (size_t)out->nstalls, sizeof *out->stall, most_first);
}

static void say(struct profile_result *out, const char *words, const char *detail)
{
    if (*out->why == '\0') snprintf(out->why, sizeof out->why, words, detail);
}

static void read_table(struct profile_result *out, const char *log, const char *entry)
{
    struct row names = {0}, units = {0}, values = {0};
    size_t n = strlen(entry);
    int kernel;

    if (next_row(&log, &names) != 0 || (kernel = column(&names, "Kernel Name")) < 0)
        say(out, "%s", "its log has no table of counters");
    else if (next_row(&log, &units) != 0 || next_row(&log, &values) != 0 || units.n != names.n || values.n != names.n)
        say(out, "%s", "its table is cut off");
    else if (strncmp(values.field[kernel], entry, n) != 0 ||
             (values.field[kernel][n] && values.field[kernel][n] != '('))
        say(out, "the kernel was not seen: the table is of %s", values.field[kernel]);
    else
        read_values(out, &names, &units, &values);
    row_free(&names);
    row_free(&units);
    row_free(&values);
}

/* The first line in which the tool says that something went wrong; that the application failed too only where it says no more. */
static void find_error(const char *text, char *out, size_t size)
{
    static const char mark[] = "==ERROR==", echo[] = "The application returned an error code";

    for (const char *at = text; (at = strstr(at, mark));) {
        at += sizeof mark - 1;
        at += strspn(at, " ");
        if (*out && strncmp(at, echo, sizeof echo - 1) == 0) continue;
        snprintf(out, size, "%.*s", (int)strcspn(at, "\r\n"), at);
        if (strncmp(at, echo, sizeof echo - 1) != 0) return;
    }
}

void profile_read(struct profile_result *out, int code, const char *log, const char *words, const json_t *eval,
                  const char *entry, const char *binary)
{
    const char *fate = json_string_value(json_object_get(eval, "fate"));
    const char *made = json_string_value(json_object_get(eval, "binary"));
    char error[512] = "";
    struct buf all = {0};

    *out = (struct profile_result){.run = false};
    for (int k = 0; k < PROFILE_METRIC_N; k++) {
        out->metric[k] = metrics[k].metric;
        out->value[k] = (double)NAN;
    }
    buf_printf(&all, "%s\n%s", log, words);
    find_error(buf_text(&all), error, sizeof error);
    if (strstr(buf_text(&all), "ERR_NVGPUCTRPERM"))
        say(out, "%s",
            "the driver refuses performance counters to this user (ERR_NVGPUCTRPERM); an administrator allows them "
            "with "
            "the line `options nvidia NVreg_RestrictProfilingToAdminUsers=0` in a file of /etc/modprobe.d and a "
            "reboot, or "
            "for one container with --cap-add=SYS_ADMIN; root may use them as it is");
    else if (code == -1)
        say(out, "%s", "it took too long and was stopped; give it more --minutes");
    else if (*error)
        say(out, "it says: %s", error);
    else if (strstr(log, "No kernels were profiled"))
        say(out, "%s", "the kernel was not seen: no kernels were profiled");
    else if (!fate)
        say(out, "%s", "the kernel was not seen: `fatune eval` gave no answer under it");
    else if (strcmp(fate, "OK") != 0)
        say(out, "the kernel did not pass its check under it: %s", fate);
    else if (binary && strcmp(made ? made : "", binary) != 0)
        say(out, "%s", "the kernel was not seen: the templates or the compiler make other code of it today");
    else if (code != 0)
        say(out, "%s", "it did not end as a tool does that is through");
    else
        read_table(out, log, entry);
    out->run = *out->why == '\0';
    buf_free(&all);
}

json_t *profile_to_json(const struct profile_result *r)
{
    json_t *list = json_array(), *stalls = json_array();

    for (int k = 0; k < PROFILE_METRIC_N && r->run; k++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:o}", "name", metrics[k].name, "metric", r->metric[k],
                                              "words", metrics[k].words, "value",
                                              isfinite(r->value[k]) ? json_real(r->value[k]) : json_null()));
    for (int i = 0; i < r->nstalls; i++)
        json_array_append_new(stalls, json_pack("{s:s,s:f}", "reason", r->stall[i].reason, "warps", r->stall[i].warps));
    return json_pack("{s:s,s:s,s:o,s:o}", "outcome", r->run ? "run" : "not run", "why", r->why, "metrics", list,
                     "stalls", stalls);
}

/* ---- the tool ---- */

int profile_run(const struct profile_job *job, struct profile_result *out, struct err *e)
{
    const char *args[TOOL_ARGS] = {job->program,
                                   "--csv",
                                   "--page",
                                   "raw",
                                   "--print-units",
                                   "base",
                                   "--clock-control",
                                   "none",
                                   "--cache-control",
                                   job->cold ? "all" : "none",
                                   "--target-processes",
                                   "all",
                                   "--kernel-name",
                                   job->entry,
                                   "--launch-skip",
                                   SKIPPED,
                                   "--launch-count",
                                   "1"};
    char log[4200];
    struct tool_end end;
    int n = 0;

    snprintf(log, sizeof log, "--log-file=%s/ncu.log", job->folder);
    while (args[n])
        n++;
    args[n++] = log;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        args[n++] = "--section";
        args[n++] = sections[i];
    }
    if (tool_run(&(struct tool_job){args, job->eval, job->folder, "ncu", job->minutes}, &end, e) != 0) return -1;
    profile_read(out, end.code, buf_text(&end.log), end.words, end.eval, job->entry, job->binary);
    if (end.code == TOOL_MISSING)
        snprintf(
            out->why, sizeof out->why,
            "%s cannot be started; Nsight Compute comes with the CUDA toolkit (on Debian and Ubuntu NVIDIA's package "
            "cuda-nsight-compute), or --ncu FILE says where it is",
            job->program);
    else if (end.log.n == 0 && end.code != -1)
        snprintf(out->why, sizeof out->why, "%s wrote no log; %.480s", job->program, end.words);
    out->run = *out->why == '\0';
    tool_end_free(&end);
    return 0;
}

/* ---- the stored time ---- */

static const json_t *evaluation_of(const json_t *candidate, json_int_t run, const char *track)
{
    const json_t *list = json_object_get(candidate, "evaluations"), *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        const char *of = json_string_value(json_object_get(v, "track"));
        if (json_integer_value(json_object_get(v, "run")) == run && of && strcmp(of, track) == 0) return v;
    }
    return NULL;
}

static int read_letters(struct profile_time *out, struct store *s, const json_t *row, bool *found, struct err *e)
{
    const char *arm = json_string_value(json_object_get(row, "arm"));
    const json_t *letters, *median;
    json_t *arms = NULL;
    struct trial trial = {0};
    int rc;

    out->trial = json_integer_value(json_object_get(row, "id"));
    TRY(store_trial_get(s, out->trial, &trial, NULL, e));
    if (!(arms = tune_letters_json(&trial))) {
        rc = err_nomem(e);
        goto out;
    }
    letters = json_array_get(arms, arm && strcmp(arm, "b") == 0);
    median = json_object_get(letters, "median_us");
    *found = json_is_number(median);
    out->us = json_number_value(median);
    out->letters = (int)json_integer_value(json_object_get(letters, "letters"));
    out->low_us = out->high_us = (double)NAN;
    if (json_is_number(json_array_get(json_object_get(letters, "median_ci"), 0))) {
        out->low_us = json_number_value(json_array_get(json_object_get(letters, "median_ci"), 0));
        out->high_us = json_number_value(json_array_get(json_object_get(letters, "median_ci"), 1));
    }
out:
    trial_free(&trial);
    json_decref(arms);
    return rc;
}

int profile_time(struct profile_time *out, const char *store, const char *track, const char *name, bool *found,
                 struct err *e)
{
    struct store *s = NULL;
    struct store_version v = {0};
    json_t *candidate = NULL;
    const json_t *trials, *evaluation;
    int rc;

    *out = (struct profile_time){0};
    TRY(store_open(&s, store, STORE_READ, e));
    TRY(store_version_find(s, track, name, &v, found, e));
    if (!*found) TRY(store_version_unnamed(s, track, name, &v, found, e));
    if (*found) TRY(store_candidate_json(s, v.cand, &candidate, found, e));
    if (!*found) goto out;
    *found = false;
    snprintf(out->device, sizeof out->device, "%s", v.device);
    trials = json_object_get(candidate, "trials");
    for (size_t i = json_array_size(trials); i > 0 && !*found; i--) {
        const json_t *row = json_array_get(trials, i - 1);
        evaluation = evaluation_of(candidate, json_integer_value(json_object_get(row, "run")), v.track);
        if (!evaluation || json_integer_value(json_object_get(row, "sessions")) == 0) continue;
        snprintf(out->environment, sizeof out->environment, "%s",
                 json_string_value(json_object_get(evaluation, "environment")));
        TRY(read_letters(out, s, row, found, e));
    }
out:
    json_decref(candidate);
    store_version_free(&v);
    store_close(s);
    return rc;
}
