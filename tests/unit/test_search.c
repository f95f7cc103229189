/* Search strategies over synthetic spaces: each test writes a template into its own folder under /tmp and opens a
 * domain over it. Landscapes are functions of the values' indices, so that their optimum is known. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gsl/gsl_linalg.h>

#include "buf.h"
#include "search.h"
#include "search_model.h"

struct world {
    char folder[64];
    struct space space;
    struct domain *domain;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/test_search.XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    domain_close(w->domain);
    space_free(&w->space);
    nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

static void put_file(const char *folder, const char *name, struct buf *text)
{
    char path[128];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (buf_write_file(path, buf_text(text), text->n, &e) != 0) fail_msg("%s", e.text);
    buf_clear(text);
}

static void put_values(struct buf *text, int n)
{
    for (int v = 0; v < n; v++)
        buf_printf(text, "%s%d", v ? ", " : "[", v);
    buf_puts(text, "]");
}

static void put_template_in(struct world *w, const char *language, const char *name, const int *sizes, int n,
                            const char *rule)
{
    char folder[96];
    struct buf t = {0};
    snprintf(folder, sizeof folder, "%s/%s", w->folder, name);
    assert_int_equal(mkdir(folder, 0777), 0);
    buf_printf(&t, "name: %s\nlanguage: %s\nsource: kernel.cl\nentry: attention_forward\nparams:\n", name, language);
    for (int i = 0; i < n; i++) {
        buf_printf(&t, "  P%d: {values: ", i);
        put_values(&t, sizes[i]);
        buf_puts(&t, ", default: 0, what: \"a knob\"}\n");
    }
    if (rule) buf_printf(&t, "constraints:\n  - {if: \"%s\", why: \"a rule\"}\n", rule);
    buf_puts(&t, "launch:\n  grid: [\"1\", \"1\", \"1\"]\n  block: [\"1\", \"1\", \"1\"]\n  shared: \"0\"\n"
                 "arguments: [q, k, v, o, lse]\n");
    put_file(folder, "template.yaml", &t);
    for (int i = 0; i < n; i++)
        buf_printf(&t, "#ifndef P%d\n#define P%d 0\n#endif\n", i, i);
    buf_puts(&t,
             "__kernel void attention_forward(__global const half *q, __global const half *k, __global const half *v,\n"
             "    __global half *o, __global float *lse)\n{\n    lse[0] = 0");
    for (int i = 0; i < n; i++)
        buf_printf(&t, " + P%d", i);
    buf_puts(&t, ";\n}\n");
    put_file(folder, "kernel.cl", &t);
    buf_puts(&t, "# A toy\n");
    put_file(folder, "README.md", &t);
    buf_free(&t);
}

/* A template with parameters P0, P1, ... of sizes[i] values 0, 1, ...; rule is one constraint or NULL. */
static void put_template(struct world *w, const char *name, const int *sizes, int n, const char *rule)
{
    put_template_in(w, "opencl", name, sizes, n, rule);
}

static void open_domain(struct world *w, const char *templates)
{
    struct buf t = {0};
    struct err e = {0};
    const char *dirs[] = {w->folder};
    struct target target = {.driver = "fake",
                            .language = "opencl",
                            .name = "Fake",
                            .smem_block_bytes = 65536,
                            .regs_block = 65536,
                            .threads_block = 1024,
                            .sms = 8,
                            .l2_bytes = 1 << 20,
                            .memory_bytes = 1 << 30};
    buf_printf(&t,
               "name: toy\nproblem:\n  op: attention_forward\n  batch: 1\n  heads: 1\n  seq_q: 64\n  head_dim: 64\n  "
               "dtype: f16\n"
               "  mask: none\ntemplates: [%s]\n",
               templates);
    if (space_parse(&w->space, buf_text(&t), t.n, "toy.yaml", &e) != 0) fail_msg("%s", e.text);
    if (domain_open(&w->domain, &w->space, dirs, 1, &target, &e) != 0) fail_msg("%s", e.text);
    buf_free(&t);
}

static const int SMALL[] = {5, 4, 2};
static const char SMALL_RULE[] = "P0 * P1 ~= 6 or P2 == 0"; /* excludes (2,3,1) and (3,2,1): 38 of 40 stay */
enum { SMALL_COUNT = 38 };
static const int WIDE[] = {8, 8, 8, 8, 8, 8, 8, 8, 8, 8};
static const int LANDSCAPE[] = {10, 8, 6, 5, 4, 3, 2, 2};
static const char LANDSCAPE_RULE[] = "P0 + P1 <= 13";

/* ---- landscapes: false when the point fails ---- */

