/* fatune oracle: where a kernel goes wrong first, in S, in P or in O. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "command.h"
#include "paths.h"
#include "point.h"
#include "tune.h"

enum { FOUND = 3 };

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static long long integer(const json_t *j, const char *name)
{
    return (long long)json_integer_value(json_object_get(j, name));
}

/* A number, or the text that stands for one that is not finite. */
static const char *number(const json_t *j, const char *name, char out[32])
{
    const json_t *x = json_object_get(j, name);

    if (json_is_string(x)) return json_string_value(x);
    snprintf(out, 32, "%.6g", json_number_value(x));
    return out;
}

static void print_stage(const json_t *s)
{
    static const struct {
        const char *stage, *words;
    } what[] = {{"S", "scores"}, {"M", "references"}, {"P", "weights"}, {"O", "output"}};
    const char *const column =
        json_object_get(json_array_get(json_object_get(s, "worst"), 0), "key") ? "key" : "column";
    char a[32], b[32];
    size_t i = 0;
    json_t *x;

    while (i + 1 < sizeof what / sizeof what[0] && strcmp(what[i].stage, text(s, "stage")) != 0)
        i++;
    if (integer(s, "bad") == 0) {
        printf("  %s  %-10s  right: %lld, largest error %s\n", what[i].stage, what[i].words, integer(s, "cells"),
               number(s, "largest", a));
        return;
    }
    printf("  %s  %-10s  DEPARTS: %lld of %lld\n", what[i].stage, what[i].words, integer(s, "bad"),
           integer(s, "cells"));
    if (*text(s, "why")) printf("       %s\n", text(s, "why"));
    printf("       %s\n", text(s, "where"));
    json_array_foreach(json_object_get(s, "worst"), i, x)
        printf("       row %lld %s %lld: got %s, expected %s\n", integer(x, "row"), column, integer(x, column),
               number(x, "got", a), number(x, "expected", b));
}

static void print_report(const json_t *r)
{
    const json_t *tile = json_object_get(r, "tile"), *ordinary = json_object_get(r, "ordinary"), *stage;
    char a[32];
    size_t i;

    printf("  tile       batch %lld, head %lld, rows %lld to %lld; inputs %s, seed %lld\n", integer(tile, "batch"),
           integer(tile, "head"), integer(tile, "row"), integer(tile, "row") + integer(tile, "rows") - 1,
           text(r, "inputs"), integer(r, "seed"));
    json_array_foreach(json_object_get(r, "stages"), i, stage) print_stage(stage);
    printf("  O against f64 of the inputs: largest error %s\n", number(r, "error", a));
    if (integer(ordinary, "differs") == 0)
        printf("  the ordinary build gives the same O, bit for bit\n");
    else
        printf("  the ordinary build's O differs from the debug build's in %lld elements; %lld of its tile are wrong\n",
               integer(ordinary, "differs"), integer(ordinary, "bad"));
    if (*text(r, "departs"))
        printf("%s departs first\n", text(r, "departs"));
    else if (json_is_true(json_object_get(r, "hidden")))
        printf("the fault goes away when the kernel is watched: no stage of the debug build departs, and the ordinary "
               "build's O is wrong\n");
    else
        printf("no departure\n");
}

static void print(const json_t *j)
{
    const json_t *report = json_object_get(j, "report");

    printf("%s on %s\n  fate       %s\n  id         %.16s\n", text(j, "candidate"), text(j, "device"), text(j, "fate"),
           text(j, "id"));
    if (strcmp(text(j, "fate"), "OK") != 0 && *text(j, "log")) printf("%s\n", text(j, "log"));
    if (json_is_true(json_object_get(j, "other_code")))
        printf(
            "  note       the templates or the compiler make other code of this version today: that is what was run\n");
    if (!report) return;
    print_report(report);
    printf("s.npy, p.npy, m.npy, o.npy and what they should be: %s\n", text(j, "folder"));
}

/* FROM or FROM:N */
static int read_rows(const char *s, struct check_tile *tile, struct err *e)
{
    char behind;
    int n = s ? sscanf(s, "%9d:%9d%c", &tile->row, &tile->rows, &behind) : 0;

    if (!s || (n == 1 && !strchr(s, ':')) || (n == 2 && tile->rows > 0)) return 0;
    return err_set(e, ERR_USAGE, "--rows takes FROM or FROM:N, as in --rows 128:64; not `%.40s`", s);
}

