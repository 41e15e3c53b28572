// `--trace FILE`: what the program says on the net and hears, one JSON line a message (cohort/protocol/trace.hpp);
// examples/trace_view.html draws it.
#pragma once

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/traced_network.hpp>

#include "program.hpp"

namespace cohort::examples {

inline void add_trace_flag(CLI::App& app, std::string& to) {
    app.add_option("--trace", to,
                   "Write what is said on the net to FILE, one JSON line a message; examples/trace_view.html draws it")
        ->option_text("FILE");
}

/// Lines on their way to a file: they are there a second later at most. A file that takes no more ends the trace, not
/// the program. Kept by shared_ptr.
class trace_file : public std::enable_shared_from_this<trace_file> {
public:
    using complainer = std::function<void(const std::string&)>;

    /// Empties the file. Throws std::system_error if it cannot be written. `complain` hears of what happens later.
    trace_file(const asio::any_io_executor& executor, std::string path, complainer complain)
        : path_(std::move(path)), complain_(std::move(complain)), later_(executor) {
        file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (file_ < 0)
            raise({errno, std::generic_category()}, "--trace needs a file that can be written, not " + path_);
    }
    ~trace_file() {
        flush();
        if (file_ >= 0) ::close(file_);
    }
    trace_file(const trace_file&) = delete;
    trace_file& operator=(const trace_file&) = delete;

    void append(std::string_view line) {
        if (file_ < 0) return;
        if (waiting_.empty()) flush_later();
        waiting_ += line;
        waiting_ += '\n';
        if (waiting_.size() >= enough) flush();
    }

    void flush() {
        std::string_view rest = waiting_;
        while (!rest.empty() && file_ >= 0) {
            const ::ssize_t written = ::write(file_, rest.data(), rest.size());
            if (written > 0) {
                rest.remove_prefix(static_cast<std::size_t>(written));
            } else if (errno != EINTR) {
                give_up(errno);
            }
        }
        waiting_.clear();
    }

private:
    static constexpr std::size_t enough = 64 * 1024;

    void flush_later() {
        later_.expires_after(std::chrono::seconds(1));
        later_.async_wait([weak = weak_from_this()](const std::error_code& error) {
            const auto self = weak.lock();
            if (self && !error) self->flush();
        });
    }

    void give_up(int error) {
        ::close(std::exchange(file_, -1));
        const std::string reason = std::error_code(error, std::generic_category()).message();
        complain_("the trace ends here, because " + path_ + " takes no more: " + reason);
    }

    std::string path_;
    complainer complain_;
    asio::steady_timer later_;
    std::string waiting_;
    int file_ = -1;
};

/// The network that a program uses: `below`, or what traces it where there is a file to write to.
class maybe_traced {
public:
    maybe_traced(network& below, const std::string& path, const std::string& program) : below_(below) {
        if (path.empty()) return;
        const auto warn = [program](const std::string& text) { complain(program, text); };
        const auto file = std::make_shared<trace_file>(below.executor(), path, warn);
        const trace_sink sink = [file](std::string_view line) { file->append(line); };
        traced_.emplace(below, sink, program);
    }

    network& net() { return traced_ ? static_cast<network&>(*traced_) : below_; }

private:
    network& below_;
    std::optional<traced_network> traced_;
};

}  // namespace cohort::examples
