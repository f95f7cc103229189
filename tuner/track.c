#include "track.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "space.h"

struct choice {
    const char *name;
    const struct track_query *q;
    struct track found;
    int n;
    struct buf fitting, all;
};

static int consider(void *ctx, const struct store_track *t)
{
    struct choice *c = ctx;
    const struct track_query *q = c->q;

    buf_printf(&c->all, "\n  %s on %s, track %.12s", t->space, t->device, t->digest);
    if (strcmp(t->space, c->name) != 0 || (q->device && !strcasestr(t->device, q->device)) ||
        (q->track && strncmp(t->digest, q->track, strlen(q->track)) != 0))
        return 0;
    buf_printf(&c->fitting, "\n  %s on %s, track %.12s", t->space, t->device, t->digest);
    memcpy(c->found.digest, t->digest, sizeof c->found.digest);
    memcpy(c->found.space, t->space, sizeof c->found.space);
    memcpy(c->found.device, t->device, sizeof c->found.device);
    c->n++;
    return 0;
}

int track_find(struct store *s, const char *store, const struct track_query *q, struct track *out, struct err *e)
{
    struct choice c = {.name = q->space, .q = q};
    struct space space = {0};
    struct stat st;
    int rc;

    if (stat(q->space, &st) == 0 && S_ISREG(st.st_mode)) {
        TRY(space_load(&space, q->space, e));
        c.name = space.name;
    }
    TRY(store_tracks(s, consider, &c, e));
    if (c.n > 1)
        rc = err_set(e, ERR_USAGE, "there is more than one %s in the store: say which by --device or --track%s", c.name,
                     buf_text(&c.fitting));
    else if (c.n == 0)
        rc = err_set(e, ERR_USAGE, "no run of %s%s%s%s%s is in %s; it has%s", c.name, q->device ? " on " : "",
                     q->device ? q->device : "", q->track ? " in track " : "", q->track ? q->track : "", store,
                     c.all.n ? buf_text(&c.all) : " none at all: `fatune run SPACE` makes one");
    *out = c.found;
out:
    space_free(&space);
    buf_free(&c.fitting);
    buf_free(&c.all);
    return rc;
}
