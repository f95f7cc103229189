/* search_evolve.c - the adaptive default: whatever a model expects most of, looked for everywhere and around the good points.
 *
 * 1. Start: each template's default, then a space-filling design: of a few random points the one farthest from all
 * proposed so far (maximin; Johnson, Moore and Ylvisaker, J. Stat. Planning and Inference 26, 1990), about START of the
 * budget.
 * 2. Then each proposal is the point with the largest expected improvement (Jones, Schonlau and Welch, J. Global
 * Optimization 13, 1998) under the Gaussian process of search_model.h, times the probability that the point works at all.
 * Candidates are all unseen points where there are at most WIDE, else as many random ones, drawn again with each fit; and there
 * also a pool around what is known to be good: the adjacent neighbours of the incumbent and offspring (one parameter moved, several
 * mutated, uniform crossover of two parents of one template).
 * 3. What counts as an improvement: BOLD standard deviations of the answers below the incumbent at first, the incumbent itself at the
 * end of the budget, in a straight line. Without, a template whose good points lie close together keeps the search for small steps while a
 * better one, tried less, goes unseen.
 * 4. One proposal in RANDOM_EVERY is random, so that a model that is wrong cannot lose the race against chance by much.
 *
 * Answers lag: a proposal without an answer counts with the model's own expectation ("kriging believer"; Ginsbourger,
 * Le Riche and Carraro 2010), which keeps proposals in flight apart. A failure enters the model as a bad value, and the
 * probability of working is learnt twice: from the share of failures of each parameter value (naive Bayes) and from
 * alike points.
 *
 * Time is ln microseconds, cut above at the CUT quantile: how bad the bad ones are teaches little about the best. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search_common.h"
#include "search_model.h"

#define START 0.15
#define START_DRAWS 16 /* fewer where rejection makes draws dear */
#define WIDE 2048
#define POOL 96
#define BOLD 2.5
#define RANDOM_EVERY 20
#define MODEL_MAX 320 /* points in the model: cost grows with their cube */
#define FIT_MAX 160   /* points that length scales are fitted to */
#define CUT 0.8

struct tally {
    int worked, failed;
};

struct evolve {
    struct search_book book; /* y of a pending point: what the model expected, NAN when nothing was */
    struct tally *tallies;   /* a value of a parameter of a template */
    int **first;             /* [template][parameter]: where its values' tallies begin */
    struct search_model *model;
    struct search_view *wide, *near; /* points anywhere, of which there are nwide; the pool */
    struct cand *anywhere;
    int nwide;
    bool all; /* anywhere is everywhere */
    double *mean, *sd;
    int *in_model, nmodel; /* points in the model, in its order */
    double *values;        /* scratch, one a point */
    int room;              /* of in_model and values */
    int fitted;            /* answers when the scales were fitted last */
    int next_default;
    int draws; /* random points that one proposal may cost */
};

/* ---- opening ---- */

static void evolve_close(void *state)
{
    struct evolve *x = state;
    if (!x) return;
    search_view_close(x->wide);
    search_view_close(x->near);
    search_model_close(x->model);
    free(x->anywhere);
    free(x->mean);
    free(x->sd);
    if (x->first) free(x->first[0]);
    free(x->first);
    free(x->tallies);
    search_book_free(&x->book);
    free(x->in_model);
    free(x->values);
    free(x);
}

/* All points where they are few; false: too many. */
static bool list_all(struct evolve *x, struct domain *d)
{
    uint64_t rank = 0;
    if (!domain_listable(d) || domain_count(d, NULL) > WIDE) return false;
    while (x->nwide < WIDE && domain_next(d, &rank, &x->anywhere[x->nwide]))
        x->nwide++;
    return true;
}

/* Where draws are dear, the points from anywhere are fewer. */
static int draw_anywhere(struct evolve *x, struct search *s)
{
    int most = x->draws * (WIDE / START_DRAWS);
    if (x->all) return 0;
    for (x->nwide = 0; x->nwide < most; x->nwide++)
        if (!domain_sample(search_domain(s), search_rng(s), &x->anywhere[x->nwide])) break;
    return search_view_set(x->wide, x->anywhere, x->nwide);
}

