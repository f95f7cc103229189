/* device_opencl.c - the OpenCL driver (any OpenCL 1.2 device).
 *
 * Method
 * - libOpenCL.so.1 is opened at run time. Each entry point (enumerate, compile, open) fills its own table of functions,
 *   so there is no global state.
 * - A device is one context with one in-order queue. Devices of all platforms are numbered in the order of the loader.
 * - PoCL makes the final machine code for a local size, by default at the first launch (0.3 s for fa_opencl, in the
 *   process that measures). compile() has it made and put into the program's binary by POCL_BINARY_SPECIALIZE_WG; for
 *   this it must know the local size, so a kernel should carry reqd_work_group_size. The first launch after a load in a
 *   fresh process then costs what the second does (measured: 3-8 ms both, without any cache folder).
 * - Offsets into buffers become sub-buffers, made once for each (buffer, offset) and released with the buffer.
 * - A batch has one cl_kernel for each argument set, so that a timed batch does nothing but enqueue.
 * - Batches are timed by the profiling events of their first and last launch. Measured on PoCL 3.1, where the device is
 *   the host's CPU: the span is always within the host's clock around enqueue..finish and 40-120 us shorter, for 4 ms as
 *   for 36 ms of work; that difference is submission and wake-up, so the events are used there too. Where they are
 *   missing or not sane, the host's clock is used.
 * - The code digest exists on PoCL only: its binaries hold paths and build hashes, but also the linked ELF objects, and
 *   those are the same bytes for the same code (measured: a macro that nothing uses changes the binary, not the objects).
 *   Elsewhere nothing is known of a binary, and the digest stays empty. */
#include "device_opencl_api.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "digest.h"

#define LOG_LIMIT (64u * 1024u)
#define CANARY_N 64u

static enum device_class fail_call(struct err *e, const char *what, cl_int code)
{
    return opencl_fail(e, what, code, false);
}

static enum device_class fail_host(struct err *e)
{
    err_set(e, ERR_DEVICE, "out of host memory in the OpenCL driver; free some memory and run again");
    return DEVICE_STICKY;
}

static int opencl_enumerate(struct target *out, int max, struct buf *note)
{
    struct opencl_api a;
    struct err e = {0};
    struct opencl_found f[OPENCL_DEVICES_MAX];
    int n, used = 0;
    if (opencl_api_open(&a, &e) != 0 || (n = opencl_find(&a, f, &e)) < 0) {
        if (note) buf_printf(note, "%s\n", e.text);
        return 0;
    }
    if (n == 0 && note)
        buf_puts(note, "OpenCL: a platform is installed but it has no device; for the CPU `apt-get install "
                       "pocl-opencl-icd` (Debian, Ubuntu)\n");
    for (int i = 0; i < n && used < max; i++) {
        const char *why = opencl_unusable(&a, f[i].id);
        char name[128];
        int twins = 0;
        if (why) {
            opencl_device_text(&a, f[i].id, CL_DEVICE_NAME, name, sizeof name);
            if (note) buf_printf(note, "OpenCL: device %d (%s) is left out: it %s\n", i, name, why);
            continue;
        }
        opencl_target(&a, &f[i], i, &out[used]);
        for (int k = 0; k < used; k++) /* equal devices without a UUID are told apart by their order */
            twins += strncmp(out[k].uuid, out[used].uuid, 39) == 0;
        if (twins > 0) snprintf(out[used].uuid + strlen(out[used].uuid), 8, "-%d", twins % 1000);
        used++;
    }
    return used;
}

/* ------------------------------------------------------------------ objects */

struct sub {
    size_t offset;
    cl_mem mem;
};

struct device_buffer {
    cl_mem mem;
    size_t bytes;
    struct sub *subs;
    size_t nsubs, cap;
};

struct device {
    struct opencl_api api;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    size_t align_bytes; /* of a sub-buffer's offset */
    struct device_kernel *canary;
    struct device_buffer *canary_out;
};

struct device_kernel {
    cl_program program;
    cl_kernel kernel;
    char entry[64];
};

struct device_batch {
    int n, k;
    cl_kernel *kernels; /* one an argument set, arguments bound */
    const struct launch **geometry;
};

