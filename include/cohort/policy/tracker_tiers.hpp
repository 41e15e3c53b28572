// Which tracker to ask: tiers in order, each shuffled once, the one that answered first in its tier (BEP 12).
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/random.hpp>

namespace cohort {

/// One announce is a round: begin(), then current() until one answered or failed() says that all have been tried.
///
///     tiers.begin();
///     do {
///         if (ask(*tiers.current())) { tiers.succeeded(); break; }
///     } while (tiers.failed());
///
/// After a round that succeeded current() still is the tracker that knows us: `completed` and `stopped` belong there.
class tracker_tiers {
public:
    tracker_tiers() = default;
    /// Empty tiers and repeated URLs are left out.
    tracker_tiers(const std::vector<std::vector<std::string>>& tiers, random_engine& random) {
        for (const auto& tier : tiers) {
            std::vector<std::string> kept;
            for (const std::string& url : tier)
                if (!contains(url) && std::find(kept.begin(), kept.end(), url) == kept.end()) kept.push_back(url);
            random.shuffle(kept);
            if (!kept.empty()) tiers_.push_back(std::move(kept));
        }
    }

    bool empty() const { return tiers_.empty(); }
    const std::vector<std::vector<std::string>>& tiers() const { return tiers_; }

    /// The URL to try; null if there are no trackers.
    const std::string* current() const { return empty() ? nullptr : &tiers_[tier_][member_]; }

    /// A new round: from the first of the first tier, as BEP 12 has it for every announce.
    void begin() { tier_ = member_ = 0; }

    /// The current one answered: it moves to the front of its tier and stays current.
    void succeeded() {
        if (empty()) return;
        auto& tier = tiers_[tier_];
        const auto at = tier.begin() + static_cast<std::ptrdiff_t>(member_);
        std::rotate(tier.begin(), at, at + 1);
        member_ = 0;
    }

    /// The current one did not answer: goes on to the next. False if it was the last; current() is the first again.
    bool failed() {
        if (empty()) return false;
        if (++member_ < tiers_[tier_].size()) return true;
        member_ = 0;
        if (++tier_ < tiers_.size()) return true;
        tier_ = 0;
        return false;
    }

private:
    bool contains(const std::string& url) const {
        return std::any_of(tiers_.begin(), tiers_.end(),
                           [&](const auto& tier) { return std::find(tier.begin(), tier.end(), url) != tier.end(); });
    }

    std::vector<std::vector<std::string>> tiers_;
    std::size_t tier_ = 0;
    std::size_t member_ = 0;
};

}  // namespace cohort
