/* cuda_api.h - the CUDA driver and NVRTC as tables of functions found at run time, and the meaning of their errors.
 *
 * Nothing of CUDA is linked: libcuda.so.1 and libnvrtc.so.13/.12 are opened with dlopen, so one binary starts anywhere.
 * Prototypes come from cuda.h and nvrtc.h (12.4 to 13.x); only functions that a 12.4 driver has are asked for. The
 * tables are plain values; the libraries behind them are never closed (unloading them is not safe), so opening a table
 * again costs a few look-ups. */
#ifndef CUDA_API_H
#define CUDA_API_H

#ifdef HAVE_CUDA

#include <cuda.h>
#include <nvrtc.h>

#include "device.h"
#include "err.h"

#define CUDA_API_OLDEST 12040 /* CUDA 12.4, as cuDriverGetVersion says it */

/* X(member, function whose prototype it has, exported name). The exported name is the header's own, versions included,
 * but for two functions: cuEventElapsedTime, whose _v2 of the 12.8 headers is missing from a 12.4 driver, and
 * cuDeviceGetUuid, whose _v2 (it tells MIG slices apart) is a macro only in the 13.x headers. Same prototypes. */
#define CUDA_API_DRIVER(X)                                                                                             \
    X(init, cuInit, CUDA_API_NAME(cuInit))                                                                             \
    X(driver_version, cuDriverGetVersion, CUDA_API_NAME(cuDriverGetVersion))                                           \
    X(error_name, cuGetErrorName, CUDA_API_NAME(cuGetErrorName))                                                       \
    X(error_string, cuGetErrorString, CUDA_API_NAME(cuGetErrorString))                                                 \
    X(device_count, cuDeviceGetCount, CUDA_API_NAME(cuDeviceGetCount))                                                 \
    X(device_get, cuDeviceGet, CUDA_API_NAME(cuDeviceGet))                                                             \
    X(device_name, cuDeviceGetName, CUDA_API_NAME(cuDeviceGetName))                                                    \
    X(device_uuid, cuDeviceGetUuid, "cuDeviceGetUuid_v2")                                                              \
    X(device_memory, cuDeviceTotalMem, CUDA_API_NAME(cuDeviceTotalMem))                                                \
    X(device_attribute, cuDeviceGetAttribute, CUDA_API_NAME(cuDeviceGetAttribute))                                     \
    X(primary_retain, cuDevicePrimaryCtxRetain, CUDA_API_NAME(cuDevicePrimaryCtxRetain))                               \
    X(primary_release, cuDevicePrimaryCtxRelease, CUDA_API_NAME(cuDevicePrimaryCtxRelease))                            \
    X(ctx_set_current, cuCtxSetCurrent, CUDA_API_NAME(cuCtxSetCurrent))                                                \
    X(stream_create, cuStreamCreate, CUDA_API_NAME(cuStreamCreate))                                                    \
    X(stream_destroy, cuStreamDestroy, CUDA_API_NAME(cuStreamDestroy))                                                 \
    X(stream_synchronize, cuStreamSynchronize, CUDA_API_NAME(cuStreamSynchronize))                                     \
    X(capture_begin, cuStreamBeginCapture, CUDA_API_NAME(cuStreamBeginCapture))                                        \
    X(capture_end, cuStreamEndCapture, CUDA_API_NAME(cuStreamEndCapture))                                              \
    X(module_load, cuModuleLoadData, CUDA_API_NAME(cuModuleLoadData))                                                  \
    X(module_unload, cuModuleUnload, CUDA_API_NAME(cuModuleUnload))                                                    \
    X(module_function, cuModuleGetFunction, CUDA_API_NAME(cuModuleGetFunction))                                        \
    X(function_get, cuFuncGetAttribute, CUDA_API_NAME(cuFuncGetAttribute))                                             \
    X(function_set, cuFuncSetAttribute, CUDA_API_NAME(cuFuncSetAttribute))                                             \
    X(mem_alloc, cuMemAlloc, CUDA_API_NAME(cuMemAlloc))                                                                \
    X(mem_free, cuMemFree, CUDA_API_NAME(cuMemFree))                                                                   \
    X(host_alloc, cuMemHostAlloc, CUDA_API_NAME(cuMemHostAlloc))                                                       \
    X(host_free, cuMemFreeHost, CUDA_API_NAME(cuMemFreeHost))                                                          \
    X(copy_in, cuMemcpyHtoDAsync, CUDA_API_NAME(cuMemcpyHtoDAsync))                                                    \
    X(copy_out, cuMemcpyDtoHAsync, CUDA_API_NAME(cuMemcpyDtoHAsync))                                                   \
    X(set_u32, cuMemsetD32Async, CUDA_API_NAME(cuMemsetD32Async))                                                      \
    X(launch, cuLaunchKernelEx, CUDA_API_NAME(cuLaunchKernelEx))                                                       \
    X(clusters, cuOccupancyMaxActiveClusters, CUDA_API_NAME(cuOccupancyMaxActiveClusters))                             \
    X(tensor_map, cuTensorMapEncodeTiled, CUDA_API_NAME(cuTensorMapEncodeTiled))                                       \
    X(graph_instantiate, cuGraphInstantiate, CUDA_API_NAME(cuGraphInstantiate))                                        \
    X(graph_upload, cuGraphUpload, CUDA_API_NAME(cuGraphUpload))                                                       \
    X(graph_launch, cuGraphLaunch, CUDA_API_NAME(cuGraphLaunch))                                                       \
    X(graph_exec_destroy, cuGraphExecDestroy, CUDA_API_NAME(cuGraphExecDestroy))                                       \
    X(graph_destroy, cuGraphDestroy, CUDA_API_NAME(cuGraphDestroy))                                                    \
    X(event_create, cuEventCreate, CUDA_API_NAME(cuEventCreate))                                                       \
    X(event_destroy, cuEventDestroy, CUDA_API_NAME(cuEventDestroy))                                                    \
    X(event_record, cuEventRecord, CUDA_API_NAME(cuEventRecord))                                                       \
    X(event_elapsed, cuEventElapsedTime, "cuEventElapsedTime")

