"""`--trace FILE` of the programs: what stands in the file, and what becomes of files that cannot be written."""

import json
import os
import signal

import content
import roles
import testing


def read(path):
    """The lines of a trace, after its first."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if not lines or lines[0]["message"] != "trace" or lines[0]["time"] != 0:
        raise testing.Failure(f"no trace: {lines[:1]}")
    return lines[1:]


def of(lines, message, **members):
    return [one for one in lines if one["message"] == message and members.items() <= one.items()]


def pair(t, size=3 * content.MIB, seeding=(), leeching=()):
    """A seeder, and a leecher that has fetched everything from it; both have ended."""
    path = content.write_file(t.folder / "file", size)
    torrent = roles.make_torrent(t, path)
    seeder = roles.start_seeder(t, torrent, path, more=seeding)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[seeder], more=leeching)
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / "file", path)
    t.check(seeder.stop(signal.SIGINT) == 130, f"the seeder ends with {seeder.code}: {seeder.tail()}")
    return seeder, leecher


@testing.case("seeder and leecher note the same conversation, from the handshake to the last block")
def _(t):
    files = {name: t.folder / f"{name}.trace" for name in ("seeder", "leecher")}
    seeder, leecher = pair(t, seeding=["--trace", files["seeder"]], leeching=["--trace", files["leecher"]])
    said = {name: read(path) for name, path in files.items()}
    for name, lines in said.items():
        t.check({one["host"] for one in lines} == {name}, f"hosts in {name}'s")
        times = [one["time"] for one in lines]
        t.check(times == sorted(times), f"times in {name}'s")
        talk = [one for one in lines if one["link"] == 1 and one["message"] not in ("connect", "accept")]
        t.check(talk[0]["message"] == "handshake" and len(of(talk, "handshake")) == 2, talk[:2])
        t.check(of(talk, "close"), f"no close in {name}'s")
        t.check(not of(lines, "opaque") and not of(lines, "unknown"), f"something is not understood in {name}'s")
    opened = said["leecher"][0]
    t.check(opened["message"] == "connect" and opened["peer"] == f"127.0.0.1:{seeder.port}", opened)
    t.check(of(said["seeder"], "accept", peer=opened["local"]), "the seeder's end of it is not there")

    def blocks(name, message, direction):
        return sorted((one["index"], one["begin"], one["length"])
                      for one in of(said[name], message, dir=direction))

    asked = blocks("leecher", "request", "out")
    t.check(len(asked) == 3 * content.MIB // 16384, f"{len(asked)} requests")
    for where in (("seeder", "request", "in"), ("seeder", "piece", "out"), ("leecher", "piece", "in")):
        t.check(blocks(*where) == asked, f"other blocks: {where}")
    closed = of(said["leecher"], "close", link=1)[0]
    t.check(closed["received"] > 3 * content.MIB > closed["sent"], closed)


@testing.case("a tracker notes what it is asked over HTTP and UDP, and lines are there a second later")
def _(t):
    trace = t.folder / "tracker.trace"
    tracker = roles.Tracker(t, "--trace", trace)
    path = content.write_file(t.folder / "file", 100_000)
    for number, url in enumerate((tracker.http, tracker.udp)):
        torrent = roles.make_torrent(t, path, f"{number}.torrent", trackers=[url])
        roles.start_seeder(t, torrent, path, announced=True)
    tracker.get("/scrape")
    testing.until(lambda: '"/scrape"' in trace.read_text(), 5, "the lines in the file")
    lines = read(trace)
    asked = of(lines, "http_request", method="GET")
    t.check(f"info_hash={roles.torrent_info(t, torrent)['info_hash']}&" in asked[0]["target"], asked)
    answer = of(lines, "http_response", status=200)[0]
    t.check(answer["interval"] == 1800 and answer["complete"] == 1 and answer["peers"] == 0, answer)
    announced = of(lines, "announce_request", dir="in", event="started")
    t.check(len(announced) == 1 and announced[0]["left"] == 0, announced)
    t.check(of(lines, "announce_answer", transaction=announced[0]["transaction"], dir="out"), "no answer over UDP")
    t.check(tracker.process.stop(signal.SIGINT) == 130, "the tracker does not end")


@testing.case("a chat's trace shows that its link is encrypted, and not what is said")
def _(t):
    tracker = roles.Tracker(t)
    traces = {name: t.folder / f"{name}.trace" for name in ("alice", "bob")}
    processes = {name: t.start("chat", "--name", name, "--host", "127.0.0.1", "--home", t.folder / name, "--json",
                               "--tracker", f"http://127.0.0.1:{tracker.port}", "--trace", traces[name],
                               stdin=-1) for name in traces}
    for one in processes.values():
        one.wait_event("tracker_state", 20)
    processes["alice"].popen.stdin.write(b"@bob a secret word\n")
    processes["alice"].popen.stdin.flush()
    processes["bob"].wait_event("message", 20)
    for one in processes.values():
        one.popen.stdin.close()
        t.check(one.wait(20) == 0, one.tail())
    for name, path in traces.items():
        t.check("secret" not in path.read_text(), "the secret is in the trace")
        lines = read(path)
        t.check(of(lines, "http_request", target="/register", host=name), f"no registration in {name}'s")
        link = of(lines, "http_request", target="/chat", upgrade="websocket")[0]["link"]
        noise = [one.get("tokens") for one in of(lines, "noise_handshake", link=link)]
        t.check(noise == ["e", "e, ee, s, es", "s, se"], noise)
        t.check(len(of(lines, "encrypted", link=link)) >= 4, f"{name}'s frames")


@testing.case("a full disk ends the trace with one warning, and nothing else")
def _(t):
    seeder, leecher = pair(t, seeding=["--trace", "/dev/full"], leeching=["--trace", "/dev/full"])
    for one in (seeder, leecher):
        t.check(one.err.count("\n") == 1 and "the trace ends here" in one.err and "/dev/full" in one.err and
                "No space left on device" in one.err, one.err)


@testing.case("a file that cannot be written ends each program in one line and 1, before it does anything")
def _(t):
    path = content.write_file(t.folder / "file", 100_000)
    torrent = roles.make_torrent(t, path)
    missing = t.folder / "missing" / "x.trace"
    for arguments in (["tracker", "--port", "0"], ["seeder", torrent, path], ["leecher", torrent, t.folder / "out"],
                      ["chat", "--home", t.folder / "chat"]):
        ended = t.run(*arguments, "--trace", missing)
        t.check(ended.code == 1 and ended.err.count("\n") == 1 and str(missing) in ended.err and
                "--trace needs a file that can be written" in ended.err, f"{arguments}: {ended.code} {ended.tail()}")
    t.check(not os.path.exists(t.folder / "out") and not os.path.exists(t.folder / "chat"), "something was begun")
    shown = t.run("leecher", "--help")
    t.check("--trace FILE" in shown.out, "--help does not tell of it")


testing.main()
