#include "exchange.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define T4_SCHEMA "1.0.0"

struct collected {
    struct store *store;
    int64_t *runs; /* newest first */
    int nruns;
    json_t *taken; /* candidates that are there already */
    int (*add)(struct collected *x, const struct store_evaluation *v, json_t *into);
    json_t *into;
    struct err *e;
};

/* ---- each candidate once ---- */

static int note_run(void *ctx, const struct store_run *r)
{
    struct collected *x = ctx;
    int64_t *more = realloc(x->runs, ((size_t)x->nruns + 1) * sizeof *more);

    if (!more) return err_nomem(x->e);
    x->runs = more;
    x->runs[x->nruns++] = r->id;
    return 0;
}

static int note_evaluation(void *ctx, const struct store_evaluation *v)
{
    struct collected *x = ctx;

    if (json_object_get(x->taken, v->cand)) return 0;
    if (json_object_set_new(x->taken, v->cand, json_true()) != 0) return err_nomem(x->e);
    return x->add(x, v, x->into);
}

static int collect(struct store *s, const char *track,
                   int (*add)(struct collected *x, const struct store_evaluation *v, json_t *into), json_t *into,
                   struct err *e)
{
    struct err stopped = {0};
    struct collected x = {.store = s, .taken = json_object(), .add = add, .into = into, .e = &stopped};
    int rc = x.taken && into ? 0 : err_nomem(e);

    if (rc == 0) rc = store_runs(s, track, note_run, &x, e);
    for (int i = 0; i < x.nruns && rc == 0 && stopped.code == ERR_OK; i++)
        rc = store_evaluations(s, x.runs[i], note_evaluation, &x, e);
    if (rc == 0 && stopped.code != ERR_OK) rc = err_set(e, stopped.code, "%s", stopped.text);
    json_decref(x.taken);
    free(x.runs);
    return rc;
}

/* ---- T4 ---- */

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

/* Milliseconds; NULL with x->e set. */
static json_t *runtimes_of(struct collected *x, const struct store_evaluation *v)
{
    double *samples = NULL;
    json_t *out = NULL;
    int n = 0;

    if (store_evaluation_samples(x->store, v->run, v->seq, &samples, &n, x->e) != 0) return NULL;
    if (!(out = json_array())) err_nomem(x->e);
    for (int i = 0; i < n && out; i++)
        json_array_append_new(out, json_real(1e-3 * samples[i]));
    free(samples);
    return out;
}

static bool has_time(const struct store_evaluation *v)
{
    return v->fate == FATE_OK && isfinite(v->us);
}

static int add_result(struct collected *x, const struct store_evaluation *v, json_t *into)
{
    json_t *runtimes = runtimes_of(x, v), *measured;

    if (!runtimes) return -1;
    measured = json_array();
    if (has_time(v))
        json_array_append_new(measured,
                              json_pack("{s:s,s:f,s:s}", "name", "time", "value", 1e-3 * v->us, "unit", "ms"));
    return json_array_append_new(into,
                                 json_pack("{s:s,s:o,s:{s:o},s:s,s:i,s:o,s:[s]}", "timestamp", v->at, "configuration",
                                           configuration(v->params), "times", "runtimes", runtimes, "invalidity",
                                           invalidity(v->fate), "correctness", wrong(v->fate) ? 0 : 1, "measurements",
                                           measured, "objectives", "time")) == 0
               ? 0
               : err_nomem(x->e);
}

int exchange_t4(struct store *s, const char *track, json_t **out, struct err *e)
{
    json_t *results = json_array();
    int rc = collect(s, track, add_result, results, e);

    *out = rc == 0 ? json_pack("{s:s,s:{s:s},s:O}", "schema_version", T4_SCHEMA, "metadata", "timeunit", "milliseconds",
                               "results", results)
                   : NULL;
    json_decref(results);
    return rc == 0 && !*out ? err_nomem(e) : rc;
}
