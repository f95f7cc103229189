/* store_champion.c - versions, verdicts, and who is champion.
 *
 * The champion of a track is not stored: it follows from replaying the track's log, oldest first, on a stack.
 *   crown, promote  push the version;
 *   settle          keeps the top: a later night did not refute its promotion;
 *   refute          pops the top: a later night showed that the one below is faster;
 *   rollback        pops until the version is the top: somebody wants it back;
 *   revoke          removes every entry of the version's candidate: what was found wrong must not stand again because it had been promoted
 *                   twice;
 *   restore         changes nothing: it says who stands after a revocation or a refutation.
 * The top of the stack stands. It is provisional when it was promoted, not settled, and has somebody below it to return to. The log, verdicts
 * and versions only grow (triggers in the schema). A verdict, its version and its log entries are one transaction. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "store_private.h"

/* ---- versions ---- */

/* Columns 0..11; the tables are version v, candidate c, run r, space s, environment n. */
#define VERSION_COLUMNS                                                                                                \
    "v.id, v.candidate, v.run, v.environment, v.track, v.name, c.digest, v.created, s.name, n.facts, v.binary, "       \
    "c.params, v.facts"
#define VERSION_COLUMN_COUNT 13
#define VERSION_TABLES                                                                                                 \
    "version v JOIN candidate c ON c.id = v.candidate JOIN run r ON r.id = v.run JOIN space s ON s.id = r.space"       \
    " JOIN environment n ON n.id = v.environment"

void store_version_free(struct store_version *v)
{
    if (!v) return;
    json_decref(v->params);
    json_decref(v->source_facts);
    *v = (struct store_version){0};
}

void store_champion_free(struct store_champion *c)
{
    if (!c) return;
    store_version_free(&c->version);
    *c = (struct store_champion){0};
}

static int version_row(struct store *s, sqlite3_stmt *st, struct store_version *v, const char *what, struct err *e)
{
    json_t *facts = NULL;
    int rc;
    *v = (struct store_version){0};
    v->id = sqlite3_column_int64(st, 0);
    v->candidate = sqlite3_column_int64(st, 1);
    v->run = sqlite3_column_int64(st, 2);
    v->environment = sqlite3_column_int64(st, 3);
    store_text(st, 4, v->track, sizeof v->track);
    store_text(st, 5, v->name, sizeof v->name);
    store_text(st, 6, v->cand, sizeof v->cand);
    store_text(st, 7, v->created, sizeof v->created);
    store_text(st, 8, v->space, sizeof v->space);
    TRY(store_json(s, st, 9, &facts, what, e));
    store_device(facts, v->device);
    store_text(st, 10, v->binary, sizeof v->binary);
    TRY(store_json(s, st, 11, &v->params, what, e));
    TRY(store_json(s, st, 12, &v->source_facts, what, e));
out:
    json_decref(facts);
    if (rc != 0) store_version_free(v);
    return rc;
}

static int version_by_id(struct store *s, int64_t id, struct store_version *out, const char *what, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int rc;
    TRY(store_query(s, &st, what, e, "SELECT " VERSION_COLUMNS " FROM " VERSION_TABLES " WHERE v.id = ?", "i", id));
    rc = store_step(s, st, what, e);
    if (rc == 1)
        rc = version_row(s, st, out, what, e);
    else if (rc == 0)
        rc = store_damaged(s, what, "a version is missing", e);
out:
    sqlite3_finalize(st);
    return rc;
}

int store_versions(struct store *s, const char *track, int (*f)(void *ctx, const struct store_version *v), void *ctx,
                   struct err *e)
{
    static const char what[] = "list versions";
    sqlite3_stmt *st = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e,
                    "SELECT " VERSION_COLUMNS " FROM " VERSION_TABLES " WHERE ?1 IS NULL OR v.track = ?1 ORDER BY v.id",
                    "s", track));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_version v;
        TRY(version_row(s, st, &v, what, e));
        stop = f(ctx, &v);
        store_version_free(&v);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

/* Of the matches by name: the one of the track with the newest run. */
#define NEWEST_TRACK_FIRST " ORDER BY (SELECT max(id) FROM run WHERE track = v.track) DESC, v.id DESC LIMIT 1"

