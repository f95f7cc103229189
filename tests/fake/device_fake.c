/* One rule keeps it honest and fast: outputs are always really computed, but a batch whose kernel, inputs and outputs
 * have not changed since it last ran is not computed again. Every write, fill and run gives a buffer a new version
 * number; a batch remembers the versions it left.
 *
 * Noise is drawn from a stream keyed by the seed and by what was written to the device before the first timed batch:
 * another session draws other inputs and so gets another stream, and the same program run twice gets the same numbers. */
#include "device_fake.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "digest.h"
#include "fake_attention.h"
#include "fake_code.h"
#include "rng.h"

#define L2_BYTES (1 << 20)

/* X(name, default): FATUNE_FAKE_DEVICE="name=value,..." */
#define SETTINGS(X)                                                                                                    \
    X(seed, 1)                                                                                                         \
    X(noise, 0.002)                                                                                                    \
    X(session, 0.001)                                                                                                  \
    X(drift, 0)                                                                                                        \
    X(throttle, 0)                                                                                                     \
    X(modes, 0)                                                                                                        \
    X(bias, 0)                                                                                                         \
    X(spikes, 0.01)                                                                                                    \
    X(launch_us, 20)                                                                                                   \
    X(clock, 0)                                                                                                        \
    X(cpu, 0)                                                                                                          \
    X(devices, 1)                                                                                                      \
    X(sleep, 0)                                                                                                        \
    X(bad_timer, 0)                                                                                                    \
    X(oom, 0)                                                                                                          \
    X(refuse, 0)                                                                                                       \
    X(foreign, 0)                                                                                                      \
    X(lost, 0)

struct settings {
#define X(name, value) double name;
    SETTINGS(X)
#undef X
};

struct device {
    struct settings set;
    bool sticky, lost;
    uint64_t versions, session;
    int64_t bytes, memory_bytes, loads, runs, batches;
    bool noise_ready;
    struct rng noise;
    double ar, session_effect, modelled_s;
    bool throttled;
};

struct device_kernel {
    struct fake_code code;
    struct problem problem;
    struct launch launch;
    float *decode;
    double true_us, bias;
    int64_t runs; /* launches so far */
};

struct device_buffer {
    unsigned char *bytes;
    size_t n;
    uint64_t version;
};

struct device_batch {
    struct device_launch *launches;
    uint64_t *left; /* for each launch: what device and kernel looked like after it was computed; 0: never */
    int n, k;
    double mode;
};