static bool smooth(const struct cand *c, double *us)
{
    static const double at[] = {6, 2, 4, 1, 2, 0, 1, 0}, weight[] = {0.9, 0.7, 0.5, 0.5, 0.3, 0.3, 0.2, 0.1};
    double sum = 0;
    for (int i = 0; i < 8; i++) {
        double x = (c->at[i] - at[i]) / (LANDSCAPE[i] - 1);
        sum += weight[i] * x * x;
    }
    *us = 100 * exp(2 * sum);
    return true;
}

static double jitter(const struct cand *c)
{
    uint64_t h = 1469598103934665603u;
    for (int i = 0; i < 8; i++)
        h = (h ^ c->at[i]) * 1099511628211u;
    return (double)(h >> 40) / (double)(1u << 24);
}

/* Interactions, steps and a part that nothing predicts; two resource-like limits and bad luck fail about 40% of the
 * points. */
static bool rugged(const struct cand *c, double *us)
{
    double load = c->at[0] * 1.3 + c->at[1] + c->at[2] * (c->at[5] + 1) * 0.45;
    if (load > 13.7 || (c->at[3] == 4 && c->at[6] == 1) || jitter(c) > 0.93) return false;
    smooth(c, us);
    *us *= 1 + 0.25 * ((c->at[0] + c->at[3]) % 3 != 0) + 0.15 * ((c->at[1] ^ c->at[4]) & 1) + 0.08 * jitter(c);
    return true;
}

static bool hopeless(const struct cand *c, double *us)
{
    (void)c, (void)us;
    return false;
}

static bool flat(const struct cand *c, double *us)
{
    (void)c;
    *us = 7;
    return true;
}

static bool unlucky(const struct cand *c, double *us)
{
    return jitter(c) > 0.7 && smooth(c, us);
}

static bool rugged_slow(const struct cand *c, double *us)
{
    bool ok = rugged(c, us);
    *us *= 1024;
    return ok;
}

/* ---- one run ---- */

enum { MOST = 4096 };
struct trace {
    uint64_t ranks[MOST];
    int n;
    double best;
    int failed;
};

static struct search *open_search(struct world *w, const char *strategy, uint64_t seed, int budget)
{
    struct search *s;
    struct err e = {0};
    if (search_open(&s, strategy, w->domain, seed, budget, &e) != 0) fail_msg("%s", e.text);
    return s;
}

/* Asks with up to lag proposals in flight, tells in the order of asking; asserts that no point comes twice or is
 * invalid. */
static void run(struct world *w, const char *strategy, uint64_t seed, int budget, int lag,
                bool (*f)(const struct cand *, double *), struct trace *t)
{
    struct search *s = open_search(w, strategy, seed, budget);
    struct cand *asked = malloc((size_t)(budget + 1) * sizeof *asked);
    bool more = true;
    int told = 0;
    assert_non_null(asked);
    *t = (struct trace){.best = INFINITY};
    while (more || told < t->n) {
        while (more && t->n - told < lag && (more = search_ask(s, &asked[t->n]))) {
            assert_true(t->n < budget);
            assert_true(domain_valid(w->domain, &asked[t->n], NULL));
            t->ranks[t->n] = domain_rank(w->domain, &asked[t->n]);
            for (int i = 0; i < t->n; i++)
                if (t->ranks[i] == t->ranks[t->n]) fail_msg("%s proposed a point twice", strategy);
            t->n++;
            assert_int_equal(search_asked(s), t->n);
        }
        if (told == t->n) break;
        double us = NAN;
        bool ok = f(&asked[told], &us);
        if (ok && us < t->best) t->best = us;
        t->failed += !ok;
        search_tell(s, &asked[told++], ok, us);
    }
    search_close(s);
    free(asked);
}

static void assert_same(const struct trace *a, const struct trace *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ranks, b->ranks, (size_t)a->n * sizeof *a->ranks);
}

/* ---- tests ---- */

/* Does a strategy learn from answers? */
static bool learns(const struct search_strategy *s)
{
    return strcmp(s->name, "exhaustive") != 0 && strcmp(s->name, "random") != 0;
}

/* Proposals in flight: told at once, nearly, many, and none told before all are asked. */
static const int LAGS[] = {1, 2, 8, 32, MOST};
enum { NLAGS = sizeof LAGS / sizeof *LAGS };

