// Files in a conversation. One that is offered becomes a private torrent, which its author seeds and whoever accepts
// fetches, with the swarm engine of the library, over connections that are encrypted like the links.
#pragma once

#include <algorithm>
#include <bit>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/exchange.hpp>
#include <cohort/net/noise_network.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/storage/make_torrent.hpp>
#include <cohort/swarm/run_session.hpp>

namespace cohort::chat {

/// One thread only, but for hashing; what it is given outlives it, its tasks run in run().
class files {
public:
    struct handlers {
        std::function<void(chat_node_event)> on_event;
        std::function<bool(const identity_key&)> allowed;  ///< whether somebody may connect for a file
    };

    files(network& net, const identity& self, archive& kept, exchange& talk, links& linked,
          std::vector<ip_address> addresses, handlers h)
        : net_(net),
          self_(self),
          archive_(kept),
          exchange_(talk),
          links_(linked),
          handlers_(std::move(h)),
          addresses_(std::move(addresses)),
          secure_(net, self, handlers_.allowed),
          tasks_(net.executor()) {}

    /// Until cancelled. Downloads that were accepted in an earlier run go on.
    asio::awaitable<void> run() {
        tasks_.spawn(stay());
        for (const auto& [id, in] : archive_.all())
            for (const auto& [offer, state] : in->offers)
                if (!state.settled && !state.path.empty() && offer.author != self_.key())
                    tasks_.spawn(fetch(*in, offer));
        co_await tasks_.join();
    }

    /// Hashes the file or folder and offers it. Completes when the offer is on disk.
    asio::awaitable<message_id> offer(conversation& in, std::string path);

    /// Completes when it is on disk that we want the file; then it is fetched. Throws errc::unknown_peer if there is no
    /// such offer.
    asio::awaitable<void> accept(conversation& in, message_id id, std::string directory);

    /// The same without waiting, for offers that are taken unasked. Failures become events.
    void accept_later(conversation& in, const message_id& id, const std::string& directory) {
        tasks_.spawn(accept_unasked(in, id, directory));
    }

    void refuse(conversation& in, const message_id& id) {
        in.offers[id].settled = true;
        in.queue(mark_record(record_kind::settled, id.author, id.seq));
        if (const auto to = links_.find(id.author)) to->post(file_refuse{{in.id, id.author, id.seq}, ""});
    }

    /// A link came about: downloads from there go on.
    void linked(link& to) {
        for (const auto& [id, in] : archive_.all())
            for (const auto& [offer, state] : in->offers)
                if (offer.author == to.peer() && !state.settled && session_ && active_.contains({id, offer}))
                    to.post(file_accept{{id, offer.author, offer.seq}, session_->port()});
    }

    void heard(const std::shared_ptr<link>& from, const file_accept& what);
    void heard(const std::shared_ptr<link>& from, const file_progress& what);
    void heard(const std::shared_ptr<link>& from, const file_refuse& what);

private:
    using offer_key = std::pair<conversation_id, message_id>;

    /// Something that one task does at a time.
    struct claim {
        claim(std::set<std::pair<conversation_id, message_id>>& all, const offer_key& key)
            : taken(all), what(key), ours(all.insert(key).second) {}
        ~claim() {
            if (ours) taken.erase(what);
        }
        claim(const claim&) = delete;
        claim& operator=(const claim&) = delete;
        std::set<offer_key>& taken;
        offer_key what;
        bool ours;
    };

    asio::awaitable<void> stay() { co_await net_.sleep_until(time_point::max()); }

