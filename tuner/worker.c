/* One uv loop holds all children. A worker's life: spawned - idle - busy (a request in flight, the timer runs) - idle ... - ended.
 * However it ends, exit_cb is the one place where an unanswered request is finished, so that the last words are complete. A child that
 * does not end after SIGKILL is given up by the timer (UNKILLABLE). Handles are closed when the worker is stopped; its memory goes with
 * the last close callback. uv_run does not nest: worker_stop waits for the end only when no callback is running; inside one it leaves
 * the rest to exit_cb. */
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "wire.h"

#define WORDS_MAX 65536u
#define SUPERVISOR "FATUNE_SUPERVISOR"
#define TERM_WAIT_MS 500
#define KILL_WAIT_MS 10000
#define DRAIN_READS 4096 /* of 4 KiB, after the end: what escaped its process group may print for ever */

struct worker_loop {
    uv_loop_t uv;
    uv_signal_t sigint, sigterm;
    uv_timer_t wake;
    char exe[4096];
    int signals;
    bool turning;         /* a callback is running */
    struct worker *first; /* all children, for the second signal and the end */
};

enum ladder { LADDER_NONE, LADDER_TERM, LADDER_KILL, LADDER_GIVEN_UP };

struct worker {
    struct worker_loop *loop;
    struct worker *next;
    uv_process_t process;
    uv_pipe_t pipe[3]; /* its stdout, its stderr, the wire; of a program that speaks lines, the third is its stdin */
    bool lines;
    uv_timer_t timer;
    int open; /* handles not yet closed */
    bool ended, hung, stopping;
    int code;     /* of its end */
    bool closed;  /* it has closed its end of the wire: it is leaving */
    bool release; /* stopped inside a callback: handles are closed when it has ended */
    enum ladder ladder;
    struct wire_decoder in;
    struct buf words;
    size_t printed;
    double deadline_s;
    worker_done *done;
    void (*progress)(void *ctx, const json_t *message);
    void *ctx, *progress_ctx;
};

double worker_deadline(double otherwise)
{
    const char *text = getenv("FATUNE_DEADLINE_S");
    double s = text ? strtod(text, NULL) : 0;

    return s > 0 ? s : otherwise;
}

double worker_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- loop ---- */

static void on_signal(uv_signal_t *h, int number)
{
    struct worker_loop *l = h->data;

    (void)number;
    if (++l->signals < 2) return;
    for (struct worker *w = l->first; w; w = w->next)
        if (!w->ended) kill(-w->process.pid, SIGKILL);
    _exit(130);
}

int worker_loop_open(struct worker_loop **out, struct err *e)
{
    struct worker_loop *l = calloc(1, sizeof *l);
    size_t n = sizeof l->exe;
    int rc;

    if (!l) return err_nomem(e);
    rc = uv_exepath(l->exe, &n);
    if (rc == 0) rc = uv_loop_init(&l->uv);
    if (rc != 0) {
        free(l);
        return err_set(e, ERR_SYSTEM, "cannot start the event loop: %s", uv_strerror(rc));
    }
    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(&l->uv, &l->sigint);
    uv_signal_init(&l->uv, &l->sigterm);
    uv_timer_init(&l->uv, &l->wake);
    l->sigint.data = l->sigterm.data = l;
    uv_signal_start(&l->sigint, on_signal, SIGINT);
    uv_signal_start(&l->sigterm, on_signal, SIGTERM);
    uv_unref((uv_handle_t *)&l->sigint);
    uv_unref((uv_handle_t *)&l->sigterm);
    *out = l;
    return 0;
}

static void turn(struct worker_loop *l, uv_run_mode mode)
{
    assert(!l->turning);
    l->turning = true;
    uv_run(&l->uv, mode);
    l->turning = false;
}

