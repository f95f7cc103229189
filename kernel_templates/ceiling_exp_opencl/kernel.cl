/* ceiling_exp: nothing but exponentials in f32, any OpenCL 1.2 device. README.md tells what for.
 *
 * An item has eight chains x = 2^-x, which tend to 0.641 and never overflow. */

#ifndef VEC
#define VEC 8
#endif
#ifndef ITEMS
#define ITEMS 16
#endif
#ifndef NATIVE
#define NATIVE 0
#endif
#ifndef TURNS
#define TURNS 256
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#if VEC == 1
typedef float vecf;
#define STORE(x, at, p) ((p)[at] = (x))
#else
typedef JOIN(float, VEC) vecf;
#define STORE(x, at, p) JOIN(vstore, VEC)(x, at, p)
#endif
#if NATIVE
#define EXP2 native_exp2
#else
#define EXP2 exp2
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void ceiling_exp(__global const uint *restrict q,
                                                                              __global float *restrict o)
{
    const int item = (int)get_local_id(0);
    vecf x[8], sum = (vecf)0.0f;

#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i] = (vecf)((float)(q[item + i * ITEMS] & 255u) * 0x1p-8f);
    for (int turn = 0; turn < TURNS; turn++) {
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[i] = EXP2(-x[i]);
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        sum += x[i];
    STORE(sum, item, o); /* of every group the same */
}
