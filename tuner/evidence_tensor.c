/* evidence_tensor.c - are tensor cores used? Counted in the machine code, where a disassembler is at hand; in PTX in any case. The disassembly is
 * kept, so that it can be counted again without the tool. A count of zero is a finding, and is said. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_code.h"
#include "evidence_private.h"
#include "worker.h"

/* Matrix instructions of 16-bit floats in SASS: HMMA up to sm_89 and by mma.sync, HGMMA on sm_90a (wgmma), UTCHMMA from sm_100a (tcgen05). NVIDIA,
 * CUDA Binary Utilities, instruction set reference. */
static const char *const instructions[] = {"HMMA", "HGMMA", "UTCHMMA"};

#define MINUTES 2.0
#define SASS_MAX ((size_t)32 << 20)

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* Words that begin with the instruction's name and a dot, or are it. */
static int64_t count(const char *sass, const char *name)
{
    size_t n = strlen(name);
    int64_t sum = 0;

    for (const char *p = sass; (p = strstr(p, name)) != NULL; p += n)
        sum += (p == sass || !is_letter(p[-1])) && (p[n] == '.' || !is_letter(p[n]));
    return sum;
}

json_t *evidence_tensor_sass(const char *sass)
{
    json_t *out = json_object();

    for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++)
        json_object_set_new(out, instructions[i], json_integer(count(sass, instructions[i])));
    return out;
}

/* ---- the disassembler ---- */

struct tool {
    char file[4096], version[200], why[600];
    const char *name; /* of file, without its folder */
};

/* Runs words and reads what they print; false: they cannot be started, failed, or printed nothing. */
static int run(const char *const *words, const char *printed, struct buf *out, struct tool *t, bool *ok, struct err *e)
{
    const struct worker_program program = {.args = (char *const *)(uintptr_t)words};
    char said[300] = "";
    struct err ignored = {0};
    int code = -1;

    *ok = false;
    buf_clear(out);
    if (worker_run(&program, printed, MINUTES, &code, said, sizeof said, e) != 0) return -1;
    if (code == 127)
        snprintf(t->why, sizeof t->why,
                 "no nvdisasm or cuobjdump was found; they come with the CUDA toolkit (nvdisasm alone with "
                 "`pip install nvidia-cuda-nvdisasm`), or "
                 "--disassembler FILE says where one is");
    else if (code != 0)
        snprintf(t->why, sizeof t->why, "%.100s ended with %d: %.300s", t->name, code, said);
    else
        *ok = buf_read_file(out, printed, SASS_MAX, ERR_SYSTEM, &ignored) == 0 && out->n > 0;
    if (code == 0 && !*ok) snprintf(t->why, sizeof t->why, "%.100s printed nothing", t->name);
    return 0;
}

/* The last line of --version that names a release. */
static void read_version(struct tool *t, struct buf *text)
{
    const char *p = strstr(buf_text(text), "release ");

    snprintf(t->version, sizeof t->version, "%.*s", p ? (int)strcspn(p, "\n") : 0, p ? p : "");
    buf_clean(t->version);
}

static int disassemble(const struct evidence *v, struct tool *t, struct buf *sass, bool *ok, struct err *e)
{
    char cubin[4200], printed[4200];
    const char *slash = strrchr(t->file, '/');
    struct buf version = {0};
    int rc;

    t->name = slash ? slash + 1 : t->file;
    snprintf(cubin, sizeof cubin, "%s/kernel.cubin", v->work);
    snprintf(printed, sizeof printed, "%s/printed", v->work);
    const char *const ask[] = {t->file, "--version", NULL};
    const char *const nvdisasm[] = {t->file, "-c", cubin, NULL}, *const cuobjdump[] = {t->file, "-sass", cubin, NULL};
    TRY(run(ask, printed, &version, t, ok, e));
    if (!*ok) goto out;
    read_version(t, &version);
    rc = run(strncmp(t->name, "cuobjdump", 9) == 0 ? cuobjdump : nvdisasm, printed, sass, t, ok, e);
out:
    buf_free(&version);
    return rc;
}

