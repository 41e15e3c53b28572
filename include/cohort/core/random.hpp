// A small seeded generator whose sequence is the same on every platform, so that a simulation can be replayed.
// Not for secrets: those come from secret_random.hpp.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <utility>

#include <cohort/core/bytes.hpp>

namespace cohort {

/// xoshiro256** (Blackman and Vigna), seeded through SplitMix64. Satisfies std::uniform_random_bit_generator.
class random_engine {
public:
    using result_type = std::uint64_t;

    explicit random_engine(std::uint64_t seed) {
        for (std::uint64_t& word : state_) {
            seed += 0x9e3779b97f4a7c15;
            std::uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            word = z ^ (z >> 31);
        }
    }

    static constexpr result_type min() { return 0; }
    static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }

    result_type operator()() {
        const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    /// A number in [0, bound); bound must not be 0. The bias of the multiplication is below bound / 2^32.
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(((operator()() >> 32) * bound) >> 32);
    }

    /// True with the given probability.
    bool chance(double probability) { return static_cast<double>(operator()() >> 11) * 0x1p-53 < probability; }

    void fill(byte_span out) {
        for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(operator()() >> 56);
    }

    template <class RandomAccess>
    void shuffle(RandomAccess& items) {
        for (std::size_t i = items.size(); i > 1; --i)
            std::swap(items[i - 1], items[below(static_cast<std::uint32_t>(i))]);
    }

private:
    std::array<std::uint64_t, 4> state_;
};

}  // namespace cohort