static void assert_covered_once(struct world *w, int count)
{
    static bool (*const answers[])(const struct cand *, double *) = {smooth, flat, unlucky, hopeless};
    struct trace t;
    bool exact;
    assert_int_equal(domain_count(w->domain, &exact), count);
    assert_true(exact);
    for (const struct search_strategy *const *s = search_strategies; *s; s++)
        for (int lag = 0; lag < NLAGS; lag++)
            for (int i = 0; i < 4; i++) {
                run(w, (*s)->name, 3, 1000, LAGS[lag], answers[i], &t);
                if (t.n != count) fail_msg("%s, %d in flight: %d of %d points", (*s)->name, LAGS[lag], t.n, count);
            }
}

static void test_small_space_is_covered_once(void **state)
{
    struct world *w = *state;
    put_template(w, "toy", SMALL, 3, SMALL_RULE);
    open_domain(w, "toy");
    assert_covered_once(w, SMALL_COUNT);
}

/* Points that have no neighbour: from one to another two parameters must move at once. */
static void test_points_apart_are_covered_once(void **state)
{
    struct world *w = *state;
    put_template(w, "toy", LANDSCAPE, 3, "P0 == P1 and (P1 + P2) % 2 == 0 and P2 == P1 % 6");
    open_domain(w, "toy");
    assert_covered_once(w, 8);
}

static void test_one_point(void **state)
{
    struct world *w = *state;
    static const int ones[] = {1, 1};
    put_template(w, "single", ones, 2, NULL);
    put_template(w, "narrow", SMALL, 3, "P0 + P1 + P2 == 0");
    open_domain(w, "single");
    assert_covered_once(w, 1);
    domain_close(w->domain);
    space_free(&w->space);
    open_domain(w, "narrow");
    assert_covered_once(w, 1);
}

static void test_union_with_an_unfit_template_is_covered_once(void **state)
{
    struct world *w = *state;
    static const int ones[] = {1, 1};
    put_template_in(w, "cuda", "alien", LANDSCAPE, 8, NULL);
    put_template(w, "first", SMALL, 3, SMALL_RULE);
    put_template(w, "default_is_out", SMALL, 3, "P0 > 2");
    put_template(w, "single", ones, 2, NULL);
    open_domain(w, "alien, first, default_is_out, single");
    assert_non_null(domain_unfit(w->domain, 0));
    assert_covered_once(w, SMALL_COUNT + 16 + 1);
}

static void test_defaults_come_first(void **state)
{
    struct world *w = *state;
    struct trace t;
    put_template_in(w, "cuda", "alien", SMALL, 3, NULL);
    put_template(w, "big", LANDSCAPE, 8, LANDSCAPE_RULE);
    put_template(w, "tiny", SMALL, 3, NULL);
    open_domain(w, "alien, big, tiny");
    for (const struct search_strategy *const *s = search_strategies; *s; s++) {
        if (!learns(*s)) continue;
        for (int lag = 0; lag < NLAGS; lag++) {
            run(w, (*s)->name, 7, 10, LAGS[lag], smooth, &t);
            for (int i = 0; i < 2; i++) {
                struct cand c;
                assert_true(domain_default(w->domain, i + 1, &c));
                assert_int_equal(t.ranks[i], domain_rank(w->domain, &c));
            }
        }
    }
}

static void test_budget_counts_proposals(void **state)
{
    struct world *w = *state;
    struct trace t;
    put_template(w, "toy", SMALL, 3, SMALL_RULE);
    open_domain(w, "toy");
    for (const struct search_strategy *const *s = search_strategies; *s; s++)
        for (int budget = 1; budget < 20; budget++) {
            run(w, (*s)->name, 3, budget, 8, budget % 2 ? hopeless : smooth, &t);
            assert_int_equal(t.n, budget);
        }
}

static void test_equal_seeds_propose_equally(void **state)
{
    struct world *w = *state;
    struct trace a, b, other;
    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    for (const struct search_strategy *const *s = search_strategies; *s; s++)
        for (int lag = 0; lag < NLAGS; lag++) {
            run(w, (*s)->name, 11, 80, LAGS[lag], rugged, &a);
            run(w, (*s)->name, 11, 80, LAGS[lag], rugged, &b);
            run(w, (*s)->name, 12, 80, LAGS[lag], rugged, &other);
            assert_same(&a, &b);
            assert_memory_not_equal(a.ranks, other.ranks, 80 * sizeof *a.ranks);
            if (!learns(*s) || LAGS[lag] >= 80) continue;
            run(w, (*s)->name, 11, 80, LAGS[lag], smooth, &b); /* answers steer it */
            assert_memory_not_equal(a.ranks, b.ranks, 80 * sizeof *a.ranks);
        }
}

/* Only ratios of times count: the same in nanoseconds and in seconds. (Powers of two, so that the logarithms' differences
 * are as exact as they can be.) */
