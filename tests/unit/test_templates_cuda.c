/* Every CUDA template compiles at its corner points for sm_80, sm_89 and sm_90a, without a GPU: the default configuration, and each
 * parameter at its least and greatest value. The default must not spill (a reference no more than its manifest says), the WMMA path must
 * use the tensor cores, and every parameter must change the code somewhere (no dead knob). So do debug builds, for each way to walk. Skipped by
 * name (77) where NVRTC is missing. */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cand.h"
#include "device.h"

static const struct device_driver *driver;
static const char *const dirs[] = {"kernel_templates"};

static const char *const spaces[] = {
    "name: a\nproblem: {op: attention_forward, batch: 2, heads: 8, seq_q: 512, head_dim: 64}\ntemplates: [%s]\n",
    "name: b\nproblem: {op: attention_forward, batch: 1, heads: 4, kv_heads: 2, seq_q: 197, seq_kv: 533, head_dim: "
    "128, dtype: bf16,\n"
    "  mask: causal, lse: true}\ntemplates: [%s]\n",
};

/* *spills: the most that the manifest allows here; may be NULL. */
static int compile(const struct target *t, struct domain *d, const struct cand *c, bool debug, struct device_binary *b,
                   int64_t *spills)
{
    struct rendered r = {0};
    struct err e = {0};
    struct device_source src;
    enum device_class class;

    memset(b, 0, sizeof *b);
    if (cand_render(d, c, &r, &e) != 0 || (debug && rendered_debug(&r, &e) != 0)) {
        print_error("%s\n", e.text);
        return -1;
    }
    src = (struct device_source){buf_text(&r.source), r.launch.entry, r.options, NULL};
    class = driver->compile(t, &src, b, &e);
    if (spills) *spills = r.spills;
    if (class != DEVICE_OK) {
        struct buf text = {0};
        cand_text(d, c, &text);
        print_error("%s on %s: %s\n%s\n", buf_text(&text), t->arch, e.text, buf_text(&b->log));
        buf_free(&text);
    }
    rendered_free(&r);
    return class == DEVICE_OK ? 0 : -1;
}

/* The default, then each parameter at both ends of its range with the others as in the default; where that is excluded, the first valid
 * point with this value. */
static void corners(const struct target *t, struct domain *d, bool must_not_spill)
{
    const struct tmpl *m = domain_template(d, 0);
    struct device_binary base, b;
    struct cand standard, c;
    int64_t spills;

    assert_true(domain_default(d, 0, &standard));
    assert_int_equal(compile(t, d, &standard, false, &base, &spills), 0);
    if (must_not_spill) assert_in_range(base.res.spill_load_bytes, 0, spills);
    if (strstr(m->name, "mma")) assert_true(base.res.tensor_ops > 0);
    for (int p = 0; p < m->nparams; p++) {
        bool alive = false;
        int n = domain_nvalues(d, 0, p), ends = 0;
        for (int end = 0; end < 2; end++) {
            uint64_t rank = 0;
            bool found;
            c = standard;
            c.at[p] = (uint16_t)(end ? n - 1 : 0);
            found = domain_valid(d, &c, NULL);
            while (!found && domain_next(d, &rank, &c))
                found = c.at[p] == (end ? n - 1 : 0);
            if (!found) continue;
            ends++;
            assert_int_equal(compile(t, d, &c, false, &b, NULL), 0);
            alive = alive || strcmp(b.code_digest, base.code_digest) != 0;
            device_binary_free(&b);
        }
        if (!alive && ends > 1)
            print_error("%s never changes the code of %s on %s\n", m->params[p].range.name, m->name, t->arch);
        assert_true(alive || n < 2 || ends < 2); /* small problems allow some parameters one value only */
    }
    device_binary_free(&base);
}

/* The debug build at each value of the parameter that decides how the kernel walks: it compiles, and is other code. */
static void debug_builds(const struct target *t, struct domain *d, const char *walks)
{
    const int p = tmpl_param_index(domain_template(d, 0), walks), n = domain_nvalues(d, 0, p);
    int compiled = 0;

    assert_true(tmpl_has_hooks(domain_template(d, 0)));
    for (int i = 0; i < n; i++) {
        struct device_binary plain, b;
        struct cand c;
        uint64_t rank = 0;
        bool found = false;
        while (!found && domain_next(d, &rank, &c))
            found = c.at[p] == i;
        if (!found) continue;
        compiled++;
        assert_int_equal(compile(t, d, &c, false, &plain, NULL), 0);
        assert_int_equal(compile(t, d, &c, true, &b, NULL), 0);
        assert_string_not_equal(b.code_digest, plain.code_digest);
        device_binary_free(&plain);
        device_binary_free(&b);
    }
    assert_true(compiled > 1);
}

