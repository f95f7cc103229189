#ifndef BLOCK_M
#define BLOCK_M 32
#endif
#ifndef BLOCK_N
#define BLOCK_N 64
#endif
#ifndef THREADS
#define THREADS 32
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif

#if CAUSAL && BLOCK_N > 16
#define SKIP 1
#endif

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void tile(__global const ushort *q, __global const ushort *k, __global const ushort *v, __global ushort *o)
{
    __local ushort rows[BLOCK_M * HEAD_DIM];
    rows[get_local_id(0)] = q[get_global_id(0)];
    o[get_global_id(0)] = rows[get_local_id(0)];
}
