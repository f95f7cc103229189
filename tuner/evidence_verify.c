/* evidence_verify.c - a folder from anywhere, checked. First that its files are those of its manifest; only then what they say, each claim from
 * the others that it follows from. A failing check names the file and the member. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "cuda_code.h"
#include "device.h"
#include "evidence_private.h"
#include "tune.h"

struct verify {
    struct evidence_files *files;
    json_t *json[EVIDENCE_N]; /* those that are JSON */
    struct space space;
    struct target target;
    const char *source; /* NULL: none */
    json_t *checks;
    bool good;
};

enum outcome { HOLDS, FAILS, OPEN };

/* Texts may quote what a stranger wrote. */
static void add(json_t *checks, const char *check, enum outcome outcome, const char *why)
{
    static const char *const names[] = {"ok", "failed", "not checked"};
    char clean[sizeof((struct err *)0)->text];

    snprintf(clean, sizeof clean, "%s", why);
    buf_clean(clean);
    json_array_append_new(checks, json_pack("{s:s,s:s,s:s}", "check", check, "outcome", names[outcome], "why", clean));
}

static void report(struct verify *v, const char *check, enum outcome outcome, const char *why)
{
    add(v->checks, check, outcome, why);
    if (outcome == FAILS) v->good = false;
}

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static const json_t *facts(const struct verify *v)
{
    return json_object_get(v->json[EVIDENCE_VERSION], "facts");
}

static const char *entry(const struct verify *v)
{
    return text(json_object_get(facts(v), "launch"), "entry");
}

/* Every JSON file and the space can be read, and version and kernel have what the other checks ask for. */
static bool readable(struct verify *v)
{
    char why[512] = "";
    struct err e = {0};
    json_error_t at;

    for (int f = 0; f < EVIDENCE_N && !*why; f++) {
        const char *name = evidence_file_name(f);
        const struct buf *bytes = &v->files->bytes[f];
        if (f != EVIDENCE_CUBIN && f != EVIDENCE_BIN && bytes->n > 0 && memchr(bytes->p, '\0', bytes->n))
            snprintf(why, sizeof why, "%s: a text with a NUL in it", name);
        if (*why || !v->files->there[f] || !evidence_file_is_json(f)) continue;
        v->json[f] = json_loadb(buf_text(&v->files->bytes[f]), v->files->bytes[f].n, JSON_REJECT_DUPLICATES, &at);
        if (!v->json[f]) snprintf(why, sizeof why, "%s:%d:%d: %.150s", name, at.line, at.column, at.text);
    }
    if (!*why && space_parse(&v->space, buf_text(&v->files->bytes[EVIDENCE_SPACE]), v->files->bytes[EVIDENCE_SPACE].n,
                             "space.yaml", &e) != 0)
        snprintf(why, sizeof why, "%.500s", e.text);
    if (!*why && target_from_json(&v->target, json_object_get(facts(v), "target"), &e) != 0)
        snprintf(why, sizeof why, "version.json: `facts.target`: %.400s", e.text);
    if (*why) report(v, "contents", FAILS, why);
    for (int f = EVIDENCE_CU; f <= EVIDENCE_CL; f++)
        if (v->files->there[f]) v->source = buf_text(&v->files->bytes[f]);
    return !*why;
}

/* ---- what it is of ---- */

static void track(struct verify *v)
{
    char digest[DIGEST_HEX];
    struct err e = {0};

    if (tune_track(digest, &v->space, &v->target, &e) != 0)
        report(v, "track", OPEN, e.text);
    else if (strcmp(digest, text(v->json[EVIDENCE_VERSION], "track")) != 0)
        report(v, "track", FAILS, "version.json: `track` is not that of space.yaml on this device's model");
    else
        report(v, "track", HOLDS, "space.yaml on this device's model is the track");
}

/* The log of champions has this version, by this verdict where there is one. */
static bool is_logged(const struct verify *v, const json_t *verdict)
{
    const json_t *log = v->json[EVIDENCE_HISTORY];

    for (size_t i = 0; i < json_array_size(log); i++) {
        const json_t *x = json_array_get(log, i);
        if (strcmp(text(x, "name"), text(v->json[EVIDENCE_VERSION], "name")) == 0 &&
            (!verdict || json_equal(json_object_get(x, "verdict"), verdict)))
            return true;
    }
    return false;
}

