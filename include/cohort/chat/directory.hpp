// Who is who, and where: what the tracker says, weighed against what we know ourselves. A name belongs to the key that
// it came with first.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/events.hpp>
#include <cohort/net/dial.hpp>
#include <cohort/net/registry_client.hpp>
#include <cohort/net/shielded.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/policy/token_bucket.hpp>
#include <cohort/protocol/user_name.hpp>
#include <cohort/storage/contacts_file.hpp>

namespace cohort::chat {

struct directory_options {
    std::string name;     ///< ours
    std::string tracker;  ///< an http URL; empty: none
    std::string host;     ///< where others reach us; empty: as the tracker sees us
    std::uint16_t port = 0;
    duration heartbeat = 30s;        ///< the tracker calls us gone after four that are missing
    duration least_wait = 1s;        ///< between two questions to the tracker
    duration farewell = 2s;          ///< for the last word to the tracker
    duration question = 3s;          ///< for the tracker to say whose a name is
    std::size_t max_known = 20'000;  ///< addresses that the tracker names
};

/// One thread only. What it is given outlives it.
class directory {
public:
    struct handlers {
        std::function<void(chat_node_event)> on_event;
        /// The tracker names this peer, and did not before, or at another address.
        std::function<void(const identity_key&)> on_appeared;
    };

    /// Reads the contacts. Fails as contacts_file does, and as registry_client does for the tracker's URL.
    directory(network& net, const identity& self, disk& files, const std::string& home, directory_options options,
              handlers h)
        : net_(net),
          self_(self),
          options_(std::move(options)),
          handlers_(std::move(h)),
          contacts_(files, home, "contacts.json"),
          changed_(net.executor()),
          soon_(net.executor()) {
        for (const contact& one : contacts_.all()) folded_[folded_user_name(one.name)] = one.name;
        if (options_.tracker.empty()) return;
        client_.emplace(net, options_.tracker, &self);
        for (const contact& one : contacts_.all()) client_->trust(one.name, one.key);
    }

    /// Registers us, and looks who is there, again and again until cancelled; then says goodbye. Throws
    /// errc::name_taken or name_invalid if the tracker does not let us have our name; other failures are waited out.
    asio::awaitable<void> run();

    /// Completes with the key that belongs to a name. Throws errc::unknown_peer, errc::identity_changed, or what keeps
    /// us from asking the tracker.
    asio::awaitable<identity_key> resolve(std::string name);

    /// Completes if whoever owns `key` may be called `name` here, which is remembered. Throws errc::name_invalid,
    /// errc::identity_changed if we know another key by that name, errc::name_taken if the tracker does.
    asio::awaitable<void> admit(identity_key key, std::string name);

    std::optional<identity_key> key_of(const std::string& name) const {
        const contact* const known = contacts_.find(name);
        return known == nullptr ? std::nullopt : std::optional(known->key);
    }
    /// What the key's owner is called here; without a name, the first digits of the key.
    std::string name_of(const identity_key& key) const {
        if (key == self_.key()) return options_.name;
        const contact* const known = contacts_.find(key);
        return known == nullptr ? key.hex().substr(0, 8) : known->name;
    }
    /// The same, with the name that a stranger gives itself unless it is somebody else's.
    std::string name_of(const identity_key& key, const std::string& claimed) const {
        const bool stranger = key != self_.key() && contacts_.find(key) == nullptr;
        return stranger && is_user_name(claimed) && owner_of(claimed) == nullptr && !is_ours(claimed) ? claimed
                                                                                                      : name_of(key);
    }
    std::optional<endpoint> address_of(const identity_key& key) const {
        const auto found = where_.find(key);
        if (found != where_.end()) return found->second;
        const contact* const known = contacts_.find(key);
        return known == nullptr ? std::nullopt : known->address;
    }
    /// Whether the tracker would take it for our own name.
    bool is_ours(const std::string& name) const { return folded_user_name(name) == folded_user_name(options_.name); }
    bool is_verified(const std::string& name) const {
        const contact* const known = contacts_.find(name);
        return known != nullptr && known->verified;
    }

