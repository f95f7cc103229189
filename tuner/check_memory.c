/* Every tensor lies between two bands of GUARD_BYTES: NaN around inputs, so that reading past an end shows; a pattern that
 * depends on the place around outputs, so that writing past an end shows. Outputs hold NaN before every run.
 *
 * Blame: until the candidate has run, and while the reference runs, every failure of the device is the machine's. Out of
 * memory for the check's own buffers is the machine's too. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check_host.h"
#include "check_private.h"
#include "check_tile.h"

#define GUARD_BYTES CHECK_GUARD_BYTES
#define GUARD_WORD 0xc5a3u /* xor its index: no kernel writes this by accident */

/* A device call other than the candidate's launch failed. */
static enum device_class device_failed(struct check *c, enum device_class cls, const struct err *why, const char *what)
{
    if (cls == DEVICE_STICKY && c->blame_candidate) {
        check_fate(c, FATE_CRASH, "the device context broke after the candidate ran (%s): %.600s", what, why->text);
        return DEVICE_STICKY;
    }
    err_set(c->e, ERR_DEVICE, "%s failed: %s", what, why->text);
    return DEVICE_LOST;
}

static size_t buffer_bytes(const struct check_tensor *t)
{
    return 2 * GUARD_BYTES + (t->bytes + 3) / 4 * 4;
}

enum device_class check_device_open(struct check *c)
{
    size_t q = problem_q_elements(c->p), kv = problem_kv_elements(c->p), rows = problem_rows(c->p);
    const size_t bytes[ARG_N] = {[ARG_Q] = 2 * q,
                                 [ARG_K] = 2 * kv,
                                 [ARG_V] = 2 * kv,
                                 [ARG_O] = 2 * q,
                                 [ARG_LSE] = c->p->lse ? 4 * rows : 0,
                                 [ARG_REF_O] = 4 * q,
                                 [ARG_REF_LOW] = 4 * q,
                                 [ARG_TILE] = c->tile_bytes};
    size_t total = 0;
    for (int a = 0; a < ARG_N; a++) {
        struct err why = {0};
        enum device_class cls;
        if (a == ARG_TILE && c->tile_bytes == 0) continue;
        c->tensors[a].bytes = bytes[a];
        total += buffer_bytes(&c->tensors[a]);
        cls = c->drv->alloc(c->d, buffer_bytes(&c->tensors[a]), &c->tensors[a].buffer, &why);
        if (cls == DEVICE_OK) continue;
        err_set(
            c->e, ERR_DEVICE,
            "no device memory for the check (argument %s, %zu MiB so far): %s; free the device of other processes or "
            "take a smaller problem",
            arg_name((enum arg)a), total >> 20, why.text);
        return DEVICE_LOST;
    }
    return DEVICE_OK;
}

/* ---- inputs ---- */

/* The buffer of an input as it must look before and after every run: NaN, tensor, NaN. */
struct expected {
    const unsigned char *words;
    size_t tensor_bytes, buffer_bytes;
    uint16_t nan[GUARD_BYTES / 2 + 1];
    /* The first 16-bit word that is another, its index above and what it is below; UINT64_MAX: none. */
    atomic_uint_least64_t wrong;
};

static void expected_open(struct expected *x, const struct check *c, enum arg a)
{
    const uint16_t *words = a == ARG_Q ? c->now->q : a == ARG_K ? c->now->k : c->now->v;
    x->words = (const unsigned char *)words;
    x->tensor_bytes = c->tensors[a].bytes;
    x->buffer_bytes = buffer_bytes(&c->tensors[a]);
    for (size_t i = 0; i < sizeof x->nan / sizeof x->nan[0]; i++)
        x->nan[i] = check_nan(c->p->dtype);
    atomic_init(&x->wrong, UINT64_MAX);
}