static void settings_read(struct settings *s)
{
    const char *text = getenv("FATUNE_FAKE_DEVICE");
#define X(name, value) s->name = value;
    SETTINGS(X)
#undef X
    if (text == NULL) text = getenv("FATUNE_FAKE");
    while (text != NULL && *text != '\0') {
#define X(name, value)                                                                                                 \
    if (strncmp(text, #name "=", sizeof #name) == 0) s->name = strtod(text + sizeof #name, NULL);
        SETTINGS(X)
#undef X
        text += strcspn(text, ",");
        text += *text == ',';
    }
}

static int fake_enumerate(struct target *out, int max, struct buf *note)
{
    struct settings s;
    int n;
    (void)note;
    settings_read(&s);
    n = (int)s.devices < max ? (int)s.devices : max;
    for (int i = 0; i < n; i++) {
        out[i] = (struct target){.driver = "fake",
                                 .index = i,
                                 .language = "cuda",
                                 .name = "fake accelerator",
                                 .arch = "sm_90",
                                 .driver_version = "1",
                                 .compiler = "fake 1",
                                 .compute_capability = 90,
                                 .smem_block_bytes = 232448,
                                 .smem_sm_bytes = 233472,
                                 .regs_block = 65536,
                                 .threads_block = 1024,
                                 .sms = 132,
                                 .l2_bytes = L2_BYTES,
                                 .memory_bytes = 4ll << 30,
                                 .warp = 32,
                                 .clock_mhz = 1980,
                                 .is_host_cpu = s.cpu > 0};
        snprintf(out[i].uuid, sizeof out[i].uuid, "FAKE-%04.0f-%d", s.seed, i);
    }
    return n;
}

/* A line that holds token, and whose `when` (if any) is true of the macros: compile faults are not markers, so that they
 * work in any comment. */
static bool compile_fault(const char *source, const char *token, const char *entry)
{
    const char *at = strstr(source, token);
    for (; at != NULL; at = strstr(at + 1, token)) {
        struct buf probe = {0};
        struct fake_code code;
        struct err ignored = {0};
        size_t rest = strcspn(at, "\n");
        bool hit;
        const char *body = strstr(source, "\n#line");
        /* the macros, and one marker with this line's own condition */
        buf_add(&probe, source, body != NULL ? (size_t)(body - source) : strlen(source));
        buf_printf(&probe, "\n// fake: unwritten%.*s\n", (int)(rest - strlen(token)), at + strlen(token));
        hit = memmem(at, rest, "when", 4) == NULL || (fake_code_parse(&code, buf_text(&probe), entry, &ignored) == 0 &&
                                                      fake_code_mark(&code, "unwritten") != NULL);
        buf_free(&probe);
        if (hit) return true;
    }
    return false;
}

static enum device_class fake_compile(const struct target *t, const struct device_source *src,
                                      struct device_binary *out, struct err *e)
{
    struct fake_code code;
    struct settings s;
    (void)t;
    settings_read(&s);
    if (compile_fault(src->text, "FAKE_COMPILE_CRASH", src->entry)) abort();
    if (compile_fault(src->text, "FAKE_COMPILE_HANG", src->entry))
        for (;;)
            sleep(60);
    *out = (struct device_binary){.res = {.registers = -1,
                                          .shared_static_bytes = 0,
                                          .stack_bytes = 0,
                                          .spill_store_bytes = 0,
                                          .spill_load_bytes = 0,
                                          .barriers = -1,
                                          .tensor_ops = -1}};
    if (compile_fault(src->text, "FAKE_COMPILE_ERROR", src->entry) ||
        (s.refuse != 0 && strstr(src->entry, "reference") == NULL)) {
        buf_puts(&out->log,
                 "kernel.cu(1): error: FAKE_COMPILE_ERROR\n1 error detected in the compilation of \"kernel.cu\".\n");
        err_set(e, ERR_DEVICE, "compilation failed: error: FAKE_COMPILE_ERROR");
        return DEVICE_FATE;
    }
    if (fake_code_parse(&code, src->text, src->entry, e) != 0) return DEVICE_FATE;
    fake_code_write(&code, &out->image);
    out->res.registers = 32 + (int64_t)(digest_u64(code.digest, 64) % 64);
    if (fake_code_mark(&code, "spill") != NULL)
        out->res.spill_store_bytes = (int64_t)fake_code_mark(&code, "spill")->value;
    snprintf(out->code_digest, sizeof out->code_digest, "%s", code.digest);
    if (buf_check(&out->image, e) != 0) return DEVICE_LOST;
    return DEVICE_OK;
}

double device_fake_true_us(const void *image, size_t n)
{
    struct fake_code code;
    struct problem p;
    struct settings s;
    settings_read(&s);
    if (fake_code_read(&code, image, n, NULL) != 0 || fake_code_problem(&code, &p, NULL) != 0) return -1;
    return fake_code_time_us(&code, &p, (uint64_t)s.seed, s.launch_us, L2_BYTES);
}

static enum device_class alive(const struct device *d, struct err *e)
{
    if (d->lost) {
        err_set(e, ERR_DEVICE, "FAKE_ERROR_DEVICE_LOST: the device has fallen off the bus");
        return DEVICE_LOST;
    }
    if (d->sticky) {
        err_set(e, ERR_DEVICE, "FAKE_ERROR_ILLEGAL_ADDRESS: the context is unusable since an earlier error");
        return DEVICE_STICKY;
    }
    return DEVICE_OK;
}

static enum device_class fake_open(struct device **out, const struct target *t, struct err *e)
{
    struct device *d = calloc(1, sizeof *d);
    if (d == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    settings_read(&d->set);
    d->memory_bytes = t->memory_bytes;
    *out = d;
    return DEVICE_OK;
}

static void fake_close(struct device *d)
{
    free(d);
}

static enum device_class fake_load(struct device *d, const void *image, size_t n, const struct launch *l,
                                   struct device_kernel **out, struct err *e)
{
    struct device_kernel *k;
    enum device_class cls = alive(d, e);
    if (cls != DEVICE_OK) return cls;
    k = calloc(1, sizeof *k);
    if (k == NULL) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    if (fake_code_read(&k->code, image, n, e) != 0) goto fate;
    /* doctor's kernel is empty: it has no macros, and is never launched */
    if (k->code.ndefs > 0 && fake_code_problem(&k->code, &k->problem, e) != 0) goto fate;
    if (d->set.foreign != 0) {
        err_set(e, ERR_DEVICE, "FAKE_ERROR_NO_BINARY_FOR_GPU: the code is of a newer compiler than this driver knows");
        goto fate;
    }
    if (fake_code_mark(&k->code, "bigregs") != NULL) {
        err_set(e, ERR_DEVICE, "FAKE_ERROR_LAUNCH_OUT_OF_RESOURCES: too many registers for a block of this size");
        goto fate;
    }
    k->launch = *l;
    k->decode = malloc(65536 * sizeof *k->decode);
    if (k->decode == NULL) {
        err_nomem(e);
        goto fate;
    }
    for (uint32_t w = 0; w < 65536; w++)
        k->decode[w] = (float)check_decode(k->problem.dtype, (uint16_t)w);
    k->true_us = fake_code_time_us(&k->code, &k->problem, (uint64_t)d->set.seed, d->set.launch_us, L2_BYTES);
    k->bias = d->loads++ % 2 == 1 ? d->set.bias : 0;
    *out = k;
    return DEVICE_OK;
fate:
    free(k->decode);
    free(k);
    return DEVICE_FATE;
}

static void fake_unload(struct device *d, struct device_kernel *k)
{
    (void)d;
    if (k == NULL) return;
    free(k->decode);
    free(k);
}

static enum device_class fake_resources(struct device *d, struct device_kernel *k, struct device_resources *res,
                                        struct err *e)
{
    res->registers = 32 + (int64_t)(digest_u64(k->code.digest, 64) % 64);
    return alive(d, e);
}

static enum device_class fake_alloc(struct device *d, size_t bytes, struct device_buffer **out, struct err *e)
{
    struct device_buffer *b;
    enum device_class cls = alive(d, e);
    if (cls != DEVICE_OK) return cls;
    if (d->set.oom > 0 || d->bytes + (int64_t)bytes > d->memory_bytes) {
        err_set(e, ERR_DEVICE, "FAKE_ERROR_OUT_OF_MEMORY: %zu bytes wanted", bytes);
        return DEVICE_FATE;
    }
    b = calloc(1, sizeof *b);
    if (b != NULL) b->bytes = malloc(bytes > 0 ? bytes : 1);
    if (b == NULL || b->bytes == NULL) {
        free(b);
        err_nomem(e);
        return DEVICE_LOST;
    }
    b->n = bytes;
    b->version = ++d->versions;
    d->bytes += (int64_t)bytes;
    *out = b;
    return DEVICE_OK;
}

static void fake_free(struct device *d, struct device_buffer *b)
{
    if (b == NULL) return;
    d->bytes -= (int64_t)b->n;
    free(b->bytes);
    free(b);
}

static enum device_class within(struct device *d, const struct device_buffer *b, size_t offset, size_t n, struct err *e)
{
    enum device_class cls = alive(d, e);
    if (cls != DEVICE_OK) return cls;
    if (offset <= b->n && n <= b->n - offset) return DEVICE_OK;
    err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_VALUE: bytes %zu to %zu of a buffer of %zu", offset, offset + n, b->n);
    return DEVICE_FATE;
}

static enum device_class fake_write(struct device *d, struct device_buffer *b, size_t offset, const void *src, size_t n,
                                    struct err *e)
{
    enum device_class cls = within(d, b, offset, n, e);
    if (cls != DEVICE_OK) return cls;
    memcpy(b->bytes + offset, src, n);
    b->version = ++d->versions;
    if (!d->noise_ready) {
        uint64_t key[3] = {d->session, digest_u64(src, n < 256 ? n : 256), n};
        d->session = digest_u64(key, sizeof key);
    }
    return DEVICE_OK;
}

static enum device_class fake_read(struct device *d, struct device_buffer *b, size_t offset, void *dst, size_t n,
                                   struct err *e)
{
    enum device_class cls = within(d, b, offset, n, e);
    if (cls == DEVICE_OK) memcpy(dst, b->bytes + offset, n);
    return cls;
}

static enum device_class fake_fill(struct device *d, struct device_buffer *b, size_t offset, size_t n, uint32_t pattern,
                                   struct err *e)
{
    enum device_class cls = within(d, b, offset, n, e);
    if (cls == DEVICE_OK && (offset % 4 != 0 || n % 4 != 0)) {
        err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_VALUE: fill of bytes %zu to %zu is not in steps of 4", offset,
                offset + n);
        cls = DEVICE_FATE;
    }
    if (cls != DEVICE_OK) return cls;
    for (size_t i = 0; i < n; i += 4)
        memcpy(b->bytes + offset + i, &pattern, 4);
    b->version = ++d->versions;
    return DEVICE_OK;
}

static enum device_class fake_same(struct device *d, struct device_buffer *a, struct device_buffer *b, size_t n,
                                   bool *same, struct err *e)
{
    enum device_class cls = within(d, a, 0, n, e);
    if (cls == DEVICE_OK) cls = within(d, b, 0, n, e);
    *same = cls == DEVICE_OK && memcmp(a->bytes, b->bytes, n) == 0;
    return cls;
}

/* The argument with role a, NULL when the kernel has none. */
static const struct device_arg *argument(const struct device_launch *l, enum arg a)
{
    for (int i = 0; i < l->geometry->nargs; i++)
        if (l->geometry->args[i] == a) return &l->args[i];
    return NULL;
}

static void *pointer(const struct device_launch *l, enum arg a)
{
    const struct device_arg *x = argument(l, a);
    return x == NULL ? NULL : x->buffer->bytes + x->offset;
}

/* Every argument must hold its tensor, as an illegal address would show on a real device. */
static enum device_class arguments_fit(struct device *d, const struct device_launch *l, struct err *e)
{
    const struct problem *p = &l->kernel->problem;
    const size_t q = problem_q_elements(p), kv = problem_kv_elements(p);
    const size_t bytes[ARG_N] = {2 * q, 2 * kv, 2 * kv, 2 * q, p->lse ? 4 * problem_rows(p) : 0, 4 * q, 4 * q};
    for (int i = 0; i < l->geometry->nargs; i++) {
        enum arg a = l->geometry->args[i];
        const struct device_arg *x = &l->args[i];
        const struct tensor_map *m = &l->geometry->maps[i];
        if (m->columns > 0 && (size_t)(2 * m->columns * m->rows * m->planes) != bytes[a]) {
            err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_VALUE: the tensor map of %s is not the tensor's", arg_name(a));
            return DEVICE_FATE;
        }
        if (x->buffer != NULL && x->offset % 16 == 0 && x->offset <= x->buffer->n &&
            bytes[a] <= x->buffer->n - x->offset)
            continue;
        d->sticky = true;
        err_set(e, ERR_DEVICE, "FAKE_ERROR_ILLEGAL_ADDRESS: argument %s is missing, too small or misaligned",
                arg_name(a));
        return DEVICE_STICKY;
    }
    return DEVICE_OK;
}

/* Faults that strike before anything is computed. */
static enum device_class faults_of_run(struct device *d, const struct fake_code *code, struct err *e)
{
    const struct fake_mark *m;
    if (fake_code_mark(code, "flood") != NULL)
        for (int i = 0; i < 20000; i++)
            fputs("fake: printf from the device, as kernels left in debug do\n", stderr);
    if (fake_code_mark(code, "segv") != NULL) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    if ((m = fake_code_mark(code, "hang")) != NULL) sleep(m->given ? (unsigned)m->value : 60u);
    if (fake_code_mark(code, "lost") != NULL || (d->set.lost > 0 && (double)d->runs >= d->set.lost)) d->lost = true;
    if (fake_code_mark(code, "sticky") != NULL) d->sticky = true;
    if (fake_code_mark(code, "launch") != NULL && !d->lost && !d->sticky) {
        err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_VALUE: the launch was refused");
        return DEVICE_FATE;
    }
    return alive(d, e);
}

static bool late(const struct device_kernel *k)
{
    const struct fake_mark *m = fake_code_mark(&k->code, "latewrong");
    return m != NULL && (double)k->runs > (m->given ? m->value : 1000);
}

/* A rounded output, and what the value markers make of it. old: what lay there. */
static void spoil(const struct device_kernel *k, uint16_t *o, const uint16_t *old)
{
    const struct problem *p = &k->problem;
    const struct fake_code *c = &k->code;
    size_t n = problem_q_elements(p), dim = (size_t)p->head_dim, seq = (size_t)p->seq_q, victim = n / 3;
    const struct fake_mark *m;
    if ((m = fake_code_mark(c, "stalerow")) != NULL && m->value >= 1 && m->value < (double)seq)
        for (size_t plane = 0; plane < n / (dim * seq); plane++) {
            uint16_t *row = o + (plane * seq + (size_t)m->value) * dim;
            memcpy(row, row - dim, dim * sizeof *o);
        }
    if ((m = fake_code_mark(c, "tail")) != NULL && m->value >= 1)
        for (size_t i = 0; i < n; i++)
            if (i / dim % seq >= seq - seq % (size_t)m->value)
                o[i] = check_encode(p->dtype, (double)k->decode[o[i]] * 0.5 + 1);
    if ((m = fake_code_mark(c, "column")) != NULL)
        for (size_t i = (size_t)m->value; i < n; i += dim)
            o[i] = check_encode(p->dtype, (double)k->decode[o[i]] + 1);
    if (fake_code_mark(c, "wrong") != NULL || late(k))
        o[victim] = check_encode(p->dtype, (double)k->decode[o[victim]] + 1);
    if ((m = fake_code_mark(c, "nondet")) != NULL && (double)k->runs >= (m->given ? m->value : 0))
        o[victim] = (uint16_t)(o[victim] ^ (k->runs % 61));
    if (fake_code_mark(c, "unwritten") != NULL) memcpy(o + n / 2, old + n / 2, (n - n / 2) * sizeof *o);
    if (fake_code_mark(c, "readold") != NULL)
        o[victim] = check_encode(p->dtype, (double)k->decode[o[victim]] + 0.0 * (double)k->decode[old[victim]]);
}

static void touched(struct device *d, const struct device_launch *l, enum arg a)
{
    const struct device_arg *x = argument(l, a);
    if (x != NULL) x->buffer->version = ++d->versions;
}

/* Writes outside the tensors that the markers ask for, where the buffer has room. */
static void trespass(struct device *d, const struct device_launch *l)
{
    const struct fake_code *c = &l->kernel->code;
    const struct device_arg *o = argument(l, ARG_O), *key = argument(l, ARG_K);
    if (fake_code_mark(c, "corrupt") != NULL && o != NULL) {
        size_t end = o->offset + 2 * problem_q_elements(&l->kernel->problem);
        if (end + 2 <= o->buffer->n) memset(o->buffer->bytes + end, 0x11, 2);
    }
    if (fake_code_mark(c, "input") != NULL && key != NULL) {
        key->buffer->bytes[key->offset] ^= 1;
        touched(d, l, ARG_K);
    }
}

/* Weights in float, or rounded to the dtype, into freshly allocated values; NULL when out of memory. */
static float *attend(const struct device_kernel *k, const struct device_launch *l, bool low, float *lse)
{
    const struct fake_mark *scale = fake_code_mark(&k->code, "scale");
    struct fake_attention how = {.subtract_maximum = fake_code_mark(&k->code, "nomax") == NULL,
                                 .round_weights = low || fake_code_mark(&k->code, "roundp") != NULL,
                                 .scale = k->problem.scale};
    size_t n = problem_q_elements(&k->problem);
    float *o = malloc(n * sizeof *o);
    if (o == NULL) return NULL;
    if (fake_attention(&k->problem, &how, pointer(l, ARG_Q), pointer(l, ARG_K), pointer(l, ARG_V), k->decode, o, lse) !=
        0) {
        free(o);
        return NULL;
    }
    for (size_t i = 0; i < n && scale != NULL; i++)
        o[i] *= (float)scale->value;
    return o;
}

static int compute(struct device *d, const struct device_launch *l)
{
    const struct device_kernel *k = l->kernel;
    size_t n = problem_q_elements(&k->problem), rows = problem_rows(&k->problem);
    float *lse = malloc(rows * sizeof *lse), *o = NULL, *low = NULL;
    uint16_t *words = malloc(n * sizeof *words), *to = pointer(l, ARG_O);
    int rc = -1;
    if (lse == NULL || words == NULL) goto out;
    if (argument(l, ARG_REF_LOW) != NULL) {
        if ((low = attend(k, l, true, lse)) == NULL) goto out;
        for (size_t i = 0; i < n; i++)
            ((float *)pointer(l, ARG_REF_LOW))[i] = k->decode[check_encode(k->problem.dtype, (double)low[i])];
    }
    if (fake_code_is_ceiling(&k->code)) { /* whatever it computes, its input decides it */
        memcpy(to, pointer(l, ARG_Q), n * sizeof *to);
        touched(d, l, ARG_O);
        rc = 0;
        goto out;
    }
    if ((o = attend(k, l, false, lse)) == NULL) goto out;
    if (fake_code_mark(&k->code, "nan") != NULL) o[n / 3] = NAN; /* a reference's too */
    if (argument(l, ARG_REF_O) != NULL) memcpy(pointer(l, ARG_REF_O), o, n * sizeof *o);
    if (to != NULL) {
        for (size_t i = 0; i < n; i++)
            words[i] = check_encode(k->problem.dtype, (double)o[i]);
        spoil(k, words, to);
        memcpy(to, words, n * sizeof *words);
    }
    if (fake_code_mark(&k->code, "badlse") != NULL) lse[rows / 2] += 0.01f;
    if (k->problem.lse && argument(l, ARG_LSE) != NULL) memcpy(pointer(l, ARG_LSE), lse, rows * sizeof *lse);
    trespass(d, l);
    for (enum arg a = ARG_O; a <= ARG_REF_LOW; a++)
        touched(d, l, a);
    rc = 0;
out:
    free(lse);
    free(o);
    free(low);
    free(words);
    return rc;
}

/* times launches in a row; *left as in struct device_batch, NULL: always compute. */
static enum device_class execute(struct device *d, const struct device_launch *l, int64_t times, uint64_t *left,
                                 struct err *e)
{
    struct device_kernel *k = (struct device_kernel *)l->kernel; /* counts its launches */
    uint64_t key[LAUNCH_ARGS + 1] = {0};
    enum device_class cls = alive(d, e);
    if (cls == DEVICE_OK) cls = faults_of_run(d, &k->code, e);
    if (cls == DEVICE_OK) cls = arguments_fit(d, l, e);
    if (cls != DEVICE_OK) return cls;
    d->runs += times;
    k->runs += times;
    for (int i = 0; i < l->geometry->nargs; i++)
        key[i] = l->args[i].buffer->version;
    key[LAUNCH_ARGS] = fake_code_mark(&k->code, "nondet") != NULL ? (uint64_t)k->runs + 2 : late(k) ? 2 : 1;
    if (left != NULL && *left == digest_u64(key, sizeof key)) return DEVICE_OK;
    if (compute(d, l) != 0) {
        err_nomem(e);
        return DEVICE_LOST;
    }
    for (int i = 0; i < l->geometry->nargs; i++)
        key[i] = l->args[i].buffer->version;
    if (left != NULL) *left = digest_u64(key, sizeof key);
    return DEVICE_OK;
}

static enum device_class fake_run(struct device *d, const struct device_launch *l, struct err *e)
{
    return execute(d, l, 1, NULL, e);
}

static void noise_start(struct device *d)
{
    if (d->noise_ready) return;
    d->noise_ready = true;
    rng_init(&d->noise, (uint64_t)d->set.seed ^ d->session, "fake:noise");
    d->session_effect = d->set.session * rng_normal(&d->noise);
}

static void fake_batch_close(struct device *d, struct device_batch *b)
{
    (void)d;
    if (b == NULL) return;
    free(b->launches);
    free(b->left);
    free(b);
}

static enum device_class fake_batch_open(struct device *d, const struct device_launch *launches, int n, int k,
                                         struct device_batch **out, struct err *e)
{
    struct device_batch *b;
    enum device_class cls = alive(d, e);
    if (cls != DEVICE_OK) return cls;
    if (n < 1 || k < 1) {
        err_set(e, ERR_BUG, "a batch of %d launches over %d argument sets", k, n);
        return DEVICE_FATE;
    }
    b = calloc(1, sizeof *b);
    if (b != NULL) {
        b->launches = calloc((size_t)n, sizeof *b->launches);
        b->left = calloc((size_t)n, sizeof *b->left);
    }
    if (b == NULL || b->launches == NULL || b->left == NULL) {
        fake_batch_close(d, b);
        err_nomem(e);
        return DEVICE_LOST;
    }
    memcpy(b->launches, launches, (size_t)n * sizeof *launches);
    b->n = n;
    b->k = k;
    noise_start(d);
    /* the session's effect on this kernel, and which of two modes it fell into */
    b->mode = 0.5 * d->set.session * rng_normal(&d->noise) + (rng_uniform(&d->noise) < d->set.modes ? log(1.03) : 0);
    *out = b;
    return DEVICE_OK;
}

/* One sample's factor on the true time. */
static double noise(struct device *d, const struct device_batch *b)
{
    const double phi = 0.7;
    double log_factor;
    d->ar = phi * d->ar + sqrt(1 - phi * phi) * d->set.noise * rng_normal(&d->noise);
    log_factor = d->session_effect + b->mode + d->ar + 0.5 * d->set.noise * rng_normal(&d->noise);
    log_factor += d->set.drift * d->modelled_s;
    if (rng_uniform(&d->noise) < d->set.spikes) log_factor += 0.05 + 0.25 * rng_uniform(&d->noise);
    if (d->batches % 64 == 0) d->throttled = rng_uniform(&d->noise) < d->set.throttle;
    return exp(log_factor) * (d->throttled ? 1.15 : 1);
}

static enum device_class fake_batch_run(struct device *d, struct device_batch *b, double *elapsed_us, double *mhz,
                                        struct err *e)
{
    static const double bad[] = {0, -1, (double)NAN, (double)INFINITY};
    const struct device_kernel *k = b->launches[0].kernel;
    const struct fake_mark *slow = fake_code_mark(&k->code, "clock");
    for (int i = 0; i < b->n && i < b->k; i++) {
        enum device_class cls = execute(d, &b->launches[i], b->k / b->n + (i < b->k % b->n), &b->left[i], e);
        if (cls != DEVICE_OK) return cls;
    }
    d->batches++;
    *elapsed_us = (double)b->k * k->true_us * (1 + k->bias) * noise(d, b);
    d->modelled_s += *elapsed_us * 1e-6;
    if (mhz) *mhz = d->set.clock / (d->throttled ? 1.15 : 1) * (slow ? slow->value : 1);
    if (d->set.sleep > 0) usleep((useconds_t)*elapsed_us);
    if (d->set.bad_timer > 0 && d->batches % (int64_t)d->set.bad_timer == 0)
        *elapsed_us = bad[d->batches / (int64_t)d->set.bad_timer % 4];
    return DEVICE_OK;
}

static enum device_class fake_canary(struct device *d, struct err *e)
{
    return alive(d, e);
}

const struct device_driver device_fake = {.name = "fake",
                                          .language = "cuda",
                                          .enumerate = fake_enumerate,
                                          .arch_target = NULL,
                                          .compile = fake_compile,
                                          .open = fake_open,
                                          .close = fake_close,
                                          .load = fake_load,
                                          .unload = fake_unload,
                                          .resources = fake_resources,
                                          .alloc = fake_alloc,
                                          .free = fake_free,
                                          .write = fake_write,
                                          .read = fake_read,
                                          .fill = fake_fill,
                                          .same = fake_same,
                                          .run = fake_run,
                                          .batch_open = fake_batch_open,
                                          .batch_run = fake_batch_run,
                                          .batch_close = fake_batch_close,
                                          .canary = fake_canary};
