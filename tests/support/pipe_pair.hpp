// Two ends of a pipe of messages in memory. What goes through can be looked at, altered, held back and counted.
#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <cohort/net/message_pipe.hpp>
#include <cohort/net/wakeup.hpp>

namespace cohort::test {

class memory_pipe final : public message_pipe {
public:
    explicit memory_pipe(const asio::any_io_executor& executor) : changed_(executor) {}
    ~memory_pipe() override {
        if (other_ != nullptr) other_->other_ = nullptr;
    }

    void connect(memory_pipe& other) {
        other_ = &other;
        other.other_ = this;
    }

    /// Puts a message in as if the other end had sent it.
    void put(byte_vector message) {
        inbox_.push_back(std::move(message));
        changed_.notify();
    }
    /// The next receive() after all messages fails as at the end of a connection.
    void put_end() {
        ended_ = true;
        changed_.notify();
    }
    /// The other end's sends wait while so many messages have not been received.
    void set_capacity(std::size_t messages) { capacity_ = messages; }

    asio::awaitable<void> send(byte_view message) override {
        while (!closed_ && other_ != nullptr && other_->inbox_.size() >= other_->capacity_)
            co_await other_->changed_.wait();
        if (closed_) throw_cancelled();
        if (other_ == nullptr || other_->closed_) raise(errc::connection_closed);
        sent.emplace_back(message.begin(), message.end());
        byte_vector copy = sent.back();
        if (alter) alter(copy);
        if (!drop) other_->put(std::move(copy));
    }

    asio::awaitable<byte_vector> receive() override {
        while (inbox_.empty()) {
            if (closed_) throw_cancelled();
            if (ended_) raise(errc::connection_closed);
            co_await changed_.wait();
        }
        byte_vector out = std::move(inbox_.front());
        inbox_.pop_front();
        changed_.notify();
        co_return out;
    }

    void close() noexcept override {
        closed_ = true;
        changed_.notify();
        if (other_ != nullptr) other_->put_end();
    }
    bool closed() const { return closed_; }
    std::size_t waiting() const { return inbox_.size(); }
    endpoint remote_endpoint() const override { return {ip_address::loopback_v4(), 7}; }

    std::vector<byte_vector> sent;            ///< as it was handed to send()
    std::function<void(byte_vector&)> alter;  ///< what becomes of it
    bool drop = false;                        ///< nothing arrives

private:
    memory_pipe* other_ = nullptr;
    std::deque<byte_vector> inbox_;
    std::size_t capacity_ = std::numeric_limits<std::size_t>::max();
    wakeup changed_;
    bool closed_ = false;
    bool ended_ = false;
};

struct pipe_pair {
    explicit pipe_pair(const asio::any_io_executor& executor)
        : first(std::make_unique<memory_pipe>(executor)), second(std::make_unique<memory_pipe>(executor)) {
        first->connect(*second);
    }

    std::unique_ptr<memory_pipe> first;
    std::unique_ptr<memory_pipe> second;
};

}  // namespace cohort::test
