/* A bound template holds one scope of names and one list of steps: derived values, then the manifest's constraints, then the
 * space's. A step's level is the last parameter it depends on, through derived values too; by_level lists the steps level by
 * level, so that an enumeration evaluates each as soon, and as seldom, as it can. */
#include "tmpl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tmpl_private.h"

struct step {
    struct expr *x;
    const struct space_rule *rule;
    bool derive;
    int level, slot; /* slot: of a derived value's name */
};

struct tmpl_bound {
    const struct tmpl *t;
    struct problem problem;
    struct target target;
    struct expr_scope *scope;
    int param_slot[TMPL_MAX_PARAMS];
    int nsteps, nmanifest; /* nmanifest: derive and the manifest's constraints */
    struct step *steps;
    int *by_level,
        first[TMPL_MAX_PARAMS + 2]; /* steps of level l: by_level[first[l + 1] .. first[l + 2] - 1], see level_range */
    struct expr *launch[TMPL_NLAUNCH];
    struct expr **requires;
    char *unfit;
};

struct builtin {
    const char *name;
    int64_t value;
};

#define NBUILTINS 14

static void builtins(struct builtin out[NBUILTINS], const struct problem *p, const struct target *d)
{
    const struct builtin list[NBUILTINS] = {{"BATCH", p->batch},
                                            {"HEADS", p->heads},
                                            {"KV_HEADS", p->kv_heads},
                                            {"SEQ_Q", p->seq_q},
                                            {"SEQ_KV", p->seq_kv},
                                            {"HEAD_DIM", p->head_dim},
                                            {"CAUSAL", p->mask == MASK_CAUSAL},
                                            {"WRITE_LSE", p->lse},
                                            {"DEV_ARCH", d->compute_capability},
                                            {"DEV_SMEM", d->smem_block_bytes},
                                            {"DEV_THREADS", d->threads_block},
                                            {"DEV_SMS", d->sms},
                                            {"DEV_REGS", d->regs_block},
                                            {"DEV_L2", d->l2_bytes}};
    memcpy(out, list, sizeof list);
}

bool tmpl_builtin(const char *name)
{
    struct builtin list[NBUILTINS];

    builtins(list, &(struct problem){0}, &(struct target){0});
    for (int i = 0; i < NBUILTINS; i++)
        if (strcmp(list[i].name, name) == 0) return true;
    return strcmp(name, "DTYPE") == 0 || strcmp(name, "DTYPE_BF16") == 0 || strcmp(name, "SCALE") == 0 ||
           strcmp(name, TMPL_DEBUG) == 0;
}

static int declare_builtins(struct tmpl_bound *b, struct err *e)
{
    struct builtin list[NBUILTINS];

    builtins(list, &b->problem, &b->target);
    for (int i = 0; i < NBUILTINS; i++)
        if (expr_set_int(b->scope, list[i].name, list[i].value) != 0) return err_nomem(e);
    return expr_set_str(b->scope, "DTYPE", dtype_name(b->problem.dtype)) == 0 ? 0 : err_nomem(e);
}

/* The level of an expression over the steps so far. */
static int level_of(const struct tmpl_bound *b, const struct expr *x)
{
    int level = -1;

    for (int i = 0; i < b->t->nparams; i++)
        if (expr_uses(x, b->t->params[i].range.name)) level = i;
    for (int i = 0; i < b->nsteps; i++)
        if (b->steps[i].derive && b->steps[i].level > level && expr_uses(x, b->steps[i].rule->why))
            level = b->steps[i].level;
    return level;
}

static int compile(struct expr **out, struct tmpl_bound *b, const struct space_rule *r, bool truth, struct err *e)
{
    struct expr *x = NULL;

    if (expr_compile(&x, b->scope, r->text, &r->at, e) != 0) return -1;
    *out = x; /* the caller's to free from here on */
    return truth ? expr_want_bool(x, e) : expr_want_int(x, e);
}

static int add_step(struct tmpl_bound *b, const struct space_rule *r, bool derive, struct err *e)
{
    struct step *steps = realloc(b->steps, (size_t)(b->nsteps + 1) * sizeof *steps), *s;

    if (!steps) return err_nomem(e);
    b->steps = steps;
    s = &steps[b->nsteps];
    *s = (struct step){.rule = r, .derive = derive, .slot = -1};
    if (compile(&s->x, b, r, !derive, e) != 0) {
        expr_free(s->x);
        return -1;
    }
    s->level = level_of(b, s->x);
    b->nsteps++;
    if (!derive) return 0;
    if (expr_set_int(b->scope, r->why, 0) != 0) return err_nomem(e);
    s->slot = expr_slot(b->scope, r->why);
    return 0;
}

