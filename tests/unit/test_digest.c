/* Digests: the published vectors of SHA-256 (FIPS 180-2, appendix B; the empty message), and the framing of parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "digest.h"

static void vectors(void **state)
{
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char out[DIGEST_HEX];
    char *million = malloc(1000000);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        digest_bytes(out, cases[i].text, strlen(cases[i].text));
        assert_string_equal(out, cases[i].hex);
    }
    digest_bytes(out, NULL, 0);
    assert_string_equal(out, cases[0].hex);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    digest_bytes(out, million, 1000000);
    assert_string_equal(out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

/* A digest of parts is that of the bytes: each part's length as eight little-endian bytes, then the part. */
static void framing(void **state)
{
    char parts[DIGEST_HEX], bytes[DIGEST_HEX], other[DIGEST_HEX];

    (void)state;
    digest_strings(parts, "ab", "c", NULL);
    digest_bytes(bytes, "\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c", 19);
    assert_string_equal(parts, bytes);
    digest_strings(other, "a", "bc", NULL);
    assert_string_not_equal(parts, other);
    digest_strings(other, "abc", NULL);
    assert_string_not_equal(parts, other);
    digest_strings(other, "ab", "c", "", NULL);
    assert_string_not_equal(parts, other);
}

static void number(void **state)
{
    (void)state;
    /* The first eight bytes of the digest of "abc", the first the least. */
    assert_int_equal(digest_u64("abc", 3), 0xeacf018fbf1678baull);
    assert_int_equal(digest_u64("", 0), digest_u64(NULL, 0));
    assert_true(digest_u64("a", 1) != digest_u64("b", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(framing), cmocka_unit_test(number)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
