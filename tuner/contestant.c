/* One request at a time, one answer each; leave() is the one way out, and the first reason stays. The child is stopped where it goes out, so
 * that a program that talks nonsense does not keep device memory. */
#include "contestant.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "buf.h"
#include "target.h"

/* Seconds without a sign of life: importing a framework from a cold disk takes most of a minute. */
#define DEADLINE_S 120.0
#define PUMP_S 1.0
#define LAST_LINES 3

struct contestant {
    struct contestant_hooks hooks;
    struct worker_loop *loop;
    struct worker *w;
    double deadline_s;
    enum contestant_state state;
    char name[64], version[256], choice[256], why[640];
    char request[64]; /* the one in flight, for messages */
    bool answered;
    enum worker_outcome outcome;
    char *answer; /* its line */
    struct buf command;
};

const char *contestant_name(const struct contestant *c)
{
    return c->name;
}

const char *contestant_version(const struct contestant *c)
{
    return c->version;
}

const char *contestant_command(const struct contestant *c)
{
    return c->command.n > 0 ? c->command.p : "";
}

const char *contestant_choice(const struct contestant *c)
{
    return c->choice;
}

const char *contestant_why(const struct contestant *c)
{
    return c->why;
}

enum contestant_state contestant_state(const struct contestant *c)
{
    return c->state;
}

/* ---- the way out ---- */

__attribute__((format(printf, 2, 3))) static bool leave(struct contestant *c, const char *fmt, ...)
{
    bool early = c->state == CONTESTANT_STARTING;
    va_list ap;

    if (c->state != CONTESTANT_OUT) {
        va_start(ap, fmt);
        vsnprintf(c->why, sizeof c->why, fmt, ap);
        va_end(ap);
        c->state = CONTESTANT_OUT;
    }
    worker_stop(c->w);
    c->w = NULL;
    if (early && c->hooks.settled) c->hooks.settled(c->hooks.ctx, c);
    return false;
}

/* The last lines of what it said on standard error and of how it ended, as one. */
static void last_words(struct contestant *c, char *out, size_t size)
{
    const char *text = worker_words(c->w), *from = text + strlen(text);
    size_t n = 0;

    for (int lines = 0; from > text && lines < LAST_LINES;) {
        from--;
        if (*from == '\n' && from[1] && from[1] != '\n') lines++;
        if (lines == LAST_LINES) from++;
    }
    for (; *from && n + 3 < size; from++) {
        if (*from != '\n') {
            out[n++] = *from;
        } else if (n > 0 && from[1] && from[1] != '\n') {
            out[n++] = ';';
            out[n++] = ' ';
        }
    }
    out[n] = '\0';
}

/* What it answered, or NULL: it is out. */
static const char *judge(struct contestant *c)
{
    char words[400];

    switch (c->outcome) {
    case WORKER_REPLY:
        if (strncmp(c->answer, "error", 5) != 0 || (c->answer[5] && c->answer[5] != ' ')) return c->answer;
        leave(c, "it failed in `%s`: %.400s", c->request, c->answer[5] ? c->answer + 6 : "no reason was given");
        break;
    case WORKER_DIED:
        last_words(c, words, sizeof words);
        leave(c, "it ended in `%s`: %s", c->request, words);
        break;
    case WORKER_HUNG:
        last_words(c, words, sizeof words);
        leave(c, "it said nothing for %.3g s in `%s` and was stopped: %s", c->deadline_s, c->request, words);
        break;
    case WORKER_UNKILLABLE:
        leave(c, "it hangs in `%s` and cannot even be killed", c->request);
    }
    return NULL;
}

/* The rest of the answer behind `word`; NULL: it is out, since it answered something else. */
static const char *expect(struct contestant *c, const char *answer, const char *word)
{
    size_t n = strlen(word);

    if (!answer) return NULL;
    if (strncmp(answer, word, n) == 0 && (!answer[n] || answer[n] == ' ')) return answer[n] ? answer + n + 1 : "";
    leave(c, "it answered `%.100s` to `%s`", answer, c->request);
    return NULL;
}

/* ---- requests ---- */

static void on_answer(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    struct contestant *c = ctx;
    const char *line = json_string_value(json_object_get(reply, "line"));

    (void)w;
    free(c->answer);
    c->answer = strdup(line ? line : "");
    c->answered = true;
    c->outcome = c->answer ? outcome : WORKER_DIED;
}

static void on_progress(void *ctx, const json_t *message)
{
    struct contestant *c = ctx;
    const char *text = json_string_value(json_object_get(message, "line"));

    if (c->hooks.progress && text) c->hooks.progress(c->hooks.ctx, c, text[8] ? text + 9 : "");
}

static bool send(struct contestant *c, const char *line, worker_done *done)
{
    json_t *j = json_pack("{s:s}", "line", line);

    c->answered = false;
    if (strchr(line, '\n') || !j) {
        json_decref(j);
        return leave(c, "`%s` cannot be said in a line of UTF-8: keep the store in a folder with another name",
                     c->request);
    }
    if (worker_request_take(c->w, j, c->deadline_s, done, c, NULL) != 0) return leave(c, "out of memory");
    worker_listen(c->w, on_progress, c);
    return true;
}

