// Runs reference_cuda on the CPU against f64: ref_o and lse to f32, ref_low against the same rounding steps. Built by
// tests/cli/emulate_reference.sh, which cuts the kernel at its PTX section. Arguments: seed, spread of q and k.
#include "emulate_cuda.h"

#include <sys/mman.h>
#include <unistd.h>

static unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}

#include "kernel_head.inc"

#include "emulate_numbers.h"

static float to_float(u16 x)
{
    return widen(x);
}

static float round_to_type(float x)
{
#if DTYPE_BF16
    return widen(narrow(x));
#else
    return widen(narrow(fminf(fmaxf(x, -65504.0f), 65504.0f)));
#endif
}

#include "kernel_tail.inc"

static constexpr size_t GUARD = 16384; // elements of NaN on both sides of an output
static u16 *q, *k, *v;
static float *o, *low, *lse;

static void kernel()
{
    attention_reference(q, k, v, o, lse, low);
}

// Ends where the memory that may be read ends, but for what alignment to 16 bytes leaves.
static u16 *tensor(size_t n, float spread, std::mt19937 &random)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (2 * n + 15) / 16 * 16, pages = (bytes + page - 1) / page * page;
    std::normal_distribution<float> normal(0, spread);
    char *memory = (char *)mmap(NULL, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == (char *)MAP_FAILED || mprotect(memory + pages, page, PROT_NONE) != 0) exit(2);
    u16 *p = (u16 *)(memory + pages - bytes);
    for (size_t i = 0; i < n; i++)
        p[i] = narrow(normal(random));
    return p;
}

static float *output(std::vector<float> &memory, size_t n)
{
    memory.assign(n + 2 * GUARD, NAN);
    return memory.data() + GUARD;
}

static double worst, worst_low, worst_lse; // errors, each in units of what is allowed
static double low_differs;                 // share of ref_low that is not its definition's to the last bit

static void raise(double &to, double error)
{
    if (!(error <= to)) to = std::isnan(error) ? INFINITY : error;
}

// ref_low may differ from its definition where a rounding falls the other way: of a logit, of a weight, of the result. That is rare:
// a step left out would show in a fifth of all elements and more.
static void check_row(int b, int h, int r)
{
    const size_t row = ((size_t)b * HEADS + h) * SEQ_Q + r,
                 first = ((size_t)b * KV_HEADS + h / (HEADS / KV_HEADS)) * SEQ_KV;
    const int last = CAUSAL ? std::min(SEQ_KV - 1, r + SEQ_KV - SEQ_Q) : SEQ_KV - 1;
    const double unit = DTYPE_BF16 ? 0x1p-8 : 0x1p-11;
    std::vector<double> p((size_t)std::max(0, last + 1)), p_low(p), want(HEAD_DIM, 0.0), want_low(want), size(want);
    double max = -INFINITY, low_max = -INFINITY, sum = 0, low_sum = 0;
    for (int j = 0; j <= last; j++) {
        for (int d = 0; d < HEAD_DIM; d++)
            p[j] += (double)widen(q[row * HEAD_DIM + d]) * widen(k[(first + j) * HEAD_DIM + d]);
        p[j] *= SCALE;
        p_low[j] = round_to_type((float)p[j]);
        max = std::max(max, p[j]);
        low_max = std::max(low_max, p_low[j]);
    }
    for (int j = 0; j <= last; j++) {
        sum += p[j] = exp(p[j] - max);
        low_sum += p_low[j] = exp(p_low[j] - low_max);
    }
    for (int j = 0; j <= last; j++)
        for (int d = 0; d < HEAD_DIM; d++) {
            const double x = widen(v[(first + j) * HEAD_DIM + d]);
            want[d] += p[j] / sum * x;
            want_low[d] += (double)round_to_type((float)(p_low[j] / low_sum)) * x;
            size[d] += p_low[j] / low_sum * fabs(x);
        }
    for (int d = 0; d < HEAD_DIM; d++) {
        raise(worst, fabs(o[row * HEAD_DIM + d] - want[d]) / (1e-5 * (1 + fabs(want[d]))));
        raise(worst_low, fabs(low[row * HEAD_DIM + d] - want_low[d]) / (2 * unit * size[d] + 1e-6));
        low_differs += low[row * HEAD_DIM + d] != round_to_type((float)want_low[d]);
        if (widen(narrow(low[row * HEAD_DIM + d])) != low[row * HEAD_DIM + d]) worst_low = INFINITY; // not rounded
    }
    if (!WRITE_LSE)
        raise(worst_lse, std::isnan(lse[row]) ? 0 : INFINITY);
    else if (last < 0)
        raise(worst_lse, lse[row] == -INFINITY ? 0 : INFINITY);
    else
        raise(worst_lse, fabs(lse[row] - (max + log(sum))) / (1e-5 + 1e-6 * fabs(max)));
}

int main(int argc, char **argv)
{
    const unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    const float spread = argc > 2 ? strtof(argv[2], NULL) : 1;
    const size_t n_q = (size_t)BATCH * HEADS * SEQ_Q * HEAD_DIM, n_k = (size_t)BATCH * KV_HEADS * SEQ_KV * HEAD_DIM;
    std::vector<float> outputs[3];
    std::mt19937 random(seed);
    q = tensor(n_q, spread, random), k = tensor(n_k, spread, random), v = tensor(n_k, 1, random);
    o = output(outputs[0], n_q), low = output(outputs[1], n_q), lse = output(outputs[2], n_q / HEAD_DIM);

    emulate_launch(kernel, {(SEQ_Q + ROWS - 1) / ROWS, HEADS, BATCH}, THREADS, SHARED_BYTES, seed);

    for (int b = 0; b < BATCH; b++)
        for (int h = 0; h < HEADS; h++)
            for (int r = 0; r < SEQ_Q; r++)
                check_row(b, h, r);
    bool guards = true;
    for (size_t i = 0; i < GUARD; i++)
        for (int t = 0; t < 3; t++)
            guards = guards && std::isnan(outputs[t][i]) && std::isnan(outputs[t][outputs[t].size() - 1 - i]);
    low_differs /= (double)n_q;
    const bool right = guards && worst <= 1 && worst_low <= 1 && worst_lse <= 1 && low_differs <= 0.05;
    printf("errors of what is allowed: o %.2g, low %.2g (%.2g%% differ), lse %.2g%s: %s\n", worst, worst_low,
           100 * low_differs, worst_lse, guards ? "" : ", guard written", right ? "right" : "WRONG");
    return right ? 0 : 1;
}
