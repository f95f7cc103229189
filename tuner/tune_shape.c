/* A configuration on shapes beside its own. Sizes are constants of a kernel, so the same template and parameters are rendered for each shape
 * and checked in full, against the reference rendered for it. What a template or a constraint refuses there is left out, with the reason;
 * what it accepts must be right. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tune_private.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Uniform in 1..n. */
static int draw(struct rng *r, int n)
{
    return 1 + (int)rng_below(r, (uint64_t)n);
}

/* Under a causal mask a query without any key would be another question: where the space has none, no shape has one. */
static void shapes(const struct tune *t, struct problem out[TUNE_SHAPES])
{
    const struct problem *p = &t->space.problem;
    int group = p->heads / p->kv_heads;
    bool ordered = p->mask == MASK_CAUSAL && p->seq_q <= p->seq_kv;
    struct rng r;

    for (int i = 0; i < TUNE_SHAPES; i++)
        out[i] = *p;
    if (p->seq_q > 1) out[0].seq_q--;
    if (p->seq_kv > 1) out[0].seq_kv--;
    out[1].seq_q = 1;
    rng_init(&r, t->seed, "shape");
    out[2].batch = draw(&r, p->batch);
    out[2].kv_heads = draw(&r, p->kv_heads);
    out[2].heads = out[2].kv_heads * group;
    out[2].seq_kv = draw(&r, p->seq_kv);
    out[2].seq_q = draw(&r, ordered ? least(p->seq_q, out[2].seq_kv) : p->seq_q);
}

/* The domain of the one template for this shape, and the point in it. "" in why, or the reason why there is none. */
static int place(struct tune *t, struct tune_shape *s, const struct tune_item *of, char why[512], struct err *e)
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
    else if (tune_reference(t, &s->problem, &s->reference, e) != 0)
        rc = -1;
out:
    json_decref(params);
    return rc;
}

/* What says no more than that a kernel cannot be made or started. */
static bool harmless(enum fate f)
{
    return f == FATE_RENDER || f == FATE_COMPILE || f == FATE_COMPILE_TIMEOUT || f == FATE_COMPILE_CRASH ||
           f == FATE_LIMITS || f == FATE_LAUNCH;
}

static int check(struct tune *t, struct tune_shape *s, const struct tune_item *of, char why[512], struct err *e)
{
    struct tune_item *i = &s->item;
    bool passed;
    int rc;

    *i = (struct tune_item){.seq = of->seq, .row = of->row, .alias_of = -1, .us = NAN, .shape = s};
    memcpy(i->id, of->id, sizeof i->id);
    TRY(place(t, s, of, why, e));
    if (*why) goto out;
    TRY(tune_prepare(t, i, e));
    if (i->rendered) TRY(farm_wait(t->farm, &i->job, e));
    if (i->rendered && i->job.fate != FATE_OK)
        i->fate = i->job.fate;
    else if (i->rendered)
        TRY(tune_prove(t, i, &passed, e));
    if (harmless(i->fate)) snprintf(why, 512, "%s: %.400s", fate_name(i->fate), i->log ? i->log : fate_text(i->fate));
out:
    return rc;
}

int tune_check_shapes(struct tune *t, const struct tune_item *of, const char *name, json_t **out, struct err *e)
{
    struct problem list[TUNE_SHAPES];
    char why[512], text[128];
    int rc = 0;

    *out = json_array();
    if (!*out) return err_nomem(e);
    shapes(t, list);
    for (int n = 0; n < TUNE_SHAPES && rc == 0; n++) {
        struct tune_shape *s = &t->shapes[n];
        s->problem = list[n];
        problem_text(&s->problem, text, sizeof text);
        TRY(tune_interrupted(t, e));
        TRY(check(t, s, of, why, e));
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
