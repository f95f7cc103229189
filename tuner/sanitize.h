/* sanitize.h - compute-sanitizer around `fatune eval`: one tool, one point of a space, one log, and what may be said of it.
 *
 * A tool that is missing, refused by the device, cut off or silent has found nothing, and that is not the same as nothing to find: only a log
 * with a summary of no errors, an exit code of 0 and a kernel that ran and passed its check are *clean*. */
#ifndef SANITIZE_H
#define SANITIZE_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"
#include "err.h"

enum sanitize_outcome {
    SANITIZE_CLEAN,
    SANITIZE_WAIVED,  /* it reported something, all of which is waived; not clean */
    SANITIZE_ERRORS,  /* it reported something else */
    SANITIZE_NOT_RUN, /* why says what was in the way */
};
const char *sanitize_outcome_name(enum sanitize_outcome o); /* "clean", "waived", "errors", "not run" */

/* The tools of compute-sanitizer, NULL-terminated: memcheck, racecheck, synccheck, initcheck. */
extern const char *const sanitize_tools[];

/* Reports that are known and harmless: a YAML list of {tool, match, why, until}. match: a POSIX extended regular expression, looked for in a
 * report's whole text; until: the last day on which it counts, YYYY-MM-DD (UTC). */
struct sanitize_waivers;
int sanitize_waivers_load(struct sanitize_waivers **out, const char *file, struct err *e);
void sanitize_waivers_free(struct sanitize_waivers *w);

struct sanitize_result {
    enum sanitize_outcome outcome;
    int errors, waived; /* reports; waived are among errors */
    char why[512];      /* in words */
    json_t *reports;    /* owned: the texts of those that are not waived, at most 20 */
};
void sanitize_result_free(struct sanitize_result *r);

/* What came of one tool. code: its exit code, -1 when it was killed. log: its whole log. eval: what `fatune eval --json` said, NULL when
 * nothing. binary: as in struct sanitize_job. today: YYYY-MM-DD. waivers may be NULL. */
void sanitize_read(struct sanitize_result *out, const char *tool, int code, const char *log, const json_t *eval,
                   const char *binary, const struct sanitize_waivers *waivers, const char *today);

struct sanitize_job {
    const char *program;     /* compute-sanitizer, looked for in PATH unless it has a slash */
    const char *tool;        /* one of sanitize_tools */
    const char *const *eval; /* operands and options of `fatune eval`, NULL-terminated */
    const char *folder;      /* where TOOL.log, TOOL.json (eval's answer) and TOOL.txt (what was printed) go */
    const char *binary;      /* digest that eval must have made, else the kernel was not seen; NULL: any */
    double minutes;          /* it is killed when it takes longer */
    const struct sanitize_waivers *waivers; /* may be NULL */
};
/* Runs one tool. ERR_INTERRUPTED, ERR_SYSTEM; what the tool does is a result. */
int sanitize_run(const struct sanitize_job *job, struct sanitize_result *out, struct err *e);
/* Runs the tool of this name, or all where only is NULL (the job's own tool is not looked at). said (may be NULL) hears of each before it runs,
 * with no result, and after. *worst: errors, else not run, else waived, else clean. *list: what --json prints, new reference. */
int sanitize_all(struct sanitize_job *job, const char *only,
                 void (*said)(void *ctx, const char *tool, const struct sanitize_result *result), void *ctx,
                 enum sanitize_outcome *worst, json_t **list, struct err *e);

#endif
