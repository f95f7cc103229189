/* exchange.h - what was tried in a space, as other tuners read it.
 *
 * Every candidate that a run of the track tried, once, as last measured: newest run first, its proposals in order. Times are scores of a search,
 * in milliseconds: they say what to try, not what is faster. */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <jansson.h>

#include "track.h"

/* T4, the exchange format of autotuning results, schema 1.0.0 (https://github.com/odgaard/TuningSchema, as Kernel Tuner 1.4 ships it): of each
 * candidate its `configuration` (the template's name as `template`, then the parameters), what became of it, samples and score. *out: new
 * reference. */
int exchange_t4(struct store *s, const struct track *t, json_t **out, struct err *e);

/* A cache file of Kernel Tuner 1.4 (process_cache in its util.py), for its simulation mode. It has one list of parameters, so it holds the points of one
 * template: tmpl, or NULL where no other was tried, else ERR_USAGE that lists them. Its members must be written in their order: Kernel Tuner looks at the
 * end of the file. *out: new reference. */
int exchange_cache(struct store *s, const struct track *t, const char *tmpl, json_t **out, struct err *e);

#endif
