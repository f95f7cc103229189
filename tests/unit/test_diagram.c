/* The diagram of what constraints leave: against every point evaluated by itself, over random constraints; counts of products of 10^9 against
 * arithmetic; draws against the uniform distribution; and what happens where a diagram ends early. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <gsl/gsl_cdf.h>

#include "cand.h"
#include "search.h"

#define SPACES 300
#define LEAST_P 1e-6 /* of a test that the seed decides once and for all */

static const struct target cl = {
    .driver = "fake", .language = "opencl", .smem_block_bytes = 32768, .threads_block = 1024};

struct fixture {
    struct space s;
    struct domain *d;
    char text[2048];
};

static struct domain *domain_of(const struct fixture *f)
{
    static const char *const dirs[] = {"tests/data/templates"};
    struct domain *d;
    struct err e = {0};
    if (domain_open(&d, &f->s, dirs, 1, &cl, &e) != 0) fail_msg("%s\n%s", e.text, f->text);
    return d;
}

static void open_(struct fixture *f, const char *rest)
{
    struct err e = {0};
    *f = (struct fixture){0};
    snprintf(f->text, sizeof f->text, "name: t\nproblem: {batch: 2, heads: 8, seq_q: 512, head_dim: 64}\n%s", rest);
    if (space_parse(&f->s, f->text, strlen(f->text), "t.yaml", &e) != 0) fail_msg("%s\n%s", e.text, f->text);
    f->d = domain_of(f);
}

