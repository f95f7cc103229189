/* Recorded spaces: what each format says, what is refused, and a domain over listed points that behaves as any other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "buf.h"
#include "recording.h"
#include "replay.h"

static char path[] = "/tmp/test_recording.XXXXXX";

static int setup(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0) return -1;
    return close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *text)
{
    struct err e = {0};

    if (buf_write_file(path, text, strlen(text), &e) != 0) fail_msg("%s", e.text);
}

static void read_back(struct recording *r, const char *text)
{
    struct err e = {0};

    write_file(text);
    if (recording_read(r, path, &e) != 0) fail_msg("%s", e.text);
}

/* Three parameters, one of them text; two points fail; one is listed twice; 16 comes before 2 in the file and behind it in order. */
static const char csv[] = "WIDTH,MODE,UNUSED,status,n,mean_ms,sd_ms\n"
                          "16,soft,7,ok,10,2.5,0.1\r\n"
                          "2,soft,7,ok,10,0.5,0.1\n"
                          "2,hard,7,compile,0,,\n"
                          "4,hard,7,ok,10,1,0.1\n"
                          "\n"
                          "4,hard,7,ok,10,9,0.1\n"
                          "16,hard,7,runtime,0,,\n";

static void is_the_space(const struct recording *r)
{
    const char *const widths[] = {"2", "4", "16"};
    /* By rank: WIDTH, then MODE (soft was met first). */
    const struct {
        int width, mode;
        double us;
    } points[] = {{0, 0, 500}, {0, 1, 0}, {1, 1, 1000}, {2, 0, 2500}, {2, 1, 0}};

    assert_int_equal(r->ntables, 1);
    assert_int_equal(r->tables->nparams, 3);
    assert_string_equal(r->tables->params[0].name, "WIDTH");
    assert_int_equal(r->tables->params[0].nvalues, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(r->tables->params[0].values[i], widths[i]);
    assert_string_equal(r->tables->params[1].values[0], "soft");
    assert_int_equal(r->tables->params[2].nvalues, 1);
    assert_int_equal(r->n, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(r->points[i].at.at[0], points[i].width);
        assert_int_equal(r->points[i].at.at[1], points[i].mode);
        assert_int_equal(r->points[i].ok, points[i].us > 0);
        if (points[i].us > 0) assert_float_equal(r->points[i].us, points[i].us, 1e-9);
    }
}

static void a_csv_is_read(void **state)
{
    struct recording r;

    (void)state;
    read_back(&r, csv);
    is_the_space(&r);
    recording_free(&r);
}

static void gzip_is_read_alike(void **state)
{
    struct recording r;
    struct err e = {0};
    gzFile f = gzopen(path, "wb");

    (void)state;
    assert_non_null(f);
    assert_int_equal(gzwrite(f, csv, sizeof csv - 1), (int)sizeof csv - 1);
    assert_int_equal(gzclose(f), Z_OK);
    assert_int_equal(recording_read(&r, path, &e), 0);
    is_the_space(&r);
    recording_free(&r);
}

static void a_cache_of_kernel_tuner_is_read(void **state)
{
    struct recording r;

    (void)state;
    read_back(&r,
              "{\"kernel_name\": \"k\", \"tune_params\": {\"WIDTH\": [16, 2, 4], \"MODE\": [\"soft\", \"hard\"], "
              "\"UNUSED\": [7]},"
              "\"cache\": {"
              "\"16,soft,7\": {\"WIDTH\": 16, \"MODE\": \"soft\", \"UNUSED\": 7, \"time\": 2.5},"
              "\"2,soft,7\": {\"WIDTH\": 2, \"MODE\": \"soft\", \"UNUSED\": 7, \"time\": 0.5},"
              "\"2,hard,7\": {\"WIDTH\": 2, \"MODE\": \"hard\", \"UNUSED\": 7, \"time\": \"CompilationFailedConfig\"},"
              "\"4,hard,7\": {\"WIDTH\": 4, \"MODE\": \"hard\", \"UNUSED\": 7, \"time\": 1},"
              "\"16,hard,7\": {\"WIDTH\": 16, \"MODE\": \"hard\", \"UNUSED\": 7, \"time\": \"RuntimeFailedConfig\"}}}");
    is_the_space(&r);
    recording_free(&r);
}

static void t4_is_read(void **state)
{
    struct buf text = {0};
    struct recording r;
    const struct {
        int width;
        const char *mode, *fate, *measured;
    } rows[] = {{16, "soft", "correct",
                 "{\"name\": \"GFLOP/s\", \"value\": 9}, {\"name\": \"time\", \"value\": 2.5, \"unit\": \"\"}"},
                {2, "soft", "correct", "{\"name\": \"time\", \"value\": 0.5}"},
                {2, "hard", "compile", ""},
                {4, "hard", "correct", "{\"name\": \"time\", \"value\": 1.0}"},
                {16, "hard", "runtime", "{\"name\": \"time\", \"value\": 1e-3}"}};

    (void)state;
    buf_puts(&text, "{\"results\": [");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        buf_printf(&text,
                   "%s{\"configuration\": {\"WIDTH\": %d, \"MODE\": \"%s\", \"UNUSED\": 7}, \"invalidity\": \"%s\", "
                   "\"measurements\": [%s]}",
                   i ? ", " : "", rows[i].width, rows[i].mode, rows[i].fate, rows[i].measured);
    buf_puts(&text, "]}");
    read_back(&r, buf_text(&text));
    is_the_space(&r);
    recording_free(&r);
    buf_free(&text);
}

/* Two templates: each has parameters, points and a place of its own. */
static void templates_are_tables(void **state)
{
    struct recording r;
    struct domain *d;
    struct err e = {0};
    struct cand c;
    struct rng rng;
    uint64_t rank = 0;
    int drawn[3] = {0}, n = 0;

    (void)state;
    read_back(&r, "{\"results\": ["
                  "{\"configuration\": {\"template\": \"b\", \"X\": 8}, \"invalidity\": \"correct\", \"measurements\": "
                  "[{\"name\": \"time\", \"value\": 2}]},"
                  "{\"configuration\": {\"template\": \"a\", \"X\": 8, \"Y\": 1}, \"invalidity\": \"correct\", "
                  "\"measurements\": [{\"name\": \"time\", \"value\": 3}]},"
                  "{\"configuration\": {\"template\": \"b\", \"X\": 4}, \"invalidity\": \"compile\"}]}");
    assert_int_equal(r.ntables, 2);
    assert_string_equal(r.tables[0].name, "b");
    assert_int_equal(r.tables[1].nparams, 2);
    assert_int_equal(recording_domain(&d, &r, &e), 0);
    assert_int_equal(domain_templates(d), 2);
    for (; domain_next(d, &rank, &c); n++)
        assert_memory_equal(&c, &r.points[n].at, sizeof c);
    assert_int_equal(n, 3);
    rng_init(&rng, 1, "test");
    for (int i = 0; i < 3000; i++) {
        assert_true(domain_sample(d, &rng, &c));
        for (int k = 0; k < 3; k++)
            drawn[k] += cand_equal(d, &c, &r.points[k].at);
    }
    for (int k = 0; k < 3; k++)
        assert_in_range(drawn[k], 870, 1130);
    domain_close(d);
    recording_free(&r);
}

static void what_is_no_recording_is_refused(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"", "it lists no points"},
        {"A,B\n1,2\n", "line 1: the columns `status` and `mean_ms`"},
        {"status,mean_ms\nok,1\n", "line 1: the columns"},
        {"A,status,mean_ms\n", "it lists no points"},
        {"A,status,mean_ms\n1,ok,2\n2,ok\n", "line 3: it has 2 fields, the first line 3"},
        {"A,status,mean_ms\n1,ok,fast\n", "line 2: status is ok and mean_ms is no time"},
        {"A,status,mean_ms\n1,ok,-1\n", "line 2: status is ok and mean_ms is no time"},
        {"A,\xffstatus,mean_ms\n1,ok,1\n", "line 1: byte 0xff is not UTF-8 text"},
        {"A,status,mean_ms\n1,ok,1\n\xe2\x82,ok,2\n", "line 3: byte 0xe2 is not UTF-8 text"},
        {"{\"tune_params\": {\"A\": [1]}, \"cache\": {\"1\": {\"A\": 1}", "line 1, column"},
        {"{\"tune_params\": {\"A\": [1]}, \"cache\": {\"1\": {\"B\": 1, \"time\": 1}}}",
         "cache entry 1: parameter A is missing"},
        {"{\"tune_params\": {}, \"cache\": {\"1\": {\"B\": 1, \"time\": 1}}}", "it names no parameters"},
        {"{\"results\": []}", "it lists no points"},
        {"{\"results\": [{\"configuration\": {\"template\": \"t\"}}]}", "result 1: it names no parameters"},
        {"{\"results\": [{\"configuration\": {\"A\": 1}}, {\"configuration\": {}}]}",
         "result 2: parameter A is missing"},
        {"{\"other\": 1}", "neither `cache`"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct recording r;
        struct err e = {0};
        write_file(bad[i].text);
        assert_int_equal(recording_read(&r, path, &e), -1);
        assert_int_equal(e.code, ERR_INPUT);
        if (!strstr(e.text, bad[i].said) || !strstr(e.text, path)) fail_msg("row %zu: %s", i, e.text);
    }
}

