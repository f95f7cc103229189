/* The text of an error is built once, where the cause is known; context goes in front while the stack unwinds. */
#include "err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int exit_code;
} codes[] = {
#define X(name, exit, text) {#name, exit},
    ERR_CODES(X)
#undef X
};

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    if (e && e->code == ERR_OK) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
        e->code = code;
    }
    return -1;
}

/* Appends the line that `at` points into, and a caret under the column. Tabs are kept so that the caret lines up. */
static void quote(struct err *e, const struct pos *at)
{
    const char *line = at->text;
    char text[160], caret[160];
    size_t n, shown;

    for (int i = 1; line && i < at->line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    if (!line || at->column < 1) return;
    n = strcspn(line, "\r\n");
    if ((size_t)at->column > n + 1 || (size_t)at->column > sizeof caret - 2) return;
    shown = n < sizeof text - 1 ? n : sizeof text - 1;
    for (size_t i = 0; i < shown; i++)
        text[i] = (unsigned char)line[i] < 0x20 && line[i] != '\t' ? '?' : line[i];
    text[shown] = '\0';
    for (size_t i = 0; i + 1 < (size_t)at->column; i++)
        caret[i] = i < shown && text[i] == '\t' ? '\t' : ' ';
    caret[at->column - 1] = '^';
    caret[at->column] = '\0';
    n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, "\n    %s\n    %s", text, caret);
}

int err_at(struct err *e, const struct pos *at, const char *fmt, ...)
{
    char what[1024];
    va_list ap;

    if (!e || e->code != ERR_OK) return -1;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(e->text, sizeof e->text, "%s:%d:%d: %s", at->file ? at->file : "?", at->line, at->column, what);
    e->code = ERR_INPUT;
    quote(e, at);
    return -1;
}

int err_nomem(struct err *e)
{
    return err_set(e, ERR_SYSTEM, "out of memory");
}

void err_context(struct err *e, const char *fmt, ...)
{
    char front[512];
    size_t n, have;
    va_list ap;

    if (!e || e->code == ERR_OK) return;
    va_start(ap, fmt);
    vsnprintf(front, sizeof front - 2, fmt, ap);
    va_end(ap);
    n = strlen(front);
    memcpy(front + n, ": ", 3);
    n += 2;
    have = strlen(e->text);
    if (have > sizeof e->text - n - 1) have = sizeof e->text - n - 1;
    memmove(e->text + n, e->text, have);
    memcpy(e->text, front, n);
    e->text[n + have] = '\0';
}

const char *err_code_name(enum err_code code)
{
    return codes[code].name;
}

int err_exit_code(enum err_code code)
{
    return codes[code].exit_code;
}

/* Levenshtein distance, up to 63 characters of each word. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], na = strlen(a), nb = strlen(b);

    if (na > 63) na = 63;
    if (nb > 63) nb = 63;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < change) change = row[j] + 1;
            if (row[j - 1] + 1 < change) change = row[j - 1] + 1;
            row[j] = change;
        }
    }
    return row[nb];
}

const char *err_nearest(const char *word, const char *const *names, size_t n)
{
    size_t limit = strlen(word) / 3, best = SIZE_MAX;
    const char *found = NULL;

    if (limit < 1) limit = 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, names[i]);
        if (d <= limit && d < best) {
            best = d;
            found = names[i];
        }
    }
    return found;
}
