/* What a point is called, where it goes in JSON, and what it becomes as source. */
#include "cand.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cand_private.h"
#include "digest.h"

static const char *param_name(const struct domain_entry *t, int k)
{
    return t->t->params[k].range.name;
}

static int64_t value_of(const struct domain_entry *t, const struct cand *c, int k)
{
    return t->values[k][c->at[k]];
}

bool cand_equal(const struct domain *d, const struct cand *a, const struct cand *b)
{
    return a->tmpl == b->tmpl && memcmp(a->at, b->at, (size_t)d->entry[a->tmpl].n * sizeof a->at[0]) == 0;
}

void cand_id(const struct domain *d, const struct cand *c, char out[65])
{
    const struct domain_entry *t = &d->entry[c->tmpl];
    const struct problem *p = &d->space->problem;
    char text[4096]; /* 32 names of 63 characters and their values fit */
    size_t n;

    n = (size_t)snprintf(text, sizeof text, "%d %d %d %d %d %d %s %s %.17g %d", p->batch, p->heads, p->kv_heads,
                         p->seq_q, p->seq_kv, p->head_dim, dtype_name(p->dtype), mask_name(p->mask), p->scale, p->lse);
    for (int k = 0; k < t->n; k++)
        n += (size_t)snprintf(text + n, sizeof text - n, " %s=%" PRId64, param_name(t, k), value_of(t, c, k));
    digest_strings(out, t->t->digest, text, (char *)NULL);
}

void cand_text(const struct domain *d, const struct cand *c, struct buf *out)
{
    const struct domain_entry *t = &d->entry[c->tmpl];

    buf_puts(out, t->t->name);
    for (int k = 0; k < t->n; k++)
        buf_printf(out, " %s=%" PRId64, param_name(t, k), value_of(t, c, k));
}

json_t *cand_to_json(const struct domain *d, const struct cand *c)
{
    const struct domain_entry *t = &d->entry[c->tmpl];
    json_t *params = json_object();

    for (int k = 0; params && k < t->n; k++)
        if (json_object_set_new(params, param_name(t, k), json_integer(value_of(t, c, k))) != 0) {
            json_decref(params);
            return NULL;
        }
    return params ? json_pack("{s:s, s:o}", "template", t->t->name, "params", params) : NULL;
}

static int find_template(const struct domain *d, const char *name)
{
    for (int i = 0; i < d->n; i++)
        if (strcmp(d->entry[i].t->name, name) == 0) return i;
    return -1;
}

static int find_value(const struct domain_entry *t, int param, int64_t value)
{
    for (int i = 0; i < t->nvalues[param]; i++)
        if (t->values[param][i] == value) return i;
    return -1;
}

int cand_from_json(const struct domain *d, const json_t *j, struct cand *c, struct err *e)
{
    const char *name = json_string_value(json_object_get(j, "template"));
    const json_t *params = json_object_get(j, "params");
    const struct domain_entry *t;
    struct cand out = {0};

    if (!name || !json_is_object(params)) return err_set(e, ERR_INPUT, "a candidate needs \"template\" and \"params\"");
    out.tmpl = find_template(d, name);
    if (out.tmpl < 0) return err_set(e, ERR_INPUT, "the space %s lists no template %s", d->space->name, name);
    t = &d->entry[out.tmpl];
    if (t->product == 0)
        return err_set(e, ERR_INPUT, "template %s is left out here: %s", name, domain_unfit(d, out.tmpl));
    if (json_object_size(params) != (size_t)t->n)
        return err_set(e, ERR_INPUT, "the candidate has %zu parameters, %s has %d: the template has changed",
                       json_object_size(params), name, t->n);
    for (int k = 0; k < t->n; k++) {
        const json_t *v = json_object_get(params, param_name(t, k));
        int at = json_is_integer(v) ? find_value(t, k, json_integer_value(v)) : -1;
        if (at < 0)
            return err_set(e, ERR_INPUT, "%s has no such value of %s in this space: template or space has changed",
                           name, param_name(t, k));
        out.at[k] = (uint16_t)at;
    }
    *c = out;
    return 0;
}

/* ---- K=V,K=V ---- */

#define MAX_SETTINGS CAND_MAX_PARAMS

struct setting {
    char name[EXPR_NAME_MAX + 1];
    int64_t value;
};

static int parse_settings(const char *text, struct setting out[MAX_SETTINGS], int *n, struct err *e)
{
    for (*n = 0; *text != '\0';) {
        const char *equals = strchr(text, '=');
        size_t len = equals ? (size_t)(equals - text) : 0;
        char *end;
        if (len == 0 || len > EXPR_NAME_MAX || memchr(text, ',', len))
            return err_set(e, ERR_USAGE, "`%s`: parameters are set as NAME=INTEGER,NAME=INTEGER", text);
        if (*n == MAX_SETTINGS) return err_set(e, ERR_USAGE, "more than %d parameters are set", MAX_SETTINGS);
        memcpy(out[*n].name, text, len);
        out[*n].name[len] = '\0';
        out[*n].value = strtoll(equals + 1, &end, 10);
        if (end == equals + 1 || (*end != '\0' && *end != ','))
            return err_set(e, ERR_USAGE, "`%s` is set to `%s`, which is no integer", out[*n].name, equals + 1);
        for (int i = 0; i < *n; i++)
            if (strcmp(out[i].name, out[*n].name) == 0) return err_set(e, ERR_USAGE, "`%s` is set twice", out[i].name);
        ++*n;
        text = *end == ',' ? end + 1 : end;
    }
    return 0;
}

