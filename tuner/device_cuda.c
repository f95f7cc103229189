/* The CUDA driver API behind device.h: the device's primary context, one non-blocking stream, eager module loading.
 *
 * Invariants: every call into the stream is followed by a wait before its result is used, so an asynchronous error is
 * reported by the call that caused it; after the first STICKY or LOST answer the driver is not called again, because a
 * poisoned context may block (the worker ends and the kernel cleans up); a time is read only when the stream says that
 * nothing failed.
 *
 * A batch is a graph: k kernel nodes in a chain, captured from the stream (which keeps cluster launches in one place).
 * In front of it runs a lead-in kernel that waits some tens of microseconds, so that the host has handed over the graph
 * before the first event is recorded; otherwise the first event's time would include the host's share of the launch.
 *
 * The clock of a batch: a kernel in front of the first event and one behind the last read, on each multiprocessor, its cycle counter
 * and the device's timer (as nvbench does on one of them); the cycles that passed by the time that passed, of the multiprocessor that
 * counted most. The lead-in is not between them: it leaves the device idle, whose clock is another. On an H200 attention in launches of
 * 5 us runs at 1770 MHz where an idle device, and NVML all the time, says 1980. What stands between the events is not touched, and where the stamps
 * do not work the clock is unknown. */
#include "device_cuda.h"

#ifdef HAVE_CUDA

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_api.h"
#include "cuda_arch.h"
#include "cuda_code.h"
#include "device_cuda_ptx.h"

enum { CANARY_BLOCKS = 512, CANARY_THREADS = 64, CANARY_WORDS = CANARY_BLOCKS * CANARY_THREADS };
static const uint32_t canary_factor = 0x9E3779B1u;

enum { SAME_BLOCKS = 512, SAME_THREADS = 256 };

struct stamp {
    uint64_t cycles, ns;
};

struct device {
    struct cuda_api api;
    CUdevice handle;
    CUcontext context;
    CUstream stream;
    CUmodule own;
    CUfunction canary, lead, same;
    CUmodule stamping;
    CUfunction stamp;     /* NULL: the clock is unknown */
    CUdeviceptr stamp_at; /* of all multiprocessors before, then after */
    struct stamp *stamps; /* their host copy, page-locked */
    uint64_t stamped_ns;  /* when the last one was put */
    uint64_t tick_ns;     /* of the timer, or a multiple; 0: no reading yet */
    uint32_t slots;       /* multiprocessors */
    CUdeviceptr canary_out, same_out;
    uint32_t *canary_words; /* host copy */
    uint32_t canary_seed;
    bool dead; /* a STICKY or LOST answer was seen */
};

struct device_kernel {
    CUmodule module;
    CUfunction function;
};

struct device_buffer {
    CUdeviceptr address;
    size_t bytes;
};

struct device_batch {
    CUgraphExec exec;
    CUevent start, stop;
    uint64_t lead_ns;
};

/* ---- errors ---- */

static enum device_class answer(struct device *d, CUresult r, const char *what, struct err *e)
{
    if (r == CUDA_SUCCESS) return DEVICE_OK;
    enum device_class class = cuda_api_fail(&d->api, r, what, e);
    if (class == DEVICE_STICKY || class == DEVICE_LOST) d->dead = true;
    return class;
}

static enum device_class refuse(struct err *e, const char *what)
{
    err_set(e, ERR_DEVICE, "%s", what);
    return DEVICE_FATE;
}

static enum device_class nomem(struct err *e)
{
    err_nomem(e);
    return DEVICE_LOST;
}

static bool alive(const struct device *d, struct err *e)
{
    if (!d->dead) return true;
    err_set(e, ERR_DEVICE, "the device context failed before and must not be used again; replace the worker");
    return false;
}

#define DO(call, what)                                                                                                 \
    do {                                                                                                               \
        class = answer(d, (call), what, e);                                                                            \
        if (class != DEVICE_OK) goto out;                                                                              \
    } while (0)

