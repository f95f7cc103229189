/* report_pictures.h - the pictures of a report, each made from the report's JSON alone and told of in its words as well: without gnuplot a report
 * has all its numbers, in tables, and says why there is no picture. */
#ifndef REPORT_PICTURES_H
#define REPORT_PICTURES_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"

enum report_picture {
    PICTURE_CONTESTANTS,
    PICTURE_LETTERS,
    PICTURE_EVALUATIONS,
    PICTURE_TIME,
    PICTURE_IMPORTANCE,
    PICTURE_PARAMETERS,
    PICTURE_GRID,
    PICTURE_ROOFLINE,
    PICTURE_NIGHTS,
    PICTURE_N
};

struct report_pictures {
    struct buf svg[PICTURE_N]; /* empty: there is none, for want of data or of gnuplot */
    struct buf alt[PICTURE_N];
    struct buf png[PICTURE_N]; /* name of the file, without its folder */
    char why[512];             /* there are none, "" when there are */
};
void report_pictures_free(struct report_pictures *p);

/* Draws in `work`, a folder that exists; a picture that gnuplot cannot draw is no error, and the others are not tried.
 * png: "FOLDER/STEM", of which "-NAME.png" is made, or NULL; then no gnuplot is ERR_USAGE. */
int report_pictures_draw(struct report_pictures *p, const json_t *report, const char *work, const char *png,
                         struct err *e);

#endif
