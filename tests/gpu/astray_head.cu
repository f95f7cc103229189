// What tests/data/templates/astray/kernel.cl needs in front to be CUDA C++; tests/cli/oracle.sh and tests/gpu/oracle.sh make a template of both.
#define KERNEL extern "C" __global__
#define FUNCTION static __device__
#define GLOBAL
#define GROUP(i) ((int)((i) == 0 ? blockIdx.x : (i) == 1 ? blockIdx.y : blockIdx.z))
#define THREAD ((int)threadIdx.x)
#define NEG_INF __uint_as_float(0xff800000u)
#define NOT_A_NUMBER __uint_as_float(0x7fffffffu)
#define LOAD(p, i) load(p, i)
#define STORE(x, p, i) store(x, p, i)
typedef unsigned short ushort;

static __device__ float load(const ushort *p, int i)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(p[i]));
    return y;
}

static __device__ void store(float x, ushort *p, int i)
{
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p[i]) : "f"(x));
}

