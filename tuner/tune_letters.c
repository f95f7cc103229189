/* Each arm's letters by themselves: how its times lie, and how many independent ones they are worth. Describes, and decides nothing: arms of
 * different trials are not compared by it. Letters of quads that do not count are left out. */
#include <math.h>
#include <stdlib.h>

#include "stats.h"
#include "tune_private.h"

#define LEVEL 0.95

struct letters {
    double *us; /* of all sessions, in the order measured within each */
    int n;
    double ess; /* summed over sessions; NAN when one has none */
};

static bool counts(const struct trial_quad *q)
{
    bool ok = !q->discarded;
    for (int i = 0; i < 4; i++)
        ok = ok && isfinite(q->letter[i]) && q->letter[i] > 0;
    return ok;
}

/* Adds the letters of arm `side`. */
static void add_session(struct letters *l, const struct trial_session *s, int side)
{
    double tau, ess;
    int first = l->n;

    for (int q = 0; q < s->n; q++) {
        const struct trial_quad *quad = &s->quads[q];
        const bool outer = (side == 0) != quad->baab;
        if (!counts(quad)) continue;
        l->us[l->n++] = quad->letter[outer ? 0 : 1];
        l->us[l->n++] = quad->letter[outer ? 3 : 2];
    }
    if (l->n > first) l->ess += stats_ess(l->us + first, l->n - first, &tau, &ess) == STATS_OK ? ess : (double)NAN;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *describe(const struct letters *l)
{
    static const struct {
        const char *name;
        double p;
    } quantiles[] = {{"p10_us", 0.1}, {"median_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}};
    json_t *out = json_pack("{s:i,s:o}", "letters", l->n, "effective", number(l->n > 0 ? l->ess : (double)NAN));
    struct stats_interval ci = {(double)NAN, (double)NAN};

    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        double q = (double)NAN;
        (void)stats_quantile(l->us, l->n, quantiles[i].p, &q);
        json_object_set_new(out, quantiles[i].name, number(q));
    }
    (void)stats_median_interval(l->us, l->n, LEVEL, &ci);
    json_object_set_new(out, "median_ci", json_pack("[o,o]", number(ci.low), number(ci.high)));
    return out;
}

json_t *tune_letters_json(const struct trial *t)
{
    json_t *list = json_array();
    struct letters l = {.n = 0};
    int most = 1;

    for (int i = 0; i < t->n; i++)
        most += 2 * t->sessions[i].n;
    l.us = malloc((size_t)most * sizeof *l.us);
    for (int side = 0; side < 2 && l.us; side++) {
        l.n = 0;
        l.ess = 0;
        for (int i = 0; i < t->n; i++)
            add_session(&l, &t->sessions[i], side);
        json_array_append_new(list, describe(&l));
    }
    if (!l.us) {
        json_decref(list);
        list = NULL;
    }
    free(l.us);
    return list;
}
