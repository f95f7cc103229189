/* Sizes. Tensors for the L2 take a quarter of it, since some devices keep what is read in both halves; tensors for the memory eight times as
 * much as the L2 holds, so that at most an eighth of a pass is found there. The others need a few values to begin with.
 *
 * Points are measured one after the other, each compiled before it: where the device is the host's CPU, nothing else may run. */
#include "ceiling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cand.h"
#include "digest.h"
#include "farm.h"
#include "paths.h"
#include "stats.h"
#include "tune.h"
#include "wire.h"
#include "worker.h"

#define DEADLINE_S 120.0 /* between two signs of life of the device worker */
#define FILE_LIMIT (1u << 20)

static const struct {
    const char *name, *work, *unit;
    const char *templates[4]; /* NULL-terminated; the best point of those that fit is the ceiling */
} kinds[CEILING_N] = {
    [CEILING_MATRIX] = {"matrix", "FLOP", "FLOP/s", {"ceiling_wgmma", "ceiling_mma", "ceiling_fma_opencl"}},
    [CEILING_EXP] = {"exp", "EXPS", "exp/s", {"ceiling_exp_cuda", "ceiling_exp_opencl"}},
    [CEILING_L2] = {"l2", "BYTES", "B/s", {"ceiling_memory_cuda", "ceiling_memory_opencl"}},
    [CEILING_DRAM] = {"dram", "BYTES", "B/s", {"ceiling_memory_cuda", "ceiling_memory_opencl"}},
};

const char *ceiling_name(enum ceiling_kind k)
{
    return kinds[k].name;
}

const char *ceiling_unit(enum ceiling_kind k)
{
    return kinds[k].unit;
}

struct ceiling_rates ceiling_rates(const struct ceiling *c)
{
    struct ceiling_rates r = {0};
    double least, median, most;

    if (c->n > 0 && stats_quantile(c->us, c->n, 0, &least) == STATS_OK &&
        stats_median(c->us, c->n, &median) == STATS_OK && stats_quantile(c->us, c->n, 1, &most) == STATS_OK)
        r = (struct ceiling_rates){1e6 * c->work / least, 1e6 * c->work / median, 1e6 * c->work / most};
    return r;
}

/* ---- JSON ---- */

static json_t *to_json(const struct ceiling *c, enum ceiling_kind k)
{
    struct ceiling_rates r = ceiling_rates(c);
    json_t *samples = json_array();

    if (c->n == 0) {
        json_decref(samples);
        return json_pack("{s:s,s:s,s:s}", "name", kinds[k].name, "unit", kinds[k].unit, "why", c->why);
    }
    for (int i = 0; i < c->n; i++)
        json_array_append_new(samples, json_real(c->us[i]));
    return json_pack("{s:s,s:s,s:f,s:f,s:f,s:s,s:f,s:o}", "name", kinds[k].name, "unit", kinds[k].unit, "rate", r.best,
                     "rate_median", r.median, "rate_worst", r.worst, "kernel", c->kernel, "work", c->work, "samples_us",
                     samples);
}

json_t *ceilings_to_json(const struct ceilings *c)
{
    json_t *list = json_array();

    for (int k = 0; k < CEILING_N; k++)
        json_array_append_new(list, to_json(&c->of[k], (enum ceiling_kind)k));
    return list;
}

static int from_json(struct ceiling *c, enum ceiling_kind k, const json_t *j)
{
    const char *name = json_string_value(json_object_get(j, "name"));
    const char *kernel = json_string_value(json_object_get(j, "kernel"));
    const char *why = json_string_value(json_object_get(j, "why"));
    const json_t *samples = json_object_get(j, "samples_us");

    *c = (struct ceiling){.work = json_number_value(json_object_get(j, "work"))};
    if (!name || strcmp(name, kinds[k].name) != 0 || (!kernel && !why)) return -1;
    snprintf(c->why, sizeof c->why, "%s", why ? why : "");
    if (why) return 0;
    snprintf(c->kernel, sizeof c->kernel, "%s", kernel);
    if (json_array_size(samples) == 0 || json_array_size(samples) > CEILING_SAMPLES ||
        !(c->work > 0 && c->work < STATS_LARGEST))
        return -1;
    while (c->n < (int)json_array_size(samples)) {
        double us = json_number_value(json_array_get(samples, (size_t)c->n));
        if (!bench_is_time(us)) return -1;
        c->us[c->n++] = us;
    }
    return 0;
}