static void test_units_do_not_matter(void **state)
{
    struct world *w = *state;
    struct trace a, b;
    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    for (const struct search_strategy *const *s = search_strategies; *s; s++) {
        if (strcmp((*s)->name, "evolve") == 0) continue; /* its model's sums round differently */
        run(w, (*s)->name, 11, 80, 4, rugged, &a);
        run(w, (*s)->name, 11, 80, 4, rugged_slow, &b);
        assert_same(&a, &b);
    }
}

/* Goes through a log of asks and tells as a resumed run does: same calls in the same order, answers from the log. */
static void replay(struct world *w, const char *strategy)
{
    struct trace t;
    enum { LAG = 32, BUDGET = 100 };
    run(w, strategy, 5, BUDGET, LAG, rugged, &t);
    assert_int_equal(t.n, BUDGET);
    struct search *s = open_search(w, strategy, 5, BUDGET);
    struct cand c;
    for (int n = 0; n < BUDGET; n++) {
        if (n >= LAG) {
            double us = NAN;
            assert_true(domain_from_rank(w->domain, t.ranks[n - LAG], &c));
            bool ok = rugged(&c, &us);
            search_tell(s, &c, ok, us);
        }
        assert_true(search_ask(s, &c));
        assert_int_equal(domain_rank(w->domain, &c), t.ranks[n]);
    }
    assert_false(search_ask(s, &c));
    search_close(s);
}

static void test_replayed_log_proposes_the_same(void **state)
{
    struct world *w = *state;
    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    for (const struct search_strategy *const *s = search_strategies; *s; s++)
        replay(w, (*s)->name);
}

/* ---- what is known before ---- */

/* Learns the points of these ranks before a run of `budget` proposals, 8 in flight; asserts that none of them, and no point twice, is proposed. */
static void run_informed(struct world *w, const char *strategy, uint64_t seed, const uint64_t *known, int n, int budget,
                         bool (*f)(const struct cand *, double *), struct trace *t)
{
    struct search *s = open_search(w, strategy, seed, budget);
    struct cand asked[MOST], c;
    struct err e = {0};
    int told = 0;
    double us = NAN;
    bool ok, more = true;

    for (int twice = 0; twice < 2; twice++)
        for (int i = 0; i < n; i++) {
            assert_true(domain_from_rank(w->domain, known[i], &c));
            ok = f(&c, &us);
            assert_int_equal(search_learn(s, &c, ok, us, &e), 0);
            assert_true(search_seen(s, &c));
        }
    assert_int_equal(search_asked(s), 0);
    *t = (struct trace){.best = INFINITY};
    while (more || told < t->n) {
        while (more && t->n - told < 8 && (more = search_ask(s, &asked[t->n]))) {
            t->ranks[t->n] = domain_rank(w->domain, &asked[t->n]);
            assert_true(domain_valid(w->domain, &asked[t->n], NULL));
            for (int i = 0; i < n; i++)
                if (known[i] == t->ranks[t->n]) fail_msg("%s proposed what it had learnt", strategy);
            for (int i = 0; i < t->n; i++)
                if (t->ranks[i] == t->ranks[t->n]) fail_msg("%s proposed a point twice", strategy);
            t->n++;
        }
        if (told == t->n) break;
        ok = f(&asked[told], &us);
        if (ok && us < t->best) t->best = us;
        search_tell(s, &asked[told++], ok, us);
    }
    search_close(s);
}

static uint64_t rank_of(struct world *w, const uint16_t *at, int n)
{
    struct cand c = {0};

    memcpy(c.at, at, (size_t)n * sizeof *at);
    assert_true(domain_valid(w->domain, &c, NULL));
    return domain_rank(w->domain, &c);
}

/* Every point is learnt or proposed, once, for any number that is learnt, all of them included. */
static void test_what_is_learnt_is_not_proposed(void **state)
{
    static bool (*const answers[])(const struct cand *, double *) = {smooth, flat, unlucky, hopeless};
    struct world *w = *state;
    uint64_t all[SMALL_COUNT], rank = 0;
    struct trace t;
    struct cand c;
    int n = 0;

    put_template(w, "toy", SMALL, 3, SMALL_RULE);
    open_domain(w, "toy");
    while (domain_next(w->domain, &rank, &c))
        all[n++] = domain_rank(w->domain, &c);
    assert_int_equal(n, SMALL_COUNT);
    for (const struct search_strategy *const *s = search_strategies; *s; s++)
        for (int known = 0; known <= n; known += known < 10 ? 1 : 7)
            for (int i = 0; i < 4; i++) {
                run_informed(w, (*s)->name, 11, all, known, 1000, answers[i], &t);
                if (t.n != n - known) fail_msg("%s: %d learnt, %d of %d proposed", (*s)->name, known, t.n, n);
            }
}

