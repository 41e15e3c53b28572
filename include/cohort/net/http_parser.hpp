// Bytes to HTTP messages: Beast's push parser with the rules it leaves open closed. Here alone Boost is spoken.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <type_traits>

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/version.hpp>

#include <cohort/core/bytes.hpp>
#include <cohort/net/http_message.hpp>

namespace cohort {

struct http_limits {
    std::size_t header = 64 * 1024;    ///< bytes of start line, fields and trailers together
    std::uint64_t body = 1024 * 1024;  ///< bytes, after chunks are joined
};

namespace detail {

/// One message. Beyond Beast's own rules it refuses what two parsers could read in two ways (RFC 9112, 11.2):
/// folded lines, a transfer coding whose end is not `chunked` or in HTTP/1.0, several lengths or hosts.
template <class Message>
class http_reader final : private boost::beast::http::basic_parser<std::is_same_v<Message, http_request>> {
    static constexpr bool is_request = std::is_same_v<Message, http_request>;
    using base = boost::beast::http::basic_parser<is_request>;
    using error_code = boost::system::error_code;
    using text = boost::beast::string_view;
    using field = boost::beast::http::field;
    using error = boost::beast::http::error;

public:
    http_reader(Message& out, const http_limits& limits) : out_(out), limits_(limits) {
        this->header_limit(std::numeric_limits<std::uint32_t>::max());  // counted here: Beast's is for one call
        this->body_limit(limits.body);
    }

    using base::is_done;
    using base::is_header_done;
    using base::need_eof;

    /// The answer to HEAD: its fields may tell the length of a body that does not come. Before the first put().
    void expect_no_body() { this->skip(true); }

    /// Whether anything of the message has been seen.
    bool started() const { return this->got_some(); }

    /// Advances `in` past what was understood. With neither `ec` nor is_done(), more bytes are needed behind those
    /// that are left.
    void put(byte_view& in, std::error_code& ec) {
        ec.clear();
        if (!started()) skip_empty_lines(in);
        if (!started() && in.size() == 1 && in[0] == '\r') return;
        while (!in.empty() && !this->is_done() && !ec) {
            // Beast asserts that five bytes are there when it returns to a last chunk that it saw in part; no chunked
            // body can end in fewer than that.
            if (this->is_header_done() && this->chunked() && in.size() < 5) return;
            const bool in_header = !this->is_header_done();
            const std::size_t body_before = out_.body.size();
            error_code status;
            const std::size_t used = base::put({in.data(), in.size()}, status);
            in = in.subspan(used);
            framing_bytes_ += used - (out_.body.size() - body_before);
            const bool need_more = status == error::need_more;
            if (need_more || !status) status = check_framing(in_header, need_more ? in.size() : 0);
            if (status) fail(status, ec);
            if (need_more) break;
        }
    }

    /// The stream ended: completes a body without a stated length.
    void put_eof(std::error_code& ec) {
        ec.clear();
        error_code status;
        base::put_eof(status);
        if (status) fail(status, ec);
    }

    /// What a server should answer after a failed put().
    int refusal() const { return refusal_; }

private:
    /// RFC 9112, 2.2: an empty line before a message is left over from a careless sender.
    void skip_empty_lines(byte_view& in) {
        while (in.size() >= 2 && in[0] == '\r' && in[1] == '\n') {
            in = in.subspan(2);
            framing_bytes_ += 2;
        }
    }

    /// What is not body: fields, chunk sizes, trailers. `waiting` bytes of it are not understood yet.
    error_code check_framing(bool in_header, std::size_t waiting) const {
        const std::uint64_t limit = in_header ? limits_.header : limits_.header + limits_.body;
        if (waiting > limits_.header || framing_bytes_ + waiting > limit) return error::header_limit;
        return {};
    }

    void fail(const error_code& status, std::error_code& ec) {
        const bool header = status == error::header_limit;
        const bool body = status == error::body_limit;
        ec = header || body ? errc::http_too_large : errc::http_malformed;
        if (header) refusal_ = 431;
        if (body) refusal_ = 413;
        if (status == error::bad_version) refusal_ = 505;
    }

    void on_request_impl(boost::beast::http::verb verb, text method, text target, int version,
                         error_code& ec) override {
        if constexpr (is_request) {
            if (verb == boost::beast::http::verb::unknown) {
                refusal_ = 501;
                ec = error::bad_method;
                return;
            }
            out_.method.assign(method.data(), method.size());
            out_.target.assign(target.data(), target.size());
            out_.version = version;
        }
        version_ = version;
    }

    void on_response_impl(int status, text, int version, error_code&) override {
        if constexpr (!is_request) out_.status = status;
        version_ = version;
    }

    void on_field_impl(field name, text name_text, text value, error_code& ec) override {
        if (this->is_header_done()) return;  // a trailer: nobody here asks for any
        // Beast joins the lines of a folded value in a buffer of its own; every other value stands behind its name.
        const char* const after = name_text.data() + name_text.size();
        if (!value.empty() && !std::less<>{}(after, value.data())) ec = error::bad_value;
        if (!value.empty() && std::less<>{}(after + limits_.header, value.data())) ec = error::bad_value;
        if (name == field::transfer_encoding) has_coding_ = true;
        if (name == field::content_length && (++lengths_ > 1 || value.find(',') != text::npos))
            ec = error::bad_content_length;
        if (name == field::host && ++hosts_ > 1) ec = error::bad_value;
        out_.headers.add({name_text.data(), name_text.size()}, {value.data(), value.size()});
    }

    void on_header_impl(error_code& ec) override {
        if (has_coding_ && (!this->chunked() || version_ < 11)) ec = error::bad_transfer_encoding;
        if constexpr (is_request) out_.keep_alive = this->keep_alive();
    }

    void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}

    std::size_t on_body_impl(text body, error_code&) override { return take(body); }
    std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code&) override { return take(body); }
    void on_chunk_header_impl(std::uint64_t, text extensions, error_code& ec) override {
        if (!extensions.empty() && extensions.front() != ';') ec = error::bad_chunk_extension;  // white space alone
    }
    void on_finish_impl(error_code&) override {}
#if BOOST_BEAST_VERSION >= 359
    void on_trailer_field_impl(field, text, text, error_code&) override {}
#endif

    std::size_t take(text body) {
        out_.body.append(body.data(), body.size());
        return body.size();
    }

    Message& out_;
    const http_limits limits_;
    std::uint64_t framing_bytes_ = 0;
    int version_ = 11;
    int lengths_ = 0;
    int hosts_ = 0;
    int refusal_ = 400;
    bool has_coding_ = false;
};

}  // namespace detail

}  // namespace cohort
