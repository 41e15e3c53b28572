// The calendar's clock, for what people read and other machines compare. Deadlines use network::now(), which never
// jumps.
#pragma once

#include <chrono>
#include <cstdint>

namespace cohort {

/// Milliseconds since 1970, UTC.
inline std::int64_t calendar_now() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace cohort
