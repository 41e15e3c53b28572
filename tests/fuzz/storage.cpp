// Files that were damaged or put there by somebody else: resume journals, chat logs, contacts.

#include <memory>
#include <optional>
#include <set>
#include <string>

#include <cohort/sim/disk.hpp>
#include <cohort/storage/chat_log.hpp>
#include <cohort/storage/contacts_file.hpp>
#include <cohort/storage/resume_journal.hpp>
#include <cohort/storage/torrent_files.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

const std::string folder = "/disk";
constexpr std::uint32_t journal_record = 16;

/// A disk in memory with one folder.
struct memory_disk {
    std::shared_ptr<sim::medium> platters = std::make_shared<sim::medium>();
    sim::disk disk{platters};

    memory_disk() { disk.create_directories({folder, {}}); }

    byte_vector read(const std::string& name) {
        const auto file = disk.open({folder, name}, open_mode::read);
        byte_vector out(static_cast<std::size_t>(file->size()));
        out.resize(file->read_at(0, out));
        return out;
    }
    void write(const std::string& name, byte_view bytes) {
        const auto file = disk.open({folder, name}, open_mode::create);
        file->resize(0);
        file->write_at(0, bytes);
    }
};

/// A torrent of two files and twelve pieces, whose journal is opened again and again.
struct journal_script {
    static constexpr std::uint32_t piece_length = 64;
    static constexpr piece_index pieces = 12;

    memory_disk d;
    info_hash hash;
    piece_layout layout{pieces * piece_length, piece_length};
    std::unique_ptr<torrent_files> files;
    std::unique_ptr<resume_journal> journal;

    resume_journal& open() {
        journal.reset();
        const std::uint64_t half = layout.total_size() / 2;
        const std::vector<file_entry> both{{.path = "t/a", .length = half},
                                           {.path = "t/b", .length = half, .offset = half}};
        files = std::make_unique<torrent_files>(d.disk, both, layout, folder);
        journal = std::make_unique<resume_journal>(d.disk, folder, hash, *files);
        snapshot = d.read(name()).size();
        return *journal;
    }
    std::string name() const { return journal_name(hash); }

    std::set<piece_index> verified;
    std::set<piece_index> safe;  // of those: what a checkpoint or a clean stop covered
    bool in_doubt = false;       // a sync failed since the journal was opened
    std::size_t snapshot = 0;    // bytes; the records follow

    /// Nobody can see that there were more records. The system never forgets whole ones alone, short of a loss of
    /// power.
    bool ends_after_whole_record(const byte_vector& file) const {
        return file.size() >= snapshot && (file.size() - snapshot) % journal_record == 0;
    }

    void check_found() const {
        const resume_state& found = journal->found();
        require(found.verified.size() == pieces && found.recheck.size() == pieces, "one bit a piece");
        for (piece_index i = 0; i < pieces; ++i)
            require(!found.verified.get(i) || !found.recheck.get(i), "no piece is in both");
    }

    bool is_right(piece_index piece) {
        byte_vector bytes(piece_length);
        return files->try_read(layout.offset(piece), bytes) && bytes == content();
    }
    static byte_vector content() { return byte_vector(piece_length, 1); }

    /// Tries to bring everything to safety while the syncs of one file fail, or of none if it is null.
    template <class Call>
    void sync_by(Call call, const char* failing) {
        d.platters->fault = [failing](const char* what, const std::string& path) {
            const bool now = failing && std::string_view(what) == "sync" && path.ends_with(failing);
            return now ? make_error_code(errc::disk_failed) : std::error_code();
        };
        try {
            call();
            require(!in_doubt, "what was lost once is not safe later");
            safe = verified;
        } catch (const std::system_error& error) {
            require(error.code() == errc::disk_failed, "a failed sync is told as it is");
            in_doubt = true;
        }
        d.platters->fault = nullptr;
    }

