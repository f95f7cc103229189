/* Each worker has at most one job. A worker that died or hung is replaced by a fresh one for the next job; a compiler that crashed gets a
 * second try on a fresh worker, since it may have been the machine's memory. */
#include "farm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "cache.h"
#include "wire.h"

#define MAX_JOBS 256

struct slot {
    struct worker *worker;
    struct farm_job *job;
};

struct farm {
    struct worker_loop *loop;
    struct target target;
    const char *cache;
    double deadline_s, seconds;
    int nslots, compiled, pending;
    struct slot slots[MAX_JOBS];
    struct farm_job *first, **last; /* the queue */
    struct err failed;
};

int farm_open(struct farm **out, struct worker_loop *l, const struct target *t, const char *cache, int jobs,
              double deadline_s, struct err *e)
{
    struct farm *f = calloc(1, sizeof *f);

    if (!f) return err_nomem(e);
    f->loop = l;
    f->target = *t;
    f->cache = cache;
    if (jobs < 1) jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
    f->nslots = jobs < 1 ? 1 : jobs > MAX_JOBS ? MAX_JOBS : jobs;
    f->deadline_s = deadline_s;
    f->last = &f->first;
    *out = f;
    return 0;
}

void farm_close(struct farm *f)
{
    if (!f) return;
    /* Nobody waits for what is still running: forget the jobs before their workers end. */
    f->first = NULL;
    f->last = &f->first;
    for (int i = 0; i < f->nslots; i++)
        f->slots[i].job = NULL;
    for (int i = 0; i < f->nslots; i++)
        worker_stop(f->slots[i].worker);
    free(f);
}

/* ---- limits ---- */

static int64_t resource(const struct farm_job *j, const char *name)
{
    const json_t *x = json_object_get(j->resources, name);

    /* From another process: what no compiler says counts as a great deal, and sums of it do not overflow. */
    return json_is_integer(x) && json_integer_value(x) >= 0
               ? (json_integer_value(x) < INT32_MAX ? json_integer_value(x) : INT32_MAX)
               : -1;
}

int64_t farm_spilled(const struct farm_job *j)
{
    int64_t stores = resource(j, "spill_store_bytes"), loads = resource(j, "spill_load_bytes");

    return stores > loads ? stores : loads;
}

static void over_limit(struct farm_job *j, const struct buf *why)
{
    struct buf text = {0};

    buf_add(&text, why->p, why->n);
    if (j->log) buf_printf(&text, "\n%s", j->log);
    free(j->log);
    j->log = strdup(buf_text(&text));
    j->fate = FATE_LIMITS;
    buf_free(&text);
}

/* Registers are handed out to a warp in units of 256, 8 a thread (CUDA programming guide, compute capabilities). */
static void check_limits(const struct farm *f, struct farm_job *j)
{
    enum { WARP = 32, UNIT = 8 };
    const struct target *t = &f->target;
    int64_t fixed = resource(j, "shared_static_bytes"), shared = j->shared_bytes + (fixed > 0 ? fixed : 0);
    int64_t registers = (resource(j, "registers") + UNIT - 1) / UNIT * UNIT * ((j->threads + WARP - 1) / WARP * WARP);
    struct buf why = {0};

    if (farm_spilled(j) > j->spills)
        buf_printf(&why,
                   "%" PRId64 " bytes of registers are spilled, and the manifest expects at most %" PRId64
                   "; let a constraint exclude such points, or say `spills`",
                   farm_spilled(j), j->spills);
    else if (t->smem_block_bytes > 0 && shared > t->smem_block_bytes)
        buf_printf(&why, "%" PRId64 " bytes of shared memory, and a block has at most %" PRId64, shared,
                   t->smem_block_bytes);
    else if (t->regs_block > 0 && registers > t->regs_block)
        buf_printf(&why, "%" PRId64 " threads need %" PRId64 " registers, and a block has at most %" PRId64, j->threads,
                   registers, t->regs_block);
    if (why.n > 0) over_limit(j, &why);
    buf_free(&why);
}

/* ---- jobs ---- */

static void dispatch(struct farm *f);

static void finish(struct farm *f, struct farm_job *j, enum fate fate, const char *log)
{
    j->fate = fate;
    j->done = true;
    j->seconds = worker_now() - j->started;
    f->seconds += j->seconds;
    f->compiled += !j->again;
    f->pending--;
    json_decref(j->request);
    j->request = NULL;
    free(j->log);
    j->log = log && *log ? strdup(log) : NULL;
    if (fate == FATE_OK) check_limits(f, j);
}

static void read_reply(struct farm *f, struct farm_job *j, const json_t *reply)
{
    const char *error = wire_error(reply);
    const char *fate = json_string_value(json_object_get(reply, "fate"));
    const char *code = json_string_value(json_object_get(reply, "code"));
    const char *log = json_string_value(json_object_get(reply, "log"));
    const char *text = json_string_value(json_object_get(reply, "text"));
    enum fate result;

    if (error || !fate || fate_parse(&result, fate) != 0) {
        err_set(&f->failed, ERR_DEVICE, "the compiler cannot be used: %s", error ? error : "its answer makes no sense");
        finish(f, j, FATE_COMPILE, NULL);
        return;
    }
    if (code && strlen(code) < sizeof j->code) memcpy(j->code, code, strlen(code) + 1);
    j->resources = json_incref(json_object_get(reply, "resources"));
    finish(f, j, result, log && *log ? log : text);
}

