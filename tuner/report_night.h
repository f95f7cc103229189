/* report_night.h - a night in words, from the JSON that --json prints (docs/JSON.md: night). */
#ifndef REPORT_NIGHT_H
#define REPORT_NIGHT_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"

/* A few lines, the post-mortem among them. night: as tune_night gives it. */
void report_night(struct buf *out, const json_t *night);
/* The page of a night: markdown, with the run's whole report in it. */
void report_night_page(struct buf *out, const json_t *night);
/* Something happened that a person should hear of: another champion, a promotion settled or refuted, a machine that drifts. */
bool report_night_news(const json_t *night);

#endif
