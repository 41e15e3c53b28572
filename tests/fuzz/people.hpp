// People with keys, the same in every run, so that what was found comes again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <cohort/protocol/noise_identity.hpp>

namespace cohort::fuzz {

inline const identity& person(std::size_t number) {
    const auto make = [](std::uint8_t seed) {
        key32 key;
        key.fill(seed);
        return identity(key);
    };
    static const std::array<identity, 3> all{make(1), make(2), make(3)};
    return all[number];
}

}  // namespace cohort::fuzz
