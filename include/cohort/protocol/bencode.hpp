// Bencode (BEP 3): a reader that keeps one small token a value and never copies the input, and a writer.
#pragma once

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>

namespace cohort::bencode {

/// What a reader accepts; beyond it parsing fails with errc::bencode_limit.
struct limits {
    std::size_t depth = 100;        ///< lists and dictionaries inside one another
    std::size_t items = 2'500'000;  ///< tokens: every string, key, integer and container, and the end of each container
};

namespace detail {

/// A value (or the end of a container) in the input. The type is the byte at `offset`; the value ends where the
/// token `skip` places further begins. A last token stands for the end of everything.
struct token {
    std::uint32_t offset;
    std::uint32_t skip;
};

constexpr bool is_digit(std::uint8_t byte) { return byte >= '0' && byte <= '9'; }

}  // namespace detail

/// A cursor on one value. Cheap to copy; valid while the document (moved or not) and its input live.
/// A null node (what a missing key gives) answers every question with "nothing", so that lookups can be chained.
class node {
public:
    class iterator;
    class entry_range;

    node() = default;

    explicit operator bool() const { return token_ != nullptr; }
    bool is_dict() const { return type() == 'd'; }
    bool is_list() const { return type() == 'l'; }
    bool is_integer() const { return type() == 'i'; }
    bool is_string() const { return detail::is_digit(type()); }

    /// Nothing if it is not an integer or does not fit 64 bits.
    std::optional<std::int64_t> integer() const {
        if (!is_integer()) return std::nullopt;
        const std::string_view digits = as_text(raw().subspan(1));
        std::int64_t value = 0;
        if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc{}) return std::nullopt;
        return value;
    }

    /// The bytes of a string, as a view of the input.
    std::optional<std::string_view> text() const {
        if (!is_string()) return std::nullopt;
        const std::string_view whole = as_text(raw());
        return whole.substr(whole.find(':') + 1);
    }

    /// The value of a key (of the first, should it occur again); null if this is no dictionary or lacks the key.
    /// Walks the dictionary's entries.
    node operator[](std::string_view key) const;

    /// Elements of a list or entries of a dictionary, counted by walking; 0 for anything else.
    std::size_t size() const;

    /// The elements of a list; of anything else, none.
    iterator begin() const;
    iterator end() const;

    /// The entries of a dictionary in the order of the input, for `for (const auto [key, value] : node.entries())`;
    /// of anything else, none.
    entry_range entries() const;

    /// The value's own bytes in the input, from its type byte or length to its end.
    byte_view raw() const {
        if (token_ == nullptr) return {};
        return {input_ + token_->offset, token_[token_->skip].offset - token_->offset};
    }

private:
    friend class document;

    node(const std::uint8_t* input, const detail::token* token) : input_(input), token_(token) {}

    std::uint8_t type() const { return token_ == nullptr ? std::uint8_t{0} : input_[token_->offset]; }
    const detail::token* first_child() const { return token_ + 1; }
    const detail::token* last_child() const { return token_ + token_->skip - 1; }  // the container's end token

    const std::uint8_t* input_ = nullptr;
    const detail::token* token_ = nullptr;
};

class node::iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = node;
    using difference_type = std::ptrdiff_t;
    using pointer = const node*;
    using reference = node;

    iterator() = default;
    explicit iterator(node at) : at_(at) {}

    node operator*() const { return at_; }
    iterator& operator++() {
        at_.token_ += at_.token_->skip;
        return *this;
    }
    iterator operator++(int) {
        const iterator before = *this;
        ++*this;
        return before;
    }
    bool operator==(const iterator& other) const { return at_.token_ == other.at_.token_; }

private:
    node at_;
};

/// One entry of a dictionary.
struct entry {
    std::string_view key;
    node value;
};

class node::entry_range {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = entry;
        using difference_type = std::ptrdiff_t;
        using pointer = const entry*;
        using reference = entry;

        iterator() = default;
        explicit iterator(node::iterator key) : key_(key) {}

