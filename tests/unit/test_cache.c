/* The cache of binaries: what is found is what was put, or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"

static char folder[] = "/tmp/test_cache.XXXXXX";
static char dir[64];

static const struct target target = {
    .driver = "fake", .compiler = "C 1", .arch = "sm_90", .driver_version = "1", .compute_capability = 90, .name = "G"};

static const char *file_of(const char *key, const char *ending)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%.2s/%s.%s", dir, key, key, ending);
    return path;
}

static void put(const char *key, const char *image, const char *ptx)
{
    struct device_binary b = {.code_digest = "c0de"};
    struct err e = {0};

    assert_int_equal(cache_put_source(dir, key, "source", &e), 0);
    buf_puts(&b.image, image);
    buf_puts(&b.ptx, ptx);
    buf_puts(&b.log, "ptxas: 3 registers \xff");
    b.res.registers = 3;
    assert_int_equal(cache_put(dir, key, &b, &e), 0);
    device_binary_free(&b);
}

static void expect(const char *key, bool want_found, bool want_damaged)
{
    struct err e = {0};
    struct buf image = {0};
    bool found, damaged;
    json_t *meta;

    assert_int_equal(cache_find(dir, key, &found, &damaged, &meta, &e), 0);
    assert_int_equal(found, want_found);
    assert_int_equal(damaged, want_damaged);
    assert_true((meta != NULL) == want_found);
    json_decref(meta);
    assert_int_equal(cache_image(dir, key, &image, &e), want_found ? 0 : -1);
    if (!want_found) assert_int_equal(e.code, ERR_STORE);
    buf_free(&image);
}

static void keys(void **state)
{
    static const char *const none[] = {NULL}, *const one[] = {"-a", "-b", NULL}, *const joined[] = {"-a-b", NULL};
    struct target t = target;
    char key[8][DIGEST_HEX];
    int n = 0;

    (void)state;
    cache_key(key[n++], &t, "source", "entry", none);
    cache_key(key[n++], &t, "source ", "entry", none);
    cache_key(key[n++], &t, "source", "entry2", none);
    cache_key(key[n++], &t, "source", "entry", one);
    cache_key(key[n++], &t, "source", "entry", joined);
    strcpy(t.compiler, "C 2");
    cache_key(key[n++], &t, "source", "entry", none);
    t = target;
    strcpy(t.arch, "sm_80");
    cache_key(key[n++], &t, "source", "entry", none);
    t = target;
    t.compute_capability = 0; /* without an architecture the device's name counts */
    cache_key(key[n++], &t, "source", "entry", none);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(key[i], key[k]);
    /* Another device of the same kind shares the binaries. */
    t = target;
    strcpy(t.name, "H");
    t.index = 5;
    cache_key(key[1], &t, "source", "entry", NULL);
    assert_string_equal(key[0], key[1]);
}

static void hit(void **state)
{
    const char *key = "aa11";
    struct buf b = {0};
    struct err e = {0};
    bool found, damaged;
    json_t *meta;

    (void)state;
    expect(key, false, false);
    put(key, "binary \1\2", "ptx text");
    expect(key, true, false);
    assert_int_equal(cache_find(dir, key, &found, &damaged, &meta, &e), 0);
    assert_string_equal(json_string_value(json_object_get(meta, "code")), "c0de");
    assert_string_equal(json_string_value(json_object_get(meta, "log")), "ptxas: 3 registers ?");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(meta, "resources"), "registers")), 3);
    json_decref(meta);
    assert_int_equal(cache_image(dir, key, &b, &e), 0);
    assert_string_equal(buf_text(&b), "binary \1\2");
    buf_free(&b);
    assert_int_equal(cache_ptx(dir, key, &b, &e), 0);
    assert_string_equal(buf_text(&b), "ptx text");
    buf_free(&b);
    assert_int_equal(cache_source(dir, key, &b, &e), 0);
    assert_string_equal(buf_text(&b), "source");
    buf_free(&b);
    put("aa12", "no intermediate", "");
    assert_int_equal(cache_ptx(dir, "aa12", &b, &e), 0);
    assert_string_equal(buf_text(&b), "");
    buf_free(&b);
    assert_int_equal(cache_source(dir, "absent", &b, &e), -1);
    assert_int_equal(e.code, ERR_STORE);
    buf_free(&b);
}

