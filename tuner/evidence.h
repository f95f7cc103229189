/* evidence.h - all that a promotion rests on, as a folder of files that can be checked without a store and without a GPU.
 *
 * The folder holds the kernel (source, PTX, binary, machine code as text), the resources of every configuration that was tried, tensor-core
 * instructions, correctness, every sample of the deciding trial and of its control, the rule and the verdict, and where it was measured;
 * manifest.json has a digest of each file, SHA256SUMS one of each file and of the manifest. What a file is: docs/EVIDENCE.md, and README.md in
 * the folder. Nothing in it tells when or where it was collected, so the same store gives the same bytes, unless something was measured anew.
 *
 * A digest proves that files belong together, not who made them: whoever doubts that compares the manifest's digest with a published one, or the
 * samples with the store. */
#ifndef EVIDENCE_H
#define EVIDENCE_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

struct evidence_options {
    const char *name;         /* of a version, or the prefix of its candidate's digest */
    const char *track;        /* NULL: the newest that knows the name */
    const char *store;        /* its file */
    const char *out;          /* the folder; NULL: evidence/NAME beside the store */
    const char *templates;    /* extra folder of templates, or NULL */
    const char *device;       /* for the check of correctness; NULL: the first of the champion's driver */
    bool no_device;           /* it is left out */
    const char *disassembler; /* nvdisasm or cuobjdump; NULL: looked for in PATH and beside NVRTC */
};

/* Writes the folder, which is empty, absent, or holds an earlier collection. *out: docs/JSON.md, evidence; new reference. A binary that the cache
 * has lost is compiled anew, for the recorded architecture and without a device, and taken only if its code has the recorded digest. What is
 * missing is no error: it is said in *out and in the files. *sound is false when the kernel gives wrong results here now. */
int evidence_collect(const struct evidence_options *o, json_t **out, bool *sound, struct err *e);

/* Checks a folder from anywhere: it is read and never believed. *out: docs/JSON.md, verification; new reference. *good: every check holds.
 * ERR_INPUT: there is no such folder. */
int evidence_verify(const char *folder, json_t **out, bool *good, struct err *e);

#endif
