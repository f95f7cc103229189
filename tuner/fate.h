/* fate.h - what became of a candidate. A fate is data, stored with its log; only a fault of the machine or of fatune
 * itself is an error (err.h). */
#ifndef FATE_H
#define FATE_H

#include <stdbool.h>

/* X(name, what happened) ; the order is stored nowhere, names are */
#define FATES(X)                                                                                                       \
    X(OK, "measured")                                                                                                  \
    X(RENDER, "source could not be generated")                                                                         \
    X(COMPILE, "did not compile")                                                                                      \
    X(COMPILE_TIMEOUT, "the compiler ran past its deadline")                                                           \
    X(COMPILE_CRASH, "the compiler crashed or ran out of memory")                                                      \
    X(LIMITS, "needs more of a resource than the device has")                                                          \
    X(LAUNCH, "the device refused the launch")                                                                         \
    X(WRONG, "wrong result")                                                                                           \
    X(NONDET, "results differ between runs on the same input")                                                         \
    X(CORRUPT, "wrote outside its output, or changed its input")                                                       \
    X(CRASH, "crashed the device context or its process")                                                              \
    X(HANG, "ran past its deadline")

enum fate {
#define X(name, text) FATE_##name,
    FATES(X)
#undef X
        FATE_N
};

const char *fate_name(enum fate f); /* "OK", "WRONG", ... */
const char *fate_text(enum fate f); /* for people */
/* Says no more than that a kernel cannot be made or started: nothing wrong came out of it. */
bool fate_harmless(enum fate f);
int fate_parse(enum fate *out, const char *name); /* 0, or -1 for an unknown name */

#endif
