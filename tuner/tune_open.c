/* Everything a run stands on, in the order in which it can be refused: the space, the device, the templates, the store. Nothing is written
 * before all of them are good. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parallel.h"
#include "target.h"
#include "tune_private.h"
#include "version.h"

/* Deadlines between two signs of life of a device worker. A CPU may need seconds for one reference run. */
#define DEADLINE_GPU_S 15.0
#define DEADLINE_CPU_S 120.0

double tune_elapsed(const struct tune *t)
{
    return t->elapsed_before + worker_now() - t->started;
}

static void send(struct tune *t)
{
    if (!t->o->progress) return;
    t->progress.elapsed_s = tune_elapsed(t);
    t->progress.compiling = t->farm ? farm_pending(t->farm) : 0;
    t->progress.best = t->best_text;
    t->progress.doing = t->doing_text;
    t->o->progress(t->o->ctx, &t->progress);
}

void tune_tick(struct tune *t)
{
    t->progress.event = NULL;
    send(t);
}

void tune_report(struct tune *t, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    t->progress.event = text;
    send(t);
    t->progress.event = NULL;
}

int tune_interrupted(struct tune *t, struct err *e)
{
    if (!worker_interrupted(t->loop)) return 0;
    return err_set(e, ERR_INTERRUPTED, "interrupted; what was finished is kept: run the same command to go on");
}

void tune_environment(char out[DIGEST_HEX], const struct target *t)
{
    digest_strings(out, "environment 1", t->driver, t->uuid, t->name, t->driver_version, t->compiler, FATUNE_VERSION,
                   NULL);
}

int tune_track(char out[DIGEST_HEX], const struct space *s, const struct target *t, struct err *e)
{
    json_t *problem = problem_to_json(&s->problem);
    char *text = problem ? json_dumps(problem, JSON_SORT_KEYS | JSON_COMPACT) : NULL;

    json_decref(problem);
    if (!text) return err_nomem(e);
    digest_strings(out, "track 1", s->name, text, s->measure.cold ? "cold" : "warm", t->driver, t->name, NULL);
    free(text);
    return 0;
}

static int identify(struct tune *t, struct err *e)
{
    tune_environment(t->environment_digest, &t->target);
    return tune_track(t->track, &t->space, &t->target, e);
}

static int usable_templates(struct tune *t, struct err *e)
{
    struct buf why = {0};
    bool exact;
    int usable = 0, rc;

    TRY(domain_open(&t->domain, &t->space, t->paths.dirs, t->paths.n, &t->target, e));
    for (int i = 0; i < domain_templates(t->domain); i++) {
        const char *unfit = domain_unfit(t->domain, i);
        if (!unfit) {
            usable++;
            continue;
        }
        buf_printf(&why, "\n  %s: %s", domain_template(t->domain, i)->name, unfit);
        tune_report(t, "template %s is left out: %s", domain_template(t->domain, i)->name, unfit);
    }
    if (usable == 0)
        rc = err_set(e, ERR_DEVICE, "no template of space %s can run on %s:%s\n`fatune devices` lists other devices",
                     t->space.name, t->target.name, buf_text(&why));
    else if (domain_counted(t->domain, e) != 0)
        rc = -1;
    else if (domain_count(t->domain, &exact) == 0 && exact)
        rc = err_set(e, ERR_INPUT, "no point of space %s is valid on %s; `fatune space` shows what excludes them",
                     t->space.name, t->target.name);
out:
    buf_free(&why);
    return rc;
}

static int start_workers(struct tune *t, struct err *e)
{
    json_t *facts;

    if (parallel_wanted(&(int){0}, e) != 0) return -1; /* the device worker would say so later, and less clearly */
    if (farm_open(&t->farm, t->loop, &t->target, t->cache, t->o->jobs, worker_deadline(FARM_DEADLINE_S), e) != 0)
        return -1;
    t->deadline_s = worker_deadline(t->target.is_host_cpu ? DEADLINE_CPU_S : DEADLINE_GPU_S);
    if (tune_device_fresh(t, e) != 0) return -1;
    facts = json_pack("{s:o,s:s,s:o?}", "target", target_to_json(&t->target), "fatune",
                      FATUNE_VERSION " (" FATUNE_COMMIT ")", "state", t->environment);
    t->environment = NULL; /* facts has it */
    if (!facts) return err_nomem(e);
    t->environment = facts;
    return 0;
}

