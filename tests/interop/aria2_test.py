"""Transfers between our programs and aria2, over our HTTP and UDP trackers."""

import content
import roles
import testing
from clients import start_aria2


def from_aria2(t, path):
    torrent = roles.make_torrent(t, path)
    other = start_aria2(t, torrent, path.parent, seed=True)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[other])
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)


def to_aria2(t, path, tracker_url, tracker, **options):
    torrent = roles.make_torrent(t, path, trackers=[tracker_url], more=["--private"])
    roles.start_seeder(t, torrent, path, announced=True)
    other = start_aria2(t, torrent, t.folder / "out", **options)
    t.check(other.wait(45) == 0, other.tail())
    content.check_equal(t.folder / "out" / path.name, path)
    tracker.wait_for(seeders=1, leechers=0)


@testing.case("aria2 seeds a folder to our leecher")
def _(t):
    from_aria2(t, content.write_tree(t.folder / "seed" / "Größe 大"))


@testing.case("aria2 seeds a single file to our leecher")
def _(t):
    from_aria2(t, content.write_file(t.folder / "seed" / "one file.bin", 8 * content.MIB + 12345))


@testing.case("aria2 fetches a folder from our seeder, which our HTTP tracker names")
def _(t):
    tracker = roles.Tracker(t)
    to_aria2(t, content.write_tree(t.folder / "seed" / "Größe 大"), tracker.http, tracker)
    t.check(tracker.stats()["udp_announces"] == 0, "UDP announces")


@testing.case("aria2 fetches a single file from our seeder, which our UDP tracker names")
def _(t):
    tracker = roles.Tracker(t)
    path = content.write_file(t.folder / "seed" / "one file.bin", 8 * content.MIB + 12345)
    to_aria2(t, path, tracker.udp, tracker, dht=True)
    t.check(tracker.stats()["http_announces"] == 0, "HTTP announces")


@testing.case("our leecher finds an aria2 seeder through our tracker")
def _(t):
    tracker = roles.Tracker(t)
    path = content.write_tree(t.folder / "seed" / "Größe 大")
    torrent = roles.make_torrent(t, path, trackers=[tracker.http])
    start_aria2(t, torrent, path.parent, seed=True)
    tracker.wait_for(seeders=1)
    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)


testing.main()
