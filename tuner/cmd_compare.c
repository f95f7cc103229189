/* fatune compare: two configurations, or one and a contestant, side by side, now. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "tune.h"

enum { LEAST_SESSIONS = 8, MOST_SESSIONS = 1000 };

/* Exit codes of --exit-status, by the relation of B to A. */
static const struct {
    int code;
    const char *name;
} codes[] = {{0, "same"}, {10, "faster"}, {11, "slower"}, {12, "undecided"}};

static void print(const json_t *result)
{
    struct buf out = {0};

    report_comparison(&out, result);
    fputs(buf_text(&out), stdout);
    buf_free(&out);
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct tune_options o = {0};
    struct report_progress progress;
    struct command_operands operands;
    struct err e = {0};
    const char *track = NULL, *relation;
    bool json = false, stored = false, exit_status = false;
    json_t *result = NULL;
    int rc, code = 0;
    const struct command_option options[] = {
        {"stored", OPTION_FLAG, &stored, NULL, "from the records, not measured again; refused across environments"},
        {"exit-status", OPTION_FLAG, &exit_status, NULL, "exit 0 same, 10 B faster, 11 B slower, 12 undecided"},
        {"device", OPTION_TEXT, &o.device, "NAME", "as in `fatune run`"},
        {"sessions", OPTION_INT, &o.sessions, "N",
         "how many fresh processes measure both (default: the space's, 12; at least 8)"},
        {"minutes", OPTION_DOUBLE, &o.minutes, "M",
         "time box (default 5, more for more sessions); the trial is cut to fit it"},
        {"track", OPTION_TEXT, &track, "DIGEST", "which track, where names occur in several"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"contestants", OPTION_TEXT, &o.contestants, "DIR", "look for contestants here too"},
        {"allow-contestants", OPTION_FLAG, &o.allow_contestants, NULL,
         "run programs that the space brings; those that fatune ships, or you name, always may"},
        {"store", OPTION_TEXT, &o.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"samples", OPTION_FLAG, &o.samples, NULL, "with --json: every quad, its letters, samples and clocks"},
        {"json", OPTION_FLAG, &json, NULL, "print the result as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 2, 2, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    if (o.sessions != 0 && stored)
        err_set(&e, ERR_USAGE, "--sessions says how many are measured, and --stored measures none");
    else if (o.sessions != 0 && (o.sessions < LEAST_SESSIONS || o.sessions > MOST_SESSIONS))
        err_set(&e, ERR_USAGE, "--sessions takes %d to %d, not %d: fewer decide nothing", LEAST_SESSIONS, MOST_SESSIONS,
                o.sessions);
    else if (o.samples && !json)
        err_set(&e, ERR_USAGE, "--samples adds to what --json prints: give both");
    if (e.code != ERR_OK) return command_fail(&e, json);
    report_progress_open(&progress, stderr);
    o.progress = report_progress_show;
    o.ctx = &progress;
    rc = tune_compare(&o, track, operands.text[0], operands.text[1], stored, &result, &e);
    report_progress_close(&progress);
    if (rc != 0) return command_fail(&e, json);
    relation = json_string_value(json_object_get(result, "relation"));
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(codes[i].name, relation) == 0) code = codes[i].code;
    if (json) {
        rc = command_print_json(result);
    } else {
        print(result);
        json_decref(result);
    }
    return rc != 0 ? rc : exit_status ? code : 0;
}

const struct command cmd_compare = {
    "compare", "A B", "measures two configurations side by side, interleaved, now",
    "A and B are versions (v1, v2, ...), the word champion, digests of candidates (6 digits or more) or templates of "
    "the\n"
    "space, which stand for their default; behind each, `:K=V,...` changes parameters: fatune compare v1 v1:STAGES=2.\n"
    "One of them may be a contestant (docs/CONTESTANTS.md), by name or path. Both are validated, then measured in "
    "fresh processes in "
    "ABBA\n"
    "order; A against itself is compiled again, and should come out the same. What the promotion rule would say is "
    "printed\n"
    "too; nobody is promoted.",
    exec};
