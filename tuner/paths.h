/* paths.h - where things are looked for; DESIGN: store under the current folder, templates beside the space, then --templates, then the
 * source tree or the installation; contestants likewise, in the folder `contestants` beside the space. */
#ifndef PATHS_H
#define PATHS_H

#include <stddef.h>

#include "err.h"

#define PATHS_DIRS 4
struct paths {
    char text[PATHS_DIRS][4096];
    const char *dirs[PATHS_DIRS];
    int n;
};

/* Folders to search for templates, in order. extra may be NULL. space_path NULL: no space. */
void paths_templates(struct paths *out, const char *space_path, const char *extra);
/* Folders to search for contestants, in order. */
void paths_contestants(struct paths *out, const char *space_path, const char *extra);
/* option, else FATUNE_STORE, else results/fatune.db. */
const char *paths_store(const char *option);
/* The binary cache beside the store. */
int paths_cache(char *out, size_t size, const char *store, struct err *e);
/* Makes every folder on the way to file: all of it up to its last slash. ERR_SYSTEM: which one cannot be, and why; the remedy is its caller's. */
int paths_make(const char *file, struct err *e);
/* " (12 kB free in FOLDER)" for the file system of this file's folder, for messages; "" when it cannot be asked. */
void paths_free_space(char *out, size_t size, const char *file);

#endif