/* The bytes from `at` on, as many as lie in one piece. */
static const unsigned char *piece(const struct expected *x, size_t at, size_t *n)
{
    const unsigned char *nan = (const unsigned char *)x->nan;
    if (at < GUARD_BYTES) {
        *n = GUARD_BYTES - at;
        return nan + at;
    }
    at -= GUARD_BYTES;
    *n = at < x->tensor_bytes ? x->tensor_bytes - at : x->buffer_bytes - GUARD_BYTES - at;
    return at < x->tensor_bytes ? x->words + at : nan + (at - x->tensor_bytes);
}

static void make_expected(void *ctx, void *bytes, size_t at, size_t m)
{
    const struct expected *x = ctx;
    for (size_t i = 0, n; i < m; i += n) {
        const unsigned char *from = piece(x, at + i, &n);
        n = n < m - i ? n : m - i;
        memcpy((unsigned char *)bytes + i, from, n);
    }
}

static void lower(atomic_uint_least64_t *least, uint64_t x)
{
    uint_least64_t old = atomic_load(least);
    while (x < old && !atomic_compare_exchange_weak(least, &old, x))
        ;
}

static void take_expected(void *ctx, const void *bytes, size_t at, size_t m)
{
    struct expected *x = ctx;
    for (size_t i = 0, n; i < m; i += n) {
        const unsigned char *want = piece(x, at + i, &n), *got = (const unsigned char *)bytes + i;
        n = n < m - i ? n : m - i;
        if (memcmp(want, got, n) == 0) continue;
        for (size_t j = 0; j < n; j += 2) {
            uint16_t word;
            if (memcmp(want + j, got + j, 2) == 0) continue;
            memcpy(&word, got + j, 2);
            lower(&x->wrong, (uint64_t)(at + i + j) / 2 << 16 | word);
            return;
        }
    }
}

enum device_class check_put_inputs(struct check *c, const struct check_inputs *in)
{
    c->now = in;
    for (enum arg a = ARG_Q; a <= ARG_V; a++) {
        struct expected x;
        struct err why = {0};
        enum device_class cls;
        expected_open(&x, c, a);
        cls = transfer_write(c->transfer, c->tensors[a].buffer, 0, x.buffer_bytes, make_expected, &x, &why);
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "writing the inputs");
    }
    return DEVICE_OK;
}

enum device_class check_verify_inputs(struct check *c, const char *set)
{
    for (enum arg a = ARG_Q; a <= ARG_V && c->out->fate == FATE_OK; a++) {
        struct expected x;
        struct err why = {0};
        uint64_t wrong;
        size_t i, band = GUARD_BYTES / 2, tensor = c->tensors[a].bytes / 2;
        enum device_class cls;
        expected_open(&x, c, a);
        cls = transfer_read(c->transfer, c->tensors[a].buffer, 0, x.buffer_bytes, take_expected, &x, &why);
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "reading the inputs back");
        wrong = atomic_load(&x.wrong);
        if (wrong == UINT64_MAX) continue;
        i = (size_t)(wrong >> 16);
        if (i >= band && i < band + tensor)
            check_fate(c, FATE_CORRUPT, "%s: the kernel changed its input %s at element %zu: 0x%04x became 0x%04x", set,
                       arg_name(a), i - band, ((const uint16_t *)(const void *)x.words)[i - band],
                       (unsigned)(wrong & 0xffff));
        else
            check_fate(c, FATE_CORRUPT, "%s: the kernel wrote %s its input %s, %zu bytes away from it", set,
                       i < band ? "before" : "after", arg_name(a), i < band ? 2 * (band - i) : 2 * (i - band - tensor));
    }
    return DEVICE_OK;
}

/* ---- outputs ---- */

static uint32_t poison_word(const struct check *c, enum arg a, int which)
{
    uint32_t half = check_poison(c->p->dtype, which);
    if (a == ARG_O) return half << 16 | half;
    return which == 0 ? CHECK_UNSHOWN : 0xffe2beef; /* f32 NaNs */
}

