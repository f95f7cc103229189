/* Labels that a stranger wrote, and pictures that a page can hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plot.h"

static void labels(void **state)
{
    static const struct {
        const char *text, *label;
        size_t most;
    } rows[] = {
        {"BLOCK_N = 64", "\"BLOCK_N = 64\"", 40},
        {"a\"b`c$d\\e\nf<g>&'h", "\"a?b?c?d?e?f?g???h\"", 40},
        {"\xc3\xa4\xff\xe2\x82\xac", "\"\xc3\xa4?\xe2\x82\xac\"", 40},
        {"12345678", "\"12345...\"", 5},
        {"\xc3\xa4\xc3\xa4\xc3\xa4", "\"\xc3\xa4\xc3\xa4...\"", 2},
        {"", "\"\"", 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = {0};
        plot_label(&b, rows[i].text, rows[i].most);
        assert_string_equal(buf_text(&b), rows[i].label);
        buf_free(&b);
    }
}

/* A file as gnuplot writes it becomes an element: colours are variables, names the picture's own, titles gone. */
static void embed(void **state)
{
    static const char svg[] =
        "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\">\n<title>Gnuplot</title>\n"
        "<g id=\"gnuplot_canvas\">\n<g id=\"p_1\" ><title>data using 1:2</title>\n"
        "<path stroke='rgb(  2,   2,   2)' fill=\"rgb(1,1,1)\" d='M1,2'/><path stroke='rgb(9,9,9)'/>"
        "<g fill=\"none\" color=\"black\" stroke=\"black\"><use xlink:href='#gpPt6' color='rgb(  3,   3,   "
        "3)'/></g></g>\n"
        "</g>\n</svg>\n";
    char folder[] = "/tmp/fatune_plot_XXXXXX", path[64];
    struct plot p = {.name = "p", .alt = "less < \"more\"", .width = 420, .height = 90};
    struct buf out = {0};
    struct err e = {0};

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.svg", folder);
    assert_int_equal(buf_write_file(path, svg, strlen(svg), &e), 0);
    assert_int_equal(plot_embed(&p, folder, &out, &e), 0);
    assert_string_equal(buf_text(&out),
                        "<svg viewBox=\"0 0 420 90\" role=\"img\" aria-label=\"less &lt; &quot;more&quot;\">\n"
                        "<g id=\"p_canvas\">\n<g id=\"p_1\" >\n"
                        "<path stroke='var(--ours)' fill=\"var(--ink)\" d='M1,2'/><path stroke='rgb(9,9,9)'/>"
                        "<g fill=\"none\" stroke=\"var(--ink)\"><use href='#p_point6' color='var(--theirs)'/></g></g>\n"
                        "</g>\n</svg>\n");
    buf_free(&out);
    assert_int_equal(buf_write_file(path, "nothing", 7, &e), 0);
    assert_int_equal(plot_embed(&p, folder, &out, &e), -1);
    assert_non_null(strstr(e.text, "p.svg"));
    buf_free(&out);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels), cmocka_unit_test(embed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