static void on_done(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    struct slot *s = ctx;
    struct farm_job *j = s->job;
    struct farm *f;

    s->job = NULL;
    if (!j) return; /* the farm is closing */
    f = j->farm;
    if (outcome == WORKER_REPLY) {
        read_reply(f, j, reply);
    } else if (outcome == WORKER_HUNG || outcome == WORKER_UNKILLABLE) {
        finish(f, j, FATE_COMPILE_TIMEOUT, worker_words(w));
    } else if (++j->tries < 2) {
        j->next = f->first;
        if (!f->first) f->last = &j->next;
        f->first = j;
    } else {
        finish(f, j, FATE_COMPILE_CRASH, worker_words(w));
    }
    dispatch(f);
}

/* Gives queued jobs to free workers. A dead or dying worker is replaced here; this runs inside callbacks, where worker_stop does not wait. */
static void dispatch(struct farm *f)
{
    for (int i = 0; i < f->nslots && f->first && f->failed.code == ERR_OK; i++) {
        struct slot *s = &f->slots[i];
        struct farm_job *j = f->first;
        if (s->job) continue;
        if (s->worker && !worker_alive(s->worker)) {
            worker_stop(s->worker);
            s->worker = NULL;
        }
        if (!s->worker && worker_spawn(f->loop, f->cache, &s->worker, &f->failed) != 0) return;
        f->first = j->next;
        if (!f->first) f->last = &f->first;
        s->job = j;
        j->started = worker_now();
        if (worker_request_take(s->worker, json_incref(j->request), f->deadline_s, on_done, s, &f->failed) != 0) return;
    }
}

static int from_cache(struct farm *f, struct farm_job *j, bool *hit, struct err *e)
{
    json_t *meta;
    bool damaged;
    const char *text;

    if (cache_find(f->cache, j->key, hit, &damaged, &meta, e) != 0) return -1;
    if (!*hit) return 0;
    j->done = j->cached = true;
    j->fate = FATE_OK;
    text = json_string_value(json_object_get(meta, "code"));
    if (text && strlen(text) < sizeof j->code) memcpy(j->code, text, strlen(text) + 1);
    text = json_string_value(json_object_get(meta, "log"));
    j->log = text && *text ? strdup(text) : NULL;
    j->resources = json_incref(json_object_get(meta, "resources"));
    json_decref(meta);
    check_limits(f, j);
    return 0;
}

/* The second compilation's own key: its binary does not take the place of the first one's. */
static void key_again(char key[DIGEST_HEX])
{
    char first[DIGEST_HEX];

    memcpy(first, key, sizeof first);
    digest_strings(key, "again 1", first, NULL);
}

int farm_submit(struct farm *f, struct farm_job *j, const struct rendered *r, struct err *e)
{
    struct buf source = r->source; /* borrowed */
    const char *text = buf_text(&source);
    json_t *options = json_array();
    bool hit = false;

    j->spills = r->spills;
    j->shared_bytes = r->launch.shared_bytes;
    j->threads = r->launch.block[0] * r->launch.block[1] * r->launch.block[2];
    cache_key(j->key, &f->target, text, r->launch.entry, r->options);
    if (j->again) key_again(j->key);
    if ((!j->again && from_cache(f, j, &hit, e) != 0) || hit || cache_put_source(f->cache, j->key, text, e) != 0) {
        json_decref(options);
        return j->done ? 0 : -1;
    }
    for (int i = 0; r->options && r->options[i]; i++)
        json_array_append_new(options, json_string(r->options[i]));
    j->request = json_pack("{s:s,s:o,s:s,s:s,s:o,s:b}", "op", "compile", "target", target_to_json(&f->target), "key",
                           j->key, "entry", r->launch.entry, "options", options, "headers", (int)r->needs_headers);
    if (!j->request) return err_nomem(e);
    j->farm = f;
    j->next = NULL;
    *f->last = j;
    f->last = &j->next;
    f->pending++;
    dispatch(f);
    return farm_check(f, e);
}

static int interrupted(struct err *e)
{
    return err_set(e, ERR_INTERRUPTED, "interrupted; what was finished is kept: run the same command to go on");
}

int farm_cancel(struct farm *f, struct err *e)
{
    for (struct farm_job *j = f->first; j; j = j->next)
        f->pending--;
    f->first = NULL;
    f->last = &f->first;
    while (f->pending > 0 && farm_check(f, e) == 0) {
        worker_pump(f->loop, 0.2);
        if (worker_interrupted(f->loop)) return interrupted(e);
    }
    return farm_check(f, e);
}

int farm_pending(const struct farm *f)
{
    return f->pending;
}

int farm_check(const struct farm *f, struct err *e)
{
    return f->failed.code == ERR_OK ? 0 : err_set(e, f->failed.code, "%s", f->failed.text);
}

int farm_wait(struct farm *f, struct farm_job *j, struct err *e)
{
    while (!j->done) {
        if (farm_check(f, e) != 0) return -1;
        worker_pump(f->loop, 0.2);
        if (worker_interrupted(f->loop)) return interrupted(e);
    }
    return farm_check(f, e);
}

int farm_jobs(const struct farm *f)
{
    return f->nslots;
}

int farm_compiled(const struct farm *f)
{
    return f->compiled;
}

double farm_seconds(const struct farm *f)
{
    return f->seconds;
}

void farm_job_free(struct farm_job *j)
{
    json_decref(j->request);
    json_decref(j->resources);
    free(j->log);
    j->request = j->resources = NULL;
    j->log = NULL;
}

void farm_identity(char out[DIGEST_HEX], const struct farm_job *j, const struct launch *l)
{
    json_t *launch = launch_to_json(l);
    char *text = launch ? json_dumps(launch, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(launch);
    out[0] = '\0';
    if (text && j->code[0]) digest_strings(out, j->code, text, NULL);
    free(text);
}
