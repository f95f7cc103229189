/* search_common.h - what several strategies are made of: a book of proposals with their answers, the defaults of the
 * templates, neighbours of a point, the way from a valid point towards one that is wished for.
 *
 * All chance is the search's own stream. Nothing here looks at more points of the domain than one point has
 * neighbours. */
#ifndef SEARCH_COMMON_H
#define SEARCH_COMMON_H

#include "search.h"

/* ---- the book ---- */

#define SEARCH_LEARNT (-1)

enum search_answer { SEARCH_PENDING, SEARCH_WORKED, SEARCH_FAILED };

struct search_point {
    struct cand c;
    uint64_t rank;
    enum search_answer answer;
    double y; /* ln us once it worked; until then what the strategy gave */
    int of;   /* the strategy's own: what the point was asked for; SEARCH_LEARNT: nobody asked */
};

struct search_book {             /* {0} is an empty one */
    struct search_point *points; /* in the order asked */
    int n, cap;
    int worked, failed;
    int *ranking, nranking; /* points that worked, best first */
    int *slots;             /* hash of ranks: point + 1, 0 is free */
    size_t nslots;
};

void search_book_free(struct search_book *b);
int search_book_reserve(struct search_book *b); /* room for one more point; -1: out of memory */
/* After a reserve that succeeded. c was not proposed yet and is what ask will return. Returns its number. */
int search_book_add(struct search_book *b, const struct domain *d, const struct cand *c, double y, int of);
/* Number of the point that was answered. One that is not in the book was learnt (search_learn) and enters it here, with its answer; -1: told twice, or out
 * of memory. */
int search_book_tell(struct search_book *b, const struct domain *d, const struct cand *c, bool ok, double us);
/* The number of a point in the book, or -1. */
int search_book_find(const struct search_book *b, const struct domain *d, const struct cand *c);
/* Where to look while nothing has worked: mostly at random (-1), else around the point that is in flight for longest,
 * which is a template's default as long as one is. */
int search_book_blind(const struct search_book *b, struct rng *r);

/* ---- points ---- */

int search_params(const struct domain *d, int tmpl); /* 0 of a template that is unfit */
/* The next usable template's default that was not proposed yet; *next counts templates from 0. */
bool search_default(struct search *s, int *next, struct cand *out);
/* Moves parameter i: mostly to an adjacent value. Validity is the caller's matter, here and in search_step. */
void search_move(const struct domain *d, struct cand *c, int i, struct rng *r);
/* The same for any parameter that has a choice; false when none has. */
bool search_step(const struct domain *d, struct cand *c, struct rng *r);
/* From a valid point towards want of the same template, as far as leads over valid points: one parameter at a time, in
 * random order. */
void search_repair(struct search *s, const struct cand *from, const struct cand *want, struct cand *out);
/* A point not proposed yet at or near what search_repair gives; a fresh one when a short walk from there finds none.
 * false: nothing is left. */
bool search_reach(struct search *s, const struct cand *from, const struct cand *want, struct cand *out);

/* ---- the neighbourhood of a point, in random order ---- */

struct search_moves {
    int *at; /* parameter << 16 | value */
    int n, next;
};

size_t search_moves_most(const struct domain *d); /* room that `at` needs, for any point */
void search_moves_start(struct search *s, const struct cand *c, struct search_moves *m);
void search_moves_apply(const struct search_moves *m, int i, const struct cand *c, struct cand *out);
/* The next neighbour that is valid and was not proposed yet; false at the end. */
bool search_moves_next(struct search *s, const struct cand *c, struct search_moves *m, struct cand *out);

#endif
