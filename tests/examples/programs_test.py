"""The example programs as people use them: flags, exit codes, signals, pipes, terminals."""

import json
import os
import pty
import re
import signal
import socket
import time

import content
import roles
import testing

PROGRAMS = ("tracker", "seeder", "leecher", "make_torrent", "torrent_info", "announce", "handshake", "request")


def one_line(t, process, code, *words):
    """The process ended with `code` and said why in one line that holds all words."""
    t.check(process.code == code, f"{process.name} ends with {process.code}: {process.tail()}")
    # make_torrent's progress goes there too.
    said = "".join(line for line in process.err.splitlines(keepends=True) if " %, " not in line)
    t.check(said.startswith(f"{process.name}: ") and said.count("\n") == 1, f"not one line: {said!r}")
    for word in words:
        t.check(str(word) in said, f"no {word!r} in {said!r}")


def swarm(t, size=6 * content.MIB, **options):
    """A tracker, a torrent and a seeder of it."""
    path = content.write_tree(t.folder / "seed" / "Größe 大", size)
    tracker = roles.Tracker(t)
    torrent = roles.make_torrent(t, path, trackers=[tracker.http])
    return tracker, torrent, path, roles.start_seeder(t, torrent, path, announced=True, **options)


@testing.case("each program has --help, and refuses flags and arguments that it does not know with 2 and one line")
def _(t):
    for program in PROGRAMS:
        shown = t.run(program, "--help")
        t.check(shown.code == 0 and "--help" in shown.out and not shown.err, f"{program} --help: {shown.tail()}")
        one_line(t, t.run(program, "--no-such-flag"), 2)
        one_line(t, t.run(program, "--port", "-1", "x", "y"), 2)
        if program != "tracker":
            one_line(t, t.run(program), 2)
    one_line(t, t.run("tracker", "--interval", "0"), 2)
    one_line(t, t.run("tracker", "--log-level", "loud"), 2)
    one_line(t, t.run("seeder", "a", "b", "--port", "65536"), 2)
    for program in ("seeder", "leecher"):
        one_line(t, t.run(program, "a", "b", "--max-peers", "0"), 2, "--max-peers")
        one_line(t, t.run(program, "a", ""), 2, "must not be empty")


@testing.case("files that are not there or no torrents end in one line")
def _(t):
    missing, nonsense, empty = t.folder / "missing", t.folder / "nonsense", t.folder / "empty"
    nonsense.write_text("hello")
    empty.touch()
    for arguments in (["torrent_info"], ["seeder", t.folder], ["leecher", t.folder / "out"], ["handshake", "[::1]:1"],
                      ["request", "[::1]:1"]):
        for file, code in ((missing, 1), (nonsense, 2), (empty, 2), (t.folder, 1)):
            one_line(t, t.run(arguments[0], file, *arguments[1:]), code, file)
        one_line(t, t.run(arguments[0], "magnet:?xt=urn:btih:0", *arguments[1:]), 2, "magnet links are not supported")
        one_line(t, t.run(arguments[0], "", *arguments[1:]), 2, "a file is needed")
    one_line(t, t.run("make_torrent", missing), 1, missing)
    one_line(t, t.run("make_torrent", ""), 2, "must not be empty")
    (t.folder / "nothing").mkdir()
    one_line(t, t.run("make_torrent", t.folder / "nothing"), 1)
    for length in ("5", "1000", "16385", "1073741824"):
        one_line(t, t.run("make_torrent", nonsense, "--piece-length", length), 2, length, "multiple of 16384, at most")
    for output in (missing / "x.torrent", t.folder / "nothing"):
        making = t.run("make_torrent", nonsense, "-o", output)
        one_line(t, making, 1, f"cannot write {output}")
        t.check(" %, " not in making.err, f"hashed before it looked: {making.err!r}")