static int sort_steps(struct tmpl_bound *b, struct err *e)
{
    int *order = realloc(b->by_level, (size_t)(b->nsteps + 1) * sizeof *order), n = 0;

    if (!order) return err_nomem(e);
    b->by_level = order;
    for (int level = -1; level < b->t->nparams; level++) {
        b->first[level + 1] = n;
        for (int i = 0; i < b->nsteps; i++)
            if (b->steps[i].level == level) order[n++] = i;
    }
    b->first[b->t->nparams + 1] = n;
    return 0;
}

/* Names, then every expression of the manifest, in the order in which names become known. */
static int compile_all(struct tmpl_bound *b, struct err *e)
{
    const struct tmpl *t = b->t;

    b->scope = expr_scope_new();
    b->requires = calloc((size_t)t->nrequires + 1, sizeof(struct expr *));
    if (!b->scope || !b->requires) return err_nomem(e);
    if (declare_builtins(b, e) != 0) return -1;
    for (int i = 0; i < t->nrequires; i++)
        if (compile(&b->requires[i], b, &t -> requires[i], true, e) != 0) return -1;
    for (int i = 0; i < t->nparams; i++) {
        const struct space_param *p = &t->params[i].range;
        if (expr_set_int(b->scope, p->name, p->values[0]) != 0) return err_nomem(e);
        b->param_slot[i] = expr_slot(b->scope, p->name);
    }
    for (int i = 0; i < t->nderive; i++)
        if (add_step(b, &t->derive[i], true, e) != 0) return -1;
    for (int i = 0; i < t->nrules; i++)
        if (add_step(b, &t->rules[i], false, e) != 0) return -1;
    b->nmanifest = b->nsteps;
    for (int i = 0; i < TMPL_NLAUNCH; i++)
        if (t->priv->launch[i].text && compile(&b->launch[i], b, &t->priv->launch[i], false, e) != 0) return -1;
    return sort_steps(b, e);
}

/* ---- launch expressions ---- */

/* An expression without parameters that cannot be evaluated is the author's mistake, not a point's. */
static int at_rule(const struct space_rule *r, const struct err *cause, struct err *e)
{
    return cause->code == ERR_INPUT ? err_at(e, &r->at, "%s", cause->text) : err_set(e, cause->code, "%s", cause->text);
}

static const char *launch_what(int i)
{
    static const char *const of_map[TMPL_MAP_N] = {"box columns", "box rows", "swizzle", "l2_promotion"};

    return i < TMPL_BLOCK     ? "grid"
           : i < TMPL_SHARED  ? "block"
           : i == TMPL_SHARED ? "shared"
           : i < TMPL_SPILLS  ? "cluster"
           : i == TMPL_SPILLS ? "spills"
                              : of_map[(i - TMPL_MAPS) % TMPL_MAP_N];
}

static int bad_launch(const struct tmpl_bound *b, int i, int64_t v, struct err *e, const char *what)
{
    struct buf seen = {0};

    expr_values(b->launch[i], &seen);
    err_at(e, &b->t->priv->launch[i].at, seen.n > 0 ? "%s is %" PRId64 ": %s (%s)" : "%s is %" PRId64 ": %s",
           launch_what(i), v, what, buf_text(&seen));
    buf_free(&seen);
    return -1;
}

/* ---- tensor maps ---- */

/* Without the expression: what swizzle and l2_promotion are. */
static int64_t map_default(int part)
{
    return part == TMPL_MAP_L2 ? 256 : 0;
}

/* What cuTensorMapEncodeTiled asks of a box without interleaving, as far as the values of map m are known. v, known: of its
 * TMPL_MAP_N expressions. */
