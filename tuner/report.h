/* report.h - text for people, from the same JSON that --json prints: what is shown is what is recorded. */
#ifndef REPORT_H
#define REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "buf.h"
#include "tune.h"

/* verdict: as verdict_to_json. a, b: what the arms are called. */
void report_verdict(struct buf *out, const json_t *verdict, const char *a, const char *b);
/* comparison: as tune_compare gives it. */
void report_comparison(struct buf *out, const json_t *comparison);
/* What the contestant is and chose, and what is wrong with it, indented. */
void report_contestant(struct buf *out, const json_t *contestant);
/* summary: as tune_run gives it. */
void report_run(struct buf *out, const json_t *summary);
/* dead: as in a run's summary; a line for each, nothing when there is none. */
void report_dead(struct buf *out, const json_t *dead);
/* list: of importance, as in a run's summary; all: every parameter, not those alone that mattered most. */
void report_importance(struct buf *out, const json_t *list, bool all);
/* compilation: as sweep_run gives it. */
void report_compilation(struct buf *out, const json_t *compilation);
/* evaluation: as tune_eval gives it. */
void report_evaluation(struct buf *out, const json_t *evaluation);
/* candidate: as `fatune show --json` prints it. */
void report_candidate(struct buf *out, const json_t *candidate);
/* profile: as `fatune profile --json` prints it. */
void report_profile(struct buf *out, const json_t *profile);
/* A live line on a terminal, whole lines elsewhere. */
struct report_progress {
    FILE *to;
    bool live, colour;
    double last_s;
    int width;
};
void report_progress_open(struct report_progress *r, FILE *to);
void report_progress_show(void *r, const struct tune_progress *p); /* a tune_options.progress */
void report_progress_close(struct report_progress *r);

#endif