static void its_domain_has_these_points_and_no_others(void **state)
{
    struct recording r;
    struct domain *d;
    struct err e = {0}, why = {0};
    struct cand c, near[8];
    struct rng rng;
    uint64_t rank = 0;
    bool exact;
    int drawn[5] = {0}, n = 0;

    (void)state;
    read_back(&r, csv);
    assert_int_equal(recording_domain(&d, &r, &e), 0);
    assert_int_equal(domain_count(d, &exact), 5);
    assert_true(exact);
    assert_int_equal(domain_product(d, 0), 6);
    for (; domain_next(d, &rank, &c); n++)
        assert_memory_equal(&c, &r.points[n].at, sizeof c);
    assert_int_equal(n, 5);
    assert_false(domain_default(d, 0, &c));
    c = (struct cand){.at = {1, 0, 0}};
    assert_false(domain_valid(d, &c, &why));
    assert_non_null(strstr(why.text, "no such point"));
    /* Of 4,hard: 2,hard and 16,hard; 4,soft was never there. */
    assert_int_equal(domain_neighbours(d, &r.points[2].at, false, near, 8), 2);
    rng_init(&rng, 1, "test");
    for (int i = 0; i < 5000; i++) {
        assert_true(domain_sample(d, &rng, &c));
        for (int k = 0; k < 5; k++)
            drawn[k] += cand_equal(d, &c, &r.points[k].at);
    }
    for (int k = 0; k < 5; k++) /* 1000 each; five standard deviations */
        assert_in_range(drawn[k], 858, 1142);
    domain_close(d);
    recording_free(&r);
}

