// A router that hides hosts behind one address, as most homes have one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <cohort/sim/fabric.hpp>

namespace cohort::sim {

/// Whose datagrams reach a host through the port that it sent from (RFC 3489 names them, RFC 4787 explains).
enum class nat_kind {
    full_cone,           ///< anybody's
    address_restricted,  ///< those of hosts that it sent something to
    port_restricted,     ///< those of sockets that it sent something to
    symmetric,           ///< the same, and each socket that it sends to sees another port
};

/// Made by world::add_nat(). The hosts behind it share its line; connections go out only, but for forwarded ports.
class nat {
public:
    /// How long a port stays open that nothing is sent through: the least that RFC 4787 (REQ-5) allows.
    static constexpr duration lifetime = 120s;

    nat(nat_kind kind, std::shared_ptr<line> outside) : kind_(kind), line_(std::move(outside)) {}

    const ip_address& address() const { return line_->address; }
    const std::shared_ptr<line>& outside() const { return line_; }

    /// Connections and datagrams to that port of ours go to `to`, as people ask their routers to do.
    void forward(std::uint16_t port, const endpoint& to) { forwarded_[port] = to; }

    /// Who takes connections to that port.
    std::optional<endpoint> forwarded(std::uint16_t port) const {
        const auto found = forwarded_.find(port);
        if (found == forwarded_.end()) return std::nullopt;
        return found->second;
    }

    /// The sender that `to` sees when `from`, a host behind us, sends it a datagram now.
    endpoint outward(const endpoint& from, const endpoint& to, time_point now) {
        for (const auto& [port, inside] : forwarded_)
            if (inside == from) return {address(), port};
        const endpoint towards = kind_ == nat_kind::symmetric ? to : endpoint{};
        const auto [at, is_new] = ports_.try_emplace({from, towards}, std::uint16_t{0});
        if (is_new || now - holes_[at->second].used > lifetime) {
            holes_.erase(at->second);
            at->second = next_port();
            holes_[at->second].inside = from;
        }
        hole& through = holes_[at->second];
        through.used = now;
        through.sent_to.insert(to);
        return {address(), at->second};
    }

    /// Who behind us gets a datagram of `from` to that port of ours; nobody if it is dropped.
    std::optional<endpoint> inward(std::uint16_t port, const endpoint& from, time_point now) const {
        if (const auto inside = forwarded(port)) return inside;
        const auto found = holes_.find(port);
        if (found == holes_.end() || now - found->second.used > lifetime) return std::nullopt;
        if (!may_enter(found->second, from)) return std::nullopt;
        return found->second.inside;
    }

    std::uint16_t next_port() {
        if (++last_port_ < 1024) last_port_ = 1024;
        return last_port_;
    }

private:
    struct hole {
        endpoint inside;
        time_point used{};
        std::set<endpoint> sent_to;
    };

    bool may_enter(const hole& through, const endpoint& from) const {
        if (kind_ == nat_kind::full_cone) return true;
        if (kind_ != nat_kind::address_restricted) return through.sent_to.contains(from);
        const auto known = through.sent_to.lower_bound({from.address, 0});
        return known != through.sent_to.end() && known->address == from.address;
    }

    nat_kind kind_;
    std::shared_ptr<line> line_;
    std::map<std::uint16_t, endpoint> forwarded_;
    std::map<std::pair<endpoint, endpoint>, std::uint16_t> ports_;
    std::map<std::uint16_t, hole> holes_;
    std::uint16_t last_port_ = 20'000;
};

}  // namespace cohort::sim
