"""cohort's own programs as the scripts use them: started on free ports, known by their first line."""

import json
import re
import socket
import urllib.request

import testing


def free_port(kind=socket.SOCK_STREAM, host="127.0.0.1"):
    """For programs that cannot take port 0. Both TCP and UDP are free at that moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(50):
        with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            tcp.bind((host, 0))
            try:
                udp.bind((host, tcp.getsockname()[1]))
            except OSError:
                continue
            return tcp.getsockname()[1]
    raise testing.Failure("no free port")


class Tracker:
    """Our tracker. `http` and `udp` are its announce URLs."""

    def __init__(self, t, *more, host="127.0.0.1", port=0):
        self.process = t.start("tracker", "--host", host, "--port", port, *more)
        said = self.process.wait_for(r"listening on (http://\S+) and (udp://\S+)")
        self.http, self.udp = said.group(1), said.group(2)
        self.port = int(re.search(r":(\d+)/", self.http).group(1))

    def get(self, path):
        with urllib.request.urlopen(self.http.removesuffix("/announce") + path, timeout=10) as answer:
            return answer.read()

    def stats(self):
        return json.loads(self.get("/stats"))

    def wait_for(self, timeout=20, **figures):
        """Waits until /stats has these figures, say seeders=1."""
        testing.until(lambda: figures.items() <= self.stats().items(), timeout, f"tracker with {figures}")


def make_torrent(t, path, name="x.torrent", trackers=(), piece_length=65536, more=()):
    """Makes a torrent of `path` with our program; the path of the .torrent file."""
    out = t.folder / name
    arguments = [argument for url in trackers for argument in ("--tracker", url)]
    made = t.run("make_torrent", path, "-o", out, "--piece-length", piece_length, *arguments, *more)
    t.check(made.code == 0, made.tail())
    return out


def torrent_info(t, path):
    shown = t.run("torrent_info", path, "--json")
    t.check(shown.code == 0, shown.tail())
    return json.loads(shown.out)


def _start(t, program, *arguments, host="127.0.0.1", port=0, peers=(), more=(), **options):
    peer_flags = [flag for peer in peers for flag in ("--peer", address(peer))]
    process = t.start(program, *arguments, "--host", host, "--port", port, "--json", *peer_flags, *more, **options)
    process.port = process.wait_event("listening", 20)["port"]
    process.host = host
    return process


def address(peer):
    """HOST:PORT of a started program, or of a port on 127.0.0.1."""
    if isinstance(peer, (int, str)):
        return f"127.0.0.1:{peer}" if isinstance(peer, int) else peer
    return f"[{peer.host}]:{peer.port}" if ":" in peer.host else f"{peer.host}:{peer.port}"


def start_seeder(t, torrent, path, announced=False, **options):
    """Our seeder, once its content is checked; with `announced`, once a tracker knows it."""
    process = _start(t, "seeder", torrent, path, **options)
    process.wait_event("started", 30)
    if announced:
        process.wait_event("tracker_answered", 30)
    return process


def start_leecher(t, torrent, folder, **options):
    """Our leecher, once it listens."""
    return _start(t, "leecher", torrent, folder, **options)


def finish(t, *leechers, timeout=45):
    """Waits until each leecher ends, and that with success."""
    for leecher in leechers:
        code = leecher.wait(timeout)
        t.check(code == 0, f"{leecher.name} ends with {code}: {leecher.tail()}")


def downloaded(process):
    """Bytes of blocks that a leecher has received so far, by its events."""
    figures = [event["downloaded"] for event in process.events() if event["event"] in ("progress", "peer_totals")]
    return figures[-1] if figures else 0
