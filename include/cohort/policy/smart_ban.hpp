// Who spoiled a piece that several peers gave: told by comparing the blocks of the failed piece with the good ones.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/core/pieces.hpp>

namespace cohort {

/// Peers are known by a name that outlives their connections: the address with port 0, or with the port where several
/// peers share one address. Nobody is called guilty without proof: either it gave all of a bad piece, or a block of it
/// differs from the same block of the verified piece.
class smart_ban {
public:
    /// Remembers at most `max_blocks` blocks (about 50 bytes each); the oldest pieces are forgotten first.
    explicit smart_ban(std::size_t max_blocks = 16 * 1024) : max_blocks_(max_blocks) {}

    /// A piece did not match its hash. `contributors[i]` gave block i, whose SHA-1 is `digests[i]`.
    /// Returns the guilty: the only contributor, or nobody yet; then the blocks are remembered.
    std::vector<endpoint> failed(piece_index piece, std::span<const endpoint> contributors,
                                 std::span<const sha1_digest> digests) {
        const std::size_t blocks = std::min(contributors.size(), digests.size());
        if (blocks == 0) return {};
        const auto others = contributors.subspan(1, blocks - 1);
        if (std::all_of(others.begin(), others.end(), [&](const auto& a) { return a == contributors[0]; }))
            return {contributors[0]};
        remember(piece, contributors.first(blocks), digests.first(blocks));
        return {};
    }

    /// Whether passed() needs the digests of this piece.
    bool remembers(piece_index piece) const { return suspects_.contains(piece); }

    /// A piece matched its hash, and `digests[i]` is the SHA-1 of its block i. Returns the guilty of all its earlier
    /// failures, each once, and forgets them.
    std::vector<endpoint> passed(piece_index piece, std::span<const sha1_digest> digests) {
        std::vector<endpoint> guilty;
        const auto at = suspects_.find(piece);
        if (at == suspects_.end()) return guilty;
        for (const suspect& s : at->second)
            if (s.number < digests.size() && s.digest != digests[s.number]) guilty.push_back(s.name);
        std::sort(guilty.begin(), guilty.end());
        guilty.erase(std::unique(guilty.begin(), guilty.end()), guilty.end());
        forget(piece);
        return guilty;
    }

    std::size_t remembered_blocks() const { return blocks_; }

private:
    struct suspect {
        std::uint32_t number;  // of the block
        endpoint name;
        sha1_digest digest;

        bool operator==(const suspect&) const = default;
    };

    void remember(piece_index piece, std::span<const endpoint> contributors, std::span<const sha1_digest> digests) {
        if (contributors.size() > max_blocks_) return;
        std::vector<suspect>& known = suspects_[piece];
        if (known.empty()) order_.push_back(piece);
        // A piece that fails again and again must not push out all others by itself.
        if (known.size() + contributors.size() > std::max(contributors.size(), max_blocks_ / 4)) {
            blocks_ -= known.size();
            known.clear();
        }
        for (std::uint32_t i = 0; i < contributors.size(); ++i) known.push_back({i, contributors[i], digests[i]});
        blocks_ += contributors.size();
        while (blocks_ > max_blocks_) forget(order_.front() != piece ? order_.front() : order_[1]);
    }

    void forget(piece_index piece) {
        const auto at = suspects_.find(piece);
        blocks_ -= at->second.size();
        suspects_.erase(at);
        order_.erase(std::find(order_.begin(), order_.end(), piece));
    }

    std::size_t max_blocks_;
    std::size_t blocks_ = 0;
    std::unordered_map<piece_index, std::vector<suspect>> suspects_;
    std::deque<piece_index> order_;  // the same pieces, oldest first
};

}  // namespace cohort
