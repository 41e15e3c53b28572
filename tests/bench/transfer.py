#!/usr/bin/python3
"""Bulk transfer beside rtorrent, libtorrent and the bare minimum in the same run; prints a table:

    tests/bench/transfer.py BIN_DIR [--size MIB] [--files N] [--piece-length KIB] [--leechers N] [--rounds N]
                            [--only CLIENT...]

BIN_DIR holds the built example programs, and `bare` (COHORT_BUILD_INTEROP), which only sends, hashes and writes. It and
rtorrent take part where there is one leecher and one file; a super-seeding seeder of ours where there are several
leechers, who know each other. Files are on /dev/shm, connections on 127.0.0.1. libtorrent runs with its default
settings, but with DHT, local discovery, port mapping and uTP off.

Only the transfer is counted: seconds from the first to the last leecher that has everything, CPU seconds from when the
files were checked. Peak resident memory is the whole process's. rtorrent tells neither when it begins nor, in time,
when it ends; of it the seconds from the first to the last block on the disk are taken, which leaves out the last
hashes. `copies` is how often the seeder uploaded the content.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import figures

HERE = os.path.dirname(os.path.abspath(__file__))


def free_ports(count):
    """So many different ones."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Peer:
    """A peer process: waits for what it prints, and tells what it used."""

    def __init__(self, command, ready):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready, self.completed, self.seconds, self.uploaded = threading.Event(), threading.Event(), None, None
        self.is_ready, self.cpu_before = ready, 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if self.is_ready(line):
                self.be_ready()
            if line.startswith("completed"):
                self.complete(float(line.split()[1]))
            elif line.startswith("uploaded"):
                self.uploaded = int(line.split()[1])
            elif '"event":"completed"' in line:
                self.complete(json.loads(line)["seconds"])
            elif '"event":"peer_totals"' in line:
                self.uploaded = json.loads(line)["uploaded"]

    def be_ready(self):
        self.cpu_before = figures.cpu_of(self.process.pid)
        self.ready.set()

    def complete(self, seconds):
        self.seconds = seconds
        self.completed.set()

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.reader.join()
        self.cpu = usage.ru_utime + usage.ru_stime - self.cpu_before
        self.peak_mb = usage.ru_maxrss / 1024


class Client:
    """A program in its two roles; seeder() and leecher() start a Peer."""

    def close(self):
        pass


class Cohort(Client):
    name = "cohort"
    seeding = ()

    def __init__(self, binaries):
        self.binaries = binaries

    def start(self, program, known, *arguments):
        peers = [word for peer in known for word in ("--peer", f"127.0.0.1:{peer}")]
        ready = '"event":"completed"' if program == "seeder" else '"event":"started"'
        return Peer([f"{self.binaries}/{program}", *arguments, "--host", "127.0.0.1", "--json", *peers],
                    lambda line: ready in line)

    def seeder(self, torrent, content, port):
        return self.start("seeder", [], torrent, content, "--port", str(port), *self.seeding)

    def leecher(self, torrent, directory, port, peers):
        return self.start("leecher", peers, torrent, directory, "--port", str(port), "--seed")


class CohortSuperSeeding(Cohort):
    name = "cohort, super-seeding"
    seeding = ("--super-seed",)


class CohortOverTls(Client):
    name = "cohort, TLS"

    def __init__(self, binaries, work):
        self.program = f"{binaries}/tls_peer"
        self.files = [os.path.join(work, name) for name in ("cert.pem", "key.pem")]
        # The command that cohort/net/tls_context.hpp gives.
        command = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                   "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1")
        subprocess.run([*command.split(), "-keyout", self.files[1], "-out", self.files[0]], check=True,
                       stderr=subprocess.DEVNULL)

    def start(self, role, torrent, path, port, peers=()):
        return Peer([self.program, role, torrent, path, str(port), *self.files, *map(str, peers)],
                    lambda line: line.startswith("ready"))

    def seeder(self, torrent, content, port):
        return self.start("seed", torrent, content, port)

    def leecher(self, torrent, directory, port, peers):
        return self.start("leech", torrent, directory, port, peers)


class Libtorrent(Client):
    name = "libtorrent"

    def start(self, torrent, directory, port, peers):
        command = ["/usr/bin/python3", f"{HERE}/libtorrent_peer.py", torrent, directory, str(port), *map(str, peers)]
        return Peer(command, lambda line: line.startswith("ready"))

    def seeder(self, torrent, content, port):
        return self.start(torrent, os.path.dirname(content), port, [])

    def leecher(self, torrent, directory, port, peers):
        return self.start(torrent, directory, port, peers)


