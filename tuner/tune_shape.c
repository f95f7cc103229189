/* A configuration on shapes beside its own. Sizes are constants of a kernel, so the same template and parameters are rendered for each shape
 * and checked in full, against the reference rendered for it. What a template or a constraint refuses there is left out, with the reason;
 * what it accepts must be right. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tune_private.h"

#define DRAWS 8 /* until a shape is found that the template can serve */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Uniform in 1..n. */
static int draw(struct rng *r, int n)
{
    return 1 + (int)rng_below(r, (uint64_t)n);
}

static struct problem one_less(const struct problem *p)
{
    struct problem out = *p;

    if (p->seq_q > 1) out.seq_q--;
    if (p->seq_kv > 1) out.seq_kv--;
    return out;
}

static struct problem one_query(const struct problem *p)
{
    struct problem out = *p;

    out.seq_q = 1;
    return out;
}

/* Under a causal mask a query without any key would be another question: where the space has none, no shape has one. */
static struct problem drawn(const struct problem *p, struct rng *r)
{
    bool ordered = p->mask == MASK_CAUSAL && p->seq_q <= p->seq_kv;
    struct problem out = *p;

    out.batch = draw(r, p->batch);
    out.kv_heads = draw(r, p->kv_heads);
    out.heads = out.kv_heads * (p->heads / p->kv_heads);
    out.seq_kv = draw(r, p->seq_kv);
    out.seq_q = draw(r, ordered ? least(p->seq_q, out.seq_kv) : p->seq_q);
    return out;
}

/* The domain of the one template for this shape, and the point in it. "" in why, or the reason why there is none. */
static int place_one(struct tune *t, struct tune_shape *s, const struct tune_item *of, char why[512], struct err *e)
{
    struct space_name tmpl = {.name = domain_template(t->domain, of->cand.tmpl)->name,
                              .at = {.file = t->space.path, .line = 1, .column = 1}};
    struct space space = {
        .problem = s->problem, .name = t->space.name, .path = t->space.path, .ntemplates = 1, .templates = &tmpl};
    json_t *params = cand_to_json(t->domain, &of->cand);
    struct err refused = {0};
    int rc;

    if (!params) return err_nomem(e);
    why[0] = '\0';
    TRY(domain_open(&s->domain, &space, t->paths.dirs, t->paths.n, &t->target, e));
    if (domain_unfit(s->domain, 0))
        snprintf(why, 512, "%s", domain_unfit(s->domain, 0));
    else if (cand_from_json(s->domain, params, &s->item.cand, &refused) != 0 ||
             !domain_valid(s->domain, &s->item.cand, &refused))
        snprintf(why, 512, "%.500s", refused.text);
out:
    json_decref(params);
    return rc;
}

/* Shape n; the last one is drawn until the template can serve it. */
static int place(struct tune *t, struct tune_shape *s, int n, const struct tune_item *of, char why[512], struct err *e)
{
    const struct problem *own = &t->space.problem;
    struct rng r;

    rng_init(&r, t->seed, "shape");
    for (int i = 0; i < (n < TUNE_SHAPES - 1 ? 1 : DRAWS); i++) {
        domain_close(s->domain);
        s->domain = NULL;
        s->problem = n == 0 ? one_less(own) : n == 1 ? one_query(own) : drawn(own, &r);
        if (place_one(t, s, of, why, e) != 0) return -1;
        if (!*why) return tune_reference(t, &s->problem, &s->reference, e);
    }
    return 0;
}

static int check(struct tune *t, struct tune_shape *s, int n, const struct tune_item *of, char why[512], struct err *e)
{
    struct tune_item *i = &s->item;
    bool passed;
    int rc;

    *i = (struct tune_item){.seq = of->seq, .row = of->row, .alias_of = -1, .us = NAN, .shape = s};
    memcpy(i->id, of->id, sizeof i->id);
    TRY(place(t, s, n, of, why, e));
    if (*why) goto out;
    TRY(tune_prepare(t, i, e));
    if (i->rendered) TRY(farm_wait(t->farm, &i->job, e));
    if (i->rendered && i->job.fate != FATE_OK)
        i->fate = i->job.fate;
    else if (i->rendered)
        TRY(tune_prove(t, i, &passed, e));
    if (fate_harmless(i->fate))
        snprintf(why, 512, "%s: %.400s", fate_name(i->fate), i->log ? i->log : fate_text(i->fate));
out:
    return rc;
}

int tune_check_shapes(struct tune *t, const struct tune_item *of, const char *name, json_t **out, struct err *e)
{
    char why[512], text[128];
    int rc = 0;

    *out = json_array();
    if (!*out) return err_nomem(e);
    for (int n = 0; n < TUNE_SHAPES && rc == 0; n++) {
        struct tune_shape *s = &t->shapes[n];
        TRY(tune_interrupted(t, e));
        TRY(check(t, s, n, of, why, e));
        problem_text(&s->problem, text, sizeof text);
        json_array_append_new(*out, json_pack("{s:s,s:s?,s:s?}", "problem", text, "fate",
                                              *why ? NULL : fate_name(s->item.fate), "left_out", *why ? why : NULL));
        if (!*why && s->item.fate != FATE_OK)
            rc = err_set(e, ERR_INPUT,
                         "the standing champion %s passes on its own shape, but its kernel is wrong on %s (%s): %s\n"
                         "nobody takes its place silently: find out why, let a constraint of the template exclude such "
                         "shapes, or `fatune champion revoke` it",
                         name, text, fate_name(s->item.fate), s->item.log ? s->item.log : "");
    }
out:
    return rc;
}

void tune_shapes_close(struct tune *t)
{
    for (int n = 0; n < TUNE_SHAPES; n++) {
        tune_item_free(&t->shapes[n].reference);
        tune_item_free(&t->shapes[n].item);
        domain_close(t->shapes[n].domain);
        t->shapes[n] = (struct tune_shape){0};
    }
}
