/* evidence.c - collects: from the store, from the cache beside it, from the templates and the device where they are there. */
#include "evidence.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "evidence_private.h"
#include "paths.h"
#include "tune.h"

void evidence_say(struct evidence *v, const char *part, const char *fmt, ...)
{
    char text[1400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_clean(text);
    for (char *p = strchr(text, '\n'); p; p = strchr(p, '\n'))
        *p = ' ';
    json_array_append_new(v->says, json_pack("{s:s,s:s}", "part", part, "text", text));
}

const char *evidence_fact(const struct evidence *v, const char *name)
{
    const char *text = json_string_value(json_object_get(v->version.source_facts, name));

    return text ? text : "";
}

/* ---- what it is of ---- */

static int damaged(const struct evidence *v, const char *what, struct err *e)
{
    return err_set(
        e, ERR_STORE,
        "store %s: %s of version %s cannot be what fatune wrote; put the newest snapshot in the store's place",
        v->o->store, what, v->version.name);
}

static int find(struct evidence *v, struct err *e)
{
    const char *binary = v->version.binary;
    struct store_run run = {0};
    struct err why = {0};
    bool found;
    int rc;

    TRY(store_version_find(v->store, v->o->track, v->o->name, &v->version, &found, e));
    if (!found) {
        rc = err_set(e, ERR_USAGE, "no version is called %s; `fatune champion history` lists versions", v->o->name);
        goto out;
    }
    if (target_from_json(&v->target, json_object_get(v->version.source_facts, "target"), &why) != 0 ||
        launch_from_json(&v->launch, json_object_get(v->version.source_facts, "launch"), &why) != 0)
        rc = damaged(v, "the facts", e);
    else if (strlen(binary) != 64 || binary[strspn(binary, "0123456789abcdef")] != '\0')
        rc = damaged(v, "the binary's key", e);
    if (rc != 0) goto out;
    TRY(store_run_get(v->store, v->version.run, &run, e));
    TRY(store_space_text(v->store, run.space, &v->space_name, &v->space_text, e));
    rc = space_parse(&v->space, v->space_text, strlen(v->space_text), "space.yaml", e);
out:
    store_run_free(&run);
    return rc;
}

static int open_templates(struct evidence *v, struct err *e)
{
    struct paths *paths = malloc(sizeof *paths);

    if (!paths) return err_nomem(e);
    paths_templates(paths, NULL, v->o->templates);
    if (domain_open(&v->domain, &v->space, paths->dirs, paths->n, &v->target, &v->no_domain) != 0) v->domain = NULL;
    free(paths);
    return 0;
}

static int open_work(struct evidence *v, struct err *e)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(v->work, sizeof v->work, "%.4000s/fatune-evidence-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (mkdtemp(v->work)) return 0;
    err_set(e, ERR_SYSTEM, "cannot create a folder like %s: %s; set TMPDIR to a place that can be written", v->work,
            strerror(errno));
    v->work[0] = '\0';
    return -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/* ---- the store's part ---- */

struct history {
    json_t *list;
    const struct evidence *v;
    int64_t verdict; /* of the newest action that made this version champion; -1: none did */
};

static int add_action(void *ctx, const struct store_champion *c)
{
    struct history *h = ctx;

    if (c->version.id == h->v->version.id && (strcmp(c->action, "crown") == 0 || strcmp(c->action, "promote") == 0))
        h->verdict = c->verdict;
    return json_array_append_new(h->list, json_pack("{s:s,s:s,s:s,s:I,s:I,s:s}", "name", c->version.name, "action",
                                                    c->action, "at", c->at, "verdict", (json_int_t)c->verdict, "run",
                                                    (json_int_t)c->run, "note", c->note));
}

static int put_version(struct evidence *v, struct err *e)
{
    const struct store_version *x = &v->version;

    return evidence_put_json_take(&v->files, EVIDENCE_VERSION,
                                  json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:O,s:O}", "name", x->name, "track",
                                            x->track, "space", x->space, "device", x->device, "created", x->created,
                                            "candidate", x->cand, "run", (json_int_t)x->run, "binary", x->binary,
                                            "params", x->params, "facts", x->source_facts),
                                  e);
}

static int put_environment(struct evidence *v, const struct store_verdict *d, struct err *e)
{
    json_t *out = json_pack("{s:O?}", "environment", json_object_get(v->version.source_facts, "environment"));
    const struct {
        const char *name;
        int64_t trial;
    } trials[] = {{"during_the_trial", d->trial}, {"during_the_control", d->control}};
    int rc = out ? 0 : err_nomem(e);

    for (size_t i = 0; i < sizeof trials / sizeof *trials && rc == 0; i++) {
        json_t *health = NULL;
        if (trials[i].trial == 0) continue;
        rc = tune_trial_health(v->store, trials[i].trial, &health, e);
        if (rc == 0) json_object_set_new(out, trials[i].name, health);
    }
    if (rc == 0) return evidence_put_json_take(&v->files, EVIDENCE_ENVIRONMENT, out, e);
    json_decref(out);
    return rc;
}

