// What a wish about files means for pieces.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <cohort/core/pieces.hpp>
#include <cohort/policy/piece_picker.hpp>
#include <cohort/protocol/metainfo.hpp>

namespace cohort {

/// The priority of each piece: that of the most wanted file in it. `wishes` has one for each file, 0 (do not fetch) to
/// 7 (first); files beyond its end have the default. Padding has no wishes.
inline std::vector<std::uint8_t> piece_priorities(const metainfo& info, std::span<const std::uint8_t> wishes) {
    const piece_layout layout = info.layout();
    std::vector<std::uint8_t> out(layout.piece_count(), 0);
    for (std::size_t i = 0; i < info.files.size(); ++i) {
        const file_entry& file = info.files[i];
        if (file.length == 0 || file.pad) continue;
        const std::uint8_t wish = i < wishes.size() ? wishes[i] : piece_picker::default_priority;
        const auto first = static_cast<piece_index>(file.offset / layout.piece_length());
        const auto last = static_cast<piece_index>((file.offset + file.length - 1) / layout.piece_length());
        for (piece_index piece = first; piece <= last; ++piece) {
            out[piece] = std::max(out[piece], std::min(wish, rarity_order::max_priority));
        }
    }
    return out;
}

}  // namespace cohort