        entry operator*() const { return {*(*key_).text(), *std::next(key_)}; }
        iterator& operator++() {
            std::advance(key_, 2);
            return *this;
        }
        iterator operator++(int) {
            const iterator before = *this;
            ++*this;
            return before;
        }
        bool operator==(const iterator&) const = default;

    private:
        node::iterator key_;
    };

    entry_range(node::iterator begin, node::iterator end) : begin_(begin), end_(end) {}

    iterator begin() const { return begin_; }
    iterator end() const { return end_; }

private:
    iterator begin_;
    iterator end_;
};

inline node::iterator node::begin() const { return iterator(is_list() ? node(input_, first_child()) : node()); }
inline node::iterator node::end() const { return iterator(is_list() ? node(input_, last_child()) : node()); }

inline node::entry_range node::entries() const {
    if (!is_dict()) return {iterator(), iterator()};
    return {iterator(node(input_, first_child())), iterator(node(input_, last_child()))};
}

inline node node::operator[](std::string_view key) const {
    for (const auto [name, value] : entries()) {
        if (name == key) return value;
    }
    return {};
}

inline std::size_t node::size() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const node element : *this) ++count;
    for ([[maybe_unused]] const entry element : entries()) ++count;
    return count;
}

/// A parsed value. Its nodes view the input, which must outlive them.
class document {
public:
    node root() const { return {input_, tokens_.data()}; }

    /// Whether the value is written in the one form that BEP 3 allows: keys sorted and unique, no leading zeros, no
    /// "-0". Such a value, decoded and written again, gives the same bytes.
    bool canonical() const { return canonical_; }

private:
    friend std::optional<document> parse_prefix(byte_view, std::size_t&, std::error_code&, const limits&);

    document() = default;

    errc read(byte_view in, const limits& most);
    bool read_digits(byte_view in, std::size_t& at);
    bool read_integer(byte_view in, std::size_t& at);
    bool read_string(byte_view in, std::size_t& at, std::string_view& out);

    const std::uint8_t* input_ = nullptr;
    std::vector<detail::token> tokens_;
    bool canonical_ = true;
};

/// The first value of `in`; `consumed` is its length in bytes. Forms that BEP 3 forbids but that are in use and have
/// one reading are accepted, and the document is then not canonical(): keys out of order, keys that occur again,
/// leading zeros. Nothing else is: errc::bencode_syntax (also where the value is cut short) or errc::bencode_limit.
inline std::optional<document> parse_prefix(byte_view in, std::size_t& consumed, std::error_code& ec,
                                            const limits& most = {}) {
    ec.clear();
    document out;
    const errc failure = out.read(in, most);
    if (failure != errc{}) {
        ec = failure;
        return std::nullopt;
    }
    consumed = out.tokens_.back().offset;
    return out;
}

/// As parse_prefix, of the whole input: bytes after the value are errc::bencode_trailing.
inline std::optional<document> parse(byte_view in, std::error_code& ec, const limits& most = {}) {
    std::size_t consumed = 0;
    auto out = parse_prefix(in, consumed, ec, most);
    if (out && consumed != in.size()) {
        ec = errc::bencode_trailing;
        out.reset();
    }
    return out;
}

/// Builds bencode from the outside in: `w.begin_dict().key("a").integer(1).end()`. The caller gives keys in
/// ascending order and closes what it opens (asserted).
class writer {
public:
    writer& integer(std::int64_t value) {
        out_ += 'i';
        out_ += std::to_string(value);
        out_ += 'e';
        return *this;
    }
    writer& text(std::string_view value) {
        out_ += std::to_string(value.size());
        out_ += ':';
        out_ += value;
        return *this;
    }
    /// A value that is bencoded already.
    writer& raw(byte_view value) {
        out_ += as_text(value);
        return *this;
    }
    writer& begin_list() { return open('l'); }
    writer& begin_dict() { return open('d'); }
    writer& key(std::string_view name) {
        assert(!open_.empty());
        last_key& last = open_.back();
        assert(last.end == 0 || std::string_view(out_).substr(last.begin, last.end - last.begin) < name);
        text(name);
        last = {out_.size() - name.size(), out_.size()};
        return *this;
    }
    writer& end() {
        assert(!open_.empty());
        open_.pop_back();
        out_ += 'e';
        return *this;
    }

