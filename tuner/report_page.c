#include "report_page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_style.h"

const char *report_number(char to[REPORT_NUMBER], double x)
{
    double size = fabs(x);
    int digits;

    if (!isfinite(x)) return "-";
    if (x == round(x) && size < 1e15)
        snprintf(to, REPORT_NUMBER, "%.0f", x);
    else if (size < 1 || size >= 1e15)
        snprintf(to, REPORT_NUMBER, "%.4g", x);
    else {
        digits = 3 - (int)floor(log10(size));
        snprintf(to, REPORT_NUMBER, "%.*f", digits < 0 ? 0 : digits, x);
    }
    return to;
}

/* ---- text ---- */

/* What markdown would read as its own, and what would leave the cell of a table. */
static void markdown(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\`*_{}[]<>#|", *text)) buf_puts(out, "\\");
        if (*text == '\n')
            buf_puts(out, " ");
        else if ((unsigned char)*text < ' ' || *text == 0x7f)
            buf_puts(out, "?");
        else
            buf_add(out, text, 1);
    }
}

static void put(struct page *p, const char *text)
{
    if (p->format == PAGE_HTML)
        buf_xml(&p->out, text);
    else
        markdown(&p->out, text);
}

static void put_formatted(struct page *p, const char *fmt, va_list ap)
{
    va_list again;
    char *text;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    text = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (!text) {
        p->out.failed = true;
        return;
    }
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    put(p, text);
    free(text);
}

/* HTML or markdown of the page's own. */
static void tag(struct page *p, const char *html, const char *md)
{
    buf_puts(&p->out, p->format == PAGE_HTML ? html : md);
}

/* ---- the page ---- */

void page_begin(struct page *p, const char *title, const char *subtitle)
{
    if (p->format == PAGE_HTML) {
        buf_puts(&p->out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                          "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
        put(p, title);
        buf_puts(&p->out, "</title>\n<style>\n");
        buf_puts(&p->out, REPORT_STYLE);
        buf_puts(&p->out, "</style>\n</head>\n<body>\n<main>\n");
    }
    tag(p, "<header>\n<h1>", "# ");
    put(p, title);
    tag(p, "</h1>\n<p>", "\n\n");
    put(p, subtitle);
    tag(p, "</p>\n</header>\n", "\n\n");
}

void page_end(struct page *p)
{
    if (p->open) tag(p, "</section>\n", "");
    tag(p, "</main>\n</body>\n</html>\n", "");
}

void page_free(struct page *p)
{
    buf_free(&p->out);
}

void page_section(struct page *p, const char *id, const char *title)
{
    if (p->open) tag(p, "</section>\n", "");
    p->open = true;
    if (p->format == PAGE_HTML)
        buf_printf(&p->out, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">", id, id);
    else
        buf_puts(&p->out, "## ");
    put(p, title);
    tag(p, "</h2>\n", "\n\n");
}

void page_heading(struct page *p, const char *title)
{
    tag(p, "<h3>", "### ");
    put(p, title);
    tag(p, "</h3>\n", "\n\n");
}

void page_say(struct page *p, const char *fmt, ...)
{
    va_list ap;

    tag(p, "<p>", "");
    va_start(ap, fmt);
    put_formatted(p, fmt, ap);
    va_end(ap);
    tag(p, "</p>\n", "\n\n");
}

void page_facts_begin(struct page *p)
{
    tag(p, "<div class=\"facts\">\n", "");
}

void page_fact(struct page *p, const char *label, const char *value, const char *more)
{
    tag(p, "<div>\n<p class=\"label\">", "**");
    put(p, label);
    tag(p, "</p>\n<p class=\"value\">", ":** ");
    put(p, value);
    tag(p, "</p>\n<p>", "  \n");
    put(p, more);
    tag(p, "</p>\n</div>\n", "\n\n");
}

void page_facts_end(struct page *p)
{
    tag(p, "</div>\n", "");
}

/* ---- tables ---- */

void page_table(struct page *p, const char *caption, const char *const *columns)
{
    p->right = p->whole = p->words = 0;
    p->at = 0;
    p->columns = 0;
    tag(p, "<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"", "");
    if (p->format == PAGE_HTML) put(p, caption);
    tag(p, "\">\n<table>\n<caption><span>", "*");
    put(p, caption);
    tag(p, "</span></caption>\n<thead>\n<tr>", "*\n\n|");
    for (; columns[p->columns]; p->columns++) {
        const char *name = columns[p->columns];
        bool right = *name == '>', whole = *name == '=', words = *name == '+';

        if (right) p->right |= 1u << p->columns;
        if (whole) p->whole |= 1u << p->columns;
        tag(p, right ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">", " ");
        if (words) p->words |= 1u << p->columns;
        put(p, name + (right || whole || words));
        tag(p, "</th>", " |");
    }
    tag(p, "</tr>\n</thead>\n<tbody>\n", "\n|");
    for (int i = 0; i < p->columns; i++)
        tag(p, "", p->right & 1u << i ? "---:|" : "---|");
    tag(p, "", "\n");
}

static void cell_begin(struct page *p, const char *style)
{
    unsigned bit = 1u << p->at;
    const char *kind = p->right & bit   ? " class=\"n\""
                       : p->whole & bit ? " class=\"w\""
                       : p->words & bit ? " class=\"t\""
                                        : "";

    if (p->at == 0) tag(p, "<tr>", "|");
    if (p->format == PAGE_HTML)
        buf_printf(&p->out, "<%s%s%s>", p->at == 0 ? "th scope=\"row\"" : "td", kind, style);
    else
        buf_puts(&p->out, " ");
}

static void cell_end(struct page *p)
{
    tag(p, p->at == 0 ? "</th>" : "</td>", " |");
    if (++p->at < p->columns) return;
    p->at = 0;
    tag(p, "</tr>\n", "\n");
}

void page_cell(struct page *p, const char *fmt, ...)
{
    va_list ap;

    cell_begin(p, "");
    va_start(ap, fmt);
    put_formatted(p, fmt, ap);
    va_end(ap);
    cell_end(p);
}

void page_tinted(struct page *p, double share, bool mark, const char *fmt, ...)
{
    char style[64] = "";
    va_list ap;

    if (share >= 0) snprintf(style, sizeof style, " style=\"--tint: %.0f%%\"%s", 100 * share, mark ? " data-best" : "");
    cell_begin(p, style);
    if (mark) tag(p, "<strong>", "**");
    va_start(ap, fmt);
    put_formatted(p, fmt, ap);
    va_end(ap);
    if (mark) tag(p, "</strong>", "**");
    cell_end(p);
}

void page_table_end(struct page *p)
{
    tag(p, "</tbody>\n</table>\n</div>\n", "\n");
}

void page_picture(struct page *p, const char *svg, const char *file, const char *alt, const char *why)
{
    if (p->format == PAGE_HTML && svg) {
        buf_puts(&p->out, "<figure>\n");
        buf_puts(&p->out, svg);
        buf_puts(&p->out, "<figcaption>");
        put(p, alt);
        buf_puts(&p->out, "</figcaption>\n</figure>\n");
    } else if (p->format == PAGE_MARKDOWN && file) {
        buf_puts(&p->out, "![");
        put(p, alt);
        buf_printf(&p->out, "](%s)\n\n", file);
    } else if (why) {
        tag(p, "<p class=\"none\">", "");
        put(p, why);
        tag(p, "</p>\n", "\n\n");
    }
}
