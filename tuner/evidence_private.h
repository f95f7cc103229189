/* evidence_private.h - shared by evidence*.c: the files of a collection, in memory, and what is made of them. */
#ifndef EVIDENCE_PRIVATE_H
#define EVIDENCE_PRIVATE_H

#include "buf.h"
#include "cand.h"
#include "digest.h"
#include "evidence.h"
#include "space.h"
#include "store.h"

#define EVIDENCE_FORMAT "fatune evidence 1"
#define EVIDENCE_FILE_MAX ((size_t)64 << 20)
#define EVIDENCE_JSON_MAX ((size_t)16 << 20) /* of those that are parsed: as values they take twenty times the room */
/* No run has more: space.h, tune_private.h. With many sessions and a small alpha a verdict would take hours. */
#define EVIDENCE_SESSIONS_MAX 100
#define EVIDENCE_FINALISTS_MAX 8
#define EVIDENCE_QUADS_MAX 10000
#define EVIDENCE_M_MAX 64

/* X(id, name, what it is), in the order of the manifest. There are no other names, and no folders. */
#define EVIDENCE_FILES(X)                                                                                              \
    X(README, "README.md", "what each file is, and how to check it by hand")                                           \
    X(VERSION, "version.json", "the version: parameters, launch, resources, digests of its binary and of its code")    \
    X(ENVIRONMENT, "environment.json", "GPU, VBIOS, driver, compiler, clocks, fatune; the device during the trials")   \
    X(SPACE, "space.yaml", "the problem, what was searched, and the rule, as the run had it")                          \
    X(HISTORY, "history.json", "the log of the track's champions")                                                     \
    X(RUN, "run.json", "the run that decided: settings, and its summary with all finalists")                           \
    X(CU, "kernel.cu", "the generated source, prelude first")                                                          \
    X(CL, "kernel.cl", "the generated source, prelude first")                                                          \
    X(PTX, "kernel.ptx", "the compiler's readable intermediate")                                                       \
    X(CUBIN, "kernel.cubin", "the machine code that was timed")                                                        \
    X(BIN, "kernel.bin", "the program binary that was timed")                                                          \
    X(SASS, "kernel.sass", "kernel.cubin disassembled")                                                                \
    X(KERNEL, "kernel.json", "how the kernel's files were come by, and the compiler's options")                        \
    X(TENSOR, "tensor_cores.json", "tensor-core instructions in the machine code and in the PTX")                      \
    X(RESOURCES, "resources.csv", "every configuration that the track's runs tried: fate, resources, search score")    \
    X(CORRECTNESS, "correctness.json", "the full checks, as stored and as made when this was collected")               \
    X(VERDICT, "verdict.json", "the rule, the random stream, and the verdict as stored")                               \
    X(TRIAL, "trial.json", "the deciding trial: every session, quad, sample and clock")                                \
    X(CONTROL, "control.json", "its A/A control, likewise")                                                            \
    X(MANIFEST, "manifest.json", "size and SHA-256 of each file above")                                                \
    X(SUMS, "SHA256SUMS", "the same for `sha256sum -c`, and the manifest's own")

enum evidence_file {
#define X(id, name, what) EVIDENCE_##id,
    EVIDENCE_FILES(X)
#undef X
        EVIDENCE_N
};
const char *evidence_file_name(enum evidence_file f);
const char *evidence_file_what(enum evidence_file f);
bool evidence_file_is_json(enum evidence_file f);
size_t evidence_file_max(enum evidence_file f); /* bytes */

struct evidence_files {
    struct buf bytes[EVIDENCE_N];
    bool there[EVIDENCE_N];
};
void evidence_files_free(struct evidence_files *f);
/* Takes the reference; the file is its text. */
int evidence_put_json_take(struct evidence_files *f, enum evidence_file id, json_t *j, struct err *e);

/* ---- evidence_files.c: the folder ---- */
/* Makes README, manifest and sums of what is there, and writes all. digest: the manifest's. */
int evidence_files_write(struct evidence_files *f, const char *folder, const char *version, const char *track,
                         char digest[DIGEST_HEX], struct err *e);
/* Reads a folder and compares it with its manifest: one text for each thing that is wrong, which begins with the file's name. -1: it cannot be
 * read at all. */
int evidence_files_read(struct evidence_files *f, const char *folder, json_t *wrong, char digest[DIGEST_HEX],
                        struct err *e);

/* ---- evidence_trial.c ---- */
/* What store_trial_json gave, as the verdict takes it. Everything that follows from something else is computed again and compared: the samples'
 * digests, letters, clocks, and which quads count. ERR_INPUT names the file, the quad and the member. */
int evidence_trial_read(struct trial *out, const json_t *j, const char *file, struct err *e);

/* ---- evidence_verdict.c ---- */
/* What verdict.json holds. run: run.json. action: crown, promote ...; b: the version is arm B of the trial. */
json_t *evidence_verdict_json(const struct store_verdict *v, const struct space *s, const json_t *run, bool b,
                              struct err *e);
/* The rule is that of the space with the run's share of alpha, and the stream the run's: ERR_INPUT says which member is not. */
int evidence_verdict_rule(const json_t *verdict, const struct space *s, const json_t *run, struct verdict_rule *out,
                          struct err *e);
/* Decides again; every member must be what was stored. control NULL: there was none. missing: names of those that an older fatune did not
 * store. */
int evidence_verdict_again(const json_t *verdict, const struct space *s, const struct verdict_rule *rule,
                           struct trial *trial, struct trial *control, struct buf *missing, struct err *e);

/* ---- evidence_verify.c ---- */
/* Checks what the files say, as if they were those of their manifest. A list item {"check", "outcome", "why"} for each is added to checks. *good:
 * none failed. *version: version.json, new reference, or NULL. */
int evidence_contents(struct evidence_files *f, json_t *checks, bool *good, json_t **version, struct err *e);

/* ---- collecting ---- */
struct evidence {
    const struct evidence_options *o;
    struct store *store;
    struct store_version version;
    struct target target; /* of the version, as recorded */
    struct launch launch;
    char *space_name, *space_text;
    struct space space;
    struct domain *domain; /* NULL: no templates for it here, */
    struct err no_domain;  /* for this reason */
    char work[4096];       /* a folder for a moment */
    char folder[4096];
    struct evidence_files files;
    json_t *says; /* list of {"part", "text"}: what a reader should know at once */
    bool sound;
};
void evidence_say(struct evidence *v, const char *part, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A member of the version's facts; "" when it is none. */
const char *evidence_fact(const struct evidence *v, const char *name);

/* evidence_kernel.c: kernel.*; evidence_tensor.c: kernel.sass, tensor_cores.json; evidence_resources.c: resources.csv; evidence_check.c:
 * correctness.json */
int evidence_kernel(struct evidence *v, struct err *e);
int evidence_tensor(struct evidence *v, struct err *e);
int evidence_resources(struct evidence *v, struct err *e);
int evidence_correctness(struct evidence *v, struct err *e);
/* Tensor-core instructions in a disassembly. New reference, NULL when out of memory. */
json_t *evidence_tensor_sass(const char *sass);

#endif
