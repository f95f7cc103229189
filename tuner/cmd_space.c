/* fatune space: what a space means on one device, before anything runs: points, what excludes how many of them, and why. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cand.h"
#include "command.h"
#include "contestant.h"
#include "farm.h"
#include "paths.h"
#include "report.h"
#include "sweep.h"
#include "target.h"

struct options {
    const char *device, *arch, *templates, *contestants, *store;
    bool json, quiet;
    int list, compile, jobs;
    uint64_t seed;
};

struct view {
    const struct options *o;
    const char *path;
    struct space space;
    struct target target;
    struct domain *d;
    uint64_t valid;
    bool exact;
    const struct domain_exclusion *x;
    int nx;
    json_t *compilation; /* with --compile */
};

/* What the exclusions of a template leave. */
static uint64_t valid_of(const struct view *v, int tmpl)
{
    uint64_t n = domain_product(v->d, tmpl);

    for (int i = 0; i < v->nx; i++)
        if (v->x[i].tmpl == tmpl) n -= v->x[i].points < n ? v->x[i].points : n;
    return n;
}

static void print_head(const struct view *v)
{
    char text[160], device[64];

    problem_text(&v->space.problem, text, sizeof text);
    target_text(&v->target, device, sizeof device);
    printf("space      %s (%s)\nproblem    %s\n", v->space.name, v->path, text);
    if (v->target.index < 0)
        printf("device     none, planned for %s\n", v->target.arch);
    else
        printf("device     %s %s%s%s%s\n", device, v->target.name, v->target.arch[0] ? " (" : "", v->target.arch,
               v->target.arch[0] ? ")" : "");
    printf("budget     %d evaluations or %g minutes, strategy %s, seed %" PRIu64 "\n", v->space.search.evaluations,
           v->space.search.minutes, v->space.search.strategy, v->space.search.seed);
}

static void print_ranges(const struct view *v, int i)
{
    const struct tmpl *t = domain_template(v->d, i);

    for (int k = 0; k < t->nparams; k++) {
        struct buf values = {0};
        for (int j = 0; j < domain_nvalues(v->d, i, k); j++)
            buf_printf(&values, "%s%" PRId64, j > 0 ? " " : "", domain_value(v->d, i, k, j));
        printf("    %-12s %-24s %s\n", t->params[k].range.name, buf_text(&values), t->params[k].what);
        buf_free(&values);
    }
}

static void print_exclusions(const struct view *v, int i)
{
    bool any = false;
    int idle = 0;

    for (int k = 0; k < v->nx; k++) {
        const struct domain_exclusion *x = &v->x[k];
        if (x->tmpl != i) continue;
        idle += x->points == 0;
        if (x->points == 0) continue;
        if (!any) printf("    excluded   by\n");
        any = true;
        printf("    %8" PRIu64 "   %s", x->points, x->text);
        if (x->failed)
            printf("   (cannot be evaluated there)\n");
        else
            printf("%s%s\n", x->why ? "   " : "", x->why ? x->why : "");
    }
    if (idle > 0)
        printf("    %8d   %s%s nothing here\n", idle, any ? "more constraint" : "constraint",
               idle == 1 ? " excludes" : "s exclude");
}

static void print_template(const struct view *v, int i)
{
    const struct tmpl *t = domain_template(v->d, i);
    const char *unfit = domain_unfit(v->d, i);
    struct cand c;
    struct buf text = {0};

    if (unfit) {
        printf("\n%s   left out: %s\n", t->name, unfit);
        return;
    }
    printf("\n%s   %" PRIu64 " points, %s%" PRIu64 " valid\n", t->name, domain_product(v->d, i),
           v->exact ? "" : "about ", valid_of(v, i));
    print_ranges(v, i);
    print_exclusions(v, i);
    if (domain_default(v->d, i, &c)) {
        cand_text(v->d, &c, &text);
        printf("    default    %s\n", buf_text(&text));
    } else {
        struct err why = {0};
        domain_valid(v->d, &c, &why);
        printf("    default    excluded: %s\n", why.text);
    }
    buf_free(&text);
}

static void print_list(const struct view *v)
{
    uint64_t rank = 0;
    struct cand c;

    if (v->o->list > 0) printf("\nfirst points\n");
    for (int n = 0; n < v->o->list && domain_next(v->d, &rank, &c); n++) {
        struct buf text = {0};
        cand_text(v->d, &c, &text);
        printf("    %s\n", buf_text(&text));
        buf_free(&text);
    }
}

