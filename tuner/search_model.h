/* search_model.h - a Gaussian process over the points of a domain: what is expected at a point, and how surely.
 *
 * For strategies. Points of different templates are unrelated but for their mean and spread. Values are in any unit in which
 * smaller is better; the caller scales them (search_evolve.c uses logarithms). Deterministic. */
#ifndef SEARCH_MODEL_H
#define SEARCH_MODEL_H

#include "cand.h"

struct search_model;

struct search_model *search_model_open(struct domain *d); /* NULL: out of memory */
void search_model_close(struct search_model *m);
/* Forgets all points. Length scales stay. */
void search_model_clear(struct search_model *m);
/* Adds a point; -1 when out of memory. Its value is given with search_model_values. */
int search_model_add(struct search_model *m, const struct cand *c);
int search_model_size(const struct search_model *m);
/* The value of each point added, in that order. */
void search_model_values(struct search_model *m, const double *values);
/* Correlation of two points in 0..1 under the present length scales. */
double search_model_likeness(const struct search_model *m, const struct cand *a, const struct cand *b);
/* One pass of coordinate search over each template's length scales and noise, to raise the marginal likelihood of
 * these n points; then the model must be filled again. -1 when out of memory. */
int search_model_fit(struct search_model *m, const struct cand *points, const double *values, int n);

/* Points that the model is asked about, maybe again and again: only what was added since is worked out anew. Memory: a number for
 * each of them and each point of the model. */
struct search_view;
struct search_view *search_view_open(struct search_model *m); /* NULL: out of memory. m must outlive it */
void search_view_close(struct search_view *v);
/* These n points from now on, copied. -1 when out of memory. */
int search_view_set(struct search_view *v, const struct cand *points, int n);
/* Mean and standard deviation at each of them, in their order; 0 and 1 while the model has no values. -1 when out of memory. */
int search_view_predict(struct search_view *v, double *mean, double *sd);

#endif
