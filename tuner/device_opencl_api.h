/* device_opencl_api.h - what the OpenCL driver stands on: the loader's functions, the classes of its errors, and what a
 * device says of itself. Used by device_opencl.c and its tests alone. */
#ifndef DEVICE_OPENCL_API_H
#define DEVICE_OPENCL_API_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"

extern const struct device_driver device_opencl;

#define OPENCL_DEVICES_MAX 64u

#define OPENCL_FUNCTIONS(X)                                                                                            \
    X(clGetPlatformIDs)                                                                                                \
    X(clGetPlatformInfo)                                                                                               \
    X(clGetDeviceIDs)                                                                                                  \
    X(clGetDeviceInfo)                                                                                                 \
    X(clCreateContext)                                                                                                 \
    X(clReleaseContext)                                                                                                \
    X(clCreateCommandQueue)                                                                                            \
    X(clReleaseCommandQueue)                                                                                           \
    X(clCreateProgramWithSource)                                                                                       \
    X(clCreateProgramWithBinary)                                                                                       \
    X(clBuildProgram)                                                                                                  \
    X(clGetProgramBuildInfo)                                                                                           \
    X(clGetProgramInfo)                                                                                                \
    X(clReleaseProgram)                                                                                                \
    X(clCreateKernel)                                                                                                  \
    X(clReleaseKernel)                                                                                                 \
    X(clSetKernelArg)                                                                                                  \
    X(clGetKernelInfo)                                                                                                 \
    X(clGetKernelWorkGroupInfo)                                                                                        \
    X(clCreateBuffer)                                                                                                  \
    X(clCreateSubBuffer)                                                                                               \
    X(clReleaseMemObject)                                                                                              \
    X(clEnqueueWriteBuffer)                                                                                            \
    X(clEnqueueReadBuffer)                                                                                             \
    X(clEnqueueFillBuffer)                                                                                             \
    X(clEnqueueNDRangeKernel)                                                                                          \
    X(clFlush)                                                                                                         \
    X(clFinish)                                                                                                        \
    X(clGetEventInfo)                                                                                                  \
    X(clGetEventProfilingInfo)                                                                                         \
    X(clReleaseEvent)

struct opencl_api {
#define X(f) __typeof__(f) *f;
    OPENCL_FUNCTIONS(X)
#undef X
};

struct opencl_found {
    cl_platform_id platform;
    cl_device_id id;
};

/* Opens libOpenCL.so.1 and fills a; ERR_DEVICE with what to install when it is missing. */
int opencl_api_open(struct opencl_api *a, struct err *e);
/* All devices of all platforms, in the loader's order, at most OPENCL_DEVICES_MAX; how many, or -1 without a platform. */
int opencl_find(const struct opencl_api *a, struct opencl_found *out, struct err *e);

/* Class of an OpenCL status; a code that is not in the table is DEVICE_STICKY. *name (may be NULL) gets "CL_..." or
 * "unknown OpenCL error". waiting: the call waited for work that had been accepted before. The same code can mean
 * different things: CL_OUT_OF_RESOURCES from an enqueue is a kernel that asks for too much, from a wait it is what
 * several vendors report for an illegal address. */
enum device_class opencl_class(int code, bool waiting, const char **name);
/* The class of st; unless it is DEVICE_OK, e says "what: name (code); advice". */
enum device_class opencl_fail(struct err *e, const char *what, cl_int st, bool waiting);

/* Texts without blanks at the ends, "" when unknown; an integer of 4 or 8 bytes, 0 when unknown. */
void opencl_device_text(const struct opencl_api *a, cl_device_id id, cl_device_info what, char *out, size_t size);
void opencl_platform_text(const struct opencl_api *a, cl_platform_id id, cl_platform_info what, char *out, size_t size);
int64_t opencl_number(const struct opencl_api *a, cl_device_id id, cl_device_info what);

void opencl_target(const struct opencl_api *a, const struct opencl_found *f, int index, struct target *t);
/* Why fatune cannot use a device ("is older than OpenCL 1.2"), or NULL. */
const char *opencl_unusable(const struct opencl_api *a, cl_device_id id);

#endif
