/* The digest of a cubin. A section counts when the loader would put it on the device (SHF_ALLOC: text, constants,
 * globals, shared sizes), when it states resources (.nv.info) or when it patches code or constants (.rel, .rela). Each
 * becomes one record: name with the function's name replaced, type, flags, alignment, size, register count (upper byte
 * of sh_info up to sm_89), contents with symbol numbers taken out. Records are digested, sorted and digested again, so
 * the order in which the linker wrote them does not matter. What is left out: symbol and string tables, debug frames,
 * notes, the call graph, and the second copy in Mercury form (.nv.merc, .nv.capmerc; sm_100 and up). */
#include "cuda_code.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#ifndef EM_CUDA
#define EM_CUDA 190
#endif

/* ---- the log ---- */

/* The number in front of `key` within [from, to), or -1: "Used 24 registers", "1024 bytes smem". */
static int64_t number_before(const char *from, const char *to, const char *key)
{
    size_t length = strlen(key);
    for (const char *p = from; p + length <= to; p++) {
        if (memcmp(p, key, length) != 0) continue;
        const char *q = p;
        while (q > from && q[-1] >= '0' && q[-1] <= '9')
            q--;
        if (q == p || p - q > 15) continue;
        int64_t value = 0;
        for (; q < p; q++)
            value = value * 10 + (*q - '0');
        return value;
    }
    return -1;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static const char *find(const char *from, const char *to, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = from; p + n <= to; p++)
        if (memcmp(p, text, n) == 0) return p;
    return NULL;
}

void cuda_code_read_log(const char *log, const char *entry, struct device_resources *r)
{
    static const char head[] = "Compiling entry function '";
    const char *end = log + strlen(log), *from = log;
    size_t length = strlen(entry);
    r->registers = r->shared_static_bytes = r->stack_bytes = -1;
    r->spill_store_bytes = r->spill_load_bytes = r->barriers = -1;
    for (;;) {
        from = find(from, end, head);
        if (!from) return;
        from += sizeof head - 1;
        if ((size_t)(end - from) > length && memcmp(from, entry, length) == 0 && from[length] == '\'') break;
    }
    const char *next = find(from, end, head), *to = next ? next : end;
    for (const char *line = from; line < to;) {
        const char *stop = memchr(line, '\n', (size_t)(to - line));
        if (!stop) stop = to;
        if (find(line, stop, " registers") && r->registers < 0) {
            r->registers = number_before(line, stop, " registers");
            /* A kernel that uses none of these has no such words on its line. */
            r->shared_static_bytes = larger(number_before(line, stop, " bytes smem"), 0);
            r->barriers = larger(number_before(line, stop, " barriers"), 0);
        }
        r->stack_bytes = larger(r->stack_bytes, number_before(line, stop, " bytes stack frame"));
        r->spill_store_bytes = larger(r->spill_store_bytes, number_before(line, stop, " bytes spill stores"));
        r->spill_load_bytes = larger(r->spill_load_bytes, number_before(line, stop, " bytes spill loads"));
        line = stop + (stop < to);
    }
}

/* ---- PTX ---- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           c == '%' || c == '.';
}

#define NAME(text) text ".",
static const char *const tensor_names[] = {CUDA_CODE_TENSOR(NAME)};
#undef NAME
enum { TENSOR_NAMES = sizeof tensor_names / sizeof tensor_names[0] };

static void count_word(const char *word, int64_t counts[TENSOR_NAMES])
{
    for (size_t i = 0; i < TENSOR_NAMES; i++)
        if (strncmp(word, tensor_names[i], strlen(tensor_names[i])) == 0) counts[i]++;
}

static void count_tensor_ops(const char *ptx, int64_t counts[TENSOR_NAMES])
{
    memset(counts, 0, TENSOR_NAMES * sizeof *counts);
    for (const char *p = ptx; *p;) {
        const char *close = NULL;
        if (p[0] == '/' && p[1] == '/')
            close = strchr(p, '\n');
        else if (p[0] == '/' && p[1] == '*')
            close = (close = strstr(p + 2, "*/")) ? close + 1 : NULL;
        else if (p[0] == '"')
            close = strchr(p + 1, '"');
        else if (is_word(*p)) {
            count_word(p, counts);
            while (is_word(*p))
                p++;
            continue;
        } else
            close = p;
        if (!close) break; /* an unterminated comment or string hides the rest */
        p = close + 1;
    }
}