int store_version_find(struct store *s, const char *track, const char *name, struct store_version *out, bool *found,
                       struct err *e)
{
    static const char what[] = "look up a version";
    int64_t id = 0, candidate = 0;
    bool known = false;
    int rc;
    *found = false;
    *out = (struct store_version){0};
    TRY(store_number(s, &id, &known, what, e,
                     "SELECT v.id FROM version v WHERE v.name = ?1 AND (?2 IS NULL OR substr(v.track, 1, length(?2)) = "
                     "?2)" NEWEST_TRACK_FIRST,
                     "ss", name, track));
    if (!known && store_is_prefix(name)) {
        TRY(store_candidate_find(s, name, track, true, &candidate, &known, e));
        if (known)
            TRY(store_number(s, &id, &known, what, e,
                             "SELECT v.id FROM version v WHERE v.candidate = ?1 AND (?2 IS NULL OR substr(v.track, 1, "
                             "length(?2)) = ?2)" NEWEST_TRACK_FIRST,
                             "is", candidate, track));
    }
    if (!known) goto out;
    TRY(version_by_id(s, id, out, what, e));
    *found = true;
out:
    return rc;
}

int store_version_unnamed(struct store *s, const char *track, const char *prefix, struct store_version *out,
                          bool *found, struct err *e)
{
    static const char what[] = "look up a candidate";
    sqlite3_stmt *st = NULL;
    int64_t candidate = 0;
    int rc;
    *found = false;
    *out = (struct store_version){0};
    if (!store_is_prefix(prefix)) return 0;
    TRY(store_candidate_find(s, prefix, NULL, false, &candidate, found, e));
    if (!*found) goto out;
    *found = false;
    TRY(store_query(
        s, &st, what, e,
        "SELECT 0, c.id, r.id, r.environment, r.track, substr(c.digest, 1, 12), c.digest, v.created, s.name,"
        " n.facts, v.binary, c.params, NULL FROM (SELECT run, binary, created FROM evaluation WHERE"
        " candidate = ?1 UNION ALL SELECT run, NULL, created FROM trial WHERE ?1 IN (a, b)) v"
        " JOIN candidate c ON c.id = ?1 JOIN run r ON r.id = v.run JOIN space s ON s.id = r.space"
        " JOIN environment n ON n.id = r.environment WHERE (?2 IS NULL OR r.track = ?2)"
        " AND json_extract(c.params, '$.contestant') IS NULL ORDER BY r.id DESC, v.binary DESC LIMIT 1",
        "is", candidate, track));
    rc = store_step(s, st, what, e);
    *found = rc == 1;
    if (*found) rc = version_row(s, st, out, what, e);
out:
    sqlite3_finalize(st);
    return rc;
}

/* ---- the log ---- */

struct entry {
    int64_t id, version, candidate, verdict;
    bool settled;
};
struct standing {
    struct entry *stack;
    int n;
}; /* top is stack[n-1] */

static int push(struct standing *now, const struct entry *x, struct err *e)
{
    struct entry *more = realloc(now->stack, ((size_t)now->n + 1) * sizeof *more);

    if (!more) return err_nomem(e);
    now->stack = more;
    now->stack[now->n++] = *x;
    return 0;
}

static void remove_candidate(struct standing *now, int64_t candidate)
{
    int kept = 0;

    for (int i = 0; i < now->n; i++)
        if (now->stack[i].candidate != candidate) now->stack[kept++] = now->stack[i];
    now->n = kept;
}

/* One row of the log. */
static int apply(struct standing *now, const struct entry *x, const char *action, struct err *e)
{
    struct entry *top = now->n > 0 ? &now->stack[now->n - 1] : NULL;

    if (strcmp(action, "revoke") == 0) {
        remove_candidate(now, x->candidate);
    } else if (strcmp(action, "restore") == 0) {
        if (top) top->id = x->id;
    } else if (strcmp(action, "settle") == 0) {
        if (top) top->settled = true;
    } else if (strcmp(action, "refute") == 0) {
        if (top) now->n--;
    } else if (strcmp(action, "rollback") == 0) {
        while (now->n > 0 && now->stack[now->n - 1].version != x->version)
            now->n--;
        if (now->n > 0) now->stack[now->n - 1].id = x->id;
    } else {
        return push(now, x, e);
    }
    return 0;
}

static bool provisional(const struct standing *now)
{
    return now->n >= 2 && !now->stack[now->n - 1].settled;
}