void worker_loop_close(struct worker_loop *l)
{
    if (!l) return;
    while (l->first) {
        if (l->first->stopping)
            turn(l, UV_RUN_ONCE);
        else
            worker_stop(l->first);
    }
    uv_close((uv_handle_t *)&l->sigint, NULL);
    uv_close((uv_handle_t *)&l->sigterm, NULL);
    uv_close((uv_handle_t *)&l->wake, NULL);
    turn(l, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    free(l);
}

bool worker_interrupted(const struct worker_loop *l)
{
    return l->signals > 0;
}

static void on_wake(uv_timer_t *h)
{
    (void)h;
}

void worker_pump(struct worker_loop *l, double wait_s)
{
    if (wait_s > 0) {
        uv_update_time(&l->uv);
        uv_timer_start(&l->wake, on_wake, (uint64_t)(wait_s * 1000) + 1, 0);
        turn(l, UV_RUN_ONCE);
        uv_timer_stop(&l->wake);
    } else {
        turn(l, UV_RUN_NOWAIT);
    }
}

/* The pipe on which its messages arrive. */
static int inbox(const struct worker *w)
{
    return w->lines ? 0 : 2;
}

/* ---- the end of a request ---- */

static void finish(struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    worker_done *done = w->done;

    if (!done) return;
    w->done = NULL;
    w->progress = NULL;
    if (w->ladder == LADDER_NONE) uv_timer_stop(&w->timer);
    done(w->ctx, w, outcome, reply); /* may put the next request */
}

static void climb(struct worker *w);
static void close_all(struct worker *w);

static void on_timer(uv_timer_t *h)
{
    struct worker *w = h->data;

    if (w->ladder == LADDER_NONE) w->hung = w->done != NULL && !w->closed;
    climb(w);
}

/* The next rung: SIGTERM, SIGKILL, give up. */
static void climb(struct worker *w)
{
    if (w->ended || w->ladder == LADDER_GIVEN_UP) return;
    w->ladder++;
    if (w->ladder == LADDER_GIVEN_UP) {
        finish(w, WORKER_UNKILLABLE, NULL);
        if (w->release) close_all(w);
        return;
    }
    kill(-w->process.pid, w->ladder == LADDER_TERM ? SIGTERM : SIGKILL);
    uv_update_time(&w->loop->uv);
    uv_timer_start(&w->timer, on_timer, w->ladder == LADDER_TERM ? TERM_WAIT_MS : KILL_WAIT_MS, 0);
}

/* Words go into JSON and onto terminals: what is no printable ASCII becomes '?'. A program's last words matter (a traceback ends with its
 * cause), a worker's first (a compiler begins with it). */
static void keep_words(struct worker *w, const char *text, size_t n)
{
    char clean[256];

    w->printed += n;
    if (w->lines && n > WORDS_MAX / 2) {
        text += n - WORDS_MAX / 2;
        n = WORDS_MAX / 2;
    }
    if (w->lines && w->words.n + n > WORDS_MAX) {
        memmove(w->words.p, w->words.p + w->words.n - WORDS_MAX / 2, WORDS_MAX / 2);
        w->words.n = WORDS_MAX / 2;
    }
    while (n > 0 && w->words.n < WORDS_MAX) {
        size_t some = n < sizeof clean ? n : sizeof clean;
        if (some > WORDS_MAX - w->words.n) some = WORDS_MAX - w->words.n;
        for (size_t i = 0; i < some; i++)
            clean[i] = (text[i] >= ' ' && text[i] <= '~') || text[i] == '\n' || text[i] == '\t' ? text[i] : '?';
        buf_add(&w->words, clean, some);
        if (w->words.failed) return;
        text += some;
        n -= some;
    }
}

static void arm(struct worker *w)
{
    uv_update_time(&w->loop->uv);
    uv_timer_start(&w->timer, on_timer, (uint64_t)(w->deadline_s * 1000), 0);
}

/* After a line that nobody asked for, or the beginning of one, nobody knows which request the next one answers. -1. */
static int unasked(struct worker *w, const char *line, size_t n)
{
    char text[160];

    snprintf(text, sizeof text, "%sit spoke unasked: `%.*s`", w->words.n ? "\n" : "", n < 100 ? (int)n : 100, line);
    keep_words(w, text, strlen(text));
    return -1;
}

/* Handles every whole message that has arrived; -1: garbage. */
static int take_messages(struct worker *w)
{
    struct err e = {0};
    int rc = 0;

    while (rc == 0) {
        json_t *j;
        if ((w->lines ? wire_next_line : wire_next)(&w->in, &j, &e) != 0) {
            if (w->words.n) keep_words(w, "\n", 1);
            keep_words(w, e.text, strlen(e.text));
            return -1;
        }
        bool silence = w->lines && w->ladder == LADDER_NONE && !w->done && !w->stopping; /* is what it should keep */
        if (!j) return silence && w->in.in.n > 0 ? unasked(w, w->in.in.p, w->in.in.n) : 0;
        if (w->ladder != LADDER_NONE) {
            /* too late: it is being killed, and its end will be the answer */
        } else if (silence) {
            rc = unasked(w, json_string_value(json_object_get(j, "line")),
                         json_string_length(json_object_get(j, "line")));
        } else if (json_is_true(json_object_get(j, "done"))) {
            finish(w, WORKER_REPLY, j);
        } else if (w->done) {
            if (!w->ended) arm(w);
            if (w->progress) w->progress(w->progress_ctx, j);
        }
        json_decref(j);
    }
    return rc;
}

/* Takes what is left in the pipes: its last words, and maybe its answer. */
static void drain(struct worker *w)
{
    for (int i = 0; i < 3; i++) {
        uv_os_fd_t fd;
        char chunk[4096];
        ssize_t n;
        if (uv_fileno((uv_handle_t *)&w->pipe[i], &fd) != 0) continue;
        for (int k = 0; k < DRAIN_READS && (n = read(fd, chunk, sizeof chunk)) > 0; k++) {
            if (i == inbox(w))
                wire_feed(&w->in, chunk, (size_t)n);
            else
                keep_words(w, chunk, (size_t)n);
        }
    }
}

static void on_end(uv_process_t *p, int64_t status, int signal_number)
{
    struct worker *w = p->data;
    const char *who = w->lines ? "it" : "worker";
    char text[96];

    w->ended = true;
    w->code = w->ladder != LADDER_NONE ? -1 : signal_number ? 128 + signal_number : (int)status;
    kill(-w->process.pid, SIGKILL); /* what it may have started itself, before its pipes are emptied */
    drain(w);
    if (w->ladder == LADDER_NONE) take_messages(w);
    if (signal_number)
        snprintf(text, sizeof text, "%s%s ended by signal %d (%s)", w->words.n ? "\n" : "", who, signal_number,
                 strsignal(signal_number));
    else
        snprintf(text, sizeof text, "%s%s ended with exit code %d", w->words.n ? "\n" : "", who, (int)status);
    buf_puts(&w->words, text);
    uv_timer_stop(&w->timer);
    finish(w, w->hung ? WORKER_HUNG : WORKER_DIED, NULL);
    if (w->release) close_all(w);
}

/* ---- pipes ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    static char chunk[65536]; /* used until the read callback returns, by one loop in one thread */

    (void)h;
    (void)suggested;
    *out = uv_buf_init(chunk, sizeof chunk);
}