class RtorrentPeer(Peer):
    """rtorrent says what happens by touching files."""

    def __init__(self, command, told, content):
        self.told, self.content = told, content
        super().__init__(command, None)

    def read(self):
        begun = None
        while self.process.poll() is None and not self.completed.is_set():
            if not self.ready.is_set() and os.path.exists(f"{self.told}.checked"):
                self.be_ready()
            allocated = size_on_disk(self.content)
            if begun is None and allocated > 0:
                begun = time.monotonic()
            if self.ready.is_set() and allocated >= os.path.getsize(self.content) > 0:
                self.complete(time.monotonic() - begun)
            time.sleep(0.005)


class Rtorrent(Client):
    """It finds others by a tracker alone, ours: a new one each time, whose first peer is the seeder."""

    name = "rtorrent"

    def __init__(self, binaries, work):
        self.work, self.port, self.tracker = work, free_ports(1)[0], None
        self.command = [f"{binaries}/tracker", "--host", "127.0.0.1", "--port", str(self.port), "--interval", "2"]

    def close(self):
        if self.tracker:
            self.tracker.terminate()
            self.tracker.wait()

    def wait_for_seeder(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=10) as answer:
                    if json.load(answer)["seeders"] == 1:
                        return
            except OSError:
                pass  # it does not listen yet
            time.sleep(0.05)
        raise RuntimeError("rtorrent: its seeder does not announce")

    def start(self, torrent, directory, port, content):
        home = tempfile.mkdtemp(dir=self.work)
        told = os.path.join(home, "told")
        with open(os.path.join(home, "rc"), "w", encoding="utf-8") as rc:
            rc.write(f"""system.daemon.set = true
session.path.set = {home}
directory.default.set = {directory}
network.port_range.set = {port}-{port}
network.bind_address.set = 127.0.0.1
network.local_address.set = 127.0.0.1
dht.mode.set = disable
protocol.pex.set = no
method.set_key = event.download.hash_done,checked,"execute=touch,{told}.checked"
schedule2 = load,0,0,load.start={torrent}
""")
        return RtorrentPeer(["rtorrent", "-n", "-o", f"import={home}/rc"], told, content)

    def seeder(self, torrent, content, port):
        self.close()
        self.tracker = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        out = self.start(torrent, os.path.dirname(content), port, content)
        self.wait_for_seeder()
        return out

    def leecher(self, torrent, directory, port, peers):
        return self.start(torrent, directory, port, os.path.join(directory, "content"))


