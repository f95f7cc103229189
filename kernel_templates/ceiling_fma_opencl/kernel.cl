/* ceiling_fma: nothing but multiply-adds in f32, any OpenCL 1.2 device. README.md tells what for.
 *
 * An item has sixteen chains a = a x + y, which tend to y / (1 - x) and never overflow. */

#ifndef VEC
#define VEC 8
#endif
#ifndef ITEMS
#define ITEMS 16
#endif
#ifndef TURNS
#define TURNS 2048
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

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void ceiling_fma(__global const uint *restrict q,
                                                                              __global float *restrict o)
{
    const int item = (int)get_local_id(0);
    const vecf x = (vecf)(0.5f + (float)(q[item] & 255u) * 0x1p-10f), y = (vecf)((float)(q[item + ITEMS] & 255u) * 0x1p-8f);
    vecf a[16], sum = (vecf)0.0f;

#pragma unroll
    for (int i = 0; i < 16; i++)
        a[i] = (vecf)((float)(q[item + i * ITEMS] & 255u));
    for (int turn = 0; turn < TURNS; turn++) {
#pragma unroll
        for (int i = 0; i < 16; i++)
            a[i] = fma(a[i], x, y);
    }
#pragma unroll
    for (int i = 0; i < 16; i++)
        sum += a[i];
    STORE(sum, item, o); /* of every group the same */
}
