"""Peers that send what they must not, or nothing: they are dropped or borne, and the transfer goes on."""

import contextlib
import os
import random
import socket
import struct
import threading

import content
import roles
import testing

BLOCK = 16384
PIECE = 65536
SIZE = 125 * PIECE - 5  # a bitfield of it has spare bits
CHOKE, UNCHOKE, INTERESTED, HAVE, BITFIELD, REQUEST, DATA, EXTENDED = 0, 1, 2, 4, 5, 6, 7, 20
HAVE_ALL, REJECT = 14, 16


class Dropped(Exception):
    """The other side has closed the connection."""


class Peer:
    """A connection to one of our programs, of which the test says every byte."""

    def __init__(self, port, info_hash, pieces, reserved=b"\0\0\0\0\0\x10\0\x04"):
        self.pieces = pieces
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(20 * testing.TIME_FACTOR)
        self.id = b"-XX0000-" + random.randbytes(12)
        self.hello = b"\x13BitTorrent protocol" + reserved + info_hash + self.id

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except ConnectionError:
            raise Dropped from None

    def say(self, number, payload=b""):
        self.send(struct.pack(">IB", 1 + len(payload), number) + payload)

    def read(self, size):
        data = b""
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionError:
                part = b""
            if not part:
                raise Dropped
            data += part
        return data

    def hear(self):
        """The next message: its number and payload. None is a keep-alive."""
        size, = struct.unpack(">I", self.read(4))
        if size == 0:
            return None, b""
        body = self.read(size)
        return body[0], body[1:]

    def hear_until(self, number):
        while True:
            heard, payload = self.hear()
            if heard == number:
                return payload

    def greet(self, bits=None):
        """Handshakes, and a bitfield: of all pieces by default."""
        self.send(self.hello)
        self.read(68)
        if bits is None:
            bits = bytearray(b"\xff" * ((self.pieces + 7) // 8))
            if self.pieces % 8:
                bits[-1] = 0xff << 8 - self.pieces % 8 & 0xff
        if bits:
            self.say(BITFIELD, bytes(bits))
        return self

    def wait_dropped(self):
        """Reads until the other side closes; the test fails with a timeout if it does not."""
        with contextlib.suppress(Dropped):
            while True:
                self.hear()


# What ends the connection. Each says its piece and then expects to be dropped.


def garbage_from_the_start(peer):
    peer.send(random.Random(7).randbytes(1000))
    peer.wait_dropped()


def half_a_handshake_of_another_protocol(peer):
    peer.send(b"\x13BitTorrent protocoX")
    peer.wait_dropped()


def another_torrent(peer):
    peer.send(peer.hello[:28] + bytes(20) + peer.hello[48:])
    peer.wait_dropped()


def an_encrypted_handshake(peer):
    peer.send(random.Random(8).randbytes(96))
    peer.wait_dropped()


def garbage_after_the_handshake(peer):
    peer.greet().send(b"\xff" * 5000)
    peer.wait_dropped()


def a_message_of_four_gigabytes(peer):
    peer.greet().send(struct.pack(">IB", 0xffffffff, DATA))
    peer.wait_dropped()


def a_message_of_two_megabytes(peer):
    peer.greet().send(struct.pack(">IB", 2 << 20, EXTENDED) + bytes(2 << 20))
    peer.wait_dropped()


def a_bitfield_that_is_too_short(peer):
    peer.greet(bits=b"\xff")
    peer.wait_dropped()


def a_bitfield_that_is_too_long(peer):
    peer.greet(bits=bytes((peer.pieces + 7) // 8 + 1))
    peer.wait_dropped()


def a_bitfield_with_spare_bits(peer):
    peer.greet(bits=b"\xff" * ((peer.pieces + 7) // 8))
    peer.wait_dropped()


def have_out_of_range(peer):
    peer.greet().say(HAVE, struct.pack(">I", peer.pieces))
    peer.wait_dropped()


def a_have_of_three_bytes(peer):
    peer.greet().say(HAVE, b"abc")
    peer.wait_dropped()


def a_block_out_of_range(peer):
    peer.greet().say(DATA, struct.pack(">II", peer.pieces, 0) + bytes(BLOCK))
    peer.wait_dropped()


def a_block_that_is_none(peer):
    peer.greet().say(DATA, struct.pack(">II", 0, 5) + bytes(100))
    peer.wait_dropped()


def blocks_nobody_asked_for(peer):
    peer.greet()
    with contextlib.suppress(Dropped):
        for number in range(500):
            peer.say(DATA, struct.pack(">II", number % peer.pieces, 0) + bytes(BLOCK))
    peer.wait_dropped()


def requests_out_of_range(peer):
    peer.greet(bits=b"")
    peer.say(INTERESTED)
    with contextlib.suppress(Dropped):
        for number in range(1000):
            peer.say(REQUEST, struct.pack(">III", peer.pieces + number, 0xffffffff, 0xffffffff))
    peer.wait_dropped()


def requests_while_choked(peer):
    peer.greet(bits=b"")
    with contextlib.suppress(Dropped):
        for _ in range(1000):
            peer.say(REQUEST, struct.pack(">III", 0, 0, BLOCK))
    peer.wait_dropped()


DROPPED = [value for value in list(globals().values()) if callable(value) and getattr(value, "__code__", None)
           and value.__code__.co_varnames[:1] == ("peer",)]


# What is borne: the connection stays, or ends much later.


def nothing_at_all(peer, done):
    done.wait()


def a_handshake_and_nothing(peer, done):
    peer.greet()
    done.wait()


def a_handshake_byte_by_byte(peer, done):
    for byte in peer.hello:
        peer.send(bytes([byte]))
        done.wait(0.01)
    peer.greet()
    done.wait()


def half_a_message(peer, done):
    peer.greet().send(struct.pack(">IB", 9 + BLOCK, DATA) + bytes(100))
    done.wait()


def messages_nobody_knows(peer, done):
    peer.greet()
    for number in (9, 13, 21, 99, 255):
        peer.say(number, random.Random(number).randbytes(1000))
    done.wait()


def broken_extensions(peer, done):
    peer.greet()
    for payload in (b"\0", b"\0d", b"\0" + b"l" * 100_000, b"\0d1:md1:ai-1eee", b"\x07garbage",
                    b"\0d1:pi99999e4:reqqi-5e1:v100000:xe"):
        peer.say(EXTENDED, payload)
    done.wait()


def keep_alives_and_flags_without_end(peer, done):
    peer.greet()
    while not done.wait(0.001):
        peer.send(bytes(4) * 100)
        for flag in (INTERESTED, 3, UNCHOKE, CHOKE):
            peer.say(flag)


def requests_that_are_never_read(peer, done):
    """Fills the other side's queues and takes nothing."""
    peer.greet(bits=b"")
    peer.say(INTERESTED)
    peer.hear_until(UNCHOKE)
    for piece in range(peer.pieces - 1):
        for begin in range(0, PIECE, BLOCK):
            peer.say(REQUEST, struct.pack(">III", piece, begin, BLOCK))
    done.wait()


def promises_that_are_not_kept(peer, done):
    """Unchokes, and answers no request."""
    peer.greet()
    peer.say(UNCHOKE)
    done.wait()


BORNE = [value for value in list(globals().values()) if callable(value) and getattr(value, "__code__", None)
         and value.__code__.co_varnames[:2] == ("peer", "done")]


def corrupt_data(peer, done):
    """Serves all that is asked for, and nothing of it is right."""
    peer.greet()
    peer.say(UNCHOKE)
    with contextlib.suppress(Dropped):
        while True:
            number, payload = peer.hear()
            if number == REQUEST:
                piece, begin, size = struct.unpack(">III", payload)
                peer.say(DATA, struct.pack(">II", piece, begin) + os.urandom(size))


class Swarm:
    """A seeder and a leecher whose transfer takes some seconds."""

    def __init__(self, t, rate):
        self.t = t
        self.path = content.write_file(t.folder / "seed" / "one file.bin", SIZE)
        torrent = roles.make_torrent(t, self.path, piece_length=PIECE)
        info = roles.torrent_info(t, torrent)
        self.info_hash, self.pieces = bytes.fromhex(info["info_hash"]), info["pieces"]
        self.seeder = roles.start_seeder(t, torrent, self.path, more=["--upload-limit", rate])
        self.leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[self.seeder])
        self.leecher.wait_event("started", 20)
        self.failures, self.threads = [], []
        self.done = threading.Event()

    def meet(self, behave, program, *more):
        """Starts a conversation with one of both."""

        def run():
            try:
                with Peer(program.port, self.info_hash, self.pieces) as peer:
                    behave(peer, *more)
            except Dropped:
                pass
            except Exception as failure:  # told by the test's own thread
                self.failures.append(f"{behave.__name__} with the {program.name}: {failure!r}")

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def finish(self, timeout=45):
        """The leecher completes, all conversations have ended as they should, and nobody has grown."""
        try:
            self.leecher.wait_event("completed", timeout)
            for program in (self.seeder, self.leecher):
                if program.code is not None:
                    continue
                with open(f"/proc/{program.pid}/status") as status:
                    peak = next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)
                self.t.check(peak < 60_000 * (8 if testing.TIME_FACTOR > 1 else 1), f"{program.name}: {peak} KiB")
        finally:
            self.done.set()
        for thread in self.threads:
            thread.join(30 * testing.TIME_FACTOR)
        self.t.check(not self.failures, "; ".join(self.failures))
        self.t.check(not any(thread.is_alive() for thread in self.threads), "a conversation does not end")
        roles.finish(self.t, self.leecher)
        self.t.check(self.seeder.code is None, self.seeder.tail())
        content.check_equal(self.t.folder / "out" / self.path.name, self.path)


@testing.case("who breaks the protocol is dropped by seeder and leecher, and the transfer goes on", deadline=100)
def _(t):
    t.check(len(DROPPED) == 17, f"{len(DROPPED)} offences")
    swarm = Swarm(t, rate=content.MIB)
    for offence in DROPPED:
        for program in (swarm.seeder, swarm.leecher):
            swarm.meet(offence, program)
    # All are dropped while the transfer goes on, not because it ends.
    for thread in swarm.threads:
        thread.join(30 * testing.TIME_FACTOR)
    t.check(swarm.leecher.code is None, "the transfer was too short for this test")
    swarm.finish()


@testing.case("who is slow, silent or strange is borne, and the transfer goes on", deadline=100)
def _(t):
    t.check(len(BORNE) == 9, f"{len(BORNE)} behaviours")
    swarm = Swarm(t, rate=3 * content.MIB)
    for behaviour in BORNE:
        for program in (swarm.seeder, swarm.leecher):
            swarm.meet(behaviour, program, swarm.done)
    swarm.finish(75)


@testing.case("a peer with corrupt data is banned, and all of it is fetched from others")
def _(t):
    swarm = Swarm(t, rate=2 * content.MIB)
    for _ in range(3):
        swarm.meet(corrupt_data, swarm.leecher, swarm.done)
    swarm.finish()
    failed = len(swarm.leecher.events("piece_failed"))
    t.check(failed > 0, "no piece failed: the test tests nothing")
    t.check(len(swarm.leecher.events("peer_banned")) == 3, f"banned: {swarm.leecher.events('peer_banned')}")


@testing.case("five hundred connections that say nothing leave room for those that do")
def _(t):
    swarm = Swarm(t, rate=3 * content.MIB)
    with contextlib.ExitStack() as held:
        for program in (swarm.seeder, swarm.leecher):
            for _ in range(250):
                held.enter_context(socket.create_connection(("127.0.0.1", program.port), 10))
        late = roles.start_leecher(t, t.folder / "x.torrent", t.folder / "late", peers=[swarm.leecher])
        swarm.finish()
        t.check(late.code is None or late.code == 0, late.tail())


testing.main()
