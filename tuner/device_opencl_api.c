/* device_opencl_api.c - see device_opencl_api.h. The loader is never closed: implementations start threads whose code must
 * stay mapped. */
#include "device_opencl_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "digest.h"

/* ------------------------------------------------------------------ errors */

static const struct error_row {
    int code;
    const char *name;
    enum device_class call, wait; /* from a call that submits; from a call that waits for accepted work */
} error_rows[] = {
#define ROW(code, call, wait)                                                                                          \
    {                                                                                                                  \
        code, #code, DEVICE_##call, DEVICE_##wait                                                                      \
    }
    ROW(CL_SUCCESS, OK, OK),
    ROW(CL_DEVICE_NOT_FOUND, LOST, LOST),
    ROW(CL_DEVICE_NOT_AVAILABLE, LOST, LOST),
    ROW(CL_COMPILER_NOT_AVAILABLE, LOST, LOST),
    ROW(CL_MEM_OBJECT_ALLOCATION_FAILURE, FATE, STICKY),
    ROW(CL_OUT_OF_RESOURCES, FATE, STICKY),
    ROW(CL_OUT_OF_HOST_MEMORY, STICKY, STICKY),
    ROW(CL_BUILD_PROGRAM_FAILURE, FATE, STICKY),
    ROW(CL_MISALIGNED_SUB_BUFFER_OFFSET, LOST, LOST), /* no kernel chooses offsets */
    ROW(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, STICKY, STICKY),
    ROW(CL_INVALID_VALUE, FATE, STICKY),
    ROW(CL_INVALID_PLATFORM, LOST, LOST),
    ROW(CL_INVALID_DEVICE, LOST, LOST),
    ROW(CL_INVALID_CONTEXT, STICKY, STICKY),
    ROW(CL_INVALID_COMMAND_QUEUE, STICKY, STICKY),
    ROW(CL_INVALID_MEM_OBJECT, STICKY, STICKY),
    ROW(CL_INVALID_BINARY, FATE, STICKY),
    ROW(CL_INVALID_BUILD_OPTIONS, FATE, STICKY),
    ROW(CL_INVALID_PROGRAM, FATE, STICKY),
    ROW(CL_INVALID_PROGRAM_EXECUTABLE, FATE, STICKY),
    ROW(CL_INVALID_KERNEL_NAME, FATE, STICKY),
    ROW(CL_INVALID_KERNEL_DEFINITION, FATE, STICKY),
    ROW(CL_INVALID_KERNEL, FATE, STICKY),
    ROW(CL_INVALID_ARG_INDEX, FATE, STICKY),
    ROW(CL_INVALID_ARG_VALUE, FATE, STICKY),
    ROW(CL_INVALID_ARG_SIZE, FATE, STICKY),
    ROW(CL_INVALID_KERNEL_ARGS, FATE, STICKY),
    ROW(CL_INVALID_WORK_DIMENSION, FATE, STICKY),
    ROW(CL_INVALID_WORK_GROUP_SIZE, FATE, STICKY),
    ROW(CL_INVALID_WORK_ITEM_SIZE, FATE, STICKY),
    ROW(CL_INVALID_GLOBAL_OFFSET, FATE, STICKY),
    ROW(CL_INVALID_EVENT, STICKY, STICKY),
    ROW(CL_INVALID_BUFFER_SIZE, FATE, STICKY),
    ROW(CL_INVALID_GLOBAL_WORK_SIZE, FATE, STICKY),
#undef ROW
    {-1001, "CL_PLATFORM_NOT_FOUND_KHR", DEVICE_LOST, DEVICE_LOST},
    {-9999, "NVIDIA: illegal read or write to a buffer", DEVICE_STICKY, DEVICE_STICKY},
};

enum device_class opencl_class(int code, bool waiting, const char **name)
{
    for (size_t i = 0; i < sizeof error_rows / sizeof *error_rows; i++) {
        const struct error_row *r = &error_rows[i];
        if (r->code != code) continue;
        if (name) *name = r->name;
        return waiting ? r->wait : r->call;
    }
    if (name) *name = "unknown OpenCL error";
    return DEVICE_STICKY;
}