static enum device_class wait_stream(struct device *d, const char *what, struct err *e)
{
    return answer(d, d->api.stream_synchronize(d->stream), what, e);
}

/* ---- open and close ---- */

static int find_device(struct device *d, const struct target *t, struct err *e)
{
    if (t->index < 0 && !t->uuid[0])
        return err_set(e, ERR_DEVICE, "%s names an architecture, not a device; see `fatune devices`", t->arch);
    if (!t->uuid[0]) {
        if (d->api.device_get(&d->handle, t->index) == CUDA_SUCCESS) return 0;
        return err_set(e, ERR_DEVICE, "there is no CUDA device %d; see `fatune devices`", t->index);
    }
    /* By identity, since numbers change with CUDA_VISIBLE_DEVICES. */
    int count = 0;
    if (d->api.device_count(&count) != CUDA_SUCCESS) count = 0;
    for (int i = 0; i < count; i++) {
        char uuid[DEVICE_CUDA_UUID];
        if (d->api.device_get(&d->handle, i) == CUDA_SUCCESS && device_cuda_uuid(&d->api, d->handle, uuid) &&
            strcmp(uuid, t->uuid) == 0)
            return 0;
    }
    return err_set(e, ERR_DEVICE, "%s (%s) is not visible to this process; check CUDA_VISIBLE_DEVICES", t->name,
                   t->uuid);
}

static enum device_class launch_own(struct device *d, CUfunction f, unsigned blocks, unsigned threads, void **params,
                                    const char *what, struct err *e)
{
    CUlaunchConfig config = {.gridDimX = blocks,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = threads,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .hStream = d->stream};
    return answer(d, d->api.launch(&config, f, params, NULL), what, e);
}

static enum device_class cuda_canary(struct device *d, struct err *e)
{
    enum device_class class;
    if (!alive(d, e)) return DEVICE_STICKY;
    uint32_t seed = ++d->canary_seed * 0x85EBCA6Bu;
    void *params[] = {&d->canary_out, &seed};
    DO(d->api.set_u32(d->canary_out, ~seed, CANARY_WORDS, d->stream), "canary: clear");
    class = launch_own(d, d->canary, CANARY_BLOCKS, CANARY_THREADS, params, "canary: launch", e);
    if (class != DEVICE_OK) goto out;
    DO(d->api.copy_out(d->canary_words, d->canary_out, CANARY_WORDS * sizeof(uint32_t), d->stream), "canary: read");
    DO(d->api.stream_synchronize(d->stream), "canary");
    for (uint32_t i = 0; i < CANARY_WORDS; i++)
        if (d->canary_words[i] != i * canary_factor + seed) {
            err_set(e, ERR_DEVICE, "canary: word %u is %08x, not %08x: the context is corrupt; replace the worker", i,
                    d->canary_words[i], i * canary_factor + seed);
            d->dead = true;
            return DEVICE_STICKY;
        }
out:
    /* Nothing of a candidate is in the canary: what a launch would blame on it is the context's fault here. */
    if (class == DEVICE_FATE) {
        d->dead = true;
        class = DEVICE_STICKY;
    }
    return class;
}

static void cuda_close(struct device *d)
{
    if (!d) return;
    if (!d->dead) {
        if (d->canary_out) d->api.mem_free(d->canary_out);
        if (d->same_out) d->api.mem_free(d->same_out);
        if (d->stamp_at) d->api.mem_free(d->stamp_at);
        if (d->stamps) d->api.host_free(d->stamps);
        if (d->stamping) d->api.module_unload(d->stamping);
        if (d->own) d->api.module_unload(d->own);
        if (d->stream) d->api.stream_destroy(d->stream);
        if (d->context) d->api.primary_release(d->handle);
    }
    free(d->canary_words);
    free(d);
}

static size_t stamps_bytes(const struct device *d)
{
    return 2 * (size_t)d->slots * sizeof *d->stamps;
}

