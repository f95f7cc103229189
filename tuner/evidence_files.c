/* evidence_files.c - the folder of a collection. Its files have the names of one table, so no name from a file ever becomes a path.
 *
 * Writing: an earlier collection's manifest goes first and the new one comes last, so that what was half written never verifies. Reading: only
 * regular files, opened beside the folder's descriptor and through no link, and never more than a limit. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence_private.h"
#include "paths.h"
#include "version.h"

static const struct {
    const char *name, *what;
} table[EVIDENCE_N] = {
#define X(id, name, what) {name, what},
    EVIDENCE_FILES(X)
#undef X
};

const char *evidence_file_name(enum evidence_file f)
{
    return table[f].name;
}

const char *evidence_file_what(enum evidence_file f)
{
    return table[f].what;
}

bool evidence_file_is_json(enum evidence_file f)
{
    const char *end = strrchr(table[f].name, '.');

    return end && strcmp(end, ".json") == 0;
}

size_t evidence_file_max(enum evidence_file f)
{
    return evidence_file_is_json(f) ? EVIDENCE_JSON_MAX : EVIDENCE_FILE_MAX;
}

/* EVIDENCE_N: it is none of ours. */
static enum evidence_file file_named(const char *name)
{
    enum evidence_file f = 0;

    while (f < EVIDENCE_N && strcmp(table[f].name, name) != 0)
        f++;
    return f;
}

void evidence_files_free(struct evidence_files *f)
{
    for (int i = 0; i < EVIDENCE_N; i++)
        buf_free(&f->bytes[i]);
}

int evidence_put_json_take(struct evidence_files *f, enum evidence_file id, json_t *j, struct err *e)
{
    char *text = j ? json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;

    json_decref(j);
    if (!text) return err_nomem(e);
    buf_puts(&f->bytes[id], text);
    buf_puts(&f->bytes[id], "\n");
    f->there[id] = true;
    free(text);
    return buf_check(&f->bytes[id], e);
}

/* ---- manifest and sums ---- */

static json_t *manifest_json(struct evidence_files *f, const char *version, const char *track)
{
    json_t *list = json_array();

    for (int i = 0; i < EVIDENCE_MANIFEST; i++) {
        char sum[DIGEST_HEX];
        if (!f->there[i]) continue;
        digest_bytes(sum, f->bytes[i].p, f->bytes[i].n);
        json_array_append_new(list, json_pack("{s:s,s:I,s:s,s:s}", "name", table[i].name, "bytes",
                                              (json_int_t)f->bytes[i].n, "sha256", sum, "what", table[i].what));
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:o}", "format", EVIDENCE_FORMAT, "made_by",
                     FATUNE_VERSION " (" FATUNE_COMMIT ")", "version", version, "track", track, "files", list);
}

/* What SHA256SUMS must be, by the manifest; and the manifest's digest. */
static void sums_text(struct buf *out, const json_t *manifest, const struct buf *text, char digest[DIGEST_HEX])
{
    const json_t *list = json_object_get(manifest, "files");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        const char *sum = json_string_value(json_object_get(x, "sha256"));
        const char *name = json_string_value(json_object_get(x, "name"));
        buf_printf(out, "%s  %s\n", sum ? sum : "", name ? name : "");
    }
    digest_bytes(digest, text->p, text->n);
    buf_printf(out, "%s  %s\n", digest, table[EVIDENCE_MANIFEST].name);
}

static void readme(struct evidence_files *f, const char *version)
{
    struct buf *out = &f->bytes[EVIDENCE_README];

    buf_printf(out, "# Evidence for %s\n\n| file | what it is |\n|---|---|\n", version);
    f->there[EVIDENCE_README] = true;
    for (int i = 0; i < EVIDENCE_N; i++)
        if (f->there[i] || i >= EVIDENCE_MANIFEST) buf_printf(out, "| `%s` | %s |\n", table[i].name, table[i].what);
    buf_puts(
        out,
        "\nBy hand: `sha256sum -c SHA256SUMS`; there must be no other file. `sha256sum manifest.json` is one digest "
        "of all of it.\n\n"
        "By fatune, without a store and without a GPU: `fatune evidence --verify FOLDER`. It checks the digests; that "
        "source and options\n"
        "give the recorded key and the machine code its recorded digest; counts tensor-core instructions again; takes "
        "the letters from\n"
        "the samples again, and from the letters, by the rule of `space.yaml` and the recorded random stream, the "
        "verdict.\n\n"
        "`samples_us` are microseconds a launch, in the order measured; four letters of m samples each are a quad "
        "(ABBA, or BAAB where `baab`\n"
        "is 1; A stands, B challenges), a letter is the median of its samples. An empty cell of `resources.csv` is "
        "unknown, never zero.\n");
}

/* ---- writing ---- */

