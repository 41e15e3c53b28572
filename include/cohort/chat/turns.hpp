// Whom somebody who lacks much of a room asks for it: one member at a time. The next one is asked for what is still
// missing then, when the one before has given what it had, is gone, has fallen silent, or takes its time.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include <cohort/core/time.hpp>
#include <cohort/policy/chat_timeline.hpp>

namespace cohort::chat {

/// One thread only.
class turns {
public:
    static constexpr duration silence = 10s;  ///< after which the next one is asked
    static constexpr duration longest = 60s;  ///< for one turn: who drips must not hold up the others for ever
    /// So many turns in a row that came to nothing, and all are asked at once: strangers who promise much and give
    /// nothing must not keep us from those who would.
    static constexpr int most_failures = 3;

    /// Whether another may be asked for this conversation now.
    bool is_free(const conversation_id& in, time_point now) const {
        const auto found = under_way_.find(in);
        if (found == under_way_.end()) return true;
        const turn& one = found->second;
        return one.failures >= most_failures || now - one.heard >= silence || now - one.begun >= longest;
    }

    /// `of` is asked, and says that it has all up to these heads.
    void begin(const conversation_id& in, const identity_key& of, std::vector<head> heads, time_point now) {
        const auto before = under_way_.find(in);
        const int failures = before == under_way_.end() ? 0 : before->second.failures + 1;
        under_way_[in] = {of, std::move(heads), now, now, failures};
    }

    /// Something new came from there.
    void heard(const conversation_id& in, const identity_key& from, time_point now) {
        const auto found = under_way_.find(in);
        if (found != under_way_.end() && found->second.of == from) found->second.heard = now;
    }

    /// More is here. True if that was all that the one who is asked had: its turn is over.
    bool is_over(const conversation_id& in, const chat_timeline& ours) {
        const auto found = under_way_.find(in);
        if (found == under_way_.end() || !ours.wanted(found->second.heads).empty()) return false;
        under_way_.erase(found);
        return true;
    }

    /// The other is gone. Those conversations of which it was its turn.
    std::vector<conversation_id> gone(const identity_key& who) {
        std::vector<conversation_id> out;
        for (const auto& [in, one] : under_way_)
            if (one.of == who) out.push_back(in);
        for (const conversation_id& in : out) under_way_.erase(in);
        return out;
    }

private:
    struct turn {
        identity_key of;
        std::vector<head> heads;
        time_point begun;
        time_point heard;
        int failures = 0;  // of turns before this one
    };

    std::map<conversation_id, turn> under_way_;
};

}  // namespace cohort::chat
