"""Transfers between our programs and transmission, over our HTTP and UDP trackers.

Transmission takes peers from trackers only, and never dials an address of loopback: it announces first, and ours dial.
"""

# mostly waits

import content
import roles
import testing
from clients import Transmission


def prepare(t):
    """A folder whose torrent has our HTTP tracker, and a file whose torrent has our UDP tracker. Both at once, because
    transmission unchokes, and asks, every ten seconds only."""
    tracker = roles.Tracker(t)
    folder = content.write_tree(t.folder / "seed" / "Größe 大")
    file = content.write_file(t.folder / "seed" / "one file.bin", 8 * content.MIB + 12345)
    return tracker, [(folder, roles.make_torrent(t, folder, "folder.torrent", trackers=[tracker.http])),
                     (file, roles.make_torrent(t, file, "file.torrent", trackers=[tracker.udp]))]


def check_both_kinds(t, tracker):
    stats = tracker.stats()
    t.check(min(stats["http_announces"], stats["udp_announces"]) >= 2 and stats["refused"] == 0, f"{stats}")


@testing.case("transmission seeds a folder and a file to our leechers, met at our HTTP and our UDP tracker")
def _(t):
    tracker, shared = prepare(t)
    other = Transmission(t, t.folder / "seed")
    for _, torrent in shared:
        other.add(torrent)
    other.wait_complete()
    tracker.wait_for(seeders=2)
    leechers = [roles.start_leecher(t, torrent, t.folder / "out") for _, torrent in shared]
    roles.finish(t, *leechers)
    for (path, _), leecher in zip(shared, leechers):
        content.check_equal(t.folder / "out" / path.name, path)
        totals = leecher.events("peer_totals")[0]["peers"]
        t.check(any(peer["client"].startswith("Transmission") for peer in totals), f"peers: {totals}")
    check_both_kinds(t, tracker)


@testing.case("transmission fetches a folder and a file from our seeders, met at our HTTP and our UDP tracker")
def _(t):
    tracker, shared = prepare(t)
    other = Transmission(t, t.folder / "out")
    for _, torrent in shared:
        other.add(torrent)
    tracker.wait_for(leechers=2)
    for path, torrent in shared:
        roles.start_seeder(t, torrent, path)
    other.wait_complete()
    for path, _ in shared:
        content.check_equal(t.folder / "out" / path.name, path, empty_files=False)
    tracker.wait_for(seeders=4, leechers=0, downloaded=2)
    check_both_kinds(t, tracker)


testing.main()
