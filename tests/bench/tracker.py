"""Announces beside opentracker in the same run: answers a second, and CPU seconds for a million of them.

    PYTHONPATH=tests/tools python3 tests/bench/tracker.py [ROUNDS]     3 by default

COHORT_PROGRAMS is the folder of the built programs, `udp_load` and `http_load` among them. 1,000 swarms of 50 peers, 30
peers wanted. Both trackers run one worker; the load runs on the other core. opentracker knows only a connection for
each announce, so that is beside our kept-alive ones as well.
"""

# deadline: 600

import hashlib
import json
import os
import struct
import sys
import urllib.parse

import clients
import figures
import roles
import testing

ROUNDS = int(sys.argv.pop()) if len(sys.argv) > 1 and sys.argv[-1].isdigit() else 3
SWARMS, PEERS, WANTED, SECONDS = 1000, 50, 30, 5


def measure(t, pid, program, port, *more):
    """Answers a second, peers an answer, CPU seconds for a million answers."""
    os.sched_setaffinity(pid, {0})
    load = t.start(program, port, SECONDS, SWARMS, PEERS, WANTED, *more)
    os.sched_setaffinity(load.pid, {1})
    load.wait_for("filled", 60)
    before = figures.cpu_of(pid)
    load.wait(60)
    done = json.loads(load.out.splitlines()[-1])
    used = figures.cpu_of(pid) - before
    return done["answers"] / SECONDS, done["peers"] / done["answers"], used / done["answers"] * 1e6


def compare(t, bench, program, ours_more=(), theirs_more=()):
    hashes = [hashlib.sha1(struct.pack(">I", number)).hexdigest() for number in range(SWARMS)]
    ours, theirs = roles.Tracker(t), clients.Opentracker(t, *hashes)
    rounds = {"cohort": [], "opentracker": []}
    print(f"# {'tracker':12} {'answers/s':>10} {'peers':>6} {'CPU s per million':>18}")
    for _ in range(ROUNDS):
        for (name, taken), tracker, more in zip(rounds.items(), (ours, theirs), (ours_more, theirs_more)):
            url = tracker.udp if program == "udp_load" else tracker.http
            taken.append(measure(t, tracker.process.pid, program, urllib.parse.urlsplit(url).port, *more))
            rate, peers, cpu = taken[-1]
            print(f"# {name:12} {rate:10.0f} {peers:6.1f} {cpu:18.2f}", flush=True)
            figures.record(bench, name, answers_s=rate, cpu_per_million=cpu)
    rates, cpus = ([[one[i] for one in taken] for taken in rounds.values()] for i in (0, 2))
    print(f"# ratio, median of {ROUNDS}: {figures.ratio(*rates):.2f} in answers, "
          f"{figures.ratio(*reversed(cpus)):.2f} per CPU second")


@testing.case("announces over UDP", deadline=600)
def _(t):
    compare(t, "announces over UDP", "udp_load")


@testing.case("announces over HTTP, a connection each", deadline=600)
def _(t):
    compare(t, "announces over HTTP, a connection each", "http_load", ["fresh"], ["fresh"])


@testing.case("announces over HTTP, kept-alive beside a connection each", deadline=600)
def _(t):
    compare(t, "announces over HTTP, kept-alive", "http_load", ["kept"], ["fresh"])


testing.main()
