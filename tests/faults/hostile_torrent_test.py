"""Hostile and damaged .torrent files: no program crashes, hangs, grows or leaves its folder.

COHORT_SEED repeats a run."""

import json
import os
import pathlib
import random
import resource
import shutil
import signal

import testing

SEED = int(os.environ.get("COHORT_SEED", random.SystemRandom().randrange(10**6)))
print(f"# COHORT_SEED={SEED}", flush=True)
CORPUS = testing.ROOT / "tests" / "data" / "corpus" / "metainfo"
# KiB. Sanitizers keep freed memory for a while.
MEMORY = 150_000 * (8 if testing.TIME_FACTOR > 1 else 1)


def corpus():
    for case in json.loads((CORPUS / "manifest.json").read_text())["cases"]:
        yield case["id"], (CORPUS / case["file"]).read_bytes()


def silent(torrent):
    """Without its trackers: a test asks nobody on the Internet."""
    return torrent.replace(b"announce", b"annoXnce")


def encode(value):
    """Bencode, of keys in the order given."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, (bytes, str)):
        data = value.encode() if isinstance(value, str) else value
        return b"%d:" % len(data) + data
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(key) + encode(value[key]) for key in value) + b"e"


def torrent(files=None, name="name", length=None, piece_length=16384, pieces=None):
    info = {"files": files} if files is not None else {"length": length}
    total = length if files is None else sum(file["length"] for file in files)
    if pieces is None:
        pieces = bytes(20 * max(0, -(-total // piece_length))) if total < 1 << 40 else bytes(20)
    return encode({"info": {**info, "name": name, "piece length": piece_length, "pieces": pieces}})


def file(*path, length=1):
    return {"length": length, "path": list(path)}


HAND_MADE = {
    "empty": b"",
    "one letter": b"d",
    "lists a million deep": b"l" * 1_000_000,
    "dictionaries a million deep": b"d1:a" * 1_000_000,
    "a string longer than all memory": b"d4:info99999999999999999999:x",
    "a string of almost 2^64": b"d4:info18446744073709551615:x",
    "a number without an end": b"d4:infoi" + b"9" * 1_000_000,
    "twenty million empty lists": b"d4:infol" + b"le" * 10_000_000 + b"ee",
    "piece length 0": torrent(length=10, piece_length=1).replace(b"lengthi1e", b"lengthi0e"),
    "piece length of 2^40": torrent(length=10, piece_length=1 << 40, pieces=bytes(20)),
    "a negative length": torrent(length=-5, pieces=bytes(20)),
    "a length of 2^63 - 1": torrent(length=(1 << 63) - 1, pieces=bytes(20)),
    "lengths that overflow": torrent([file("a", length=(1 << 63) - 1), file("b", length=(1 << 63) - 1)]),
    "no files": torrent([]),
    "a file of nothing": torrent(length=0, pieces=b""),
    "hashes that are not whole": torrent(length=10, pieces=bytes(19)),
    "too many hashes": torrent(length=10, pieces=bytes(40)),
    "a path that climbs": torrent([file("..", "..", "..", "escaped"), file("x", "..", "..", "escaped")]),
    "a name that climbs": torrent(length=1, name="../escaped"),
    "a name that is a root": torrent([file("escaped")], name="/"),
    "a name of dots": torrent([file("escaped")], name=".."),
    "a name of nothing": torrent([file("escaped")], name=""),
    "absolute paths": torrent([file("/tmp/escaped"), file("", "tmp", "escaped")]),
    "a NUL in a path": torrent([file("a\0b")]),
    "a terminal's commands in a name": torrent(length=1, name="\x1b]0;owned\x07\x1b[2J\nsecond line"),
    "a thousand equal paths": torrent([file("same")] * 1000),
    "a file that is also a folder": torrent([file("a"), file("a", "b"), file("a", "b", "c")]),
    "paths 400 deep": torrent([file(*["d"] * 400, "f")]),
    "paths 100,000 deep": torrent([file(*["d"] * 100_000, "f")]),
    "a component of 10,000 letters": torrent([file("x" * 10_000)]),
    "the journal's own name": torrent([file(".0000000000000000000000000000000000000000.cohort")]),
    "20,000 files": torrent([file(str(number), length=0) for number in range(19_999)] + [file("z")]),
}


def mutate(data, chance):
    data = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        if not data:
            break
        at, size = chance.randrange(len(data)), chance.randrange(1, 30)
        kind = chance.randrange(5)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at:at + size]
        elif kind == 2:
            data[at:at] = data[at:at + size]
        elif kind == 3:
            data[at:at] = chance.choice([b"i-1e", b"i9223372036854775807e", b"0:", b"99999999:", b"de", b"le", b"e"])
        else:
            del data[max(at, 1):]
    return bytes(data) or b"d"


def mutants(count):
    chance = random.Random(SEED)
    bases = [data for _, data in corpus() if len(data) < 50_000]
    for number in range(count):
        yield f"mutant {number}", mutate(chance.choice(bases), chance)


def one_line(t, name, process):
    t.check(process.err.count("\n") == 1, f"{name}: {process.name} says {process.err[:300]!r}")


def check_memory(t, what):
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    t.check(peak < MEMORY, f"{peak} KiB {what}")


def show(t, cases):
    """torrent_info reads it or refuses it with 2; returns those that it reads."""
    good = []
    path = t.folder / "x.torrent"
    for name, data in cases:
        path.write_bytes(data)
        shown = t.run("torrent_info", path, timeout=20)
        t.check(shown.code in (0, 2), f"{name}: torrent_info ends with {shown.code}: {shown.tail()}")
        t.check("\x1b" not in shown.out + shown.err, f"{name}: control characters reach the terminal")
        if shown.code == 2:
            one_line(t, name, shown)
        else:
            as_json = t.run("torrent_info", path, "--json", timeout=20)
            t.check(as_json.code == 0 and json.loads(as_json.out)["info_hash"], f"{name}: {as_json.tail()}")
            good.append((name, data))
    check_memory(t, "for torrent_info")
    path.unlink()
    return good


def run_roles(t, cases):
    """Seeder and leecher begin with it or refuse it; and nothing is written outside of the leecher's folder."""
    inner = t.folder / "a" / "b"
    inner.mkdir(parents=True)
    path = inner / "x.torrent"
    out = inner / "out"
    for name, data in cases:
        path.write_bytes(silent(data))
        for arguments in (["leecher", path, out], ["seeder", path, inner / "nothing"]):
            process = t.start(*arguments, "--host", "127.0.0.1", "--port", "0", "--json")
            testing.until(lambda: process.code is not None or process.events("started"), 20, f"{name}: {process.name}")
            if process.code is None:
                process.popen.send_signal(signal.SIGINT)
            code = process.wait(10)
            # A signal that comes while the process ends anyway finds nobody to turn it into 130.
            t.check(code in (0, 1, 2, 130, -signal.SIGINT),
                    f"{name}: {process.name} ends with {code}: {process.tail()}")
            if code in (1, 2):
                one_line(t, name, process)
        around = {entry.name for folder in (inner, inner.parent, t.folder) for entry in folder.iterdir()
                  if not entry.name.startswith(".")}
        more = around - {"a", "b", path.name, out.name}
        t.check(not more, f"{name}: {more} outside of the folder")
        t.check(not pathlib.Path("/tmp/escaped").exists(), f"{name}: /tmp/escaped")
        shutil.rmtree(out, ignore_errors=True)
    check_memory(t, "for seeder and leecher")


@testing.case("the recorded torrents, valid and not", deadline=120)
def _(t):
    good = show(t, corpus())
    t.check(len(good) > 30, f"only {len(good)} are valid")
    run_roles(t, good)


@testing.case("torrents made to hurt", deadline=120)
def _(t):
    good = show(t, HAND_MADE.items())
    t.check(10 < len(good) < 25, f"valid are {[name for name, _ in good]}")
    run_roles(t, good)


@testing.case("200 recorded torrents with random damage", deadline=120)
def _(t):
    good = show(t, mutants(200))
    run_roles(t, good[:40])


@testing.case("files that are no files", deadline=60)
def _(t):
    for arguments in (["torrent_info", "/dev/null"], ["torrent_info", "/dev/zero"], ["torrent_info", t.folder]):
        shown = t.run(*arguments, timeout=30)
        t.check(shown.code in (1, 2), f"{arguments}: {shown.code}: {shown.tail()}")
        one_line(t, str(arguments), shown)


testing.main()
