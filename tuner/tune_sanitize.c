/* The sanitizer clause (P7): compute-sanitizer around `fatune eval` of a finalist that all else speaks for. It runs in a process of its own, on
 * the binary that was measured, or has not run. */
#include <stdio.h>
#include <string.h>

#include "point.h"
#include "sanitize.h"
#include "target.h"
#include "tune_private.h"

#define MINUTES 10 /* each tool */

int tune_sanitizers(struct tune *t, struct err *e)
{
    char *const ask[] = {(char[]){"compute-sanitizer"}, (char[]){"--version"}, NULL};
    const struct worker_program program = {ask, NULL, NULL};
    char words[160];
    int code, rc;

    if (t->o->waivers) TRY(sanitize_waivers_load(&t->waivers, t->o->waivers, e));
    rc = 0;
    if (!t->space.promote.sanitize) goto out;
    TRY(worker_run(&program, "/dev/null", 1, &code, words, sizeof words, e));
    if (code != 0)
        tune_report(t,
                    "the space asks for sanitizers, and compute-sanitizer %s: nothing can be promoted before it does",
                    code == 127 ? "cannot be started (it comes with the CUDA toolkit)" : "does not say its version");
out:
    return rc;
}

static void said(void *ctx, const char *tool, const struct sanitize_result *r)
{
    if (r) tune_report(ctx, "%s: %s, %s", tool, sanitize_outcome_name(r->outcome), r->why);
}

/* One sentence: who found something, or has not run, and why; else that nobody did. */
static void sentence(char out[200], const json_t *list, enum sanitize_outcome worst, const char *folder)
{
    const char *name = sanitize_outcome_name(worst);
    size_t i;
    json_t *tool;

    json_array_foreach(list, i, tool)
    {
        const char *is = json_string_value(json_object_get(tool, "outcome"));
        const int reports = (int)json_integer_value(json_object_get(tool, "reports"));
        if (worst < SANITIZE_ERRORS || strcmp(is, name) != 0) continue;
        if (worst == SANITIZE_ERRORS)
            snprintf(out, 200, "%s has %d report%s: %.120s", json_string_value(json_object_get(tool, "tool")), reports,
                     reports == 1 ? "" : "s", folder);
        else
            snprintf(out, 200, "%s has not run: %.150s", json_string_value(json_object_get(tool, "tool")),
                     json_string_value(json_object_get(tool, "why")));
        return;
    }
    if (worst == SANITIZE_WAIVED)
        snprintf(out, 200, "memcheck, racecheck, synccheck and initcheck ran; all they report is waived: %.100s",
                 folder);
    else
        snprintf(out, 200, "memcheck, racecheck, synccheck and initcheck are clean");
}

int tune_sanitize(struct tune *t, const struct tune_item *i, enum verdict_sanitizer *outcome, char why[200],
                  json_t **tools, struct err *e)
{
    struct sanitize_job job = {.program = "compute-sanitizer", .minutes = MINUTES, .waivers = t->waivers};
    struct point p = {0};
    json_t *point = cand_to_json(t->domain, &i->cand);
    const char *store = paths_store(t->o->store);
    enum sanitize_outcome worst;
    char device[32], name[17];
    const char *args[POINT_ARGS];
    int rc;

    *tools = NULL;
    if (!point) return err_nomem(e);
    snprintf(name, sizeof name, "%.16s", i->id);
    target_text(&t->target, device, sizeof device);
    TRY(point_folder(&p.folder, store, "sanitize", name, e));
    buf_puts(&p.space, t->o->space);
    point_params(&p, point);
    buf_puts(&p.binary, i->job.key);
    point_args(&p, store, device, t->o->templates, args);
    job.eval = args;
    job.folder = p.folder.p;
    job.binary = p.binary.p;
    TRY(sanitize_all(&job, NULL, said, t, &worst, tools, e));
    *outcome = worst == SANITIZE_ERRORS    ? VERDICT_SANITIZER_FOUND
               : worst == SANITIZE_NOT_RUN ? VERDICT_SANITIZER_NOT_RUN
                                           : VERDICT_SANITIZER_PASSED;
    sentence(why, *tools, worst, job.folder);
out:
    point_free(&p);
    json_decref(point);
    return rc;
}
