/* report_space.h - all that a store knows of one track, as one JSON value (docs/JSON.md: report): what `fatune report` prints and draws, and
 * nothing that it does not.
 *
 * Opens no device and decides nothing: verdicts are read as they were written; medians, quantiles and shares of variance describe. What the
 * store has no data for is null, or an empty list. Numbers of other environments are never mixed: parameters and the chart are of the newest. */
#ifndef REPORT_SPACE_H
#define REPORT_SPACE_H

#include <jansson.h>

#include "store.h"

/* track: a whole digest that the store has. New reference. ERR_STORE; the space's own text that cannot be read any more costs the roofline
 * alone. */
int report_space(struct store *s, const char *track, json_t **out, struct err *e);

#endif
