/* What the two sides of a comparison are, found in this order: a version's name, "champion", a candidate's digest; a template of the space,
 * which stands for its default; a contestant. Behind all but the last, `:K=V,...` changes parameters. The space comes from the store: no file
 * is needed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune_private.h"

void tune_pair_free(struct tune_pair *p)
{
    for (int i = 0; i < 2; i++) {
        if (p->arm[i].known) store_version_free(&p->arm[i].v);
        free(p->arm[i].base);
    }
    contestant_program_free(&p->program);
    space_free(&p->space);
    *p = (struct tune_pair){0};
}

/* ---- in the store ---- */

struct only {
    const char *prefix; /* NULL: any */
    int n;
    char track[65];
};

static int count_track(void *ctx, const struct store_track *t)
{
    struct only *o = ctx;

    if (o->prefix && strncmp(t->digest, o->prefix, strlen(o->prefix)) != 0) return 0;
    snprintf(o->track, sizeof o->track, "%s", t->digest);
    return ++o->n > 1;
}

/* The store's only track, or the only one that begins with prefix. */
static int only_track(struct store *s, const char *prefix, char track[65], const char *remedy, struct err *e)
{
    struct only only = {.prefix = prefix};

    if (store_tracks(s, count_track, &only, e) != 0) return -1;
    if (only.n != 1 && prefix)
        return err_set(e, ERR_USAGE, "%s track begins with %s; `fatune champion list` shows the tracks",
                       only.n ? "more than one" : "no", prefix);
    if (only.n != 1)
        return err_set(e, ERR_USAGE, "%s, or give --track; `fatune champion list` shows the tracks", remedy);
    snprintf(track, 65, "%s", only.track);
    return 0;
}

static int find_champion(struct store *s, const char *track, struct store_version *out, bool *found, struct err *e)
{
    struct store_champion c = {0};
    char only[65], name[64];
    bool champion;

    if (!track) {
        if (only_track(s, NULL, only, "which champion? name the other version first", e) != 0) return -1;
        track = only;
    }
    if (store_champion(s, track, &c, &champion, e) != 0) return -1;
    if (!champion) return err_set(e, ERR_USAGE, "track %.12s has no champion; `fatune run` makes one", track);
    memcpy(name, c.version.name, sizeof name);
    store_champion_free(&c);
    return store_version_find(s, track, name, out, found, e);
}

static bool is_champion(const struct tune_arm *a)
{
    return strcmp(a->base, "champion") == 0;
}

/* Splits what was given, and looks the base up. */
static int split(struct tune_arm *a, const char *given, struct err *e)
{
    char *colon;

    a->given = a->label = given;
    a->base = strdup(given);
    if (!a->base) return err_nomem(e);
    colon = strchr(a->base, ':');
    if (!colon) return 0;
    *colon = '\0';
    a->changes = colon + 1;
    return 0;
}

static int look_up(struct tune_arm *a, struct store *s, const char *track, struct err *e)
{
    int rc;

    if (is_champion(a)) {
        TRY(find_champion(s, track, &a->v, &a->known, e));
    } else {
        TRY(store_version_find(s, track, a->base, &a->v, &a->known, e));
        if (!a->known) TRY(store_version_unnamed(s, track, a->base, &a->v, &a->known, e));
    }
    if (a->known && !a->changes) a->label = a->v.name;
out:
    return rc;
}

/* ---- which contestant ---- */

struct recorded {
    const char *name;
    struct contestant_program *out;
    struct buf *names; /* all that are recorded, for a message */
    bool newest;
};

static bool all_text(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i))) return false;
    return true;
}