def size_on_disk(path):
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def write_content(path, size, files):
    """One file, or a folder of so many."""
    parts = [path] if files == 1 else [os.path.join(path, f"{i // 100:03d}", f"{i:05d}") for i in range(files)]
    for part in parts:
        os.makedirs(os.path.dirname(part), exist_ok=True)
        with open(part, "wb") as out:
            for left in range(size // files, 0, -(1 << 20)):
                out.write(os.urandom(min(left, 1 << 20)))


class Curve(threading.Thread):
    """Bytes that are on the disk of all leechers, sixty times a second, from the first one on."""

    def __init__(self, paths):
        super().__init__(daemon=True)
        self.paths, self.points, self.over = paths, [], threading.Event()

    def run(self):
        begun = time.monotonic()
        while not self.over.wait(1 / 60):
            self.points.append((round(time.monotonic() - begun, 3), sum(map(size_on_disk, self.paths))))

    def end(self):
        self.over.set()
        self.join()
        first = next((i for i, (_, size) in enumerate(self.points) if size > 0), 0)
        zero = self.points[max(0, first - 1)][0] if self.points else 0
        return [[round(at - zero, 3), size] for at, size in self.points[max(0, first - 1):]]


def run(client, work, torrent, content, leechers):
    """One transfer: (seconds, seeder, leechers, curve)."""
    ports = free_ports(leechers + 1)
    running = []
    folders = [os.path.join(work, f"out{number}") for number in range(leechers)]
    copies = [os.path.join(folder, os.path.basename(content)) for folder in folders]
    curve = Curve(copies)
    try:
        seeder = client.seeder(torrent, content, ports[0])
        running.append(seeder)
        if not seeder.ready.wait(120):
            raise RuntimeError(f"{client.name}: seeder not ready")
        curve.start()
        for number, folder in enumerate(folders):
            os.makedirs(folder)
            running.append(client.leecher(torrent, folder, ports[number + 1], ports[:number + 1]))
        for peer in running[1:]:
            if not peer.completed.wait(600):
                raise RuntimeError(f"{client.name}: no completion")
        points = curve.end()
        if client.name == "rtorrent":
            time.sleep(2)  # for its last hashes
        for copy in copies:
            subprocess.run(["diff", "-rq", content, copy], check=True)
    finally:
        for peer in running:
            peer.end()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return max(peer.seconds for peer in running[1:]), running[0], running[1:], points


def bare_minimum(binaries, work, content):
    """What a transfer without any protocol takes."""
    copy = os.path.join(work, "bare.bin")
    done = json.loads(subprocess.run([f"{binaries}/bare", content, copy], check=True, capture_output=True).stdout)
    subprocess.run(["cmp", content, copy], check=True)
    os.remove(copy)
    return done


COLUMNS = (("seconds", 8, ".2f"), ("mb_s", 8, ".0f"), ("seeder_cpu", 11, ".2f"), ("leecher_cpu", 12, ".2f"),
           ("seeder_mb", 10, ".0f"), ("leecher_mb", 11, ".0f"), ("copies", 7, ".2f"))


def show(bench, who, curve=None, **measured):
    """CPU seconds are those for a GiB that was received, MB the peak resident memory."""
    cells = (format(measured[name], form) if measured.get(name) is not None else "" for name, _, form in COLUMNS)
    print(f"{who:21}", *(f"{cell:>{width}}" for cell, (_, width, _) in zip(cells, COLUMNS)), flush=True)
    figures.record(bench, who, **measured, **({"curve": curve} if curve else {}))


def measure(bench, client, binaries, work, torrent, content, size, leechers):
    """Megabytes a second."""
    received = leechers * size
    if client is None:
        bare = bare_minimum(binaries, work, content)
        rate = size / bare["seconds"] / 1e6
        show(bench, "bare minimum", seconds=bare["seconds"], mb_s=rate, seeder_cpu=bare["sender_cpu"] * 2**30 / size,
             leecher_cpu=bare["receiver_cpu"] * 2**30 / size, seeder_mb=bare["sender_kib"] / 1024,
             leecher_mb=bare["receiver_kib"] / 1024)
        return rate
    seconds, seeder, others, points = run(client, work, torrent, content, leechers)
    show(bench, client.name, seconds=seconds, mb_s=received / seconds / 1e6, seeder_cpu=seeder.cpu * 2**30 / received,
         leecher_cpu=sum(p.cpu for p in others) * 2**30 / received, seeder_mb=seeder.peak_mb,
         leecher_mb=max(p.peak_mb for p in others),
         copies=None if seeder.uploaded is None else seeder.uploaded / size,
         curve=points if os.path.isfile(content) else None)
    return received / seconds / 1e6


def title_of(options):
    who = f"{options.leechers} leecher{'s' if options.leechers > 1 else ''}"
    what = f"{options.size} MiB" + (f" in {options.files:,} files" if options.files > 1 else "")
    return f"{who}, {what}, pieces of {options.piece_length} KiB"


def bench(options, names):
    work = tempfile.mkdtemp(prefix="cohort-bench-", dir="/dev/shm")
    clients = {}
    rates = {}
    try:
        content = os.path.join(work, "content")
        size = options.size * (1 << 20) // options.files * options.files
        write_content(content, size, options.files)
        makers = {"cohort": lambda: Cohort(options.binaries), "libtorrent": Libtorrent, "bare minimum": lambda: None,
                  "cohort, super-seeding": lambda: CohortSuperSeeding(options.binaries),
                  "rtorrent": lambda: Rtorrent(options.binaries, work),
                  "cohort, TLS": lambda: CohortOverTls(options.binaries, work)}
        clients = {name: makers[name]() for name in names}
        announce = ["--tracker", f"http://127.0.0.1:{clients['rtorrent'].port}/announce"] if "rtorrent" in names else []
        torrents = {name: os.path.join(work, f"{name}.torrent") for name in ("announced", "plain")}
        for path, more in zip(torrents.values(), (announce, [])):
            subprocess.run([f"{options.binaries}/make_torrent", content, "-o", path, "--piece-length",
                            str(options.piece_length * 1024), *more],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        title = title_of(options)
        print(f"\n{title}; CPU s/GiB, peak MB")
        print(f"{'':21}", *(f"{name:>{width}}" for name, width, _ in COLUMNS))
        for _ in range(options.rounds):
            for name, client in clients.items():
                torrent = torrents["announced" if name == "rtorrent" else "plain"]
                rate = measure(title, client, options.binaries, work, torrent, content, size, options.leechers)
                rates.setdefault(name, []).append(rate)
        for name in names:
            if name != "cohort" and "cohort" in rates:
                print(f"ratio to {name}, median of {options.rounds}: {figures.ratio(rates['cohort'], rates[name]):.2f}")
    finally:
        for client in clients.values():
            if client:
                client.close()
        shutil.rmtree(work, ignore_errors=True)


EVERYBODY = ["bare minimum", "cohort", "cohort, super-seeding", "cohort, TLS", "rtorrent", "libtorrent"]


def takes_part(name, options):
    if name in ("cohort", "libtorrent"):
        return True
    if name == "cohort, super-seeding":
        return options.leechers > 1
    return options.leechers == 1 and options.files == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", metavar="BIN_DIR")
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--piece-length", type=int, default=1024, metavar="KIB")
    parser.add_argument("--leechers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=EVERYBODY)
    given = parser.parse_args()
    bench(given, [name for name in given.only or EVERYBODY if takes_part(name, given)])


if __name__ == "__main__":
    sys.exit(main())
