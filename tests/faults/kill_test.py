"""kill -9 of leecher, seeder and tracker at random moments, and their restart. COHORT_SEED repeats a run."""

import os
import random

import content
import roles
import testing

SEED = int(os.environ.get("COHORT_SEED", random.SystemRandom().randrange(10**6)))
print(f"# COHORT_SEED={SEED}", flush=True)
PIECE = 65536


def prepare(t, size=16 * content.MIB):
    path = content.write_tree(t.folder / "seed" / "Größe 大", size)
    tracker = roles.Tracker(t)
    return path, tracker, roles.make_torrent(t, path, trackers=[tracker.http], piece_length=PIECE)


def verified(leecher):
    return [event["piece"] for event in leecher.events("piece_verified")]


def wait_pieces(leecher, count, timeout=40):
    """Until that many pieces are verified, or the leecher has ended."""
    testing.until(lambda: leecher.code is not None or len(verified(leecher)) >= count, timeout, f"{count} pieces")


@testing.case("a leecher that is killed goes on from its journal, and fetches no verified piece again", deadline=100)
def _(t):
    chance = random.Random(SEED)
    path, _, torrent = prepare(t)
    total = content.size_of(path)
    pieces = -(-total // PIECE)
    roles.start_seeder(t, torrent, path, announced=True, more=["--upload-limit", 10 * content.MIB])
    have, received = set(), 0
    for life in range(5):
        last = life == 4
        leecher = roles.start_leecher(t, torrent, t.folder / "out")
        if last:
            roles.finish(t, leecher)
        else:
            wait_pieces(leecher, chance.randrange(1, pieces // 6))
            leecher.kill()
        begun = leecher.events("started")[0]["have"]
        known = sum(min(PIECE, total - piece * PIECE) for piece in have)
        t.check(begun >= known, f"life {life}: begins with {begun} bytes, {known} were verified")
        fetched = verified(leecher)
        again = have.intersection(fetched)
        t.check(not again, f"life {life}: pieces {sorted(again)[:9]} are fetched again")
        have.update(fetched)
        received += roles.downloaded(leecher)
    content.check_equal(t.folder / "out" / path.name, path)
    t.check(os.listdir(t.folder / "out") == [path.name], "left beside it")
    # The last figures before a kill are up to half a second old: this is a lower bound of a sum that must be small.
    t.check(received < total + 4 * content.MIB, f"{received} bytes received for {total}")


@testing.case("a leecher that is killed over and over while it checks and begins loses nothing")
def _(t):
    chance = random.Random(SEED + 1)
    path, _, torrent = prepare(t, 6 * content.MIB)
    roles.start_seeder(t, torrent, path, announced=True)
    for _ in range(12):
        leecher = roles.start_leecher(t, torrent, t.folder / "out", more=["--preallocate"])
        try:
            leecher.wait(chance.uniform(0, 0.15))
        except testing.Failure:
            pass  # as it should: it still runs
        leecher.kill()
    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)


@testing.case("a journal that is damaged between two lives costs a check, and never a wrong byte")
def _(t):
    chance = random.Random(SEED + 2)
    path, _, torrent = prepare(t, 6 * content.MIB)
    roles.start_seeder(t, torrent, path, announced=True, more=["--upload-limit", 4 * content.MIB])
    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    wait_pieces(leecher, 10)
    leecher.kill()
    had = len(verified(leecher))
    journal, = (t.folder / "out").glob(".*.cohort")
    damaged = bytearray(journal.read_bytes())
    for _ in range(5):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    journal.write_bytes(damaged)
    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)
    begun = leecher.events("started")[0]["have"]
    t.check(begun >= had * PIECE // 2, f"of {had} pieces only {begun} bytes were found")


@testing.case("a seeder that is killed and restarted is found again, and the leecher goes on")
def _(t):
    chance = random.Random(SEED + 3)
    path, tracker, torrent = prepare(t)
    limit = {"more": ["--upload-limit", 10 * content.MIB]}
    seeder = roles.start_seeder(t, torrent, path, announced=True, **limit)
    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    for life in range(1, 4):
        wait_pieces(leecher, life * 40 + chance.randrange(20))
        seeder.kill()
        testing.until(lambda: len(leecher.events("peer_disconnected")) >= life, 10, "the end of the connection")
        t.check(leecher.code is None, leecher.tail())
        # It announces, hears of the leecher and dials it.
        seeder = roles.start_seeder(t, torrent, path, **limit)
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)
    t.check(len(set(verified(leecher))) == len(verified(leecher)), "pieces were fetched again")


@testing.case("a tracker that is killed and restarted disturbs no transfer, and new peers find those that return")
def _(t):
    path, tracker, torrent = prepare(t)
    limit = {"more": ["--upload-limit", 4 * content.MIB]}
    seeder = roles.start_seeder(t, torrent, path, announced=True, **limit)
    first = roles.start_leecher(t, torrent, t.folder / "first")
    wait_pieces(first, 5)
    tracker.process.kill()
    # It comes while there is no tracker, and asks again a little later.
    second = roles.start_leecher(t, torrent, t.folder / "second")
    second.wait_event("tracker_failed", 20)
    tracker = roles.Tracker(t, port=tracker.port)
    second.wait_event("tracker_answered", 20)
    # The tracker has forgotten who was there; whoever is new is told of whoever has come since.
    roles.start_seeder(t, torrent, path, announced=True)
    roles.finish(t, first, second)
    for leecher in ("first", "second"):
        content.check_equal(t.folder / leecher / path.name, path)
    tracker.wait_for(leechers=0)


@testing.case("tracker, seeder and leechers, killed at random and restarted, end with equal copies", deadline=120)
def _(t):
    chance = random.Random(SEED + 4)
    path, tracker, torrent = prepare(t)
    limit = {"more": ["--upload-limit", 6 * content.MIB]}
    seeder = roles.start_seeder(t, torrent, path, announced=True, **limit)
    folders = [t.folder / "first", t.folder / "second"]
    # The tracker may go before they have asked it, and knows nobody when it is back.
    leechers = [roles.start_leecher(t, torrent, folder, peers=[seeder]) for folder in folders]
    have = [set(), set()]
    for _ in range(9):
        both = chance.randrange(2)
        wait_pieces(leechers[both], len(verified(leechers[both])) + chance.randrange(1, 12))
        victim = chance.choice(["tracker", "seeder", "leecher"])
        if victim == "tracker":
            tracker.process.kill()
            tracker = roles.Tracker(t, port=tracker.port)
        elif victim == "seeder":
            seeder.kill()
            # The tracker may have forgotten the leechers, which wait longer after each failure of a peer.
            seeder = roles.start_seeder(t, torrent, path, port=seeder.port, peers=leechers, **limit)
        if victim == "leecher" or leechers[both].code is not None:
            leechers[both].kill()
            have[both].update(verified(leechers[both]))
            leechers[both] = roles.start_leecher(t, torrent, folders[both], peers=[seeder])
    # Whoever lost touch with all others gets them back when somebody new comes.
    for both, leecher in enumerate(leechers):
        if leecher.code is None:
            leecher.stop()
        again = have[both].intersection(verified(leecher))
        t.check(not again, f"pieces {sorted(again)[:9]} are fetched again")
        last = roles.start_leecher(t, torrent, folders[both], peers=[seeder])
        roles.finish(t, last)
        content.check_equal(folders[both] / path.name, path)


testing.main()