/* A program whose command a run has recorded, since its name alone does not lead to it. */
static int take_recorded(void *ctx, const struct store_run *r)
{
    struct recorded *x = ctx;
    const json_t *list = json_object_get(r->settings, "contestants");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i), *words = json_object_get(one, "command");
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *folder = json_string_value(json_object_get(one, "folder"));
        size_t n = json_array_size(words);
        if (!name || n == 0 || !all_text(words)) continue;
        if (!x->newest) buf_printf(x->names, "%s%s", x->names->n ? ", " : "", name);
        if (strcmp(name, x->name) != 0) continue;
        snprintf(x->out->name, sizeof x->out->name, "%s", name);
        x->out->folder = folder ? strdup(folder) : NULL;
        x->out->local = true;
        x->out->args = calloc(n + 1, sizeof *x->out->args);
        for (size_t k = 0; k < n && x->out->args; k++)
            x->out->args[k] = strdup(json_string_value(json_array_get(words, k)));
        return 1;
    }
    x->newest = x->newest || json_array_size(list) > 0;
    return 0;
}

static int add_name(void *ctx, const struct store_version *v)
{
    struct buf *b = ctx;

    buf_printf(b, "%s%s", b->n ? ", " : "", v->name);
    return 0;
}

static int nobody(const struct tune_pair *p, struct store *s, const char *name, struct buf *contestants,
                  const struct paths *dirs, struct err *e)
{
    struct contestant_program *list = NULL;
    struct buf versions = {0}, templates = {0};
    int n = 0;

    if (store_versions(s, p->track, add_name, &versions, e) != 0 || contestant_list(&list, &n, dirs, e) != 0) {
        buf_free(&versions);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        buf_printf(contestants, "%s%s", contestants->n ? ", " : "", list[i].name);
        contestant_program_free(&list[i]);
    }
    free(list);
    for (int i = 0; i < p->space.ntemplates; i++)
        buf_printf(&templates, "%s%s", templates.n ? ", " : "", p->space.templates[i].name);
    err_set(e, ERR_USAGE,
            "no version and no contestant is called %s, and no candidate's digest begins so (6 digits or more)\n"
            "versions here: %s\ntemplates: %s\ncontestants: %s",
            name, versions.n ? buf_text(&versions) : "none", buf_text(&templates),
            contestants->n ? buf_text(contestants) : "none");
    buf_free(&versions);
    buf_free(&templates);
    return -1;
}

static int find_contestant(struct tune_pair *p, struct store *s, const char *extra, struct err *e)
{
    const char *name = p->arm[p->contestant].base;
    struct space_contestant wanted = {.name = (char *)(uintptr_t)name};
    struct buf names = {0};
    struct recorded x = {.name = name, .out = &p->program, .names = &names};
    struct paths dirs;
    int rc;

    paths_contestants(&dirs, NULL, extra);
    TRY(store_runs(s, p->track, take_recorded, &x, e));
    if (!p->program.args && contestant_find(&p->program, &wanted, NULL, &dirs, &(struct err){0}) != 0)
        rc = nobody(p, s, name, &names, &dirs, e);
out:
    buf_free(&names);
    return rc;
}

/* Only what lies there is meant, no record of its name; the records know it by its last part. */
static int named_by_path(struct tune_pair *p, bool stored, struct err *e)
{
    char *base = p->arm[p->contestant].base, *name = strrchr(base, '/') + 1;

    if (!stored && contestant_at(&p->program, base, e) != 0) return -1;
    memmove(base, name, strlen(name) + 1);
    return 0;
}

/* ---- the pair ---- */

static bool is_template(const struct space *s, const char *name)
{
    for (int i = 0; i < s->ntemplates; i++)
        if (strcmp(s->templates[i].name, name) == 0) return true;
    return false;
}

static int take_run(void *ctx, const struct store_run *r)
{
    int64_t *space = ctx;

    *space = r->space;
    return 1;
}

