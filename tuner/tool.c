/* `fatune eval` runs below `fatune --program` below the tool: it dies with the tool, as the tool does with us. Numbers are written as programs
 * read them (LC_ALL=C), whatever the language of the user. */
#include "tool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "point.h"
#include "worker.h"

void tool_end_free(struct tool_end *t)
{
    buf_free(&t->log);
    json_decref(t->eval);
    t->eval = NULL;
}

/* The answer of `fatune eval --json`, where whatever else prints there does not hide it. */
static json_t *read_answer(const char *file)
{
    struct buf text = {0};
    struct err ignored = {0};
    json_t *answer = NULL;
    const char *begin;

    if (buf_read_file(&text, file, TOOL_LOG_LIMIT, ERR_SYSTEM, &ignored) == 0) {
        begin = buf_text(&text);
        if (*begin != '{') begin = (begin = strstr(begin, "\n{")) ? begin + 1 : NULL;
        if (begin) answer = json_loads(begin, JSON_DISABLE_EOF_CHECK, NULL);
    }
    buf_free(&text);
    return answer;
}

int tool_run(const struct tool_job *job, struct tool_end *out, struct err *e)
{
    struct buf log = {0}, answer = {0}, printed = {0};
    const char *args[TOOL_ARGS + 4 + POINT_ARGS] = {NULL};
    const struct worker_program program = {(char *const *)args, NULL,
                                           (const char *const[]){"FATUNE_DEADLINE_S=600", "LC_ALL=C", NULL}};
    char exe[4096];
    struct err ignored = {0};
    ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
    int n = 0, rc;

    *out = (struct tool_end){.code = -1};
    if (length <= 0) return err_set(e, ERR_SYSTEM, "cannot read the name of this program from /proc/self/exe");
    exe[length] = '\0';
    buf_printf(&log, "%s/%s.log", job->folder, job->name);
    buf_printf(&answer, "%s/%s.json", job->folder, job->name);
    buf_printf(&printed, "%s/%s.txt", job->folder, job->name);
    remove(buf_text(&log));
    remove(buf_text(&answer));

    for (int i = 0; job->args[i] && i < TOOL_ARGS; i++)
        args[n++] = job->args[i];
    args[n++] = exe;
    args[n++] = "--program";
    args[n++] = exe;
    args[n++] = "eval";
    for (int i = 0; job->eval[i] && i < POINT_ARGS - 1; i++)
        args[n++] = job->eval[i];

    TRY(worker_run(&program, buf_text(&answer), job->minutes, &out->code, out->words, sizeof out->words, e));
    buf_write_file(buf_text(&printed), out->words, strlen(out->words), &ignored);
    if (buf_read_file(&out->log, buf_text(&log), TOOL_LOG_LIMIT, ERR_SYSTEM, &ignored) != 0) buf_clear(&out->log);
    out->eval = read_answer(buf_text(&answer));
out:
    buf_free(&log);
    buf_free(&answer);
    buf_free(&printed);
    return rc;
}