/* The device that t names, in a fresh context. */
static enum device_class context_for(const struct opencl_api *a, const struct target *t, struct opencl_found *out,
                                     cl_context *ctx, struct err *e)
{
    struct opencl_found f[OPENCL_DEVICES_MAX];
    char name[sizeof t->name];
    cl_int st;
    int n = opencl_find(a, f, e);
    if (n < 0) return DEVICE_LOST;
    if (t->index < 0 || t->index >= n) {
        err_set(e, ERR_DEVICE, "OpenCL: there is no device %d, %d are found; list them with `fatune devices`", t->index,
                n);
        return DEVICE_LOST;
    }
    opencl_device_text(a, f[t->index].id, CL_DEVICE_NAME, name, sizeof name);
    if (t->name[0] && strcmp(name, t->name) != 0) {
        err_set(e, ERR_DEVICE, "OpenCL: device %d is now \"%s\" and was \"%s\"; list the devices with `fatune devices`",
                t->index, name, t->name);
        return DEVICE_LOST;
    }
    *out = f[t->index];
    const cl_context_properties props[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)out->platform, 0};
    *ctx = a->clCreateContext(props, 1, &out->id, NULL, NULL, &st);
    if (st == CL_SUCCESS) return DEVICE_OK;
    const char *what;
    opencl_class(st, false, &what);
    err_set(e, ERR_DEVICE, "OpenCL: no context on device %d: %s (%d); check the driver", t->index, what, (int)st);
    return DEVICE_LOST;
}

/* ------------------------------------------------------------------ compile */

static void add_log(const struct opencl_api *a, cl_program p, cl_device_id id, struct buf *log)
{
    size_t n = 0;
    char *text;
    if (a->clGetProgramBuildInfo(p, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n) != CL_SUCCESS || n == 0) return;
    text = calloc(1, n + 1);
    if (!text) return;
    if (a->clGetProgramBuildInfo(p, id, CL_PROGRAM_BUILD_LOG, n, text, NULL) == CL_SUCCESS) {
        size_t len = strlen(text), room = log->n < LOG_LIMIT ? LOG_LIMIT - log->n : 0;
        buf_add(log, text, len < room ? len : room);
    }
    free(text);
}

static int build_options(struct buf *out, const struct device_source *src, struct err *e)
{
    buf_puts(out, "-cl-std=CL1.2");
    if (src->include_dir) buf_printf(out, " -I %s", src->include_dir);
    for (const char *const *o = src->options; o && *o; o++)
        buf_printf(out, " %s", *o);
    return buf_check(out, e);
}

static enum device_class take_binary(const struct opencl_api *a, cl_program p, struct buf *image, struct err *e)
{
    size_t n = 0;
    cl_int st = a->clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof n, &n, NULL);
    if (st != CL_SUCCESS) return fail_call(e, "OpenCL: size of the program binary", st);
    if (n == 0) {
        err_set(e, ERR_DEVICE, "OpenCL: the driver gives no program binary; use another driver for this device");
        return DEVICE_LOST;
    }
    unsigned char *bytes = malloc(n);
    if (!bytes) return fail_host(e);
    st = a->clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL);
    if (st == CL_SUCCESS) buf_add(image, bytes, n);
    free(bytes);
    if (st != CL_SUCCESS) return fail_call(e, "OpenCL: program binary", st);
    return image->failed ? fail_host(e) : DEVICE_OK;
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, DIGEST_HEX);
}

/* Digest of the ELF objects inside a PoCL binary, whatever their order there; "" when there is none or one is cut. */
static void objects_digest(const struct buf *image, char out[DIGEST_HEX])
{
    enum { OBJECTS_MAX = 16 };
    char found[OBJECTS_MAX][DIGEST_HEX];
    size_t n = 0, at = 0;
    out[0] = 0;
    for (const char *p; n < OBJECTS_MAX && (p = memmem(image->p + at, image->n - at, ELFMAG, SELFMAG)); n++) {
        Elf64_Ehdr h;
        const size_t start = (size_t)(p - image->p), room = image->n - start;
        if (room < sizeof h) return;
        memcpy(&h, p, sizeof h);
        /* The linker puts the section table last. */
        const uint64_t size = h.e_shoff + (uint64_t)h.e_shnum * h.e_shentsize;
        if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_shoff < sizeof h || h.e_shoff > room || size > room) return;
        digest_bytes(found[n], p, (size_t)size);
        at = start + (size_t)size;
    }
    if (n == 0 || n == OBJECTS_MAX) return;
    qsort(found, n, sizeof *found, compare_digests);
    digest_bytes(out, found, n * sizeof *found);
}

