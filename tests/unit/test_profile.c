/* The table of Nsight Compute: what is read of it, what is not known, and what is not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "profile.h"

#define HEAD "\"ID\",\"Process ID\",\"Kernel Name\",\"Grid Size\""
#define UNITS "\"\",\"\",\"\",\"\""
#define ROW "\"0\",\"77\",\"attention_forward(const unsigned short *)\",\"(8, 8, 2)\""
#define TENSOR ",\"sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active\""
#define DURATION ",\"gpu__time_duration.sum\""
#define STALL(reason) ",\"smsp__average_warps_issue_stalled_" reason "_per_issue_active.ratio\""

static struct profile_result read_log(int code, const char *log)
{
    struct profile_result r;
    json_t *eval = json_pack("{s:s,s:s}", "fate", "OK", "binary", "abc");

    profile_read(&r, code, log, "", eval, "attention_forward", "abc");
    json_decref(eval);
    assert_int_equal(r.run, *r.why == '\0');
    return r;
}

static void values(void **state)
{
    struct profile_result r = read_log(0, "==PROF== Connected to process 1\n" HEAD TENSOR DURATION "\r\n" UNITS
                                          ",\"%\",\"nsecond\"\r\n" ROW ",\"41.25\",\"1,234,567\"\r\n");

    (void)state;
    assert_true(r.run);
    assert_true(fabs(r.value[PROFILE_TENSOR] - 41.25) < 1e-12);
    assert_true(fabs(r.value[PROFILE_DURATION] - 1234.567) < 1e-9);
    for (int k = 0; k < PROFILE_METRIC_N; k++)
        if (k != PROFILE_TENSOR && k != PROFILE_DURATION) assert_true(isnan(r.value[k]));
}

/* A cell without a number, a unit that is none of ours, a number with something behind it: not known, never 0. */
static void not_known(void **state)
{
    static const char *const cells[][2] = {{"%", "n/a"},  {"%", ""},    {"%", "nan"},
                                           {"inst", "5"}, {"%", "5 %"}, {"%", "1e999"}};

    (void)state;
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        char log[1024];
        struct profile_result r;
        snprintf(log, sizeof log, HEAD TENSOR "\n" UNITS ",\"%s\"\n" ROW ",\"%s\"\n", cells[i][0], cells[i][1]);
        r = read_log(0, log);
        assert_true(r.run);
        assert_true(isnan(r.value[PROFILE_TENSOR]));
    }
}

static void stalls(void **state)
{
    struct profile_result r = read_log(0, HEAD STALL("wait") STALL("selected") STALL("long_scoreboard") STALL("gmma")
                                              STALL("") "\n" UNITS ",\"inst\",\"inst\",\"inst\",\"inst\",\"inst\"\n" ROW
                                                        ",\"0.5\",\"9\",\"2\",\"n/a\",\"3\"\n");

    (void)state;
    assert_true(r.run);
    assert_int_equal(r.nstalls, 2);
    assert_string_equal(r.stall[0].reason, "long_scoreboard");
    assert_true(fabs(r.stall[0].warps - 2) < 1e-12);
    assert_string_equal(r.stall[1].reason, "wait");
}

/* No prefix of a good log is a table. */
static void prefixes(void **state)
{
    static const char log[] = "==PROF== Profiling\n" HEAD TENSOR "\n" UNITS ",\"%\"\n" ROW ",\"41.25\"\n";
    char part[sizeof log];
    int good = 0;

    (void)state;
    for (size_t n = 0; n < sizeof log; n++) {
        struct profile_result r;
        memcpy(part, log, n);
        part[n] = '\0';
        r = read_log(0, part);
        if (!r.run) continue;
        good++;
        assert_true(fabs(r.value[PROFILE_TENSOR] - 41.25) < 1e-12);
    }
    assert_int_equal(good, 1); /* the whole */
}

static void quotes(void **state)
{
    struct profile_result r =
        read_log(0, HEAD TENSOR "\n" UNITS ",\"%\"\n0,77,\"attention_forward(\"\"a\"\",b)\",,7\n");

    (void)state;
    assert_false(r.run); /* a row begins with a quote */
    r = read_log(0, HEAD TENSOR "\n" UNITS ",\"%\"\n\"0\",77,\"attention_forward(\"\"a\"\",b)\",,7\n");
    assert_true(r.run);
    assert_true(fabs(r.value[PROFILE_TENSOR] - 7) < 1e-12);
}

static void not_run(void **state)
{
    static const struct {
        int code;
        const char *log, *why;
    } cases[] = {
        {1, "==ERROR== ERR_NVGPUCTRPERM - The user does not\n", "NVreg_RestrictProfilingToAdminUsers=0"},
        {-1, "", "--minutes"},
        {0, "==ERROR== Cuda driver is not compatible\nmore\n", "it says: Cuda driver is not compatible"},
        {0, "==WARNING== No kernels were profiled.\n", "not seen"},
        {0, "", "no table"},
        {0, "\"a\",\"b\"\n", "no table"},
        {0, HEAD "\n", "cut off"},
        {0, HEAD "\n" UNITS "\n", "cut off"},
        {0, HEAD "\n" UNITS "\n\"0\",\"77\"\n", "cut off"},
        {0, HEAD "\n" UNITS "\n\"0\",\"77\",\"attention_forwards(int)\",\"\"\n", "attention_forwards"},
        {0, HEAD "\n" UNITS "\n\"0\",\"77\",\"attention\",\"\"\n", "not seen"},
        {3, HEAD "\n" UNITS "\n" ROW "\n", "did not end"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct profile_result r = read_log(cases[i].code, cases[i].log);
        if (r.run || !strstr(r.why, cases[i].why)) print_error("case %zu: %s\n", i, r.why);
        assert_false(r.run);
        assert_non_null(strstr(r.why, cases[i].why));
    }
}

/* What `fatune eval` says under the tool decides too. */
static void eval_decides(void **state)
{
    static const char log[] = HEAD "\n" UNITS "\n" ROW "\n";
    struct profile_result r;
    json_t *wrong = json_pack("{s:s,s:s}", "fate", "WRONG", "binary", "abc");
    json_t *other = json_pack("{s:s,s:s}", "fate", "OK", "binary", "xyz");

    (void)state;
    profile_read(&r, 0, log, "", NULL, "attention_forward", NULL);
    assert_non_null(strstr(r.why, "gave no answer"));
    profile_read(&r, 0, log, "", wrong, "attention_forward", NULL);
    assert_non_null(strstr(r.why, "WRONG"));
    profile_read(&r, 0, log, "", other, "attention_forward", "abc");
    assert_non_null(strstr(r.why, "other code"));
    profile_read(&r, 0, log, "", other, "attention_forward", NULL);
    assert_true(r.run);
    /* So does what it printed beside its log: that the application failed says least. */
    profile_read(&r, 1,
                 "==ERROR== The application returned an error code (1).\n==WARNING== No kernels were profiled.\n",
                 "==ERROR== Nsight Compute failed to connect to the CUDA driver.\n", NULL, "attention_forward", NULL);
    assert_string_equal(r.why, "it says: Nsight Compute failed to connect to the CUDA driver.");
    profile_read(&r, 1, "==ERROR== The application returned an error code (1).\n", "", NULL, "attention_forward", NULL);
    assert_string_equal(r.why, "it says: The application returned an error code (1).");
    json_decref(wrong);
    json_decref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),       cmocka_unit_test(not_known), cmocka_unit_test(stalls),
        cmocka_unit_test(prefixes),     cmocka_unit_test(quotes),    cmocka_unit_test(not_run),
        cmocka_unit_test(eval_decides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
