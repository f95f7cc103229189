/* track.h - which of a store's tracks is meant: a space on a device, by the names that people use for them. */
#ifndef TRACK_H
#define TRACK_H

#include "store.h"

struct track_query {
    const char *space;  /* a space's file, or its name */
    const char *device; /* part of its name in any case; NULL: any */
    const char *track;  /* beginning of its digest; NULL: any */
};
struct track {
    char digest[65], space[128], device[128]; /* names */
};
/* ERR_USAGE: none fits, or more than one does, with those that there are. store: its name, for the message. */
int track_find(struct store *s, const char *store, const struct track_query *q, struct track *out, struct err *e);

#endif
