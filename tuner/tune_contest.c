/* A fatune kernel against a contestant: the quads of tune_trial.c, but letter by letter, since the contestant times itself in a process of its
 * own. What is the same for both arms: inputs (drawn by the device worker, handed over as files), number of sets and their rotation, m, the
 * least length of a sample, the warm-up rule, the health rules.
 *
 * The device worker is fresh in each session, the contestant is not: its start costs tens of seconds. It gets new inputs in fresh buffers
 * and warms up again.
 *
 * COLD: each of a contestant's samples begins at set 0, so its k is a multiple of the sets; else the first ones would be found warm. */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "contestant.h"
#include "stats.h"
#include "tune_private.h"
#include "wire.h"

#define K_TRIES 12
#define PLAN_SAMPLES 5
#define EXCHANGE "inputs-" /* folders below the cache; one that is there at a start was left by a run that was killed */

struct contest {
    struct tune *t;
    struct tune_item *item;
    struct contestant *c;
    int side; /* the contestant's arm, 0 or 1 */
    int k;    /* its launches a sample */
    char folder[PATH_MAX];
    const char *folder_name; /* in folder: what the device worker knows it by */
};

/* ---- files ---- */

static const char tensors[] = {'q', 'k', 'v', 'o'};

static void tensor_path(const struct contest *x, char tensor, char out[PATH_MAX + 4])
{
    snprintf(out, PATH_MAX + 4, "%s/%c", x->folder, tensor);
}

static void drop_files(const char *folder)
{
    for (size_t i = 0; i < sizeof tensors; i++) {
        char path[PATH_MAX + 4];
        snprintf(path, sizeof path, "%s/%c", folder, tensors[i]);
        unlink(path);
    }
}

static int open_folder(struct contest *x, struct err *e)
{
    char made[sizeof x->t->cache + 32];

    snprintf(made, sizeof made, "%s/" EXCHANGE "XXXXXX", x->t->cache);
    if (!mkdtemp(made) || !realpath(made, x->folder))
        return err_set(e, ERR_STORE, "cannot make a folder for tensors in %s; make it writable", x->t->cache);
    x->folder_name = strrchr(x->folder, '/') + 1;
    return 0;
}

static void close_folder(struct contest *x)
{
    if (!x->folder_name) return;
    drop_files(x->folder);
    rmdir(x->folder);
}

/* The store's lock is ours, so nobody else works in this cache. */
static void sweep(const char *cache)
{
    DIR *d = opendir(cache);
    const struct dirent *entry;
    char path[PATH_MAX];

    while (d && (entry = readdir(d)) != NULL) {
        if (strncmp(entry->d_name, EXCHANGE, sizeof EXCHANGE - 1) != 0) continue;
        if (snprintf(path, sizeof path, "%s/%s", cache, entry->d_name) >= (int)sizeof path) continue;
        drop_files(path);
        rmdir(path);
    }
    if (d) closedir(d);
}

/* ---- both sides ---- */

static void on_progress(void *ctx, const json_t *message)
{
    (void)message;
    tune_tick(ctx);
}

/* *reply NULL: the session failed, why says so. -1: the machine. Takes the request. */
static int device_ask(struct tune *t, json_t *request, json_t **reply, char why[256], struct err *e)
{
    enum worker_outcome outcome = worker_call_take(t->device, request, t->deadline_s, on_progress, t, reply);
    const char *error = wire_error(*reply);
    const char *fate = json_string_value(json_object_get(*reply, "fate"));
    int rc = 0;

    if (outcome == WORKER_UNKILLABLE) {
        rc = err_set(e, ERR_DEVICE, "a worker on %s could not be killed: the device is lost", t->target.name);
    } else if (outcome != WORKER_REPLY) {
        snprintf(why, 256, "the worker %s: %.160s", outcome == WORKER_HUNG ? "hung" : "died", worker_words(t->device));
    } else if (error) {
        rc = err_set(e, ERR_DEVICE, "%s", error);
    } else if (!fate || strcmp(fate, "OK") == 0 || strcmp(fate, "WRONG") == 0) {
        return 0;
    } else {
        snprintf(why, 256, "fatune's arm failed: %.180s", json_string_value(json_object_get(*reply, "text")));
    }
    json_decref(*reply);
    *reply = NULL;
    return rc;
}