/* The binary, on PoCL with the code for the kernel's own local size in it (see the head of this file). */
static enum device_class final_binary(const struct opencl_api *a, const struct opencl_found *f, cl_program p,
                                      cl_kernel k, struct device_binary *out, struct err *e)
{
    static const char variable[] = "POCL_BINARY_SPECIALIZE_WG";
    char platform[128], sizes[128];
    size_t wg[3] = {0, 0, 0};
    opencl_platform_text(a, f->platform, CL_PLATFORM_NAME, platform, sizeof platform);
    const bool pocl = strstr(platform, "Portable Computing Language") != NULL;
    bool ours = false;
    if (pocl && !getenv(variable) &&
        a->clGetKernelWorkGroupInfo(k, f->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof wg, wg, NULL) == CL_SUCCESS &&
        wg[0] > 0) {
        snprintf(sizes, sizeof sizes, "%zu-%zu-%zu-goffs0-smallgrid", wg[0], wg[1], wg[2]);
        ours = setenv(variable, sizes, 1) == 0;
    }
    enum device_class c = take_binary(a, p, &out->image, e);
    if (ours) unsetenv(variable);
    if (c == DEVICE_OK && pocl) objects_digest(&out->image, out->code_digest);
    return c;
}

static void kernel_resources(const struct opencl_api *a, cl_kernel k, cl_device_id id, struct device_resources *r)
{
    cl_ulong local = 0;
    if (a->clGetKernelWorkGroupInfo(k, id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL) == CL_SUCCESS)
        r->shared_static_bytes = (int64_t)local;
}

static enum device_class opencl_compile(const struct target *t, const struct device_source *src,
                                        struct device_binary *out, struct err *e)
{
    struct opencl_api a;
    struct buf options = {0};
    struct opencl_found f;
    cl_context ctx = NULL;
    cl_program p = NULL;
    cl_kernel k = NULL;
    cl_int st;
    enum device_class c = DEVICE_LOST;
    *out = (struct device_binary){.res = {-1, -1, -1, -1, -1, -1, -1}};
    if (opencl_api_open(&a, e) != 0) return DEVICE_LOST;
    if ((c = context_for(&a, t, &f, &ctx, e)) != DEVICE_OK) return c;
    if (build_options(&options, src, e) != 0) {
        c = DEVICE_STICKY;
        goto out;
    }
    p = a.clCreateProgramWithSource(ctx, 1, (const char **)&src->text, NULL, &st);
    if (st != CL_SUCCESS) {
        c = fail_call(e, "OpenCL: clCreateProgramWithSource", st);
        goto out;
    }
    st = a.clBuildProgram(p, 1, &f.id, buf_text(&options), NULL, NULL);
    add_log(&a, p, f.id, &out->log);
    if (st != CL_SUCCESS) {
        c = fail_call(e, "OpenCL: the source does not compile, see the compiler's log", st);
        goto out;
    }
    k = a.clCreateKernel(p, src->entry, &st);
    if (st != CL_SUCCESS) {
        c = fail_call(e, "OpenCL: the source has no kernel of the manifest's `entry` name", st);
        goto out;
    }
    if ((c = final_binary(&a, &f, p, k, out, e)) != DEVICE_OK) goto out;
    kernel_resources(&a, k, f.id, &out->res);
out:
    buf_free(&options);
    if (k) a.clReleaseKernel(k);
    if (p) a.clReleaseProgram(p);
    a.clReleaseContext(ctx);
    return c;
}

/* ------------------------------------------------------------------ open, load */

static void opencl_free(struct device *d, struct device_buffer *b);
static void opencl_unload(struct device *d, struct device_kernel *k);

static void opencl_close(struct device *d)
{
    if (!d) return;
    opencl_free(d, d->canary_out);
    opencl_unload(d, d->canary);
    if (d->queue) d->api.clReleaseCommandQueue(d->queue);
    if (d->context) d->api.clReleaseContext(d->context);
    free(d);
}

