// What the web room needs of a chat node, which is a role above it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/events.hpp>
#include <cohort/net/asio.hpp>

namespace cohort {

/// Everything completes and throws as chat_node says.
class chat_face {
public:
    virtual ~chat_face() = default;

    virtual const std::string& name() const = 0;
    virtual const identity_key& key() const = 0;
    virtual std::uint16_t port() const = 0;
    virtual const std::string& tracker_url() const = 0;
    virtual const std::string& files_folder() const = 0;  ///< for files that are accepted without naming another

    virtual asio::awaitable<chat_node_event> receive() = 0;
    virtual asio::awaitable<void> connect(std::string name) = 0;
    virtual asio::awaitable<message_id> send(std::string to, std::string text) = 0;
    virtual asio::awaitable<void> join(std::string room) = 0;
    virtual asio::awaitable<void> leave(std::string room) = 0;
    virtual asio::awaitable<std::vector<shown_message>> history(std::string with, std::size_t limit,
                                                                std::optional<message_id> before) = 0;
    virtual asio::awaitable<message_id> send_file(std::string to, std::string path) = 0;
    virtual asio::awaitable<void> accept_file(std::string with, message_id offer, std::string directory) = 0;

    virtual void refuse_file(const std::string& with, const message_id& offer) = 0;
    virtual void typing(const std::string& to, bool on) = 0;
    virtual void mark_read(const std::string& with) = 0;
    virtual std::vector<chat_peer> peers() const = 0;
    virtual std::vector<chat_room_info> rooms() const = 0;
    virtual std::vector<std::string> conversations() const = 0;
    virtual std::string safety_number(const std::string& name) const = 0;
};

/// How a node came about.
struct chat_origin {
    std::string tracker_url;
    std::string files_folder;
};

/// The face of a chat_node. It has its own queue of events from its construction on.
template <class Node>
class chat_face_of final : public chat_face {
public:
    chat_face_of(std::shared_ptr<Node> node, chat_origin origin)
        : node_(std::move(node)), events_(node_->subscribe()), origin_(std::move(origin)) {}

    const std::string& name() const override { return node_->name(); }
    const identity_key& key() const override { return node_->key(); }
    std::uint16_t port() const override { return node_->port(); }
    const std::string& tracker_url() const override { return origin_.tracker_url; }
    const std::string& files_folder() const override { return origin_.files_folder; }

    asio::awaitable<chat_node_event> receive() override { return events_->next(); }
    asio::awaitable<void> connect(std::string name) override { return node_->connect(std::move(name)); }
    asio::awaitable<message_id> send(std::string to, std::string text) override {
        return node_->send(std::move(to), std::move(text));
    }
    asio::awaitable<void> join(std::string room) override { return node_->join(std::move(room)); }
    asio::awaitable<void> leave(std::string room) override { return node_->leave(std::move(room)); }
    asio::awaitable<std::vector<shown_message>> history(std::string with, std::size_t limit,
                                                        std::optional<message_id> before) override {
        return node_->history(std::move(with), limit, before);
    }
    asio::awaitable<message_id> send_file(std::string to, std::string path) override {
        return node_->send_file(std::move(to), std::move(path));
    }
    asio::awaitable<void> accept_file(std::string with, message_id offer, std::string directory) override {
        return node_->accept_file(std::move(with), offer, std::move(directory));
    }

    void refuse_file(const std::string& with, const message_id& offer) override { node_->refuse_file(with, offer); }
    void typing(const std::string& to, bool on) override { node_->typing(to, on); }
    void mark_read(const std::string& with) override { node_->mark_read(with); }
    std::vector<chat_peer> peers() const override { return node_->peers(); }
    std::vector<chat_room_info> rooms() const override { return node_->rooms(); }
    std::vector<std::string> conversations() const override { return node_->conversations(); }
    std::string safety_number(const std::string& name) const override { return node_->safety_number(name); }

private:
    std::shared_ptr<Node> node_;
    decltype(std::declval<Node&>().subscribe()) events_;
    chat_origin origin_;
};

}  // namespace cohort
