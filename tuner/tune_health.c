/* A trial's health in a few numbers: ranges over the letters' clocks and over the readings before and after each quad, counts of what was
 * spoiled. What no reading knows is
 * absent. Why a quad was discarded follows from its readings. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"
#include "tune_private.h"

#define REASONS 5

static const struct {
    int64_t bit;
    const char *name;
} reasons[REASONS] = {
#define X(bit, name) {bit, name},
    HEALTH_REASONS(X)
#undef X
};

struct series {
    double *x;
    int n, cap;
};

struct health_sum {
    struct series letter_mhz, idle_mhz, temperature_c, power_w;
    int readings, known[REASONS], monitored, strangers, processes_seen;
    int spoiled[HEALTH_NCHANGES], other, unsteady;
    int64_t moving;
    bool nomem;
};

static void add(struct health_sum *h, struct series *s, double x)
{
    if (x < 0) return;
    if (s->n == s->cap) {
        int cap = s->cap ? 2 * s->cap : 64;
        double *more = realloc(s->x, (size_t)cap * sizeof *more);
        h->nomem = h->nomem || !more;
        if (!more) return;
        s->x = more;
        s->cap = cap;
    }
    s->x[s->n++] = x;
}

static void add_reading(struct health_sum *h, const struct health_reading *r)
{
    h->readings++;
    add(h, &h->idle_mhz, r->sm_mhz);
    add(h, &h->temperature_c, r->temperature_c);
    add(h, &h->power_w, r->power_mw / 1e3);
    if (r->throttle >= 0) h->monitored++;
    for (int i = 0; i < REASONS && r->throttle >= 0; i++)
        h->known[i] += (r->throttle & reasons[i].bit) != 0;
    h->processes_seen += r->other_processes >= 0;
    h->strangers += r->other_processes > 0;
}

static int take(void *ctx, int session, int quad, bool discarded, const json_t *j)
{
    struct health_sum *h = ctx;
    const json_t *steady = json_object_get(j, "steady");
    const json_int_t moves = json_integer_value(json_object_get(j, "clock_moves"));
    struct health_reading before, after;
    double letters[4];

    (void)session;
    if (quad < 0) {
        if (moves > 0 && moves <= INT_MAX) h->moving += moves; /* read back: in a damaged store it may be anything */
        h->unsteady += json_is_false(json_array_get(steady, 0)) || json_is_false(json_array_get(steady, 1));
        return 0;
    }
    health_from_json(&before, json_object_get(j, "before"));
    health_from_json(&after, json_object_get(j, "after"));
    add_reading(h, &before);
    add_reading(h, &after);
    for (size_t i = 0; i < 4; i++) {
        letters[i] = json_number_value(json_array_get(json_object_get(j, "letter_mhz"), i));
        if (letters[i] > 0) add(h, &h->letter_mhz, letters[i]);
    }
    if (discarded) {
        enum health_change change = health_changed(&before, &after, letters);
        if (change == HEALTH_STEADY)
            h->other++;
        else
            h->spoiled[change]++;
    }
    return 0;
}

/* [least, median, most], or NULL when nothing is known (or no memory is left). */
static json_t *range(struct series *s)
{
    double median;

    if (s->n == 0 || stats_median(s->x, s->n, &median) != STATS_OK) return NULL;
    double least = s->x[0], most = s->x[0];
    for (int i = 1; i < s->n; i++) {
        least = fmin(least, s->x[i]);
        most = fmax(most, s->x[i]);
    }
    return json_pack("[f,f,f]", least, median, most);
}

static void put(json_t *to, const char *name, json_t *value)
{
    if (value) json_object_set_new(to, name, value);
}

static json_t *summary(struct health_sum *h)
{
    json_t *out = json_pack("{s:i,s:i,s:I}", "readings", h->readings, "unsteady", h->unsteady, "moving",
                            (json_int_t)h->moving),
           *held = json_object(), *spoiled = json_object();

    put(out, "clock_mhz", range(&h->letter_mhz));
    put(out, "idle_mhz", range(&h->idle_mhz));
    put(out, "temperature_c", range(&h->temperature_c));
    put(out, "power_w", range(&h->power_w));
    for (int i = 0; i < REASONS; i++)
        if (h->known[i] > 0) put(held, reasons[i].name, json_integer(h->known[i]));
    for (int i = HEALTH_STEADY + 1; i < HEALTH_NCHANGES; i++)
        if (h->spoiled[i] > 0) put(spoiled, health_change_name((enum health_change)i), json_integer(h->spoiled[i]));
    if (h->other > 0) put(spoiled, "letter", json_integer(h->other));
    if (h->monitored > 0)
        put(out, "held_down", held);
    else
        json_decref(held);
    put(out, "spoiled", spoiled);
    if (h->processes_seen > 0) put(out, "strangers", json_integer(h->strangers));
    return out;
}

int tune_trial_health(struct store *s, int64_t trial, json_t **out, struct err *e)
{
    struct health_sum h = {.readings = 0};
    int rc = store_trial_health(s, trial, take, &h, e);

    *out = rc == 0 && !h.nomem ? summary(&h) : NULL;
    if (rc == 0 && !*out) rc = err_nomem(e);
    free(h.letter_mhz.x);
    free(h.idle_mhz.x);
    free(h.temperature_c.x);
    free(h.power_w.x);
    return rc;
}