static int look(const struct tune_options *given, const struct point *p, const struct check_tile *tile,
                const char *inputs, const char *out, json_t **result, struct err *e)
{
    struct tune_options o = *given;
    struct buf inside = {0};
    struct err why = {0};
    int rc = 0;

    o.space = p->space.p;
    if (out) {
        buf_printf(&inside, "%s/", out);
        if (paths_make(buf_text(&inside), &why) != 0)
            rc = err_set(e, why.code, "%.2000s; name another place with --out DIR", why.text);
        buf_free(&inside);
    }
    if (rc == 0)
        rc = tune_oracle(&o, p->tmpl.n ? p->tmpl.p : NULL, p->set.n ? p->set.p : NULL, tile, inputs,
                         out ? out : p->folder.p, result, e);
    if (rc == 0)
        json_object_set_new(*result, "other_code",
                            json_boolean(p->binary.n > 0 && strcmp(p->binary.p, text(*result, "binary")) != 0));
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct tune_options o = {0};
    struct check_tile tile = {0};
    struct point p = {0};
    struct err e = {0};
    const char *set = NULL, *tmpl = NULL, *track = NULL, *rows = NULL, *inputs = "plain", *out = NULL;
    uint64_t seed = UINT64_MAX;
    bool json = false;
    json_t *result = NULL;
    int rc, code;
    const struct command_option options[] = {
        {"set", OPTION_TEXT, &set, "K=V,...", "of a SPACE: parameters that differ from the template's default"},
        {"template", OPTION_TEXT, &tmpl, "NAME", "of a SPACE: which template"},
        {"batch", OPTION_INDEX, &tile.batch, "B", "the tile's batch (default 0)"},
        {"head", OPTION_INDEX, &tile.head, "H", "its head of the queries (default 0)"},
        {"rows", OPTION_TEXT, &rows, "FROM[:N]", "its query rows (default 0:64)"},
        {"inputs", OPTION_TEXT, &inputs, "SET",
         "plain, large_logits, dominant_key, equal_rows, growing_maximum, shrinking_maximum or offset_v"},
        {"seed", OPTION_U64, &seed, "N", "seed of the inputs"},
        {"out", OPTION_TEXT, &out, "DIR", "where the .npy files go (default: the folder oracle beside the store)"},
        {"device", OPTION_TEXT, &o.device, "NAME", "as in `fatune run`"},
        {"track", OPTION_TEXT, &track, "DIGEST", "which track, where a name occurs in several"},
        {"templates", OPTION_TEXT, &o.templates, "DIR", "look for templates here too"},
        {"store", OPTION_TEXT, &o.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    o.has_seed = seed != UINT64_MAX;
    o.seed = seed;
    if (!check_knows_set(inputs))
        rc = err_set(&e, ERR_USAGE, "no inputs are called %.40s; `fatune oracle --help` lists them", inputs);
    if (rc == 0) rc = read_rows(rows, &tile, &e);
    if (rc == 0)
        rc = point_find(&p,
                        &(struct point_query){.kind = "oracle",
                                              .name = operands.text[0],
                                              .store = paths_store(o.store),
                                              .track = track,
                                              .tmpl = tmpl,
                                              .set = set},
                        &e);
    if (rc == 0) rc = look(&o, &p, &tile, inputs, out, &result, &e);
    point_free(&p);
    if (rc != 0) return command_fail(&e, json);
    const json_t *report = json_object_get(result, "report");
    code = json_is_null(json_object_get(report, "departs")) && !json_is_true(json_object_get(report, "hidden")) ? 0
                                                                                                                : FOUND;
    if (json) return (rc = command_print_json(result)) != 0 ? rc : code;
    print(result);
    json_decref(result);
    return code;
}

const struct command cmd_oracle = {
    "oracle", "NAME|SPACE", "shows where a kernel goes wrong first: in S, in P or in O of a tile",
    "NAME is a version (v1, v2, ...) or a prefix of a candidate's digest; a SPACE with --set is one of its points, as "
    "in "
    "`fatune eval`.\n"
    "Its debug build shows the scores S, the references M and weights P, and the output O of some query rows; each is "
    "compared\n"
    "with f64, computed from what the kernel itself had so far, so that the first that departs is the one to blame. "
    "Exit "
    "code 3:\n"
    "something departs, or the kernel did not run.",
    exec};
