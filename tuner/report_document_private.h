/* report_document_private.h - shared by report_document*.c. */
#ifndef REPORT_DOCUMENT_PRIVATE_H
#define REPORT_DOCUMENT_PRIVATE_H

#include <stdio.h>

#include "report_document.h"

#define REPORT_INTERVAL (2 * REPORT_NUMBER + 8)
/* "1.22 to 1.24"; pair: as in JSON. Returns to, or other words. */
const char *report_interval(char to[REPORT_INTERVAL], const json_t *pair);
/* The picture, or why there is none; nothing when it has no data. */
void report_show_picture(struct page *p, struct report_pictures *pictures, enum report_picture which);

/* The search, the parameters and the fates. */
void report_document_search(struct page *p, const json_t *report, struct report_pictures *pictures);
/* Which parameters mattered. */
void report_document_importance(struct page *p, const json_t *report, struct report_pictures *pictures);
/* The roofline, the nights, why nobody was promoted, and where all comes from. */
void report_document_machine(struct page *p, const json_t *report, struct report_pictures *pictures);

#endif
