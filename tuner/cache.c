/* KEY.json is written last and names the image's digest: without it, or when they disagree, there is no entry. */
#include "cache.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paths.h"

#define FILE_MAX ((size_t)64 << 20)

static int path_of(char path[PATH_MAX], const char *dir, const char *key, const char *ending, struct err *e)
{
    int n = snprintf(path, PATH_MAX, "%s/%.2s/%s.%s", dir, key, key, ending);

    return n < 0 || n >= PATH_MAX ? err_set(e, ERR_STORE, "path too long: %s", dir) : 0;
}

/* What cannot be written is an error of the place that the user chose, like one of the store. */
static int unwritable(const char *path, const char *why, struct err *e)
{
    char space[4200];

    paths_free_space(space, sizeof space, path);
    return err_set(e, ERR_STORE, "%.1200s%.600s\nfree some space, or keep store and cache elsewhere with --store FILE",
                   why, space);
}

static int put(const char *path, const void *bytes, size_t n, struct err *e)
{
    struct err why = {0};

    return buf_write_file(path, bytes, n, &why) == 0 ? 0 : unwritable(path, why.text, e);
}

void cache_key(char key[DIGEST_HEX], const struct target *t, const char *source, const char *entry,
               const char *const *options)
{
    char all[DIGEST_HEX] = "";

    for (int i = 0; options && options[i]; i++) {
        char sum[DIGEST_HEX];
        digest_strings(sum, all, options[i], NULL);
        memcpy(all, sum, sizeof all);
    }
    digest_strings(key, "binary 1", source, entry, all, t->driver, t->compiler, t->arch, t->driver_version,
                   t->compute_capability ? "" : t->name, NULL);
}

int cache_put_source(const char *dir, const char *key, const char *source, struct err *e)
{
    char path[PATH_MAX];
    struct buf kept = {0};
    struct err why = {0};
    bool same;

    if (path_of(path, dir, key, "src", e) != 0) return -1;
    if (paths_make(path, &why) != 0) return unwritable(path, why.text, e);
    same = buf_read_file(&kept, path, FILE_MAX, ERR_STORE, NULL) == 0 && strcmp(buf_text(&kept), source) == 0;
    buf_free(&kept);
    return same ? 0 : put(path, source, strlen(source), e);
}

int cache_source(const char *dir, const char *key, struct buf *out, struct err *e)
{
    char path[PATH_MAX];

    if (path_of(path, dir, key, "src", e) != 0) return -1;
    return buf_read_file(out, path, FILE_MAX, ERR_STORE, e);
}

int cache_put(const char *dir, const char *key, struct device_binary *b, struct err *e)
{
    char path[PATH_MAX], image[DIGEST_HEX], *text = NULL;
    json_t *meta = NULL;
    int rc;

    digest_bytes(image, b->image.p, b->image.n);
    TRY(path_of(path, dir, key, "bin", e));
    TRY(put(path, b->image.p, b->image.n, e));
    if (b->ptx.n > 0) {
        TRY(path_of(path, dir, key, "ptx", e));
        TRY(put(path, b->ptx.p, b->ptx.n, e));
    }
    meta = json_pack("{s:s,s:s,s:o,s:o}", "image", image, "code", b->code_digest, "log",
                     device_text_to_json(buf_text(&b->log), b->log.n), "resources", device_resources_to_json(&b->res));
    text = meta ? json_dumps(meta, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    if (!text) {
        rc = err_nomem(e);
        goto out;
    }
    TRY(path_of(path, dir, key, "json", e));
    rc = put(path, text, strlen(text), e);
out:
    free(text);
    json_decref(meta);
    return rc;
}

/* Reads and verifies; *found tells. */
static int read_entry(const char *dir, const char *key, bool *found, bool *damaged, json_t **meta, struct buf *image,
                      struct err *e)
{
    char path[PATH_MAX], sum[DIGEST_HEX];
    struct buf text = {0};
    const char *want;
    int rc;

    *found = *damaged = false;
    *meta = NULL;
    TRY(path_of(path, dir, key, "json", e));
    if (access(path, R_OK) != 0) goto out;
    *damaged = true;
    if (buf_read_file(&text, path, FILE_MAX, ERR_STORE, NULL) != 0) goto out;
    *meta = json_loads(buf_text(&text), 0, NULL);
    want = json_string_value(json_object_get(*meta, "image"));
    TRY(path_of(path, dir, key, "bin", e));
    if (!want || buf_read_file(image, path, FILE_MAX, ERR_STORE, NULL) != 0) goto out;
    digest_bytes(sum, image->p, image->n);
    *found = strcmp(sum, want) == 0;
    *damaged = !*found;
out:
    if (!*found) {
        json_decref(*meta);
        *meta = NULL;
    }
    buf_free(&text);
    return rc;
}

int cache_find(const char *dir, const char *key, bool *found, bool *damaged, json_t **meta, struct err *e)
{
    struct buf image = {0};
    int rc = read_entry(dir, key, found, damaged, meta, &image, e);

    buf_free(&image);
    return rc;
}

int cache_image(const char *dir, const char *key, struct buf *out, struct err *e)
{
    bool found, damaged;
    json_t *meta;

    if (read_entry(dir, key, &found, &damaged, &meta, out, e) != 0) return -1;
    json_decref(meta);
    if (!found)
        return err_set(e, ERR_STORE, "binary %.12s is %s in the cache %s: delete that folder and run again", key,
                       damaged ? "damaged" : "missing", dir);
    return 0;
}

int cache_ptx(const char *dir, const char *key, struct buf *out, struct err *e)
{
    char path[PATH_MAX];

    if (path_of(path, dir, key, "ptx", e) != 0) return -1;
    if (access(path, R_OK) != 0) return 0;
    return buf_read_file(out, path, FILE_MAX, ERR_STORE, e);
}
