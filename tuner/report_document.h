/* report_document.h - a report for people, from its JSON (docs/JSON.md: report) and its pictures. The first screen says who is champion, how
 * much faster than what, and how sure that is; below stands every number with where it comes from. What the store has no data for is said. */
#ifndef REPORT_DOCUMENT_H
#define REPORT_DOCUMENT_H

#include <jansson.h>

#include "report_page.h"
#include "report_pictures.h"

/* p->format is set. ERR_SYSTEM when out of memory. */
int report_document(struct page *p, const json_t *report, struct report_pictures *pictures, struct err *e);

#endif