/* New inputs, and whatever it must do again because of them. */
static bool hand_over(const struct contest *x)
{
    char path[PATH_MAX + 4];
    bool ok = true;

    for (int i = 0; i < 3 && ok; i++) {
        tensor_path(x, tensors[i], path);
        ok = contestant_input(x->c, tensors[i], path);
        unlink(path);
    }
    return ok && contestant_prepare(x->c);
}

static bool warm_up(const struct contest *x, double limit_s, bool *steady)
{
    double recent[BENCH_STEADY_SAMPLES], until_s = worker_now() + limit_s;

    *steady = false;
    for (int i = 0; (i == 0 || worker_now() < until_s) && !*steady; i++) {
        if (!contestant_sample(x->c, x->k, &recent[i % BENCH_STEADY_SAMPLES])) return false;
        *steady = i >= BENCH_STEADY_SAMPLES - 1 && bench_steady(recent);
    }
    return true;
}

/* ---- a session ---- */

static int device_letter(struct tune *t, int m, double *samples, double *clocks, bool *ok, char why[256], struct err *e)
{
    json_t *reply;
    const json_t *list, *mhz;

    if (device_ask(t, json_pack("{s:s,s:i}", "op", "letter", "m", m), &reply, why, e) != 0) return -1;
    list = json_object_get(reply, "samples");
    *ok = reply && (int)json_array_size(list) == m;
    mhz = json_object_get(reply, "mhz");
    for (int i = 0; i < m && *ok; i++) {
        samples[i] = json_number_value(json_array_get(list, (size_t)i));
        clocks[i] = json_number_value(json_array_get(mhz, (size_t)i));
    }
    json_decref(reply);
    return 0;
}

static int health(struct tune *t, json_t **out, char why[256], struct err *e)
{
    json_t *reply;

    if (device_ask(t, json_pack("{s:s}", "op", "health"), &reply, why, e) != 0) return -1;
    *out = json_incref(json_object_get(reply, "health"));
    json_decref(reply);
    return 0;
}

static void settle(struct tune *t, double s)
{
    const double until = worker_now() + s;

    while (worker_now() < until && !worker_interrupted(t->loop))
        worker_pump(t->loop, until - worker_now());
}

/* One quad; kept unless it is the first, which settles caches and clocks. */
static int quad(const struct contest *x, struct tune_session *s, bool baab, bool keep, bool *ok, char why[256],
                struct err *e)
{
    const int outer = baab ? 1 : 0, order[4] = {outer, !outer, !outer, outer};
    double *samples = malloc((size_t)(4 * s->m) * sizeof *samples);
    double *clocks = calloc((size_t)(4 * s->m), sizeof *clocks); /* a contestant's are not known */
    json_t *before = NULL, *after = NULL;
    int rc = samples && clocks ? 0 : err_nomem(e);

    if (rc == 0) rc = health(x->t, &before, why, e);
    *ok = rc == 0 && before;
    for (int letter = 0; letter < 4 && *ok; letter++) {
        int at = letter * s->m;
        if (order[letter] != x->side) {
            rc = device_letter(x->t, s->m, samples + at, clocks + at, ok, why, e);
            if (rc != 0) *ok = false;
            continue;
        }
        for (int i = 0; i < s->m && *ok; i++)
            *ok = contestant_sample(x->c, x->k, &samples[at + i]);
    }
    if (*ok) {
        rc = health(x->t, &after, why, e);
        *ok = rc == 0 && after;
    }
    if (*ok && keep)
        settle(x->t, health_pause_s(&s->pause, tune_quad_take(s, baab, samples, clocks, before, after), s->max));
    else
        free(samples);
    free(clocks);
    json_decref(before);
    json_decref(after);
    return rc;
}

static json_t *meet_request(const struct contest *x, uint64_t seed)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:s}", "op", "meet", "problem", problem_to_json(&x->t->space.problem), "bench",
                     tune_bench_json(x->t, seed), "kernel", tune_kernel_json(x->item), "folder", x->folder_name);
}

/* Both arms open and warm. */
static int begin_session(const struct contest *x, double warm_s, uint64_t seed, bool steady[2], bool *ok, char why[256],
                         struct err *e)
{
    struct tune *t = x->t;
    json_t *reply = NULL;

