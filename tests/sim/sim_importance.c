/* How good are the shares that fatune gives behind its own searches, which see the good region alone? Every point of a space of an H200 is
 * known, so the true shares are; the default strategy searches it with several budgets and seeds, and what importance makes of the points
 * that it happened to visit is held against them, beside the shares that those points have by themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "importance.h"
#include "recording.h"
#include "search.h"

enum { SEEDS = 6, MOST = 400, LEAST_PERCENT = 3 };

struct tally {
    int told, asked;
    double error, worst, naive;
    int shares, inside, naive_shares;
};

static struct recording recorded;
static struct domain *domain;
static struct importance truth[4];

static int compare(const void *key, const void *member)
{
    const uint64_t rank = *(const uint64_t *)key,
                   other = domain_rank(domain, &((const struct recording_point *)member)->at);

    return (rank > other) - (rank < other);
}

static double time_of(const struct cand *c)
{
    const uint64_t rank = domain_rank(domain, c);
    const struct recording_point *p = bsearch(&rank, recorded.points, recorded.n, sizeof *p, compare);

    return p && p->ok ? p->us : NAN;
}

/* The points that a search visits. */
static size_t visit(struct importance_point *out, int budget, uint64_t seed)
{
    struct search *s = NULL;
    struct err e = {0};
    struct cand c;
    size_t n = 0;

    if (search_open(&s, "evolve", domain, seed, budget, &e) != 0) fail_msg("%s", e.text);
    while (search_ask(s, &c)) {
        const double us = time_of(&c);
        search_tell(s, &c, us > 0, us);
        out[n++] = (struct importance_point){c, us};
    }
    search_close(s);
    return n;
}

static size_t of_template(struct importance_point *out, const struct importance_point *all, size_t n, int tmpl)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        if (all[i].cand.tmpl == tmpl) out[k++] = all[i];
    return k;
}

static void hold(struct tally *t, const struct importance *m, enum importance_over over)
{
    t->asked++;
    if (*m->view[over].why) return;
    t->told++;
    for (int k = 0; k < m->nparams; k++) {
        const struct importance_share *s = &m->params[k].of[over];
        const double is = truth[m->tmpl].params[k].of[over].share, off = fabs(s->share - is);
        if (fmax(is, s->share) < LEAST_PERCENT / 100.0) continue;
        t->shares++;
        t->error += off;
        t->worst = fmax(t->worst, off);
        t->inside += s->low - 0.01 <= is && is <= s->high + 0.01;
    }
}

/* What the visited points say by themselves: as if they were the whole space. */
static void hold_naive(struct tally *t, const struct importance_point *p, size_t n, int tmpl)
{
    for (int k = 0; k < truth[tmpl].nparams; k++) {
        double sum[64] = {0}, count[64] = {0}, mean = 0, total = 0, between = 0, ok = 0;
        for (size_t i = 0; i < n; i++) {
            if (!(p[i].us > 0)) continue;
            sum[p[i].cand.at[k]] += log(p[i].us);
            count[p[i].cand.at[k]]++;
            mean += log(p[i].us);
            ok++;
        }
        mean /= ok;
        for (size_t i = 0; i < n; i++)
            if (p[i].us > 0) total += pow(log(p[i].us) - mean, 2);
        for (int v = 0; v < truth[tmpl].params[k].nvalues; v++)
            if (count[v] > 0) between += count[v] * pow(sum[v] / count[v] - mean, 2);
        if (fmax(truth[tmpl].params[k].of[0].share, between / total) < LEAST_PERCENT / 100.0) continue;
        t->naive += fabs(between / total - truth[tmpl].params[k].of[0].share);
        t->naive_shares++;
    }
}

static void print(int budget, const char *view, const struct tally *t)
{
    printf("  %4d proposals, %s: told %d of %d", budget, view, t->told, t->asked);
    if (t->shares)
        printf("; shares of %d%% and more are off by %.1f points on average, %.1f at most, %.0f%% in their interval",
               LEAST_PERCENT, 100 * t->error / t->shares, 100 * t->worst, 100.0 * t->inside / t->shares);
    if (t->naive_shares) printf("; the visited points by themselves: %.1f", 100 * t->naive / t->naive_shares);
    printf("\n");
}

static void searches(struct tally *all, struct tally *fast, int budget)
{
    static struct importance_point visited[MOST], points[MOST];
    struct importance m;
    struct err e = {0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const size_t nvisited = visit(visited, budget, seed);
        for (int tmpl = 0; tmpl < domain_templates(domain); tmpl++) {
            const size_t n = of_template(points, visited, nvisited, tmpl);
            if (importance_of(&m, domain, tmpl, points, n, seed, &e) != 0) fail_msg("%s", e.text);
            hold(all, &m, IMPORTANCE_ALL);
            hold(fast, &m, IMPORTANCE_FAST);
            if (!*m.view[IMPORTANCE_ALL].why) hold_naive(all, points, n, tmpl);
            importance_free(&m);
        }
    }
    print(budget, "all points ", all);
    print(budget, "faster half", fast);
}

/* A third of the space is visited, or less; what is told must be right, and better than what the visited points say by themselves. */
static void behind_a_search(void **state)
{
    static const int budgets[] = {200, 400};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tally all = {0}, fast = {0};
        searches(&all, &fast, budgets[i]);
        /* The search leaves templates that cannot win, and of those little can be told. */
        assert_true(all.told >= all.asked / 3 && fast.told >= fast.asked / 4);
        assert_true(all.inside >= 0.8 * all.shares && fast.inside >= 0.65 * fast.shares);
        assert_true(all.error / all.shares < 0.75 * all.naive / all.naive_shares);
    }
}

static int setup(void **state)
{
    struct err e = {0};
    struct importance_point *points;

    (void)state;
    if (recording_read(&recorded, "results/recorded/h200_space_s512/s512_t4.json.gz", &e) != 0 ||
        recording_domain(&domain, &recorded, &e) != 0)
        return -1;
    points = calloc(recorded.n, sizeof *points);
    for (int tmpl = 0; tmpl < domain_templates(domain); tmpl++) {
        size_t n = 0;
        for (size_t i = 0; i < recorded.n; i++)
            if (recorded.points[i].at.tmpl == tmpl)
                points[n++] = (struct importance_point){recorded.points[i].at, recorded.points[i].us};
        if (importance_of(&truth[tmpl], domain, tmpl, points, n, 1, &e) != 0) return -1;
    }
    free(points);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int tmpl = 0; tmpl < domain_templates(domain); tmpl++)
        importance_free(&truth[tmpl]);
    domain_close(domain);
    recording_free(&recorded);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(behind_a_search)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
