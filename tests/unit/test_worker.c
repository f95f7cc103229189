/* The supervisor's side of workers against real children: this program, started again with --worker, does what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"
#include "worker.h"

/* ---- the worker ---- */

static void nap(double s)
{
    struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

static void put(const void *bytes, size_t n)
{
    if (write(WIRE_FD, bytes, n) != (ssize_t)n) _exit(99);
}

static void answer_take(json_t *j)
{
    json_object_set_new(j, "done", json_true());
    if (wire_send(WIRE_FD, j, NULL) != 0) _exit(98);
    json_decref(j);
}

static void flood(size_t n)
{
    char line[1000];

    memset(line, 'w', sizeof line);
    line[sizeof line - 1] = '\n';
    memcpy(line, "first \033\200", 8);
    for (size_t done = 0; done < n; done += sizeof line)
        if (write(STDERR_FILENO, line, sizeof line) < 0) _exit(97);
}

/* What ends the conversation in some way. */
static void misbehave(const char *what, double x)
{
    struct buf frame = {0};
    json_t *j = json_pack("{s:s}", "some", "message");

    if (strcmp(what, "stubborn") == 0) signal(SIGTERM, SIG_IGN);
    if (strcmp(what, "stubborn") == 0 || strcmp(what, "silent") == 0) nap(60);
    if (strcmp(what, "signal") == 0) {
        (void)!write(STDERR_FILENO, "about to go", 11);
        kill(getpid(), (int)x);
    }
    if (strcmp(what, "exit") == 0) _exit((int)x);
    if (strcmp(what, "garbage") == 0) put("this is no frame at all, but longer than a header", 49);
    if (strcmp(what, "list") == 0) {
        json_decref(j);
        j = json_pack("[i]", 1);
    }
    if (wire_encode(&frame, j, NULL) != 0) _exit(96);
    if (strcmp(what, "list") == 0) put(frame.p, frame.n);
    if (strcmp(what, "damaged") == 0) {
        frame.p[frame.n - 3] ^= 1;
        put(frame.p, frame.n);
    }
    if (strcmp(what, "half") == 0) {
        put(frame.p, frame.n / 2);
        _exit(0);
    }
    if (strcmp(what, "close") == 0) close(WIRE_FD);
    nap(60);
}

static void handle(const json_t *r)
{
    const char *what = json_string_value(json_object_get(r, "do"));
    double x = json_number_value(json_object_get(r, "x"));

    if (!what) _exit(95);
    if (strcmp(what, "echo") == 0) {
        answer_take(json_pack("{s:O}", "echo", json_object_get(r, "x")));
    } else if (strcmp(what, "sleep") == 0) {
        nap(x);
        answer_take(json_object());
    } else if (strcmp(what, "work") == 0) { /* five signs of life */
        for (int i = 0; i < 5; i++) {
            json_t *j = json_pack("{s:i}", "stage", i);
            nap(x);
            if (wire_send(WIRE_FD, j, NULL) != 0) _exit(94);
            json_decref(j);
        }
        answer_take(json_object());
    } else if (strcmp(what, "flood") == 0) {
        flood((size_t)x);
        answer_take(json_object());
    } else if (strcmp(what, "flood and die") == 0) {
        flood((size_t)x);
        abort();
    } else if (strcmp(what, "answer and exit") == 0) {
        answer_take(json_pack("{s:s}", "echo", "last"));
        _exit(3);
    } else if (strcmp(what, "answer, then garbage") == 0) {
        signal(SIGTERM, SIG_IGN);
        answer_take(json_object());
        nap(x);
        put("garbage between two requests", 28);
        nap(60);
    } else if (strcmp(what, "fork") == 0) { /* a grandchild that keeps all descriptors */
        pid_t pid = fork();
        if (pid == 0) {
            signal(SIGTERM, SIG_IGN);
            nap(60);
            _exit(0);
        }
        answer_take(json_pack("{s:i}", "pid", (int)pid));
    } else if (strcmp(what, "self") == 0) {
        const char *cache = getenv("FATUNE_CACHE"), *supervisor = getenv("FATUNE_SUPERVISOR");
        answer_take(json_pack("{s:i,s:i,s:i,s:s?,s:s?,s:b}", "pid", getpid(), "group", getpgrp(), "parent", getppid(),
                              "cache", cache, "supervisor", supervisor, "stdin", getc(stdin) != EOF));
    } else {
        misbehave(what, x);
    }
}

static int worker_main(void)
{
    struct wire_decoder d = {0};
    json_t *r;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (wire_receive(WIRE_FD, &d, &r, NULL) == 0 && r) {
        handle(r);
        json_decref(r);
    }
    wire_decoder_free(&d);
    _exit(0);
}

/* ---- the supervisor ---- */

static json_t *request(const char *what, double x)
{
    return json_pack("{s:s,s:f}", "do", what, "x", x);
}

static struct worker_loop *open_loop(void)
{
    struct worker_loop *l = NULL;
    struct err e = {0};

    assert_int_equal(worker_loop_open(&l, &e), 0);
    return l;
}

static struct worker *spawn(struct worker_loop *l)
{
    struct worker *w = NULL;
    struct err e = {0};

    assert_int_equal(worker_spawn(l, "/some/cache", &w, &e), 0);
    assert_true(worker_alive(w) && !worker_busy(w));
    return w;
}

static enum worker_outcome ask(struct worker *w, const char *what, double x, double deadline_s, json_t **reply)
{
    json_t *ignored;
    enum worker_outcome o = worker_call_take(w, request(what, x), deadline_s, NULL, NULL, reply ? reply : &ignored);

    if (!reply) json_decref(ignored);
    assert_false(worker_busy(w));
    return o;
}

static int descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Every test ends without a child, without a zombie, and with the descriptors it began with. */
static int before(void **state)
{
    static int count;

    worker_loop_close(open_loop()); /* what libuv opens once for ever */
    count = descriptors();
    *state = &count;
    return 0;
}

static int after(void **state)
{
    int n = **(int **)state;

    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) return -1;
    return descriptors() == n ? 0 : -1;
}

