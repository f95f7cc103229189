#include "fuzz_worker.h"

#include <string.h>

#include "fuzz.h"
#include "wire.h"
#include "worker.h"

enum { MOST_LINES = 64 };

static struct line {
    const char *op, *answer;
    size_t op_n, answer_n;
    bool all, used;
} script[MOST_LINES];
static int nlines, requests_left;
static double now;

struct worker_loop {
    struct worker *first;
};

struct worker {
    struct worker_loop *loop;
    struct worker *next;
    bool lines, dead, busy;
    json_t *request;
    worker_done *done;
    void *ctx;
    void (*progress)(void *ctx, const json_t *message);
    void *progress_ctx;
};

void fuzz_worker_script(const char *text, int most)
{
    nlines = 0;
    requests_left = most;
    now = 0;
    while (*text && nlines < MOST_LINES) {
        struct line *l = &script[nlines];
        size_t n = strcspn(text, "\n");
        *l = (struct line){.op = text, .op_n = strcspn(text, " \n")};
        l->answer = text + l->op_n + (l->op_n < n);
        l->answer_n = n - (size_t)(l->answer - text);
        l->all = l->op_n > 0 && text[l->op_n - 1] == '*';
        l->op_n -= l->all;
        nlines += l->op_n > 0;
        text += n + (text[n] == '\n');
    }
}

static struct line *line_for(const char *op)
{
    for (int i = 0; i < nlines; i++) {
        struct line *l = &script[i];
        if (l->used || l->op_n != strlen(op) || memcmp(l->op, op, l->op_n) != 0) continue;
        l->used = !l->all;
        return l;
    }
    return NULL;
}

static bool says(const struct line *l, const char *word)
{
    return l->answer_n == strlen(word) && memcmp(l->answer, word, l->answer_n) == 0;
}

/* ---- what a good child says ---- */

static json_t *good_targets(void)
{
    json_t *t = target_to_json(&fuzz_targets[1]);

    return json_pack("{s:[o],s:s}", "targets", t, "note", "");
}

static json_t *numbers(int n, double first)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real(first * (1 + 0.001 * (i % 3))));
    return list;
}

static json_t *reading(void)
{
    return json_pack("{s:i,s:i,s:i}", "sm_mhz", 1980, "throttle", 0, "other_processes", 0);
}

static json_t *good_evaluation(const json_t *request)
{
    const json_t *time = json_object_get(request, "time");
    json_t *out = json_pack("{s:s,s:s,s:{s:b}}", "fate", "OK", "text", "", "report", "full", 1);

    if (!time) return out;
    json_object_set_new(out, "samples", numbers((int)json_integer_value(json_object_get(time, "samples")), 7.5));
    json_object_set_new(out, "k", json_integer(40));
    return out;
}

static json_t *good_reply(const char *op, const json_t *request)
{
    if (strcmp(op, "targets") == 0) return good_targets();
    if (strcmp(op, "arch") == 0) return json_pack("{s:o}", "target", target_to_json(&fuzz_targets[0]));
    if (strcmp(op, "open") == 0) return json_pack("{s:{s:s}}", "environment", "monitor", "none");
    if (strcmp(op, "compile") == 0)
        return json_pack("{s:s,s:s,s:s,s:s,s:{s:i,s:i}}", "fate", "OK", "text", "", "log", "", "code",
                         json_string_value(json_object_get(request, "key")), "resources", "registers", 32,
                         "spill_store_bytes", 0);
    if (strcmp(op, "evaluate") == 0) return good_evaluation(request);
    if (strcmp(op, "session") == 0)
        return json_pack("{s:s,s:[b,b],s:[b,b]}", "fate", "OK", "same", 1, 1, "steady", 1, 1);
    if (strcmp(op, "letter") == 0) {
        int m = (int)json_integer_value(json_object_get(request, "m"));
        return json_pack("{s:s,s:o,s:o}", "fate", "OK", "samples", numbers(m, 7.5), "mhz", numbers(m, 1980));
    }
    return json_pack("{s:s,s:b,s:b,s:i,s:o}", "fate", "OK", "same", 1, "steady", 1, "k", 40, "health", reading());
}

static const char *good_line(const char *op)
{
    return strcmp(op, "fatune") == 0 ? "hello mine 1" : strcmp(op, "sample") == 0 ? "time 8.25" : "ready best of 3";
}

/* ---- what this one says ---- */

/* NULL: garbage. */
static json_t *patched(json_t *good, const struct line *l)
{
    json_t *patch;

    if (!l) return good;
    patch = json_loadb(l->answer, l->answer_n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(patch) || json_object_update(good, patch) != 0) {
        json_decref(good);
        good = NULL;
    }
    json_decref(patch);
    return good;
}

static json_t *said(const char *text, size_t n)
{
    struct wire_decoder d = {0};
    json_t *j = NULL;

    wire_feed(&d, text, n);
    wire_feed(&d, "\n", 1);
    if (wire_next_line(&d, &j, NULL) != 0) j = NULL;
    wire_decoder_free(&d);
    return j;
}

static void send_quads(struct worker *w)
{
    int m = (int)json_integer_value(json_object_get(w->request, "m")),
        quads = (int)json_integer_value(json_object_get(w->request, "quads"));

    for (int i = -1; i < quads && w->progress; i++) {
        json_t *j =
            json_pack("{s:i,s:b,s:i,s:o,s:o,s:o,s:o}", "quad", i, "baab", i % 2 == 0, "m", m, "samples",
                      numbers(4 * m, 7.5), "mhz", numbers(4 * m, 1980), "before", reading(), "after", reading());
        j = patched(j, line_for("quad"));
        if (j) w->progress(w->progress_ctx, j);
        json_decref(j);
    }
}

