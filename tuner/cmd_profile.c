/* fatune profile: where a kernel stands under the device's ceilings, and what Nsight Compute counts of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ceiling.h"
#include "command.h"
#include "paths.h"
#include "point.h"
#include "profile.h"
#include "report.h"
#include "roofline.h"
#include "space.h"
#include "target.h"
#include "tune.h"

enum { NOT_RUN = 4, SAMPLES = 15 };

/* A kernel of record keeps its multiprocessors busy to this share; below it something is left (the rule of the kernels fatune began with). */
#define LEAST_BUSY_PCT 70.0

struct asked {
    const char *name, *store, *device, *track, *templates, *set, *tmpl, *ncu;
    double minutes;
    bool fresh, roofline, json;
};

struct found {
    struct point point;
    struct space space;
    struct target target;
    struct ceilings ceilings;
    struct roofline roofline;
    struct profile_result counters;
    json_t *eval, *time, *warnings;
    double us; /* of a launch, for the roofline */
};

static void found_free(struct found *f)
{
    point_free(&f->point);
    space_free(&f->space);
    json_decref(f->eval);
    json_decref(f->time);
    json_decref(f->warnings);
}

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static void warn(struct found *f, const char *words)
{
    json_array_append_new(f->warnings, json_string(words));
}

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* ---- what is known of it ---- */

/* The point, its space, the device, and what the kernel does there today. */
static int find(struct found *f, const struct asked *a, struct err *e)
{
    struct tune_options o = {.device = a->device, .store = a->store, .templates = a->templates};
    const struct point_query q = {
        .kind = "profile", .name = a->name, .store = a->store, .track = a->track, .tmpl = a->tmpl, .set = a->set};

    if (point_find(&f->point, &q, e) != 0 || space_load(&f->space, buf_text(&f->point.space), e) != 0 ||
        target_resolve(a->device, NULL, &f->target, e) != 0)
        return -1;
    o.space = buf_text(&f->point.space);
    if (tune_eval(&o, f->point.tmpl.n ? buf_text(&f->point.tmpl) : NULL,
                  f->point.set.n ? buf_text(&f->point.set) : NULL, false, SAMPLES, &f->eval, e) != 0)
        return -1;
    if (strcmp(text(f->eval, "fate"), "OK") != 0)
        return err_set(e, ERR_DEVICE, "%s does not pass its check on %s: %s\n%s", text(f->eval, "candidate"),
                       f->target.name, text(f->eval, "fate"), text(f->eval, "log"));
    return 0;
}

/* The stored time where it is of this environment; else the kernel is timed now. */
static int find_time(struct found *f, const struct asked *a, struct err *e)
{
    double now = json_number_value(json_object_get(f->eval, "median_us"));
    char environment[DIGEST_HEX];
    const char *note = "";
    struct profile_time t;
    bool known = false;

    tune_environment(environment, &f->target);
    if (strcmp(buf_text(&f->point.space), a->name) != 0 &&
        profile_time(&t, a->store, a->track, a->name, &known, e) != 0)
        return -1;
    if (known && strcmp(t.environment, environment) != 0) {
        known = false;
        note = "its stored time is of another device, driver or compiler";
    }
    f->us = known ? t.us : now;
    f->time =
        json_pack("{s:f,s:s,s:f,s:s}", "us", f->us, "source", known ? "confirmed" : "now", "now_us", now, "note", note);
    if (!f->time) return err_nomem(e);
    if (!known) return 0;
    json_object_set_new(f->time, "low_us", real(t.low_us));
    json_object_set_new(f->time, "high_us", real(t.high_us));
    json_object_set_new(f->time, "trial", json_integer(t.trial));
    json_object_set_new(f->time, "letters", json_integer(t.letters));
    return 0;
}

static void show_progress(void *ctx, const char *what)
{
    (void)ctx;
    fprintf(stderr, "measuring the ceilings of this device, once: %s\n", what);
}

