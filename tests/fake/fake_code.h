/* fake_code.h - what the fake compiler keeps of a source: its macros, its active markers, its identity. */
#ifndef FAKE_CODE_H
#define FAKE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "problem.h"

#define FAKE_MAX_DEFS 96
#define FAKE_MAX_MARKS 16

struct fake_def {
    char name[48];
    double value;
    bool dead; /* named by `// fake: dead NAME`: changes neither code nor time */
};

struct fake_mark {
    char name[24];
    bool given; /* has a number behind it */
    double value;
};

struct fake_code {
    int ndefs, nmarks;
    struct fake_def defs[FAKE_MAX_DEFS];
    struct fake_mark marks[FAKE_MAX_MARKS]; /* those whose conditions hold for these macros */
    char digest[65];
};

/* 0, or ERR_DEVICE: the words of a compiler. */
int fake_code_parse(struct fake_code *c, const char *source, const char *entry, struct err *e);
/* The image is text, so that a truncated or damaged one is noticed: it ends in its own digest. */
void fake_code_write(const struct fake_code *c, struct buf *image);
int fake_code_read(struct fake_code *c, const void *image, size_t n, struct err *e);

const struct fake_mark *fake_code_mark(const struct fake_code *c, const char *name); /* or NULL */
double fake_code_def(const struct fake_code *c, const char *name, double fallback);
/* The problem that the macros describe; ERR_DEVICE when they describe none. */
int fake_code_problem(const struct fake_code *c, struct problem *p, struct err *e);
/* Whether it is a ceiling's (kernel_templates/ceiling_*): its macros say how much work a launch does. */
bool fake_code_is_ceiling(const struct fake_code *c);
/* Modelled time of a launch in microseconds without noise: (best_us + flops at 100 TFLOP/s) times a landscape over the
 * parameters: for each a basin with its optimum and depth drawn from seed and name, and 2% of hash. Of a ceiling's: its work at
 * FAKE_MATRIX, FAKE_EXP, FAKE_L2 or FAKE_DRAM, and a microsecond. l2_bytes: of the device. */
#define FAKE_MATRIX 200e12
#define FAKE_EXP 10e12
#define FAKE_L2 10e12
#define FAKE_DRAM 4e12
double fake_code_time_us(const struct fake_code *c, const struct problem *p, uint64_t seed, double best_us,
                         double l2_bytes);

#endif
