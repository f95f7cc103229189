/* A domain without manifests: its templates have names and values, and their valid points are lists of ranks instead of what constraints leave. */
#include <stdlib.h>
#include <string.h>

#include "cand_private.h"
#include "recording.h"

static struct tmpl *template_of(const struct recording_table *r)
{
    struct tmpl *t = calloc(1, sizeof *t);
    bool sound = t && (t->name = strdup(r->name)) && (t->params = calloc((size_t)r->nparams, sizeof *t->params));

    for (int k = 0; k < r->nparams && sound; k++) {
        t->nparams = k + 1;
        sound = (t->params[k].range.name = strdup(r->params[k].name)) != NULL;
    }
    if (sound) return t;
    tmpl_free(t);
    return NULL;
}

static int ranges_of(struct domain_entry *t, const struct recording_table *r, struct err *e)
{
    t->below[r->nparams] = 1;
    for (int k = r->nparams - 1; k >= 0; k--) {
        const int n = t->nvalues[k] = r->params[k].nvalues;
        if (!(t->values[k] = calloc((size_t)n, sizeof *t->values[k]))) return err_nomem(e);
        t->n = t->n > k ? t->n : k + 1;
        for (int v = 0; v < n; v++) /* text has no number: what counts is the order */
            t->values[k][v] = v;
        if (__builtin_mul_overflow(t->below[k + 1], (uint64_t)n, &t->below[k]) || t->below[k] > INT64_MAX / 64)
            return err_set(e, ERR_INPUT, "%.100s: the product of its ranges is larger than 2^57", r->name);
    }
    t->product = t->below[0];
    return 0;
}

/* Its points are in order, and begin where those of the table before it ended. */
static int entry_of(struct domain *d, int i, const struct recording *r, size_t *first, struct err *e)
{
    struct domain_entry *t = &d->entry[i];

    t->start = d->total;
    d->n = i + 1;
    if (!(t->t = template_of(&r->tables[i]))) return err_nomem(e);
    if (ranges_of(t, &r->tables[i], e) != 0) return -1;
    d->total += t->product;
    if (!(t->members = calloc(r->n, sizeof *t->members))) return err_nomem(e);
    for (; *first < r->n && r->points[*first].at.tmpl == i; ++*first)
        t->members[t->nmembers++] = domain_rank(d, &r->points[*first].at) - t->start;
    return 0;
}

int recording_domain(struct domain **out, const struct recording *r, struct err *e)
{
    struct domain *d = calloc(1, sizeof *d);
    size_t first = 0;
    int rc = 0;

    *out = NULL;
    if (d) d->entry = calloc((size_t)r->ntables + 1, sizeof *d->entry);
    if (!d || !d->entry) {
        domain_close(d);
        return err_nomem(e);
    }
    d->counted = d->exact = true;
    d->count = r->n;
    for (int i = 0; i < r->ntables && rc == 0; i++)
        rc = entry_of(d, i, r, &first, e);
    if (rc == 0)
        *out = d;
    else
        domain_close(d);
    return rc;
}
