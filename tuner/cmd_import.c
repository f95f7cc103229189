/* fatune import: what somebody else measured, as points to try. Only names and values of parameters are taken; a time chooses what to keep. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cand.h"
#include "command.h"
#include "digest.h"
#include "paths.h"
#include "recording.h"
#include "store.h"
#include "target.h"

#define KEPT 100 /* a run takes but a few, and some of the best may not be valid on its device */

struct options {
    const char *device, *arch, *templates, *store;
    bool json;
};

struct import {
    const struct options *o;
    const char *path, *file; /* file: without its folder */
    struct space space;
    struct domain *d;
    struct recording r;
    struct store_prior *fit; /* params owned */
    int nfit, kept;
    size_t failed;
    json_t *misfits; /* why: how many points */
    bool added;
};

static int misfit(struct import *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int misfit(struct import *x, const char *fmt, ...)
{
    char why[320];
    va_list ap;
    json_int_t n;

    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    buf_clean(why); /* a character may be cut off at the end */
    n = json_integer_value(json_object_get(x->misfits, why));
    return json_object_set_new(x->misfits, why, json_integer(n + 1));
}

/* ---- which template a table is ---- */

static int param_of(const struct recording_table *table, const char *name)
{
    for (int k = 0; k < table->nparams; k++)
        if (strcmp(table->params[k].name, name) == 0) return k;
    return -1;
}

static int shared(const struct import *x, const struct recording_table *table, int tmpl)
{
    const struct tmpl *t = domain_template(x->d, tmpl);
    int n = 0;

    for (int k = 0; k < t->nparams; k++)
        n += param_of(table, t->params[k].range.name) >= 0;
    return n;
}

/* The one of its name, else the one that it has most parameters in common with; -1: none. */
static int template_of(const struct import *x, const struct recording_table *table)
{
    int best = -1, most = 0;

    for (int i = 0; i < domain_templates(x->d); i++) {
        if (strcmp(domain_template(x->d, i)->name, table->name) == 0) return i;
        if (domain_unfit(x->d, i) || shared(x, table, i) <= most) continue;
        best = i;
        most = shared(x, table, i);
    }
    return best;
}

/* ---- points ---- */

static bool value_at(const struct import *x, int tmpl, int k, const char *text, uint16_t *at)
{
    char *end;
    int64_t value;

    errno = 0;
    value = strtoll(text, &end, 10);
    for (int v = 0; v < domain_nvalues(x->d, tmpl, k) && errno == 0 && end != text && *end == '\0'; v++)
        if (domain_value(x->d, tmpl, k, v) == value) {
            *at = (uint16_t)v;
            return true;
        }
    return false;
}

/* 0 with *fits false: why is counted. A parameter that has no choice here need not be named there. */
static int point_of(struct import *x, const struct recording_point *p, struct cand *out, bool *fits)
{
    const struct recording_table *table = &x->r.tables[p->at.tmpl];
    const int tmpl = template_of(x, table);
    const struct tmpl *t = tmpl < 0 ? NULL : domain_template(x->d, tmpl);

    *fits = false;
    *out = (struct cand){.tmpl = tmpl};
    if (!t) return misfit(x, "no template of the space has a parameter of %s", table->name);
    if (domain_unfit(x->d, tmpl))
        return misfit(x, "template %s is left out here: %s", t->name, domain_unfit(x->d, tmpl));
    for (int k = 0; k < table->nparams; k++)
        if (tmpl_param_index(t, table->params[k].name) < 0)
            return misfit(x, "%s has no parameter %s", t->name, table->params[k].name);
    for (int k = 0; k < t->nparams; k++) {
        const char *name = t->params[k].range.name;
        int there = param_of(table, name);
        if (there < 0 && domain_nvalues(x->d, tmpl, k) == 1) continue;
        if (there < 0) return misfit(x, "parameter %s of %s is missing", name, t->name);
        if (!value_at(x, tmpl, k, table->params[there].values[p->at.at[there]], &out->at[k]))
            return misfit(x, "%s has no %s=%s in this space", t->name, name,
                          table->params[there].values[p->at.at[there]]);
    }
    *fits = true;
    return 0;
}

static int take_points(struct import *x, struct err *e)
{
    x->misfits = json_object();
    x->fit = calloc(x->r.n, sizeof *x->fit);
    if (!x->misfits || !x->fit) return err_nomem(e);
    for (size_t i = 0; i < x->r.n; i++) {
        const struct recording_point *p = &x->r.points[i];
        struct cand c;
        bool fits;
        x->failed += !p->ok;
        if (!p->ok) continue;
        if (point_of(x, p, &c, &fits) != 0) return err_nomem(e);
        if (!fits) continue;
        x->fit[x->nfit] = (struct store_prior){cand_to_json(x->d, &c), p->us};
        if (!x->fit[x->nfit++].params) return err_nomem(e);
    }
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const struct store_prior *x = a, *y = b;

    return (x->us > y->us) - (x->us < y->us);
}

static int nothing_fits(const struct import *x, struct err *e)
{
    struct buf why = {0};
    const char *text;
    json_t *n;

    json_object_foreach(x->misfits, text, n)
        buf_printf(&why, "\n  %s (%" JSON_INTEGER_FORMAT ")", text, json_integer_value(n));
    if (x->failed > 0) buf_printf(&why, "\n  failed there (%zu)", x->failed);
    err_set(
        e, ERR_INPUT,
        "no point of %.300s is one of space %s%.3000s\nimport takes points whose parameters have the names and values "
        "of the space's; `fatune space` lists them",
        x->path, x->space.name, buf_text(&why));
    buf_free(&why);
    return -1;
}

/* ---- into the store ---- */

/* The points themselves: a file that is only written differently is the same import. */
static int digest_of(const struct import *x, char digest[DIGEST_HEX], struct err *e)
{
    struct buf all = {0};
    int rc;

    for (int i = 0; i < x->kept; i++) {
        char *text = json_dumps(x->fit[i].params, JSON_COMPACT | JSON_SORT_KEYS);
        buf_printf(&all, "%s %.17g\n", text ? text : "", x->fit[i].us);
        if (!text) err_nomem(e);
        free(text);
    }
    rc = e->code == ERR_OK ? buf_check(&all, e) : -1;
    digest_bytes(digest, buf_text(&all), all.n);
    buf_free(&all);
    return rc;
}

static int keep(struct import *x, struct err *e)
{
    json_t *problem = problem_to_json(&x->space.problem);
    struct store *s = NULL;
    char digest[DIGEST_HEX];
    int64_t space;
    int rc;

    TRY(digest_of(x, digest, e));
    TRY(store_open(&s, paths_store(x->o->store), STORE_WRITE, e));
    TRY(store_space(s, x->space.digest, x->space.name, x->space.text, problem, &space, e));
    rc = store_import_put(s, space, x->file, digest, x->fit, x->kept, &x->added, e);
out:
    store_close(s);
    json_decref(problem);
    return rc;
}

static int import(struct import *x, const char *space, struct err *e)
{
    static struct paths paths; /* 16 KiB; this process runs one command */
    struct target target;
    int rc;

    TRY(space_load(&x->space, space, e));
    TRY(recording_read(&x->r, x->path, e));
    TRY(target_resolve(x->o->device, x->o->arch, &target, e));
    paths_templates(&paths, space, x->o->templates);
    TRY(domain_open(&x->d, &x->space, paths.dirs, paths.n, &target, e));
    TRY(take_points(x, e));
    if (x->nfit == 0) TRY(nothing_fits(x, e));
    qsort(x->fit, (size_t)x->nfit, sizeof *x->fit, by_time);
    x->kept = x->nfit < KEPT ? x->nfit : KEPT;
    rc = keep(x, e);
out:
    return rc;
}

/* ---- what it says ---- */

static json_t *to_json(const struct import *x)
{
    json_t *misfits = json_array(), *n;
    const char *why;

    json_object_foreach(x->misfits, why, n)
        json_array_append_new(misfits, json_pack("{s:s,s:O}", "why", why, "points", n));
    return json_pack("{s:s,s:s,s:I,s:I,s:i,s:i,s:b,s:o}", "file", x->path, "space", x->space.name, "points",
                     (json_int_t)x->r.n, "failed", (json_int_t)x->failed, "fit", x->nfit, "kept", x->kept, "added",
                     x->added, "misfits", misfits);
}

static void print_text(const struct import *x)
{
    const char *why;
    json_t *n;

    printf("%s: %zu points, %zu failed there; %d are points of %s\n", x->path, x->r.n, x->failed, x->nfit,
           x->space.name);
    json_object_foreach(x->misfits, why, n)
        printf("  left out: %s (%" JSON_INTEGER_FORMAT ")\n", why, json_integer_value(n));
    if (x->added)
        printf("the best %d are kept to be tried: runs propose a few of them first, and measure them here\n", x->kept);
    else
        printf("they are in the store already: nothing was written\n");
}

static void import_free(struct import *x)
{
    for (int i = 0; i < x->nfit; i++)
        json_decref(x->fit[i].params);
    free(x->fit);
    json_decref(x->misfits);
    recording_free(&x->r);
    domain_close(x->d);
    space_free(&x->space);
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct options o = {0};
    const struct command_option options[] = {
        {"device", OPTION_TEXT, &o.device, "NAME", "whose ranges the space has (default auto)"},
        {"arch", OPTION_TEXT, &o.arch, "NAME", "those of an architecture, such as sm_90, without having the device"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"store", OPTION_TEXT, &o.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &o.json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};
    struct command_operands operands;
    struct import x = {.o = &o};
    struct err e = {0};
    int rc = command_parse(self, options, argc, argv, 2, 2, &operands, &e);

    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, o.json);
    x.path = operands.text[0];
    x.file = strrchr(x.path, '/') ? strrchr(x.path, '/') + 1 : x.path;
    rc = import(&x, operands.text[1], &e);
    if (rc != 0)
        rc = command_fail(&e, o.json);
    else if (o.json)
        rc = command_print_json(to_json(&x));
    else
        print_text(&x);
    import_free(&x);
    return rc;
}

const struct command cmd_import = {"import", "FILE SPACE",
                                   "brings what somebody else measured into the store, as points to try",
                                   "FILE is T4, a cache of Kernel Tuner or a CSV, as `fatune replay` reads them, of a "
                                   "kernel whose parameters have the names\n"
                                   "and values of SPACE's. Its fastest points are kept as priors, never as results: a "
                                   "run of this space, or of another shape\n"
                                   "of the same template, proposes a few of them first and measures them itself "
                                   "(docs/SEARCH.md). What does not fit is\n"
                                   "counted, and each reason named once. Exit code 3: nothing fits.",
                                   exec};