static int replay(struct store *s, const char *track, struct standing *out, const char *what, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int rc;
    *out = (struct standing){0};
    TRY(store_query(
        s, &st, what, e,
        "SELECT h.id, h.version, v.candidate, h.action, h.verdict FROM champion h JOIN version v ON v.id = h.version"
        " WHERE h.track = ? ORDER BY h.id",
        "s", track));
    while ((rc = store_step(s, st, what, e)) == 1) {
        char action[16];
        struct entry x = {.id = sqlite3_column_int64(st, 0),
                          .version = sqlite3_column_int64(st, 1),
                          .candidate = sqlite3_column_int64(st, 2),
                          .verdict = sqlite3_column_int64(st, 4)};
        store_text(st, 3, action, sizeof action);
        x.settled = strcmp(action, "promote") != 0; /* a crown took nobody's place */
        TRY(apply(out, &x, action, e));
    }
out:
    sqlite3_finalize(st);
    if (rc != 0) {
        free(out->stack);
        *out = (struct standing){0};
    }
    return rc;
}

/* Columns of champion h behind those of its version. */
#define CHAMPION_SELECT                                                                                                \
    "SELECT " VERSION_COLUMNS                                                                                          \
    ", h.id, h.at, h.action, h.verdict, h.note, (SELECT run FROM verdict WHERE id = h.verdict)"                        \
    " FROM champion h JOIN version v ON v.id = h.version"                                                              \
    " JOIN candidate c ON c.id = v.candidate JOIN run r ON r.id = v.run JOIN space s ON s.id = r.space"                \
    " JOIN environment n ON n.id = v.environment"

static int champion_row(struct store *s, sqlite3_stmt *st, struct store_champion *c, const char *what, struct err *e)
{
    *c = (struct store_champion){0};
    if (version_row(s, st, &c->version, what, e) != 0) return -1;
    c->id = sqlite3_column_int64(st, VERSION_COLUMN_COUNT);
    store_text(st, VERSION_COLUMN_COUNT + 1, c->at, sizeof c->at);
    store_text(st, VERSION_COLUMN_COUNT + 2, c->action, sizeof c->action);
    c->verdict = sqlite3_column_int64(st, VERSION_COLUMN_COUNT + 3);
    store_text(st, VERSION_COLUMN_COUNT + 4, c->note, sizeof c->note);
    c->run = sqlite3_column_int64(st, VERSION_COLUMN_COUNT + 5);
    return 0;
}

int store_champion(struct store *s, const char *track, struct store_champion *out, bool *found, struct err *e)
{
    static const char what[] = "look up the champion";
    struct standing now = {0};
    sqlite3_stmt *st = NULL;
    int rc;
    *found = false;
    *out = (struct store_champion){0};
    TRY(replay(s, track, &now, what, e));
    if (now.n == 0) goto out;
    TRY(store_query(s, &st, what, e, CHAMPION_SELECT " WHERE h.id = ?", "i", now.stack[now.n - 1].id));
    rc = store_step(s, st, what, e);
    if (rc == 1)
        rc = champion_row(s, st, out, what, e);
    else if (rc == 0)
        rc = store_damaged(s, what, "an entry of the log is missing", e);
    *found = rc == 0;
    out->provisional = rc == 0 && provisional(&now);
out:
    sqlite3_finalize(st);
    free(now.stack);
    return rc;
}

int store_champion_before(struct store *s, const char *track, struct store_version *out, bool *found, struct err *e)
{
    static const char what[] = "look up the champion before";
    struct standing now = {0};
    int rc;
    *found = false;
    *out = (struct store_version){0};
    TRY(replay(s, track, &now, what, e));
    if (now.n < 2) goto out;
    TRY(version_by_id(s, now.stack[now.n - 2].version, out, what, e));
    *found = true;
out:
    free(now.stack);
    return rc;
}

int store_champion_first(struct store *s, const char *track, struct store_version *out, bool *found, struct err *e)
{
    static const char what[] = "look up the first champion";
    int64_t id = 0;
    *out = (struct store_version){0};
    if (store_number(
            s, &id, found, what, e,
            "SELECT h.version FROM champion h JOIN version v ON v.id = h.version WHERE h.track = ?1 AND NOT EXISTS"
            " (SELECT 1 FROM champion x JOIN version w ON w.id = x.version WHERE x.track = ?1 AND"
            " x.action = 'revoke' AND w.candidate = v.candidate) ORDER BY h.id LIMIT 1",
            "s", track) != 0)
        return -1;
    return *found ? version_by_id(s, id, out, what, e) : 0;
}