/* The template meant, or -1 with the reason. */
static int choose_template(struct domain *d, const char *name, const struct setting *set, int n, struct err *e)
{
    const char *names[64], *near;
    size_t nnames = 0;
    int i;

    if (name) {
        i = find_template(d, name);
        if (i < 0) {
            for (int k = 0; k < d->n && nnames < 64; k++)
                names[nnames++] = d->entry[k].t->name;
            near = err_nearest(name, names, nnames);
            return err_set(e, ERR_USAGE, "the space lists no template `%s`%s%s%s", name, near ? "; did you mean `" : "",
                           near ? near : "", near ? "`?" : "");
        }
        if (d->entry[i].product == 0)
            return err_set(e, ERR_USAGE, "template %s is left out here: %s", name, domain_unfit(d, i));
        return i;
    }
    for (i = 0; i < d->n; i++) {
        int known = 0;
        while (known < n && tmpl_param_index(d->entry[i].t, set[known].name) >= 0)
            known++;
        if (d->entry[i].product > 0 && known == n) return i;
    }
    return err_set(e, ERR_USAGE,
                   "no usable template of the space has all of these parameters; `fatune space` lists them");
}

static int apply(const struct domain *d, const struct setting *set, int n, struct cand *c, struct err *e)
{
    const struct domain_entry *t = &d->entry[c->tmpl];

    for (int i = 0; i < n; i++) {
        int k = tmpl_param_index(t->t, set[i].name), at;
        if (k < 0) {
            const char *names[CAND_MAX_PARAMS], *near;
            for (int p = 0; p < t->n; p++)
                names[p] = param_name(t, p);
            near = err_nearest(set[i].name, names, (size_t)t->n);
            return err_set(e, ERR_USAGE, "%s has no parameter `%s`%s%s%s", t->t->name, set[i].name,
                           near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
        }
        at = find_value(t, k, set[i].value);
        if (at < 0) {
            struct buf values = {0};
            for (int v = 0; v < t->nvalues[k]; v++)
                buf_printf(&values, " %" PRId64, t->values[k][v]);
            err_set(e, ERR_USAGE, "%s has no %s=%" PRId64 " here; its values are%s", t->t->name, set[i].name,
                    set[i].value, buf_text(&values));
            buf_free(&values);
            return -1;
        }
        c->at[k] = (uint16_t)at;
    }
    return 0;
}

int cand_parse(struct domain *d, const char *tmpl, const char *text, struct cand *c, struct err *e)
{
    struct setting set[MAX_SETTINGS];
    struct cand out;
    int n;

    if (parse_settings(text, set, &n, e) != 0) return -1;
    out.tmpl = choose_template(d, tmpl, set, n, e);
    if (out.tmpl < 0) return -1;
    domain_default(d, out.tmpl, &out); /* a default that is excluded may become valid by what is set */
    if (apply(d, set, n, &out, e) != 0) return -1;
    *c = out;
    return 0;
}

int cand_change(const struct domain *d, const char *text, struct cand *c, struct err *e)
{
    struct setting set[MAX_SETTINGS];
    struct cand out = *c;
    int n;

    if (parse_settings(text, set, &n, e) != 0 || apply(d, set, n, &out, e) != 0) return -1;
    *c = out;
    return 0;
}

static int set_values(struct domain *d, const struct cand *c, struct err *e)
{
    struct domain_entry *t = &d->entry[c->tmpl];
    int64_t values[CAND_MAX_PARAMS];

    if (t->product == 0)
        return err_set(e, ERR_INPUT, "template %s is left out here: %s", t->t->name, domain_unfit(d, c->tmpl));
    for (int k = 0; k < t->n; k++)
        values[k] = value_of(t, c, k);
    t->placed = 0; /* tmpl_set moves the scope */
    return tmpl_set(t->b, values, e);
}

int cand_render(struct domain *d, const struct cand *c, struct rendered *out, struct err *e)
{
    return set_values(d, c, e) != 0 ? -1 : tmpl_render(d->entry[c->tmpl].b, out, e);
}

int cand_value(struct domain *d, const struct cand *c, const char *name, int64_t *out, struct err *e)
{
    const struct expr_scope *scope = tmpl_scope(d->entry[c->tmpl].b);
    int slot = expr_slot(scope, name);

    if (slot < 0) return err_set(e, ERR_INPUT, "template %s has no value %s", d->entry[c->tmpl].t->name, name);
    if (set_values(d, c, e) != 0) return -1;
    *out = expr_slot_value(scope, slot);
    return 0;
}
