/* worker.h - child processes that do the risky work, seen from the supervisor (libuv).
 *
 * A worker is this program started again as `fatune --worker`, in its own process group, with stdin from /dev/null, its output
 * drained and capped, and a pipe on descriptor WIRE_FD. It dies with its supervisor. One request is in flight at a time. Every
 * request has a deadline on the monotonic clock, renewed by each progress message. A worker that misses it, dies, or sends garbage is
 * gone: its process group is killed (close the pipe, SIGTERM, 0.5 s, SIGKILL, wait up to 10 s). */
#ifndef WORKER_H
#define WORKER_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"
#include "err.h"

struct worker_loop; /* event loop, signals, all children */
struct worker;

int worker_loop_open(struct worker_loop **out, struct err *e);
/* Stops every child and waits for it. NULL is allowed. */
void worker_loop_close(struct worker_loop *l);
/* SIGINT or SIGTERM has arrived: finish what is in hand, commit, leave. A second signal ends the process at once. */
bool worker_interrupted(const struct worker_loop *l);
/* Handles events until something happens or wait_s has passed; 0 does not wait. */
void worker_pump(struct worker_loop *l, double wait_s);
/* Seconds on the monotonic clock. */
double worker_now(void);

/* What a request's deadline is: FATUNE_DEADLINE_S from the environment where it is set, for tests and slow machines. */
double worker_deadline(double otherwise);

enum worker_outcome {
    WORKER_REPLY,      /* *reply is the answer */
    WORKER_DIED,       /* it ended or sent garbage: words say how */
    WORKER_HUNG,       /* it missed its deadline and was killed */
    WORKER_UNKILLABLE, /* it could not even be killed: the device is lost */
};

/* cache: folder of binaries; the worker's compilers keep their own caches under it. NULL: for questions that need none. */
int worker_spawn(struct worker_loop *l, const char *cache, struct worker **out, struct err *e);
/* A program that fatune does not own, in the same care. It speaks lines (wire.h): requests and replies are {"line": text} on its standard
 * input and output, its standard error is its words, of which the last are kept. A line that nobody asked for is garbage. */
struct worker_program {
    char *const *args;      /* NULL-terminated; args[0] without a slash is looked for in PATH */
    const char *folder;     /* working directory, NULL: ours */
    const char *const *env; /* "NAME=value" over the environment, NULL-terminated; at most WORKER_ENV_MAX */
};
#define WORKER_ENV_MAX 4
int worker_spawn_program(struct worker_loop *l, const struct worker_program *p, struct worker **out, struct err *e);
/* Such a program that speaks no lines and is given none, run to its end: its standard output becomes the file `printed` (in its folder), the
 * last of its standard error goes to words. *code: what it ended with, 128 + the signal, 127 when it cannot be started, -1 when it took longer
 * than `minutes` and was killed. ERR_INTERRUPTED, ERR_SYSTEM; what becomes of it is a result. Has a loop of its own. */
int worker_run(const struct worker_program *p, const char *printed, double minutes, int *code, char *words, size_t size,
               struct err *e);
/* The child's side of it: dies with its supervisor, then becomes the program. Returns an exit code when that fails. */
int worker_exec(char *const *args);
/* Ends it politely, then by force. Frees it; NULL is allowed. Waits for the end, but inside a callback of the loop, where the end is
 * taken care of later; an unanswered request is then answered later too. */
void worker_stop(struct worker *w);
bool worker_alive(const struct worker *w);
bool worker_busy(const struct worker *w);
/* How it ended and its last output, for logs; borrowed. */
const char *worker_words(struct worker *w);
/* What it ended with by itself, 128 + the signal that ended it, or -1: it lives, or had to be killed. */
int worker_exit_code(const struct worker *w);
/* Bytes it has printed; more than the cap (64 KiB) is counted, not kept. Of a program the last are kept, of a worker the first. */
size_t worker_printed(const struct worker *w);

/* done is called once, from worker_pump: reply is borrowed, NULL unless WORKER_REPLY. */
typedef void worker_done(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply);
/* Takes the reference to request. */
int worker_request_take(struct worker *w, json_t *request, double deadline_s, worker_done *done, void *ctx,
                        struct err *e);
/* progress sees each progress message until the request in flight is answered. */
void worker_listen(struct worker *w, void (*progress)(void *ctx, const json_t *message), void *ctx);
/* A message that has no answer. Takes the reference. */
void worker_tell_take(struct worker *w, json_t *message);
/* As worker_request_take, waiting: the loop goes on turning, so other workers' answers are handled meanwhile. progress (may be NULL) sees each
 * progress message. *reply: new reference or NULL. */
enum worker_outcome worker_call_take(struct worker *w, json_t *request, double deadline_s,
                                     void (*progress)(void *ctx, const json_t *message), void *ctx, json_t **reply);

#endif