static void provenance(struct verify *v)
{
    const json_t *verdict = json_object_get(v->json[EVIDENCE_VERDICT], "verdict");

    if (!json_equal(json_object_get(v->json[EVIDENCE_ENVIRONMENT], "environment"),
                    json_object_get(facts(v), "environment")))
        report(v, "provenance", FAILS, "environment.json: `environment` is not that of version.json's `facts`");
    else if (!is_logged(v, verdict))
        report(v, "provenance", FAILS, "history.json: no action has this version and this verdict");
    else if (verdict && !json_equal(json_object_get(v->json[EVIDENCE_RUN], "run"),
                                    json_object_get(v->json[EVIDENCE_VERDICT], "run")))
        report(v, "provenance", FAILS, "run.json: `run` is not that of verdict.json");
    else
        report(v, "provenance", HOLDS, "environment, log and run are those of the version");
}

/* ---- the kernel ---- */

static void source(struct verify *v)
{
    const json_t *kernel = v->json[EVIDENCE_KERNEL], *list = json_object_get(kernel, "options");
    const char *options[17] = {NULL}, *key = text(v->json[EVIDENCE_VERSION], "binary");
    char own[DIGEST_HEX];

    if (!v->source) {
        report(v, "source", OPEN, text(kernel, "why_no_source"));
        return;
    }
    for (size_t i = 0; i < json_array_size(list) && i < 16; i++)
        options[i] = json_string_value(json_array_get(list, i));
    cache_key(own, &v->target, v->source, entry(v), options);
    if (strcmp(own, key) != 0 || strcmp(key, text(facts(v), "binary")) != 0)
        report(v, "source", FAILS,
               v->files->there[EVIDENCE_CU]
                   ? "kernel.cu: with the options it does not have the key that version.json records"
                   : "kernel.cl: with the options it does not have the key that version.json records");
    else
        report(v, "source", HOLDS, "source and options have the recorded key");
}

static void machine_code(struct verify *v)
{
    const struct buf *image = &v->files->bytes[EVIDENCE_CUBIN];
    const char *code = text(facts(v), "code");
    char own[DIGEST_HEX];
    struct err e = {0};

    if (!v->files->there[EVIDENCE_CUBIN]) {
        report(v, "machine code", OPEN,
               v->files->there[EVIDENCE_BIN] ? "kernel.bin: only its driver can tell the code in it"
                                             : text(v->json[EVIDENCE_KERNEL], "why_no_binary"));
    } else if (cuda_code_digest(own, image->p, image->n, entry(v), &e) != 0) {
        report(v, "machine code", OPEN, e.text);
    } else if (!*own || strcmp(own, code) != 0) {
        report(v, "machine code", FAILS, "kernel.cubin: its code does not have the digest that version.json records");
    } else {
        report(v, "machine code", HOLDS, "the code of kernel.cubin has the recorded digest");
    }
}

/* One list of counts again; false: it differs. */
static bool counts_agree(struct verify *v, const char *member, bool there, json_t *own)
{
    const json_t *is = json_object_get(v->json[EVIDENCE_TENSOR], member);
    bool agree = there ? own && json_equal(is, own) : json_is_null(is);

    json_decref(own);
    return agree;
}

static void tensor_cores(struct verify *v)
{
    bool sass = v->files->there[EVIDENCE_SASS], ptx = v->files->there[EVIDENCE_PTX];
    const char *sass_text = buf_text(&v->files->bytes[EVIDENCE_SASS]),
               *ptx_text = buf_text(&v->files->bytes[EVIDENCE_PTX]);
    const json_t *recorded = json_object_get(json_object_get(facts(v), "compiled"), "tensor_ops");

    if (!counts_agree(v, "sass", sass, sass ? evidence_tensor_sass(sass_text) : NULL))
        report(v, "tensor cores", FAILS, "tensor_cores.json: `sass` is not what kernel.sass has");
    else if (!counts_agree(v, "ptx", ptx, ptx ? cuda_code_tensor_json(ptx_text) : NULL))
        report(v, "tensor cores", FAILS, "tensor_cores.json: `ptx` is not what kernel.ptx has");
    else if (ptx && json_is_integer(recorded) && json_integer_value(recorded) != cuda_code_tensor_ops(ptx_text))
        report(
            v, "tensor cores", FAILS,
            "kernel.ptx: it has another number of matrix instructions than version.json's `facts.compiled.tensor_ops`");
    else if (!sass && !ptx)
        report(v, "tensor cores", OPEN, "there is neither PTX nor a disassembly");
    else
        report(v, "tensor cores", HOLDS, sass ? "counted again in the disassembly and in PTX" : "counted again in PTX");
}