@testing.case("make_torrent refuses what is no tracker's URL, and a place that is one of the files to share")
def _(t):
    path, output = content.write_file(t.folder / "file", 100_000), t.folder / "x.torrent"
    for url in ("127.0.0.1:6969", "http://h:99999/announce", "", "ws://h/announce", "ftp://h/announce", "udp://h"):
        making = t.run("make_torrent", path, "-o", output, "--tracker", url)
        one_line(t, making, 2, f"'{url}'")
        t.check(" %, " not in making.err and not output.exists(), f"made for {url!r}")
    making = t.run("make_torrent", path, "-o", output, "--tracker", "http://127.0.0.1:6969")
    one_line(t, making, 0, "did you mean http://127.0.0.1:6969/announce?")
    t.check(output.exists(), "no torrent")
    before = path.read_bytes()
    for shared in (path, t.folder):
        one_line(t, t.run("make_torrent", shared, "-o", path), 2, "is one of the files to share")
    t.check(path.read_bytes() == before, "written over")
    # In its own folder the second torrent would have the first in it, and be written over it.
    content.write_file(t.folder / "own" / "file", 100_000)
    t.check(t.run("make_torrent", ".", cwd=t.folder / "own").code == 0, "the first in its own folder")
    one_line(t, t.run("make_torrent", ".", cwd=t.folder / "own"), 2, "own.torrent is one of the files to share")


@testing.case("output that is lost ends a program with 1 and one line, and progress that nobody reads does not")
def _(t):
    path = content.write_file(t.folder / "file", 100_000)
    torrent = roles.make_torrent(t, path)
    tracker = roles.Tracker(t)
    info_hash = roles.torrent_info(t, torrent)["info_hash"]
    listens = ("--host", "127.0.0.1", "--port", 0)
    with open("/dev/full", "wb") as sink:
        for arguments in (["torrent_info", torrent], ["torrent_info", "--help"], ["announce", tracker.http, info_hash],
                          ["make_torrent", path, "-o", t.folder / "again.torrent"],
                          ["swarm_sim", "--peers", 2, "--pieces", 2],
                          ["seeder", torrent, path, *listens], ["seeder", torrent, path, *listens, "--json"],
                          ["leecher", torrent, t.folder / "out", *listens],
                          ["leecher", torrent, t.folder / "out", *listens, "--json"]):
            one_line(t, t.run(*arguments, stdout=sink), 1, "cannot write")
        unseen = t.run("make_torrent", path, "-o", t.folder / "unseen.torrent", stderr=sink)
        t.check(unseen.code == 0 and (t.folder / "unseen.torrent").exists(), f"ends with {unseen.code}")
    closed = t.run("bash", "-c", f"exec {testing.program_path('make_torrent')} file -o closed.torrent <&- 2>&-",
                   cwd=t.folder)
    t.check(closed.code == 0 and (t.folder / "closed.torrent").exists(), closed.tail())


@testing.case("SIGHUP ends a seeder in good order, unless it is ignored; a file size limit is an error like others")
def _(t):
    tracker, torrent, path, seeder = swarm(t)
    t.check(seeder.stop(signal.SIGHUP) == 129, f"ends with {seeder.code}: {seeder.tail()}")
    t.check(tracker.stats()["seeders"] == 0 and seeder.events("peer_totals"), seeder.tail())
    seeder = t.start("nohup", testing.program_path("seeder"), torrent, path, "--host", "127.0.0.1", "--port", 0)
    seeder.wait_for("listening on port")
    tracker.wait_for(seeders=1, leechers=0)
    seeder.popen.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    t.check(seeder.code is None, f"nohup: ends with {seeder.code}")
    limited = t.run("bash", "-c", f"ulimit -f 100; exec {testing.program_path('leecher')} \"$@\"", "leecher", torrent,
                    t.folder / "out", "--host", "127.0.0.1", "--port", 0)
    t.check(limited.code == 1 and "File too large" in limited.err, f"{limited.code}: {limited.tail()}")


