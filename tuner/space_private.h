/* space_private.h - parameter ranges and rules, read alike from spaces and from manifests. */
#ifndef SPACE_PRIVATE_H
#define SPACE_PRIVATE_H

#include <stdbool.h>

#include "doc.h"
#include "space.h"

/* A parameter or derived value: capitals, digits, underscores, at most 63 characters, because kernels see it as a macro. */
int space_check_name(const char *name, const struct pos *at, struct err *e);
/* values: a list of different integers, or one integer. Sorted: indices are in the order of the values. */
int space_values_read(struct space_param *out, const struct doc_node *values, struct err *e);
/* A list whose items are expressions, or {if, why}; need_why: always the latter. Tokens are checked, names are not. */
int space_rules_read(struct space_rule **rules, int *n, const struct doc_node *list, bool need_why, struct err *e);
void space_param_free(struct space_param *p);
void space_rules_free(struct space_rule *rules, int n);

#endif
