/* A collection in memory: what holds holds; bytes changed at random behind right digests never crash, and files on disk are only ever those of the
 * table. The lies that each check is there for are told in tests/cli/evidence.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "evidence_fixture.h"

static void a_good_one_holds(void **state)
{
    struct evidence_files f;

    (void)state;
    fixture_files(&f);
    assert_int_equal(fixture_failures(&f), 0);
    evidence_files_free(&f);
}

/* One to four bytes of a file become others. */
static void damage(struct evidence_files *f, struct rng *rng)
{
    int id;

    do
        id = (int)rng_below(rng, EVIDENCE_MANIFEST);
    while (!f->there[id]);
    for (uint64_t n = 1 + rng_below(rng, 4); n > 0; n--)
        f->bytes[id].p[rng_below(rng, f->bytes[id].n)] = (char)rng_below(rng, rng_below(rng, 2) ? 128 : 256);
}

static void random_bytes_are_survived(void **state)
{
    struct rng rng;
    int wrong = 0;

    (void)state;
    rng_init(&rng, 7, "evidence");
    for (int i = 0; i < 400; i++) {
        struct evidence_files f;
        fixture_files(&f);
        damage(&f, &rng);
        wrong += fixture_failures(&f) != 0;
        evidence_files_free(&f);
    }
    assert_in_range(wrong, 100, 400); /* the rest hit what says nothing: texts, names, history */
}

/* Numbers of a trial at their ends. */
static void strange_numbers_are_refused(void **state)
{
    static const struct {
        const char *old, *new;
    } changes[] = {{"\"m\": 1", "\"m\": 64"},
                   {"\"m\": 1", "\"m\": -1"},
                   {"\"m\": 1", "\"m\": 4611686018427387904"},
                   {"\"session\": 7", "\"session\": 8"},
                   {"\"quad\": 3", "\"quad\": 4294967299"},
                   {"\"baab\": 1", "\"baab\": 2"},
                   {"\"discarded\": 0", "\"discarded\": true"},
                   {"\"letter0\": 10", "\"letter0\": 1e308"},
                   {"\"sm_mhz\": 0.0", "\"sm_mhz\": 1.0"},
                   {"\"samples_us\": [", "\"samples_us\": [1, "},
                   {"\"health\": {}", "\"health\": {\"before\": {\"throttle\": 0}, \"after\": {\"throttle\": 4}}"},
                   {"\"health\": {},\n   \"seed\"", "\"health\": {\"clock_moves\": 3},\n   \"seed\""},
                   {"\"health\": {}", "\"health\": {\"letter_mhz\": [1, 1, 1, 1], \"sample_mhz\": [9, 9, 9, 9]}"}};

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct evidence_files f;
        struct buf *text = &f.bytes[EVIDENCE_TRIAL], old = {0};
        const char *at;
        fixture_files(&f);
        buf_add(&old, text->p, text->n);
        at = strstr(buf_text(&old), changes[i].old);
        assert_non_null(at);
        buf_clear(text);
        buf_add(text, old.p, (size_t)(at - old.p));
        buf_puts(text, changes[i].new);
        buf_puts(text, at + strlen(changes[i].old));
        if (fixture_failures(&f) != 1) fail_msg("%s", changes[i].new);
        buf_free(&old);
        evidence_files_free(&f);
    }
}

static void instructions_are_words(void **state)
{
    json_t *counts = evidence_tensor_sass("HMMA.16816.F32 R1;\n@!P0 HMMA R2;/*0010*/HGMMA.64x8 XHMMA HMMAX .HMMA HMMA");

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(counts, "HMMA")), 3);
    assert_int_equal(json_integer_value(json_object_get(counts, "HGMMA")), 1);
    assert_int_equal(json_integer_value(json_object_get(counts, "UTCHMMA")), 0);
    json_decref(counts);
}

/* Written, read, and written over; a folder with something else in it stays as it is. */
static void files_on_disk(void **state)
{
    char folder[] = "/tmp/test_evidence.XXXXXX", sub[64], digest[DIGEST_HEX], again[DIGEST_HEX];
    struct evidence_files f, g = {0};
    json_t *wrong = json_array();
    struct err e = {0};

    (void)state;
    assert_non_null(mkdtemp(folder));
    fixture_files(&f);
    assert_int_equal(evidence_files_write(&f, folder, "v1", "t", digest, &e), 0);
    assert_int_equal(evidence_files_read(&g, folder, wrong, again, &e), 0);
    assert_int_equal(json_array_size(wrong), 0);
    assert_string_equal(digest, again);
    assert_int_equal(fixture_failures(&g), 0);
    evidence_files_free(&f);
    evidence_files_free(&g);
    snprintf(sub, sizeof sub, "%s/run.json.d", folder);
    assert_int_equal(mkdir(sub, 0700), 0);
    fixture_files(&f);
    assert_int_equal(evidence_files_write(&f, folder, "v1", "t", digest, &e), -1);
    assert_int_equal(e.code, ERR_USAGE);
    assert_int_equal(evidence_files_read(&g, folder, wrong, again, &e), 0);
    assert_int_equal(json_array_size(wrong), 1);
    assert_int_equal(strncmp(json_string_value(json_array_get(wrong, 0)), "run.json.d:", 11), 0);
    evidence_files_free(&f);
    evidence_files_free(&g);
    json_decref(wrong);
    rmdir(sub);
    for (int i = 0; i < EVIDENCE_N; i++) {
        snprintf(sub, sizeof sub, "%s/%s", folder, evidence_file_name(i));
        unlink(sub);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_one_holds),
        cmocka_unit_test(random_bytes_are_survived),
        cmocka_unit_test(strange_numbers_are_refused),
        cmocka_unit_test(instructions_are_words),
        cmocka_unit_test(files_on_disk),
    };

    return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
