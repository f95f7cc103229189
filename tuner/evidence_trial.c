/* evidence_trial.c - a trial from its file. Nothing of it is taken on trust that something else in it says as well: a letter is the median of its
 * samples, a quad counts unless its readings or clocks say that the device changed, as when it was measured (tune_trial.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "evidence_private.h"
#include "health.h"
#include "stats.h"

#define CLOCK_ROUNDING 0.5001 /* MHz: the clocks of samples are kept as whole numbers, those of letters are not */

struct reader {
    const char *file;
    const json_t *quads;
    size_t at; /* the quad that comes next */
    struct trial *out;
    struct err *e;
};

static int whole(const struct reader *r, const json_t *j, const char *name, json_int_t most, int *out)
{
    const json_t *x = json_object_get(j, name);

    if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) > most)
        return err_set(r->e, ERR_INPUT, "%s: `%s` is no whole number from 0 to %lld", r->file, name, (long long)most);
    *out = (int)json_integer_value(x);
    return 0;
}

static int differs(const struct reader *r, const char *member, double is, double must)
{
    const json_t *j = json_array_get(r->quads, r->at);

    return err_set(r->e, ERR_INPUT, "%s: session %lld, quad %lld: `%s` is %.17g, and by what was measured %.17g",
                   r->file, (long long)json_integer_value(json_object_get(j, "session")),
                   (long long)json_integer_value(json_object_get(j, "quad")), member, is, must);
}

/* Its samples are those of the digest, and its letters their medians. */
static int read_letters(const struct reader *r, struct trial_quad *q)
{
    const json_t *j = json_array_get(r->quads, r->at), *list = json_object_get(j, "samples_us"), *x;
    const char *want = json_string_value(json_object_get(j, "digest"));
    double samples[4 * EVIDENCE_M_MAX], median;
    char sum[DIGEST_HEX], name[24];
    int m = r->out->m;

    if (json_array_size(list) != (size_t)(4 * m))
        return err_set(r->e, ERR_INPUT, "%s: quad %zu of the file has %zu samples, four letters of %d are %d", r->file,
                       r->at, json_array_size(list), m, 4 * m);
    for (int i = 0; i < 4 * m; i++) {
        if (!json_is_number(x = json_array_get(list, (size_t)i)))
            return err_set(r->e, ERR_INPUT, "%s: quad %zu of the file: sample %d is no number", r->file, r->at, i);
        samples[i] = json_number_value(x);
    }
    if (store_samples_digest(sum, samples, 4 * m, r->e) != 0) return -1;
    if (!want || strcmp(sum, want) != 0)
        return err_set(
            r->e, ERR_INPUT,
            "%s: session %lld, quad %lld: `samples_us` do not have the digest that they had when they were stored",
            r->file, (long long)json_integer_value(json_object_get(j, "session")),
            (long long)json_integer_value(json_object_get(j, "quad")));
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "letter%d", i);
        x = json_object_get(j, name);
        q->letter[i] = json_is_number(x) ? json_number_value(x) : (double)NAN;
        if (stats_median(samples + i * m, m, &median) != STATS_OK) median = (double)NAN;
        if (json_is_number(x) ? q->letter[i] != median : bench_is_time(median))
            return differs(r, name, q->letter[i], median);
    }
    return 0;
}

/* The clocks of its letters are the means of its samples' clocks. */
static int read_clocks(const struct reader *r, struct trial_quad *q, const json_t *health)
{
    const json_t *letters = json_object_get(health, "letter_mhz"), *list = json_object_get(health, "sample_mhz");
    double samples[4 * EVIDENCE_M_MAX], means[4];
    struct health_reading before, after;
    int m = r->out->m;

    for (size_t i = 0; i < 4; i++)
        q->letter_mhz[i] = json_number_value(json_array_get(letters, i));
    if (letters && json_array_size(list) == (size_t)(4 * m)) {
        for (int i = 0; i < 4 * m; i++)
            samples[i] = json_number_value(json_array_get(list, (size_t)i));
        health_letter_clocks(samples, m, means);
        for (int i = 0; i < 4; i++)
            if (!(fabs(means[i] - q->letter_mhz[i]) <= CLOCK_ROUNDING))
                return differs(r, "letter_mhz", q->letter_mhz[i], means[i]);
    }
    q->sm_mhz = json_number_value(json_object_get(json_array_get(r->quads, r->at), "sm_mhz"));
    health_from_json(&before, json_object_get(health, "before"));
    health_from_json(&after, json_object_get(health, "after"));
    double mean = before.sm_mhz > 0 && after.sm_mhz > 0 ? ((double)before.sm_mhz + after.sm_mhz) / 2 : 0;
    return q->sm_mhz != mean ? differs(r, "sm_mhz", q->sm_mhz, mean) : 0;
}

/* What a session's quads say together. */
struct seen {
    int moved, strangers;
};

static enum health_change change_of(const struct trial_quad *q, const json_t *health, struct seen *seen)
{
    struct health_reading before, after;
    enum health_change change;

