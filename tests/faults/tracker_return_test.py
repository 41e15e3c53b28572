"""A tracker that is killed and comes back empty: peers announce again, and those alone do it soon."""

# A client announces once a minute at most, whatever the tracker allows: this takes a little longer than that.
# deadline: 300
# mostly waits

import content
import roles
import testing


@testing.case("peers announce again to a tracker that came back, and find one another", deadline=150)
def _(t):
    path = content.write_tree(t.folder / "seed" / "Größe 大", 6 * content.MIB)
    # Two trackers: with a short interval and with the usual one of half an hour.
    often, rarely = roles.Tracker(t, "--interval", "1"), roles.Tracker(t)
    often_torrent = roles.make_torrent(t, path, "often.torrent", trackers=[often.http])
    rarely_torrent = roles.make_torrent(t, path, "rarely.torrent", trackers=[rarely.http], piece_length=32768)
    seeder = roles.start_seeder(t, often_torrent, path, announced=True)
    leecher = roles.start_leecher(t, rarely_torrent, t.folder / "lonely")
    leecher.wait_event("tracker_answered", 20)
    for one in (often, rarely):
        one.process.kill()
    often, rarely = (roles.Tracker(t, *flags, port=one.port) for one, flags in
                     ((often, ["--interval", "1"]), (rarely, [])))
    roles.start_seeder(t, rarely_torrent, path, announced=True)
    t.check(often.stats()["peers"] == 0, "a tracker that remembers")

    # The seeder has nobody to talk to, but comes back when its interval is over.
    often.wait_for(seeders=1, timeout=75)
    # The leecher has no peers: it does not wait for half an hour.
    roles.finish(t, leecher, timeout=75)
    content.check_equal(t.folder / "lonely" / path.name, path)
    newcomer = roles.start_leecher(t, often_torrent, t.folder / "newcomer")
    roles.finish(t, newcomer)
    content.check_equal(t.folder / "newcomer" / path.name, path)
    t.check(seeder.code is None, seeder.tail())


testing.main()
