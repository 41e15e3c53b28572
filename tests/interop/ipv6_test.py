"""Transfers over IPv6: tracker, peers and announces on [::1] alone."""

import socket

import content
import roles
import testing
from clients import Libtorrent


def need_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as missing:
        raise testing.Skip(f"no IPv6 here: {missing}") from None


def transfer(t, scheme):
    need_ipv6()
    path = content.write_tree(t.folder / "seed" / "Größe 大", 6 * content.MIB)
    tracker = roles.Tracker(t, host="::1")
    url = getattr(tracker, scheme)
    t.check(url.startswith(f"{scheme}://[::1]:"), url)
    torrent = roles.make_torrent(t, path, trackers=[url])
    seeder = roles.start_seeder(t, torrent, path, announced=True, host="::1")
    leecher = roles.start_leecher(t, torrent, t.folder / "out", host="::1")
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)
    met = [event["address"] for event in leecher.events("peer_connected")]
    t.check(f"[::1]:{seeder.port}" in met, f"peers: {met}")
    tracker.wait_for(seeders=1, leechers=0, downloaded=1, refused=0)


@testing.case("a transfer over [::1] with our HTTP tracker")
def _(t):
    transfer(t, "http")


@testing.case("a transfer over [::1] with our UDP tracker")
def _(t):
    transfer(t, "udp")


@testing.case("libtorrent and ours exchange a file over [::1], met at our tracker")
def _(t):
    need_ipv6()
    path = content.write_file(t.folder / "seed" / "one file.bin", 5 * content.MIB)
    tracker = roles.Tracker(t, host="::1")
    torrent = roles.make_torrent(t, path, trackers=[tracker.http])
    seeder = roles.start_seeder(t, torrent, path, announced=True, host="::1")
    with Libtorrent(torrent, t.folder / "theirs", host="::1") as other:
        other.wait_complete()
        tracker.wait_for(seeders=2)
        seeder.stop(2)
        leecher = roles.start_leecher(t, torrent, t.folder / "ours", host="::1")
        roles.finish(t, leecher)
    content.check_equal(t.folder / "theirs" / path.name, path)
    content.check_equal(t.folder / "ours" / path.name, path)


testing.main()
