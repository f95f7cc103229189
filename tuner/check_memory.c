/* Every tensor lies between two bands of GUARD_BYTES: NaN around inputs, so that reading past an end shows; a pattern that
 * depends on the place around outputs, so that writing past an end shows. Outputs hold NaN before every run.
 *
 * Blame: until the candidate has run, and while the reference runs, every failure of the device is the machine's. Out of
 * memory for the check's own buffers is the machine's too. */
#include <stdlib.h>
#include <string.h>

#include "check_host.h"
#include "check_private.h"

#define GUARD_BYTES 4096u
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

static enum device_class alloc_device(struct check *c)
{
    size_t q = problem_q_elements(c->p), kv = problem_kv_elements(c->p), rows = problem_rows(c->p);
    const size_t bytes[ARG_N] = {[ARG_Q] = 2 * q,
                                 [ARG_K] = 2 * kv,
                                 [ARG_V] = 2 * kv,
                                 [ARG_O] = 2 * q,
                                 [ARG_LSE] = c->p->lse ? 4 * rows : 0,
                                 [ARG_REF_O] = 4 * q,
                                 [ARG_REF_LOW] = 4 * q};
    size_t total = 0;
    for (int a = 0; a < ARG_N; a++) {
        struct err why = {0};
        enum device_class cls;
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

static enum device_class alloc_host(struct check *c)
{
    size_t q = problem_q_elements(c->p), kv = problem_kv_elements(c->p), rows = problem_rows(c->p);
    bool ok = true;
    for (int i = 0; i < 2; i++) {
        c->run[i].o = malloc(q * sizeof *c->run[i].o);
        ok = ok && c->run[i].o != NULL;
        if (!c->p->lse) continue;
        c->run[i].lse = malloc(rows * sizeof *c->run[i].lse);
        ok = ok && c->run[i].lse != NULL;
    }
    c->ref_o = malloc(q * sizeof *c->ref_o);
    c->ref_low = malloc(q * sizeof *c->ref_low);
    c->ref_lse = malloc(rows * sizeof *c->ref_lse);
    c->decode = check_decode_table(c->p->dtype);
    c->scratch = malloc(2 * GUARD_BYTES + 2 * (q > kv ? q : kv) + 4);
    if (!ok || c->ref_o == NULL || c->ref_low == NULL || c->ref_lse == NULL || c->decode == NULL ||
        c->scratch == NULL) {
        err_nomem(c->e);
        return DEVICE_LOST;
    }
    if (check_inputs_init(&c->plain, c->p, c->e) != 0 || check_inputs_init(&c->in, c->p, c->e) != 0) return DEVICE_LOST;
    return DEVICE_OK;
}

/* The buffer of an input as it must look before and after every run: NaN, tensor, NaN. */
static size_t input_image(struct check *c, enum arg a)
{
    const uint16_t *words = a == ARG_Q ? c->in.q : a == ARG_K ? c->in.k : c->in.v;
    size_t n = buffer_bytes(&c->tensors[a]) / 2, band = GUARD_BYTES / 2, tensor = c->tensors[a].bytes / 2;
    for (size_t i = 0; i < band; i++)
        c->scratch[i] = check_nan(c->p->dtype);
    memcpy(c->scratch + band, words, tensor * sizeof *words);
    for (size_t i = band + tensor; i < n; i++)
        c->scratch[i] = check_nan(c->p->dtype);
    return n * 2;
}

enum device_class check_put_inputs(struct check *c)
{
    for (enum arg a = ARG_Q; a <= ARG_V; a++) {
        struct err why = {0};
        size_t n = input_image(c, a);
        enum device_class cls = c->drv->write(c->d, c->tensors[a].buffer, 0, c->scratch, n, &why);
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "writing the inputs");
    }
    return DEVICE_OK;
}

enum device_class check_verify_inputs(struct check *c, const char *set)
{
    for (enum arg a = ARG_Q; a <= ARG_V; a++) {
        struct err why = {0};
        size_t n = input_image(c, a), words = n / 2, band = GUARD_BYTES / 2, tensor = c->tensors[a].bytes / 2, i = 0;
        uint16_t *device = malloc(n);
        enum device_class cls;
        if (device == NULL) {
            err_nomem(c->e);
            return DEVICE_LOST;
        }
        cls = c->drv->read(c->d, c->tensors[a].buffer, 0, device, n, &why);
        if (cls != DEVICE_OK) {
            free(device);
            return device_failed(c, cls, &why, "reading the inputs back");
        }
        if (memcmp(device, c->scratch, n) == 0) i = words;
        while (i < words && device[i] == c->scratch[i])
            i++;
        if (i < words && i >= band && i < band + tensor)
            check_fate(c, FATE_CORRUPT, "%s: the kernel changed its input %s at element %zu: 0x%04x became 0x%04x", set,
                       arg_name(a), i - band, c->scratch[i], device[i]);
        else if (i < words)
            check_fate(c, FATE_CORRUPT, "%s: the kernel wrote %s its input %s, %zu bytes away from it", set,
                       i < band ? "before" : "after", arg_name(a), i < band ? 2 * (band - i) : 2 * (i - band - tensor));
        free(device);
        if (c->out->fate != FATE_OK) break;
    }
    return DEVICE_OK;
}

static uint32_t poison_word(const struct check *c, enum arg a, int which)
{
    uint32_t half = check_poison(c->p->dtype, which);
    if (a == ARG_O) return half << 16 | half;
    return which == 0 ? 0x7fc1dead : 0xffe2beef; /* f32 NaNs */
}

static uint16_t guard_word(size_t i)
{
    return (uint16_t)(GUARD_WORD ^ i);
}

/* Fills an output with NaN and both its bands with the guard pattern. */
static enum device_class output_poison(struct check *c, enum arg a, int which)
{
    const struct check_tensor *t = &c->tensors[a];
    size_t padded = (t->bytes + 3) / 4 * 4, band = GUARD_BYTES / 2, odd = (padded - t->bytes) / 2;
    uint16_t words[GUARD_BYTES / 2 + 1];
    struct err why = {0};
    enum device_class cls = DEVICE_OK;
    for (size_t i = 0; i < band + odd; i++)
        words[i] = guard_word(i);
    if (padded > 0) cls = c->drv->fill(c->d, t->buffer, GUARD_BYTES, padded, poison_word(c, a, which), &why);
    if (cls == DEVICE_OK) cls = c->drv->write(c->d, t->buffer, 0, words, GUARD_BYTES, &why);
    if (cls == DEVICE_OK)
        cls = c->drv->write(c->d, t->buffer, GUARD_BYTES + t->bytes, words, GUARD_BYTES + 2 * odd, &why);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "poisoning the outputs");
}

