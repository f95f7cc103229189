/* fatune eval: one candidate, start to end; what sanitizers and profilers wrap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "tune.h"

#define MOST_SAMPLES 64

static int exec(const struct command *self, int argc, char **argv)
{
    struct tune_options o = {0};
    struct command_operands operands;
    struct err e = {0};
    const char *set = NULL, *tmpl = NULL;
    bool json = false, quick = false;
    int samples = 15, rc;
    uint64_t seed = UINT64_MAX;
    json_t *result = NULL;
    struct buf out = {0};
    const struct command_option options[] = {
        {"set", OPTION_TEXT, &set, "K=V,...", "parameters that differ from the template's default"},
        {"template", OPTION_TEXT, &tmpl, "NAME",
         "which template (default: the first usable one that knows the parameters)"},
        {"quick", OPTION_FLAG, &quick, NULL, "plain inputs only, without stress inputs and laws"},
        {"unwritten", OPTION_FLAG, &o.unwritten, NULL,
         "the first run finds its outputs as they were allocated: initcheck sees who reads them"},
        {"samples", OPTION_INT, &samples, "N", "timed samples (default 15, at most 64)"},
        {"device", OPTION_TEXT, &o.device, "NAME", "as in `fatune run`"},
        {"seed", OPTION_U64, &seed, "N", "seed of the inputs"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"store", OPTION_TEXT, &o.store, "FILE", "its folder holds the binary cache; nothing is stored"},
        {"json", OPTION_FLAG, &json, NULL, "print the result as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    if (samples > MOST_SAMPLES) {
        err_set(&e, ERR_USAGE, "--samples takes at most %d, not %d", MOST_SAMPLES, samples);
        return command_fail(&e, json);
    }
    o.space = operands.text[0];
    o.has_seed = seed != UINT64_MAX;
    o.seed = seed;
    if (tune_eval(&o, tmpl, set, !quick, samples, &result, &e) != 0) return command_fail(&e, json);
    if (json) return command_print_json(result);
    report_evaluation(&out, result);
    fputs(buf_text(&out), stdout);
    buf_free(&out);
    json_decref(result);
    return 0;
}

const struct command cmd_eval = {"eval", "SPACE", "one candidate, start to end; what sanitizers and profilers wrap",
                                 "Renders, compiles, checks and times one point of a space and says what became of it. "
                                 "The exit code is 0 whatever the fate:\n"
                                 "a fate is a result. Nothing is stored.",
                                 exec};
