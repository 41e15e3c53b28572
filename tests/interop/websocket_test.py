"""Our WebSockets with those of others: Chromium, python3-websockets and npm's ws, each side as server and as client."""
# deadline: 240

import asyncio
import os
import pathlib
import re
import threading

import testing
import websockets

NODE = pathlib.Path(os.environ.get("COHORT_NODE", testing.ROOT / "build" / "node"))
WS = testing.ROOT / "tests" / "interop" / "websocket_ws.js"
SIZES = [0, 1, 125, 126, 65535, 65536, 1000000]


def start_ours(t):
    """Our echo server; HOST:PORT."""
    server = t.start("websocket_peer", "serve")
    server.address = server.wait_for(r"listening on (\S+)").group(1)
    server.url = f"ws://{server.address}/echo"
    return server


def start_ws(t, *arguments):
    """A script on Node.js with the packages that tests/run.sh put into build/node."""
    if not (NODE / "node_modules" / "ws").is_dir():
        raise testing.Skip(f"no ws in {NODE}; tests/run.sh interop puts it there")
    return t.start("node", WS, *arguments, env={**os.environ, "NODE_PATH": str(NODE / "node_modules")})


def check_with_ours(t, url):
    """Our client tries an echo server out."""
    ours = t.run("websocket_peer", "check", url, timeout=50)
    t.check(ours.code == 0, ours.tail())
    t.check(ours.out.splitlines() == ["ok connected, protocol cohort.1", "ok texts and bytes of all sizes",
                                      "ok many messages in order", "ok closed with 4321"], ours.tail())


class PythonServer:
    """An echo server of python3-websockets, in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.closed = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait(10)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.serve())

    async def serve(self):
        self.end = asyncio.Event()
        async with websockets.serve(self.talk, "127.0.0.1", 0, subprotocols=["cohort.1"], max_queue=None) as server:
            self.url = "ws://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.end.wait()

    async def talk(self, link, *_):
        if link.path == "/farewell":
            await asyncio.wait_for(await link.ping(), 10)
            await link.send(["in ", "three ", "parts"])
            await link.send(b"binary")
            await link.close(4002, "that was all")
        else:
            try:
                async for message in link:
                    await link.send(message)
            except websockets.ConnectionClosed:
                pass
        self.closed.append((link.close_code, link.close_reason))

    def stop(self):
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(10)


async def expect_close(link, code):
    try:
        while True:
            await asyncio.wait_for(link.recv(), 10)
    except websockets.ConnectionClosed as closed:
        if closed.rcvd is None or closed.rcvd.code != code:
            raise testing.Failure(f"closed with {closed}") from None
        return closed.rcvd.reason


@testing.case("python3-websockets speaks with our server")
def _(t):
    server = start_ours(t)

    async def talk():
        async with websockets.connect(server.url, subprotocols=["other", "cohort.1"]) as link:
            t.check(link.subprotocol == "cohort.1", f"subprotocol {link.subprotocol}")
            t.check(not link.extensions, "an extension was agreed")
            for size in SIZES:
                for message in ("κ" * (size // 2), bytes(size)):
                    await link.send(message)
                    t.check(await link.recv() == message, f"echo of {size}")
            await link.send(["in ", "three ", "parts"])
            t.check(await link.recv() == "in three parts", "fragments")
            await asyncio.wait_for(await link.ping(b"are you there"), 10)

            async def send_many():
                for i in range(5000):
                    await link.send(f"message {i}")

            sending = asyncio.create_task(send_many())
            for i in range(5000):
                t.check(await link.recv() == f"message {i}", "order")
            await sending
            await link.close(4321, "Gründe")
            t.check(link.close_code == 4321, f"closed with {link.close_code}")

    asyncio.run(asyncio.wait_for(talk(), 50))
    server.wait_for("ended: 4321 Gründe")


@testing.case("python3-websockets understands how our server closes")
def _(t):
    server = start_ours(t)

    async def talk():
        async with websockets.connect(server.url) as link:
            await link.send("close 4001 enough")
            t.check(await expect_close(link, 4001) == "enough", "other words")
        async with websockets.connect(server.url) as link:
            await link.send(bytes(1024 * 1024 + 1))
            await expect_close(link, 1009)
        async with websockets.connect(server.url) as link:
            await link.write_frame(True, 1, b"\xc0\x80")
            await expect_close(link, 1007)
        async with websockets.connect(server.url) as link:
            await link.write_frame(True, 0, b"")
            await expect_close(link, 1002)

    asyncio.run(asyncio.wait_for(talk(), 50))


@testing.case("our client speaks with a server of python3-websockets")
def _(t):
    server = PythonServer()
    try:
        check_with_ours(t, server.url)
        testing.until(lambda: (4321, "Gründe") in server.closed, 10, "close on their side")
    finally:
        server.stop()


@testing.case("our client takes fragments, pings and a close of python3-websockets")
def _(t):
    server = PythonServer()
    try:
        ours = t.run("websocket_peer", "read", server.url + "farewell")
        t.check(ours.out.splitlines() == ["text 14 in three parts", "binary 6 binary",
                                          "ended: 4002 that was all: WebSocket closed by the other side"], ours.tail())
    finally:
        server.stop()


@testing.case("npm's ws speaks with our server")
def _(t):
    server = start_ours(t)
    other = start_ws(t, "check", server.url)
    t.check(other.wait(50) == 0, other.tail())
    t.check(len(re.findall("^ok ", other.out, re.MULTILINE)) == 7, other.tail())


@testing.case("our client speaks with a server of npm's ws")
def _(t):
    server = start_ws(t, "serve")
    address = server.wait_for(r"listening on (\S+)").group(1)
    check_with_ours(t, f"ws://{address}/")
    server.wait_for("pong are you there")
    server.wait_for("closed 4321 Gründe")
    t.check("error" not in server.out, server.tail())


@testing.case("pages in Chromium speak with our server", deadline=100)
def _(t):
    server = start_ours(t)
    browser = t.start("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                      "--no-first-run", "--disable-background-networking", "--disable-component-update",
                      f"--user-data-dir={t.folder / 'profile'}", f"http://{server.address}/page")
    server.wait_for("(?m)^told$", 80)
    verdicts = re.findall("(?m)^((?:not )?ok.*)$", server.out)
    t.check(len(verdicts) == 7, f"{verdicts} {browser.tail()}")
    t.check(all(verdict.startswith("ok") for verdict in verdicts), verdicts)


testing.main()
