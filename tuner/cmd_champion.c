/* fatune champion: the registry and the ledger of nights. Reading takes no lock; revoking and rolling back append rows. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "paths.h"
#include "report_registry.h"
#include "store.h"

struct listing {
    struct store *store;
    const char *prefix; /* of a track, or NULL */
    json_t *rows;
    struct err *e;
    int rc;
};

/* Takes the row; non-zero when it could not be made or added. */
static int add_row(struct listing *l, json_t *row)
{
    if (json_array_append_new(l->rows, row) != 0) l->rc = err_nomem(l->e);
    return l->rc;
}

static int add_history(void *ctx, const struct store_champion *c)
{
    struct listing *l = ctx;

    if (!l->prefix || strncmp(c->version.track, l->prefix, strlen(l->prefix)) == 0)
        return add_row(l, report_action_json(c));
    return 0;
}

static int add_champion(void *ctx, const struct store_track *t)
{
    struct listing *l = ctx;
    struct store_champion c;
    bool found;

    if (l->prefix && strncmp(t->digest, l->prefix, strlen(l->prefix)) != 0) return 0;
    l->rc = store_champion(l->store, t->digest, &c, &found, l->e);
    if (l->rc != 0 || !found) return l->rc;
    add_row(l, report_action_json(&c));
    store_champion_free(&c);
    return l->rc;
}

static const char *text(const json_t *row, const char *name)
{
    const char *s = json_string_value(json_object_get(row, name));

    return s ? s : "";
}

static int add_night(void *ctx, const struct store_night *n)
{
    struct listing *l = ctx;

    if (l->prefix && strncmp(n->track, l->prefix, strlen(l->prefix)) != 0) return 0;
    return add_row(l, report_ledger_json(n));
}

/* The row of one action; --json: the same row. */
static void print_row(const json_t *r)
{
    const char *kernel = json_string_value(json_object_get(json_object_get(r, "facts"), "text"));

    printf("%-8s %-8s %.19sZ  track %.12s  %s on %s%s\n         %s\n", text(r, "name"), text(r, "action"),
           text(r, "at"), text(r, "track"), text(r, "space"), text(r, "device"),
           json_object_get(r, "provisional") ? ", provisional until a night settles it" : "", kernel ? kernel : "");
    if (*text(r, "note")) printf("         %s\n", text(r, "note"));
}

static void print_rows(const json_t *rows, const char *prefix)
{
    if (json_array_size(rows) == 0)
        printf("no champion%s%s; `fatune run SPACE` makes one\n", prefix ? " in track " : "", prefix ? prefix : "");
    for (size_t i = 0; i < json_array_size(rows); i++)
        print_row(json_array_get(rows, i));
}

static void print_night(const json_t *r)
{
    const char *before = text(r, "before"), *after = text(r, "after"), *promotion = text(r, "promotion");
    const json_t *control = json_object_get(r, "control"), *ci = json_object_get(r, "control_ci"),
                 *anchor = json_object_get(r, "anchor_us");

    printf("night %-3lld %.19sZ  %-8s %s -> %s  %s on %s, run %lld, track %.12s\n",
           (long long)json_integer_value(json_object_get(r, "night")), text(r, "at"), text(r, "outcome"),
           *before ? before : "nobody", *after ? after : "nobody", text(r, "space"), text(r, "device"),
           (long long)json_integer_value(json_object_get(r, "run")), text(r, "track"));
    printf("          ");
    if (*promotion) printf("promotion %s; ", promotion);
    if (json_is_number(control))
        printf("A/A %.5f [%.5f, %.5f]; ", json_number_value(control), json_number_value(json_array_get(ci, 0)),
               json_number_value(json_array_get(ci, 1)));
    if (json_is_number(anchor)) printf("anchor %.3f us; ", json_number_value(anchor));
    printf("%lld trial%s, alpha %g, %.0f s\n", (long long)json_integer_value(json_object_get(r, "trials")),
           json_integer_value(json_object_get(r, "trials")) == 1 ? "" : "s",
           json_number_value(json_object_get(r, "alpha_spent")), json_number_value(json_object_get(r, "seconds")));
    if (*text(r, "note")) printf("          %s\n", text(r, "note"));
}

static void print_nights(const json_t *rows, const char *prefix)
{
    if (json_array_size(rows) == 0)
        printf("no night%s%s; `fatune nightly SPACE...` makes one\n", prefix ? " in track " : "", prefix ? prefix : "");
    for (size_t i = 0; i < json_array_size(rows); i++)
        print_night(json_array_get(rows, i));
}

/* The one track with a champion that a prefix (or nothing) names. */
static int only_track(struct listing *l, char track[65])
{
    int n = 0;

    l->rc = store_tracks(l->store, add_champion, l, l->e);
    if (l->rc != 0) return -1;
    for (size_t i = 0; i < json_array_size(l->rows); i++, n++)
        snprintf(track, 65, "%s", text(json_array_get(l->rows, i), "track"));
    if (n == 1) return 0;
    if (n > 1)
        return err_set(l->e, ERR_USAGE,
                       "champions stand in %d tracks: name one with --track (`fatune champion list` shows them)", n);
    return err_set(l->e, ERR_USAGE, "no champion stands%s%s, so there is none to take down; `fatune champion list`",
                   l->prefix ? " in track " : "", l->prefix ? l->prefix : "");
}

