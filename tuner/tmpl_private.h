/* tmpl_private.h - between tmpl.c (manifest), tmpl_lint.c (kernel source) and tmpl_bind.c (expressions, rendering). */
#ifndef TMPL_PRIVATE_H
#define TMPL_PRIVATE_H

#include "tmpl.h"

#define TMPL_MAX_PARAMS 32
#define TMPL_MAX_SOURCE (256u << 10)

enum { TMPL_GRID = 0, TMPL_BLOCK = 3, TMPL_SHARED = 6, TMPL_CLUSTER = 7, TMPL_NLAUNCH = 10 };

struct tmpl_private {
    char *path, *yaml;                        /* the manifest */
    char *source_name, *source_path, *source; /* the kernel; source_n bytes, NUL behind */
    size_t source_n;
    int nincludes;
    char **includes;
    int noptions;
    char **options;                         /* NULL-terminated */
    struct space_rule launch[TMPL_NLAUNCH]; /* cluster: text NULL when there is none */
    int nargs;
    enum arg args[ARG_N];
};

/* Names that fatune gives to every kernel and expression: is this one of them? */
bool tmpl_builtin(const char *name);
/* Compiles every expression of the manifest against names without values. */
int tmpl_check_expressions(const struct tmpl *t, struct err *e);
/* The rules of kernel_templates/README.md that the source must keep. */
int tmpl_lint(const struct tmpl *t, struct err *e);

#endif
