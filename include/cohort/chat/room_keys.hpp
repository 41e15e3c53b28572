// The sender keys of one room: ours, which changes when somebody leaves, and those that members gave us.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <cohort/chat/conversation.hpp>
#include <cohort/chat/link.hpp>
#include <cohort/protocol/json_chat.hpp>
#include <cohort/protocol/noise_sender_key.hpp>

namespace cohort::chat {

/// One thread only.
class room_keys {
public:
    room_keys(const conversation_id& room, const identity& self, secret_source secrets)
        : room_(room), self_(self), secrets_(std::move(secrets)) {}

    /// The key to seal with now: a new one at the first message, after a member left, and when the old one is used up.
    sender_key& current(std::uint64_t epoch) {
        if (!own_ || epoch_ != epoch || own_->spent()) {
            // Drawn at random, so that no two runs of a program ever use one number for two keys.
            std::array<std::uint8_t, 4> id;
            secrets_(id);
            own_.emplace(sender_key_name{room_, self_.key(), load_be<std::uint32_t>(id.data())}, secrets_);
            epoch_ = epoch;
        }
        return *own_;
    }

    /// Our key as a member may have it: for what comes next, and nothing before.
    room_key to_give() const {
        room_key out;
        out.room = room_;
        out.key_id = own_->name().key_id;
        out.index = own_->chain().index;
        out.chain_key = own_->chain().key;
        sign(out, self_);
        return out;
    }

    /// Seals an own entry for all members; more_for() of each link finds it by its seq.
    void seal(const signed_entry& entry, std::uint64_t epoch) {
        auto sealed = current(epoch).seal(entry.bytes());
        room_message out{room_, self_.key(), own_->name().key_id, sealed.index, std::move(sealed.ciphertext)};
        sealed_.emplace_back(entry.entry().seq, out.key_id, out.index, serialize(out));
        if (sealed_.size() > sealed_max) sealed_.pop_front();
    }

    /// The text of the message that has this own entry under that key, for somebody who has it from an index on.
    const std::string* sealed(std::uint64_t seq, std::uint32_t key_id, std::uint32_t from) const {
        for (const sealed_entry& one : sealed_)
            if (one.seq == seq && one.key_id == key_id && one.index >= from) return &one.text;
        return nullptr;
    }

    /// A member's key; the signature was checked. The two newest of each author are kept.
    void learn(const room_key& key) {
        if (readers_.size() >= conversation::max_people && !readers_.contains(key.author)) return;
        std::deque<sender_key_reader>& known = readers_[key.author];
        std::erase_if(known, [&](const sender_key_reader& one) { return one.name().key_id == key.key_id; });
        if (known.size() == 2) known.pop_front();
        sender_chain chain;
        chain.index = key.index;
        chain.key = secret32(key.chain_key);
        known.emplace_back(sender_key_name{room_, key.author, key.key_id}, chain);
    }

    /// The bytes of the signed entry within; nothing if we lack the key or it does not fit.
    std::optional<byte_vector> open(const room_message& sealed) {
        const auto known = readers_.find(sealed.author);
        if (known == readers_.end()) return std::nullopt;
        for (sender_key_reader& one : known->second) {
            std::error_code ec;
            if (one.name().key_id == sealed.key_id) return one.open(sealed.index, sealed.ciphertext, ec);
        }
        return std::nullopt;
    }

    /// Whether what open() refused was forged, and not only old or far ahead: there is a key for it. Finding out takes
    /// work, so it is no mishap to be passed over.
    bool is_forged(const room_message& sealed) const {
        const auto known = readers_.find(sealed.author);
        if (known == readers_.end()) return false;
        for (const sender_key_reader& one : known->second) {
            if (one.name().key_id != sealed.key_id) continue;
            return sealed.index >= one.next_index() &&
                   sealed.index - one.next_index() <= sender_key_reader::max_skipped;
        }
        return false;
    }

    void forget(const identity_key& author) { readers_.erase(author); }

private:
    static constexpr std::size_t sealed_max = 64;

    struct sealed_entry {
        sealed_entry(std::uint64_t s, std::uint32_t k, std::uint32_t i, std::string t)
            : seq(s), key_id(k), index(i), text(std::move(t)) {}
        std::uint64_t seq;
        std::uint32_t key_id;
        std::uint32_t index;
        std::string text;
    };

    conversation_id room_;
    const identity& self_;
    secret_source secrets_;
    std::optional<sender_key> own_;
    std::uint64_t epoch_ = 0;
    std::deque<sealed_entry> sealed_;
    std::map<identity_key, std::deque<sender_key_reader>> readers_;
};

}  // namespace cohort::chat