int64_t cuda_code_tensor_ops(const char *ptx)
{
    int64_t counts[TENSOR_NAMES], sum = 0;
    count_tensor_ops(ptx, counts);
    for (size_t i = 0; i < TENSOR_NAMES; i++)
        sum += counts[i];
    return sum;
}

json_t *cuda_code_tensor_json(const char *ptx)
{
#define NAME(text) text,
    static const char *const keys[] = {CUDA_CODE_TENSOR(NAME)};
#undef NAME
    int64_t counts[TENSOR_NAMES];
    json_t *out = json_object();
    count_tensor_ops(ptx, counts);
    for (size_t i = 0; i < TENSOR_NAMES; i++)
        if (json_object_set_new(out, keys[i], json_integer(counts[i])) != 0) {
            json_decref(out);
            return NULL;
        }
    return out;
}

/* ---- the cubin ---- */

struct image {
    const unsigned char *bytes;
    size_t n;
    size_t sections;
    size_t table;      /* offset of the section headers */
    const char *names; /* section names, names_n bytes, NUL at the end */
    size_t names_n;
};

static Elf64_Shdr section_at(const struct image *im, size_t i)
{
    Elf64_Shdr s;
    memcpy(&s, im->bytes + im->table + i * sizeof s, sizeof s); /* the file promises no alignment */
    return s;
}

static bool inside(const struct image *im, uint64_t offset, uint64_t size)
{
    return offset <= im->n && size <= im->n - offset;
}

static bool image_open(struct image *im, const void *bytes, size_t n)
{
    Elf64_Ehdr h;
    *im = (struct image){.bytes = bytes, .n = n};
    if (!bytes || n < sizeof h) return false;
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
        h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_CUDA)
        return false;
    if (h.e_shentsize != sizeof(Elf64_Shdr) || h.e_shnum == 0 || h.e_shstrndx >= h.e_shnum) return false;
    if (!inside(im, h.e_shoff, (uint64_t)h.e_shnum * sizeof(Elf64_Shdr))) return false;
    if (h.e_phnum > 0 &&
        (h.e_phentsize != sizeof(Elf64_Phdr) || !inside(im, h.e_phoff, (uint64_t)h.e_phnum * sizeof(Elf64_Phdr))))
        return false;
    im->table = h.e_shoff;
    im->sections = h.e_shnum;
    for (size_t i = 0; i < im->sections; i++) {
        Elf64_Shdr s = section_at(im, i);
        if (s.sh_type != SHT_NOBITS && s.sh_type != SHT_NULL && !inside(im, s.sh_offset, s.sh_size)) return false;
    }
    Elf64_Shdr names = section_at(im, h.e_shstrndx);
    if (names.sh_type != SHT_STRTAB || names.sh_size == 0) return false;
    im->names = (const char *)im->bytes + names.sh_offset;
    im->names_n = names.sh_size;
    return im->names[im->names_n - 1] == '\0';
}

static const char *section_name(const struct image *im, const Elf64_Shdr *s)
{
    return s->sh_name < im->names_n ? im->names + s->sh_name : "";
}

bool cuda_code_image_ok(const void *image, size_t n)
{
    struct image im;
    return image_open(&im, image, n);
}

/* The function a section belongs to (the name's tail), or NULL. */
static const char *section_function(const char *name)
{
    static const char *const prefixes[] = {".text.",     ".nv.info.",  ".nv.shared.",
                                           ".nv.local.", ".rel.text.", ".rela.text."};
    static const char constant[] = ".nv.constant";
    if (strncmp(name, ".nv.shared.reserved.", 20) == 0) return NULL;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return name + strlen(prefixes[i]);
    const char *at = strncmp(name, ".rel.", 5) == 0 ? name + 4 : strncmp(name, ".rela.", 6) == 0 ? name + 5 : name;
    if (strncmp(at, constant, sizeof constant - 1) != 0) return NULL;
    const char *dot = strchr(at + sizeof constant - 1, '.');
    return dot ? dot + 1 : NULL;
}