    if (tune_device_fresh(t, e) != 0 || device_ask(t, meet_request(x, seed), &reply, why, e) != 0) return -1;
    *ok = reply != NULL;
    json_decref(reply);
    if (!*ok) return 0;
    if (!hand_over(x)) {
        *ok = false;
        return 0;
    }
    if (device_ask(t, json_pack("{s:s,s:f}", "op", "warm", "seconds", warm_s / 2), &reply, why, e) != 0) return -1;
    *ok = reply != NULL;
    steady[!x->side] = json_is_true(json_object_get(reply, "steady"));
    json_decref(reply);
    if (*ok) *ok = warm_up(x, warm_s / 2, &steady[x->side]);
    return 0;
}

static int session(void *ctx, const struct tune_plan *p, uint64_t seed, struct tune_session *s, bool *ok, char why[256],
                   json_t **record, struct err *e)
{
    const struct contest *x = ctx;
    bool steady[2] = {false, false}, same = true;
    json_t *reply = NULL;
    struct rng rng;
    int *baab = calloc((size_t)p->quads + 1, sizeof *baab), rc;

    if (!baab) return err_nomem(e);
    rng_init(&rng, seed >> 1, "session");
    bench_quad_orders(baab, p->quads, &rng);
    TRY(begin_session(x, p->warm_s, seed, steady, ok, why, e));
    for (int i = -1; i < p->quads && *ok; i++) {
        tune_tick(x->t);
        TRY(quad(x, s, i >= 0 && baab[i] == 1, i >= 0, ok, why, e));
    }
    if (*ok) {
        TRY(device_ask(x->t, json_pack("{s:s}", "op", "verify"), &reply, why, e));
        *ok = reply != NULL;
        same = json_is_true(json_object_get(reply, "same"));
    }
    if (*ok && !same) {
        *ok = false;
        snprintf(why, 256, "fatune's arm gave another output after timing than before");
    }
    if (contestant_state(x->c) == CONTESTANT_OUT) {
        *ok = false;
        s->over = true;
        snprintf(why, 256, "%s", contestant_why(x->c));
    }
    if (*ok)
        *record = json_pack("{s:s,s:[b,b],s:i,s:s}", "fate", "OK", "steady", (int)steady[0], (int)steady[1],
                            "k_contestant", x->k, "choice", contestant_choice(x->c));
out:
    free(baab);
    json_decref(reply);
    return rc;
}

/* ---- before it is timed ---- */

static uint64_t check_seed(const struct tune *t, const char *id)
{
    struct rng r;

    rng_init(&r, t->seed + (uint64_t)t->run.id, id);
    return rng_u64(&r) >> 1;
}

/* The plain inputs of a check, handed over. *ok false: why says so, or the contestant is out. */
static int plain_inputs(const struct contest *x, json_int_t seed, bool *ok, char why[256], struct err *e)
{
    json_t *reply;

    if (tune_device_fresh(x->t, e) != 0 ||
        device_ask(x->t,
                   json_pack("{s:s,s:o,s:I,s:s}", "op", "draw", "problem", problem_to_json(&x->t->space.problem),
                             "seed", seed, "folder", x->folder_name),
                   &reply, why, e) != 0)
        return -1;
    *ok = reply && hand_over(x);
    json_decref(reply);
    return 0;
}

/* Its output on them, judged as a candidate's quick check judges. *proof: new reference, NULL when *why says so or it is out. */
static int judge(const struct contest *x, json_int_t seed, json_t **proof, char why[256], struct err *e)
{
    struct tune *t = x->t;
    char path[PATH_MAX + 4];
    int rc;

    tensor_path(x, 'o', path);
    if (!contestant_output(x->c, path)) return 0;
    rc = device_ask(t,
                    json_pack("{s:s,s:o,s:o,s:s,s:{s:I,s:f,s:f}}", "op", "judge", "problem",
                              problem_to_json(&t->space.problem), "reference", tune_kernel_json(&t->reference),
                              "folder", x->folder_name, "rule", "seed", seed, "atol", t->space.validate.atol, "rtol",
                              t->space.validate.rtol),
                    proof, why, e);
    unlink(path);
    if (*proof) json_object_del(*proof, "done");
    return rc;
}

