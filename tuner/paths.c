#include "paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void add(struct paths *p, const char *folder, size_t n, const char *below)
{
    char *text = p->text[p->n];

    if (n + strlen(below) + 2 > sizeof p->text[0]) return;
    memcpy(text, folder, n);
    text[n] = '\0';
    strncat(text, below, sizeof p->text[0] - n - 1);
    p->dirs[p->n++] = text;
}

/* below: of the space's folder. source: NULL in a build that may not know its tree. */
static void search(struct paths *out, const char *space_path, const char *below, const char *extra, const char *source,
                   const char *relative)
{
    const char *slash;

    out->n = 0;
    if (space_path) {
        slash = strrchr(space_path, '/');
        if (slash)
            add(out, space_path, (size_t)(slash - space_path), below);
        else
            add(out, ".", 1, below);
    }
    if (extra) add(out, extra, strlen(extra), "");
    if (source) add(out, source, strlen(source), "");
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) {
        exe[n] = '\0';
        slash = strrchr(exe, '/');
        if (slash) add(out, exe, (size_t)(slash - exe), relative);
    }
}

#ifndef FATUNE_TEMPLATES_SOURCE
#define FATUNE_TEMPLATES_SOURCE NULL
#define FATUNE_CONTESTANTS_SOURCE NULL
#endif

void paths_templates(struct paths *out, const char *space_path, const char *extra)
{
    search(out, space_path, "", extra, FATUNE_TEMPLATES_SOURCE, "/" FATUNE_TEMPLATES_PREFIX_RELATIVE);
}

void paths_contestants(struct paths *out, const char *space_path, const char *extra)
{
    search(out, space_path, "/contestants", extra, FATUNE_CONTESTANTS_SOURCE, "/" FATUNE_CONTESTANTS_PREFIX_RELATIVE);
}

const char *paths_store(const char *option)
{
    const char *env = getenv("FATUNE_STORE");

    return option ? option : env && *env ? env : "results/fatune.db";
}

int paths_cache(char *out, size_t size, const char *store, struct err *e)
{
    const char *slash = strrchr(store, '/');
    int n = snprintf(out, size, "%.*scache", slash ? (int)(slash + 1 - store) : 0, store);

    return n < 0 || (size_t)n >= size ? err_set(e, ERR_STORE, "path too long: %s", store) : 0;
}

int paths_make(const char *file, struct err *e)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s", file) >= (int)sizeof path)
        return err_set(e, ERR_SYSTEM, "the path is too long: %.200s...", file);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return err_set(e, ERR_SYSTEM, "cannot create the folder %.1000s: %s", path, strerror(errno));
        *slash = '/';
    }
    return 0;
}

void paths_free_space(char *out, size_t size, const char *file)
{
    char folder[4096];
    struct statvfs v;
    snprintf(folder, sizeof folder, "%s", file);
    char *slash = strrchr(folder, '/');
    if (!slash)
        snprintf(folder, sizeof folder, ".");
    else if (slash == folder)
        folder[1] = '\0';
    else
        *slash = '\0';
    out[0] = '\0';
    if (statvfs(folder, &v) != 0) return;
    double bytes = (double)v.f_bavail * (double)v.f_frsize;
    if (bytes < 10e6)
        snprintf(out, size, " (%.0f kB free in %s%s)", bytes / 1e3, folder,
                 v.f_flag & ST_RDONLY ? ", mounted read-only" : "");
    else
        snprintf(out, size, " (%.1f GB free in %s%s)", bytes / 1e9, folder,
                 v.f_flag & ST_RDONLY ? ", mounted read-only" : "");
}
