/* evidence_resources.c - a row for each proposal of the track's runs. The store keeps what compiler and driver said; dynamic shared memory is of
 * the launch, which is rendered again and believed where code and launch together have the recorded identity. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evidence_private.h"
#include "farm.h"

struct table {
    struct evidence *v;
    struct buf *out;
    int64_t *runs;
    int nruns, rows, unknown_shared;
    bool nomem;
};

/* Quoted where it needs to be; texts of a store may hold anything. */
static void add_text(struct buf *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        buf_puts(out, text);
        return;
    }
    buf_puts(out, "\"");
    for (const char *p = text; *p; p++)
        buf_printf(out, *p == '"' ? "\"\"" : "%c", *p);
    buf_puts(out, "\"");
}

/* What the compiler says, else the driver; an empty cell where neither does. */
static void add_resource(struct buf *out, const json_t *detail, const char *name)
{
    static const char *const who[] = {"compiled", "resources"};

    buf_puts(out, ",");
    for (int i = 0; i < 2; i++) {
        const json_t *x = json_object_get(json_object_get(detail, who[i]), name);
        if (!json_is_integer(x) || json_integer_value(x) < 0) continue;
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(x));
        return;
    }
}

/* -1: unknown. */
static int64_t dynamic_shared(struct evidence *v, const struct store_evaluation *x)
{
    const char *identity = json_string_value(json_object_get(x->detail, "identity"));
    struct farm_job job = {0};
    struct rendered r = {0};
    struct err ignored = {0};
    char own[DIGEST_HEX] = "";
    int64_t bytes = -1;
    struct cand c;

    if (v->domain && identity && cand_from_json(v->domain, x->params, &c, &ignored) == 0 &&
        cand_render(v->domain, &c, &r, &ignored) == 0) {
        snprintf(job.code, sizeof job.code, "%s", x->code);
        farm_identity(own, &job, &r.launch);
        if (strcmp(own, identity) == 0) bytes = r.launch.shared_bytes;
    }
    rendered_free(&r);
    return bytes;
}

static void add_params(struct buf *out, const json_t *point)
{
    struct buf text = {0};
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(point, "params"), key, value)
        buf_printf(&text, "%s%s=%" JSON_INTEGER_FORMAT, text.n ? " " : "", key, json_integer_value(value));
    add_text(out, buf_text(&text));
    buf_free(&text);
}

static int add_row(void *ctx, const struct store_evaluation *x)
{
    static const char *const resources[] = {"stack_bytes", "spill_store_bytes", "spill_load_bytes", "barriers",
                                            "tensor_ops"};
    struct table *t = ctx;
    struct buf *out = t->out;
    const char *tmpl = json_string_value(json_object_get(x->params, "template"));
    int64_t shared = dynamic_shared(t->v, x);
    char why[300]; /* the first line of its log */

    buf_printf(out, "%" PRId64 ",%d,%s,%s,", x->run, x->seq, x->cand,
               strcmp(x->cand, t->v->version.cand) == 0 ? "yes" : "");
    add_text(out, tmpl ? tmpl : "");
    buf_puts(out, ",");
    add_params(out, x->params);
    buf_printf(out, ",%s", fate_name(x->fate));
    add_resource(out, x->detail, "registers");
    add_resource(out, x->detail, "shared_static_bytes");
    buf_puts(out, ",");
    if (shared >= 0) buf_printf(out, "%" PRId64, shared);
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++)
        add_resource(out, x->detail, resources[i]);
    buf_puts(out, ",");
    if (isfinite(x->us)) buf_printf(out, "%.17g", x->us);
    buf_puts(out, ",");
    if (x->alias_of >= 0) buf_printf(out, "%d", x->alias_of);
    buf_printf(out, ",%s,%s,", x->binary, x->code);
    if (x->fate != FATE_OK && x->log) {
        snprintf(why, sizeof why, "%.*s", (int)strcspn(x->log, "\n"), x->log);
        buf_clean(why);
        add_text(out, why);
    }
    buf_puts(out, "\n");
    t->rows++;
    t->unknown_shared += shared < 0 && *x->binary;
    return 0;
}

static int add_run(void *ctx, const struct store_run *r)
{
    struct table *t = ctx;
    int64_t *more = realloc(t->runs, (size_t)(t->nruns + 1) * sizeof *more);

    t->nomem = t->nomem || !more;
    if (!more) return 1;
    t->runs = more;
    t->runs[t->nruns++] = r->id;
    return 0;
}

int evidence_resources(struct evidence *v, struct err *e)
{
    struct table t = {.v = v, .out = &v->files.bytes[EVIDENCE_RESOURCES]};
    int rc;

    buf_puts(t.out,
             "run,seq,candidate,champion,template,params,fate,registers,shared_static_bytes,shared_dynamic_bytes,"
             "stack_bytes,spill_store_bytes,spill_load_bytes,barriers,tensor_ops,search_us,alias_of,binary,code,why\n");
    TRY(store_runs(v->store, v->version.track, add_run, &t, e));
    for (int i = t.nruns - 1; i >= 0; i--) /* oldest first */
        TRY(store_evaluations(v->store, t.runs[i], add_row, &t, e));
    if (t.nomem) rc = err_nomem(e);
    v->files.there[EVIDENCE_RESOURCES] = true;
    evidence_say(v, "resources", "%d proposals of %d run%s", t.rows, t.nruns, t.nruns == 1 ? "" : "s");
    if (t.unknown_shared > 0)
        evidence_say(
            v, "resources",
            "dynamic shared memory is unknown for %d of them: no identity of code and launch is recorded, or templates "
            "here give another",
            t.unknown_shared);
out:
    free(t.runs);
    return rc;
}
