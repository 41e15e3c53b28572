"""Our clients with opentracker, over HTTP and UDP."""

import content
import roles
import testing
from clients import Opentracker


def prepare(t):
    path = content.write_tree(t.folder / "seed" / "Größe 大", 5 * content.MIB)
    bare = roles.make_torrent(t, path)
    info_hash = roles.torrent_info(t, bare)["info_hash"]
    return path, info_hash, Opentracker(t, info_hash)


def scrape(t, url, info_hash):
    asked = t.run("announce", url, info_hash, "--scrape")
    t.check(asked.code == 0, asked.tail())
    return asked.out.strip()


def transfer(t, scheme):
    path, info_hash, tracker = prepare(t)
    url = getattr(tracker, scheme)
    torrent = roles.make_torrent(t, path, trackers=[url])
    seeder = roles.start_seeder(t, torrent, path, announced=True)
    t.check(scrape(t, url, info_hash) == "1 seeders, 0 leechers, 0 downloads", "scrape with a seeder")

    asked = t.run("announce", url, info_hash, "--port", "4711")
    t.check(asked.code == 0, asked.tail())
    t.check("1 seeders, 1 leechers" in asked.out and f"peer 127.0.0.1:{seeder.port}\n" in asked.out, asked.out)

    leecher = roles.start_leecher(t, torrent, t.folder / "out")
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, path)
    found = leecher.events("tracker_answered")
    t.check(found and found[0]["peers"] >= 1 and found[0]["url"] == url, f"answers: {found}")

    t.check(scrape(t, url, info_hash) == "1 seeders, 0 leechers, 1 downloads", "scrape after the download")
    seeder.stop(2)
    t.check(scrape(t, url, info_hash).startswith("0 seeders, 0 leechers"), "scrape after all left")


@testing.case("announce, scrape and a transfer through opentracker over HTTP")
def _(t):
    transfer(t, "http")


@testing.case("announce, scrape and a transfer through opentracker over UDP")
def _(t):
    transfer(t, "udp")


@testing.case("opentracker's refusal reaches the user in one line")
def _(t):
    _, info_hash, tracker = prepare(t)
    # Over UDP it refuses with half a header, which is no answer.
    asked = t.run("announce", tracker.http, info_hash[::-1])
    t.check(asked.code == 1 and asked.err.count("\n") == 1 and "not authorized" in asked.err, asked.err)


testing.main()
