/* fatune compare: two versions, side by side, now. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "tune.h"

enum { SAME = 0, FASTER = 10, SLOWER = 11, UNDECIDED = 12 };

/* B against A by the 95% bootstrap-t interval of the ratio; SAME when it lies within half a percent of 1. */
static int relation(const json_t *verdict)
{
    const json_t *i = json_object_get(verdict, "ratio_boot_t");
    double low = json_number_value(json_array_get(i, 0)), high = json_number_value(json_array_get(i, 1));

    if (!json_is_number(json_array_get(i, 0)) || !json_is_number(json_array_get(i, 1))) return UNDECIDED;
    if (low > 0.995 && high < 1.005) return SAME;
    if (high < 1) return FASTER;
    if (low > 1) return SLOWER;
    return UNDECIDED;
}

static int exec(const struct command *self, int argc, char **argv)
{
    static const struct {
        int code;
        const char *name, *text;
    } words[] = {{SAME, "same", "the same within half a percent"},
                 {FASTER, "faster", "faster"},
                 {SLOWER, "slower", "slower"},
                 {UNDECIDED, "undecided", "undecided: the interval holds both 1 and more than half a percent"}};
    const char *says = "";
    struct tune_options o = {0};
    struct report_progress progress;
    struct command_operands operands;
    struct err e = {0};
    struct buf out = {0};
    const char *track = NULL;
    bool json = false, stored = false, exit_status = false;
    json_t *result = NULL;
    int rc, code;
    const struct command_option options[] = {
        {"stored", OPTION_FLAG, &stored, NULL, "from the records, not measured again; refused across environments"},
        {"exit-status", OPTION_FLAG, &exit_status, NULL, "exit 0 same, 10 B faster, 11 B slower, 12 undecided"},
        {"device", OPTION_TEXT, &o.device, "NAME", "as in `fatune run`"},
        {"minutes", OPTION_DOUBLE, &o.minutes, "M", "time box of the comparison (default 5)"},
        {"track", OPTION_TEXT, &track, "DIGEST", "which track, where names occur in several"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
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
    code = relation(json_object_get(result, "verdict"));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].code != code) continue;
        json_object_set_new(result, "relation", json_string(words[i].name));
        says = words[i].text;
    }
    if (json) {
        rc = command_print_json(result);
    } else {
        buf_printf(&out, "%s compared with %s (%s): %s\n", operands.text[1], operands.text[0],
                   json_string_value(json_object_get(result, "how")), says);
        report_verdict(&out, json_object_get(result, "verdict"), operands.text[0], operands.text[1]);
        fputs(buf_text(&out), stdout);
        buf_free(&out);
        json_decref(result);
    }
    return rc != 0 ? rc : exit_status ? code : 0;
}

const struct command cmd_compare = {
    "compare", "A B", "measures two versions side by side, interleaved, now",
    "A and B are versions (v1, v2, ... or digest prefixes of at least six digits) or the word champion. Both are "
    "validated, then\n"
    "measured in fresh processes in ABBA order. What the promotion rule would say is printed; nobody is promoted.",
    exec};
