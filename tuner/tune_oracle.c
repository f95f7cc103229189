/* `fatune oracle`: one point twice, as it is and as its debug build, in one request to the device worker. What the debug build shows
 * comes as files in a folder of the cache, since nothing large travels through a pipe, and ends in the folder that was asked for. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "rng.h"
#include "tune_private.h"

#define ROWS 64 /* of a tile that was not asked for otherwise */
#define LARGEST_FILE (256u << 20)

static int default_tile(struct check_tile *t, const struct problem *p, struct err *e)
{
    if (t->rows == 0) t->rows = t->row >= p->seq_q ? 1 : p->seq_q - t->row < ROWS ? p->seq_q - t->row : ROWS;
    return check_tile_valid(p, t, e);
}

/* A build of the point, compiled; *made NULL where it was not, and i->fate says why. */
static int build(struct tune *t, const struct cand *c, bool debug, struct tune_item **made, struct err *e)
{
    struct tune_item *i = tune_item_new(t, c, e);
    int rc = 0;

    if (!i) return -1;
    *made = i;
    i->debug = debug;
    TRY(tune_prepare(t, i, e));
    if (i->rendered) TRY(farm_wait(t->farm, &i->job, e));
    if (!i->rendered || i->job.fate == FATE_OK) goto out;
    i->fate = i->job.fate;
    i->log = i->job.log ? strdup(i->job.log) : NULL;
out:
    return rc;
}

/* Moves every file to folder `to`, which may lie on another file system; to NULL: they go. */
static int empty_folder(const char *from, const char *to, struct err *e)
{
    DIR *d = opendir(from);
    const struct dirent *entry;
    char source[PATH_MAX + 256], target[PATH_MAX + 256];
    int rc = 0;

    while (d && (entry = readdir(d)) != NULL) {
        struct buf bytes = {0};
        if (entry->d_name[0] == '.') continue;
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to ? to : "", entry->d_name);
        if (to && rc == 0) rc = buf_read_file(&bytes, source, LARGEST_FILE, ERR_SYSTEM, e);
        if (to && rc == 0) rc = buf_write_file(target, bytes.p, bytes.n, e);
        buf_free(&bytes);
        unlink(source);
    }
    if (d) closedir(d);
    return rc;
}

static json_t *request_of(const struct tune *t, const struct tune_item *const build[2], const struct check_tile *tile,
                          const char *inputs, const char *folder)
{
    struct rng r;

    rng_init(&r, t->seed, build[0]->id); /* as `fatune eval` draws them */
    return json_pack("{s:s,s:o,s:o,s:o,s:{s:i,s:i,s:i,s:i},s:s,s:I,s:s}", "op", "oracle", "problem",
                     problem_to_json(&t->space.problem), "kernel", tune_kernel_json(build[0]), "debug",
                     tune_kernel_json(build[1]), "tile", "batch", tile->batch, "head", tile->head, "row", tile->row,
                     "rows", tile->rows, "inputs", inputs, "seed", (json_int_t)(rng_u64(&r) >> 1), "folder", folder);
}

/* Both builds on the device. *report: NULL when they did not get so far; new reference. */
static int watch(struct tune *t, struct tune_item *const build[2], const struct check_tile *tile, const char *inputs,
                 const char *out, json_t **report, struct err *e)
{
    const struct tune_item *const both[2] = {build[0], build[1]};
    char folder[sizeof t->cache + 32];
    json_t *reply = NULL;
    const char *name, *log;
    char *text = NULL;
    int rc;

    snprintf(folder, sizeof folder, "%s/tile-XXXXXX", t->cache);
    if (!mkdtemp(folder))
        return err_set(e, ERR_STORE, "cannot make a folder for a tile in %s; make it writable", t->cache);
    TRY(tune_device_call(t, request_of(t, both, tile, inputs, strrchr(folder, '/') + 1), &build[0]->fate, &text, &reply,
                         e));
    if (reply) {
        name = json_string_value(json_object_get(reply, "fate"));
        log = json_string_value(json_object_get(reply, "text"));
        if (!name || fate_parse(&build[0]->fate, name) != 0) build[0]->fate = FATE_CRASH;
        text = strdup(log ? log : "");
        *report = json_incref(json_object_get(reply, "report"));
    }
    build[0]->log = text;
    text = NULL;
    if (*report) TRY(empty_folder(folder, out, e));
out:
    empty_folder(folder, NULL, e);
    rmdir(folder);
    free(text);
    json_decref(reply);
    return rc;
}

int tune_oracle(const struct tune_options *o, const char *tmpl, const char *set, const struct check_tile *asked,
                const char *inputs, const char *folder, json_t **out, struct err *e)
{
    struct tune *t = calloc(1, sizeof *t);
    struct tune_item *item[2] = {NULL, NULL};
    struct check_tile tile = *asked;
    struct buf text = {0};
    json_t *report = NULL;
    struct cand c;
    int rc;

    *out = NULL;
    if (!t) return err_nomem(e);
    TRY(tune_open(t, o, false, e));
    TRY(tune_point(t, tmpl, set, &c, e));
    TRY(default_tile(&tile, &t->space.problem, e));
    if (!tmpl_has_hooks(domain_template(t->domain, c.tmpl))) {
        rc = err_set(e, ERR_INPUT,
                     "the template %s has no tile hooks, so its debug build would show nothing; kernel_templates/"
                     "README.md tells how they are added",
                     domain_template(t->domain, c.tmpl)->name);
        goto out;
    }
    for (int i = 0; i < 2 && (i == 0 || item[0]->fate == FATE_OK); i++)
        TRY(build(t, &c, i == 1, &item[i], e));
    if (item[1] && item[1]->fate != FATE_OK) {
        rc = err_set(e, ERR_INPUT, "the debug build of %s does not compile, and the ordinary one does: %s",
                     domain_template(t->domain, c.tmpl)->name, item[1]->log ? item[1]->log : "");
        goto out;
    }
    if (item[1]) TRY(watch(t, item, &tile, inputs, folder, &report, e));
    cand_text(t->domain, &c, &text);
    *out = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:o*}", "candidate", buf_text(&text), "id", item[0]->id, "fate",
                     fate_name(item[0]->fate), "log", item[0]->log ? item[0]->log : "", "device", t->target.name,
                     "folder", folder, "binary", item[0]->job.key, "report", json_incref(report));
    rc = *out ? 0 : err_nomem(e);
out:
    json_decref(report);
    buf_free(&text);
    tune_close(t);
    free(t);
    return rc;
}
