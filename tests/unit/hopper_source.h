/* hopper_source.h - kernels for sm_90 that copy boxes by tensor map and that know their place in a cluster; compiled
 * everywhere by test_nvrtc, run on a GPU by test_device_cuda. */
#ifndef HOPPER_SOURCE_H
#define HOPPER_SOURCE_H

enum { BOX_COLUMNS = 64, BOX_ROWS = 16, BOX_WORDS = BOX_COLUMNS * BOX_ROWS };

/* boxes: block (x, y, z) writes box (x, y) of plane z to o as the copy engine left it in shared memory. ranks: each block
 * writes 256 times the size of its cluster plus its rank there. */
static const char hopper_source[] =
    "struct alignas(64) tensor_map { unsigned long long opaque[16]; };\n"
    "extern \"C\" __global__ void boxes(const __grid_constant__ tensor_map map, unsigned short *o)\n"
    "{\n"
    "    __shared__ alignas(1024) unsigned short box[64 * 16];\n"
    "    __shared__ alignas(8) unsigned long long barrier;\n"
    "    unsigned to = (unsigned)__cvta_generic_to_shared(box), at = (unsigned)__cvta_generic_to_shared(&barrier);\n"
    "    if (threadIdx.x == 0) {\n"
    "        asm volatile(\"mbarrier.init.shared::cta.b64 [%0], 1;\\nfence.proxy.async.shared::cta;\\n\" ::\"r\"(at) : "
    "\"memory\");\n"
    "        asm volatile(\"mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 2048;\" ::\"r\"(at) : \"memory\");\n"
    "        asm volatile(\"cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, "
    "{%2, %3, "
    "%4}], [%5];\"\n"
    "            ::\"r\"(to), \"l\"(&map), \"r\"(blockIdx.x * 64), \"r\"(blockIdx.y * 16), \"r\"(blockIdx.z), "
    "\"r\"(at) : "
    "\"memory\");\n"
    "    }\n"
    "    __syncthreads();\n"
    "    asm volatile(\"{\\n.reg .pred done;\\nAGAIN:\\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], "
    "0;\\n@!done bra "
    "AGAIN;\\n}\\n\" ::\"r\"(at) : \"memory\");\n"
    "    o += ((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * 64 * 16;\n"
    "    for (int i = threadIdx.x; i < 64 * 16; i += blockDim.x) o[i] = box[i];\n"
    "}\n"
    "extern \"C\" __global__ void ranks(unsigned *o)\n"
    "{\n"
    "    unsigned rank, size;\n"
    "    asm(\"mov.u32 %0, %%cluster_ctarank;\" : \"=r\"(rank));\n"
    "    asm(\"mov.u32 %0, %%cluster_nctarank;\" : \"=r\"(size));\n"
    "    if (threadIdx.x == 0) o[blockIdx.x] = 256 * size + rank;\n"
    "}\n";

#endif
