/* fatune champion: the registry. Reading takes no lock; revoking is one appended row. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "paths.h"
#include "store.h"

struct listing {
    struct store *store;
    const char *prefix; /* of a track, or NULL */
    json_t *rows;
    struct err *e;
    int rc;
};

static json_t *champion_json(const struct store_champion *c)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:O?,s:O?}", "name", c->version.name, "track", c->version.track,
                     "space", c->version.space, "device", c->version.device, "at", c->at, "action", c->action,
                     "verdict", (json_int_t)c->verdict, "note", c->note, "params", c->version.params, "facts",
                     c->version.source_facts);
}

static int add_history(void *ctx, const struct store_champion *c)
{
    struct listing *l = ctx;

    if (!l->prefix || strncmp(c->version.track, l->prefix, strlen(l->prefix)) == 0)
        json_array_append_new(l->rows, champion_json(c));
    return 0;
}

static int add_champion(void *ctx, const char *track, const char *space, const char *device)
{
    struct listing *l = ctx;
    struct store_champion c;
    bool found;

    (void)space;
    (void)device;
    if (l->prefix && strncmp(track, l->prefix, strlen(l->prefix)) != 0) return 0;
    l->rc = store_champion(l->store, track, &c, &found, l->e);
    if (l->rc != 0 || !found) return l->rc;
    json_array_append_new(l->rows, champion_json(&c));
    store_champion_free(&c);
    return 0;
}

static const char *text(const json_t *row, const char *name)
{
    const char *s = json_string_value(json_object_get(row, name));

    return s ? s : "";
}

/* The row of one action; --json: the same row. */
static void print_row(const json_t *r)
{
    const char *kernel = json_string_value(json_object_get(json_object_get(r, "facts"), "text"));

    printf("%-8s %-8s %.19sZ  track %.12s  %s on %s\n         %s\n", text(r, "name"), text(r, "action"), text(r, "at"),
           text(r, "track"), text(r, "space"), text(r, "device"), kernel ? kernel : "");
    if (*text(r, "note")) printf("         %s\n", text(r, "note"));
}

static void print_rows(const json_t *rows, const char *prefix)
{
    if (json_array_size(rows) == 0)
        printf("no champion%s%s; `fatune run SPACE` makes one\n", prefix ? " in track " : "", prefix ? prefix : "");
    for (size_t i = 0; i < json_array_size(rows); i++)
        print_row(json_array_get(rows, i));
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
    return err_set(l->e, ERR_USAGE, "no champion stands%s%s, so there is none to revoke; `fatune champion list`",
                   l->prefix ? " in track " : "", l->prefix ? l->prefix : "");
}

/* *out: {"revoked": name, "champion": who stands now, or null}. */
static int revoke(const char *path, struct listing *l, const char *why, json_t **out, struct err *e)
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
    TRY(store_champion_revoke(s, track, why, e));
    TRY(store_champion(s, track, &now, &found, e));
    *out = json_pack("{s:s,s:o}", "revoked", text(json_array_get(l->rows, 0), "name"), "champion",
                     found ? champion_json(&now) : json_null());
    if (!*out) rc = err_nomem(e);
out:
    if (found) store_champion_free(&now);
    store_close(s);
    return rc;
}

static void print_revoked(const json_t *j)
{
    const json_t *now = json_object_get(j, "champion");

    printf("%s is revoked; ", text(j, "revoked"));
    if (json_is_object(now)) {
        printf("who stands now:\n");
        print_row(now);
    } else {
        printf("no champion stands in this track now\n");
    }
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct err e = {0};
    struct listing l = {.e = &e};
    json_t *revoked = NULL;
    const char *store = NULL, *why = "by hand";
    bool json = false;
    int rc;
    const char *action;
    const struct command_option options[] = {
        {"track", OPTION_TEXT, &l.prefix, "DIGEST", "only this track (a prefix will do)"},
        {"why", OPTION_TEXT, &why, "TEXT", "reason, kept in the history (revoke)"},
        {"store", OPTION_TEXT, &store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &json, NULL, "print as JSON (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 0, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, json);
    action = operands.n ? operands.text[0] : "list";
    if (strcmp(action, "list") != 0 && strcmp(action, "show") != 0 && strcmp(action, "history") != 0 &&
        strcmp(action, "revoke") != 0) {
        err_set(&e, ERR_USAGE, "champion knows list, show, history and revoke, not '%s'", action);
        return command_fail(&e, json);
    }
    l.rows = json_array();
    rc = store_open(&l.store, paths_store(store), STORE_READ, &e);
    if (rc == 0 && (strcmp(action, "list") == 0 || strcmp(action, "show") == 0)) {
        rc = store_tracks(l.store, add_champion, &l, &e);
        if (rc == 0) rc = l.rc;
    } else if (rc == 0 && strcmp(action, "history") == 0) {
        rc = store_champion_history(l.store, NULL, add_history, &l, &e);
    } else if (rc == 0) {
        rc = revoke(paths_store(store), &l, why, &revoked, &e);
    }
    store_close(l.store);
    if (rc != 0)
        rc = command_fail(&e, json);
    else if (json || strcmp(action, "show") == 0)
        rc = command_print_json(json_incref(revoked ? revoked : l.rows));
    else if (revoked)
        print_revoked(revoked);
    else
        print_rows(l.rows, l.prefix);
    json_decref(revoked);
    json_decref(l.rows);
    return rc;
}

const struct command cmd_champion = {
    "champion", "[list|show|history|revoke]", "the registry: who, since when, by which evidence",
    "list: who stands in each track. show: the same with all facts, as JSON. history: every action, oldest first. "
    "revoke: takes the standing champion of a track away; the one before it stands again. Nothing is ever deleted.",
    exec};
