// How policy names a connected peer without knowing what a connection is.
#pragma once

#include <cstdint>

namespace cohort {

/// The number the engine gives a peer while it is connected: from an increasing counter, never used again while any
/// state about the peer remains.
using peer_key = std::uint32_t;

/// No peer: the engine's counter never gets here.
inline constexpr peer_key no_peer = 0xffffffff;

}  // namespace cohort
