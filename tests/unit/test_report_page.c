/* The one rule of rounding, and texts that mean something in HTML and markdown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "report_page.h"

static void numbers(void **state)
{
    static const struct {
        double x;
        const char *text;
    } rows[] = {
        {0, "0"},
        {4.75123, "4.751"},
        {4.7, "4.700"},
        {34.987, "34.99"},
        {220.64, "220.6"},
        {1070.53, "1071"},
        {156824, "156824"},
        {0.005, "0.005"},
        {0.95344, "0.9534"},
        {-0.012345, "-0.01235"},
        {1e-20, "1e-20"},
        {-2.5, "-2.500"},
        {99999.6, "100000"},
        {1e16, "1e+16"},
        {NAN, "-"},
        {INFINITY, "-"},
        {9.9996, "10.000"},
        {1e14, "100000000000000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(report_number(NUMBER, rows[i].x), rows[i].text);
}

static void write_page(struct page *p)
{
    static const char *const columns[] = {"name", ">n", NULL};

    page_begin(p, "a < b", "c & d");
    page_section(p, "one", "One");
    page_say(p, "%s|%d", "</p>*x*`y`\n\x01", 7);
    page_table(p, "caption", columns);
    page_cell(p, "a|b\nc");
    page_tinted(p, 0.5, true, "%d", 3);
    page_table_end(p);
    page_picture(p, NULL, NULL, "alt", "no <gnuplot>");
    page_picture(p, "<svg></svg>", "x.png", "alt", NULL);
    page_end(p);
}

static void has(struct page *p, const char *text)
{
    if (!strstr(buf_text(&p->out), text)) fail_msg("no %s in %s", text, buf_text(&p->out));
}

static void html(void **state)
{
    struct page p = {.format = PAGE_HTML};

    (void)state;
    write_page(&p);
    has(&p, "<title>a &lt; b</title>");
    has(&p, "<p>&lt;/p&gt;*x*`y`\n?|7</p>");
    has(&p, "<tr><th scope=\"row\">a|b\nc</th>");
    has(&p, "<td class=\"n\" style=\"--tint: 50%\" data-best><strong>3</strong></td></tr>");
    has(&p, "<caption><span>caption</span></caption>");
    has(&p, "no &lt;gnuplot&gt;");
    has(&p, "<figure>\n<svg></svg>");
    page_free(&p);
}

static void markdown(void **state)
{
    struct page p = {.format = PAGE_MARKDOWN};

    (void)state;
    write_page(&p);
    has(&p, "# a \\< b\n\nc & d\n\n## One\n\n");
    has(&p, "\\</p\\>\\*x\\*\\`y\\` ?\\|7\n\n");
    has(&p, "*caption*\n\n| name | n |\n|---|---:|\n| a\\|b c | **3** |\n");
    has(&p, "![alt](x.png)");
    assert_null(strstr(buf_text(&p.out), "<svg"));
    page_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(html), cmocka_unit_test(markdown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
