"""Trackers that answer garbage, never, too much, with a refusal or in a circle: the leecher goes on as it can."""

import contextlib
import socket
import struct
import threading

import content
import roles
import testing

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"


def page(body):
    return PAGE + b"Content-Length: %d\r\n\r\n" % len(body) + body


class BadTracker:
    """A server that treats every connection with `behave(socket)`. `served` counts them."""

    def __init__(self, behave):
        self.behave, self.served, self.open = behave, 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/announce"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                link, _ = self.listener.accept()
                self.served += 1
                self.open.append(link)
                threading.Thread(target=self._one, args=(link,), daemon=True).start()

    def _one(self, link):
        with contextlib.suppress(OSError):
            link.settimeout(60)
            self.behave(self, link)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for link in self.open:
            link.close()


def request(link):
    head = b""
    while b"\r\n\r\n" not in head:
        part = link.recv(65536)
        if not part:
            break
        head += part
    return head


def answers(data, close=True):
    def behave(_, link):
        request(link)
        link.sendall(data)
        if close:
            link.close()

    return behave


def endless(head, part):
    def behave(server, link):
        request(link)
        link.sendall(head)
        server.sent = 0
        while server.sent < 1 << 30:
            link.sendall(part)
            server.sent += len(part)

    return behave


def never(_, link):
    request(link)
    link.recv(1)  # nothing more comes until the other side has enough


def drip(_, link):
    request(link)
    link.sendall(PAGE + b"Content-Length: 1000000\r\n\r\n")
    while True:
        link.sendall(b"d")
        threading.Event().wait(0.2)


