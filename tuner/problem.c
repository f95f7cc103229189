/* JSON forms by tables of members: one row names a member once, for both directions. */
#include "problem.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const arg_names[ARG_N] = {"q", "k", "v", "o", "lse", "ref_o", "ref_low", "tile"};

const char *arg_name(enum arg a)
{
    return arg_names[a];
}

int arg_parse(enum arg *out, const char *name)
{
    for (int i = 0; i < ARG_N; i++) {
        if (strcmp(arg_names[i], name) == 0) {
            *out = (enum arg)i;
            return 0;
        }
    }
    return -1;
}

const char *dtype_name(enum dtype d)
{
    return d == DTYPE_BF16 ? "bf16" : "f16";
}

static int dtype_parse(enum dtype *out, const char *name)
{
    for (int d = DTYPE_F16; name && d <= DTYPE_BF16; d++) {
        if (strcmp(dtype_name((enum dtype)d), name) == 0) {
            *out = (enum dtype)d;
            return 0;
        }
    }
    return -1;
}

const char *mask_name(enum mask m)
{
    return m == MASK_CAUSAL ? "causal" : "none";
}

size_t problem_q_elements(const struct problem *p)
{
    return problem_rows(p) * (size_t)p->head_dim;
}

size_t problem_kv_elements(const struct problem *p)
{
    return (size_t)p->batch * (size_t)p->kv_heads * (size_t)p->seq_kv * (size_t)p->head_dim;
}

size_t problem_rows(const struct problem *p)
{
    return (size_t)p->batch * (size_t)p->heads * (size_t)p->seq_q;
}

struct tensor_map problem_tensor_map(const struct problem *p, enum arg a)
{
    bool kv = a == ARG_K || a == ARG_V;

    return (struct tensor_map){.dtype = p->dtype,
                               .columns = p->head_dim,
                               .rows = kv ? p->seq_kv : p->seq_q,
                               .planes = (int64_t)p->batch * (kv ? p->kv_heads : p->heads)};
}

int problem_keys_seen(const struct problem *p, int i)
{
    int n = p->seq_kv;

    if (p->mask == MASK_CAUSAL) n = i + 1 + p->seq_kv - p->seq_q;
    return n < 0 ? 0 : n > p->seq_kv ? p->seq_kv : n;
}

double problem_flops(const struct problem *p)
{
    double pairs = 0;

    for (int i = 0; i < p->seq_q; i++)
        pairs += problem_keys_seen(p, i);
    return 4.0 * pairs * p->head_dim * p->heads * p->batch;
}

double problem_bytes(const struct problem *p)
{
    return 2.0 * (2.0 * (double)problem_q_elements(p) + 2.0 * (double)problem_kv_elements(p)) +
           (p->lse ? 4.0 * (double)problem_rows(p) : 0.0);
}

double problem_floor_us(const struct problem *p, const struct target *t)
{
    double compute = t->peak_flops > 0 ? problem_flops(p) / t->peak_flops * 1e6 : 0;
    double memory = 0;

    /* Tensors that fit the L2 may stay there between launches: memory bounds only what does not fit. */
    if (t->peak_bytes_s > 0 && problem_bytes(p) > (double)t->l2_bytes)
        memory = problem_bytes(p) / t->peak_bytes_s * 1e6;
    return compute > memory ? compute : memory;
}

static double log2_ratio(double a, double b)
{
    return a > 0 && b > 0 ? fabs(log2(a / b)) : (double)INFINITY;
}

double problem_distance(const struct problem *a, const struct problem *b)
{
    return log2_ratio(a->seq_q, b->seq_q) + log2_ratio(a->seq_kv, b->seq_kv) +
           log2_ratio((double)a->batch * a->heads, (double)b->batch * b->heads) +
           log2_ratio((double)a->heads / a->kv_heads, (double)b->heads / b->kv_heads) +
           8 * log2_ratio(a->head_dim, b->head_dim) + 2 * (a->mask != b->mask) + (a->dtype != b->dtype);
}

void problem_text(const struct problem *p, char *out, size_t size)
{
    char heads[32] = "", kv[32] = "";

    if (p->kv_heads != p->heads) snprintf(heads, sizeof heads, " (%d kv)", p->kv_heads);
    if (p->seq_kv != p->seq_q) snprintf(kv, sizeof kv, ":%d", p->seq_kv);
    snprintf(out, size, "attention %dx%d%sx%d%sx%d %s %s", p->batch, p->heads, heads, p->seq_q, kv, p->head_dim,
             dtype_name(p->dtype), p->mask == MASK_CAUSAL ? "causal" : "full");
}

/* ---- JSON ---- */

enum kind { KIND_INT, KIND_INT64, KIND_DOUBLE, KIND_BOOL, KIND_TEXT };

struct member {
    const char *name;
    enum kind kind;
    size_t offset, size;
};

#define MEMBER(type, field, kind)                                                                                      \
    {                                                                                                                  \
#field, kind, offsetof(struct type, field), sizeof(((struct type *)0)->field)                                  \
    }

