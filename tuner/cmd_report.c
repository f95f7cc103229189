/* fatune report: all that the store knows of one space on one device, as pages that need nothing else. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "paths.h"
#include "report_document.h"
#include "report_space.h"
#include "track.h"

enum { HTML = 1, MARKDOWN = 2, JSON = 4 };
static const struct {
    const char *name;
    unsigned bit;
} formats[] = {{"html", HTML}, {"md", MARKDOWN}, {"json", JSON}};
enum { FORMATS = sizeof formats / sizeof *formats };

struct job {
    const char *store, *out, *format, *device, *track;
    bool png, keep, json;
    unsigned wanted;
    char stem[3584]; /* of the files: FOLDER/NAME */
};

/* The report of operand: a space's file, or its name. */
static int collect(const struct job *j, const char *operand, json_t **out, struct err *e)
{
    struct store *s = NULL;
    struct track t;
    int rc;

    TRY(store_open(&s, j->store, STORE_READ, e));
    TRY(track_find(s, j->store, &(struct track_query){operand, j->device, j->track}, &t, e));
    rc = report_space(s, t.digest, out, e);
out:
    store_close(s);
    return rc;
}

/* ---- where to ---- */

static int wanted_formats(struct job *j, struct err *e)
{
    int rc = 0;

    for (const char *p = j->format; p && *p && rc == 0; p += strcspn(p, ","), p += *p == ',') {
        size_t n = strcspn(p, ",");
        unsigned before = j->wanted;
        for (int i = 0; i < FORMATS; i++)
            if (strlen(formats[i].name) == n && strncmp(formats[i].name, p, n) == 0) j->wanted |= formats[i].bit;
        if (j->wanted == before)
            rc = err_set(e, ERR_USAGE,
                         "--format takes html, md and json, each once, with commas between them, not '%s'", j->format);
    }
    return rc;
}

/* "s512-nvidia-h200": letters, digits and single dashes. */
static void slug(struct buf *out, const char *text)
{
    for (bool gap = false; *text; text++) {
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (plain && gap && out->n > 0) buf_puts(out, "-");
        if (plain) buf_add(out, &c, 1);
        gap = !plain;
    }
}

/* --out FILE: one format, which its name ends with; --out DIR or nothing: a folder and a name made here. */
static int place(struct job *j, const json_t *report, struct err *e)
{
    const char *slash = strrchr(j->store, '/'), *dot = j->out ? strrchr(j->out, '.') : NULL;
    struct buf folder = {0}, name = {0};
    struct err why = {0};
    unsigned bit = 0;
    int rc = 0;

    for (int i = 0; dot && i < FORMATS; i++)
        if (strcmp(dot + 1, formats[i].name) == 0) bit = formats[i].bit;
    if (bit && j->wanted && j->wanted != bit)
        rc = err_set(e, ERR_USAGE, "--out %s is one file; for several formats name a folder", j->out);
    if (!j->wanted) j->wanted = bit ? bit : HTML | MARKDOWN | JSON;
    if (bit) {
        const char *last = strrchr(j->out, '/');
        buf_printf(&folder, "%.*s", last ? (int)(last - j->out) : 1, last ? j->out : ".");
        if (last == j->out) buf_puts(&folder, "/");
        buf_printf(&name, "%.*s", (int)(dot - (last ? last + 1 : j->out)), last ? last + 1 : j->out);
    } else {
        if (j->out)
            buf_puts(&folder, j->out);
        else
            buf_printf(&folder, "%.*sreport", slash ? (int)(slash + 1 - j->store) : 0, j->store);
        slug(&name, json_string_value(json_object_get(report, "space")));
        buf_puts(&name, "-");
        slug(&name, json_string_value(json_object_get(report, "device")));
    }
    if (rc == 0 &&
        snprintf(j->stem, sizeof j->stem, "%s/%s", buf_text(&folder), buf_text(&name)) >= (int)sizeof j->stem)
        rc = err_set(e, ERR_SYSTEM, "path too long: %.200s...", j->stem);
    if (rc == 0 && paths_make(j->stem, &why) != 0)
        rc = err_set(e, why.code, "%.2000s; name another place with --out DIR", why.text);
    buf_free(&folder);
    buf_free(&name);
    return rc;
}

/* ---- pictures ---- */

static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    const struct dirent *f;
    char file[4096];

    while (d && (f = readdir(d)))
        if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0 &&
            snprintf(file, sizeof file, "%s/%s", path, f->d_name) < (int)sizeof file)
            unlink(file);
    if (d) closedir(d);
    rmdir(path);
}