static int check_map(const struct tmpl_bound *b, int m, const int64_t *v, const bool *known, struct err *e)
{
    enum { ELEMENT = 2, LONGEST = 256 };
    const int at = TMPL_MAPS + TMPL_MAP_N * m;
    int64_t columns = v[TMPL_MAP_COLUMNS], rows = v[TMPL_MAP_ROWS], swizzle = v[TMPL_MAP_SWIZZLE], l2 = v[TMPL_MAP_L2];

    if (known[TMPL_MAP_COLUMNS] && (columns < 1 || columns > LONGEST))
        return bad_launch(b, at + TMPL_MAP_COLUMNS, columns, e, "a box has 1 to 256 columns; take several boxes");
    if (known[TMPL_MAP_COLUMNS] && columns * ELEMENT % 16 != 0)
        return bad_launch(b, at + TMPL_MAP_COLUMNS, columns, e,
                          "a row of a box is a multiple of 16 bytes; take a multiple of 8 columns");
    if (known[TMPL_MAP_ROWS] && (rows < 1 || rows > LONGEST))
        return bad_launch(b, at + TMPL_MAP_ROWS, rows, e, "a box has 1 to 256 rows; take several boxes");
    if (known[TMPL_MAP_SWIZZLE] && swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128)
        return bad_launch(b, at + TMPL_MAP_SWIZZLE, swizzle, e, "a swizzle spans 32, 64 or 128 bytes, or 0 for none");
    if (known[TMPL_MAP_L2] && l2 != 0 && l2 != 64 && l2 != 128 && l2 != 256)
        return bad_launch(b, at + TMPL_MAP_L2, l2, e, "the L2 fetches 64, 128 or 256 bytes, or 0 for what is asked");
    if (known[TMPL_MAP_COLUMNS] && known[TMPL_MAP_SWIZZLE] && swizzle > 0 && columns * ELEMENT > swizzle)
        return bad_launch(b, at + TMPL_MAP_COLUMNS, columns, e,
                          "a row of the box, two bytes a column, is longer than the swizzle; take narrower boxes or a "
                          "wider swizzle");
    return 0;
}

static int a_name(void *ctx, const char *name, const struct pos *at)
{
    (void)ctx, (void)name, (void)at;
    return 1;
}

/* Maps that depend on no name are checked when the template is loaded, the others when they are rendered. */
static int check_constant_maps(const struct tmpl_bound *b, struct err *e)
{
    for (int m = 0; m < b->t->priv->nmaps; m++) {
        int64_t v[TMPL_MAP_N];
        bool known[TMPL_MAP_N];
        for (int part = 0; part < TMPL_MAP_N; part++) {
            int i = TMPL_MAPS + TMPL_MAP_N * m + part;
            const struct space_rule *r = &b->t->priv->launch[i];
            struct err cause = {0};
            v[part] = map_default(part);
            known[part] = !b->launch[i] || expr_names(r->text, &r->at, a_name, NULL, NULL) == 0;
            if (b->launch[i] && known[part] && expr_int(b->launch[i], &v[part], &cause) != 0)
                return at_rule(r, &cause, e);
        }
        if (check_map(b, m, v, known, e) != 0) return -1;
    }
    return 0;
}

/* v: of all launch expressions. */
static int map_arguments(const struct tmpl_bound *b, struct launch *l, const int64_t *v, struct err *e)
{
    static const bool known[TMPL_MAP_N] = {true, true, true, true};
    const struct tmpl_private *priv = b->t->priv;

    for (int i = 0; i < priv->nargs; i++) {
        int m = priv->arg_map[i];
        const int64_t *own = v + TMPL_MAPS + TMPL_MAP_N * m;
        if (m < 0) continue;
        if (check_map(b, m, own, known, e) != 0) return -1;
        l->maps[i] = problem_tensor_map(&b->problem, priv->args[i]);
        l->maps[i].box_columns = own[TMPL_MAP_COLUMNS];
        l->maps[i].box_rows = own[TMPL_MAP_ROWS];
        l->maps[i].swizzle_bytes = own[TMPL_MAP_SWIZZLE];
        l->maps[i].l2_bytes = own[TMPL_MAP_L2];
    }
    return 0;
}

int tmpl_check_expressions(const struct tmpl *t, struct err *e)
{
    struct tmpl_bound *b = calloc(1, sizeof *b);
    int rc;

    if (!b) return err_nomem(e);
    b->t = t;
    rc = compile_all(b, e);
    if (rc == 0) rc = check_constant_maps(b, e);
    tmpl_bound_free(b);
    return rc;
}

/* ---- fitness ---- */

static int unfit(struct tmpl_bound *b, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int unfit(struct tmpl_bound *b, struct err *e, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&b->unfit, fmt, ap) < 0) b->unfit = NULL;
    va_end(ap);
    return b->unfit ? 0 : err_nomem(e);
}

