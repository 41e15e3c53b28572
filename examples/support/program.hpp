// What every example program does around its one coroutine: flags, signals, errors on one line, exit codes.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>

#include <asio/signal_set.hpp>

#include "terminal.hpp"

namespace cohort::examples {

/// `name: message` on standard error, as one line whatever the message holds.
inline void complain(std::string_view name, std::string_view message) {
    std::string text(name);
    text += ": ";
    for (const char c : message) {
        if (c != '\n') {
            text += c;
        } else if (!text.ends_with(' ')) {
            text += ' ';
        }
    }
    text = printable(text) + "\n";
    std::fputs(text.c_str(), stderr);
}

/// The same of what cannot be told with more memory than there is. Returns the exit code.
inline int complain_of_memory(const char* program) {
    const char* const slash = std::strrchr(program, '/');
    std::fprintf(stderr, "%s: out of memory\n", slash == nullptr ? program : slash + 1);
    return 1;
}

namespace detail {

/// As many open files as the system grants if asked: it offers 1,024 at first, too few for a crowd of peers.
inline void take_all_descriptors() {
    ::rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Reads the flags. Nothing if the program is to go on, else its exit code: 0 after --help, 2 for flags that cannot be
/// understood.
inline std::optional<int> parse_flags(int argc, char** argv, CLI::App& app) {
    const std::string name = std::filesystem::path(argv[0]).filename().string();
    if (app.get_name().empty()) app.name(name);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        complain(name, std::string(error.what()) + " (see --help)");
        return 2;
    }
    // A reader that went away is an error that write() reports, not a reason to die on the spot.
    std::signal(SIGPIPE, SIG_IGN);
    take_all_descriptors();
    return std::nullopt;
}

}  // namespace detail

/// Runs `body()`, which waits for nothing, and returns the program's exit code: what it returns; 2, and one line on
/// standard error, for a file that is not a valid torrent; 1 and a line for any other failure.
template <class Body>
int run_plain_program(int argc, char** argv, CLI::App& app, Body body) {
    try {
        if (const auto code = detail::parse_flags(argc, argv, app)) return *code;
        return body();
    } catch (const std::bad_alloc&) {
        return complain_of_memory(argv[0]);
    } catch (const std::system_error& error) {
        complain(app.get_name(), error.what());
        const bool invalid = error.code() >= make_error_code(errc::bencode_syntax) &&
                             error.code() <= make_error_code(errc::metainfo_unsupported);
        return invalid ? 2 : 1;
    } catch (const std::exception& error) {
        complain(app.get_name(), error.what());
        return 1;
    }
}

namespace detail {

/// The first SIGINT or SIGTERM cancels the program's coroutine, which then ends in its own order; the second ends the
/// process at once.
class interruption {
public:
    explicit interruption(asio::io_context& io) : signals_(io, SIGINT, SIGTERM) { wait(); }

    asio::cancellation_slot slot() { return cancel_.slot(); }
    int signal() const { return signal_; }  ///< 0 until one came
    void stop_waiting() { signals_.cancel(); }

private:
    void wait() {
        signals_.async_wait([this](const std::error_code& error, int signal) {
            if (error) return;
            if (signal_ != 0) std::_Exit(128 + signal);
            signal_ = signal;
            wait();
            cancel_.emit(asio::cancellation_type::all);
        });
    }

    asio::signal_set signals_;
    asio::cancellation_signal cancel_;
    int signal_ = 0;
};

}  // namespace detail

namespace detail {

template <class Options>
int run_to_end(const std::string& name, const Options& options, asio::awaitable<int> (*body)(const Options&)) {
    int code = 0;
    std::exception_ptr failure;
    asio::io_context io(1);
    interruption interruption(io);
    asio::co_spawn(io, body(options),
                   asio::bind_cancellation_slot(interruption.slot(), [&](std::exception_ptr thrown, int returned) {
                       failure = thrown;
                       code = returned;
                       interruption.stop_waiting();
                   }));
    io.run();
    if (!failure) return code;

    try {
        std::rethrow_exception(failure);
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::system_error& error) {
        const bool stopped = is_cancellation(error.code()) || error.code() == errc::stopped;
        if (interruption.signal() != 0 && stopped) return 128 + interruption.signal();
        complain(name, error.what());
    } catch (const std::exception& error) {
        complain(name, error.what());
    }
    return 1;
}

}  // namespace detail

/// Runs `body(options)` to its end on one io_context and returns the program's exit code:
/// what the coroutine returns; 0 after --help; 2 for flags that cannot be understood; 1, and one line on standard
/// error, when the coroutine throws; 128 + signal when it ends because a signal cancelled it.
/// `app` fills `options`, which lives as long as the program.
template <class Options>
int run_program(int argc, char** argv, CLI::App& app, const Options& options,
                asio::awaitable<int> (*body)(const Options&)) {
    try {
        if (const auto code = detail::parse_flags(argc, argv, app)) return *code;
        return detail::run_to_end(app.get_name(), options, body);
    } catch (const std::bad_alloc&) {
        return complain_of_memory(argv[0]);
    }
}

}  // namespace cohort::examples
