/* Built level by level from the top. Of each node one prefix is kept, by its rank, to evaluate the next level's steps behind it; prefixes come in
 * order, so that little is evaluated twice. Nodes of a level are found by key: the mixed-radix rank of the live parameters' values, and
 * the live derived values. Keys are compared, not their hashes. */
#include "domain_diagram.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE (-1)
#define SINGLE 8 /* edges of a parameter of one value that count as one: they add nothing to choose from */

struct level {
    size_t n;         /* nodes */
    int32_t *to;      /* n x nvalues: a node of the next level, or dead_end() */
    uint64_t *points; /* n */
};

struct diagram {
    int depth;
    struct level level[CAND_MAX_PARAMS + 1]; /* 0..depth; the last has no edges */
};

/* What an edge that leads nowhere says instead: below NOWHERE. */
static int32_t dead_end(const struct domain_failure *f)
{
    return NOWHERE - 1 - (2 * f->step + f->failed);
}

static void charge(struct domain_entry *t, int32_t to, uint64_t points)
{
    const int said = NOWHERE - 1 - to;

    if (said % 2 == 1)
        t->tally[said / 2].failed += points;
    else
        t->tally[said / 2].is_false += points;
}

/* ---- building ---- */

/* The nodes of the level that is being made. */
struct made {
    size_t n, cap, slots;
    int width, nderived;
    bool param[CAND_MAX_PARAMS];
    int *derived;     /* slots of the scope */
    int64_t *now;     /* width: of the prefix that is placed */
    uint64_t *prefix; /* n */
    int64_t *key;     /* n x width */
    int32_t *slot;    /* slots, open addressing; NOWHERE is free */
};

static void made_free(struct made *m)
{
    free(m->derived);
    free(m->now);
    free(m->prefix);
    free(m->key);
    free(m->slot);
}

static bool made_open(struct made *m, const struct domain_entry *t, int level)
{
    *m = (struct made){.derived = malloc(((size_t)t->t->nderive + 1) * sizeof *m->derived)};
    if (m->derived) m->nderived = tmpl_live(t->b, level, m->param, m->derived);
    m->width = 1 + m->nderived;
    m->now = malloc((size_t)m->width * sizeof *m->now);
    return m->derived && m->now;
}

static uint64_t hash_of(const struct made *m, const int64_t *key)
{
    uint64_t h = 0;

    for (int i = 0; i < m->width; i++) { /* the finaliser of SplitMix64 (Steele, Lea, Flood 2014) */
        h += (uint64_t)key[i] + 0x9e3779b97f4a7c15u;
        h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
        h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
        h ^= h >> 31;
    }
    return h;
}

/* Where this key is, or would be. */
static int32_t *find(const struct made *m, const int64_t *key)
{
    size_t i = (size_t)hash_of(m, key) & (m->slots - 1);

    while (m->slot[i] != NOWHERE &&
           memcmp(m->key + (size_t)m->slot[i] * (size_t)m->width, key, (size_t)m->width * sizeof *key) != 0)
        i = (i + 1) & (m->slots - 1);
    return &m->slot[i];
}

static bool enlarge(struct made *m)
{
    const size_t cap = m->cap ? 2 * m->cap : 64;
    uint64_t *prefix = realloc(m->prefix, cap * sizeof *prefix);
    if (prefix) m->prefix = prefix;
    int64_t *key = realloc(m->key, cap * (size_t)m->width * sizeof *key);
    if (key) m->key = key;
    int32_t *slot = malloc(2 * cap * sizeof *slot);
    if (!prefix || !key || !slot) {
        free(slot);
        return false;
    }
    free(m->slot);
    m->slot = slot;
    m->slots = 2 * cap;
    m->cap = cap;
    for (size_t i = 0; i < m->slots; i++)
        slot[i] = NOWHERE;
    for (size_t i = 0; i < m->n; i++)
        *find(m, key + i * (size_t)m->width) = (int32_t)i;
    return true;
}

