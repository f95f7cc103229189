/* A space from a stranger: refused with a position, or its points can be counted, walked, drawn and named over the shipped templates. */
#include <string.h>

#include "cand.h"
#include "fuzz.h"

static const char *const folders[] = {FUZZ_SOURCE "/kernel_templates", FUZZ_SOURCE "/tests/data/templates"};

/* What names a point, gives it back. */
static void round_trips(struct domain *d, const struct cand *c)
{
    json_t *j = cand_to_json(d, c);
    struct cand back;
    struct err e = {0};

    FUZZ_REQUIRE(j && cand_from_json(d, j, &back, &e) == 0 && cand_equal(d, c, &back));
    FUZZ_REQUIRE(domain_from_rank(d, domain_rank(d, c), &back) && cand_equal(d, c, &back));
    json_decref(j);
}

static void render(struct domain *d, const struct cand *c)
{
    struct rendered r = {0};
    struct err e = {0};

    if (cand_render(d, c, &r, &e) == 0)
        FUZZ_REQUIRE(r.source.n > 0 && r.launch.grid[0] > 0 && r.launch.block[0] > 0);
    else
        FUZZ_REQUIRE(e.code == ERR_INPUT && e.text[0]);
    rendered_free(&r);
}

/* `fresh` was not counted: it evaluates each point by itself. */
static void walk(struct domain *d, struct domain *fresh)
{
    const struct domain_exclusion *x;
    struct cand c, near[64];
    struct rng rng;
    uint64_t rank = 0, product = 0, count;
    bool exact, any;

    count = domain_count(d, &exact);
    for (int i = 0; i < domain_templates(d); i++)
        product += domain_product(d, i);
    FUZZ_REQUIRE(count <= product);
    (void)domain_exclusions(d, &x);
    rng_init(&rng, 1, "fuzz");
    for (int i = 0; i < 200 && product > 0; i++) {
        domain_from_rank(d, rng_below(&rng, product), &c);
        FUZZ_REQUIRE(domain_valid(d, &c, NULL) == domain_valid(fresh, &c, NULL));
    }
    any = exact && domain_next(d, &rank, &c);
    FUZZ_REQUIRE(!exact || any == (count > 0));
    FUZZ_REQUIRE(!any || domain_valid(fresh, &c, NULL));
    any = domain_sample(d, &rng, &c);
    FUZZ_REQUIRE(!exact || any == (count > 0));
    if (!any) return;
    FUZZ_REQUIRE(domain_valid(fresh, &c, NULL));
    FUZZ_REQUIRE(domain_valid(d, &c, NULL));
    round_trips(d, &c);
    render(d, &c);
    for (int n = domain_neighbours(d, &c, true, near, 64); n > 0; n--)
        FUZZ_REQUIRE(domain_valid(d, &near[n - 1], NULL));
}

void fuzz_one(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    struct space s = {0};
    struct err e = {0};

    if (!text) abort();
    memcpy(text, data, n);
    text[n] = '\0';
    if (space_parse(&s, text, n, "fuzz.yaml", &e) != 0) {
        FUZZ_REQUIRE(e.code == ERR_INPUT && strncmp(e.text, "fuzz.yaml:", 10) == 0);
        free(text);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct domain *d = NULL, *fresh = NULL;
        e = (struct err){0};
        if (domain_open(&d, &s, folders, 2, &fuzz_targets[i], &e) == 0 &&
            domain_open(&fresh, &s, folders, 2, &fuzz_targets[i], &e) == 0)
            walk(d, fresh);
        else
            FUZZ_REQUIRE(e.code == ERR_INPUT && e.text[0]);
        domain_close(d);
        domain_close(fresh);
    }
    space_free(&s);
    free(text);
}
