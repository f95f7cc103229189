/* One table says what each driver error means. Sources: the comments in cuda.h 13.0 (which name the errors after which
 * "the process must be terminated and relaunched"), and field experience for those blamed on the machine. A code that
 * the table lacks is STICKY: the worker ends and is replaced, which is always safe. */
#include "cuda_api.h"

#ifdef HAVE_CUDA

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Expands the header's version macros before making a string of the name. */
#define CUDA_API_TEXT(name) #name
#define CUDA_API_NAME(name) CUDA_API_TEXT(name)

struct symbol {
    const char *name;
    size_t offset;
};

#define DRIVER_SYMBOL(member, function, name) {name, offsetof(struct cuda_api, member)},
#define NVRTC_SYMBOL(member, function, name) {name, offsetof(struct cuda_nvrtc, member)},

static const struct symbol driver_symbols[] = {CUDA_API_DRIVER(DRIVER_SYMBOL)};
static const struct symbol nvrtc_symbols[] = {CUDA_API_NVRTC(NVRTC_SYMBOL)};

static const struct meaning {
    int code;
    enum device_class class;
    const char *name, *advice;
} meanings[] = {
    {0, DEVICE_OK, "CUDA_SUCCESS", ""},
    {1, DEVICE_FATE, "CUDA_ERROR_INVALID_VALUE", "a launch dimension or size is beyond the device's limits"},
    {2, DEVICE_FATE, "CUDA_ERROR_OUT_OF_MEMORY", "see with nvidia-smi who holds the memory"},
    {3, DEVICE_LOST, "CUDA_ERROR_NOT_INITIALIZED", "run `fatune doctor`"},
    {4, DEVICE_LOST, "CUDA_ERROR_DEINITIALIZED", "the driver is shutting down; run again"},
    {34, DEVICE_LOST, "CUDA_ERROR_STUB_LIBRARY", "the toolkit's stub was loaded; put the driver's libcuda.so.1 first"},
    {36, DEVICE_LOST, "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER", "install driver 550 or newer"},
    {46, DEVICE_LOST, "CUDA_ERROR_DEVICE_UNAVAILABLE", "another process may hold it exclusively; see nvidia-smi"},
    {100, DEVICE_LOST, "CUDA_ERROR_NO_DEVICE", "see nvidia-smi and CUDA_VISIBLE_DEVICES"},
    {101, DEVICE_LOST, "CUDA_ERROR_INVALID_DEVICE", "see `fatune devices`"},
    {102, DEVICE_LOST, "CUDA_ERROR_DEVICE_NOT_LICENSED", "the virtual GPU has no licence"},
    {200, DEVICE_FATE, "CUDA_ERROR_INVALID_IMAGE", "the binary is damaged or for another device"},
    {201, DEVICE_STICKY, "CUDA_ERROR_INVALID_CONTEXT", ""},
    {209, DEVICE_FATE, "CUDA_ERROR_NO_BINARY_FOR_GPU", "the binary is for another architecture"},
    {214, DEVICE_LOST, "CUDA_ERROR_ECC_UNCORRECTABLE", "see `dmesg` for the Xid; reset or replace the device"},
    {218, DEVICE_FATE, "CUDA_ERROR_INVALID_PTX", ""},
    {220, DEVICE_LOST, "CUDA_ERROR_NVLINK_UNCORRECTABLE", "see `dmesg` for the Xid"},
    {221, DEVICE_LOST, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "install the driver's libnvidia-ptxjitcompiler"},
    {222, DEVICE_FATE, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "NVRTC is newer than the driver"},
    {223, DEVICE_LOST, "CUDA_ERROR_JIT_COMPILATION_DISABLED", "unset CUDA_DISABLE_PTX_JIT"},
    {225, DEVICE_FATE, "CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC", ""},
    {226, DEVICE_STICKY, "CUDA_ERROR_CONTAINED", ""},
    {300, DEVICE_FATE, "CUDA_ERROR_INVALID_SOURCE", ""},
    {302, DEVICE_FATE, "CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND", ""},
    {304, DEVICE_LOST, "CUDA_ERROR_OPERATING_SYSTEM", "a system call of the driver failed; see `dmesg`"},
    {500, DEVICE_FATE, "CUDA_ERROR_NOT_FOUND", "the binary has no kernel of that name; declare it extern \"C\""},
    {700, DEVICE_STICKY, "CUDA_ERROR_ILLEGAL_ADDRESS", "run it under compute-sanitizer with `fatune eval`"},
    {701, DEVICE_FATE, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "use fewer threads, registers or shared bytes a block"},
    {702, DEVICE_STICKY, "CUDA_ERROR_LAUNCH_TIMEOUT", "the kernel ran past the display driver's limit"},
    {709, DEVICE_STICKY, "CUDA_ERROR_CONTEXT_IS_DESTROYED", ""},
    {710, DEVICE_STICKY, "CUDA_ERROR_ASSERT", "an assertion in the kernel failed"},
    {714, DEVICE_STICKY, "CUDA_ERROR_HARDWARE_STACK_ERROR", ""},
    {715, DEVICE_STICKY, "CUDA_ERROR_ILLEGAL_INSTRUCTION", ""},
    {716, DEVICE_STICKY, "CUDA_ERROR_MISALIGNED_ADDRESS", "run it under compute-sanitizer with `fatune eval`"},
    {717, DEVICE_STICKY, "CUDA_ERROR_INVALID_ADDRESS_SPACE", ""},
    {718, DEVICE_STICKY, "CUDA_ERROR_INVALID_PC", ""},
    {719, DEVICE_STICKY, "CUDA_ERROR_LAUNCH_FAILED", "run it under compute-sanitizer with `fatune eval`"},
    {720, DEVICE_FATE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", ""},
    {721, DEVICE_STICKY, "CUDA_ERROR_TENSOR_MEMORY_LEAK", ""},
    {800, DEVICE_FATE, "CUDA_ERROR_NOT_PERMITTED", ""},
    {801, DEVICE_FATE, "CUDA_ERROR_NOT_SUPPORTED", "this device lacks what the launch asks for"},
    {802, DEVICE_LOST, "CUDA_ERROR_SYSTEM_NOT_READY", "is nvidia-fabricmanager running?"},
    {803, DEVICE_LOST, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "libcuda and the kernel module differ; reboot"},
    {804, DEVICE_LOST, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "remove the cuda-compat package"},
    {805, DEVICE_LOST, "CUDA_ERROR_MPS_CONNECTION_FAILED", "stop MPS: a measuring device is not shared"},
    {806, DEVICE_LOST, "CUDA_ERROR_MPS_RPC_FAILURE", "stop MPS: a measuring device is not shared"},
    {807, DEVICE_LOST, "CUDA_ERROR_MPS_SERVER_NOT_READY", "stop MPS: a measuring device is not shared"},
    {808, DEVICE_LOST, "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", "stop MPS: a measuring device is not shared"},
    {809, DEVICE_LOST, "CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED", "stop MPS: a measuring device is not shared"},
    {810, DEVICE_STICKY, "CUDA_ERROR_MPS_CLIENT_TERMINATED", "stop MPS: a measuring device is not shared"},
    {911, DEVICE_STICKY, "CUDA_ERROR_EXTERNAL_DEVICE", ""},
    {912, DEVICE_FATE, "CUDA_ERROR_INVALID_CLUSTER_SIZE", "use a smaller cluster"},
    {915, DEVICE_FATE, "CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION", ""},
    {999, DEVICE_LOST, "CUDA_ERROR_UNKNOWN", "see `dmesg` for the Xid, then `nvidia-smi`"},
};

static const struct meaning *meaning_of(CUresult r)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].code == (int)r) return &meanings[i];
    return NULL;
}

