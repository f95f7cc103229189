/* space.h - a YAML file that names a problem and what to search. (doc.h is the reader that manifests share.)
 *
 * Loading checks everything that can be known without templates; names of parameters are checked when templates are known
 * (cand.h). Every error is ERR_INPUT with file:line:column, the line, a caret, and "did you mean" for an unknown key. */
#ifndef SPACE_H
#define SPACE_H

#include <stdint.h>

#include "err.h"
#include "problem.h"

enum { SPACE_LOOKS = 5 };

struct space_name {
    char *name;
    struct pos at;
};

/* A parameter's values: either the manifest's own or narrowed by a space. Integers only. */
struct space_param {
    char *name;
    struct pos at;
    int n;
    int64_t *values;
    struct pos *value_at;
};

struct space_rule {
    char *text;
    struct pos at;
    char *why;
}; /* why may be NULL in a space */

/* Somebody else's attention, timed by an external program (contestant.h). */
struct space_contestant {
    char *name;
    struct pos at;
    char **command; /* NULL-terminated words; NULL: a program of that name */
    struct pos command_at;
};

struct space {
    char *path, *text; /* the file's name as given and its whole text: positions borrow both */
    char digest[65];   /* of what the space means: comments and layout do not count */
    char *name;
    struct problem problem;
    int ntemplates;
    struct space_name *templates;
    int nparams;
    struct space_param *params;
    int nrules;
    struct space_rule *rules;
    int ncontestants;
    struct space_contestant *contestants; /* not in the digest: who is met changes nothing of what is found */
    struct {
        char strategy[32];
        int evaluations;
        double minutes;
        uint64_t seed;
    } search;
    struct {
        double atol, rtol;
        int repeats;
    } validate;
    struct {
        int cold;
    } measure;
    struct {
        double min_gain, hedges_g, alpha, target_us;
        int sessions;                   /* of a trial; of its first look when there are looks */
        int nlooks, looks[SPACE_LOOKS]; /* ascending numbers of sessions; 0: a trial is judged once */
        int sanitize;                   /* 1: no promotion unless compute-sanitizer has nothing to say against it */
    } promote;                          /* target_us 0: none */
};

int space_load(struct space *out, const char *path, struct err *e);
/* As space_load, from memory; path is for messages. */
int space_parse(struct space *out, const char *text, size_t n, const char *path, struct err *e);
void space_free(struct space *s);

#endif