    /// A program starts, after the last one ended or the power went.
    void begin_anew(bool power_goes) {
        if (power_goes) d.platters->lose_power();
        const bool all_there = !power_goes && !std::exchange(in_doubt, false);
        in_doubt = false;
        open();
        check_found();
        const resume_state found = journal->found();
        files->create();
        for (piece_index i = 0; i < pieces; ++i) {
            require(!all_there || found.verified.get(i) == verified.contains(i), "a restart forgets nothing");
            require(all_there || found.verified.get(i) == safe.contains(i), "what is safe is verified, and no more");
            require(!found.verified.get(i) || is_right(i), "what is verified is there");
            require(found.verified.get(i) || found.recheck.get(i) || !is_right(i), "what is there is not forgotten");
            if (!found.verified.get(i)) verified.erase(i);
        }
    }
    void recheck() {
        const bitfield which = journal->found().recheck;
        for (piece_index i = 0; i < pieces; ++i) {
            if (!which.get(i) || !is_right(i) || !verified.insert(i).second) continue;
            journal->append_verified(i);
        }
        journal->append_rechecked();
    }
};

/// Damage as disks do it, which a CRC-32 is there to see: up to four bytes in a row, an end that is missing or zero, or
/// records that stand where others should.
void damage(byte_vector& file, script& from) {
    if (file.empty()) return;
    const std::uint32_t at = from.below(static_cast<std::uint32_t>(file.size()));
    const auto begin = file.begin() + static_cast<std::ptrdiff_t>(at);
    switch (from.byte() % 4) {
    case 0: file.resize(at); break;
    case 1: std::fill(begin, file.end(), std::uint8_t{0}); break;
    case 2:
        for (std::uint32_t i = at; i < file.size() && i < at + 4; ++i) file[i] ^= from.byte();
        break;
    default: {
        if (file.size() < 2 * journal_record) break;
        const std::uint32_t other = from.below(static_cast<std::uint32_t>(file.size() - journal_record));
        const byte_vector copy(file.begin() + other, file.begin() + other + journal_record);
        std::copy(copy.begin(), copy.end(), file.end() - journal_record);
    }
    }
}

void check_resume_journal(byte_view input) {
    script from(input);
    journal_script s;
    s.open();
    s.files->create();
    s.journal->append_rechecked();
    for (int steps = 0; steps < 40 && !from.done(); ++steps) {
        const piece_index piece = from.below(journal_script::pieces);
        const auto checkpoint = [&s] { s.journal->checkpoint(); };
        const auto close_clean = [&s] { s.journal->close_clean(); };
        const char* const one_file = piece % 2 != 0 ? "t/a" : "t/b";
        switch (from.byte() % 16) {
        case 0: s.sync_by(checkpoint, nullptr); break;
        case 1: s.journal->append_sign_of_life(); break;
        case 2: s.sync_by(close_clean, nullptr); [[fallthrough]];  // after which a program ends
        case 3: s.begin_anew(false); break;
        case 12: s.begin_anew(true); break;
        case 13: s.sync_by(checkpoint, one_file); break;
        case 14:
            s.sync_by(close_clean, one_file);
            s.begin_anew(false);
            break;
        case 15: s.recheck(); break;
        default:
            if (!s.verified.insert(piece).second) break;
            s.files->write(s.layout.offset(piece), journal_script::content());
            s.journal->append_verified(piece);
        }
    }
    byte_vector file = s.d.read(s.name());
    const std::size_t whole = file.size();
    damage(file, from);
    const bool is_cut = file.size() < whole && s.ends_after_whole_record(file);
    s.d.write(s.name(), file);
    s.open();
    s.check_found();
    for (piece_index i = 0; i < journal_script::pieces; ++i) {
        const resume_state& found = s.journal->found();
        require(!found.verified.get(i) || s.verified.contains(i), "damage verifies no piece");
        require(is_cut || !s.verified.contains(i) || found.verified.get(i) || found.recheck.get(i),
                "damage loses no piece");
    }
}

