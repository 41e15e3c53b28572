"""kill -9 at random moments of a download, and its restart: what is fetched again, and how soon it goes on.

    PYTHONPATH=tests/tools python3 tests/bench/kill.py [KILLS]     200 by default, which takes some minutes

64 MiB in pieces of 256 KiB at 5 MB/s, again and again until so many lives were ended. The seeder's trace tells what it
sent to each life; what of that the next life does not have is fetched again.
"""

# deadline: 3600

import json
import os
import random
import statistics
import sys
import time

import content
import roles
import testing

KILLS = int(sys.argv.pop()) if len(sys.argv) > 1 and sys.argv[-1].isdigit() else 200
SEED = int(os.environ.get("COHORT_SEED", random.SystemRandom().randrange(10**6)))
MIB = content.MIB


class Seeder:
    """A seeder whose trace is read: of each link how many bytes went out, and when the first request came."""

    def __init__(self, t, torrent, path):
        self.trace = t.folder / "seeder.trace"
        more = ["--upload-limit", 5_000_000, "--trace", self.trace]
        self.process = roles.start_seeder(t, torrent, path, more=more)

    def links(self):
        """(bytes sent, monotonic time of the first request) of each link over which anything was requested."""
        sent, first, clock = {}, {}, 0.0
        for line in self.trace.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            link = event.get("link")
            if event["message"] == "trace":
                clock = event["clock"]
            elif event["message"] == "request" and event["dir"] == "in":
                first.setdefault(link, clock + event["time"])
            elif event["message"] == "piece" and event["dir"] == "out":
                sent[link] = sent.get(link, 0) + event["length"]
        return [(sent.get(link, 0), first[link]) for link in sorted(first)]


@testing.case(f"{KILLS} kills", deadline=3600)
def _(t):
    chance = random.Random(SEED)
    path = content.write_tree(t.folder / "seed" / "content", 64 * MIB)
    torrent = roles.make_torrent(t, path, piece_length=256 * 1024)
    seeder = Seeder(t, torrent, path)
    kills, rounds, began, had = 0, 0, [], []
    while kills < KILLS:
        rounds += 1
        folder = t.folder / f"out{rounds}"
        while True:
            began.append(time.monotonic())
            leecher = roles.start_leecher(t, torrent, folder, peers=[seeder.process])
            had.append((rounds, leecher.wait_event("started", 20)["have"]))
            try:
                leecher.wait(chance.uniform(0.05, 0.9))
            except testing.Failure:
                leecher.kill()
                kills += 1
                continue
            break
        content.check_equal(folder / path.name, path)
    time.sleep(1.5)  # the last lines of the trace are a second late at most
    links = seeder.links()
    waited, again = [], []
    for life, (in_round, have) in enumerate(had):
        end = began[life + 1] if life + 1 < len(began) else float("inf")
        mine = [link for link in links if began[life] <= link[1] < end]
        if not mine:
            continue
        waited.append(min(first for _, first in mine) - began[life])
        if life + 1 < len(had) and had[life + 1][0] == in_round:
            again.append(sum(sent for sent, _ in mine) - (had[life + 1][1] - have))
    print(f"# COHORT_SEED={SEED}: {kills} kills in {rounds} downloads, every copy right")
    print(f"# fetched again: median {statistics.median(again) / MIB:.2f} MiB, worst {max(again) / MIB:.2f} MiB")
    print(f"# first request after the start: median {statistics.median(waited):.2f} s, worst {max(waited):.2f} s")


testing.main()
