// What every example program does around its one coroutine: flags, signals, errors on one line, exit codes.
#pragma once

#include <cerrno>
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

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>

#include <asio/signal_set.hpp>

#include "terminal.hpp"
#include "usage_error.hpp"

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

/// Standard descriptors that are closed lead nowhere instead: the next file or socket would take their numbers, and be
/// read as what people type, or have errors printed into it.
inline void open_standard_descriptors() {
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(descriptor, F_GETFD) < 0 && errno == EBADF) [[maybe_unused]]
            const int lowest = ::open("/dev/null", O_RDWR);
    }
}

/// Reads the flags. Nothing if the program is to go on, else its exit code: 0 after --help, 2 for flags that cannot be
/// understood.
inline std::optional<int> parse_flags(int argc, char** argv, CLI::App& app) {
    open_standard_descriptors();
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
    // A reader that went away, and a file as large as it may be, are errors that write() reports, not reasons to die.
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    take_all_descriptors();
    return std::nullopt;
}

/// 2 for a file that is no valid torrent, and for words that cannot be what they are given as; 1 for any other failure.
inline int exit_code_of(const std::error_code& error) {
    const auto is = [&](errc one) { return error == make_error_code(one); };
    const bool invalid =
        error >= make_error_code(errc::bencode_syntax) && error <= make_error_code(errc::metainfo_unsupported);
    return invalid || is(errc::url_invalid) || is(errc::url_unsupported) || is(errc::name_invalid) ? 2 : 1;
}

/// `code`, or 1 and one line on standard error if not all that was printed has arrived.
inline int require_printed(const std::string& name, int code) {
    errno = 0;
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    // Whoever flushed before has had the reason.
    const int error = errno;
    complain(name, "cannot write to standard output" +
                       (error != 0 ? ": " + std::generic_category().message(error) : std::string()));
    return 1;
}

template <class Work>
int run_and_complain(int argc, char** argv, CLI::App& app, Work& work) {
    const auto fail = [&](const char* why, int code) {
        complain(app.get_name(), why);
        return code;
    };
    try {
        const auto ended = parse_flags(argc, argv, app);
        return require_printed(app.get_name(), ended ? *ended : work());
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::system_error& error) {
        std::string why = error.what();
        if (error.code() == std::errc::address_in_use) why += " (take another port, or 0 for a free one)";
        return fail(why.c_str(), exit_code_of(error.code()));
    } catch (const usage_error& error) {
        return fail(error.what(), 2);
    } catch (const std::exception& error) {
        return fail(error.what(), 1);
    }
}

}  // namespace detail

/// The argument `torrent`. What a tracker's page offers beside the file is told apart from a file that is missing.
inline void add_torrent_argument(CLI::App& app, std::string& to) {
    app.add_option("torrent", to, "The .torrent file")
        ->required()
        ->option_text("FILE.torrent")
        ->check(CLI::Validator(
            [](const std::string& text) -> std::string {
                if (text.empty()) return "a file is needed, not an empty word";
                if (text.starts_with("magnet:")) return "magnet links are not supported, take the .torrent file";
                return {};
            },
            ""));
}

/// For arguments that an unset variable of a script leaves empty.
inline CLI::Validator not_empty() {
    return CLI::Validator([](const std::string& text) { return std::string(text.empty() ? "must not be empty" : ""); },
                          "");
}

/// Runs `body()`, which waits for nothing, and returns the program's exit code: what it returns; 0 after --help; 2, and
/// one line on standard error, for flags and files that make no sense (detail::exit_code_of()); 1 and a line for any
/// other failure, also if what was printed is lost.
template <class Body>
int run_plain_program(int argc, char** argv, CLI::App& app, Body body) {
    try {
        return detail::run_and_complain(argc, argv, app, body);
    } catch (const std::bad_alloc&) {
        return complain_of_memory(argv[0]);
    }
}

namespace detail {

/// The first SIGINT, SIGTERM or SIGHUP cancels the program's coroutine, which then ends in its own order; the second
/// ends the process at once. Where SIGHUP is ignored (nohup), it stays so.
class interruption {
public:
    explicit interruption(asio::io_context& io) : signals_(io, SIGINT, SIGTERM) {
        struct sigaction before {};
        if (::sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) signals_.add(SIGHUP);
        wait();
    }

    asio::cancellation_slot slot() { return cancel_.slot(); }
    int signal() const { return signal_; }  ///< 0 until one came
    void stop_waiting() { signals_.cancel(); }

private:
    void wait() {
        signals_.async_wait([this](const std::error_code& error, int signal) {
            if (error) return;
            const bool second = signal_ != 0;
            // A terminal that closes sends SIGHUP twice, its shell's and its own: nobody lost patience.
            if (second && signal != SIGHUP) std::_Exit(128 + signal);
            wait();
            if (second) return;
            signal_ = signal;
            cancel_.emit(asio::cancellation_type::all);
        });
    }

    asio::signal_set signals_;
    asio::cancellation_signal cancel_;
    int signal_ = 0;
};

template <class Options>
int run_to_end(const Options& options, asio::awaitable<int> (*body)(const Options&)) {
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
    try {
        if (failure) std::rethrow_exception(failure);
    } catch (const std::system_error& error) {
        const bool stopped = is_cancellation(error.code()) || error.code() == errc::stopped;
        if (interruption.signal() == 0 || !stopped) throw;
        code = 128 + interruption.signal();
    }
    return code;
}

}  // namespace detail

/// Runs `body(options)` to its end on one io_context and returns the program's exit code: 128 + signal when it ends
/// because a signal cancelled it, else as run_plain_program() of what the coroutine returns or throws.
/// `app` fills `options`, which lives as long as the program.
template <class Options>
int run_program(int argc, char** argv, CLI::App& app, const Options& options,
                asio::awaitable<int> (*body)(const Options&)) {
    return run_plain_program(argc, argv, app, [&] { return detail::run_to_end(options, body); });
}

}  // namespace cohort::examples
