// Cuts one direction of a stream into the units that a decoder asks for, so that decoders see the same whatever the
// pieces in which the bytes come.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <cohort/core/bytes.hpp>

namespace cohort {

/// What a decoder wants next.
struct trace_wish {
    enum class unit : std::uint8_t {
        bytes,   ///< so many, for take()
        line,    ///< up to and with '\n', for take(); of one longer than trace_scanner::held_max the start
        body,    ///< so many to be passed by: see() may look at the parts, passed() is their end
        nothing  ///< the rest of the stream is of no interest
    };
    unit what = unit::nothing;
    std::uint64_t size = 0;
    bool more = false;  ///< bytes and line: what the last take() had is the beginning of it

    static trace_wish bytes(std::size_t size) { return {unit::bytes, size, false}; }
    static trace_wish line() { return {unit::line, 0, false}; }
    static trace_wish body(std::uint64_t size) { return {unit::body, size, false}; }
    static trace_wish nothing() { return {}; }
    /// What take() just had and what follows, `size` bytes in all; more than it had, and trace_scanner::held_max at
    /// most.
    static trace_wish up_to(std::size_t size) { return {unit::bytes, size, true}; }
    /// What take() just had, and the rest of its line.
    static trace_wish rest_of_line() { return {unit::line, 0, true}; }
};

/// Understands one protocol in one direction.
class trace_decoder {
public:
    virtual ~trace_decoder() = default;

    virtual trace_wish first() = 0;
    virtual trace_wish take(byte_view unit) = 0;
    virtual void see(byte_view) {}
    virtual trace_wish passed() { return trace_wish::nothing(); }
    /// What shall go by unseen was to be looked at: the decoder has lost its place.
    virtual trace_wish lost() { return trace_wish::nothing(); }
    /// The stream has ended.
    virtual void ended() {}
};

/// Holds held_max bytes at most.
class trace_scanner {
public:
    static constexpr std::size_t held_max = 4096;

    explicit trace_scanner(std::unique_ptr<trace_decoder> decoder) : decoder_(std::move(decoder)) {
        obey(decoder_->first());
    }

    /// From here on another one decodes: at once, or with what the current take() returns.
    void become(std::unique_ptr<trace_decoder> next) {
        former_ = std::exchange(decoder_, std::move(next));
        if (!busy_) obey(decoder_->first());
    }
    /// Whether a unit has begun and not ended.
    bool in_unit() const { return !held_.empty() || wish_.what == trace_wish::unit::body; }

    std::uint64_t total() const { return total_; }

    void feed(byte_view in) {
        total_ += in.size();
        while (!in.empty() && wish_.what != trace_wish::unit::nothing) in = in.subspan(use(in));
    }

    /// `size` bytes go by that nobody can look at.
    void skip(std::uint64_t size) {
        total_ += size;
        while (size > 0 && wish_.what != trace_wish::unit::nothing) {
            if (wish_.what != trace_wish::unit::body) return obey(decoder_->lost());
            const std::uint64_t part = std::min(size, wish_.size);
            size -= part;
            wish_.size -= part;
            if (wish_.size == 0) obey(decoder_->passed());
        }
    }

    void end() {
        decoder_->ended();
        wish_ = trace_wish::nothing();
    }

private:
    std::size_t use(byte_view in) {
        if (wish_.what == trace_wish::unit::body) {
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), wish_.size));
            decoder_->see(in.first(size));
            wish_.size -= size;
            if (wish_.size == 0) obey(decoder_->passed());
            return size;
        }
        std::size_t size = std::min<std::size_t>(in.size(), wish_.size - held_.size());
        bool whole = held_.size() + size == wish_.size;
        if (wish_.what == trace_wish::unit::line) {
            const auto end = std::find(in.begin(), in.end(), '\n');
            whole = end != in.end();
            size = static_cast<std::size_t>(end - in.begin()) + (whole ? 1 : 0);
        }
        const byte_view kept = in.first(std::min(size, held_max - held_.size()));
        held_.insert(held_.end(), kept.begin(), kept.end());
        if (!whole) return size;
        busy_ = true;
        const trace_wish next = decoder_->take(held_);
        busy_ = false;
        obey(next);
        return size;
    }

    void obey(trace_wish next) {
        while (next.what == trace_wish::unit::body && next.size == 0) next = decoder_->passed();
        wish_ = next;
        if (!next.more) held_.clear();
        former_.reset();
    }

    std::unique_ptr<trace_decoder> decoder_;
    std::unique_ptr<trace_decoder> former_;  ///< asked for its successor while it is running
    trace_wish wish_;
    byte_vector held_;
    std::uint64_t total_ = 0;
    bool busy_ = false;
};

}  // namespace cohort