def circle(server, link):
    request(link)
    link.sendall(b"HTTP/1.1 302 Found\r\nLocation: /announce?again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    link.close()


PEERS = b"".join(struct.pack(">4sH", socket.inet_aton(host), port)
                 for host, port in (("0.0.0.0", 0), ("255.255.255.255", 9)))
GARBAGE = bytes(range(256)) * 20
MIB_OF_ZEROS = bytes(content.MIB)

# Each with a part of the words that the user is to read, or None where we wait in silence for longer than the test.
BEHAVIOURS = {
    "answers garbage": (answers(GARBAGE), "malformed"),
    "answers a page of garbage": (answers(page(GARBAGE)), "invalid"),
    "answers half a bencoded dictionary": (answers(page(b"d8:intervali1800e5:peers6:abc")), "invalid"),
    "answers a list a hundred thousand deep": (answers(page(b"l" * 100_000 + b"e" * 100_000)), "invalid"),
    "answers nothing and closes": (answers(b""), ""),
    "answers with half of what it promised": (answers(PAGE + b"Content-Length: 500\r\n\r\nd8:"), ""),
    "answers with an error page": (
        answers(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"), "503"),
    "refuses": (answers(page(b"d14:failure reason18:we do not like\nyoue")), "we do not like"),
    "never answers": (never, None),
    "drips its answer": (drip, None),
    "redirects in a circle": (circle, "redirect"),
    "redirects to another scheme": (
        answers(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"), ""),
    "promises a gigabyte": (
        endless(PAGE + b"Content-Length: 1073741824\r\n\r\n", MIB_OF_ZEROS), "exceeds"),
    "answers a gigabyte of its own length": (endless(PAGE + b"\r\n", MIB_OF_ZEROS), "exceeds"),
    "answers a gigabyte in chunks": (
        endless(PAGE + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + MIB_OF_ZEROS + b"\r\n"), "exceeds"),
    "answers a gigabyte of header": (endless(PAGE + b"X: ", MIB_OF_ZEROS), ""),
    "names peers that cannot be": (answers(page(b"d8:intervali1800e5:peers12:" + PEERS + b"e")), "answered"),
    "asks for an announce each nanosecond": (answers(page(b"d8:intervali-1e5:peers0:e")), "answered"),
}


def peak_memory(process):
    """KiB, of a program that still runs."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def leech(t, url, words, spoken="tracker_failed"):
    """A leecher with that tracker and a peer by hand completes, hears `words`, and takes little memory."""
    path = content.write_file(t.folder / "seed" / "one file.bin", 3 * content.MIB)
    torrent = roles.make_torrent(t, path, trackers=[url])
    seeder = roles.start_seeder(t, roles.make_torrent(t, path, "bare.torrent"), path)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[seeder], more=["--seed"])
    leecher.wait_event("completed", 30)
    if words == "answered":
        leecher.wait_event("tracker_answered", 30)
    elif words is not None:
        said = leecher.wait_event(spoken, 30)["message"]
        t.check(words in said and "\n" not in said, f"it says {said!r}")
    t.check(leecher.code is None, leecher.tail())
    used = peak_memory(leecher)
    t.check(used < 60_000 * (8 if testing.TIME_FACTOR > 1 else 1), f"{used} KiB")
    t.check(leecher.stop(2) == 130, leecher.tail())
    content.check_equal(t.folder / "out" / path.name, path)
    return leecher


for name, (behaviour, expected) in BEHAVIOURS.items():

    @testing.case(f"a tracker that {name}")
    def _(t, behaviour=behaviour, expected=expected):
        with BadTracker(behaviour) as bad:
            leech(t, bad.url, expected)
            t.check(bad.served > 0, "nobody asked it")
            t.check(bad.served < 50, f"it was asked {bad.served} times")
            t.check(getattr(bad, "sent", 0) < 64 * content.MIB, f"{getattr(bad, 'sent', 0)} bytes were taken")


@testing.case("a tracker that nobody is")
def _(t):
    leech(t, f"http://127.0.0.1:{roles.free_port()}/announce", "")


@testing.case("a tracker whose name no resolver knows, or whose URL is none")
def _(t):
    path = content.write_file(t.folder / "seed" / "file", content.MIB)
    seeder = roles.start_seeder(t, roles.make_torrent(t, path, "bare.torrent"), path)
    for number, url in enumerate(("http://tracker.invalid/announce", "udp://tracker.invalid:80", "gopher://x/", "??")):
        # Our own program makes no torrent with some of these.
        torrent = roles.make_torrent(t, path, f"{number}.torrent", trackers=["udp://named:80"])
        bencoded = torrent.read_bytes()
        t.check(b"14:udp://named:80" in bencoded, bencoded[:200])
        torrent.write_bytes(bencoded.replace(b"14:udp://named:80", f"{len(url)}:{url}".encode()))
        leecher = roles.start_leecher(t, torrent, t.folder / f"out{number}", peers=[seeder])
        roles.finish(t, leecher)
        content.check_equal(t.folder / f"out{number}" / path.name, path)


class BadUdpTracker:
    """Answers each packet with what `behave` makes of it."""

    def __init__(self, behave):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"udp://127.0.0.1:{self.socket.getsockname()[1]}/announce"
        self.served, self.behave = 0, behave
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                packet, sender = self.socket.recvfrom(65536)
                self.served += 1
                for answer in self.behave(packet):
                    self.socket.sendto(answer, sender)


def refuse(packet):
    transaction = packet[12:16]
    if len(packet) == 16:
        return [struct.pack(">I4sQ", 0, transaction, 7)]
    return [struct.pack(">I4s", 3, transaction) + b"we do not like you"]


@testing.case("a UDP tracker that answers garbage, from the wrong transaction, or never")
def _(t):
    garbage = [b"", b"x", GARBAGE, struct.pack(">IIQ", 0, 0, 0), struct.pack(">II", 3, 1) + b"not for you"]
    bad = BadUdpTracker(lambda packet: garbage)
    leech(t, bad.url, None)
    t.check(0 < bad.served < 10, f"it was asked {bad.served} times")


@testing.case("a UDP tracker that refuses")
def _(t):
    leech(t, BadUdpTracker(refuse).url, "we do not like you")


@testing.case("of several trackers the good one is found behind the bad ones")
def _(t):
    path = content.write_file(t.folder / "seed" / "one file.bin", 3 * content.MIB)
    good = roles.Tracker(t)
    with contextlib.ExitStack() as all_bad:
        urls = [all_bad.enter_context(BadTracker(BEHAVIOURS[name][0])).url
                for name in ("answers garbage", "refuses", "redirects in a circle", "answers a gigabyte of header")]
        torrent = roles.make_torrent(t, path, trackers=[*urls, good.udp])
        roles.start_seeder(t, torrent, path)
        good.wait_for(seeders=1, timeout=30)
        leecher = roles.start_leecher(t, torrent, t.folder / "out")
        roles.finish(t, leecher)
        t.check(len(leecher.events("tracker_failed")) == len(urls), "not each of them failed")
    content.check_equal(t.folder / "out" / path.name, path)


testing.main()