/* Takes an earlier collection away; whatever else lies there is not ours to judge. */
static int make_room(const char *folder, struct err *e)
{
    char path[4400];
    struct stat st;
    const struct dirent *d;
    DIR *dir = opendir(folder);
    int rc = 0;

    if (!dir) return err_set(e, ERR_SYSTEM, "cannot read the folder %s: %s", folder, strerror(errno));
    while (rc == 0 && (d = readdir(dir)) != NULL) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) continue;
        if (file_named(d->d_name) == EVIDENCE_N || fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode))
            rc = err_set(e, ERR_USAGE,
                         "%s holds %.200s, which is no file of a collection; name another folder with --out DIR",
                         folder, d->d_name);
    }
    closedir(dir);
    for (int i = EVIDENCE_N - 1; i >= 0 && rc == 0; i--) {
        snprintf(path, sizeof path, "%s/%s", folder, table[i].name);
        if (unlink(path) != 0 && errno != ENOENT)
            rc = err_set(e, ERR_SYSTEM, "cannot remove %s: %s", path, strerror(errno));
    }
    return rc;
}

int evidence_files_write(struct evidence_files *f, const char *folder, const char *version, const char *track,
                         char digest[DIGEST_HEX], struct err *e)
{
    char path[4400];
    json_t *manifest = NULL;
    int rc;

    readme(f, version);
    if (!(manifest = manifest_json(f, version, track))) return err_nomem(e);
    TRY(evidence_put_json_take(f, EVIDENCE_MANIFEST, json_incref(manifest), e));
    sums_text(&f->bytes[EVIDENCE_SUMS], manifest, &f->bytes[EVIDENCE_MANIFEST], digest);
    f->there[EVIDENCE_SUMS] = true;
    snprintf(path, sizeof path, "%s/", folder);
    TRY(paths_make(path, e));
    TRY(make_room(folder, e));
    for (int i = 0; i < EVIDENCE_N; i++) {
        if (!f->there[i]) continue;
        TRY(buf_check(&f->bytes[i], e));
        if (f->bytes[i].n > evidence_file_max(i)) {
            rc = err_set(e, ERR_STORE, "%s would have %zu bytes, more than a collection may hold (%zu)", table[i].name,
                         f->bytes[i].n, evidence_file_max(i));
            goto out;
        }
        snprintf(path, sizeof path, "%s/%s", folder, table[i].name);
        TRY(buf_write_file(path, f->bytes[i].p, f->bytes[i].n, e));
    }
out:
    json_decref(manifest);
    return rc;
}

/* ---- reading ---- */

static void complain(json_t *wrong, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(json_t *wrong, const char *fmt, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_clean(text);
    json_array_append_new(wrong, json_string(text));
}

static int read_open(int fd, size_t most, struct buf *out, struct err *e)
{
    char part[65536];
    ssize_t n;

    while ((n = read(fd, part, sizeof part)) > 0 && out->n <= most)
        buf_add(out, part, (size_t)n);
    if (n < 0) return err_set(e, ERR_INPUT, "cannot be read: %s", strerror(errno));
    return buf_check(out, e);
}

static int read_file(int dir, enum evidence_file id, struct evidence_files *f, json_t *wrong, struct err *e)
{
    const char *name = table[id].name;
    struct err why = {0};
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc = 0;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        complain(wrong, "%s: %s", name,
                 fd < 0 && errno != ELOOP ? strerror(errno) : "it is no file but a link or something else");
    } else if (st.st_size > (off_t)evidence_file_max(id)) {
        complain(wrong, "%s: it has %lld bytes; no file of a collection has more than %zu", name, (long long)st.st_size,
                 evidence_file_max(id));
    } else if ((rc = read_open(fd, evidence_file_max(id), &f->bytes[id], &why)) != 0 && why.code == ERR_INPUT) {
        complain(wrong, "%s: %s", name, why.text);
        rc = 0;
    } else if (rc == 0) {
        f->there[id] = true;
    } else {
        err_set(e, why.code, "%s", why.text);
    }
    if (fd >= 0) close(fd);
    return rc;
}

static int read_all(struct evidence_files *f, const char *folder, json_t *wrong, struct err *e)
{
    const struct dirent *d;
    DIR *dir;
    int rc = 0, fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        err_set(e, ERR_INPUT, "cannot read the folder %s: %s", folder, strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    while (rc == 0 && (d = readdir(dir)) != NULL) {
        enum evidence_file id = file_named(d->d_name);
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) continue;
        if (id == EVIDENCE_N)
            complain(wrong, "%.255s: it does not belong to the collection", d->d_name);
        else
            rc = read_file(dirfd(dir), id, f, wrong, e);
    }
    closedir(dir);
    return rc;
}

