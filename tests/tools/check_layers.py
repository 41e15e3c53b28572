#!/usr/bin/env python3
"""Every #include of the library points down, every header compiles alone, and nobody pays for what they do not use.

Arguments:  [--no-compile]  leave out the compiler.
"""

# deadline: 900

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from fnmatch import fnmatch

from cpp_tokens import tokens

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Which rooms a header of a room may include. `roles` are the headers directly in include/cohort.
BELOW = {
    "core": {"core"},
    "protocol": {"core", "protocol"},
    "net": {"core", "protocol", "net"},
    "storage": {"core", "protocol", "storage"},
    "policy": {"core", "protocol", "policy"},
    "swarm": {"core", "protocol", "net", "storage", "policy", "swarm"},
    "chat": {"core", "protocol", "net", "storage", "policy", "swarm", "chat"},
    "web": {"core", "protocol", "net", "storage", "policy", "swarm", "chat", "web"},
    "sim": {"core", "protocol", "net", "storage", "sim"},
    "roles": {"core", "protocol", "net", "storage", "policy", "swarm", "chat", "web", "roles"},
    "umbrella": {"core", "protocol", "net", "storage", "policy", "swarm", "chat", "web", "roles"},
}

# Other people's headers: who may include them, as patterns of paths below include/cohort.
ASIO_ROOMS = ["net/*", "swarm/*", "chat/*", "web/*", "sim/*", "*.hpp"]
THIRD_PARTY = [
    ("boost/asio*", [], "Asio is the standalone one"),
    ("boost/beast.hpp", [], "Beast is included by its parts"),
    ("boost/beast/http.hpp", [], "Beast is included by its parts"),
    ("boost/*", ["net/http*"], "Boost (Beast) belongs to net/http*"),
    ("asio/ssl*", ["net/tls*"], "TLS belongs to net/tls*"),
    ("asio*", ASIO_ROOMS, "only net and what stands above it waits"),
    ("picojson*", ["protocol/json*"], "picojson belongs to protocol/json*"),
    ("sqlite3*", ["storage/database*"], "SQLite belongs to storage/database*"),
    ("openssl/*", ["core/hash*", "core/secret_random.hpp", "protocol/noise*", "net/tls*"],
     "OpenSSL belongs to core/hash*, core/secret_random.hpp, protocol/noise*, net/tls*"),
    ("doctest*", [], "the library does not test itself"),
    ("CLI/*", [], "flags belong to programs"),
]

# What a program that includes only the left must not get, however indirectly.
UNPAID = [
    ("cohort.hpp", ["sqlite3*"]),
    ("cohort/net/peer_connection.hpp", ["boost/*", "picojson*", "sqlite3*"]),
    ("cohort/protocol/wire.hpp", ["boost/*", "picojson*", "sqlite3*", "asio*"]),
    ("cohort/seeder.hpp", ["picojson*", "sqlite3*", "cohort/protocol/noise*", "cohort/web/*"]),
    ("cohort/leecher.hpp", ["picojson*", "sqlite3*", "cohort/protocol/noise*", "cohort/web/*"]),
]

CLOCK = re.compile(r"\b(?:steady|system|high_resolution)_clock::now\b|\brandom_device\b")
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]", re.MULTILINE)


def without_comments(text):
    """Comments become white space; strings stay, because a path in an #include may look like one."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.DOTALL)


def room_of(name):
    """The room of a header, from its path below include/."""
    parts = name.split("/")
    if parts[0] != "cohort":
        return "umbrella"
    return parts[1] if len(parts) > 2 else "roles"


def includes(text):
    """(line, delimiter, path) of each #include."""
    clean = without_comments(text)
    return [(clean.count("\n", 0, m.start(1)) + 1, m.group(1), m.group(2)) for m in INCLUDE.finditer(clean)]


def headers(include):
    return sorted(str(path.relative_to(include)) for path in include.rglob("*") if path.is_file())


def check_tree(include):
    """What is wrong in a tree of headers: texts `path:line: reason`."""
    wrong = []
    names = headers(include)
    for name in names:
        text = (include / name).read_text(encoding="utf-8")
        wrong += [f"{name}:{line}: {reason}" for line, reason in check_header(include, name, text)]
    for top, refused in UNPAID:
        for path, chain in closure(include, top).items():
            if any(fnmatch(path, pattern) for pattern in refused):
                wrong.append(f"{top}:1: pays for {path}, through {' > '.join(chain) or 'itself'}")
    return wrong