/* Without them there is no clock, and nothing else is missing. */
static void open_stamps(struct device *d)
{
    int sms = 0;
    void *p = NULL;
    if (d->api.module_load(&d->stamping, device_cuda_stamp_ptx) != CUDA_SUCCESS) {
        d->stamping = NULL;
        return;
    }
    if (d->api.device_attribute(&sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, d->handle) != CUDA_SUCCESS || sms < 1)
        return;
    d->slots = (uint32_t)sms;
    if (d->api.host_alloc(&p, stamps_bytes(d), 0) != CUDA_SUCCESS) return;
    d->stamps = p;
    if (d->api.mem_alloc(&d->stamp_at, stamps_bytes(d)) != CUDA_SUCCESS ||
        d->api.set_u32(d->stamp_at, 0, stamps_bytes(d) / 4, d->stream) != CUDA_SUCCESS)
        return;
    if (d->api.module_function(&d->stamp, d->stamping, "fatune_stamp") != CUDA_SUCCESS) d->stamp = NULL;
}

static enum device_class cuda_open(struct device **out, const struct target *t, struct err *e)
{
    enum device_class class = DEVICE_LOST;
    struct device *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return nomem(e);
    d->canary_words = calloc(CANARY_WORDS, sizeof *d->canary_words);
    if (!d->canary_words) {
        err_nomem(e);
        goto out;
    }
    if (cuda_api_open(&d->api, e) != 0 || find_device(d, t, e) != 0) goto out;
    DO(d->api.primary_retain(&d->context, d->handle), "opening the device's context");
    DO(d->api.ctx_set_current(d->context), "opening the device's context");
    DO(d->api.stream_create(&d->stream, CU_STREAM_NON_BLOCKING), "creating a stream");
    DO(d->api.module_load(&d->own, device_cuda_own_ptx), "loading fatune's own kernels");
    DO(d->api.module_function(&d->canary, d->own, "fatune_canary"), "loading fatune's own kernels");
    DO(d->api.module_function(&d->lead, d->own, "fatune_lead"), "loading fatune's own kernels");
    DO(d->api.module_function(&d->same, d->own, "fatune_same"), "loading fatune's own kernels");
    DO(d->api.mem_alloc(&d->canary_out, CANARY_WORDS * sizeof(uint32_t)), "device memory for the canary");
    DO(d->api.mem_alloc(&d->same_out, sizeof(uint64_t)), "device memory for comparisons");
    open_stamps(d);
    class = cuda_canary(d, e);
out:
    if (class == DEVICE_OK) {
        *out = d;
        return DEVICE_OK;
    }
    cuda_close(d);
    return DEVICE_LOST; /* no candidate has run: whatever it was, it is the machine's */
}

/* ---- kernels ---- */

/* What the driver would wrap around, or refuse without saying why. */
static enum device_class check_launch(const struct launch *g, struct err *e)
{
    int64_t blocks = 1;
    for (int i = 0; i < 3; i++)
        if (g->grid[i] < 1 || g->grid[i] > INT_MAX || g->block[i] < 1 || g->block[i] > 1024)
            return refuse(e, "the launch has a grid or block dimension outside 1..2^31-1 or 1..1024");
    if (g->shared_bytes < 0 || g->shared_bytes > INT_MAX) return refuse(e, "dynamic shared memory out of range");
    if (g->nargs < 0 || g->nargs > LAUNCH_ARGS) return refuse(e, "too many kernel arguments");
    for (int i = 0; i < 3 && g->cluster[0] != 0; i++) {
        if (g->cluster[i] < 1 || g->cluster[i] > LAUNCH_CLUSTER || (blocks *= g->cluster[i]) > LAUNCH_CLUSTER)
            return refuse(e, "the launch has a cluster of more than 8 blocks, or of none; take 1 to 8");
        if (g->grid[i] % g->cluster[i] != 0)
            return refuse(e, "the cluster does not divide the grid; take a divisor or a larger grid");
    }
    return DEVICE_OK;
}

