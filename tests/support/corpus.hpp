// The corpus of recorded cases (tests/data/corpus/README.md): each group is a manifest and the files it names.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/protocol/json.hpp>

namespace cohort::test {

/// tests/data, wherever the test runs.
inline std::filesystem::path data_directory() { return COHORT_TEST_DATA; }

inline byte_vector read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// One case of a group. Absent members read as JSON null.
struct corpus_case {
    std::string id;
    picojson::value json;
    std::filesystem::path group;

    const picojson::value& expect() const { return json.get("expect"); }
    const picojson::value& input() const { return json.get("input"); }
    bool has_file() const { return json.contains("file"); }
    byte_vector bytes() const { return read_file(group / json.get("file").get<std::string>()); }
};

inline std::vector<corpus_case> corpus(const std::string& group) {
    const std::filesystem::path folder = data_directory() / "corpus" / group;
    const byte_vector text = read_file(folder / "manifest.json");
    picojson::value manifest;
    const std::string error = picojson::parse(manifest, std::string(as_text(text)));
    if (!error.empty()) throw std::runtime_error(group + "/manifest.json: " + error);
    std::vector<corpus_case> cases;
    for (const picojson::value& one : manifest.get("cases").get<picojson::array>()) {
        cases.push_back({one.get("id").get<std::string>(), one, folder});
    }
    return cases;
}

}  // namespace cohort::test
