// Both ends of a terminal, or of two pipes: what a program reads and writes, and what a test types and sees.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

namespace cohort::test {

/// The program's side is `input` and `output`; type(), seen() and hang_up() are the other.
class talk {
public:
    static talk over_terminal(unsigned short columns = 80) {
        const int master = checked(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        checked(::grantpt(master));
        checked(::unlockpt(master));
        const int slave = checked(::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC));
        winsize size{};
        size.ws_row = 24;
        size.ws_col = columns;
        checked(::ioctl(slave, TIOCSWINSZ, &size));
        return talk(slave, slave, master, master);
    }
    static talk over_pipes() {
        std::array<int, 2> in{}, out{};
        checked(::pipe2(in.data(), O_CLOEXEC));
        checked(::pipe2(out.data(), O_CLOEXEC));
        return talk(in[0], out[1], in[1], out[0]);
    }
    talk(const talk&) = delete;
    talk& operator=(const talk&) = delete;
    ~talk() {
        hang_up();
        ::close(input);
        if (output != input) ::close(output);
        if (seen_by_ != typed_on_) ::close(seen_by_);
    }

    void type(std::string_view text) {
        while (!text.empty()) {
            const int written = checked(static_cast<int>(::write(typed_on_, text.data(), text.size())));
            text.remove_prefix(static_cast<std::size_t>(written));
        }
    }
    /// All that the program has written so far.
    const std::string& seen() {
        char buffer[4096];
        for (;;) {
            const ::ssize_t got = ::read(seen_by_, buffer, sizeof buffer);
            if (got <= 0) return seen_;
            seen_.append(buffer, static_cast<std::size_t>(got));
        }
    }
    bool sees(std::string_view text) { return seen().find(text) != std::string::npos; }
    void forget() {
        seen();
        seen_.clear();
    }
    /// The end of what is typed: of a pipe, or of the whole terminal.
    void hang_up() {
        if (typed_on_ >= 0) ::close(typed_on_);
        if (typed_on_ == seen_by_) seen_by_ = -1;
        typed_on_ = -1;
    }

    const int input, output;

private:
    talk(int in, int out, int typed_on, int seen_by) : input(in), output(out), typed_on_(typed_on), seen_by_(seen_by) {
        ::fcntl(seen_by, F_SETFL, ::fcntl(seen_by, F_GETFL) | O_NONBLOCK);
    }
    static int checked(int result) {
        if (result < 0) throw std::system_error(errno, std::generic_category(), "no pseudo-terminal");
        return result;
    }

    int typed_on_, seen_by_;
    std::string seen_;
};

}  // namespace cohort::test
