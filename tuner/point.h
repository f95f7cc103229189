/* point.h - one candidate as `fatune eval` takes it, for the programs that wrap `fatune eval`: sanitizers, profilers.
 *
 * It comes from the store (a version, or the prefix of a candidate's digest), with its space as its run had it, or is a point of a space file.
 * What is found out about it goes into a folder of its own beside the store. */
#ifndef POINT_H
#define POINT_H

#include <jansson.h>

#include "buf.h"
#include "err.h"

struct point {
    struct buf folder; /* KIND/NAME beside the store; it is there */
    struct buf space;  /* the file; that of a version is written into the folder */
    struct buf tmpl;   /* "": the first that knows the parameters */
    struct buf set;    /* K=V,...; "": the template's default */
    struct buf binary; /* digest of what must come out of the compiler; "": any */
};
void point_free(struct point *p); /* NULL and twice are fine */

struct point_query {
    const char *kind;       /* of folder: "sanitize" */
    const char *name;       /* version, digest prefix, or a space's file */
    const char *store;      /* its file */
    const char *track;      /* NULL: the newest that knows the name */
    const char *tmpl, *set; /* of a space's file alone; NULL: as above */
};
/* ERR_USAGE: no such name, or tmpl and set with a version; ERR_STORE; ERR_SYSTEM: the folder. */
int point_find(struct point *out, const struct point_query *q, struct err *e);

/* Sets tmpl and set. cand: as cand_to_json gives it. */
void point_params(struct point *p, const json_t *cand);

/* KIND/NAME beside the store, made with all that is missing above it. */
int point_folder(struct buf *out, const char *store, const char *kind, const char *name, struct err *e);

#define POINT_ARGS 24
/* Operands and options of `fatune eval` for a quick check and one sample, NULL-terminated: what a tool that slows a kernel down a hundred times
 * can bear. Borrowed from p and from what is given; device and templates may be NULL. */
void point_args(const struct point *p, const char *store, const char *device, const char *templates,
                const char *args[POINT_ARGS]);

#endif
