/* fatune export: what was tried in a space, for other tuners and for `fatune replay`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "command.h"
#include "exchange.h"
#include "paths.h"
#include "track.h"

static int write_out(const json_t *doc, size_t flags, const char *path, struct err *e)
{
    char *text = json_dumps(doc, JSON_INDENT(1) | flags);
    struct buf all = {0};
    int rc = text ? 0 : err_nomem(e);

    if (rc == 0) buf_printf(&all, "%s\n", text);
    free(text);
    if (rc == 0) rc = buf_check(&all, e);
    if (rc == 0 && path)
        rc = buf_write_file(path, buf_text(&all), all.n, e);
    else if (rc == 0 && (fputs(buf_text(&all), stdout) < 0 || fflush(stdout) != 0))
        rc = err_set(e, ERR_SYSTEM, "the results cannot be written to the standard output");
    buf_free(&all);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct track_query q = {0};
    struct store *s = NULL;
    struct err e = {0};
    const char *format = "t4", *tmpl = NULL, *out = NULL, *store = NULL;
    bool cache;
    struct track t;
    json_t *doc = NULL;
    int rc;
    const struct command_option options[] = {
        {"format", OPTION_TEXT, &format, "NAME", "t4 (default), or cache: a cache file of Kernel Tuner"},
        {"template", OPTION_TEXT, &tmpl, "NAME", "of a cache: whose points, where several templates were tried"},
        {"out", OPTION_TEXT, &out, "FILE", "where to (default: standard output)"},
        {"device", OPTION_TEXT, &q.device, "NAME", "part of the device's name, where the space ran on several"},
        {"track", OPTION_TEXT, &q.track, "DIGEST", "which track, where a name occurs in several"},
        {"store", OPTION_TEXT, &store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, false);
    store = paths_store(store);
    q.space = operands.text[0];
    cache = strcmp(format, "cache") == 0;
    if (!cache && strcmp(format, "t4") != 0)
        TRY(err_set(&e, ERR_USAGE, "--format takes t4 or cache, not '%.40s'", format));
    if (!cache && tmpl)
        TRY(err_set(&e, ERR_USAGE, "--template is for --format cache: T4 has the points of all templates"));
    TRY(store_open(&s, store, STORE_READ, &e));
    TRY(track_find(s, store, &q, &t, &e));
    TRY(cache ? exchange_cache(s, &t, tmpl, &doc, &e) : exchange_t4(s, &t, &doc, &e));
    TRY(write_out(doc, cache ? 0 : JSON_SORT_KEYS, out, &e));
    if (out)
        printf("%zu points: %s\n",
               cache ? json_object_size(json_object_get(doc, "cache"))
                     : json_array_size(json_object_get(doc, "results")),
               out);
out:
    store_close(s);
    json_decref(doc);
    return rc == 0 ? 0 : command_fail(&e, false);
}

const struct command cmd_export = {"export", "SPACE",
                                   "what was tried in a space, for other tuners and for `fatune replay`",
                                   "SPACE is a space's file or its name. Every candidate that a run of it tried on "
                                   "this device, once, as last measured:\n"
                                   "parameters, what became of it, samples and score of the search in milliseconds; in "
                                   "the exchange format T4, or as a\n"
                                   "cache file for Kernel Tuner's simulation mode (docs/SEARCH.md). Times of a search "
                                   "are no results: they say what to\n"
                                   "try, not what is faster.",
                                   exec};
