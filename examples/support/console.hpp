// Where a program talks with people: on a terminal through the line editor, else line by line.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <cohort/net/asio.hpp>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>

#include "line_editor.hpp"
#include "raw_mode.hpp"
#include "terminal.hpp"

namespace cohort::examples {

namespace detail {

/// Another descriptor of what `descriptor` is open on. A terminal is opened anew: waiting for it makes it non-blocking,
/// and the shell, or the program's own output, may use the same opening.
inline int another_descriptor(int descriptor) {
    char name[256];
    int out = -1;
    if (::ttyname_r(descriptor, name, sizeof name) == 0) out = ::open(name, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (out < 0) out = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (out < 0) throw std::system_error(errno, std::generic_category(), "cannot read the input");
    return out;
}

inline void write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ::ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written >= 0) {
            text.remove_prefix(static_cast<std::size_t>(written));
        } else if (errno == EAGAIN) {
            ::pollfd wait{descriptor, POLLOUT, 0};
            ::poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            throw std::system_error(errno, std::generic_category(), "cannot write");
        }
    }
}

}  // namespace detail

/// Lines from people, and lines for them. On a terminal (both ways, and not a dumb one) the editor is between: the
/// terminal is in raw mode from construction until restore(), which the destructor and signals that end the program
/// call too. Elsewhere input is lines, and output what print() gets. One thread only.
class console {
public:
    /// A line longer than this is cut in pieces; the editor has its own bound.
    static constexpr std::size_t longest_line = 1024 * 1024;

    /// With `plain` no editor even on a terminal.
    explicit console(asio::any_io_executor executor, bool plain = false, int input = STDIN_FILENO,
                     int output = STDOUT_FILENO)
        : output_(output),
          live_(!plain && ::isatty(input) == 1 && is_live_terminal(output)),
          input_(executor, detail::another_descriptor(input)),
          input_flags_(::fcntl(input_.native_handle(), F_GETFL)),
          raw_(output),
          signals_(executor) {
        if (!live_) return;
        raw_.enter();
        for (const int signal : {SIGWINCH, SIGCONT, SIGINT, SIGTERM, SIGHUP}) signals_.add(signal);
        watch_signals();
        measure();
        detail::write_all(output_, raw_mode::marks_pastes);
        flush();
    }
    ~console() {
        // Who reads from the same pipe after us expects it as it was.
        if (input_flags_ >= 0) ::fcntl(input_.native_handle(), F_SETFL, input_flags_);
        try {
            restore();
        } catch (const std::system_error&) {
            // Nobody reads any more.
        }
    }
    console(const console&) = delete;
    console& operator=(const console&) = delete;

    /// Whether a person sees what is printed as it is printed, with a line to type below.
    bool live() const { return live_; }

    /// What stands in the line, and how; call flush() after changes. Of use on a terminal only.
    line_editor& editor() { return editor_; }

    /// Called after each key that changed the line.
    void on_edit(std::function<void()> told) { edited_ = std::move(told); }

    /// Completes with the next line, or what else the person wants. Elsewhere than on a terminal that is lines, then
    /// end_of_input for ever. Throws the system's error where reading fails; cancelling throws operation_aborted.
    asio::awaitable<typed> next() {
        while (ready_.empty()) {
            if (ended_) co_return typed{typed::kind::end_of_input, {}};
            ::pollfd now{input_.native_handle(), POLLIN, 0};
            // A file is always readable, and cannot be waited for.
            if (::poll(&now, 1, 0) == 1) {
                co_await asio::post(input_.get_executor(), asio::use_awaitable);
            } else {
                const auto waited = co_await input_.async_wait(asio::posix::descriptor_base::wait_read, as_result);
                const std::error_code failure = std::get<0>(waited);
                const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
                if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();
                if (failure && !is_cancellation(failure)) raise_failure(failure.value());
                if (ended_) continue;
            }
            read();
        }
        typed out = std::move(ready_.front());
        ready_.pop_front();
        if (out.what == typed::kind::suspend) suspend();
        co_return out;
    }

    /// Prints whole lines, above the line being typed where there is one. Throws when nobody reads any more.
    void print(std::string_view text) {
        if (raw_.entered()) {
            editor_.print_above(text);
            flush();
        } else {
            std::string line(text);
            if (!line.empty() && line.back() != '\n') line += '\n';
            detail::write_all(output_, line);
        }
    }

    /// Shows what has changed in the editor.
    void flush() {
        if (raw_.entered()) detail::write_all(output_, editor_.take_output());
    }

    /// Gives the terminal back for good; print() goes on to work. May be called more than once.
    void restore() {
        given_back_ = true;
        leave_raw();
    }

private:
    void leave_raw() {
        if (!raw_.entered()) return;
        editor_.hide();
        const std::string last = editor_.take_output();
        raw_.leave();
        detail::write_all(output_, last);
    }

    [[noreturn]] static void raise_failure(int error) {
        throw std::system_error(error, std::generic_category(), "cannot read the input");
    }

    void read() {
        char buffer[16384];
        const ::ssize_t got = ::read(input_.native_handle(), buffer, sizeof buffer);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got < 0 && errno != EIO) raise_failure(errno);  // EIO: the terminal is gone
        const std::string_view bytes(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
        ended_ = bytes.empty();
        if (!live_) return take_lines(bytes);
        for (typed& one : editor_.feed(bytes)) ready_.push_back(std::move(one));
        if (edited_) edited_();
        flush();
    }

    void take_lines(std::string_view bytes) {
        for (const char c : bytes) {
            if (c != '\n') partial_ += c;
            if (c == '\n' || partial_.size() >= longest_line) push_partial();
        }
        if (ended_ && !partial_.empty()) push_partial();
    }
    void push_partial() {
        if (partial_.ends_with('\r')) partial_.pop_back();
        ready_.push_back({typed::kind::line, std::exchange(partial_, {})});
    }

    void watch_signals() {
        signals_.async_wait([this](const std::error_code& error, int signal) {
            if (error) return;
            try {
                on_signal(signal);
            } catch (const std::system_error&) {
                // Nobody reads any more; the next print() says so.
            }
            watch_signals();
        });
    }

    void on_signal(int signal) {
        if (signal == SIGWINCH) {
            measure();
            flush();
        } else if (signal == SIGCONT) {
            resume();
        } else {
            // SIGINT and SIGTERM end the program in its own order, which may take a while; a second one ends it on the
            // spot. So the terminal is given back at the first.
            ended_ = true;
            if (signal == SIGHUP) input_.cancel();
            restore();
        }
    }

    void suspend() {
        leave_raw();
        ::raise(SIGTSTP);
        resume();
    }
    void resume() {
        if (!live_ || ended_ || given_back_) return;
        raw_.enter();
        detail::write_all(output_, raw_mode::marks_pastes);
        measure();
        editor_.redraw(true);
        flush();
    }

    /// Asked at each change of the window.
    void measure() {
        winsize size{};
        const bool known = ::ioctl(output_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
        editor_.resize(known ? size.ws_col : 80);
    }

    int output_;
    bool live_;
    asio::posix::stream_descriptor input_;
    int input_flags_;
    raw_mode raw_;
    asio::signal_set signals_;
    line_editor editor_;
    std::function<void()> edited_;
    std::deque<typed> ready_;
    std::string partial_;  ///< a line whose end has not come
    bool ended_ = false;
    bool given_back_ = false;
};

}  // namespace cohort::examples
