"""How soon a restarted download asks for its first block: 10,000 pieces, half of them there, a resume journal.

    PYTHONPATH=tests/tools /usr/bin/python3 tests/bench/start.py [ROUNDS]     20 by default

COHORT_PROGRAMS is the folder of the built programs. Counted from the start of the process to the arrival of the request
at a peer that answers at once, which is this script.
"""

# deadline: 600

import socket
import statistics
import struct
import sys
import time

import content
import figures
import roles
import testing

ROUNDS = int(sys.argv.pop()) if len(sys.argv) > 1 and sys.argv[-1].isdigit() else 20
PIECES, PIECE = 10_000, 16 * 1024
REQUEST, UNCHOKE, HAVE_ALL = 6, b"\0\0\0\1\1", b"\0\0\0\1\x0e"


def read_exactly(link, size):
    out = b""
    while len(out) < size:
        more = link.recv(size - len(out))
        if not more:
            raise ConnectionError("the leecher went away")
        out += more
    return out


def first_request(listener):
    """When a peer that connects to `listener` asks for its first block."""
    link, _ = listener.accept()
    with link:
        theirs = read_exactly(link, 68)
        link.sendall(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\x04" + theirs[28:48] + b"-XX0000-startstart00")
        link.sendall(HAVE_ALL + UNCHOKE)
        while True:
            size = struct.unpack(">I", read_exactly(link, 4))[0]
            if read_exactly(link, size)[:1] == bytes([REQUEST]):
                return time.monotonic()


@testing.case("from the start to the first request", deadline=600)
def _(t):
    path = content.write_tree(t.folder / "seed" / "content", PIECES * PIECE)
    torrent = roles.make_torrent(t, path, piece_length=PIECE)
    seeder = roles.start_seeder(t, torrent, path, more=["--upload-limit", 40_000_000])
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[seeder])
    testing.until(lambda: roles.downloaded(leecher) > PIECES * PIECE // 2, 60, "a half of the content")
    leecher.kill()
    seeder.kill()
    waited = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        for _ in range(ROUNDS):
            began = time.monotonic()
            leecher = t.start("leecher", torrent, t.folder / "out", "--host", "127.0.0.1", "--port", 0, "--json",
                              "--peer", f"127.0.0.1:{listener.getsockname()[1]}")
            waited.append((first_request(listener) - began) * 1000)
            leecher.kill()
    have = leecher.wait_event("started", 5)["have"]
    median, worst = statistics.median(waited), max(waited)
    print(f"# {PIECES} pieces, {have / (PIECES * PIECE):.0%} there: first request after {median:.1f} ms, at worst "
          f"{worst:.1f} ms")
    figures.record("start to first request, 10,000 pieces", "cohort", median_ms=median, worst_ms=worst)


testing.main()
