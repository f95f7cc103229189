/* tmpl_private.h - between tmpl.c (manifest), tmpl_lint.c (kernel source) and tmpl_bind.c (expressions, rendering). */
#ifndef TMPL_PRIVATE_H
#define TMPL_PRIVATE_H

#include "tmpl.h"

#define TMPL_MAX_PARAMS 32
#define TMPL_MAX_SOURCE (256u << 10)

#define TMPL_MAX_MAPS 8

/* Expressions of a tensor map, and of a launch: map m has TMPL_MAPS + TMPL_MAP_N * m and those behind it. */
enum { TMPL_MAP_COLUMNS, TMPL_MAP_ROWS, TMPL_MAP_SWIZZLE, TMPL_MAP_L2, TMPL_MAP_N };
enum {
    TMPL_GRID = 0,
    TMPL_BLOCK = 3,
    TMPL_SHARED = 6,
    TMPL_CLUSTER = 7,
    TMPL_SPILLS = 10,
    TMPL_MAPS = 11,
    TMPL_NLAUNCH = TMPL_MAPS + TMPL_MAX_MAPS * TMPL_MAP_N
};

struct tmpl_map {
    char *name;
    enum arg tensor;
};

struct tmpl_private {
    char *path, *yaml;                        /* the manifest */
    char *source_name, *source_path, *source; /* the kernel; source_n bytes, NUL behind */
    size_t source_n;
    int nincludes;
    char **includes;
    int noptions;
    char **options;                         /* NULL-terminated */
    struct space_rule launch[TMPL_NLAUNCH]; /* text NULL: not given */
    int nmaps;
    struct tmpl_map maps[TMPL_MAX_MAPS];
    int nargs;
    enum arg args[LAUNCH_ARGS];
    int arg_map[LAUNCH_ARGS]; /* index in maps, -1: a pointer */
    bool tile_hooks;          /* the source asks for FATUNE_ORACLE */
};

/* Names that fatune gives to every kernel and expression: is this one of them? */
bool tmpl_builtin(const char *name);
/* Compiles every expression of the manifest against names without values. */
int tmpl_check_expressions(const struct tmpl *t, struct err *e);
/* The rules of kernel_templates/README.md that the source must keep. */
int tmpl_lint(const struct tmpl *t, struct err *e);

#endif
