/* A recorded space from a stranger, in any of its formats: refused with its path and a reason, or a domain that has exactly the points
 * listed, in order and none twice, on which a strategy can be scored. */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "recording.h"
#include "replay.h"

static void walk(const struct recording *r)
{
    struct domain *d = NULL;
    struct err e = {0};
    struct cand c;
    struct rng rng;
    uint64_t rank = 0, before = 0;
    size_t n = 0;
    bool exact;

    if (recording_domain(&d, r, &e) != 0) {
        FUZZ_REQUIRE(e.code == ERR_INPUT && strstr(e.text, "2^57"));
        return;
    }
    FUZZ_REQUIRE(domain_count(d, &exact) == r->n && exact);
    for (; domain_next(d, &rank, &c); n++, before = rank) {
        FUZZ_REQUIRE(n < r->n && rank > before && memcmp(&c, &r->points[n].at, sizeof c) == 0);
        FUZZ_REQUIRE(domain_valid(d, &c, NULL) && domain_rank(d, &c) == rank - 1);
    }
    FUZZ_REQUIRE(n == r->n);
    rng_init(&rng, n, "fuzz");
    FUZZ_REQUIRE(domain_sample(d, &rng, &c) && domain_valid(d, &c, NULL));
    domain_close(d);
}

static void score(const struct recording *r)
{
    static const char *const strategies[] = {"random", "tabu", "evolve"};
    struct replay_space s;
    struct err e = {0};

    if (replay_open(&s, r, &e) != 0) {
        FUZZ_REQUIRE(e.code == ERR_INPUT && e.text[0]);
        return;
    }
    FUZZ_REQUIRE(s.n >= 2 && s.best_us < s.us[0] && s.budget >= 20);
    for (int i = 0; i < 3; i++) {
        const struct replay_options o = {.strategy = strategies[i], .repeats = 2, .lag = i, .budget = 12, .seed = 1};
        struct replay_score x;
        FUZZ_REQUIRE(replay_score(&x, &s, &o, NULL, &e) == 0);
        FUZZ_REQUIRE(x.p <= 1 + 1e-9 && x.within_5 >= 0 && x.within_5 <= 1);
        for (int t = 0; t < x.budget; t++)
            FUZZ_REQUIRE(x.curve_us[t] >= s.best_us && (t == 0 || x.curve_us[t] <= x.curve_us[t - 1]));
        replay_score_free(&x);
    }
    replay_close(&s);
}

void fuzz_one(const uint8_t *data, size_t n)
{
    const char *path = fuzz_file("recording", data, n);
    struct recording r;
    struct err e = {0};

    if (recording_read(&r, path, &e) != 0) {
        FUZZ_REQUIRE(e.code == ERR_INPUT && strstr(e.text, path));
        return;
    }
    FUZZ_REQUIRE(r.n > 0 && r.ntables > 0);
    for (size_t i = 0; i < r.n; i++)
        FUZZ_REQUIRE(r.points[i].ok ? r.points[i].us > 0 && isfinite(r.points[i].us) : isnan(r.points[i].us));
    walk(&r);
    score(&r);
    recording_free(&r);
}