static int draw(const struct job *j, const json_t *report, struct report_pictures *pictures, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    char work[4096];
    int rc = 0;

    if (!j->png && !(j->wanted & HTML) && !j->keep) return 0; /* markdown shows files, and there are none */
    if (j->keep) {
        snprintf(work, sizeof work, "%s-plots/", j->stem);
        TRY(paths_make(work, e));
        work[strlen(work) - 1] = '\0';
    } else {
        snprintf(work, sizeof work, "%.3900s/fatune-report-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(work)) return err_set(e, ERR_SYSTEM, "cannot create the folder %s; set TMPDIR to another", work);
    }
    rc = report_pictures_draw(pictures, report, work, j->png ? j->stem : NULL, e);
    if (!j->keep) remove_folder(work);
out:
    return rc;
}

/* ---- files ---- */

static int write_file(const struct job *j, int i, const void *bytes, size_t n, struct err *e)
{
    char path[sizeof j->stem + 8];
    int rc;

    snprintf(path, sizeof path, "%s.%s", j->stem, formats[i].name);
    rc = buf_write_file(path, bytes, n, e);
    if (rc == 0) printf("%s\n", path);
    return rc;
}

static int write_page(const struct job *j, int i, const json_t *report, struct report_pictures *pictures, struct err *e)
{
    struct page page = {.format = formats[i].bit == HTML ? PAGE_HTML : PAGE_MARKDOWN};
    int rc;

    TRY(report_document(&page, report, pictures, e));
    rc = write_file(j, i, page.out.p, page.out.n, e);
out:
    page_free(&page);
    return rc;
}

static int write_all(const struct job *j, const json_t *report, struct report_pictures *pictures, struct err *e)
{
    char *dump;
    int rc = 0;

    for (int i = 0; i < FORMATS && rc == 0; i++) {
        if (!(j->wanted & formats[i].bit)) continue;
        if (formats[i].bit != JSON) {
            rc = write_page(j, i, report, pictures, e);
            continue;
        }
        dump = json_dumps(report, JSON_INDENT(1) | JSON_SORT_KEYS);
        rc = dump ? write_file(j, i, dump, strlen(dump), e) : err_nomem(e);
        free(dump);
    }
    if (rc == 0 && *pictures->why) fprintf(stderr, "fatune: no pictures in it: %s\n", pictures->why);
    return rc;
}

static int exec(const struct command *self, int argc, char **argv)
{
    struct command_operands operands;
    struct job j = {0};
    struct report_pictures pictures = {0};
    struct err e = {0};
    json_t *report = NULL;
    int rc;
    const struct command_option options[] = {
        {"out", OPTION_TEXT, &j.out, "DIR|FILE", "where to (default: the folder report beside the store)"},
        {"format", OPTION_TEXT, &j.format, "LIST", "html, md, json, with commas between them (default: all)"},
        {"png", OPTION_FLAG, &j.png, NULL, "the pictures as PNG files too, which markdown then shows"},
        {"keep", OPTION_FLAG, &j.keep, NULL, "keep the pictures' scripts and data for gnuplot"},
        {"device", OPTION_TEXT, &j.device, "NAME", "a part of the device's name, where the space ran on several"},
        {"track", OPTION_TEXT, &j.track, "DIGEST", "which track (a prefix will do), where there are several"},
        {"store", OPTION_TEXT, &j.store, "FILE", "the store (default: FATUNE_STORE, else results/fatune.db)"},
        {"json", OPTION_FLAG, &j.json, NULL, "print the report as JSON, and write no file (docs/JSON.md)"},
        {NULL, OPTION_FLAG, NULL, NULL, NULL}};

    rc = command_parse(self, options, argc, argv, 1, 1, &operands, &e);
    if (rc > 0) return 0;
    if (rc < 0) return command_fail(&e, j.json);
    j.store = paths_store(j.store);
    if (j.json && (j.out || j.format || j.png || j.keep))
        rc = err_set(&e, ERR_USAGE,
                     "--json prints the report and writes no file: leave it out, or --out, --format, --png "
                     "and --keep");
    if (rc == 0) rc = wanted_formats(&j, &e);
    if (rc == 0) rc = collect(&j, operands.text[0], &report, &e);
    if (rc == 0 && j.json) return command_print_json(report);
    if (rc == 0) rc = place(&j, report, &e);
    if (rc == 0) rc = draw(&j, report, &pictures, &e);
    if (rc == 0) rc = write_all(&j, report, &pictures, &e);
    report_pictures_free(&pictures);
    json_decref(report);
    return rc == 0 ? 0 : command_fail(&e, j.json);
}

const struct command cmd_report = {
    "report", "SPACE", "champion, contestants, search and nights of a space as HTML, markdown and JSON, with plots",
    "SPACE is a space's file, or its name. Reads the store alone: no device is needed. The HTML is one file that needs "
    "no network; its "
    "pictures are drawn by gnuplot, and where that is missing the tables say everything. HTML and markdown are made "
    "from the JSON.",
    exec};
