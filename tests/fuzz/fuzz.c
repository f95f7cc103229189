#include "fuzz.h"

#include <ftw.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* FAULTS.md's bound for one input. The build under sanitizers is several times slower than what users run, and keeps it too. */
#define LIMIT_S 1.0

const struct target fuzz_targets[2] = {{.driver = "cuda",
                                        .language = "cuda",
                                        .name = "Fuzzed",
                                        .arch = "sm_90a",
                                        .compute_capability = 90,
                                        .smem_block_bytes = 232448,
                                        .smem_sm_bytes = 233472,
                                        .regs_block = 65536,
                                        .threads_block = 1024,
                                        .sms = 132,
                                        .l2_bytes = 50 << 20,
                                        .memory_bytes = INT64_C(80) << 30,
                                        .warp = 32},
                                       {.driver = "opencl",
                                        .language = "opencl",
                                        .name = "Fuzzed",
                                        .smem_block_bytes = 32768,
                                        .threads_block = 1024,
                                        .sms = 4,
                                        .is_host_cpu = true}};

void fuzz_broken(const char *file, int line, const char *what)
{
    dprintf(2, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

__attribute__((weak)) void fuzz_begin(void) {}

static double processor_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool begun;
    double start;

    if (!begun) fuzz_begin();
    begun = true;
    start = processor_s();
    fuzz_one(data, n);
    FUZZ_REQUIRE(processor_s() - start < LIMIT_S);
    return 0;
}

void fuzz_quiet(void)
{
    FILE *nowhere = fopen("/dev/null", "w");

    if (!nowhere) abort();
    stdout = stderr = nowhere;
}

/* ---- files ---- */

static char folder[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    if (folder[0]) return folder;
    snprintf(folder, sizeof folder, "%s/fatune_fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder)) abort();
    atexit(remove_folder);
    return folder;
}

const char *fuzz_file(const char *name, const void *bytes, size_t n)
{
    static char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    f = fopen(path, "wb");
    if (!f || (n > 0 && fwrite(bytes, 1, n, f) != n) || fclose(f) != 0) abort();
    return path;
}

/* ---- the input's parts ---- */

const uint8_t *fuzz_split(const uint8_t *data, size_t *n, const char *mark, size_t *rest)
{
    size_t length = strlen(mark);

    for (size_t i = 0; i + length < *n; i++)
        if ((i == 0 || data[i - 1] == '\n') && memcmp(data + i, mark, length) == 0 && data[i + length] == '\n') {
            *rest = *n - i - length - 1;
            *n = i;
            return data + i + length + 1;
        }
    *rest = 0;
    return NULL;
}

unsigned fuzz_byte(struct fuzz_bytes *b)
{
    if (b->n == 0) return 0;
    b->n--;
    return *b->p++;
}
