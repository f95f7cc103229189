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
    bool done, cached;     /* cached: nothing was compiled */
    char *log;             /* compiler's words or how it died; owned, may be NULL */
    json_t *resources;     /* owned, may be NULL */
    double seconds;
    /* the farm's own */
    json_t *request;
    double started;
    int tries;
    struct farm *farm;
    struct farm_job *next;
};

/* jobs: number of workers; started when first needed. deadline_s: of one compilation. */
int farm_open(struct farm **out, struct worker_loop *l, const struct target *t, const char *cache, int jobs,
              double deadline_s, struct err *e);
void farm_close(struct farm *f);
/* Looks the key up; a hit is done at once, else the job is queued. -1: the cache cannot be written. */
int farm_submit(struct farm *f, struct farm_job *j, const struct rendered *r, struct err *e);
int farm_pending(const struct farm *f); /* jobs queued or running */
/* Forgets what is queued (those jobs stay undone and the caller may free them) and waits for what is running. */
int farm_cancel(struct farm *f, struct err *e);
/* A fault of the machine (no compiler, cache unwritable) ends everything: -1 and its text. */
int farm_check(const struct farm *f, struct err *e);
/* Turns the loop until j is done. */
int farm_wait(struct farm *f, struct farm_job *j, struct err *e);
int farm_compiled(const struct farm *f);   /* compilations so far, cache hits not counted */
double farm_seconds(const struct farm *f); /* summed over workers */
void farm_job_free(struct farm_job *j);

#endif