/* Writes the name with the function's name replaced by what it is to the entry. */
static void put_name(struct buf *out, const char *name, const char *entry)
{
    const char *function = section_function(name);
    if (!function) {
        buf_add(out, name, strlen(name) + 1);
        return;
    }
    buf_add(out, name, (size_t)(function - name));
    buf_add(out, strcmp(function, entry) == 0 ? "@entry" : "@other", sizeof "@entry");
}

static bool starts(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool section_counts(const char *name, const Elf64_Shdr *s)
{
    if (starts(name, ".nv.merc") || starts(name, ".nv.capmerc")) return false;
    if (starts(name, ".rel.") || starts(name, ".rela.")) return !strstr(name, ".debug");
    return (s->sh_flags & SHF_ALLOC) || starts(name, ".nv.info");
}

bool cuda_code_has_kernel(const void *image, size_t n, const char *entry)
{
    struct image im;
    if (!image_open(&im, image, n)) return false;
    for (size_t i = 0; i < im.sections; i++) {
        Elf64_Shdr s = section_at(&im, i);
        const char *name = section_name(&im, &s);
        if (starts(name, ".text.") && strcmp(name + 6, entry) == 0) return true;
    }
    return false;
}

static void put_u64(struct buf *out, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    buf_add(out, bytes, sizeof bytes);
}

/* What a symbol is, without its number and, when it is defined here, without its name. */
static void put_symbol(struct buf *out, const struct image *im, const Elf64_Shdr *table, uint64_t number,
                       const char *entry)
{
    Elf64_Sym sym;
    if (table->sh_type != SHT_SYMTAB || number >= table->sh_size / sizeof sym) {
        put_u64(out, number);
        return;
    }
    memcpy(&sym, im->bytes + table->sh_offset + number * sizeof sym, sizeof sym);
    put_u64(out, sym.st_value);
    put_u64(out, sym.st_size);
    put_u64(out, sym.st_info);
    if (sym.st_shndx != SHN_UNDEF && sym.st_shndx < im->sections) {
        Elf64_Shdr home = section_at(im, sym.st_shndx);
        put_name(out, section_name(im, &home), entry);
        return;
    }
    put_u64(out, sym.st_shndx);
    if (table->sh_link >= im->sections) return;
    Elf64_Shdr strings = section_at(im, table->sh_link);
    if (strings.sh_type != SHT_STRTAB || sym.st_name >= strings.sh_size) return;
    const char *name = (const char *)im->bytes + strings.sh_offset + sym.st_name;
    buf_add(out, name, strnlen(name, strings.sh_size - sym.st_name));
    put_u64(out, 0);
}

static void put_relocations(struct buf *out, const struct image *im, const Elf64_Shdr *s, const char *entry)
{
    size_t size = s->sh_type == SHT_RELA ? sizeof(Elf64_Rela) : sizeof(Elf64_Rel);
    Elf64_Shdr symbols = s->sh_link < im->sections ? section_at(im, s->sh_link) : (Elf64_Shdr){0};
    for (size_t at = 0; at + size <= s->sh_size; at += size) {
        Elf64_Rela r = {0};
        memcpy(&r, im->bytes + s->sh_offset + at, size);
        put_u64(out, r.r_offset);
        put_u64(out, ELF64_R_TYPE(r.r_info));
        put_u64(out, (uint64_t)r.r_addend);
        put_symbol(out, im, &symbols, ELF64_R_SYM(r.r_info), entry);
    }
}

static uint32_t word_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* One attribute of .nv.info: format (1 byte), attribute (1 byte), then a 16-bit value, or, in format 4, a 16-bit size
 * and that many bytes. Those known to begin with, or to consist of, symbol numbers have them resolved. Returns the bytes
 * read, at most n; n is at least 4. */
static size_t put_attribute(struct buf *out, const struct image *im, const Elf64_Shdr *symbols, const unsigned char *p,
                            size_t n, const char *entry)
{
    enum {
        FORMAT_SIZED = 4,
        PARAM_CBANK = 0x0a,
        EXTERNS = 0x0f,
        FRAME_SIZE = 0x11,
        MIN_STACK = 0x12,
        MAX_STACK = 0x23,
        REGCOUNT = 0x2f
    };
    int attribute = p[1];
    size_t size = p[0] == FORMAT_SIZED ? (size_t)(p[2] | p[3] << 8) : 0;
    if (size > n - 4) size = n - 4;
    size_t numbers = attribute == EXTERNS ? size / 4 : 0;
    if (attribute == PARAM_CBANK || attribute == FRAME_SIZE || attribute == MIN_STACK || attribute == MAX_STACK ||
        attribute == REGCOUNT)
        numbers = size >= 4 ? 1 : 0;
    buf_add(out, p, 4);
    for (size_t i = 0; i < numbers; i++)
        put_symbol(out, im, symbols, word_at(p + 4 + 4 * i), entry);
    buf_add(out, p + 4 + 4 * numbers, size - 4 * numbers);
    return 4 + size;
}

static int end_record(struct buf *all, struct buf *record, struct err *e)
{
    char digest[DIGEST_HEX];
    if (buf_check(record, e) != 0) return -1;
    digest_bytes(digest, record->p, record->n);
    buf_add(all, digest, sizeof digest);
    buf_clear(record);
    return 0;
}

/* The module's .nv.info has attributes of all functions in an order that depends on their names: a record each. */
static int put_info(struct buf *all, struct buf *record, const struct image *im, const Elf64_Shdr *s, const char *entry,
                    struct err *e)
{
    bool module = strcmp(section_name(im, s), ".nv.info") == 0;
    const unsigned char *p = im->bytes + s->sh_offset, *end = p + s->sh_size;
    Elf64_Shdr symbols = s->sh_link < im->sections ? section_at(im, s->sh_link) : (Elf64_Shdr){0};
    put_name(record, section_name(im, s), entry);
    while (end - p >= 4) {
        p += put_attribute(record, im, &symbols, p, (size_t)(end - p), entry);
        if (!module) continue;
        if (end_record(all, record, e) != 0) return -1;
        put_name(record, section_name(im, s), entry);
    }
    buf_add(record, p, (size_t)(end - p));
    return end_record(all, record, e);
}

static void put_section(struct buf *out, const struct image *im, const Elf64_Shdr *s, const char *entry)
{
    const char *name = section_name(im, s);
    bool is_text = starts(name, ".text.");
    put_name(out, name, entry);
    put_u64(out, s->sh_type);
    put_u64(out, s->sh_flags);
    put_u64(out, s->sh_addralign);
    put_u64(out, s->sh_size);
    put_u64(out, is_text ? s->sh_info >> 24 : 0);
    if (s->sh_type == SHT_NOBITS || s->sh_type == SHT_NULL) return;
    if (s->sh_type == SHT_REL || s->sh_type == SHT_RELA)
        put_relocations(out, im, s, entry);
    else
        buf_add(out, im->bytes + s->sh_offset, s->sh_size);
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, DIGEST_HEX);
}