int store_champion_history(struct store *s, const char *track, int (*f)(void *ctx, const struct store_champion *c),
                           void *ctx, struct err *e)
{
    static const char what[] = "read the champions' log";
    sqlite3_stmt *st = NULL;
    int rc, stop = 0;
    TRY(store_query(s, &st, what, e, CHAMPION_SELECT " WHERE ?1 IS NULL OR h.track = ?1 ORDER BY h.id", "s", track));
    while (!stop && (rc = store_step(s, st, what, e)) == 1) {
        struct store_champion c;
        TRY(champion_row(s, st, &c, what, e));
        stop = f(ctx, &c);
        store_champion_free(&c);
    }
    if (stop) rc = 0;
out:
    sqlite3_finalize(st);
    return rc;
}

static int put_log(struct store *s, const char *track, int64_t version, const char *action, int64_t verdict,
                   const char *note, const char *what, struct err *e)
{
    char now[32];
    store_now(now);
    return store_write(s, NULL, what, e,
                       "INSERT INTO champion(track, version, action, verdict, note, at) VALUES(?,?,?,?,?,?)", "siskss",
                       track, version, action, verdict, note ? note : "", now);
}

int store_champion_revoke(struct store *s, const char *track, const char *why, struct err *e)
{
    static const char what[] = "revoke the champion";
    struct standing now = {0};
    if (store_begin(s, what, e) != 0) return -1;
    int rc = replay(s, track, &now, what, e);
    if (rc == 0 && now.n == 0)
        rc =
            err_set(e, ERR_USAGE, "there is no champion to revoke here\n`fatune champion list` shows who stands where");
    if (rc == 0) rc = put_log(s, track, now.stack[now.n - 1].version, "revoke", 0, why, what, e);
    free(now.stack);
    now = (struct standing){0};
    if (rc == 0) rc = replay(s, track, &now, what, e);
    if (rc == 0 && now.n > 0)
        rc = put_log(s, track, now.stack[now.n - 1].version, "restore", now.stack[now.n - 1].verdict, why, what, e);
    free(now.stack);
    return store_end(s, rc, what, e);
}

/* Where `name` lies below the standing one, as its newest place in the stack; ERR_USAGE says why it does not. */
static int find_below(struct store *s, const char *track, const char *name, const struct standing *now, int *at,
                      const char *what, struct err *e)
{
    int64_t version = 0;
    bool known;
    if (store_number(s, &version, &known, what, e, "SELECT id FROM version WHERE track = ? AND name = ?", "ss", track,
                     name) != 0)
        return -1;
    for (*at = now->n - 1; known && *at >= 0 && now->stack[*at].version != version;)
        --*at;
    if (!known || *at < 0)
        return err_set(e, ERR_USAGE,
                       "%s %s: only a champion before the standing one can be gone back to\n`fatune champion history` "
                       "shows them; to have another candidate tried again, `fatune run`",
                       name,
                       known ? "does not lie before the standing champion: it was revoked, refuted or rolled back"
                             : "is no version of this track");
    if (*at == now->n - 1) return err_set(e, ERR_USAGE, "%s stands already", name);
    return 0;
}

int store_champion_rollback(struct store *s, const char *track, const char *name, const char *why, struct err *e)
{
    static const char what[] = "roll the champion back";
    struct standing now = {0};
    int at = 0;
    if (store_begin(s, what, e) != 0) return -1;
    int rc = replay(s, track, &now, what, e);
    if (rc == 0) rc = find_below(s, track, name, &now, &at, what, e);
    if (rc == 0) rc = put_log(s, track, now.stack[at].version, "rollback", now.stack[at].verdict, why, what, e);
    free(now.stack);
    return store_end(s, rc, what, e);
}

/* ---- decisions ---- */

/* A name that a person chose must not look like a digest, and must pass through shells and file names. */
static int check_name(const char *name, struct err *e)
{
    size_t n = strlen(name);
    bool good = n >= 1 && n < 64 && (isalnum((unsigned char)name[0]) || name[0] == '_');
    for (size_t i = 0; i < n && good; i++)
        good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
    if (!good)
        return err_set(
            e, ERR_USAGE,
            "version name '%.80s': use 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit",
            name);
    if (store_is_prefix(name))
        return err_set(e, ERR_USAGE,
                       "version name '%s' reads like an abbreviated id: choose one with another letter in it", name);
    return 0;
}