/* N = 9 times, 90 down to 10: by hand, place i (from 0) has 90 - 10 i, the median is 50, 95% of the way is 12, so i = 8 and
 * 8 / (10 - 8) = 4 evaluations, which is under the least. */
static void budget_and_baseline_are_those_of_the_formula(void **state)
{
    struct buf text = {0};
    struct recording r;
    struct replay_space s;
    struct err e = {0};

    (void)state;
    buf_puts(&text, "A,status,mean_ms\n");
    for (int i = 1; i <= 9; i++)
        buf_printf(&text, "%d,ok,0.0%d\n", i, i);
    read_back(&r, buf_text(&text));
    assert_int_equal(replay_open(&s, &r, &e), 0);
    assert_int_equal(s.n, 9);
    assert_int_equal(s.budget, 20);
    assert_float_equal(s.median_us, 50, 1e-9);
    assert_float_equal(s.best_us, 10, 1e-9);
    assert_float_equal(replay_baseline(&s, 1), 40, 1e-9);  /* round(1 * 10 / 2) = 5 */
    assert_float_equal(replay_baseline(&s, 3), 10, 1e-9);  /* round(3 * 10 / 4 = 7.5) = 8 */
    assert_float_equal(replay_baseline(&s, 50), 10, 1e-9); /* 9.8, but 8 at most */
    replay_close(&s);
    recording_free(&r);
    buf_free(&text);
}

static void a_space_without_a_choice_is_refused(void **state)
{
    static const char *const bad[] = {"A,status,mean_ms\n1,ok,1\n2,compile,\n", "A,status,mean_ms\n1,ok,1\n2,ok,1\n",
                                      "A,status,mean_ms\n1,compile,\n"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct recording r;
        struct replay_space s;
        struct err e = {0};
        read_back(&r, bad[i]);
        assert_int_equal(replay_open(&s, &r, &e), -1);
        assert_non_null(strstr(e.text, "nothing to search"));
        recording_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_csv_is_read),
        cmocka_unit_test(gzip_is_read_alike),
        cmocka_unit_test(a_cache_of_kernel_tuner_is_read),
        cmocka_unit_test(t4_is_read),
        cmocka_unit_test(templates_are_tables),
        cmocka_unit_test(what_is_no_recording_is_refused),
        cmocka_unit_test(its_domain_has_these_points_and_no_others),
        cmocka_unit_test(budget_and_baseline_are_those_of_the_formula),
        cmocka_unit_test(a_space_without_a_choice_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