static void close_(struct fixture *f)
{
    domain_close(f->d);
    space_free(&f->s);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_rank(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* How well do these counts fit `expected` each? */
static void fits(const int *seen, size_t n, double expected, const char *what)
{
    double chi = 0, p;
    for (size_t i = 0; i < n; i++)
        chi += (seen[i] - expected) * (seen[i] - expected) / expected;
    p = gsl_cdf_chisq_Q(chi, (double)n - 1);
    print_message("%s: %zu cells of %.0f, chi-square %.1f, p = %.3g\n", what, n, expected, chi, p);
    assert_true(p > LEAST_P);
}

/* ---- against every point ---- */

/* A constraint over the names of `wide`, now and then one that some points cannot evaluate. */
static void random_rule(struct rng *r, char *out, size_t size)
{
    static const char *const compare[] = {"<=", ">=", "~=", "=="};
    const int a = (int)rng_below(r, 7), b = (int)rng_below(r, 7), k = (int)rng_below(r, 9);
    switch (rng_below(r, 7)) {
    case 0:
        snprintf(out, size, "P%d + P%d %s %d", a, b, compare[rng_below(r, 4)], k + 2);
        break;
    case 1:
        snprintf(out, size, "P%d ~= P%d or P%d <= %d", a, b, (a + 1) % 7, k);
        break;
    case 2:
        snprintf(out, size, "LOW %% %d ~= %d", k + 2, k / 2);
        break;
    case 3:
        snprintf(out, size, "P%d // (P%d - 2) < 3", a, b);
        break;
    case 4:
        snprintf(out, size, "LOW + P%d <= HIGH + %d", a, 2 * k);
        break;
    case 5:
        snprintf(out, size, "HIGH * P%d %% %d == 0", a, k % 3 + 1);
        break;
    default:
        snprintf(out, size, "P%d * P%d * P%d <= %d", a, b, (b + 2) % 7, 20 + 4 * k);
        break;
    }
}

static void random_space(struct rng *r, struct fixture *f)
{
    struct buf text = {0};
    char rule[128];
    buf_puts(&text, rng_below(r, 4) ? "templates: [wide]\n" : "templates: [tile_cl, wide]\n");
    buf_puts(&text,
             "params: {P0: [1, 2, 3], P1: [2, 4, 8], P2: [1, 5], P3: [1, 2, 3], P4: [3, 6], P5: [1, 2, 7], P6: [8]}\n");
    for (int i = 0, n = (int)rng_below(r, 5); i < n; i++) {
        random_rule(r, rule, sizeof rule);
        buf_printf(&text, "%s  - %s\n", i ? "" : "constraints:\n", rule);
    }
    open_(f, buf_text(&text));
    buf_free(&text);
}

/* `fresh` never counts, so that it evaluates each point by itself. */
static uint64_t compare_all(struct fixture *f)
{
    struct domain *fresh = domain_of(f);
    const struct domain_exclusion *x;
    uint64_t total = 0, excluded = 0, valid = 0, count, rank = 0;
    struct cand c, next;
    bool exact;
    int n;

    for (int i = 0; i < domain_templates(f->d); i++)
        total += domain_product(f->d, i);
    count = domain_count(f->d, &exact);
    assert_true(exact && domain_listable(f->d));
    assert_true(count == 0 || domain_acceptance(f->d) == 1);
    for (uint64_t r = 0; r < total; r++) {
        struct err why[2] = {{0}};
        bool is;
        domain_from_rank(fresh, r, &c);
        is = domain_valid(fresh, &c, &why[0]);
        if (domain_valid(f->d, &c, NULL) != is || domain_valid(f->d, &c, &why[1]) != is ||
            strcmp(why[0].text, why[1].text) != 0)
            fail_msg("rank %" PRIu64 ": %s / %s\n%s", r, why[0].text, why[1].text, f->text);
        if (!is) continue;
        valid++;
        assert_true(domain_next(f->d, &rank, &next));
        assert_true(cand_equal(f->d, &c, &next));
        assert_int_equal(rank, r + 1);
    }
    assert_false(domain_next(f->d, &rank, &next));
    assert_int_equal(count, valid);
    count = 0;
    for (int i = 0; i < domain_templates(f->d); i++)
        count += domain_count_of(f->d, i);
    assert_int_equal(count, valid);
    n = domain_exclusions(f->d, &x);
    for (int i = 0; i < n; i++)
        excluded += x[i].points;
    assert_int_equal(excluded, total - valid);
    domain_close(fresh);
    return valid;
}

static void test_random_spaces(void **state)
{
    struct rng r;
    uint64_t valid = 0;
    int empty = 0;
    (void)state;
    rng_init(&r, 1, "test diagram");
    for (int i = 0; i < SPACES; i++) {
        struct fixture f;
        uint64_t n;
        random_space(&r, &f);
        n = compare_all(&f);
        empty += n == 0;
        valid += n;
        close_(&f);
    }
    print_message("%d spaces, %" PRIu64 " valid points, %d without\n", SPACES, valid, empty);
    assert_true(empty > 0 && empty < SPACES / 2);
}

/* ---- large products ---- */

/* Points of [1, 8]^10 with this sum, and how many of them have two neighbours at the end that are equal. */
static uint64_t with_sum(int sum, bool last_equal)
{
    uint64_t ways[2][81] = {{1}};
    int at = 0;
    for (int i = 0; i < (last_equal ? 8 : 10); i++, at = !at) {
        memset(ways[!at], 0, sizeof ways[0]);
        for (int s = 0; s <= 72; s++)
            for (int v = 1; v <= 8; v++)
                ways[!at][s + v] += ways[at][s];
    }
    if (!last_equal) return ways[at][sum];
    uint64_t n = 0;
    for (int v = 1; v <= 8; v++)
        if (sum >= 2 * v) n += ways[at][sum - 2 * v];
    return n;
}

static void counted(const char *constraints, uint64_t expected)
{
    struct fixture f;
    char text[256];
    uint64_t n;
    bool exact;
    double from = seconds();
    snprintf(text, sizeof text, "templates: [chain]\nconstraints: [%s]\n", constraints);
    open_(&f, text);
    n = domain_count(f.d, &exact);
    print_message("%-28s %12" PRIu64 " of 2^30 points, %.3f s\n", constraints, n, seconds() - from);
    assert_true(exact);
    assert_int_equal(n, expected);
    close_(&f);
}

static void test_large_counts(void **state)
{
    (void)state;
    counted("P0 > 0", 1u << 30);
    counted("P0 > 8", 0);
    counted("S9 == 10", 1);
    counted("S9 == 45", with_sum(45, false));
    counted("S9 == 30, P8 ~= P9", with_sum(30, false) - with_sum(30, true));
    counted("S9 == 14", 715);                                        /* C(13, 4) */
    counted("P0 == P1, P2 == P3, P4 == P5, P6 + P7 == 9", 1u << 18); /* groups: 8 each, 8 of P8, 8 of P9 */
}

/* Every one of the few valid points of 2^30 as often as another. */
static void test_sparse_uniform(void **state)
{
    enum { POINTS = 715, EACH = 200 };
    static uint64_t ranks[POINTS];
    static int seen[POINTS];
    struct fixture f;
    struct cand c;
    struct rng r;
    uint64_t rank = 0;
    int n = 0;
    double from;
    (void)state;
    open_(&f, "templates: [chain]\nconstraints: [S9 == 14]\n");
    while (domain_next(f.d, &rank, &c)) {
        int64_t sum = 0;
        for (int k = 0; k < 10; k++)
            sum += domain_value(f.d, 0, k, c.at[k]);
        assert_int_equal(sum, 14);
        assert_true(n < POINTS);
        ranks[n++] = rank - 1;
    }
    assert_int_equal(n, POINTS);
    rng_init(&r, 1, "test sparse");
    from = seconds();
    for (int i = 0; i < POINTS * EACH; i++) {
        size_t low = 0, high = POINTS - 1;
        assert_true(domain_sample(f.d, &r, &c));
        rank = domain_rank(f.d, &c);
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (ranks[middle] < rank)
                low = middle + 1;
            else
                high = middle;
        }
        assert_int_equal(ranks[low], rank);
        seen[low]++;
    }
    print_message("%.2f us a draw\n", (seconds() - from) / (POINTS * EACH) * 1e6);
    fits(seen, POINTS, EACH, "715 points of 2^30");
    close_(&f);
}

/* A search with budget for all of them visits all of them, once. */
static void test_sparse_search(void **state)
{
    struct fixture f;
    struct search *s;
    struct cand c;
    struct err e = {0};
    uint64_t ranks[715], rank = 0;
    size_t n = 0;
    (void)state;
    open_(&f, "templates: [chain]\nconstraints: [S9 == 14]\n");
    assert_int_equal(search_open(&s, "auto", f.d, 1, 800, &e), 0);
    assert_string_equal(search_strategy_name(s), "exhaustive");
    for (; search_ask(s, &c); search_tell(s, &c, true, 1)) {
        assert_true(n < 715);
        ranks[n++] = domain_rank(f.d, &c);
    }
    assert_int_equal(n, 715);
    qsort(ranks, n, sizeof *ranks, by_rank);
    for (size_t i = 0; i < n; i++) {
        assert_true(domain_next(f.d, &rank, &c));
        assert_int_equal(ranks[i], domain_rank(f.d, &c));
    }
    search_close(s);
    close_(&f);
}

/* A dense large space: first and last parameter, and the sum, against their exact distributions. */
static void test_dense_uniform(void **state)
{
    enum { DRAWS = 200000 };
    struct fixture f;
    struct rng r;
    int seen[64] = {0};
    (void)state;
    open_(&f,
          "templates: [chain]\nconstraints: [P0 + P5 ~= 9, P4 // (P5 - 1) >= 0]\n"); /* P5 == 1 cannot be evaluated */
    rng_init(&r, 2, "test dense");
    assert_int_equal(domain_count(f.d, NULL), 49ull << 24); /* 7 values of P5, 7 of P0 each */
    for (int i = 0; i < DRAWS; i++) {
        struct cand c;
        assert_true(domain_sample(f.d, &r, &c));
        assert_true(c.at[5] > 0 && c.at[0] + c.at[5] != 7);
        seen[c.at[9] * 8 + c.at[4]]++;
    }
    fits(seen, 64, DRAWS / 64.0, "P9 x P4");
    close_(&f);
}

/* Templates are drawn by their share of valid points. */
static void test_several(void **state)
{
    enum { DRAWS = 20000 };
    struct fixture f;
    struct rng r;
    struct cand c;
    int seen[2] = {0};
    (void)state;
    open_(&f, "templates: [tile_cl, chain]\nconstraints: [S9 == 12]\n"); /* 15 and 55 */
    assert_int_equal(domain_count(f.d, NULL), 70);
    assert_int_equal(domain_count_of(f.d, 0), 15);
    assert_int_equal(domain_count_of(f.d, 1), 55);
    rng_init(&r, 3, "test several");
    for (int i = 0; i < DRAWS; i++) {
        assert_true(domain_sample(f.d, &r, &c));
        seen[c.tmpl]++;
        assert_true(domain_sample_of(f.d, 1, &r, &c));
        assert_int_equal(c.tmpl, 1);
    }
    assert_true(abs(seen[0] - DRAWS * 15 / 70) < 300); /* 5 sigma */
    close_(&f);
}

/* One rule over all parameters: nothing merges, the diagram ends early, the rest is drawn. */
static void test_knot(void **state)
{
    enum { DRAWS = 14000 };
    struct fixture f;
    struct rng r;
    struct cand c;
    const struct domain_exclusion *x;
    int seen[14] = {0};
    uint64_t n, rank = 0;
    bool exact;
    double from = seconds(), product = 1475789056;
    (void)state;
    open_(&f, "templates: [knot]\n");
    n = domain_count(f.d, &exact);
    print_message("about %" PRIu64 " of %.0f points, %.2f s\n", n, product, seconds() - from);
    assert_false(exact);
    assert_false(domain_listable(f.d));
    assert_true((double)n > product / 29 * 0.9 && (double)n < product / 29 * 1.1); /* +- 5.7 sigma */
    assert_true(domain_acceptance(f.d) > 0.9 / 29 && domain_acceptance(f.d) < 1.1 / 29);
    assert_int_equal(domain_exclusions(f.d, &x), 1);
    assert_true((double)x[0].points + (double)n > product * 0.999999 &&
                (double)x[0].points + (double)n < product * 1.000001);
    rng_init(&r, 4, "test knot");
    for (int i = 0; i < DRAWS; i++) {
        assert_true(domain_sample(f.d, &r, &c));
        assert_true(domain_valid(f.d, &c, NULL));
        seen[c.at[0]]++;
    }
    fits(seen, 14, DRAWS / 14.0, "P0");
    /* Walked in order all the same: what is left out between two of them is not valid. */
    for (int i = 0; i < 50; i++) {
        uint64_t before = rank;
        assert_true(domain_next(f.d, &rank, &c));
        for (; before < rank - 1; before++) {
            struct cand between;
            domain_from_rank(f.d, before, &between);
            assert_false(domain_valid(f.d, &between, NULL));
        }
    }
    close_(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_spaces),
                                       cmocka_unit_test(test_large_counts),
                                       cmocka_unit_test(test_sparse_uniform),
                                       cmocka_unit_test(test_sparse_search),
                                       cmocka_unit_test(test_dense_uniform),
                                       cmocka_unit_test(test_several),
                                       cmocka_unit_test(test_knot)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