static void on_output(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct worker *w = s->data;

    if (n > 0) keep_words(w, b->base, (size_t)n);
    if (n < 0) uv_read_stop(s);
}

/* It is about to end, and its last words say why; else it is made to. */
static void leaving(struct worker *w)
{
    w->closed = true;
    if (w->ended || w->ladder != LADDER_NONE) return;
    uv_update_time(&w->loop->uv);
    uv_timer_start(&w->timer, on_timer, TERM_WAIT_MS * 4, 0);
}

static void on_message(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct worker *w = s->data;

    if (n < 0) { /* it closed its end */
        uv_read_stop(s);
        leaving(w);
        return;
    }
    wire_feed(&w->in, b->base, (size_t)n);
    if (take_messages(w) != 0) {
        uv_read_stop(s);
        climb(w);
    }
}

/* ---- spawn and stop ---- */

static void on_close(uv_handle_t *h)
{
    struct worker *w = h->data;

    if (--w->open > 0) return;
    wire_decoder_free(&w->in);
    buf_free(&w->words);
    free(w);
}

static void unlink_worker(struct worker *w)
{
    struct worker **p = &w->loop->first;

    while (*p && *p != w)
        p = &(*p)->next;
    if (*p) *p = w->next;
}

static void close_all(struct worker *w)
{
    unlink_worker(w);
    uv_close((uv_handle_t *)&w->process, on_close);
    uv_close((uv_handle_t *)&w->timer, on_close);
    for (int i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&w->pipe[i], on_close);
}