static void print_text(const struct view *v)
{
    struct buf text = {0};

    print_head(v);
    for (int i = 0; i < domain_templates(v->d); i++)
        if (!v->compilation || domain_unfit(v->d, i)) print_template(v, i);
    if (v->compilation) report_compilation(&text, v->compilation);
    fputs(buf_text(&text), stdout);
    printf("\n%s%" PRIu64 " valid points in all%s\n", v->exact ? "" : "about ", v->valid,
           v->exact ? "" : " (estimated from 100,000 uniform draws)");
    for (int i = 0; i < v->space.ncontestants; i++)
        printf("%s%s", i ? ", " : "contestants: ", v->space.contestants[i].name);
    if (v->space.ncontestants > 0) printf("\n");
    print_list(v);
    buf_free(&text);
}

static json_t *template_json(const struct view *v, int i)
{
    const struct tmpl *t = domain_template(v->d, i);
    const char *unfit = domain_unfit(v->d, i);
    json_t *j = json_pack("{s:s, s:s, s:s?, s:I, s:I}", "name", t->name, "digest", t->digest, "left_out", unfit,
                          "points", (json_int_t)domain_product(v->d, i), "valid", (json_int_t)valid_of(v, i));
    json_t *params = json_object(), *excluded = json_array();
    struct cand c;

    for (int k = 0; k < t->nparams; k++) {
        json_t *values = json_array();
        for (int n = 0; n < domain_nvalues(v->d, i, k); n++)
            json_array_append_new(values, json_integer(domain_value(v->d, i, k, n)));
        json_object_set_new(params, t->params[k].range.name, values);
    }
    for (int k = 0; k < v->nx; k++)
        if (v->x[k].tmpl == i)
            json_array_append_new(excluded, json_pack("{s:s, s:s?, s:I, s:b, s:i}", "if", v->x[k].text, "why",
                                                      v->x[k].why, "points", (json_int_t)v->x[k].points, "failed",
                                                      v->x[k].failed, "line", v->x[k].at.line));
    json_object_set_new(j, "params", params);
    json_object_set_new(j, "excluded", excluded);
    json_object_set_new(j, "default", domain_default(v->d, i, &c) ? cand_to_json(v->d, &c) : json_null());
    return j;
}

static json_t *to_json(const struct view *v)
{
    json_t *templates = json_array(), *list = json_array(), *contestants = json_array();
    uint64_t rank = 0;
    struct cand c;

    for (int i = 0; i < domain_templates(v->d); i++)
        json_array_append_new(templates, template_json(v, i));
    for (int n = 0; n < v->o->list && domain_next(v->d, &rank, &c); n++)
        json_array_append_new(list, cand_to_json(v->d, &c));
    for (int i = 0; i < v->space.ncontestants; i++)
        json_array_append_new(contestants, json_string(v->space.contestants[i].name));
    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:b, s:o, s:o, s:o, s:O*}", "space", v->space.name, "digest",
                     v->space.digest, "problem", problem_to_json(&v->space.problem), "device",
                     target_to_json(&v->target), "valid", (json_int_t)v->valid, "exact", v->exact, "templates",
                     templates, "list", list, "contestants", contestants, "compilation", v->compilation);
}

static int look(struct view *v, struct err *e)
{
    static struct paths paths; /* 16 KiB; this process runs one command */
    int rc;

    TRY(space_load(&v->space, v->path, e));
    TRY(target_resolve(v->o->device, v->o->arch, &v->target, e));
    paths_templates(&paths, v->path, v->o->templates);
    TRY(domain_open(&v->d, &v->space, paths.dirs, paths.n, &v->target, e));
    paths_contestants(&paths, v->path, v->o->contestants);
    for (int i = 0; i < v->space.ncontestants; i++) {
        struct contestant_program p;
        TRY(contestant_find(&p, &v->space.contestants[i], v->path, &paths, e));
        contestant_program_free(&p);
    }
    TRY(domain_counted(v->d, e));
    v->valid = domain_count(v->d, &v->exact);
    v->nx = domain_exclusions(v->d, &v->x);
out:
    return rc;
}

