/* NVML counts its own initialisations, so opening it twice in one process is harmless. The library is never unloaded. */
#include "cuda_nvml.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define SYMBOL(member, name, parameters) {name, offsetof(struct cuda_nvml, member)},

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {CUDA_NVML_FUNCTIONS(SYMBOL)};

bool cuda_nvml_open(struct cuda_nvml *m, struct buf *note)
{
    memset(m, 0, sizeof *m);
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        if (note)
            buf_puts(note, "clocks, power and temperature of NVIDIA devices are unknown: libnvidia-ml.so.1 cannot be "
                           "loaded; in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility\n");
        return false;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *address = dlsym(library, symbols[i].name);
        memcpy((char *)m + symbols[i].offset, &address, sizeof address);
    }
    int rc = m->init && m->shutdown ? m->init() : -1;
    if (rc == CUDA_NVML_OK) return true;
    if (note)
        buf_printf(
            note,
            "clocks, power and temperature of NVIDIA devices are unknown: NVML cannot be initialised (nvmlReturn_t "
            "%d); does nvidia-smi work?\n",
            rc);
    memset(m, 0, sizeof *m);
    return false;
}

void cuda_nvml_close(struct cuda_nvml *m)
{
    if (m->shutdown) m->shutdown();
    memset(m, 0, sizeof *m);
}

void cuda_nvml_driver_version(char *out, unsigned size)
{
    struct cuda_nvml m;
    if (size > 0) out[0] = '\0';
    if (size == 0 || !cuda_nvml_open(&m, NULL)) return;
    if (!m.driver_version || m.driver_version(out, size) != CUDA_NVML_OK) out[0] = '\0';
    out[size - 1] = '\0';
    cuda_nvml_close(&m);
}
