#!/usr/bin/python3
"""Our WebSocket echo server beside one with npm's ws; prints a table. By hand, never as a test:

    tests/bench/websocket.py BIN_DIR NODE_DIR [--rounds N] [--seconds S] [--links N] [--idle N]

BIN_DIR holds the built programs (cmake with COHORT_BUILD_INTEROP=ON puts them beside the examples), NODE_DIR a
node_modules with ws (tests/run.sh interop makes build/node). The server has one core, the client, websocket_load, the
other; both servers get the same client. The encrypted rows are ours alone, with Noise in the messages and a client that
seals and opens as well: `ws` has nothing of the kind, so they stand beside its plain ones. Throughput is that of
messages of 100 bytes, some of them on the way on each link at any time, the median of the rounds. Memory of an idle
link is what the server's resident memory grew by while 1,000 links were opened and said one message each, divided by
their number; it is measured 15 s later, in a process that has had a few links before.
"""

import argparse
import os
import re
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WINDOW = 200


class Server:
    def __init__(self, name, command, path, env=None):
        self.name, self.command, self.path, self.env = name, command, path, env

    def __enter__(self):
        self.process = subprocess.Popen(["taskset", "-c", "0", *self.command], stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(self.env or {})})
        self.port = re.search(r":(\d+)$", self.process.stdout.readline().strip()).group(1)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024


def load(options, server, *arguments):
    return ["taskset", "-c", "1", os.path.join(options.programs, "websocket_load"), server.port, server.path,
            *map(str, arguments)]


def throughput(options, server, links, window):
    with server:
        out = subprocess.run(load(options, server, links, window, options.seconds, 100), capture_output=True, text=True,
                             check=True)
        return float(out.stdout)


def idle_memory(options, server):
    with server:
        def hold(links, seconds):
            with subprocess.Popen(load(options, server, links, "idle"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True) as client:
                client.stdout.readline()
                time.sleep(seconds)
                resident = server.resident()
                client.stdin.close()
            return resident

        hold(10, 1)
        time.sleep(1)
        before = server.resident()
        return (hold(options.idle, 15) - before) / options.idle


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("programs")
    parser.add_argument("node")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--links", type=int, default=64)
    parser.add_argument("--idle", type=int, default=1000)
    options = parser.parse_args()
    ours = Server("cohort", [os.path.join(options.programs, "websocket_peer"), "serve"], "/echo")
    theirs = Server("ws", ["node", os.path.join(HERE, "websocket_ws.js")], "/",
                    {"NODE_PATH": os.path.join(options.node, "node_modules")})

    sealed = Server("cohort", ours.command, "/sealed")

    print(f"{'':<42}{'ws':>12}{'cohort':>12}{'ratio':>9}{'encrypted':>12}{'ratio':>9}")
    for links, window in ((1, 1), (1, WINDOW), (options.links, WINDOW)):
        figures = {theirs: [], ours: [], sealed: []}
        for _ in range(options.rounds):
            for server in figures:
                figures[server].append(throughput(options, server, links, window))
        b, a, c = (statistics.median(one) for one in figures.values())
        label = f"{links} link{'s' * (links > 1)}, {window} on the way, messages/s"
        print(f"{label:<42}{b:>12,.0f}{a:>12,.0f}{a / b:>8.1f}x{c:>12,.0f}{c / b:>8.1f}x", flush=True)
    a, b = idle_memory(options, ours), idle_memory(options, theirs)
    print(f"{options.idle} idle links, bytes each".ljust(42) + f"{b:>12,.0f}{a:>12,.0f}{a / b:>8.2f}x")


if __name__ == "__main__":
    main()
