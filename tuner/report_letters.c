/* report_letters.c - the times of a trial's two arms, as a reader wants to see them: all letters that count, and a box around their middle. */
#include <math.h>
#include <stdlib.h>

#include "report_private.h"
#include "report_space_private.h"
#include "stats.h"

struct letters {
    double *us;
    int n;
};

static json_t *box(const struct letters *l)
{
    static const struct {
        const char *member;
        double p;
    } quantiles[] = {{"least_us", 0}, {"p05_us", 0.05}, {"q1_us", 0.25}, {"median_us", 0.5},
                     {"q3_us", 0.75}, {"p95_us", 0.95}, {"most_us", 1}};
    json_t *list = json_array(), *out = json_pack("{s:i,s:o}", "letters", l->n, "us", list);

    for (int i = 0; i < l->n; i++)
        json_array_append_new(list, json_real(l->us[i]));
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        double q;
        json_object_set_new(out, quantiles[i].member,
                            stats_quantile(l->us, l->n, quantiles[i].p, &q) == STATS_OK ? json_real(q) : json_null());
    }
    return out;
}

int report_letters(struct store *s, int64_t trial, json_t **out, struct err *e)
{
    struct letters arm[2] = {0};
    struct trial t = {0};
    json_t *settings = NULL;
    size_t quads = 0;
    int rc;

    *out = NULL;
    TRY(store_trial_get(s, trial, &t, &settings, e));
    for (int i = 0; i < t.n; i++)
        quads += (size_t)t.sessions[i].n;
    for (int b = 0; b < 2; b++)
        if (!(arm[b].us = malloc(sizeof(double) * (2 * quads + 1)))) {
            rc = err_nomem(e);
            goto out;
        }
    for (int i = 0; i < t.n; i++)
        for (int q = 0; q < t.sessions[i].n; q++) {
            const struct trial_quad *quad = &t.sessions[i].quads[q];
            for (int k = 0; k < 4 && !quad->discarded; k++) {
                struct letters *l = &arm[(k == 1 || k == 2) != quad->baab]; /* ABBA or BAAB */
                if (quad->letter[k] > 0 && quad->letter[k] <= STATS_LARGEST) l->us[l->n++] = quad->letter[k];
            }
        }
    *out = json_pack("{s:I,s:o,s:o}", "trial", (json_int_t)trial, "a", box(&arm[0]), "b", box(&arm[1]));
    if (!*out) rc = err_nomem(e);
out:
    free(arm[0].us);
    free(arm[1].us);
    json_decref(settings);
    trial_free(&t);
    return rc;
}
