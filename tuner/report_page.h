/* report_page.h - a page of headings, sentences, tables and pictures, as HTML that needs nothing else, or as markdown.
 *
 * Texts are plain: what means something in the format is escaped here, whoever wrote it. Numbers in a format's arguments are to be made by
 * report_number, the one rule of rounding. HTML: one file, no script, no address of another; light and dark as the reader's system
 * asks, paper, narrow and wide screens; tables have captions and headers, pictures a text. */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

enum page_format { PAGE_HTML, PAGE_MARKDOWN };

struct page {
    enum page_format format;
    struct buf out;
    bool open;   /* a section */
    int columns; /* of the table in hand */
    int at;      /* the column that comes next */
    unsigned right, whole, words;
};

/* Four significant digits, whole numbers from a thousand on, integers in full; below one without zeros at the end; "-" for what is not finite.
 * Returns to. */
#define REPORT_NUMBER 32
const char *report_number(char to[REPORT_NUMBER], double x);
/* An array that lives as long as the block: report_number(NUMBER, x) */
#define NUMBER ((char[REPORT_NUMBER]){0})

void page_begin(struct page *p, const char *title, const char *subtitle);
void page_end(struct page *p);
void page_free(struct page *p);

/* A heading that begins a section. id: of lower-case letters. */
void page_section(struct page *p, const char *id, const char *title);
void page_heading(struct page *p, const char *title); /* inside a section */
void page_say(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The first thing that a reader sees: a few facts side by side, each a label, its value in large letters, and what to know of it. */
void page_facts_begin(struct page *p);
void page_fact(struct page *p, const char *label, const char *value, const char *more);
void page_facts_end(struct page *p);
/* columns: NULL-terminated; one that begins with '>' holds numbers, with '=' what is not to
 * be broken into lines, with '+' sentences. Cells come row by row; the first of a row is its header. */
void page_table(struct page *p, const char *caption, const char *const *columns);
void page_cell(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A cell of a heat map: share from 0 to 1 tints it, mark frames it. */
void page_tinted(struct page *p, double share, bool mark, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void page_table_end(struct page *p);
/* svg: as plot_embed gave it, or NULL; file: of the drawn picture, for markdown, or NULL; why: there is none. */
void page_picture(struct page *p, const char *svg, const char *file, const char *alt, const char *why);

#endif
