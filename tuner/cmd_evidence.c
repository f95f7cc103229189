/* fatune evidence: all that a promotion rests on, collected into a folder; and such a folder checked. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "evidence.h"
#include "paths.h"

enum { WRONG = 3 };

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static void print_rows(const json_t *rows, const char *first, const char *second, const char *third)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *x = json_array_get(rows, i);
        printf("  %-13s", text(x, first));
        if (second) printf("%-12s", text(x, second));
        printf("%s\n", text(x, third));
    }
}

static int collect(const struct evidence_options *o, bool json)
{
    struct err e = {0};
    json_t *out;
    bool sound = true;
    int rc;

    if (evidence_collect(o, &out, &sound, &e) != 0) return command_fail(&e, json);
    if (json) {
        rc = command_print_json(out);
        return rc != 0 ? rc : sound ? 0 : WRONG;
    }
    printf("%s of %s on %s: %zu files in %s\n", text(out, "version"), text(out, "space"), text(out, "device"),
           json_array_size(json_object_get(out, "files")), text(out, "folder"));
    print_rows(json_object_get(out, "says"), "part", NULL, "text");
    printf("  manifest     %s\n", text(out, "manifest"));
    json_decref(out);
    return sound ? 0 : WRONG;
}

static int verify(const char *folder, bool json)
{
    struct err e = {0};
    json_t *out;
    bool good;
    int rc;

    if (evidence_verify(folder, &out, &good, &e) != 0) return command_fail(&e, json);
    if (json) {
        rc = command_print_json(out);
        return rc != 0 ? rc : good ? 0 : WRONG;
    }
    printf("%s%s%s\n", folder, *text(out, "version") ? ": " : "", text(out, "version"));
    print_rows(json_object_get(out, "checks"), "check", "outcome", "why");
    if (*text(out, "manifest")) printf("  manifest     %s\n", text(out, "manifest"));
    printf("%s\n", good ? "every check holds" : "this is NOT evidence: see what failed");
    json_decref(out);
    return good ? 0 : WRONG;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct evidence_options o = {0};
    struct command_operands operands;
    struct err e = {0};
    const char *folder = NULL;
    bool json = false;
    int rc;
    const struct command_option options[] = {
        {"verify", OPTION_TEXT, &folder, "DIR", "check such a folder instead; needs no store and no GPU"},
        {"out", OPTION_TEXT, &o.out, "DIR", "the folder (default: evidence/NAME beside the store)"},
        {"device", OPTION_TEXT, &o.device, "NAME", "check the kernel there (default: the first of its driver)"},
        {"no-device", OPTION_FLAG, &o.no_device, NULL, "do not check the kernel now"},
        {"disassembler", OPTION_TEXT, &o.disassembler, "FILE",
         "nvdisasm or cuobjdump (default: from PATH, or beside NVRTC)"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"track", OPTION_TEXT, &o.track, "DIGEST", "which track, where a name occurs in several"},
        {"store", OPTION_TEXT, &o.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 0, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    if ((operands.n == 1) == (folder != NULL)) {
        err_set(&e, ERR_USAGE,
                "name a version, or a folder with --verify: `fatune evidence v1`, `fatune evidence --verify DIR`");
        return command_fail(&e, json);
    }
    if (folder) return verify(folder, json);
    o.name = operands.text[0];
    o.store = paths_store(o.store);
    return collect(&o, json);
}

const struct command cmd_evidence = {
    "evidence", "NAME|--verify DIR", "what a promotion rests on, as a folder that anyone can check",
    "NAME is a version (v1, v2, ...). Source, binary and PTX, resources of every configuration, tensor-core "
    "instructions, correctness for both masks, every sample of the deciding trial, rule and verdict, environment, with "
    "a manifest of digests (docs/EVIDENCE.md). --verify checks the digests and decides again from the samples. Exit "
    "code 3: the kernel gives wrong results now, or a check of --verify failed, which names the file.",
    exec};
