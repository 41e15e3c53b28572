// The home of a chat node on disk: one encrypted log for each conversation. Writes of one moment share one sync.
#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/conversation.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/swarm/run_job.hpp>

namespace cohort::chat {

struct archive_options {
    duration retry = 2s;                              ///< after the disk refused to write
    std::size_t pending_max = 10'000;                 ///< records that wait for the disk before peers are held back,
    std::size_t pending_bytes_max = 8 * 1024 * 1024;  ///< and their bytes
    std::size_t batch_max = 4 * 1024 * 1024;          ///< bytes of one write
};

/// One thread only. What it is given outlives it.
class archive {
public:
    struct handlers {
        /// Records of a conversation are on disk now.
        std::function<void(conversation&, std::vector<record>&)> on_stored;
        /// The disk refuses: nothing is lost, it is tried again.
        std::function<void(const conversation&, const std::system_error&)> on_trouble;
    };

    archive(network& net, disk& files, job_runner& pool, const identity& self, std::string home, handlers h,
            archive_options options = {})
        : net_(net),
          disk_(files),
          pool_(pool),
          self_(self),
          folder_(std::move(home) + "/conversations"),
          handlers_(std::move(h)),
          options_(options),
          tasks_(net.executor()) {
        disk_.create_directories({folder_, {}});
    }

    /// Writes until cancelled.
    asio::awaitable<void> run() {
        running_ = true;
        for (const auto& [id, one] : open_) tasks_.spawn(keep_writing(*one));
        tasks_.spawn(stay());
        std::exception_ptr end;
        try {
            co_await tasks_.join();
        } catch (...) {
            end = std::current_exception();
        }
        running_ = false;
        stopped_ = true;
        for (const auto& [id, one] : open_) one->changed.notify();
        if (end) std::rethrow_exception(end);
    }

    conversation* find(const conversation_id& id) const {
        const auto found = open_.find(id);
        return found == open_.end() ? nullptr : found->second.get();
    }
    const std::map<conversation_id, std::unique_ptr<conversation>>& all() const { return open_; }

    /// The conversation, from its log if there is one, which is read here and now. Throws errc::log_damaged,
    /// device_or_resource_busy if another program has it, errc::stopped once run() has ended.
    conversation& open(const std::string& name, const conversation_id& id, std::optional<identity_key> other) {
        if (conversation* const known = find(id)) return *known;
        if (stopped_) raise(errc::stopped);
        auto one = std::make_unique<conversation>(net_.executor(), name, id, other);
        const secret32 key = self_.storage_key("log " + id.hex());
        conversation& it = *one;
        it.log = std::make_unique<chat_log>(
            disk_, folder_, file_name(id), key,
            [&it](std::uint64_t index, byte_view payload) { it.replay(index, payload); }, secrets_of(net_));
        it.timeline.stored(it.next_position);
        it.sent = it.timeline.next_of(self_.key()).seq - 1;
        open_.emplace(id, std::move(one));
        if (running_) tasks_.spawn(keep_writing(it));
        return it;
    }

    /// Whether there is something of it on the disk.
    bool exists(const conversation_id& id) { return disk_.stat({folder_, file_name(id)}).has_value(); }

    /// Completes when the record at that position is on disk. Throws errc::stopped if run() ends before.
    asio::awaitable<void> stored(conversation& in, std::uint64_t position) {
        while (in.timeline.stored() <= position) {
            if (stopped_) raise(errc::stopped);
            co_await in.changed.wait();
        }
    }

    /// Completes when the conversation has room for more. Throws errc::stopped if run() ends before.
    asio::awaitable<void> room(conversation& in) {
        while (in.pending.size() >= options_.pending_max || in.pending_bytes >= options_.pending_bytes_max) {
            if (stopped_) raise(errc::stopped);
            co_await in.changed.wait();
        }
    }

    /// Completes with the entry at a position, from memory or the log. Throws errc::log_damaged.
    asio::awaitable<signed_entry> entry_at(conversation& in, std::uint64_t position) {
        if (const signed_entry* const known = in.recent(position)) co_return *known;
        co_await stored(in, position);
        chat_log& log = *in.log;
        const auto read = [&log, position] { return log.read(position); };
        const byte_vector bytes = co_await run_job(pool_, lane_of(in), read);
        std::error_code ec;
        std::optional<signed_entry> out;
        if (!bytes.empty()) out = signed_entry::parse(byte_view(bytes).subspan(1), ec);
        if (!out) raise(errc::log_damaged, in.name);
        co_return std::move(*out);
    }

private:
    static std::string file_name(const conversation_id& id) { return id.hex() + ".log"; }
    static std::uint32_t lane_of(const conversation& in) { return load_be<std::uint32_t>(in.id.bytes.data()); }

    asio::awaitable<void> stay() { co_await net_.sleep_until(time_point::max()); }

    asio::awaitable<void> keep_writing(conversation& in) {
        for (;;) {
            while (in.pending.empty()) co_await in.filled.wait();
            std::vector<record> batch = take(in);
            std::vector<byte_vector> bytes;
            std::vector<byte_view> views;
            for (const record& one : batch) bytes.push_back(one.bytes());
            views.assign(bytes.begin(), bytes.end());
            const std::uint64_t end = in.next_position - in.pending.size();
            co_await write(in, views);
            in.timeline.stored(end);
            handlers_.on_stored(in, batch);
            in.changed.notify();
        }
    }

    asio::awaitable<void> write(conversation& in, const std::vector<byte_view>& records) {
        chat_log& log = *in.log;
        const auto append = [&log, &records] { log.append(records); };
        for (;;) {
            bool refused = false;
            try {
                co_await run_job(pool_, lane_of(in), append);
            } catch (const std::system_error& error) {
                if (is_cancellation(error.code())) throw;
                handlers_.on_trouble(in, error);
                refused = true;
            }
            if (!refused) co_return;
            co_await net_.sleep_for(options_.retry);
        }
    }

    std::vector<record> take(conversation& in) const {
        std::vector<record> out;
        std::size_t size = 0;
        while (!in.pending.empty() && size < options_.batch_max) {
            const record& next = in.pending.front();
            size += next.size();
            out.push_back(std::move(in.pending.front()));
            in.pending.pop_front();
        }
        in.pending_bytes -= size;
        return out;
    }

    network& net_;
    disk& disk_;
    job_runner& pool_;
    const identity& self_;
    std::string folder_;
    handlers handlers_;
    archive_options options_;
    std::map<conversation_id, std::unique_ptr<conversation>> open_;
    bool running_ = false;
    bool stopped_ = false;
    task_group tasks_;
};

}  // namespace cohort::chat