static enum worker_outcome answer(struct worker *w, json_t **reply)
{
    char op[32] = "";
    const char *name = json_string_value(json_object_get(w->request, w->lines ? "line" : "op"));
    const struct line *l;

    *reply = NULL;
    now += 0.01;
    if (w->dead || !name || requests_left-- <= 0) return WORKER_DIED;
    snprintf(op, sizeof op, "%.*s", (int)strcspn(name, " "), name);
    l = line_for(op);
    if (l && says(l, "hung")) return WORKER_HUNG;
    if (l && says(l, "lost")) return WORKER_UNKILLABLE;
    if (l && says(l, "died")) return WORKER_DIED;
    if (w->lines) {
        *reply = l ? said(l->answer, l->answer_n) : said(good_line(op), strlen(good_line(op)));
    } else {
        if (strcmp(op, "session") == 0) send_quads(w);
        *reply = patched(good_reply(op, w->request), l);
    }
    return *reply ? WORKER_REPLY : WORKER_DIED;
}

static void finish(struct worker *w)
{
    json_t *reply;
    enum worker_outcome outcome = answer(w, &reply);

    if (outcome != WORKER_REPLY) w->dead = true;
    json_decref(w->request);
    w->request = NULL;
    w->busy = false;
    w->progress = NULL;
    w->done(w->ctx, w, outcome, reply); /* may stop w */
    json_decref(reply);
}

/* ---- worker.h ---- */

int worker_loop_open(struct worker_loop **out, struct err *e)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : err_nomem(e);
}

void worker_loop_close(struct worker_loop *l)
{
    while (l && l->first)
        worker_stop(l->first);
    free(l);
}

bool worker_interrupted(const struct worker_loop *l)
{
    (void)l;
    return requests_left <= 0;
}

void worker_pump(struct worker_loop *l, double wait_s)
{
    now += wait_s > 0 ? wait_s : 0;
    for (struct worker *w = l->first; w; w = w->next)
        if (w->busy) {
            finish(w);
            return;
        }
}

double worker_now(void)
{
    return now += 1e-4;
}

double worker_deadline(double otherwise)
{
    return otherwise;
}

int worker_spawn(struct worker_loop *l, const char *cache, struct worker **out, struct err *e)
{
    (void)cache;
    *out = calloc(1, sizeof **out);
    if (!*out) return err_nomem(e);
    (*out)->loop = l;
    (*out)->next = l->first;
    l->first = *out;
    return 0;
}

int worker_spawn_program(struct worker_loop *l, const struct worker_program *p, struct worker **out, struct err *e)
{
    (void)p;
    if (worker_spawn(l, NULL, out, e) != 0) return -1;
    (*out)->lines = true;
    return 0;
}

int worker_exec(char *const *args)
{
    (void)args;
    return 70;
}

void worker_stop(struct worker *w)
{
    struct worker **at;

    if (!w) return;
    for (at = &w->loop->first; *at != w; at = &(*at)->next)
        ;
    *at = w->next;
    w->dead = true;
    if (w->busy) finish(w);
    free(w);
}

bool worker_alive(const struct worker *w)
{
    return !w->dead;
}

bool worker_busy(const struct worker *w)
{
    return w->busy;
}

const char *worker_words(struct worker *w)
{
    return w->dead ? "it ended" : "";
}

size_t worker_printed(const struct worker *w)
{
    (void)w;
    return 0;
}

int worker_request_take(struct worker *w, json_t *request, double deadline_s, worker_done *done, void *ctx,
                        struct err *e)
{
    (void)deadline_s;
    if (!request) return err_nomem(e);
    FUZZ_REQUIRE(!w->busy);
    w->request = request;
    w->done = done;
    w->ctx = ctx;
    w->busy = true;
    return 0;
}

void worker_listen(struct worker *w, void (*progress)(void *ctx, const json_t *message), void *ctx)
{
    w->progress = progress;
    w->progress_ctx = ctx;
}

void worker_tell_take(struct worker *w, json_t *message)
{
    (void)w;
    json_decref(message);
}

struct call {
    enum worker_outcome outcome;
    json_t *reply;
};

static void on_call_done(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    struct call *c = ctx;

    (void)w;
    c->outcome = outcome;
    c->reply = json_incref((json_t *)(uintptr_t)reply);
}

enum worker_outcome worker_call_take(struct worker *w, json_t *request, double deadline_s,
                                     void (*progress)(void *ctx, const json_t *message), void *ctx, json_t **reply)
{
    struct call c = {WORKER_DIED, NULL};

    *reply = NULL;
    worker_listen(w, progress, ctx);
    if (worker_request_take(w, request, deadline_s, on_call_done, &c, NULL) != 0) return WORKER_DIED;
    finish(w);
    *reply = c.reply;
    return c.outcome;
}

/* No program of others is ever there. */
int worker_run(const struct worker_program *p, const char *printed, double minutes, int *code, char *words, size_t size,
               struct err *e)
{
    (void)p, (void)printed, (void)minutes, (void)e;
    *code = 127;
    if (size > 0) *words = '\0';
    return 0;
}