/* environ with own[0..n-1] ("NAME=value") in front, in place of what it has under those names. NULL when out of memory; the strings stay
 * their owners'. */
static char **child_environment(const char *const *own, size_t n)
{
    extern char **environ;
    size_t all = 0, kept = 0;
    char **env;

    while (environ[all])
        all++;
    env = calloc(all + n + 1, sizeof *env);
    if (!env) return NULL;
    for (size_t i = 0; i < n; i++)
        env[kept++] = (char *)(uintptr_t)own[i];
    for (size_t i = 0; i < all; i++) {
        bool ours = false;
        for (size_t k = 0; k < n; k++)
            ours = ours || strncmp(environ[i], own[k], strcspn(own[k], "=") + 1) == 0;
        if (!ours) env[kept++] = environ[i];
    }
    return env;
}

/* Takes env (its array). out: set on success. */
static int spawn(struct worker_loop *l, char **args, const char *folder, char **env, bool lines, struct worker **out,
                 struct err *e)
{
    struct worker *w = calloc(1, sizeof *w);
    uv_stdio_container_t io[4] = {{.flags = UV_IGNORE}};
    uv_process_options_t options = {.exit_cb = on_end,
                                    .file = l->exe,
                                    .args = args,
                                    .env = env,
                                    .cwd = folder,
                                    .stdio = io,
                                    .stdio_count = lines ? 3 : 4,
                                    .flags = UV_PROCESS_DETACHED};
    int rc;

    if (!w || !env) {
        free(w);
        free(env);
        return err_nomem(e);
    }
    w->loop = l;
    w->lines = lines;
    w->open = 5;
    w->process.data = w->timer.data = w;
    uv_timer_init(&l->uv, &w->timer);
    for (int i = 0; i < 3; i++) {
        uv_stdio_container_t *c = &io[lines && i == 2 ? 0 : i + 1];
        uv_pipe_init(&l->uv, &w->pipe[i], 0);
        w->pipe[i].data = w;
        c->flags = UV_CREATE_PIPE | (i < 2   ? UV_WRITABLE_PIPE
                                     : lines ? UV_READABLE_PIPE
                                             : UV_READABLE_PIPE | UV_WRITABLE_PIPE);
        c->data.stream = (uv_stream_t *)&w->pipe[i];
    }
    w->next = l->first;
    l->first = w;
    rc = uv_spawn(&l->uv, &w->process, &options);
    free(env);
    if (rc != 0) {
        close_all(w);
        return err_set(e, ERR_SYSTEM, "cannot start %s: %s", lines ? args[2] : "a worker process", uv_strerror(rc));
    }
    for (int i = 0; i < (lines ? 2 : 3); i++)
        uv_read_start((uv_stream_t *)&w->pipe[i], on_alloc, i == inbox(w) ? on_message : on_output);
    *out = w;
    return 0;
}

