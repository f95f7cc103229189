#include "plot.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "worker.h"

#define MINUTES 1.0
#define SVG_LIMIT (8u << 20)

void plot_free(struct plot *p)
{
    buf_free(&p->script);
    buf_free(&p->data);
}

void plot_label(struct buf *data, const char *text, size_t most)
{
    static const char harmless[] = " _-+=.,:/()[]%*";
    size_t left = strlen(text), n, written = 0;

    buf_puts(data, "\"");
    for (; left > 0 && written < most; written++, text += n, left -= n) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr(harmless, c);

        n = buf_utf8(text, left);
        if (n > 1 || plain)
            buf_add(data, text, n);
        else
            buf_puts(data, "?");
        if (n == 0) n = 1;
    }
    buf_puts(data, left > 0 ? "...\"" : "\"");
}

/* Colours are stand-ins in SVG: no picture needs rgb(1,1,1) to rgb(5,5,5) for itself. In PNG they are of Okabe & Ito's palette (2008), which
 * all kinds of colour vision tell apart. */
static const char *const variables[] = {"ink", "ours", "theirs", "faint", "soft"};
enum { VARIABLES = sizeof variables / sizeof *variables };

static int write_script(const struct plot *p, const char *folder, struct err *e)
{
    static const char *const png[VARIABLES] = {"0x222222", "0x0072B2", "0xD55E00", "0xDDDDDD", "0x999999"};
    struct buf text = {0}, path = {0};
    int rc;

    buf_printf(&text,
               "# gnuplot %s.gp draws %s.svg; gnuplot -e png=1 %s.gp draws %s.png\n"
               "reset\n"
               "if (!exists(\"png\")) {\n"
               "    set terminal svg size %d,%d font \"sans-serif,13\" noenhanced dashed name \"%s\"\n"
               "    set output \"%s.svg\"\n",
               p->name, p->name, p->name, p->name, p->width, p->height, p->name, p->name);
    for (int i = 0; i < VARIABLES; i++)
        buf_printf(&text, "    %s = 0x%02d%02d%02d\n", variables[i], i + 1, i + 1, i + 1);
    buf_printf(&text,
               "} else {\n"
               "    set terminal pngcairo size %d,%d font \"sans,10\" fontscale 2 linewidth 2 pointscale 2 noenhanced\n"
               "    set output \"%s.png\"\n",
               2 * p->width, 2 * p->height, p->name);
    for (int i = 0; i < VARIABLES; i++)
        buf_printf(&text, "    %s = %s\n", variables[i], png[i]);
    buf_printf(&text,
               "}\n"
               "data = \"%s.dat\"\n"
               "set encoding utf8\n"
               "set border 3 linecolor rgb ink\n"
               "set tics nomirror textcolor rgb ink\n"
               "set grid linetype 1 linecolor rgb faint linewidth 0.7\n"
               "set key textcolor rgb ink\n"
               "set xlabel textcolor rgb ink\n"
               "set ylabel textcolor rgb ink\n",
               p->name);
    buf_add(&text, p->script.p, p->script.n);
    buf_printf(&path, "%s/%s.gp", folder, p->name);
    TRY(buf_check(&text, e));
    TRY(buf_write_file(buf_text(&path), text.p, text.n, e));
    buf_clear(&path);
    buf_printf(&path, "%s/%s.dat", folder, p->name);
    TRY(buf_check(&p->data, e));
    rc = buf_write_file(buf_text(&path), p->data.p, p->data.n, e);
out:
    buf_free(&text);
    buf_free(&path);
    return rc;
}

/* The picture's file, or what is missing of it. */
static int read_picture(const struct plot *p, const char *folder, const char *ending, struct buf *out, struct err *e)
{
    struct buf path = {0};
    int rc;

    buf_printf(&path, "%s/%s.%s", folder, p->name, ending);
    rc = buf_read_file(out, buf_text(&path), SVG_LIMIT, ERR_SYSTEM, e);
    buf_free(&path);
    return rc;
}

