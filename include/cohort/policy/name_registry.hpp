// Who is there: users by name and S1's peers by id, with the rules of who may change what.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/time.hpp>
#include <cohort/protocol/registration.hpp>

namespace cohort {

struct name_registry_options {
    duration silent_after = 120s;       ///< without a heartbeat: no longer active
    duration forgotten_after = 24h;     ///< of silence, for those without a key; a key's name stays its own
    std::size_t max_names = 65'536;     ///< in all; a new one takes the place of the longest silent one without a key
    std::size_t max_per_address = 256;  ///< names that count for one IPv4 address or IPv6 network (/64)
    bool require_keys = false;          ///< take signed registrations only
};

/// Both clocks: one that never jumps, for deadlines, and the calendar's, for people and signatures.
struct clock_reading {
    time_point now;
    unix_ms calendar = 0;
};

/// The text or number that a peer of S1 gives for its time, kept as it came.
using peer_timestamp = std::variant<std::monostate, std::int64_t, double, std::string>;

struct named_user {
    std::uint64_t id = 0;  ///< 1, 2, 3, ... in the order of first registration
    /// As registered, but `host` is never unspecified. username is empty for a peer of S1.
    registration self;
    std::optional<std::string> signed_host{};  ///< the unspecified one that the signature covers, where host is ours
    std::string peer_id{};                     ///< S1's fields, empty where not given
    std::string address{};                     ///<
    peer_timestamp timestamp{};                ///<
    bool is_active = true;
    unix_ms last_heartbeat = 0;
    time_point seen{};
    ip_address from{};  ///< where it counts: where it last came from and there was room
    bool left = false;  ///< unregistered; kept only because the name is its key's
};

struct name_totals {
    std::size_t registered = 0;  ///< users and peers who have not unregistered
    std::size_t active = 0;
};

/// Says why a registration, a heartbeat or an end was refused.
enum class name_verdict {
    accepted,
    name_taken,         ///< the name belongs to another key
    key_needed,         ///< the name has a key and this comes without, or keys are required of all
    signature_invalid,  ///<
    outdated,           ///< signed before what is known already: replayed, or by a clock that went back
    from_future,        ///< signed more than ten minutes ahead of our clock
    unknown,            ///< nobody of that name
    address_full,       ///< too many names from there
    registry_full,      ///<
};

/// Everything in memory, all of it bounded. A name that was registered with a key belongs to that key for as long as
/// this lives; one without a key may be changed, ended or taken over with a key by anybody.
class name_registry {
public:
    explicit name_registry(name_registry_options options = {}) : options_(options) {}

    struct result {
        name_verdict verdict = name_verdict::accepted;
        const named_user* user = nullptr;  ///< who is registered now, until the next call; also for `outdated`
    };

    /// Enters or updates a user. The fields are to be valid: is_user_name(), is_registration_host() or unspecified.
    /// The signature is checked here. `extra` has S1's fields.
    result enter(const registration& news, const named_user& extra, const ip_address& from, clock_reading at);
    result enter(const registration& news, const ip_address& from, clock_reading at) {
        return enter(news, named_user{}, from, at);
    }

    /// Enters or updates a peer of S1, who has an id instead of a name.
    result enter_peer(const named_user& peer, const ip_address& from, clock_reading at);

    /// Needs no key: all it can do is to let somebody look present.
    result heartbeat(std::string_view username, clock_reading at);

    /// Ends a registration. A name with a key needs a proof by sign_registration_end(), newer than the registration.
    result leave(std::string_view username, const std::optional<registration_proof>& proof, clock_reading at);

    /// The user of that name who has not left, or nullptr.
    const named_user* find(std::string_view username) const {
        const named_user* const found = at(name_key(username));
        return found != nullptr && !found->left ? found : nullptr;
    }

    /// Calls use(user) for up to `count` active users and peers by their ids, after leaving out `first`.
    template <class Use>
    void for_each_active(std::size_t first, std::size_t count, Use use) const {
        for (const std::uint64_t id : active_) {
            if (first > 0) {
                --first;
            } else if (count-- > 0) {
                use(users_.at(id));
            } else {
                return;
            }
        }
    }

