// What travels on chat links and in the talk of swarms, and the entries and registrations that people sign.

#include <cohort/policy/swarm_gossip.hpp>
#include <cohort/protocol/chat_entry.hpp>
#include <cohort/protocol/json_chat.hpp>
#include <cohort/protocol/registration.hpp>

#include "fuzz/people.hpp"
#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

void check_chat_message(byte_view input) {
    std::error_code ec;
    const auto got = chat::parse(as_text(input), ec);
    require(got.has_value() == !ec, "a message or an error, never both");
    if (!got) return;
    const std::string written = chat::serialize(*got);
    require(written.find('\n') == written.npos, "a message is one line");
    const auto again = chat::parse(written, ec);
    if (const auto* const raw = std::get_if<chat::unknown>(&*got)) {
        // Numbers get their plain form at the first writing.
        const auto* const kept = again ? std::get_if<chat::unknown>(&*again) : nullptr;
        require(kept != nullptr && kept->type == raw->type, "what is unknown keeps its type");
        const auto third = chat::parse(kept->json, ec);
        require(third && chat::serialize(*third) == kept->json, "and its members");
        return;
    }
    require(again == got, "what is written reads the same");
    if (const auto* const some = std::get_if<chat::entries>(&*got)) {
        require(some->list.size() <= chat::limits::entries, "a bounded number of entries");
        for (const signed_entry& entry : some->list) {
            const std::string shown = json(chat::describe(entry)).serialize();
            require(is_utf8(shown), "an entry can be described");
        }
    }
    if (const auto* const hello = std::get_if<chat::hello>(&*got))
        require(is_chat_name(hello->name) && hello->features.size() <= chat::limits::features, "a name that is one");
    if (const auto* const members = std::get_if<chat::members>(&*got)) {
        for (const chat::member& one : members->list) require(is_chat_name(one.name), "names that are some");
    }
    if (const auto* const asked = std::get_if<chat::history_request>(&*got))
        require(asked->count <= chat::limits::history, "a bounded history");
}

void check_body(const chat_entry& entry) {
    if (const auto* const said = std::get_if<chat::text>(&entry.body))
        require(!said->content.empty() && said->content.size() <= chat::max_text && is_utf8(said->content), "a text");
    if (const auto* const offer = std::get_if<chat::file_offer>(&entry.body)) {
        require(is_utf8(offer->name) && safe_component(offer->safe_name()) == offer->safe_name(), "a name to save as");
        require(offer->info.empty() || sha1_of(offer->info).bytes == offer->hash.bytes, "a hash that fits");
    }
    if (const auto* const join = std::get_if<chat::room_join>(&entry.body))
        require(is_chat_name(join->name) && room_conversation(join->room) == entry.conversation, "a room of its own");
}

/// The form in which entries are kept, signed and sent.
void check_chat_entry(byte_view input) {
    std::error_code ec;
    const auto got = parse_entry(input, ec);
    require(got.has_value() == !ec, "an entry or an error, never both");
    if (!got) return;
    const byte_vector written = entry_bytes(*got);
    require(std::equal(written.begin(), written.end(), input.begin(), input.end()), "an entry is written as it came");
    require(got->seq >= 1 && got->seq <= max_clock && got->clock >= 1 && got->clock <= max_clock, "sane numbers");
    require(got->time_ms >= 0 && got->time_ms <= max_time_ms, "a sane time");
    check_body(*got);
    byte_vector forged = written;
    forged.resize(forged.size() + 64);
    const auto unsigned_one = signed_entry::parse(forged, ec);
    require(unsigned_one && unsigned_one->entry() == *got && !unsigned_one->verify(), "zeros are no signature");
}

chat::entry_body body_of(script& from, conversation_id& conversation) {
    switch (from.byte() % 4) {
    case 0: return chat::text{std::string(as_text(from.some()))};
    case 1: {
        chat::file_offer offer{std::string(as_text(from.some())), from.number<std::uint32_t>(), {}, {}};
        const byte_view info = from.some();
        offer.info.assign(info.begin(), info.end());
        offer.hash.bytes = sha1_of(offer.info).bytes;
        return offer;
    }
    case 2: {
        chat::room_join join{std::string(as_text(from.some())), std::string(as_text(from.some()))};
        conversation = room_conversation(join.room);
        return join;
    }
    default: return chat::room_leave{std::string(as_text(from.some()))};
    }
}

