#include "sanitize.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "doc.h"
#include "point.h"
#include "tool.h"

#define MOST_REPORTS 20
#define FOUND_CODE 86 /* what the tool ends with when it found something: no exit code of fatune's */

const char *const sanitize_tools[] = {"memcheck", "racecheck", "synccheck", "initcheck", NULL};

/* Options of one tool beside those of all. Guard zones of fatune's own lie around every tensor; --padding adds some between allocations.
 * Errors of the driver's interface are fatune's to handle, and not the kernel's. */
static const char *const options_of[][5] = {
    {"memcheck", "--padding=32", "--leak-check=no", "--report-api-errors=no", NULL},
    {"racecheck", "--racecheck-report=analysis", "--racecheck-detect-level=error", NULL},
};

const char *sanitize_outcome_name(enum sanitize_outcome o)
{
    static const char *const names[] = {"clean", "waived", "errors", "not run"};

    return names[o];
}

/* ---- waivers ---- */

struct waiver {
    char *tool, *why, until[11];
    regex_t match;
    bool compiled;
};

struct sanitize_waivers {
    struct waiver *of;
    int n;
};

void sanitize_waivers_free(struct sanitize_waivers *w)
{
    if (!w) return;
    for (int i = 0; i < w->n; i++) {
        if (w->of[i].compiled) regfree(&w->of[i].match);
        free(w->of[i].tool);
        free(w->of[i].why);
    }
    free(w->of);
    free(w);
}

static int read_date(const struct doc_node *n, char out[11], struct err *e)
{
    char *text, behind;
    int year, month, day, rc = 0;

    if (doc_text(n, &text, e) != 0) return -1;
    if (strlen(text) != 10 || sscanf(text, "%4d-%2d-%2d%c", &year, &month, &day, &behind) != 3 || month < 1 ||
        month > 12 || day < 1 || day > 31)
        rc = err_at(e, &n->at, "`%.40s` is no date; write YYYY-MM-DD, the last day on which the waiver counts", text);
    else
        snprintf(out, 11, "%.10s", text);
    free(text);
    return rc;
}

static int read_waiver(struct waiver *w, const struct doc_node *n, struct err *e)
{
    static const char *const keys[] = {"tool", "match", "why", "until"};
    const struct doc_node *tool, *match, *why, *until;
    char *pattern = NULL, reason[128];
    int rc, known = 0;

    TRY(doc_keys(n, "a waiver", keys, 4, e));
    TRY(doc_need(&tool, n, "tool", e));
    TRY(doc_need(&match, n, "match", e));
    TRY(doc_need(&why, n, "why", e));
    TRY(doc_need(&until, n, "until", e));
    while (sanitize_tools[known])
        known++;
    TRY(doc_choice(tool, sanitize_tools, known, &known, e));
    TRY(doc_text(tool, &w->tool, e));
    TRY(doc_text(why, &w->why, e));
    TRY(read_date(until, w->until, e));
    TRY(doc_text(match, &pattern, e));
    known = regcomp(&w->match, pattern, REG_EXTENDED | REG_NOSUB);
    if (known != 0) {
        regerror(known, &w->match, reason, sizeof reason);
        rc = err_at(e, &match->at, "not a POSIX extended regular expression: %s", reason);
    }
    w->compiled = known == 0;
out:
    free(pattern);
    return rc;
}

int sanitize_waivers_load(struct sanitize_waivers **out, const char *file, struct err *e)
{
    struct sanitize_waivers *w = calloc(1, sizeof *w);
    struct doc_node *root = NULL;
    struct buf text = {0};
    int rc;

    if (!w) return err_nomem(e);
    TRY(buf_read_file(&text, file, DOC_MAX_BYTES, ERR_INPUT, e));
    TRY(doc_parse(&root, buf_text(&text), text.n, file, e));
    TRY(doc_list(root, e));
    w->of = calloc((size_t)root->n + 1, sizeof *w->of);
    if (!w->of) {
        rc = err_nomem(e);
        goto out;
    }
    for (int i = 0; i < root->n; i++) {
        w->n = i + 1;
        TRY(read_waiver(&w->of[i], &root->item[i], e));
    }
out:
    doc_free(root);
    buf_free(&text);
    if (rc != 0) sanitize_waivers_free(w);
    *out = rc == 0 ? w : NULL;
    return rc;
}

static bool waives(const struct sanitize_waivers *w, const char *tool, const char *report, const char *today)
{
    for (int i = 0; w && i < w->n; i++)
        if (strcmp(w->of[i].tool, tool) == 0 && strcmp(today, w->of[i].until) <= 0 &&
            regexec(&w->of[i].match, report, 0, NULL, 0) == 0)
            return true;
    return false;
}

