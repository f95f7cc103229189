/* Every figure is asked of the device; nothing is assumed from its name. The architecture table serves only for the
 * tensor rate, which no attribute tells. */
#include "device_cuda.h"

#ifdef HAVE_CUDA

#include <stdio.h>
#include <string.h>

#include "cuda_api.h"
#include "cuda_arch.h"
#include "cuda_nvml.h"

static int attribute(const struct cuda_api *api, CUdevice device, CUdevice_attribute which)
{
    int value = 0;
    return api->device_attribute(&value, which, device) == CUDA_SUCCESS && value > 0 ? value : 0;
}

bool device_cuda_uuid(const struct cuda_api *api, CUdevice device, char out[DEVICE_CUDA_UUID])
{
    CUuuid uuid;
    char name[256] = "";
    out[0] = '\0';
    if (api->device_uuid(&uuid, device) != CUDA_SUCCESS) return false;
    if (api->device_name(name, (int)sizeof name, device) != CUDA_SUCCESS) name[0] = '\0';
    const unsigned char *b = (const unsigned char *)uuid.bytes;
    snprintf(out, DEVICE_CUDA_UUID, "%s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             strstr(name, " MIG ") ? "MIG" : "GPU", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
             b[11], b[12], b[13], b[14], b[15]);
    return true;
}

static void fill_limits(struct target *t, const struct cuda_api *api, CUdevice device)
{
    int major = attribute(api, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    int minor = attribute(api, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    size_t memory = 0;
    t->compute_capability = 10 * major + minor;
    cuda_arch_name(t->arch, sizeof t->arch, t->compute_capability);
    t->smem_block_bytes = attribute(api, device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    if (t->smem_block_bytes == 0)
        t->smem_block_bytes = attribute(api, device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
    t->smem_sm_bytes = attribute(api, device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
    t->regs_block = attribute(api, device, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
    t->threads_block = attribute(api, device, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
    t->sms = attribute(api, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    t->l2_bytes = attribute(api, device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
    t->warp = attribute(api, device, CU_DEVICE_ATTRIBUTE_WARP_SIZE);
    if (api->device_memory(&memory, device) == CUDA_SUCCESS) t->memory_bytes = (int64_t)memory;
    double clock_khz = attribute(api, device, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
    double memory_khz = attribute(api, device, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
    double bus_bits = attribute(api, device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
    t->clock_mhz = (int)(clock_khz / 1e3);
    t->peak_flops = cuda_arch_tensor_rate(t->compute_capability) * (double)t->sms * clock_khz * 1e3;
    t->peak_bytes_s = memory_khz * 1e3 * 2 * bus_bits / 8; /* two transfers a clock */
}

static int fill_target(struct target *t, const struct cuda_api *api, int index, const char *driver,
                       const char *compiler)
{
    CUdevice device;
    *t = (struct target){.index = index};
    if (api->device_get(&device, index) != CUDA_SUCCESS) return -1;
    snprintf(t->driver, sizeof t->driver, "cuda");
    snprintf(t->language, sizeof t->language, "cuda");
    if (api->device_name(t->name, (int)sizeof t->name, device) != CUDA_SUCCESS) t->name[0] = '\0';
    t->name[sizeof t->name - 1] = '\0';
    device_cuda_uuid(api, device, t->uuid);
    snprintf(t->driver_version, sizeof t->driver_version, "%s", driver);
    snprintf(t->compiler, sizeof t->compiler, "%s", compiler);
    fill_limits(t, api, device);
    return 0;
}

/* The compiler that device_cuda_compile will use for such a device; "" with a line in note when there is none. */
static void name_compiler(char *out, size_t size, const char *driver, int driver_version, struct buf *note)
{
    struct target hint = {0};
    struct cuda_nvrtc nvrtc;
    struct err why = {0};
    out[0] = '\0';
    snprintf(hint.driver_version, sizeof hint.driver_version, "%s", driver);
    if (cuda_nvrtc_open(&nvrtc, device_cuda_driver_major(&hint), &why) != 0) {
        buf_printf(note, "CUDA: %s\n", why.text);
        return;
    }
    snprintf(out, size, "NVRTC %d.%d", nvrtc.major, nvrtc.minor);
    if (nvrtc.major > driver_version / 1000)
        buf_printf(
            note,
            "CUDA: %s is newer than the driver (CUDA %d.%d), which may refuse its binaries; install a newer driver, or "
            "set FATUNE_NVRTC to libnvrtc.so.%d\n",
            out, driver_version / 1000, driver_version % 1000 / 10, driver_version / 1000);
}

int device_cuda_enumerate(struct target *out, int max, struct buf *note)
{
    struct cuda_api api;
    struct err why = {0};
    char own[32], driver[64], compiler[128];
    int count = 0, filled = 0;
    if (cuda_api_open(&api, &why) != 0) {
        buf_printf(note, "CUDA: %s\n", why.text);
        return 0;
    }
    if (api.device_count(&count) != CUDA_SUCCESS) count = 0;
    if (count == 0) buf_puts(note, "CUDA: the driver sees no device; check CUDA_VISIBLE_DEVICES and nvidia-smi\n");
    cuda_nvml_driver_version(own, sizeof own);
    int major = api.version / 1000, minor = api.version % 1000 / 10;
    if (own[0])
        snprintf(driver, sizeof driver, "%s (CUDA %d.%d)", own, major, minor);
    else
        snprintf(driver, sizeof driver, "CUDA %d.%d", major, minor);
    name_compiler(compiler, sizeof compiler, driver, api.version, note);
    for (int i = 0; i < count && filled < max; i++) {
        if (fill_target(&out[filled], &api, i, driver, compiler) == 0)
            filled++;
        else
            buf_printf(note, "CUDA: device %d does not answer; see nvidia-smi\n", i);
    }
    return filled;
}

#endif