static int check_fitness(struct tmpl_bound *b, struct err *e)
{
    const struct tmpl *t = b->t;
    bool lse = false;

    if (strcmp(t->language, b->target.language) != 0)
        return unfit(b, e, "it is written in %s, and the device takes %s", t->language,
                     b->target.language[0] ? b->target.language : "no language");
    for (int i = 0; i < t->priv->nargs; i++)
        lse = lse || t->priv->args[i] == ARG_LSE;
    if (b->problem.lse && !lse) return unfit(b, e, "the problem asks for lse, and it has no such argument");
    if (t->priv->nmaps > 0 && b->target.compute_capability > 0 && b->target.compute_capability < 90)
        return unfit(b, e, "its tensor maps need sm_90; here sm_%d", b->target.compute_capability);
    if (t->priv->nmaps > 0 && b->problem.head_dim % 8 != 0)
        return unfit(b, e, "its tensor maps need rows of a multiple of 16 bytes; here HEAD_DIM = %d",
                     b->problem.head_dim);
    for (int i = 0; i < t->nrequires; i++) {
        struct err cause = {0};
        struct buf seen = {0};
        bool holds;
        int rc;
        if (expr_bool(b->requires[i], &holds, &cause) != 0) return at_rule(&t->requires[i], &cause, e);
        if (holds) continue;
        expr_values(b->requires[i], &seen);
        rc = unfit(b, e, "%s (needs %s; here %s)", t->requires[i].why, t->requires[i].text, buf_text(&seen));
        buf_free(&seen);
        return rc;
    }
    return 0;
}

/* Derived values that depend on nothing, and constraints too: these must be computable now. */
static int evaluate_constants(struct tmpl_bound *b, struct err *e)
{
    for (int k = b->first[0]; k < b->first[1]; k++) {
        const struct step *s = &b->steps[b->by_level[k]];
        struct err cause = {0};
        int64_t v = 0;
        bool holds;
        if ((s->derive ? expr_int(s->x, &v, &cause) : expr_bool(s->x, &holds, &cause)) != 0)
            return at_rule(s->rule, &cause, e);
        if (s->derive) expr_set_slot(b->scope, s->slot, v);
    }
    return 0;
}

int tmpl_bind(struct tmpl_bound **out, const struct tmpl *t, const struct problem *p, const struct target *dev,
              struct err *e)
{
    struct tmpl_bound *b = calloc(1, sizeof *b);
    int rc;

    if (!b) return err_nomem(e);
    b->t = t;
    b->problem = *p;
    b->target = *dev;
    TRY(compile_all(b, e));
    TRY(check_fitness(b, e));
    if (!b->unfit) TRY(evaluate_constants(b, e));
    *out = b;
out:
    if (rc != 0) tmpl_bound_free(b);
    return rc;
}

void tmpl_bound_free(struct tmpl_bound *b)
{
    if (!b) return;
    for (int i = 0; i < b->nsteps; i++)
        expr_free(b->steps[i].x);
    for (int i = 0; i < TMPL_NLAUNCH; i++)
        expr_free(b->launch[i]);
    for (int i = 0; b->requires && i < b->t->nrequires; i++)
        expr_free(b->requires[i]);
    free(b->requires);
    free(b->steps);
    free(b->by_level);
    free(b->unfit);
    expr_scope_free(b->scope);
    free(b);
}

const char *tmpl_unfit(const struct tmpl_bound *b)
{
    return b->unfit;
}

struct expr_scope *tmpl_scope(struct tmpl_bound *b)
{
    return b->scope;
}

int tmpl_add_rule(struct tmpl_bound *b, const struct space_rule *r, struct err *e)
{
    if (add_step(b, r, false, e) != 0 || sort_steps(b, e) != 0) return -1;
    return b->unfit ? 0 : evaluate_constants(b, e);
}

int tmpl_nsteps(const struct tmpl_bound *b)
{
    return b->nsteps;
}

struct tmpl_step tmpl_step(const struct tmpl_bound *b, int i)
{
    return (struct tmpl_step){.rule = b->steps[i].rule, .derive = b->steps[i].derive, .level = b->steps[i].level};
}

/* ---- evaluation ---- */

static void say_excluded(const struct step *s, struct err *why)
{
    struct buf seen = {0};

    if (!why) return;
    expr_values(s->x, &seen);
    if (s->rule->why)
        err_set(why, ERR_INPUT, "%s (`%s` is false: %s)", s->rule->why, s->rule->text, buf_text(&seen));
    else
        err_set(why, ERR_INPUT, "`%s` is false: %s", s->rule->text, buf_text(&seen));
    buf_free(&seen);
}

