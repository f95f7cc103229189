/* Both builds run on the same inputs: the ordinary one first, which nobody watches, then the debug build. Its tile is judged on the host; the
 * ordinary build's O of the same rows is judged by the same rule, so that a fault which watching mends is seen. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_host.h"
#include "check_private.h"
#include "check_tile.h"
#include "npy.h"

/* What came of both runs. */
struct watched {
    float *tile;   /* as the device has it */
    float *o[2];   /* of the tile's rows: ordinary, debug */
    size_t differ; /* words of the whole o that differ between them */
};

static int find_set(const char *name)
{
    for (int s = 0; s < CHECK_SET_N; s++)
        if (strcmp(check_set_name((enum check_set)s), name) == 0) return s;
    return -1;
}

bool check_knows_set(const char *name)
{
    return find_set(name) >= 0;
}

static enum device_class run_both(struct check *c, const struct check_kernel *debug, const struct check_tile *tile,
                                  enum check_set set, float *shown)
{
    const char *name = check_set_name(set);
    enum device_class cls;
    check_draw_plain(c, c->rule->seed);
    if ((cls = check_put_set(c, set)) != DEVICE_OK) return cls;
    if (check_decided(c, cls = check_run_candidate(c, 0, 0, name))) return cls;
    if (check_decided(c, cls = check_verify_inputs(c, name))) return cls;
    if ((cls = check_put_tile(c, tile)) != DEVICE_OK) return cls;
    c->candidate = debug;
    if (check_decided(c, cls = check_run_candidate(c, 1, 1, "debug build"))) return cls;
    if (check_decided(c, cls = check_verify_inputs(c, "debug build"))) return cls;
    return check_get_tile(c, shown);
}

static void take_outputs(const struct check *c, const struct check_tile *t, struct watched *w)
{
    const size_t dim = (size_t)c->p->head_dim, plane = (size_t)t->batch * (size_t)c->p->heads + (size_t)t->head;
    const size_t first = (plane * (size_t)c->p->seq_q + (size_t)t->row) * dim;
    for (size_t i = 0; i < problem_q_elements(c->p); i++)
        w->differ += c->run[0].o[i] != check_second(c, i);
    for (size_t i = 0; i < (size_t)t->rows * dim; i++) {
        w->o[0][i] = c->decode[c->run[0].o[first + i]];
        w->o[1][i] = c->decode[check_second(c, first + i)];
    }
}

static int write_files(const struct check_tile_work *w, const char *folder, struct err *e)
{
    const struct check_shown *g = w->got;
    const struct {
        const char *name;
        const float *got;
        const double *expected;
        size_t columns;
    } files[] = {{"s", g->s, NULL, w->keys},          {"p", g->p, NULL, w->keys},
                 {"m", g->m, NULL, w->keys},          {"o", g->o, NULL, w->dim},
                 {"s_expected", NULL, w->s, w->keys}, {"p_expected", NULL, w->weight, w->keys},
                 {"o_expected", NULL, w->o, w->dim},  {"o_true", NULL, w->truth, w->dim}};
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s.npy", folder, files[i].name);
        if ((files[i].got != NULL ? npy_write_f32(path, files[i].got, w->rows, files[i].columns, e)
                                  : npy_write_f64(path, files[i].expected, w->rows, files[i].columns, e)) != 0)
            return -1;
    }
    return 0;
}

static int judge(struct check *c, const struct check_tile *t, const char *set, struct watched *w, const char *folder)
{
    const size_t cells = (size_t)t->rows * (size_t)c->p->seq_kv;
    const float *s = w->tile + CHECK_TILE_HEAD;
    const struct check_shown got = {.s = s, .p = s + cells, .m = s + 2 * cells, .o = w->o[1]};
    const uint16_t *const in[3] = {c->now->q, c->now->k, c->now->v};
    static const char *const names[CHECK_STAGE_N] = {"S", "M", "P", "O"};
    struct check_tile_work work;
    enum check_stage first = CHECK_STAGE_N;
    json_t *stages = NULL;
    double error = 0;
    size_t bad;
    int rc = -1;
    if (check_tile_open(&work, c->p, t, in, c->decode, &got, c->threads, c->e) != 0) return -1;
    if (check_tile_report(&work, &first, &stages, c->e) != 0 || write_files(&work, folder, c->e) != 0) goto out;
    for (size_t i = 0; i < work.rows * work.dim; i++)
        error = fmax(error, isfinite(got.o[i]) ? fabs((double)got.o[i] - work.truth[i]) : INFINITY);
    bad = check_tile_bad(&work, w->o[0]);
    c->out->json = json_pack(
        "{s:{s:i, s:i, s:i, s:i}, s:s, s:I, s:s?, s:O, s:o, s:{s:I, s:I}, s:b}", "tile", "batch", t->batch, "head",
        t->head, "row", t->row, "rows", t->rows, "inputs", set, "seed", (json_int_t)c->rule->seed, "departs",
        first == CHECK_STAGE_N ? NULL : names[first], "stages", stages, "error", check_number(error), "ordinary",
        "differs", (json_int_t)w->differ, "bad", (json_int_t)bad, "hidden", first == CHECK_STAGE_N && bad > 0);
    rc = c->out->json != NULL ? 0 : err_nomem(c->e);
out:
    json_decref(stages);
    check_tile_close(&work);
    return rc;
}

static enum device_class watch(struct check *c, const struct check_kernel *debug, const struct check_tile *tile,
                               enum check_set set, const char *folder, struct watched *w)
{
    const size_t rows = (size_t)tile->rows * (size_t)c->p->head_dim;
    enum device_class cls;
    w->tile = malloc(check_tile_floats(c->p, tile) * sizeof *w->tile);
    for (int i = 0; i < 2; i++)
        w->o[i] = malloc(rows * sizeof *w->o[i]);
    if (w->tile == NULL || w->o[0] == NULL || w->o[1] == NULL) {
        err_nomem(c->e);
        return DEVICE_LOST;
    }
    c->tile_bytes = check_tile_floats(c->p, tile) * sizeof *w->tile;
    if ((cls = check_device_open(c)) != DEVICE_OK) return cls;
    if (check_decided(c, cls = run_both(c, debug, tile, set, w->tile))) return cls;
    check_progress(c, "comparing");
    take_outputs(c, tile, w);
    return judge(c, tile, check_set_name(set), w, folder) == 0 ? DEVICE_OK : DEVICE_LOST;
}

enum device_class check_oracle(struct check *c, const struct check_kernel *candidate, const struct check_kernel *debug,
                               const struct check_tile *tile, const char *set, uint64_t seed, const char *folder,
                               void (*progress)(void *ctx, const char *stage), void *ctx, struct check_report *out,
                               struct err *e)
{
    const struct check_rule rule = {.seed = seed};
    struct watched w = {0};
    enum device_class cls = DEVICE_LOST;
    check_begin(c, candidate, NULL, &rule, progress, ctx, out, e);
    if (!check_knows_set(set))
        err_set(e, ERR_BUG, "no inputs are called %s", set);
    else if (check_tile_valid(c->p, tile, e) == 0)
        cls = watch(c, debug, tile, (enum check_set)find_set(set), folder, &w);
    check_device_close(c);
    free(w.tile);
    free(w.o[0]);
    free(w.o[1]);
    return cls;
}
