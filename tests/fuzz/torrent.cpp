// What .torrent files hold: bencode, metainfo, and names of files.

#include <map>
#include <optional>
#include <set>
#include <string>

#include <cohort/protocol/bencode.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/protocol/metainfo_write.hpp>
#include <cohort/protocol/safe_path.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

/// Writes a value in the one form that BEP 3 allows; of keys that occur again the first counts, as for node[].
void write_sorted(bencode::node value, bencode::writer& out) {
    if (value.is_dict()) {
        std::map<std::string_view, bencode::node> sorted;
        for (const auto [key, element] : value.entries()) sorted.emplace(key, element);
        out.begin_dict();
        for (const auto& [key, element] : sorted) {
            require(value[key].raw().data() == element.raw().data(), "a key finds its first value");
            write_sorted(element, out.key(key));
        }
        out.end();
    } else if (value.is_list()) {
        out.begin_list();
        for (const bencode::node element : value) write_sorted(element, out);
        out.end();
    } else if (const auto text = value.text()) {
        out.text(*text);
    } else if (const auto number = value.integer()) {
        out.integer(*number);
    } else {
        out.raw(value.raw());  // an integer beyond 64 bits
    }
}

std::string sorted_form(const bencode::document& from) {
    bencode::writer out;
    write_sorted(from.root(), out);
    return out.take();
}

void check_bencode(byte_view input) {
    std::error_code ec;
    std::size_t consumed = 0;
    const auto value = bencode::parse_prefix(input, consumed, ec);
    require(value.has_value() == !ec, "a value or an error, never both");
    constexpr bencode::limits few{.depth = 4, .items = 32};
    std::error_code small_ec;
    const auto small = bencode::parse_prefix(input, consumed, small_ec, few);
    if (!value) {
        require(!small, "lower limits accept nothing more");
        return;
    }
    require(small || small_ec == errc::bencode_limit, "what exceeds a limit says so");
    const byte_view whole = value->root().raw();
    require(whole.data() == input.data() && whole.size() <= input.size(), "the root is the front of the input");
    require(bencode::parse(whole, ec).has_value(), "the value alone is whole");
    require(!bencode::parse(whole.first(whole.size() - 1), ec), "a value that is cut is none");
    require(bencode::parse(input, ec).has_value() == (whole.size() == input.size()), "nothing may follow");

    const std::string sorted = sorted_form(*value);
    require(!value->canonical() || sorted == as_text(whole), "a canonical value is written as it came");
    const auto again = bencode::parse(as_bytes(sorted), ec);
    require(again && sorted_form(*again) == sorted, "what is written reads the same");
}

bool is_safe_path(std::string_view path) {
    for (;;) {
        const std::string_view component = path.substr(0, path.find('/'));
        if (safe_component(component) != component) return false;
        if (component.size() == path.size()) return true;
        path.remove_prefix(component.size() + 1);
    }
}

/// Whether all are different and none is a folder of another.
bool are_distinct(const std::vector<std::string>& paths) {
    const std::set<std::string> all(paths.begin(), paths.end());
    if (all.size() != paths.size()) return false;
    for (const std::string& path : all) {
        for (std::size_t at = path.find('/'); at != path.npos; at = path.find('/', at + 1))
            if (all.contains(path.substr(0, at))) return false;
    }
    return true;
}

void check_promises(const metainfo& m) {
    require(m.piece_length >= 1 && m.piece_length <= max_piece_length, "the piece length is within limits");
    require(m.piece_hashes.size() == m.layout().piece_count() && m.piece_hashes.size() <= max_piece_count,
            "each piece has its hash");
    require(m.hash.bytes == sha1_of(m.info).bytes, "the info-hash is that of the raw dictionary");
    require(safe_component(m.name) == m.name, "the name is safe");
    std::uint64_t offset = 0;
    std::vector<std::string> paths;
    for (const file_entry& file : m.files) {
        require(file.offset == offset, "files follow one another");
        offset += file.length;
        require(is_safe_path(file.path), "paths are safe");
        require(file.path.starts_with(m.name) || !m.multi_file, "paths begin with the torrent's name");
        paths.push_back(file.path);
    }
    require(!m.files.empty() && offset == m.total_size, "files fill the torrent");
    require(are_distinct(paths), "no two files have one path");
    require(is_utf8(m.comment) && is_utf8(m.created_by), "words are UTF-8");
}

bool same_content(const metainfo& a, const metainfo& b) {
    const auto same_file = [](const file_entry& x, const file_entry& y) {
        return x.path == y.path && x.length == y.length && x.offset == y.offset && x.pad == y.pad &&
               x.author_path == y.author_path;
    };
    return a.hash == b.hash && a.name == b.name && a.piece_length == b.piece_length && a.total_size == b.total_size &&
           std::equal(a.files.begin(), a.files.end(), b.files.begin(), b.files.end(), same_file) &&
           a.multi_file == b.multi_file && a.piece_hashes == b.piece_hashes && a.is_private == b.is_private &&
           a.info == b.info;
}

