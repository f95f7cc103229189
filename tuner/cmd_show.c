/* fatune show: everything known of one candidate. */
#include <stdio.h>
#include <string.h>

#include "cache.h"
#include "command.h"
#include "cuda_code.h"
#include "paths.h"
#include "report.h"
#include "store.h"

/* The version's binary as the cache has it: what proves that tensor cores are used, by a count that anyone can repeat. */
static void add_ptx(json_t *out, const char *store, const char *key)
{
    char cache[4096];
    struct buf ptx = {0};

    if (key && *key && paths_cache(cache, sizeof cache, store, NULL) == 0 && cache_ptx(cache, key, &ptx, NULL) == 0 &&
        ptx.n > 0)
        json_object_set_new(out, "tensor_instructions_in_ptx", cuda_code_tensor_json(buf_text(&ptx)));
    buf_free(&ptx);
}

static int find(struct store *s, const char *track, const char *name, const char *store, json_t **out, struct err *e)
{
    struct store_version v;
    const char *digest = name;
    bool version, found;
    int rc;

    TRY(store_version_find(s, track, name, &v, &version, e));
    if (version) digest = v.cand;
    found = version || (strlen(name) >= 6 && name[strspn(name, "0123456789abcdefABCDEF")] == '\0');
    if (found) rc = store_candidate_json(s, digest, out, &found, e);
    if (rc == 0 && !found)
        rc = err_set(e, ERR_USAGE,
                     "no version is called %s, and no candidate's digest begins so; `fatune champion history` lists "
                     "versions, digests are given by 6 or more hexadecimal digits",
                     name);
    if (rc == 0 && version) {
        json_object_set_new(*out, "version",
                            json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:O?}", "name", v.name, "track", v.track, "space",
                                      v.space, "device", v.device, "created", v.created, "binary", v.binary, "facts",
                                      v.source_facts));
        add_ptx(*out, store, v.binary);
    }
    if (version) store_version_free(&v);
out:
    return rc;
}

/* The version's source, or that of the candidate's newest evaluation. */
static int print_source(const json_t *j, const char *store, struct err *e)
{
    const json_t *evaluations = json_object_get(j, "evaluations");
    const char *key = json_string_value(json_object_get(json_object_get(j, "version"), "binary"));
    char cache[4096];
    struct buf text = {0};
    int rc;

    for (size_t i = json_array_size(evaluations); !key && i > 0; i--)
        key = json_string_value(json_object_get(json_array_get(evaluations, i - 1), "binary"));
    if (!key || !*key) return err_set(e, ERR_USAGE, "this candidate was never rendered: it has no source");
    TRY(paths_cache(cache, sizeof cache, store, e));
    TRY(cache_source(cache, key, &text, e));
    fputs(buf_text(&text), stdout);
out:
    buf_free(&text);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct err e = {0};
    struct store *s = NULL;
    const char *path = NULL, *track = NULL;
    json_t *out = NULL;
    struct buf page = {0};
    bool json = false, source = false;
    int rc;
    const struct command_option options[] = {
        {"track", OPTION_TEXT, &track, "DIGEST", "which track, where a name occurs in several"},
        {"source", OPTION_FLAG, &source, NULL, "print the generated source instead, prelude first"},
        {"store", OPTION_TEXT, &path, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md), every number of it"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    path = paths_store(path);
    rc = store_open(&s, path, STORE_READ, &e);
    if (rc == 0) rc = find(s, track, operands.text[0], path, &out, &e);
    store_close(s);
    if (rc == 0 && source) {
        rc = print_source(out, path, &e);
        json_decref(out);
        return rc == 0 ? 0 : command_fail(&e, json);
    }
    if (rc != 0) return command_fail(&e, json);
    if (json) return command_print_json(out);
    report_candidate(&page, out);
    fputs(buf_text(&page), stdout);
    buf_free(&page);
    json_decref(out);
    return 0;
}

const struct command cmd_show = {
    "show", "NAME", "everything known of one candidate",
    "NAME is a version (v1, v2, ...) or a prefix of a candidate's digest, 6 digits or more. Prints "
    "parameters, resources, checks, timings, trials and\n"
    "verdicts; for CUDA also how many tensor-core instructions its PTX has. --json has every number, --source the "
    "kernel.",
    exec};