/* The node of the prefix that has just been placed; NOWHERE: no memory. */
static int32_t node_of(struct made *m, const struct domain_entry *t, int depth, uint64_t prefix)
{
    int32_t *at;

    m->now[0] = 0;
    for (int i = 0; i < depth; i++)
        if (m->param[i]) m->now[0] = m->now[0] * t->nvalues[i] + t->at[i];
    for (int i = 0; i < m->nderived; i++)
        m->now[1 + i] = expr_slot_value(tmpl_scope(t->b), m->derived[i]);
    at = m->slots > 0 ? find(m, m->now) : NULL;
    if (at && *at != NOWHERE) return *at;
    if (m->n == m->cap) {
        if (!enlarge(m)) return NOWHERE;
        at = find(m, m->now);
    }
    m->prefix[m->n] = prefix;
    memcpy(m->key + m->n * (size_t)m->width, m->now, (size_t)m->width * sizeof *m->now);
    return *at = (int32_t)m->n++;
}

static void unpack(const struct domain_entry *t, int depth, uint64_t prefix, uint16_t *at)
{
    for (int i = depth - 1; i >= 0; i--) {
        at[i] = (uint16_t)(prefix % (uint64_t)t->nvalues[i]);
        prefix /= (uint64_t)t->nvalues[i];
    }
}

/* The edges of level k, and the nodes they lead to. */
static bool descend(struct domain_entry *t, struct level *l, int k, const struct made *from, struct made *made)
{
    const int n = t->nvalues[k];
    uint16_t at[CAND_MAX_PARAMS];

    if (!made_open(made, t, k)) return false;
    l->to = malloc((l->n * (size_t)n + 1) * sizeof *l->to);
    if (!l->to) return false;
    for (size_t i = 0; i < l->n; i++) {
        unpack(t, k, from->prefix[i], at);
        for (int v = 0; v < n; v++) {
            struct domain_failure f;
            int32_t *to = &l->to[i * (size_t)n + (size_t)v];
            at[k] = (uint16_t)v;
            if (!domain_place(t, at, k + 1, &f, NULL))
                *to = dead_end(&f);
            else if ((*to = node_of(made, t, k + 1, from->prefix[i] * (uint64_t)n + (uint64_t)v)) == NOWHERE)
                return false;
        }
    }
    return true;
}

/* From the last level up: how many points are behind each node. */
static bool count_up(const struct domain_entry *t, struct diagram *g)
{
    for (int k = g->depth; k >= 0; k--) {
        struct level *l = &g->level[k];
        const size_t n = k < g->depth ? (size_t)t->nvalues[k] : 0;
        l->points = calloc(l->n + 1, sizeof *l->points);
        if (!l->points) return false;
        for (size_t i = 0; i < l->n; i++) {
            if (k == g->depth) l->points[i] = t->below[k];
            for (size_t v = 0; v < n; v++)
                if (l->to[i * n + v] >= 0) l->points[i] += g->level[k + 1].points[l->to[i * n + v]];
        }
    }
    return true;
}

struct diagram *diagram_build(struct domain_entry *t, uint64_t *edges)
{
    struct diagram *g = calloc(1, sizeof *g);
    struct made from = {.prefix = calloc(1, sizeof *from.prefix)}, made;
    const uint16_t nothing[CAND_MAX_PARAMS] = {0};
    struct domain_failure f;

    if (!g || !from.prefix) goto fail;
    g->level[0].n = domain_place(t, nothing, 0, &f, NULL) ? 1 : 0;
    while (g->depth < t->n) {
        struct level *l = &g->level[g->depth];
        const uint64_t n = (uint64_t)t->nvalues[g->depth], cost = n > 1 ? l->n * n : l->n / SINGLE;
        if (cost > *edges) break;
        const bool descended = descend(t, l, g->depth, &from, &made);
        made_free(&from);
        from = made;
        g->depth++;
        if (!descended) goto fail;
        *edges -= cost;
        g->level[g->depth].n = made.n;
    }
    if (!count_up(t, g)) goto fail;
    made_free(&from);
    return g;
fail:
    made_free(&from);
    diagram_free(g);
    return NULL;
}

