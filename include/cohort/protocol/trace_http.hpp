// One direction of HTTP/1 (RFC 9112) for a trace: first lines, lengths, and what a tracker answers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/number.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/scrape.hpp>
#include <cohort/protocol/trace_talk.hpp>
#include <cohort/protocol/trace_websocket.hpp>

namespace cohort::detail {

/// A target as people can read it: each info_hash in hexadecimal.
inline std::string readable_target(std::string_view target) {
    constexpr std::string_view name = "info_hash=";
    std::string out;
    for (;;) {
        const std::size_t at = target.find(name);
        if (at == std::string_view::npos) return out.append(target);
        out += target.substr(0, at + name.size());
        target.remove_prefix(at + name.size());
        const std::string_view value = target.substr(0, target.find_first_of("& "));
        info_hash hash;
        if (percent_decode(value, hash.span()))
            out += hash.hex();
        else
            out += value;
        target.remove_prefix(value.size());
    }
}

/// Requests or responses, one after the other, until an upgrade.
class http_trace final : public trace_side {
public:
    http_trace(trace_talk& talk, trace_direction dir, bool requests) : trace_side(talk, dir), requests_(requests) {}

    trace_wish first() override { return trace_wish::line(); }

    trace_wish take(byte_view unit) override {
        if (step_ == step::body) return end_body(unit);
        std::string_view line = as_text(unit);
        while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
        switch (step_) {
        case step::first_line: return line.empty() ? trace_wish::line() : begin(line);
        case step::fields: return line.empty() ? end_head() : field(line);
        case step::chunk: return begin_chunk(line);
        case step::trailers: return line.empty() ? next() : trace_wish::line();
        case step::body: break;
        }
        return opaque();
    }

    trace_wish passed() override { return step_ == step::chunk ? trace_wish::line() : next(); }

    void ended() override {
        if (step_ == step::body) tell(name_, std::move(fields_));
    }

private:
    enum class step { first_line, fields, body, chunk, trailers };

    trace_wish next() {
        step_ = step::first_line;
        return trace_wish::line();
    }

    trace_wish begin(std::string_view line) {
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos) return opaque();
        const std::string_view rest = line.substr(space + 1);
        length_.reset();
        chunked_ = websocket_ = false;
        if (requests_) {
            const std::string_view method = line.substr(0, space), target = rest.substr(0, rest.find(' '));
            name_ = "http_request";
            fields_ = {{"method", std::string(method)}, {"target", readable_target(target)}};
            talk().head_request = method == "HEAD";
            talk().is_chat = target == "/chat";
        } else {
            if (!parse_number(rest.substr(0, 3), status_)) return opaque();
            name_ = "http_response";
            fields_ = {{"status", std::uint64_t{status_}}};
        }
        step_ = step::fields;
        return trace_wish::line();
    }

    trace_wish field(std::string_view line) {
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) return opaque();
        const std::string name = lower(line.substr(0, colon));
        std::string_view value = line.substr(colon + 1);
        while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
        std::uint64_t length = 0;
        if (name == "content-length" && parse_number(value, length)) length_ = length;
        if (name == "transfer-encoding") chunked_ = lower(value).ends_with("chunked");
        if (name == "upgrade") websocket_ = lower(value) == "websocket";
        return trace_wish::line();
    }

    trace_wish end_head() {
        if (requests_) talk().wants_websocket = websocket_;
        const bool bodiless = !requests_ && (status_ < 200 || status_ == 204 || status_ == 304 || talk().head_request);
        if (length_ && !chunked_) fields_.push_back({"length", *length_});
        if (websocket_) fields_.push_back({"upgrade", std::string("websocket")});
        // What a tracker says fits here; a longer body goes by unseen.
        const bool short_body =
            !requests_ && !bodiless && !chunked_ && length_ && *length_ > 0 && *length_ <= trace_scanner::held_max;
        if (short_body) {
            step_ = step::body;
            return trace_wish::bytes(static_cast<std::size_t>(*length_));
        }
        tell(name_, std::move(fields_));
        if (!requests_ && status_ == 101) return upgrade();
        if (bodiless) return next();
        if (chunked_) {
            step_ = step::chunk;
            return trace_wish::line();
        }
        if (length_) {
            step_ = step::first_line;
            return trace_wish::body(*length_);
        }
        return requests_ ? next() : trace_wish::nothing();  // an answer without a length lasts until the end
    }

    trace_wish begin_chunk(std::string_view line) {
        if (line.empty()) return trace_wish::line();  // the end of the chunk before
        std::uint64_t size = 0;
        if (!parse_number(line.substr(0, line.find_first_of("; ")), size, 16)) return opaque();
        if (size > 0) return trace_wish::body(size);
        step_ = step::trailers;
        return trace_wish::line();
    }

    trace_wish end_body(byte_view body) {
        add_answer(body);
        tell(name_, std::move(fields_));
        return next();
    }

    /// Of a body in bencode what a tracker has to say.
    void add_answer(byte_view body) {
        if (body.empty() || body[0] != 'd') return;
        std::error_code error;
        std::string failure;
        const auto announce = parse_announce_response(body, error, failure);
        if (!failure.empty()) return fields_.push_back({"failure", failure});
        if (announce && announce->interval.count() > 0) {
            fields_.push_back({"interval", static_cast<std::uint64_t>(announce->interval.count())});
            if (announce->complete) fields_.push_back({"complete", std::uint64_t{*announce->complete}});
            if (announce->incomplete) fields_.push_back({"incomplete", std::uint64_t{*announce->incomplete}});
            const std::uint64_t peers = announce->peers.size() + announce->named_peers.size();
            return fields_.push_back({"peers", peers});
        }
        const auto scrape = parse_scrape_response(body, error, failure);
        if (scrape) fields_.push_back({"files", std::uint64_t{scrape->files.size()}});
    }

    /// A client sends nothing between its request and this answer (RFC 6455, 4.1), so both sides change here.
    trace_wish upgrade() {
        const bool agreed = websocket_ && talk().wants_websocket && !scanner(other()).in_unit();
        if (!agreed) return opaque();
        scanner(other()).become(std::make_unique<websocket_trace>(talk(), other(), true));
        auto ours = std::make_unique<websocket_trace>(talk(), dir(), false);
        const trace_wish begin = ours->first();
        scanner(dir()).become(std::move(ours));
        return begin;
    }

    static std::string lower(std::string_view text) {
        std::string out(text);
        for (char& c : out)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
        return out;
    }

    bool requests_;
    step step_ = step::first_line;
    std::uint16_t status_ = 0;
    std::optional<std::uint64_t> length_;
    bool chunked_ = false;
    bool websocket_ = false;
    std::string_view name_;
    std::vector<trace_field> fields_;
};

}  // namespace cohort::detail
