// The role of a chat node: people who find each other by name, talk over encrypted links that run straight between
// them, meet in rooms, and hand each other files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/directory.hpp>
#include <cohort/chat/door.hpp>
#include <cohort/chat/exchange.hpp>
#include <cohort/chat/files.hpp>
#include <cohort/chat/history.hpp>
#include <cohort/chat/links.hpp>
#include <cohort/chat/options.hpp>
#include <cohort/chat/rooms.hpp>
#include <cohort/net/event_queue.hpp>
#include <cohort/net/http_server.hpp>
#include <cohort/net/listen_all.hpp>
#include <cohort/storage/identity_file.hpp>

namespace cohort {

using chat_event_queue = basic_event_queue<chat_node_event>;

/// One person's node. One thread only; `net` outlives it.
///
///     cohort::chat_node node(net, options);
///     co_await node.connect("bob");
///     co_await node.send("bob", "hello");
///     const auto event = co_await node.receive();
///
/// with node.run() running beside it. What is sent is on this machine's disk first, and reaches the other's as soon as
/// there is a link; what was received is on disk before its sender hears that it was.
class chat_node : private chat::links_owner {
public:
    /// Reads the home and listens. Throws errc::name_invalid; errc::identity_invalid; errc::log_damaged,
    /// device_or_resource_busy if another program uses the home, and what else a disk says; the system's error with the
    /// address if it cannot listen.
    chat_node(network& net, chat_options options);

    std::uint16_t port() const { return port_; }
    const std::string& name() const { return options_.name; }
    const identity_key& key() const { return self_.key(); }

    /// Runs until stop() or cancellation; links and files end in good order before it completes. Throws
    /// errc::name_taken if the tracker knows another key by our name, and what the node cannot get over.
    asio::awaitable<void> run();
    /// Makes run() end. What was sent stays on disk, and goes out when the node runs again.
    void stop() { tasks_.cancel(); }

    /// Completes when there is a link to the person, which is then kept. Throws errc::unknown_peer,
    /// errc::identity_changed, or why this attempt failed; others follow by themselves. Cancelling only ends the wait.
    asio::awaitable<void> connect(std::string name);

    /// Says something to a person ("bob") or in a room ("#lobby"). Completes when it is on disk; it is delivered once,
    /// and in order, whenever the other side is there. Throws errc::unknown_peer, errc::identity_changed, or
    /// errc::chat_too_long and errc::chat_malformed for what is no text of 1 byte to 64 KiB of UTF-8. When cancelled it
    /// may have been said or not.
    asio::awaitable<message_id> send(std::string to, std::string text);

    /// Completes with the next event. At most 1,024 wait for a reader, then the oldest are dropped: the history has all
    /// that was said. Cancelling takes none.
    asio::awaitable<chat_node_event> receive() { return events_.front()->next(); }
    /// A queue of its own for another reader, as long as somebody holds it.
    std::shared_ptr<chat_event_queue> subscribe();

    /// Comes to a room, which everybody who knows its name may do, and makes it if nobody is there. Completes when that
    /// is on disk. Throws errc::name_invalid.
    asio::awaitable<void> join(std::string room);
    /// Leaves a room; the others change their keys. Throws errc::unknown_peer if we are not in it.
    asio::awaitable<void> leave(std::string room);

    /// Completes with the last `limit` messages, or those before `before`, the earliest first. Throws
    /// errc::unknown_peer, errc::log_damaged.
    asio::awaitable<std::vector<shown_message>> history(std::string with, std::size_t limit,
                                                        std::optional<message_id> before);

    /// Tells those who are linked that we are writing, or no longer.
    void typing(const std::string& to, bool on);
    /// "online", "away", or words of our own, up to 1024 bytes.
    void set_presence(std::string state);
    /// All that is there has been seen by our user.
    void mark_read(const std::string& with);

    /// Offers a file. Completes when the offer is on disk. Throws what reading the file throws, errc::unknown_peer.
    asio::awaitable<message_id> send_file(std::string to, std::string path);
    /// Fetches an offered file into a folder; events tell how it goes. It goes on after a restart. Throws
    /// errc::unknown_peer if there is no such offer.
    asio::awaitable<void> accept_file(std::string with, message_id offer, std::string directory);
    void refuse_file(const std::string& with, const message_id& offer);

    std::vector<chat_peer> peers() const;
    std::vector<chat_room_info> rooms() const;
    /// Names of those with whom something was said, and of the rooms that we are in, with '#'.
    std::vector<std::string> conversations() const;
    /// Messages of others that mark_read() has not covered.
    std::size_t unread(const std::string& with) const;

