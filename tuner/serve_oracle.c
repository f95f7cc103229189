/* A candidate and its debug build, run on the same inputs; what the debug build shows goes into files. */
#include "serve_private.h"

static int member(const json_t *j, const char *name)
{
    return (int)json_integer_value(json_object_get(j, name));
}

/* *refused: what a refusal by the device means for the candidate. */
static enum device_class watch(struct serve *s, const json_t *r, struct check_report *report, enum fate *refused,
                               struct err *e)
{
    const json_t *j = json_object_get(r, "tile");
    const char *inputs = json_string_value(json_object_get(r, "inputs"));
    const struct check_tile tile = {member(j, "batch"), member(j, "head"), member(j, "row"), member(j, "rows")};
    struct loaded *plain, *debug;
    struct check_kernel kernel[2];
    char folder[4096];
    enum device_class c;

    if (serve_path(s, r, "", folder, e) != 0) return DEVICE_LOST;
    if ((c = serve_check(s, json_object_get(r, "problem"), e)) != DEVICE_OK) return c;
    if ((c = serve_load(s, json_object_get(r, "kernel"), &plain, e)) != DEVICE_OK) return c;
    if ((c = serve_load(s, json_object_get(r, "debug"), &debug, e)) != DEVICE_OK) {
        err_context(e, "the debug build");
        return c;
    }
    *refused = FATE_LAUNCH;
    kernel[0] = (struct check_kernel){plain->kernel, &plain->launch};
    kernel[1] = (struct check_kernel){debug->kernel, &debug->launch};
    return check_oracle(s->check, &kernel[0], &kernel[1], &tile, inputs ? inputs : "",
                        (uint64_t)json_integer_value(json_object_get(r, "seed")), folder, serve_progress, NULL, report,
                        e);
}

void serve_oracle(struct serve *s, const json_t *r)
{
    struct check_report report = {0};
    struct err e = {0};
    enum fate refused = FATE_LIMITS;
    json_t *reply = json_object();
    enum device_class c;

    serve_room(s);
    serve_progress(NULL, "loading");
    c = watch(s, r, &report, &refused, &e);
    if (c == DEVICE_OK || c == DEVICE_STICKY) err_set(&e, ERR_DEVICE, "%s", report.text); /* e keeps the first text */
    if (report.json) json_object_set(reply, "report", report.json);
    if (c == DEVICE_OK)
        serve_fate(report.fate, report.text, reply);
    else
        serve_class(c, refused, &e, reply);
    check_report_free(&report);
}