static enum device_class guards_verify(struct check *c, enum arg a, const char *stage)
{
    const struct check_tensor *t = &c->tensors[a];
    const size_t offset[2] = {0, GUARD_BYTES + t->bytes};
    uint16_t words[GUARD_BYTES / 2];
    for (int side = 0; side < 2; side++) {
        struct err why = {0};
        enum device_class cls = c->drv->read(c->d, t->buffer, offset[side], words, sizeof words, &why);
        size_t n = GUARD_BYTES / 2, first = n, bad = 0;
        if (cls != DEVICE_OK) return device_failed(c, cls, &why, "reading the guard bands");
        for (size_t i = 0; i < n; i++) {
            if (words[i] == guard_word(i)) continue;
            if (bad++ == 0) first = i;
        }
        if (bad == 0) continue;
        check_fate(c, FATE_CORRUPT,
                   "%s: wrote %s its output %s: %zu of the band's %zu words changed, the first %zu bytes %s", stage,
                   side == 0 ? "before" : "past the end of", arg_name(a), bad, n,
                   side == 0 ? GUARD_BYTES - 2 * first : 2 * first, side == 0 ? "in front of it" : "past its end");
        return DEVICE_OK;
    }
    return DEVICE_OK;
}

enum device_class check_alloc(struct check *c)
{
    enum device_class cls = alloc_device(c);
    return cls == DEVICE_OK ? alloc_host(c) : cls;
}

void check_release(struct check *c)
{
    for (int a = 0; a < ARG_N; a++)
        if (c->tensors[a].buffer != NULL) c->drv->free(c->d, c->tensors[a].buffer);
    for (int i = 0; i < 2; i++) {
        free(c->run[i].o);
        free(c->run[i].lse);
    }
    check_inputs_free(&c->plain);
    check_inputs_free(&c->in);
    free(c->ref_o);
    free(c->ref_low);
    free(c->ref_lse);
    free(c->decode);
    free(c->scratch);
}

/* ---- launches ---- */

static void launch_of(const struct check *c, const struct check_kernel *k, struct device_launch *l)
{
    *l = (struct device_launch){.kernel = k->kernel, .geometry = k->geometry};
    for (int i = 0; i < k->geometry->nargs; i++)
        l->args[i] = (struct device_arg){.buffer = c->tensors[k->geometry->args[i]].buffer, .offset = GUARD_BYTES};
}

static enum device_class fetch(struct check *c, enum arg a, void *to)
{
    struct err why = {0};
    enum device_class cls = c->drv->read(c->d, c->tensors[a].buffer, GUARD_BYTES, to, c->tensors[a].bytes, &why);
    return cls == DEVICE_OK ? DEVICE_OK : device_failed(c, cls, &why, "reading the outputs");
}

enum device_class check_run_candidate(struct check *c, int which, struct check_outputs *to, const char *stage)
{
    struct device_launch l;
    struct err why = {0};
    enum device_class cls;
    check_progress(c, stage);
    if ((cls = output_poison(c, ARG_O, which)) != DEVICE_OK) return cls;
    if ((cls = output_poison(c, ARG_LSE, which)) != DEVICE_OK) return cls;
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
    if (cls != DEVICE_OK) {
        err_set(c->e, ERR_DEVICE, "%s", why.text);
        return DEVICE_LOST;
    }
    if ((cls = fetch(c, ARG_O, to->o)) != DEVICE_OK) return cls;
    if (to->lse != NULL && (cls = fetch(c, ARG_LSE, to->lse)) != DEVICE_OK) return cls;
    cls = guards_verify(c, ARG_O, stage);
    if (!check_decided(c, cls)) cls = guards_verify(c, ARG_LSE, stage);
    return cls;
}

enum device_class check_run_reference(struct check *c)
{
    struct device_launch l;
    struct err why = {0};
    enum device_class cls;
    check_progress(c, "reference");
    for (enum arg a = ARG_LSE; a <= ARG_REF_LOW; a++)
        if ((cls = output_poison(c, a, 0)) != DEVICE_OK) return cls;
    launch_of(c, c->reference, &l);
    cls = c->drv->run(c->d, &l, &why);
    if (cls != DEVICE_OK) {
        err_set(c->e, ERR_DEVICE, "the reference kernel did not run: %s", why.text);
        return DEVICE_LOST;
    }
    if ((cls = fetch(c, ARG_REF_O, c->ref_o)) != DEVICE_OK) return cls;
    if ((cls = fetch(c, ARG_REF_LOW, c->ref_low)) != DEVICE_OK) return cls;
    return c->p->lse ? fetch(c, ARG_LSE, c->ref_lse) : DEVICE_OK;
}
