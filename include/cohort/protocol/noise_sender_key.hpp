// One ciphertext for a whole room: each member has a sender key, whose chain gives every message a key of its own and
// cannot be wound back. Members get the chain over pairwise links, so they read on from there, and nothing before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/error.hpp>
#include <cohort/protocol/chat_entry.hpp>
#include <cohort/protocol/noise_crypto.hpp>
#include <cohort/protocol/noise_identity.hpp>

namespace cohort {

/// Which key a sealed message belongs to; all of it, and the index, is bound to the ciphertext.
struct sender_key_name {
    conversation_id room;
    identity_key author{};
    std::uint32_t key_id = 0;

    auto operator<=>(const sender_key_name&) const = default;
};

/// Where a chain stands: what members are told. Secret.
struct sender_chain {
    std::uint32_t index = 0;  ///< of the next message
    secret32 key;
};

namespace detail {

/// HMAC-SHA-256 under the chain key: of 1 the message's key, of 2 the next chain key. The two tell nothing about each
/// other, nor about the chain key.
inline secret32 chain_step(const secret32& chain, std::uint8_t which) {
    return hmac_sha256(chain.bytes, byte_view(&which, 1));
}

inline byte_vector sender_key_ad(const sender_key_name& name, std::uint32_t index) {
    constexpr std::string_view label = "cohort room message";
    byte_vector out(label.begin(), label.end());
    out.insert(out.end(), name.room.bytes.begin(), name.room.bytes.end());
    out.insert(out.end(), name.author.bytes.begin(), name.author.bytes.end());
    append_be(out, name.key_id);
    append_be(out, index);
    return out;
}

}  // namespace detail

/// The author's side. It must not outlive the program's run: one that is read back from a disk could seal a second
/// message under the same key. A new run makes a new one, with another id.
class sender_key {
public:
    struct sealed {
        std::uint32_t index = 0;
        byte_vector ciphertext;  ///< 16 bytes longer than the plaintext
    };

    /// A new chain of fresh randomness.
    explicit sender_key(const sender_key_name& name, const secret_source& secrets = secret_random) : name_(name) {
        secrets(chain_.key.bytes);
    }
    sender_key(const sender_key_name& name, const sender_chain& chain) : name_(name), chain_(chain) {}

    const sender_key_name& name() const { return name_; }
    /// For a member who may read from the next message on.
    const sender_chain& chain() const { return chain_; }
    /// Whether it has sealed so much that a new one should be made.
    bool spent() const { return chain_.index >= max_messages; }

    /// Throws errc::noise_failed if spent().
    sealed seal(byte_view plaintext) {
        if (spent()) raise(errc::noise_failed, "the sender key is used up");
        sealed out{chain_.index, byte_vector(plaintext.size() + aead::tag_size)};
        const secret32 key = detail::chain_step(chain_.key, 1);
        // Each key seals one message, so one nonce does for all.
        aead(key).seal(nonce12{}, detail::sender_key_ad(name_, chain_.index), plaintext, out.ciphertext);
        chain_.key = detail::chain_step(chain_.key, 2);
        ++chain_.index;
        return out;
    }

    static constexpr std::uint32_t max_messages = 1U << 20;

private:
    sender_key_name name_;
    sender_chain chain_;
};

/// A reader's side of one sender key. Messages may come in any order and some never; none opens twice.
class sender_key_reader {
public:
    /// How many messages may be missing before one that comes, and how many keys of missing ones are kept: the oldest
    /// are forgotten, and with them the chance to read those messages.
    static constexpr std::uint32_t max_skipped = 1000;

    sender_key_reader(const sender_key_name& name, const sender_chain& chain) : name_(name), chain_(chain) {}

    const sender_key_name& name() const { return name_; }
    /// The message after the latest that was opened.
    std::uint32_t next_index() const { return chain_.index; }
    std::size_t skipped() const { return skipped_.size(); }

    /// The plaintext. Fails with errc::noise_failed, and changes nothing, for what was opened before or is too old,
    /// what skips too many, and what was altered or is of another room, author, key or index.
    std::optional<byte_vector> open(std::uint32_t index, byte_view ciphertext, std::error_code& ec) {
        ec = errc::noise_failed;
        if (index < chain_.index) {
            const auto at = skipped_.find(index);
            if (at == skipped_.end()) return std::nullopt;
            auto out = open_with(at->second, index, ciphertext, ec);
            if (out) skipped_.erase(at);
            return out;
        }
        if (index - chain_.index > max_skipped || index >= sender_key::max_messages) return std::nullopt;
        // Nothing is kept before the message has shown that the author made it.
        std::map<std::uint32_t, secret32> passed;
        sender_chain ahead = chain_;
        for (; ahead.index < index; ++ahead.index) {
            passed.emplace_hint(passed.end(), ahead.index, detail::chain_step(ahead.key, 1));
            ahead.key = detail::chain_step(ahead.key, 2);
        }
        auto out = open_with(detail::chain_step(ahead.key, 1), index, ciphertext, ec);
        if (!out) return out;
        ahead.key = detail::chain_step(ahead.key, 2);
        ++ahead.index;
        chain_ = ahead;
        skipped_.merge(passed);
        while (skipped_.size() > max_skipped) skipped_.erase(skipped_.begin());
        return out;
    }

private:
    std::optional<byte_vector> open_with(const secret32& key, std::uint32_t index, byte_view ciphertext,
                                         std::error_code& ec) const {
        if (ciphertext.size() < aead::tag_size) return std::nullopt;
        byte_vector out(ciphertext.size() - aead::tag_size);
        if (!aead(key).open(nonce12{}, detail::sender_key_ad(name_, index), ciphertext, out)) return std::nullopt;
        ec.clear();
        return out;
    }

    sender_key_name name_;
    sender_chain chain_;
    std::map<std::uint32_t, secret32> skipped_;  // keys of messages that have not come yet
};

}  // namespace cohort
