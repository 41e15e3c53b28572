"""Transfers between our programs and libtorrent (python3-libtorrent)."""

import content
import roles
import testing
from clients import Libtorrent


def multi_file(t):
    return content.write_tree(t.folder / "seed" / "Größe 大")


def single_file(t):
    return content.write_file(t.folder / "seed" / "one file.bin", 8 * content.MIB + 12345)


def from_libtorrent(t, path):
    torrent = roles.make_torrent(t, path)
    with Libtorrent(torrent, path.parent, seed=True) as other:
        leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[other])
        roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)
    totals = leecher.events("peer_totals")[0]["peers"]
    t.check(any(peer["client"].startswith("libtorrent/") for peer in totals), f"peers: {totals}")


def to_libtorrent(t, path, we_dial, **settings):
    torrent = roles.make_torrent(t, path)
    with Libtorrent(torrent, t.folder / "out", **settings) as other:
        seeder = roles.start_seeder(t, torrent, path, peers=[other] if we_dial else [])
        if not we_dial:
            other.dial(seeder)
        other.wait_complete()
    content.check_equal(t.folder / "out" / path.name, path)


@testing.case("libtorrent seeds a folder to our leecher")
def _(t):
    from_libtorrent(t, multi_file(t))


@testing.case("libtorrent seeds a single file to our leecher")
def _(t):
    from_libtorrent(t, single_file(t))


@testing.case("libtorrent fetches a folder from our seeder, which dials")
def _(t):
    to_libtorrent(t, multi_file(t), True)


@testing.case("libtorrent fetches a single file from our seeder, which it dials")
def _(t):
    to_libtorrent(t, single_file(t), False)


@testing.case("libtorrent fetches a folder from our seeder without any encryption")
def _(t):
    to_libtorrent(t, multi_file(t), False, out_enc_policy=2, in_enc_policy=2)


@testing.case("libtorrent finds our seeder through our HTTP tracker, and our leecher finds it there")
def _(t):
    path = multi_file(t)
    tracker = roles.Tracker(t)
    torrent = roles.make_torrent(t, path, trackers=[tracker.http])
    roles.start_seeder(t, torrent, path, announced=True)
    with Libtorrent(torrent, t.folder / "theirs") as other:
        other.wait_complete()
        tracker.wait_for(seeders=2)
        leecher = roles.start_leecher(t, torrent, t.folder / "ours")
        roles.finish(t, leecher)
        other.leave()
        tracker.wait_for(seeders=1, leechers=0, downloaded=2)
    content.check_equal(t.folder / "theirs" / path.name, path)
    content.check_equal(t.folder / "ours" / path.name, path)


@testing.case("libtorrent announces to our UDP tracker")
def _(t):
    path = single_file(t)
    tracker = roles.Tracker(t)
    torrent = roles.make_torrent(t, path, trackers=[tracker.udp])
    roles.start_seeder(t, torrent, path, announced=True)
    with Libtorrent(torrent, t.folder / "out") as other:
        other.wait_complete()
        tracker.wait_for(seeders=2)
        other.leave()
        tracker.wait_for(seeders=1)
    content.check_equal(t.folder / "out" / path.name, path)


testing.main()