/* walks: see debug_builds; NULL: the corners. */
static void one(const char *name, const char *arch, const char *walks)
{
    struct target t;
    struct err e = {0};

    assert_int_equal(driver->arch_target(&t, arch, &e), 0);
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        struct space s = {0};
        struct domain *d = NULL;
        char text[1024];
        snprintf(text, sizeof text, spaces[i], name);
        if (space_parse(&s, text, strlen(text), "test", &e) != 0 || domain_open(&d, &s, dirs, 1, &t, &e) != 0)
            print_error("%s\n", e.text);
        assert_int_equal(e.code, ERR_OK);
        assert_null(domain_unfit(d, 0));
        if (walks)
            debug_builds(&t, d, walks);
        else
            corners(&t, d, i == 0 || strncmp(name, "fa_", 3) != 0);
        domain_close(d);
        space_free(&s);
    }
}

static void sm_80(void **state)
{
    (void)state;
    one("fa_wmma", "sm_80", NULL);
    one("fa_mma", "sm_80", NULL);
}

static void sm_89(void **state)
{
    (void)state;
    one("fa_wmma", "sm_89", NULL);
}

static void sm_90a(void **state)
{
    (void)state;
    one("fa_wmma", "sm_90a", NULL);
    one("fa_mma", "sm_90a", NULL);
}

static void hopper(void **state)
{
    (void)state;
    one("fa_wgmma", "sm_90a", NULL);
}

static void reference(void **state)
{
    (void)state;
    one("reference_cuda", "sm_80", NULL);
    one("reference_cuda", "sm_90a", NULL);
}

static void hooks(void **state)
{
    (void)state;
    one("fa_mma", "sm_80", "RESCALE_LOG2");
    one("fa_wmma", "sm_89", "SOFTMAX_REGS");
    one("fa_wgmma", "sm_90a", "OVERLAP");
}

/* ---- ceilings: what they are to measure is in their machine code, often enough, and nothing spills ---- */

/* Instructions of the kernel with this opcode: the low 12 bits of each 16 bytes, the same on sm_80 to sm_90. */
static int instructions(const struct buf *cubin, const char *section, unsigned opcode)
{
    const unsigned char *image = (const unsigned char *)cubin->p;
    Elf64_Ehdr head;
    Elf64_Shdr names, s;
    int n = 0;

    memcpy(&head, image, sizeof head);
    memcpy(&names, image + head.e_shoff + (size_t)head.e_shstrndx * head.e_shentsize, sizeof names);
    for (int i = 0; i < head.e_shnum; i++) {
        memcpy(&s, image + head.e_shoff + (size_t)i * head.e_shentsize, sizeof s);
        if (strcmp((const char *)image + names.sh_offset + s.sh_name, section) != 0) continue;
        for (size_t at = 0; at + 16 <= s.sh_size; at += 16) {
            uint64_t word;
            memcpy(&word, image + s.sh_offset + at, sizeof word);
            n += (word & 0xfff) == opcode;
        }
    }
    return n;
}

/* Every valid point. loop: instructions of one turn of the inner loop, all of which must be there. */
static void ceiling(const char *name, const char *arch, unsigned opcode, int loop)
{
    struct target t;
    struct space s = {0};
    struct domain *d = NULL;
    struct err e = {0};
    struct cand c;
    struct device_binary b;
    uint64_t rank = 0;
    int64_t spills;
    char text[1024], section[64];
    int points = 0;

    assert_int_equal(driver->arch_target(&t, arch, &e), 0);
    snprintf(
        text, sizeof text,
        "name: a\nproblem: {op: attention_forward, batch: 1, heads: 16, seq_q: 4096, head_dim: 64}\ntemplates: [%s]\n",
        name);
    assert_int_equal(space_parse(&s, text, strlen(text), "test", &e), 0);
    if (domain_open(&d, &s, dirs, 1, &t, &e) != 0) print_error("%s\n", e.text);
    assert_non_null(d);
    while (domain_next(d, &rank, &c)) {
        points++;
        assert_int_equal(compile(&t, d, &c, false, &b, &spills), 0);
        assert_int_equal(b.res.spill_load_bytes, 0);
        snprintf(section, sizeof section, ".text.%s", domain_template(d, 0)->entry);
        if (instructions(&b.image, section, opcode) < loop)
            print_error("%s on %s: %d of %d instructions\n", name, arch, instructions(&b.image, section, opcode), loop);
        assert_true(instructions(&b.image, section, opcode) >= loop);
        device_binary_free(&b);
    }
    assert_true(points > 0);
    domain_close(d);
    space_free(&s);
}

static void ceilings(void **state)
{
    enum { HMMA = 0x23c, HGMMA = 0x9f0, MUFU = 0x308, LDG = 0x981 };
    static const char *const archs[] = {"sm_80", "sm_89", "sm_90a"};

    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        ceiling("ceiling_mma", archs[i], HMMA, 16); /* m16n16k16 is two of m16n8k16 */
        ceiling("ceiling_exp_cuda", archs[i], MUFU, 64);
        ceiling("ceiling_memory_cuda", archs[i], LDG, 12);
    }
    ceiling("ceiling_wgmma", "sm_90a", HGMMA, 16);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sm_80),     cmocka_unit_test(sm_89),    cmocka_unit_test(sm_90a), cmocka_unit_test(hopper),
        cmocka_unit_test(reference), cmocka_unit_test(ceilings), cmocka_unit_test(hooks),
    };

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