/* Its answer, or NULL: it is out. what: the request's name in messages. */
static const char *ask(struct contestant *c, const char *what, const char *line)
{
    if (!contestant_wait(c)) return NULL;
    snprintf(c->request, sizeof c->request, "%s", what);
    worker_pump(c->loop, 0); /* what it said in the meantime is no answer to this */
    if (!send(c, line, on_answer)) return NULL;
    while (!c->answered) {
        if (worker_interrupted(c->loop)) {
            leave(c, "interrupted");
            return NULL;
        }
        worker_pump(c->loop, PUMP_S);
        if (c->hooks.progress) c->hooks.progress(c->hooks.ctx, c, NULL);
    }
    return judge(c);
}

bool contestant_problem(struct contestant *c, const struct problem *p, const struct target *t, int sets)
{
    char line[512], device[32];
    const char *answer, *text;

    target_text(t, device, sizeof device);
    snprintf(line, sizeof line,
             "problem batch=%d heads=%d kv_heads=%d seq_q=%d seq_kv=%d head_dim=%d dtype=%s mask=%s scale=%.9g sets=%d "
             "device=%s",
             p->batch, p->heads, p->kv_heads, p->seq_q, p->seq_kv, p->head_dim, dtype_name(p->dtype),
             mask_name(p->mask), p->scale, sets, *t->uuid ? t->uuid : device);
    answer = ask(c, "problem", line);
    if (answer && strncmp(answer, "unfit", 5) == 0 && (text = expect(c, answer, "unfit")))
        return leave(c, "unfit: %.400s", text);
    return expect(c, answer, "ready") != NULL;
}

bool contestant_input(struct contestant *c, char tensor, const char *path)
{
    char what[] = {'i', 'n', 'p', 'u', 't', ' ', tensor, '\0'}, line[4200];

    snprintf(line, sizeof line, "%s %s", what, path);
    return expect(c, ask(c, what, line), "ready") != NULL;
}

bool contestant_prepare(struct contestant *c)
{
    const char *text = expect(c, ask(c, "prepare", "prepare"), "ready");

    if (text) snprintf(c->choice, sizeof c->choice, "%s", text);
    return text != NULL;
}

bool contestant_sample(struct contestant *c, int k, double *us)
{
    char line[32];
    const char *answer, *text;
    char *end;

    snprintf(line, sizeof line, "sample %d", k);
    answer = ask(c, line, line);
    text = expect(c, answer, "time");
    if (!text) return false;
    *us = strtod(text, &end);
    if (end != text && !*end && bench_is_time(*us) && strspn(text, "0123456789.eE+-") == strlen(text)) return true;
    return leave(c, "it answered `%.100s` to `%s`, which is no time", answer, c->request);
}

bool contestant_output(struct contestant *c, const char *path)
{
    char line[4200];

    snprintf(line, sizeof line, "output %s", path);
    return expect(c, ask(c, "output", line), "ready") != NULL;
}

/* ---- start and end ---- */

static void on_hello(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    struct contestant *c = ctx;
    const char *answer, *text;

    on_answer(ctx, w, outcome, reply);
    answer = judge(c);
    if (answer && strncmp(answer, "missing", 7) == 0 && (text = expect(c, answer, "missing"))) {
        leave(c, "missing: %.400s", text);
    } else if ((text = expect(c, answer, "hello"))) {
        snprintf(c->version, sizeof c->version, "%s", text);
        c->state = CONTESTANT_READY;
        if (c->hooks.settled) c->hooks.settled(c->hooks.ctx, c);
    }
}

bool contestant_wait(struct contestant *c)
{
    while (c->state == CONTESTANT_STARTING) {
        if (worker_interrupted(c->loop)) return leave(c, "interrupted");
        worker_pump(c->loop, PUMP_S);
        if (c->hooks.progress) c->hooks.progress(c->hooks.ctx, c, NULL);
    }
    return c->state == CONTESTANT_READY;
}

int contestant_open(struct contestant **out, struct worker_loop *l, const struct contestant_program *p,
                    const struct target *t, const struct contestant_hooks *hooks, struct err *e)
{
    struct contestant *c = calloc(1, sizeof *c);
    char visible[80] = "";
    const char *env[2] = {NULL, NULL};
    const struct worker_program program = {p->args, p->folder, env};

    if (!c) return err_nomem(e);
    *c = (struct contestant){.loop = l, .deadline_s = worker_deadline(DEADLINE_S)};
    snprintf(c->name, sizeof c->name, "%s", p->name);
    if (t && strcmp(t->driver, "cuda") == 0 && *t->uuid) {
        snprintf(visible, sizeof visible, "CUDA_VISIBLE_DEVICES=%s", t->uuid);
        env[0] = visible;
    }
    for (char *const *word = p->args; p->folder && *word; word++)
        buf_printf(&c->command, "%s%s", c->command.n ? "\n" : "", *word);
    if (buf_check(&c->command, e) != 0 || (!p->refused && worker_spawn_program(l, &program, &c->w, e) != 0)) {
        buf_free(&c->command);
        free(c);
        return -1;
    }
    *out = c;
    if (hooks) c->hooks = *hooks;
    if (p->refused) {
        leave(c, "it is a program that the space brings, %.300s: if you trust it, give --allow-contestants",
              p->args[0]);
        return 0;
    }
    snprintf(c->request, sizeof c->request, "fatune 1");
    send(c, "fatune 1", on_hello);
    return 0;
}

void contestant_close(struct contestant *c)
{
    if (!c) return;
    c->hooks = (struct contestant_hooks){0};
    if (c->w && !worker_busy(c->w)) worker_tell_take(c->w, json_pack("{s:s}", "line", "quit"));
    if (c->w) worker_stop(c->w);
    free(c->answer);
    buf_free(&c->command);
    free(c);
}
