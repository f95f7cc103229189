/* Each repeat has a domain and a search of its own and writes only its own row of ranks, so repeats run on all cores. */
#include "replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "search.h"

#define LEAST_BUDGET 20
#define WAY 0.95 /* from the median to the optimum */

/* ---- the space ---- */

static int worst_first(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x < y) - (x > y);
}

/* Places from 0. */
static size_t place_of(const struct replay_space *s, double us)
{
    size_t low = 0, high = s->n - 1; /* the last place with this time: equal times are equally good */

    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (s->us[middle] >= us)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int budget_of(const struct replay_space *s)
{
    const double goal = s->median_us - WAY * (s->median_us - s->best_us);
    size_t i = 0;
    double most;

    while (s->us[i] > goal)
        i++;
    most = ceil((double)i / (double)(s->n + 1 - i));
    return most < LEAST_BUDGET ? LEAST_BUDGET : most > 1e6 ? 1000000 : (int)most;
}

int replay_open(struct replay_space *s, const struct recording *r, struct err *e)
{
    struct domain *d = NULL;
    int rc;

    *s = (struct replay_space){.recording = r};
    TRY(recording_domain(&d, r, e));
    s->us = calloc(r->n, sizeof *s->us);
    s->ranks = calloc(r->n, sizeof *s->ranks);
    s->order = calloc(r->n, sizeof *s->order);
    if (!s->us || !s->ranks || !s->order) {
        rc = err_nomem(e);
        goto out;
    }
    for (size_t i = 0; i < r->n; i++)
        if (r->points[i].ok) s->us[s->n++] = r->points[i].us;
    qsort(s->us, s->n, sizeof *s->us, worst_first);
    if (s->n < 2 || s->us[0] <= s->us[s->n - 1]) {
        rc = err_set(e, ERR_INPUT,
                     "%.100s: %zu of its %zu points have a time, and they do not differ: nothing to search", r->name,
                     s->n, r->n);
        goto out;
    }
    for (size_t i = 0; i < r->n; i++) {
        s->ranks[i] = domain_rank(d, &r->points[i].at);
        s->order[i] = r->points[i].ok ? (int)place_of(s, r->points[i].us) : -1;
    }
    s->best_us = s->us[s->n - 1];
    s->median_us = 0.5 * (s->us[(s->n - 1) / 2] + s->us[s->n / 2]);
    s->budget = budget_of(s);
out:
    domain_close(d);
    if (rc != 0) replay_close(s);
    return rc;
}

void replay_close(struct replay_space *s)
{
    free(s->us);
    free(s->ranks);
    free(s->order);
    *s = (struct replay_space){0};
}

double replay_baseline(const struct replay_space *s, int evaluations)
{
    const double n = (double)s->n, rank = round(evaluations * (n + 1) / (evaluations + 1.0));

    return s->us[rank > n - 1 ? s->n - 1 : (size_t)rank];
}

/* ---- one repeat ---- */

struct repeats {
    const struct replay_space *space;
    const struct replay_options *o;
    int budget;
    int32_t *best; /* [repeat][evaluation]: place of the best so far, -1 before any */
    double *proposal_us;
    struct err *why; /* one a repeat */
    char strategy[32];
};

static size_t point_at(const struct replay_space *s, uint64_t rank)
{
    size_t low = 0, high = s->recording->n - 1;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->ranks[middle] < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static double processor_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* Asks on until lag answers are outstanding, then answers the oldest. */
static int search_through(struct repeats *all, struct search *s, struct domain *d, int32_t *best)
{
    const int window = all->o->lag + 1;
    struct cand *waiting = calloc((size_t)window, sizeof *waiting);
    int asked = 0, told = 0;
    bool more = true;

    if (!waiting) return -1;
    while (more || told < asked) {
        while (more && asked - told < window && (more = search_ask(s, &waiting[asked % window])))
            asked++;
        if (told == asked) break;
        const struct cand *c = &waiting[told % window];
        const size_t i = point_at(all->space, domain_rank(d, c));
        const int place = all->space->order[i];
        best[told] = told > 0 && best[told - 1] > place ? best[told - 1] : place;
        search_tell(s, c, place >= 0, all->space->recording->points[i].us);
        told++;
    }
    for (int t = told; t < all->budget; t++)
        best[t] = told > 0 ? best[told - 1] : -1;
    free(waiting);
    return told;
}

static void repeat(void *ctx, size_t first, size_t end)
{
    struct repeats *all = ctx;

    for (size_t i = first; i < end; i++) {
        struct domain *d = NULL;
        struct search *s = NULL;
        int told = -1;
        double begin;
        if (recording_domain(&d, all->space->recording, &all->why[i]) == 0 &&
            search_open(&s, all->o->strategy, d, all->o->seed + i, all->budget, &all->why[i]) == 0) {
            if (i == 0) snprintf(all->strategy, sizeof all->strategy, "%s", search_strategy_name(s));
            begin = processor_us();
            told = search_through(all, s, d, all->best + i * (size_t)all->budget);
            all->proposal_us[i] = (processor_us() - begin) / (told > 0 ? told : 1);
            if (told < 0) err_nomem(&all->why[i]);
        }
        search_close(s);
        domain_close(d);
    }
}

/* ---- the score ---- */

static double time_at_mean(const struct repeats *all, int t)
{
    double sum = 0;

    for (int i = 0; i < all->o->repeats; i++) {
        const int32_t place = all->best[(size_t)i * (size_t)all->budget + (size_t)t];
        sum += place < 0 ? 0 : place;
    }
    return all->space->us[(size_t)(sum / all->o->repeats + 0.5)];
}

static int ascending(const void *a, const void *b)
{
    return -worst_first(a, b);
}

/* Median over the repeats of the evaluations until the best is within this share of the optimum. */
static double evaluations_to(const struct repeats *all, double share, double *scratch)
{
    const struct replay_space *s = all->space;
    const int n = all->o->repeats;

    for (int i = 0; i < n; i++) {
        const int32_t *best = all->best + (size_t)i * (size_t)all->budget;
        int t = 0;
        while (t < all->budget && (best[t] < 0 || s->us[best[t]] > (1 + share) * s->best_us))
            t++;
        scratch[i] = t < all->budget ? t + 1 : HUGE_VAL;
    }
    qsort(scratch, (size_t)n, sizeof *scratch, ascending);
    const double median = 0.5 * (scratch[(n - 1) / 2] + scratch[n / 2]);
    return isfinite(median) ? median : (double)NAN;
}

static int score(struct replay_score *out, const struct repeats *all, double *scratch, struct err *e)
{
    const struct replay_space *s = all->space;
    const int n = all->o->repeats;
    int within = 0, counted = 0;
    double sum = 0;

    *out = (struct replay_score){.budget = all->budget, .curve_us = calloc((size_t)all->budget, sizeof(double))};
    if (!out->curve_us) return err_nomem(e);
    memcpy(out->strategy, all->strategy, sizeof out->strategy);
    for (int t = 0; t < all->budget; t++) {
        const double base = replay_baseline(s, t + 1);
        out->curve_us[t] = time_at_mean(all, t);
        if (base <= s->best_us) continue; /* beyond the space's budget random search, too, is there */
        sum += (base - out->curve_us[t]) / (base - s->best_us);
        counted++;
    }
    out->p = counted ? sum / counted : 0;
    for (int i = 0; i < n; i++) {
        const int32_t last = all->best[((size_t)i + 1) * (size_t)all->budget - 1];
        within += last >= 0 && s->us[last] <= 1.05 * s->best_us;
        out->proposal_us += all->proposal_us[i] / n;
    }
    out->within_5 = (double)within / n;
    out->to_1 = evaluations_to(all, 0.01, scratch);
    out->to_5 = evaluations_to(all, 0.05, scratch);
    return 0;
}

void replay_score_free(struct replay_score *s)
{
    free(s->curve_us);
    s->curve_us = NULL;
}

int replay_score(struct replay_score *out, const struct replay_space *s, const struct replay_options *o,
                 struct parallel *threads, struct err *e)
{
    struct repeats all = {.space = s, .o = o, .budget = o->budget > 0 ? o->budget : s->budget};
    const size_t n = (size_t)o->repeats;
    int rc = 0;

    all.best = calloc(n * (size_t)all.budget, sizeof *all.best);
    all.proposal_us = calloc(n, sizeof *all.proposal_us);
    all.why = calloc(n, sizeof *all.why);
    if (!all.best || !all.proposal_us || !all.why)
        rc = err_nomem(e);
    else
        parallel_for(threads, n, 1, repeat, &all);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (all.why[i].code != ERR_OK) rc = err_set(e, all.why[i].code, "%s", all.why[i].text);
    if (rc == 0) rc = score(out, &all, all.proposal_us, e);
    free(all.best);
    free(all.proposal_us);
    free(all.why);
    return rc;
}