/* Inputs and proof, which is kept: a run that goes on does not judge again. *wrong: malloc'ed text, NULL when right. */
static int prove(const struct contest *x, const char *id, int64_t row, char **wrong, struct err *e)
{
    struct tune *t = x->t;
    json_int_t seed = (json_int_t)check_seed(t, id);
    json_t *proof = NULL;
    char why[256] = "";
    const char *text;
    enum fate fate = FATE_OK;
    bool known, ok = false;
    int rc;

    *wrong = NULL;
    TRY(store_check_get(t->store, t->run.id, row, "output", &fate, &proof, &known, e));
    TRY(plain_inputs(x, seed, &ok, why, e));
    if (ok && !known) TRY(judge(x, seed, &proof, why, e));
    if (*why) rc = err_set(e, ERR_DEVICE, "the device worker failed while a contestant was checked: %s", why);
    if (*why || !proof || contestant_state(x->c) == CONTESTANT_OUT) goto out;
    text = json_string_value(json_object_get(proof, "fate"));
    if (!known && text && fate_parse(&fate, text) != 0) fate = FATE_WRONG;
    text = json_string_value(json_object_get(proof, "text"));
    if (fate != FATE_OK && !(*wrong = strdup(text ? text : ""))) rc = err_nomem(e);
    if (rc == 0 && !known) rc = store_check_put(t->store, t->run.id, row, "", "output", fate, proof, e);
out:
    json_decref(proof);
    return rc;
}

/* Launches that make a sample last BENCH_MIN_BATCH_US with a fifth to spare, as bench does; and what one launch takes. */
static bool choose_k(struct contest *x, int sets, double *us)
{
    const double wanted_us = 1.2 * BENCH_MIN_BATCH_US;
    double recent[PLAN_SAMPLES];
    bool ok = true;

    x->k = sets;
    for (int i = 0; i < K_TRIES && ok; i++) {
        double k;
        ok = contestant_sample(x->c, x->k, us) && contestant_sample(x->c, x->k, us); /* the first settles the new k */
        if (!ok || *us * x->k >= wanted_us || x->k >= BENCH_MAX_K) break;
        k = fmin(fmax(x->k + 1, wanted_us / *us), BENCH_MAX_K);
        x->k = (int)ceil(k / sets) * sets;
    }
    for (int i = 0; i < PLAN_SAMPLES && ok; i++)
        ok = contestant_sample(x->c, x->k, &recent[i]);
    if (ok) *us = stats_median_in_place(recent, PLAN_SAMPLES);
    return ok;
}

static char *below_floor(const struct tune *t, double us)
{
    char text[128];

    if (!(us < tune_item_floor(t))) return NULL;
    snprintf(text, sizeof text, "measured %.3f us is below the roofline of %.3f us: not believed", us,
             tune_item_floor(t));
    return strdup(text);
}

/* ---- one contestant ---- */

static int identity(struct tune *t, const struct contestant *c, char id[DIGEST_HEX], int64_t *row, struct err *e)
{
    json_t *params = json_pack("{s:s,s:s}", "contestant", contestant_name(c), "version", contestant_version(c));
    int rc;

    if (!params) return err_nomem(e);
    digest_strings(id, "contestant 1", contestant_name(c), contestant_version(c), contestant_command(c), NULL);
    rc = store_candidate(t->store, id, params, row, e);
    json_decref(params);
    return rc;
}

/* Everything up to the plan of the trial: the program knows the problem, is judged, and k is chosen. */
static int prepare(struct contest *x, struct tune_pairing *pair, const char *id, double *us, struct err *e)
{
    struct tune *t = x->t;
    int sets = bench_sets(&t->space.problem, &t->target, t->space.measure.cold ? BENCH_COLD : BENCH_WARM), rc = 0;
    char *wrong = NULL;

    TRY(open_folder(x, e));
    if (!contestant_problem(x->c, &t->space.problem, &t->target, sets)) goto out;
    TRY(prove(x, id, pair->row[x->side], &wrong, e));
    if (contestant_state(x->c) != CONTESTANT_READY || !choose_k(x, sets, us)) goto out;
    if (!wrong) wrong = below_floor(t, *us);
    pair->k[x->side] = x->k;
    if (pair->contestant) { /* a trial that goes on: as it was begun */
        if (wrong) json_object_set_new(pair->contestant, "wrong", json_string(wrong));
        x->k = (int)json_integer_value(json_object_get(pair->contestant, "k"));
        pair->k[x->side] = x->k;
    } else {
        pair->contestant =
            json_pack("{s:s,s:s,s:s,s:s?,s:i}", "name", contestant_name(x->c), "version", contestant_version(x->c),
                      "choice", contestant_choice(x->c), "wrong", wrong, "k", x->k);
        if (!pair->contestant) rc = err_nomem(e);
    }
out:
    free(wrong);
    return rc;
}