#define CUDA_API_NVRTC(X)                                                                                              \
    X(version, nvrtcVersion, CUDA_API_NAME(nvrtcVersion))                                                              \
    X(error_string, nvrtcGetErrorString, CUDA_API_NAME(nvrtcGetErrorString))                                           \
    X(arch_count, nvrtcGetNumSupportedArchs, CUDA_API_NAME(nvrtcGetNumSupportedArchs))                                 \
    X(archs, nvrtcGetSupportedArchs, CUDA_API_NAME(nvrtcGetSupportedArchs))                                            \
    X(create, nvrtcCreateProgram, CUDA_API_NAME(nvrtcCreateProgram))                                                   \
    X(destroy, nvrtcDestroyProgram, CUDA_API_NAME(nvrtcDestroyProgram))                                                \
    X(compile, nvrtcCompileProgram, CUDA_API_NAME(nvrtcCompileProgram))                                                \
    X(log_size, nvrtcGetProgramLogSize, CUDA_API_NAME(nvrtcGetProgramLogSize))                                         \
    X(log, nvrtcGetProgramLog, CUDA_API_NAME(nvrtcGetProgramLog))                                                      \
    X(cubin_size, nvrtcGetCUBINSize, CUDA_API_NAME(nvrtcGetCUBINSize))                                                 \
    X(cubin, nvrtcGetCUBIN, CUDA_API_NAME(nvrtcGetCUBIN))                                                              \
    X(ptx_size, nvrtcGetPTXSize, CUDA_API_NAME(nvrtcGetPTXSize))                                                       \
    X(ptx, nvrtcGetPTX, CUDA_API_NAME(nvrtcGetPTX))

#define CUDA_API_MEMBER(member, function, name) __typeof__(&function) member;

struct cuda_api {
    int version; /* 13000 for 13.0 */
    CUDA_API_DRIVER(CUDA_API_MEMBER)
};

struct cuda_nvrtc {
    int major, minor;
    CUDA_API_NVRTC(CUDA_API_MEMBER)
};

/* Opens libcuda, initialises it with eager module loading and checks its version. -1 (ERR_DEVICE) says what is missing
 * and how to get it; a machine without a device is such an error too. */
int cuda_api_open(struct cuda_api *api, struct err *e);

/* Opens NVRTC: the path in FATUNE_NVRTC when set, else the loader's search path, then CUDA_HOME, CUDA_PATH and
 * /usr/local/cuda*. driver_major > 0: a library no newer than that driver is preferred, because an older driver need not
 * load what a newer compiler makes. Touches no driver and no device. */
int cuda_nvrtc_open(struct cuda_nvrtc *nvrtc, int driver_major, struct err *e);

/* OK, FATE, STICKY or LOST for a driver's answer; STICKY when the code is unknown. */
enum device_class cuda_api_class(CUresult r);
/* Sets e to "what: NAME (code): why; advice" and returns the class of r. */
enum device_class cuda_api_fail(const struct cuda_api *api, CUresult r, const char *what, struct err *e);

#endif
#endif
