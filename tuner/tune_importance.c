/* Which parameters mattered in this run. Templates that were nowhere near the best are left out: nobody asks what would make them faster. */
#include <math.h>
#include <stdlib.h>

#include "importance.h"
#include "tune_private.h"

struct collected {
    const struct domain *d;
    struct importance_point *points;
    size_t n, room;
    double best_us;     /* of all templates; INFINITY: none */
    double *fastest_us; /* by template */
    bool nomem;
};

static int collect(void *ctx, const struct store_evaluation *v)
{
    struct collected *c = ctx;
    struct importance_point p = {.us = v->fate == FATE_OK ? v->us : NAN};

    if (cand_from_json(c->d, v->params, &p.cand, NULL) != 0) return 0;
    if (c->n == c->room) {
        const size_t room = c->room ? 2 * c->room : 256;
        struct importance_point *more = realloc(c->points, room * sizeof *more);
        c->nomem = !more;
        if (!more) return 1;
        c->points = more;
        c->room = room;
    }
    c->points[c->n++] = p;
    c->fastest_us[p.cand.tmpl] = fmin(c->fastest_us[p.cand.tmpl], p.us);
    c->best_us = fmin(c->best_us, p.us);
    return 0;
}

json_t *tune_importance_json(struct tune *t, struct err *e)
{
    const int n = domain_templates(t->domain);
    struct collected c = {.d = t->domain, .best_us = INFINITY};
    json_t *list = NULL;
    size_t kept = 0;
    int rc = 0;

    if (t->confirms) return tune_confirmed(t, "importance", e);
    c.fastest_us = malloc(sizeof *c.fastest_us * (size_t)n);
    if (!c.fastest_us) TRY(err_nomem(e));
    for (int i = 0; i < n; i++)
        c.fastest_us[i] = INFINITY;
    TRY(store_evaluations(t->store, t->run.id, collect, &c, e));
    if (c.nomem) TRY(err_nomem(e));
    for (size_t i = 0; i < c.n; i++)
        if (c.fastest_us[c.points[i].cand.tmpl] <= RACE_SCREEN * c.best_us) c.points[kept++] = c.points[i];
    rc = importance_list(&list, t->domain, c.points, isfinite(c.best_us) ? kept : 0, t->seed, NULL, NULL, e);
out:
    free(c.points);
    free(c.fastest_us);
    return rc == 0 ? list : NULL;
}