/* Is there a trial of this run, and is it whole? */
static int known(struct tune *t, struct tune_pairing *pair, bool *whole, struct err *e)
{
    struct trial kept = {0};
    json_t *settings = NULL;
    int64_t id;
    bool found;
    int rc;

    *whole = false;
    TRY(store_trial_find(t->store, t->run.id, pair->kind, pair->row[0], pair->row[1], &id, &settings, &kept, &found,
                         e));
    if (!found) goto out;
    pair->contestant = json_incref(json_object_get(settings, "contestant"));
    *whole = kept.n >= (int)json_integer_value(json_object_get(settings, "sessions"));
out:
    json_decref(settings);
    trial_free(&kept);
    return rc;
}

int tune_meet(struct tune *t, struct tune_item *i, struct contestant *c, int side, double box_s,
              struct tune_meeting *out, struct err *e)
{
    struct contest x = {.t = t, .item = i, .c = c, .side = side};
    struct tune_pairing pair = {.kind = "contestant", .session = session, .ctx = &x};
    struct tune_plan plan = {0};
    char id[DIGEST_HEX];
    double us = 0;
    bool whole = false;
    int rc = 0;

    *out = (struct tune_meeting){0};
    if (!contestant_wait(c)) goto out;
    TRY(identity(t, c, id, &pair.row[side], e));
    pair.row[!side] = i->row;
    pair.k[!side] = i->k;
    TRY(known(t, &pair, &whole, e));
    if (!whole) {
        TRY(prepare(&x, &pair, id, &us, e));
        if (contestant_state(c) != CONTESTANT_READY) goto out;
        plan = tune_plan_samples(t, (us * x.k + tune_sample_us(i)) / 2, box_s);
        tune_report(t, "contestant %s, %s: %d sessions of %d quads", contestant_name(c),
                    *contestant_choice(c) ? contestant_choice(c) : "no choice named", plan.sessions, plan.quads);
    }
    TRY(tune_trial_of(t, &pair, &plan, &out->trial, &out->id, e));
    out->facts = json_incref(pair.contestant);
out:
    json_decref(pair.contestant);
    close_folder(&x);
    if (rc == 0 && contestant_state(c) == CONTESTANT_OUT) rc = tune_interrupted(t, e);
    return rc;
}

void tune_meeting_free(struct tune_meeting *m)
{
    trial_free(&m->trial);
    json_decref(m->facts);
    *m = (struct tune_meeting){0};
}

/* ---- all of a run ---- */

static void on_settled(void *ctx, struct contestant *c)
{
    if (contestant_state(c) == CONTESTANT_OUT && !worker_interrupted(((struct tune *)ctx)->loop))
        tune_report(ctx, "contestant %s is left out: %s", contestant_name(c), contestant_why(c));
}

static void on_word(void *ctx, struct contestant *c, const char *text)
{
    struct tune *t = ctx;

    if (text) snprintf(t->doing_text, sizeof t->doing_text, "%s: %s", contestant_name(c), text);
    tune_tick(t);
}

int tune_contestant_open(struct tune *t, const struct contestant_program *p, struct contestant **out, struct err *e)
{
    const struct contestant_hooks hooks = {t->programs ? on_settled : NULL, on_word, t}; /* a run's are said at once */

    return contestant_open(out, t->loop, p, &t->target, &hooks, e);
}

int tune_contestants_find(struct tune *t, struct err *e)
{
    struct paths dirs;
    int n = t->space.ncontestants;

    if (n == 0 || t->o->no_contestants) return 0;
    t->programs = calloc((size_t)n, sizeof *t->programs);
    t->contestants = calloc((size_t)n, sizeof(struct contestant *));
    if (!t->programs || !t->contestants) return err_nomem(e);
    paths_contestants(&dirs, t->space.path, t->o->contestants);
    for (int i = 0; i < n; i++) {
        if (contestant_find(&t->programs[i], &t->space.contestants[i], t->space.path, &dirs, e) != 0) return -1;
        t->programs[i].refused = t->programs[i].local && !t->o->allow_contestants;
        t->ncontestants = i + 1;
    }
    return 0;
}

/* Each imports what it needs while we search; where the device is the host's own CPU, that would be timed as well. */
int tune_contestants_start(struct tune *t, struct err *e)
{
    sweep(t->cache);
    for (int i = 0; i < t->ncontestants; i++)
        if (!t->contestants[i] && tune_contestant_open(t, &t->programs[i], &t->contestants[i], e) != 0) return -1;
    return 0;
}