static json_t *member_to_json(const struct member *m, const char *base)
{
    const void *at = base + m->offset;

    switch (m->kind) {
    case KIND_INT:
        return json_integer(*(const int *)at);
    case KIND_INT64:
        return json_integer(*(const int64_t *)at);
    case KIND_DOUBLE:
        return json_real(*(const double *)at);
    case KIND_BOOL:
        return json_boolean(*(const bool *)at);
    case KIND_TEXT:
        return json_string(at);
    }
    return NULL;
}

static int member_from_json(const struct member *m, char *base, const json_t *j, const char *what, struct err *e)
{
    const json_t *x = json_object_get(j, m->name);
    void *at = base + m->offset;

    if (m->kind == KIND_INT && json_is_integer(x) && json_integer_value(x) >= INT_MIN &&
        json_integer_value(x) <= INT_MAX) {
        *(int *)at = (int)json_integer_value(x);
    } else if (m->kind == KIND_INT64 && json_is_integer(x)) {
        *(int64_t *)at = json_integer_value(x);
    } else if (m->kind == KIND_DOUBLE && json_is_number(x)) {
        *(double *)at = json_number_value(x);
    } else if (m->kind == KIND_BOOL && json_is_boolean(x)) {
        *(bool *)at = json_is_true(x);
    } else if (m->kind == KIND_TEXT && json_is_string(x) && json_string_length(x) < m->size) {
        memcpy(at, json_string_value(x), json_string_length(x) + 1);
    } else {
        return err_set(e, ERR_BUG, "%s: member %s is missing, of the wrong type or too large", what, m->name);
    }
    return 0;
}

static int members_to_json(json_t *out, const struct member *m, size_t n, const void *base)
{
    for (size_t i = 0; i < n; i++)
        if (json_object_set_new(out, m[i].name, member_to_json(&m[i], base)) != 0) return -1;
    return 0;
}