def check_header(include, name, text):
    room = room_of(name)
    short = name.removeprefix("cohort/")
    if not name.endswith(".hpp"):
        yield 1, "not a header: include/ holds nothing else"
        return
    if room not in BELOW:
        yield 1, f"there is no room {room}"
        return
    if not re.search(r"^#pragma once$", text, re.MULTILINE):
        yield 1, "no #pragma once"
    if not text.startswith("//"):
        yield 1, "the first line does not say what idea lives here"
    for line, delimiter, path in includes(text):
        if delimiter == '"':
            yield line, f'"{path}": headers include each other as <cohort/...>'
        elif path.startswith("cohort/") or path == "cohort.hpp":
            yield from check_own(include, line, room, path)
        else:
            for pattern, allowed, reason in THIRD_PARTY:
                if fnmatch(path, pattern):
                    if not any(matches(short, one) for one in allowed):
                        yield line, f"<{path}>: {reason}"
                    break
    words = tokens(text)
    if room in ("core", "protocol", "policy", "storage"):
        for token in words:
            if token.kind == "name" and (token.text == "asio" or token.text.startswith("ASIO_")):
                yield token.line, f"{room} never mentions Asio"
    if room in ("core", "protocol", "policy"):
        clean = without_comments(text)
        for match in CLOCK.finditer(clean):
            yield clean.count("\n", 0, match.start()) + 1, f"{room} reads no clock and draws no chance by itself"


def matches(short, pattern):
    """`*.hpp` means the roles alone; `net/*` everything below net."""
    if "/" not in pattern:
        return "/" not in short and fnmatch(short, pattern)
    return fnmatch(short, pattern)


def check_own(include, line, room, path):
    if not (include / path).is_file():
        yield line, f"<{path}> does not exist"
    elif path == "cohort.hpp":
        yield line, "<cohort.hpp> is for programs, not for the library"
    elif room_of(path) not in BELOW[room]:
        kind = "sideways" if {room, room_of(path)} <= {"net", "storage", "policy"} else "up"
        yield line, f"<{path}>: {room} must not include {room_of(path)}: it points {kind}"


def closure(include, top):
    """Every path that `top` includes, however indirectly, with the chain of headers that leads there."""
    found = {}
    waiting = [(top, [])]
    while waiting:
        name, chain = waiting.pop(0)
        if not (include / name).is_file():
            continue
        for _, _, path in includes((include / name).read_text(encoding="utf-8")):
            if path not in found:
                found[path] = chain + [name] if name != top else chain
                waiting.append((path, found[path] if name != top else [path]))
    return found


