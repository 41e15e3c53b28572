"""A thousand peers at one node: what they cost, that all are served, and that others do not suffer."""

import random
import selectors

import content
import crowd
import roles
import testing

PIECE = 65536
SIZE = 48 * content.MIB
CROWD = 1000
SANITIZED = testing.TIME_FACTOR > 1


class Guest(crowd.Guest):
    """It has nothing, and wants one block when it is told to."""

    served = False

    def react(self, pieces):
        """To what came. True once it has its block."""
        self.more()
        for number, size in self.messages():
            if number == crowd.UNCHOKE and not self.served:
                self.say(crowd.request(random.randrange(pieces - 1)))
            elif number == crowd.DATA:
                self.served = size == 8 + crowd.BLOCK
                self.say((crowd.NOT_INTERESTED, b""))
        return self.served


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
    before = crowd.resident_kib(seeder)
    with crowd.crowd(Guest, CROWD, seeder.port, info_hash):
        each = (crowd.resident_kib(seeder) - before) / CROWD
        t.check(each <= 16 * (8 if SANITIZED else 1), f"{each:.1f} KiB for each")
        leecher = roles.start_leecher(t, torrent, t.folder / "copy", peers=[seeder])
        seconds = leecher.wait_event("completed", 60)["seconds"]
        content.check_equal(t.folder / "copy" / path.name, path)
        t.check(seconds <= SIZE / rate / 0.9 * testing.TIME_FACTOR, f"{seconds:.2f} s instead of {SIZE / rate:.2f}")


@testing.case("a thousand peers that all want something are all served", deadline=180)
def _(t):
    seeder, _, _, info_hash = seed(t)
    with crowd.crowd(Guest, CROWD, seeder.port, info_hash) as guests, selectors.DefaultSelector() as ready:
        for guest in guests:
            ready.register(guest.socket, selectors.EVENT_READ, guest)
            guest.say((crowd.INTERESTED, b""))
        hungry = CROWD
        while hungry > 0:
            some = ready.select(20 * testing.TIME_FACTOR)
            t.check(some, f"{hungry} are not served")
            for key, _ in some:
                if key.data.react(SIZE // PIECE):
                    hungry -= 1
                    ready.unregister(key.fileobj)
        t.check(seeder.code is None, "the seeder goes on")


crowd.allow_descriptors()
testing.main()