/* Beside the optimum, once it is known, are better points than elsewhere: each strategy that learns goes there, and equally each time. */
static void test_what_is_learnt_steers(void **state)
{
    enum { SEEDS = 20 };
    static const uint16_t near[2][8] = {{6, 2, 4, 1, 2, 1, 1, 1}, {6, 3, 4, 1, 2, 0, 0, 0}};
    struct world *w = *state;
    struct trace with, again, without;
    uint64_t known[2];

    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    for (int i = 0; i < 2; i++)
        known[i] = rank_of(w, near[i], 8);
    for (const struct search_strategy *const *s = search_strategies; *s; s++) {
        double informed = 0, blind = 0;
        if (!learns(*s)) continue;
        for (int seed = 0; seed < SEEDS; seed++) {
            run_informed(w, (*s)->name, seed, known, 2, 30, smooth, &with);
            run_informed(w, (*s)->name, seed, known, 2, 30, smooth, &again);
            run_informed(w, (*s)->name, seed, NULL, 0, 30, smooth, &without);
            assert_same(&with, &again);
            informed += log(with.best) / SEEDS;
            blind += log(without.best) / SEEDS;
        }
        print_message("%s, %d seeds: %.2f us beside two good points that it knew, %.2f us without\n", (*s)->name, SEEDS,
                      exp(informed), exp(blind));
        assert_true(informed < blind);
    }
}

static void test_strangers_are_not_heard(void **state)
{
    struct world *w = *state;
    struct search *a, *b;
    struct cand c, x, y;
    uint64_t rank = 5000;

    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    assert_true(domain_next(w->domain, &rank, &c));
    for (const struct search_strategy *const *s = search_strategies; *s; s++) {
        a = open_search(w, (*s)->name, 3, 50);
        b = open_search(w, (*s)->name, 3, 50);
        search_tell(a, &c, true, 1e-3);
        for (int i = 0; i < 50; i++) {
            double us;
            assert_true(search_ask(a, &x) && search_ask(b, &y));
            assert_true(cand_equal(w->domain, &x, &y));
            smooth(&x, &us);
            search_tell(a, &x, true, us);
            search_tell(b, &y, true, us);
        }
        search_close(a);
        search_close(b);
    }
}

static void wide_space(struct world *w, const char *rule, bool counted)
{
    struct trace t;
    struct search *s;
    struct err e = {0};
    bool exact;
    put_template(w, "toy", WIDE, 10, rule);
    open_domain(w, "toy");
    domain_count(w->domain, &exact);
    assert_int_equal(exact, counted);
    run(w, "random", 1, 200, 16, smooth, &t);
    assert_int_equal(t.n, 200);
    for (const struct search_strategy *const *one = search_strategies; *one; one++) {
        if (!learns(*one)) continue;
        run(w, (*one)->name, 1, 60, 16, smooth, &t);
        assert_int_equal(t.n, 60);
    }
    assert_int_equal(search_open(&s, "exhaustive", w->domain, 1, 100, &e), -1);
    assert_int_equal(e.code, ERR_USAGE);
    assert_non_null(strstr(e.text, "exhaustive"));
}

static void test_wide_space(void **state)
{
    wide_space(*state, "(P0 + P1 + P2) % 3 == 0", true);
}

/* One rule over all parameters: the points are not counted, but drawn and tried. */
static void test_wide_and_tied_space(void **state)
{
    wide_space(*state, "(P0 + 3 * P1 + 5 * P2 + 7 * P3 + 11 * P4 + 13 * P5 + 17 * P6 + 19 * P7 + 2 * P8 + P9) % 5 == 0",
               false);
}

static void test_auto(void **state)
{
    struct world *w = *state;
    put_template(w, "toy", SMALL, 3, SMALL_RULE);
    open_domain(w, "toy");
    struct search *s = open_search(w, "auto", 1, SMALL_COUNT);
    assert_string_equal(search_strategy_name(s), "exhaustive");
    search_close(s);
    s = open_search(w, "auto", 1, SMALL_COUNT - 1);
    assert_string_equal(search_strategy_name(s), "evolve");
    search_close(s);
}

