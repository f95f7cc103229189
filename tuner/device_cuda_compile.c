/* NVRTC straight to a cubin for a real architecture, so that ptxas runs here, reports registers and spills, and the
 * driver has nothing left to compile. No precompiled headers (their shared folder races between processes), no NVRTC
 * cache, nothing of the driver.
 *
 * Who pays: a source that does not compile, a bad option of a template, and a compiler that crashes or runs out of memory
 * on one source are the candidate's fate; a compiler that could compile no source at all is the machine's fault. */
#include "device_cuda.h"

#ifdef HAVE_CUDA

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_api.h"
#include "cuda_arch.h"
#include "cuda_code.h"

enum { LOG_CAP = 64 * 1024, OPTIONS_MAX = 64 };
/* From CUDA 12.9 NVRTC has a cache, and opens the driver (libcuda) for it. A compiling process must not. */
enum { NO_CACHE_SINCE = 12090 };

int device_cuda_driver_major(const struct target *t)
{
    const char *p = strstr(t->driver_version, "CUDA ");
    long major = p ? strtol(p + 5, NULL, 10) : 0;
    return major > 0 && major < 1000 ? (int)major : 0;
}

static int number_of_arch(const char *arch)
{
    const char *digits = strchr(arch, '_');
    return digits ? (int)strtol(digits + 1, NULL, 10) : 0;
}

/* True unless NVRTC says that it does not know the architecture. */
static bool arch_supported(const struct cuda_nvrtc *nvrtc, const char *arch)
{
    int n = 0, wanted = number_of_arch(arch);
    if (nvrtc->arch_count(&n) != NVRTC_SUCCESS || n <= 0) return true;
    int *list = calloc((size_t)n, sizeof *list);
    if (!list || nvrtc->archs(list) != NVRTC_SUCCESS) {
        free(list);
        return true;
    }
    bool found = false;
    for (int i = 0; i < n; i++)
        found = found || list[i] == wanted;
    free(list);
    return found;
}

typedef nvrtcResult (*size_function)(nvrtcProgram, size_t *);
typedef nvrtcResult (*text_function)(nvrtcProgram, char *);

/* Reads one of NVRTC's results; text loses its final NUL. */
static int fetch(struct buf *out, nvrtcProgram program, size_function get_size, text_function get, bool is_text,
                 struct err *e)
{
    size_t n = 0;
    if (get_size(program, &n) != NVRTC_SUCCESS || n == 0) return 0;
    char *bytes = calloc(n + 1, 1);
    if (!bytes) return err_nomem(e);
    if (get(program, bytes) == NVRTC_SUCCESS) buf_add(out, bytes, is_text ? strnlen(bytes, n) : n);
    free(bytes);
    return buf_check(out, e);
}

static void cap_log(struct buf *log)
{
    static const char mark[] = "\n[the compiler said more; cut at 64 KiB]\n";
    if (log->n <= LOG_CAP) return;
    log->n = LOG_CAP - (sizeof mark - 1);
    buf_add(log, mark, sizeof mark - 1);
}

/* The first line of the log that names an error, "" when none does. */
static void first_error(char *out, size_t size, const char *log)
{
    const char *p = strstr(log, "error");
    if (!p) p = strstr(log, "fatal");
    out[0] = '\0';
    if (!p) return;
    while (p > log && p[-1] != '\n')
        p--;
    size_t n = strcspn(p, "\n");
    snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), p);
}

/* ptxas with -v says nothing of the commonest refusal, too much static shared memory, but has printed the size. */
static void refused_in_silence(const struct device_resources *res, struct err *e)
{
    enum { STATIC_SHARED_MAX = 48 * 1024 }; /* CUDA programming guide, on every architecture */
    if (res->shared_static_bytes > STATIC_SHARED_MAX)
        err_set(e, ERR_DEVICE,
                "does not compile: %lld bytes of static shared memory, at most %d are allowed; take what is more as "
                "dynamic "
                "shared memory (extern __shared__)",
                (long long)res->shared_static_bytes, STATIC_SHARED_MAX);
    else
        err_set(e, ERR_DEVICE, "does not compile, and the log names no error");
}

static enum device_class compile_failed(const struct cuda_nvrtc *nvrtc, nvrtcResult r, const char *arch,
                                        struct device_binary *out, struct err *e)
{
    const char *log = buf_text(&out->log);
    char line[512];
    first_error(line, sizeof line, log);
    switch ((int)r) {
    case NVRTC_ERROR_BUILTIN_OPERATION_FAILURE:
        err_set(e, ERR_DEVICE,
                "NVRTC %d.%d lacks its companion libnvrtc-builtins: %s. Install both from one package, in one folder",
                nvrtc->major, nvrtc->minor, line);
        return DEVICE_LOST;
    case NVRTC_ERROR_INVALID_OPTION:
        if (!arch_supported(nvrtc, arch)) {
            err_set(e, ERR_DEVICE,
                    "NVRTC %d.%d does not know %s; install the NVRTC of a newer CUDA toolkit and set FATUNE_NVRTC",
                    nvrtc->major, nvrtc->minor, arch);
            return DEVICE_LOST;
        }
        err_set(e, ERR_DEVICE, "NVRTC refuses an option: %s", line);
        return DEVICE_FATE;
    case NVRTC_ERROR_COMPILATION:
        if (strstr(log, "failed to open libnvrtc-builtins")) {
            err_set(e, ERR_DEVICE, "NVRTC cannot work: %s", line);
            return DEVICE_LOST;
        }
        if (*line)
            err_set(e, ERR_DEVICE, "does not compile: %s", line);
        else
            refused_in_silence(&out->res, e);
        return DEVICE_FATE;
    case NVRTC_ERROR_OUT_OF_MEMORY:
    case NVRTC_ERROR_INTERNAL_ERROR:
        err_set(e, ERR_DEVICE, "the compiler failed on this source: %s%s%s", nvrtc->error_string(r), *line ? ": " : "",
                line);
        return DEVICE_FATE;
    default:
        err_set(e, ERR_DEVICE, "NVRTC %d.%d cannot work: %s (%d)%s%s. Try another one with FATUNE_NVRTC", nvrtc->major,
                nvrtc->minor, nvrtc->error_string(r), (int)r, *line ? ": " : "", line);
        return DEVICE_LOST;
    }
}