/* cluster: the caller's, as long as the configuration is used. */
static CUlaunchConfig configuration(const struct device *d, const struct launch *g, CUlaunchAttribute *cluster)
{
    CUlaunchConfig config = {.gridDimX = (unsigned)g->grid[0],
                             .gridDimY = (unsigned)g->grid[1],
                             .gridDimZ = (unsigned)g->grid[2],
                             .blockDimX = (unsigned)g->block[0],
                             .blockDimY = (unsigned)g->block[1],
                             .blockDimZ = (unsigned)g->block[2],
                             .sharedMemBytes = (unsigned)g->shared_bytes,
                             .hStream = d->stream};
    if (g->cluster[0] > 0) {
        *cluster = (CUlaunchAttribute){.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION};
        cluster->value.clusterDim.x = (unsigned)g->cluster[0];
        cluster->value.clusterDim.y = (unsigned)g->cluster[1];
        cluster->value.clusterDim.z = (unsigned)g->cluster[2];
        config.attrs = cluster;
        config.numAttrs = 1;
    }
    return config;
}

/* Blocks of a cluster run at the same time on neighbouring multiprocessors: has the device room for one? */
static enum device_class cluster_has_room(struct device *d, const struct device_kernel *k, const struct launch *g,
                                          struct err *e)
{
    CUlaunchAttribute cluster;
    CUlaunchConfig config = configuration(d, g, &cluster);
    enum device_class class;
    int clusters = 0;
    DO(d->api.clusters(&clusters, k->function, &config), "asking for a cluster");
    if (clusters == 0)
        return refuse(
            e, "the device has no room for one cluster of such blocks; take smaller blocks or a smaller cluster");
out:
    return class;
}

/* Lets the function use the shared memory and the cluster that its launch asks for. */
static enum device_class prepare(struct device *d, struct device_kernel *k, const struct launch *l, struct err *e)
{
    enum device_class class = check_launch(l, e);
    if (class == DEVICE_OK && l->shared_bytes > 0) {
        char what[96];
        snprintf(what, sizeof what, "asking for %lld bytes of dynamic shared memory", (long long)l->shared_bytes);
        DO(d->api.function_set(k->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)l->shared_bytes),
           what);
        DO(d->api.function_set(k->function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                               CU_SHAREDMEM_CARVEOUT_MAX_SHARED),
           "asking for the largest shared memory carve-out");
    }
    if (class == DEVICE_OK && l->cluster[0] > 0) class = cluster_has_room(d, k, l, e);
out:
    return class;
}

static void cuda_unload(struct device *d, struct device_kernel *k)
{
    if (!k) return;
    if (!d->dead && k->module) d->api.module_unload(k->module);
    free(k);
}

static enum device_class cuda_load(struct device *d, const void *image, size_t n, const struct launch *l,
                                   struct device_kernel **out, struct err *e)
{
    enum device_class class;
    char what[128];
    *out = NULL;
    if (!alive(d, e)) return DEVICE_STICKY;
    /* The driver is told no size: a truncated image would make it read past the end. */
    if (!cuda_code_image_ok(image, n)) return refuse(e, "the binary is no complete cubin; clear the binary cache");
    struct device_kernel *k = calloc(1, sizeof *k);
    if (!k) return nomem(e);
    DO(d->api.module_load(&k->module, image), "loading the kernel");
    snprintf(what, sizeof what, "finding kernel '%s'", l->entry);
    DO(d->api.module_function(&k->function, k->module, l->entry), what);
    class = prepare(d, k, l, e);
out:
    if (class == DEVICE_OK)
        *out = k;
    else
        cuda_unload(d, k);
    return class;
}

static enum device_class cuda_resources(struct device *d, struct device_kernel *k, struct device_resources *res,
                                        struct err *e)
{
    enum device_class class;
    int registers, shared, local;
    if (!alive(d, e)) return DEVICE_STICKY;
    DO(d->api.function_get(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, k->function), "reading the kernel's registers");
    DO(d->api.function_get(&shared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, k->function),
       "reading the kernel's shared memory");
    DO(d->api.function_get(&local, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, k->function),
       "reading the kernel's local memory");
    res->registers = registers;
    res->shared_static_bytes = shared;
    res->stack_bytes = local;
out:
    return class;
}