int tmpl_place(struct tmpl_bound *b, int level, int64_t value, bool *failed, struct err *why)
{
    *failed = false;
    if (level >= 0) expr_set_slot(b->scope, b->param_slot[level], value);
    for (int k = b->first[level + 1]; k < b->first[level + 2]; k++) {
        const struct step *s = &b->steps[b->by_level[k]];
        int64_t v = 0;
        bool holds = true;
        if ((s->derive ? expr_int(s->x, &v, why) : expr_bool(s->x, &holds, why)) != 0) {
            *failed = true;
            return b->by_level[k];
        }
        if (s->derive) expr_set_slot(b->scope, s->slot, v);
        if (holds) continue;
        say_excluded(s, why);
        return b->by_level[k];
    }
    return -1;
}

static bool used_later(const struct tmpl_bound *b, int level, const char *name)
{
    for (int k = b->first[level + 2]; k < b->nsteps; k++)
        if (expr_uses(b->steps[b->by_level[k]].x, name)) return true;
    return false;
}

int tmpl_live(const struct tmpl_bound *b, int level, bool *params, int *derived)
{
    int n = 0;

    for (int i = 0; i < b->t->nparams; i++)
        params[i] = i <= level && used_later(b, level, b->t->params[i].range.name);
    for (int i = 0; i < b->nsteps; i++) {
        const struct step *s = &b->steps[i];
        if (s->derive && s->level >= 0 && s->level <= level && used_later(b, level, s->rule->why))
            derived[n++] = s->slot;
    }
    return n;
}

int tmpl_set(struct tmpl_bound *b, const int64_t *values, struct err *e)
{
    for (int i = 0; i < b->t->nparams; i++)
        expr_set_slot(b->scope, b->param_slot[i], values[i]);
    for (int i = 0; i < b->t->nderive; i++) {
        int64_t v;
        if (expr_int(b->steps[i].x, &v, e) != 0) return -1;
        expr_set_slot(b->scope, b->steps[i].slot, v);
    }
    return 0;
}

int tmpl_excluded(struct tmpl_bound *b, struct err *e)
{
    for (int i = b->t->nderive; i < b->nmanifest; i++) {
        bool holds;
        if (expr_bool(b->steps[i].x, &holds, e) != 0) return -2;
        if (!holds) return i - b->t->nderive;
    }
    return -1;
}

/* ---- rendering ---- */

static void define(struct buf *out, const char *name, int64_t value)
{
    buf_printf(out, value < 0 ? "#define %s (%" PRId64 ")\n" : "#define %s %" PRId64 "\n", name, value);
}

/* A literal that C, C++ and OpenCL C all read as this float. */
static void define_float(struct buf *out, const char *name, double value)
{
    char text[32];

    snprintf(text, sizeof text, "%.9g", value);
    buf_printf(out, "#define %s %s%sf\n", name, text, strpbrk(text, ".e") ? "" : ".0");
}

static void prelude(const struct tmpl_bound *b, struct buf *out)
{
    struct builtin list[NBUILTINS];

    builtins(list, &b->problem, &b->target);
    for (int i = 0; i < NBUILTINS; i++)
        define(out, list[i].name, list[i].value);
    define(out, "DTYPE_BF16", b->problem.dtype == DTYPE_BF16);
    define_float(out, "SCALE", b->problem.scale);
    for (int i = 0; i < b->t->nparams; i++)
        define(out, b->t->params[i].range.name, expr_slot_value(b->scope, b->param_slot[i]));
    for (int i = 0; i < b->t->nderive; i++)
        define(out, b->t->derive[i].why, expr_slot_value(b->scope, b->steps[i].slot));
    buf_printf(out, "#line 1 \"%s\"\n", b->t->priv->source_name);
}

static int product_within(const int64_t v[3], int64_t most)
{
    return v[0] <= most && v[1] <= most / v[0] && v[2] <= most / v[0] / v[1];
}

