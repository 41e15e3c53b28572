"""What a thousand connections cost a seeder, and how it divides its rate among them.

    PYTHONPATH=tests/tools /usr/bin/python3 tests/bench/connections.py [SECONDS]     90 by default

COHORT_PROGRAMS is the folder of the built programs. First all are idle: the memory that each takes, the processor's
time. Then all ask without end, for so many seconds: megabytes a second, and how fairly they are shared. Fairness is
Jain's, of the bytes that each got: 1 if all got the same, 1/N if one got all.
"""

# deadline: 600

import selectors
import sys
import time

import content
import crowd
import figures
import roles
import testing

SECONDS = int(sys.argv.pop()) if len(sys.argv) > 1 and sys.argv[-1].isdigit() else 90
PEERS, IDLE = 1000, 30
PIECE, SIZE = 256 * content.KIB, 256 * content.MIB
AT_ONCE = 64  # requests that a peer has out


class Hungry(crowd.Guest):
    """Asks for one block after the other, as long as it may."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.got, self.out, self.next, self.choked = 0, 0, self.number, True

    def react(self):
        self.more()
        for number, _ in self.messages():
            if number in (crowd.CHOKE, crowd.UNCHOKE):
                self.choked = number == crowd.CHOKE
            self.out -= number in (crowd.DATA, crowd.REJECT)
            self.got += crowd.BLOCK * (number == crowd.DATA)
        if not self.choked and self.out <= AT_ONCE // 2:
            wanted = range(self.next, self.next + AT_ONCE - self.out)
            self.say(*(crowd.request(*divmod(number * crowd.BLOCK % SIZE, PIECE)) for number in wanted))
            self.next, self.out = wanted.stop, AT_ONCE


def serve(guests):
    """Bytes that each got."""
    with selectors.DefaultSelector() as ready:
        for guest in guests:
            ready.register(guest.socket, selectors.EVENT_READ, guest)
            guest.say((crowd.INTERESTED, b""))
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            for key, _ in ready.select(1):
                key.data.react()
    return [guest.got for guest in guests]


@testing.case("a thousand connections", deadline=600)
def _(t):
    crowd.allow_descriptors()
    path = t.folder / "content"
    content.write_file(path, SIZE)
    torrent = roles.make_torrent(t, path, piece_length=PIECE)
    seeder = roles.start_seeder(t, torrent, path, more=["--max-peers", PEERS + 10])
    info_hash = bytes.fromhex(roles.torrent_info(t, torrent)["info_hash"])
    before = crowd.resident_kib(seeder)
    with crowd.crowd(Hungry, PEERS, seeder.port, info_hash, reserved=crowd.FAST) as guests:
        time.sleep(2)  # until what was said at the beginning is over
        each = (crowd.resident_kib(seeder) - before) / PEERS
        cpu = figures.cpu_of(seeder.pid)
        time.sleep(IDLE)
        busy = 100 * (figures.cpu_of(seeder.pid) - cpu) / IDLE
        got = serve(guests)
    rate = sum(got) / SECONDS / 1e6
    fairness = sum(got) ** 2 / (len(got) * sum(one * one for one in got))
    print(f"# {PEERS:,} idle peers: {each:.1f} KiB each, {busy:.2f} % of a core; all asking: {rate:.0f} MB/s, fairness "
          f"{fairness:.3f}, {min(got) / 1e6:.1f} to {max(got) / 1e6:.1f} MB each")
    figures.record(f"{PEERS:,} peers at a seeder", "cohort", kib_per_idle_peer=each, idle_percent=busy, mb_s=rate,
                   fairness=fairness)


testing.main()
