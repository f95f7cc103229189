/* search_tabu.c - tabu search.
 *
 * From the current point to its best admissible neighbour (one parameter at any other value), although that may be
 * slower: so a local optimum is left. What keeps it from coming straight back is a memory of attributes: the value that
 * a move took a parameter away from is tabu for some moves to come (Glover, "Tabu search, part I", ORSA J. on Computing
 * 1, 1989, and "part II", 2, 1990, for tenures that vary). Aspiration: a point faster than all so far is moved to at
 * once, whatever is tabu. As measuring is dear, not all neighbours are tried (a candidate list): the move is made as soon
 * as one is faster than the current point, or when a SHARE of them is known. Neighbours that were measured long ago
 * count as known.
 *
 * After STALE moves without a new lowest time, or when nothing is admissible, the search goes on at a random point, for
 * another part of the space and another template. It begins at the best of the templates' defaults.
 *
 * Answers lag: further neighbours of the current point are proposed; when all are, neighbours of the best of them.
 * While nothing has worked most proposals are random. A failure is never moved to. */
#include "search_common.h"

#include <math.h>
#include <stdlib.h>

#define SHARE 3 /* one in so many neighbours */
#define LEAST 4
#define STALE 6
#define FREE_MOVES 8 /* over known points within one proposal */
#define NONE (-1)

struct tabu {
    struct search_book book;
    int current, best; /* points, or NONE */
    double low;        /* lowest since the search went on elsewhere */
    int stale;
    struct search_moves moves; /* of the current point */
    int *until;                /* [template][values of all parameters]: move at which the value is free again */
    size_t most;               /* of a template's values */
    int made;                  /* moves */
    int next_default;
};

struct sight { /* of the current point's neighbours */
    int known, pending;
    int best; /* of the admissible ones, or NONE */
};

static void tabu_close(void *state)
{
    struct tabu *x = state;
    if (!x) return;
    search_book_free(&x->book);
    free(x->moves.at);
    free(x->until);
    free(x);
}

static void *tabu_open(struct search *s)
{
    const struct domain *d = search_domain(s);
    struct tabu *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->current = x->best = NONE;
    x->most = search_moves_most(d);
    x->moves.at = malloc(x->most * sizeof *x->moves.at);
    x->until = calloc((size_t)domain_templates(d) * x->most + 1, sizeof *x->until);
    if (x->moves.at && x->until) return x;
    tabu_close(x);
    return NULL;
}

static int *until(const struct tabu *x, const struct domain *d, int tmpl, int param, int value)
{
    size_t at = (size_t)tmpl * x->most + (size_t)value;
    for (int i = 0; i < param; i++)
        at += (size_t)domain_nvalues(d, tmpl, i);
    return &x->until[at];
}

static void stand_at(struct tabu *x, struct search *s, int id)
{
    x->current = id;
    search_moves_start(s, &x->book.points[id].c, &x->moves);
}

/* Moves to a neighbour and makes tabu what it leaves. */
static void move_to(struct tabu *x, struct search *s, int id)
{
    const struct domain *d = search_domain(s);
    const struct cand *a = &x->book.points[x->current].c, *b = &x->book.points[id].c;
    int n = search_params(d, a->tmpl);
    for (int i = 0; i < n; i++)
        if (a->at[i] != b->at[i])
            *until(x, d, a->tmpl, i, a->at[i]) = x->made + 2 + (int)rng_below(search_rng(s), (uint64_t)n / 2 + 1);
    x->made++;
    x->stale++;
    if (x->book.points[id].y < x->low) {
        x->low = x->book.points[id].y;
        x->stale = 0;
    }
    stand_at(x, s, id);
}

static struct sight look(const struct tabu *x, const struct domain *d)
{
    struct sight z = {.best = NONE};
    const struct search_point *at = &x->book.points[x->current];
    for (int i = 0; i < x->moves.n; i++) {
        struct cand c;
        search_moves_apply(&x->moves, i, &at->c, &c);
        int id = search_book_find(&x->book, d, &c), move = x->moves.at[i];
        if (id < 0) continue;
        const struct search_point *p = &x->book.points[id];
        z.pending += p->answer == SEARCH_PENDING;
        z.known += p->answer != SEARCH_PENDING;
        if (p->answer != SEARCH_WORKED || *until(x, d, c.tmpl, move >> 16, move & 0xffff) > x->made) continue;
        if (z.best == NONE || p->y < x->book.points[z.best].y) z.best = id;
    }
    return z;
}

/* A neighbour of `near`, or a point not far from it. */
static bool ask_near(const struct tabu *x, struct search *s, int near, struct cand *out)
{
    struct cand want = x->book.points[near].c;
    search_step(search_domain(s), &want, search_rng(s));
    return search_reach(s, &x->book.points[near].c, &want, out);
}

/* Goes on at a random point: what is proposed is where it stands, before the answer is there. */
static bool ask_elsewhere(struct tabu *x, struct search *s, struct cand *out)
{
    if (!search_fresh(s, out)) return false;
    x->current = NONE;
    x->low = INFINITY;
    x->stale = 0;
    return true;
}

static bool ask_blind(const struct tabu *x, struct search *s, struct cand *out)
{
    int near = search_book_blind(&x->book, search_rng(s));
    return near < 0 ? search_fresh(s, out) : ask_near(x, s, near, out);
}

static bool ask_neighbour(struct tabu *x, struct search *s, struct cand *out)
{
    const struct domain *d = search_domain(s);
    int wanted = x->moves.n / SHARE > LEAST ? x->moves.n / SHARE : LEAST;
    struct sight z = {.best = NONE};
    for (int i = 0; i < FREE_MOVES; i++) {
        if (x->book.points[x->current].answer == SEARCH_FAILED) return ask_elsewhere(x, s, out);
        z = look(x, d);
        bool faster = z.best != NONE && x->book.points[z.best].y < x->book.points[x->current].y;
        if (!faster && z.known < wanted && search_moves_next(s, &x->book.points[x->current].c, &x->moves, out))
            return true;
        if (!faster && z.known < wanted && z.pending > 0) break;
        if (!faster && (z.best == NONE || x->stale >= STALE)) return ask_elsewhere(x, s, out);
        move_to(x, s, z.best);
    }
    return ask_near(x, s, z.best == NONE ? x->current : z.best, out);
}

static bool tabu_ask(void *state, struct search *s, struct cand *out)
{
    struct tabu *x = state;
    bool found;
    if (search_book_reserve(&x->book) != 0) return false;
    if (x->book.nranking > 0 && x->best != x->book.ranking[0]) { /* aspiration */
        x->best = x->book.ranking[0];
        x->low = x->book.points[x->best].y;
        x->stale = 0;
        stand_at(x, s, x->best);
    }
    int before = x->current;
    found = search_default(s, &x->next_default, out);
    if (!found) found = x->current == NONE ? ask_blind(x, s, out) : ask_neighbour(x, s, out);
    if (!found) return false;
    int id = search_book_add(&x->book, search_domain(s), out, INFINITY, 0);
    if (before != NONE && x->current == NONE) stand_at(x, s, id);
    return true;
}

static void tabu_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    struct tabu *x = state;
    search_book_tell(&x->book, search_domain(s), c, ok, us);
}

extern const struct search_strategy search_tabu;
const struct search_strategy search_tabu = {.name = "tabu",
                                            .what = "tabu search: the best admissible neighbour, although slower",
                                            .open = tabu_open,
                                            .ask = tabu_ask,
                                            .tell = tabu_tell,
                                            .close = tabu_close};