    /// What was written; the writer is empty afterwards.
    std::string take() {
        assert(open_.empty());
        return std::exchange(out_, {});
    }

private:
    /// Where the latest key of an open dictionary stands in the output; end is 0 before the first.
    struct last_key {
        std::size_t begin = 0;
        std::size_t end = 0;
    };

    writer& open(char type) {
        open_.emplace_back();
        out_ += type;
        return *this;
    }

    std::string out_;
    std::vector<last_key> open_;
};

inline errc document::read(byte_view in, const limits& most) {
    struct container {
        std::uint32_t token;
        bool dict;
        bool value_next = false;  // in a dictionary, after a key
        bool any_key = false;
        std::string_view last_key = {};
    };

    if (in.size() >= std::numeric_limits<std::uint32_t>::max()) return errc::bencode_limit;
    const std::size_t most_items = std::min<std::size_t>(most.items, std::numeric_limits<std::uint32_t>::max() - 1);
    input_ = in.data();
    std::vector<container> open;
    std::size_t at = 0;
    do {
        if (at == in.size()) return errc::bencode_syntax;
        if (tokens_.size() >= most_items) return errc::bencode_limit;
        container* const parent = open.empty() ? nullptr : &open.back();
        const bool key_next = parent != nullptr && parent->dict && !parent->value_next;
        const std::uint8_t type = in[at];
        tokens_.push_back({static_cast<std::uint32_t>(at), 1});
        if (detail::is_digit(type)) {
            std::string_view text;
            if (!read_string(in, at, text)) return errc::bencode_syntax;
            if (key_next) {
                if (parent->any_key && parent->last_key >= text) canonical_ = false;
                parent->any_key = true;
                parent->last_key = text;
                parent->value_next = true;
                continue;
            }
        } else if (type == 'e') {
            if (parent == nullptr || parent->value_next) return errc::bencode_syntax;
            ++at;
            tokens_[parent->token].skip = static_cast<std::uint32_t>(tokens_.size()) - parent->token;
            open.pop_back();
        } else if (key_next) {
            return errc::bencode_syntax;
        } else if (type == 'i') {
            if (!read_integer(in, at)) return errc::bencode_syntax;
        } else if (type == 'd' || type == 'l') {
            if (open.size() >= most.depth) return errc::bencode_limit;
            ++at;
            open.push_back({static_cast<std::uint32_t>(tokens_.size() - 1), type == 'd'});
            continue;
        } else {
            return errc::bencode_syntax;
        }
        if (!open.empty()) open.back().value_next = false;
    } while (!open.empty());
    tokens_.push_back({static_cast<std::uint32_t>(at), 0});
    return errc{};
}

/// One digit or more.
inline bool document::read_digits(byte_view in, std::size_t& at) {
    const std::size_t begin = at;
    while (at < in.size() && detail::is_digit(in[at])) ++at;
    if (at - begin > 1 && in[begin] == '0') canonical_ = false;
    return at > begin;
}

inline bool document::read_integer(byte_view in, std::size_t& at) {
    ++at;
    const bool negative = at < in.size() && in[at] == '-';
    if (negative) ++at;
    const std::size_t digits = at;
    if (!read_digits(in, at) || at == in.size() || in[at] != 'e') return false;
    if (negative && in[digits] == '0') canonical_ = false;
    ++at;
    return true;
}

inline bool document::read_string(byte_view in, std::size_t& at, std::string_view& out) {
    const std::size_t digits = at;
    if (!read_digits(in, at) || at == in.size() || in[at] != ':') return false;
    std::size_t length = 0;
    for (std::size_t i = digits; i < at; ++i) {
        length = length * 10 + (in[i] - std::size_t{'0'});
        if (length > in.size()) return false;
    }
    ++at;
    if (length > in.size() - at) return false;
    out = as_text(in.subspan(at, length));
    at += length;
    return true;
}

}  // namespace cohort::bencode
