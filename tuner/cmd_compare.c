/* fatune compare: two versions, or one and a contestant, side by side, now. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "tune.h"

/* By the relation of B to A. */
static const struct {
    int code;
    const char *name, *text;
} words[] = {{0, "same", "the same within half a percent"},
             {10, "faster", "faster"},
             {11, "slower", "slower"},
             {12, "undecided", "undecided: the interval holds both 1 and more than half a percent"}};

static void print(const json_t *result, const char *a, const char *b, const char *says)
{
    const json_t *contestant = json_object_get(result, "contestant");
    struct buf out = {0};

    buf_printf(&out, "%s compared with %s (%s): %s\n", b, a, json_string_value(json_object_get(result, "how")), says);
    report_verdict(&out, json_object_get(result, "verdict"), a, b);
    if (contestant) report_contestant(&out, contestant);
    fputs(buf_text(&out), stdout);
    buf_free(&out);
}

static int exec(const struct command *self, int argc, char **argv)
{
    const char *says = "";
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
        {"minutes", OPTION_DOUBLE, &o.minutes, "M", "time box of the comparison (default 5)"},
        {"track", OPTION_TEXT, &track, "DIGEST", "which track, where names occur in several"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"contestants", OPTION_TEXT, &o.contestants, "DIR", "look for contestants here too"},
        {"store", OPTION_TEXT, &o.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print the result as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 2, 2, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    if (o.minutes <= 0) o.minutes = 5;
    report_progress_open(&progress, stderr);
    o.progress = report_progress_show;
    o.ctx = &progress;
    rc = tune_compare(&o, track, operands.text[0], operands.text[1], stored, &result, &e);
    report_progress_close(&progress);
    if (rc != 0) return command_fail(&e, json);
    relation = json_string_value(json_object_get(result, "relation"));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].name, relation) != 0) continue;
        code = words[i].code;
        says = words[i].text;
    }
    if (json) {
        rc = command_print_json(result);
    } else {
        print(result, operands.text[0], operands.text[1], says);
        json_decref(result);
    }
    return rc != 0 ? rc : exit_status ? code : 0;
}

const struct command cmd_compare = {
    "compare", "A B", "measures two versions side by side, interleaved, now",
    "A and B are versions (v1, v2, ... or digest prefixes of at least six digits) or the word champion; one of them "
    "may be "
    "a\n"
    "contestant (docs/CONTESTANTS.md): of the space that the version is of, or found by its name. Both are validated, "
    "then\n"
    "measured in fresh processes in ABBA order. What the promotion rule would say is printed; nobody is promoted.",
    exec};
