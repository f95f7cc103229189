/* Opening a domain: find and load the templates, check the space's names and values against all of them, bind each to problem
 * and device, narrow its ranges, hand it the space's constraints that it can understand. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cand_private.h"
#include "domain_diagram.h"

/* ---- finding ---- */

struct names {
    char **name;
    size_t n;
};

/* Every folder with a manifest, for "did you mean". Unreadable folders are skipped. */
static void list_templates(struct names *out, const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;

    while (d && (entry = readdir(d)) != NULL) {
        struct buf path = {0};
        char **more;
        buf_printf(&path, "%s/%s/template.yaml", dir, entry->d_name);
        if (entry->d_name[0] != '.' && access(buf_text(&path), F_OK) == 0 &&
            (more = realloc(out->name, (out->n + 1) * sizeof *more)) != NULL) {
            out->name = more;
            out->name[out->n] = strdup(entry->d_name);
            if (out->name[out->n]) out->n++;
        }
        buf_free(&path);
    }
    if (d) closedir(d);
}

static int not_found(const struct space_name *name, const char *const *dirs, int ndirs, struct err *e)
{
    struct buf where = {0};
    struct names all = {0};
    const char *near;

    for (int i = 0; i < ndirs; i++) {
        buf_printf(&where, "%s%s", i > 0 ? ", " : "", dirs[i]);
        list_templates(&all, dirs[i]);
    }
    near = err_nearest(name->name, (const char *const *)all.name, all.n);
    err_at(e, &name->at, "no template `%s`%s%s%s (looked in: %s)", name->name, near ? "; did you mean `" : "",
           near ? near : "", near ? "`?" : "", ndirs > 0 ? buf_text(&where) : "nowhere; give --templates DIR");
    for (size_t i = 0; i < all.n; i++)
        free(all.name[i]);
    free(all.name);
    buf_free(&where);
    return -1;
}

static int load(struct tmpl **out, const struct space_name *name, const char *const *dirs, int ndirs, struct err *e)
{
    for (int i = 0; i < ndirs; i++) {
        struct buf path = {0};
        bool there;
        int rc;
        buf_printf(&path, "%s/%s/template.yaml", dirs[i], name->name);
        if (buf_check(&path, e) != 0) {
            buf_free(&path);
            return -1;
        }
        there = access(buf_text(&path), F_OK) == 0;
        if (!there) {
            buf_free(&path);
            continue;
        }
        path.n -= strlen("/template.yaml");
        rc = tmpl_load(out, buf_text(&path), e);
        buf_free(&path);
        return rc;
    }
    return not_found(name, dirs, ndirs, e);
}

/* ---- parameters of the space ---- */

static int unknown_param(const struct domain *d, const struct space_param *p, struct err *e)
{
    const char **names = NULL, *near;
    size_t n = 0;

    for (int i = 0; i < d->n; i++) {
        const struct tmpl *t = d->entry[i].t;
        const char **more = realloc(names, (n + (size_t)t->nparams + 1) * sizeof *more);
        if (!more) break; /* then without the suggestion */
        names = more;
        for (int k = 0; k < t->nparams; k++)
            names[n++] = t->params[k].range.name;
    }
    near = err_nearest(p->name, names, n);
    err_at(e, &p->at, "no listed template has a parameter `%s`%s%s%s", p->name, near ? "; did you mean `" : "",
           near ? near : "", near ? "`?" : "");
    free(names);
    return -1;
}

static bool offers(const struct space_param *range, int64_t value)
{
    for (int i = 0; i < range->n; i++)
        if (range->values[i] == value) return true;
    return false;
}

static int check_param(const struct domain *d, const struct space_param *p, struct err *e)
{
    bool known = false;

    for (int i = 0; i < d->n; i++)
        known = known || tmpl_param_index(d->entry[i].t, p->name) >= 0;
    if (!known) return unknown_param(d, p, e);
    for (int v = 0; v < p->n; v++) {
        struct buf range = {0};
        bool offered = false;
        for (int i = 0; i < d->n && !offered; i++) {
            const struct tmpl *t = d->entry[i].t;
            int k = tmpl_param_index(t, p->name);
            if (k < 0) continue;
            offered = offers(&t->params[k].range, p->values[v]);
            buf_printf(&range, "; %s has", t->name);
            for (int j = 0; j < t->params[k].range.n; j++)
                buf_printf(&range, " %" PRId64, t->params[k].range.values[j]);
        }
        if (!offered)
            err_at(e, &p->value_at[v], "no listed template offers %s = %" PRId64 "%.600s", p->name, p->values[v],
                   buf_text(&range));
        buf_free(&range);
        if (!offered) return -1;
    }
    return 0;
}

static const struct space_param *narrowing(const struct space *s, const char *name)
{
    for (int i = 0; i < s->nparams; i++)
        if (strcmp(s->params[i].name, name) == 0) return &s->params[i];
    return NULL;
}

static int set_reason(struct domain_entry *t, const struct space_param *narrow, struct err *e)
{
    struct buf b = {0};

    buf_printf(&b, "none of the values that the space gives %s (line %d) is one of its own", narrow->name,
               narrow->at.line);
    if (buf_check(&b, e) != 0) {
        buf_free(&b);
        return -1;
    }
    t->unfit = b.p;
    return 0;
}