static int members_from_json(void *base, const struct member *m, size_t n, const json_t *j, const char *what,
                             struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (member_from_json(&m[i], base, j, what, e) != 0) return -1;
    return 0;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct member problem_members[] = {
    MEMBER(problem, batch, KIND_INT),    MEMBER(problem, heads, KIND_INT),  MEMBER(problem, kv_heads, KIND_INT),
    MEMBER(problem, seq_q, KIND_INT),    MEMBER(problem, seq_kv, KIND_INT), MEMBER(problem, head_dim, KIND_INT),
    MEMBER(problem, scale, KIND_DOUBLE), MEMBER(problem, lse, KIND_BOOL),
};

json_t *problem_to_json(const struct problem *p)
{
    json_t *j = json_object();

    if (!j || members_to_json(j, problem_members, COUNT(problem_members), p) != 0 ||
        json_object_set_new(j, "dtype", json_string(dtype_name(p->dtype))) != 0 ||
        json_object_set_new(j, "mask", json_string(mask_name(p->mask))) != 0) {
        json_decref(j);
        return NULL;
    }
    return j;
}

int problem_from_json(struct problem *p, const json_t *j, struct err *e)
{
    const char *dtype = json_string_value(json_object_get(j, "dtype"));
    const char *mask = json_string_value(json_object_get(j, "mask"));

    if (!dtype || !mask) return err_set(e, ERR_BUG, "problem: member dtype or mask is missing");
    p->mask = strcmp(mask, "causal") == 0 ? MASK_CAUSAL : MASK_NONE;
    if (dtype_parse(&p->dtype, dtype) != 0 || strcmp(mask, mask_name(p->mask)) != 0)
        return err_set(e, ERR_BUG, "problem: dtype %s or mask %s is unknown", dtype, mask);
    return members_from_json(p, problem_members, COUNT(problem_members), j, "problem", e);
}

static const struct member target_members[] = {
    MEMBER(target, driver, KIND_TEXT),
    MEMBER(target, index, KIND_INT),
    MEMBER(target, language, KIND_TEXT),
    MEMBER(target, name, KIND_TEXT),
    MEMBER(target, arch, KIND_TEXT),
    MEMBER(target, uuid, KIND_TEXT),
    MEMBER(target, driver_version, KIND_TEXT),
    MEMBER(target, compiler, KIND_TEXT),
    MEMBER(target, compute_capability, KIND_INT),
    MEMBER(target, smem_block_bytes, KIND_INT64),
    MEMBER(target, smem_sm_bytes, KIND_INT64),
    MEMBER(target, regs_block, KIND_INT64),
    MEMBER(target, threads_block, KIND_INT64),
    MEMBER(target, sms, KIND_INT64),
    MEMBER(target, l2_bytes, KIND_INT64),
    MEMBER(target, memory_bytes, KIND_INT64),
    MEMBER(target, warp, KIND_INT),
    MEMBER(target, clock_mhz, KIND_INT),
    MEMBER(target, is_host_cpu, KIND_BOOL),
    MEMBER(target, peak_flops, KIND_DOUBLE),
    MEMBER(target, peak_bytes_s, KIND_DOUBLE),
};

json_t *target_to_json(const struct target *t)
{
    json_t *j = json_object();

    if (!j || members_to_json(j, target_members, COUNT(target_members), t) != 0) {
        json_decref(j);
        return NULL;
    }
    return j;
}

int target_from_json(struct target *t, const json_t *j, struct err *e)
{
    return members_from_json(t, target_members, COUNT(target_members), j, "target", e);
}

static json_t *triple(const int64_t x[3])
{
    return json_pack("[I,I,I]", x[0], x[1], x[2]);
}

static int from_triple(int64_t x[3], const json_t *j)
{
    json_int_t v[3];

    if (json_unpack((json_t *)(uintptr_t)j, "[I,I,I]", &v[0], &v[1], &v[2]) != 0) return -1;
    for (int i = 0; i < 3; i++)
        x[i] = v[i];
    return 0;
}

static const struct member map_members[] = {
    MEMBER(tensor_map, columns, KIND_INT64),  MEMBER(tensor_map, rows, KIND_INT64),
    MEMBER(tensor_map, planes, KIND_INT64),   MEMBER(tensor_map, box_columns, KIND_INT64),
    MEMBER(tensor_map, box_rows, KIND_INT64), MEMBER(tensor_map, swizzle_bytes, KIND_INT64),
    MEMBER(tensor_map, l2_bytes, KIND_INT64),
};

/* Which of the arguments are maps, in their order; NULL when out of memory. */
static json_t *maps_to_json(const struct launch *l)
{
    json_t *list = json_array();

    for (int i = 0; list && i < l->nargs; i++) {
        const struct tensor_map *m = &l->maps[i];
        json_t *j;
        if (m->columns == 0) continue;
        j = json_pack("{s:i,s:s}", "argument", i, "dtype", dtype_name(m->dtype));
        if (j && members_to_json(j, map_members, COUNT(map_members), m) == 0 && json_array_append(list, j) == 0) {
            json_decref(j);
            continue;
        }
        json_decref(j);
        json_decref(list);
        list = NULL;
    }
    return list;
}

static int map_from_json(struct launch *l, const json_t *j, struct err *e)
{
    const json_t *argument = json_object_get(j, "argument");
    json_int_t i = json_is_integer(argument) ? json_integer_value(argument) : -1;

    if (i < 0 || i >= l->nargs || dtype_parse(&l->maps[i].dtype, json_string_value(json_object_get(j, "dtype"))) != 0)
        return err_set(e, ERR_BUG, "launch: a tensor map has no argument or no known dtype");
    if (members_from_json(&l->maps[i], map_members, COUNT(map_members), j, "tensor map", e) != 0) return -1;
    return l->maps[i].columns > 0 ? 0 : err_set(e, ERR_BUG, "launch: a tensor map has no columns");
}

json_t *launch_to_json(const struct launch *l)
{
    json_t *args = json_array(), *maps = maps_to_json(l), *j;

    for (int i = 0; i < l->nargs; i++)
        if (json_array_append_new(args, json_string(arg_name(l->args[i]))) != 0) {
            json_decref(args);
            json_decref(maps);
            return NULL;
        }
    j = json_pack("{s:s,s:o,s:o,s:o,s:I,s:o}", "entry", l->entry, "grid", triple(l->grid), "block", triple(l->block),
                  "cluster", triple(l->cluster), "shared_bytes", l->shared_bytes, "args", args);
    /* Only where there are any: the text of a launch is part of stored identities. */
    if (!j || !maps || (json_array_size(maps) > 0 && json_object_set(j, "maps", maps) != 0)) {
        json_decref(j);
        j = NULL;
    }
    json_decref(maps);
    return j;
}

int launch_from_json(struct launch *l, const json_t *j, struct err *e)
{
    const json_t *args = json_object_get(j, "args"), *maps = json_object_get(j, "maps");
    const char *entry = json_string_value(json_object_get(j, "entry"));

    *l = (struct launch){0};
    if (!entry || strlen(entry) >= sizeof l->entry || from_triple(l->grid, json_object_get(j, "grid")) != 0 ||
        from_triple(l->block, json_object_get(j, "block")) != 0 ||
        from_triple(l->cluster, json_object_get(j, "cluster")) != 0 ||
        !json_is_integer(json_object_get(j, "shared_bytes")) || json_array_size(args) > LAUNCH_ARGS)
        return err_set(e, ERR_BUG, "launch: a member is missing or of the wrong type");
    memcpy(l->entry, entry, strlen(entry) + 1);
    l->shared_bytes = json_integer_value(json_object_get(j, "shared_bytes"));
    for (size_t i = 0; i < json_array_size(args); i++) {
        const char *name = json_string_value(json_array_get(args, i));
        if (!name || arg_parse(&l->args[i], name) != 0)
            return err_set(e, ERR_BUG, "launch: argument %zu is unknown", i);
        l->nargs++;
    }
    if (maps && !json_is_array(maps)) return err_set(e, ERR_BUG, "launch: maps is no list");
    for (size_t i = 0; i < json_array_size(maps); i++)
        if (map_from_json(l, json_array_get(maps, i), e) != 0) return -1;
    return 0;
}
