/* cuda_nvml.h - the few NVML functions that fatune asks, found at run time in libnvidia-ml.so.1.
 *
 * NVML's header is not needed: its entry points and numbers are a stable binary interface, and the prototypes below
 * restate those used (NVML API reference). Any member may be NULL when a driver lacks it. */
#ifndef CUDA_NVML_H
#define CUDA_NVML_H

#include <stdbool.h>

#include "buf.h"

typedef struct cuda_nvml_device_s *cuda_nvml_device; /* nvmlDevice_t */

/* nvmlProcessInfo_v2_t, the layout that nvmlDeviceGet*RunningProcesses_v2 writes. (_v3 was once shipped with a longer
 * one, so it is not used.) */
struct cuda_nvml_process {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};

enum { CUDA_NVML_OK = 0, CUDA_NVML_MORE = 7 }; /* NVML_SUCCESS, NVML_ERROR_INSUFFICIENT_SIZE */
enum { CUDA_NVML_CLOCK_SM = 1, CUDA_NVML_CLOCK_MEM = 2 };

/* X(member, exported name, parameters); all return an nvmlReturn_t as int. */
#define CUDA_NVML_FUNCTIONS(X)                                                                                         \
    X(init, "nvmlInit_v2", (void))                                                                                     \
    X(shutdown, "nvmlShutdown", (void))                                                                                \
    X(driver_version, "nvmlSystemGetDriverVersion", (char *, unsigned))                                                \
    X(by_uuid, "nvmlDeviceGetHandleByUUID", (const char *, cuda_nvml_device *))                                        \
    X(by_index, "nvmlDeviceGetHandleByIndex_v2", (unsigned, cuda_nvml_device *))                                       \
    X(parent, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", (cuda_nvml_device, cuda_nvml_device *))                  \
    X(clock, "nvmlDeviceGetClockInfo", (cuda_nvml_device, int, unsigned *))                                            \
    X(max_clock, "nvmlDeviceGetMaxClockInfo", (cuda_nvml_device, int, unsigned *))                                     \
    X(temperature, "nvmlDeviceGetTemperature", (cuda_nvml_device, int, unsigned *))                                    \
    X(power, "nvmlDeviceGetPowerUsage", (cuda_nvml_device, unsigned *))                                                \
    X(power_limit, "nvmlDeviceGetEnforcedPowerLimit", (cuda_nvml_device, unsigned *))                                  \
    X(power_default, "nvmlDeviceGetPowerManagementDefaultLimit", (cuda_nvml_device, unsigned *))                       \
    X(app_clock, "nvmlDeviceGetApplicationsClock", (cuda_nvml_device, int, unsigned *))                                \
    X(app_clock_default, "nvmlDeviceGetDefaultApplicationsClock", (cuda_nvml_device, int, unsigned *))                 \
    X(reasons, "nvmlDeviceGetCurrentClocksEventReasons", (cuda_nvml_device, unsigned long long *))                     \
    X(reasons_old, "nvmlDeviceGetCurrentClocksThrottleReasons", (cuda_nvml_device, unsigned long long *))              \
    X(processes, "nvmlDeviceGetComputeRunningProcesses_v2",                                                            \
      (cuda_nvml_device, unsigned *, struct cuda_nvml_process *))                                                      \
    X(mps_processes, "nvmlDeviceGetMPSComputeRunningProcesses_v2",                                                     \
      (cuda_nvml_device, unsigned *, struct cuda_nvml_process *))                                                      \
    X(vbios, "nvmlDeviceGetVbiosVersion", (cuda_nvml_device, char *, unsigned))                                        \
    X(ecc, "nvmlDeviceGetEccMode", (cuda_nvml_device, int *, int *))                                                   \
    X(mig, "nvmlDeviceGetMigMode", (cuda_nvml_device, unsigned *, unsigned *))                                         \
    X(persistence, "nvmlDeviceGetPersistenceMode", (cuda_nvml_device, int *))                                          \
    X(compute_mode, "nvmlDeviceGetComputeMode", (cuda_nvml_device, int *))

#define CUDA_NVML_MEMBER(member, name, parameters) int(*member) parameters;

struct cuda_nvml {
    CUDA_NVML_FUNCTIONS(CUDA_NVML_MEMBER)
};

/* Opens and initialises NVML; false, with a line in note (may be NULL), when that cannot be done. */
bool cuda_nvml_open(struct cuda_nvml *m, struct buf *note);
void cuda_nvml_close(struct cuda_nvml *m);
/* The driver's own version, "580.65.06"; "" when NVML does not say. Opens and closes NVML. */
void cuda_nvml_driver_version(char *out, unsigned size);

#endif
