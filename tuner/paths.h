/* paths.h - where things are looked for; DESIGN: store under the current folder, templates beside the space, then --templates, then the
 * source tree or the installation. */
#ifndef PATHS_H
#define PATHS_H

#include <stddef.h>

#include "err.h"

#define PATHS_TEMPLATE_DIRS 4
struct paths {
    char text[PATHS_TEMPLATE_DIRS][4096];
    const char *dirs[PATHS_TEMPLATE_DIRS];
    int n;
};

/* Folders to search for templates, in order. extra may be NULL. space_path NULL: no space. */
void paths_templates(struct paths *out, const char *space_path, const char *extra);
/* option, else FATUNE_STORE, else results/fatune.db. */
const char *paths_store(const char *option);
/* The binary cache beside the store. */
int paths_cache(char *out, size_t size, const char *store, struct err *e);

#endif