    /// To be compared with what the other's screen shows. Throws errc::unknown_peer.
    std::string safety_number(const std::string& name) const;
    /// The user compared it. Throws errc::unknown_peer.
    void verify(const std::string& name) { directory_.verify(name); }
    /// The name may come with another key from now on: after identity_changed, by the user's decision.
    void forget(const std::string& name);

private:
    // What links need of us.
    std::optional<endpoint> address_of(const identity_key& peer) override { return directory_.address_of(peer); }
    asio::awaitable<void> admit(identity_key peer, std::string name) override { return directory_.admit(peer, name); }
    void unreachable(const identity_key&) override { directory_.ask_soon(); }
    void linked(const std::shared_ptr<chat::link>& to) override;
    void unlinked(const std::shared_ptr<chat::link>& to, std::error_code why) override;
    asio::awaitable<void> heard(std::shared_ptr<chat::link> from, chat::message what) override;
    asio::awaitable<std::optional<std::string>> more_for(std::shared_ptr<chat::link> to) override {
        return exchange_.more_for(to);
    }
    void appeared(const identity_key& who);
    void heard_small(const std::shared_ptr<chat::link>& from, const chat::message& what);

    static constexpr std::size_t most_conversations = 500;  // that others may begin

    static chat_options checked(chat_options options);
    static identity open_home(disk& files, const chat_options& options);
    chat::directory_options directory_options() const;
    chat::links_options links_options() const;
    chat::rooms_options rooms_options() const;
    chat::exchange::handlers exchange_handlers();
    asio::awaitable<void> serve();
    void tell(chat_node_event what);
    chat::conversation& direct_with(const identity_key& peer);
    asio::awaitable<chat::conversation*> conversation_with(std::string to);
    chat::conversation* known_conversation(const std::string& with) const;
    std::vector<std::shared_ptr<chat::link>> linked_members(const chat::conversation& in) const;

