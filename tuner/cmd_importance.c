/* fatune importance: which parameters mattered, by what a store or a recording knows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "importance.h"
#include "paths.h"
#include "recording.h"
#include "report.h"
#include "rng.h"
#include "space.h"
#include "store.h"
#include "track.h"

struct asked {
    const char *operand, *store, *templates;
    struct track_query query;
    int sample; /* of a recording's points; 0: all */
    uint64_t seed;
    struct importance_point *points;
    size_t n, room;
};

static int add_point(struct asked *a, const struct cand *c, double us, struct err *e)
{
    if (a->n == a->room) {
        const size_t room = a->room ? 2 * a->room : 1024;
        struct importance_point *more = realloc(a->points, room * sizeof *more);
        if (!more) return err_nomem(e);
        a->points = more;
        a->room = room;
    }
    a->points[a->n++] = (struct importance_point){*c, us};
    return 0;
}

/* ---- a recording ---- */

static bool is_recording(const char *operand)
{
    const char *dot = strrchr(operand, '.');
    struct stat st;

    return stat(operand, &st) == 0 && S_ISREG(st.st_mode) &&
           !(dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0));
}

static const char *recorded_value(const void *ctx, int tmpl, int param, int at)
{
    const struct recording *r = ctx;

    return r->tables[tmpl].params[param].values[at];
}

/* All points, or as many by chance as were asked for (Knuth's algorithm S). */
static int take_recorded(struct asked *a, const struct recording *r, struct err *e)
{
    size_t left = r->n, wanted = a->sample > 0 && (size_t)a->sample < r->n ? (size_t)a->sample : r->n;
    struct rng rng;

    rng_init(&rng, a->seed, "importance sample");
    for (size_t i = 0; i < r->n; i++) {
        const struct recording_point *p = &r->points[i];
        if (rng_below(&rng, left--) >= wanted - a->n) continue;
        if (add_point(a, &p->at, p->ok ? p->us : NAN, e) != 0) return -1;
    }
    return 0;
}

static int of_recording(struct asked *a, json_t **out, struct err *e)
{
    struct recording r = {0};
    struct domain *d = NULL;
    json_t *list;
    int rc;

    TRY(recording_read(&r, a->operand, e));
    TRY(recording_domain(&d, &r, e));
    TRY(take_recorded(a, &r, e));
    TRY(importance_list(&list, d, a->points, a->n, a->seed, recorded_value, &r, e));
    *out = json_pack("{s:s,s:s,s:n,s:o}", "name", r.name, "file", a->operand, "track", "templates", list);
out:
    domain_close(d);
    recording_free(&r);
    return rc;
}

/* ---- a store ---- */

struct stored {
    struct asked *a;
    struct store *store;
    struct space space;
    struct domain *domain; /* of the newest run that tried anything */
    struct paths paths;
    int64_t environment;
    size_t stale; /* points of a template that has changed since, or of values that the space has no more */
    struct err *e;
    int rc;
};

static int take_stored(void *ctx, const struct store_evaluation *v)
{
    struct stored *s = ctx;
    struct cand c;
    char id[65];

    if (cand_from_json(s->domain, v->params, &c, NULL) != 0 || !domain_valid(s->domain, &c, NULL)) {
        s->stale++;
        return 0;
    }
    cand_id(s->domain, &c, id);
    if (strcmp(id, v->cand) != 0)
        s->stale++;
    else
        s->rc = add_point(s->a, &c, v->fate == FATE_OK ? v->us : NAN, s->e);
    return s->rc;
}

static int open_domain(struct stored *s, const struct store_run *r, struct err *e)
{
    struct target target;
    char *name = NULL, *text = NULL;
    struct stat st;
    int rc;

    TRY(store_space_text(s->store, r->space, &name, &text, e));
    TRY(space_parse(&s->space, text, strlen(text), name, e));
    TRY(target_from_json(&target, json_object_get(r->settings, "target"), e));
    paths_templates(&s->paths, stat(s->a->operand, &st) == 0 ? s->a->operand : NULL, s->a->templates);
    TRY(domain_open(&s->domain, &s->space, s->paths.dirs, s->paths.n, &target, e));
    s->environment = r->environment;
out:
    free(name);
    free(text);
    return rc;
}

