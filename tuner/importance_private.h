/* importance_private.h - between importance.c (how surely, and what follows), importance_points.c (what is known of which points),
 * importance_forest.c (the model) and importance_shares.c (the decomposition of a table of values). */
#ifndef IMPORTANCE_PRIVATE_H
#define IMPORTANCE_PRIVATE_H

#include "importance.h"
#include "rng.h"

#define IMPORTANCE_BAGS 16
#define IMPORTANCE_TREES 8 /* of a bag */

/* ---- importance_points.c ---- */

/* Points as rows of indices, of the parameters that vary. */
struct importance_rows {
    int nparams;
    int nvalues[CAND_MAX_PARAMS];
    size_t n;
    uint16_t *at; /* n x nparams */
};

/* A point that was tried. */
struct importance_tried {
    uint64_t rank;
    size_t order;  /* in which it came */
    double y;      /* ln us; NAN: it failed */
    size_t fitted; /* its row there; SIZE_MAX: it is in none */
};

struct importance_work {
    struct importance *out;
    struct domain *d;
    struct rng rng;
    uint64_t start;                   /* the template's first rank */
    int nlive, live[CAND_MAX_PARAMS]; /* parameters that vary */
    struct importance_tried *tried;   /* by rank, each once */
    size_t ntried;
    uint64_t *valid; /* ranks that stand for all valid points but those that failed */
    size_t nvalid;
    double sampled;                /* part of the valid points that is not among them */
    struct importance_rows rows;   /* of valid */
    double *y;                     /* of rows: ln us; NAN: it was not measured */
    size_t *fitted_as;             /* of rows: the row of fitted; SIZE_MAX: none */
    struct importance_rows fitted; /* what a forest may see */
    double *fitted_y;
};
/* w has out (with its template), d and rng. Fills out's tried, failed, valid, counted and exact. Owns what it filled even when it fails. */
int importance_work_open(struct importance_work *w, const struct importance_point *points, size_t n, struct err *e);
void importance_work_close(struct importance_work *w);

/* ---- importance_forest.c ---- */

/* What a forest that was grown on some rows says of itself and of others. */
struct importance_forest {
    size_t in_bag;  /* rows that a bag sees */
    double *expect; /* IMPORTANCE_BAGS x others: what each bag expects */
    bool *seen;     /* IMPORTANCE_BAGS x rows: the bag sees the row */
    double *oob;    /* of each row: what the bags that do not see it expect; NAN: all see it */
    double *
        weight; /* of each row: how many of the others share its leaves, each leaf's divided among its rows; sums up to others->n */
};
int importance_forest(struct importance_forest *out, const struct importance_rows *rows, const double *y,
                      const struct importance_rows *others, struct rng *r, struct err *e);
void importance_forest_free(struct importance_forest *f);

/* ---- importance_shares.c ---- */

/* Sums of squares of f over the rows, without the constant. */
struct importance_squares {
    double total, additive;
    double of[CAND_MAX_PARAMS];
    double *pairs; /* (0, 1), (0, 2) ... (1, 2) ...; owned */
    size_t npairs;
};
/* sampled: part of the population that the rows leave out, 0 where they are all of it; what as many levels without any
 * effect would explain by chance in a sample is taken off in that part. effects: NULL, or nparams arrays that get the additive model's
 * effect of each value, NAN where no row has it; additive is found with them alone, else NAN. */
int importance_squares(struct importance_squares *out, const struct importance_rows *rows, const double *f,
                       double sampled, double *const *effects, struct err *e);
void importance_squares_free(struct importance_squares *s);

#endif
