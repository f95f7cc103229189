/* Part of every unit test program: FATUNE_UNIT_TEST=NAME runs that test alone, as a proof of one promise (tools/faults.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void one_test(void)
{
    const char *name = getenv("FATUNE_UNIT_TEST");
    if (name != NULL) cmocka_set_test_filter(name);
}
