/* recording.h - a space that somebody measured before: every point that was tried, and its time or that it failed.
 *
 * Three formats, plain or gzip, told apart by their content:
 *   - CSV: a line of names; the columns before `status` are the parameters; `status` is "ok" or why a point failed; the time is in mean_ms;
 *   - the cache file of Kernel Tuner (https://github.com/KernelTuner/kernel_tuner): a JSON object with `tune_params` and `cache`,
 *     the time in `time`, milliseconds, or a text where it failed;
 *   - T4, the exchange format of autotuning results (https://github.com/odgaard/TuningSchema): a JSON object with `results`, each with
 *     `configuration`, `invalidity` ("correct" where it worked) and the measurement named "time", milliseconds. A text `template` in a
 *     configuration is no parameter: it names a table with parameters of its own, as `fatune export` writes it.
 * A point that none of them lists is one that a constraint excludes. A point listed twice counts as it was listed first. */
#ifndef RECORDING_H
#define RECORDING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cand.h"
#include "err.h"

struct recording_param {
    char *name;
    int nvalues;
    char **values; /* ascending where all are numbers, else in the order met */
};

struct recording_table {
    char *name; /* of the template, else the recording's */
    int nparams;
    struct recording_param params[CAND_MAX_PARAMS];
};

struct recording_point {
    struct cand at; /* tmpl: the table; indices into values */
    bool ok;
    double us; /* mean of a launch; NAN unless ok */
};

struct recording {
    char *name; /* of the file, without folder and endings */
    int ntables;
    struct recording_table *tables;
    size_t n;
    struct recording_point *points; /* by table and rank in its product, the last parameter fastest; none twice */
};

/* ERR_INPUT: what is wrong, where, and with the line of a CSV; ERR_SYSTEM: it cannot be read. */
int recording_read(struct recording *out, const char *path, struct err *e);
/* The same of a JSON object that is in memory, under this name; borrowed. ERR_INPUT. */
int recording_document(struct recording *out, const char *name, const json_t *doc, struct err *e);
void recording_free(struct recording *r);

/* The domain of its points: a template for each table, whose valid points are those recorded. It has no problem and no source, so a
 * candidate of it can be searched and named, not rendered. r must outlive it. */
int recording_domain(struct domain **out, const struct recording *r, struct err *e);

#endif