static enum device_class opencl_open(struct device **out, const struct target *t, struct err *e)
{
    enum device_class c;
    cl_int st;
    struct opencl_found f;
    struct device *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return fail_host(e);
    if (opencl_api_open(&d->api, e) != 0) {
        free(d);
        return DEVICE_LOST;
    }
    if ((c = context_for(&d->api, t, &f, &d->context, e)) != DEVICE_OK) goto out;
    d->id = f.id;
    d->align_bytes = (size_t)opencl_number(&d->api, d->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
    if (d->align_bytes == 0) d->align_bytes = 1;
    d->queue = d->api.clCreateCommandQueue(d->context, d->id, CL_QUEUE_PROFILING_ENABLE, &st);
    if (st != CL_SUCCESS) /* profiling is required by the standard, but the host's clock will do */
        d->queue = d->api.clCreateCommandQueue(d->context, d->id, 0, &st);
    if (st != CL_SUCCESS) {
        fail_call(e, "OpenCL: clCreateCommandQueue", st);
        c = DEVICE_LOST;
    }
out:
    if (c != DEVICE_OK) {
        opencl_close(d);
        return c;
    }
    *out = d;
    return c;
}

static void opencl_unload(struct device *d, struct device_kernel *k)
{
    if (!k) return;
    if (k->kernel) d->api.clReleaseKernel(k->kernel);
    if (k->program) d->api.clReleaseProgram(k->program);
    free(k);
}

/* Takes over p. */
static enum device_class kernel_from_program(struct device *d, cl_program p, const char *entry,
                                             struct device_kernel **out, struct err *e)
{
    cl_int st;
    struct device_kernel *k = calloc(1, sizeof *k);
    if (!k) {
        d->api.clReleaseProgram(p);
        return fail_host(e);
    }
    k->program = p;
    snprintf(k->entry, sizeof k->entry, "%s", entry);
    st = d->api.clBuildProgram(p, 1, &d->id, "", NULL, NULL);
    if (st == CL_SUCCESS) k->kernel = d->api.clCreateKernel(p, entry, &st);
    if (st != CL_SUCCESS) {
        opencl_unload(d, k);
        return fail_call(e, "OpenCL: loading the program", st);
    }
    *out = k;
    return DEVICE_OK;
}

static enum device_class opencl_load(struct device *d, const void *image, size_t n, const struct launch *l,
                                     struct device_kernel **out, struct err *e)
{
    const unsigned char *bytes = image;
    cl_int st, one = CL_SUCCESS;
    cl_uint nargs = 0;
    enum device_class c;
    *out = NULL;
    cl_program p = d->api.clCreateProgramWithBinary(d->context, 1, &d->id, &n, &bytes, &one, &st);
    if (st != CL_SUCCESS) return fail_call(e, "OpenCL: clCreateProgramWithBinary", st);
    if ((c = kernel_from_program(d, p, l->entry, out, e)) != DEVICE_OK) return c;
    st = d->api.clGetKernelInfo((*out)->kernel, CL_KERNEL_NUM_ARGS, sizeof nargs, &nargs, NULL);
    if (st == CL_SUCCESS && (int)nargs == l->nargs) return DEVICE_OK;
    opencl_unload(d, *out);
    *out = NULL;
    err_set(e, ERR_DEVICE, "OpenCL: kernel %s takes %u arguments, the manifest's `arguments` lists %d; make them agree",
            l->entry, (unsigned)nargs, l->nargs);
    return DEVICE_FATE;
}

static enum device_class opencl_resources(struct device *d, struct device_kernel *k, struct device_resources *res,
                                          struct err *e)
{
    (void)e; /* a device that does not say leaves the figure as it was */
    kernel_resources(&d->api, k->kernel, d->id, res);
    return DEVICE_OK;
}

/* ------------------------------------------------------------------ buffers */

static enum device_class opencl_alloc(struct device *d, size_t bytes, struct device_buffer **out, struct err *e)
{
    cl_int st;
    struct device_buffer *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b) return fail_host(e);
    b->bytes = bytes;
    b->mem = d->api.clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &st);
    if (st != CL_SUCCESS) {
        char what[96];
        snprintf(what, sizeof what, "OpenCL: a buffer of %zu bytes", bytes);
        free(b);
        return fail_call(e, what, st);
    }
    *out = b;
    return DEVICE_OK;
}

static void opencl_free(struct device *d, struct device_buffer *b)
{
    if (!b) return;
    for (size_t i = 0; i < b->nsubs; i++)
        d->api.clReleaseMemObject(b->subs[i].mem);
    free(b->subs);
    if (b->mem) d->api.clReleaseMemObject(b->mem);
    free(b);
}

