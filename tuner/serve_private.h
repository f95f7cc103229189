/* serve_private.h - shared by serve*.c: what the child has open, and how it answers.
 *
 * A serve_* function that handles a request has answered when it returns. */
#ifndef SERVE_PRIVATE_H
#define SERVE_PRIVATE_H

#include "bench.h"
#include "cache.h"
#include "check.h"
#include "device.h"
#include "fate.h"
#include "health.h"
#include "parallel.h"
#include "serve.h"

#define MAX_LOADED 1024

struct loaded {
    char key[DIGEST_HEX];
    struct launch launch;
    struct device_kernel *kernel;
    struct bench_arm *arm; /* in the bench that is open, NULL when not timed there yet */
};

struct serve {
    const char *cache;
    const struct device_driver *driver;
    struct device *device;
    struct target target;
    struct health *health;
    struct loaded loaded[MAX_LOADED];
    int nloaded;
    struct parallel *threads; /* of this process: drawing inputs, comparing outputs */
    struct check *check;
    json_t *check_key; /* the problem it was opened for */
    struct bench *bench;
    json_t *bench_key;  /* what the open bench was opened with */
    struct loaded *met; /* the arm of an open session against something that is timed elsewhere */
};

/* ---- serve.c ---- */
/* For check and bench: a message that renews the deadline. */
void serve_progress(void *ctx, const char *stage);
void serve_answer_take(json_t *j);
json_t *serve_error(const struct err *e);
/* more is consumed, and may be NULL. */
void serve_fate(enum fate f, const char *text, json_t *more);
/* Turns the class of a failed device call into the answer; refused: what a refusal by the device means. more is consumed. Where the context or
 * the device is gone it does not return. */
void serve_class(enum device_class c, enum fate refused, const struct err *e, json_t *more);
/* The kernel that j names, loaded once a worker. */
enum device_class serve_load(struct serve *s, const json_t *j, struct loaded **out, struct err *e);
/* Room for the three kernels that one request may load; pointers into loaded[] hold within a request. */
void serve_room(struct serve *s);
/* Opens the bench that j asks for ({"problem", "cold", "seed"}), or keeps the one that is open already. */
enum device_class serve_bench(struct serve *s, const json_t *j, struct err *e);
/* Opens the check for the problem j, or keeps the one that is open already. */
enum device_class serve_check(struct serve *s, const json_t *j, struct err *e);

/* ---- serve_meet.c ---- */
/* A file, or with "" the folder itself, of the folder that r names. */
int serve_path(const struct serve *s, const json_t *r, const char *file, char out[4096], struct err *e);
void serve_draw(struct serve *s, const json_t *r);
void serve_judge(struct serve *s, const json_t *r);
void serve_meet(struct serve *s, const json_t *r);
/* warm, letter, health and verify of the session that is open. */
void serve_met(struct serve *s, const json_t *r, const char *op);

/* ---- serve_oracle.c ---- */
void serve_oracle(struct serve *s, const json_t *r);

#endif
