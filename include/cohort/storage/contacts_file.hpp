// Whom we know: the key that each name came with first, whether its safety number was compared, and where it was met
// last. A small JSON file, replaced as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/error.hpp>
#include <cohort/protocol/json.hpp>
#include <cohort/protocol/noise_identity.hpp>
#include <cohort/protocol/user_name.hpp>
#include <cohort/storage/disk.hpp>

namespace cohort {

struct contact {
    std::string name;
    identity_key key{};
    bool verified = false;            ///< the two compared their safety number
    std::optional<endpoint> address;  ///< where it was met last

    bool operator==(const contact&) const = default;
};

/// The file `<directory>/<name>`. Every call but find() and all() may wait for the disk; one at a time.
class contacts_file {
public:
    static constexpr std::size_t max_contacts = 100'000;

    /// Reads the file; where there is none, nobody is known. Fails with errc::json_invalid or errc::chat_malformed,
    /// saying where, if it is damaged: it is left as it is, for keys that were trusted must not be forgotten silently.
    contacts_file(disk& d, const std::string& directory, const std::string& name) : disk_(d), path_{directory, name} {
        load();
    }

    /// The pointer lives until the next change.
    const contact* find(std::string_view name) const {
        const auto at = contacts_.find(name);
        return at == contacts_.end() ? nullptr : &at->second;
    }
    /// The first name that came with this key.
    const contact* find(const identity_key& key) const {
        for (const auto& [name, one] : contacts_)
            if (one.key == key) return &one;
        return nullptr;
    }
    /// By name.
    std::vector<contact> all() const {
        std::vector<contact> out;
        for (const auto& [name, one] : contacts_) out.push_back(one);
        return out;
    }
    std::size_t size() const { return contacts_.size(); }

    /// Adds the contact or replaces that of its name, and returns when the change survives a loss of power; costs
    /// nothing if there is none. Fails as the disk does, or with errc::name_invalid or errc::queue_full; then nothing
    /// changed here, and the file is whole, the old or the new one.
    void put(const contact& one);
    /// As put(). No failure if there is none of that name.
    void erase(std::string_view name);
    /// For what put() could not write: it is known from now on all the same, and the next change that can be written
    /// takes it along, or keep(). Nothing happens where put() would refuse it whatever the disk says.
    void note(const contact& one);
    /// Writes what is known and not kept. Fails as the disk does; costs nothing if there is none.
    void keep();

private:
    using table = std::map<std::string, contact, std::less<>>;

    void load();
    void save(const table& contacts);
    [[noreturn]] void damaged(errc code, const std::string& how) const { raise(code, path_.text() + ": " + how); }

    disk& disk_;
    disk_path path_;
    table contacts_;
    bool unkept_ = false;  // there is more in it than in the file
};

inline void contacts_file::load() {
    std::unique_ptr<disk_file> file;
    try {
        file = disk_.open(path_, open_mode::read);
    } catch (const std::system_error& error) {
        if (error.code() != errc::file_missing) throw;
        return;
    }
    constexpr std::uint64_t max_size = max_contacts * 512;
    const std::uint64_t size = file->size();
    if (size > max_size) damaged(errc::chat_malformed, "too long for a list of contacts");
    std::string text(static_cast<std::size_t>(size), '\0');
    text.resize(file->read_at(0, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()}));
    std::error_code ec;
    const auto whole = parse_json(text, ec, 8);
    if (!whole) damaged(errc::json_invalid, "not JSON");
    const json* const list = json_member(*whole, "contacts");
    if (list == nullptr || !list->is<json_array>()) damaged(errc::chat_malformed, "no list of contacts in it");
    for (const json& element : list->get<json_array>()) {
        const std::string where = "contact " + std::to_string(contacts_.size() + 1);
        const auto name = json_text(json_member(element, "name"));
        const auto hex = json_text(json_member(element, "key"));
        const auto key = hex ? identity_key::parse(*hex) : std::nullopt;
        const json* const verified = json_member(element, "verified");
        if (!name || !is_user_name(*name)) damaged(errc::chat_malformed, where + " has no valid name");
        if (!key) damaged(errc::chat_malformed, where + " has no valid key");
        if (verified == nullptr || !verified->is<bool>())
            damaged(errc::chat_malformed, where + " does not say whether it is verified");
        contact one{std::string(*name), *key, verified->get<bool>(), {}};
        // An address is a mere hint.
        if (const auto address = json_text(json_member(element, "address"))) one.address = endpoint::parse(*address);
        if (!contacts_.emplace(one.name, one).second) damaged(errc::chat_malformed, where + " is there twice");
    }
}

inline void contacts_file::save(const table& contacts) {
    std::string out = "{\"contacts\":[";
    const char* separator = "\n";
    for (const auto& [name, one] : contacts) {
        json_line line;
        line.add("name", name).add("key", one.key.hex()).add("verified", one.verified);
        if (one.address) line.add("address", one.address->to_string());
        out += std::string(std::exchange(separator, ",\n")) + line.take();
    }
    out += "\n]}\n";
    const disk_path fresh{path_.root, path_.below + ".new"};
    disk_.remove(fresh);
    const std::unique_ptr<disk_file> file = disk_.open(fresh, open_mode::create);
    file->write_at(0, as_bytes(out));
    file->sync();
    disk_.rename(fresh, path_);
    disk_.sync_directory({path_.root, {}});
    unkept_ = false;
}

inline void contacts_file::note(const contact& one) {
    if (!is_user_name(one.name) || (find(one.name) == nullptr && contacts_.size() >= max_contacts)) return;
    contacts_[one.name] = one;
    unkept_ = true;
}

inline void contacts_file::keep() {
    if (unkept_) save(contacts_);
}

inline void contacts_file::put(const contact& one) {
    if (!is_user_name(one.name)) raise(errc::name_invalid, path_.text());
    const contact* const known = find(one.name);
    if (known != nullptr && *known == one) return keep();
    if (known == nullptr && contacts_.size() >= max_contacts) raise(errc::queue_full, path_.text());
    table changed = contacts_;
    changed[one.name] = one;
    save(changed);
    contacts_ = std::move(changed);
}

inline void contacts_file::erase(std::string_view name) {
    table changed = contacts_;
    const auto at = changed.find(name);
    if (at == changed.end()) return;
    changed.erase(at);
    save(changed);
    contacts_ = std::move(changed);
}

}  // namespace cohort
