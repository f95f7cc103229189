/* tool.h - a program of somebody else's around `fatune eval`: a sanitizer, a profiler.
 *
 * It runs in a worker's care (worker.h): a process group of its own, a deadline, an end when fatune ends. What `fatune eval` answers and what
 * is printed go to files of their own, so that neither hides the other. Says nothing of what the tool has found. */
#ifndef TOOL_H
#define TOOL_H

#include <jansson.h>

#include "buf.h"
#include "err.h"

#define TOOL_LOG_LIMIT (16u << 20)
#define TOOL_ARGS 64 /* of the tool, at most */

struct tool_job {
    const char *const
        *args; /* the program and its options, NULL-terminated; args[0] without a slash is looked for in PATH */
    const char *const *eval; /* operands and options of `fatune eval`, NULL-terminated */
    const char *
        folder; /* of NAME.log (which args tell the tool to write), NAME.json (eval's answer), NAME.txt (what was printed) */
    const char *name;
    double minutes; /* it is killed when it takes longer */
};

struct tool_end {
    int code;        /* its exit code, TOOL_MISSING, or -1: its time was over and it was killed */
    char words[512]; /* the last of what it printed */
    struct buf log;  /* what it wrote to NAME.log; empty: nothing */
    json_t *eval;    /* NULL: no answer */
};
#define TOOL_MISSING 127 /* the program cannot be started */
void tool_end_free(struct tool_end *t);

/* Old files of that name are removed first: they must not speak for this run. -1: the machine's fault, or ERR_INTERRUPTED. */
int tool_run(const struct tool_job *job, struct tool_end *out, struct err *e);

#endif