/* One row of the manifest against the file. seen: whose turn it is at least, since rows are in the table's order. */
static void check_row(const struct evidence_files *f, const json_t *row, json_t *wrong, int *seen,
                      bool listed[EVIDENCE_N])
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *want = json_string_value(json_object_get(row, "sha256"));
    const json_t *bytes = json_object_get(row, "bytes");
    enum evidence_file id = name ? file_named(name) : EVIDENCE_N;
    char sum[DIGEST_HEX];

    if (id >= EVIDENCE_MANIFEST || (int)id < *seen || !want || !json_is_integer(bytes)) {
        complain(wrong, "manifest.json: %.100s is no row of a collection's manifest", name ? name : "something");
        return;
    }
    *seen = (int)id + 1;
    listed[id] = true;
    if (!f->there[id]) return;
    digest_bytes(sum, f->bytes[id].p, f->bytes[id].n);
    if ((json_int_t)f->bytes[id].n != json_integer_value(bytes))
        complain(wrong, "%s: it has %zu bytes, the manifest says %lld", name, f->bytes[id].n,
                 (long long)json_integer_value(bytes));
    else if (strcmp(sum, want) != 0)
        complain(wrong, "%s: its digest is %.16s..., the manifest says %.16s...", name, sum, want);
}

static void check_rows(const struct evidence_files *f, const json_t *manifest, json_t *wrong)
{
    static const enum evidence_file needed[] = {
        EVIDENCE_README, EVIDENCE_VERSION, EVIDENCE_ENVIRONMENT, EVIDENCE_SPACE,       EVIDENCE_HISTORY, EVIDENCE_RUN,
        EVIDENCE_KERNEL, EVIDENCE_TENSOR,  EVIDENCE_RESOURCES,   EVIDENCE_CORRECTNESS, EVIDENCE_VERDICT};
    const json_t *list = json_object_get(manifest, "files");
    bool listed[EVIDENCE_N] = {false};
    int seen = 0;

    for (size_t i = 0; i < json_array_size(list) && i < EVIDENCE_N; i++)
        check_row(f, json_array_get(list, i), wrong, &seen, listed);
    for (int i = 0; i < EVIDENCE_MANIFEST; i++) {
        if (f->there[i] && !listed[i]) complain(wrong, "%s: the manifest does not list it", table[i].name);
        if (!f->there[i] && listed[i]) complain(wrong, "%s: the manifest lists it, and it is missing", table[i].name);
    }
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!listed[needed[i]] && !f->there[needed[i]])
            complain(wrong, "%s: every collection has it, and it is missing", table[needed[i]].name);
}

/* The manifest's own digest is in the last line; where that is not it, nothing can tell which of the two was changed. */
static void check_sums(struct evidence_files *f, const json_t *manifest, json_t *wrong, char digest[DIGEST_HEX])
{
    struct buf want = {0}, *own = &f->bytes[EVIDENCE_SUMS];
    const size_t last = DIGEST_HEX + 2 + strlen(table[EVIDENCE_MANIFEST].name);

    sums_text(&want, manifest, &f->bytes[EVIDENCE_MANIFEST], digest);
    if (own->n < last || memcmp(own->p + own->n - last, want.p + want.n - last, last) != 0) {
        complain(wrong, "manifest.json: it does not have the digest that SHA256SUMS says: one of the two was changed");
        complain(wrong, "SHA256SUMS: it does not say the digest of manifest.json: one of the two was changed");
    } else if (own->n != want.n || memcmp(own->p, want.p, want.n) != 0) {
        complain(wrong, "SHA256SUMS: its lines are not those that follow from manifest.json");
    }
    buf_free(&want);
}

int evidence_files_read(struct evidence_files *f, const char *folder, json_t *wrong, char digest[DIGEST_HEX],
                        struct err *e)
{
    json_t *manifest = NULL;
    json_error_t at;
    const char *format;

    digest[0] = '\0';
    if (read_all(f, folder, wrong, e) != 0) return -1;
    for (int i = EVIDENCE_MANIFEST; i < EVIDENCE_N; i++)
        if (!f->there[i]) complain(wrong, "%s: it is missing", table[i].name);
    if (!f->there[EVIDENCE_MANIFEST] || !f->there[EVIDENCE_SUMS]) return 0;
    manifest =
        json_loadb(buf_text(&f->bytes[EVIDENCE_MANIFEST]), f->bytes[EVIDENCE_MANIFEST].n, JSON_REJECT_DUPLICATES, &at);
    format = json_string_value(json_object_get(manifest, "format"));
    if (!manifest) {
        complain(wrong, "manifest.json:%d:%d: %s", at.line, at.column, at.text);
    } else if (!format || strcmp(format, EVIDENCE_FORMAT) != 0) {
        complain(wrong, "manifest.json: its format is \"%.40s\", this fatune reads \"" EVIDENCE_FORMAT "\"",
                 format ? format : "");
    } else {
        check_sums(f, manifest, wrong, digest);
        check_rows(f, manifest, wrong);
    }
    json_decref(manifest);
    return 0;
}