static int find_ceilings(struct found *f, const struct asked *a, struct err *e)
{
    const struct ceiling_job job = {.target = &f->target,
                                    .templates = a->templates,
                                    .store = a->store,
                                    .fresh = a->fresh,
                                    .progress = a->json ? NULL : show_progress};
    double rates[ROOFLINE_N];

    _Static_assert((int)CEILING_N == (int)ROOFLINE_N && (int)CEILING_DRAM == (int)ROOFLINE_DRAM, "the same kinds");
    if (ceiling_measure(&job, &f->ceilings, e) != 0) return -1;
    for (int k = 0; k < CEILING_N; k++)
        rates[k] = ceiling_rates(&f->ceilings.of[k]).best;
    roofline_make(&f->roofline, &f->space.problem, f->us, rates, (double)f->target.l2_bytes, f->space.measure.cold);
    return 0;
}

static int find_counters(struct found *f, const struct asked *a, struct err *e)
{
    const char *eval[POINT_ARGS];
    const struct profile_job job = {.program = a->ncu,
                                    .eval = eval,
                                    .folder = buf_text(&f->point.folder),
                                    .entry = text(json_object_get(f->eval, "launch"), "entry"),
                                    .binary = f->point.binary.n ? buf_text(&f->point.binary) : NULL,
                                    .cold = f->space.measure.cold,
                                    .minutes = a->minutes};

    if (strcmp(f->target.language, "cuda") == 0) {
        point_args(&f->point, a->store, a->device, a->templates, eval);
        return profile_run(&job, &f->counters, e);
    }
    snprintf(f->counters.why, sizeof f->counters.why, "Nsight Compute sees CUDA kernels; this device is driven by %s",
             f->target.driver);
    return 0;
}

static void find_warnings(struct found *f, bool counted)
{
    const json_t *ops = json_object_get(json_object_get(f->eval, "compiled"), "tensor_ops");
    const double tensor = f->counters.value[PROFILE_TENSOR], busy = f->counters.value[PROFILE_SM_BUSY];
    char words[256];

    for (int k = 0; k < ROOFLINE_N; k++) {
        const struct roofline_row *r = &f->roofline.row[k];
        if (!r->bounds || r->share <= ROOFLINE_MOST) continue;
        snprintf(words, sizeof words,
                 "%.0f%% of the %s ceiling: the count is wrong, or the ceiling; --fresh measures it again",
                 100 * r->share, ceiling_name((enum ceiling_kind)k));
        warn(f, words);
    }
    if (counted && f->counters.run && !isnan(tensor)) {
        if (tensor <= 0) warn(f, "the tensor cores were never active");
    } else if (json_is_integer(ops) && json_integer_value(ops) == 0) { /* nobody counted: what was compiled must do */
        warn(f, "its PTX has no tensor-core instruction");
    }
    if (counted && f->counters.run && busy < LEAST_BUSY_PCT) {
        snprintf(words, sizeof words, "the multiprocessors were %.1f%% busy, below %.0f%%", busy, LEAST_BUSY_PCT);
        warn(f, words);
    }
}

/* ---- what is said of it ---- */

static json_t *roofline_json(const struct found *f)
{
    json_t *rows = json_array();

    for (int k = 0; k < ROOFLINE_N; k++) {
        const struct roofline_row *r = &f->roofline.row[k];
        const bool known = r->rate > 0;
        json_array_append_new(
            rows, json_pack("{s:s,s:f,s:b,s:o,s:o,s:o}", "ceiling", ceiling_name((enum ceiling_kind)k), "work", r->work,
                            "bounds", r->bounds, "rate", real(known ? r->rate : (double)NAN), "least_us",
                            real(known ? r->least_us : (double)NAN), "share", real(known ? r->share : (double)NAN)));
    }
    return json_pack("{s:f,s:f,s:o,s:s?,s:b,s:O?}", "us", f->roofline.us, "intensity", f->roofline.intensity, "rows",
                     rows, "nearest",
                     f->roofline.nearest < 0 ? NULL : ceiling_name((enum ceiling_kind)f->roofline.nearest), "exceeded",
                     f->roofline.exceeded, "floor_us", json_object_get(f->eval, "floor_us"));
}

static json_t *to_json(struct found *f, const struct asked *a)
{
    char problem[128];
    json_t *j;

    problem_text(&f->space.problem, problem, sizeof problem);
    j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:O,s:o,s:o,s:s,s:b,s:O}", "name", a->name, "space",
                  buf_text(&f->point.space), "template", buf_text(&f->point.tmpl), "set", buf_text(&f->point.set),
                  "candidate", text(f->eval, "candidate"), "device", f->target.name, "problem", problem, "time",
                  f->time, "roofline", roofline_json(f), "ceilings", ceilings_to_json(&f->ceilings), "ceilings_file",
                  f->ceilings.file, "ceilings_measured", f->ceilings.measured, "warnings", f->warnings);
    if (j && !a->roofline) json_object_set_new(j, "counters", profile_to_json(&f->counters));
    return j;
}