/* The next v<N>: one more than the largest so far, so that a number is never used twice. */
static int next_name(struct store *s, const char *track, char out[64], const char *what, struct err *e)
{
    int64_t top = 0;
    int rc = store_number(
        s, &top, NULL, what, e,
        "SELECT coalesce(max(CAST(substr(name, 2) AS INTEGER)), 0) FROM version"
        " WHERE track = ? AND name GLOB 'v[0-9]*' AND substr(name, 2) NOT GLOB '*[^0-9]*' AND length(name) < 12",
        "s", track);
    if (rc == 0) snprintf(out, 64, "v%lld", (long long)top + 1);
    return rc;
}

/* The version row that the decision names: an equal one (candidate, binary, environment) is taken again unless a name
 * is asked for. */
static int put_version(struct store *s, const struct store_decision *d, int64_t environment, int64_t *version,
                       char name[64], const char *what, struct err *e)
{
    char now[32];
    int64_t id = 0;
    bool known = false;
    int rc;
    const char *binary = d->binary && d->binary[0] ? d->binary : NULL;
    if (!d->as) {
        TRY(store_number(
            s, version, &known, what, e,
            "SELECT max(id) FROM version WHERE track = ? AND candidate = ? AND binary IS ? AND environment = ?"
            " HAVING max(id) IS NOT NULL",
            "sisi", d->track, d->champion_candidate, binary, environment));
        if (known) {
            struct store_version old;
            TRY(version_by_id(s, *version, &old, what, e));
            snprintf(name, 64, "%s", old.name);
            store_version_free(&old);
            return 0;
        }
        TRY(next_name(s, d->track, name, what, e));
    } else {
        TRY(store_number(s, &id, &known, what, e, "SELECT id FROM version WHERE track = ? AND name = ?", "ss", d->track,
                         d->as));
        if (known) {
            rc = err_set(
                e, ERR_USAGE,
                "version name '%s' is taken here: choose another with --as; `fatune champion history` lists them",
                d->as);
            goto out;
        }
        snprintf(name, 64, "%s", d->as);
    }
    store_now(now);
    TRY(store_write(
        s, version, what, e,
        "INSERT INTO version(track, name, candidate, run, environment, binary, facts, created) VALUES(?,?,?,?,?,?,?,?)",
        "ssiiisjs", d->track, name, d->champion_candidate, d->run, environment, binary, d->facts, now));
out:
    return rc;
}

static int put_verdict(struct store *s, const struct store_decision *d, int64_t *id, const char *what, struct err *e)
{
    char now[32];
    *id = 0;
    if (!d->verdict) return 0; /* the first champion of a track may be crowned unopposed */
    json_t *body = verdict_to_json(d->verdict);
    if (!body) return err_nomem(e);
    store_now(now);
    int rc = store_write(
        s, id, what, e,
        "INSERT INTO verdict(run, trial, control, candidate, outcome, body, created) VALUES(?,?,?,?,?,?,?)", "kkkisjs",
        d->run, d->trial, d->control, d->candidate, verdict_name(d->verdict->outcome), body, now);
    json_decref(body);
    return rc;
}

/* What the log must not be silent about: this candidate was taken down before. */
static int put_past(struct store *s, const char *track, int64_t candidate, struct buf *note, const char *what,
                    struct err *e)
{
    sqlite3_stmt *st = NULL;
    int rc;
    TRY(store_query(s, &st, what, e,
                    "SELECT h.action, h.at FROM champion h JOIN version v ON v.id = h.version WHERE h.track = ? AND"
                    " v.candidate = ? AND h.action IN ('revoke', 'refute') ORDER BY h.id DESC LIMIT 1",
                    "si", track, candidate));
    rc = store_step(s, st, what, e);
    if (rc < 0) goto out;
    if (rc == 1)
        buf_printf(note, "; it was %s on %.10s",
                   strcmp((const char *)sqlite3_column_text(st, 0), "refute") == 0 ? "refuted" : "revoked",
                   (const char *)sqlite3_column_text(st, 1));
    rc = buf_check(note, e);
out:
    sqlite3_finalize(st);
    return rc;
}

