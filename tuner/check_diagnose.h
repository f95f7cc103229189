/* check_diagnose.h - private to check.c and tests: one output against its reference, in numbers and in words. */
#ifndef CHECK_DIAGNOSE_H
#define CHECK_DIAGNOSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "parallel.h"
#include "problem.h"

#define CHECK_WORST 5

/* Sums over n elements are taken over parts of check_part(n), at most CHECK_PARTS of them, and then in their order: so they do not
 * depend on who computes which. */
#define CHECK_PARTS 256u
size_t check_part(size_t n);

struct check_element {
    size_t at; /* in o */
    double got, expected;
};

struct check_worst { /* by |got - expected|, not-finite ones first */
    int n;
    struct check_element of[CHECK_WORST];
};

/* An element is bad when it is not finite, when |got - expected| > atol + rtol |expected|, or > bound. */
struct check_limit {
    double atol, rtol, bound;
};

struct check_compare {
    size_t n, nonfinite, bad; /* bad by atol and rtol alone */
    double max_abs, rel_l2;   /* over the finite elements */
    double max_low;           /* max |low - expected|: the field's yardstick */
    double max_step;          /* max |(expected + 0.3 - 0.3) - expected|, computed in the dtype */
    double bound;             /* 2 max_low + 2 max_step: the two-times rule */
    struct check_worst worst;
};

/* One pass; the same numbers for any number of threads. low may be NULL: then max_low and max_step are 0 and bound is infinite. */
void check_compare(const struct problem *p, struct parallel *threads, const uint16_t *got, const float *expected,
                   const float *low, double atol, double rtol, const float *decode, struct check_compare *out);

struct check_diagnosis {
    size_t matter, bad; /* elements that matter, and of those */
    struct check_element first;
    struct check_worst worst; /* of the bad */
    double largest;           /* error over the finite ones */
    double factor;            /* got / expected, where it is about the same throughout; else 0 */
    char pattern[256];        /* a clause: "whole rows, all in head 3 of batch 0" */
};

enum check_cell { CHECK_GOOD, CHECK_BAD, CHECK_NO_MATTER };

/* Numbers beside what they should be: planes (the heads of all batches) of rows of columns. */
struct check_table {
    size_t planes, heads, rows, columns; /* heads: of a batch */
    size_t first_row, all_rows;          /* of the problem: the table's first one, and how many there are */
    const char *column;                  /* what a column is: "column" of O, or "key" */
    double tiny;                         /* what is expected below that tells nothing about a factor */
    const void *ctx;
    enum check_cell (*cell)(const void *ctx, size_t at, double *got, double *expected);
};

/* Where a table's bad cells lie. 0 also when there is none (bad == 0). */
int check_describe(const struct check_table *t, struct check_diagnosis *out, struct err *e);

/* The same of an output. */
int check_diagnose(const struct problem *p, const uint16_t *got, const float *expected, const struct check_limit *limit,
                   const float *decode, struct check_diagnosis *out, struct err *e);

/* "batch 0 head 1 row 3 column 5" */
void check_place(const struct problem *p, size_t at, char *out, size_t size);
/* New references, NULL when out of memory. A number that is not finite becomes the string "nan", "inf" or "-inf". */
json_t *check_number(double x);
json_t *check_element_json(const struct problem *p, const struct check_element *x);

#endif