int ceilings_from_json(struct ceilings *out, const json_t *list)
{
    if (json_array_size(list) != CEILING_N) return -1;
    for (int k = 0; k < CEILING_N; k++)
        if (from_json(&out->of[k], (enum ceiling_kind)k, json_array_get(list, (size_t)k)) != 0) return -1;
    return 0;
}

/* ---- what is measured ---- */

struct setup {
    const struct ceiling_job *job;
    struct paths paths;
    char cache[4096];
    struct space space[CEILING_N];
    struct space_name names[CEILING_N][4];
    struct domain *domain[CEILING_N]; /* NULL: why not is in the ceiling */
    struct worker_loop *loop;
    struct farm *farm;
    struct worker *device; /* NULL: none yet, or it is gone */
};

/* Three tensors to read, and one to write to, of so many bytes or a little more each. */
static struct problem of_bytes(double bytes)
{
    int rows = (int)ceil(bytes / 128), seq = rows < 4096 ? rows : 4096, heads = (rows + seq - 1) / seq;

    return (struct problem){.batch = 1,
                            .heads = heads,
                            .kv_heads = heads,
                            .seq_q = seq,
                            .seq_kv = seq,
                            .head_dim = 64,
                            .dtype = DTYPE_F16,
                            .scale = 0.125};
}

static bool problem_of(enum ceiling_kind k, const struct target *t, struct problem *p, struct ceiling *c)
{
    double l2 = (double)t->l2_bytes, dram = fmax(8 * l2, 64 << 20);

    if (k == CEILING_L2 && t->l2_bytes <= 0) {
        snprintf(c->why, sizeof c->why, "the device does not say how large its L2 is");
        return false;
    }
    if (t->memory_bytes > 0) dram = fmin(dram, (double)t->memory_bytes / 4);
    *p = of_bytes(k == CEILING_L2 ? l2 / 12 : k == CEILING_DRAM ? dram / 3 : 512 << 10);
    return true;
}

static int open_domain(struct setup *s, enum ceiling_kind k, struct ceiling *c, struct err *e)
{
    struct space *space = &s->space[k];
    struct buf why = {0};
    bool exact;

    *space = (struct space){.name = (char *)(uintptr_t)kinds[k].name, .path = (char *)(uintptr_t) ""};
    if (!problem_of(k, s->job->target, &space->problem, c)) return 0;
    space->templates = s->names[k];
    for (; kinds[k].templates[space->ntemplates]; space->ntemplates++)
        s->names[k][space->ntemplates] =
            (struct space_name){.name = (char *)(uintptr_t)kinds[k].templates[space->ntemplates],
                                .at = {.file = "ceilings", .line = 1, .column = 1}};
    if (domain_open(&s->domain[k], space, s->paths.dirs, s->paths.n, s->job->target, e) != 0) return -1;
    if (domain_counted(s->domain[k], e) != 0) return -1;
    if (domain_count(s->domain[k], &exact) > 0) return 0;
    for (int i = 0; i < domain_templates(s->domain[k]); i++) {
        const char *unfit = domain_unfit(s->domain[k], i);
        buf_printf(&why, "%s%s: %s", why.n ? "; " : "", domain_template(s->domain[k], i)->name,
                   unfit ? unfit : "no point of it is valid here");
    }
    snprintf(c->why, sizeof c->why, "%.500s", buf_text(&why));
    buf_free(&why);
    domain_close(s->domain[k]);
    s->domain[k] = NULL;
    return 0;
}