static void *evolve_open(struct search *s)
{
    struct domain *d = search_domain(s);
    struct evolve *x = calloc(1, sizeof *x);
    int templates = domain_templates(d), n = 0;
    if (!x) return NULL;
    x->model = search_model_open(d);
    if (!x->model) goto fail;
    x->wide = search_view_open(x->model);
    x->near = search_view_open(x->model);
    x->anywhere = malloc(WIDE * sizeof *x->anywhere);
    x->mean = malloc(WIDE * sizeof *x->mean);
    x->sd = malloc(WIDE * sizeof *x->sd);
    if (!x->wide || !x->near || !x->anywhere || !x->mean || !x->sd) goto fail;
    x->first = calloc((size_t)templates + 1, sizeof *x->first);
    if (x->first) x->first[0] = calloc((size_t)templates * CAND_MAX_PARAMS + 1, sizeof **x->first);
    if (!x->first || !x->first[0]) goto fail;
    for (int t = 0; t < templates; t++) {
        x->first[t] = x->first[0] + t * CAND_MAX_PARAMS;
        for (int i = 0; i < search_params(d, t); i++) {
            x->first[t][i] = n;
            n += domain_nvalues(d, t, i);
        }
    }
    x->tallies = calloc((size_t)n + 1, sizeof *x->tallies);
    if (!x->tallies) goto fail;
    double share = domain_acceptance(d);
    x->draws = share > 0.01 ? START_DRAWS : share > 0.001 ? START_DRAWS / 2 : 2;
    x->all = list_all(x, d);
    if (x->all && search_view_set(x->wide, x->anywhere, x->nwide) != 0) goto fail;
    return x;
fail:
    evolve_close(x);
    return NULL;
}

static int reserve(struct evolve *x)
{
    if (search_book_reserve(&x->book) != 0) return -1;
    if (x->room == x->book.cap) return 0;
    int *in_model = realloc(x->in_model, (size_t)x->book.cap * sizeof *in_model);
    if (in_model) x->in_model = in_model;
    double *values = realloc(x->values, (size_t)x->book.cap * sizeof *values);
    if (values) x->values = values;
    if (!in_model || !values) return -1;
    x->room = x->book.cap;
    return 0;
}

/* ---- what failures teach ---- */

/* Probability that c works: naive Bayes over its values, then alike points vote. */
static double works(const struct evolve *x, const struct domain *d, const struct cand *c)
{
    if (x->book.failed == 0) return 1;
    double odds = log((x->book.worked + 1.0) / (x->book.failed + 1.0));
    int n = search_params(d, c->tmpl);
    double share = 2.0 / (n > 2 ? n : 2); /* values are not independent: temper */
    for (int i = 0; i < n; i++) {
        const struct tally *t = &x->tallies[x->first[c->tmpl][i] + c->at[i]];
        double here = (t->worked + 1.0) / (x->book.worked + 2.0), there = (t->failed + 1.0) / (x->book.failed + 2.0);
        odds += share * log(here / there);
    }
    double votes = 0.3, good = 0.3 / (1 + exp(-odds));
    for (int i = 0; i < x->book.n; i++) {
        if (x->book.points[i].answer == SEARCH_PENDING) continue;
        double k = search_model_likeness(x->model, &x->book.points[i].c, c);
        k *= k * k;
        votes += k;
        if (x->book.points[i].answer == SEARCH_WORKED) good += k;
    }
    return good / votes;
}

/* ---- the start ---- */

static double distance(const struct domain *d, const struct cand *a, const struct cand *b)
{
    int n = search_params(d, a->tmpl);
    double sum = 0;
    if (a->tmpl != b->tmpl) return CAND_MAX_PARAMS;
    for (int i = 0; i < n; i++) {
        int values = domain_nvalues(d, a->tmpl, i);
        if (a->at[i] != b->at[i]) sum += 0.5 + 0.5 * abs((int)a->at[i] - (int)b->at[i]) / (values - 1.0);
    }
    return sum;
}

static bool ask_start(struct evolve *x, struct search *s, struct cand *out)
{
    struct domain *d = search_domain(s);
    double farthest = -1;
    if (search_default(s, &x->next_default, out)) return true;
    for (int i = 0; i < x->draws; i++) {
        struct cand c;
        double nearest = 1e9;
        if (!search_fresh(s, &c)) break;
        for (int k = 0; k < x->book.n; k++) {
            double at = distance(d, &x->book.points[k].c, &c);
            if (at < nearest) nearest = at;
        }
        if (nearest <= farthest) continue;
        farthest = nearest;
        *out = c;
    }
    return farthest >= 0;
}