int worker_spawn(struct worker_loop *l, const char *cache, struct worker **out, struct err *e)
{
    char *args[] = {l->exe, (char[]){"--worker"}, NULL};
    struct buf pocl = {0}, own = {0}, supervisor = {0};
    const char *env[3];
    size_t n = 0;
    int rc;

    if (cache) {
        buf_printf(&pocl, "POCL_CACHE_DIR=%s/pocl", cache);
        buf_printf(&own, "FATUNE_CACHE=%s", cache);
        env[n++] = buf_text(&pocl);
        env[n++] = buf_text(&own);
    }
    buf_printf(&supervisor, SUPERVISOR "=%ld", (long)getpid());
    env[n++] = buf_text(&supervisor);
    rc = pocl.failed || own.failed || supervisor.failed
             ? err_nomem(e)
             : spawn(l, args, NULL, child_environment(env, n), false, out, e);
    buf_free(&pocl);
    buf_free(&own);
    buf_free(&supervisor);
    return rc;
}

int worker_spawn_program(struct worker_loop *l, const struct worker_program *p, struct worker **out, struct err *e)
{
    const char *env[WORKER_ENV_MAX + 1];
    char supervisor[64];
    size_t n = 0, nargs = 0;
    char **args;
    int rc;

    snprintf(supervisor, sizeof supervisor, SUPERVISOR "=%ld", (long)getpid());
    env[n++] = supervisor;
    for (size_t i = 0; p->env && p->env[i] && n < sizeof env / sizeof *env; i++)
        env[n++] = p->env[i];
    while (p->args[nargs])
        nargs++;
    args = calloc(nargs + 3, sizeof *args);
    if (!args) return err_nomem(e);
    args[0] = l->exe;
    args[1] = (char[]){"--program"};
    memcpy(args + 2, p->args, nargs * sizeof *args);
    rc = spawn(l, args, p->folder, child_environment(env, n), true, out, e);
    free(args);
    return rc;
}