/* ---- correctness ---- */

static bool passed_in_full(const struct verify *v, const json_t *check)
{
    return strcmp(text(check, "level"), "full") == 0 && strcmp(text(check, "fate"), "OK") == 0 &&
           strcmp(text(check, "binary"), text(v->json[EVIDENCE_VERSION], "binary")) == 0;
}

/* Not that a check could not be made, but that one was made and failed. */
static bool failed(const json_t *now)
{
    const char *word = text(json_object_get(now, "evaluation"), "fate");
    enum fate fate = FATE_OK;

    return *word && (fate_parse(&fate, word) != 0 || (fate != FATE_OK && !fate_harmless(fate)));
}

static void correctness(struct verify *v)
{
    const json_t *stored = json_object_get(v->json[EVIDENCE_CORRECTNESS], "stored");
    const json_t *now = json_object_get(v->json[EVIDENCE_CORRECTNESS], "now");
    size_t failures = 0, i = 0;

    for (size_t n = 0; n < json_array_size(now); n++)
        failures += failed(json_array_get(now, n));
    while (i < json_array_size(stored) && !passed_in_full(v, json_array_get(stored, i)))
        i++;
    if (i == json_array_size(stored))
        report(v, "correctness", FAILS, "correctness.json: `stored` has no full check of this binary that passed");
    else if (failures > 0)
        report(v, "correctness", FAILS, "correctness.json: `now`: the kernel failed when this was collected");
    else
        report(v, "correctness", HOLDS, "the binary passed its full check, and no check made since has failed");
}

/* ---- the decision ---- */

/* Sets trial, which stays empty when there is none; false: it was reported. */
static bool samples(struct verify *v, enum evidence_file f, const char *check, struct trial *trial)
{
    struct err e = {0};
    char why[160];

    if (!v->json[f]) return true;
    if (evidence_trial_read(trial, v->json[f], evidence_file_name(f), &e) != 0) {
        report(v, check, FAILS, e.text);
        return false;
    }
    snprintf(why, sizeof why, "%d sessions: letters from samples, clocks from clocks, and which quads count", trial->n);
    report(v, check, HOLDS, why);
    return true;
}

static void decide(struct verify *v, struct trial *trial, struct trial *control)
{
    const json_t *verdict = v->json[EVIDENCE_VERDICT];
    struct verdict_rule rule;
    struct buf missing = {0};
    struct err e = {0};
    char why[700];

    if (evidence_verdict_rule(verdict, &v->space, v->json[EVIDENCE_RUN], &rule, &e) != 0) {
        report(v, "rule", FAILS, e.text);
        return;
    }
    report(v, "rule", HOLDS, "that of space.yaml, alpha shared as run.json says");
    e = (struct err){0};
    if (evidence_verdict_again(verdict, &v->space, &rule, trial, v->json[EVIDENCE_CONTROL] ? control : NULL, &missing,
                               &e) != 0) {
        report(v, "verdict", FAILS, e.text);
    } else {
        snprintf(why, sizeof why, "%s, decided again from the samples%s%s",
                 text(json_object_get(verdict, "stored"), "outcome"),
                 missing.n ? "; the fatune that decided did not give " : "", buf_text(&missing));
        report(v, "verdict", HOLDS, why);
    }
    buf_free(&missing);
}