/* ---- the model ---- */

/* Fills values[0..n-1] for points ids[0..n-1]: cut above, failures at the cut. */
static void values_of(const struct evolve *x, const int *ids, int n, double *values)
{
    int at = (int)(CUT * (x->book.nranking - 1));
    double cut = x->book.points[x->book.ranking[at]].y,
           middle = x->book.points[x->book.ranking[x->book.nranking / 2]].y;
    for (int i = 0; i < n; i++) {
        const struct search_point *p = &x->book.points[ids[i]];
        double y = isnan(p->y) ? middle : p->y;
        values[i] = p->answer == SEARCH_FAILED || y > cut ? cut : y;
    }
}

/* Up to max points for the model, in the order asked: all, or the best half and the latest. */
static int choose_points(const struct evolve *x, int *out, int max, bool only_worked)
{
    int n = 0;
    char *take = calloc((size_t)x->book.n + 1, 1);
    if (!take) return 0;
    for (int i = 0; i < x->book.nranking && n < max / 2; i++, n++)
        take[x->book.ranking[i]] = 1;
    for (int i = x->book.n - 1; i >= 0 && n < max; i--) {
        if (take[i] || (only_worked && x->book.points[i].answer != SEARCH_WORKED)) continue;
        take[i] = 1;
        n++;
    }
    n = 0;
    for (int i = 0; i < x->book.n; i++)
        if (take[i]) out[n++] = i;
    free(take);
    return n;
}

static int fit(struct evolve *x)
{
    int ids[FIT_MAX];
    struct cand *points = malloc(FIT_MAX * sizeof *points);
    double values[FIT_MAX];
    if (!points) return -1;
    int n = choose_points(x, ids, FIT_MAX, true);
    values_of(x, ids, n, values);
    for (int i = 0; i < n; i++)
        points[i] = x->book.points[ids[i]].c;
    int rc = search_model_fit(x->model, points, values, n);
    free(points);
    return rc;
}

/* Brings the model up to date: scales are fitted again when answers have grown by a sixth. */
static int update_model(struct evolve *x, struct search *s)
{
    int answers = x->book.worked + x->book.failed;
    if (x->fitted == 0 || answers >= x->fitted + 4 + x->fitted / 6 || x->nmodel > MODEL_MAX + 64) {
        if (fit(x) != 0 || draw_anywhere(x, s) != 0) return -1;
        x->fitted = answers;
        search_model_clear(x->model);
        x->nmodel = choose_points(x, x->in_model, MODEL_MAX, false);
        for (int i = 0; i < x->nmodel; i++)
            if (search_model_add(x->model, &x->book.points[x->in_model[i]].c) != 0) return -1;
    }
    for (int i = x->nmodel ? x->in_model[x->nmodel - 1] + 1 : 0; i < x->book.n; i++) {
        if (search_model_add(x->model, &x->book.points[i].c) != 0) return -1;
        x->in_model[x->nmodel++] = i;
    }
    values_of(x, x->in_model, x->nmodel, x->values);
    search_model_values(x->model, x->values);
    return 0;
}

/* ---- offspring ---- */

/* A good point: rank r with a probability that falls by a fifth a rank. */
static const struct cand *parent(const struct evolve *x, struct rng *r)
{
    int at = (int)(log(1 - rng_uniform(r)) / log(0.8));
    return &x->book.points[x->book.ranking[at % x->book.nranking]].c;
}

static void mutate(const struct domain *d, struct cand *c, double share, struct rng *r)
{
    int n = search_params(d, c->tmpl);
    for (int i = 0; i < n; i++)
        if (rng_uniform(r) < share / n) search_move(d, c, i, r);
}

static void offspring(const struct evolve *x, const struct domain *d, struct cand *c, struct rng *r)
{
    double kind = rng_uniform(r);
    *c = *parent(x, r);
    int n = search_params(d, c->tmpl);
    if (n == 0) return;
    if (kind < 0.4) {
        search_move(d, c, (int)rng_below(r, (uint64_t)n), r);
    } else if (kind < 0.7) {
        mutate(d, c, 2.5, r);
    } else {
        const struct cand *other = parent(x, r);
        if (other->tmpl == c->tmpl)
            for (int i = 0; i < n; i++)
                if (rng_below(r, 2)) c->at[i] = other->at[i];
        if (rng_below(r, 2)) mutate(d, c, 1, r);
    }
}