/// Any bytes as a journal. Somebody who can compute a CRC may claim pieces: they are hashed when they are first given.
void check_resume_journal_bytes(byte_view input) {
    journal_script s;
    s.open();
    s.files->create();
    byte_vector file = s.d.read(s.name());
    script from(input);
    const std::uint32_t kept = from.below(static_cast<std::uint32_t>(file.size()) + 1);
    const byte_view rest = from.rest();
    file.resize(kept);
    file.insert(file.end(), rest.begin(), rest.end());
    s.d.write(s.name(), file);
    s.open();
    s.check_found();
    const bitfield before = s.journal->found().verified;
    s.open();
    require(s.journal->found().verified == before, "what was read is what is written");
}

using records = std::vector<byte_vector>;

/// What a log with this key replays; nothing if it says that it is damaged.
std::optional<records> replayed(memory_disk& d, const key32& key) {
    records out;
    const auto each = [&out](std::uint64_t index, byte_view payload) {
        require(index == out.size(), "records come in their order");
        out.emplace_back(payload.begin(), payload.end());
    };
    try {
        chat_log log(d.disk, folder, "log", key, each);
        require(log.size() == out.size(), "a log counts its records");
        for (std::size_t i = 0; i < out.size(); ++i)
            require(log.read(i) == out[i], "a record reads as it was replayed");
    } catch (const std::system_error& error) {
        require(error.code() == errc::log_damaged, "a log is whole or damaged");
        return std::nullopt;
    }
    return out;
}

void check_chat_log(byte_view input) {
    script from(input);
    memory_disk d;
    const key32 key{1};
    records kept;
    for (std::uint32_t rounds = from.below(3); rounds > 0; --rounds) {
        chat_log log(d.disk, folder, "log", key, nullptr);
        for (std::uint32_t batches = from.below(4); batches > 0; --batches) {
            records batch;
            for (std::uint32_t size = 1 + from.below(3); size > 0; --size) {
                const byte_view said = from.some();
                batch.emplace_back(said.begin(), said.end());
            }
            const std::vector<byte_view> views(batch.begin(), batch.end());
            log.append(views);
            kept.insert(kept.end(), batch.begin(), batch.end());
        }
    }
    require(replayed(d, key) == kept, "what was appended is replayed");
    const byte_vector whole = d.read("log");
    byte_vector changed = altered(whole, from);
    if (from.flag()) changed = altered(changed, from);
    d.write("log", changed);
    const auto got = replayed(d, key);
    if (got) {
        require(got->size() <= kept.size() && std::equal(got->begin(), got->end(), kept.begin()), "nothing is made up");
        // One mark of two may be lost without harm, but what it covers is covered by the other or by the records.
        std::size_t different = 0;
        for (std::size_t i = 0; i < std::min(whole.size(), changed.size()); ++i) different += whole[i] != changed[i];
        require(changed.size() < whole.size() || different > 1 || *got == kept, "one changed byte loses no record");
    }
    if (kept.empty() || from.flag()) return;
    d.write("log", whole);
    require(!replayed(d, key32{2}), "another key opens nothing");
}

void check_contacts_file(byte_view input) {
    memory_disk d;
    d.write("contacts", input);
    const auto load = [&d] { return contacts_file(d.disk, folder, "contacts"); };
    try {
        contacts_file contacts = load();
        for (const contact& one : contacts.all())
            require(is_user_name(one.name) && *contacts.find(one.name) == one, "contacts have names");
        contacts.put({"somebody new", {}, true, endpoint{ip_address::loopback_v4(), 1}});
        require(load().all() == contacts.all(), "what is written reads the same");
        contacts.erase("somebody new");
        require(load().all() == contacts.all() && !contacts.find("somebody new"), "who was erased is gone");
    } catch (const std::system_error& error) {
        require(error.code() == errc::json_invalid || error.code() == errc::chat_malformed, "the file is damaged");
        require(d.read("contacts") == byte_vector(input.begin(), input.end()), "a damaged file is left as it is");
    }
}

constexpr target table[] = {
    {"resume_journal", check_resume_journal, 512},
    {"resume_journal_bytes", check_resume_journal_bytes, 1024},
    {"chat_log", check_chat_log, 1024},
    {"contacts_file", check_contacts_file, 2048},
};

}  // namespace

std::span<const target> storage_targets() { return table; }

}  // namespace cohort::fuzz