static uint16_t guard_word(size_t i)
{
    return (uint16_t)(GUARD_WORD ^ i);
}

/* Fills an output with NaN. Its bands get their pattern once, since every run of the candidate is followed by their verification;
 * but filling goes in steps of 4 bytes, so an odd tensor's last band loses its first word each time. */
static enum device_class output_poison(struct check *c, enum arg a, int which)
{
    struct check_tensor *t = &c->tensors[a];
    size_t padded = (t->bytes + 3) / 4 * 4, odd = (padded - t->bytes) / 2;
    uint16_t words[GUARD_BYTES / 2 + 1];
    struct err why = {0};
    enum device_class cls = DEVICE_OK;
    if (padded > 0 && (t->guarded || !c->rule->unwritten))
        cls = c->drv->fill(c->d, t->buffer, GUARD_BYTES, padded, poison_word(c, a, which), &why);
    if (!t->guarded || odd > 0) {
        for (size_t i = 0; i < GUARD_BYTES / 2 + odd; i++)
            words[i] = guard_word(i);
        if (cls == DEVICE_OK) cls = c->drv->write(c->d, t->buffer, 0, words, GUARD_BYTES, &why);
        if (cls == DEVICE_OK)
            cls = c->drv->write(c->d, t->buffer, GUARD_BYTES + t->bytes, words, GUARD_BYTES + 2 * odd, &why);
        t->guarded = true;
    }
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "poisoning the outputs");
}

static struct check_image *image_of(struct check *c, enum arg a)
{
    return a == ARG_O ? &c->image_o : &c->image_lse;
}

/* The bands of an output that has just been fetched to run[to]. */
static void guards_verify(struct check *c, enum arg a, int to, const char *stage)
{
    const struct check_tensor *t = &c->tensors[a];
    const size_t offset[2] = {0, GUARD_BYTES + t->bytes};
    for (int side = 0; side < 2; side++) {
        uint16_t words[GUARD_BYTES / 2];
        size_t n = GUARD_BYTES / 2, first = n, bad = 0;
        memcpy(words, image_of(c, a)->bytes[to] + offset[side], sizeof words);
        for (size_t i = 0; i < n; i++) {
            if (words[i] == guard_word(i)) continue;
            if (bad++ == 0) first = i;
        }
        if (bad == 0) continue;
        check_fate(c, FATE_CORRUPT,
                   "%s: wrote %s its output %s: %zu of the band's %zu words changed, the first %zu bytes %s", stage,
                   side == 0 ? "before" : "past the end of", arg_name(a), bad, n,
                   side == 0 ? GUARD_BYTES - 2 * first : 2 * first, side == 0 ? "in front of it" : "past its end");
        return;
    }
}

struct fetch {
    const struct check_image *image;
    size_t tensor_bytes;
};

static void take_first(void *ctx, const void *bytes, size_t at, size_t m)
{
    const struct fetch *f = ctx;
    memcpy(f->image->bytes[0] + at, bytes, m);
}

static void take_second(void *ctx, const void *bytes, size_t at, size_t m)
{
    const struct fetch *f = ctx;
    const bool differs = memcmp(f->image->bytes[0] + at, bytes, m) != 0;
    const bool band = at < GUARD_BYTES || at + m > GUARD_BYTES + f->tensor_bytes;
    f->image->differs[at / TRANSFER_CHUNK] = differs;
    if (differs || band) memcpy(f->image->bytes[1] + at, bytes, m);
}

static enum device_class fetch(struct check *c, enum arg a, int to)
{
    const struct check_tensor *t = &c->tensors[a];
    struct fetch f = {.image = image_of(c, a), .tensor_bytes = t->bytes};
    struct err why = {0};
    enum device_class cls =
        transfer_read(c->transfer, t->buffer, 0, buffer_bytes(t), to == 0 ? take_first : take_second, &f, &why);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "reading the outputs");
}

/* ---- ends ---- */

