/* Points are drawn by reservoir sampling in one walk over each template's valid points, and compiled in the domain's order
 * with a window of jobs; the report is made from the finished list. */
#include "sweep.h"

#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "farm.h"
#include "knobs.h"
#include "rng.h"
#include "worker.h"

enum { WINDOW_OF_A_JOB = 4, NAMED = 1000 };

struct point {
    struct cand cand;
    uint64_t rank;
    enum fate fate;
    char identity[DIGEST_HEX];
    int64_t registers, shared_bytes, spilled_bytes, spills, tensor_ops; /* -1: unknown */
    char *why;                                                          /* NULL unless it failed */
};

struct slot {
    struct farm_job job;
    struct launch launch;
    int64_t spills;
    struct point *point; /* NULL: free */
};

struct sweep {
    const struct sweep_options *o;
    const struct target *target;
    struct domain *d;
    struct worker_loop *loop;
    struct farm *farm;
    struct point *points;
    int n, cap;
    uint64_t *valid; /* of each template */
    struct slot *slots;
    int nslots;
    struct sweep_progress progress;
    double started;
};

/* ---- points ---- */

static int append(struct sweep *s, const struct cand *c, uint64_t rank, struct err *e)
{
    if (s->n == s->cap) {
        int cap = s->cap ? 2 * s->cap : 256;
        struct point *more = realloc(s->points, (size_t)cap * sizeof *more);
        if (!more) return err_nomem(e);
        s->points = more;
        s->cap = cap;
    }
    s->points[s->n++] = (struct point){.cand = *c, .rank = rank};
    return 0;
}