    session& running();
    asio::awaitable<void> run_torrents(session& all) { co_await run_session(all, stay()); }
    metainfo hashed(const std::string& path);
    asio::awaitable<std::optional<file_offer>> offer_of(conversation& in, message_id id);
    asio::awaitable<void> accept_unasked(conversation& in, message_id id, std::string directory);
    asio::awaitable<void> seed(conversation& in, message_id id, identity_key reader, endpoint to);
    asio::awaitable<void> seed_while_it_lasts(conversation& in, message_id id, identity_key reader, endpoint to);
    void invite(const conversation& in, const message_id& id, torrent& it, const identity_key& reader, endpoint to);
    asio::awaitable<void> fetch(conversation& in, message_id id);
    asio::awaitable<void> fetch_all(conversation& in, message_id id, file_offer what, std::string directory);
    asio::awaitable<void> tell_progress(conversation& in, message_id id, std::shared_ptr<torrent> it);
    static std::string move_into(const std::string& from, const std::string& directory, const std::string& name);

    network& net_;
    const identity& self_;
    archive& archive_;
    exchange& exchange_;
    links& links_;
    handlers handlers_;
    std::vector<ip_address> addresses_;
    real_disk disk_;
    noise_network secure_;
    std::unique_ptr<session> session_;  // none before the first file
    worker_pool hashing_{1};
    std::map<offer_key, std::shared_ptr<torrent>> active_;
    std::set<offer_key> busy_;  // fetched, or about to be seeded
    task_group tasks_;
};

// ---- Machinery

inline session& files::running() {
    if (!session_) {
        session_options how;
        how.addresses = addresses_;
        how.port = 0;
        session_ = std::make_unique<session>(secure_, how);
        tasks_.spawn(run_torrents(*session_));
    }
    return *session_;
}

/// A torrent whose info dictionary fits into an entry: 2,500 pieces of 20 bytes, and names.
inline metainfo files::hashed(const std::string& path) {
    constexpr std::uint64_t most_pieces = 2500;
    constexpr std::uint32_t least_length = 256 * 1024;
    make_torrent_options how;
    how.is_private = true;
    const std::uint64_t size = scan_content(path).total_size;
    const std::uint64_t fits = std::bit_ceil(std::max<std::uint64_t>(1, size / most_pieces));
    how.piece_length = std::max(least_length, static_cast<std::uint32_t>(std::min<std::uint64_t>(fits, 1U << 29)));
    worker_pool one(1);
    auto out = make_torrent(disk_, path, one, how);
    if (out->info.size() > max_file_info) raise(errc::chat_too_long, path + " has too many files for one offer");
    return std::move(*out);
}

inline asio::awaitable<message_id> files::offer(conversation& in, std::string path) {
    path = std::filesystem::absolute(path).lexically_normal().string();
    const auto hash = [this, path] { return hashed(path); };
    metainfo info = co_await run_job(hashing_, 0, hash);
    file_offer out;
    out.name = info.name;
    out.size = info.total_size;
    out.hash = info.hash;
    out.info = std::move(info.info);
    const std::uint64_t seq = in.timeline.next_of(self_.key()).seq;
    in.offers[{self_.key(), seq}].path = path;
    in.queue(mark_record(record_kind::offered, self_.key(), seq, path));
    entry_body body = std::move(out);
    const auto id = co_await exchange_.say(in, std::move(body));
    co_return id;
}

inline asio::awaitable<std::optional<file_offer>> files::offer_of(conversation& in, message_id id) {
    const auto place = in.timeline.find(id.author, id.seq);
    if (!place) co_return std::nullopt;
    const signed_entry entry = co_await archive_.entry_at(in, place->position);
    const auto* const found = std::get_if<file_offer>(&entry.entry().body);
    if (found == nullptr || found->info.empty()) co_return std::nullopt;
    co_return *found;
}

inline asio::awaitable<void> files::accept(conversation& in, message_id id, std::string directory) {
    const auto what = co_await offer_of(in, id);
    if (!what || id.author == self_.key()) raise(errc::unknown_peer, "no such offer");
    offer_state& state = in.offers[id];
    state.path = std::filesystem::absolute(directory).lexically_normal().string();
    state.settled = false;
    const std::uint64_t position = in.next_position;
    in.queue(mark_record(record_kind::accepted, id.author, id.seq, state.path));
    co_await archive_.stored(in, position);
    tasks_.spawn(fetch(in, id));
}

inline asio::awaitable<void> files::accept_unasked(conversation& in, message_id id, std::string directory) {
    std::string wrong;
    try {
        co_await accept(in, id, directory);
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        wrong = error.what();
    }
    if (!wrong.empty()) handlers_.on_event(chat_event::file_failed{in.name, id, wrong});
}

// ---- Machinery: the author's side

inline void files::heard(const std::shared_ptr<link>& from, const file_accept& what) {
    conversation* const in = archive_.find(what.offer.conversation);
    if (in == nullptr || !in->has_member(from->peer())) return;
    const message_id id{what.offer.author, what.offer.seq};
    const endpoint at{from->address().address, what.port};
    if (id.author == self_.key()) {
        const auto running = active_.find({in->id, id});
        if (running != active_.end()) {
            invite(*in, id, *running->second, from->peer(), at);
        } else if (in->offers.contains(id) && !busy_.contains({in->id, id})) {
            tasks_.spawn(seed(*in, id, from->peer(), at));
        }
        return;
    }
    // The author's answer to ours: where it takes peers.
    const auto found = active_.find({in->id, id});
    if (found != active_.end() && id.author == from->peer() && what.port != 0) found->second->add_peer(at);
}

/// The reader comes to the torrent, or is told where the torrent is.
inline void files::invite(const conversation& in, const message_id& id, torrent& it, const identity_key& reader,
                          endpoint to) {
    if (to.port != 0) it.add_peer(to);
    if (const auto one = links_.find(reader)) one->post(file_accept{{in.id, id.author, id.seq}, session_->port()});
}

inline asio::awaitable<void> files::seed(conversation& in, message_id id, identity_key reader, endpoint to) {
    const offer_key key{in.id, id};
    const claim ours(busy_, key);
    if (!ours.ours) co_return;
    std::string wrong;
    try {
        co_await seed_while_it_lasts(in, id, reader, to);
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        // The file is gone, or not what it was when it was offered.
        wrong = error.what();
    }
    const auto failed = active_.find(key);
    if (failed != active_.end()) {
        const info_hash hash = failed->second->info().hash;
        active_.erase(failed);
        co_await session_->remove(hash);
    }
    if (!wrong.empty()) handlers_.on_event(chat_event::file_failed{in.name, id, wrong});
}

inline asio::awaitable<void> files::seed_while_it_lasts(conversation& in, message_id id, identity_key reader,
                                                        endpoint to) {
    const auto what = co_await offer_of(in, id);
    std::error_code ec;
    auto info = what ? parse_info(what->info, ec) : std::nullopt;
    if (!info) co_return;
    torrent_options how;
    how.content.path = in.offers[id].path;
    how.content.place = content_place::itself;
    how.content.read_only = true;
    session& all = running();
    auto it = all.find(info->hash);
    if (!it) it = all.add(std::move(*info), how);
    active_[{in.id, id}] = it;
    invite(in, id, *it, reader, to);
    co_await it->ended();
}

inline void files::heard(const std::shared_ptr<link>& from, const file_progress& what) {
    conversation* const in = archive_.find(what.offer.conversation);
    const message_id id{what.offer.author, what.offer.seq};
    if (in == nullptr || id.author != self_.key() || !in->has_member(from->peer())) return;
    const auto found = active_.find({in->id, id});
    if (found == active_.end()) return;
    const torrent_status status = found->second->status();
    const std::uint64_t done = std::min(what.bytes, status.total);
    handlers_.on_event(chat_event::file_progress{in->name, id, done, status.total, status.upload_rate});
    if (done == status.total) handlers_.on_event(chat_event::file_done{in->name, id, in->offers[id].path});
}

inline void files::heard(const std::shared_ptr<link>& from, const file_refuse& what) {
    conversation* const in = archive_.find(what.offer.conversation);
    const message_id id{what.offer.author, what.offer.seq};
    if (in == nullptr || id.author != self_.key() || !in->offers.contains(id) || !in->has_member(from->peer())) return;
    handlers_.on_event(chat_event::file_failed{in->name, id, "the other side does not want it"});
}

// ---- Machinery: the side that fetches

inline asio::awaitable<void> files::fetch(conversation& in, message_id id) {
    const claim ours(busy_, {in.id, id});
    if (!ours.ours) co_return;
    std::string wrong;
    try {
        auto what = co_await offer_of(in, id);
        if (!what) raise(errc::unknown_peer, "no such offer");
        const std::string directory = in.offers[id].path;
        co_await fetch_all(in, id, std::move(*what), directory);
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        wrong = error.what();
    }
    active_.erase({in.id, id});
    if (!wrong.empty()) handlers_.on_event(chat_event::file_failed{in.name, id, wrong});
}

/// Downloads into a folder of its own, so that nothing which is there already is ever written to.
inline asio::awaitable<void> files::fetch_all(conversation& in, message_id id, file_offer what, std::string directory) {
    std::error_code ec;
    auto info = parse_info(what.info, ec);
    // What is fetched is what was shown when the user said yes.
    const bool same = info && info->hash == what.hash && info->total_size == what.size &&
                      info->name == what.safe_name() && info->is_private;
    if (!same) raise(errc::metainfo_invalid, what.safe_name());
    const std::string name = info->name;
    const info_hash hash = info->hash;
    torrent_options how;
    how.content.path = directory + "/.cohort-" + hash.hex();
    session& all = running();
    const auto it = all.add(std::move(*info), how);
    active_[{in.id, id}] = it;
    if (const auto author = links_.find(id.author)) author->post(file_accept{{in.id, id.author, id.seq}, all.port()});
    std::exception_ptr failure;
    try {
        co_await beside(tell_progress(in, id, it), it->completed());
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure) {
        if (!is_cancellation(failure)) co_await all.remove(hash);
        std::rethrow_exception(failure);
    }
    co_await all.remove(hash);
    const std::string temporary = how.content.path;
    const auto move = [temporary, directory, name] { return move_into(temporary, directory, name); };
    const std::string path = co_await run_job(hashing_, 0, move);
    in.offers[id].settled = true;
    in.queue(mark_record(record_kind::settled, id.author, id.seq));
    if (const auto author = links_.find(id.author)) author->post(file_progress{{in.id, id.author, id.seq}, what.size});
    handlers_.on_event(chat_event::file_progress{in.name, id, what.size, what.size, 0});
    handlers_.on_event(chat_event::file_done{in.name, id, path});
}

inline asio::awaitable<void> files::tell_progress(conversation& in, message_id id, std::shared_ptr<torrent> it) {
    std::uint64_t told = 0;
    for (;;) {
        co_await net_.sleep_for(500ms);
        const torrent_status now = it->status();
        if (now.have == told) continue;
        told = now.have;
        handlers_.on_event(chat_event::file_progress{in.name, id, now.have, now.total, now.download_rate});
        if (const auto author = links_.find(id.author))
            author->post(file_progress{{in.id, id.author, id.seq}, now.have});
    }
}

/// Gives the download its name; where that is taken another one, "photo (2).jpg".
inline std::string files::move_into(const std::string& from, const std::string& directory, const std::string& name) {
    const std::filesystem::path folder(directory), wanted(name);
    std::filesystem::path to = folder / wanted;
    for (int number = 2; std::filesystem::exists(std::filesystem::symlink_status(to)); ++number)
        to = folder / (wanted.stem().string() + " (" + std::to_string(number) + ")" + wanted.extension().string());
    std::filesystem::rename(std::filesystem::path(from) / wanted, to);
    std::error_code ignored;  // whatever else is in it is not ours
    std::filesystem::remove(from, ignored);
    return to.string();
}

}  // namespace cohort::chat