    network& net_;
    chat_options options_;
    real_disk machine_disk_;
    disk& disk_;
    identity self_;
    std::vector<std::shared_ptr<chat_event_queue>> events_;  // the first is receive()'s
    std::vector<std::unique_ptr<listener>> listeners_;
    std::uint16_t port_;
    std::unique_ptr<worker_pool> own_pool_;
    job_runner& pool_;
    chat::links links_;
    chat::archive archive_;
    chat::directory directory_;
    chat::exchange exchange_;
    chat::rooms rooms_;
    chat::files files_;
    chat::presence presence_;
    task_group tasks_;
};

// ---- Machinery

inline chat_options chat_node::checked(chat_options options) {
    if (!is_user_name(options.name)) raise(errc::name_invalid, options.name);
    while (options.tracker.ends_with('/')) options.tracker.pop_back();
    if (options.tracker.ends_with("/announce")) options.tracker.resize(options.tracker.size() - 9);
    return options;
}

/// The file of a secret needs more of a disk than others: an owner and a mode. So it is always on this machine's.
inline identity chat_node::open_home(disk& files, const chat_options& options) {
    if (options.storage == nullptr || !options.seed) create_private_folder(options.home);
    files.create_directories({options.home, {}});
    return identity(options.seed ? *options.seed : load_or_create_identity(options.home + "/identity"));
}

inline chat_node::chat_node(network& net, chat_options options)
    : net_(net),
      options_(checked(std::move(options))),
      disk_(options_.storage == nullptr ? machine_disk_ : *options_.storage),
      self_(open_home(disk_, options_)),
      events_{std::make_shared<chat_event_queue>(net.executor())},
      listeners_(listen_all(net, options_.addresses, options_.port)),
      port_(listeners_.front()->local_endpoint().port),
      own_pool_(options_.pool == nullptr ? std::make_unique<worker_pool>(1) : nullptr),
      pool_(own_pool_ ? *own_pool_ : *options_.pool),
      links_(net, self_, *this, links_options()),
      archive_(
          net, disk_, pool_, self_, options_.home,
          {[this](chat::conversation& in, std::vector<chat::record>& records) { exchange_.on_stored(in, records); },
           [this](const chat::conversation& in, const std::system_error& error) {
               tell(chat_event::warning{"cannot keep what is said in " + in.name + ": " + error.what()});
           }}),
      directory_(net, self_, disk_, options_.home, directory_options(),
                 {[this](chat_node_event what) { tell(std::move(what)); },
                  [this](const identity_key& who) { appeared(who); }}),
      exchange_(net, self_, archive_, links_, exchange_handlers()),
      rooms_(net, self_, disk_, pool_, options_.home, archive_, exchange_, links_, rooms_options()),
      files_(net, self_, archive_, exchange_, links_, options_.addresses,
             {[this](chat_node_event what) { tell(std::move(what)); },
              [this](const identity_key& who) { return directory_.key_of(directory_.name_of(who)) == who; }}),
      tasks_(net.executor()) {
    for (const chat_peer& one : directory_.list())
        if (one.key && archive_.exists(direct_conversation(self_.key(), *one.key))) direct_with(*one.key);
}

inline chat::directory_options chat_node::directory_options() const {
    chat::directory_options out;
    out.name = options_.name;
    out.tracker = options_.tracker;
    out.host = options_.host;
    out.port = port_;
    out.heartbeat = options_.heartbeat;
    return out;
}

inline chat::links_options chat_node::links_options() const {
    chat::links_options out = options_.linking;
    out.greeting.name = options_.name;
    out.greeting.features = {"port:" + std::to_string(port_)};
    return out;
}

inline chat::rooms_options chat_node::rooms_options() const {
    chat::rooms_options out = options_.meeting;
    out.name = options_.name;
    out.tracker = options_.tracker;
    out.port = port_;
    return out;
}

inline chat::exchange::handlers chat_node::exchange_handlers() {
    chat::exchange::handlers out;
    out.on_event = [this](chat_node_event what) { tell(std::move(what)); };
    out.name_of = [this](const identity_key& who, const std::string& claimed) {
        return directory_.name_of(who, claimed);
    };
    out.on_member = [this](chat::conversation& in, const identity_key& who, bool joined) {
        rooms_.on_member(in, who, joined);
    };
    out.on_offer = [this](chat::conversation& in, const chat_entry& entry) {
        if (options_.accept_files) files_.accept_later(in, {entry.author, entry.seq}, options_.home + "/files");
    };
    return out;
}

// ---- Machinery: running

inline asio::awaitable<void> chat_node::run() {
    tasks_.spawn(archive_.run());
    tasks_.spawn(links_.run());
    tasks_.spawn(rooms_.run());
    tasks_.spawn(files_.run());
    tasks_.spawn(directory_.run());
    tasks_.spawn(serve());
    co_await tasks_.join();
}

inline asio::awaitable<void> chat_node::serve() {
    http_server_options how;
    how.limits.body = 0;
    http_server server(
        net_, std::move(listeners_),
        [this](http_request& request) { return chat::answer_knock(net_, links_, request); }, how);
    co_await server.run();
}

inline void chat_node::tell(chat_node_event what) {
    // A queue that nobody but us holds has no reader any more; the first is always ours.
    std::erase_if(events_, [this](const auto& one) { return one != events_.front() && one.use_count() == 1; });
    for (const auto& one : events_) one->push(what);
}

inline std::shared_ptr<chat_event_queue> chat_node::subscribe() {
    return events_.emplace_back(std::make_shared<chat_event_queue>(net_.executor()));
}

// ---- Machinery: links

inline void chat_node::linked(const std::shared_ptr<chat::link>& to) {
    const identity_key& peer = to->peer();
    exchange_.begin_anew(peer);
    if (const auto at = to->listens_at()) directory_.met(peer, *at);
    const std::string name = directory_.name_of(peer);
    tell(chat_event::peer_connected{name, peer, to->address(), directory_.is_verified(name)});
    to->post(presence_);
    const conversation_id direct = direct_conversation(self_.key(), peer);
    if (archive_.find(direct) != nullptr || archive_.exists(direct)) {
        chat::conversation& in = direct_with(peer);
        exchange_.tell(*to, in);
        const auto seen = in.seen.find(peer);
        if (seen != in.seen.end()) to->post(chat::read{in.id, {{peer, seen->second}}});
    }
    rooms_.linked(*to);
    files_.linked(*to);
}

/// With whom we ever spoke, a link is kept while both are there.
inline void chat_node::appeared(const identity_key& who) {
    if (archive_.exists(direct_conversation(self_.key(), who))) links_.want(who);
    links_.try_again(who);
}

inline void chat_node::unlinked(const std::shared_ptr<chat::link>& to, std::error_code why) {
    tell(chat_event::peer_disconnected{directory_.name_of(to->peer()), why});
    exchange_.begin_anew(to->peer());
    // Whoever dialled dials again; if that was the other side and it is gone, we look for it where something waits.
    const bool known = directory_.key_of(directory_.name_of(to->peer())) == to->peer();
    if (known && archive_.find(direct_conversation(self_.key(), to->peer())) != nullptr) links_.want(to->peer());
}

inline asio::awaitable<void> chat_node::heard(std::shared_ptr<chat::link> from, chat::message what) {
    // The other side may begin a conversation of two; who it is with is beyond doubt.
    const conversation_id direct = direct_conversation(self_.key(), from->peer());
    const auto* const has = std::get_if<chat::have>(&what);
    if (has != nullptr && has->conversation == direct && archive_.find(direct) == nullptr) {
        // Each takes a file; a stranger who has said nothing needs none.
        if (has->heads.empty()) co_return;
        if (archive_.all().size() >= most_conversations) raise(errc::queue_full, "too many conversations");
        direct_with(from->peer());
    }
    if (auto* const list = std::get_if<chat::entries>(&what)) {
        co_await exchange_.heard(from, std::move(*list));
    } else if (auto* const sealed = std::get_if<chat::room_message>(&what)) {
        co_await exchange_.heard(from, std::move(*sealed));
    } else {
        heard_small(from, what);
    }
}

inline void chat_node::heard_small(const std::shared_ptr<chat::link>& from, const chat::message& what) {
    const std::string who = directory_.name_of(from->peer());
    if (const auto* const m = std::get_if<chat::have>(&what)) exchange_.heard(*from, *m);
    if (const auto* const m = std::get_if<chat::received>(&what)) exchange_.heard(*from, *m);
    if (const auto* const m = std::get_if<chat::read>(&what)) exchange_.heard(*from, *m);
    if (const auto* const m = std::get_if<chat::room_key>(&what)) exchange_.heard(*from, *m);
    if (const auto* const m = std::get_if<chat::history_request>(&what)) exchange_.heard(*from, *m);
    if (const auto* const m = std::get_if<chat::ping>(&what)) from->post(chat::pong{m->id});
    if (const auto* const m = std::get_if<chat::typing>(&what)) {
        const chat::conversation* const in = archive_.find(m->conversation);
        if (in != nullptr && in->has_member(from->peer())) tell(chat_event::typing{in->name, who, m->on});
    }
    if (const auto* const m = std::get_if<chat::presence>(&what)) {
        from->presence = m->state == chat::presence_state::away ? "away" : "online";
        if (!m->text.empty()) from->presence = terminal_text(m->text);
        tell(chat_event::presence{who, from->presence});
    }
    if (const auto* const m = std::get_if<chat::file_accept>(&what)) files_.heard(from, *m);
    if (const auto* const m = std::get_if<chat::file_progress>(&what)) files_.heard(from, *m);
    if (const auto* const m = std::get_if<chat::file_refuse>(&what)) files_.heard(from, *m);
}

// ---- Machinery: conversations

inline chat::conversation& chat_node::direct_with(const identity_key& peer) {
    chat::conversation& in = archive_.open(directory_.name_of(peer), direct_conversation(self_.key(), peer), peer);
    in.name = directory_.name_of(peer);  // it may have come again after forget()
    return in;
}

inline asio::awaitable<chat::conversation*> chat_node::conversation_with(std::string to) {
    if (to.starts_with('#')) {
        const std::string room = chat::rooms::checked(to);
        if (!rooms_.is_in(room)) raise(errc::unknown_peer, "not in " + room);
        co_return &rooms_.open(room);
    }
    const identity_key peer = co_await directory_.resolve(to);
    chat::conversation& in = direct_with(peer);
    links_.want(peer);
    const auto link = links_.find(peer);
    if (link && !link->views[in.id].told) exchange_.tell(*link, in);
    co_return &in;
}

inline chat::conversation* chat_node::known_conversation(const std::string& with) const {
    for (const auto& [id, one] : archive_.all())
        if (one->name == with) return one.get();
    return nullptr;
}

inline std::vector<std::shared_ptr<chat::link>> chat_node::linked_members(const chat::conversation& in) const {
    std::vector<std::shared_ptr<chat::link>> out;
    for (const auto& [key, one] : links_.all())
        if (in.has_member(key)) out.push_back(one);
    return out;
}

inline asio::awaitable<void> chat_node::connect(std::string name) {
    const identity_key peer = co_await directory_.resolve(name);
    co_await links_.connect(peer);
}

inline asio::awaitable<message_id> chat_node::send(std::string to, std::string text) {
    chat::conversation* const in = co_await conversation_with(std::move(to));
    chat::entry_body body = chat::text{std::move(text)};
    const auto id = co_await exchange_.say(*in, std::move(body));
    co_return id;
}

inline asio::awaitable<void> chat_node::join(std::string room) { co_await rooms_.join(chat::rooms::checked(room)); }

inline asio::awaitable<void> chat_node::leave(std::string room) { co_await rooms_.leave(chat::rooms::checked(room)); }

inline asio::awaitable<std::vector<shown_message>> chat_node::history(std::string with, std::size_t limit,
                                                                      std::optional<message_id> before) {
    // Reading is no reason to ask the tracker or to dial, and what was said with somebody forgotten can still be read.
    chat::conversation* in = with.starts_with('#') ? nullptr : known_conversation(with);
    if (in == nullptr) in = co_await conversation_with(std::move(with));
    auto out = co_await chat::read_history(archive_, exchange_, *in, limit, before);
    co_return out;
}

inline void chat_node::typing(const std::string& to, bool on) {
    const chat::conversation* const in = known_conversation(to);
    if (in == nullptr) return;
    for (const auto& one : linked_members(*in)) one->post(chat::typing{in->id, on});
}

inline void chat_node::set_presence(std::string state) {
    presence_.state = state == "online" ? chat::presence_state::online : chat::presence_state::away;
    presence_.text = state == "online" || state == "away" ? "" : state.substr(0, chat::limits::words);
    for (const auto& [key, one] : links_.all()) one->post(presence_);
}

inline void chat_node::mark_read(const std::string& with) {
    if (chat::conversation* const in = known_conversation(with)) chat::mark_seen(*in, self_.key(), links_);
}

inline std::size_t chat_node::unread(const std::string& with) const {
    const chat::conversation* const in = known_conversation(with);
    return in == nullptr ? 0 : chat::unread_in(*in, self_.key());
}

// ---- Machinery: files, and what is asked about

inline asio::awaitable<message_id> chat_node::send_file(std::string to, std::string path) {
    chat::conversation* const in = co_await conversation_with(std::move(to));
    const auto id = co_await files_.offer(*in, std::move(path));
    co_return id;
}

inline asio::awaitable<void> chat_node::accept_file(std::string with, message_id offer, std::string directory) {
    chat::conversation* const in = co_await conversation_with(std::move(with));
    co_await files_.accept(*in, offer, std::move(directory));
}

inline void chat_node::refuse_file(const std::string& with, const message_id& offer) {
    if (chat::conversation* const in = known_conversation(with)) files_.refuse(*in, offer);
}

inline std::vector<chat_peer> chat_node::peers() const {
    std::vector<chat_peer> out = directory_.list();
    for (chat_peer& one : out) {
        const auto link = one.key ? links_.find(*one.key) : nullptr;
        one.connected = link != nullptr;
        one.online = one.online || one.connected;
        if (link) one.presence = link->presence;
    }
    return out;
}

inline std::vector<chat_room_info> chat_node::rooms() const {
    std::vector<chat_room_info> out;
    for (const std::string& name : rooms_.names()) {
        const chat::conversation* const in = known_conversation(name);
        if (in == nullptr) continue;
        chat_room_info one{name, {}, linked_members(*in).size()};
        for (const room_member& member : in->members.joined())
            one.members.push_back(directory_.name_of(member.key, member.name));
        out.push_back(std::move(one));
    }
    return out;
}

inline std::vector<std::string> chat_node::conversations() const {
    std::vector<std::string> out;
    for (const auto& [id, one] : archive_.all())
        if (one->other || rooms_.is_in(one->name)) out.push_back(one->name);
    std::sort(out.begin(), out.end());
    return out;
}

inline std::string chat_node::safety_number(const std::string& name) const {
    const auto other = directory_.key_of(name);
    if (!other) raise(errc::unknown_peer, name);
    return cohort::safety_number(self_.key(), *other);
}

inline void chat_node::forget(const std::string& name) {
    const auto other = directory_.key_of(name);
    directory_.forget(name);
    if (!other) return;
    links_.forget(*other);
    // What was said with that key stays, and is not the new one's.
    chat::conversation* const in = archive_.find(direct_conversation(self_.key(), *other));
    if (in != nullptr) in->name = directory_.name_of(*other);
}

}  // namespace cohort
