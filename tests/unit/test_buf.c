/* Buffers: growth, and files that appear whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

static char folder[] = "/tmp/test_buf.XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int entries(void)
{
    DIR *d = opendir(folder);
    int n = 0;

    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d)) != NULL;)
        n += f->d_name[0] != '.';
    closedir(d);
    return n;
}

static void growth(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_string_equal(buf_text(&b), "");
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(buf_check(&b, NULL), 0);
    assert_int_equal(b.n, 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5);
    assert_int_equal(strlen(buf_text(&b)), b.n);
    assert_int_equal(strcmp(buf_text(&b) + b.n - 10, "9998,9999,"), 0);
    buf_clear(&b);
    assert_string_equal(buf_text(&b), "");
    buf_add(&b, "a\0b", 3);
    assert_int_equal(b.n, 3);
    assert_memory_equal(b.p, "a\0b", 4);
    buf_add(&b, NULL, 0);
    assert_int_equal(b.n, 3);
    buf_free(&b);
    buf_free(&b);
    assert_null(b.p);
}

/* A failed allocation leaves what was there; everything after it does nothing; one check at the end tells. */
static void failure_is_kept(void **state)
{
    struct buf b = {0};
    struct err e = {0};

    (void)state;
    buf_puts(&b, "kept");
    buf_add(&b, "x", SIZE_MAX - 2);
    assert_true(b.failed);
    buf_puts(&b, "lost");
    buf_printf(&b, "%s", "lost");
    assert_string_equal(buf_text(&b), "kept");
    assert_int_equal(buf_check(&b, &e), -1);
    assert_int_equal(e.code, ERR_SYSTEM);
    buf_free(&b);
    assert_int_equal(buf_check(&b, NULL), 0);
}

static void files(void **state)
{
    struct buf b = {0};
    struct err e = {0};
    char *big = malloc(200000);

    (void)state;
    assert_non_null(big);
    for (int i = 0; i < 200000; i++)
        big[i] = (char)(i * 7);
    assert_int_equal(buf_write_file(in_folder("big"), big, 200000, &e), 0);
    assert_int_equal(buf_read_file(&b, in_folder("big"), 200000, ERR_STORE, &e), 0);
    assert_int_equal(b.n, 200000);
    assert_memory_equal(b.p, big, 200000);
    assert_int_equal(b.p[b.n], 0);
    buf_free(&b);

    assert_int_equal(buf_write_file(in_folder("big"), "", 0, &e), 0);
    assert_int_equal(buf_read_file(&b, in_folder("big"), 0, ERR_STORE, &e), 0);
    assert_int_equal(b.n, 0);
    assert_int_equal(entries(), 1); /* no temporary file stays */
    buf_free(&b);
    free(big);
    unlink(in_folder("big"));
}

static void limit(void **state)
{
    struct buf b = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(buf_write_file(in_folder("ten"), "0123456789", 10, &e), 0);
    assert_int_equal(buf_read_file(&b, in_folder("ten"), 9, ERR_INPUT, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    assert_non_null(strstr(e.text, "larger than 9 bytes"));
    buf_free(&b);
    e = (struct err){0};
    assert_int_equal(buf_read_file(&b, in_folder("ten"), 10, ERR_INPUT, &e), 0);
    buf_free(&b);
    unlink(in_folder("ten"));
    /* A file without an end is refused, not read for ever. */
    assert_int_equal(buf_read_file(&b, "/dev/zero", 1 << 20, ERR_INPUT, &e), -1);
    buf_free(&b);
}

static void refusals(void **state)
{
    struct buf b = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(buf_read_file(&b, in_folder("absent"), 10, ERR_INPUT, &e), -1);
    assert_non_null(strstr(e.text, "absent"));
    e = (struct err){0};
    assert_int_equal(buf_read_file(&b, folder, 10, ERR_INPUT, &e), -1);
    assert_non_null(strstr(e.text, "is a folder"));
    e = (struct err){0};
    assert_int_equal(buf_write_file(in_folder("no/such"), "x", 1, &e), -1);
    assert_int_equal(e.code, ERR_SYSTEM);
    /* The target cannot be replaced: the old one stays, and the new one leaves no trace. */
    e = (struct err){0};
    assert_int_equal(mkdir(in_folder("taken"), 0700), 0);
    assert_int_equal(buf_write_file(in_folder("taken"), "x", 1, &e), -1);
    assert_int_equal(entries(), 1);
    assert_int_equal(rmdir(in_folder("taken")), 0);
    buf_free(&b);
}

/* A full device: the file that was there is untouched. */
static void disk_full(void **state)
{
    struct err e = {0};

    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    char tmp[160];
    snprintf(tmp, sizeof tmp, "%s.tmp.%ld", in_folder("full"), (long)getpid());
    assert_int_equal(symlink("/dev/full", tmp), 0);
    assert_int_equal(buf_write_file(in_folder("full"), "x", 1, &e), -1);
    assert_int_equal(access(in_folder("full"), F_OK), -1);
    assert_int_equal(entries(), 0);
}

/* Texts that were cut, and bytes from who knows where, become UTF-8 of the same length. */
static void cleaned(void **state)
{
    static const struct {
        const char *text, *clean;
    } cases[] = {{"", ""},
                 {"plain", "plain"},
                 {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
                 {"cut \xe2\x82", "cut ??"},
                 {"\xff\xc0\xafx", "???x"},
                 {"\xed\xa0\x80", "???"}, /* a surrogate */
                 {"\xf4\x90\x80\x80", "????"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s", cases[i].text);
        buf_clean(text);
        assert_string_equal(text, cases[i].clean);
    }
}

static int make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int clean(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth),  cmocka_unit_test(failure_is_kept), cmocka_unit_test(files),
        cmocka_unit_test(limit),   cmocka_unit_test(refusals),        cmocka_unit_test(disk_full),
        cmocka_unit_test(cleaned),
    };

    return cmocka_run_group_tests(tests, make, clean);
}
