/* fatune replay: strategies on spaces that were measured before. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "exchange.h"
#include "paths.h"
#include "recording.h"
#include "replay.h"
#include "search.h"
#include "track.h"

#define LONG_BUDGET 100 /* spaces with such budgets have a mean of their own */
#define MOST_STRATEGIES 32

struct asked {
    const char *names[MOST_STRATEGIES];
    int n;
    struct replay_options o;
    struct parallel *threads;
    bool json, quiet;
    const char *store; /* NULL: operands are files */
    struct track_query q;
    json_t *spaces;
};

/* "all", or names with commas between them, which it takes apart. Exhaustive search has no score: it visits all. */
static int strategies(struct asked *a, char *text, struct err *e)
{
    if (strcmp(text, "all") == 0) {
        a->names[a->n++] = "auto";
        for (int i = 0; search_strategies[i] && a->n < MOST_STRATEGIES; i++)
            if (strcmp(search_strategies[i]->name, "exhaustive") != 0) a->names[a->n++] = search_strategies[i]->name;
        return 0;
    }
    for (char *at = text, *next; at; at = next) {
        next = strchr(at, ',');
        if (next) *next++ = '\0';
        if (search_known(at, e) != 0) return -1;
        if (a->n == MOST_STRATEGIES) return err_set(e, ERR_USAGE, "more than %d strategies", MOST_STRATEGIES);
        a->names[a->n++] = at;
    }
    return 0;
}

static json_t *or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *score_json(const char *asked, const struct replay_score *s)
{
    json_t *curve = json_array();

    for (int t = 0; t < s->budget; t++)
        json_array_append_new(curve, json_real(s->curve_us[t]));
    return json_pack("{s:s,s:s,s:f,s:f,s:o,s:o,s:f,s:o}", "strategy", asked, "became", s->strategy, "p", s->p,
                     "within_5", s->within_5, "to_1", or_null(s->to_1), "to_5", or_null(s->to_5), "proposal_us",
                     s->proposal_us, "curve_us", curve);
}

static void print_number(double x, const char *format)
{
    if (isfinite(x))
        printf(format, x);
    else
        printf("%8s", "never");
}

static void print_score(const char *asked, const struct replay_score *s)
{
    char name[80];

    snprintf(name, sizeof name, strcmp(asked, s->strategy) == 0 ? "%s" : "%s (%s)", asked, s->strategy);
    printf("  %-20s %6.3f %6.0f%% ", name, s->p, 100 * s->within_5);
    print_number(s->to_5, "%8.0f");
    print_number(s->to_1, "%8.0f");
    printf(" %9.1f\n", s->proposal_us);
    fflush(stdout);
}

/* What a store has of a space, by way of what `fatune export` writes, so that both are one recording. */
static int read_store(struct recording *r, const struct asked *a, const char *space, struct err *e)
{
    struct track_query q = a->q;
    struct store *s = NULL;
    struct track t;
    json_t *doc = NULL;
    int rc;

    q.space = space;
    TRY(store_open(&s, a->store, STORE_READ, e));
    TRY(track_find(s, a->store, &q, &t, e));
    TRY(exchange_t4(s, &t, &doc, e));
    rc = recording_document(r, t.space, doc, e);
    if (rc != 0) err_context(e, "%.500s: %s", a->store, t.space);
out:
    json_decref(doc);
    store_close(s);
    return rc;
}

static int replay(struct asked *a, const char *path, struct err *e)
{
    struct recording r = {0};
    struct replay_space s = {0};
    json_t *scores = json_array();
    int rc;

    TRY(a->store ? read_store(&r, a, path, e) : recording_read(&r, path, e));
    TRY(replay_open(&s, &r, e));
    if (!a->json)
        printf("%s: %zu points, %zu failed, best %.6g us, median %.6g us, budget %d\n  %-20s %6s %7s %8s%8s %9s\n",
               r.name, r.n, r.n - s.n, s.best_us, s.median_us, a->o.budget ? a->o.budget : s.budget, "strategy", "P",
               "in 5%", "to 5%", "to 1%", "us a step");
    for (int i = 0; i < a->n; i++) {
        struct replay_score score;
        if (!a->quiet) fprintf(stderr, "\r%-79s\r%s, %s", "", r.name, a->names[i]);
        a->o.strategy = a->names[i];
        TRY(replay_score(&score, &s, &a->o, a->threads, e));
        if (!a->quiet) fprintf(stderr, "\r%-79s\r", "");
        if (!a->json) print_score(a->names[i], &score);
        json_array_append_new(scores, score_json(a->names[i], &score));
        replay_score_free(&score);
    }
    json_array_append_new(a->spaces, json_pack("{s:s,s:s,s:I,s:I,s:f,s:f,s:i,s:O}", "name", r.name, "file",
                                               a->store ? a->store : path, "points", (json_int_t)r.n, "failed",
                                               (json_int_t)(r.n - s.n), "best_us", s.best_us, "median_us", s.median_us,
                                               "budget", a->o.budget ? a->o.budget : s.budget, "scores", scores));
out:
    json_decref(scores);
    replay_close(&s);
    recording_free(&r);
    return rc;
}

