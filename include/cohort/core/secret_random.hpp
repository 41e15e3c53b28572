// Randomness for what nobody may guess: keys, tokens, masks.
#pragma once

#include <climits>

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

}  // namespace cohort