    /// There is a link to the peer, who takes links there.
    void met(const identity_key& key, const endpoint& at) {
        const contact* const known = contacts_.find(key);
        if (known == nullptr && where_.size() >= options_.max_known && !where_.contains(key)) return;
        where_[key] = at;
        if (known != nullptr && known->address != at) put({known->name, key, known->verified, at});
    }
    /// Somebody is not where we thought: the tracker is asked without waiting for the next heartbeat.
    void ask_soon() {
        asked_ = true;
        soon_.notify();
    }
    void verify(const std::string& name);
    /// The name may come with another key from now on.
    void forget(const std::string& name);

    /// Contacts, and those whom the tracker names; without links and presence, which others know.
    std::vector<chat_peer> list() const;

private:
    asio::awaitable<void> enroll();
    asio::awaitable<void> look_around();
    asio::awaitable<void> attend();
    asio::awaitable<void> say_goodbye();
    asio::awaitable<void> note(registered_user user);
    asio::awaitable<std::optional<endpoint>> dialled_at(registration at);
    void put(const contact& one);
    void keep_again();
    asio::awaitable<void> without_tracker();
    bool owns(const identity_key& key, const std::string& name);
    void alarm(const contact& known, const identity_key& claimed);
    /// Who has that name here, in capitals or not: the tracker makes no difference either.
    const contact* owner_of(const std::string& name) const {
        if (const contact* const exact = contacts_.find(name)) return exact;
        const auto found = folded_.find(folded_user_name(name));
        return found == folded_.end() ? nullptr : contacts_.find(found->second);
    }
    asio::awaitable<std::optional<registered_user>> ask_about(std::string name);
    void reachable(bool yes, const std::string& reason);

    /// The client does one thing at a time.
    struct turn {
        explicit turn(directory& d) : owner(d) { owner.busy_ = true; }
        ~turn() {
            owner.busy_ = false;
            owner.changed_.notify();
        }
        directory& owner;
    };
    asio::awaitable<void> free() {
        while (busy_) co_await changed_.wait();
    }