/* Over the spaces whose budget is at least this. */
static json_t *means(const struct asked *a, int least)
{
    json_t *out = json_array(), *space;

    for (int i = 0; i < a->n; i++) {
        double p = 0, within = 0, lowest = INFINITY;
        size_t k;
        int n = 0;
        json_array_foreach(a->spaces, k, space)
        {
            const json_t *s = json_array_get(json_object_get(space, "scores"), (size_t)i);
            if (json_integer_value(json_object_get(space, "budget")) < least) continue;
            p += json_real_value(json_object_get(s, "p"));
            within += json_real_value(json_object_get(s, "within_5"));
            lowest = fmin(lowest, json_real_value(json_object_get(s, "p")));
            n++;
        }
        if (n > 0)
            json_array_append_new(out, json_pack("{s:s,s:f,s:f,s:f}", "strategy", a->names[i], "p", p / n, "within_5",
                                                 within / n, "p_lowest", lowest));
    }
    return out;
}

static void print_means(const char *words, const json_t *list)
{
    const json_t *m;
    size_t i;

    if (json_array_size(list) == 0) return;
    printf("%s\n  %-20s %6s %7s  lowest P\n", words, "strategy", "P", "in 5%");
    json_array_foreach(list, i, m)
        printf("  %-20s %6.3f %6.0f%% %9.3f\n", json_string_value(json_object_get(m, "strategy")),
               json_real_value(json_object_get(m, "p")), 100 * json_real_value(json_object_get(m, "within_5")),
               json_real_value(json_object_get(m, "p_lowest")));
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands files;
    struct asked a = {.o = {.repeats = 100, .seed = 1}};
    struct err e = {0};
    const char *wanted = "auto";
    char *names = NULL;
    int rc;
    const struct command_option options[] = {
        {"strategy", OPTION_TEXT, &wanted, "NAME,...", "which (default auto); all: every one"},
        {"repeats", OPTION_INT, &a.o.repeats, "N", "searches with different seeds (default 100)"},
        {"lag", OPTION_INDEX, &a.o.lag, "N", "answers outstanding when the next point is proposed (default 0)"},
        {"budget", OPTION_INT, &a.o.budget, "N", "evaluations (default: by the rule above, for each space)"},
        {"seed", OPTION_U64, &a.o.seed, "N", "of the first search (default 1)"},
        {"store", OPTION_TEXT, &a.store, "FILE", "FILE is a space's file or name: what this store has of it"},
        {"device", OPTION_TEXT, &a.q.device, "NAME", "with --store: part of the device's name"},
        {"track", OPTION_TEXT, &a.q.track, "DIGEST", "with --store: which track, where a name occurs in several"},
        {"json", OPTION_FLAG, &a.json, NULL, "print as JSON (docs/JSON.md)"},
        {"quiet", OPTION_FLAG, &a.quiet, NULL, "no progress"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, COMMAND_MAX_OPERANDS, &files, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, a.json);
    a.quiet = a.quiet || !isatty(STDERR_FILENO);
    a.spaces = json_array();
    if (a.o.repeats > 100000 || a.o.lag > 1000 || a.o.budget > 1000000)
        rc = err_set(&e, ERR_USAGE, "--repeats goes to 100000, --lag to 1000, --budget to 1000000");
    if (rc == 0 && !a.store && (a.q.device || a.q.track))
        rc = err_set(&e, ERR_USAGE, "--device and --track say which track of a store: name that by --store");
    if (rc == 0 && !(names = strdup(wanted))) rc = err_nomem(&e);
    if (rc == 0) rc = strategies(&a, names, &e);
    if (rc == 0) rc = parallel_open(&a.threads, 0, &e);
    for (int i = 0; i < files.n && rc == 0; i++)
        rc = replay(&a, files.text[i], &e);
    parallel_close(a.threads);
    json_t *all = means(&a, 0), *lengthy = means(&a, LONG_BUDGET);
    if (rc != 0) {
        rc = command_fail(&e, a.json);
    } else if (a.json) {
        rc = command_print_json(json_pack("{s:O,s:O,s:O,s:i,s:i,s:I}", "spaces", a.spaces, "mean", all, "mean_long",
                                          lengthy, "repeats", a.o.repeats, "lag", a.o.lag, "seed",
                                          (json_int_t)a.o.seed));
    } else if (files.n > 1) {
        print_means("mean of all spaces", all);
        print_means("mean of the spaces with a budget of 100 or more", lengthy);
    }
    json_decref(all);
    json_decref(lengthy);
    json_decref(a.spaces);
    free(names);
    return rc;
}

const struct command cmd_replay = {
    "replay", "FILE...", "scores search strategies on spaces that were measured before",
    "Each FILE lists every point of a space with its time, or that it failed: CSV with `status` and `mean_ms`, a cache "
    "of\n"
    "Kernel Tuner, or T4; plain or gzip; or, with --store, is a space that fatune itself has searched. Each strategy\n"
    "searches it --repeats times, as it would search a device. P is 0 for random search and 1 for the optimum at once\n"
    "(Willemsen et al. 2024), over the budget in which random search goes 95% of the way from the median to the "
    "optimum;\n"
    "beside it the share of searches that end within 5% of the optimum, the median of evaluations until within 5% and "
    "1%,\n"
    "and the processor time of a step. docs/SEARCH.md has the formulas.",
    exec};