/* What would be measured differently is kept elsewhere. */
static int place(struct setup *s, struct ceilings *out, struct err *e)
{
    const char *store = s->job->store, *slash = strrchr(store, '/');
    char key[DIGEST_HEX], environment[DIGEST_HEX];
    struct buf text = {0};

    tune_environment(environment, s->job->target);
    for (int k = 0; k < CEILING_N; k++)
        for (int i = 0; s->domain[k] && i < domain_templates(s->domain[k]); i++)
            buf_printf(&text, "%s ", domain_template(s->domain[k], i)->digest);
    digest_strings(key, "ceilings 1", environment, buf_text(&text), (char *)NULL);
    buf_free(&text);
    if (snprintf(out->file, sizeof out->file, "%.*s/ceilings/%.16s.json", slash ? (int)(slash - store) : 1,
                 slash ? store : ".", key) >= (int)sizeof out->file)
        return err_set(e, ERR_SYSTEM, "the path of the store is too long");
    return 0;
}

static bool known(struct ceilings *out)
{
    struct ceilings kept;
    struct buf text = {0};
    json_t *j = NULL;
    bool good;

    if (buf_read_file(&text, out->file, FILE_LIMIT, ERR_SYSTEM, &(struct err){0}) == 0)
        j = json_loadb(buf_text(&text), text.n, 0, NULL);
    good = ceilings_from_json(&kept, json_object_get(j, "ceilings")) == 0;
    if (good) memcpy(out->of, kept.of, sizeof out->of);
    json_decref(j);
    buf_free(&text);
    return good;
}

static int keep(const struct ceilings *c, const struct target *t, struct err *e)
{
    json_t *j = json_pack("{s:o,s:o}", "target", target_to_json(t), "ceilings", ceilings_to_json(c));
    char *text = j ? json_dumps(j, JSON_SORT_KEYS | JSON_INDENT(2)) : NULL;
    int rc;

    json_decref(j);
    if (!text) return err_nomem(e);
    TRY(paths_make(c->file, e));
    rc = buf_write_file(c->file, text, strlen(text), e);
out:
    free(text);
    return rc;
}

/* ---- measuring ---- */

static int device_open(struct setup *s, struct err *e)
{
    json_t *reply = NULL;
    enum worker_outcome outcome;
    const char *error;
    int rc = 0;

    worker_stop(s->device);
    s->device = NULL;
    if (worker_spawn(s->loop, s->cache, &s->device, e) != 0) return -1;
    outcome =
        worker_call_take(s->device, json_pack("{s:s,s:o}", "op", "open", "target", target_to_json(s->job->target)),
                         worker_deadline(DEADLINE_S), NULL, NULL, &reply);
    error = wire_error(reply);
    if (outcome != WORKER_REPLY || error)
        rc = err_set(e, ERR_DEVICE, "the device %s does not answer: %s", s->job->target->name,
                     error ? error : worker_words(s->device));
    json_decref(reply);
    return rc;
}

/* The samples of one point, which take the place of c's when their best is better. */
static void take(struct ceiling *c, const struct ceiling *other)
{
    if (other->n > 0 && ceiling_rates(other).best > ceiling_rates(c).best) *c = *other;
}

static int time_point(struct setup *s, const struct problem *p, const struct farm_job *j, const struct launch *l,
                      struct ceiling *c, struct err *e)
{
    json_t *request, *reply = NULL;
    const json_t *samples;
    const char *fate, *text;
    enum worker_outcome outcome;