/* Why a space that was looked at cannot be used; 0: it can. */
static int judge(const struct view *v, int failed, struct err *e)
{
    bool usable = false;

    for (int i = 0; i < domain_templates(v->d); i++)
        usable = usable || !domain_unfit(v->d, i);
    if (!usable)
        return err_set(e, ERR_DEVICE,
                       "no template of %s can run on this device; why is said above, `fatune devices` lists others",
                       v->space.name);
    if (v->valid == 0)
        return err_set(e, ERR_INPUT, "no point of %s can run on this device; what excludes them is listed above",
                       v->space.name);
    if (failed > 0)
        return err_set(
            e, ERR_INPUT,
            "%d of the points of %s that were compiled failed; let constraints of their templates exclude such "
            "points, or mend the kernels",
            failed, v->space.name);
    return 0;
}

static void show_progress(void *ctx, const struct sweep_progress *p)
{
    struct tune_progress line = {.phase = TUNE_COMPILE,
                                 .done = p->done,
                                 .total = p->total,
                                 .elapsed_s = p->elapsed_s,
                                 .left_s = -1,
                                 .compiling = p->compiling};

    memcpy(line.fates, p->fates, sizeof line.fates);
    report_progress_show(ctx, &line);
}

static int compile(struct view *v, int *failed, struct err *e)
{
    struct report_progress progress;
    char cache[4096];
    struct sweep_options o = {.cache = cache,
                              .jobs = v->o->jobs,
                              .points = v->o->compile,
                              .deadline_s = worker_deadline(FARM_DEADLINE_S),
                              .seed = v->o->seed == UINT64_MAX ? v->space.search.seed : v->o->seed,
                              .ctx = &progress};
    int rc;

    if (paths_cache(cache, sizeof cache, paths_store(v->o->store), e) != 0) return -1;
    report_progress_open(&progress, stderr);
    if (!v->o->quiet) o.progress = show_progress;
    rc = sweep_run(&v->compilation, failed, v->d, &v->target, &o, e);
    report_progress_close(&progress);
    return rc;
}

static int show(struct view *v, struct err *e)
{
    int failed = 0, rc = 0;

    if (look(v, e) != 0 || (v->o->compile > 0 && compile(v, &failed, e) != 0)) return command_fail(e, v->o->json);
    if (v->o->json)
        rc = command_print_json(to_json(v));
    else
        print_text(v);
    if (rc == 0 && judge(v, failed, e) != 0) rc = command_fail(e, false);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct options o = {.seed = UINT64_MAX};
    const struct command_option options[] = {
        {"device", OPTION_TEXT, &o.device, "NAME", "device to plan for (default auto); `fatune devices` lists them"},
        {"arch", OPTION_TEXT, &o.arch, "NAME", "plan for an architecture, such as sm_89, without having the device"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"contestants", OPTION_TEXT, &o.contestants, "DIR", "look for contestants here too"},
        {"list", OPTION_INT, &o.list, "N", "print the first N valid points"},
        {"compile", OPTION_COUNT, &o.compile, "[N]",
         "compile all points, or N of each template, and say what came of it"},
        {"seed", OPTION_U64, &o.seed, "N", "seed that draws those N (default: the space's)"},
        {"jobs", OPTION_INT, &o.jobs, "N", "compile workers (default: one a core)"},
        {"store", OPTION_TEXT, &o.store, "FILE", "its folder holds the binary cache; nothing is stored"},
        {"json", OPTION_FLAG, &o.json, NULL, "print as JSON (docs/JSON.md)"},
        {"quiet", OPTION_FLAG, &o.quiet, NULL, "no progress"},
        {0}};
    struct command_operands operands;
    struct view v = {.o = &o};
    struct err e = {0};
    int rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);

    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, o.json);
    v.path = operands.text[0];
    rc = show(&v, &e);
    json_decref(v.compilation);
    domain_close(v.d);
    space_free(&v.space);
    return rc;
}

const struct command cmd_space = {
    "space", "SPACE", "check a space: points per template, and what excludes how many",
    "Loads the space and its templates for one device, counts the points, and says for every constraint how many of "
    "them it excludes and why, and which templates cannot be used here. With --compile it compiles them, too, for an "
    "architecture that need not be here if --arch says so, and says what failed, what spills, and which parameters "
    "changed "
    "nothing. Nothing is run. Exit code 3: no point is valid, or some that were compiled failed.",
    exec};
