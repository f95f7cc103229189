/* What is known elsewhere feeds the search: points that did well are proposed before the strategy's own. Priors, never results: a point is taken by the
 * names and values of its parameters, must be valid here, and is measured here like any other; its old time only chose it.
 *
 * Nearest first: earlier runs of this track; then other problems on this device, by problem_distance; then other devices, likewise; then imports. A source gives
 * its champion, then its best. Few are taken, so that a wrong prior costs little: this track gives up to SEEDS, most of which have been
 * measured in this environment, so that they cost nothing; of all others together at most one proposal in SHARE, three of a source, so that
 * the nearest is not the only one that is heard.
 *
 * They are chosen once, when the run begins, and kept in its settings: the store may grow before the run goes on. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune_private.h"

#define SEEDS TUNE_RACE_KEEP
#define SEEDS_OTHER 3
#define SHARE 8

enum kind { TRACK, SHAPE, DEVICE, IMPORT };
static const char *const kind_names[] = {"track", "shape", "device", "import"};

struct source {
    enum kind kind;
    double distance;
    int number;     /* as listed: newest first */
    char track[65]; /* "": an import */
    int64_t import;
    char space[256]; /* name; the file of an import */
    char device[128];
};

struct choice {
    struct tune *t;
    int64_t environment;
    struct source *sources;
    int n;
    const struct source *from;
    const char *version; /* NULL: no champion */
    int most;            /* seeds in all, when this source has given its own */
    json_t *seeds;
    struct err *e; /* of a callback */
};

/* ---- where to look ---- */

/* A space whose problem cannot be read is nobody's neighbour. */
static int add_source(struct choice *c, const struct source *from, const json_t *problem)
{
    struct source *more;
    struct problem p;

    if (problem_from_json(&p, problem, NULL) != 0) return 0;
    if ((c->n & (c->n - 1)) == 0) {
        more = realloc(c->sources, (c->n ? 2 * (size_t)c->n : 1) * sizeof *more);
        if (!more) return err_nomem(c->e);
        c->sources = more;
    }
    more = &c->sources[c->n];
    *more = *from;
    more->number = c->n;
    more->distance = problem_distance(&c->t->space.problem, &p);
    c->n += isfinite(more->distance) != 0;
    return 0;
}

static int add_track(void *ctx, const struct store_track *t)
{
    struct choice *c = ctx;
    struct source s = {.kind = DEVICE};

    if (strcmp(t->device, c->t->target.name) == 0) s.kind = strcmp(t->digest, c->t->track) == 0 ? TRACK : SHAPE;
    memcpy(s.track, t->digest, sizeof s.track);
    memcpy(s.space, t->space, sizeof t->space);
    memcpy(s.device, t->device, sizeof s.device);
    return add_source(c, &s, t->problem);
}

static int add_import(void *ctx, const struct store_import *i)
{
    struct source s = {.kind = IMPORT, .import = i->id};

    memcpy(s.space, i->file, sizeof i->file);
    return add_source(ctx, &s, i->problem);
}

static int nearer(const void *a, const void *b)
{
    const struct source *x = a, *y = b;

    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->number - y->number;
}

/* ---- what to take ---- */

/* One point more, when it is one of this space, valid, and not there yet. Non-zero: enough, or c->e. */
static int take(struct choice *c, const json_t *params)
{
    const struct source *s = c->from;
    struct domain *d = c->t->domain;
    struct cand x, other;
    json_t *seed;

    if ((int)json_array_size(c->seeds) >= c->most) return 1;
    if (cand_from_json(d, params, &x, NULL) != 0 || !domain_valid(d, &x, NULL)) return 0;
    for (size_t i = 0; i < json_array_size(c->seeds); i++)
        if (cand_from_json(d, json_object_get(json_array_get(c->seeds, i), "point"), &other, NULL) == 0 &&
            cand_equal(d, &x, &other))
            return 0;
    seed = json_pack("{s:o,s:s,s:s,s:s,s:s*,s:f}", "point", cand_to_json(d, &x), "kind", kind_names[s->kind], "from",
                     s->space, "device", s->device, "version", c->version, "distance", s->distance);
    return seed && json_array_append_new(c->seeds, seed) == 0 ? 0 : err_nomem(c->e);
}

static int take_best(void *ctx, const json_t *params, const char *cand, double us)
{
    (void)cand;
    (void)us;
    return take(ctx, params);
}

static int take_prior(void *ctx, const json_t *params, double us)
{
    (void)us;
    return take(ctx, params);
}

