// What peers of a torrent can do beyond the standard messages (BEP 10): who speaks which extension, and under which
// number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/net/network.hpp>
#include <cohort/protocol/client.hpp>
#include <cohort/protocol/extension.hpp>
#include <cohort/swarm/events.hpp>
#include <cohort/swarm/peer.hpp>

namespace cohort {

/// One extension of one torrent. It queues what it has to say on the peers' connections, and throws nothing.
class swarm_extension {
public:
    virtual ~swarm_extension() = default;

    /// As in the `m` of extension handshakes.
    virtual std::string_view name() const = 0;
    /// A peer speaks it too, and wants its messages as `extended` with this id. The peer is there until left().
    virtual void joined(peer& newcomer, std::uint8_t id) = 0;
    /// A message of such a peer, valid during the call.
    virtual void received(peer& from, byte_view payload) = 0;
    virtual void left(const peer& gone) = 0;
    /// Whether the connection is of use for this extension alone, with no block to be given either way.
    virtual bool holds(const peer&) const { return false; }
};

/// An extension in which people talk.
class swarm_talk : public swarm_extension {
public:
    /// To all peers of the torrent that listen. Throws errc::chat_too_long, errc::chat_malformed for an empty text or
    /// one that is not UTF-8, and errc::queue_full where that is more than others would take: try again in a second.
    virtual void say(std::string_view text) = 0;
};

/// Makes the talk of one torrent; what is heard goes to `told`. See swarm_chat().
using swarm_talk_maker = std::function<std::unique_ptr<swarm_talk>(network& net, const info_hash& hash,
                                                                   std::function<void(torrent_event)> told)>;

/// The extensions of one torrent. With none it costs nothing and an extension handshake has an empty `m`.
class swarm_extensions {
public:
    /// Before any peer comes; `one` outlives this.
    void add(swarm_extension& one) { spoken_.push_back({&one, {}}); }

    /// Says which we speak, that we listen at `port`, and take so many requests.
    void greet(peer& to, std::uint16_t port, std::uint32_t requests) const {
        extension_handshake ours;
        for (std::size_t i = 0; i < spoken_.size(); ++i) {
            ours.m.emplace(spoken_[i].it->name(), static_cast<std::uint8_t>(i + 1));
        }
        ours.v = client_name;
        ours.p = port;
        ours.reqq = requests;
        ours.yourip = to.address.address;
        const std::string payload = write_extension_handshake(ours);
        to.connection->queue(wire::extended{0, as_bytes(payload)});
    }

    /// A handshake, or a message under a number that we gave out, or that the peer made up. Returns the port that a
    /// handshake tells. One that is broken is ignored: the peer works without it.
    std::optional<std::uint16_t> on_message(peer& from, const wire::extended& message) {
        if (message.id == 0) {
            std::error_code broken;
            const auto theirs = parse_extension_handshake(message.payload, broken);
            if (!theirs) return std::nullopt;
            from.client = theirs->v;
            if (theirs->reqq) from.pipeline.limit(*theirs->reqq);
            on_handshake(from, *theirs);
            return theirs->p;
        }
        if (message.id <= spoken_.size()) {
            const spoken& wanted = spoken_[message.id - 1U];
            if (speaks(wanted, from)) wanted.it->received(from, message.payload);
        }
        return std::nullopt;
    }

    void left(const peer& gone) {
        for (spoken& each : spoken_) {
            if (speaks(each, gone)) each.it->left(gone);
            each.peers.erase(gone.key);
        }
    }

    bool hold(const peer& p) const {
        for (const spoken& each : spoken_) {
            if (speaks(each, p) && each.it->holds(p)) return true;
        }
        return false;
    }

private:
    struct spoken {
        swarm_extension* it;
        std::map<peer_key, bool> peers;  ///< false: switched off again
    };

    /// The first handshake counts, or a later one; an extension that is switched off stays so.
    void on_handshake(peer& from, const extension_handshake& theirs) {
        for (spoken& each : spoken_) {
            const auto found = theirs.m.find(std::string(each.it->name()));
            if (found == theirs.m.end()) continue;
            const auto known = each.peers.find(from.key);
            if (known == each.peers.end()) {
                each.peers.emplace(from.key, found->second != 0);
                if (found->second != 0) each.it->joined(from, found->second);
            } else if (known->second && found->second == 0) {
                known->second = false;
                each.it->left(from);
            }
        }
    }

    static bool speaks(const spoken& extension, const peer& p) {
        const auto found = extension.peers.find(p.key);
        return found != extension.peers.end() && found->second;
    }

    std::vector<spoken> spoken_;
};

}  // namespace cohort