/* ---- what a log says ---- */

#define MARK "========= "

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A line of the log that is about the tool, not about the kernel. */
static bool about_the_tool(const char *line)
{
    static const char *const words[] = {"COMPUTE-SANITIZER",
                                        "ERROR SUMMARY:",
                                        "RACECHECK SUMMARY:",
                                        "LEAK SUMMARY:",
                                        "Target application returned",
                                        "Process didn't terminate",
                                        "Warning:"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (begins(line, words[i])) return true;
    return false;
}

struct reading {
    struct sanitize_result *out;
    const char *tool, *today;
    const struct sanitize_waivers *waivers;
    struct buf report; /* the one being read */
    int reports, summaries;
    int errors, hazards; /* of the summaries; one kind of them may repeat the other */
    char refusal[4096];  /* the first line that says that nothing can be checked here */
};

static void end_report(struct reading *r)
{
    if (r->report.n == 0) return;
    r->reports++;
    if (waives(r->waivers, r->tool, buf_text(&r->report), r->today))
        r->out->waived++;
    else if (json_array_size(r->out->reports) < MOST_REPORTS)
        json_array_append_new(r->out->reports, json_string(buf_text(&r->report)));
    buf_clear(&r->report);
}

static void read_line(struct reading *r, const char *line)
{
    static const char *const refusals[] = {"Device not supported", "No attachable process", "Unable to",
                                           "Internal Sanitizer Error", "terminated before first instrumented"};
    int n;

    if (!begins(line, MARK)) return;
    line += strlen(MARK);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (strstr(line, refusals[i]) && !*r->refusal) snprintf(r->refusal, sizeof r->refusal, "%s", line);
    if (sscanf(line, "ERROR SUMMARY: %d", &n) == 1) r->summaries++, r->errors += n;
    if (sscanf(line, "RACECHECK SUMMARY: %d", &n) == 1) r->summaries++, r->hazards += n;
    if (*line != ' ') {
        end_report(r);
        if (*line == '\0' || about_the_tool(line)) return;
    } else if (r->report.n == 0) {
        return;
    }
    buf_printf(&r->report, "%s\n", line);
}

static void say(struct sanitize_result *r, enum sanitize_outcome outcome, const char *words, const char *detail)
{
    r->outcome = outcome;
    snprintf(r->why, sizeof r->why, words, detail);
}

void sanitize_read(struct sanitize_result *out, const char *tool, int code, const char *log, const json_t *eval,
                   const char *binary, const struct sanitize_waivers *waivers, const char *today)
{
    struct reading r = {.out = out, .tool = tool, .waivers = waivers, .today = today};
    const char *fate = json_string_value(json_object_get(eval, "fate")), *line = log;
    const char *made = json_string_value(json_object_get(eval, "binary"));
    const char *driver = json_string_value(json_object_get(eval, "driver"));
    char text[4096];

    memset(out, 0, sizeof *out);
    out->reports = json_array();
    while (*line) {
        size_t n = strcspn(line, "\n");
        snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text - 1), line);
        read_line(&r, text);
        line += n + (line[n] == '\n');
    }
    end_report(&r);
    buf_free(&r.report);
    out->errors = r.errors > r.hazards ? r.errors : r.hazards;
    if (out->errors < r.reports) out->errors = r.reports;

    if (*r.refusal)
        say(out, SANITIZE_NOT_RUN, "the tool could not work here: %.400s", r.refusal);
    else if (out->errors > out->waived && r.reports > out->waived)
        say(out, SANITIZE_ERRORS, "%s", "see the log");
    else if (code == FOUND_CODE && r.reports == 0)
        say(out, SANITIZE_ERRORS, "%s", "its exit code says so, and its log does not say what");
    else if (code == -1)
        say(out, SANITIZE_NOT_RUN, "%s", "it took too long and was stopped; give it more --minutes");
    else if (r.summaries == 0)
        say(out, SANITIZE_NOT_RUN, "%s", "its log ends without a summary");
    else if (out->errors > out->waived)
        say(out, SANITIZE_ERRORS, "%s", "its summary counts more than the log tells");
    else if (!fate)
        say(out, SANITIZE_NOT_RUN, "%s", "the kernel was not seen: `fatune eval` gave no answer under it");
    else if (strcmp(fate, "OK") != 0)
        say(out, SANITIZE_NOT_RUN, "the kernel did not pass its check under it: %s", fate);
    else if (driver && strcmp(driver, "opencl") == 0)
        say(out, SANITIZE_NOT_RUN, "%s", "it sees CUDA's kernels alone, and this one is OpenCL's");
    else if (binary && strcmp(made ? made : "", binary) != 0)
        say(out, SANITIZE_NOT_RUN, "%s",
            "the kernel was not seen: the templates or the compiler make other code of it today");
    else if (code != (out->errors > 0 ? FOUND_CODE : 0))
        say(out, SANITIZE_NOT_RUN, "%s", "it did not end as a tool does that is through");
    else if (out->errors > 0)
        say(out, SANITIZE_WAIVED, "%s", "all that it reported is waived");
    else
        say(out, SANITIZE_CLEAN, "%s", "nothing reported, and the kernel ran and passed its check");
}