/* The arms are whom the verdict speaks of. */
static bool arms(struct verify *v)
{
    const json_t *verdict = v->json[EVIDENCE_VERDICT], *trial = v->json[EVIDENCE_TRIAL],
                 *control = v->json[EVIDENCE_CONTROL];
    const char *candidate = text(v->json[EVIDENCE_VERSION], "candidate"), *is = text(verdict, "version_is");
    const char *a = text(trial, "a"), *b = text(trial, "b"), *why = NULL;

    if (strcmp(b, text(verdict, "candidate")) != 0)
        why = "verdict.json: `candidate` is not arm `b` of trial.json";
    else if (strcmp(is, "b") == 0 ? strcmp(b, candidate) != 0 : strcmp(a, candidate) != 0)
        why = "verdict.json: `version_is`: that arm of trial.json is not the candidate of version.json";
    else if (!json_equal(json_object_get(verdict, "trial"), json_object_get(trial, "id")))
        why = "verdict.json: `trial` is not the number of trial.json";
    else if (control && (strcmp(text(control, "a"), a) != 0 || strcmp(text(control, "b"), a) != 0))
        why = "control.json: its arms are not the standing arm of trial.json";
    if (why) report(v, "arms", FAILS, why);
    return !why;
}

static void decision(struct verify *v)
{
    struct trial trial = {0}, control = {0};
    bool read;

    if (!v->json[EVIDENCE_TRIAL]) {
        if (json_object_size(v->json[EVIDENCE_VERDICT]) > 0)
            report(v, "verdict", FAILS, "verdict.json: there is a verdict, and trial.json is missing");
        else
            report(v, "verdict", OPEN, "there is none: nobody was there to be tried against it");
        return;
    }
    read = samples(v, EVIDENCE_TRIAL, "samples", &trial);
    read = samples(v, EVIDENCE_CONTROL, "control", &control) && read;
    if (arms(v) && read) decide(v, &trial, &control);
    trial_free(&trial);
    trial_free(&control);
}

int evidence_contents(struct evidence_files *f, json_t *checks, bool *good, json_t **version, struct err *e)
{
    struct verify *v = calloc(1, sizeof *v);

    *version = NULL;
    if (!v) return err_nomem(e);
    *v = (struct verify){.files = f, .checks = checks, .good = true};
    if (readable(v)) {
        track(v);
        provenance(v);
        source(v);
        machine_code(v);
        tensor_cores(v);
        correctness(v);
        decision(v);
    }
    *good = v->good;
    *version = json_incref(v->json[EVIDENCE_VERSION]);
    for (int i = 0; i < EVIDENCE_N; i++)
        json_decref(v->json[i]);
    space_free(&v->space);
    free(v);
    return 0;
}

/* ---- the folder ---- */

static bool check_files(const struct evidence_files *f, const json_t *wrong, json_t *checks)
{
    char why[64];
    int n = 0;

    for (size_t i = 0; i < json_array_size(wrong); i++)
        add(checks, "files", FAILS, json_string_value(json_array_get(wrong, i)));
    for (int i = 0; i < EVIDENCE_N; i++)
        n += f->there[i];
    snprintf(why, sizeof why, "%d files, as manifest.json and SHA256SUMS list them", n);
    if (json_array_size(wrong) == 0)
        add(checks, "files", HOLDS, why);
    else
        add(checks, "contents", OPEN, "what the files say is not looked at before they are those of the manifest");
    return json_array_size(wrong) == 0;
}

int evidence_verify(const char *folder, json_t **out, bool *good, struct err *e)
{
    struct evidence_files *files = calloc(1, sizeof *files);
    json_t *checks = json_array(), *wrong = json_array(), *version = NULL;
    char digest[DIGEST_HEX] = "";
    int rc;

    *out = NULL;
    if (!files) return err_nomem(e);
    TRY(evidence_files_read(files, folder, wrong, digest, e));
    *good = check_files(files, wrong, checks);
    if (*good) TRY(evidence_contents(files, checks, good, &version, e));
    *out = json_pack("{s:o,s:s,s:s,s:s,s:b,s:O}", "folder", device_text_to_json(folder, strlen(folder)), "version",
                     text(version, "name"), "track", text(version, "track"), "manifest", digest, "good", (int)*good,
                     "checks", checks);
    if (!*out) rc = err_nomem(e);
out:
    evidence_files_free(files);
    free(files);
    json_decref(version);
    json_decref(wrong);
    json_decref(checks);
    return rc;
}
