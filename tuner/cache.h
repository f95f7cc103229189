/* cache.h - binaries on disk, by content: the key is a digest of source, options, compiler and architecture.
 *
 * Files of a key lie in one folder of the cache: KEY.src, KEY.bin, KEY.ptx (where there is one), KEY.json, written last: it names the
 * digest of KEY.bin. An entry whose bytes do not match is treated as absent and made again. Concurrent writers of one key write
 * the same bytes; each file appears by rename. Binaries never travel through a pipe. */
#ifndef CACHE_H
#define CACHE_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"
#include "device.h"
#include "digest.h"
#include "err.h"
#include "problem.h"

void cache_key(char key[DIGEST_HEX], const struct target *t, const char *source, const char *entry,
               const char *const *options);

int cache_put_source(const char *dir, const char *key, const char *source, struct err *e);
int cache_source(const char *dir, const char *key, struct buf *out, struct err *e);
/* From the compile worker. */
int cache_put(const char *dir, const char *key, struct device_binary *b, struct err *e);
/* *found is false when there is no entry or it is damaged (*damaged). meta: {"resources", "code", "log"}; new reference. */
int cache_find(const char *dir, const char *key, bool *found, bool *damaged, json_t **meta, struct err *e);
/* The image, verified. A missing or damaged one is ERR_STORE. */
int cache_image(const char *dir, const char *key, struct buf *out, struct err *e);
/* The readable intermediate, "" when there is none. */
int cache_ptx(const char *dir, const char *key, struct buf *out, struct err *e);

#endif