enum device_class opencl_fail(struct err *e, const char *what, cl_int code, bool waiting)
{
    const char *name;
    enum device_class c = opencl_class(code, waiting, &name);
    static const char *const advice[] = {
        [DEVICE_OK] = "no error",
        [DEVICE_FATE] = "the device lives; this kernel or request is refused",
        [DEVICE_STICKY] = "the context is not trusted any more and must be opened again in a new process",
        [DEVICE_LOST] = "check the device with `fatune doctor`",
    };
    if (c != DEVICE_OK) err_set(e, ERR_DEVICE, "%s: %s (%d); %s", what, name, (int)code, advice[c]);
    return c;
}

/* ------------------------------------------------------------------ the loader */

int opencl_api_open(struct opencl_api *a, struct err *e)
{
    void *lib = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return err_set(e, ERR_DEVICE,
                       "OpenCL: the loader libOpenCL.so.1 is missing; install it with a driver, for example `apt-get "
                       "install ocl-icd-libopencl1 pocl-opencl-icd` (Debian, Ubuntu)");
#define X(f)                                                                                                           \
    *(void **)&a->f = dlsym(lib, #f);                                                                                  \
    if (!a->f)                                                                                                         \
        return err_set(e, ERR_DEVICE,                                                                                  \
                       "OpenCL: libOpenCL.so.1 has no %s, so it is older than OpenCL 1.2; install "                    \
                       "`ocl-icd-libopencl1` (Debian, Ubuntu)",                                                        \
                       #f);
    OPENCL_FUNCTIONS(X)
#undef X
    return 0;
}

/* All devices of all platforms; how many, or -1 when there is no platform at all. */
int opencl_find(const struct opencl_api *a, struct opencl_found *out, struct err *e)
{
    cl_platform_id platforms[16];
    cl_uint np = 0, n = 0;
    cl_int st = a->clGetPlatformIDs(16, platforms, &np);
    if (st != CL_SUCCESS || np == 0)
        return err_set(
            e, ERR_DEVICE,
            "OpenCL: the loader finds no platform (status %d); install a driver, for example `apt-get install "
            "pocl-opencl-icd` (Debian, Ubuntu), or check /etc/OpenCL/vendors and OCL_ICD_VENDORS",
            (int)st);
    if (np > 16) np = 16;
    for (cl_uint p = 0; p < np; p++) {
        cl_device_id ids[OPENCL_DEVICES_MAX];
        cl_uint nd = 0;
        if (a->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, OPENCL_DEVICES_MAX, ids, &nd) != CL_SUCCESS) continue;
        for (cl_uint i = 0; i < nd && i < OPENCL_DEVICES_MAX && n < OPENCL_DEVICES_MAX; i++)
            out[n++] = (struct opencl_found){platforms[p], ids[i]};
    }
    return (int)n;
}

/* Device or platform text, blanks at the ends and control characters removed. */
static void tidy(char *s)
{
    size_t n = strlen(s), lead = strspn(s, " \t\n");
    memmove(s, s + lead, n - lead + 1);
    for (n -= lead; n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\n'); n--)
        s[n - 1] = 0;
    for (; *s; s++)
        if ((unsigned char)*s < ' ') *s = ' ';
}

void opencl_device_text(const struct opencl_api *a, cl_device_id id, cl_device_info what, char *out, size_t size)
{
    char text[1024] = "";
    if (a->clGetDeviceInfo(id, what, sizeof text - 1, text, NULL) != CL_SUCCESS) text[0] = 0;
    tidy(text);
    snprintf(out, size, "%s", text);
}

void opencl_platform_text(const struct opencl_api *a, cl_platform_id id, cl_platform_info what, char *out, size_t size)
{
    char text[1024] = "";
    if (a->clGetPlatformInfo(id, what, sizeof text - 1, text, NULL) != CL_SUCCESS) text[0] = 0;
    tidy(text);
    snprintf(out, size, "%s", text);
}

/* An integer of 4 or 8 bytes; 0 when the device does not say. */
int64_t opencl_number(const struct opencl_api *a, cl_device_id id, cl_device_info what)
{
    unsigned char raw[8] = {0};
    size_t n = 0;
    uint32_t u32;
    uint64_t u64;
    if (a->clGetDeviceInfo(id, what, sizeof raw, raw, &n) != CL_SUCCESS) return 0;
    memcpy(&u32, raw, sizeof u32);
    memcpy(&u64, raw, sizeof u64);
    return n == sizeof u32 ? (int64_t)u32 : (int64_t)u64;
}

/* The vendor's UUID where there is one (cl_khr_device_uuid), else a digest of what names the device. */
static void device_identity(const struct opencl_api *a, const struct opencl_found *f, char out[48])
{
    enum { DEVICE_UUID_KHR = 0x106A };
    unsigned char uuid[16];
    char ext[4096] = "", platform[256], name[256], vendor[256], version[256], digest[DIGEST_HEX];
    if (a->clGetDeviceInfo(f->id, CL_DEVICE_EXTENSIONS, sizeof ext - 1, ext, NULL) == CL_SUCCESS &&
        strstr(ext, "cl_khr_device_uuid") &&
        a->clGetDeviceInfo(f->id, DEVICE_UUID_KHR, sizeof uuid, uuid, NULL) == CL_SUCCESS) {
        for (int i = 0; i < 16; i++)
            snprintf(out + 2 * i, 3, "%02x", uuid[i]);
        return;
    }
    opencl_platform_text(a, f->platform, CL_PLATFORM_NAME, platform, sizeof platform);
    opencl_device_text(a, f->id, CL_DEVICE_NAME, name, sizeof name);
    opencl_device_text(a, f->id, CL_DEVICE_VENDOR, vendor, sizeof vendor);
    opencl_device_text(a, f->id, CL_DEVICE_VERSION, version, sizeof version);
    digest_strings(digest, platform, name, vendor, version, (char *)NULL);
    snprintf(out, 48, "opencl-%.32s", digest);
}

void opencl_target(const struct opencl_api *a, const struct opencl_found *f, int index, struct target *t)
{
    cl_device_id id = f->id;
    *t = (struct target){.driver = "opencl", .language = "opencl", .index = index};
    opencl_device_text(a, id, CL_DEVICE_NAME, t->name, sizeof t->name);
    opencl_device_text(a, id, CL_DRIVER_VERSION, t->driver_version, sizeof t->driver_version);
    opencl_platform_text(a, f->platform, CL_PLATFORM_VERSION, t->compiler, sizeof t->compiler);
    device_identity(a, f, t->uuid);
    t->smem_block_bytes = opencl_number(a, id, CL_DEVICE_LOCAL_MEM_SIZE);
    t->threads_block = opencl_number(a, id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    t->sms = opencl_number(a, id, CL_DEVICE_MAX_COMPUTE_UNITS);
    t->l2_bytes = opencl_number(a, id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE);
    t->memory_bytes = opencl_number(a, id, CL_DEVICE_GLOBAL_MEM_SIZE);
    t->clock_mhz = (int)opencl_number(a, id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    t->is_host_cpu = (opencl_number(a, id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
}

/* Why fatune cannot use a device, or NULL. */
const char *opencl_unusable(const struct opencl_api *a, cl_device_id id)
{
    char version[128] = "";
    int major = 0, minor = 0;
    opencl_device_text(a, id, CL_DEVICE_VERSION, version, sizeof version);
    if (sscanf(version, "OpenCL %d.%d", &major, &minor) != 2 || major * 10 + minor < 12)
        return "is older than OpenCL 1.2";
    if (!opencl_number(a, id, CL_DEVICE_AVAILABLE)) return "says that it is not available";
    if (!opencl_number(a, id, CL_DEVICE_COMPILER_AVAILABLE)) return "has no compiler";
    if (!opencl_number(a, id, CL_DEVICE_ENDIAN_LITTLE)) return "is big-endian";
    return NULL;
}
