#include "point.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "paths.h"
#include "store.h"

void point_free(struct point *p)
{
    if (!p) return;
    buf_free(&p->folder);
    buf_free(&p->space);
    buf_free(&p->tmpl);
    buf_free(&p->set);
    buf_free(&p->binary);
}

int point_folder(struct buf *out, const char *store, const char *kind, const char *name, struct err *e)
{
    const char *slash = strrchr(store, '/');
    struct err why = {0};

    buf_printf(out, "%.*s/%s/%s/", slash ? (int)(slash - store) : 1, slash ? store : ".", kind, name);
    if (paths_make(buf_text(out), &why) != 0)
        return err_set(e, why.code, "%.2000s; name another place with --store FILE", why.text);
    out->p[--out->n] = '\0'; /* its last slash */
    return 0;
}

void point_params(struct point *p, const json_t *cand)
{
    const char *key;
    json_t *value;

    buf_puts(&p->tmpl, json_string_value(json_object_get(cand, "template")));
    json_object_foreach(json_object_get(cand, "params"), key, value)
        buf_printf(&p->set, "%s%s=%" JSON_INTEGER_FORMAT, p->set.n ? "," : "", key, json_integer_value(value));
}

/* The version's parameters, and its space, which is written into the folder. */
static int from_store(struct point *p, const struct point_query *q, struct err *e)
{
    struct store *s = NULL;
    struct store_version v = {0};
    struct store_run run = {0};
    char *title = NULL, *text = NULL;
    bool found;
    int rc;

    TRY(store_open(&s, q->store, STORE_READ, e));
    TRY(store_version_find(s, q->track, q->name, &v, &found, e));
    if (!found) TRY(store_version_unnamed(s, q->track, q->name, &v, &found, e));
    if (!found) {
        rc = err_set(e, ERR_USAGE,
                     "no version is called %s, no candidate's digest begins so, and no file has this name; `fatune "
                     "champion history` lists versions",
                     q->name);
        goto out;
    }
    TRY(store_run_get(s, v.run, &run, e));
    TRY(store_space_text(s, run.space, &title, &text, e));
    TRY(point_folder(&p->folder, q->store, q->kind, v.name, e));
    buf_printf(&p->space, "%s/space.yaml", buf_text(&p->folder));
    TRY(buf_write_file(buf_text(&p->space), text, strlen(text), e));
    point_params(p, v.params);
    buf_puts(&p->binary, v.binary);
out:
    store_version_free(&v);
    store_run_free(&run);
    free(title);
    free(text);
    store_close(s);
    return rc;
}

int point_find(struct point *out, const struct point_query *q, struct err *e)
{
    struct stat st;

    *out = (struct point){0};
    if (stat(q->name, &st) == 0 && S_ISREG(st.st_mode)) {
        buf_puts(&out->space, q->name);
        if (q->tmpl) buf_puts(&out->tmpl, q->tmpl);
        if (q->set) buf_puts(&out->set, q->set);
        return point_folder(&out->folder, q->store, q->kind, "point", e);
    }
    if (q->set || q->tmpl) return err_set(e, ERR_USAGE, "--set and --template are for a SPACE; %s is no file", q->name);
    return from_store(out, q, e);
}

void point_args(const struct point *p, const char *store, const char *device, const char *templates,
                const char *args[POINT_ARGS])
{
    const struct {
        const char *option, *value;
    } with[] = {{"--store", store},
                {"--template", p->tmpl.n ? p->tmpl.p : NULL},
                {"--set", p->set.n ? p->set.p : NULL},
                {"--device", device},
                {"--templates", templates}};
    int n = 0;

    args[n++] = p->space.p;
    args[n++] = "--quick";
    args[n++] = "--samples=1";
    args[n++] = "--json";
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
        if (!with[i].value) continue;
        args[n++] = with[i].option;
        args[n++] = with[i].value;
    }
    args[n] = NULL;
}
