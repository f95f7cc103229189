/* importance_forest.c - regression trees (Breiman, "Random forests", Machine Learning 45, 2001) over indices of values.
 *
 * Bags of trees: a bag sees two thirds of the rows, drawn without replacement; its trees differ by the parameters that each split may
 * choose from. Bags are the units of the jackknife and of the out-of-bag error. Trees grow until their leaves are alike: times repeat
 * within a percent, so a leaf of one point is worth having. A cut between two values that rows have lies anywhere between them by chance,
 * so that on average a value that none has goes with the nearer one (Hutter et al. 2014).
 *
 * Half of the trees of a bag explain y, the others what the best sum of a function of each parameter leaves of it (Zhang, Nettleton & Zhu,
 * "Regression-enhanced random forests", 2019, arXiv:1904.10416): a leaf knows the mean of its rows alone, so where a search has been to a bad
 * region with good values of all else only, trees by themselves take that for what the region is like. It is a compromise: with all trees
 * of the second kind pairs came out weaker, with none main effects were further off (docs/IMPORTANCE.md).
 *
 * A tree lives while its bag is summed up, so memory does not grow with their number. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "importance_private.h"

#define PURE 1e-12 /* of the sum of squares of all rows: a node with less is a leaf */
#define SHRINK 1   /* rows of effect 0 that each value is given, which draws values with few rows to 0 */
#define TURNS 20   /* of backfitting */

struct node {
    int param;      /* -1: a leaf */
    int cut;        /* up to it, to the left */
    size_t left;    /* the right one is behind it */
    size_t from, n; /* its rows in `order` */
    double mean;
};

struct grower {
    const struct importance_rows *rows;
    const double *y;
    size_t *order; /* rows of the bag, by node */
    struct node *nodes;
    size_t nnodes;
    double least;                              /* sum of squares of a leaf */
    double *target;                            /* of rows: what trees explain, y less a sum of effects */
    double mean, *effect[CAND_MAX_PARAMS + 1]; /* that sum; 0 for trees that explain y */
    double *sum;                               /* of a parameter's values */
    size_t *count;
    size_t *rows_in, *others_in; /* of each node */
    struct rng *rng;
};

static const uint16_t *row(const struct importance_rows *r, size_t i)
{
    return r->at + i * (size_t)r->nparams;
}

/* ---- the sum of effects ---- */

static void no_effects(struct grower *g)
{
    g->mean = 0;
    for (int k = 0; k < g->rows->nparams; k++)
        memset(g->effect[k], 0, sizeof *g->effect[k] * (size_t)g->rows->nvalues[k]);
    memcpy(g->target, g->y, sizeof *g->target * g->rows->n);
}

/* One parameter's effect anew, by what the others leave in the bag's rows. */
static void refit(struct grower *g, size_t in_bag, int param)
{
    const int n = g->rows->nvalues[param];
    double *effect = g->effect[param];

    memset(g->sum, 0, sizeof *g->sum * (size_t)n);
    memset(g->count, 0, sizeof *g->count * (size_t)n);
    for (size_t i = 0; i < in_bag; i++) {
        const int v = row(g->rows, g->order[i])[param];
        g->sum[v] += g->target[g->order[i]] + effect[v];
        g->count[v]++;
    }
    for (int v = 0; v < n; v++) {
        const double was = effect[v];
        effect[v] = g->sum[v] / ((double)g->count[v] + SHRINK);
        g->sum[v] = effect[v] - was;
    }
    for (size_t i = 0; i < g->rows->n; i++)
        g->target[i] -= g->sum[row(g->rows, i)[param]];
}

static void fit_effects(struct grower *g, size_t in_bag)
{
    no_effects(g);
    for (size_t i = 0; i < in_bag; i++)
        g->mean += g->y[g->order[i]] / (double)in_bag;
    for (size_t i = 0; i < g->rows->n; i++)
        g->target[i] -= g->mean;
    for (int turn = 0; turn < TURNS; turn++)
        for (int k = 0; k < g->rows->nparams; k++)
            refit(g, in_bag, k);
}

static double effects_at(const struct grower *g, const uint16_t *at)
{
    double y = g->mean;

    for (int k = 0; k < g->rows->nparams; k++)
        y += g->effect[k][at[k]];
    return y;
}

/* ---- trees ---- */

struct split {
    int param, cut;
    double gain;
};

