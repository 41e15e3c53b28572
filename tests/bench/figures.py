"""What the benchmarks here share: where figures go, medians, and what a process used.

Each script prints a table to be read. Where COHORT_FIGURES names a file, what was measured is appended to it as well,
one JSON line a measurement: {"bench": ..., "who": ..., figures}. report.py makes the README's table and plots of that.
"""

import json
import os
import statistics

TICKS = os.sysconf("SC_CLK_TCK")


def record(bench, who, **figures):
    path = os.environ.get("COHORT_FIGURES")
    if path:
        with open(path, "a", encoding="utf-8") as out:
            out.write(json.dumps({"bench": bench, "who": who, **figures}) + "\n")


def ratio(ours, theirs):
    """The median of the ratios of rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def cpu_of(pid):
    """Processor seconds that a process has used so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
