/* check.h - does a candidate compute attention? Proof or fate.
 *
 * The only module, with the templates, that knows what attention is. Runs inside the device worker. Method:
 *   1. fresh inputs by PCG from (seed, tensor); written to the device inside guard bands; past the end of each tensor
 *      lies NaN;
 *   2. reference: the plain f32 device kernel (template `reference`) for every element, itself compared with an f64 host
 *      computation on sampled rows (all rows when there are at most 256). A reference that fails is an error, not a fate;
 *   3. candidate runs with the output poisoned by two different patterns, outputs bitwise equal, every element finite and
 *      within |o - ref| <= atol + rtol |ref|, guard bands and inputs untouched; then `repeats` further runs, bitwise equal;
 *   4. level FULL adds the stress inputs (large logits, dominant key, equal rows, growing and shrinking row maximum, V with
 *      a large offset) and the laws of attention (V of ones gives ones, linear in V, permuting keys with their values under
 *      the full mask, a constant added to a row's logits). These take part in the verdict like the plain input.
 * Both the user's atol/rtol and the field's two-times rule (flash-attention's tests) are reported; either failing is WRONG.
 * Formulas and tolerances: check.c's head. */
#ifndef CHECK_H
#define CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "device.h"
#include "err.h"
#include "fate.h"
#include "parallel.h"
#include "problem.h"

enum check_level { CHECK_QUICK, CHECK_FULL };

struct check_rule {
    enum check_level level;
    uint64_t seed; /* of this check; fresh inputs for a fresh seed */
    double atol, rtol;
    int repeats;  /* bitwise-equal repeats wanted in the plain input set */
    double box_s; /* time box: on slow devices repeats shrink to fit, never below 2, and the report says so; 0: none */
    bool unwritten; /* the first run finds its outputs as they were allocated, so that initcheck sees who reads them */
};

/* A kernel ready to launch: the loaded code and its geometry. */
struct check_kernel {
    struct device_kernel *kernel;
    const struct launch *geometry;
};

struct check_report {
    enum fate fate; /* FATE_OK is a proof */
    json_t
        *json; /* owned: level, seed, input sets with max_abs, rel_l2, worst five, first bad index, pattern, two-times
                          ratio, lse error, rows compared with f64, repeats done; for people and for the store */
    char text[1024]; /* one paragraph: what is wrong, where, and the pattern; "" when OK */
};

struct check; /* the host's memory for checks of one problem on one device */

/* Borrows the driver, the device and the threads (NULL: the caller's alone), which change nothing but the time it takes. DEVICE_OK or
 * DEVICE_LOST. Closed before the device, and not at all once a context is broken. */
enum device_class check_open(struct check **out, const struct device_driver *drv, struct device *d,
                             struct parallel *threads, const struct problem *p, struct err *e);
void check_close(struct check *c);

/* DEVICE_OK: *out is filled, whatever the fate. STICKY: out->fate is FATE_CRASH and the caller must leave. LOST or an
 * unusable reference: e is set, no fate. progress (may be NULL) is called between launches so that deadlines can be
 * renewed; stage is static text. Device memory is held for the run alone. */
enum device_class check_run(struct check *c, const struct check_kernel *candidate, const struct check_kernel *reference,
                            const struct check_rule *rule, void (*progress)(void *ctx, const char *stage), void *ctx,
                            struct check_report *out, struct err *e);
void check_report_free(struct check_report *r);

/* An output that something else computed, o (as many words as q), on the plain inputs of rule->seed: judged like a candidate's. What only
 * a kernel in our hands can show (guard bands, poison, repeats, laws, lse) is not looked at. Outcomes as check_run's. */
enum device_class check_output(struct check *c, const struct check_kernel *reference, const struct check_rule *rule,
                               const uint16_t *o, void (*progress)(void *ctx, const char *stage), void *ctx,
                               struct check_report *out, struct err *e);
/* Those inputs: words of q, k and v, borrowed until the next call with c. */
void check_plain(struct check *c, uint64_t seed, const uint16_t *words[3]);

/* Query rows [row, row + rows) of one head. */
struct check_tile {
    int batch, head, row, rows;
};
/* ERR_USAGE where the problem has no such rows, or so many keys for them that no memory is meant for it. */
int check_tile_valid(const struct problem *p, const struct check_tile *t, struct err *e);
/* Elements of the debug build's argument TILE. */
size_t check_tile_floats(const struct problem *p, const struct check_tile *t);
/* Is there a set of inputs of this name, as reports have it? */
bool check_knows_set(const char *name);

/* Runs a candidate and its debug build on the inputs of `set`, and judges the tile that the debug build shows, stage by stage (check_tile.h).
 * Outcomes as check_run's; out->json: docs/JSON.md, tile report, absent when a build did not get so far. The numbers are written to
 * folder as .npy: s, p, m, o, and what s, p and o should be. */
enum device_class check_oracle(struct check *c, const struct check_kernel *candidate, const struct check_kernel *debug,
                               const struct check_tile *tile, const char *set, uint64_t seed, const char *folder,
                               void (*progress)(void *ctx, const char *stage), void *ctx, struct check_report *out,
                               struct err *e);

/* The host's part, pure, for tests. Row r of (batch, head, query); out_o has head_dim values. q, k, v are dtype words. */
void check_row_f64(const struct problem *p, const uint16_t *q, const uint16_t *k, const uint16_t *v, size_t row,
                   double *out_o, double *out_lse);
uint16_t check_encode(enum dtype d, double x); /* round to nearest even */
double check_decode(enum dtype d, uint16_t w);

#endif