static const enum arg outputs[] = {ARG_O, ARG_LSE};
#define NOUTPUTS (sizeof outputs / sizeof outputs[0])

static void first_close(struct check *c)
{
    for (size_t i = 0; i < NOUTPUTS; i++) {
        if (c->first[outputs[i]] != NULL) c->drv->free(c->d, c->first[outputs[i]]);
        c->first[outputs[i]] = NULL;
    }
}

void check_device_close(struct check *c)
{
    first_close(c);
    for (int a = 0; a < ARG_N; a++) {
        if (c->tensors[a].buffer != NULL) c->drv->free(c->d, c->tensors[a].buffer);
        c->tensors[a] = (struct check_tensor){0};
    }
}

static bool image_open(struct check_image *image, size_t tensor_bytes)
{
    const struct check_tensor t = {.bytes = tensor_bytes};
    image->bytes[0] = malloc(buffer_bytes(&t));
    image->bytes[1] = malloc(buffer_bytes(&t));
    image->differs = calloc(buffer_bytes(&t) / TRANSFER_CHUNK + 1, sizeof *image->differs);
    return image->bytes[0] != NULL && image->bytes[1] != NULL && image->differs != NULL;
}

enum device_class check_host_open(struct check *c)
{
    size_t q = problem_q_elements(c->p), rows = problem_rows(c->p);
    bool ok = image_open(&c->image_o, 2 * q);
    ok = image_open(&c->image_lse, c->p->lse ? 4 * rows : 0) && ok;
    for (int i = 0; i < 2 && ok; i++) {
        c->run[i].o = (uint16_t *)(void *)(c->image_o.bytes[i] + GUARD_BYTES);
        c->run[i].lse = c->p->lse ? (float *)(void *)(c->image_lse.bytes[i] + GUARD_BYTES) : NULL;
    }
    c->ref_o = malloc(q * sizeof *c->ref_o);
    c->ref_low = malloc(q * sizeof *c->ref_low);
    c->ref_lse = malloc(rows * sizeof *c->ref_lse);
    c->decode = check_decode_table(c->p->dtype);
    if (!ok || c->ref_o == NULL || c->ref_low == NULL || c->ref_lse == NULL || c->decode == NULL) {
        err_nomem(c->e);
        return DEVICE_LOST;
    }
    if (draw_open(&c->draw, c->p->dtype, c->e) != 0 || check_inputs_init(&c->plain, c->p, c->e) != 0 ||
        transfer_open(&c->transfer, c->drv, c->d, c->threads, c->e) != 0)
        return DEVICE_LOST;
    return DEVICE_OK;
}

void check_host_close(struct check *c)
{
    for (int i = 0; i < 2; i++) {
        free(c->image_o.bytes[i]);
        free(c->image_lse.bytes[i]);
    }
    free(c->image_o.differs);
    free(c->image_lse.differs);
    check_inputs_free(&c->plain);
    check_inputs_free(&c->in);
    free(c->ref_o);
    free(c->ref_low);
    free(c->ref_lse);
    free(c->decode);
    draw_close(c->draw);
    transfer_close(c->transfer);
}

/* ---- launches ---- */

static void launch_of(const struct check *c, const struct check_kernel *k, struct device_launch *l)
{
    *l = (struct device_launch){.kernel = k->kernel, .geometry = k->geometry};
    for (int i = 0; i < k->geometry->nargs; i++)
        l->args[i] = (struct device_arg){.buffer = c->tensors[k->geometry->args[i]].buffer, .offset = GUARD_BYTES};
}