static int take_track(struct choice *c, struct err *e)
{
    struct store *s = c->t->store;
    struct store_champion champion;
    bool found;

    if (store_champion(s, c->from->track, &champion, &found, e) != 0) return -1;
    if (found) {
        c->version = champion.version.name;
        take(c, champion.version.params);
        c->version = NULL;
        store_champion_free(&champion);
    }
    return store_best(s, c->from->track, c->environment, INT64_MAX, INT_MAX, take_best, c, e);
}

static int take_all(struct choice *c, struct err *e)
{
    int others = c->t->evaluations / SHARE, rc = 0;

    if (others < 1) others = 1;
    for (int i = 0; i < c->n && rc == 0 && c->e->code == ERR_OK; i++) {
        int had = (int)json_array_size(c->seeds);
        c->from = &c->sources[i];
        if (c->from->kind == TRACK) {
            c->most = SEEDS;
        } else {
            c->most = had + (others < SEEDS_OTHER ? others : SEEDS_OTHER);
            if (c->most > SEEDS) c->most = SEEDS;
        }
        rc = c->from->import ? store_priors(c->t->store, c->from->import, take_prior, c, e) : take_track(c, e);
        if (c->from->kind != TRACK) others -= (int)json_array_size(c->seeds) - had;
    }
    return rc;
}

int tune_seeds(struct tune *t, int64_t environment, json_t **out, struct err *e)
{
    struct err stopped = {0};
    struct choice c = {.t = t, .environment = environment, .seeds = json_array(), .e = &stopped};
    int rc = c.seeds ? 0 : err_nomem(e);

    if (rc == 0 && !t->o->fresh) {
        TRY(store_tracks(t->store, add_track, &c, e));
        TRY(store_imports(t->store, add_import, &c, e));
        if (c.n > 0) qsort(c.sources, (size_t)c.n, sizeof *c.sources, nearer);
        TRY(take_all(&c, e));
    }
    if (rc == 0 && stopped.code != ERR_OK) rc = err_set(e, stopped.code, "%s", stopped.text);
out:
    free(c.sources);
    if (rc == 0)
        *out = c.seeds;
    else
        json_decref(c.seeds);
    return rc;
}

/* ---- what became of them ---- */

static int take_seed(void *ctx, const struct store_evaluation *v)
{
    json_t *seed = json_deep_copy(json_object_get(v->detail, "seed")), *list = ctx;

    if (!json_is_object(seed)) {
        json_decref(seed);
        return 0;
    }
    json_object_set_new(seed, "evaluation", json_integer(v->seq));
    json_object_set(seed, "point", v->params);
    json_object_set_new(seed, "us", isfinite(v->us) ? json_real(v->us) : json_null());
    json_array_append_new(list, seed);
    return 0;
}

int tune_seeds_used(struct store *s, int64_t run, json_t **out, struct err *e)
{
    int rc;

    *out = json_array();
    if (!*out) return err_nomem(e);
    rc = store_evaluations(s, run, take_seed, *out, e);
    if (rc == 0) return 0;
    json_decref(*out);
    *out = NULL;
    return rc;
}

/* ---- in words ---- */

static const char *member(const json_t *seed, const char *name)
{
    const char *s = json_string_value(json_object_get(seed, name));

    return s ? s : "";
}

static bool same_source(const json_t *a, const json_t *b)
{
    return strcmp(member(a, "kind"), member(b, "kind")) == 0 && strcmp(member(a, "from"), member(b, "from")) == 0 &&
           strcmp(member(a, "device"), member(b, "device")) == 0;
}

void tune_seeds_text(const json_t *seeds, struct buf *out)
{
    size_t n = json_array_size(seeds), next;

    for (size_t i = 0; i < n; i = next) {
        const json_t *s = json_array_get(seeds, i);
        const char *kind = member(s, "kind"), *version = "";
        for (next = i; next < n && same_source(s, json_array_get(seeds, next)); next++)
            if (*member(json_array_get(seeds, next), "version"))
                version = member(json_array_get(seeds, next), "version");
        buf_printf(out, "%s%zu%s from ", i ? ", " : "", next - i, i ? "" : next - i == 1 ? " point" : " points");
        buf_puts(out, strcmp(kind, "track") == 0 ? "earlier runs" : member(s, "from"));
        if (strcmp(kind, "device") == 0) buf_printf(out, " on %s", member(s, "device"));
        if (strcmp(kind, "import") == 0) buf_puts(out, " (imported)");
        if (*version) buf_printf(out, " (champion %s)", version);
    }
}
