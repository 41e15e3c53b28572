"""examples/trace_view.html in Chromium: what it draws of traces, its filters, and that it obeys no stranger's text."""
# deadline: 240

import asyncio
import json
import urllib.request

import content
import roles
import testing
import websockets

PAGE = (testing.ROOT / "examples" / "trace_view.html").as_uri()


class Page:
    """The page in a browser of its own, driven over the DevTools protocol."""

    def __init__(self, t):
        self.profile = t.folder / "profile"
        self.browser = t.start("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                               "--no-first-run", "--disable-background-networking", "--disable-component-update",
                               "--remote-debugging-port=0", f"--user-data-dir={self.profile}", PAGE)
        self.number = 0
        self.complaints = []

    def address(self):
        told = self.profile / "DevToolsActivePort"
        port = testing.until(lambda: told.exists() and told.read_text().split(), 60, "Chromium's port")[0]

        def look():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
                return [one["webSocketDebuggerUrl"] for one in json.load(answer)
                        if one["type"] == "page" and one["url"].startswith(PAGE)]

        return testing.until(look, 30, "the page")[0]

    async def open(self):
        self.link = await websockets.connect(self.address(), max_size=None, close_timeout=0.5)
        for domain in ("Runtime", "Log", "Network"):
            await self.call(domain + ".enable")
        window = {"width": 1200, "height": 1500, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **window)
        await self.wait_for("location.protocol === 'file:' && document.readyState === 'complete'")

    async def call(self, method, **parameters):
        self.number += 1
        await self.link.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            said = json.loads(await asyncio.wait_for(self.link.recv(), 60))
            if said.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Network.requestWillBeSent"):
                self.complaints.append(said)
            if said.get("id") == self.number:
                if "error" in said:
                    raise testing.Failure(f"{method}: {said['error']}")
                return said["result"]

    async def eval(self, expression):
        said = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in said:
            raise testing.Failure(f"{expression}: {said['exceptionDetails']}")
        return said["result"].get("value")

    async def wait_for(self, expression):
        for _ in range(300):
            value = await self.eval(expression)
            if value:
                return value
            await asyncio.sleep(0.05)
        raise testing.Failure(f"never: {expression}; {await self.status()}")

    async def load(self, *paths):
        chooser = (await self.call("Runtime.evaluate", expression="document.querySelector('#file')"))["result"]
        await self.eval("document.querySelector('#status').textContent = ''")
        await self.call("DOM.setFileInputFiles", objectId=chooser["objectId"], files=[str(path) for path in paths])
        await self.wait_for("document.querySelector('#status').textContent")

    async def status(self):
        return await self.eval("document.querySelector('#status').textContent")

    async def rows(self):
        """What each row in sight says to whoever cannot see it."""
        return await self.eval("[...document.querySelectorAll('.row')].map(row => row.getAttribute('aria-label'))")

    async def columns(self):
        return await self.eval("[...document.querySelectorAll('#columns b')].map(name => name.textContent)")

    async def press(self, key):
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def with_page(t, story):
    page = Page(t)

    async def run():
        await page.open()
        await story(page)
        t.check(not page.complaints, f"the browser complains, or was asked for something: {page.complaints}")

    asyncio.run(asyncio.wait_for(run(), 90 * testing.TIME_FACTOR))


def line(time, message, direction="out", link=1, peer="10.0.0.2:6881", host="here", **more):
    return json.dumps({"time": time, "host": host, "peer": peer, "link": link, "dir": direction, "message": message,
                       **more}, separators=(",", ":"))


def write(path, lines):
    path.write_text("".join(one + "\n" for one in lines))
    return path


