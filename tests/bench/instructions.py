#!/usr/bin/python3
"""Counts the instructions of the hot paths and compares them with those that are stored, for nights on machines whose
time is too noisy:

    tests/bench/instructions.py BIN_DIR [--store]

BIN_DIR holds the programs built with the release flags. Each is run once under valgrind's callgrind, which counts the
same work as the same number on any machine; the compiler and its libraries must be those that the numbers were stored
with (instructions.json says which). Exit code 1 if one has grown by more than three in a hundred, 2 if nothing could be
compared.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

STORED = pathlib.Path(__file__).with_name("instructions.json")
GROWTH = 1.03
COUNTED = {
    "a swarm of ten, simulated": ["swarm_sim", "--peers", "10", "--pieces", "100", "--seed", "1", "--json"],
    "picking blocks": ["policy", "picker"],
    "the tracker's memory": ["policy", "registry"],
}


def compiler():
    return subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()


def count(binaries, command):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
                               f"{binaries}/{command[0]}", *command[1:]], capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", metavar="BIN_DIR")
    parser.add_argument("--store", action="store_true", help="write what is counted to instructions.json")
    given = parser.parse_args()
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    if not given.store and stored.get("g++") != compiler():
        print(f"instructions.py: the numbers are of g++ {stored.get('g++')}, this is {compiler()}", file=sys.stderr)
        return 2
    counts, grown = {}, 0
    for name, command in COUNTED.items():
        counts[name] = count(given.binaries, command)
        before = stored.get("instructions", {}).get(name, counts[name])
        grown += counts[name] > before * GROWTH
        print(f"{name:28} {counts[name]:>15,} {counts[name] / before - 1:+8.1%}", flush=True)
    if given.store:
        STORED.write_text(json.dumps({"g++": compiler(), "instructions": counts}, indent=2) + "\n", encoding="utf-8")
        return 0
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