static void echo(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);
    json_t *reply;

    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(ask(w, "echo", i, 5, &reply), WORKER_REPLY);
        assert_true(json_number_value(json_object_get(reply, "echo")) == i);
        json_decref(reply);
    }
    assert_true(worker_alive(w));
    assert_int_equal(worker_printed(w), 0);
    assert_string_equal(worker_words(w), "");
    double start = worker_now();
    worker_stop(w); /* an idle worker leaves by itself */
    assert_true(worker_now() - start < 1);
    worker_stop(NULL);
    worker_loop_close(l);
    worker_loop_close(NULL);
}

static void surroundings(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w;
    json_t *reply;
    char own[24];

    (void)state;
    setenv("FATUNE_CACHE", "stale", 1);
    w = spawn(l);
    assert_int_equal(ask(w, "self", 0, 5, &reply), WORKER_REPLY);
    snprintf(own, sizeof own, "%ld", (long)getpid());
    assert_string_equal(json_string_value(json_object_get(reply, "cache")), "/some/cache");
    assert_string_equal(json_string_value(json_object_get(reply, "supervisor")), own);
    assert_int_equal(json_integer_value(json_object_get(reply, "parent")), getpid());
    /* A group of its own: a terminal's Ctrl-C does not reach it. */
    assert_int_equal(json_integer_value(json_object_get(reply, "group")),
                     json_integer_value(json_object_get(reply, "pid")));
    assert_true(json_is_false(json_object_get(reply, "stdin")));
    json_decref(reply);
    unsetenv("FATUNE_CACHE");
    worker_loop_close(l); /* stops what is left */
}

static void deaths(void **state)
{
    static const struct {
        const char *what;
        double x;
        const char *words;
    } cases[] = {
        {"signal", SIGKILL, "about to go\nworker ended by signal 9"},
        {"exit", 7, "worker ended with exit code 7"},
        {"exit", 0, "worker ended with exit code 0"},
        {"garbage", 0, "garbage on the pipe"},
        {"damaged", 0, "a damaged message on the pipe"},
        {"list", 0, "a message that is no JSON object"},
        {"half", 0, "worker ended with exit code 0"},
    };
    struct worker_loop *l = open_loop();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct worker *w = spawn(l);
        double start = worker_now();
        json_t *reply;
        assert_int_equal(ask(w, cases[i].what, cases[i].x, 20, &reply), WORKER_DIED);
        assert_null(reply);
        assert_true(worker_now() - start < 5); /* nobody waited for the deadline */
        assert_non_null(strstr(worker_words(w), cases[i].words));
        assert_non_null(strstr(worker_words(w), "worker ended"));
        assert_false(worker_alive(w));
        /* Asking the dead gives the same answer at once. */
        assert_int_equal(ask(w, "echo", 1, 20, NULL), WORKER_DIED);
        worker_stop(w);
    }
    worker_loop_close(l);
}