/* ---- buffers ---- */

static enum device_class cuda_alloc(struct device *d, size_t bytes, struct device_buffer **out, struct err *e)
{
    *out = NULL;
    if (!alive(d, e)) return DEVICE_STICKY;
    struct device_buffer *b = calloc(1, sizeof *b);
    if (!b) return nomem(e);
    char what[96];
    snprintf(what, sizeof what, "allocating %zu bytes of device memory", bytes);
    CUresult r = d->api.mem_alloc(&b->address, bytes > 0 ? bytes : 1);
    enum device_class class = answer(d, r, what, e);
    if (class != DEVICE_OK) {
        free(b);
        /* Buffers have the problem's size, not the candidate's: a full device is the machine's fault. The context
         * lives on. */
        return class == DEVICE_FATE ? DEVICE_LOST : class;
    }
    b->bytes = bytes;
    *out = b;
    return DEVICE_OK;
}

static void cuda_free(struct device *d, struct device_buffer *b)
{
    if (!b) return;
    if (!d->dead) d->api.mem_free(b->address);
    free(b);
}

static bool in_buffer(const struct device_buffer *b, size_t offset, size_t n, struct err *e)
{
    if (offset <= b->bytes && n <= b->bytes - offset) return true;
    err_set(e, ERR_BUG, "bytes %zu to %zu of a device buffer of %zu", offset, offset + n, b->bytes);
    return false;
}

static enum device_class cuda_write(struct device *d, struct device_buffer *b, size_t offset, const void *src, size_t n,
                                    struct err *e)
{
    enum device_class class = DEVICE_OK;
    if (!alive(d, e)) return DEVICE_STICKY;
    if (!in_buffer(b, offset, n, e)) return DEVICE_LOST;
    if (n == 0) return DEVICE_OK;
    DO(d->api.copy_in(b->address + offset, src, n, d->stream), "copying to the device");
    class = wait_stream(d, "copying to the device", e);
out:
    return class;
}

static enum device_class cuda_read_start(struct device *d, struct device_buffer *b, size_t offset, void *dst, size_t n,
                                         struct err *e)
{
    if (!alive(d, e)) return DEVICE_STICKY;
    if (!in_buffer(b, offset, n, e)) return DEVICE_LOST;
    if (n == 0) return DEVICE_OK;
    return answer(d, d->api.copy_out(dst, b->address + offset, n, d->stream), "copying from the device", e);
}

static enum device_class cuda_wait(struct device *d, struct err *e)
{
    return alive(d, e) ? wait_stream(d, "copying from the device", e) : DEVICE_STICKY;
}

static enum device_class cuda_read(struct device *d, struct device_buffer *b, size_t offset, void *dst, size_t n,
                                   struct err *e)
{
    enum device_class class = cuda_read_start(d, b, offset, dst, n, e);
    return class == DEVICE_OK ? cuda_wait(d, e) : class;
}

static enum device_class cuda_fill(struct device *d, struct device_buffer *b, size_t offset, size_t n, uint32_t pattern,
                                   struct err *e)
{
    enum device_class class = DEVICE_OK;
    if (!alive(d, e)) return DEVICE_STICKY;
    if (!in_buffer(b, offset, n, e)) return DEVICE_LOST;
    if (offset % 4 != 0 || n % 4 != 0) {
        err_set(e, ERR_BUG, "filling %zu bytes at %zu: both must be multiples of 4", n, offset);
        return DEVICE_LOST;
    }
    if (n == 0) return DEVICE_OK;
    DO(d->api.set_u32(b->address + offset, pattern, n / 4, d->stream), "filling device memory");
    class = wait_stream(d, "filling device memory", e);
out:
    return class;
}

