/* search_climb.c - hill climbing with restarts.
 *
 * A climb begins at a point, visits its neighbours (one parameter at any other value) in random order and moves to the
 * first that is faster; where none is left it ends, and the next begins at a random point. First improvement from many
 * starts is the local search that Johnson, Papadimitriou and Yannakakis ("How easy is local search?", J. Computer and
 * System Sciences 37, 1988) analyse, and that Hoos and Stützle ("Stochastic Local Search", Morgan Kaufmann, 2004,
 * chapter 2) call iterative improvement with restarts. The first starts are what is known already and the templates'
 * defaults.
 *
 * Answers lag: a climb whose neighbours are all proposed, but not all answered, stays open while others begin, so
 * several are under way and the one that stands lowest goes first. Neighbours of a start are proposed before its own
 * answer is there; while nothing has worked most proposals are further starts. A start that fails ends its climb, unless
 * a neighbour on its way already turns out to work. */
#include "search_common.h"

#include <math.h>
#include <stdlib.h>

#define CLIMBS 64 /* under way at once; beyond, points are random and begin nothing */
#define NO_CLIMB (-1)

struct climb {
    int centre, pending; /* it is over, and its place free, when nothing is pending and no move left */
    struct search_moves moves;
};

struct climber {
    struct search_book book; /* of: its climb */
    struct climb climbs[CLIMBS];
    int *moves; /* all climbs' */
    int next_default;
};

static void climb_close(void *state)
{
    struct climber *x = state;
    if (!x) return;
    search_book_free(&x->book);
    free(x->moves);
    free(x);
}

static void *climb_open(struct search *s)
{
    struct climber *x = calloc(1, sizeof *x);
    size_t most = search_moves_most(search_domain(s));
    if (!x) return NULL;
    x->moves = malloc(CLIMBS * most * sizeof *x->moves);
    if (!x->moves) {
        climb_close(x);
        return NULL;
    }
    for (int i = 0; i < CLIMBS; i++)
        x->climbs[i].moves.at = x->moves + (size_t)i * most;
    return x;
}

static void move_to(struct climber *x, struct search *s, struct climb *c, int id)
{
    c->centre = id;
    search_moves_start(s, &x->book.points[id].c, &c->moves);
}

static bool has_moves(const struct climb *c)
{
    return c->moves.next < c->moves.n;
}

/* The climb that stands lowest; starts without an answer come after all others. */
static int lowest(const struct climber *x)
{
    int best = NO_CLIMB;
    for (int i = 0; i < CLIMBS; i++) {
        if (!has_moves(&x->climbs[i])) continue;
        if (best == NO_CLIMB || x->book.points[x->climbs[i].centre].y < x->book.points[x->climbs[best].centre].y)
            best = i;
    }
    return best;
}

static int free_climb(const struct climber *x)
{
    for (int i = 0; i < CLIMBS; i++)
        if (x->climbs[i].pending == 0 && !has_moves(&x->climbs[i])) return i;
    return NO_CLIMB;
}

static bool climb_ask(void *state, struct search *s, struct cand *out)
{
    struct climber *x = state;
    if (search_book_reserve(&x->book) != 0) return false;
    bool start = search_default(s, &x->next_default, out), found = start;
    int i = NO_CLIMB;
    bool blind = x->book.nranking == 0 && search_book_blind(&x->book, search_rng(s)) < 0;
    while (!found && !blind && (i = lowest(x)) != NO_CLIMB) {
        struct climb *c = &x->climbs[i];
        found = search_moves_next(s, &x->book.points[c->centre].c, &c->moves, out);
    }
    if (!found) start = found = search_fresh(s, out);
    if (!found) return false;
    if (start) i = free_climb(x);
    int id = search_book_add(&x->book, search_domain(s), out, INFINITY, i);
    if (i == NO_CLIMB) return true;
    x->climbs[i].pending++;
    if (start) move_to(x, s, &x->climbs[i], id);
    return true;
}

static void climb_tell(void *state, struct search *s, const struct cand *c, bool ok, double us)
{
    struct climber *x = state;
    int id = search_book_tell(&x->book, search_domain(s), c, ok, us), i = id < 0 ? NO_CLIMB : x->book.points[id].of;
    if (id >= 0 && ok && search_asked(s) == 0 && (i = free_climb(x)) != NO_CLIMB) { /* learnt: a climb begins there */
        move_to(x, s, &x->climbs[i], id);
        return;
    }
    if (i == NO_CLIMB) return;
    struct climb *k = &x->climbs[i];
    k->pending--;
    if (id == k->centre) {
        if (!ok) k->moves.n = k->moves.next = 0;
    } else if (ok && x->book.points[id].y < x->book.points[k->centre].y) {
        move_to(x, s, k, id);
    }
}

extern const struct search_strategy search_climb;
const struct search_strategy search_climb = {.name = "climb",
                                             .what = "hill climbing, restarted at random points",
                                             .open = climb_open,
                                             .ask = climb_ask,
                                             .tell = climb_tell,
                                             .close = climb_close};
