"""Prints what became of each adversary: adversary_table.py LOGS, after the unit tests and the fault scripts ran.

A case belongs to the adversary whose number its name begins with; tests/README.md says what is right for each. Here the
bounds are repeated in short, for whoever reads the output of a run.
"""

import pathlib
import re
import sys

ADVERSARIES = {
    "A01": ("says nothing after connecting", "10 s"),
    "A02": ("drips its handshake", "11 s"),
    "A03": ("speaks another protocol", "at once"),
    "A04": ("wants a torrent that is not here", "at once"),
    "A05": ("has our peer id, or one that is connected", "at once"),
    "A06": ("declares a message above the limit", "no memory"),
    "A07": ("declares the longest message and drips it", "120 s"),
    "A08": ("sends messages of wrong sizes", "at once"),
    "A09": ("sends a bitfield of the wrong size", "at once"),
    "A10": ("says twice or late what it has", "at once"),
    "A11": ("has pieces that do not exist, or one for ever", "at once"),
    "A12": ("requests what makes no sense", "300 requests"),
    "A13": ("floods with requests and does not read", "2,000 queued"),
    "A14": ("requests while choked", "2 s"),
    "A16": ("cancels and rejects what nobody asked", "O(1)"),
    "A17": ("sends blocks that nobody asked for", "0 bytes written"),
    "A18": ("sends blocks of wrong length or place", "at once"),
    "A19": ("sends corrupt blocks, one of many", "only it is banned"),
    "A20": ("sends corrupt blocks, the only source", "1 piece"),
    "A21": ("chokes and unchokes without end", "5 % of a core"),
    "A22": ("takes requests and sends nothing", "20 s, 60 s"),
    "A23": ("resets in the middle of a block", "1 tick"),
    "A24": ("only keeps alive", "600 s"),
    "A25": ("monstrous extension handshakes", "no memory"),
    "A35": ("comes a thousandfold", "bounded"),
    "A46": ("pages of other sites at the control door", "0 calls"),
    "A48": ("names that lead out of the folder or deceive", "0 writes"),
    "A49": ("chat peers that forge, flood and lie", "the link ends"),
    "A50": ("forged keys, addresses and messages", "0 accepted"),
    "A51": ("disks that fail or run full", "0 false pieces"),
    "A52": ("kill -9, damaged files", "nothing lost"),
}
SCRIPTS = {"bad_tracker_test": ("A36-A41", "trackers that lie, stall, flood or redirect", "caps, deadlines")}


def cases_of(log):
    """(name, failed) of each case in what doctest printed with --duration."""
    failed = False
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        failed = failed or " ERROR: " in line
        if ended := re.match(r"\d+\.\d+ s: (.*)", line):
            yield ended[1], failed
            failed = False


def main():
    logs = pathlib.Path(sys.argv[1])
    rows = []
    found = {number: [] for number in ADVERSARIES}
    for log in sorted(logs.glob("gcc-asan/*.log")):
        for name, failed in cases_of(log):
            if name[:3] in found:
                found[name[:3]].append(failed)
    for number, (who, bound) in ADVERSARIES.items():
        rows.append((number, who, bound, found[number]))
    for script, (numbers, who, bound) in SCRIPTS.items():
        results = [line.startswith("not ok") for log in logs.glob(f"faults/{script}.log")
                   for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
                   if line.startswith(("ok ", "not ok "))]
        rows.append((numbers, who, bound, results))
    print(f"{'adversary':9} {'who':46} {'bound':18} cases  result")
    for number, who, bound, results in rows:
        result = "not played" if not results else f"{sum(results)} FAILED" if any(results) else "as it should"
        print(f"{number:9} {who:46} {bound:18} {len(results):5}  {result}")


main()