    /// Marks the silent as inactive and forgets those without a key after their time. Returns how many fell silent.
    std::size_t sweep(time_point now);

    name_totals totals() const { return {users_.size() - left_, active_.size()}; }
    std::size_t size() const { return users_.size(); }  ///< with those that left

private:
    // Users and peers share one table; a name may look like an id.
    static std::string name_key(std::string_view name) { return "n" + folded_user_name(name); }
    static std::string peer_key(std::string_view id) { return "p" + std::string(id); }
    static std::string key_of(const named_user& user) {
        return user.self.username.empty() ? peer_key(user.peer_id) : name_key(user.self.username);
    }

    const named_user* at(const std::string& key) const {
        const auto found = ids_.find(key);
        return found == ids_.end() ? nullptr : &users_.at(found->second);
    }
    named_user* at(const std::string& key) { return const_cast<named_user*>(std::as_const(*this).at(key)); }

    name_verdict judge(const registration& news, const named_user* known, clock_reading at) const;
    bool is_full(const ip_address& network) const {
        const auto there = per_network_.find(network);
        return there != per_network_.end() && there->second >= options_.max_per_address;
    }
    std::optional<name_verdict> make_room(const ip_address& from);
    named_user& add(const std::string& key, const ip_address& from);
    void note_presence(named_user& user, clock_reading at);
    void note_absence(named_user& user);
    void move_to(named_user& user, const ip_address& from);
    void erase(std::uint64_t id);