static enum device_class cuda_same(struct device *d, struct device_buffer *a, struct device_buffer *b, size_t n,
                                   bool *same, struct err *e)
{
    enum device_class class = DEVICE_OK;
    uint64_t words = n / 4, equal = 0;
    void *params[] = {&a->address, &b->address, &words, &d->same_out};
    *same = false;
    if (!alive(d, e)) return DEVICE_STICKY;
    if (!in_buffer(a, 0, n, e) || !in_buffer(b, 0, n, e)) return DEVICE_LOST;
    if (n % 4 != 0) {
        err_set(e, ERR_BUG, "comparing %zu bytes: they must be a multiple of 4", n);
        return DEVICE_LOST;
    }
    DO(d->api.set_u32(d->same_out, 0, 2, d->stream), "comparing: clear");
    class = launch_own(d, d->same, SAME_BLOCKS, SAME_THREADS, params, "comparing: launch", e);
    if (class != DEVICE_OK) goto out;
    DO(d->api.copy_out(&equal, d->same_out, sizeof equal, d->stream), "comparing: read");
    class = wait_stream(d, "comparing", e);
    *same = class == DEVICE_OK && equal == words;
out:
    return class;
}

/* Page-locked. */
static void *cuda_host_alloc(struct device *d, size_t bytes)
{
    void *p = NULL;
    return !d->dead && d->api.host_alloc(&p, bytes, 0) == CUDA_SUCCESS ? p : NULL;
}

static void cuda_host_free(struct device *d, void *p)
{
    if (!d->dead) d->api.host_free(p);
}

/* ---- launches ---- */

/* One kernel parameter by value. */
union parameter {
    CUdeviceptr pointer;
    CUtensorMap map;
};

static CUtensorMapSwizzle swizzle_of(int64_t bytes)
{
    return bytes == 32    ? CU_TENSOR_MAP_SWIZZLE_32B
           : bytes == 64  ? CU_TENSOR_MAP_SWIZZLE_64B
           : bytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B
                          : CU_TENSOR_MAP_SWIZZLE_NONE;
}

static CUtensorMapL2promotion promotion_of(int64_t bytes)
{
    return bytes == 64    ? CU_TENSOR_MAP_L2_PROMOTION_L2_64B
           : bytes == 128 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B
           : bytes == 256 ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
                          : CU_TENSOR_MAP_L2_PROMOTION_NONE;
}

