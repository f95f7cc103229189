/* check_tile.h - private to check*.c and tests: a tile of S, P and O that a debug build has shown, stage by stage against f64.
 *
 * A tile is some query rows of one head. Of each row and key the kernel has shown s (the scaled score, -inf where masked), p (the weight that
 * went into the second product) and m (the reference it was taken against, in units of s). A stage is judged by what the kernel itself
 * gave to it, so that the first one that departs is the one to blame. With u the dtype's unit roundoff:
 *   S   scale q.k of the inputs:                          |s - S| <= 2^-16 |scale| |q| |k| + 1e-6; masked: -inf, or never shown
 *   M   the s of some key of the row, to 2^-19 (1 + |m|): a maximum, maybe of some keys alone or an older one, but no invention
 *   P   exp(s - m):                                       |p - P| <= P (u + 2^-20 + 2^-21 (|s| + |m|)) + 2^-24
 *   O   sum p e^(m - r) v / sum p e^(m - r), r = max m:   |o - O| <= u |O| + 2 u A + n 2^-25 max |v|
 * where A is O with |v| in place of v, and n the number of keys: weights below 2^-25 vanish in f16. What was never shown is a NaN of
 * CHECK_UNSHOWN's bits. */
#ifndef CHECK_TILE_H
#define CHECK_TILE_H

#include <jansson.h>
#include <stdint.h>

#include "check.h"
#include "check_diagnose.h"
#include "parallel.h"

#define CHECK_UNSHOWN 0x7fc1deadu /* what the tile holds before a run */
#define CHECK_TILE_HEAD 4         /* floats in front: plane, first row, rows, nothing */

struct check_shown {
    const float *s, *p, *m; /* rows x seq_kv */
    const float *o;         /* rows x head_dim, decoded */
};

enum check_stage { CHECK_STAGE_S, CHECK_STAGE_M, CHECK_STAGE_P, CHECK_STAGE_O, CHECK_STAGE_N };

/* A tile under judgement. Arrays of doubles are owned; what is expected of p and o is what the kernel's own s, m and p should give. */
struct check_tile_work {
    const struct problem *p;
    const struct check_tile *at;
    const uint16_t *q, *k, *v; /* words of the head's rows: the tile's of q, all of k and v */
    const float *decode;
    const struct check_shown *got;
    size_t rows, keys, dim;
    double *s, *weight;      /* expected s and p, rows x keys; NAN: nothing can be said of this weight */
    double *top;             /* largest own s of each row, -inf: none */
    double *reference;       /* largest own m of each row's weights, -inf: none */
    double *sum;             /* of each row's weights, relative to it */
    double *o, *allowed;     /* expected o, and how far off it may be; rows x dim */
    double *truth;           /* O of the inputs, rows x dim */
    double *norm_q, *norm_k; /* of the rows, of the keys */
    double *sorted;          /* own s of each row that are finite, ascending; rows x keys */
    size_t *nsorted;
    double largest_v;
};

/* in: words of the problem's q, k and v; decode: check_decode_table of its dtype. All but p, at, decode and got, which are borrowed, is filled. */
int check_tile_open(struct check_tile_work *w, const struct problem *p, const struct check_tile *at,
                    const uint16_t *const in[3], const float *decode, const struct check_shown *got,
                    struct parallel *threads, struct err *e);
void check_tile_close(struct check_tile_work *w);

/* One stage: its cells by row and key (M, too) or column. */
enum check_cell check_tile_cell(const struct check_tile_work *w, enum check_stage stage, size_t at, double *got,
                                double *expected);
/* By how much a cell of the stage may be off. */
double check_tile_allowed(const struct check_tile_work *w, enum check_stage stage, size_t at);

/* *report: docs/JSON.md, stages; new reference. *first: the stage that departs first, CHECK_STAGE_N when none does. */
int check_tile_report(const struct check_tile_work *w, enum check_stage *first, json_t **report, struct err *e);
/* check_tile_why.c: what the bad cells of a stage have in common beside where they are, in words; "" when nothing is known. */
void check_tile_why(const struct check_tile_work *w, enum check_stage stage, const struct check_diagnosis *d, char *out,
                    size_t size);
/* Cells of another o of this tile that are wrong by the same rule. */
size_t check_tile_bad(const struct check_tile_work *w, const float *o);

#endif
