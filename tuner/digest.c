/* SHA-256 by libsodium; a part is framed by its length as eight little-endian bytes. */
#include "digest.h"

#include <sodium.h>
#include <stdarg.h>
#include <string.h>

static void finish(crypto_hash_sha256_state *s, char out[DIGEST_HEX])
{
    unsigned char raw[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_final(s, raw);
    sodium_bin2hex(out, DIGEST_HEX, raw, sizeof raw);
}

void digest_bytes(char out[DIGEST_HEX], const void *bytes, size_t n)
{
    crypto_hash_sha256_state s;

    crypto_hash_sha256_init(&s);
    crypto_hash_sha256_update(&s, n ? bytes : (const void *)"", n);
    finish(&s, out);
}

void digest_strings(char out[DIGEST_HEX], ...)
{
    crypto_hash_sha256_state s;
    const char *part;
    va_list ap;

    crypto_hash_sha256_init(&s);
    va_start(ap, out);
    while ((part = va_arg(ap, const char *)) != NULL) {
        unsigned char frame[8];
        size_t n = strlen(part);
        for (int i = 0; i < 8; i++)
            frame[i] = (unsigned char)((uint64_t)n >> (8 * i));
        crypto_hash_sha256_update(&s, frame, sizeof frame);
        crypto_hash_sha256_update(&s, (const unsigned char *)part, n);
    }
    va_end(ap);
    finish(&s, out);
}

uint64_t digest_u64(const void *bytes, size_t n)
{
    unsigned char raw[crypto_hash_sha256_BYTES];
    uint64_t x = 0;

    crypto_hash_sha256(raw, n ? bytes : (const void *)"", n);
    for (int i = 0; i < 8; i++)
        x |= (uint64_t)raw[i] << (8 * i);
    return x;
}
