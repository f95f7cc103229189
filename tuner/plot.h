/* plot.h - pictures by gnuplot, which is started here alone.
 *
 * A picture is a script, its data and a name. gnuplot is a language: it runs what stands between backticks. So a script is this program's own
 * text and numbers; words that come from a store, a space or a contestant are labels in the data, made harmless by plot_label. No start-up
 * file of a user is read. The files NAME.gp, NAME.dat and NAME.svg or NAME.png are left in the folder, so that a reader can draw again.
 *
 * Colours. In SVG they are CSS variables of the page that embeds it, so that one picture serves light and dark: --ink (text, axes), --ours, --theirs,
 * --faint (grid), --soft (what is in the background). In scripts they are the variables ink, ours, theirs, faint, soft. */
#ifndef PLOT_H
#define PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

struct plot {
    const char *name;  /* letters, digits and _ */
    const char *alt;   /* the picture in a sentence, for who cannot see it; goes into the SVG, escaped */
    int width, height; /* pixels */
    struct buf script,
        data; /* script: what follows terminal, colours and common settings; the data's file is in the variable `data` */
};
void plot_free(struct plot *p);

/* "text" as a column of data: at most `most` characters, and of them only letters, digits, spaces and signs that mean nothing to gnuplot, XML
 * or a shell; others become '?'. */
void plot_label(struct buf *data, const char *text, size_t most);

enum plot_format { PLOT_SVG, PLOT_PNG };
/* Draws into `folder`, which exists. why: "" when there is a picture now, else what was in the way and the remedy: gnuplot is missing, fails or
 * takes more than a minute. ERR_SYSTEM, ERR_INTERRUPTED otherwise. */
int plot_draw(const struct plot *p, const char *folder, enum plot_format format, char *why, size_t size, struct err *e);
/* The SVG that was drawn there as an element to stand in HTML: no declaration, no names that another picture has, no colour but the variables. */
int plot_embed(const struct plot *p, const char *folder, struct buf *out, struct err *e);

#endif
