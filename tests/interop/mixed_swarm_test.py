"""One swarm of several programs, in which everybody completes."""

import contextlib

import content
import roles
import testing
from clients import Libtorrent, start_aria2


@testing.case("a swarm of two of ours, two of libtorrent and one aria2: all complete, all equal", deadline=100)
def _(t):
    path = content.write_tree(t.folder / "seed" / "Größe 大", 24 * content.MIB)
    tracker = roles.Tracker(t)
    torrent = roles.make_torrent(t, path, trackers=[tracker.http])
    out = [t.folder / f"out{number}" for number in range(5)]
    # The seeder gives slowly enough that they have to help one another.
    seeder = roles.start_seeder(t, torrent, path, announced=True, more=["--upload-limit", 6 * content.MIB])
    with contextlib.ExitStack() as others:
        theirs = [others.enter_context(Libtorrent(torrent, folder)) for folder in out[:2]]
        aria2 = start_aria2(t, torrent, out[2])
        ours = [roles.start_leecher(t, torrent, folder, more=["--seed"]) for folder in out[3:]]
        for leecher in ours:
            leecher.wait_event("completed", 75)
        for other in theirs:
            other.wait_complete()
        t.check(aria2.wait(45) == 0, aria2.tail())
    for folder in out:
        content.check_equal(folder / path.name, path)
    for leecher in ours:
        leecher.stop(2)
        gave = [peer for peer in leecher.events("peer_totals")[0]["peers"] if peer["downloaded"] > 0]
        t.check(len(gave) > 1, f"only {gave} gave anything")
    seeder.stop(2)
    given = seeder.events("peer_totals")[0]["uploaded"]
    t.check(given < 4 * content.size_of(path), f"the seeder gave {given} bytes: the others did not share")


testing.main()