/* An answer that is followed by the end counts; the next question does not. */
static void answer_and_exit(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);
    json_t *reply;

    (void)state;
    assert_int_equal(ask(w, "answer and exit", 0, 5, &reply), WORKER_REPLY);
    assert_string_equal(json_string_value(json_object_get(reply, "echo")), "last");
    json_decref(reply);
    assert_int_equal(ask(w, "echo", 1, 5, NULL), WORKER_DIED);
    worker_loop_close(l);
}

static void deadlines(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);
    double start = worker_now(), took;

    (void)state;
    assert_int_equal(ask(w, "silent", 0, 0.4, NULL), WORKER_HUNG);
    took = worker_now() - start;
    assert_true(took >= 0.4 && took < 1.5);
    worker_stop(w);

    w = spawn(l); /* SIGTERM is ignored: SIGKILL comes half a second later */
    start = worker_now();
    assert_int_equal(ask(w, "stubborn", 0, 0.3, NULL), WORKER_HUNG);
    took = worker_now() - start;
    assert_true(took >= 0.8 && took < 2.5);
    assert_non_null(strstr(worker_words(w), "signal 9"));
    worker_stop(w);
    worker_loop_close(l);
}

static void count(void *ctx, const json_t *message)
{
    int *n = ctx;

    assert_int_equal(json_integer_value(json_object_get(message, "stage")), *n);
    ++*n;
}

static void progress_renews(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);
    double start = worker_now();
    json_t *reply;
    int n = 0;

    (void)state;
    assert_int_equal(worker_call_take(w, request("work", 0.2), 0.7, count, &n, &reply), WORKER_REPLY);
    json_decref(reply);
    assert_int_equal(n, 5);
    assert_true(worker_now() - start >= 1.0); /* longer than the deadline */
    worker_loop_close(l);
}

/* A worker that has closed its end and lingers is leaving: it died, and is made to, long before its deadline. */
static void slow_death(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);
    double start = worker_now();

    (void)state;
    assert_int_equal(ask(w, "close", 0, 30, NULL), WORKER_DIED);
    assert_true(worker_now() - start < 6);
    worker_loop_close(l);
}

static void words(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);
    const char *text;

    (void)state;
    assert_int_equal(ask(w, "flood", 10e6, 20, NULL), WORKER_REPLY);
    for (int i = 0; i < 500 && worker_printed(w) < 10000000; i++)
        worker_pump(l, 0.01);
    assert_int_equal(worker_printed(w), 10000000); /* all of it was drained, */
    text = worker_words(w);
    assert_int_equal(strlen(text), 65536); /* and the cap kept */
    assert_int_equal(strncmp(text, "first ??w", 9), 0);
    assert_int_equal(ask(w, "flood and die", 10e6, 20, NULL), WORKER_DIED);
    text = worker_words(w);
    assert_true(strlen(text) > 65536 && strlen(text) < 65536 + 200);
    assert_non_null(strstr(text, "worker ended")); /* how it ended is never lost to the cap */
    worker_loop_close(l);
}

