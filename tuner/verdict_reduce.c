/* verdict_reduce.c - method: each session becomes a few sums, and the sessions are sorted by their values, so that their numbering
 * cannot change a resample. */
#include <math.h>
#include <stdlib.h>

#include "stats.h"
#include "verdict_private.h"

/* ---- trials ---- */

void trial_free(struct trial *t)
{
    if (t == NULL) return;
    for (int i = 0; i < t->n; i++)
        free(t->sessions[i].quads);
    free(t->sessions);
    *t = (struct trial){0};
}

int trial_quads(const struct trial *t)
{
    int n = 0;
    for (int i = 0; i < t->n; i++)
        n += t->sessions[i].n;
    return n;
}

bool trial_quad_kept(const struct trial_quad *q)
{
    if (q->discarded) return false;
    for (int i = 0; i < 4; i++)
        if (!(q->letter[i] > 0.0 && q->letter[i] <= STATS_LARGEST)) return false;
    return true;
}

void trial_quad_arms(const struct trial_quad *q, double a[2], double b[2])
{
    double *outer = q->baab ? b : a, *inner = q->baab ? a : b;
    outer[0] = q->letter[0];
    outer[1] = q->letter[3];
    inner[0] = q->letter[1];
    inner[1] = q->letter[2];
}

static double quad_y(const struct trial_quad *q)
{
    double a[2], b[2];
    trial_quad_arms(q, a, b);
    return (log(b[0]) + log(b[1]) - log(a[0]) - log(a[1])) / 2.0;
}

double trial_session_ratio(const struct trial_session *s)
{
    double sum = 0.0;
    int n = 0;
    for (int q = 0; q < s->n; q++) {
        if (!trial_quad_kept(&s->quads[q])) continue;
        sum += quad_y(&s->quads[q]);
        n++;
    }
    return n > 0 ? exp(sum / n) : (double)NAN;
}

/* y of the session's kept quads minus their median into out; how many, or -1 when out of memory. */
static int session_residuals(const struct trial_session *session, double *out)
{
    int n = 0;
    double median;
    for (int q = 0; q < session->n; q++)
        if (trial_quad_kept(&session->quads[q])) out[n++] = quad_y(&session->quads[q]);
    const enum stats_status s = stats_median(out, n, &median);
    if (s != STATS_OK) return s == STATS_NOMEM ? -1 : 0;
    for (int k = 0; k < n; k++) {
        out[k] -= median;
        if (fabs(out[k]) < VERDICT_FLAT) out[k] = 0.0; /* else a flat trial has a MAD of 0 and outliers of rounding */
    }
    return n;
}

int trial_outliers(const struct trial *t, bool *label, int *count, struct err *e)
{
    const int total = trial_quads(t);
    int n = 0, found = 0, rc = 0;
    double *residual = malloc((size_t)(total + 1) * sizeof *residual);
    bool *out = malloc((size_t)(total + 1) * sizeof *out);
    if (residual == NULL || out == NULL) {
        rc = err_nomem(e);
        goto out;
    }
    for (int i = 0; i < t->n; i++) {
        const int more = session_residuals(&t->sessions[i], residual + n);
        if (more < 0) {
            rc = err_nomem(e);
            goto out;
        }
        n += more;
    }
    if (n > 0 && stats_outliers(residual, n, out, &found) == STATS_NOMEM) {
        rc = err_nomem(e);
        goto out;
    }
    *count = found;
    if (label == NULL) goto out;
    for (int i = 0, k = 0, flat = 0; i < t->n; i++)
        for (int q = 0; q < t->sessions[i].n; q++, flat++)
            label[flat] = trial_quad_kept(&t->sessions[i].quads[q]) && out[k++];
out:
    free(residual);
    free(out);
    return rc;
}

/* ---- reduction ---- */

void verdict_reduced_free(struct verdict_reduced *r)
{
    free(r->session);
    free(r->z);
    for (int k = 0; k < 2; k++) {
        free(r->us[k]);
        free(r->ln[k]);
        free(r->relative[k]);
    }
}