/* The space as the run had it that an arm is of; else the track's newest. */
static int find_space(struct tune_pair *p, struct store *s, struct err *e)
{
    const struct tune_arm *of = p->arm[0].known ? &p->arm[0] : &p->arm[1];
    struct store_run run = {0};
    char *name = NULL, *text = NULL;
    int64_t space = 0;
    int rc;

    if (of->known) {
        TRY(store_run_get(s, of->v.run, &run, e));
        space = run.space;
    } else {
        TRY(store_runs(s, p->track, take_run, &space, e));
    }
    if (space == 0) {
        rc = err_set(e, ERR_USAGE, "no run of track %.12s is in the store; `fatune champion list` shows the tracks",
                     p->track);
        goto out;
    }
    TRY(store_space_text(s, space, &name, &text, e));
    rc = space_parse(&p->space, text, strlen(text), name, e);
out:
    store_run_free(&run);
    free(name);
    free(text);
    return rc;
}

static int find_track(struct tune_pair *p, struct store *s, const char *track, struct err *e)
{
    for (int i = 0; i < 2; i++) {
        if (!p->arm[i].known) continue;
        snprintf(p->track, sizeof p->track, "%s", p->arm[i].v.track);
        return 0;
    }
    if (track) {
        snprintf(p->track, sizeof p->track, "%s", track);
        return 0;
    }
    return only_track(s, NULL, p->track, "of which track are these? compare with a version", e);
}

int tune_pair_find(struct tune_pair *p, struct store *s, const char *track, const char *a, const char *b, bool stored,
                   const char *extra, struct err *e)
{
    int first, other = 0, rc;
    char full[65];

    p->contestant = -1;
    if (track) {
        TRY(only_track(s, track, full, "", e));
        track = full;
    }
    TRY(split(&p->arm[0], a, e));
    TRY(split(&p->arm[1], b, e));
    first = is_champion(&p->arm[0]) ? 1 : 0; /* the other tells of which track */
    TRY(look_up(&p->arm[first], s, track, e));
    TRY(look_up(&p->arm[!first], s, p->arm[first].known ? p->arm[first].v.track : track, e));
    TRY(find_track(p, s, track, e));
    TRY(find_space(p, s, e));
    for (int i = 0; i < 2; i++) {
        if (p->arm[i].known || is_template(&p->space, p->arm[i].base)) continue;
        p->contestant = i;
        other++;
    }
    if (other == 2)
        rc = err_set(e, ERR_USAGE,
                     "neither %s nor %s is a version, a candidate's digest or a template of the space: one of the two "
                     "must be; `fatune champion list` shows versions",
                     a, b);
    else if (other == 1 && p->arm[p->contestant].changes)
        rc = err_set(e, ERR_USAGE,
                     "%s: no version, candidate or template is called %s, and a contestant's parameters are its own",
                     p->arm[p->contestant].given, p->arm[p->contestant].base);
    else if (other == 1 && strchr(p->arm[p->contestant].base, '/'))
        rc = named_by_path(p, stored, e);
    else if (other == 1 && !stored)
        rc = find_contestant(p, s, extra, e);
out:
    return rc;
}

/* ---- its point ---- */

static int changed(const struct tune_arm *a, struct err *e)
{
    return err_set(e, ERR_INPUT,
                   "the template of %s has changed since: it is another kernel now and cannot be measured as %s",
                   a->base, a->base);
}

int tune_arm_cand(struct tune *t, const struct tune_arm *a, struct cand *c, struct err *e)
{
    char id[DIGEST_HEX];
    struct err why = {0};

    if (!a->known) {
        if (cand_parse(t->domain, a->base, a->changes ? a->changes : "", c, e) != 0) return -1;
    } else {
        if (cand_from_json(t->domain, a->v.params, c, e) != 0) return -1;
        cand_id(t->domain, c, id);
        if (strcmp(id, a->v.cand) != 0) return changed(a, e);
        if (a->changes && cand_change(t->domain, a->changes, c, e) != 0) return -1;
    }
    if ((a->known && !a->changes) || domain_valid(t->domain, c, &why)) return 0;
    return err_set(e, ERR_USAGE, "%s is excluded, set other values: %s", a->given, why.text);
}
