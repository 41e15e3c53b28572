// What the fuzzer and the plain tests run: each target takes bytes as a stranger could send them, and checks what the
// library promises about them beyond not to crash.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/core/bytes.hpp>

namespace cohort::fuzz {

struct target {
    std::string_view name;
    void (*run)(std::span<const std::uint8_t> input);
    std::size_t max_len;  ///< bytes of input beyond which nothing new is to be expected
};

// The parts of the table, each in a source file of its own.
std::span<const target> torrent_targets();
std::span<const target> peer_targets();
std::span<const target> tracker_targets();
std::span<const target> text_targets();
std::span<const target> chat_targets();
std::span<const target> noise_targets();
std::span<const target> web_targets();
std::span<const target> picker_targets();
std::span<const target> policy_targets();
std::span<const target> registry_targets();
std::span<const target> storage_targets();
std::span<const target> trace_targets();

inline std::vector<target> all_targets() {
    std::vector<target> out;
    for (const auto part :
         {torrent_targets(), peer_targets(), tracker_targets(), text_targets(), chat_targets(), noise_targets(),
          web_targets(), picker_targets(), policy_targets(), registry_targets(), storage_targets(), trace_targets()})
        out.insert(out.end(), part.begin(), part.end());
    return out;
}

/// A promise does not hold. The fuzzer's program prints it and aborts, a plain test throws.
[[noreturn]] void broken(const char* promise);

inline void require(bool holds, const char* promise) {
    if (!holds) broken(promise);
}

/// Takes decisions off the front of the input. When that is at its end everything is 0 and empty.
class script {
public:
    explicit script(byte_view in) : left_(in) {}

    bool done() const { return left_.empty(); }
    std::uint8_t byte() { return number<std::uint8_t>(); }
    bool flag() { return byte() % 2 != 0; }
    std::uint32_t below(std::uint32_t bound) { return number<std::uint16_t>() % bound; }

    template <std::unsigned_integral T>
    T number() {
        T out = 0;
        for (const std::uint8_t one : first(sizeof(T))) out = static_cast<T>(out << 7 << 1 | one);
        return out;
    }
    /// Up to 255 bytes, as many as the next byte says.
    byte_view some() { return first(byte()); }
    /// Up to the end of the line.
    std::string_view line() {
        const byte_view out =
            first(static_cast<std::size_t>(std::find(left_.begin(), left_.end(), '\n') - left_.begin()));
        first(1);
        return as_text(out);
    }
    byte_view rest() { return first(left_.size()); }

private:
    byte_view first(std::size_t size) {
        const byte_view out = left_.first(std::min(size, left_.size()));
        left_ = left_.subspan(out.size());
        return out;
    }

    byte_view left_;
};

/// Where a network cuts a stream: two sizes in turns, both from one byte of the input.
class cuts {
public:
    explicit cuts(std::uint8_t how) : sizes_{1U + how % 16U, 1U + how / 16U * 16U} {}
    /// Everything at once.
    static cuts none() {
        cuts out(0);
        out.sizes_.fill(std::numeric_limits<std::size_t>::max());
        return out;
    }

    /// Takes the next read off the front.
    byte_view take(byte_view& from) {
        std::swap(sizes_[0], sizes_[1]);
        const byte_view out = from.first(std::min(sizes_[0], from.size()));
        from = from.subspan(out.size());
        return out;
    }

private:
    std::array<std::size_t, 2> sizes_;
};

/// A message as somebody on its way changed it: a bit, its end, something behind it, or all of it; or not at all.
inline byte_vector altered(byte_view message, script& how) {
    byte_vector out(message.begin(), message.end());
    switch (how.byte() % 6) {
    case 0:
        if (!out.empty())
            out[how.below(static_cast<std::uint32_t>(out.size()))] ^= static_cast<std::uint8_t>(1U << how.byte() % 8);
        break;
    case 1: out.resize(how.below(static_cast<std::uint32_t>(out.size()) + 1)); break;
    case 2: {
        const byte_view more = how.some();
        out.insert(out.end(), more.begin(), more.end());
        break;
    }
    case 3: {
        const byte_view other = how.some();
        out.assign(other.begin(), other.end());
        break;
    }
    default: break;
    }
    return out;
}

}  // namespace cohort::fuzz