int tune_contestants_settle(struct tune *t, struct err *e)
{
    for (int i = 0; i < t->ncontestants; i++)
        if (t->contestants[i]) contestant_wait(t->contestants[i]);
    return tune_interrupted(t, e);
}

void tune_contestants_close(struct tune *t)
{
    for (int i = 0; i < t->ncontestants; i++) {
        contestant_close(t->contestants[i]);
        contestant_program_free(&t->programs[i]);
    }
    free(t->contestants);
    free(t->programs);
}

json_t *tune_contestants_json(const struct tune *t)
{
    json_t *list = json_array();

    for (int i = 0; i < t->ncontestants; i++) {
        const struct contestant_program *p = &t->programs[i];
        json_t *words = json_array();
        for (char **word = p->args; *word; word++)
            json_array_append_new(words, json_string(*word));
        if (p->local)
            json_array_append_new(list,
                                  json_pack("{s:s,s:o,s:s?}", "name", p->name, "command", words, "folder", p->folder));
        else
            json_decref(words);
    }
    return list;
}

int tune_meeting_verdict(const struct tune *t, const struct tune_meeting *m, struct verdict *out, struct err *e)
{
    const struct verdict_rule rule = {.min_gain = t->space.promote.min_gain,
                                      .hedges_g = t->space.promote.hedges_g,
                                      .alpha = t->space.promote.alpha,
                                      .min_sessions = TUNE_LEAST_SESSIONS,
                                      .resamples = TUNE_RESAMPLES};
    struct rng rng;

    rng_init(&rng, t->seed + (uint64_t)m->id, "contestant");
    return verdict_decide(out, &rule, &m->trial, NULL, &rng, e);
}

static int conclude(struct tune *t, struct contestant *c, const struct tune_meeting *m, json_t *entry, struct err *e)
{
    struct verdict v;
    enum verdict_relation relation;

    if (tune_meeting_verdict(t, m, &v, e) != 0) return -1;
    relation = verdict_relation(&v, t->space.promote.min_gain);
    json_object_update(entry, m->facts);
    json_object_del(entry, "k");
    json_object_set_new(entry, "trial", json_integer(m->id));
    json_object_set_new(entry, "boxed", json_boolean(m->trial.boxed));
    json_object_set_new(entry, "relation", json_string(verdict_relation_name(relation)));
    json_object_set_new(entry, "verdict", verdict_to_json(&v));
    tune_report(t, "contestant %s: %s", contestant_name(c),
                relation == VERDICT_UNSURE   ? "undecided"
                : relation == VERDICT_SAME   ? "the same"
                : relation == VERDICT_FASTER ? "fatune's arm is faster"
                                             : "fatune's arm is slower");
    return 0;
}

static int contest(struct tune *t, int n, struct err *e)
{
    struct contestant *c = t->contestants[n];
    struct tune_meeting m;
    json_t *entry = json_pack("{s:s,s:n}", "name", t->programs[n].name, "left_out");
    bool was_out = contestant_state(c) == CONTESTANT_OUT;
    int rc;

    if (!entry) return err_nomem(e);
    json_array_append_new(t->meetings, entry);
    TRY(tune_meet(t, t->winner, c, 0, t->minutes * 60 / 4, &m, e));
    if (contestant_state(c) == CONTESTANT_OUT) {
        json_object_set_new(entry, "left_out", json_string(contestant_why(c)));
        if (*contestant_version(c)) json_object_set_new(entry, "version", json_string(contestant_version(c)));
        if (!was_out) on_settled(t, c);
    } else {
        rc = conclude(t, c, &m, entry, e);
    }
out:
    tune_meeting_free(&m);
    contestant_close(c);
    t->contestants[n] = NULL;
    t->doing_text[0] = '\0';
    return rc;
}

int tune_contest(struct tune *t, struct err *e)
{
    if (t->ncontestants == 0) return 0;
    t->progress.phase = TUNE_CONTEST;
    t->progress.total = 0;
    tune_report(t, "%s meets %d contestant%s", t->has_champion || !t->o->no_promote ? "the champion" : "the best arm",
                t->ncontestants, t->ncontestants == 1 ? "" : "s");
    if (tune_contestants_start(t, e) != 0 || tune_contestants_settle(t, e) != 0 || tune_ready(t, t->winner, e) != 0)
        return -1;
    for (int i = 0; i < t->ncontestants; i++)
        if (tune_interrupted(t, e) != 0 || contest(t, i, e) != 0) return -1;
    return 0;
}