/* What a worker has started goes with it, also when the worker itself has gone. */
static void grandchildren(void **state)
{
    struct worker_loop *l = open_loop();

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* so that orphans come to us */
    for (int how = 0; how < 2; how++) {
        struct worker *w = spawn(l);
        json_t *reply;
        int status;
        assert_int_equal(ask(w, "fork", 0, 5, &reply), WORKER_REPLY);
        pid_t pid = (pid_t)json_integer_value(json_object_get(reply, "pid"));
        json_decref(reply);
        assert_int_equal(kill(pid, 0), 0);
        if (how == 0) assert_int_equal(ask(w, "signal", SIGKILL, 5, NULL), WORKER_DIED);
        worker_stop(w);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    worker_loop_close(l);
}

struct seen {
    int n;
    enum worker_outcome outcome;
    struct worker *stop; /* in the callback */
};

static void note(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    struct seen *s = ctx;

    (void)w;
    assert_true((reply != NULL) == (outcome == WORKER_REPLY));
    s->n++;
    s->outcome = outcome;
    worker_stop(s->stop);
    s->stop = NULL;
}

static void stop_busy(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);
    struct seen s = {0};
    double start;

    (void)state;
    assert_int_equal(worker_request_take(w, request("stubborn", 0), 30, note, &s, NULL), 0);
    worker_pump(l, 0.3);
    assert_true(worker_busy(w));
    start = worker_now();
    worker_stop(w);
    assert_true(worker_now() - start < 2.5);
    assert_int_equal(s.n, 1); /* its question was answered */
    assert_true(s.outcome != WORKER_REPLY);

    /* The end of the loop stops whoever is at work. */
    w = spawn(l);
    s = (struct seen){0};
    assert_int_equal(worker_request_take(w, request("silent", 0), 30, note, &s, NULL), 0);
    worker_loop_close(l);
    assert_int_equal(s.n, 1);
}

/* Answers of one worker are handled while another is waited for. */
static void side_by_side(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *a = spawn(l), *b = spawn(l);
    struct seen s = {0};

    (void)state;
    assert_int_equal(worker_request_take(a, request("sleep", 0.2), 5, note, &s, NULL), 0);
    assert_int_equal(ask(b, "sleep", 0.6, 5, NULL), WORKER_REPLY);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.outcome, WORKER_REPLY);
    worker_loop_close(l);
}

/* worker_stop inside a callback, of a worker that is on its way out and ignores SIGTERM: it does not wait there. */
static void stop_in_callback(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *a = spawn(l), *b = spawn(l);
    struct seen s = {.stop = b};
    double start;

    (void)state;
    assert_int_equal(ask(b, "answer, then garbage", 0.1, 5, NULL), WORKER_REPLY);
    start = worker_now();
    assert_int_equal(worker_request_take(a, request("sleep", 0.3), 5, note, &s, NULL), 0);
    while (s.n == 0)
        worker_pump(l, 0.2);
    assert_true(worker_now() - start < 0.5); /* SIGKILL to b is still to come */
    assert_int_equal(ask(a, "echo", 1, 5, NULL), WORKER_REPLY);
    worker_loop_close(l);
    assert_true(worker_now() - start < 4);
}

static void pump_waits(void **state)
{
    struct worker_loop *l = open_loop();
    double start = worker_now(), took;

    (void)state;
    worker_pump(l, 0);
    assert_true(worker_now() - start < 0.1);
    start = worker_now();
    worker_pump(l, 0.2);
    took = worker_now() - start;
    assert_true(took >= 0.2 && took < 0.6);
    worker_loop_close(l);
}

static void interrupted(void **state)
{
    struct worker_loop *l = open_loop();
    struct worker *w = spawn(l);

    (void)state;
    assert_false(worker_interrupted(l));
    raise(SIGINT);
    worker_pump(l, 0.2);
    assert_true(worker_interrupted(l));
    /* What is in hand is finished. */
    assert_int_equal(ask(w, "echo", 1, 5, NULL), WORKER_REPLY);
    worker_loop_close(l);
    l = open_loop();
    assert_false(worker_interrupted(l));
    worker_loop_close(l);
}

/* --second: a supervisor with a busy worker, and two signals. Prints the worker's process id. */
static int second_main(void)
{
    struct worker_loop *l;
    struct worker *w;
    struct seen s = {0};
    json_t *reply;

    if (worker_loop_open(&l, NULL) != 0 || worker_spawn(l, NULL, &w, NULL) != 0) return 1;
    if (worker_call_take(w, request("self", 0), 5, NULL, NULL, &reply) != WORKER_REPLY) return 2;
    printf("%d\n", (int)json_integer_value(json_object_get(reply, "pid")));
    fflush(stdout);
    json_decref(reply);
    if (worker_request_take(w, request("stubborn", 0), 30, note, &s, NULL) != 0) return 3;
    raise(SIGTERM);
    worker_pump(l, 0.2);
    if (!worker_interrupted(l)) return 4;
    raise(SIGINT);
    worker_pump(l, 5);
    return 5;
}

