// Randomness for what nobody may guess: keys, tokens, masks.
#pragma once

#include <climits>
#include <functional>

#include <openssl/err.h>
#include <openssl/rand.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>

namespace cohort {

/// Fills `out` with bytes fit for keys. Throws errc::noise_failed if the system has none to give.
inline void secret_random(byte_span out) {
    if (out.size() <= INT_MAX && RAND_priv_bytes(out.data(), static_cast<int>(out.size())) == 1) return;
    ERR_clear_error();
    raise(errc::noise_failed, "no randomness");
}

/// Where secrets come from: secret_random(), but in a simulation, which is to be repeated.
using secret_source = std::function<void(byte_span)>;

}  // namespace cohort
