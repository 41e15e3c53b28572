// Times as people and other programs read them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace cohort {

/// Milliseconds since 1970 as "2026-11-21T14:30:00.123Z" (ISO 8601, UTC). Times outside the years 0 to 9999 become the
/// nearest inside.
inline std::string iso_time(std::int64_t unix_milliseconds) {
    using namespace std::chrono;
    constexpr std::int64_t least = -62'167'219'200'000;
    constexpr std::int64_t most = 253'402'300'799'999;
    const std::int64_t within = std::min(std::max(unix_milliseconds, least), most);
    const sys_time<milliseconds> at{milliseconds(within)};
    const auto day = floor<days>(at);
    const year_month_day date(day);
    const hh_mm_ss<milliseconds> time(at - day);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                  static_cast<int>(time.seconds().count()), static_cast<int>(time.subseconds().count()));
    return text;
}

}  // namespace cohort
