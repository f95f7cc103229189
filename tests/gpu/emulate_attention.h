// Runs attention_forward over a grid and compares with f64; included after the kernel. Arguments of the program: seed, spread
// of q and k, and by how much logits climb from the last key to the first.
#ifndef EMULATE_ATTENTION_H
#define EMULATE_ATTENTION_H

static constexpr size_t GUARD = 65536; // elements on both sides of a tensor: NaN beside inputs, else a number
static constexpr u16 UNREAD = 0xffff, UNWRITTEN = 0x7b00; // which no NaN from beyond the inputs turns into
static u16 *q, *k, *v, *o;
static float *lse;
[[maybe_unused]] static float *tile; // what a debug build shows

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

#ifdef FATUNE_ORACLE
static constexpr int TILE_PLANE = BATCH * HEADS - 1, TILE_ROW = SEQ_Q / 3,
                     TILE_ROWS = SEQ_Q - TILE_ROW; // of the last head

static std::vector<float> tile_wanted()
{
    std::vector<float> memory(4 + 3 * (size_t)TILE_ROWS * SEQ_KV + GUARD, NAN);
    memory[0] = TILE_PLANE, memory[1] = TILE_ROW, memory[2] = TILE_ROWS;
    return memory;
}

// What a row of the tile shows against f64: s of the inputs, m one of the row's own s, p of its own s and m; hidden keys -inf and 0, or not shown.
static const char *tile_row_wrong(int r)
{
    const size_t first = ((size_t)(BATCH - 1) * KV_HEADS + KV_HEADS - 1) * SEQ_KV, size = (size_t)TILE_ROWS * SEQ_KV;
    const u16 *query = q + ((size_t)TILE_PLANE * SEQ_Q + TILE_ROW + r) * HEAD_DIM;
    const float *s = tile + 4 + (size_t)r * SEQ_KV, *p = s + size, *m = p + size;
    for (int j = 0; j < SEQ_KV; j++) {
        double want = 0, sizes = 0;
        bool own = false;
        for (int d = 0; d < HEAD_DIM; d++) {
            const double x = (double)widen(query[d]) * widen(k[(first + j) * HEAD_DIM + d]);
            want += x, sizes += fabs(x);
        }
        if (CAUSAL && j > TILE_ROW + r + SEQ_KV - SEQ_Q) {
            if (!std::isnan(s[j]) && s[j] != -INFINITY) return "a hidden key has a score";
            if (!std::isnan(p[j]) && p[j] != 0) return "a hidden key has a weight";
            continue;
        }
        if (!(fabs(s[j] - want * SCALE) <= 1e-6 + 1e-5 * sizes * fabs(SCALE))) return "score";
        for (int i = 0; i < SEQ_KV; i++)
            own = own || fabs(m[j] - s[i]) <= 2e-6 * (1 + fabs(m[j]));
        if (!own) return "reference";
        want = exp((double)s[j] - m[j]);
        if (!(fabs(p[j] - want) <= want * ((DTYPE_BF16 ? 4e-3 : 5e-4) + 5e-7 * (fabs(s[j]) + fabs(m[j]))) + 6e-8))
            return "weight";
    }
    return NULL;
}

static bool tile_right()
{
    for (int r = 0; r < TILE_ROWS; r++)
        if (const char *what = tile_row_wrong(r)) {
            printf("the tile shows a wrong %s in row %d: WRONG\n", what, TILE_ROW + r);
            return false;
        }
    for (size_t i = 0; i < GUARD; i++)
        if (!std::isnan(tile[4 + 3 * (size_t)TILE_ROWS * SEQ_KV + i]))
            return puts("written past the tile: WRONG"), false;
    return true;
}
#endif

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
#ifdef FATUNE_ORACLE
    std::vector<float> tile_memory = tile_wanted();
    tile = tile_memory.data();
#endif

    emulate_launch(kernel, grid, THREADS, SHARED_BYTES, seed);

    double error = 0, lse_error = 0;
    for (int b = 0; b < BATCH; b++)
        for (int h = 0; h < HEADS; h++)
            for (int r = 0; r < SEQ_Q; r++)
                check_row(b, h, r, &error, &lse_error);
#ifdef FATUNE_ORACLE
    if (!tile_right()) return 1;
#endif
    bool guards = true;
    for (size_t i = 1; i < GUARD / 2; i++)
        guards = guards && o[-(long)i] == UNWRITTEN && o[n_q + i - 1] == UNWRITTEN;
    const bool right = guards && lse_error == 0 && error < (DTYPE_BF16 ? 3e-2 : 4e-3);
    printf("max abs error %.2e%s%s: %s\n", error, lse_error > 0 ? ", wrong lse" : "", guards ? "" : ", guard written",
           right ? "right" : "WRONG");
    return right ? 0 : 1;
}

#endif
