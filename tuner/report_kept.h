/* report_kept.h - the post-mortem of a run that promoted nobody: what was tried, which clause each finalist failed and by how much, what it
 * would need. Of a night's run it is the same. */
#ifndef REPORT_KEPT_H
#define REPORT_KEPT_H

#include <jansson.h>

#include "buf.h"

/* run: its summary (docs/JSON.md: run). New reference (ibid.: post-mortem); NULL: nobody stands, or somebody was proven faster. */
json_t *report_kept_json(const json_t *run);
/* The same in words; nothing where it is NULL. */
void report_kept(struct buf *out, const json_t *run);

#endif
