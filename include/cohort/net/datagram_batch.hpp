// Datagrams that are received, or sent, together: a system call for many.
#pragma once

#include <cstddef>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endpoint.hpp>

namespace cohort {

/// Memory for a number of datagrams with their addresses, taken once and used again.
class datagram_batch {
public:
    /// So many datagrams of so many bytes at most.
    datagram_batch(std::size_t most, std::size_t longest) : longest_(longest), memory_(most * longest), items_(most) {}

    std::size_t size() const { return size_; }
    std::size_t capacity() const { return items_.size(); }
    const endpoint& address(std::size_t i) const { return items_[i].address; }
    byte_view bytes(std::size_t i) const { return byte_view(memory_).subspan(i * longest_, items_[i].length); }

    /// Where the bytes of the i-th are to be put.
    byte_span room(std::size_t i) { return byte_span(memory_).subspan(i * longest_, longest_); }
    byte_span room() { return room(size_); }
    /// Adds the datagram whose bytes, so many, were put into room(). There must be some left.
    void add(const endpoint& address, std::size_t length) { items_[size_++] = {address, length}; }
    void clear() { size_ = 0; }

private:
    struct item {
        endpoint address;
        std::size_t length = 0;
    };

    std::size_t longest_;
    byte_vector memory_;
    std::vector<item> items_;
    std::size_t size_ = 0;
};

}  // namespace cohort
