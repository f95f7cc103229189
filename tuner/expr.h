/* expr.h - constraint and derived-value expressions: Lua 5.4 expressions over named integers and strings.
 *
 * The only user of Lua. No statement, no call but min, max, abs, ceil_div; no table, no string method; an instruction limit
 * ends a runaway. Syntax, names and types are checked when an expression is compiled, values when it is evaluated. Integers
 * are exact: what would overflow, divide by zero or leave a fraction is an error, never a wrapped or rounded number. */
#ifndef EXPR_H
#define EXPR_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define EXPR_NAME_MAX 63 /* characters of a name */

/* A set of names with values; values change between evaluations, names and their types do not. One per (template, space). */
struct expr_scope;
struct expr_scope *expr_scope_new(void); /* NULL when out of memory */
void expr_scope_free(struct expr_scope *s);
/* Declares or sets. Setting is cheap. -1 only when out of memory. */
int expr_set_int(struct expr_scope *s, const char *name, int64_t value);
int expr_set_str(struct expr_scope *s, const char *name, const char *value);
/* A declared name's number, or -1; setting by number is what enumeration uses. */
int expr_slot(const struct expr_scope *s, const char *name);
void expr_set_slot(struct expr_scope *s, int slot, int64_t value);
int64_t expr_slot_value(const struct expr_scope *s, int slot);
/* The declared names, for messages: borrowed until the next declaration. */
int expr_known(const struct expr_scope *s, const char *const **names);

struct expr;
/* at: where text begins in the user's file; errors point into it (line and column of the offending token) with "did you
 * mean" for an unknown name. The scope must outlive the expr. */
int expr_compile(struct expr **out, struct expr_scope *s, const char *text, const struct pos *at, struct err *e);
void expr_free(struct expr *x);
const char *expr_text(const struct expr *x);
/* Does the expression name this name? */
bool expr_uses(const struct expr *x, const char *name);
/* Is its value an integer (a truth value)? If not, -1 with the position. Known without evaluating. */
int expr_want_int(const struct expr *x, struct err *e);
int expr_want_bool(const struct expr *x, struct err *e);
/* Identifiers of an expression without a scope: calls f for each name that is neither a function nor a keyword; f's non-zero
 * ends the walk and is returned. Returns -1 with a position on a token that no expression may contain. */
int expr_names(const char *text, const struct pos *at, int (*f)(void *ctx, const char *name, const struct pos *at),
               void *ctx, struct err *e);
/* Functions and keywords: no parameter may have such a name. */
bool expr_reserved(const char *name);

/* Division by zero, overflow past 2^63, a fraction where an integer is wanted, the instruction limit: -1 with a text that
 * gives the expression and the values it saw; the caller decides whether that excludes a point or is an error. */
int expr_int(const struct expr *x, int64_t *out, struct err *e);
int expr_bool(const struct expr *x, bool *out, struct err *e);
/* "A = 4, B = 2": what the expression sees now. */
void expr_values(const struct expr *x, struct buf *out);

#endif
