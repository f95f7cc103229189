/* device.h - the one boundary to accelerators: enumerate, compile, load, buffers, launch, time.
 *
 * Used only inside worker processes and by `fatune devices`/`doctor` (in a child); the supervisor never calls it. No
 * handle may cross threads. Every call that can touch the device returns an enum device_class and, unless it is
 * DEVICE_OK, sets e (code ERR_DEVICE). The class decides who pays:
 *   FATE    the candidate's fault, the context lives (bad image, too many resources for the launch ...);
 *   STICKY  the context is poisoned: the worker must report and _exit; an unknown code is STICKY;
 *   LOST    the machine's fault (ECC, device gone): no candidate is blamed, the run stops, resumable.
 * Drivers: device_cuda.c (Driver API, NVRTC by dlopen), device_opencl.c; tests/fake/device_fake.c in the test binary
 * alone. device_drivers[] is defined in device_table.c, and in tests/fake/ for the test binary. */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "problem.h"

enum device_class { DEVICE_OK, DEVICE_FATE, DEVICE_STICKY, DEVICE_LOST };

struct device;        /* an open device: one context, one stream or in-order queue */
struct device_kernel; /* a loaded kernel with its module */
struct device_buffer; /* device memory */
struct device_batch;  /* k launches ready to be timed as one */

/* What the compiler says of a kernel; -1 where it does not say. */
struct device_resources {
    int64_t registers, shared_static_bytes, stack_bytes, spill_store_bytes, spill_load_bytes, barriers;
    int64_t tensor_ops; /* mma/wmma/wgmma instructions in the PTX (CUDA), -1 when not countable */
};

struct device_source {
    const char *text; /* complete source, prelude included; NUL-terminated */
    const char *entry;
    const char *const *options; /* extra options, NULL-terminated; may be NULL */
    const char *include_dir;    /* where allowed headers may be read, NULL for none */
};

struct device_binary {
    struct buf image; /* cubin, or OpenCL program binary */
    struct buf ptx;   /* readable intermediate where there is one, else empty */
    struct buf log;   /* compiler's words, capped at 64 KiB */
    struct device_resources res;
    /* Identity of the code without names and paths: equal code, equal digest. "" when the driver cannot tell. */
    char code_digest[65];
};

/* One argument: a buffer and a byte offset into it. offset 0 is what device_alloc returned. */
struct device_arg {
    struct device_buffer *buffer;
    size_t offset;
};

struct device_launch {
    const struct device_kernel *kernel;
    const struct launch *geometry;
    struct device_arg args[LAUNCH_ARGS]; /* in the order of geometry->args; a map's address is 16-byte aligned */
};

struct device_driver {
    const char *name;     /* "cuda" */
    const char *language; /* "cuda" | "opencl" */

    /* Fills out[0..max-1], returns how many (0 is no error). What is missing, and how to get it, goes to note as whole
     * lines. */
    int (*enumerate)(struct target *out, int max, struct buf *note);
    /* Fills *t for an architecture without a device ("sm_89"); -1 when this driver does not know it. Figures from the
     * CUDA programming guide's table of compute capabilities. NULL where a driver has no such notion. */
    int (*arch_target)(struct target *t, const char *arch, struct err *e);
    /* Compiles for t. FATE when the source is at fault (log filled), LOST when the compiler is missing or unusable. */
    enum device_class (*compile)(const struct target *t, const struct device_source *src, struct device_binary *out,
                                 struct err *e);

    enum device_class (*open)(struct device **out, const struct target *t, struct err *e);
    void (*close)(struct device *d);

    enum device_class (*load)(struct device *d, const void *image, size_t n, const struct launch *l,
                              struct device_kernel **out, struct err *e);
    void (*unload)(struct device *d, struct device_kernel *k);
    /* As the loaded module reports them; unknown members are left as they are. */
    enum device_class (*resources)(struct device *d, struct device_kernel *k, struct device_resources *res,
                                   struct err *e);

    enum device_class (*alloc)(struct device *d, size_t bytes, struct device_buffer **out, struct err *e);
    void (*free)(struct device *d, struct device_buffer *b);
    /* Blocking copies; offset and n in bytes. */
    enum device_class (*write)(struct device *d, struct device_buffer *b, size_t offset, const void *src, size_t n,
                               struct err *e);
    enum device_class (*read)(struct device *d, struct device_buffer *b, size_t offset, void *dst, size_t n,
                              struct err *e);
    /* Fills [offset, offset+n) with a 32-bit pattern; both multiples of 4. */
    enum device_class (*fill)(struct device *d, struct device_buffer *b, size_t offset, size_t n, uint32_t pattern,
                              struct err *e);

    /* Are the first n bytes of two buffers equal? n is a multiple of 4. The device compares, and counts what is equal, so that a comparison that did
     * not take place is no equality. NULL where reading is as cheap. */
    enum device_class (*same)(struct device *d, struct device_buffer *a, struct device_buffer *b, size_t n, bool *same,
                              struct err *e);

    /* Host memory that write and read are fastest with; NULL when there is none. The four members are NULL where any memory
     * is as good. */
    void *(*host_alloc)(struct device *d, size_t bytes);
    void (*host_free)(struct device *d, void *p);
    /* read into such memory, which is not to be touched before `wait` has returned. */
    enum device_class (*read_start)(struct device *d, struct device_buffer *b, size_t offset, void *dst, size_t n,
                                    struct err *e);
    enum device_class (*wait)(struct device *d, struct err *e);

    /* One launch and a wait for its end; errors of the launch and of the run are both reported here. */
    enum device_class (*run)(struct device *d, const struct device_launch *l, struct err *e);

    /* Prepares k launches back to back, cycling over n argument sets (launches[0..n-1]); a graph on CUDA. */
    enum device_class (*batch_open)(struct device *d, const struct device_launch *launches, int n, int k,
                                    struct device_batch **out, struct err *e);
    /* Runs it once; *elapsed_us is the device's own time for all k launches, *mhz the mean clock of its processors meanwhile (0: unknown;
     * mhz may be NULL). Asynchronous errors are collected and classified before the time is believed. */
    enum device_class (*batch_run)(struct device *d, struct device_batch *b, double *elapsed_us, double *mhz,
                                   struct err *e);
    void (*batch_close)(struct device *d, struct device_batch *b);

    /* A kernel of fatune's own with a known answer: is the context still sane? */
    enum device_class (*canary)(struct device *d, struct err *e);
};

extern const struct device_driver *const device_drivers[];         /* NULL-terminated, in the order of --device auto */
const struct device_driver *device_driver_named(const char *name); /* or NULL */

struct device_binary;
void device_binary_free(struct device_binary *b);
json_t *device_resources_to_json(const struct device_resources *r);
/* What a compiler or a driver said, as a JSON string: where its n bytes are no UTF-8, each outside ASCII becomes '?', NUL too. New
 * reference, NULL when out of memory. */
json_t *device_text_to_json(const char *text, size_t n);
int device_resources_from_json(struct device_resources *r, const json_t *j, struct err *e);

#endif