/* json: run.json, borrowed from the caller until it is put. */
static int put_run(struct evidence *v, int64_t id, json_t **json, struct err *e)
{
    struct store_run run = {0};

    *json = NULL;
    if (store_run_get(v->store, id, &run, e) != 0) return -1;
    *json = json_pack("{s:I,s:s,s:s,s:s,s:s,s:O?,s:O?}", "run", (json_int_t)run.id, "state", run.state, "key", run.key,
                      "started", run.started, "ended", run.ended, "settings", run.settings, "summary", run.summary);
    store_run_free(&run);
    return *json ? evidence_put_json_take(&v->files, EVIDENCE_RUN, json_incref(*json), e) : err_nomem(e);
}

static int put_trial(struct evidence *v, enum evidence_file file, int64_t trial, json_t **json, struct err *e)
{
    if (store_trial_json(v->store, trial, json, e) != 0) return -1;
    return evidence_put_json_take(&v->files, file, json_incref(*json), e);
}

static int put_decision(struct evidence *v, const struct store_verdict *d, const json_t *run, struct err *e)
{
    json_t *trial = NULL, *control = NULL, *verdict;
    const char *b;
    int rc;

    TRY(put_trial(v, EVIDENCE_TRIAL, d->trial, &trial, e));
    if (d->control) TRY(put_trial(v, EVIDENCE_CONTROL, d->control, &control, e));
    b = json_string_value(json_object_get(trial, "b"));
    verdict = evidence_verdict_json(d, &v->space, run, b && strcmp(b, v->version.cand) == 0, e);
    if (!verdict) {
        rc = -1;
        goto out;
    }
    evidence_say(v, "verdict", "%s, with every sample of its trial (%zu quads) and of its control (%zu)",
                 json_string_value(json_object_get(d->body, "outcome")),
                 json_array_size(json_object_get(trial, "quads")), json_array_size(json_object_get(control, "quads")));
    rc = evidence_put_json_take(&v->files, EVIDENCE_VERDICT, verdict, e);
out:
    json_decref(trial);
    json_decref(control);
    return rc;
}

static int from_store(struct evidence *v, struct err *e)
{
    struct history h = {.list = json_array(), .v = v, .verdict = -1};
    struct store_verdict d = {0};
    json_t *run = NULL;
    int rc;

    TRY(store_champion_history(v->store, v->version.track, add_action, &h, e));
    TRY(evidence_put_json_take(&v->files, EVIDENCE_HISTORY, json_incref(h.list), e));
    TRY(put_version(v, e));
    buf_puts(&v->files.bytes[EVIDENCE_SPACE], v->space_text);
    v->files.there[EVIDENCE_SPACE] = true;
    if (h.verdict > 0) TRY(store_verdict_get(v->store, h.verdict, &d, e));
    TRY(put_run(v, d.run ? d.run : v->version.run, &run, e));
    TRY(put_environment(v, &d, e));
    if (d.trial) {
        TRY(put_decision(v, &d, run, e));
    } else {
        evidence_say(v, "verdict", "none: nobody was there to be tried against it");
        TRY(evidence_put_json_take(&v->files, EVIDENCE_VERDICT, json_object(), e));
    }
out:
    json_decref(h.list);
    json_decref(run);
    store_verdict_free(&d);
    return rc;
}

/* ---- all of it ---- */

static json_t *result(struct evidence *v, const char *digest)
{
    json_t *files = json_array();

    for (int i = 0; i < EVIDENCE_N; i++)
        if (v->files.there[i])
            json_array_append_new(files, json_pack("{s:s,s:I,s:s}", "name", evidence_file_name(i), "bytes",
                                                   (json_int_t)v->files.bytes[i].n, "what", evidence_file_what(i)));
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:O,s:o}", "version", v->version.name, "track", v->version.track,
                     "space", v->version.space, "device", v->version.device, "folder",
                     device_text_to_json(v->folder, strlen(v->folder)), "manifest", digest, "says", v->says, "files",
                     files);
}

static void close_all(struct evidence *v)
{
    if (*v->work) nftw(v->work, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    evidence_files_free(&v->files);
    domain_close(v->domain);
    space_free(&v->space);
    store_version_free(&v->version);
    store_close(v->store);
    free(v->space_name);
    free(v->space_text);
    json_decref(v->says);
    free(v);
}

int evidence_collect(const struct evidence_options *o, json_t **out, bool *sound, struct err *e)
{
    struct evidence *v = calloc(1, sizeof *v);
    const char *slash = strrchr(o->store, '/');
    char digest[DIGEST_HEX];
    int rc;

    *out = NULL;
    if (!v) return err_nomem(e);
    v->o = o;
    v->sound = true;
    v->says = json_array();
    TRY(store_open(&v->store, o->store, STORE_READ, e));
    TRY(find(v, e));
    TRY(open_work(v, e));
    TRY(open_templates(v, e));
    TRY(from_store(v, e));
    TRY(evidence_kernel(v, e));
    TRY(evidence_tensor(v, e));
    TRY(evidence_resources(v, e));
    TRY(evidence_correctness(v, e));
    if (o->out)
        snprintf(v->folder, sizeof v->folder, "%.4000s", o->out);
    else
        snprintf(v->folder, sizeof v->folder, "%.*s/evidence/%s", slash ? (int)(slash - o->store) : 1,
                 slash ? o->store : ".", v->version.name);
    TRY(evidence_files_write(&v->files, v->folder, v->version.name, v->version.track, digest, e));
    *sound = v->sound;
    *out = result(v, digest);
    if (!*out) rc = err_nomem(e);
out:
    close_all(v);
    return rc;
}
