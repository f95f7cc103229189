/* tmpl.h - a template: manifest and kernel source, loaded once; rendering touches no file.
 *
 * Loading refuses, with a position: unknown keys, a source outside the folder, an #include that is not in the manifest or
 * not on the closed list, a parameter that neither the source nor a tensor map mentions, an identifier in an #if that nobody
 * defines, a tensor map that is no argument or that no device could have. */
#ifndef TMPL_H
#define TMPL_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"
#include "expr.h"
#include "problem.h"
#include "space.h"

struct tmpl_param {
    struct space_param range;
    int64_t fallback;
    char *what;
}; /* fallback: the manifest's `default` */

struct tmpl {
    char *name, *folder, *language, *entry;
    char digest[65]; /* of manifest and source */
    int nparams;
    struct tmpl_param *params;
    int nrequires;
    struct space_rule *requires;
    int nrules;
    struct space_rule *rules; /* constraints */
    int nderive;
    struct space_rule *derive; /* why = the derived value's name */
    struct tmpl_private *priv; /* yaml and source texts, launch expressions, options */
};

int tmpl_load(struct tmpl **out, const char *folder, struct err *e);
void tmpl_free(struct tmpl *t);
/* Does its source have tile hooks? */
#define TMPL_DEBUG "FATUNE_ORACLE"
bool tmpl_has_hooks(const struct tmpl *t);
/* Index of a parameter, or -1. */
int tmpl_param_index(const struct tmpl *t, const char *name);

/* A template bound to a problem and a target: scope with all names set, expressions compiled. Not thread-safe. A derived value
 * or constraint that names no parameter and cannot be evaluated is an error here, with its position. */
struct tmpl_bound;
int tmpl_bind(struct tmpl_bound **out, const struct tmpl *t, const struct problem *p, const struct target *dev,
              struct err *e);
void tmpl_bound_free(struct tmpl_bound *b);
/* Why this template cannot serve here (language, no lse, a false `requires`), or NULL when it can. */
const char *tmpl_unfit(const struct tmpl_bound *b);
/* The scope, for a space's own constraints. */
struct expr_scope *tmpl_scope(struct tmpl_bound *b);
/* Sets parameters (values in manifest order), evaluates derive. -1: an expression could not be evaluated (point excluded,
 * e says why). */
int tmpl_set(struct tmpl_bound *b, const int64_t *values, struct err *e);
/* After tmpl_set: index of the first manifest constraint that is false, -1 when all hold, -2 when one could not be evaluated
 * (e says which). */
int tmpl_excluded(struct tmpl_bound *b, struct err *e);

/* The same bit by bit, for enumeration. A step is a derived value or a constraint, the space's included; its level is the
 * last parameter (in manifest order) that it depends on, -1 when on none. */
struct tmpl_step {
    const struct space_rule *rule;
    bool derive;
    int level;
};
/* Adds a constraint of the space, all of whose names the scope knows; the rule is borrowed. */
int tmpl_add_rule(struct tmpl_bound *b, const struct space_rule *r, struct err *e);
int tmpl_nsteps(const struct tmpl_bound *b);
struct tmpl_step tmpl_step(const struct tmpl_bound *b, int i);
/* Sets parameter `level` and evaluates the steps of that level, when 0..level-1 are placed and hold; level -1 evaluates those
 * that depend on none. Returns -1 when all hold, else the step that excludes every point with these values: *failed when it
 * could not be evaluated. why may be NULL. */
int tmpl_place(struct tmpl_bound *b, int level, int64_t value, bool *failed, struct err *why);
/* What the steps of later levels use of this and earlier ones: params[i] for each parameter, and the derived values, by their slots in the scope; returns how
 * many of these. Choices of parameters 0..level that agree in all of them leave the same points. derived: room for nderive. */
int tmpl_live(const struct tmpl_bound *b, int level, bool *params, int *derived);

struct rendered {
    struct buf source; /* prelude + #line + kernel */
    struct launch launch;
    const char *const *options; /* borrowed from the template, NULL-terminated */
    int64_t spills;             /* most bytes of registers that the compiler may spill here */
    bool needs_headers;         /* some include is allowed: give the compiler the toolkit's folder */
};
/* After tmpl_set. Geometry that is not positive or beyond a device's grid is an error: fate RENDER. */
int tmpl_render(struct tmpl_bound *b, struct rendered *out, struct err *e);
/* Makes it the debug build, which shows a tile of S and P (kernel_templates/README.md, tile hooks): TMPL_DEBUG is defined, one more argument
 * follows those of the manifest, and what the compiler spills is of no interest. */
int rendered_debug(struct rendered *r, struct err *e);
void rendered_free(struct rendered *r);

#endif