@testing.case("a trace is drawn as arrows, and messages, peers and texts can be chosen", deadline=120)
def _(t):
    trace = write(t.folder / "x.trace", [
        json.dumps({"time": 0, "host": "here", "message": "trace", "clock": 5}),
        line(0.1, "connect", local="10.0.0.1:1111"), line(0.2, "handshake", peer_id="-CO0001-abc"),
        line(0.3, "handshake", "in", peer_id="-XY0001-abc"), line(0.4, "interested"), line(0.5, "unchoke", "in"),
        *(line(0.6 + i / 1000, "request", index=i, begin=0, length=16384) for i in range(64)),
        *(line(0.61 + i / 1000, "piece", "in", index=i, begin=0, length=16384) for i in range(64)),
        line(3, "have", index=7), line(4, "connect", link=2, peer="10.0.0.3:80", local="10.0.0.1:2222"),
        line(4.1, "http_request", link=2, peer="10.0.0.3:80", method="GET", target="/announce?x"),
        "this is no line of a trace"])

    async def story(page):
        await page.load(trace)
        t.check(await page.status() == "136 of 136 messages in 10 rows, 1 lines that are none", await page.status())
        t.check(await page.columns() == ["here", "-XY0001-…", "10.0.0.3:80"], await page.columns())
        rows = await page.rows()
        t.check(rows[3] == "0.300000 s, here to -XY0001-…: interested ", rows)
        t.check("64 × request index 0 to 63, 1,048,576 bytes" in rows[5] and "64 × piece" in rows[6], rows)
        t.check(rows[9].endswith("here to 10.0.0.3:80: http_request GET /announce?x"), rows)
        arrows = await page.eval("[...document.querySelectorAll('.arrow')].map(arrow => "
                                 "[arrow.className.trim(), Math.round(arrow.getBoundingClientRect().width) > 50])")
        t.check(arrows[2] == ["arrow left", True] and arrows[3] == ["arrow right", True], arrows)

        await page.eval("document.querySelector('#types input[value=request]').click()")
        t.check((await page.status()).startswith("72 of 136 messages in 9 rows"), await page.status())
        await page.eval("document.querySelector('#no').click()")
        t.check((await page.status()).startswith("0 of 136"), await page.status())
        await page.eval("document.querySelector('#all').click()")
        await page.eval("document.querySelector('#collapse').click()")
        t.check("136 rows" in await page.status(), await page.status())
        await page.eval("document.querySelector('#collapse').click()")
        await page.eval("{ const peer = document.querySelector('#peer'); peer.value = '2';"
                        "  peer.dispatchEvent(new Event('change')); }")
        t.check((await page.status()).startswith("2 of 136"), await page.status())
        await page.eval("{ const peer = document.querySelector('#peer'); peer.value = '';"
                        "  peer.dispatchEvent(new Event('change')); }")
        await page.press("/")
        t.check(await page.eval("document.activeElement.id") == "search", "/ does not lead to the search")
        await page.call("Input.insertText", text='"INDEX":63')
        await page.wait_for("document.querySelector('#status').textContent.startsWith('2 of 136')")
        await page.eval("{ const search = document.querySelector('#search'); search.value = '';"
                        "  search.dispatchEvent(new Event('input')); }")
        await page.wait_for("document.querySelector('#status').textContent.startsWith('136 of 136')")

        await page.eval("document.querySelector('#view').focus()")
        await page.press("Home")
        for _ in range(5):
            await page.press("ArrowDown")
        t.check('"message":"request"' in await page.eval("document.querySelector('#detail').textContent"),
                "the keys do not lead to the requests")
        await page.press("Enter")
        t.check("in 74 rows" in await page.status(), await page.status())
        await page.press("Enter")
        t.check("in 10 rows" in await page.status(), await page.status())

    with_page(t, story)