static int by_rank(const void *a, const void *b)
{
    const struct point *x = a, *y = b;

    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* The n-th valid point of a template takes the place of a kept one with probability points / n. Points of a template follow
 * each other, so those kept of it are the last ones of the list. */
static int draw(struct sweep *s, struct err *e)
{
    uint64_t rank = 0;
    struct cand c;
    struct rng rng;
    int tmpl = -1, first = 0;

    rng_init(&rng, s->o->seed, "sweep");
    while (domain_next(s->d, &rank, &c)) {
        uint64_t place;
        if (c.tmpl != tmpl) first = s->n;
        tmpl = c.tmpl;
        place = s->valid[tmpl]++;
        if (s->n - first < s->o->points) {
            if (append(s, &c, rank, e) != 0) return -1;
            continue;
        }
        place = rng_below(&rng, place + 1);
        if (place < (uint64_t)s->o->points) s->points[first + (int)place] = (struct point){.cand = c, .rank = rank};
    }
    if (s->n > 0) qsort(s->points, (size_t)s->n, sizeof *s->points, by_rank);
    s->progress.total = s->n;
    return 0;
}

/* ---- compiling ---- */

/* What a person reads first of a log: the line that names an error, else the first one; at most 400 bytes. */
static char *first_words(const char *log)
{
    const char *at = strstr(log, "error");
    size_t n;

    while (at && at > log && at[-1] != '\n')
        at--;
    if (!at) at = log + strspn(log, "\n");
    n = strcspn(at, "\n");
    return strndup(at, n < 400 ? n : 400);
}

static int64_t resource(const struct farm_job *j, const char *name)
{
    const json_t *x = json_object_get(j->resources, name);

    return json_is_integer(x) ? json_integer_value(x) : -1;
}

static void finish(struct sweep *s, struct point *p, enum fate fate, const char *log)
{
    p->fate = fate;
    if (fate != FATE_OK) p->why = first_words(log ? log : fate_text(fate));
    s->progress.fates[fate]++;
    s->progress.done++;
}

static void harvest(struct sweep *s, struct slot *slot)
{
    struct point *p = slot->point;
    int64_t shared = resource(&slot->job, "shared_static_bytes");

    p->registers = resource(&slot->job, "registers");
    p->shared_bytes = slot->launch.shared_bytes + (shared > 0 ? shared : 0);
    p->spilled_bytes = farm_spilled(&slot->job);
    p->spills = slot->spills;
    p->tensor_ops = resource(&slot->job, "tensor_ops");
    farm_identity(p->identity, &slot->job, &slot->launch);
    finish(s, p, slot->job.fate, slot->job.log);
    farm_job_free(&slot->job);
    slot->point = NULL;
}

static int begin(struct sweep *s, struct slot *slot, struct point *p, struct err *e)
{
    struct rendered r = {0};
    struct err why = {0};
    int rc = 0;

    if (cand_render(s->d, &p->cand, &r, &why) != 0) {
        p->registers = p->shared_bytes = p->spilled_bytes = p->tensor_ops = -1;
        finish(s, p, FATE_RENDER, why.text);
    } else {
        *slot = (struct slot){.launch = r.launch, .spills = r.spills, .point = p};
        rc = farm_submit(s->farm, &slot->job, &r, e);
    }
    rendered_free(&r);
    return rc;
}

static void tell(struct sweep *s)
{
    s->progress.compiling = farm_pending(s->farm);
    s->progress.elapsed_s = worker_now() - s->started;
    if (s->o->progress) s->o->progress(s->o->ctx, &s->progress);
}

static int compile_all(struct sweep *s, struct err *e)
{
    int next = 0;

    while (s->progress.done < s->n) {
        bool moved = false;
        if (worker_interrupted(s->loop)) return err_set(e, ERR_INTERRUPTED, "interrupted; what was compiled is kept");
        if (farm_check(s->farm, e) != 0) return -1;
        for (int i = 0; i < s->nslots; i++) {
            struct slot *slot = &s->slots[i];
            if (slot->point && slot->job.done) {
                harvest(s, slot);
                moved = true;
            }
            if (slot->point || next == s->n) continue;
            if (begin(s, slot, &s->points[next++], e) != 0) return -1;
            moved = true;
        }
        if (!moved) worker_pump(s->loop, 0.2);
        tell(s);
    }
    return 0;
}

/* ---- the report ---- */

struct range {
    int64_t least, most;
};

static void widen(struct range *r, int64_t x)
{
    if (x < 0) return;
    if (r->least < 0 || x < r->least) r->least = x;
    if (x > r->most) r->most = x;
}

static json_t *range_json(const struct range *r)
{
    return r->least < 0 ? json_pack("[n,n]") : json_pack("[I,I]", (json_int_t)r->least, (json_int_t)r->most);
}

/* A point of a list, with its text and digest; takes more's reference. */
static void name_point(const struct sweep *s, json_t *list, const struct point *p, json_t *more)
{
    struct buf text = {0};
    char id[DIGEST_HEX];

    cand_text(s->d, &p->cand, &text);
    cand_id(s->d, &p->cand, id);
    json_object_set_new(more, "candidate", json_string(buf_text(&text)));
    json_object_set_new(more, "id", json_string(id));
    json_array_append_new(list, more);
    buf_free(&text);
}

struct tally {
    int points, fates[FATE_N], without_tensor_ops;
    struct range registers, shared_bytes, tensor_ops;
    json_t *failures, *spilling;
};

static void count(const struct sweep *s, struct tally *t, const struct point *p)
{
    t->points++;
    t->fates[p->fate]++;
    widen(&t->registers, p->registers);
    widen(&t->shared_bytes, p->shared_bytes);
    widen(&t->tensor_ops, p->tensor_ops);
    t->without_tensor_ops += p->tensor_ops == 0;
    if (p->fate != FATE_OK && json_array_size(t->failures) < NAMED)
        name_point(s, t->failures, p, json_pack("{s:s,s:s}", "fate", fate_name(p->fate), "why", p->why ? p->why : ""));
    if (p->spilled_bytes > 0 && json_array_size(t->spilling) < NAMED)
        name_point(s, t->spilling, p,
                   json_pack("{s:I,s:I}", "bytes", (json_int_t)p->spilled_bytes, "expected", (json_int_t)p->spills));
}

static int compare_identities(const void *a, const void *b)
{
    const struct knobs_point *x = a, *y = b;

    if (x->identity != y->identity) return x->identity < y->identity ? -1 : 1;
    return (x->cand.tmpl > y->cand.tmpl) - (x->cand.tmpl < y->cand.tmpl);
}

static int add_template(const struct sweep *s, json_t *list, int i, struct knobs_point *known, struct err *e)
{
    struct tally t = {.registers = {-1, -1}, .shared_bytes = {-1, -1}, .tensor_ops = {-1, -1}};
    json_t *fates = json_object(), *dead = NULL, *j;
    int nknown = 0, alike = 0;

    t.failures = json_array();
    t.spilling = json_array();
    for (int k = 0; k < s->n; k++) {
        const struct point *p = &s->points[k];
        if (p->cand.tmpl != i) continue;
        count(s, &t, p);
        if (!p->identity[0]) continue;
        known[nknown++] = (struct knobs_point){p->cand, digest_u64(p->identity, strlen(p->identity))};
    }
    for (int f = 0; f < FATE_N; f++)
        if (t.fates[f] > 0) json_object_set_new(fates, fate_name((enum fate)f), json_integer(t.fates[f]));
    if (knobs_dead(&dead, s->d, known, nknown, e) != 0) return -1;
    if (nknown > 0) qsort(known, (size_t)nknown, sizeof *known, compare_identities);
    for (int k = 1; k < nknown; k++)
        alike += known[k - 1].identity == known[k].identity;
    j = json_pack("{s:s,s:I,s:i,s:i,s:o,s:o,s:o,s:o,s:i,s:o,s:o,s:o}", "template", domain_template(s->d, i)->name,
                  "valid", (json_int_t)s->valid[i], "points", t.points, "aliases", alike, "fates", fates, "registers",
                  range_json(&t.registers), "shared_bytes", range_json(&t.shared_bytes), "tensor_ops",
                  range_json(&t.tensor_ops), "without_tensor_ops", t.without_tensor_ops, "failures", t.failures,
                  "spilling", t.spilling, "dead", dead);
    return j && json_array_append_new(list, j) == 0 ? 0 : err_nomem(e);
}

static int report(const struct sweep *s, json_t **out, struct err *e)
{
    struct knobs_point *known = calloc((size_t)s->n + 1, sizeof *known);
    json_t *list = json_array();
    int rc = 0;

    if (!known || !list) rc = err_nomem(e);
    for (int i = 0; i < domain_templates(s->d) && rc == 0; i++)
        if (!domain_unfit(s->d, i)) rc = add_template(s, list, i, known, e);
    free(known);
    if (rc != 0) {
        json_decref(list);
        return -1;
    }
    *out = json_pack("{s:o,s:I,s:I,s:i,s:f,s:f}", "templates", list, "shared_limit_bytes",
                     (json_int_t)s->target->smem_block_bytes, "seed", (json_int_t)s->o->seed, "compiled",
                     farm_compiled(s->farm), "compile_summed_s", farm_seconds(s->farm), "elapsed_s",
                     worker_now() - s->started);
    return *out ? 0 : err_nomem(e);
}

int sweep_run(json_t **out, int *failed, struct domain *d, const struct target *t, const struct sweep_options *o,
              struct err *e)
{
    struct sweep *s = calloc(1, sizeof *s);
    int rc;

    *out = NULL;
    if (!s) return err_nomem(e);
    s->o = o;
    s->target = t;
    s->d = d;
    s->started = worker_now();
    TRY(worker_loop_open(&s->loop, e));
    TRY(farm_open(&s->farm, s->loop, t, o->cache, o->jobs, o->deadline_s, e));
    s->nslots = farm_jobs(s->farm) * WINDOW_OF_A_JOB;
    s->slots = calloc((size_t)s->nslots, sizeof *s->slots);
    s->valid = calloc((size_t)domain_templates(d) + 1, sizeof *s->valid);
    TRY(s->slots && s->valid ? 0 : err_nomem(e));
    TRY(draw(s, e));
    TRY(compile_all(s, e));
    rc = report(s, out, e);
    *failed = s->n - s->progress.fates[FATE_OK];
out:
    farm_close(s->farm);
    worker_loop_close(s->loop);
    for (int i = 0; s->slots && i < s->nslots; i++)
        if (s->slots[i].point) farm_job_free(&s->slots[i].job);
    for (int i = 0; i < s->n; i++)
        free(s->points[i].why);
    free(s->slots);
    free(s->points);
    free(s->valid);
    free(s);
    return rc;
}