/* The memory object that starts at an offset; owned by the buffer. */
static enum device_class sub_buffer(struct device *d, const struct device_arg *arg, cl_mem *out, struct err *e)
{
    struct device_buffer *b = arg->buffer;
    cl_int st;
    if (arg->offset == 0) {
        *out = b->mem;
        return DEVICE_OK;
    }
    for (size_t i = 0; i < b->nsubs; i++)
        if (b->subs[i].offset == arg->offset) {
            *out = b->subs[i].mem;
            return DEVICE_OK;
        }
    if (arg->offset >= b->bytes || arg->offset % d->align_bytes != 0) {
        err_set(e, ERR_DEVICE,
                "OpenCL: offset %zu into a buffer of %zu bytes is outside it or no multiple of the device's %zu bytes; "
                "this is a bug in fatune, not in the kernel: please report it",
                arg->offset, b->bytes, d->align_bytes);
        return DEVICE_LOST;
    }
    if (b->nsubs == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 8;
        struct sub *grown = realloc(b->subs, cap * sizeof *grown);
        if (!grown) return fail_host(e);
        b->subs = grown;
        b->cap = cap;
    }
    const cl_buffer_region region = {arg->offset, b->bytes - arg->offset};
    cl_mem m = d->api.clCreateSubBuffer(b->mem, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &st);
    if (st != CL_SUCCESS) return fail_call(e, "OpenCL: clCreateSubBuffer", st);
    b->subs[b->nsubs++] = (struct sub){arg->offset, m};
    *out = m;
    return DEVICE_OK;
}

static enum device_class opencl_write(struct device *d, struct device_buffer *b, size_t offset, const void *src,
                                      size_t n, struct err *e)
{
    if (n == 0) return DEVICE_OK;
    cl_int st = d->api.clEnqueueWriteBuffer(d->queue, b->mem, CL_TRUE, offset, n, src, 0, NULL, NULL);
    return fail_call(e, "OpenCL: clEnqueueWriteBuffer", st);
}

static enum device_class opencl_read(struct device *d, struct device_buffer *b, size_t offset, void *dst, size_t n,
                                     struct err *e)
{
    if (n == 0) return DEVICE_OK;
    cl_int st = d->api.clEnqueueReadBuffer(d->queue, b->mem, CL_TRUE, offset, n, dst, 0, NULL, NULL);
    return fail_call(e, "OpenCL: clEnqueueReadBuffer", st);
}

static enum device_class opencl_fill(struct device *d, struct device_buffer *b, size_t offset, size_t n,
                                     uint32_t pattern, struct err *e)
{
    if (n == 0) return DEVICE_OK;
    cl_int st = d->api.clEnqueueFillBuffer(d->queue, b->mem, &pattern, sizeof pattern, offset, n, 0, NULL, NULL);
    if (st != CL_SUCCESS) return fail_call(e, "OpenCL: clEnqueueFillBuffer", st);
    return opencl_fail(e, "OpenCL: filling a buffer", d->api.clFinish(d->queue), true);
}

/* ------------------------------------------------------------------ launches */

static enum device_class bind_args(struct device *d, cl_kernel k, const struct device_launch *l, struct err *e)
{
    for (int i = 0; i < l->geometry->nargs; i++) {
        cl_mem m;
        enum device_class c = sub_buffer(d, &l->args[i], &m, e);
        if (c != DEVICE_OK) return c;
        cl_int st = d->api.clSetKernelArg(k, (cl_uint)i, sizeof m, &m);
        if (st != CL_SUCCESS) {
            char what[96];
            snprintf(what, sizeof what, "OpenCL: argument %d (%s)", i, arg_name(l->geometry->args[i]));
            return fail_call(e, what, st);
        }
    }
    return DEVICE_OK;
}