void diagram_free(struct diagram *g)
{
    if (!g) return;
    for (int k = 0; k <= g->depth; k++) {
        free(g->level[k].to);
        free(g->level[k].points);
    }
    free(g);
}

/* ---- asking ---- */

bool diagram_whole(const struct domain_entry *t)
{
    return t->diagram && t->diagram->depth == t->n;
}

uint64_t diagram_points(const struct diagram *g)
{
    return g->level[0].n > 0 ? g->level[0].points[0] : 0;
}

static int32_t follow(const struct domain_entry *t, int level, int32_t node, int value)
{
    return t->diagram->level[level].to[(size_t)node * (size_t)t->nvalues[level] + (size_t)value];
}

static uint64_t behind(const struct diagram *g, int level, int32_t node)
{
    return node < 0 ? 0 : g->level[level].points[node];
}

void diagram_pick(const struct domain_entry *t, uint64_t i, uint16_t *at)
{
    const struct diagram *g = t->diagram;
    int32_t node = 0;
    int k = 0;

    for (; k < g->depth; k++)
        for (at[k] = 0;; at[k]++) {
            const int32_t to = follow(t, k, node, at[k]);
            const uint64_t n = behind(g, k + 1, to);
            if (i < n) {
                node = to;
                break;
            }
            i -= n;
        }
    for (; k < t->n; k++) {
        at[k] = (uint16_t)(i / t->below[k + 1]);
        i %= t->below[k + 1];
    }
}

bool diagram_has(const struct domain_entry *t, const uint16_t *at)
{
    int32_t node = 0;

    if (diagram_points(t->diagram) == 0) return false;
    for (int k = 0; k < t->diagram->depth; k++)
        if ((node = follow(t, k, node, at[k])) < 0) return false;
    return true;
}

/* From this node on: at itself where it holds, else the first behind it. */
static bool next_from(const struct domain_entry *t, int k, int32_t node, uint16_t *at)
{
    const struct diagram *g = t->diagram;

    if (k == g->depth) return true;
    for (; at[k] < t->nvalues[k]; at[k]++) {
        const int32_t to = follow(t, k, node, at[k]);
        if (behind(g, k + 1, to) > 0 && next_from(t, k + 1, to, at)) return true;
        memset(at + k + 1, 0, (size_t)(t->n - k - 1) * sizeof *at);
    }
    return false;
}

bool diagram_next(const struct domain_entry *t, uint16_t *at)
{
    return diagram_points(t->diagram) > 0 && next_from(t, 0, 0, at);
}

/* From the first level down: the prefixes that lead to each node, and with them the points that a dead end excludes. */
bool diagram_tally(struct domain_entry *t)
{
    const struct diagram *g = t->diagram;
    const uint16_t nothing[CAND_MAX_PARAMS] = {0};
    uint64_t *ways = calloc(1, sizeof *ways);
    struct domain_failure f;

    if (ways) ways[0] = 1;
    if (!domain_place(t, nothing, 0, &f, NULL)) charge(t, dead_end(&f), t->below[0]);
    for (int k = 0; k < g->depth && ways; k++) {
        uint64_t *next = calloc(g->level[k + 1].n + 1, sizeof *next);
        for (size_t i = 0; i < g->level[k].n && next; i++)
            for (int v = 0; v < t->nvalues[k]; v++) {
                const int32_t to = follow(t, k, (int32_t)i, v);
                if (to >= 0)
                    next[to] += ways[i];
                else
                    charge(t, to, ways[i] * t->below[k + 1]);
            }
        free(ways);
        ways = next;
    }
    free(ways);
    return ways != NULL;
}
