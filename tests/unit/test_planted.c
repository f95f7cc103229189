/* The templates of the tests, in CUDA. The planted one, whose points are broken on purpose, is sound where it is meant to be: every point
 * of its space compiles with NVRTC for sm_80 and sm_90a but the one that must not, and every fault that is there for real GPUs changes the
 * code. So does every point of the one for tensor maps. Skipped by name (77) where NVRTC is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cand.h"
#include "device.h"
#include "digest.h"

#define DOES_NOT_COMPILE 8
#define LAST_ON_GPUS 12 /* the others exist on the fake device alone */

static const struct device_driver *driver;
static const char *const dirs[] = {"tests/data/templates", "kernel_templates"};

static int param(struct domain *d, const struct cand *c, const char *name)
{
    const struct tmpl *m = domain_template(d, 0);

    for (int i = 0; i < m->nparams; i++)
        if (strcmp(m->params[i].range.name, name) == 0) return (int)domain_value(d, 0, i, c->at[i]);
    fail_msg("no parameter %s", name);
    return -1;
}

static enum device_class compile(const struct target *t, struct domain *d, const struct cand *c,
                                 struct device_binary *b)
{
    struct rendered r = {0};
    struct err e = {0};
    struct device_source src;
    enum device_class class;

    memset(b, 0, sizeof *b);
    if (cand_render(d, c, &r, &e) != 0) fail_msg("%s", e.text);
    src = (struct device_source){buf_text(&r.source), r.launch.entry, r.options, NULL};
    class = driver->compile(t, &src, b, &e);
    rendered_free(&r);
    return class;
}

static void all_points(const char *arch)
{
    char digests[LAST_ON_GPUS + 1][DIGEST_HEX];
    uint64_t rank = 0;
    struct space s = {0};
    struct domain *d = NULL;
    struct target t;
    struct err e = {0};
    struct cand c;
    int good = 0, faults = 0;

    if (driver->arch_target(&t, arch, &e) != 0 || space_load(&s, "tests/data/spaces/planted.yaml", &e) != 0 ||
        domain_open(&d, &s, dirs, 2, &t, &e) != 0)
        fail_msg("%s", e.text);
    assert_null(domain_unfit(d, 0));
    memset(digests, 0, sizeof digests);
    while (domain_next(d, &rank, &c)) {
        int fault = param(d, &c, "FAULT");
        struct device_binary b;
        if (fault > LAST_ON_GPUS) continue;
        enum device_class class = compile(&t, d, &c, &b);
        if (fault == DOES_NOT_COMPILE) {
            assert_int_equal(class, DEVICE_FATE);
            assert_non_null(strstr(buf_text(&b.log), "does not compile"));
        } else {
            if (class != DEVICE_OK) print_error("fault %d on %s: %s\n", fault, arch, buf_text(&b.log));
            assert_int_equal(class, DEVICE_OK);
        }
        good += fault == 0;
        faults += fault != 0;
        if (fault != 0 || (param(d, &c, "ROWS") == 1 && param(d, &c, "PASSES") == 1))
            memcpy(digests[fault], b.code_digest, sizeof digests[fault]);
        device_binary_free(&b);
    }
    assert_int_equal(good, 9);
    assert_int_equal(faults, LAST_ON_GPUS);
    for (int i = 0; i <= LAST_ON_GPUS; i++)
        for (int k = 0; k < i; k++)
            if (i != DOES_NOT_COMPILE && k != DOES_NOT_COMPILE) assert_string_not_equal(digests[i], digests[k]);
    domain_close(d);
    space_free(&s);
}

/* Every point of the template for tensor maps and clusters compiles; what only its maps see changes no code. */
static void mapped(void **state)
{
    char even[DIGEST_HEX] = "";
    uint64_t rank = 0;
    struct space s = {0};
    struct domain *d = NULL;
    struct target t;
    struct err e = {0};
    struct cand c;
    int n = 0;

    (void)state;
    if (driver->arch_target(&t, "sm_90a", &e) != 0 || space_load(&s, "tests/data/spaces/mapped.yaml", &e) != 0 ||
        domain_open(&d, &s, dirs, 2, &t, &e) != 0)
        fail_msg("%s", e.text);
    assert_null(domain_unfit(d, 0));
    for (; domain_next(d, &rank, &c); n++) {
        struct device_binary b;
        if (compile(&t, d, &c, &b) != DEVICE_OK) fail_msg("%s", buf_text(&b.log));
        if (n % 2 == 0) memcpy(even, b.code_digest, sizeof even); /* FETCH is the last parameter */
        assert_string_equal(b.code_digest, even);
        device_binary_free(&b);
    }
    assert_int_equal(n, 48);
    domain_close(d);
    space_free(&s);
}

static void sm_80(void **state)
{
    (void)state;
    all_points("sm_80");
}

static void sm_90a(void **state)
{
    (void)state;
    all_points("sm_90a");
}

/* A compiler that cannot be loaded is LOST; a source at fault would be FATE. */
static bool compiler_there(void)
{
    const struct device_source src = {"extern \"C\" __global__ void f() {}", "f", NULL, NULL};
    struct device_binary b = {0};
    struct err e = {0};
    struct target t;
    enum device_class class;

    if (driver->arch_target(&t, "sm_80", &e) != 0) return false;
    class = driver->compile(&t, &src, &b, &e);
    if (class != DEVICE_OK) print_message("%s\n", e.text);
    device_binary_free(&b);
    return class == DEVICE_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sm_80), cmocka_unit_test(sm_90a), cmocka_unit_test(mapped)};

    driver = device_driver_named("cuda");
    if (!driver) {
        puts("skipped: this build has no CUDA");
        return 77;
    }
    if (!compiler_there()) {
        puts("skipped: NVRTC not found");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
