/* contestant.h - an external program that times somebody else's attention on the same device, with the same inputs.
 *
 * The line protocol is docs/CONTESTANTS.md. The program runs in a child of its own (worker.h: process group, deadlines renewed by its
 * `progress` lines, kill, reap) and outlives many sessions: its start costs tens of seconds. It is never trusted: whatever it does, dying,
 * hanging or talking nonsense, it is *out*, with the reason, and nothing else is lost. A signal to us ends the wait for an answer and
 * the program with it. */
#ifndef CONTESTANT_H
#define CONTESTANT_H

#include <stdbool.h>

#include "err.h"
#include "paths.h"
#include "problem.h"
#include "space.h"
#include "worker.h"

/* ---- finding one ---- */

struct contestant_program {
    char name[64];
    char **args;  /* NULL-terminated, owned */
    char *folder; /* working directory, NULL: ours; owned */
    bool local;   /* its name alone does not lead to it: the space has its command, or it lies beside the space */
    bool refused; /* local, and nobody allowed a space's programs: it is out from the start, and never run */
};
void contestant_program_free(struct contestant_program *p);
/* The command, which runs in the space's folder, or an executable file of that name in dirs (paths_contestants with the same
 * space_path, NULL: no space). Not found: ERR_INPUT at its place in the space, ERR_USAGE where it has none (c->at.file NULL). */
int contestant_find(struct contestant_program *out, const struct space_contestant *c, const char *space_path,
                    const struct paths *dirs, struct err *e);
/* The program at a path that the user gave, called by its last part. ERR_USAGE: no executable file. */
int contestant_at(struct contestant_program *out, const char *path, struct err *e);
/* All executable files there, by name; the first of equal names. Names with a dot are helpers of others. *out: n programs, an owned array. */
int contestant_list(struct contestant_program **out, int *n, const struct paths *dirs, struct err *e);

/* ---- one under way ---- */

struct contestant;

enum contestant_state {
    CONTESTANT_STARTING, /* has not said hello yet */
    CONTESTANT_READY,
    CONTESTANT_OUT, /* contestant_why */
};

struct contestant_hooks {
    /* Said hello or is out; called once, from worker_pump or from a call below. */
    void (*settled)(void *ctx, struct contestant *c);
    /* While an answer is awaited: what it says (`progress TEXT`), or NULL about once a second. */
    void (*progress)(void *ctx, struct contestant *c, const char *text);
    void *ctx;
};

/* Starts it and asks for its hello, without waiting. t (NULL: none yet) is the device it will see. p and hooks are copied. */
int contestant_open(struct contestant **out, struct worker_loop *l, const struct contestant_program *p,
                    const struct target *t, const struct contestant_hooks *hooks, struct err *e);
/* Asks it to leave, and makes it. NULL is allowed. */
void contestant_close(struct contestant *c);
enum contestant_state contestant_state(const struct contestant *c);
/* Waits for its hello; true: ready. */
bool contestant_wait(struct contestant *c);
const char *contestant_name(const struct contestant *c);
const char *contestant_version(const struct contestant *c); /* its hello, "" before */
/* The words of its command as the space has them, joined by newlines; "" for a program found by its name. Another command is another
 * contestant, wherever its folder is. */
const char *contestant_command(const struct contestant *c);
const char *contestant_choice(const struct contestant *c); /* of its last prepare */
const char *contestant_why(const struct contestant *c);    /* why it is out, "" */

/* Requests, in the protocol's order. false: it is out. Paths are absolute. */
bool contestant_problem(struct contestant *c, const struct problem *p, const struct target *t, int sets);
bool contestant_input(struct contestant *c, char tensor, const char *path); /* tensor: q, k or v */
bool contestant_prepare(struct contestant *c);
bool contestant_sample(struct contestant *c, int k, double *us); /* us: of one launch; finite and positive */
bool contestant_output(struct contestant *c, const char *path);

#endif
