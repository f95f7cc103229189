/* A domain without manifest: its template has names and values, and its valid points are a list of ranks instead of what constraints leave. */
#include <stdlib.h>
#include <string.h>

#include "cand_private.h"
#include "recording.h"

static struct tmpl *template_of(const struct recording *r)
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

static int ranges_of(struct domain_entry *t, const struct recording *r, struct err *e)
{
    t->below[r->nparams] = 1;
    for (int k = r->nparams - 1; k >= 0; k--) {
        const int n = t->nvalues[k] = r->params[k].nvalues;
        if (!(t->values[k] = calloc((size_t)n, sizeof *t->values[k]))) return err_nomem(e);
        t->n = t->n > k ? t->n : k + 1;
        for (int v = 0; v < n; v++) /* text has no number: what counts is the order */
            t->values[k][v] = v;
        if (__builtin_mul_overflow(t->below[k + 1], (uint64_t)n, &t->below[k]) || t->below[k] > INT64_MAX)
            return err_set(e, ERR_INPUT, "%.100s: the product of its ranges is larger than 2^63", r->name);
    }
    t->product = t->below[0];
    return 0;
}

int recording_domain(struct domain **out, const struct recording *r, struct err *e)
{
    struct domain *d = calloc(1, sizeof *d);
    struct domain_entry *t = calloc(1, sizeof *t);
    uint64_t *members = calloc(r->n, sizeof *members);
    int rc = 0;

    *out = NULL;
    if (!d || !t || !members) {
        free(d);
        free(t);
        free(members);
        return err_nomem(e);
    }
    *d = (struct domain){.n = 1, .entry = t, .counted = true, .exact = true, .count = r->n};
    t->members = members;
    t->nmembers = r->n;
    if (!(t->t = template_of(r))) rc = err_nomem(e);
    if (rc == 0) rc = ranges_of(t, r, e);
    d->total = t->product;
    for (size_t i = 0; i < r->n && rc == 0; i++)
        members[i] = domain_rank(d, &r->points[i].at);
    if (rc == 0)
        *out = d;
    else
        domain_close(d);
    return rc;
}
