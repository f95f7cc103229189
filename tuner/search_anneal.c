/* search_anneal.c - simulated annealing over valid neighbours.
 *
 * A chain of points: a neighbour of the current one (one parameter moved, mostly to an adjacent value) becomes the
 * current one when it is faster, and with probability exp(-(ln us of it - ln us of the current) / temperature) when it is
 * slower (Metropolis et al., J. Chemical Physics 21, 1953; Kirkpatrick, Gelatt and Vecchi, "Optimization by simulated
 * annealing", Science 220, 1983). Differences of logarithms are relative: no setting depends on how long a kernel runs.
 * The temperature falls geometrically from HOT to COLD with the share of the budget that is answered. The chain begins
 * at the best of what is known already and the templates' defaults.
 *
 * A neighbour that was answered before costs nothing: the chain may pass through it without a proposal. Where STEPS
 * draws meet none that is new, a point a few moves away is proposed. With several templates one proposal in ELSEWHERE is
 * random: no neighbour has another template.
 *
 * Answers lag: while some are missing the current point's neighbours go on being proposed, and each answer is judged
 * against what is current when it comes. While nothing has worked most proposals are random. A failure is never
 * accepted. */
#include "search_common.h"

#include <math.h>
#include <stdlib.h>

#define HOT 0.2 /* this much slower, relatively, is accepted once in e times */
#define COLD 0.004
#define STEPS 48
#define ELSEWHERE 16
#define NONE (-1)

struct anneal {
    struct search_book book;
    int current; /* NONE until something worked */
    int next_default;
    int starts;    /* points, the first ones: learnt, or defaults */
    bool several;  /* templates */
    double length; /* answers until it is cold */
};

static void anneal_close(void *state)
{
    struct anneal *x = state;
    if (!x) return;
    search_book_free(&x->book);
    free(x);
}

static void *anneal_open(struct search *s)
{
    struct domain *d = search_domain(s);
    struct anneal *x = calloc(1, sizeof *x);
    int usable = 0;
    bool exact;
    if (!x) return NULL;
    x->current = NONE;
    for (int t = 0; t < domain_templates(d); t++)
        usable += !domain_unfit(d, t);
    x->several = usable > 1;
    x->length = (double)search_budget(s);
    double points = (double)domain_count(d, &exact);
    if (exact && points < x->length) x->length = points;
    return x;
}

static void judge(struct anneal *x, struct search *s, int id)
{
    double rise = x->current == NONE ? 0 : x->book.points[id].y - x->book.points[x->current].y;
    double share = (x->book.worked + x->book.failed) / x->length;
    double temperature = HOT * pow(COLD / HOT, share < 1 ? share : 1);
    if (id < x->starts) temperature = COLD; /* of the starts the best */
    if (rise <= 0 || rng_uniform(search_rng(s)) < exp(-rise / temperature)) x->current = id;
}

static bool neighbour(struct anneal *x, struct search *s, struct cand *out)
{
    struct domain *d = search_domain(s);
    int at = x->current != NONE ? x->current : search_book_blind(&x->book, search_rng(s));
    for (int i = 0; i < STEPS && at != NONE; i++) {
        struct cand c = x->book.points[at].c;
        if (!search_step(d, &c, search_rng(s))) return false;
        int id = search_book_find(&x->book, d, &c);
        if (id < 0) {
            if (!domain_valid(d, &c, NULL)) continue;
            *out = c;
            return true;
        }
        if (x->book.points[id].answer != SEARCH_WORKED) continue;
        judge(x, s, id);
        at = x->current;
    }
    return at != NONE && search_reach(s, &x->book.points[at].c, &x->book.points[at].c, out);
}

static bool anneal_ask(void *state, struct search *s, struct cand *out)
{
    struct anneal *x = state;
    if (search_book_reserve(&x->book) != 0) return false;
    bool found = search_default(s, &x->next_default, out);
    if (found)
        x->starts = x->book.n + 1;
    else if (!x->several || rng_below(search_rng(s), ELSEWHERE) > 0)
        found = neighbour(x, s, out);
    if (!found && !search_fresh(s, out)) return false;
    search_book_add(&x->book, search_domain(s), out, INFINITY, 0);
    return true;
}

static void anneal_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    struct anneal *x = state;
    int id = search_book_tell(&x->book, search_domain(s), c, ok, us);
    if (search_asked(s) == 0) x->starts = x->book.n; /* learnt */
    if (id >= 0 && ok) judge(x, s, id);
}

extern const struct search_strategy search_anneal;
const struct search_strategy search_anneal = {.name = "anneal",
                                              .what = "simulated annealing on relative times",
                                              .open = anneal_open,
                                              .ask = anneal_ask,
                                              .tell = anneal_tell,
                                              .close = anneal_close};