/* Limits that every device of the language shares, and the device's own where it tells them. */
static int check_geometry(const struct tmpl_bound *b, const struct launch *l, struct err *e)
{
    bool cuda = strcmp(b->t->language, "cuda") == 0;
    const struct target *d = &b->target;

    for (int i = 0; i < 3; i++) {
        int64_t most = cuda && i > 0 ? 65535 : INT32_MAX;
        if (l->grid[i] < 1) return bad_launch(b, TMPL_GRID + i, l->grid[i], e, "it must be positive");
        if (l->grid[i] > most)
            return bad_launch(b, TMPL_GRID + i, l->grid[i], e, i > 0 && cuda ? "beyond 65535" : "beyond 2^31 - 1");
        if (l->block[i] < 1) return bad_launch(b, TMPL_BLOCK + i, l->block[i], e, "it must be positive");
        if (cuda && l->block[i] > (i == 2 ? 64 : 1024))
            return bad_launch(b, TMPL_BLOCK + i, l->block[i], e, i == 2 ? "beyond 64" : "beyond 1024");
    }
    if (!product_within(l->block, d->threads_block > 0 ? d->threads_block : INT32_MAX))
        return bad_launch(b, TMPL_BLOCK, l->block[0], e, "more threads in a block than the device has");
    if (l->shared_bytes < 0) return bad_launch(b, TMPL_SHARED, l->shared_bytes, e, "it must not be negative");
    if (l->shared_bytes > 0 && !cuda)
        return bad_launch(b, TMPL_SHARED, l->shared_bytes, e, "OpenCL kernels declare their local memory");
    if (d->smem_block_bytes > 0 && l->shared_bytes > d->smem_block_bytes)
        return bad_launch(b, TMPL_SHARED, l->shared_bytes, e, "more shared memory than a block has");
    if (!b->launch[TMPL_CLUSTER]) return 0;
    for (int i = 0; i < 3; i++) {
        if (l->cluster[i] < 1) return bad_launch(b, TMPL_CLUSTER + i, l->cluster[i], e, "it must be positive");
        if (l->grid[i] % l->cluster[i] != 0)
            return bad_launch(b, TMPL_CLUSTER + i, l->cluster[i], e, "it does not divide the grid");
    }
    if (!product_within(l->cluster, LAUNCH_CLUSTER))
        return bad_launch(b, TMPL_CLUSTER, l->cluster[0], e, "more than 8 blocks in a cluster");
    return 0;
}

static int geometry(struct tmpl_bound *b, struct launch *l, int64_t *spills, struct err *e)
{
    int64_t v[TMPL_NLAUNCH] = {0};

    for (int i = 0; i < TMPL_NLAUNCH; i++) {
        struct err cause = {0};
        if (i >= TMPL_MAPS) v[i] = map_default((i - TMPL_MAPS) % TMPL_MAP_N);
        if (b->launch[i] && expr_int(b->launch[i], &v[i], &cause) != 0)
            return at_rule(&b->t->priv->launch[i], &cause, e);
    }
    memcpy(l->grid, v + TMPL_GRID, sizeof l->grid);
    memcpy(l->block, v + TMPL_BLOCK, sizeof l->block);
    memcpy(l->cluster, v + TMPL_CLUSTER, sizeof l->cluster);
    l->shared_bytes = v[TMPL_SHARED];
    memcpy(l->entry, b->t->entry, strlen(b->t->entry) + 1); /* tmpl.c checked its length */
    l->nargs = b->t->priv->nargs;
    memcpy(l->args, b->t->priv->args, sizeof l->args);
    *spills = v[TMPL_SPILLS];
    if (*spills < 0) return bad_launch(b, TMPL_SPILLS, *spills, e, "it must not be negative");
    return check_geometry(b, l, e) != 0 ? -1 : map_arguments(b, l, v, e);
}

int tmpl_render(struct tmpl_bound *b, struct rendered *out, struct err *e)
{
    struct rendered r = {.options = (const char *const *)b->t->priv->options,
                         .needs_headers = b->t->priv->nincludes > 0};

    assert(!b->unfit);
    if (geometry(b, &r.launch, &r.spills, e) != 0) return -1;
    prelude(b, &r.source);
    buf_add(&r.source, b->t->priv->source, b->t->priv->source_n);
    if (buf_check(&r.source, e) != 0) {
        rendered_free(&r);
        return -1;
    }
    *out = r;
    return 0;
}

int rendered_debug(struct rendered *r, struct err *e)
{
    struct buf source = {0};

    assert(r->launch.nargs < LAUNCH_ARGS); /* a manifest names every other argument at most */
    buf_puts(&source, "#define " TMPL_DEBUG " 1\n");
    buf_add(&source, r->source.p, r->source.n);
    if (buf_check(&source, e) != 0) {
        buf_free(&source);
        return -1;
    }
    buf_free(&r->source);
    r->source = source;
    r->launch.args[r->launch.nargs++] = ARG_TILE;
    r->spills = INT64_MAX;
    return 0;
}

void rendered_free(struct rendered *r)
{
    if (!r) return;
    buf_free(&r->source);
    *r = (struct rendered){0};
}