/* Unseen valid points; the same one twice does no harm. */
static int fill_pool(const struct evolve *x, struct search *s, struct cand *pool)
{
    struct domain *d = search_domain(s);
    struct cand near[2 * CAND_MAX_PARAMS];
    int n = 0, k = domain_neighbours(d, &x->book.points[x->book.ranking[0]].c, true, near, 2 * CAND_MAX_PARAMS);
    for (int i = 0; i < k && n < POOL / 3; i++)
        if (!search_seen(s, &near[i])) pool[n++] = near[i];
    for (int tries = 0; tries < 4 * POOL && n < POOL; tries++) {
        offspring(x, d, &pool[n], search_rng(s));
        if (!search_seen(s, &pool[n]) && domain_valid(d, &pool[n], NULL)) n++;
    }
    return n;
}

static double expected_improvement(double best, double mean, double sd)
{
    double z = (best - mean) / sd;
    return sd * (z * 0.5 * erfc(-z / M_SQRT2) + exp(-0.5 * z * z) * 0.3989422804014327);
}

/* What a proposal should stay below. */
static double goal(const struct evolve *x, const struct search *s)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < x->nmodel; i++)
        mean += x->values[i] / x->nmodel;
    for (int i = 0; i < x->nmodel; i++)
        squares += (x->values[i] - mean) * (x->values[i] - mean) / x->nmodel;
    double left = 1 - (double)search_asked(s) / search_budget(s);
    return x->book.points[x->book.ranking[0]].y - BOLD * left * sqrt(squares);
}

struct choice {
    double goal, score, mean;
    struct cand c;
};

static int consider(struct evolve *x, struct search *s, struct search_view *v, const struct cand *points, int n,
                    struct choice *best)
{
    if (search_view_predict(v, x->mean, x->sd) != 0) return -1;
    for (int i = 0; i < n; i++) {
        double score = expected_improvement(best->goal, x->mean[i], x->sd[i]);
        if (score <= best->score || search_seen(s, &points[i])) continue;
        score *= works(x, search_domain(s), &points[i]); /* at most 1, and dear */
        if (score > best->score) *best = (struct choice){best->goal, score, x->mean[i], points[i]};
    }
    return 0;
}

/* The point that the model expects most of; false: there is none, or no memory. */
static bool ask_model(struct evolve *x, struct search *s, struct cand *out, double *mean)
{
    struct choice best = {.goal = goal(x, s), .score = -1};
    if (consider(x, s, x->wide, x->anywhere, x->nwide, &best) != 0) return false;
    if (!x->all) {
        struct cand pool[POOL];
        int n = fill_pool(x, s, pool);
        if (search_view_set(x->near, pool, n) != 0 || consider(x, s, x->near, pool, n, &best) != 0) return false;
    }
    *out = best.c;
    *mean = best.mean;
    return best.score >= 0;
}

/* ---- ask and tell ---- */

static bool evolve_ask(void *state, struct search *s, struct cand *out)
{
    struct evolve *x = state;
    int start = (int)(START * search_budget(s));
    double mean = (double)NAN;
    bool some;
    if (reserve(x) != 0) return false;
    if (start < 8) start = 8;
    if (x->book.n < start || x->book.worked < 3) {
        some = ask_start(x, s, out);
    } else {
        if (update_model(x, s) != 0) return false;
        some = x->book.n % RANDOM_EVERY != RANDOM_EVERY - 1 && ask_model(x, s, out, &mean);
        if (!some) some = search_fresh(s, out);
    }
    if (!some) return false;
    search_book_add(&x->book, search_domain(s), out, mean, 0);
    return true;
}

static void evolve_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    struct evolve *x = state;
    struct domain *d = search_domain(s);
    if (search_book_tell(&x->book, d, c, ok, us) < 0) return;
    for (int i = 0; i < search_params(d, c->tmpl); i++) {
        struct tally *t = &x->tallies[x->first[c->tmpl][i] + c->at[i]];
        *(ok ? &t->worked : &t->failed) += 1;
    }
}

extern const struct search_strategy search_evolve;
const struct search_strategy search_evolve = {.name = "evolve",
                                              .what = "evolution screened by a model: the adaptive default",
                                              .open = evolve_open,
                                              .ask = evolve_ask,
                                              .tell = evolve_tell,
                                              .close = evolve_close};