void check_metainfo(byte_view input) {
    std::error_code ec;
    const auto m = parse_metainfo(input, ec);
    require(m.has_value() == !ec, "a torrent or an error, never both");
    if (!m) return;
    check_promises(*m);
    const auto info = parse_info(m->info, ec);
    require(info && same_content(*m, *info), "the info dictionary alone says the same (BEP 9)");
    const auto again = parse_metainfo(as_bytes(write_metainfo(*m)), ec);
    require(again && same_content(*m, *again), "the content survives writing");
    require(again->trackers == m->trackers && again->url_list == m->url_list && again->nodes == m->nodes,
            "addresses survive writing");
    require(
        again->comment == m->comment && again->created_by == m->created_by && again->creation_date == m->creation_date,
        "words survive writing");
}

/// A torrent of the user's own files, whatever they are called.
void check_torrent_draft(byte_view input) {
    script from(input);
    torrent_draft draft;
    draft.multi_file = from.flag();
    draft.is_private = from.flag();
    draft.piece_length = 4096 + from.number<std::uint16_t>();
    draft.name = safe_component(as_text(from.some()));
    const std::uint32_t count = draft.multi_file ? 1 + from.below(8) : 1;
    std::uint64_t total = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        draft_file& file = draft.files.emplace_back();
        file.length = from.number<std::uint16_t>();
        total += file.length;
        if (!draft.multi_file) continue;
        file.pad = from.byte() % 4 == 0;
        for (std::uint32_t depth = 1 + from.below(3); depth > 0; --depth)
            file.path.push_back(safe_component(std::to_string(i) + "-" + std::string(as_text(from.some()))));
    }
    draft.piece_hashes.resize((total + draft.piece_length - 1) / draft.piece_length);

    std::error_code ec;
    const byte_vector written = write_info(draft);
    const auto document = bencode::parse(written, ec);
    require(document && document->canonical(), "what we write is canonical");
    const auto m = parse_info(written, ec);
    require(m.has_value(), "what we write can be read");
    check_promises(*m);
    require(m->name == draft.name && m->total_size == total && m->piece_length == draft.piece_length &&
                m->is_private == draft.is_private && m->files.size() == count,
            "a draft becomes the torrent that it describes");
    for (std::size_t i = 0; i < count; ++i) {
        std::string path = draft.name;
        for (const std::string& component : draft.files[i].path) path += "/" + component;
        require(m->files[i].path == path && m->files[i].length == draft.files[i].length, "files keep names and sizes");
        require(m->files[i].pad == (draft.files[i].pad), "padding stays padding");
    }
    const std::uint64_t size = from.number<std::uint64_t>() % (std::uint64_t{max_piece_count} * max_piece_length);
    const std::uint32_t length = choose_piece_length(size);
    require(std::has_single_bit(length) && length >= block_size && size / length < max_piece_count,
            "every size gets a piece length that a torrent may have");
}

void check_safe_component(byte_view input) {
    const std::string safe = safe_component(as_text(input));
    require(!safe.empty() && safe != "." && safe != ".." && safe.size() <= max_component_size, "a name for any disk");
    require(is_utf8(safe), "the name is UTF-8");
    for (std::string_view left = safe; !left.empty();)
        require(!detail::is_unsafe(*take_code_point(left)), "no separator and nothing unseen is left");
    require(!detail::is_device_name(safe), "no name of a device");
    require(safe.back() != '.' && safe.back() != ' ', "Windows does not drop its end");
    require(safe_component(safe) == safe, "a safe name comes back unchanged");
}

/// Paths as torrents have them, a line each.
void check_file_names(byte_view input) {
    script from(input);
    std::vector<std::string> paths;
    while (!from.done()) {
        std::string_view raw = from.line();
        std::string& path = paths.emplace_back(safe_component(raw.substr(0, raw.find('/'))));
        while (raw.find('/') != raw.npos) {
            raw.remove_prefix(raw.find('/') + 1);
            path += '/' + safe_component(raw.substr(0, raw.find('/')));
        }
    }
    const auto changes = [&paths] {
        std::vector<const std::string*> views;
        for (const std::string& path : paths) views.push_back(&path);
        return distinct_paths(views);
    };
    const std::vector<new_path> fresh = changes();
    require(!fresh.empty() == !are_distinct(paths), "what is distinct stays, what is not changes");
    for (std::size_t i = 0; i < fresh.size(); ++i) {
        require(i == 0 || fresh[i - 1].index < fresh[i].index, "changes come in the order of the input");
        std::string& path = paths[fresh[i].index];
        require(path.substr(0, path.rfind('/') + 1) == fresh[i].path.substr(0, fresh[i].path.rfind('/') + 1),
                "only last components change");
        path = fresh[i].path;
        require(is_safe_path(path), "a new name is safe as well");
    }
    require(are_distinct(paths) && changes().empty(), "afterwards all are distinct");
}

constexpr target table[] = {
    {"bencode", check_bencode, 4096},
    {"metainfo", check_metainfo, 16384},
    {"torrent_draft", check_torrent_draft, 2048},
    {"safe_component", check_safe_component, 1024},
    {"file_names", check_file_names, 2048},
};

}  // namespace

std::span<const target> torrent_targets() { return table; }

}  // namespace cohort::fuzz