    name_registry_options options_;
    std::map<std::uint64_t, named_user> users_;
    std::map<std::string, std::uint64_t> ids_;
    std::set<std::uint64_t> active_;
    std::set<std::pair<time_point, std::uint64_t>> silent_;  // inactive and without a key, by when they were seen
    std::map<ip_address, std::size_t> per_network_;
    std::uint64_t next_id_ = 1;
    std::size_t left_ = 0;
};

// ---- Machinery

inline name_verdict name_registry::judge(const registration& news, const named_user* known, clock_reading at) const {
    if (!news.proof) {
        const bool keyed = known != nullptr && known->self.proof;
        return keyed || options_.require_keys ? name_verdict::key_needed : name_verdict::accepted;
    }
    if (is_from_future(news.proof->signed_at, at.calendar)) return name_verdict::from_future;
    if (!verify_registration(news)) return name_verdict::signature_invalid;
    if (known == nullptr || !known->self.proof) return name_verdict::accepted;
    if (known->self.proof->key != news.proof->key) return name_verdict::name_taken;
    const bool newer = news.proof->signed_at > known->self.proof->signed_at;
    return newer ? name_verdict::accepted : name_verdict::outdated;
}

inline name_registry::result name_registry::enter(const registration& news, const named_user& extra,
                                                  const ip_address& from, clock_reading now) {
    const std::string key = name_key(news.username);
    named_user* user = at(key);
    if (user != nullptr && news.proof && user->self.proof == news.proof && !user->left) {
        // A client that did not hear our answer, or somebody who copied it: nothing may change, the address least.
        note_presence(*user, now);
        return {name_verdict::accepted, user};
    }
    const name_verdict verdict = judge(news, user, now);
    if (verdict != name_verdict::accepted) return {verdict, verdict == name_verdict::outdated ? user : nullptr};
    if (user == nullptr) {
        if (const auto full = make_room(from)) return {*full, nullptr};
        user = &add(key, from);
    }
    if (!user->self.proof) silent_.erase({user->seen, user->id});
    user->self = news;
    user->signed_host.reset();
    if (is_unspecified_host(news.host)) {
        if (news.proof) user->signed_host = news.host;
        user->self.host = from.to_string();
    }
    if (!extra.peer_id.empty()) {
        user->peer_id = extra.peer_id;
        user->address = extra.address;
        user->timestamp = extra.timestamp;
    }
    move_to(*user, from);
    note_presence(*user, now);
    return {name_verdict::accepted, user};
}

inline name_registry::result name_registry::enter_peer(const named_user& peer, const ip_address& from,
                                                       clock_reading now) {
    if (options_.require_keys) return {name_verdict::key_needed, nullptr};
    const std::string key = peer_key(peer.peer_id);
    named_user* user = at(key);
    if (user == nullptr) {
        if (const auto full = make_room(from)) return {*full, nullptr};
        user = &add(key, from);
        user->peer_id = peer.peer_id;
    }
    user->address = peer.address;
    user->timestamp = peer.timestamp;
    move_to(*user, from);
    note_presence(*user, now);
    return {name_verdict::accepted, user};
}

inline name_registry::result name_registry::heartbeat(std::string_view username, clock_reading now) {
    named_user* const user = at(name_key(username));
    if (user == nullptr || user->left) return {name_verdict::unknown, nullptr};
    note_presence(*user, now);
    return {name_verdict::accepted, user};
}

inline name_registry::result name_registry::leave(std::string_view username,
                                                  const std::optional<registration_proof>& proof, clock_reading now) {
    named_user* const user = at(name_key(username));
    if (user == nullptr || user->left) return {name_verdict::unknown, nullptr};
    if (!user->self.proof) {
        erase(user->id);
        return {};
    }
    if (!proof) return {name_verdict::key_needed, nullptr};
    if (proof->key != user->self.proof->key) return {name_verdict::name_taken, nullptr};
    if (is_from_future(proof->signed_at, now.calendar)) return {name_verdict::from_future, nullptr};
    // Signed over the name as its owner wrote it, here or in the registration.
    if (!verify_registration_end(username, *proof) && !verify_registration_end(user->self.username, *proof))
        return {name_verdict::signature_invalid, nullptr};
    if (proof->signed_at <= user->self.proof->signed_at) return {name_verdict::outdated, user};
    user->self.proof = *proof;
    user->left = true;
    ++left_;
    note_absence(*user);
    return {};
}

/// Nothing if another name may come from there.
inline std::optional<name_verdict> name_registry::make_room(const ip_address& from) {
    if (is_full(from.network())) return name_verdict::address_full;
    if (users_.size() < options_.max_names) return std::nullopt;
    if (silent_.empty()) return name_verdict::registry_full;
    erase(silent_.begin()->second);
    return std::nullopt;
}

inline named_user& name_registry::add(const std::string& key, const ip_address& from) {
    const std::uint64_t id = next_id_++;
    ids_.emplace(key, id);
    named_user& out = users_[id];
    out.id = id;
    out.from = from;
    ++per_network_[from.network()];
    return out;
}

inline void name_registry::note_presence(named_user& user, clock_reading at) {
    if (!user.self.proof) silent_.erase({user.seen, user.id});
    if (user.left) --left_;
    user.left = false;
    user.is_active = true;
    user.seen = at.now;
    user.last_heartbeat = at.calendar;
    active_.insert(user.id);
}

inline void name_registry::note_absence(named_user& user) {
    user.is_active = false;
    active_.erase(user.id);
    if (!user.self.proof) silent_.emplace(user.seen, user.id);
}

/// Counts the user where it is now. Nobody is refused for having moved, but where there is no room they count where
/// they were: else one address could gather names that others registered.
inline void name_registry::move_to(named_user& user, const ip_address& from) {
    const ip_address before = user.from.network();
    const ip_address after = from.network();
    if (before == after || is_full(after)) return;
    user.from = from;
    const auto there = per_network_.find(before);
    if (--there->second == 0) per_network_.erase(there);
    ++per_network_[after];
}

inline void name_registry::erase(std::uint64_t id) {
    const auto found = users_.find(id);
    named_user& user = found->second;
    const auto there = per_network_.find(user.from.network());
    if (--there->second == 0) per_network_.erase(there);
    silent_.erase({user.seen, id});
    active_.erase(id);
    ids_.erase(key_of(user));
    users_.erase(found);
}

inline std::size_t name_registry::sweep(time_point now) {
    std::size_t fell_silent = 0;
    for (auto next = active_.begin(); next != active_.end();) {
        named_user& user = users_.at(*next++);
        if (now - user.seen < options_.silent_after) continue;
        note_absence(user);
        ++fell_silent;
    }
    while (!silent_.empty() && now - silent_.begin()->first >= options_.forgotten_after) erase(silent_.begin()->second);
    return fell_silent;
}

}  // namespace cohort