    network& net_;
    const identity& self_;
    directory_options options_;
    handlers handlers_;
    contacts_file contacts_;
    std::map<std::string, std::string> folded_;  // their names, by the form that the tracker compares
    std::optional<registry_client> client_;
    std::map<std::string, registered_user> online_;
    std::map<identity_key, endpoint> where_;
    std::set<std::pair<std::string, identity_key>> alarmed_;
    std::optional<bool> reachable_;
    bool enrolled_ = false;
    bool busy_ = false;
    bool asked_ = false;
    token_bucket strangers_{1, 200};  // each new contact costs a write of all
    wakeup changed_;
    wakeup soon_;
};

// ---- Machinery

inline asio::awaitable<void> directory::run() {
    if (!client_) co_await without_tracker();
    std::exception_ptr end;
    try {
        co_await attend();
    } catch (...) {
        end = std::current_exception();
    }
    if (enrolled_) {
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        co_await say_goodbye();
    }
    std::rethrow_exception(end);
}

inline asio::awaitable<void> directory::without_tracker() {
    for (;;) {
        co_await net_.sleep_for(options_.heartbeat);
        keep_again();
    }
}

inline asio::awaitable<void> directory::attend() {
    duration delay = 1s;
    for (;;) {
        keep_again();
        std::error_code failure;
        std::string words;
        try {
            co_await enroll();
            co_await look_around();
        } catch (const std::system_error& error) {
            if (is_cancellation(error.code())) throw;
            // Once it has let us in, it does not get to end us.
            const bool refused = error.code() == errc::name_taken || error.code() == errc::name_invalid;
            if (refused && !enrolled_) throw;
            failure = error.code();
            words = error.what();
        }
        reachable(!failure, words);
        delay = failure ? std::min(delay * 2, options_.heartbeat) : 1s;
        const duration wait = failure ? delay : options_.heartbeat;
        co_await net_.sleep_for(options_.least_wait);
        try {
            if (!std::exchange(asked_, false)) co_await with_timeout(net_, wait, soon_.wait());
        } catch (const std::system_error& error) {
            if (error.code() != errc::timed_out) throw;
        }
        asked_ = false;
    }
}

inline asio::awaitable<void> directory::enroll() {
    co_await free();
    const turn ours(*this);
    if (enrolled_) {
        try {
            co_await client_->heartbeat(options_.name);
            co_return;
        } catch (const std::system_error& error) {
            // A tracker that was started anew knows nobody.
            if (error.code() != errc::unknown_peer) throw;
        }
    }
    co_await client_->register_self(options_.name, options_.host, options_.port);
    enrolled_ = true;
}

inline asio::awaitable<void> directory::look_around() {
    user_list all;
    {
        co_await free();
        const turn ours(*this);
        all = co_await client_->peers();
    }
    online_.clear();
    for (const registered_user& one : all.users) co_await note(one);
}

inline asio::awaitable<void> directory::say_goodbye() {
    try {
        co_await with_timeout(net_, options_.farewell, client_->unregister(options_.name));
    } catch (const std::system_error&) {
        // It finds out by our silence.
    }
}

/// What a tracker's record changes for us.
inline asio::awaitable<void> directory::note(registered_user user) {
    const std::string name = user.self.username;
    if (is_ours(name) || !is_user_name(name)) co_return;
    online_[name] = user;
    if (!user.self.proof) co_return;
    const identity_key key = user.self.proof->key;
    const contact* const known = owner_of(name);
    if (known != nullptr && known->key != key) {
        alarm(*known, key);
        co_return;
    }
    if (user.trust != record_trust::verified || !user.is_active) co_return;
    const auto at = co_await dialled_at(user.self);
    if (!at) co_return;
    if (where_.size() >= options_.max_known && contacts_.find(key) == nullptr) co_return;
    auto [place, is_new] = where_.try_emplace(key, *at);
    if (!is_new && place->second == *at) co_return;
    place->second = *at;
    handlers_.on_appeared(key);
}

inline asio::awaitable<std::optional<endpoint>> directory::dialled_at(registration at) {
    if (const auto address = ip_address::parse(at.host)) co_return endpoint{*address, at.port};
    // Names cost a question each: only of those whom we know.
    if (contacts_.find(at.username) == nullptr) co_return std::nullopt;
    try {
        const auto addresses = co_await with_timeout(net_, 5s, resolve_host(net_, at.host, address_family::any));
        co_return endpoint{addresses.front(), at.port};
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
    }
    co_return std::nullopt;
}

inline asio::awaitable<identity_key> directory::resolve(std::string name) {
    if (const auto known = key_of(name)) co_return *known;
    if (!client_ || name == options_.name) raise(errc::unknown_peer, name);
    const duration limit = options_.question;
    const std::optional<registered_user> found = co_await with_timeout(net_, limit, ask_about(name));
    if (!found) raise(errc::unknown_peer, name);
    if (!found->self.proof) raise(errc::unknown_peer, name + " is there, but without a key");
    co_await note(*found);
    const identity_key key = found->self.proof->key;
    const contact* const owner = owner_of(name);
    const bool other = owner != nullptr && owner->key != key;
    if (other || found->trust == record_trust::key_changed) raise(errc::identity_changed, name);
    if (key == self_.key()) raise(errc::unknown_peer, name);
    if (contacts_.find(key) == nullptr) put({name, key, false, address_of(key)});
    co_return key;
}

inline asio::awaitable<void> directory::admit(identity_key key, std::string name) {
    if (!is_user_name(name)) raise(errc::name_invalid);
    if (is_ours(name)) raise(errc::name_taken, name);
    if (owns(key, name)) co_return;
    std::optional<registered_user> registered;
    if (client_) {
        try {
            registered = co_await with_timeout(net_, options_.question, ask_about(name));
        } catch (const std::system_error& error) {
            if (is_cancellation(error.code())) throw;
            // Then the first who comes with the name has it, as it is without a tracker.
        }
    }
    // Somebody else may have come with it meanwhile.
    if (owns(key, name)) co_return;
    if (registered && registered->self.proof && registered->self.proof->key != key) raise(errc::name_taken, name);
    if (strangers_.take(1, net_.now()) == 0) raise(errc::queue_full, "too many strangers");
    put({name, key, false, std::nullopt});
    if (registered) co_await note(*registered);
}

/// Whether the name is the key's already. Throws errc::identity_changed if it is another's. Somebody known who has
/// taken another name keeps the old one here.
inline bool directory::owns(const identity_key& key, const std::string& name) {
    const contact* const known = owner_of(name);
    if (known == nullptr) return contacts_.find(key) != nullptr;
    if (known->key == key) return true;
    alarm(*known, key);
    raise(errc::identity_changed, name);
}

inline asio::awaitable<std::optional<registered_user>> directory::ask_about(std::string name) {
    co_await free();
    const turn ours(*this);
    auto out = co_await client_->find(name);
    co_return out;
}

inline void directory::put(const contact& one) {
    if (client_) client_->trust(one.name, one.key);
    try {
        contacts_.put(one);
    } catch (const std::system_error& error) {
        // Whoever was met goes by that name all the same, and no other key does.
        contacts_.note(one);
        handlers_.on_event(chat_event::warning{std::string("cannot keep the contacts: ") + error.what()});
    }
    if (contacts_.find(one.name) != nullptr) folded_[folded_user_name(one.name)] = one.name;
}

inline void directory::keep_again() {
    try {
        contacts_.keep();
    } catch (const std::system_error&) {
        // It was told when it failed first.
    }
}

inline void directory::verify(const std::string& name) {
    const contact* const known = contacts_.find(name);
    if (known == nullptr) raise(errc::unknown_peer, name);
    put({name, known->key, true, known->address});
}

inline void directory::forget(const std::string& name) {
    if (contacts_.find(name) == nullptr) raise(errc::unknown_peer, name);
    contacts_.erase(name);
    folded_.erase(folded_user_name(name));
    if (client_) client_->forget(name);
    std::erase_if(alarmed_, [&](const auto& one) { return one.first == name; });
}

/// Once for each key that pretends.
inline void directory::alarm(const contact& known, const identity_key& claimed) {
    constexpr std::size_t most = 1000;
    if (alarmed_.size() >= most || !alarmed_.emplace(known.name, claimed).second) return;
    handlers_.on_event(chat_event::identity_changed{known.name, known.key, claimed});
}

inline void directory::reachable(bool yes, const std::string& reason) {
    if (std::exchange(reachable_, yes) == yes) return;
    handlers_.on_event(chat_event::tracker_state{yes, reason});
}

inline std::vector<chat_peer> directory::list() const {
    std::map<std::string, chat_peer> all;
    for (const contact& one : contacts_.all())
        all[one.name] = {one.name, one.key, address_of(one.key), false, false, one.verified, {}};
    for (const auto& [name, user] : online_) {
        chat_peer& one = all[name];
        one.name = name;
        one.online = user.is_active;
        if (!one.key && user.self.proof && user.trust == record_trust::verified) one.key = user.self.proof->key;
        if (!one.address && one.key) one.address = address_of(*one.key);
    }
    std::vector<chat_peer> out;
    for (auto& [name, one] : all) out.push_back(std::move(one));
    return out;
}

}  // namespace cohort::chat
