/* domain_diagram.h - the valid points of a template as a decision diagram: counted, drawn and walked without visiting the product.
 *
 * A node of level k stands for all choices of the first k parameters that leave the same choices behind them: those that agree in
 * what later constraints and derived values use (tmpl_live). An edge is a value of parameter k, and either leads to a node of level k + 1 or
 * says which step excludes it. So a space of independent groups of parameters, or of a chain in which each constraint names a few
 * neighbours and derived values, has few nodes however large its product is. Bergman et al., Decision Diagrams for Optimization
 * (Springer 2016), chapter 3, calls this compilation by top-down merging.
 *
 * Where constraints tie too many parameters together the diagram ends at level `depth`, above the last one; behind it every choice
 * counts as a point until domain_place says otherwise. */
#ifndef DOMAIN_DIAGRAM_H
#define DOMAIN_DIAGRAM_H

#include "cand_private.h"

/* Builds t->diagram. *edges: how many more may be looked at; it is reduced by them. A diagram that they do not suffice for ends
 * earlier. NULL: no memory. */
struct diagram *diagram_build(struct domain_entry *t, uint64_t *edges);
void diagram_free(struct diagram *g);
/* Does it end at the last level, so that its points are the valid ones? */
bool diagram_whole(const struct domain_entry *t);
/* Valid points, and where it is not whole those that it cannot tell. */
uint64_t diagram_points(const struct diagram *g);
/* The i-th of them in order, 0 <= i < diagram_points. */
void diagram_pick(const struct domain_entry *t, uint64_t i, uint16_t *at);
/* Is this one of them? */
bool diagram_has(const struct domain_entry *t, const uint16_t *at);
/* Moves to the first of them that is not before at; false when there is none. */
bool diagram_next(const struct domain_entry *t, uint16_t *at);
/* Adds to t->tally what its levels exclude; false: no memory. */
bool diagram_tally(struct domain_entry *t);

#endif