/* The best cut of one parameter; false: all rows of the node have one value of it. */
static bool try_param(struct grower *g, const struct node *node, int param, struct split *best)
{
    int low = g->rows->nvalues[param], high = -1, cut = -1, next = -1;
    double total = 0, left = 0, gain = -1;
    size_t nleft = 0;

    for (size_t i = node->from; i < node->from + node->n; i++) {
        const int v = row(g->rows, g->order[i])[param];
        if (v < low) low = v;
        if (v > high) high = v;
    }
    if (low == high) return false;
    memset(g->sum + low, 0, sizeof *g->sum * (size_t)(high - low + 1));
    memset(g->count + low, 0, sizeof *g->count * (size_t)(high - low + 1));
    for (size_t i = node->from; i < node->from + node->n; i++) {
        const int v = row(g->rows, g->order[i])[param];
        const double y = g->target[g->order[i]] - node->mean;
        g->sum[v] += y;
        g->count[v]++;
        total += y;
    }
    for (int v = low; v < high; v++) {
        double right, here;
        if (g->count[v] == 0) continue;
        left += g->sum[v];
        nleft += g->count[v];
        right = total - left;
        here = left * left / (double)nleft + right * right / (double)(node->n - nleft);
        if (here <= gain) continue;
        gain = here;
        cut = v;
    }
    if (gain <= best->gain) return true;
    for (next = cut + 1; g->count[next] == 0;)
        next++;
    *best = (struct split){param, cut + (int)rng_below(g->rng, (uint64_t)(next - cut)), gain};
    return true;
}

/* Two thirds of the parameters that vary in the node, by chance; the first of equals. param -1: none varies. */
static struct split choose(struct grower *g, const struct node *node, int *params)
{
    struct split best = {.param = -1, .gain = -1};
    const int n = g->rows->nparams, enough = (2 * n + 2) / 3;

    for (int i = 0, tried = 0; i < n && tried < enough; i++) {
        const int k = i + (int)rng_below(g->rng, (uint64_t)(n - i)), param = params[k];
        params[k] = params[i];
        params[i] = param;
        tried += try_param(g, node, param, &best);
    }
    return best;
}

static double mean_of(const struct grower *g, size_t from, size_t n)
{
    double sum = 0;

    for (size_t i = from; i < from + n; i++)
        sum += g->target[g->order[i]];
    return sum / (double)n;
}

static double squares_of(const struct grower *g, const struct node *node)
{
    double sum = 0;

    for (size_t i = node->from; i < node->from + node->n; i++) {
        const double y = g->target[g->order[i]] - node->mean;
        sum += y * y;
    }
    return sum;
}

static void add_node(struct grower *g, size_t from, size_t n)
{
    g->nodes[g->nnodes++] = (struct node){.param = -1, .from = from, .n = n, .mean = mean_of(g, from, n)};
}

static void grow(struct grower *g, size_t n)
{
    int params[CAND_MAX_PARAMS];

    for (int i = 0; i < g->rows->nparams; i++)
        params[i] = i;
    g->nnodes = 0;
    add_node(g, 0, n);
    for (size_t i = 0; i < g->nnodes; i++) {
        struct node *node = &g->nodes[i];
        size_t left = node->from, right = node->from + node->n;
        struct split s;
        if (node->n < 2 || squares_of(g, node) <= g->least) continue;
        s = choose(g, node, params);
        if (s.param < 0) continue;
        while (left < right) {
            const size_t at = g->order[left];
            if (row(g->rows, at)[s.param] <= s.cut) {
                left++;
                continue;
            }
            g->order[left] = g->order[--right];
            g->order[right] = at;
        }
        node->param = s.param;
        node->cut = s.cut;
        node->left = g->nnodes;
        add_node(g, node->from, left - node->from);
        add_node(g, left, node->from + node->n - left);
    }
}

static size_t leaf_of(const struct grower *g, const uint16_t *at)
{
    size_t i = 0;

    while (g->nodes[i].param >= 0)
        i = g->nodes[i].left + (at[g->nodes[i].param] > g->nodes[i].cut);
    return i;
}

/* One tree's part in what the bag expects of others, in the out-of-bag values and in the weights. */
static void sum_up(const struct grower *g, struct importance_forest *f, const struct importance_rows *others, int bag,
                   double *oob_n)
{
    const bool *seen = f->seen + (size_t)bag * g->rows->n;
    double *expect = f->expect + (size_t)bag * others->n;
    const double trees = IMPORTANCE_TREES;

    memset(g->rows_in, 0, sizeof *g->rows_in * g->nnodes);
    memset(g->others_in, 0, sizeof *g->others_in * g->nnodes);
    for (size_t i = 0; i < others->n; i++) {
        const size_t leaf = leaf_of(g, row(others, i));
        g->others_in[leaf]++;
        expect[i] += (effects_at(g, row(others, i)) + g->nodes[leaf].mean) / trees;
    }
    for (size_t i = 0; i < g->rows->n; i++)
        g->rows_in[leaf_of(g, row(g->rows, i))]++;
    for (size_t i = 0; i < g->rows->n; i++) {
        const size_t leaf = leaf_of(g, row(g->rows, i));
        f->weight[i] += (double)g->others_in[leaf] / (double)g->rows_in[leaf] / (IMPORTANCE_BAGS * trees);
        if (seen[i]) continue;
        f->oob[i] += effects_at(g, row(g->rows, i)) + g->nodes[leaf].mean;
        oob_n[i]++;
    }
}

