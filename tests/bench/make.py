#!/usr/bin/python3
"""Making a torrent of a cached file, beside mktorrent with two threads and libtorrent; prints a table.

    /usr/bin/python3 tests/bench/make.py BIN_DIR [--size MIB] [--rounds N]

The file is on /dev/shm, pieces have 1 MiB. libtorrent hashes with one thread unless its settings say otherwise, and its
Python binding takes none: its column is CPU seconds, which is what two threads would share.
"""

import argparse
import os
import subprocess
import tempfile
import time

import figures

LIBTORRENT = """
import sys, libtorrent as lt
files = lt.file_storage()
lt.add_files(files, sys.argv[1])
made = lt.create_torrent(files, 1 << 20, flags=lt.create_torrent.v1_only)
lt.set_piece_hashes(made, sys.argv[2])
open(sys.argv[3], "wb").write(lt.bencode(made.generate()))
"""


def timed(command):
    """(seconds, CPU seconds)"""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"{command[0]} failed")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", metavar="BIN_DIR")
    parser.add_argument("--size", type=int, default=4096, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cohort-bench-", dir="/dev/shm") as folder:
        path, out = os.path.join(folder, "content.bin"), os.path.join(folder, "content.torrent")
        with open(path, "wb") as file:
            for _ in range(given.size):
                file.write(os.urandom(1 << 20))
        makers = {
            "cohort": [f"{given.binaries}/make_torrent", path, "-o", out, "--piece-length", str(1 << 20)],
            "mktorrent": ["mktorrent", "-l", "20", "-t", "2", "-a", "http://127.0.0.1/announce", "-o", out, path],
            "libtorrent": ["/usr/bin/python3", "-c", LIBTORRENT, path, folder, out],
        }
        rates = {name: [] for name in makers}
        print(f"{'':12} {'seconds':>8} {'MB/s':>8} {'CPU s/GiB':>10}")
        for _ in range(given.rounds):
            for name, command in makers.items():
                seconds, cpu = timed(command)
                os.remove(out)
                rates[name].append(given.size * (1 << 20) / seconds / 1e6)
                print(f"{name:12} {seconds:8.2f} {rates[name][-1]:8.0f} {cpu * 1024 / given.size:10.2f}", flush=True)
                figures.record("making a torrent", name, mb_s=rates[name][-1], cpu=cpu * 1024 / given.size)
        for name in list(makers)[1:]:
            print(f"ratio to {name}, median of {given.rounds}: {figures.ratio(rates['cohort'], rates[name]):.2f}")


if __name__ == "__main__":
    main()