static int decide(struct store *s, const struct store_decision *d, char name[64], const char *what, struct err *e)
{
    sqlite3_stmt *st = NULL;
    struct buf note = {0};
    char track[65];
    int64_t environment = 0, verdict = 0, version = 0;
    int rc;
    if (d->verdict) TRY(put_verdict(s, d, &verdict, what, e));
    if (!d->action) goto out;
    TRY(store_query(s, &st, what, e, "SELECT environment, track FROM run WHERE id = ?", "i", d->run));
    rc = store_step(s, st, what, e);
    if (rc < 0) goto out;
    store_text(st, 1, track, sizeof track);
    environment = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    if (rc == 0 || strcmp(track, d->track) != 0) {
        rc = err_set(e, ERR_BUG, "store: a run of another track would decide on track %.64s", d->track);
        goto out;
    }
    TRY(put_version(s, d, environment, &version, name, what, e));
    buf_puts(&note, d->note ? d->note : "");
    TRY(put_past(s, d->track, d->champion_candidate, &note, what, e));
    TRY(put_log(s, d->track, version, d->action, verdict, buf_text(&note), what, e));
out:
    sqlite3_finalize(st);
    buf_free(&note);
    return rc;
}

int store_decide(struct store *s, const struct store_decision *d, int n, const json_t *summary, char version_name[64],
                 struct err *e)
{
    static const char what[] = "write a verdict";
    char name[64] = "";
    int rc = 0;
    for (int i = 0; i < n; i++)
        if (d[i].action && d[i].as) TRY(check_name(d[i].as, e));
    TRY(store_begin(s, what, e));
    for (int i = 0; i < n && rc == 0; i++)
        rc = decide(s, &d[i], name, what, e);
    if (rc == 0 && summary) rc = store_run_state(s, d[0].run, NULL, 0, summary, e);
    TRY(store_end(s, rc, what, e));
    if (version_name) snprintf(version_name, 64, "%s", name);
out:
    return rc;
}

int store_settle(struct store *s, const struct store_decision *d, bool refuted, struct err *e)
{
    static const char what[] = "settle a promotion";
    struct standing now = {0};
    int64_t verdict = 0;
    int rc;
    TRY(store_begin(s, what, e));
    rc = replay(s, d->track, &now, what, e);
    if (rc == 0 && !provisional(&now))
        rc = err_set(e, ERR_BUG, "store: no promotion of track %.64s is provisional", d->track);
    if (rc == 0) rc = put_verdict(s, d, &verdict, what, e);
    if (rc == 0)
        rc = put_log(s, d->track, now.stack[now.n - 1].version, refuted ? "refute" : "settle", verdict, d->note, what,
                     e);
    if (rc == 0 && refuted)
        rc = put_log(s, d->track, now.stack[now.n - 2].version, "restore", verdict, d->note, what, e);
    free(now.stack);
    rc = store_end(s, rc, what, e);
out:
    return rc;
}

void store_verdict_free(struct store_verdict *v)
{
    if (!v) return;
    json_decref(v->body);
    *v = (struct store_verdict){0};
}

int store_verdict_get(struct store *s, int64_t verdict, struct store_verdict *out, struct err *e)
{
    static const char what[] = "read a verdict";
    sqlite3_stmt *st = NULL;
    int rc;
    *out = (struct store_verdict){.id = verdict};
    TRY(store_query(s, &st, what, e,
                    "SELECT v.run, v.trial, v.control, c.digest, v.created, v.body FROM verdict v JOIN candidate c ON "
                    "c.id = v.candidate WHERE v.id = ?",
                    "i", verdict));
    rc = store_step(s, st, what, e);
    if (rc == 0) rc = err_set(e, ERR_STORE, "store %.1000s: there is no verdict %lld", s->path, (long long)verdict);
    if (rc < 0) goto out;
    out->run = sqlite3_column_int64(st, 0);
    out->trial = sqlite3_column_int64(st, 1);
    out->control = sqlite3_column_int64(st, 2);
    store_text(st, 3, out->cand, sizeof out->cand);
    store_text(st, 4, out->created, sizeof out->created);
    rc = store_json(s, st, 5, &out->body, what, e);
out:
    sqlite3_finalize(st);
    return rc;
}