static int reduced_alloc(struct verdict_reduced *r, const struct trial *t, struct err *e)
{
    const size_t letters = 2 * (size_t)trial_quads(t) + 1, sessions = (size_t)t->n + 1;
    bool ok = (r->session = malloc(sessions * sizeof *r->session)) != NULL;
    ok = (r->z = malloc(sessions * sizeof *r->z)) != NULL && ok;
    for (int k = 0; k < 2; k++) {
        ok = (r->us[k] = malloc(letters * sizeof *r->us[k])) != NULL && ok;
        ok = (r->ln[k] = malloc(letters * sizeof *r->ln[k])) != NULL && ok;
        ok = (r->relative[k] = malloc(letters * sizeof *r->relative[k])) != NULL && ok;
    }
    return ok ? 0 : err_nomem(e);
}

/* The clocks of A's and B's letters; false when they are not all known. */
static bool clocks_of(const struct trial_quad *q, double mhz[2][2])
{
    struct trial_quad of = {.baab = q->baab};
    bool any = false, ok = true;
    for (int i = 0; i < 4; i++)
        any = any || q->letter_mhz[i] > 0.0;
    for (int i = 0; i < 4; i++) {
        of.letter[i] = any ? q->letter_mhz[i] : q->sm_mhz;
        ok = ok && of.letter[i] > 0.0 && of.letter[i] <= STATS_LARGEST;
    }
    trial_quad_arms(&of, mhz[0], mhz[1]);
    return ok;
}

static void reduce_quad(struct verdict_reduced *r, const struct trial_quad *q)
{
    double arm[2][2], ln[2][2], mhz[2][2];
    r->clocked = clocks_of(q, mhz) && r->clocked;
    trial_quad_arms(q, arm[0], arm[1]);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++)
            ln[k][i] = log(arm[k][i]);
    for (int i = 0; i < 2; i++, r->nletters++) {
        for (int k = 0; k < 2; k++) {
            r->us[k][r->nletters] = arm[k][i];
            r->ln[k][r->nletters] = ln[k][i];
            r->cycles[k] += arm[k][i] * mhz[k][i];
        }
        r->relative[0][r->nletters] = (ln[1][0] + ln[1][1]) / 2.0 - ln[0][i];
        r->relative[1][r->nletters] = ln[1][i] - (ln[0][0] + ln[0][1]) / 2.0;
    }
}

static int by_value(const void *a, const void *b)
{
    const struct verdict_session *x = a, *y = b;
    if (x->z != y->z) return x->z < y->z ? -1 : 1;
    if (x->mean[0] != y->mean[0]) return x->mean[0] < y->mean[0] ? -1 : 1;
    return (x->ss[0] + x->ss[1] > y->ss[0] + y->ss[1]) - (x->ss[0] + x->ss[1] < y->ss[0] + y->ss[1]);
}

int verdict_reduce(struct verdict_reduced *r, const struct trial *t, struct err *e)
{
    r->quads = trial_quads(t);
    r->clocked = true;
    if (reduced_alloc(r, t, e) != 0) return -1;
    for (int i = 0; i < t->n; i++) {
        const int first = r->nletters;
        for (int q = 0; q < t->sessions[i].n; q++) {
            if (trial_quad_kept(&t->sessions[i].quads[q]))
                reduce_quad(r, &t->sessions[i].quads[q]);
            else
                r->discarded++;
        }
        struct verdict_session s = {.n = r->nletters - first};
        if (s.n == 0) continue;
        for (int k = 0; k < 2; k++) {
            double variance = 0.0;
            (void)stats_mean(r->ln[k] + first, s.n, &s.mean[k]); /* finite and at least two: cannot fail */
            (void)stats_variance(r->ln[k] + first, s.n, &variance);
            s.ss[k] = variance * (s.n - 1);
            (void)stats_mean(r->us[k] + first, s.n, &s.mean_us[k]);
        }
        s.z = s.mean[1] - s.mean[0]; /* = mean of y */
        r->session[r->n++] = s;
    }
    qsort(r->session, (size_t)r->n, sizeof *r->session, by_value);
    for (int i = 0; i < r->n; i++)
        r->z[i] = r->session[i].z;
    return 0;
}