/* Option list; the strings live in args. -1 when there are too many. */
struct options {
    const char *list[OPTIONS_MAX];
    int n;
    char arch[64], include[4096];
};

static int options_fill(struct options *o, const struct cuda_nvrtc *nvrtc, const char *arch,
                        const struct device_source *src, struct err *e)
{
    o->n = 0;
    snprintf(o->arch, sizeof o->arch, "--gpu-architecture=%s", arch);
    o->list[o->n++] = o->arch;
    o->list[o->n++] = "--std=c++17";
    o->list[o->n++] = "-default-device"; /* lambdas carry no annotation: they are device functions, as with nvcc */
    o->list[o->n++] = "--ptxas-options=-v";
    if (nvrtc->major * 1000 + nvrtc->minor * 10 >= NO_CACHE_SINCE) o->list[o->n++] = "--no-cache";
    if (src->include_dir) {
        int n = snprintf(o->include, sizeof o->include, "--include-path=%s", src->include_dir);
        if (n < 0 || (size_t)n >= sizeof o->include)
            return err_set(e, ERR_DEVICE, "the include folder's path is too long: %.100s...", src->include_dir);
        o->list[o->n++] = o->include;
    }
    for (const char *const *p = src->options; p && *p; p++) {
        if (o->n == OPTIONS_MAX) return err_set(e, ERR_DEVICE, "more than %d compiler options", OPTIONS_MAX);
        o->list[o->n++] = *p;
    }
    return 0;
}

/* What a successful compile must also be: whole, with the entry, and without a register request that was ignored. */
static enum device_class judge(const struct device_source *src, struct device_binary *out, struct err *e)
{
    if (strstr(buf_text(&out->log), "C7508")) {
        err_set(e, ERR_DEVICE,
                "setmaxnreg is ignored by ptxas (warning C7508); give the kernel __launch_bounds__(threads, 1)");
        return DEVICE_FATE;
    }
    if (!cuda_code_image_ok(out->image.p, out->image.n)) {
        err_set(e, ERR_DEVICE, "NVRTC gave no complete cubin (%zu bytes); the architecture must be a real one, sm_NN",
                out->image.n);
        return DEVICE_LOST;
    }
    if (!cuda_code_has_kernel(out->image.p, out->image.n, src->entry)) {
        err_set(e, ERR_DEVICE, "the source has no kernel '%s'; declare it extern \"C\" __global__", src->entry);
        return DEVICE_FATE;
    }
    return DEVICE_OK;
}

enum device_class device_cuda_compile(const struct target *t, const struct device_source *src,
                                      struct device_binary *out, struct err *e)
{
    struct cuda_nvrtc nvrtc;
    struct options options;
    nvrtcProgram program = NULL;
    enum device_class class = DEVICE_LOST;
    char arch[32];
    *out = (struct device_binary){.res = {-1, -1, -1, -1, -1, -1, -1}};
    if (cuda_nvrtc_open(&nvrtc, device_cuda_driver_major(t), e) != 0) return DEVICE_LOST;
    if (t->arch[0])
        snprintf(arch, sizeof arch, "%s", t->arch);
    else
        cuda_arch_name(arch, sizeof arch, t->compute_capability);
    if (options_fill(&options, &nvrtc, arch, src, e) != 0) return DEVICE_FATE;
    /* A fixed name: the place of the source on this machine is not part of the result. */
    nvrtcResult r = nvrtc.create(&program, src->text, "kernel.cu", 0, NULL, NULL);
    if (r == NVRTC_SUCCESS) {
        r = nvrtc.compile(program, options.n, options.list);
        if (fetch(&out->log, program, nvrtc.log_size, nvrtc.log, true, e) != 0) goto out;
        cuda_code_read_log(buf_text(&out->log), src->entry, &out->res);
    }
    if (r != NVRTC_SUCCESS) {
        class = compile_failed(&nvrtc, r, arch, out, e);
        goto out;
    }
    if (fetch(&out->image, program, nvrtc.cubin_size, nvrtc.cubin, false, e) != 0) goto out;
    if (fetch(&out->ptx, program, nvrtc.ptx_size, nvrtc.ptx, true, e) != 0) goto out;
    if (out->ptx.n > 0) out->res.tensor_ops = cuda_code_tensor_ops(buf_text(&out->ptx));
    class = judge(src, out, e);
    if (class == DEVICE_OK && cuda_code_digest(out->code_digest, out->image.p, out->image.n, src->entry, e) != 0)
        class = DEVICE_LOST;
out:
    cap_log(&out->log);
    if (program) nvrtc.destroy(&program);
    return class;
}

#endif
