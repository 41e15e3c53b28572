// A terminal that hands over each key at once, and gets its old ways back whatever ends the program.
#pragma once

#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>

namespace cohort::examples {

namespace detail {

/// What a dying program must undo. Handlers of signals get no argument, so this is the one thing here that is global.
struct terminal_rescue {
    static constexpr std::array fatal = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV};
    /// Pasted text unmarked again, colours off, the cursor visible.
    static constexpr std::string_view usual = "\x1b[?2004l\x1b[0m\x1b[?25h";

    int terminal = -1;
    termios modes{};
    std::array<struct sigaction, fatal.size()> handlers{};

    static terminal_rescue& instance() {
        static terminal_rescue one;
        return one;
    }

    /// Only calls that POSIX allows in a handler.
    void undo() const noexcept {
        if (terminal < 0) return;
        [[maybe_unused]] const auto written = ::write(terminal, usual.data(), usual.size());
        ::tcsetattr(terminal, TCSANOW, &modes);
    }

    static void on_fatal(int signal) {
        const terminal_rescue& rescue = instance();
        rescue.undo();
        // The signal comes again, now to whoever handled it before: the default, or a sanitizer.
        for (std::size_t i = 0; i < fatal.size(); ++i) {
            if (fatal[i] == signal) ::sigaction(signal, &rescue.handlers[i], nullptr);
        }
        ::raise(signal);
    }
};

}  // namespace detail

/// From enter() to leave() keys come one by one and are not echoed; Ctrl-C, Ctrl-D and Ctrl-Z are keys like others, and
/// pasted text is marked. leave(), the destructor and the signals of a crash give the terminal back. For SIGTERM and
/// the like the owner calls leave(). One object at a time may be entered.
class raw_mode {
public:
    explicit raw_mode(int terminal) : terminal_(terminal) {}
    ~raw_mode() { leave(); }
    raw_mode(const raw_mode&) = delete;
    raw_mode& operator=(const raw_mode&) = delete;

    /// What the terminal must be sent for it; enter() does not write.
    static constexpr std::string_view marks_pastes = "\x1b[?2004h";

    /// Throws the system's error if it is no terminal. May be called again, when somebody else changed the modes.
    void enter() {
        detail::terminal_rescue& rescue = detail::terminal_rescue::instance();
        if (!entered_) {
            if (::tcgetattr(terminal_, &rescue.modes) != 0) fail();
            rescue.terminal = terminal_;
            struct sigaction action {};
            action.sa_handler = &detail::terminal_rescue::on_fatal;
            for (std::size_t i = 0; i < rescue.fatal.size(); ++i) {
                ::sigaction(rescue.fatal[i], &action, &rescue.handlers[i]);
            }
            entered_ = true;
        }
        termios raw = rescue.modes;
        raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INLCR | IGNCR | INPCK | ISTRIP | IXON);
        raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        if (::tcsetattr(terminal_, TCSADRAIN, &raw) != 0) fail();
    }

    void leave() noexcept {
        if (!entered_) return;
        detail::terminal_rescue& rescue = detail::terminal_rescue::instance();
        rescue.undo();
        rescue.terminal = -1;
        for (std::size_t i = 0; i < rescue.fatal.size(); ++i) {
            ::sigaction(rescue.fatal[i], &rescue.handlers[i], nullptr);
        }
        entered_ = false;
    }

    bool entered() const { return entered_; }

private:
    [[noreturn]] static void fail() {
        throw std::system_error(errno, std::generic_category(), "cannot set up the terminal");
    }

    int terminal_;
    bool entered_ = false;
};

}  // namespace cohort::examples