int plot_draw(const struct plot *p, const char *folder, enum plot_format format, char *why, size_t size, struct err *e)
{
    char script[80], printed[80], words[512] = "";
    const char *const args[] = {"gnuplot", "--default-settings", "-e", format == PLOT_PNG ? "png=1" : "svg=1", script,
                                NULL};
    const struct worker_program program = {(char *const *)(uintptr_t)args, folder, NULL};
    struct buf picture = {0};
    int code = -1, rc;

    why[0] = '\0';
    snprintf(script, sizeof script, "%s.gp", p->name);
    snprintf(printed, sizeof printed, "%s.txt", p->name);
    TRY(write_script(p, folder, e));
    TRY(worker_run(&program, printed, MINUTES, &code, words, sizeof words, e));
    if (code == 127)
        snprintf(why, size,
                 "gnuplot cannot be started: install it (on Debian and Ubuntu the package gnuplot-nox) and make the "
                 "report again");
    else if (code == -1)
        snprintf(why, size, "gnuplot took more than a minute and was stopped");
    else if (code != 0)
        snprintf(why, size, "gnuplot failed: %.*s", (int)strcspn(words + strspn(words, "\n"), "\n"),
                 words + strspn(words, "\n"));
    else if (read_picture(p, folder, format == PLOT_PNG ? "png" : "svg", &picture, &(struct err){0}) != 0 || !picture.n)
        snprintf(why, size, "gnuplot ended well and drew nothing");
out:
    buf_free(&picture);
    return rc;
}

/* ---- SVG into HTML ---- */

struct exchange {
    const char *was, *is;
};

/* Length of "rgb(n,n,n)" at text when it is a stand-in, whose number goes to *which. */
static int stand_in(const char *text, int *which)
{
    int r, g, b, n = 0;

    if (sscanf(text, "rgb(%d,%d,%d)%n", &r, &g, &b, &n) != 3 || n == 0) return 0;
    *which = r - 1;
    return r == g && g == b && r >= 1 && r <= VARIABLES ? n : 0;
}

/* Length of an element that the page has its own of. */
static size_t superfluous(const char *text)
{
    static const char *const pairs[][2] = {{"<title>", "</title>"}, {"<desc>", "</desc>"}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *end;
        if (strncmp(text, pairs[i][0], strlen(pairs[i][0])) != 0) continue;
        end = strstr(text, pairs[i][1]);
        return end ? (size_t)(end - text) + strlen(pairs[i][1]) : 0;
    }
    return 0;
}

static void embed(const struct plot *p, const char *text, struct buf *out)
{
    char point[64], dot[64], canvas[64], box[64], grey[64];
    const struct exchange known[] = {
        {"gpPt", point},
        {"gpDot", dot},
        {"gnuplot_canvas", canvas},
        {"textbox", box},
        {"greybox", grey},
        {"xlink:href", "href"},
        {" color=\"black\"", ""},
        {" color=\"white\"", ""},
        {" color=\"gray\"", ""},
        {"\"black\"", "\"var(--ink)\""},
        {"\n\n", "\n"},
    };

    snprintf(point, sizeof point, "%s_point", p->name);
    snprintf(dot, sizeof dot, "%s_dot", p->name);
    snprintf(canvas, sizeof canvas, "%s_canvas", p->name);
    snprintf(box, sizeof box, "%s_box", p->name);
    snprintf(grey, sizeof grey, "%s_grey", p->name);
    while (*text) {
        int which, n = *text == 'r' ? stand_in(text, &which) : 0;
        size_t i = 0, skip = *text == '<' ? superfluous(text) : 0;

        text += skip;
        if (skip) continue;
        if (n > 0) {
            buf_printf(out, "var(--%s)", variables[which]);
            text += n;
            continue;
        }
        while (i < sizeof known / sizeof *known && strncmp(text, known[i].was, strlen(known[i].was)) != 0)
            i++;
        if (i < sizeof known / sizeof *known) {
            buf_puts(out, known[i].is);
            text += strlen(known[i].was);
        } else {
            buf_add(out, text++, 1);
        }
    }
}

int plot_embed(const struct plot *p, const char *folder, struct buf *out, struct err *e)
{
    struct buf svg = {0};
    const char *begin;
    int rc;

    TRY(read_picture(p, folder, "svg", &svg, e));
    begin = strstr(buf_text(&svg), "<g id=\"gnuplot_canvas\"");
    if (!begin) {
        rc = err_set(e, ERR_SYSTEM, "gnuplot's %s.svg is not what gnuplot 5 draws: it has no canvas", p->name);
        goto out;
    }
    buf_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", p->width, p->height);
    buf_xml(out, p->alt);
    buf_puts(out, "\">\n");
    embed(p, begin, out);
out:
    buf_free(&svg);
    return rc;
}
