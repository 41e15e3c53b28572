#!/usr/bin/python3
"""Bulk transfer beside libtorrent and the bare minimum in the same run; prints a table. By hand, never as a test:

    tests/bench/transfer.py BIN_DIR [--size MIB] [--rounds N] [--only pair|swarm]

BIN_DIR holds the built example programs, and `bare` (COHORT_BUILD_INTEROP), which only sends, hashes and writes.
`pair` is one seeder and one leecher, `swarm` one seeder and eight leechers that know each other. Files are on
/dev/shm, connections on 127.0.0.1; libtorrent runs with its default settings, but with DHT, local discovery, port
mapping and uTP off. Only the transfer is counted: seconds from the first to the last leecher that has everything, CPU
seconds from when the files were checked. Peak resident memory is the whole process's.
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

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")


def free_ports(count):
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
        self.ready, self.completed, self.seconds = threading.Event(), threading.Event(), None
        self.is_ready = ready
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if self.is_ready(line):
                self.cpu_before = self.cpu_now()
                self.ready.set()
            if line.startswith("completed"):
                self.seconds = float(line.split()[1])
                self.completed.set()
            elif '"event":"completed"' in line:
                self.seconds = json.loads(line)["seconds"]
                self.completed.set()

    def cpu_now(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.cpu = usage.ru_utime + usage.ru_stime - self.cpu_before
        self.peak_mb = usage.ru_maxrss / 1024


class Cohort:
    name = "cohort"

    def __init__(self, binaries):
        self.binaries = binaries

    def seeder(self, torrent, content, port):
        return Peer([f"{self.binaries}/seeder", torrent, content, "--host", "127.0.0.1", "--port", str(port), "--json"],
                    lambda line: '"event":"completed"' in line)

    def leecher(self, torrent, directory, port, peers):
        known = [word for peer in peers for word in ("--peer", f"127.0.0.1:{peer}")]
        return Peer([f"{self.binaries}/leecher", torrent, directory, "--host", "127.0.0.1", "--port", str(port),
                     "--seed", "--json", *known], lambda line: '"event":"started"' in line)


class Libtorrent:
    name = "libtorrent"

    def start(self, torrent, directory, port, peers):
        command = ["/usr/bin/python3", f"{HERE}/libtorrent_peer.py", torrent, directory, str(port), *map(str, peers)]
        return Peer(command, lambda line: line.startswith("ready"))

    def seeder(self, torrent, content, port):
        return self.start(torrent, os.path.dirname(content), port, [])

    def leecher(self, torrent, directory, port, peers):
        return self.start(torrent, directory, port, peers)


def run(client, work, torrent, content, leechers):
    """One transfer: (seconds, seeder, leechers)."""
    ports = free_ports(leechers + 1)
    running = []
    try:
        seeder = client.seeder(torrent, content, ports[0])
        running.append(seeder)
        if not seeder.ready.wait(120):
            raise RuntimeError(f"{client.name}: seeder not ready")
        for number in range(leechers):
            directory = os.path.join(work, f"out{number}")
            os.makedirs(directory)
            running.append(client.leecher(torrent, directory, ports[number + 1], ports[:number + 1]))
        for peer in running[1:]:
            if not peer.completed.wait(600):
                raise RuntimeError(f"{client.name}: no completion")
        seconds = max(peer.seconds for peer in running[1:])
        for number in range(leechers):
            copy = os.path.join(work, f"out{number}", os.path.basename(content))
            subprocess.run(["cmp", content, copy], check=True)
    finally:
        for peer in running:
            peer.end()
        for number in range(leechers):
            shutil.rmtree(os.path.join(work, f"out{number}"), ignore_errors=True)
    return seconds, running[0], running[1:]


def bare_minimum(binaries, work, content):
    """What a transfer without any protocol takes."""
    copy = os.path.join(work, "bare.bin")
    done = json.loads(subprocess.run([f"{binaries}/bare", content, copy], check=True, capture_output=True).stdout)
    subprocess.run(["cmp", content, copy], check=True)
    os.remove(copy)
    return done


def line(name, seconds, rate, seeder_cpu, leecher_cpu, seeder_mb, leecher_mb):
    print(f"{name:12} {seconds:8.2f} {rate:8.0f}   {seeder_cpu:16.2f} {leecher_cpu:9.2f}   {seeder_mb:14.0f} "
          f"{leecher_mb:9.0f}", flush=True)


def bench(binaries, title, size_mib, leechers, rounds):
    work = tempfile.mkdtemp(prefix="cohort-bench-", dir="/dev/shm")
    rates = {}
    try:
        content = os.path.join(work, "content.bin")
        with open(content, "wb") as out:
            for _ in range(size_mib):
                out.write(os.urandom(1 << 20))
        torrent = os.path.join(work, "content.torrent")
        subprocess.run([f"{binaries}/make_torrent", content, "-o", torrent, "--piece-length", str(1 << 20)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"\n{title}: {size_mib} MiB, pieces of 1 MiB, {leechers} leecher{'s' if leechers > 1 else ''}")
        print(f"{'client':12} {'seconds':>8} {'MB/s':>8}   {'CPU s/GiB seeder':>16} {'leechers':>9}   "
              f"{'peak MB seeder':>14} {'leechers':>9}")
        for _ in range(rounds):
            if leechers == 1:
                bare = bare_minimum(binaries, work, content)
                rates.setdefault("bare", []).append(size_mib * (1 << 20) / bare["seconds"] / 1e6)
                line("bare minimum", bare["seconds"], rates["bare"][-1], bare["sender_cpu"] * 1024 / size_mib,
                     bare["receiver_cpu"] * 1024 / size_mib, bare["sender_kib"] / 1024, bare["receiver_kib"] / 1024)
            for client in (Cohort(binaries), Libtorrent()):
                seconds, seeder, others = run(client, work, torrent, content, leechers)
                copies = leechers * size_mib
                rate = copies * (1 << 20) / seconds / 1e6
                rates.setdefault(client.name, []).append(rate)
                line(client.name, seconds, rate, seeder.cpu * 1024 / copies, sum(p.cpu for p in others) * 1024 / copies,
                     seeder.peak_mb, max(p.peak_mb for p in others))
        ours = rates.pop("cohort")
        for name, theirs in rates.items():
            ratios = sorted(a / b for a, b in zip(ours, theirs))
            print(f"ratio to {name}, median of {len(ratios)}: {ratios[len(ratios) // 2]:.2f}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", metavar="BIN_DIR")
    parser.add_argument("--size", type=int, metavar="MIB", help="1024 for pair, 256 for swarm by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["pair", "swarm"])
    given = parser.parse_args()
    if given.only != "swarm":
        bench(given.binaries, "pair", given.size or 1024, 1, given.rounds)
    if given.only != "pair":
        bench(given.binaries, "swarm", given.size or 256, 8, given.rounds)


if __name__ == "__main__":
    sys.exit(main())