/* Takes the standing champion down: for `to`, an earlier one, or as wrong when to is NULL. *out: {"revoked" or "left": name, "champion": who
 * stands now, or null}. */
static int take_down(const char *path, struct listing *l, const char *to, const char *why, json_t **out, struct err *e)
{
    char track[65];
    struct store *s = NULL;
    struct store_champion now = {0};
    bool found = false;
    int rc = only_track(l, track);

    store_close(l->store);
    l->store = NULL;
    if (rc != 0) return -1;
    TRY(store_open(&s, path, STORE_WRITE, e));
    TRY(to ? store_champion_rollback(s, track, to, why, e) : store_champion_revoke(s, track, why, e));
    TRY(store_champion(s, track, &now, &found, e));
    *out = json_pack("{s:s,s:o}", to ? "left" : "revoked", text(json_array_get(l->rows, 0), "name"), "champion",
                     found ? report_action_json(&now) : json_null());
    if (!*out) rc = err_nomem(e);
out:
    if (found) store_champion_free(&now);
    store_close(s);
    return rc;
}

static void print_taken_down(const json_t *j)
{
    const json_t *now = json_object_get(j, "champion");
    bool left = json_object_get(j, "left") != NULL;

    printf("%s is %s; ", text(j, left ? "left" : "revoked"), left ? "left" : "revoked");
    if (json_is_object(now)) {
        printf("who stands now:\n");
        print_row(now);
    } else {
        printf("no champion stands in this track now\n");
    }
}

/* What has one operand more than the others: the version. */
static int check_action(const struct command_operands *o, const char *action, struct err *e)
{
    static const char *const known[] = {"list", "show", "history", "ledger", "revoke", "rollback"};
    bool rollback = strcmp(action, "rollback") == 0;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(action, known[i]) != 0) continue;
        if (rollback && o->n != 2)
            return err_set(e, ERR_USAGE,
                           "rollback to whom? `fatune champion rollback NAME`; `history` shows the names");
        if (!rollback && o->n > 1)
            return err_set(e, ERR_USAGE, "champion %s takes no '%s'; --track narrows it", action, o->text[1]);
        return 0;
    }
    return err_set(e, ERR_USAGE, "champion knows list, show, history, ledger, revoke and rollback, not '%s'", action);
}

/* Fills l->rows, or *taken for what changes the registry. */
static int perform(struct listing *l, const char *path, const char *action, const char *to, const char *why,
                   json_t **taken, struct err *e)
{
    int rc = store_open(&l->store, path, STORE_READ, e);

    if (rc != 0) return -1;
    if (strcmp(action, "list") == 0 || strcmp(action, "show") == 0) {
        rc = store_tracks(l->store, add_champion, l, e);
        return rc == 0 ? l->rc : rc;
    }
    if (strcmp(action, "history") == 0) {
        rc = store_champion_history(l->store, NULL, add_history, l, e);
        return rc == 0 ? l->rc : rc;
    }
    if (strcmp(action, "ledger") == 0) {
        rc = store_nights(l->store, NULL, add_night, l, e);
        return rc == 0 ? l->rc : rc;
    }
    return take_down(path, l, to, why, taken, e);
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct err e = {0};
    struct listing l = {.e = &e};
    json_t *taken = NULL;
    const char *store = NULL, *why = "by hand";
    bool json = false;
    int rc;
    const char *action;
    const struct command_option options[] = {
        {"track", OPTION_TEXT, &l.prefix, "DIGEST", "only this track (a prefix will do)"},
        {"why", OPTION_TEXT, &why, "TEXT", "reason, kept in the history (revoke, rollback)"},
        {"store", OPTION_TEXT, &store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 0, 2, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    action = operands.n ? operands.text[0] : "list";
    if (check_action(&operands, action, &e) != 0) return command_fail(&e, json);
    l.rows = json_array();
    rc = perform(&l, paths_store(store), action, operands.n > 1 ? operands.text[1] : NULL, why, &taken, &e);
    store_close(l.store);
    if (rc != 0)
        rc = command_fail(&e, json);
    else if (json || strcmp(action, "show") == 0)
        rc = command_print_json(json_incref(taken ? taken : l.rows));
    else if (taken)
        print_taken_down(taken);
    else if (strcmp(action, "ledger") == 0)
        print_nights(l.rows, l.prefix);
    else
        print_rows(l.rows, l.prefix);
    json_decref(taken);
    json_decref(l.rows);
    return rc;
}

const struct command cmd_champion = {
    "champion", "[ACTION]", "the registry: who, since when, by which evidence",
    "list: who stands in each track. show: the same with all facts, as JSON. history: every action, oldest first. "
    "ledger: every night, oldest first: who stood before and after, the A/A control, what was spent. "
    "revoke: takes the standing champion of a track away as wrong; the one before it stands again. "
    "rollback: an earlier champion stands again; those after it leave, and may be promoted again. "
    "A promotion is provisional until a later night has not refuted it. Nothing is ever deleted.",
    exec};
