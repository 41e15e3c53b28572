// The clock's types. Nothing here or in `policy` reads a clock: `now` always comes in as an argument.
#pragma once

#include <chrono>

namespace cohort {

using namespace std::chrono_literals;

using duration = std::chrono::steady_clock::duration;
using time_point = std::chrono::steady_clock::time_point;

/// Seconds as a fraction, for rates and for people.
inline double to_seconds(duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace cohort
