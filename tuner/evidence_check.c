/* evidence_check.c - is the kernel right? The full checks that the store has, and where the device is here, the same parameters rendered for both
 * masks and checked in full now. */
#include <stdio.h>
#include <string.h>

#include "evidence_private.h"
#include "tune.h"

/* Whether a check could not be made here, rather than failed. */
static bool cannot_run(const struct err *why)
{
    return why->code == ERR_DEVICE || why->code == ERR_INPUT || why->code == ERR_USAGE;
}

static void set_text(struct buf *out, const json_t *point)
{
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(point, "params"), key, value)
        buf_printf(out, "%s%s=%" JSON_INTEGER_FORMAT, out->n ? "," : "", key, json_integer_value(value));
}

static void say(struct evidence *v, const char *mask, const char *why, const json_t *now)
{
    const char *fate_text = json_string_value(json_object_get(now, "fate"));
    const char *log = json_string_value(json_object_get(now, "log"));
    enum fate fate = FATE_OK;

    if (!now) {
        evidence_say(v, "correctness", "mask %s, now: not run: %s", mask, why);
        return;
    }
    if (!fate_text || fate_parse(&fate, fate_text) != 0) fate = FATE_CRASH;
    if (fate == FATE_OK)
        evidence_say(v, "correctness", "mask %s, now: passed, on %s", mask,
                     json_string_value(json_object_get(now, "device")));
    else if (fate_harmless(fate))
        evidence_say(v, "correctness", "mask %s, now: not run: %s: %.300s", mask, fate_text, log ? log : "");
    else
        evidence_say(v, "correctness", "mask %s, now: FAILED: %s: %.300s", mask, fate_text ? fate_text : "",
                     log ? log : "");
    v->sound = v->sound && (fate == FATE_OK || fate_harmless(fate));
}

/* One mask, now; where its own cannot be run here, the other is not tried. */
static int check(struct evidence *v, bool other, json_t *list, struct err *e)
{
    enum mask mask = v->space.problem.mask;
    const char *words, *tmpl = json_string_value(json_object_get(v->version.params, "template"));
    char space[4200];
    struct tune_options o = {.space = space,
                             .device = v->o->device ? v->o->device : v->target.driver,
                             .store = v->o->store,
                             .templates = v->o->templates,
                             .other_mask = other};
    struct buf set = {0};
    struct err why = {0};
    json_t *now = NULL;
    int rc = 0;

    if (other) mask = mask == MASK_CAUSAL ? MASK_NONE : MASK_CAUSAL;
    words = mask_name(mask);
    snprintf(space, sizeof space, "%s/space.yaml", v->work);
    set_text(&set, v->version.params);
    if (v->o->no_device)
        err_set(&why, ERR_DEVICE, "--no-device was given");
    else if (other && !json_is_null(json_object_get(json_array_get(list, 0), "not_run")))
        err_set(&why, ERR_DEVICE, "its own mask cannot be run here either");
    else if (tune_eval(&o, tmpl, buf_text(&set), true, 0, &now, &why) != 0 && !cannot_run(&why))
        rc = err_set(e, why.code, "%s", why.text);
    if (rc == 0) {
        say(v, words, why.text, now);
        json_array_append_new(list, json_pack("{s:s,s:b,s:s?,s:O?}", "mask", words, "own", (int)!other, "not_run",
                                              now ? NULL : why.text, "evaluation", now));
    }
    buf_free(&set);
    json_decref(now);
    return rc;
}

/* What the store has of this binary; a full check must have passed. */
static int stored(struct evidence *v, json_t *checks, struct err *e)
{
    json_t *all = NULL, *list;
    bool found, passed = false;
    int rc;

    TRY(store_candidate_json(v->store, v->version.cand, &all, &found, e));
    list = json_object_get(all, "checks");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *x = json_array_get(list, i);
        const char *level = json_string_value(json_object_get(x, "level")),
                   *fate = json_string_value(json_object_get(x, "fate")),
                   *binary = json_string_value(json_object_get(x, "binary"));
        if (!level || !fate || !binary || strcmp(binary, v->version.binary) != 0) continue;
        json_array_append(checks, x);
        passed = passed || (strcmp(level, "full") == 0 && strcmp(fate, "OK") == 0);
    }
    evidence_say(v, "correctness",
                 passed ? "the stored full check of this binary passed"
                        : "no full check of this binary that passed is stored");
out:
    json_decref(all);
    return rc;
}

int evidence_correctness(struct evidence *v, struct err *e)
{
    json_t *checks = json_array(), *now = json_array();
    char path[4200];
    int rc;

    snprintf(path, sizeof path, "%s/space.yaml", v->work);
    TRY(buf_write_file(path, v->space_text, strlen(v->space_text), e));
    TRY(stored(v, checks, e));
    TRY(check(v, false, now, e));
    TRY(check(v, true, now, e));
    rc = evidence_put_json_take(&v->files, EVIDENCE_CORRECTNESS, json_pack("{s:O,s:O}", "stored", checks, "now", now),
                                e);
out:
    json_decref(checks);
    json_decref(now);
    return rc;
}
