/* report_nights.c - the ledger, and the control chart of the anchor over the nights of the newest environment (chart.h): its values and
 * averages night by night; the limits are those of the whole series. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "report_private.h"
#include "report_registry.h"
#include "report_space_private.h"

struct nights {
    struct store_night *of;
    int n, room;
    json_t *rows;
    struct err *e;
};

static int take(void *ctx, const struct store_night *n)
{
    struct nights *x = ctx;

    if (x->n == x->room) {
        struct store_night *more = realloc(x->of, sizeof *more * (size_t)(x->room = x->room ? 2 * x->room : 32));
        if (!more) return err_nomem(x->e);
        x->of = more;
    }
    x->of[x->n++] = *n;
    return json_array_append_new(x->rows, report_ledger_json(n)) == 0 ? 0 : err_nomem(x->e);
}

/* NULL: no night timed an anchor. */
static json_t *chart_json(const struct nights *x)
{
    const struct store_night *last = NULL;
    double *us = malloc(sizeof *us * (size_t)(x->n + 1));
    json_t *points = json_array(), *out;
    struct chart c = {.mu = NAN};
    int n = 0;
    bool known;

    for (int i = 0; i < x->n; i++)
        if (isfinite(x->of[i].anchor_us)) last = &x->of[i];
    for (int i = 0; us && last && i < x->n; i++)
        if (isfinite(x->of[i].anchor_us) && x->of[i].anchor == last->anchor &&
            strcmp(x->of[i].environment, last->environment) == 0)
            us[n++] = x->of[i].anchor_us;
    known = us && chart_judge(&c, us, n);
    for (int i = 0, k = 0; n > 0 && i < x->n; i++) {
        const struct store_night *a = &x->of[i];
        double width = known ? chart_width(c.s, k + 1, CHART_LAMBDA) : NAN;
        if (!isfinite(a->anchor_us) || a->anchor != last->anchor || strcmp(a->environment, last->environment) != 0)
            continue;
        k++;
        json_array_append_new(
            points, json_pack("{s:i,s:f,s:o,s:o,s:o,s:o}", "night", a->number, "anchor_us", a->anchor_us, "average_us",
                              known ? json_real(chart_ewma(us, k, CHART_LAMBDA, c.mu)) : json_null(), "off_percent",
                              known ? json_real(100 * (a->anchor_us / c.mu - 1)) : json_null(), "low_us",
                              real(c.mu - width), "high_us", real(c.mu + width)));
    }
    out = n > 0 ? json_pack("{s:i,s:i,s:o,s:o,s:O}", "nights", n, "needed", CHART_LEAST + 1, "mean_us",
                            known ? json_real(c.mu) : json_null(), "outside",
                            known ? json_boolean(c.outside) : json_null(), "points", points)
                : NULL;
    json_decref(points);
    free(us);
    return out;
}

int report_nights(struct store *s, const char *track, json_t **out, struct err *e)
{
    struct nights x = {.rows = json_array(), .e = e};
    json_t *chart;
    int rc;

    *out = NULL;
    TRY(store_nights(s, track, take, &x, e));
    if (e->code != ERR_OK) { /* it ended there */
        rc = -1;
        goto out;
    }
    chart = chart_json(&x);
    *out = json_pack("{s:O,s:o}", "ledger", x.rows, "chart", chart ? chart : json_null());
    if (!*out) rc = err_nomem(e);
out:
    free(x.of);
    json_decref(x.rows);
    return rc;
}
