/* rng_pcg.cc - the only C++ here: the PCG library is a C++ header. The engine's two 128-bit members travel as four plain
 * words, so that a C struct can hold, copy and store a stream. */
#include "rng_pcg.h"

#include <pcg_random.hpp>

namespace
{

using base = pcg_engines::setseq_xsl_rr_128_64;
using wide = pcg_extras::pcg128_t;

/* The library keeps state and increment protected and offers them only as text. */
struct engine : base {
    engine(std::uint64_t seed, std::uint64_t stream) : base(wide(seed), wide(stream)) {}
    explicit engine(const std::uint64_t word[4]) : base()
    {
        state_ = (wide(word[1]) << 64) | wide(word[0]);
        inc_ = (wide(word[3]) << 64) | wide(word[2]);
    }
    void save_state(std::uint64_t word[4]) const
    {
        word[0] = std::uint64_t(state_);
        word[1] = std::uint64_t(state_ >> 64);
    }
    void save_increment(std::uint64_t word[4]) const
    {
        word[2] = std::uint64_t(inc_);
        word[3] = std::uint64_t(inc_ >> 64);
    }
};

} // namespace

extern "C" void rng_pcg_seed(std::uint64_t word[4], std::uint64_t seed, std::uint64_t stream)
{
    const engine e(seed, stream);
    e.save_state(word);
    e.save_increment(word);
}

extern "C" std::uint64_t rng_pcg_next(std::uint64_t word[4])
{
    engine e(word);
    const std::uint64_t out = e();
    e.save_state(word);
    return out;
}

/* Each state needs the one before it; two halves side by side wait for each other's multiplications instead. */
extern "C" void rng_pcg_fill(std::uint64_t word[4], std::uint64_t *out, std::size_t n)
{
    const std::size_t half = n / 2;
    engine first(word), second(word);
    second.advance(half);
    for (std::size_t i = 0; i < half; i++) {
        out[i] = first();
        out[half + i] = second();
    }
    if (n % 2 != 0) out[n - 1] = second();
    second.save_state(word);
}

extern "C" void rng_pcg_skip(std::uint64_t word[4], std::uint64_t n)
{
    engine e(word);
    e.advance(n);
    e.save_state(word);
}
