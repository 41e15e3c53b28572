// What a long-running object tells its owner besides results: lines with a level, given to a function of the owner's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace cohort {

enum class log_level { error, warn, info, debug };

inline std::string_view to_string(log_level level) {
    constexpr std::string_view names[] = {"error", "warn", "info", "debug"};
    return names[static_cast<std::size_t>(level)];
}

inline std::optional<log_level> parse_log_level(std::string_view name) {
    for (const log_level level : {log_level::error, log_level::warn, log_level::info, log_level::debug}) {
        if (to_string(level) == name) return level;
    }
    return std::nullopt;
}

/// Lines up to `level` go to `write`; without one they go nowhere. Ask enabled() before building an expensive line.
struct log_sink {
    log_level level = log_level::info;
    std::function<void(log_level, const std::string&)> write = nullptr;

    bool enabled(log_level of) const { return write && of <= level; }
    void operator()(log_level of, const std::string& line) const {
        if (enabled(of)) write(of, line);
    }
};

}  // namespace cohort
