/* test_pcg.cc - the PCG library of this machine against the reference implementation's vectors, 32 and 64 bits: a package that draws
 * other numbers would change every seed's meaning. */
#include <pcg_random.hpp> /* before cmocka.h, whose macro `fail` breaks the C++ library's headers */

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

extern "C" {
#include <cmocka.h>
}

/* pcg-c's check-pcg32.out and check-pcg64.out: srandom(42, 54). */
static void reference_vectors(void **)
{
    static const std::uint32_t xsh_rr[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    static const std::uint64_t xsl_rr[] = {0x86b1da1d72062b68, 0x1304aa46c9853d39, 0xa3670e9e0dd50358,
                                           0xf9090e529a7dae00, 0xc85b9fd837996f2c, 0x606121f8e3919196};
    pcg32 narrow(42, 54);
    pcg64 wide(42, 54);
    for (const std::uint32_t expected : xsh_rr)
        assert_true(narrow() == expected);
    for (const std::uint64_t expected : xsl_rr)
        assert_true(wide() == expected);
}

int main()
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference_vectors)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
