"""A crowd at one node: connections that say little and count what they hear."""

import contextlib
import resource
import socket
import struct

import testing

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, REQUEST, DATA, REJECT = 0, 1, 2, 3, 6, 7, 16
BLOCK = 16384
FAST = b"\0\0\0\0\0\0\0\x04"  # reserved bytes of who has the Fast extension (BEP 6)


class Guest:
    """One of the crowd, once both have said their handshake."""

    def __init__(self, port, info_hash, number, reserved=bytes(8)):
        self.number = number
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.settimeout(20 * testing.TIME_FACTOR)
        self.socket.sendall(b"\x13BitTorrent protocol" + reserved + info_hash + b"-XX0000-%012d" % number)
        self.heard = bytearray()
        while len(self.heard) < 68:
            self.more()
        del self.heard[:68]

    def more(self):
        got = self.socket.recv(1 << 18)
        if not got:
            raise testing.Failure("one of the crowd was thrown out")
        self.heard += got

    def messages(self):
        """Of those that are whole, the number and how many bytes follow it."""
        at = 0
        while len(self.heard) >= at + 4:
            size, = struct.unpack_from(">I", self.heard, at)
            if len(self.heard) < at + 4 + size:
                break
            if size > 0:
                yield self.heard[at + 4], size - 1
            at += 4 + size
        del self.heard[:at]

    def say(self, *messages):
        """Each a number and what follows it."""
        self.socket.sendall(b"".join(struct.pack(">IB", 1 + len(rest), number) + rest for number, rest in messages))


def request(piece, begin=0):
    return REQUEST, struct.pack(">III", piece, begin, BLOCK)


def allow_descriptors():
    """As many as the system does, for us and for what we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def crowd(kind, count, port, info_hash, **options):
    """So many guests of a kind."""
    guests = []
    try:
        for number in range(count):
            guests.append(kind(port, info_hash, number, **options))
        yield guests
    finally:
        for guest in guests:
            guest.socket.close()


def resident_kib(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