int tune_reference(struct tune *t, const struct problem *p, struct tune_item *out, struct err *e)
{
    char name[64];
    char text[4096];
    struct space s = {.problem = *p, .name = (char *)(uintptr_t) "reference", .path = (char *)(uintptr_t) ""};
    struct space_name tmpl = {.name = name, .at = {.file = t->space.path, .line = 1, .column = 1}};
    struct domain *d = NULL;
    struct cand c;
    struct rendered r = {0};
    int rc;

    snprintf(name, sizeof name, "reference_%s", t->target.language);
    s.ntemplates = 1;
    s.templates = &tmpl;
    TRY(domain_open(&d, &s, t->paths.dirs, t->paths.n, &t->target, e));
    if (domain_unfit(d, 0) || !domain_default(d, 0, &c)) {
        snprintf(text, sizeof text, "%s", domain_unfit(d, 0) ? domain_unfit(d, 0) : "its default point is excluded");
        rc = err_set(e, ERR_DEVICE, "template %s cannot serve this problem: %s", name, text);
        goto out;
    }
    TRY(cand_render(d, &c, &r, e));
    if (!(out->launch = malloc(sizeof *out->launch))) {
        rc = err_nomem(e);
        goto out;
    }
    *out->launch = r.launch;
    TRY(farm_submit(t->farm, &out->job, &r, e));
    TRY(farm_wait(t->farm, &out->job, e));
    if (out->job.fate != FATE_OK)
        rc = err_set(e, ERR_DEVICE, "the reference kernel %s did not compile on %s: %s", name, t->target.name,
                     out->job.log ? out->job.log : fate_text(out->job.fate));
out:
    rendered_free(&r);
    domain_close(d);
    return rc;
}

int tune_open_space(struct tune *t, const struct tune_options *o, struct space *space, bool with_store, struct err *e)
{
    const char *store = paths_store(o->store);
    int rc;

    t->o = o;
    t->space = *space;
    *space = (struct space){0};
    t->started = worker_now();
    t->seed = o->has_seed ? o->seed : t->space.search.seed;
    t->evaluations = o->evaluations > 0 ? o->evaluations : t->space.search.evaluations;
    t->minutes = o->minutes > 0 ? o->minutes : t->space.search.minutes;
    snprintf(t->strategy, sizeof t->strategy, "%s", o->strategy ? o->strategy : t->space.search.strategy);
    paths_templates(&t->paths, t->space.path, o->templates);
    TRY(paths_cache(t->cache, sizeof t->cache, store, e));
    TRY(target_resolve(o->device, NULL, &t->target, e));
    TRY(usable_templates(t, e));
    TRY(identify(t, e));
    t->store = o->opened;
    if (with_store && !t->store) TRY(store_open(&t->store, store, STORE_WRITE, e));
    TRY(worker_loop_open(&t->loop, e));
    TRY(start_workers(t, e));
    TRY(tune_reference(t, &t->space.problem, &t->reference, e)); /* the first thing compiled */
    t->trials = json_array();
    t->meetings = json_array();
    if (!t->trials || !t->meetings) rc = err_nomem(e);
out:
    return rc;
}

int tune_open(struct tune *t, const struct tune_options *o, bool with_store, struct err *e)
{
    struct space space = {0};
    int rc;

    t->o = o;
    TRY(space_load(&space, o->space, e));
    if (o->other_mask) space.problem.mask = space.problem.mask == MASK_CAUSAL ? MASK_NONE : MASK_CAUSAL;
    rc = tune_open_space(t, o, &space, with_store, e);
out:
    space_free(&space);
    return rc;
}

void tune_close(struct tune *t)
{
    tune_contestants_close(t);
    tune_device_drop(t);
    worker_stop(t->device);
    farm_close(t->farm);
    worker_loop_close(t->loop);
    tune_items_free(t);
    for (int i = 0; i < t->napart; i++)
        tune_item_free(&t->apart[i]);
    tune_shapes_close(t);
    tune_item_free(&t->reference);
    tune_item_free(&t->again);
    if (t->has_champion) store_champion_free(&t->champion);
    store_run_free(&t->run);
    if (t->o && !t->o->opened) store_close(t->store);
    domain_close(t->domain);
    space_free(&t->space);
    json_decref(t->environment);
    json_decref(t->trials);
    json_decref(t->meetings);
    json_decref(t->decided);
    json_decref(t->night_facts);
    sanitize_waivers_free(t->waivers);
    *t = (struct tune){0};
}
