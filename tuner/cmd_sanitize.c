/* fatune sanitize: a champion under the tools of compute-sanitizer, each of which must have seen it run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "paths.h"
#include "point.h"
#include "sanitize.h"

enum { FOUND = 3, NOT_RUN = 4 };

/* A line for each tool: its name while it runs, then the rest. */
static void show(void *ctx, const char *tool, const struct sanitize_result *r)
{
    const struct sanitize_job *job = ctx;

    if (r)
        printf("%-8s %s: %s/%s.log\n", sanitize_outcome_name(r->outcome), r->why, job->folder, tool);
    else
        printf("%-10s ", tool);
    fflush(stdout);
}

static bool is_tool(const char *name)
{
    for (const char *const *tool = sanitize_tools; *tool; tool++)
        if (strcmp(name, *tool) == 0) return true;
    return false;
}

/* Writes it beside the logs too. */
static int summary(json_t **out, const char *name, const struct point *p, json_t *tools, struct err *e)
{
    struct buf file = {0};
    int rc = 0;

    buf_printf(&file, "%s/summary.json", p->folder.p);
    *out = json_pack("{s:s,s:s,s:s,s:s,s:O}", "name", name, "space", p->space.p, "template", p->tmpl.n ? p->tmpl.p : "",
                     "set", p->set.n ? p->set.p : "", "tools", tools);
    if (!*out || file.failed)
        rc = err_nomem(e);
    else if (json_dump_file(*out, buf_text(&file), JSON_INDENT(2) | JSON_SORT_KEYS) != 0)
        rc = err_set(e, ERR_SYSTEM, "cannot write %s", buf_text(&file));
    buf_free(&file);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct sanitize_job job = {.program = "compute-sanitizer", .minutes = 10};
    struct sanitize_waivers *waivers = NULL;
    enum sanitize_outcome worst;
    struct point p = {0};
    struct err e = {0};
    const char *only = NULL, *file = NULL, *device = NULL, *track = NULL, *templates = NULL, *path = NULL;
    const char *set = NULL, *tmpl = NULL, *eval[POINT_ARGS];
    bool json = false;
    json_t *out = NULL, *list = NULL;
    int rc, code = 0;
    const struct command_option options[] = {
        {"tool", OPTION_TEXT, &only, "NAME", "one of memcheck, racecheck, synccheck, initcheck (default: all four)"},
        {"sanitizer", OPTION_TEXT, &job.program, "FILE", "the program (default: compute-sanitizer, from PATH)"},
        {"waivers", OPTION_TEXT, &file, "FILE", "reports that are known: a list of {tool, match, why, until}"},
        {"minutes", OPTION_DOUBLE, &job.minutes, "M", "for each tool (default 10)"},
        {"set", OPTION_TEXT, &set, "K=V,...", "of a SPACE: parameters that differ from the template's default"},
        {"template", OPTION_TEXT, &tmpl, "NAME", "of a SPACE: which template"},
        {"device", OPTION_TEXT, &device, "NAME", "as in `fatune run`"},
        {"track", OPTION_TEXT, &track, "DIGEST", "which track, where a name occurs in several"},
        {"templates", OPTION_TEXT, &templates, "DIR", "look for templates here too"},
        {"store", OPTION_TEXT, &path, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    path = paths_store(path);
    if (only && !is_tool(only))
        rc = err_set(&e, ERR_USAGE, "no tool is called %s; there are memcheck, racecheck, synccheck, initcheck", only);
    else if (!(job.minutes > 0))
        rc = err_set(&e, ERR_USAGE, "--minutes takes a number above 0");
    if (rc == 0 && file) rc = sanitize_waivers_load(&waivers, file, &e);
    if (rc == 0)
        rc = point_find(
            &p,
            &(struct point_query){
                .kind = "sanitize", .name = operands.text[0], .store = path, .track = track, .tmpl = tmpl, .set = set},
            &e);
    if (rc != 0) goto out;

    point_args(&p, path, device, templates, eval);
    job.eval = eval;
    job.folder = buf_text(&p.folder);
    job.waivers = waivers;
    job.binary = p.binary.n ? buf_text(&p.binary) : NULL;
    TRY(sanitize_all(&job, only, json ? NULL : show, &job, &worst, &list, &e));
    code = worst == SANITIZE_ERRORS ? FOUND : worst == SANITIZE_NOT_RUN ? NOT_RUN : 0;
    TRY(summary(&out, operands.text[0], &p, list, &e));
    if (json) {
        int printed = command_print_json(out);
        out = NULL;
        if (printed != 0) code = printed;
    }
out:
    json_decref(list);
    json_decref(out);
    sanitize_waivers_free(waivers);
    point_free(&p);
    return rc != 0 ? command_fail(&e, json) : code;
}

const struct command cmd_sanitize = {"sanitize", "NAME|SPACE",
                                     "runs a kernel under compute-sanitizer: memory, races, barriers",
                                     "NAME is a version (v1, v2, ...) or a prefix of a candidate's digest; a SPACE "
                                     "with --set is one of its points, as in "
                                     "`fatune eval`.\n"
                                     "Each tool sees the kernel's compilation, check and one timed sample. *clean* "
                                     "means: no report, exit code 0, and the "
                                     "kernel ran\n"
                                     "and passed its check under the tool; a tool that is missing, refused by the "
                                     "device or cut off is *not run*. Logs and "
                                     "summary.json\n"
                                     "go to the folder sanitize beside the store. Exit code 3: something was found; 4: "
                                     "nothing found, but a tool has not run.",
                                     exec};