/* In PATH, beside the compiler that is set, where the toolkit is usually installed. */
static int find_and_disassemble(const struct evidence *v, struct tool *t, struct buf *sass, bool *ok, struct err *e)
{
    static const char *const names[] = {"nvdisasm", "cuobjdump"};
    const char *nvrtc = getenv("FATUNE_NVRTC"), *slash = nvrtc ? strrchr(nvrtc, '/') : NULL;
    char first[600] = "";

    if (v->o->disassembler) {
        snprintf(t->file, sizeof t->file, "%s", v->o->disassembler);
        return disassemble(v, t, sass, ok, e);
    }
    for (int i = 0; i < 6; i++) {
        const char *name = names[i % 2];
        if (i / 2 == 1 && !slash) continue;
        if (i / 2 == 0)
            snprintf(t->file, sizeof t->file, "%s", name);
        else if (i / 2 == 1)
            snprintf(t->file, sizeof t->file, "%.*s/../bin/%s", (int)(slash - nvrtc), nvrtc, name);
        else
            snprintf(t->file, sizeof t->file, "/usr/local/cuda/bin/%s", name);
        if (disassemble(v, t, sass, ok, e) != 0) return -1;
        if (*ok) return 0;
        if (!*first || strncmp(first, "no nvdisasm", 11) == 0) snprintf(first, sizeof first, "%s", t->why);
    }
    snprintf(t->why, sizeof t->why, "%s", first);
    return 0;
}

/* ---- the file ---- */

static void say_counts(struct evidence *v, const char *where, const json_t *counts)
{
    struct buf text = {0};
    json_int_t sum = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)counts, key, value)
    {
        buf_printf(&text, ", %s %" JSON_INTEGER_FORMAT, key, json_integer_value(value));
        sum += json_integer_value(value);
    }
    evidence_say(v, "tensor cores", "%s%s%s", where, buf_text(&text), sum == 0 ? ": no tensor core is used" : "");
    buf_free(&text);
}

int evidence_tensor(struct evidence *v, struct err *e)
{
    struct evidence_files *f = &v->files;
    struct tool t = {.why = "there is no kernel.cubin"};
    json_t *sass = NULL, *ptx = NULL, *out;
    char path[4200];
    bool ok = false;
    int rc = 0;

    if (f->there[EVIDENCE_CUBIN]) {
        snprintf(path, sizeof path, "%s/kernel.cubin", v->work);
        TRY(buf_write_file(path, f->bytes[EVIDENCE_CUBIN].p, f->bytes[EVIDENCE_CUBIN].n, e));
        TRY(find_and_disassemble(v, &t, &f->bytes[EVIDENCE_SASS], &ok, e));
    }
    f->there[EVIDENCE_SASS] = ok;
    if (ok) sass = evidence_tensor_sass(buf_text(&f->bytes[EVIDENCE_SASS]));
    if (f->there[EVIDENCE_PTX]) ptx = cuda_code_tensor_json(buf_text(&f->bytes[EVIDENCE_PTX]));
    if (sass) say_counts(v, "in the machine code", sass);
    if (!sass && f->there[EVIDENCE_CUBIN])
        evidence_say(v, "tensor cores", "not counted in the machine code: %s", t.why);
    if (ptx) say_counts(v, "in PTX", ptx);
    if (!sass && !ptx) evidence_say(v, "tensor cores", "not counted: there is neither a cubin nor PTX");
    out = json_pack("{s:s?,s:s?,s:s?,s:o,s:o}", "tool", ok ? t.name : NULL, "tool_version", ok ? t.version : NULL,
                    "why_not_in_sass", ok ? NULL : t.why, "sass", sass ? sass : json_null(), "ptx",
                    ptx ? ptx : json_null());
    rc = evidence_put_json_take(f, EVIDENCE_TENSOR, out, e);
out:
    return rc;
}
