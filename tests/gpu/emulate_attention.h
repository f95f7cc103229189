// Runs attention_forward over a grid and compares with f64; included after the kernel. Arguments of the program: seed, spread
// of q and k, and by how much logits climb from the last key to the first.
#ifndef EMULATE_ATTENTION_H
#define EMULATE_ATTENTION_H

static constexpr size_t GUARD = 65536; // elements on both sides of a tensor: NaN beside inputs, else a number
static constexpr u16 UNREAD = 0xffff, UNWRITTEN = 0x7b00; // which no NaN from beyond the inputs turns into
static u16 *q, *k, *v, *o;
static float *lse;

static void kernel(); // calls attention_forward

static u16 *tensor(std::vector<u16> &memory, size_t n, u16 guard)
{
    memory.assign(n + 2 * GUARD + 8, guard);
    size_t past = (size_t)(memory.data() + GUARD) % 16 / 2;
    return memory.data() + GUARD + (8 - past) % 8;
}

// Largest errors of one row; row r of head h.
static void check_row(int b, int h, int r, double *error, double *lse_error)
{
    const size_t row = ((size_t)b * HEADS + h) * SEQ_Q + r,
                 first = ((size_t)b * KV_HEADS + h / (HEADS / KV_HEADS)) * SEQ_KV;
    const int last = CAUSAL ? std::min(SEQ_KV - 1, r + SEQ_KV - SEQ_Q) : SEQ_KV - 1;
    std::vector<double> logit((size_t)std::max(0, last + 1)), want(HEAD_DIM, 0.0);
    double max = -INFINITY, sum = 0;
    for (int j = 0; j <= last; j++) {
        for (int d = 0; d < HEAD_DIM; d++)
            logit[j] += (double)widen(q[row * HEAD_DIM + d]) * widen(k[(first + j) * HEAD_DIM + d]);
        logit[j] *= SCALE;
        max = std::max(max, logit[j]);
    }
    for (int j = 0; j <= last; j++) {
        double p = exp(logit[j] - max);
        sum += p;
        for (int d = 0; d < HEAD_DIM; d++)
            want[d] += p * widen(v[(first + j) * HEAD_DIM + d]);
    }
    for (int d = 0; d < HEAD_DIM; d++) {
        double e = fabs(widen(o[row * HEAD_DIM + d]) - (last >= 0 ? want[d] / sum : 0));
        if (!(e <= *error)) *error = std::isnan(e) ? INFINITY : e;
    }
    const double want_lse = last >= 0 ? max + log(sum) : -INFINITY;
    bool same = WRITE_LSE ? lse[row] == want_lse || fabs(lse[row] - want_lse) < 1e-3 : std::isnan(lse[row]);
    if (!same) *lse_error = INFINITY;
}

// The first element of all queries is the same, and that of the keys a ramp.
static void add_climb(float climb, size_t rows_q, size_t rows_k)
{
    const float size = 16;
    for (size_t i = 0; i < rows_q; i++)
        q[i * HEAD_DIM] = narrow(size);
    for (size_t i = 0; i < rows_k; i++)
        k[i * HEAD_DIM] = narrow(climb / (size * SCALE) * (1 - (float)(i % SEQ_KV) / SEQ_KV));
}

static int emulate_attention(int argc, char **argv, emulate_dim grid)
{
    const unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    const float spread = argc > 2 ? strtof(argv[2], NULL) : 1; // 20 gives logits of some thousands
    const float climb = argc > 3 ? strtof(argv[3], NULL) : 0;
    const size_t n_q = (size_t)BATCH * HEADS * SEQ_Q * HEAD_DIM, n_k = (size_t)BATCH * KV_HEADS * SEQ_KV * HEAD_DIM;
    std::vector<u16> memory[4];
    std::vector<float> lse_memory(n_q / HEAD_DIM, NAN);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1);
    q = tensor(memory[0], n_q, UNREAD), k = tensor(memory[1], n_k, UNREAD), v = tensor(memory[2], n_k, UNREAD);
    o = tensor(memory[3], n_q, UNWRITTEN);
    lse = lse_memory.data();
    for (size_t i = 0; i < n_q; i++)
        q[i] = narrow(normal(random) * spread);
    for (size_t i = 0; i < n_k; i++)
        k[i] = narrow(normal(random) * spread), v[i] = narrow(normal(random));
    if (climb != 0) add_climb(climb, n_q / HEAD_DIM, n_k / HEAD_DIM);

    emulate_launch(kernel, grid, THREADS, SHARED_BYTES, seed);

    double error = 0, lse_error = 0;
    for (int b = 0; b < BATCH; b++)
        for (int h = 0; h < HEADS; h++)
            for (int r = 0; r < SEQ_Q; r++)
                check_row(b, h, r, &error, &lse_error);
    bool guards = true;
    for (size_t i = 1; i < GUARD / 2; i++)
        guards = guards && o[-(long)i] == UNWRITTEN && o[n_q + i - 1] == UNWRITTEN;
    const bool right = guards && lse_error == 0 && error < (DTYPE_BF16 ? 3e-2 : 4e-3);
    printf("max abs error %.2e%s%s: %s\n", error, lse_error > 0 ? ", wrong lse" : "", guards ? "" : ", guard written",
           right ? "right" : "WRONG");
    return right ? 0 : 1;
}

#endif
