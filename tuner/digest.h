/* digest.h - identity by content: SHA-256 (libsodium), as lower-case hex. A digest of several parts frames each part by
 * its length, so ("ab","c") and ("a","bc") differ. */
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_HEX 65 /* with the NUL */

void digest_bytes(char out[DIGEST_HEX], const void *bytes, size_t n);
/* NULL-terminated list of strings. */
void digest_strings(char out[DIGEST_HEX], ...) __attribute__((sentinel));
/* First 8 bytes as a number: seeds and checksums. */
uint64_t digest_u64(const void *bytes, size_t n);

#endif
