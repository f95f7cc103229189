/* fatune run: search, confirm, decide. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "tune.h"

static int exec(const struct command *self, int argc, char **argv)
{
    struct tune_options o = {0};
    struct report_progress progress;
    struct command_operands operands;
    struct err e = {0};
    struct buf out = {0};
    uint64_t seed = UINT64_MAX;
    bool json = false, quiet = false;
    json_t *summary = NULL;
    int rc;
    const struct command_option options[] = {
        {"device", OPTION_TEXT, &o.device, "NAME", "auto, cuda, opencl or one of them with a number: cuda:1"},
        {"strategy", OPTION_TEXT, &o.strategy, "NAME", "auto or one that docs/SEARCH.md lists (default: the space's)"},
        {"evaluations", OPTION_INT, &o.evaluations, "N", "most proposals (default: the space's)"},
        {"minutes", OPTION_DOUBLE, &o.minutes, "M",
         "time for searching (default: the space's); race and each trial get a quarter"},
        {"seed", OPTION_U64, &seed, "N", "seed of all random choices (default: the space's)"},
        {"jobs", OPTION_INT, &o.jobs, "N", "compile workers (default: one a core)"},
        {"as", OPTION_TEXT, &o.as, "NAME", "name of the version that this run may crown (default: v1, v2, ...)"},
        {"no-promote", OPTION_FLAG, &o.no_promote, NULL, "confirm and report, but leave the champion as it is"},
        {"fresh", OPTION_FLAG, &o.fresh, NULL, "begin anew instead of resuming or reusing evaluations"},
        {"waivers", OPTION_TEXT, &o.waivers, "FILE",
         "sanitizers' reports that are known, for spaces with `sanitize: required`"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"contestants", OPTION_TEXT, &o.contestants, "DIR", "look for contestants here too"},
        {"allow-contestants", OPTION_FLAG, &o.allow_contestants, NULL,
         "run programs that the space brings; those that fatune ships, or you name, always may"},
        {"no-contestants", OPTION_FLAG, &o.no_contestants, NULL, "leave out the contestants of the space"},
        {"store", OPTION_TEXT, &o.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print the result as JSON (docs/JSON.md)"},
        {"quiet", OPTION_FLAG, &quiet, NULL, "no progress"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    o.space = operands.text[0];
    o.has_seed = seed != UINT64_MAX;
    o.seed = seed;
    report_progress_open(&progress, stderr);
    if (!quiet) {
        o.progress = report_progress_show;
        o.ctx = &progress;
    }
    rc = tune_run(&o, &summary, &e);
    report_progress_close(&progress);
    if (rc != 0) {
        json_decref(summary);
        return command_fail(&e, json);
    }
    if (json) return command_print_json(summary);
    report_run(&out, summary);
    fputs(buf_text(&out), stdout);
    buf_free(&out);
    json_decref(summary);
    return 0;
}

const struct command cmd_run = {
    "run", "SPACE", "search, confirm, decide; resumes by itself",
    "Searches the space, races the best, checks the finalists against stress inputs and the laws of attention, and "
    "confirms\n"
    "them in fresh processes against the standing champion (the template's default configuration where there is none). "
    "An\n"
    "interrupted run goes on where it stopped; a finished one is confirmed again without compiling. At the end the "
    "champion "
    "meets the space's contestants (docs/CONTESTANTS.md), whose times decide nothing.",
    exec};
