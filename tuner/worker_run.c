/* worker_run.c - a program that speaks no lines, run to its end.
 *
 * What it prints goes to a file, so that no line comes for the pipe, which stays open as descriptor 4: it is the end of the process that ends
 * the wait. What runs below the program has it for a parent, not us, so it must not look for its supervisor. */
#include <stdio.h>
#include <stdlib.h>

#include "worker.h"

static void note(void *ctx, struct worker *w, enum worker_outcome outcome, const json_t *reply)
{
    (void)w;
    (void)reply;
    *(enum worker_outcome *)ctx = outcome;
}

static int wait_for(struct worker_loop *loop, const struct worker_program *p, double minutes, int *code, char *words,
                    size_t size, struct err *e)
{
    enum worker_outcome outcome = WORKER_REPLY;
    struct worker *w = NULL;
    int rc;

    TRY(worker_spawn_program(loop, p, &w, e));
    TRY(worker_request_take(w, json_pack("{s:s}", "line", ""), 60 * minutes, note, &outcome, e));
    while (worker_busy(w) && !worker_interrupted(loop))
        worker_pump(loop, 1);
    if (worker_interrupted(loop)) rc = err_set(e, ERR_INTERRUPTED, "interrupted");
    *code = worker_exit_code(w);
    snprintf(words, size, "%s", worker_words(w));
out:
    worker_stop(w);
    return rc;
}

int worker_run(const struct worker_program *p, const char *printed, double minutes, int *code, char *words, size_t size,
               struct err *e)
{
    static const char *const shell[] = {"sh", "-c", "unset FATUNE_SUPERVISOR; exec 4>&1 >\"$0\"; exec \"$@\""};
    enum { SHELL = sizeof shell / sizeof *shell };
    struct worker_program wrapped = *p;
    struct worker_loop *loop = NULL;
    const char **args = NULL;
    int n = 0, rc;

    while (p->args[n])
        n++;
    if (!(args = calloc((size_t)n + SHELL + 2, sizeof *args))) return err_nomem(e);
    for (int i = 0; i < SHELL; i++)
        args[i] = shell[i];
    args[SHELL] = printed;
    for (int i = 0; i < n; i++)
        args[SHELL + 1 + i] = p->args[i];
    wrapped.args = (char *const *)args;
    TRY(worker_loop_open(&loop, e));
    rc = wait_for(loop, &wrapped, minutes, code, words, size, e);
out:
    worker_loop_close(loop);
    free(args);
    return rc;
}