/* Which rows a bag sees. */
static void draw_bag(struct grower *g, bool *seen, size_t in_bag)
{
    for (size_t i = 0; i < g->rows->n; i++)
        g->order[i] = i;
    for (size_t i = 0; i < in_bag; i++) {
        const size_t k = i + (size_t)rng_below(g->rng, g->rows->n - i), at = g->order[k];
        g->order[k] = g->order[i];
        g->order[i] = at;
        seen[at] = true;
    }
}

static int grower_open(struct grower *g, struct importance_forest *f, const struct importance_rows *others,
                       struct err *e)
{
    size_t n = g->rows->n, values = 1, all = 1, bags = IMPORTANCE_BAGS;

    for (int i = 0; i < g->rows->nparams; i++) {
        all += (size_t)g->rows->nvalues[i];
        if ((size_t)g->rows->nvalues[i] > values) values = (size_t)g->rows->nvalues[i];
    }
    g->target = malloc(sizeof *g->target * n);
    g->effect[0] = malloc(sizeof **g->effect * all);
    for (int i = 1; i < g->rows->nparams && g->effect[0]; i++)
        g->effect[i] = g->effect[i - 1] + g->rows->nvalues[i - 1];
    g->order = malloc(sizeof *g->order * n);
    g->nodes = malloc(sizeof *g->nodes * 2 * n);
    g->rows_in = malloc(sizeof *g->rows_in * 2 * n);
    g->others_in = malloc(sizeof *g->others_in * 2 * n);
    g->sum = malloc(sizeof *g->sum * values);
    g->count = malloc(sizeof *g->count * values);
    f->expect = calloc(bags * others->n + 1, sizeof *f->expect);
    f->seen = calloc(bags * n, sizeof *f->seen);
    f->oob = calloc(n, sizeof *f->oob);
    f->weight = calloc(n, sizeof *f->weight);
    return g->target && g->effect[0] && g->order && g->nodes && g->rows_in && g->others_in && g->sum && g->count &&
                   f->expect && f->seen && f->oob && f->weight
               ? 0
               : err_nomem(e);
}

static void grower_close(struct grower *g)
{
    free(g->target);
    free(g->effect[0]);
    free(g->order);
    free(g->nodes);
    free(g->rows_in);
    free(g->others_in);
    free(g->sum);
    free(g->count);
}

int importance_forest(struct importance_forest *f, const struct importance_rows *rows, const double *y,
                      const struct importance_rows *others, struct rng *r, struct err *e)
{
    struct grower g = {.rows = rows, .y = y, .rng = r};
    double *oob_n = calloc(rows->n, sizeof *oob_n), mean = 0, squares = 0;
    int rc = oob_n ? 0 : err_nomem(e);

    *f = (struct importance_forest){.in_bag = (2 * rows->n + 2) / 3};
    if (rc == 0) rc = grower_open(&g, f, others, e);
    for (size_t i = 0; i < rows->n; i++)
        mean += y[i] / (double)rows->n;
    for (size_t i = 0; i < rows->n; i++)
        squares += (y[i] - mean) * (y[i] - mean);
    g.least = PURE * squares;
    for (int bag = 0; bag < IMPORTANCE_BAGS && rc == 0; bag++) {
        draw_bag(&g, f->seen + (size_t)bag * rows->n, f->in_bag);
        fit_effects(&g, f->in_bag);
        for (int t = 0; t < IMPORTANCE_TREES; t++) {
            if (t == IMPORTANCE_TREES / 2) no_effects(&g);
            grow(&g, f->in_bag);
            sum_up(&g, f, others, bag, oob_n);
        }
    }
    for (size_t i = 0; i < rows->n && rc == 0; i++)
        f->oob[i] = oob_n[i] > 0 ? f->oob[i] / oob_n[i] : NAN;
    grower_close(&g);
    free(oob_n);
    return rc;
}

void importance_forest_free(struct importance_forest *f)
{
    free(f->expect);
    free(f->seen);
    free(f->oob);
    free(f->weight);
    *f = (struct importance_forest){0};
}
