"""Torrents made by mktorrent, libtorrent and us are the same, and we read those of others (S0-27)."""

import json
import os

import content
import roles
import testing
from clients import libtorrent, need

PIECE_LENGTH = 65536
URL = "http://127.0.0.1:1/announce"


def ours(t, path, *more):
    return roles.torrent_info(t, roles.make_torrent(t, path, trackers=[URL], piece_length=PIECE_LENGTH, more=more))


def of_mktorrent(t, path, *more):
    need("mktorrent")
    out = t.folder / "mktorrent.torrent"
    made = t.run("mktorrent", "-a", URL, "-l", PIECE_LENGTH.bit_length() - 1, "-o", out, *more, path)
    t.check(made.code == 0, made.tail())
    return roles.torrent_info(t, out)


def of_libtorrent(t, path, private=False):
    lt = libtorrent()
    storage = lt.file_storage()
    # lt.add_files() takes files as the folder happens to have them; sorted is what mktorrent does.
    files = [path] if path.is_file() else sorted((file for file in path.rglob("*") if file.is_file()), key=os.fsencode)
    for file in files:
        storage.add_file(str(file.relative_to(path.parent)), file.stat().st_size)
    made = lt.create_torrent(storage, PIECE_LENGTH, lt.create_torrent.v1_only)
    made.add_tracker(URL)
    made.set_priv(private)
    lt.set_piece_hashes(made, str(path.parent))
    out = t.folder / "libtorrent.torrent"
    out.write_bytes(lt.bencode(made.generate()))
    return roles.torrent_info(t, out), str(lt.torrent_info(str(out)).info_hash())


def check_like(t, other, mine):
    for field in ("name", "total_size", "piece_length", "pieces", "private", "trackers", "files", "info_hash"):
        t.check(other[field] == mine[field], f"{field}: {other[field]} is not {mine[field]}")


def single(t):
    return content.write_file(t.folder / "seed" / "one file.bin", 5 * content.MIB + 1)


def folder(t):
    return content.write_tree(t.folder / "seed" / "Größe 大", 5 * content.MIB)


@testing.case("S0-27 a torrent of a file has mktorrent's info-hash and libtorrent's")
def _(t):
    path = single(t)
    mine = ours(t, path)
    check_like(t, of_mktorrent(t, path), mine)
    theirs, their_hash = of_libtorrent(t, path)
    check_like(t, theirs, mine)
    t.check(their_hash == mine["info_hash"], "libtorrent counts another info-hash")


@testing.case("S0-27 a torrent of a folder has mktorrent's info-hash and libtorrent's")
def _(t):
    path = folder(t)
    mine = ours(t, path)
    check_like(t, of_mktorrent(t, path), mine)
    theirs, their_hash = of_libtorrent(t, path)
    check_like(t, theirs, mine)
    t.check(their_hash == mine["info_hash"], "libtorrent counts another info-hash")


@testing.case("S0-27 a private torrent has mktorrent's and libtorrent's info-hash, and another one than the open one")
def _(t):
    path = folder(t)
    mine = ours(t, path, "--private")
    t.check(mine["private"] and mine["info_hash"] != ours(t, path)["info_hash"], "private changes nothing")
    check_like(t, of_mktorrent(t, path, "-p"), mine)
    check_like(t, of_libtorrent(t, path, private=True)[0], mine)


@testing.case("libtorrent reads our torrent as we do")
def _(t):
    lt = libtorrent()
    path = folder(t)
    torrent = roles.make_torrent(t, path, trackers=[URL, URL + "2"], more=["--comment", "für alle"])
    mine = roles.torrent_info(t, torrent)
    read = lt.torrent_info(str(torrent))
    t.check(str(read.info_hash()) == mine["info_hash"], "info-hash")
    t.check(read.comment() == mine["comment"] == "für alle", read.comment())
    t.check([tracker.url for tracker in read.trackers()] == [URL, URL + "2"], "trackers")
    files = [(read.files().file_path(i), read.files().file_size(i)) for i in range(read.num_files())]
    t.check(files == [(file["path"], file["length"]) for file in mine["files"]], "files")


def other_seeds(t, path, maker):
    """A download by a torrent that another program made, from its file alone."""
    tracker = roles.Tracker(t)
    torrent = t.folder / "theirs.torrent"
    maker(torrent, tracker.http)
    roles.start_seeder(t, torrent, path, announced=True)
    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)


@testing.case("S0-28 a download by mktorrent's torrent")
def _(t):
    need("mktorrent")
    path = folder(t)
    other_seeds(t, path, lambda out, url: t.run("mktorrent", "-a", url, "-l", "15", "-o", out, path))


@testing.case("S0-28 a download by libtorrent's torrent, with pad files")
def _(t):
    lt = libtorrent()
    path = folder(t)

    def make(out, url):
        storage = lt.file_storage()
        lt.add_files(storage, str(path))
        made = lt.create_torrent(storage, 32768, lt.create_torrent.v1_only | lt.create_torrent.canonical_files)
        made.add_tracker(url)
        lt.set_piece_hashes(made, str(path.parent))
        out.write_bytes(lt.bencode(made.generate()))
        t.check(b".pad" in out.read_bytes(), "libtorrent made no pad files")

    other_seeds(t, path, make)


@testing.case("S0-27 torrents of a file and of a folder, with and without the name of the output")
def _(t):
    work = t.folder / "work"
    work.mkdir()
    for path in (single(t), folder(t)):
        made = t.run("make_torrent", path, cwd=work)
        t.check(made.code == 0, made.tail())
        out = work / f"{path.name}.torrent"
        shown = roles.torrent_info(t, out)
        t.check(made.out == f"{shown['info_hash']}  {out.name}\n", made.out)
        t.check(shown["name"] == path.name and shown["total_size"] == content.size_of(path), json.dumps(shown))
        text = t.run("torrent_info", out)
        t.check(text.code == 0 and shown["info_hash"] in text.out and path.name in text.out, text.out)


@testing.case("torrent_info shows each valid torrent of the corpus, and refuses each invalid one with 2 and one line")
def _(t):
    corpus = testing.ROOT / "tests" / "data" / "corpus" / "metainfo"
    cases = json.loads((corpus / "manifest.json").read_text())["cases"]
    counted = {"valid": 0, "invalid": 0}
    for case in cases:
        shown = t.run("torrent_info", corpus / case["file"], "--json")
        # Those of version 2 alone (BEP 52) are good torrents, but not for us.
        verdict = case["expect"]["valid"] and "info_hash_v1" in case["expect"]
        if verdict:
            t.check(shown.code == 0, f"{case['id']} is refused: {shown.err}")
            told = json.loads(shown.out)
            t.check(told["info_hash"] == case["expect"]["info_hash_v1"], f"{case['id']}: {told['info_hash']}")
            counted["valid"] += 1
        else:
            t.check(shown.code == 2, f"{case['id']}: {shown.code}: {shown.tail()}")
            t.check(shown.err.count("\n") == 1 and not shown.out, f"{case['id']}: {shown.out} {shown.err}")
            counted["invalid"] += 1
    t.check(min(counted.values()) > 5, f"only {counted}")


testing.main()