void sanitize_result_free(struct sanitize_result *r)
{
    json_decref(r->reports);
    r->reports = NULL;
}

int sanitize_run(const struct sanitize_job *job, struct sanitize_result *out, struct err *e)
{
    const char *args[TOOL_ARGS], *eval[POINT_ARGS + 1];
    char found[32], log[4200], today[11];
    struct tool_end end;
    time_t now = time(NULL);
    struct tm utc;
    int n = 0;

    memset(out, 0, sizeof *out);
    snprintf(found, sizeof found, "--error-exitcode=%d", FOUND_CODE);
    snprintf(log, sizeof log, "--log-file=%s/%s.log", job->folder, job->tool);
    args[n++] = job->program;
    args[n++] = "--tool";
    args[n++] = job->tool;
    args[n++] = found;
    args[n++] = "--target-processes=all";
    args[n++] = "--print-limit=1000"; /* a fault that every thread has fills a disk otherwise */
    args[n++] = log;
    for (size_t i = 0; i < sizeof options_of / sizeof *options_of; i++)
        for (int k = 1; strcmp(options_of[i][0], job->tool) == 0 && options_of[i][k]; k++)
            args[n++] = options_of[i][k];
    args[n] = NULL;
    for (n = 0; job->eval[n] && n < POINT_ARGS - 1; n++)
        eval[n] = job->eval[n];
    /* It knows what nobody wrote since it was allocated; a check that poisons its outputs would hide who reads them. */
    if (strcmp(job->tool, "initcheck") == 0) eval[n++] = "--unwritten";
    eval[n] = NULL;
    if (tool_run(&(struct tool_job){args, eval, job->folder, job->tool, job->minutes}, &end, e) != 0) return -1;

    gmtime_r(&now, &utc);
    strftime(today, sizeof today, "%Y-%m-%d", &utc);
    sanitize_read(out, job->tool, end.code, buf_text(&end.log), end.eval, job->binary, job->waivers, today);
    if (end.code == TOOL_MISSING)
        snprintf(out->why, sizeof out->why,
                 "%s cannot be started; it comes with the CUDA toolkit (on Debian and Ubuntu NVIDIA's package "
                 "cuda-sanitizer), or --sanitizer FILE says where it is",
                 job->program);
    else if (end.log.n == 0 && out->outcome == SANITIZE_NOT_RUN && end.code != -1)
        snprintf(out->why, sizeof out->why, "%s wrote no log; %.380s", job->program, end.words);
    tool_end_free(&end);
    return 0;
}

static json_t *to_json(const char *tool, const struct sanitize_result *r)
{
    return json_pack("{s:s,s:s,s:i,s:i,s:s,s:O}", "tool", tool, "outcome", sanitize_outcome_name(r->outcome), "reports",
                     r->errors, "waived", r->waived, "why", r->why, "texts", r->reports);
}

int sanitize_all(struct sanitize_job *job, const char *only,
                 void (*said)(void *ctx, const char *tool, const struct sanitize_result *result), void *ctx,
                 enum sanitize_outcome *worst, json_t **list, struct err *e)
{
    static const int rank[] = {
        [SANITIZE_CLEAN] = 0, [SANITIZE_WAIVED] = 1, [SANITIZE_NOT_RUN] = 2, [SANITIZE_ERRORS] = 3};

    *worst = SANITIZE_CLEAN;
    *list = json_array();
    for (const char *const *tool = sanitize_tools; *tool; tool++) {
        struct sanitize_result result;
        int bad;
        if (only && strcmp(only, *tool) != 0) continue;
        job->tool = *tool;
        if (said) said(ctx, *tool, NULL);
        if (sanitize_run(job, &result, e) != 0) goto failed;
        if (said) said(ctx, *tool, &result);
        if (rank[result.outcome] > rank[*worst]) *worst = result.outcome;
        bad = json_array_append_new(*list, to_json(*tool, &result));
        sanitize_result_free(&result);
        if (bad) {
            err_nomem(e);
            goto failed;
        }
    }
    return 0;
failed:
    json_decref(*list);
    *list = NULL;
    return -1;
}
