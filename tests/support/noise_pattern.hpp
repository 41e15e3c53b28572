// Plays the handshake patterns of Noise that the library does not speak, on its symmetric state and primitives: each
// recorded vector of these algorithms then tests the parts that XX is made of.
#pragma once

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/protocol/noise.hpp>

namespace cohort::test {

inline std::vector<std::string> split_text(const std::string& text, char at) {
    std::vector<std::string> out(1);
    for (const char c : text) {
        if (c == at) out.emplace_back();
        if (c != at) out.back() += c;
    }
    return out;
}

/// Who knows whose static key before, and the tokens of each message (sections 7 and 18).
struct noise_pattern {
    bool initiator_known = false;
    bool responder_known = false;
    std::vector<std::vector<std::string>> messages;
    bool has_psk = false;

    /// From a name as in "Noise_XXpsk0+psk2_25519_ChaChaPoly_SHA256".
    explicit noise_pattern(const std::string& protocol_name) {
        static const std::map<std::string, std::string> known{
            {"K", "ir|e es ss"},          {"X", "r|e es s ss"},          {"NK", "r|e es|e ee"},
            {"NX", "|e|e ee s es"},       {"XN", "|e|e ee|s se"},        {"XK", "r|e es|e ee|s se"},
            {"XX", "|e|e ee s es|s se"},  {"KN", "i|e|e ee se"},         {"KK", "ir|e es ss|e ee se"},
            {"IN", "|e s|e ee se"},       {"IK", "r|e es s ss|e ee se"}, {"IX", "|e s|e ee se s es"},
            {"NK1", "r|e|e ee es"},       {"X1N", "|e|e ee|s|se"},       {"X1K1", "r|e|e ee es|s|se"},
            {"X1X", "|e|e ee s es|s|se"}, {"XX1", "|e|e ee s|es s se"},  {"K1N", "i|e|e ee|se"},
            {"K1K", "ir|e es|e ee|se"},   {"KK1", "ir|e|e ee se es"},    {"K1K1", "ir|e|e ee es|se"},
            {"KX1", "i|e|e ee se s|es"},  {"K1X1", "i|e|e ee s|se es"},  {"I1K1", "r|e s|e ee es|se"},
            {"I1X", "|e s|e ee s es|se"}, {"I1X1", "|e s|e ee s|se es"},
        };
        const std::string name = split_text(protocol_name, '_').at(1);
        const std::size_t modifiers = std::min(name.find("psk"), name.size());
        std::vector<std::string> parts = split_text(known.at(name.substr(0, modifiers)), '|');
        initiator_known = parts.front().find('i') != std::string::npos;
        responder_known = parts.front().find('r') != std::string::npos;
        for (std::size_t i = 1; i < parts.size(); ++i) messages.push_back(split_text(parts[i], ' '));
        if (modifiers == name.size()) return;
        has_psk = true;
        for (const std::string& modifier : split_text(name.substr(modifiers), '+')) {
            const auto place = static_cast<std::size_t>(modifier.back() - '0');
            if (place == 0) {
                messages.front().insert(messages.front().begin(), "psk");
            } else {
                messages.at(place - 1).emplace_back("psk");
            }
        }
    }

    bool one_way() const { return messages.size() == 1; }
};

/// One side of such a handshake.
class noise_player {
public:
    noise_player(const std::string& protocol_name, noise_role role, byte_view prologue, std::vector<byte_vector> psks,
                 std::optional<x25519_pair> own_static, std::optional<x25519_pair> ephemeral,
                 std::optional<key32> remote_static)
        : pattern_(protocol_name),
          initiator_(role == noise_role::initiator),
          psks_(std::move(psks)),
          static_(std::move(own_static)),
          ephemeral_(std::move(ephemeral)),
          remote_static_(remote_static),
          symmetric_(protocol_name) {
        symmetric_.mix_hash(prologue);
        if (pattern_.initiator_known) symmetric_.mix_hash(initiator_ ? static_->public_key : remote_static_.value());
        if (pattern_.responder_known) symmetric_.mix_hash(initiator_ ? remote_static_.value() : static_->public_key);
    }

    byte_vector write(byte_view payload) {
        byte_vector out;
        for (const std::string& token : pattern_.messages.at(next_++)) {
            if (token == "e") {
                out.insert(out.end(), ephemeral_->public_key.begin(), ephemeral_->public_key.end());
                mix_ephemeral(ephemeral_->public_key);
            } else if (token == "s") {
                need(symmetric_.encrypt_and_hash(static_->public_key, out));
            } else {
                mix(token);
            }
        }
        need(symmetric_.encrypt_and_hash(payload, out));
        return out;
    }

    byte_vector read(byte_view in) {
        for (const std::string& token : pattern_.messages.at(next_++)) {
            if (token == "e") {
                remote_ephemeral_ = take(in, 32);
                mix_ephemeral(*remote_ephemeral_);
            } else if (token == "s") {
                const std::size_t size = symmetric_.keyed() ? 48 : 32;
                need(in.size() >= size);
                const auto key = symmetric_.decrypt_and_hash(in.first(size));
                in = in.subspan(size);
                byte_view bytes = key.value();
                remote_static_ = take(bytes, 32);
            } else {
                mix(token);
            }
        }
        return symmetric_.decrypt_and_hash(in).value();
    }

    bool done() const { return next_ == pattern_.messages.size(); }
    const noise_pattern& pattern() const { return pattern_; }
    const key32& hash() const { return symmetric_.hash(); }

    /// That of the initiator first.
    std::pair<noise_cipher, noise_cipher> split() { return symmetric_.split(); }

private:
    static void need(bool holds) {
        if (!holds) throw std::runtime_error("the handshake failed");
    }

    static key32 take(byte_view& in, std::size_t size) {
        need(in.size() >= size);
        key32 out{};
        std::copy_n(in.begin(), size, out.begin());
        in = in.subspan(size);
        return out;
    }

    void mix_ephemeral(const key32& key) {
        symmetric_.mix_hash(key);
        if (pattern_.has_psk) symmetric_.mix_key(key);
    }

    void mix(const std::string& token) {
        if (token == "psk") return symmetric_.mix_key_and_hash(psks_.at(next_psk_++));
        // The first letter is the initiator's key, the second one the responder's.
        const char ours = initiator_ ? token[0] : token[1];
        const char theirs = initiator_ ? token[1] : token[0];
        const x25519_pair& own = ours == 'e' ? ephemeral_.value() : static_.value();
        const key32& other = theirs == 'e' ? remote_ephemeral_.value() : remote_static_.value();
        const auto shared = x25519(own.secret, other);
        symmetric_.mix_key(shared.value().view());
    }

    noise_pattern pattern_;
    bool initiator_;
    std::vector<byte_vector> psks_;
    std::optional<x25519_pair> static_;
    std::optional<x25519_pair> ephemeral_;
    std::optional<key32> remote_static_;
    std::optional<key32> remote_ephemeral_;
    noise_symmetric symmetric_;
    std::size_t next_ = 0;
    std::size_t next_psk_ = 0;
};

}  // namespace cohort::test
