#!/usr/bin/python3
"""What it costs to compile: seconds of g++ -O0 and its peak memory, for a program that speaks the peer wire alone and
for one with tracker, seeder, leecher and chat. By hand, never as a test:

    tests/bench/compile.py [--rounds N] [--compiler g++]
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import figures

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = {
    "peer wire": ["cohort/net/peer_connection.hpp"],
    "tracker": ["cohort/tracker.hpp"],
    "leecher": ["cohort/leecher.hpp"],
    "all roles": ["cohort/tracker.hpp", "cohort/seeder.hpp", "cohort/leecher.hpp", "cohort/chat.hpp"],
}


def compile_once(compiler, headers, folder):
    """(seconds, megabytes)"""
    source = pathlib.Path(folder, "program.cpp")
    source.write_text("".join(f"#include <{header}>\n" for header in headers) + "int main() {}\n", encoding="utf-8")
    begun = time.monotonic()
    process = subprocess.Popen([compiler, "-std=c++20", "-O0", f"-I{ROOT}/include", "-c", str(source), "-o",
                                os.path.join(folder, "program.o")])
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError("does not compile")
    # The compiler proper is a child of the driver, and its peak counts.
    return time.monotonic() - begun, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compiler", default="g++")
    given = parser.parse_args()
    print(f"{'program':12} {'seconds':>8} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, headers in PROGRAMS.items():
            taken = [compile_once(given.compiler, headers, folder) for _ in range(given.rounds)]
            seconds, megabytes = (statistics.median(column) for column in zip(*taken))
            print(f"{name:12} {seconds:8.1f} {megabytes:8.0f}", flush=True)
            figures.record(f"{given.compiler} -O0: {name}", "cohort", compile_s=seconds, mb=megabytes)


if __name__ == "__main__":
    main()