def compile_alone(name):
    """The first error of a program that includes this header only, or None."""
    result = subprocess.run(
        [os.environ.get("CXX", "g++"), "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow",
         "-Wconversion", "-Werror", "-fmax-errors=1", f"-I{ROOT / 'include'}", "-include", name,
         "-x", "c++", "/dev/null"],
        capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return None
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    return (errors or result.stderr.splitlines() or ["the compiler failed"])[0].replace(f"{ROOT}/", "")


# Small trees, each with the words that the complaint must hold; None: no complaint.
HEAD = "// An idea.\n#pragma once\n"
TREES = {
    "core may include core": ({"core/a.hpp": "#include <cohort/core/b.hpp>", "core/b.hpp": ""}, None),
    "core to protocol": ({"core/a.hpp": "#include <cohort/protocol/b.hpp>", "protocol/b.hpp": ""}, "points up"),
    "protocol to net": ({"protocol/a.hpp": "#include <cohort/net/b.hpp>", "net/b.hpp": ""}, "points up"),
    "net to storage": ({"net/a.hpp": "#include <cohort/storage/b.hpp>", "storage/b.hpp": ""}, "sideways"),
    "storage to policy": ({"storage/a.hpp": "#  include <cohort/policy/b.hpp>", "policy/b.hpp": ""}, "sideways"),
    "policy to net": ({"policy/a.hpp": "\t#include<cohort/net/b.hpp>", "net/b.hpp": ""}, "sideways"),
    "net to swarm": ({"net/a.hpp": "#include <cohort/swarm/b.hpp>", "swarm/b.hpp": ""}, "points up"),
    "swarm to a role": ({"swarm/a.hpp": "#include <cohort/seeder.hpp>", "seeder.hpp": ""}, "points up"),
    "swarm to sim": ({"swarm/a.hpp": "#include <cohort/sim/b.hpp>", "sim/b.hpp": ""}, "points up"),
    "sim to swarm": ({"sim/a.hpp": "#include <cohort/swarm/b.hpp>", "swarm/b.hpp": ""}, "points up"),
    "web to a role": ({"web/a.hpp": "#include <cohort/node.hpp>", "node.hpp": ""}, "points up"),
    "a role to swarm": ({"seeder.hpp": "#include <cohort/swarm/a.hpp>", "swarm/a.hpp": ""}, None),
    "a role to a role": ({"hub.hpp": "#include <cohort/tracker.hpp>", "tracker.hpp": ""}, None),
    "the umbrella from inside": ({"seeder.hpp": "#include <cohort.hpp>", "../cohort.hpp": ""}, "for programs"),
    "a missing header": ({"core/a.hpp": "#include <cohort/core/b.hpp>"}, "does not exist"),
    "a quoted header": ({"core/a.hpp": '#include "b.hpp"', "core/b.hpp": ""}, "include each other as"),
    "a comment is no include": ({"core/a.hpp": "// #include <cohort/net/b.hpp>\n/*\n#include <asio.hpp>\n*/"}, None),
    "an unknown room": ({"utils/a.hpp": ""}, "no room"),
    "a file that is no header": ({"core/a.cpp": ""}, "not a header"),
    "Asio in core": ({"core/a.hpp": "#include <asio/buffer.hpp>"}, "only net"),
    "Asio in storage": ({"storage/a.hpp": "#include <asio.hpp>"}, "only net"),
    "Asio mentioned in policy": ({"policy/a.hpp": "namespace asio { class executor; }"}, "never mentions Asio"),
    "Asio's macros in protocol": ({"protocol/a.hpp": "inline int x = ASIO_VERSION;"}, "never mentions Asio"),
    "Asio in a comment or string": ({"core/a.hpp": '// asio\ninline auto x = "asio";'}, None),
    "Asio in net": ({"net/a.hpp": "#include <asio/awaitable.hpp>\nusing asio::awaitable;"}, None),
    "Asio in a role": ({"seeder.hpp": "#include <asio/awaitable.hpp>"}, None),
    "Boost.Asio": ({"net/http.hpp": "#include <boost/asio.hpp>"}, "standalone"),
    "Beast in net/http": ({"net/http_parser.hpp": "#include <boost/beast/http/parser.hpp>"}, None),
    "Beast elsewhere": ({"net/tracker.hpp": "#include <boost/beast/http/parser.hpp>"}, "net/http*"),
    "Beast as a whole": ({"net/http.hpp": "#include <boost/beast/http.hpp>"}, "by its parts"),
    "picojson in protocol/json": ({"protocol/json.hpp": "#include <picojson.h>"}, None),
    "picojson elsewhere": ({"swarm/a.hpp": "#include <picojson.h>"}, "protocol/json*"),
    "SQLite in storage/database": ({"storage/database.hpp": "#include <sqlite3.h>"}, None),
    "SQLite elsewhere": ({"storage/files.hpp": "#include <sqlite3.h>"}, "storage/database*"),
    "OpenSSL in core/hash": ({"core/hash.hpp": "#include <openssl/evp.h>"}, None),
    "OpenSSL elsewhere": ({"core/ids.hpp": "#include <openssl/sha.h>"}, "OpenSSL belongs"),
    "TLS outside net/tls": ({"net/stream.hpp": "#include <asio/ssl.hpp>"}, "net/tls*"),
    "doctest": ({"core/a.hpp": "#include <doctest/doctest.h>"}, "does not test itself"),
    "a clock in policy": ({"policy/a.hpp": "auto now() { return std::chrono::steady_clock::now(); }"}, "no clock"),
    "a clock in net": ({"net/a.hpp": "auto now() { return std::chrono::steady_clock::now(); }"}, None),
    "the wire paying for Beast": (
        {"net/peer_connection.hpp": "#include <cohort/net/http.hpp>",
         "net/http.hpp": "#include <boost/beast/http/parser.hpp>"},
        "pays for boost/beast"),
    "the umbrella paying for SQLite": (
        {"../cohort.hpp": "#include <cohort/node.hpp>", "node.hpp": "#include <cohort/storage/database.hpp>",
         "storage/database.hpp": "#include <sqlite3.h>"}, "pays for sqlite3.h"),
}


def self_test():
    wrong = []
    for name, (files, expected) in TREES.items():
        with tempfile.TemporaryDirectory() as folder:
            for path, text in files.items():
                file = pathlib.Path(folder, "cohort", path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.resolve().write_text(HEAD + text + "\n", encoding="utf-8")
            found = check_tree(pathlib.Path(folder))
        if (expected is None) != (not found) or (expected and expected not in " ".join(found)):
            wrong.append(f"{name}: {found}")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "cohort", "core", "a.hpp")
        file.parent.mkdir(parents=True)
        file.write_text("int x;\n", encoding="utf-8")
        if len(check_tree(pathlib.Path(folder))) != 2:
            wrong.append("a header without #pragma once and first comment")
    for one in wrong:
        print(f"not ok self-test of check_layers: {one}")
    if not wrong:
        print(f"ok check_layers judges {len(TREES) + 1} small trees rightly")
    return len(wrong)


def main():
    failed = self_test()
    include = ROOT / "include"
    names = headers(include)
    wrong = check_tree(include)
    failed += len(wrong)
    for one in wrong:
        print(f"not ok layers: {one}")
    if not wrong:
        print(f"ok every include of {len(names)} headers points down")

    if "--no-compile" not in sys.argv:
        jobs = int(os.environ.get("COHORT_JOBS", min(2, os.cpu_count() or 1)))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            errors = [(name, error) for name, error in zip(names, pool.map(compile_alone, names)) if error]
        failed += len(errors)
        for name, error in errors:
            print(f"not ok header alone: {name}: {error}")
        if not errors:
            print(f"ok each of {len(names)} headers compiles alone, without a warning")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
