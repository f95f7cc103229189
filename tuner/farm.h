/* farm.h - compile workers: a queue of sources, binaries in the cache. Compiling goes on whenever the loop turns. */
#ifndef FARM_H
#define FARM_H

#include <jansson.h>
#include <stdbool.h>

#include "digest.h"
#include "err.h"
#include "fate.h"
#include "problem.h"
#include "tmpl.h"
#include "worker.h"

struct farm;

struct farm_job { /* owned by the caller, at a fixed address until done */
    char key[DIGEST_HEX];
    char code[DIGEST_HEX]; /* of the compiled code, "" unknown */
    enum fate fate;        /* FATE_OK: the binary is in the cache */
    bool again; /* set by the caller: compiled though the binary is there, and kept beside it under a key of its own */
    bool done, cached; /* cached: nothing was compiled */
    char *log;         /* compiler's words or how it died; owned, may be NULL */
    json_t *resources; /* owned, may be NULL */
    double seconds;
    /* the farm's own */
    int64_t spills, shared_bytes, threads; /* what is expected, and what the launch asks for */
    json_t *request;
    double started;
    int tries;
    struct farm *farm;
    struct farm_job *next;
};

#define FARM_DEADLINE_S 65.0

/* jobs: number of workers, 0: one a core; started when first needed. deadline_s: of one compilation. */
int farm_open(struct farm **out, struct worker_loop *l, const struct target *t, const char *cache, int jobs,
              double deadline_s, struct err *e);
void farm_close(struct farm *f);
/* Looks the key up; a hit is done at once, else the job is queued. -1: the cache cannot be written. What compiles, but spills more
 * than its manifest expects, or asks for more shared memory or registers than a block of the target has, gets FATE_LIMITS: no device worker need be asked. */
int farm_submit(struct farm *f, struct farm_job *j, const struct rendered *r, struct err *e);
int farm_pending(const struct farm *f); /* jobs queued or running */
/* Forgets what is queued (those jobs stay undone and the caller may free them) and waits for what is running. */
int farm_cancel(struct farm *f, struct err *e);
/* A fault of the machine (no compiler, cache unwritable) ends everything: -1 and its text. */
int farm_check(const struct farm *f, struct err *e);
/* Turns the loop until j is done. */
int farm_wait(struct farm *f, struct farm_job *j, struct err *e);
int farm_jobs(const struct farm *f);       /* workers at most */
int farm_compiled(const struct farm *f);   /* compilations so far, without cache hits and second copies */
double farm_seconds(const struct farm *f); /* summed over workers */
void farm_job_free(struct farm_job *j);

/* Of a job that is done: bytes of spilled registers, stored or loaded, whichever is more; -1 where the compiler does not say. */
int64_t farm_spilled(const struct farm_job *j);
/* What the kernel is, whatever its name: digest of code and launch, "" where the driver cannot tell the code. */
void farm_identity(char out[DIGEST_HEX], const struct farm_job *j, const struct launch *l);

#endif
