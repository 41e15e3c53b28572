// UTF-8 judged as it arrives: wrong at the first byte that no continuation could put right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <cohort/core/bytes.hpp>

namespace cohort {

/// The rules of utf8.hpp (RFC 3629) for a text that comes in pieces, cut anywhere.
class utf8_checker {
public:
    /// Takes the next piece. False: the text is not UTF-8, whatever may follow.
    bool put(byte_view in) {
        const std::uint8_t* at = in.data();
        const std::uint8_t* const end = at + in.size();
        while (at != end) {
            if (missing_ == 0) {
                at = after_ascii(at, end);
                if (at == end) break;
                if (!begin(*at)) return false;
            } else {
                if (*at < least_ || *at > most_) return false;
                least_ = 0x80;
                most_ = 0xbf;
                --missing_;
            }
            ++at;
        }
        return true;
    }

    /// Whether the text may end here: no character is half there.
    bool complete() const { return missing_ == 0; }

private:
    static const std::uint8_t* after_ascii(const std::uint8_t* at, const std::uint8_t* end) {
        constexpr std::uint64_t high_bits = 0x8080808080808080;
        while (end - at >= 16) {
            std::uint64_t words[2];
            std::memcpy(words, at, sizeof words);
            if (((words[0] | words[1]) & high_bits) != 0) break;
            at += sizeof words;
        }
        while (at != end && *at < 0x80) ++at;
        return at;
    }

    /// What may follow a first byte: RFC 3629, section 4. The second byte's range is what excludes overlong forms,
    /// surrogates and numbers above U+10FFFF.
    bool begin(std::uint8_t lead) {
        least_ = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        most_ = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (lead >= 0xc2 && lead <= 0xdf) missing_ = 1;
        if (lead >= 0xe0 && lead <= 0xef) missing_ = 2;
        if (lead >= 0xf0 && lead <= 0xf4) missing_ = 3;
        return missing_ != 0;
    }

    std::uint8_t missing_ = 0;  ///< bytes until the character is whole
    std::uint8_t least_ = 0x80;
    std::uint8_t most_ = 0xbf;
};

}  // namespace cohort
