// vast: a plain kernel for the fake device alone, which looks at the macros and not at the code. Every point is correct.
extern "C" __global__ void attention_vast(const unsigned short *q, const unsigned short *k, const unsigned short *v, unsigned short *o)
{
    o[0] = q[0] + k[0] + v[0] + P0 + P1 + P2;
}
