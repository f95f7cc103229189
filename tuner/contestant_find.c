/* From a name or a command to a program that can be started. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "contestant.h"

void contestant_program_free(struct contestant_program *p)
{
    for (char **word = p->args; word && *word; word++)
        free(*word);
    free(p->args);
    free(p->folder);
    *p = (struct contestant_program){0};
}

static bool executable(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int refuse(const struct pos *at, const char *text, struct err *e)
{
    return at->file ? err_at(e, at, "%s", text) : err_set(e, ERR_USAGE, "%s", text);
}

/* One word as a command. Links are kept: a program may ask by which name it was called. */
static int take_path(struct contestant_program *out, const char *path, struct err *e)
{
    char here[PATH_MAX], whole[PATH_MAX + 8192];

    if (*path != '/' && getcwd(here, sizeof here)) {
        snprintf(whole, sizeof whole, "%s/%s", here, path);
        path = whole;
    }
    out->args = calloc(2, sizeof *out->args);
    return out->args && (out->args[0] = strdup(path)) ? 0 : err_nomem(e);
}

/* The command's words, and the space's folder, in which it runs. */
static int take_command(struct contestant_program *out, const struct space_contestant *c, const char *space_path,
                        struct err *e)
{
    const char *slash = space_path ? strrchr(space_path, '/') : NULL;
    char folder[PATH_MAX], real[PATH_MAX], path[2 * PATH_MAX], text[3 * PATH_MAX];
    size_t n = 0;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - space_path) : 1, slash ? space_path : ".");
    if (slash == space_path) snprintf(folder, sizeof folder, "/");
    out->folder = strdup(realpath(folder, real) ? real : folder);
    while (c->command[n])
        n++;
    out->args = calloc(n + 1, sizeof *out->args);
    if (!out->folder || !out->args) return err_nomem(e);
    for (size_t i = 0; i < n; i++)
        if (!(out->args[i] = strdup(c->command[i]))) return err_nomem(e);
    out->local = true;
    if (!strchr(c->command[0], '/')) return 0; /* PATH knows it, or its start says that nobody does */
    snprintf(path, sizeof path, "%s%s%s", *c->command[0] == '/' ? "" : out->folder, *c->command[0] == '/' ? "" : "/",
             c->command[0]);
    if (executable(path)) return 0;
    snprintf(text, sizeof text, "contestant `%s`: %s is no executable file; build it, or `chmod +x` it", c->name, path);
    return refuse(&c->command_at, text, e);
}

int contestant_find(struct contestant_program *out, const struct space_contestant *c, const char *space_path,
                    const struct paths *dirs, struct err *e)
{
    struct buf looked = {0};
    char path[8192];
    int rc = 0;

    *out = (struct contestant_program){0};
    snprintf(out->name, sizeof out->name, "%s", c->name);
    if (c->command) {
        rc = take_command(out, c, space_path, e);
        goto out;
    }
    for (int i = 0; i < dirs->n && !out->args && rc == 0; i++) {
        snprintf(path, sizeof path, "%s/%s", dirs->dirs[i], c->name);
        buf_printf(&looked, "%s%s", i ? ", " : "", dirs->dirs[i]);
        if (!executable(path)) continue;
        out->local = space_path && i == 0;
        rc = take_path(out, path, e);
    }
    if (rc == 0 && !out->args) {
        struct buf text = {0};
        buf_printf(&text,
                   "no contestant is called `%s`: an executable file of that name in one of: %s; or give its command: "
                   "{name: %s, command: [./bench]}",
                   c->name, buf_text(&looked), c->name);
        rc = refuse(&c->at, buf_text(&text), e);
        buf_free(&text);
    }
out:
    buf_free(&looked);
    if (rc != 0) contestant_program_free(out);
    return rc;
}

int contestant_at(struct contestant_program *out, const char *path, struct err *e)
{
    *out = (struct contestant_program){0};
    snprintf(out->name, sizeof out->name, "%s", strrchr(path, '/') + 1);
    if (!executable(path)) return err_set(e, ERR_USAGE, "%s is no executable file; build it, or `chmod +x` it", path);
    return take_path(out, path, e);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct contestant_program *)a)->name, ((const struct contestant_program *)b)->name);
}

static bool listed(const struct contestant_program *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return true;
    return false;
}

int contestant_list(struct contestant_program **out, int *n, const struct paths *dirs, struct err *e)
{
    int rc = 0;

    *out = NULL;
    *n = 0;
    for (int i = 0; i < dirs->n && rc == 0; i++) {
        DIR *d = opendir(dirs->dirs[i]);
        const struct dirent *entry;
        while (d && rc == 0 && (entry = readdir(d)) != NULL) {
            struct contestant_program *more;
            char path[8192];
            snprintf(path, sizeof path, "%s/%s", dirs->dirs[i], entry->d_name);
            if (strchr(entry->d_name, '.') || strlen(entry->d_name) >= sizeof more->name || !executable(path) ||
                listed(*out, *n, entry->d_name))
                continue;
            more = realloc(*out, (size_t)(*n + 1) * sizeof *more);
            if (!more) {
                rc = err_nomem(e);
                break;
            }
            *out = more;
            more[*n] = (struct contestant_program){0};
            memcpy(more[*n].name, entry->d_name, strlen(entry->d_name) + 1); /* it fits: seen above */
            rc = take_path(&more[(*n)++], path, e);
        }
        if (d) closedir(d);
    }
    if (*n > 1) qsort(*out, (size_t)*n, sizeof **out, by_name);
    return rc;
}
