"""UDP announces beside opentracker in the same run: answers a second, and CPU seconds for a million of them.

    PYTHONPATH=tests/tools python3 tests/bench/tracker.py [ROUNDS]     3 by default

COHORT_PROGRAMS is the folder of the built programs, `udp_load` among them. 1,000 swarms of 50 peers, 30 peers wanted.
Both trackers run one worker; the load runs on the other core.
"""

# deadline: 600

import hashlib
import json
import os
import statistics
import struct
import sys
import urllib.parse

import clients
import roles
import testing

ROUNDS = int(sys.argv.pop()) if len(sys.argv) > 1 and sys.argv[-1].isdigit() else 3
SWARMS, PEERS, WANTED, SECONDS = 1000, 50, 30, 5
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(t, pid, port):
    """Answers a second, peers an answer, CPU seconds for a million answers."""
    os.sched_setaffinity(pid, {0})
    load = t.start("udp_load", port, SECONDS, SWARMS, PEERS, WANTED)
    os.sched_setaffinity(load.pid, {1})
    load.wait_for("filled", 60)
    before = cpu_of(pid)
    load.wait(60)
    done = json.loads(load.out.splitlines()[-1])
    used = cpu_of(pid) - before
    return done["answers"] / SECONDS, done["peers"] / done["answers"], used / done["answers"] * 1e6


@testing.case("announces over UDP", deadline=600)
def _(t):
    hashes = [hashlib.sha1(struct.pack(">I", number)).hexdigest() for number in range(SWARMS)]
    theirs = clients.Opentracker(t, *hashes)
    ours = roles.Tracker(t)
    trackers = {"cohort": (ours.process.pid, urllib.parse.urlsplit(ours.udp).port),
                "opentracker": (theirs.process.pid, theirs.port)}
    figures = {name: [] for name in trackers}
    print(f"# {'tracker':12} {'answers/s':>10} {'peers':>6} {'CPU s per million':>18}")
    for _ in range(ROUNDS):
        for name, (pid, port) in trackers.items():
            figures[name].append(measure(t, pid, port))
            rate, peers, cpu = figures[name][-1]
            print(f"# {name:12} {rate:10.0f} {peers:6.1f} {cpu:18.2f}", flush=True)
    ratios = [a[0] / b[0] for a, b in zip(figures["cohort"], figures["opentracker"])]
    cheaper = [b[2] / a[2] for a, b in zip(figures["cohort"], figures["opentracker"])]
    print(f"# ratio, median of {ROUNDS}: {statistics.median(ratios):.2f} in answers, "
          f"{statistics.median(cheaper):.2f} per CPU second")


testing.main()