static int put(json_t *j, struct found *f, const struct asked *a, struct err *e)
{
    struct buf name = {0}, words = {0};
    int rc = 0;

    buf_printf(&name, "%s/summary.json", buf_text(&f->point.folder));
    if (json_dump_file(j, buf_text(&name), JSON_INDENT(2) | JSON_SORT_KEYS) != 0)
        rc = err_set(e, ERR_SYSTEM, "cannot write %s; make room there", buf_text(&name));
    if (rc == 0 && a->json) {
        rc = command_print_json(json_incref(j));
    } else if (rc == 0) {
        report_profile(&words, j);
        fputs(buf_text(&words), stdout);
        printf("  kept in    %s\n", buf_text(&f->point.folder));
    }
    buf_free(&name);
    buf_free(&words);
    return rc;
}

static int profile(const struct asked *a, bool *all, struct err *e)
{
    struct found *f = calloc(1, sizeof *f);
    json_t *j = NULL;
    int rc;

    if (!f || !(f->warnings = json_array())) {
        free(f);
        return err_nomem(e);
    }
    TRY(find(f, a, e));
    TRY(find_time(f, a, e));
    TRY(find_ceilings(f, a, e));
    if (!a->roofline) TRY(find_counters(f, a, e));
    find_warnings(f, !a->roofline);
    if (!(j = to_json(f, a))) {
        rc = err_nomem(e);
        goto out;
    }
    *all = a->roofline || f->counters.run;
    for (int k = 0; k < CEILING_N; k++)
        *all = *all && f->ceilings.of[k].n > 0;
    rc = put(j, f, a, e);
out:
    json_decref(j);
    found_free(f);
    free(f);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct asked a = {.ncu = "ncu", .minutes = 10};
    struct err e = {0};
    bool all = false;
    int rc;
    const struct command_option options[] = {
        {"roofline", OPTION_FLAG, &a.roofline, NULL, "the roofline alone: Nsight Compute is not asked"},
        {"fresh", OPTION_FLAG, &a.fresh, NULL, "measure the device's ceilings again"},
        {"ncu", OPTION_TEXT, &a.ncu, "FILE", "the program (default: ncu, from PATH)"},
        {"minutes", OPTION_DOUBLE, &a.minutes, "M", "for Nsight Compute (default 10)"},
        {"set", OPTION_TEXT, &a.set, "K=V,...", "of a SPACE: parameters that differ from the template's default"},
        {"template", OPTION_TEXT, &a.tmpl, "NAME", "of a SPACE: which template"},
        {"device", OPTION_TEXT, &a.device, "NAME", "as in `fatune run`"},
        {"track", OPTION_TEXT, &a.track, "DIGEST", "which track, where a name occurs in several"},
        {"templates", OPTION_TEXT, &a.templates, "DIR", "look for templates here too"},
        {"store", OPTION_TEXT, &a.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &a.json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, a.json);
    a.name = operands.text[0];
    a.store = paths_store(a.store);
    rc = a.minutes > 0 ? profile(&a, &all, &e) : err_set(&e, ERR_USAGE, "--minutes takes a number above 0");
    if (rc < 0) return command_fail(&e, a.json);
    return rc > 0 ? rc : all ? 0 : NOT_RUN;
}

const struct command cmd_profile = {
    "profile", "NAME|SPACE", "where a kernel stands: roofline under measured ceilings, counters of Nsight Compute",
    "NAME is a version (v1, v2, ...) or a prefix of a candidate's digest; a SPACE with --set is one of its points, as "
    "in "
    "`fatune eval`.\n"
    "The roofline sets what any kernel must do for the problem against what this device does at most, measured once by "
    "kernels of fatune's own\n"
    "and kept beside the store. Nsight Compute looks at one launch, clocks untouched; where it is missing or refused "
    "it is *not run*.\n"
    "Logs and summary.json go to the folder profile beside the store. Exit code 4: something was not run.",
    exec};
