/* fatune eval: one candidate, start to end; what sanitizers and profilers wrap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "tune.h"

#define MOST_SAMPLES 64

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static double number(const json_t *j, const char *name)
{
    return json_number_value(json_object_get(j, name));
}

/* What is known of them; -1 stands for unknown. */
static void print_resources(const json_t *res)
{
    static const struct {
        const char *member, *words;
    } rows[] = {{"registers", "registers a thread"},
                {"spill_store_bytes", "bytes spilled"},
                {"stack_bytes", "bytes of stack"},
                {"shared_static_bytes", "bytes of static shared memory"}};
    const char *comma = "  resources  ";

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const json_t *x = json_object_get(res, rows[i].member);
        if (!json_is_integer(x) || json_integer_value(x) < 0) continue;
        printf("%s%lld %s", comma, (long long)json_integer_value(x), rows[i].words);
        comma = ", ";
    }
    if (*comma == ',') putchar('\n');
}

/* One line for each input set and law: the largest error and what is allowed. */
static void print_check(const json_t *report)
{
    const json_t *sets = json_object_get(report, "sets"), *laws = json_object_get(report, "laws");
    const json_t *repeats = json_object_get(report, "repeats");

    printf("  check      %s, atol %g, rtol %g, %lld of %lld repeats bitwise equal (%s)\n", text(report, "level"),
           number(report, "atol"), number(report, "rtol"),
           (long long)json_integer_value(json_object_get(repeats, "done")),
           (long long)json_integer_value(json_object_get(repeats, "wanted")), text(repeats, "why"));
    for (size_t i = 0; i < json_array_size(sets); i++) {
        const json_t *x = json_array_get(sets, i);
        printf("    %s input %-17s error %.2e, relative L2 %.2e, two-times ratio %.2f\n",
               json_is_true(json_object_get(x, "ok")) ? "pass" : "FAIL", text(x, "set"), number(x, "max_abs"),
               number(x, "rel_l2"), number(x, "two_times_ratio"));
    }
    for (size_t i = 0; i < json_array_size(laws); i++) {
        const json_t *x = json_array_get(laws, i);
        printf("    %s law   %-17s error %.2e, relative L2 %.2e\n",
               json_is_true(json_object_get(x, "ok")) ? "pass" : "FAIL", text(x, "law"), number(x, "max_abs"),
               number(x, "rel_l2"));
    }
}

static void print(const json_t *j)
{
    const json_t *detail = json_object_get(j, "detail"), *report = json_object_get(detail, "report");

    printf("%s on %s\n  fate       %s\n  id         %.16s\n", text(j, "candidate"), text(j, "device"), text(j, "fate"),
           text(j, "id"));
    if (strcmp(text(j, "fate"), "OK") != 0 && *text(j, "log")) printf("%s\n", text(j, "log"));
    if (json_is_number(json_object_get(j, "median_us"))) {
        printf("  time       %.3f us, median of %zu samples", number(j, "median_us"),
               json_array_size(json_object_get(j, "samples_us")));
        if (number(j, "floor_us") > 0) printf("; no kernel can take less than %.3f us here", number(j, "floor_us"));
        putchar('\n');
    }
    print_resources(json_object_get(j, "compiled"));
    if (json_is_object(report)) print_check(report);
}

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
    print(result);
    json_decref(result);
    return 0;
}

const struct command cmd_eval = {"eval", "SPACE", "one candidate, start to end; what sanitizers and profilers wrap",
                                 "Renders, compiles, checks and times one point of a space and says what became of it. "
                                 "The exit code is 0 whatever the fate:\n"
                                 "a fate is a result. Nothing is stored.",
                                 exec};