static enum device_class enqueue(struct device *d, cl_kernel k, const struct launch *g, cl_event *event, struct err *e)
{
    size_t global[3], local[3];
    cl_int st;
    for (int i = 0; i < g->nargs; i++)
        if (g->maps[i].columns > 0) {
            err_set(e, ERR_DEVICE, "OpenCL has no tensor maps; give the kernel a pointer");
            return DEVICE_FATE;
        }
    if (g->shared_bytes != 0 || g->cluster[0] > 1 || g->cluster[1] > 1 || g->cluster[2] > 1) {
        err_set(e, ERR_DEVICE,
                "OpenCL has neither dynamic shared memory nor clusters; set `launch.shared` to \"0\" and "
                "remove `launch.cluster` in the manifest");
        return DEVICE_FATE;
    }
    for (int i = 0; i < 3; i++) {
        local[i] = (size_t)g->block[i];
        global[i] = (size_t)g->grid[i] * local[i];
    }
    st = d->api.clEnqueueNDRangeKernel(d->queue, k, 3, NULL, global, local, 0, NULL, event);
    return fail_call(e, "OpenCL: launch", st);
}

/* Status of an event after the queue was drained. */
static enum device_class event_status(struct device *d, cl_event ev, struct err *e)
{
    cl_int state = CL_COMPLETE;
    cl_int st = d->api.clGetEventInfo(ev, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (st != CL_SUCCESS) return opencl_fail(e, "OpenCL: status of a launch", st, true);
    return state < 0 ? opencl_fail(e, "OpenCL: the kernel failed while it ran", state, true) : DEVICE_OK;
}

static enum device_class opencl_run(struct device *d, const struct device_launch *l, struct err *e)
{
    cl_event ev = NULL;
    enum device_class c = bind_args(d, l->kernel->kernel, l, e);
    if (c == DEVICE_OK) c = enqueue(d, l->kernel->kernel, l->geometry, &ev, e);
    if (c == DEVICE_OK) c = opencl_fail(e, "OpenCL: waiting for the kernel", d->api.clFinish(d->queue), true);
    if (c == DEVICE_OK) c = event_status(d, ev, e);
    if (ev) d->api.clReleaseEvent(ev);
    return c;
}

static void opencl_batch_close(struct device *d, struct device_batch *b)
{
    if (!b) return;
    for (int i = 0; b->kernels && i < b->n; i++)
        if (b->kernels[i]) d->api.clReleaseKernel(b->kernels[i]);
    free(b->kernels);
    free(b->geometry);
    free(b);
}

static enum device_class opencl_batch_open(struct device *d, const struct device_launch *launches, int n, int k,
                                           struct device_batch **out, struct err *e)
{
    enum device_class c = DEVICE_OK;
    cl_int st;
    *out = NULL;
    if (n < 1 || k < 1) {
        err_set(e, ERR_DEVICE, "OpenCL: a batch of %d launches over %d argument sets; both must be positive", k, n);
        return DEVICE_FATE;
    }
    struct device_batch *b = calloc(1, sizeof *b);
    if (!b) return fail_host(e);
    b->n = n;
    b->k = k;
    b->kernels = calloc((size_t)n, sizeof *b->kernels);
    b->geometry = calloc((size_t)n, sizeof *b->geometry);
    if (!b->kernels || !b->geometry) c = fail_host(e);
    for (int i = 0; c == DEVICE_OK && i < n; i++) {
        b->geometry[i] = launches[i].geometry;
        b->kernels[i] = d->api.clCreateKernel(launches[i].kernel->program, launches[i].kernel->entry, &st);
        c = st == CL_SUCCESS ? bind_args(d, b->kernels[i], &launches[i], e)
                             : fail_call(e, "OpenCL: clCreateKernel", st);
    }
    if (c != DEVICE_OK) {
        opencl_batch_close(d, b);
        return c;
    }
    *out = b;
    return DEVICE_OK;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* Device time from the start of first to the end of last, or -1 when the device does not know. */
static double event_span_us(struct device *d, cl_event first, cl_event last)
{
    cl_ulong start = 0, end = 0;
    if (d->api.clGetEventProfilingInfo(first, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) != CL_SUCCESS ||
        d->api.clGetEventProfilingInfo(last, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) != CL_SUCCESS)
        return -1;
    return start != 0 && end > start ? (double)(end - start) * 1e-3 : -1;
}

static enum device_class opencl_batch_run(struct device *d, struct device_batch *b, double *elapsed_us, double *mhz,
                                          struct err *e)
{
    cl_event first = NULL, last = NULL;
    enum device_class c = DEVICE_OK;
    const double t0 = now_us();
    if (mhz) *mhz = 0;
    for (int i = 0; c == DEVICE_OK && i < b->k; i++) {
        cl_event *ev = i == b->k - 1 ? &last : i == 0 ? &first : NULL;
        c = enqueue(d, b->kernels[i % b->n], b->geometry[i % b->n], ev, e);
    }
    /* After a refused launch too, so that nothing is left running. */
    cl_int st = d->api.clFinish(d->queue);
    const double host_us = now_us() - t0;
    if (c == DEVICE_OK) c = opencl_fail(e, "OpenCL: waiting for a batch", st, true);
    if (c == DEVICE_OK && first) c = event_status(d, first, e);
    if (c == DEVICE_OK) c = event_status(d, last, e);
    if (c == DEVICE_OK) {
        const double span_us = event_span_us(d, first ? first : last, last);
        /* An event clock that runs faster than the host's, or at less than half its pace, is not believed. */
        const bool sane = span_us > 0 && span_us <= host_us * 1.001 + 1 && span_us >= host_us * 0.5 - 1000;
        *elapsed_us = sane ? span_us : host_us;
    }
    if (first) d->api.clReleaseEvent(first);
    if (last) d->api.clReleaseEvent(last);
    return c;
}

/* ------------------------------------------------------------------ canary */

static const char canary_source[] = "__kernel void canary(__global uint *out)\n"
                                    "{\n"
                                    "    __local uint swap[64];\n"
                                    "    uint i = (uint)get_local_id(0), x = i * 2654435761u + 1u;\n"
                                    "    swap[63u - i] = x ^ (x >> 13);\n"
                                    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
                                    "    out[i] = swap[i];\n"
                                    "}\n";

static enum device_class canary_build(struct device *d, struct err *e)
{
    const char *text = canary_source;
    cl_int st;
    cl_program p = d->api.clCreateProgramWithSource(d->context, 1, &text, NULL, &st);
    if (st != CL_SUCCESS) return fail_call(e, "OpenCL: the canary's source", st);
    enum device_class c = kernel_from_program(d, p, "canary", &d->canary, e);
    return c == DEVICE_OK ? opencl_alloc(d, CANARY_N * sizeof(uint32_t), &d->canary_out, e) : c;
}

static enum device_class opencl_canary(struct device *d, struct err *e)
{
    static const struct launch geometry = {
        .entry = "canary", .grid = {1, 1, 1}, .block = {CANARY_N, 1, 1}, .nargs = 1, .args = {ARG_O}};
    uint32_t got[CANARY_N];
    enum device_class c = DEVICE_OK;
    if (!d->canary_out) c = canary_build(d, e);
    if (c == DEVICE_OK) c = opencl_fill(d, d->canary_out, 0, sizeof got, 0xffffffffu, e);
    if (c == DEVICE_OK) {
        const struct device_launch l = {.kernel = d->canary, .geometry = &geometry, .args = {{d->canary_out, 0}}};
        c = opencl_run(d, &l, e);
    }
    if (c == DEVICE_OK) c = opencl_read(d, d->canary_out, 0, got, sizeof got, e);
    for (uint32_t i = 0; c == DEVICE_OK && i < CANARY_N; i++) {
        const uint32_t x = (CANARY_N - 1 - i) * 2654435761u + 1u, want = x ^ (x >> 13);
        if (got[i] == want) continue;
        err_set(e, ERR_DEVICE,
                "OpenCL: the canary kernel gave %08x for %08x at %u; the context is not trusted any more", got[i], want,
                i);
        c = DEVICE_STICKY;
    }
    /* The canary is fatune's own and right, so a refusal is the context's state. */
    return c == DEVICE_FATE ? DEVICE_STICKY : c;
}

const struct device_driver device_opencl = {
    .name = "opencl",
    .language = "opencl",
    .enumerate = opencl_enumerate,
    .arch_target = NULL, /* OpenCL has no architectures to compile for without a device */
    .compile = opencl_compile,
    .open = opencl_open,
    .close = opencl_close,
    .load = opencl_load,
    .unload = opencl_unload,
    .resources = opencl_resources,
    .alloc = opencl_alloc,
    .free = opencl_free,
    .write = opencl_write,
    .read = opencl_read,
    .fill = opencl_fill,
    .run = opencl_run,
    .batch_open = opencl_batch_open,
    .batch_run = opencl_batch_run,
    .batch_close = opencl_batch_close,
    .canary = opencl_canary,
};
