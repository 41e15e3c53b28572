"""A thousand peers at one node: what they cost, that all are served, and that others do not suffer."""

import contextlib
import random
import resource
import selectors
import socket
import struct

import content
import roles
import testing

PIECE = 65536
BLOCK = 16384
SIZE = 48 * content.MIB
CROWD = 1000
INTERESTED, NOT_INTERESTED, UNCHOKE, REQUEST, DATA = 2, 3, 1, 6, 7
SANITIZED = testing.TIME_FACTOR > 1


def say(number, payload=b""):
    return struct.pack(">IB", 1 + len(payload), number) + payload


class Guest:
    """One of the crowd. It has nothing, and wants one block when it is told to."""

    def __init__(self, port, info_hash, number):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.settimeout(20 * testing.TIME_FACTOR)
        self.socket.sendall(b"\x13BitTorrent protocol" + bytes(8) + info_hash + b"-XX0000-%012d" % number)
        self.heard = b""
        self.served = False
        while len(self.heard) < 68:
            self.more()
        self.heard = self.heard[68:]

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise testing.Failure("one of the crowd was thrown out")
        self.heard += got

    def messages(self):
        while len(self.heard) >= 4:
            size, = struct.unpack_from(">I", self.heard)
            if len(self.heard) < 4 + size:
                return
            message, self.heard = self.heard[4:4 + size], self.heard[4 + size:]
            if message:
                yield message[0], message[1:]

    def react(self, pieces):
        """To what came. True once it has its block."""
        self.more()
        for number, payload in self.messages():
            if number == UNCHOKE and not self.served:
                self.socket.sendall(say(REQUEST, struct.pack(">III", random.randrange(pieces - 1), 0, BLOCK)))
            elif number == DATA:
                self.served = len(payload) == 8 + BLOCK
                self.socket.sendall(say(NOT_INTERESTED))
        return self.served


@contextlib.contextmanager
def crowd(port, info_hash):
    guests = []
    try:
        for number in range(CROWD):
            guests.append(Guest(port, info_hash, number))
        yield guests
    finally:
        for guest in guests:
            guest.socket.close()


def resident_kib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def seed(t, *more):
    """A seeder with room for the crowd: it, the torrent, what it shares, and the info-hash."""
    path = t.folder / "content.bin"
    content.write_file(path, SIZE)
    torrent = roles.make_torrent(t, path, piece_length=PIECE)
    seeder = roles.start_seeder(t, torrent, path, more=["--max-peers", CROWD + 50, *more])
    return seeder, torrent, path, bytes.fromhex(roles.torrent_info(t, torrent)["info_hash"])


@testing.case("a thousand idle peers cost at most 16 KiB each, and an honest one keeps its rate", deadline=180)
def _(t):
    rate = 16 * content.MIB
    seeder, torrent, path, info_hash = seed(t, "--upload-limit", rate)
    before = resident_kib(seeder)
    with crowd(seeder.port, info_hash):
        each = (resident_kib(seeder) - before) / CROWD
        t.check(each <= 16 * (8 if SANITIZED else 1), f"{each:.1f} KiB for each")
        leecher = roles.start_leecher(t, torrent, t.folder / "copy", peers=[seeder])
        seconds = leecher.wait_event("completed", 60)["seconds"]
        content.check_equal(t.folder / "copy" / path.name, path)
        t.check(seconds <= SIZE / rate / 0.9 * testing.TIME_FACTOR, f"{seconds:.2f} s instead of {SIZE / rate:.2f}")


@testing.case("a thousand peers that all want something are all served", deadline=180)
def _(t):
    seeder, _, _, info_hash = seed(t)
    with crowd(seeder.port, info_hash) as guests, selectors.DefaultSelector() as ready:
        for guest in guests:
            ready.register(guest.socket, selectors.EVENT_READ, guest)
            guest.socket.sendall(say(INTERESTED))
        hungry = CROWD
        while hungry > 0:
            some = ready.select(20 * testing.TIME_FACTOR)
            t.check(some, f"{hungry} are not served")
            for key, _ in some:
                if key.data.react(SIZE // PIECE):
                    hungry -= 1
                    ready.unregister(key.fileobj)
        t.check(seeder.code is None, "the seeder goes on")


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
testing.main()
