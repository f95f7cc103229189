/* Every question gets a child of its own, which may load anything and die of it. */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"
#include "worker.h"

/* A driver that cannot even be asked within four times this is as good as absent: it comes from a disk that may be cold, while a worker that
 * is at work says so all the time. */
#define ANSWER_S 15.0

/* One question to a child that may load anything. *reply: new reference. */
static int ask(json_t *request, json_t **reply, struct err *e)
{
    struct worker_loop *l = NULL;
    struct worker *w;
    double deadline_s = 4 * worker_deadline(ANSWER_S);
    int rc;

    *reply = NULL;
    if (worker_loop_open(&l, e) != 0) {
        json_decref(request);
        return -1;
    }
    rc = worker_spawn(l, NULL, &w, e);
    if (rc != 0) {
        json_decref(request);
        goto out;
    }
    switch (worker_call_take(w, request, deadline_s, NULL, NULL, reply)) {
    case WORKER_REPLY:
        break;
    case WORKER_HUNG:
    case WORKER_UNKILLABLE:
        rc = err_set(e, ERR_DEVICE,
                     "asking the drivers for devices failed: no answer within %g s (four times FATUNE_DEADLINE_S)",
                     deadline_s);
        goto out;
    default:
        rc = err_set(e, ERR_DEVICE, "asking the drivers for devices failed: %s", worker_words(w));
        goto out;
    }
    if (worker_interrupted(l)) { /* the signal was this loop's, and nobody would hear of it again */
        rc = err_set(e, ERR_INTERRUPTED, "interrupted");
        json_decref(*reply);
        *reply = NULL;
        goto out;
    }
    if (wire_error(*reply)) {
        json_int_t code = json_integer_value(json_object_get(json_object_get(*reply, "error"), "code"));
        rc = err_set(e, code > ERR_OK && code <= ERR_INTERRUPTED ? (enum err_code)code : ERR_DEVICE, "%s",
                     wire_error(*reply));
        json_decref(*reply);
        *reply = NULL;
    }
out:
    worker_loop_close(l);
    return rc;
}

/* A target in a child's answer. */
static int read_target(struct target *out, const json_t *j, struct err *e)
{
    struct err why = {0};

    if (target_from_json(out, j, &why) == 0) return 0;
    return err_set(e, ERR_DEVICE, "asking the drivers for devices failed: the answer makes no sense (%s)", why.text);
}

int target_list(struct target out[TARGET_MAX], struct buf *note, struct err *e)
{
    json_t *reply;
    const json_t *targets;
    int n = 0;

    if (ask(json_pack("{s:s}", "op", "targets"), &reply, e) != 0) return -1;
    targets = json_object_get(reply, "targets");
    for (size_t i = 0; i < json_array_size(targets) && n < TARGET_MAX; i++) {
        if (read_target(&out[n], json_array_get(targets, i), e) != 0) {
            json_decref(reply);
            return -1;
        }
        n++;
    }
    if (note && json_string_value(json_object_get(reply, "note")))
        buf_puts(note, json_string_value(json_object_get(reply, "note")));
    json_decref(reply);
    return n;
}

void target_text(const struct target *t, char *out, size_t size)
{
    if (t->index >= 0)
        snprintf(out, size, "%s:%d", t->driver, t->index);
    else
        snprintf(out, size, "%s", t->arch);
}

static int resolve_arch(const char *arch, struct target *out, struct err *e)
{
    json_t *reply;
    int rc;

    if (ask(json_pack("{s:s,s:s}", "op", "arch", "arch", arch), &reply, e) != 0) return -1;
    rc = read_target(out, json_object_get(reply, "target"), e);
    json_decref(reply);
    return rc;
}

int target_resolve(const char *device, const char *arch, struct target *out, struct err *e)
{
    struct target *list;
    struct buf note = {0}, found = {0};
    char name[32];
    int n, rc = -1;

    if (arch) return resolve_arch(arch, out, e);
    if (device && strcmp(device, "auto") == 0) device = NULL;
    list = calloc(TARGET_MAX, sizeof *list);
    if (!list) return err_nomem(e);
    n = target_list(list, &note, e);
    for (int i = 0; i < n && rc != 0; i++) {
        target_text(&list[i], name, sizeof name);
        buf_printf(&found, "\n  %-10s %s", name, list[i].name);
        if (!device || strcmp(device, name) == 0 || strcmp(device, list[i].driver) == 0) {
            *out = list[i];
            rc = 0;
        }
    }
    while (note.n > 0 && note.p[note.n - 1] == '\n')
        note.p[--note.n] = '\0';
    if (rc != 0 && n >= 0)
        err_set(e, ERR_DEVICE, "%s%s; %s%s%s%s", device ? "no device is called " : "no device was found",
                device ? device : "", n ? "these were found:" : "`fatune doctor` says more", buf_text(&found),
                note.n ? "\n" : "", buf_text(&note));
    free(list);
    buf_free(&note);
    buf_free(&found);
    return rc;
}