static enum device_class run_poisoned(struct check *c, int poison, const char *stage)
{
    struct device_launch l;
    struct err why = {0};
    enum device_class cls;
    check_progress(c, stage);
    if ((cls = output_poison(c, ARG_O, poison)) != DEVICE_OK) return cls;
    if ((cls = output_poison(c, ARG_LSE, poison)) != DEVICE_OK) return cls;
    launch_of(c, c->candidate, &l);
    c->blame_candidate = true;
    cls = c->drv->run(c->d, &l, &why);
    if (cls == DEVICE_FATE) {
        check_fate(c, FATE_LAUNCH, "%s: %.900s", stage, why.text);
        return DEVICE_OK;
    }
    if (cls == DEVICE_STICKY) {
        check_fate(c, FATE_CRASH, "%s: %.900s", stage, why.text);
        return DEVICE_STICKY;
    }
    if (cls != DEVICE_OK) err_set(c->e, ERR_DEVICE, "%s", why.text);
    return cls;
}

static enum device_class fetch_outputs(struct check *c, int to, const char *stage)
{
    enum device_class cls = fetch(c, ARG_O, to);
    if (cls == DEVICE_OK) cls = fetch(c, ARG_LSE, to);
    if (cls != DEVICE_OK) return cls;
    guards_verify(c, ARG_O, to, stage);
    guards_verify(c, ARG_LSE, to, stage);
    return DEVICE_OK;
}

enum device_class check_run_candidate(struct check *c, int poison, int to, const char *stage)
{
    enum device_class cls;
    if (check_decided(c, cls = run_poisoned(c, poison, stage))) return cls;
    return fetch_outputs(c, to, stage);
}

/* ---- repeats, compared on the device ---- */

static void make_first(void *ctx, void *bytes, size_t at, size_t m)
{
    memcpy(bytes, (const unsigned char *)ctx + at, m);
}

enum device_class check_keep_first(struct check *c)
{
    for (size_t i = 0; i < NOUTPUTS && c->drv->same != NULL; i++) {
        const enum arg a = outputs[i];
        const size_t bytes = buffer_bytes(&c->tensors[a]);
        struct err why = {0};
        enum device_class cls = c->drv->alloc(c->d, bytes, &c->first[a], &why);
        if (cls == DEVICE_LOST || cls == DEVICE_FATE) {
            first_close(c);
            return DEVICE_OK;
        }
        if (cls == DEVICE_OK)
            cls = transfer_write(c->transfer, c->first[a], 0, bytes, make_first, image_of(c, a)->bytes[0], &why);
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "writing the first run's output");
    }
    return DEVICE_OK;
}

enum device_class check_repeat(struct check *c, bool *same)
{
    enum device_class cls;
    *same = c->first[ARG_O] != NULL;
    if (check_decided(c, cls = run_poisoned(c, 1, "repeats"))) return cls;
    for (size_t i = 0; i < NOUTPUTS && *same; i++) {
        const enum arg a = outputs[i];
        struct err why = {0};
        cls = c->drv->same(c->d, c->tensors[a].buffer, c->first[a], buffer_bytes(&c->tensors[a]), same, &why);
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "comparing the outputs");
    }
    return *same ? DEVICE_OK : fetch_outputs(c, 1, "repeats");
}

struct first_left {
    const unsigned char *want;
    atomic_bool differs;
};

static void take_first_left(void *ctx, const void *bytes, size_t at, size_t m)
{
    struct first_left *f = ctx;
    if (memcmp(f->want + at, bytes, m) != 0) atomic_store(&f->differs, true);
}

enum device_class check_verify_first(struct check *c)
{
    for (size_t i = 0; i < NOUTPUTS && c->first[outputs[i]] != NULL; i++) {
        const enum arg a = outputs[i];
        struct first_left f = {.want = image_of(c, a)->bytes[0]};
        struct err why = {0};
        enum device_class cls;
        atomic_init(&f.differs, false);
        cls = transfer_read(c->transfer, c->first[a], 0, buffer_bytes(&c->tensors[a]), take_first_left, &f, &why);
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "reading the first run's output");
        if (atomic_load(&f.differs))
            check_fate(c, FATE_CORRUPT, "repeats: the kernel changed memory that is none of its arguments");
    }
    return DEVICE_OK;
}