/* Ranges, products, or the reason why there are none. */
static int narrow(struct domain *d, struct domain_entry *t, const struct space_name *name, struct err *e)
{
    t->n = t->t->nparams;
    for (int i = 0; i < t->n; i++) {
        const struct space_param *own = &t->t->params[i].range, *by = narrowing(d->space, own->name);
        t->values[i] = calloc((size_t)own->n, sizeof(int64_t));
        if (!t->values[i]) return err_nomem(e);
        for (int k = 0; k < own->n; k++)
            if (!by || offers(by, own->values[k])) t->values[i][t->nvalues[i]++] = own->values[k];
        if (t->nvalues[i] == 0 && !t->unfit && set_reason(t, by, e) != 0) return -1;
    }
    if (t->unfit || tmpl_unfit(t->b)) return 0;
    t->below[t->n] = 1;
    for (int i = t->n - 1; i >= 0; i--)
        if (__builtin_mul_overflow(t->below[i + 1], (uint64_t)t->nvalues[i], &t->below[i]) || t->below[i] > INT64_MAX)
            return err_at(e, &name->at, "`%s` spans more than 2^63 points; narrow its ranges under `params`",
                          name->name);
    t->product = t->below[0];
    t->start = d->total;
    if (t->product > (uint64_t)INT64_MAX - d->total)
        return err_at(e, &name->at,
                      "the templates together span more than 2^63 points; narrow their ranges under `params`");
    d->total += t->product;
    return 0;
}

/* ---- constraints of the space ---- */

struct knows {
    struct domain *d;
    int unknown;
    const struct domain_entry *by;
    struct err *e;
};

/* Is the name known to anybody? */
static int known_name(void *ctx, const char *name, const struct pos *at)
{
    struct knows *k = ctx;
    const char *near = NULL;

    for (int i = 0; i < k->d->n; i++)
        if (expr_slot(tmpl_scope(k->d->entry[i].b), name) >= 0) return 0;
    for (int i = 0; i < k->d->n && !near; i++) {
        const char *const *names;
        int n = expr_known(tmpl_scope(k->d->entry[i].b), &names);
        near = err_nearest(name, names, (size_t)n);
    }
    return err_at(k->e, at, "`%s` is no name of the problem, the device or a listed template%s%s%s", name,
                  near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
}

static int known_by(void *ctx, const char *name, const struct pos *at)
{
    struct knows *k = ctx;
    (void)at;
    k->unknown += expr_slot(tmpl_scope(k->by->b), name) < 0;
    return 0;
}

static int add_rule(struct domain *d, const struct space_rule *r, struct err *e)
{
    struct knows k = {.d = d, .e = e};
    bool applied = false;

    if (expr_names(r->text, &r->at, known_name, &k, e) != 0) return -1;
    for (int i = 0; i < d->n; i++) {
        k.by = &d->entry[i];
        k.unknown = 0;
        if (expr_names(r->text, &r->at, known_by, &k, e) != 0) return -1;
        if (k.unknown > 0) continue;
        if (tmpl_add_rule(d->entry[i].b, r, e) != 0) return -1;
        applied = true;
    }
    return applied
               ? 0
               : err_at(e, &r->at, "no listed template knows all names of this constraint, so it would never apply");
}

int domain_open(struct domain **out, const struct space *s, const char *const *dirs, int ndirs,
                const struct target *target, struct err *e)
{
    struct domain *d = calloc(1, sizeof *d);
    int rc = -1;

    if (d) d->entry = calloc((size_t)s->ntemplates + 1, sizeof *d->entry);
    if (!d || !d->entry) {
        err_nomem(e);
        goto out;
    }
    d->space = s;
    for (int i = 0; i < s->ntemplates; i++) {
        TRY(load(&d->entry[i].t, &s->templates[i], dirs, ndirs, e));
        d->n = i + 1;
        TRY(tmpl_bind(&d->entry[i].b, d->entry[i].t, &s->problem, target, e));
    }
    for (int i = 0; i < s->nparams; i++)
        TRY(check_param(d, &s->params[i], e));
    for (int i = 0; i < d->n; i++)
        TRY(narrow(d, &d->entry[i], &s->templates[i], e));
    for (int i = 0; i < s->nrules; i++)
        TRY(add_rule(d, &s->rules[i], e));
    for (int i = 0; i < d->n; i++) {
        d->entry[i].tally = calloc((size_t)tmpl_nsteps(d->entry[i].b) + 1, sizeof(struct domain_tally));
        if (!d->entry[i].tally) {
            rc = err_nomem(e);
            goto out;
        }
    }
    *out = d;
    rc = 0;
out:
    if (rc != 0) domain_close(d);
    return rc;
}

void domain_close(struct domain *d)
{
    if (!d) return;
    for (int i = 0; i < d->n; i++) {
        struct domain_entry *t = &d->entry[i];
        tmpl_bound_free(t->b);
        diagram_free(t->diagram);
        free(t->members);
        tmpl_free(t->t);
        for (int k = 0; k < t->n; k++)
            free(t->values[k]);
        free(t->unfit);
        free(t->tally);
    }
    free(d->entry);
    free(d->exclusions);
    free(d);
}