@testing.case("traces of several hosts become one picture, in which every message is one arrow", deadline=120)
def _(t):
    path = content.write_file(t.folder / "file", 2 * content.MIB)
    tracker = roles.Tracker(t, "--trace", t.folder / "tracker.trace")
    torrent = roles.make_torrent(t, path, trackers=[tracker.udp])
    seeder = roles.start_seeder(t, torrent, path, announced=True, more=["--trace", t.folder / "seeder.trace"])
    leecher = roles.start_leecher(t, torrent, t.folder / "out", more=["--trace", t.folder / "leecher.trace"])
    roles.finish(t, leecher)
    seeder.stop()
    tracker.process.stop()

    async def story(page):
        await page.load(*(t.folder / f"{name}.trace" for name in ("leecher", "seeder", "tracker")))
        t.check(await page.columns() == ["leecher", "seeder", "tracker"], await page.columns())
        counts = await page.eval("Object.fromEntries([...document.querySelectorAll('#types label')].map(label => "
                                 "[label.querySelector('input').value, label.querySelector('.count').textContent]))")
        t.check(counts["handshake"].strip() == "2" and counts["piece"] == counts["request"], counts)
        t.check(counts["announce_request"] == counts["announce_answer"], counts)
        t.check("accept" not in counts and "opaque" not in counts, counts)
        rows = await page.rows()
        t.check(any("seeder to leecher" in row and "× piece" in row for row in rows), rows)

    with_page(t, story)


@testing.case("the page shows what strangers sent as text, and neither loads nor runs anything", deadline=120)
def _(t):
    evil = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    trace = write(t.folder / "evil.trace", [
        line(0, evil, host=evil, peer=evil, text=evil), line(1, "handshake", "in", host=evil, peer_id=evil),
        line(2, "__proto__", link="__proto__", m={"__proto__": 1}, constructor="x"),
        line(3, "piece", index="x", length={}),
        '{"time":"1","message":"x"}', '{"time":1e999,"message":"x"}', "null", "[]", "{", "\0\0", line(4, "x", peer=7),
        json.dumps({"time": 5, "message": "trace", "clock": "x"})])

    async def story(page):
        await page.load(trace)
        t.check((await page.status()).startswith("5 of 5"), await page.status())
        t.check(await page.eval("document.title") == "Trace", "the title was changed")
        t.check(await page.eval("document.querySelectorAll('img, main script').length") == 0, "text became elements")
        t.check(any(evil in row for row in await page.rows()), "the text is not there")
        blocked = await page.eval("fetch('http://127.0.0.1:9/').then(() => 'fetched', () => 'refused')")
        t.check(blocked == "refused", blocked)
        page.complaints = [one for one in page.complaints if "Content Security Policy" not in json.dumps(one)]

    with_page(t, story)


@testing.case("a hundred thousand lines are read in seconds and scrolled without delay", deadline=120)
def _(t):
    kinds = (("request", "out"), ("piece", "in"), ("unchoke", "in"))
    trace = write(t.folder / "long.trace", (line(i / 100, *kinds[i % 3], index=i) for i in range(100_000)))

    async def story(page):
        began = asyncio.get_running_loop().time()
        await page.load(trace)
        took = asyncio.get_running_loop().time() - began
        t.check(took < 15 * testing.TIME_FACTOR, f"read in {took:.1f} s")
        await page.eval("document.querySelector('#collapse').click()")
        t.check((await page.status()).startswith("100,000 of 100,000 messages in 100,000 rows"), await page.status())
        slowest = await page.eval("""(async () => {
            const view = document.querySelector('#view');
            const times = [];
            for (let i = 1; i <= 40; i++) {
              const began = performance.now();
              view.scrollTop = view.scrollHeight * i / 40;
              draw();
              view.getBoundingClientRect();
              times.push(performance.now() - began);
              await new Promise(requestAnimationFrame);
            }
            return times.sort((a, b) => a - b)[36];
          })()""")
        t.check(slowest < 100 * testing.TIME_FACTOR, f"{slowest:.1f} ms for a screen")
        rows = await page.rows()
        t.check(len(rows) < 200 and "999.99" in rows[-1], rows[-1:])
        print(f"# 100,000 lines in {took:.2f} s, a screen in {slowest:.1f} ms")

    with_page(t, story)


testing.main()