/// Nobody but the author can say anything in the author's name.
void check_chat_signature(byte_view input) {
    script from(input);
    chat_entry entry;
    entry.clock = 1 + from.number<std::uint32_t>();
    entry.body = body_of(from, entry.conversation);
    std::error_code ec;
    const auto made = signed_entry::make(entry, person(0), ec);
    require(made.has_value() == !ec, "an entry or an error, never both");
    if (!made) return;
    require(made->verify() && made->entry().body == entry.body, "what is signed is what was said");
    const auto same = signed_entry::parse(made->bytes(), ec);
    require(same == made && same->hash() == made->hash(), "what is written reads the same");
    const byte_vector other = altered(made->bytes(), from);
    const auto forged = signed_entry::parse(other, ec);
    require(!forged || *forged == *made || !forged->verify(), "what was altered is not signed");
}

/// A message of the extension ct_chat: JSON with entries of strangers.
void check_ct_chat(byte_view input) {
    std::error_code ec;
    const auto got = chat::parse(as_text(input), ec);
    const auto* const some = got ? std::get_if<chat::entries>(&*got) : nullptr;
    if (some == nullptr) return;
    swarm_gossip gossip(info_hash{});
    const time_point now{};
    for (const signed_entry& entry : some->list) {
        const std::size_t before = gossip.recent().size();
        const gossip_verdict verdict = gossip.take(entry, now);
        const bool taken = verdict == gossip_verdict::fresh || verdict == gossip_verdict::name;
        require(!taken || (entry.verify() && entry.entry().conversation == gossip.room()), "nothing forged is taken");
        require(gossip.recent().size() == before + (verdict == gossip_verdict::fresh), "what is fresh is kept");
        require(!taken || gossip.take(entry, now) == gossip_verdict::known, "nothing is fresh twice");
        require(is_chat_name(gossip.name_of(entry.entry().author)) || verdict != gossip_verdict::name,
                "a name that may be shown");
    }
    for (const signed_entry& entry : gossip.recent())
        require(std::get<chat::text>(entry.entry().body).content.size() <= gossip_limits::text, "texts are short");
}

/// Three lines: a name, a host, another name or host. Then numbers.
void check_registration(byte_view input) {
    script from(input);
    registration one;
    one.username = from.line();
    one.host = from.line();
    const std::string other(from.line());
    one.port = from.number<std::uint16_t>();
    const auto when = static_cast<unix_ms>(from.number<std::uint32_t>());
    if (one.username.size() > user_name_max || one.host.size() > registration_host_max) return;
    sign_registration(one, person(0), when);
    require(verify_registration(one), "what was signed is verified");
    registration changed = one;
    switch (from.byte() % 6) {
    case 0: changed.username = other; break;
    case 1: changed.host = other; break;
    case 2: changed.port = from.number<std::uint16_t>(); break;
    case 3: changed.proof->signed_at = static_cast<unix_ms>(from.number<std::uint64_t>()); break;
    case 4: changed.proof->signature[from.byte() % 64] ^= from.byte(); break;
    default: std::swap(changed.username, changed.host); break;
    }
    require(verify_registration(changed) == (changed == one), "what was changed is not");
    const registration_proof end = sign_registration_end(one.username, person(0), when);
    require(verify_registration_end(one.username, end), "an end that was signed is verified");
    require(other == one.username || !verify_registration_end(other, end), "but ends no other name");
    registration mixed = one;
    mixed.proof = end;
    require(!verify_registration(mixed), "an end registers nobody");
    require(one.host.empty() || is_unspecified_host(one.host) || ip_address::parse(one.host) ||
                !is_registration_host(one.host) || one.host.find(':') == std::string::npos,
            "a host with a colon is an address");
}

constexpr target table[] = {
    {"chat_message", check_chat_message, 4096},     {"chat_entry", check_chat_entry, 1024},
    {"chat_signature", check_chat_signature, 1024}, {"ct_chat", check_ct_chat, 4096},
    {"registration", check_registration, 512},
};

}  // namespace

std::span<const target> chat_targets() { return table; }

}  // namespace cohort::fuzz