    if ((!s->device || !worker_alive(s->device)) && device_open(s, e) != 0) return -1;
    request =
        json_pack("{s:s,s:o,s:{s:s,s:o,s:i},s:{s:i,s:i,s:{s:o,s:b,s:i},s:b}}", "op", "evaluate", "problem",
                  problem_to_json(p), "kernel", "key", j->key, "launch", launch_to_json(l), "k", 0, "time", "samples",
                  CEILING_SAMPLES, "k", 0, "bench", "problem", problem_to_json(p), "cold", 0, "seed", 1, "verify", 1);
    outcome = worker_call_take(s->device, request, worker_deadline(DEADLINE_S), NULL, NULL, &reply);
    fate = json_string_value(json_object_get(reply, "fate"));
    text = json_string_value(json_object_get(reply, "text"));
    samples = json_object_get(reply, "samples");
    if (outcome != WORKER_REPLY || wire_error(reply)) {
        snprintf(c->why, sizeof c->why, "%.500s", wire_error(reply) ? wire_error(reply) : worker_words(s->device));
        worker_stop(s->device);
        s->device = NULL;
    } else if (!fate || strcmp(fate, "OK") != 0) {
        snprintf(c->why, sizeof c->why, "%s: %.480s", fate ? fate : "no fate", text ? text : "");
    } else {
        for (int i = 0; i < CEILING_SAMPLES && i < (int)json_array_size(samples); i++)
            if (bench_is_time(json_number_value(json_array_get(samples, (size_t)i))))
                c->us[c->n++] = json_number_value(json_array_get(samples, (size_t)i));
        if (c->n == 0) snprintf(c->why, sizeof c->why, "the worker's answer makes no sense: it has no times");
    }
    if (json_is_true(json_object_get(reply, "leave"))) {
        worker_stop(s->device);
        s->device = NULL;
    }
    json_decref(reply);
    return worker_interrupted(s->loop) ? err_set(e, ERR_INTERRUPTED, "interrupted") : 0;
}

static int measure_point(struct setup *s, enum ceiling_kind k, const struct cand *point, struct ceiling *best,
                         struct err *e)
{
    struct ceiling c = {0};
    struct rendered r = {0};
    struct farm_job j = {.done = false};
    struct buf name = {0};
    int64_t work;
    int rc;

    cand_text(s->domain[k], point, &name);
    snprintf(c.kernel, sizeof c.kernel, "%s", buf_text(&name));
    if (s->job->progress) s->job->progress(s->job->ctx, c.kernel);
    TRY(cand_render(s->domain[k], point, &r, e));
    TRY(cand_value(s->domain[k], point, kinds[k].work, &work, e));
    c.work = (double)work;
    TRY(farm_submit(s->farm, &j, &r, e));
    TRY(farm_wait(s->farm, &j, e));
    if (j.fate != FATE_OK)
        snprintf(c.why, sizeof c.why, "%s: %.480s", fate_name(j.fate), j.log ? j.log : "");
    else
        TRY(time_point(s, &s->space[k].problem, &j, &r.launch, &c, e));
    take(best, &c);
    if (best->n == 0) snprintf(best->why, sizeof best->why, "%.250s: %.250s", c.kernel, c.why);
out:
    farm_job_free(&j);
    rendered_free(&r);
    buf_free(&name);
    return rc;
}

static int measure(struct setup *s, struct ceilings *out, struct err *e)
{
    bool whole = true;

    if (worker_loop_open(&s->loop, e) != 0 ||
        farm_open(&s->farm, s->loop, s->job->target, s->cache, 0, worker_deadline(FARM_DEADLINE_S), e) != 0)
        return -1;
    for (int k = 0; k < CEILING_N; k++) {
        uint64_t rank = 0;
        struct cand point;
        if (!s->domain[k]) continue;
        while (domain_next(s->domain[k], &rank, &point))
            if (measure_point(s, (enum ceiling_kind)k, &point, &out->of[k], e) != 0) return -1;
        whole = whole && out->of[k].n > 0;
    }
    out->measured = true;
    return whole ? keep(out, s->job->target, e) : 0;
}

int ceiling_measure(const struct ceiling_job *job, struct ceilings *out, struct err *e)
{
    struct setup *s = calloc(1, sizeof *s);
    int rc;

    *out = (struct ceilings){0};
    if (!s) return err_nomem(e);
    s->job = job;
    paths_templates(&s->paths, NULL, job->templates);
    TRY(paths_cache(s->cache, sizeof s->cache, job->store, e));
    for (int k = 0; k < CEILING_N; k++)
        TRY(open_domain(s, (enum ceiling_kind)k, &out->of[k], e));
    TRY(place(s, out, e));
    if (job->fresh || !known(out)) rc = measure(s, out, e);
out:
    worker_stop(s->device);
    farm_close(s->farm);
    worker_loop_close(s->loop);
    for (int k = 0; k < CEILING_N; k++)
        domain_close(s->domain[k]);
    free(s);
    return rc;
}
