/* ceiling_memory: nothing but reads of q, k and v, any OpenCL 1.2 device. README.md tells what for.
 *
 * The items walk over the tensors, 16 bytes at a time side by side or 64 bytes at a time in stretches of their own, and begin again at the
 * end until TURNS are over. */

#ifndef TOGETHER
#define TOGETHER 0
#endif
#ifndef ITEMS
#define ITEMS 16
#endif
#ifndef GROUPS
#define GROUPS 1
#endif
#ifndef PIECES /* of a tensor */
#define PIECES 8192
#endif
#ifndef STRETCH /* of an item */
#define STRETCH 512
#endif
#ifndef TURNS
#define TURNS 512
#endif

#if TOGETHER
typedef uint4 piece;
#define MIXED(x) ((x).s0 ^ (x).s1 ^ (x).s2 ^ (x).s3)
#define FIRST (me % PIECES)
#define STEP (GROUPS * ITEMS % PIECES)
#else
typedef uint16 piece;
#define HALF(x) ((x).lo ^ (x).hi)
#define MIXED(x) (HALF(HALF(HALF(HALF(x)))))
#define FIRST (me * STRETCH % PIECES)
#define STEP 1
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
ceiling_memory(__global const piece *restrict q, __global const piece *restrict k, __global const piece *restrict v,
               __global uint *restrict o)
{
    const uint me = (uint)get_global_id(0);
    uint at = FIRST;
    piece mix = (piece)(0u);

    for (int turn = 0; turn < TURNS; turn++) {
        mix ^= q[at] ^ k[at] ^ v[at];
        at += STEP;
        if (at >= PIECES) at -= PIECES;
    }
    o[me] = MIXED(mix);
}
