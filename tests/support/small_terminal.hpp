// A terminal in memory: the few sequences that our programs send, and the screen that comes of them.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/protocol/utf8.hpp>
#include <examples/support/terminal.hpp>

namespace cohort::test {

/// Lines of text that scrolls up without end. Throws std::runtime_error for a sequence that it does not know, so that
/// no stray one goes unnoticed, and for text that runs over the last column.
class small_terminal {
public:
    explicit small_terminal(std::size_t columns) : columns_(columns) {}

    void write(std::string_view bytes) {
        while (!bytes.empty()) take(bytes);
    }

    /// All rows since the start, without spaces at their ends; wide characters as one character.
    std::vector<std::string> rows() const {
        std::vector<std::string> out;
        for (const auto& row : rows_) {
            std::string text;
            for (const std::string& cell : row) text += cell;
            text.erase(text.find_last_not_of(' ') + 1);
            out.push_back(text);
        }
        return out;
    }
    std::size_t row() const { return row_; }
    std::size_t column() const { return column_; }
    std::size_t bells() const { return bells_; }
    void resize(std::size_t columns) { columns_ = columns; }

private:
    void take(std::string_view& bytes) {
        const char c = bytes.front();
        if (c == '\x1b') return sequence(bytes);
        if (c == '\r' || c == '\n' || c == '\a') {
            bytes.remove_prefix(1);
            if (c == '\r') column_ = 0;
            if (c == '\n') ++row_;
            if (c == '\a') ++bells_;
            while (rows_.size() <= row_) rows_.emplace_back();
            return;
        }
        const std::string_view before = bytes;
        const auto code = take_code_point(bytes);
        if (!code || *code < 0x20) throw std::runtime_error("a control character on the screen");
        put(std::string(before.substr(0, before.size() - bytes.size())), examples::detail::columns_of(*code));
    }

    void put(const std::string& character, std::size_t width) {
        auto& row = rows_[row_];
        if (width == 0) {
            if (column_ == 0) throw std::runtime_error("a combining mark in the first column");
            std::size_t base = column_ - 1;
            if (row[base].empty()) --base;  // the right half of a wide one
            row[base] += character;
            return;
        }
        if (column_ + width > columns_) throw std::runtime_error("text beyond the last column");
        if (row.size() < column_ + width) row.resize(column_ + width, " ");
        row[column_] = character;
        if (width == 2) row[column_ + 1].clear();
        column_ += width;
    }

    void sequence(std::string_view& bytes) {
        const std::size_t end = bytes.find_first_of("ABCDHJKhlm");
        if (!bytes.starts_with("\x1b[") || end == std::string_view::npos) throw std::runtime_error("unknown sequence");
        const std::string_view parameter = bytes.substr(2, end - 2);
        std::size_t number = 0;
        std::from_chars(parameter.data(), parameter.data() + parameter.size(), number);
        const std::size_t steps = std::max<std::size_t>(number, 1);
        switch (bytes[end]) {
        case 'A':
            if (steps > row_) throw std::runtime_error("above the first row");
            row_ -= steps;
            break;
        case 'C': column_ = std::min(column_ + steps, columns_ - 1); break;
        case 'H':
            // What was there before the screen was cleared stays, as in a terminal's memory.
            row_ = rows_.size();
            rows_.emplace_back();
            column_ = 0;
            break;
        case 'J':
            if (number == 0) rows_.resize(row_ + 1), rows_[row_].resize(std::min(rows_[row_].size(), column_), " ");
            break;
        case 'K': rows_[row_].resize(std::min(rows_[row_].size(), column_), " "); break;
        case 'm':
        case 'h':
        case 'l': break;
        default: throw std::runtime_error("unknown sequence");
        }
        bytes.remove_prefix(end + 1);
    }

    std::size_t columns_;
    std::vector<std::vector<std::string>> rows_{1};  ///< a cell is a character; empty: the right half of a wide one
    std::size_t row_ = 0, column_ = 0;
    std::size_t bells_ = 0;
};

}  // namespace cohort::test