int worker_exec(char *const *args)
{
    const char *supervisor = getenv(SUPERVISOR);
    struct rlimit core = {0, 0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (supervisor && getppid() != strtol(supervisor, NULL, 10)) return 127; /* it died before the line above */
    setrlimit(RLIMIT_CORE, &core);
    execvp(args[0], args);
    dprintf(STDERR_FILENO, "cannot start %s: %s", args[0], strerror(errno));
    return 127;
}

static void on_shutdown(uv_shutdown_t *r, int status)
{
    (void)status;
    free(r);
}

void worker_stop(struct worker *w)
{
    uv_shutdown_t *r;

    if (!w || w->stopping) return;
    w->stopping = true;
    if (!w->ended && w->ladder == LADDER_NONE) {
        /* End of stream is the polite request; a busy worker does not read it and meets the ladder. */
        r = calloc(1, sizeof *r);
        if (!r || uv_shutdown(r, (uv_stream_t *)&w->pipe[2], on_shutdown) != 0) free(r);
        uv_update_time(&w->loop->uv);
        uv_timer_start(&w->timer, on_timer, w->done ? 0 : TERM_WAIT_MS * 6, 0);
    }
    if (w->loop->turning && !w->ended && w->ladder != LADDER_GIVEN_UP) {
        w->release = true;
        return;
    }
    while (!w->ended && w->ladder != LADDER_GIVEN_UP)
        turn(w->loop, UV_RUN_ONCE);
    close_all(w);
}

bool worker_alive(const struct worker *w)
{
    return !w->ended && !w->closed && w->ladder == LADDER_NONE;
}

bool worker_busy(const struct worker *w)
{
    return w->done != NULL;
}

const char *worker_words(struct worker *w)
{
    return buf_text(&w->words);
}

int worker_exit_code(const struct worker *w)
{
    return w->ended ? w->code : -1;
}

size_t worker_printed(const struct worker *w)
{
    return w->printed;
}

/* ---- requests ---- */

struct write {
    uv_write_t req;
    struct buf frame;
    struct worker *asked; /* whose answer is waited for, NULL: there is none */
};

/* A request that has not arrived has no answer, and its worker may wait for it as long as we for that. A broken pipe is its end beginning. */
static void unsent(struct worker *w, int status)
{
    char text[96];

    if (!w->done || w->ended || w->ladder != LADDER_NONE) return;
    if (status != UV_EPIPE) {
        snprintf(text, sizeof text, "%sit cannot be asked: %s", w->words.n ? "\n" : "", uv_strerror(status));
        keep_words(w, text, strlen(text));
    }
    leaving(w);
}

static void on_written(uv_write_t *r, int status)
{
    struct write *x = r->data;

    if (status < 0 && status != UV_ECANCELED && x->asked) unsent(x->asked, status);
    buf_free(&x->frame);
    free(x);
}

/* The bytes of a message to w. */
static int encode(const struct worker *w, struct buf *out, const json_t *message, struct err *e)
{
    if (!w->lines) return wire_encode(out, message, e);
    buf_puts(out, json_string_value(json_object_get(message, "line")));
    buf_puts(out, "\n");
    return buf_check(out, e);
}

/* Takes x. */
static void post(struct worker *w, struct write *x)
{
    uv_buf_t b = uv_buf_init(x->frame.p, (unsigned)x->frame.n);

    x->req.data = x;
    int status = uv_write(&x->req, (uv_stream_t *)&w->pipe[2], &b, 1, on_written);
    if (status == 0) return;
    if (x->asked) unsent(w, status);
    buf_free(&x->frame);
    free(x);
}

int worker_request_take(struct worker *w, json_t *request, double deadline_s, worker_done *done, void *ctx,
                        struct err *e)
{
    struct write *x = calloc(1, sizeof *x);
    int rc;

    if (!request || !x) {
        rc = err_nomem(e);
        goto out;
    }
    TRY(encode(w, &x->frame, request, e));
    w->done = done;
    w->ctx = ctx;
    w->deadline_s = deadline_s;
    if (!worker_alive(w)) { /* it died between requests; answered from the loop like every other end */
        if (w->ended) finish(w, WORKER_DIED, NULL);
        goto out;
    }
    arm(w);
    x->asked = w;
    post(w, x);
    x = NULL;
out:
    if (x) buf_free(&x->frame);
    free(x);
    json_decref(request);
    return rc;
}

void worker_listen(struct worker *w, void (*progress)(void *ctx, const json_t *message), void *ctx)
{
    w->progress = progress;
    w->progress_ctx = ctx;
}

void worker_tell_take(struct worker *w, json_t *message)
{
    struct write *x = calloc(1, sizeof *x);

    if (x && message && worker_alive(w) && encode(w, &x->frame, message, NULL) == 0) {
        post(w, x);
    } else if (x) {
        buf_free(&x->frame);
        free(x);
    }
    json_decref(message);
}

struct call {
    bool done;
    enum worker_outcome outcome;
    json_t *reply;
};

static void on_call_done(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    struct call *c = ctx;

    (void)w;
    c->done = true;
    c->outcome = outcome;
    c->reply = json_incref((json_t *)(uintptr_t)reply);
}

enum worker_outcome worker_call_take(struct worker *w, json_t *request, double deadline_s,
                                     void (*progress)(void *ctx, const json_t *message), void *ctx, json_t **reply)
{
    struct call c = {0};

    *reply = NULL;
    worker_listen(w, progress, ctx);
    if (worker_request_take(w, request, deadline_s, on_call_done, &c, NULL) != 0) return WORKER_DIED;
    while (!c.done)
        turn(w->loop, UV_RUN_ONCE);
    *reply = c.reply;
    return c.outcome;
}