enum device_class cuda_api_class(CUresult r)
{
    const struct meaning *m = meaning_of(r);
    return m ? m->class : DEVICE_STICKY;
}

enum device_class cuda_api_fail(const struct cuda_api *api, CUresult r, const char *what, struct err *e)
{
    const struct meaning *m = meaning_of(r);
    const char *name = m ? m->name : NULL, *why = NULL, *advice = m ? m->advice : "";
    enum device_class class = m ? m->class : DEVICE_STICKY;
    if (!name && api->error_name(r, &name) != CUDA_SUCCESS) name = "unknown error";
    if (api->error_string(r, &why) != CUDA_SUCCESS || !why) why = "the driver gives no text";
    if (class == DEVICE_STICKY && !*advice) advice = "the context is lost; the worker must be replaced";
    err_set(e, ERR_DEVICE, "%s: %s (%d): %s%s%s", what, name ? name : "unknown error", (int)r, why, *advice ? "; " : "",
            advice);
    return class;
}

/* Fills the function pointers of a table; the name of the first one missing, or NULL. Object and function pointers
 * have one size wherever dlsym exists (POSIX). */
static const char *resolve(void *table, void *library, const struct symbol *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *address = dlsym(library, s[i].name);
        if (!address) return s[i].name;
        memcpy((char *)table + s[i].offset, &address, sizeof address);
    }
    return NULL;
}