int cuda_code_digest(char out[DIGEST_HEX], const void *image, size_t n, const char *entry, struct err *e)
{
    struct image im;
    struct buf record = {0}, all = {0};
    Elf64_Ehdr h;
    int rc = 0;
    out[0] = '\0';
    if (!cuda_code_has_kernel(image, n, entry) || !image_open(&im, image, n)) return 0;
    for (size_t i = 0; i < im.sections; i++) {
        Elf64_Shdr s = section_at(&im, i);
        const char *name = section_name(&im, &s);
        if (!section_counts(name, &s)) continue;
        if (starts(name, ".nv.info") && s.sh_type != SHT_NOBITS && s.sh_type != SHT_NULL) {
            TRY(put_info(&all, &record, &im, &s, entry, e));
        } else {
            put_section(&record, &im, &s, entry);
            TRY(end_record(&all, &record, e));
        }
    }
    if (all.n > 0) qsort(all.p, all.n / DIGEST_HEX, DIGEST_HEX, compare_digests);
    memcpy(&h, im.bytes, sizeof h);
    put_u64(&all, h.e_flags); /* the architecture */
    TRY(buf_check(&all, e));
    digest_bytes(out, all.p, all.n);
out:
    buf_free(&record);
    buf_free(&all);
    return rc;
}