static void test_errors(void **state)
{
    struct world *w = *state;
    struct search *s;
    struct err e = {0};
    put_template(w, "toy", SMALL, 3, "P0 > 100");
    put_template(w, "good", SMALL, 3, NULL);
    open_domain(w, "toy");
    assert_int_equal(search_open(&s, "auto", w->domain, 1, 10, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    domain_close(w->domain);
    space_free(&w->space);
    open_domain(w, "good");
    e = (struct err){0};
    assert_int_equal(search_open(&s, "evolv", w->domain, 1, 10, &e), -1);
    assert_int_equal(e.code, ERR_USAGE);
    assert_non_null(strstr(e.text, "did you mean 'evolve'"));
    e = (struct err){0};
    assert_int_equal(search_open(&s, "random", w->domain, 1, 0, &e), -1);
    assert_int_equal(e.code, ERR_USAGE);
    assert_null(s);
    search_close(NULL);
}

static void test_everything_fails(void **state)
{
    struct world *w = *state;
    struct trace t;
    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    for (const struct search_strategy *const *s = search_strategies; *s; s++)
        for (int lag = 0; lag < NLAGS; lag++) {
            run(w, (*s)->name, 2, 70, LAGS[lag], hopeless, &t);
            assert_int_equal(t.n, 70);
            assert_int_equal(t.failed, 70);
        }
}

static void odd_answers(struct world *w, const char *strategy)
{
    struct cand c, stranger = {0};
    struct search *s = open_search(w, strategy, 2, 60);
    for (int i = 0; search_ask(s, &c); i++) {
        static const double odd[] = {0, -1, 1e308, 5e-324, 3, INFINITY, 3};
        search_tell(s, &c, true, odd[i % 7]);
        search_tell(s, &c, true, 1); /* told twice */
        stranger.at[0] = 9, stranger.at[1] = (uint16_t)(i % 5);
        if (!search_seen(s, &stranger)) search_tell(s, &stranger, true, 1e-3); /* never asked for */
    }
    assert_int_equal(search_asked(s), 60);
    search_close(s);
}

static void test_odd_answers_do_no_harm(void **state)
{
    struct world *w = *state;
    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    for (const struct search_strategy *const *s = search_strategies; *s; s++)
        odd_answers(w, (*s)->name);
}

static void test_templates_are_all_tried(void **state)
{
    struct world *w = *state;
    struct trace t;
    put_template(w, "big", LANDSCAPE, 8, LANDSCAPE_RULE);
    put_template(w, "tiny", SMALL, 3, NULL);
    open_domain(w, "big, tiny");
    for (const struct search_strategy *const *s = search_strategies; *s; s++) {
        int of[2] = {0};
        if (!learns(*s)) continue;
        run(w, (*s)->name, 4, 60, 8, smooth, &t);
        for (int i = 0; i < t.n; i++) {
            struct cand c;
            assert_true(domain_from_rank(w->domain, t.ranks[i], &c));
            of[c.tmpl]++;
        }
        assert_true(of[0] > 0 && of[1] > 0);
    }
}

/* Mean of the best at the end over seeds, and the share of seeds where the first strategy was better. */
static void compare(struct world *w, const char *name, bool (*f)(const struct cand *, double *), int lag)
{
    enum { SEEDS = 20, BUDGET = 100 };
    struct trace t;
    double sum[2] = {0};
    int wins = 0, failed[2] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double best[2];
        for (int i = 0; i < 2; i++) {
            run(w, i ? "random" : "evolve", seed, BUDGET, lag, f, &t);
            best[i] = t.best;
            sum[i] += t.best / SEEDS;
            failed[i] += t.failed;
        }
        wins += best[0] < best[1];
    }
    print_message("%s, lag %d, %d seeds, %d evaluations: evolve %.2f us (%.0f%% failed), random %.2f us (%.0f%% "
                  "failed), evolve better in "
                  "%d\n",
                  name, lag, SEEDS, BUDGET, sum[0], 100.0 * failed[0] / (SEEDS * BUDGET), sum[1],
                  100.0 * failed[1] / (SEEDS * BUDGET), wins);
    assert_true(sum[0] < sum[1]);
    assert_true(wins >= 15); /* a fair coin does this once in 50 */
}

static void test_evolve_beats_random(void **state)
{
    struct world *w = *state;
    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    compare(w, "smooth", smooth, 1);
    compare(w, "rugged", rugged, 1);
    compare(w, "rugged", rugged, 32);
}

/* The slow template's default comes first: each strategy must find its way to the other one, which is four times as fast
 * and has a quarter of the points, and down to near its optimum of 100 us; evolve always, the others in two of three searches. */
static bool second_is_fast(const struct cand *c, double *us)
{
    smooth(c, us);
    if (c->tmpl == 0) *us *= 4;
    return true;
}

static void test_fast_template_wins(void **state)
{
    struct world *w = *state;
    enum { SEEDS = 30 };
    struct trace t;
    put_template(w, "slow", LANDSCAPE, 8, LANDSCAPE_RULE);
    put_template(w, "fast", LANDSCAPE, 8, "(P0 + P1 + P2) % 3 == 0");
    open_domain(w, "slow, fast");
    for (const struct search_strategy *const *s = search_strategies; *s; s++) {
        int found = 0;
        double worst = 0;
        for (uint64_t seed = 1; learns(*s) && seed <= SEEDS; seed++) {
            run(w, (*s)->name, seed, 150, 8, second_is_fast, &t);
            found += t.best < 130;
            if (t.best > worst) worst = t.best;
        }
        if (!learns(*s)) continue;
        print_message("%s: %d of %d below 130 us, worst %.1f us\n", (*s)->name, found, SEEDS, worst);
        assert_true(found >= (strcmp((*s)->name, "evolve") == 0 ? SEEDS : SEEDS * 2 / 3));
    }
}

/* On the smooth landscape each new one is better than chance on average, whether answers come at once or late. */
static void test_each_beats_random(void **state)
{
    enum { SEEDS = 30, BUDGET = 100 };
    struct world *w = *state;
    struct trace t;
    put_template(w, "toy", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "toy");
    for (int lag = 0; lag < NLAGS - 1; lag++) {
        double random[SEEDS], mean = 0;
        for (int seed = 0; seed < SEEDS; seed++) {
            run(w, "random", seed + 1, BUDGET, LAGS[lag], smooth, &t);
            random[seed] = t.best;
            mean += log(t.best) / SEEDS;
        }
        for (const struct search_strategy *const *s = search_strategies; *s; s++) {
            double sum = 0;
            int wins = 0;
            if (!learns(*s) || strcmp((*s)->name, "evolve") == 0) continue; /* evolve: below */
            for (int seed = 0; seed < SEEDS; seed++) {
                run(w, (*s)->name, seed + 1, BUDGET, LAGS[lag], smooth, &t);
                sum += log(t.best) / SEEDS;
                wins += t.best < random[seed];
            }
            print_message("smooth, %d in flight, %d seeds, %d evaluations: %s %.2f us, random %.2f us, better in %d\n",
                          LAGS[lag], SEEDS, BUDGET, (*s)->name, exp(sum), exp(mean), wins);
            assert_true(sum < mean);
            /* A fair coin does this once in 46. With 32 in flight a third of the budget is spent before the first answer. */
            assert_true(wins >= 21 || LAGS[lag] > 8);
        }
    }
}

/* ---- the model ---- */

enum { KNOWN = 40, ASKED = 25 };

/* k' K^-1 x by GSL, for the kernel that search_model.c describes before any fit: 0.15 + 0.85 likeness, noise 0.01. */
static double by_algebra(const struct search_model *m, const struct cand *points, int n, const gsl_vector *k,
                         const gsl_vector *x)
{
    gsl_matrix *a = gsl_matrix_alloc((size_t)n, (size_t)n);
    gsl_vector *solved = gsl_vector_alloc((size_t)n);
    double sum = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            gsl_matrix_set(a, (size_t)i, (size_t)j,
                           0.15 + 0.85 * search_model_likeness(m, &points[i], &points[j]) + 0.01 * (i == j));
    gsl_linalg_cholesky_decomp1(a);
    gsl_linalg_cholesky_solve(a, x, solved);
    for (int i = 0; i < n; i++)
        sum += gsl_vector_get(k, (size_t)i) * gsl_vector_get(solved, (size_t)i);
    gsl_matrix_free(a);
    gsl_vector_free(solved);
    return sum;
}

static void assert_predicted(const struct search_model *m, const struct cand *points, const double *values, int n,
                             const struct cand *at, double mean, double sd)
{
    gsl_vector *k = gsl_vector_alloc((size_t)n), *y = gsl_vector_alloc((size_t)n);
    double middle = 0;
    for (int i = 0; i < n; i++)
        middle += values[i] / n;
    for (int i = 0; i < n; i++) {
        gsl_vector_set(k, (size_t)i, 0.15 + 0.85 * search_model_likeness(m, &points[i], at));
        gsl_vector_set(y, (size_t)i, values[i] - middle);
    }
    double variance = by_algebra(m, points, n, y, y) / n;
    assert_true(fabs(mean - middle - by_algebra(m, points, n, k, y)) <= 1e-9);
    assert_true(fabs(sd - sqrt(variance * (1 - by_algebra(m, points, n, k, k)))) <= 1e-9);
    gsl_vector_free(k);
    gsl_vector_free(y);
}

/* A view that was there from the beginning says what the algebra says of the points so far, and what a new one says; also
 * after the model was filled again. */
static void test_a_view_keeps_up(void **state)
{
    struct world *w = *state;
    struct cand points[KNOWN], asked[ASKED];
    double values[KNOWN], mean[ASKED], sd[ASKED], mean_new[ASKED], sd_new[ASKED];
    struct rng r;
    put_template(w, "one", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "one");
    rng_init(&r, 3, "view");
    for (int i = 0; i < KNOWN; i++) {
        assert_true(domain_sample(w->domain, &r, &points[i]));
        smooth(&points[i], &values[i]);
        values[i] = log(values[i]);
    }
    for (int i = 0; i < ASKED; i++)
        assert_true(domain_sample(w->domain, &r, &asked[i]));
    struct search_model *m = search_model_open(w->domain);
    struct search_view *old = search_view_open(m), *new = search_view_open(m);
    assert_true(m && old && new);
    assert_int_equal(search_view_set(old, asked, ASKED), 0);
    assert_int_equal(search_view_predict(old, mean, sd), 0);
    assert_true(mean[0] == 0 && sd[ASKED - 1] == 1); /* it knows nothing */
    for (int round = 0; round < 2; round++, search_model_clear(m)) {
        for (int n = 0; n < KNOWN;) {
            for (int i = 0; i < 8; i++)
                assert_int_equal(search_model_add(m, &points[n++]), 0);
            search_model_values(m, values);
            assert_int_equal(search_view_predict(old, mean, sd), 0);
            assert_int_equal(search_view_set(new, asked, ASKED), 0);
            assert_int_equal(search_view_predict(new, mean_new, sd_new), 0);
            for (int i = 0; i < ASKED; i++) {
                assert_predicted(m, points, values, n, &asked[i], mean[i], sd[i]);
                assert_true(mean[i] == mean_new[i] && sd[i] == sd_new[i]);
            }
        }
    }
    search_view_close(old);
    search_view_close(new);
    search_model_close(m);
}

/* Where nothing is known of a template, what all others say is believed, and less surely than where something is. */
static void test_a_template_nobody_tried(void **state)
{
    struct world *w = *state;
    struct cand points[KNOWN], asked[2];
    double values[KNOWN], mean[2], sd[2];
    struct rng r;
    int n = 0;
    put_template(w, "one", LANDSCAPE, 8, LANDSCAPE_RULE);
    put_template(w, "two", LANDSCAPE, 8, LANDSCAPE_RULE);
    open_domain(w, "one, two");
    rng_init(&r, 4, "view");
    while (n < KNOWN) {
        assert_true(domain_sample(w->domain, &r, &points[n]));
        points[n].tmpl = 0;
        smooth(&points[n], &values[n]);
        values[n] = log(values[n]);
        n++;
    }
    asked[0] = asked[1] = points[0];
    asked[1].tmpl = 1;
    struct search_model *m = search_model_open(w->domain);
    struct search_view *v = search_view_open(m);
    assert_true(m && v);
    for (int i = 0; i < KNOWN; i++)
        assert_int_equal(search_model_add(m, &points[i]), 0);
    search_model_values(m, values);
    assert_int_equal(search_view_set(v, asked, 2), 0);
    assert_int_equal(search_view_predict(v, mean, sd), 0);
    assert_true(fabs(mean[0] - values[0]) <= 3 * sd[0]);
    double middle = 0;
    for (int i = 0; i < KNOWN; i++)
        middle += values[i] / KNOWN;
    assert_true(fabs(mean[1] - middle) <= 1e-12);
    assert_true(sd[1] > 3 * sd[0]);
    assert_true(search_model_likeness(m, &asked[0], &asked[1]) == 0);
    search_view_close(v);
    search_model_close(m);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_small_space_is_covered_once),
                                       T(test_points_apart_are_covered_once),
                                       T(test_one_point),
                                       T(test_union_with_an_unfit_template_is_covered_once),
                                       T(test_defaults_come_first),
                                       T(test_units_do_not_matter),
                                       T(test_fast_template_wins),
                                       T(test_each_beats_random),
                                       T(test_budget_counts_proposals),
                                       T(test_equal_seeds_propose_equally),
                                       T(test_replayed_log_proposes_the_same),
                                       T(test_what_is_learnt_is_not_proposed),
                                       T(test_what_is_learnt_steers),
                                       T(test_strangers_are_not_heard),
                                       T(test_wide_space),
                                       T(test_wide_and_tied_space),
                                       T(test_auto),
                                       T(test_errors),
                                       T(test_a_view_keeps_up),
                                       T(test_a_template_nobody_tried),
                                       T(test_everything_fails),
                                       T(test_odd_answers_do_no_harm),
                                       T(test_templates_are_all_tried),
                                       T(test_evolve_beats_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
