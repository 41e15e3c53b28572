// Damage for robustness tests: seeded, so that a failure comes again.
#pragma once

#include <algorithm>
#include <cstdint>

#include <cohort/core/bytes.hpp>
#include <cohort/core/random.hpp>

namespace cohort::test {

/// The input with one to four random changes: bytes replaced, digits altered, ranges cut out, doubled or truncated.
inline byte_vector mutated(byte_vector bytes, random_engine& random) {
    const auto position = [&] { return random.below(static_cast<std::uint32_t>(bytes.size())); };
    for (std::uint32_t changes = 1 + random.below(4); changes > 0 && !bytes.empty(); --changes) {
        const std::uint32_t at = position();
        const std::uint32_t end =
            std::min<std::uint32_t>(static_cast<std::uint32_t>(bytes.size()), at + random.below(24));
        const auto first = bytes.begin() + at;
        const auto last = bytes.begin() + end;
        switch (random.below(6)) {
        case 0: bytes[at] = static_cast<std::uint8_t>(random()); break;
        case 1: {
            const std::uint32_t from = position();
            bytes[at] = bytes[from];
            break;
        }
        case 2: {
            const auto digit = std::find_if(first, bytes.end(), [](std::uint8_t b) { return b >= '0' && b <= '9'; });
            if (digit != bytes.end()) *digit = static_cast<std::uint8_t>('0' + random.below(10));
            break;
        }
        case 3: bytes.erase(first, last); break;
        case 4: {
            const byte_vector copy(first, last);
            bytes.insert(bytes.begin() + position(), copy.begin(), copy.end());
            break;
        }
        default:
            if (random.below(4) == 0) bytes.resize(at);
        }
    }
    return bytes;
}

}  // namespace cohort::test