int cuda_api_open(struct cuda_api *api, struct err *e)
{
    memset(api, 0, sizeof *api);
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        return err_set(e, ERR_DEVICE,
                       "no NVIDIA driver: %s. Install driver 550 or newer (CUDA 12.4); in a container, start it with "
                       "the NVIDIA runtime (docker run --gpus all)",
                       why ? why : "libcuda.so.1 cannot be loaded");
    }
    const char *missing = resolve(api, library, driver_symbols, sizeof driver_symbols / sizeof driver_symbols[0]);
    if (missing)
        return err_set(e, ERR_DEVICE,
                       "the NVIDIA driver is too old: it lacks %s. Install driver 550 or newer (CUDA 12.4)", missing);
    /* A kernel's first launch would otherwise pay for loading it. The driver reads this in cuInit. */
    setenv("CUDA_MODULE_LOADING", "EAGER", 1);
    CUresult r = api->init(0);
    if (r != CUDA_SUCCESS) {
        cuda_api_fail(api, r, "the NVIDIA driver cannot be initialised", e);
        return -1;
    }
    r = api->driver_version(&api->version);
    if (r != CUDA_SUCCESS) {
        cuda_api_fail(api, r, "cuDriverGetVersion", e);
        return -1;
    }
    if (api->version < CUDA_API_OLDEST)
        return err_set(e, ERR_DEVICE, "the NVIDIA driver supports CUDA %d.%d; install driver 550 or newer (CUDA 12.4)",
                       api->version / 1000, api->version % 1000 / 10);
    return 0;
}

static void *open_in(const char *dir, const char *soname)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", dir, soname);
    return n > 0 && (size_t)n < sizeof path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

static void *open_in_toolkits(const char *soname)
{
    static const char *const variables[] = {"CUDA_HOME", "CUDA_PATH"};
    void *library = NULL;
    for (size_t i = 0; i < 2 && !library; i++) {
        const char *home = getenv(variables[i]);
        char dir[4096];
        int n = home && *home ? snprintf(dir, sizeof dir, "%s/lib64", home) : 0;
        if (n > 0 && (size_t)n < sizeof dir) library = open_in(dir, soname);
    }
    glob_t g = {0};
    if (!library && glob("/usr/local/cuda*/lib64", 0, NULL, &g) == 0)
        for (size_t i = 0; i < g.gl_pathc && !library; i++)
            library = open_in(g.gl_pathv[i], soname);
    globfree(&g);
    return library;
}

static void *find_nvrtc(int driver_major)
{
    static const struct {
        const char *soname;
        int major;
    } known[] = {{"libnvrtc.so.13", 13}, {"libnvrtc.so.12", 12}};
    void *library = NULL;
    /* First what the driver can certainly load, then anything. */
    for (int any = 0; any < 2 && !library; any++)
        for (int toolkits = 0; toolkits < 2 && !library; toolkits++)
            for (size_t i = 0; i < sizeof known / sizeof known[0] && !library; i++) {
                bool fits = driver_major <= 0 || known[i].major <= driver_major;
                if (fits == (any == 1)) continue;
                library = toolkits ? open_in_toolkits(known[i].soname) : dlopen(known[i].soname, RTLD_NOW | RTLD_LOCAL);
            }
    return library;
}

int cuda_nvrtc_open(struct cuda_nvrtc *nvrtc, int driver_major, struct err *e)
{
    memset(nvrtc, 0, sizeof *nvrtc);
    const char *given = getenv("FATUNE_NVRTC");
    void *library;
    if (given && *given) {
        library = dlopen(given, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            const char *why = dlerror();
            return err_set(e, ERR_DEVICE, "FATUNE_NVRTC=%s cannot be loaded: %s. Set it to the path of a libnvrtc.so",
                           given, why ? why : "unknown reason");
        }
    } else {
        library = find_nvrtc(driver_major);
        if (!library)
            return err_set(
                e, ERR_DEVICE,
                "NVRTC, the CUDA run-time compiler, was not found (libnvrtc.so.13 or .12). Install the package "
                "cuda-nvrtc-13-0 (or cuda-nvrtc-12-4 and later), or pip's nvidia-cuda-nvrtc, whose folder "
                "(nvidia/cu13/lib or nvidia/cuda_nvrtc/lib in site-packages) is not searched; then set "
                "FATUNE_NVRTC to the path of libnvrtc.so");
    }
    const char *missing = resolve(nvrtc, library, nvrtc_symbols, sizeof nvrtc_symbols / sizeof nvrtc_symbols[0]);
    if (missing)
        return err_set(e, ERR_DEVICE,
                       "the NVRTC found is too old or not NVRTC: it lacks %s. Set FATUNE_NVRTC to one of CUDA "
                       "12.4 or newer",
                       missing);
    if (nvrtc->version(&nvrtc->major, &nvrtc->minor) != NVRTC_SUCCESS)
        return err_set(e, ERR_DEVICE, "NVRTC does not tell its version. Set FATUNE_NVRTC to another one");
    if (nvrtc->major * 1000 + nvrtc->minor * 10 < CUDA_API_OLDEST)
        return err_set(e, ERR_DEVICE, "NVRTC %d.%d is too old. Set FATUNE_NVRTC to one of CUDA 12.4 or newer",
                       nvrtc->major, nvrtc->minor);
    return 0;
}

#endif