    health_from_json(&before, json_object_get(health, "before"));
    health_from_json(&after, json_object_get(health, "after"));
    change = health_changed(&before, &after, q->letter_mhz);
    seen->moved += change == HEALTH_CLOCK;
    seen->strangers += before.other_processes > 0 || after.other_processes > 0;
    return change;
}

/* Whether it counts follows from its letters and its readings; moving: the session's clock moved so often that this is no event. */
static int read_discard(const struct reader *r, struct trial_quad *q, const json_t *health, bool moving,
                        struct seen *seen)
{
    enum health_change change = change_of(q, health, seen);
    bool discarded = change == HEALTH_CLOCK ? !moving : change != HEALTH_STEADY;
    int is, baab;

    for (int i = 0; i < 4; i++)
        discarded = discarded || !bench_is_time(q->letter[i]);
    if (whole(r, json_array_get(r->quads, r->at), "discarded", 1, &is) != 0 ||
        whole(r, json_array_get(r->quads, r->at), "baab", 1, &baab) != 0)
        return -1;
    q->discarded = is;
    q->baab = baab;
    return q->discarded != discarded ? differs(r, "discarded", is, discarded) : 0;
}

static int read_quad(struct reader *r, struct trial_session *s, bool moving, struct seen *seen)
{
    const json_t *j = json_array_get(r->quads, r->at), *health = json_object_get(j, "health");
    struct trial_quad *q = &s->quads[s->n];
    int number;

    if (whole(r, j, "quad", EVIDENCE_QUADS_MAX, &number) != 0) return -1;
    if (number != s->n)
        return err_set(r->e, ERR_INPUT, "%s: quad %d of a session is not where it belongs", r->file, number);
    if (read_letters(r, q) != 0 || read_clocks(r, q, health) != 0 || read_discard(r, q, health, moving, seen) != 0)
        return -1;
    s->n++;
    r->at++;
    return 0;
}

/* How many quads from here are of this session. */
static size_t quads_of(const struct reader *r, int session)
{
    size_t n = 0;

    while (r->at + n < json_array_size(r->quads) &&
           json_integer_value(json_object_get(json_array_get(r->quads, r->at + n), "session")) == session)
        n++;
    return n;
}

static int read_session(struct reader *r, const json_t *j)
{
    const json_t *health = json_object_get(j, "health"), *moves = json_object_get(health, "clock_moves");
    const char *invalid = json_string_value(json_object_get(health, "invalid"));
    struct trial_session *s = &r->out->sessions[r->out->n];
    size_t n = quads_of(r, r->out->n);
    struct seen seen = {0, 0};
    int number;

    if (whole(r, j, "session", EVIDENCE_SESSIONS_MAX, &number) != 0) return -1;
    if (number != r->out->n) return err_set(r->e, ERR_INPUT, "%s: session %d is not where it belongs", r->file, number);
    if (!(s->quads = calloc(n + 1, sizeof *s->quads))) return err_nomem(r->e);
    r->out->n++;
    for (size_t i = 0; i < n; i++)
        if (read_quad(r, s, json_is_integer(moves), &seen) != 0) return -1;
    if (json_is_integer(moves) && (json_integer_value(moves) != seen.moved || seen.moved <= HEALTH_RARE * s->n))
        return err_set(r->e, ERR_INPUT, "%s: session %d: `clock_moves` is %lld, its quads say %d of %d", r->file,
                       number, (long long)json_integer_value(moves), seen.moved, s->n);
    if (seen.strangers > 0 && !invalid)
        return err_set(r->e, ERR_INPUT,
                       "%s: session %d: %d quads saw another process on the device, and it is not `invalid`", r->file,
                       number, seen.strangers);
    if (json_is_true(json_object_get(health, "boxed"))) r->out->boxed = true;
    if (invalid && !r->out->invalid) {
        r->out->invalid = true;
        snprintf(r->out->reason, sizeof r->out->reason, "%s", invalid);
    }
    return 0;
}

int evidence_trial_read(struct trial *out, const json_t *j, const char *file, struct err *e)
{
    const json_t *settings = json_object_get(j, "settings"), *sessions = json_object_get(j, "sessions");
    struct reader r = {.file = file, .quads = json_object_get(j, "quads"), .out = out, .e = e};
    size_t n = json_array_size(sessions);
    int rc;

    *out = (struct trial){0};
    TRY(whole(&r, settings, "m", EVIDENCE_M_MAX, &out->m));
    out->boxed = json_is_true(json_object_get(settings, "boxed"));
    if (out->m < 1 || n < 1 || n > EVIDENCE_SESSIONS_MAX || json_array_size(r.quads) > EVIDENCE_QUADS_MAX) {
        rc = err_set(e, ERR_INPUT, "%s: %zu sessions of %zu quads in all, %d samples a letter: that is no trial", file,
                     n, json_array_size(r.quads), out->m);
        goto out;
    }
    if (!(out->sessions = calloc(n, sizeof *out->sessions))) {
        rc = err_nomem(e);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        TRY(read_session(&r, json_array_get(sessions, i)));
    if (r.at != json_array_size(r.quads))
        rc = err_set(e, ERR_INPUT, "%s: quad %zu of the file belongs to no session", file, r.at);
out:
    if (rc != 0) trial_free(out);
    return rc;
}