/* Encodes m for the tensor at base: the driver computes, the device is not touched. */
static enum device_class encode_map(struct device *d, const struct tensor_map *m, enum arg a, CUdeviceptr base,
                                    CUtensorMap *out, struct err *e)
{
    const cuuint64_t row_bytes = 2 * (cuuint64_t)m->columns;
    const cuuint64_t extents[3] = {(cuuint64_t)m->columns, (cuuint64_t)m->rows, (cuuint64_t)m->planes};
    const cuuint64_t strides[2] = {row_bytes, row_bytes * (cuuint64_t)m->rows};
    const cuuint32_t box[3] = {(cuuint32_t)m->box_columns, (cuuint32_t)m->box_rows, 1}, steps[3] = {1, 1, 1};
    char what[160];
    if (base % 16 != 0) {
        err_set(e, ERR_BUG, "the buffer of %s, seen through a tensor map, is not 16-byte aligned", arg_name(a));
        return DEVICE_LOST;
    }
    snprintf(what, sizeof what, "encoding the tensor map of %s (box %lld x %lld, swizzle %lld)", arg_name(a),
             (long long)m->box_columns, (long long)m->box_rows, (long long)m->swizzle_bytes);
    return answer(d,
                  d->api.tensor_map(
                      out, m->dtype == DTYPE_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                      3, (void *)(uintptr_t)base, extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                      swizzle_of(m->swizzle_bytes), promotion_of(m->l2_bytes), CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                  what, e);
}

/* Puts one launch into the stream. The parameters' values, maps too, are copied before it returns, into a graph's node as well. */
static enum device_class enqueue(struct device *d, const struct device_launch *l, struct err *e)
{
    const struct launch *g = l->geometry;
    union parameter values[LAUNCH_ARGS];
    void *params[LAUNCH_ARGS];
    CUlaunchAttribute cluster;
    char what[128];
    enum device_class class = check_launch(g, e);
    for (int i = 0; class == DEVICE_OK && i < g->nargs; i++) {
        CUdeviceptr at = l->args[i].buffer->address + l->args[i].offset;
        params[i] = &values[i];
        if (g->maps[i].columns > 0)
            class = encode_map(d, &g->maps[i], g->args[i], at, &values[i].map, e);
        else
            values[i].pointer = at;
    }
    if (class != DEVICE_OK) return class;
    CUlaunchConfig config = configuration(d, g, &cluster);
    snprintf(what, sizeof what, "launching '%s'", g->entry);
    return answer(d, d->api.launch(&config, l->kernel->function, params, NULL), what, e);
}

static enum device_class cuda_run(struct device *d, const struct device_launch *l, struct err *e)
{
    char what[128];
    if (!alive(d, e)) return DEVICE_STICKY;
    enum device_class class = enqueue(d, l, e);
    if (class != DEVICE_OK) return class;
    snprintf(what, sizeof what, "running '%s'", l->geometry->entry);
    return wait_stream(d, what, e);
}

/* ---- batches ---- */

static enum device_class capture(struct device *d, const struct device_launch *launches, int n, int k, CUgraph *graph,
                                 struct err *e)
{
    enum device_class class;
    *graph = NULL;
    DO(d->api.capture_begin(d->stream, CU_STREAM_CAPTURE_MODE_RELAXED), "recording a batch");
    for (int i = 0; i < k && class == DEVICE_OK; i++)
        class = enqueue(d, &launches[i % n], e);
    /* The capture must end even after a failed launch, or the stream stays unusable; its error is then a consequence. */
    if (class == DEVICE_OK)
        class = answer(d, d->api.capture_end(d->stream, graph), "recording a batch", e);
    else if (!d->dead)
        d->api.capture_end(d->stream, graph);
out:
    return class;
}

static void cuda_batch_close(struct device *d, struct device_batch *b)
{
    if (!b) return;
    if (!d->dead) {
        if (b->exec) d->api.graph_exec_destroy(b->exec);
        if (b->start) d->api.event_destroy(b->start);
        if (b->stop) d->api.event_destroy(b->stop);
    }
    free(b);
}

static enum device_class cuda_batch_open(struct device *d, const struct device_launch *launches, int n, int k,
                                         struct device_batch **out, struct err *e)
{
    enum device_class class;
    CUgraph graph = NULL;
    *out = NULL;
    if (!alive(d, e)) return DEVICE_STICKY;
    if (n < 1 || k < 1) {
        err_set(e, ERR_BUG, "a batch of %d launches over %d argument sets", k, n);
        return DEVICE_LOST;
    }
    struct device_batch *b = calloc(1, sizeof *b);
    if (!b) return nomem(e);
    /* Longer than the host needs to hand over a stamp and a chain of k nodes; at most 2 ms. */
    b->lead_ns = 33000u + (k < 20000 ? 100u * (unsigned)k : 1970000u);
    class = capture(d, launches, n, k, &graph, e);
    if (class != DEVICE_OK) goto out;
    DO(d->api.graph_instantiate(&b->exec, graph, 0), "preparing a batch");
    DO(d->api.event_create(&b->start, CU_EVENT_DEFAULT), "preparing a batch");
    DO(d->api.event_create(&b->stop, CU_EVENT_DEFAULT), "preparing a batch");
    DO(d->api.graph_upload(b->exec, d->stream), "preparing a batch");
    class = wait_stream(d, "preparing a batch", e);
out:
    if (graph && !d->dead) d->api.graph_destroy(graph);
    if (class == DEVICE_OK)
        *out = b;
    else
        cuda_batch_close(d, b);
    return class;
}

/* Twice as many blocks as multiprocessors, so that each gets one. Where it cannot be launched the clock stays unknown from then on. */
static enum device_class put_stamp(struct device *d, int which, struct err *e)
{
    CUdeviceptr to = d->stamp_at + (size_t)which * d->slots * sizeof *d->stamps;
    void *params[] = {&to, &d->slots};
    struct err refused = {0};
    enum device_class class;
    if (!d->stamp) return DEVICE_OK;
    class = launch_own(d, d->stamp, 2 * d->slots, 1, params, "launching a clock stamp", &refused);
    if (class == DEVICE_OK) return DEVICE_OK;
    d->stamp = NULL;
    if (class == DEVICE_FATE) return DEVICE_OK;
    err_set(e, ERR_DEVICE, "%s", refused.text);
    return class;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Cycles by microseconds, of the multiprocessor with most; 0 where no stamps were put this time, or what they say cannot be. The timer moves in
 * steps, 32 ns or 1 us and more: what divides all its readings so far is one of them or a few, and a batch of less than TICKS steps is too
 * short to be told its clock. */
static double stamped_mhz(struct device *d)
{
    enum { TICKS = 200 };
    const struct stamp *before = d->stamps, *after = d->stamps + d->slots;
    const uint64_t last_ns = d->stamped_ns;
    double best = 0;
    if (!d->stamp) return 0;
    for (uint32_t i = 0; i < d->slots; i++) {
        if (after[i].ns <= last_ns) continue; /* of an earlier batch: this multiprocessor got no block */
        if (after[i].ns > d->stamped_ns) d->stamped_ns = after[i].ns;
        d->tick_ns = common_divisor(d->tick_ns, after[i].ns);
        if (before[i].ns <= last_ns || after[i].ns <= before[i].ns || after[i].cycles <= before[i].cycles) continue;
        if (after[i].ns - before[i].ns < TICKS * d->tick_ns) continue;
        best = fmax(best, 1e3 * (double)(after[i].cycles - before[i].cycles) / (double)(after[i].ns - before[i].ns));
    }
    return best > 10 && best < 10000 ? best : 0;
}

static enum device_class cuda_batch_run(struct device *d, struct device_batch *b, double *elapsed_us, double *mhz,
                                        struct err *e)
{
    enum device_class class;
    float milliseconds = 0;
    void *params[] = {&b->lead_ns};
    *elapsed_us = 0;
    if (mhz) *mhz = 0;
    if (!alive(d, e)) return DEVICE_STICKY;
    class = launch_own(d, d->lead, 1, 1, params, "launching the lead-in", e);
    if (class == DEVICE_OK) class = put_stamp(d, 0, e);
    if (class != DEVICE_OK) goto out;
    DO(d->api.event_record(b->start, d->stream), "starting the clock");
    DO(d->api.graph_launch(b->exec, d->stream), "launching a batch");
    DO(d->api.event_record(b->stop, d->stream), "stopping the clock");
    class = put_stamp(d, 1, e);
    if (class != DEVICE_OK) goto out;
    if (d->stamp) DO(d->api.copy_out(d->stamps, d->stamp_at, stamps_bytes(d), d->stream), "reading the clock");
    DO(d->api.stream_synchronize(d->stream), "running a batch");
    DO(d->api.event_elapsed(&milliseconds, b->start, b->stop), "reading the clock");
    *elapsed_us = 1e3 * (double)milliseconds;
    if (mhz) *mhz = stamped_mhz(d);
out:
    return class;
}

const struct device_driver device_cuda = {
    .name = "cuda",
    .language = "cuda",
    .enumerate = device_cuda_enumerate,
    .arch_target = cuda_arch_target,
    .compile = device_cuda_compile,
    .open = cuda_open,
    .close = cuda_close,
    .load = cuda_load,
    .unload = cuda_unload,
    .resources = cuda_resources,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .write = cuda_write,
    .read = cuda_read,
    .fill = cuda_fill,
    .same = cuda_same,
    .host_alloc = cuda_host_alloc,
    .host_free = cuda_host_free,
    .read_start = cuda_read_start,
    .wait = cuda_wait,
    .run = cuda_run,
    .batch_open = cuda_batch_open,
    .batch_run = cuda_batch_run,
    .batch_close = cuda_batch_close,
    .canary = cuda_canary,
};

#endif
