/* report_space_private.h - the parts of a report, each in a file of its own. All give new references, NULL in *out where there is nothing. */
#ifndef REPORT_SPACE_PRIVATE_H
#define REPORT_SPACE_PRIVATE_H

#include "buf.h"
#include "problem.h"
#include "report_space.h"
#include "space.h"

/* Of one run: how the best was approached, and what became of the proposals. run: one that searched. */
int report_search(struct store *s, const struct store_run *run, json_t **out, struct err *e);
/* The search scores of each parameter's values, over the candidates of the run's environment, by template; best template first. */
int report_effects(struct store *s, const struct store_run *run, json_t **out, struct err *e);
/* "template K=V K=V" of a point as the store has it. */
void report_point_text(struct buf *out, const json_t *point);
/* The letters of a trial's two arms that count, with their quantiles: {"a": .., "b": ..}. */
int report_letters(struct store *s, int64_t trial, json_t **out, struct err *e);
/* The problem's work against the device's ceilings, and where a kernel that takes `us` lies (NAN: none does). */
json_t *report_roofline(const struct problem *p, const struct target *t, double us);
/* The ledger's rows and the chart of the anchor. */
int report_nights(struct store *s, const char *track, json_t **out, struct err *e);

#endif
