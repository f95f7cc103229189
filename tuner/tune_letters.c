/* Each arm's letters by themselves: how its times lie, and how many independent ones they are worth. Describes, and decides nothing: arms of
 * different trials are not compared by it. Letters of quads that do not count are left out.
 *
 * And the trial as it was measured: every quad with its letters, samples and clocks, and what was said of it. */
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

/* ---- every quad ---- */

static json_t *quad_json(int session, const struct trial_quad *q, bool outlying)
{
    json_t *j = json_pack("{s:i,s:s,s:[o,o,o,o],s:b,s:b}", "session", session, "order", q->baab ? "BAAB" : "ABBA",
                          "letters_us", number(q->letter[0]), number(q->letter[1]), number(q->letter[2]),
                          number(q->letter[3]), "counts", (int)counts(q), "outlying", (int)outlying);

    if (q->letter_mhz[0] > 0 || q->letter_mhz[1] > 0)
        json_object_set_new(
            j, "letters_mhz",
            json_pack("[f,f,f,f]", q->letter_mhz[0], q->letter_mhz[1], q->letter_mhz[2], q->letter_mhz[3]));
    return j;
}

struct quads {
    json_t *list;
    size_t at;
};

static int add_samples(void *ctx, int session, int quad, const double *samples, int n)
{
    struct quads *x = ctx;
    json_t *list = json_array();

    (void)session;
    (void)quad;
    for (int i = 0; i < n; i++)
        json_array_append_new(list, number(samples[i]));
    return json_object_set_new(json_array_get(x->list, x->at++), "samples_us", list);
}

/* Their clocks, where the health of a quad has them. */
static int add_clocks(void *ctx, int session, int quad, bool discarded, const json_t *health)
{
    struct quads *x = ctx;
    json_t *clocks = json_object_get(health, "sample_mhz");

    (void)session;
    (void)discarded;
    if (quad < 0) return 0;
    if (clocks) json_object_set(json_array_get(x->list, x->at), "samples_mhz", clocks);
    x->at++;
    return 0;
}

int tune_quads_json(struct store *s, int64_t trial, bool swapped, json_t **out, struct err *e)
{
    struct quads x = {.list = json_array()};
    struct trial t = {0};
    bool *outlying = NULL;
    int found, n = 0, at = 0, rc;

    *out = NULL;
    TRY(store_trial_get(s, trial, &t, NULL, e));
    for (int i = 0; i < t.n; i++)
        n += t.sessions[i].n;
    outlying = calloc((size_t)n + 1, sizeof *outlying);
    if (!outlying || !x.list) {
        rc = err_nomem(e);
        goto out;
    }
    TRY(trial_outliers(&t, outlying, &found, e));
    for (int i = 0; i < t.n; i++)
        for (int q = 0; q < t.sessions[i].n; q++) {
            t.sessions[i].quads[q].baab ^= swapped;
            json_array_append_new(x.list, quad_json(i, &t.sessions[i].quads[q], outlying[at++]));
        }
    TRY(store_trial_samples(s, trial, add_samples, &x, e));
    x.at = 0;
    TRY(store_trial_health(s, trial, add_clocks, &x, e));
    *out = json_incref(x.list);
out:
    json_decref(x.list);
    free(outlying);
    trial_free(&t);
    return rc;
}