uint16_t check_second(const struct check *c, size_t i)
{
    const bool differs = c->image_o.differs[(GUARD_BYTES + 2 * i) / TRANSFER_CHUNK];
    return c->run[differs ? 1 : 0].o[i];
}

enum device_class check_put_tile(struct check *c, const struct check_tile *t)
{
    const float head[CHECK_TILE_HEAD] = {(float)(t->batch * c->p->heads + t->head), (float)t->row, (float)t->rows, 0};
    struct err why = {0};
    enum device_class cls = output_poison(c, ARG_TILE, 0);
    if (cls != DEVICE_OK) return cls;
    cls = c->drv->write(c->d, c->tensors[ARG_TILE].buffer, GUARD_BYTES, head, sizeof head, &why);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "writing the place of the tile");
}

static void keep_bytes(void *ctx, const void *bytes, size_t at, size_t m)
{
    memcpy((unsigned char *)ctx + at, bytes, m);
}

enum device_class check_get_tile(struct check *c, float *to)
{
    struct err why = {0};
    enum device_class cls = transfer_read(c->transfer, c->tensors[ARG_TILE].buffer, GUARD_BYTES,
                                          c->tensors[ARG_TILE].bytes, keep_bytes, to, &why);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "reading the tile");
}

struct keep {
    unsigned char *to;
    atomic_size_t bad; /* first element that is not finite */
};

static void keep_floats(void *ctx, const void *bytes, size_t at, size_t m)
{
    struct keep *k = ctx;
    const uint32_t *bits = bytes, infinity = 0x7f800000;
    size_t bad = 0;
    memcpy(k->to + at, bytes, m);
    for (size_t i = 0; i < m / 4; i++)
        bad += (bits[i] & infinity) == infinity;
    for (size_t i = 0; i < m / 4 && bad > 0; i++)
        if ((bits[i] & infinity) == infinity) {
            size_t old = atomic_load(&k->bad), mine = at / 4 + i;
            while (mine < old && !atomic_compare_exchange_weak(&k->bad, &old, mine))
                ;
            break;
        }
}

/* A float tensor of the reference; its first element that is not finite lowers *bad. */
static enum device_class fetch_reference(struct check *c, enum arg a, float *to, size_t *bad)
{
    struct keep k = {.to = (unsigned char *)to};
    struct err why = {0};
    enum device_class cls;
    atomic_init(&k.bad, SIZE_MAX);
    cls = transfer_read(c->transfer, c->tensors[a].buffer, GUARD_BYTES, c->tensors[a].bytes, keep_floats, &k, &why);
    if (atomic_load(&k.bad) < *bad) *bad = atomic_load(&k.bad);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "reading the outputs");
}

enum device_class check_run_reference(struct check *c)
{
    struct device_launch l;
    struct err why = {0};
    enum device_class cls;
    check_progress(c, "reference");
    c->kept.computed = false;
    for (enum arg a = ARG_LSE; a <= ARG_REF_LOW; a++)
        if ((cls = output_poison(c, a, 0)) != DEVICE_OK) return cls;
    launch_of(c, c->reference, &l);
    cls = c->drv->run(c->d, &l, &why);
    if (cls != DEVICE_OK) {
        err_set(c->e, ERR_DEVICE, "the reference kernel did not run: %s", why.text);
        return DEVICE_LOST;
    }
    c->tensors[ARG_LSE].guarded = false; /* nobody looks at the bands behind the reference */
    c->ref_bad = SIZE_MAX;
    if ((cls = fetch_reference(c, ARG_REF_O, c->ref_o, &c->ref_bad)) != DEVICE_OK) return cls;
    if ((cls = fetch_reference(c, ARG_REF_LOW, c->ref_low, &c->ref_bad)) != DEVICE_OK) return cls;
    /* -inf is right for a row that sees no key */
    return c->p->lse ? fetch_reference(c, ARG_LSE, c->ref_lse, &(size_t){0}) : DEVICE_OK;
}