static void second_signal(void **state)
{
    char command[4200], exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    int pid = 0, status;
    FILE *f;

    (void)state;
    assert_true(n > 0);
    exe[n] = '\0';
    snprintf(command, sizeof command, "exec '%s' --second", exe);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    f = popen(command, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    status = pclose(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_int_equal(waitpid(pid, &status, 0), pid); /* the worker went with it */
    assert_true(WIFSIGNALED(status));
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* ---- programs that speak lines ---- */

static struct worker *program(struct worker_loop *l, const char *script, const char *folder, const char *const *env)
{
    char *args[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)script, NULL};
    const struct worker_program p = {args, folder, env};
    struct worker *w = NULL;
    struct err e = {0};

    assert_int_equal(worker_spawn_program(l, &p, &w, &e), 0);
    return w;
}

static enum worker_outcome say(struct worker *w, const char *line, double deadline_s, char *answer, size_t size)
{
    json_t *reply;
    enum worker_outcome o = worker_call_take(w, json_pack("{s:s}", "line", line), deadline_s, NULL, NULL, &reply);
    const char *text = json_string_value(json_object_get(reply, "line"));

    snprintf(answer, size, "%s", text ? text : "");
    json_decref(reply);
    return o;
}

static void lines(void **state)
{
    static const char *const env[] = {"CUDA_VISIBLE_DEVICES=GPU-1", NULL};
    struct worker_loop *l = open_loop();
    struct worker *w;
    char answer[256], own[32];

    (void)state;
    setenv("CUDA_VISIBLE_DEVICES", "stale", 1);
    w = program(l,
                "while read -r x; do echo \"log of $x\" >&2; echo \"$x at $PWD with $CUDA_VISIBLE_DEVICES of "
                "$FATUNE_SUPERVISOR\"; done",
                "/", env);
    unsetenv("CUDA_VISIBLE_DEVICES");
    snprintf(own, sizeof own, "of %ld", (long)getpid());
    for (int i = 0; i < 20; i++) {
        assert_int_equal(say(w, "two words", 5, answer, sizeof answer), WORKER_REPLY);
        assert_non_null(strstr(answer, "two words at / with GPU-1 of "));
        assert_non_null(strstr(answer, own));
    }
    worker_tell_take(w, json_pack("{s:s}", "line", "nobody listens")); /* answered though: garbage */
    for (int i = 0; i < 50 && worker_alive(w); i++)
        worker_pump(l, 0.1);
    assert_false(worker_alive(w));
    assert_int_equal(say(w, "more", 5, answer, sizeof answer), WORKER_DIED);
    assert_non_null(strstr(worker_words(w), "log of two words"));
    assert_non_null(strstr(worker_words(w), "it spoke unasked: `nobody listens at /"));
    worker_stop(w);
    worker_loop_close(l);
}

/* How programs end, and their last words: the end of what they said. */
static void line_ends(void **state)
{
    static const struct {
        const char *script, *words;
        enum worker_outcome outcome;
    } rows[] = {
        {"read x; echo why >&2; exit 7", "it ended with exit code 7", WORKER_DIED},
        {"read x; kill -SEGV $$", "it ended by signal 11", WORKER_DIED},
        {"read x; head -c 100000 /dev/zero | tr '\\0' y; sleep 60", "a line of more than 65536 bytes", WORKER_DIED},
        {"read x; while :; do echo progress; sleep 60; done", "it ended by signal 15", WORKER_HUNG},
        {"trap '' TERM; read x; sleep 60; sleep 60", "it ended by signal 9", WORKER_HUNG},
        {"read x; seq 100000 >&2; echo 100001st >&2; exit 1", "100000\n100001st\n", WORKER_DIED},
        {"exec no_such_program_here", "no_such_program_here", WORKER_DIED}};
    struct worker_loop *l = open_loop();
    char answer[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct worker *w = program(l, rows[i].script, NULL, NULL);
        assert_int_equal(say(w, "x", 1, answer, sizeof answer), rows[i].outcome);
        if (!strstr(worker_words(w), rows[i].words)) fail_msg("%s: %.300s", rows[i].script, worker_words(w));
        assert_true(strlen(worker_words(w)) <= 66000);
        worker_stop(w);
    }
    struct worker *w = program(l, "read x; echo progress; sleep 0.6; echo progress; sleep 0.6; echo done", NULL, NULL);
    assert_int_equal(say(w, "x", 1, answer, sizeof answer), WORKER_REPLY); /* progress renews */
    assert_string_equal(answer, "done");
    worker_stop(w);
    w = program(l, "read x; printf 'ready\\nmo'; read x; echo re", NULL,
                NULL); /* begins a line that nobody asked for */
    assert_int_equal(say(w, "x", 1, answer, sizeof answer), WORKER_REPLY);
    assert_int_equal(say(w, "x", 1, answer, sizeof answer), WORKER_DIED);
    assert_non_null(strstr(worker_words(w), "it spoke unasked: `mo`"));
    worker_stop(w);
    worker_loop_close(l);
}

/* The end of its input is the polite request; a program that does not read dies with its supervisor all the same. */
static int orphan_main(void)
{
    struct worker_loop *l;
    char answer[64];

    if (worker_loop_open(&l, NULL) != 0) return 1;
    struct worker *w = program(l, "read x; echo $$; exec sleep 60", NULL, NULL);
    if (say(w, "x", 5, answer, sizeof answer) != WORKER_REPLY) return 2;
    printf("%s\n", answer);
    fflush(stdout);
    kill(getpid(), SIGKILL);
    return 3;
}

static void orphan(void **state)
{
    char command[4200], exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    int pid = 0, status;
    FILE *f;

    (void)state;
    assert_true(n > 0);
    exe[n] = '\0';
    snprintf(command, sizeof command, "exec '%s' --orphan", exe);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    f = popen(command, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    status = pclose(f);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(waitpid(pid, &status, 0), pid); /* at once, not after 60 s */
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* A program that speaks no lines: its output is a file, its end a result. */
static void run_to_end(void **state)
{
    static const struct {
        const char *script, *printed, *words;
        double minutes;
        int code;
    } rows[] = {
        {"echo out; echo word >&2; [ -z \"$FATUNE_SUPERVISOR\" ] && [ \"$A\" = b ]", "out\n", "word", 1, 0},
        {"head -c 200000 /dev/zero; exit 3", NULL, "exit code 3", 1, 3},
        {"kill -SEGV $$", "", "signal", 1, 139},
        {"exec fatune-no-such-program", "", "not found", 1, 127},
        {"echo begun; exec sleep 100", "begun\n", "", 0.01, -1},
    };
    char folder[] = "/tmp/fatune_run_XXXXXX", path[64], words[512];
    struct err e = {0};
    struct buf printed = {0};
    int code;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/printed", folder);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *args[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)rows[i].script, NULL};
        const struct worker_program p = {args, folder, (const char *const[]){"A=b", NULL}};

        assert_int_equal(worker_run(&p, "printed", rows[i].minutes, &code, words, sizeof words, &e), 0);
        assert_int_equal(code, rows[i].code);
        assert_non_null(strstr(words, rows[i].words));
        assert_int_equal(buf_read_file(&printed, path, 1 << 20, ERR_SYSTEM, &e), 0);
        if (rows[i].printed)
            assert_string_equal(buf_text(&printed), rows[i].printed);
        else
            assert_int_equal(printed.n, 200000);
        buf_free(&printed);
    }
    unlink(path);
    rmdir(folder);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, before, after)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(echo),          CASE(surroundings),    CASE(deaths),        CASE(answer_and_exit),
        CASE(deadlines),     CASE(progress_renews), CASE(slow_death),    CASE(words),
        CASE(grandchildren), CASE(stop_busy),       CASE(side_by_side),  CASE(stop_in_callback),
        CASE(pump_waits),    CASE(interrupted),     CASE(second_signal), CASE(lines),
        CASE(line_ends),     CASE(orphan),          CASE(run_to_end),
    };

    if (argc == 2 && strcmp(argv[1], "--worker") == 0) return worker_main();
    if (argc > 2 && strcmp(argv[1], "--program") == 0) return worker_exec(argv + 2);
    if (argc == 2 && strcmp(argv[1], "--second") == 0) return second_main();
    if (argc == 2 && strcmp(argv[1], "--orphan") == 0) return orphan_main();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
