#include "exchange.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

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

int exchange_t4(struct store *s, const struct track *t, json_t **out, struct err *e)
{
    json_t *results = json_array();
    int rc = collect(s, t->digest, add_result, results, e);

    *out = rc == 0 ? json_pack("{s:s,s:{s:s},s:O}", "schema_version", T4_SCHEMA, "metadata", "timeunit", "milliseconds",
                               "results", results)
                   : NULL;
    json_decref(results);
    return rc == 0 && !*out ? err_nomem(e) : rc;
}

/* ---- Kernel Tuner's cache ---- */

/* The name of the error class that a configuration ended with. */
static const char *failure(enum fate fate)
{
    const char *why = invalidity(fate);

    if (strcmp(why, "compile") == 0 || fate == FATE_COMPILE_TIMEOUT) return "CompilationFailedConfig";
    return strcmp(why, "constraints") == 0 ? "InvalidConfig" : "RuntimeFailedConfig";
}

/* What it does not know of a point is 0: Kernel Tuner asks for all of them. */
static int add_row(struct collected *x, const struct store_evaluation *v, json_t *into)
{
    json_t *times = runtimes_of(x, v), *row;

    if (!times) return -1;
    row = json_pack("{s:O,s:o,s:o,s:i,s:i,s:i,s:i,s:i,s:s}", "point", v->params, "time",
                    has_time(v) ? json_real(1e-3 * v->us) : json_string(failure(v->fate)), "times", times,
                    "compile_time", 0, "verification_time", 0, "benchmark_time", 0, "strategy_time", 0,
                    "framework_time", 0, "timestamp", v->at);
    return row && json_array_append_new(into, row) == 0 ? 0 : err_nomem(x->e);
}

/* Ascending, so that neighbours in the list are near. */
static int add_value(json_t *values, json_t *v)
{
    size_t at = json_array_size(values);

    while (at > 0 && json_integer_value(json_array_get(values, at - 1)) > json_integer_value(v))
        at--;
    if (at > 0 && json_equal(json_array_get(values, at - 1), v)) return 0;
    return json_array_insert(values, at, v);
}

/* Leaves the rows of one template; *name: borrowed from one of them. */
static int keep_template(json_t *rows, const char *wanted, const char **name, struct err *e)
{
    json_t *met = json_object(), *row;
    struct buf list = {0};
    const char *key;
    size_t i;
    int rc = met ? 0 : err_nomem(e);

    json_array_foreach(rows, i, row)
    {
        const char *t = json_string_value(json_object_get(json_object_get(row, "point"), "template"));
        if (t && rc == 0 && json_object_set(met, t, row) != 0) rc = err_nomem(e);
    }
    json_object_foreach(met, key, row) buf_printf(&list, " %s", key);
    if (rc == 0 && !wanted && json_object_size(met) != 1)
        rc = err_set(e, ERR_USAGE, "a cache of Kernel Tuner holds one template: say which by --template%s",
                     buf_text(&list));
    else if (rc == 0 && wanted && !json_object_get(met, wanted))
        rc = err_set(e, ERR_USAGE, "no point of template %.80s was tried, but of%s", wanted, buf_text(&list));
    for (i = json_array_size(rows); i-- > 0 && rc == 0;) {
        const json_t *t = json_object_get(json_object_get(json_array_get(rows, i), "point"), "template");
        if (!json_is_string(t) || (wanted && strcmp(json_string_value(t), wanted) != 0))
            json_array_remove(rows, i);
        else
            *name = json_string_value(t);
    }
    buf_free(&list);
    json_decref(met);
    return rc;
}

/* Every parameter with the values that were tried; NULL: out of memory. */
static json_t *ranges(const json_t *rows)
{
    json_t *out = json_object(), *row, *v;
    const char *name;
    size_t i;
    int bad = !out;

    json_array_foreach(rows, i, row)
    {
        json_object_foreach(json_object_get(json_object_get(row, "point"), "params"), name, v)
        {
            if (!json_object_get(out, name)) bad |= json_object_set_new(out, name, json_array());
            bad |= add_value(json_object_get(out, name), v);
        }
    }
    if (!bad) return out;
    json_decref(out);
    return NULL;
}

/* The key is the values in the order of names; the entry has them beside the rest. */
static int add_entry(json_t *cache, const json_t *names, const json_t *row, struct err *e)
{
    const json_t *params = json_object_get(json_object_get(row, "point"), "params");
    json_t *entry = json_copy((json_t *)(uintptr_t)params), *unused;
    struct buf key = {0};
    const char *name;
    int rc = entry && json_object_update(entry, (json_t *)(uintptr_t)row) == 0 ? 0 : err_nomem(e);

    json_object_del(entry, "point");
    json_object_foreach((json_t *)(uintptr_t)names, name, unused)
    {
        buf_printf(&key, "%s%" JSON_INTEGER_FORMAT, key.n ? "," : "",
                   json_integer_value(json_object_get(params, name)));
    }
    if (rc == 0) rc = buf_check(&key, e);
    /* A template that has changed since has its points twice: the newest counts. */
    if (rc == 0 && !json_object_get(cache, buf_text(&key)) && json_object_set(cache, buf_text(&key), entry) != 0)
        rc = err_nomem(e);
    buf_free(&key);
    json_decref(entry);
    return rc;
}

static json_t *keys_of(const json_t *object)
{
    json_t *out = json_array(), *v;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)object, key, v) json_array_append_new(out, json_string(key));
    return out;
}

int exchange_cache(struct store *s, const struct track *t, const char *tmpl, json_t **out, struct err *e)
{
    json_t *rows = json_array(), *names = NULL, *cache = json_object(), *row;
    const char *kernel = NULL;
    size_t i;
    int rc;

    *out = NULL;
    TRY(collect(s, t->digest, add_row, rows, e));
    TRY(keep_template(rows, tmpl, &kernel, e));
    rc = cache && (names = ranges(rows)) ? 0 : err_nomem(e);
    json_array_foreach(rows, i, row)
    {
        if (rc == 0) rc = add_entry(cache, names, row, e);
    }
    if (rc != 0) goto out;
    *out = json_pack("{s:s,s:s++,s:[i],s:o,s:O,s:s,s:O}", "device_name", t->device, "kernel_name", t->space, " ",
                     kernel, "problem_size", 1, "tune_params_keys", keys_of(names), "tune_params", names, "objective",
                     "time", "cache", cache);
    if (!*out) rc = err_nomem(e);
out:
    json_decref(rows);
    json_decref(names);
    json_decref(cache);
    return rc;
}