/* Newest first: what was measured last of a candidate counts. Times of other environments are left out. */
static int take_run(void *ctx, const struct store_run *r)
{
    struct stored *s = ctx;
    int n = 0, end = 0;

    s->rc = store_evaluations_count(s->store, r->id, &n, &end, s->e);
    if (s->rc == 0 && n > 0 && !s->domain) s->rc = open_domain(s, r, s->e);
    if (s->rc != 0 || n == 0 || r->environment != s->environment) return s->rc;
    if (store_evaluations(s->store, r->id, take_stored, s, s->e) != 0) s->rc = -1;
    return s->rc;
}

static int of_store(struct asked *a, json_t **out, struct err *e)
{
    struct stored s = {.a = a, .e = e};
    struct track track;
    json_t *list;
    int rc;

    a->query.space = a->operand;
    TRY(store_open(&s.store, a->store, STORE_READ, e));
    TRY(track_find(s.store, a->store, &a->query, &track, e));
    TRY(store_runs(s.store, track.digest, take_run, &s, e));
    TRY(s.rc);
    if (a->n == 0) {
        rc = s.stale > 0
                 ? err_set(e, ERR_INPUT,
                           "%zu points were tried, and the templates or the space have changed since: run it again, or "
                           "give the folder of those templates with --templates",
                           s.stale)
                 : err_set(e, ERR_USAGE, "no run of %s has tried a point yet: `fatune run` does", a->operand);
        goto out;
    }
    TRY(importance_list(&list, s.domain, a->points, a->n, a->seed, NULL, NULL, e));
    *out = json_pack("{s:s,s:n,s:s,s:o}", "name", s.space.name, "file", "track", track.digest, "templates", list);
out:
    domain_close(s.domain);
    space_free(&s.space);
    store_close(s.store);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct asked a = {.seed = 1};
    struct err e = {0};
    struct buf text = {0};
    bool json = false;
    json_t *found = NULL;
    int rc;
    const struct command_option options[] = {
        {"sample", OPTION_INT, &a.sample, "N", "of a FILE: as if N of its points, by chance, were all that was tried"},
        {"seed", OPTION_U64, &a.seed, "N", "of the model and of --sample (default 1)"},
        {"device", OPTION_TEXT, &a.query.device, "NAME", "part of the device's name, where the space ran on several"},
        {"track", OPTION_TEXT, &a.query.track, "DIGEST", "which track, where a name occurs in several"},
        {"templates", OPTION_TEXT, &a.templates, "DIR", "look for templates here too"},
        {"store", OPTION_TEXT, &a.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    a.operand = operands.text[0];
    a.store = paths_store(a.store);
    if (is_recording(a.operand))
        rc = of_recording(&a, &found, &e);
    else if (a.sample > 0)
        rc = err_set(&e, ERR_USAGE, "--sample is for a recording; %s is a space", a.operand);
    else
        rc = of_store(&a, &found, &e);
    free(a.points);
    if (rc == 0 && !found) rc = err_nomem(&e);
    if (rc != 0) return command_fail(&e, json);
    if (json) return command_print_json(found);
    report_importance(&text, json_object_get(found, "templates"), true);
    fputs(buf_text(&text), stdout);
    buf_free(&text);
    json_decref(found);
    return 0;
}

const struct command cmd_importance = {"importance", "SPACE|FILE",
                                       "which parameters mattered, by how much, and which only together",
                                       "SPACE is a space's file (.yaml) or its name: what its runs have tried, as the "
                                       "store has it. FILE is a recording, as\n"
                                       "`fatune replay` reads it. Shares of the variance of the logarithm of the time, "
                                       "over the valid points, tried or not, and\n"
                                       "over the faster half of them; what was not tried is expected by a model, and "
                                       "where that cannot be believed no shares\n"
                                       "are printed. docs/IMPORTANCE.md says what a share means and what it does not.",
                                       exec};
