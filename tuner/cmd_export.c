/* fatune export: what was tried in a space, for other tuners and for `fatune replay`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "command.h"
#include "paths.h"
#include "store.h"
#include "track.h"

#define SCHEMA "1.0.0" /* of T4 results, as Kernel Tuner 1.4 ships it */

struct export
{
    struct store *store;
    json_t *results, *taken; /* taken: candidates that are there already */
    int64_t *runs;           /* newest first */
    int nruns;
    struct err *e;
};

/* T4's word for what became of a point. */
static const char *invalidity(enum fate fate)
{
    switch (fate) {
    case FATE_OK:
        return "correct";
    case FATE_COMPILE_TIMEOUT:
    case FATE_HANG:
        return "timeout";
    case FATE_RENDER:
    case FATE_COMPILE:
    case FATE_COMPILE_CRASH:
        return "compile";
    case FATE_LIMITS:
        return "constraints";
    case FATE_WRONG:
    case FATE_NONDET:
    case FATE_CORRUPT:
        return "correctness";
    default:
        return "runtime";
    }
}

static bool wrong(enum fate fate)
{
    return strcmp(invalidity(fate), "correctness") == 0;
}

static json_t *configuration(const json_t *point)
{
    json_t *out = json_object(), *value;
    const char *key;

    json_object_set(out, "template", json_object_get(point, "template"));
    json_object_foreach(json_object_get(point, "params"), key, value) json_object_set(out, key, value);
    return out;
}

static int runtimes_of(struct export *x, const struct store_evaluation *v, json_t **out)
{
    double *samples = NULL;
    int n = 0, rc = store_evaluation_samples(x->store, v->run, v->seq, &samples, &n, x->e);

    *out = json_array();
    for (int i = 0; i < n && rc == 0; i++)
        json_array_append_new(*out, json_real(1e-3 * samples[i]));
    free(samples);
    return rc;
}

static int add(void *ctx, const struct store_evaluation *v)
{
    struct export *x = ctx;
    json_t *runtimes, *measured;

    if (json_object_get(x->taken, v->cand)) return 0;
    json_object_set_new(x->taken, v->cand, json_true());
    if (runtimes_of(x, v, &runtimes) != 0) {
        json_decref(runtimes);
        return 1;
    }
    measured = json_array();
    if (v->fate == FATE_OK && isfinite(v->us))
        json_array_append_new(measured,
                              json_pack("{s:s,s:f,s:s}", "name", "time", "value", 1e-3 * v->us, "unit", "ms"));
    json_array_append_new(x->results,
                          json_pack("{s:s,s:o,s:{s:o},s:s,s:i,s:o,s:[s]}", "timestamp", v->at, "configuration",
                                    configuration(v->params), "times", "runtimes", runtimes, "invalidity",
                                    invalidity(v->fate), "correctness", wrong(v->fate) ? 0 : 1, "measurements",
                                    measured, "objectives", "time"));
    return 0;
}

static int add_run(void *ctx, const struct store_run *r)
{
    struct export *x = ctx;
    int64_t *more = realloc(x->runs, ((size_t)x->nruns + 1) * sizeof *more);

    if (!more) return err_nomem(x->e);
    x->runs = more;
    x->runs[x->nruns++] = r->id;
    return 0;
}

static int collect(struct export *x, const char *track, struct err *e)
{
    struct err stopped = {0};
    int rc;

    x->e = &stopped;
    TRY(store_runs(x->store, track, add_run, x, e));
    for (int i = 0; i < x->nruns && stopped.code == ERR_OK; i++)
        TRY(store_evaluations(x->store, x->runs[i], add, x, e));
    if (stopped.code != ERR_OK) rc = err_set(e, stopped.code, "%s", stopped.text);
out:
    x->e = NULL;
    return rc;
}

static int write_out(const json_t *doc, const char *path, struct err *e)
{
    char *text = json_dumps(doc, JSON_INDENT(1) | JSON_SORT_KEYS);
    struct buf all = {0};
    int rc = text ? 0 : err_nomem(e);

    if (rc == 0) buf_printf(&all, "%s\n", text);
    free(text);
    if (rc == 0) rc = buf_check(&all, e);
    if (rc == 0 && path)
        rc = buf_write_file(path, buf_text(&all), all.n, e);
    else if (rc == 0 && (fputs(buf_text(&all), stdout) < 0 || fflush(stdout) != 0))
        rc = err_set(e, ERR_SYSTEM, "the results cannot be written to the standard output");
    buf_free(&all);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct track_query q = {0};
    struct export x = {0};
    struct err e = {0};
    const char *format = "t4", *out = NULL, *store = NULL;
    char track[65];
    json_t *doc = NULL;
    int rc;
    const struct command_option options[] = {
        {"format", OPTION_TEXT, &format, "t4", "T4, the exchange format of autotuning results (default)"},
        {"out", OPTION_TEXT, &out, "FILE", "where to (default: standard output)"},
        {"device", OPTION_TEXT, &q.device, "NAME", "part of the device's name, where the space ran on several"},
        {"track", OPTION_TEXT, &q.track, "DIGEST", "which track, where a name occurs in several"},
        {"store", OPTION_TEXT, &store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, false);
    store = paths_store(store);
    q.space = operands.text[0];
    x.results = json_array();
    x.taken = json_object();
    if (strcmp(format, "t4") != 0) TRY(err_set(&e, ERR_USAGE, "--format takes t4, not '%.40s'", format));
    TRY(store_open(&x.store, store, STORE_READ, &e));
    TRY(track_find(x.store, store, &q, track, &e));
    TRY(collect(&x, track, &e));
    doc = json_pack("{s:s,s:{s:s},s:O}", "schema_version", SCHEMA, "metadata", "timeunit", "milliseconds", "results",
                    x.results);
    TRY(write_out(doc, out, &e));
    if (out) printf("%zu points: %s\n", json_array_size(x.results), out);
out:
    store_close(x.store);
    json_decref(doc);
    json_decref(x.results);
    json_decref(x.taken);
    free(x.runs);
    return rc == 0 ? 0 : command_fail(&e, false);
}

const struct command cmd_export = {"export", "SPACE",
                                   "what was tried in a space, for other tuners and for `fatune replay`",
                                   "SPACE is a space's file or its name. Every candidate that a run of it tried on "
                                   "this device, once, as last measured, "
                                   "in\n"
                                   "the exchange format T4: parameters, what became of it, samples and score of the "
                                   "search in milliseconds. Times of a\n"
                                   "search are no results: they say what to try, not what is faster.",
                                   exec};
