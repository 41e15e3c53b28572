#!/usr/bin/python3
"""What a thousand connections cost a seeder, and how it divides its rate among them:

    tests/bench/connections.py BIN_DIR [--peers N] [--idle SECONDS] [--active SECONDS]

First all are idle: the memory that each takes, the processor's time. Then all ask without end: megabytes a second, and
how fairly they are shared. Fairness is Jain's, of the bytes that each got: 1 if all got the same, 1/N if one got all.
"""

import argparse
import json
import os
import resource
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import figures

BLOCK = 16384
PIECE = 1 << 18
SIZE = 256 << 20
AT_ONCE = 64  # requests that a peer has out
CHOKE, UNCHOKE, INTERESTED, REQUEST, DATA, REJECT = 0, 1, 2, 6, 7, 16


class Guest:
    def __init__(self, port, info_hash, number):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        fast = b"\0\0\0\0\0\0\0\x04"
        self.socket.sendall(b"\x13BitTorrent protocol" + fast + info_hash + b"-XX0000-%012d" % number)
        self.heard, self.got, self.out, self.next = bytearray(), 0, 0, number
        self.greeted, self.choked = False, True

    def messages(self):
        """The numbers of those that came."""
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise RuntimeError("the seeder closed a connection")
        self.heard += chunk
        at = 0
        if not self.greeted and len(self.heard) >= 68:
            at, self.greeted = 68, True
        while self.greeted and len(self.heard) >= at + 4:
            size, = struct.unpack_from(">I", self.heard, at)
            if len(self.heard) < at + 4 + size:
                break
            if size:
                yield self.heard[at + 4]
            at += 4 + size
        del self.heard[:at]

    def ask(self):
        """As many blocks as it may have out, one after the other."""
        wanted = b""
        while self.out < AT_ONCE:
            piece, begin = divmod(self.next * BLOCK % SIZE, PIECE)
            wanted += struct.pack(">IBIII", 13, REQUEST, piece, begin, BLOCK)
            self.next, self.out = self.next + 1, self.out + 1
        self.socket.sendall(wanted)

    def react(self):
        for number in self.messages():
            if number == DATA:
                self.got += BLOCK
            if number in (DATA, REJECT):
                self.out -= 1
            if number in (CHOKE, UNCHOKE):
                self.choked = number == CHOKE
        if not self.choked and self.out <= AT_ONCE // 2:
            self.ask()


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def start_seeder(binaries, folder, peers):
    """The process, its port, and the info-hash of what it shares."""
    content, torrent = os.path.join(folder, "content"), os.path.join(folder, "content.torrent")
    with open(content, "wb") as out:
        for _ in range(SIZE >> 20):
            out.write(os.urandom(1 << 20))
    made = subprocess.run([f"{binaries}/make_torrent", content, "-o", torrent, "--piece-length", str(PIECE)],
                          check=True, capture_output=True, text=True)
    process = subprocess.Popen([f"{binaries}/seeder", torrent, content, "--host", "127.0.0.1", "--port", "0", "--json",
                                "--max-peers", str(peers + 10)], stdout=subprocess.PIPE, text=True)
    port = None
    for line in process.stdout:
        told = json.loads(line)
        port = told.get("port", port)
        if told["event"] == "completed":
            break
    threading.Thread(target=process.stdout.read, daemon=True).start()  # or it would wait for a reader
    return process, port, bytes.fromhex(made.stdout.split()[0])


def serve(guests, seconds):
    """Bytes that each got, in the order of the guests."""
    with selectors.DefaultSelector() as ready:
        for guest in guests:
            ready.register(guest.socket, selectors.EVENT_READ, guest)
            guest.socket.sendall(struct.pack(">IB", 1, INTERESTED))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for key, _ in ready.select(1):
                key.data.react()
    return [guest.got for guest in guests]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", metavar="BIN_DIR")
    parser.add_argument("--peers", type=int, default=1000, metavar="N")
    parser.add_argument("--idle", type=float, default=30, metavar="SECONDS")
    parser.add_argument("--active", type=float, default=90, metavar="SECONDS")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="cohort-bench-", dir="/dev/shm") as folder:
        process, port, info_hash = start_seeder(given.binaries, folder, given.peers)
        try:
            before = resident_kib(process.pid)
            guests = [Guest(port, info_hash, number) for number in range(given.peers)]
            time.sleep(2)  # until what was said at the beginning is over
            each = (resident_kib(process.pid) - before) / given.peers
            cpu = figures.cpu_of(process.pid)
            time.sleep(given.idle)
            busy = 100 * (figures.cpu_of(process.pid) - cpu) / given.idle
            print(f"{given.peers:,} idle peers: {each:.1f} KiB each, {busy:.2f} % of a core", flush=True)
            got = serve(guests, given.active)
            rate = sum(got) / given.active / 1e6
            jain = sum(got) ** 2 / (len(got) * sum(one * one for one in got))
            print(f"{given.peers:,} active peers: {rate:.0f} MB/s, fairness {jain:.3f}, "
                  f"{min(got) / 1e6:.1f} to {max(got) / 1e6:.1f} MB each")
            figures.record(f"{given.peers:,} peers at a seeder", "cohort", kib_per_idle_peer=each, idle_percent=busy,
                           mb_s=rate, fairness=jain)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
