/* fatune nightly: one night of each space, one after the other, under one lock. Whatever becomes of a space, the others have their night; the
 * worst exit code is the program's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "paths.h"
#include "report.h"
#include "report_night.h"
#include "store.h"
#include "tune.h"

/* Of the time that a space has, the search may use this much: race, control, three finalists and a rematch take a quarter of the search's
 * time each at most, and the rest is checks. */
#define SEARCH_SHARE 0.35
#define SNAPSHOTS 14

struct nightly {
    struct tune_options tune;
    double minutes; /* for all spaces, 0: each takes its own */
    const char *reports;
    bool json, quiet;
    double started;
    json_t *nights;
    int worst;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

/* ---- reports ---- */

/* The folder: --reports, or nightly/ beside the store; in it one folder a date. */
static int report_stem(const struct nightly *n, const json_t *night, char *out, size_t size, struct err *e)
{
    const char *store = paths_store(n->tune.store), *slash = strrchr(store, '/');
    char folder[3072], device[32];
    struct err why = {0};
    size_t k = 0;

    if (n->reports)
        snprintf(folder, sizeof folder, "%s/%s", n->reports, text(night, "date"));
    else
        snprintf(folder, sizeof folder, "%.*snightly/%s", slash ? (int)(slash + 1 - store) : 0, store,
                 text(night, "date"));
    for (const char *p = text(night, "device"); *p && k + 1 < sizeof device; p++)
        if (*p != ':') device[k++] = *p;
    device[k] = '\0';
    if (snprintf(out, size, "%s/%s-%s-night%lld", folder, text(night, "space"), device,
                 (long long)json_integer_value(json_object_get(night, "night"))) >= (int)size)
        return err_set(e, ERR_SYSTEM, "path too long: %.200s...", folder);
    if (paths_make(out, &why) != 0)
        return err_set(e, why.code, "%.2000s; name another place with --reports DIR", why.text);
    return 0;
}

/* STEM.md and STEM.json, each whole or not at all. */
static int write_reports(const struct nightly *n, json_t *night, struct err *e)
{
    char stem[4000], path[4096], *dump = NULL;
    struct buf page = {0};
    int rc;

    TRY(report_stem(n, night, stem, sizeof stem, e));
    snprintf(path, sizeof path, "%s.md", stem);
    json_object_set_new(night, "report", json_string(path));
    report_night_page(&page, night);
    TRY(buf_check(&page, e));
    TRY(buf_write_file(path, page.p, page.n, e));
    snprintf(path, sizeof path, "%s.json", stem);
    dump = json_dumps(night, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (!dump) {
        rc = err_nomem(e);
        goto out;
    }
    rc = buf_write_file(path, dump, strlen(dump), e);
out:
    free(dump);
    buf_free(&page);
    return rc;
}

/* ---- nights ---- */

/* night: NULL when none was held. Takes it. */
static void tell(struct nightly *n, const char *file, json_t *night, const struct err *e)
{
    struct buf out = {0};
    int code = e->code == ERR_OK ? 0 : err_exit_code(e->code);

    if (code > n->worst) n->worst = code;
    if (e->code != ERR_OK) fprintf(stderr, "fatune: %s: %s\n", file, e->text);
    if (night && !n->json && (!n->quiet || report_night_news(night))) {
        report_night(&out, night);
        if (*text(night, "report")) buf_printf(&out, "  report: %s\n", text(night, "report"));
        printf("%s\n", buf_text(&out));
        fflush(stdout);
        buf_free(&out);
    }
    if (!night) night = json_object();
    json_object_set_new(night, "file", json_string(file));
    json_object_set_new(night, "exit_code", json_integer(code));
    if (code) json_object_set_new(night, "error", json_string(e->text));
    json_array_append_new(n->nights, night);
}

/* false: interrupted, no more nights. */
static bool hold(struct nightly *n, const char *file, int left)
{
    struct report_progress progress;
    struct tune_options o = n->tune;
    struct err e = {0};
    json_t *night = NULL;
    int rc;

    o.space = file;
    if (n->minutes > 0) o.minutes = fmax(0.01, SEARCH_SHARE * (n->minutes - (now_s() - n->started) / 60) / left);
    report_progress_open(&progress, stderr);
    if (!n->quiet) {
        o.progress = report_progress_show;
        o.ctx = &progress;
    }
    rc = tune_night(&o, &night, &e);
    report_progress_close(&progress);
    if (night) write_reports(n, night, rc == 0 ? &e : &(struct err){0});
    tell(n, file, night, &e);
    return e.code != ERR_INTERRUPTED;
}

static int hold_all(struct nightly *n, const struct command_operands *spaces, json_t **snapshot, struct err *e)
{
    char path[STORE_PATH_MAX];
    struct store *s = NULL;
    int rc;

    TRY(store_open(&s, paths_store(n->tune.store), STORE_WRITE, e));
    TRY(store_snapshot(s, SNAPSHOTS, path, e));
    *snapshot = json_string(path);
    n->tune.opened = s;
    n->started = now_s();
    for (int i = 0; i < spaces->n && hold(n, spaces->text[i], spaces->n - i); i++)
        continue;
out:
    store_close(s);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct nightly n = {.tune = {.no_contestants = true}};
    struct command_operands spaces;
    struct err e = {0};
    uint64_t seed = UINT64_MAX;
    json_t *snapshot = NULL;
    int rc;
    const struct command_option options[] = {
        {"device", OPTION_TEXT, &n.tune.device, "NAME", "auto, cuda, opencl or one of them with a number: cuda:1"},
        {"minutes", OPTION_DOUBLE, &n.minutes, "M", "time for all spaces together (default: each space's own)"},
        {"evaluations", OPTION_INT, &n.tune.evaluations, "N", "most proposals a space (default: the space's)"},
        {"strategy", OPTION_TEXT, &n.tune.strategy, "NAME",
         "auto or one that docs/SEARCH.md lists (default: the space's)"},
        {"seed", OPTION_U64, &seed, "N", "what the nights' seeds are drawn from (default: the space's)"},
        {"jobs", OPTION_INT, &n.tune.jobs, "N", "compile workers (default: one a core)"},
        {"waivers", OPTION_TEXT, &n.tune.waivers, "FILE",
         "sanitizers' reports that are known, for spaces with `sanitize: required`"},
        {"templates", OPTION_TEXT, &n.tune.templates, "DIR", "look for templates here too"},
        {"reports", OPTION_TEXT, &n.reports, "DIR", "where reports go (default: nightly/ beside the store)"},
        {"store", OPTION_TEXT, &n.tune.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &n.json, NULL, "print the result as JSON (docs/JSON.md)"},
        {"quiet", OPTION_FLAG, &n.quiet, NULL, "no progress, and words only when something happened"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, COMMAND_MAX_OPERANDS, &spaces, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, n.json);
    n.tune.has_seed = seed != UINT64_MAX;
    n.tune.seed = seed;
    n.nights = json_array();
    if ((n.nights ? hold_all(&n, &spaces, &snapshot, &e) : err_nomem(&e)) != 0) {
        rc = command_fail(&e, n.json);
        json_decref(n.nights);
    } else if (n.json) {
        rc = command_print_json(
            json_pack("{s:o,s:o,s:i}", "nights", n.nights, "snapshot", snapshot, "exit_code", n.worst));
        snapshot = NULL;
        if (n.worst) rc = n.worst;
    } else {
        json_decref(n.nights);
        rc = n.worst;
    }
    json_decref(snapshot);
    return rc;
}

const struct command cmd_nightly = {
    "nightly", "SPACE...", "a night of each space: check the champion anew, search on, confirm, promote or say why not",
    "For cron. The standing champion is compiled and checked anew, with fresh inputs and on shapes beside its own; one "
    "that "
    "fails is reported (exit 3) and stays. A promotion that no night has settled is tried again, and taken back when "
    "it is "
    "refuted. Then a search that starts from what is known, and a decision as in `run`. Each space has its night, "
    "whatever "
    "becomes of the others; the worst exit code counts. A night that was cut off goes on. Reports are pages and JSON; "
    "`fatune champion ledger` lists the nights. The store is copied before (14 copies are kept).",
    exec};
