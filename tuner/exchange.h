/* exchange.h - what was tried in a space, as other tuners read it.
 *
 * Every candidate that a run of the track tried, once, as last measured: newest run first, its proposals in order. Times are scores of a search,
 * in milliseconds: they say what to try, not what is faster. */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <jansson.h>

#include "store.h"

/* T4, the exchange format of autotuning results, schema 1.0.0 (https://github.com/odgaard/TuningSchema, as Kernel Tuner 1.4 ships it): of each
 * candidate its `configuration` (the template's name as `template`, then the parameters), what became of it, samples and score. *out: new
 * reference. */
int exchange_t4(struct store *s, const char *track, json_t **out, struct err *e);

#endif
