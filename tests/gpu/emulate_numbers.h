// 16-bit numbers and checks of shared addresses for kernels under emulate_cuda.h; included after the kernel's head, which
// says DTYPE_BF16 and SHARED_BYTES.
#ifndef EMULATE_NUMBERS_H
#define EMULATE_NUMBERS_H

static float widen(u16 x)
{
#if DTYPE_BF16
    return __uint_as_float((u32)x << 16);
#else
    _Float16 half;
    memcpy(&half, &x, 2);
    return (float)half;
#endif
}

static u16 narrow(float x)
{
#if DTYPE_BF16
    u32 bits;
    memcpy(&bits, &x, 4);
    return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#else
    _Float16 half = (_Float16)x;
    u16 bits;
    memcpy(&bits, &half, 2);
    return bits;
#endif
}

static void check_place(const void *p, size_t alignment)
{
    const unsigned char *at = (const unsigned char *)p;
    if ((size_t)p % alignment != 0) emulate_fail("misaligned access to shared memory");
    if (at < shared || at >= shared + SHARED_BYTES) emulate_fail("access outside the shared memory of the block");
}

#endif
