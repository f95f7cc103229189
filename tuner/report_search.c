/* report_search.c - a search as it went: the best so far against evaluations and against time, all scores, the fates. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "report_private.h"
#include "report_space_private.h"
#include "tune.h"

enum { POINTS = 1500 }; /* of a longer search every nth is drawn, and every one that is best so far */

struct search {
    double begun; /* seconds since 1970 */
    int every, seen, known, aliases;
    double best_us;
    json_t *points, *best;
    int fates[FATE_N];
};

/* Seconds since 1970 of a date as stores write it; NAN for another text. */
static double seconds_of(const char *at)
{
    struct tm t = {0};
    double s;

    if (sscanf(at, "%d-%d-%dT%d:%d:%lfZ", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &s) != 6)
        return (double)NAN;
    t.tm_year -= 1900;
    t.tm_mon--;
    return (double)timegm(&t) + s;
}

/* "template K=V K=V" of a point as stored. */
void report_point_text(struct buf *out, const json_t *point)
{
    const char *name;
    const json_t *value;

    buf_puts(out, text(point, "template"));
    json_object_foreach(json_object_get(point, "params"), name, value)
        buf_printf(out, " %s=%" JSON_INTEGER_FORMAT, name, json_integer_value(value));
}

static int take(void *ctx, const struct store_evaluation *v)
{
    struct search *x = ctx;
    double after = seconds_of(v->at) - x->begun;
    bool timed = v->fate == FATE_OK && v->us > 0 && isfinite(v->us),
         best = timed && (!(x->best_us > 0) || v->us < x->best_us);

    x->fates[v->fate]++;
    x->seen++;
    if (v->alias_of >= 0) x->aliases++;
    if (json_object_get(v->detail, "known_from_run")) x->known++;
    if (!timed) return 0;
    if (best || x->seen % x->every == 0)
        json_array_append_new(x->points, json_pack("[i,o,f]", v->seq, real(after), v->us));
    if (best) {
        struct buf name = {0};

        x->best_us = v->us;
        report_point_text(&name, v->params);
        json_array_append_new(x->best, json_pack("{s:i,s:o,s:f,s:s}", "seq", v->seq, "after_s", real(after), "us",
                                                 v->us, "candidate", buf_text(&name)));
        buf_free(&name);
    }
    return 0;
}

int report_search(struct store *s, const struct store_run *run, json_t **out, struct err *e)
{
    struct search x = {.begun = seconds_of(run->started), .points = json_array(), .best = json_array()};
    json_t *fates = json_object(), *seeds = NULL,
           *time = json_object_get(json_object_get(run->summary, "seconds"), "search"); /* absent in older runs */
    int n, end, rc;

    *out = NULL;
    TRY(store_evaluations_count(s, run->id, &n, &end, e));
    x.every = n / POINTS + 1;
    TRY(store_evaluations(s, run->id, take, &x, e));
    TRY(tune_seeds_used(s, run->id, &seeds, e));
    for (int i = 0; i < FATE_N; i++)
        if (x.fates[i] > 0) json_object_set_new(fates, fate_name((enum fate)i), json_integer(x.fates[i]));
    *out = json_pack("{s:I,s:s,s:s,s:s,s:O?,s:i,s:i,s:i,s:i,s:O,s:O,s:O,s:o,s:O,s:O}", "run", (json_int_t)run->id,
                     "state", run->state, "started", run->started, "strategy",
                     *text(run->summary, "strategy") ? text(run->summary, "strategy") : text(run->settings, "strategy"),
                     "seed", json_object_get(run->settings, "seed"), "evaluations", n, "aliases", x.aliases, "known",
                     x.known, "every", x.every, "fates", fates, "points", x.points, "best", x.best, "seconds",
                     real(run->elapsed_s), "time", json_is_object(time) ? time : json_null(), "seeds", seeds);
    if (!*out) rc = err_nomem(e);
out:
    json_decref(seeds);
    json_decref(fates);
    json_decref(x.points);
    json_decref(x.best);
    return rc;
}
