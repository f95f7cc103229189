__kernel void wide(__global const ushort *q, __global ushort *o)
{
    o[0] = q[P3 + LOW * HIGH];
}