static void overwrite(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void damage(void **state)
{
    const char *key = "bb22";
    struct buf b = {0};
    struct err e = {0};

    (void)state;
    put(key, "binary", "");
    overwrite(file_of(key, "bin"), "binarz");
    expect(key, false, true);
    put(key, "binary", "");
    expect(key, true, false); /* made again, it is whole again */
    overwrite(file_of(key, "bin"), "");
    expect(key, false, true);
    assert_int_equal(unlink(file_of(key, "bin")), 0);
    expect(key, false, true);

    put(key, "binary", "");
    overwrite(file_of(key, "json"), "{\"image\": ");
    expect(key, false, true);
    overwrite(file_of(key, "json"), "[]");
    expect(key, false, true);
    overwrite(file_of(key, "json"), "{\"image\": 5}");
    expect(key, false, true);
    overwrite(file_of(key, "json"), "");
    expect(key, false, true);
    assert_int_equal(unlink(file_of(key, "json")), 0);
    expect(key, false, false); /* a writer that was cut off: nothing was there yet */

    overwrite(file_of(key, "src"), "sourcf"); /* as long as the true one */
    assert_int_equal(cache_put_source(dir, key, "source", &e), 0);
    assert_int_equal(cache_source(dir, key, &b, &e), 0);
    assert_string_equal(buf_text(&b), "source");
    buf_free(&b);
}

static void refusals(void **state)
{
    char path[128];
    struct err e = {0};

    (void)state;
    snprintf(path, sizeof path, "%s/file", folder);
    overwrite(path, "in the way");
    assert_int_equal(cache_put_source(path, "cc33", "source", &e), -1);
    assert_int_equal(e.code, ERR_STORE);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(unlink(path), 0);
}

/* Four processes write one entry again and again while we read: it is whole or absent, never damaged for good. */
static void concurrent_writers(void **state)
{
    enum { WRITERS = 4, ROUNDS = 25 };
    const char *key = "dd44";
    char *image = malloc(100001);
    pid_t pid[WRITERS];
    int looks = 0, done = 0, status;

    (void)state;
    assert_non_null(image);
    memset(image, 'i', 100000);
    image[100000] = '\0';
    for (int i = 0; i < WRITERS; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0) {
            struct device_binary b = {.code_digest = "c0de"};
            struct err e = {0};
            int rc = 0;
            buf_puts(&b.image, image);
            for (int k = 0; k < ROUNDS && rc == 0; k++)
                rc = cache_put_source(dir, key, "source", &e) != 0 || cache_put(dir, key, &b, &e) != 0;
            _exit(rc != 0);
        }
    }
    bool seen = false;
    while (done < WRITERS) {
        bool found, damaged;
        json_t *meta;
        assert_int_equal(cache_find(dir, key, &found, &damaged, &meta, NULL), 0);
        assert_false(damaged); /* all write the same bytes, and each file appears whole */
        assert_true(found || !seen);
        seen = seen || found;
        json_decref(meta);
        looks++;
        while (waitpid(-1, &status, WNOHANG) > 0) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            done++;
        }
    }
    assert_true(looks > 10);
    expect(key, true, false);
    free(image);
}

static int make(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(dir, sizeof dir, "%s/deep/cache", folder); /* folders are made as needed */
    return 0;
}

static int clean(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(hit),
        cmocka_unit_test(damage),
        cmocka_unit_test(refusals),
        cmocka_unit_test(concurrent_writers),
    };

    return cmocka_run_group_tests(tests, make, clean);
}
