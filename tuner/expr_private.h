/* expr_private.h - between expr.c (values, Lua) and expr_parse.c (syntax, names, types). */
#ifndef EXPR_PRIVATE_H
#define EXPR_PRIVATE_H

#include "expr.h"

/* What a value may be, as a set. True and false are apart so that `c and 2 or 3` is seen to be an integer. */
enum expr_type { EXPR_INT = 1, EXPR_STR = 2, EXPR_TRUE = 4, EXPR_FALSE = 8 };
#define EXPR_TRUTH (EXPR_TRUE | EXPR_FALSE)

#define EXPR_TEXT_MAX 4096
#define EXPR_SLOTS_MAX 64 /* different names in one expression */

struct expr_code {
    struct buf lua;                    /* one Lua expression over v[1], v[2] ... and the functions of expr.c */
    unsigned types;                    /* of its value */
    int nslots, slots[EXPR_SLOTS_MAX]; /* the names it uses, each once */
};

/* The type of a declared name. */
enum expr_type expr_slot_type(const struct expr_scope *s, int slot);

/* Checks text and writes it as Lua. */
int expr_translate(struct expr_code *out, const struct expr_scope *s, const char *text, const struct pos *at,
                   struct err *e);

#endif