@testing.case("a port that is taken, and a host that is none, end in one line and 1")
def _(t):
    path = content.write_file(t.folder / "file", 100_000)
    torrent = roles.make_torrent(t, path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments in (["tracker"], ["seeder", torrent, path], ["leecher", torrent, t.folder / "out"]):
            one_line(t, t.run(*arguments, "--host", "127.0.0.1", "--port", port), 1, f"127.0.0.1:{port}",
                     "(take another port, or 0 for a free one)")
    one_line(t, t.run("tracker", "--host", "256.1.2.3", "--port", 0), 1)
    one_line(t, t.run("leecher", torrent, t.folder / "out", "--host", "127.0.0.1", "--port", 0, "--peer", "nobody"), 2,
             "'nobody' is not HOST:PORT")


@testing.case("S0-28 a leecher fetches by a .torrent file, says so in plain lines, and is done at once the second time")
def _(t):
    _, torrent, path, seeder = swarm(t)
    for arguments in ([], ["--sequential", "--preallocate"]):
        out = t.folder / f"out{len(arguments)}"
        leecher = t.run("leecher", torrent, out, "--host", "127.0.0.1", "--port", 0, *arguments)
        t.check(leecher.code == 0 and not leecher.err, leecher.tail())
        t.check(re.match(r"leecher: listening on port \d+\n", leecher.out), leecher.out)
        t.check("100 %" in leecher.out and "\r" not in leecher.out and "\x1b" not in leecher.out, leecher.out)
        content.check_equal(out / path.name, path)
        t.check(os.listdir(out) == [path.name], f"left beside it: {os.listdir(out)}")
    seeder.stop()
    again = t.run("leecher", torrent, t.folder / "out0", "--host", "127.0.0.1", "--port", 0, "--json")
    t.check(again.code == 0 and again.events("peer_totals")[0]["downloaded"] == 0, again.tail())


@testing.case("S0-28 a leecher with --sequential fetches the pieces in order")
def _(t):
    _, torrent, path, _ = swarm(t)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", more=["--sequential"])
    roles.finish(t, leecher)
    order = [event["piece"] for event in leecher.events("piece_verified")]
    displaced = [abs(place - piece) for place, piece in enumerate(order)]
    t.check(max(displaced) < 40, f"{max(displaced)} pieces out of order")
    content.check_equal(t.folder / "out" / path.name, path)


@testing.case("Ctrl-C ends seeder, leecher and tracker within 3 s with 130, and the tracker hears that they left")
def _(t):
    tracker, torrent, _, seeder = swarm(t, more=["--upload-limit", 500_000])
    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    leecher.wait_for('"event":"piece_verified"', 30)
    tracker.wait_for(seeders=1, leechers=1)
    for process, left in ((leecher, {"seeders": 1, "leechers": 0}), (seeder, {"seeders": 0, "leechers": 0})):
        began = time.monotonic()
        t.check(process.stop(signal.SIGINT) == 130, f"{process.name} ends with {process.code}: {process.tail()}")
        took = time.monotonic() - began
        t.check(took < 3 * testing.TIME_FACTOR, f"{process.name} took {took:.1f} s")
        t.check(left.items() <= tracker.stats().items(), f"after {process.name}: {tracker.stats()}")
        t.check(process.events("stopped") and process.events("peer_totals"), f"{process.name}: no last words")
        t.check(not process.err, process.err)
    t.check(tracker.process.stop(signal.SIGINT) == 130, tracker.process.tail())


@testing.case("SIGTERM ends them with 143, and a tracker that is gone delays the end of nobody for long")
def _(t):
    tracker, torrent, _, seeder = swarm(t)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", more=["--seed"])
    leecher.wait_event("completed", 30)
    tracker.process.popen.send_signal(signal.SIGSTOP)
    try:
        for process in (seeder, leecher):
            began = time.monotonic()
            process.popen.terminate()
            t.check(process.wait(10) == 143, process.tail())
            took = time.monotonic() - began
            t.check(took < 6 * testing.TIME_FACTOR, f"{process.name} took {took:.1f} s")
    finally:
        tracker.process.popen.send_signal(signal.SIGCONT)
    t.check(tracker.process.stop() == 143, tracker.process.tail())


@testing.case("Ctrl-C while the content is checked ends a seeder")
def _(t):
    path = t.folder / "big"
    path.touch()
    os.truncate(path, 1 << 30)
    torrent = roles.make_torrent(t, path, piece_length=1 << 20)
    seeder = t.start("seeder", torrent, path, "--host", "127.0.0.1", "--port", 0, "--json")
    seeder.wait_event("listening")
    t.check(seeder.stop(signal.SIGINT) == 130, seeder.tail())


@testing.case("Ctrl-C in the middle of make_torrent leaves no half a torrent")
def _(t):
    path = t.folder / "big"
    path.touch()
    os.truncate(path, 8 << 30)
    making = t.start("make_torrent", path, "-o", t.folder / "big.torrent")
    making.wait_for("big: ", 30)
    t.check(making.stop(signal.SIGINT) in (130, -2), making.tail())
    t.check(not (t.folder / "big.torrent").exists(), "a torrent of what was not read")


@testing.case("a reader that goes away ends a program without a crash")
def _(t):
    tracker, torrent, path, seeder = swarm(t, more=["--upload-limit", 2_000_000])
    for arguments in (["leecher", torrent, t.folder / "out", "--host", "127.0.0.1", "--port", "0", "--json"],
                      ["seeder", torrent, path, "--host", "127.0.0.1", "--port", "0", "--json"],
                      ["torrent_info", torrent], ["make_torrent", path, "-o", t.folder / "again.torrent"],
                      ["torrent_info", "--help"]):
        reading, writing = os.pipe()
        process = t.start(*arguments, stdout=writing)
        os.close(writing)
        first = os.read(reading, 1)
        os.close(reading)
        code = process.wait(20)
        t.check(first and code in (0, 1), f"{arguments[0]} ends with {code}: {process.tail()}")
        t.check(process.err.count("\n") <= 1, process.err)
    # They left in good order all the same.
    tracker.wait_for(seeders=1, leechers=0)
    t.check(seeder.code is None, seeder.tail())


@testing.case("a leecher on a terminal draws a bar")
def _(t):
    _, torrent, _, _ = swarm(t, more=["--upload-limit", 8_000_000])
    master, slave = pty.openpty()
    leecher = t.start("leecher", torrent, t.folder / "out", "--host", "127.0.0.1", "--port", "0", stdout=slave,
                      env=dict(os.environ, TERM="xterm"))
    os.close(slave)
    text = b""
    try:
        while part := os.read(master, 65536):
            text += part
    except OSError:
        pass  # the program has ended
    os.close(master)
    t.check(leecher.wait() == 0, leecher.tail())
    shown = text.decode()
    t.check(len(re.findall(r"\r[^\r\n]*\[[=> ]+\][^\r\n]* %", shown)) >= 3, repr(shown))
    t.check("100 %" in shown, repr(shown))


@testing.case("the tracker serves /stats, /scrape and a page")
def _(t):
    tracker, torrent, _, _ = swarm(t)
    info_hash = roles.torrent_info(t, torrent)["info_hash"]
    listed = tracker.stats()["torrents"]
    t.check(listed == [{"info_hash": info_hash, "complete": 1, "incomplete": 0, "downloaded": 0}], json.dumps(listed))
    escaped = re.sub("(..)", r"%\1", info_hash)
    scraped = tracker.get("/scrape?info_hash=" + escaped)
    want = b"20:" + bytes.fromhex(info_hash) + b"d8:completei1e10:downloadedi0e10:incompletei0ee"
    t.check(want in scraped, repr(scraped))
    t.check(b"<!doctype html>" in tracker.get("/"), "no page")
    announced = t.run("announce", tracker.udp, info_hash, "--port", 4711)
    t.check(announced.code == 0 and "1 seeders, 1 leechers\npeer 127.0.0.1:" in announced.out, announced.tail())
    counted = t.run("announce", tracker.udp, info_hash, "--scrape")
    t.check(counted.out == "1 seeders, 0 leechers, 0 downloads\n", counted.tail())
    one_line(t, t.run("announce", tracker.http, "12345"), 2)
    for url in ("ftp://127.0.0.1/", "127.0.0.1:6969", "http://127.0.0.1:99999/announce"):
        one_line(t, t.run("announce", url, info_hash), 2)


@testing.case("the lessons handshake and request talk to a seeder")
def _(t):
    _, torrent, path, seeder = swarm(t)
    peer = roles.address(seeder)
    greeted = t.run("handshake", torrent, peer)
    t.check(greeted.code == 0 and "-CO" in greeted.out and "client     cohort" in greeted.out, greeted.tail())
    pieces = roles.torrent_info(t, torrent)["pieces"]
    t.check(f"has        {pieces} of {pieces} pieces" in greeted.out, greeted.out)
    asked = t.run("request", torrent, peer, "--piece", pieces - 1)
    t.check(asked.code == 0 and f"piece {pieces - 1} matches its hash" in asked.out, asked.tail())
    one_line(t, t.run("request", torrent, peer, "--piece", pieces), 2, pieces - 1)
    other = roles.make_torrent(t, path, "other.torrent", piece_length=16384)
    one_line(t, t.run("handshake", other, peer), 1)
    dead = roles.free_port()
    for lesson in ("handshake", "request"):
        one_line(t, t.run(lesson, torrent, f"127.0.0.1:{dead}"), 1, f"127.0.0.1:{dead}: Connection refused")


testing.main()
