"""The control door of the chat program, as curl and another WebSocket library see it."""
# deadline: 300

import json
import socket
import subprocess

import roles
import testing

try:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect as open_websocket
except ImportError:  # before version 11 the library knew coroutines only
    import asyncio

    import websockets
    from websockets.exceptions import WebSocketException

    class open_websocket:  # pylint: disable=invalid-name
        """A WebSocket that waits."""

        def __init__(self, url, origin=None):
            async def open_it():
                return await websockets.connect(url, origin=origin, max_size=None)

            self.loop = asyncio.new_event_loop()
            try:
                self.link = self._do(open_it())
            except BaseException:
                self.loop.close()
                raise

        def _do(self, work, timeout=20):
            async def within():
                return await asyncio.wait_for(work, timeout * testing.TIME_FACTOR)
            return self.loop.run_until_complete(within())

        def recv(self, timeout=20):
            return self._do(self.link.recv(), timeout)

        def send(self, data):
            self._do(self.link.send(data))

        def close(self):
            self._do(self.link.close())
            self.loop.close()


def curl(t, *arguments):
    """(status, JSON) of one request; what is not JSON is a failure."""
    done = subprocess.run(["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *map(str, arguments)],
                          capture_output=True, text=True, check=False)
    t.check(done.returncode == 0, f"curl: {done.stderr}")
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


class Chat:
    """A chat program with a control door."""

    def __init__(self, t, *flags, **options):
        self.t = t
        self.folder = t.folder / f"chat-{len(t.processes)}"
        self.process = t.start("chat", "--host", "127.0.0.1", "--home", self.folder, "--api", 0, "--json", *flags,
                               **options)
        self.url = self.process.wait_event("api", 20)["url"]
        self.port = int(self.url.rpartition(":")[2])

    def get(self, path):
        return curl(self.t, self.url + path)

    def post(self, path, data):
        text = data if isinstance(data, str) else json.dumps(data)
        return curl(self.t, "-X", "POST", self.url + path, "-H", "Content-Type: application/json", "-d", text)

    def start(self, name, tracker, port=0):
        return self.post("/start", {"username": name, "port": port, "tracker_url": tracker_url(tracker)})

    def contents(self, query=""):
        status, answer = self.get("/messages" + query)
        self.t.check(status == 200, answer)
        return [message["content"] for message in answer["messages"]]

    def listen(self, origin=None):
        return open_websocket(f"ws://127.0.0.1:{self.port}/ws", origin=origin)


def tracker_url(tracker):
    return tracker.http.removesuffix("/announce")


def next_frame(socket_, kind, fits=lambda data: True):
    """The next frame of a type whose data fits."""
    while True:
        frame = json.loads(socket_.recv(timeout=20))
        if frame["type"] == kind and fits(frame.get("data")):
            return frame


def check_error(t, answer, status, key):
    code, body = answer
    t.check(code == status, f"{code} instead of {status}: {body}")
    t.check(body.get("status") == "error" and body["message"].startswith(key), f"{body} does not name {key}")


def two(t):
    """Alice and bob, started and linked."""
    tracker = roles.Tracker(t)
    alice, bob = Chat(t), Chat(t)
    for chat, name in ((alice, "alice"), (bob, "bob")):
        status, answer = chat.start(name, tracker)
        t.check(status == 200 and answer["status"] == "started", answer)
    t.check(alice.post("/connect", {"peer_username": "bob"})[0] == 200, "no link")
    return tracker, alice, bob


@testing.case("S3-14 POST /start makes the node, and tells again how it is; another name is refused")
def _(t):
    tracker = roles.Tracker(t)
    alice = Chat(t)
    check_error(t, alice.get("/peers"), 409, "username")
    status, answer = alice.start("alice", tracker)
    t.check(status == 200 and answer["status"] == "started" and answer["username"] == "alice", answer)
    t.check(answer["tracker_url"] == tracker_url(tracker) and answer["tracker_reachable"] is True, answer)
    t.check(alice.process.wait_event("ready")["port"] == answer["port"], answer)
    status, again = alice.start("alice", tracker)
    t.check(status == 200 and again == {**answer, "status": "running"}, again)
    check_error(t, alice.start("bob", tracker), 409, "username")
    names = [peer["username"] for peer in json.loads(tracker.get("/peers"))["peers"]]
    t.check(names == ["alice"], names)


@testing.case("S3-14 the door's own port may be named, and then another one is taken")
def _(t):
    tracker = roles.Tracker(t)
    alice = Chat(t)
    status, answer = alice.start("alice", tracker, alice.port)
    t.check(status == 200 and answer["port"] not in (0, alice.port), answer)
    bob = Chat(t)
    port = roles.free_port()
    t.check(bob.start("bob", tracker, port)[1]["port"] == port, "not the port that was asked for")


@testing.case("S3-14 a start that fails says why, and the next one may succeed")
def _(t):
    tracker = roles.Tracker(t)
    first, second = Chat(t), Chat(t)
    t.check(first.start("alice", tracker)[0] == 200, "no start")
    check_error(t, second.start("alice", tracker), 409, "username")
    check_error(t, second.start("a/b", tracker), 400, "username")
    check_error(t, second.post("/start", {"username": "bob", "port": 0, "tracker_url": "ftp://x"}), 400, "tracker_url")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        check_error(t, second.start("bob", tracker, busy.getsockname()[1]), 409, "port")
    status, answer = second.start("bob", tracker)
    t.check(status == 200 and answer["username"] == "bob", answer)
    t.check(second.post("/connect", {"peer_username": "alice"})[0] == 200, "no link")


@testing.case("S3-14 without a tracker that answers a chat starts all the same")
def _(t):
    alice = Chat(t)
    url = f"http://127.0.0.1:{roles.free_port()}"
    status, answer = alice.post("/start", {"username": "alice", "port": 0, "tracker_url": url})
    t.check(status == 200 and answer["tracker_reachable"] is False, answer)
    check_error(t, alice.post("/connect", {"peer_username": "bob"}), 502, "peer_username")
    check_error(t, alice.post("/send", {"peer_username": "bob", "content": "x"}), 502, "peer_username")


@testing.case("S3-15 S3-16 S3-18 S3-24 POST /connect, POST /send and GET /messages, whatever the script")
def _(t):
    _tracker, alice, bob = two(t)
    words = ["¡Hola Bob!", "👋🏽 héllo, 世界", "line\nline\ttab \"quoted\" \\ \u0001", "x" * 65536]
    ids = []
    for content in words:
        status, answer = alice.post("/send", {"peer_username": "bob", "content": content})
        t.check(status == 200 and answer["status"] == "sent" and answer["id"], answer)
        ids.append(answer["id"])
    testing.until(lambda: bob.contents("?with=alice") == words, 20, "all that was said")
    testing.until(lambda: {m["state"] for m in alice.get("/messages?with=bob")[1]["messages"]} == {"delivered"}, 20,
                  "delivered")
    message = bob.get("/messages?with=alice&limit=4")[1]["messages"][0]
    t.check((message["from"], message["to"], message["id"], message["own"]) == ("alice", "bob", ids[0], False), message)
    t.check(message["timestamp"].endswith("Z"), message)
    t.check(bob.contents(f"?with=alice&limit=1&before={ids[2]}") == words[1:2], "not the page before")
    t.check(bob.contents("?limit=2") == words[2:], "not the last ones of all")
    check_error(t, alice.post("/connect", {"peer_username": "nobody"}), 404, "peer_username")
    check_error(t, alice.post("/send", {"peer_username": "nobody", "content": "x"}), 404, "peer_username")
    check_error(t, alice.post("/send", {"peer_username": "bob", "content": "x" * 65537}), 400, "content")
    check_error(t, alice.get("/messages?with=nobody"), 404, "with")


@testing.case("S3-15 what is written while the other is away is queued, and a connect says that nobody is there")
def _(t):
    _tracker, alice, bob = two(t)
    alice.post("/send", {"peer_username": "bob", "content": "1"})
    testing.until(lambda: bob.contents() == ["1"], 20, "the first message")
    bob.process.stop()
    testing.until(lambda: alice.get("/peers")[1]["peers"] == [], 20, "bob away")
    check_error(t, alice.post("/connect", {"peer_username": "bob"}), 502, "peer_username")
    answer = alice.post("/send", {"peer_username": "bob", "content": "2"})
    t.check(answer[0] == 200 and answer[1]["status"] == "queued", answer)


@testing.case("S3-17 GET /peers lists the connected")
def _(t):
    tracker, alice, bob = two(t)
    status, answer = alice.get("/peers")
    t.check(status == 200 and len(answer["peers"]) == 1, answer)
    peer = answer["peers"][0]
    t.check((peer["username"], peer["host"], peer["connected"]) == ("bob", "127.0.0.1", True), peer)
    t.check(peer["port"] == bob.start("bob", tracker)[1]["port"], peer)
    carol = Chat(t)
    carol.start("carol", tracker)
    t.check(carol.get("/peers") == (200, {"peers": []}), "linked to whom?")
    known = carol.get("/peers?all=true")[1]["peers"]
    t.check([one["username"] for one in known] == ["alice", "bob"], known)
    health = alice.get("/health")[1]
    t.check(health["status"] == "healthy" and health["active_peers"] == 1 and health["username"] == "alice", health)


@testing.case("S3-19 WS /ws tells of links, messages, typing and receipts, and answers a ping")
def _(t):
    tracker = roles.Tracker(t)
    alice, bob = Chat(t), Chat(t)
    ears = alice.listen()  # before there is a node
    others = alice.listen("http://localhost:3000")
    ears.send(json.dumps({"type": "ping"}))
    t.check(next_frame(ears, "pong") == {"type": "pong"}, "no pong")
    alice.start("alice", tracker)
    bob.start("bob", tracker)
    alice.post("/connect", {"peer_username": "bob"})
    t.check(next_frame(ears, "peer_connected")["data"]["username"] == "bob", "who?")
    sent = alice.post("/send", {"peer_username": "bob", "content": "hello"})[1]
    next_frame(ears, "receipt", lambda data: (data["with"], data["id"], data["state"]) == ("bob", sent["id"],
                                                                                           "delivered"))
    t.check(bob.post("/typing", {"peer_username": "alice"})[0] == 200, "cannot type")
    t.check(next_frame(ears, "typing")["data"] == {"from": "bob", "with": "bob", "on": True}, "who is typing?")
    sent = bob.post("/send", {"peer_username": "alice", "content": "¡Hola! 🎉"})[1]
    for listener in (ears, others):
        data = next_frame(listener, "message", lambda data: data["from"] == "bob")["data"]
        t.check((data["to"], data["content"], data["id"]) == ("alice", "¡Hola! 🎉", sent["id"]), data)
        t.check(data["timestamp"].endswith("Z"), data)
    mouth = bob.listen()
    ears.send(json.dumps({"type": "read", "data": {"peer_username": "bob"}}))
    next_frame(mouth, "receipt", lambda data: data["state"] == "read" and data["id"] == sent["id"])
    mouth.send(json.dumps({"type": "typing", "data": {"peer_username": "alice", "on": False}}))
    t.check(next_frame(ears, "typing")["data"]["on"] is False, "still typing")
    bob.process.stop()
    t.check(next_frame(ears, "peer_disconnected")["data"]["username"] == "bob", "who?")
    ears.send("no JSON")
    t.check(next_frame(ears, "error")["data"]["message"].startswith("type"), "no error")
    ears.close()
    others.close()


@testing.case("the terminal and the door share one node")
def _(t):
    tracker = roles.Tracker(t)
    alice = Chat(t, "--name", "alice", "--tracker", tracker.http, stdin=subprocess.PIPE)
    bob = Chat(t)
    bob.start("bob", tracker)
    t.check(alice.start("alice", tracker)[1]["status"] == "running", "not running")
    alice.process.popen.stdin.write(b"@bob typed\n")
    alice.process.popen.stdin.flush()
    testing.until(lambda: bob.contents() == ["typed"], 20, "what was typed")
    bob.post("/send", {"peer_username": "alice", "content": "posted"})
    testing.until(lambda: [e["text"] for e in alice.process.events("message") if not e["own"]] == ["posted"], 20,
                  "what was posted")
    t.check(alice.contents("?with=bob") == ["typed", "posted"], alice.contents())
    alice.process.popen.stdin.write(b"/quit\n")
    alice.process.popen.stdin.flush()
    t.check(alice.process.wait() == 0, alice.process.tail())


@testing.case("S3-W2 S3-W3 rooms and files through the door")
def _(t):
    _tracker, alice, bob = two(t)
    for chat in (alice, bob):
        t.check(chat.post("/join", {"room": "lobby"}) == (200, {"status": "joined", "room": "#lobby"}), "not in")
    testing.until(lambda: sorted(bob.get("/rooms")[1]["rooms"][0]["members"]) == ["alice", "bob"], 20, "both")
    t.check(alice.post("/send", {"peer_username": "#lobby", "content": "all"})[0] == 200, "not said")
    testing.until(lambda: bob.contents("?with=%23lobby") == ["all"], 20, "what was said in the room")
    t.check(bob.post("/leave", {"room": "lobby"})[0] == 200, "not out")

    photo = t.folder / "photo.jpg"
    photo.write_bytes(bytes(range(256)) * 4000)
    ears = bob.listen()
    offer = alice.post("/files", {"peer_username": "bob", "path": str(photo)})[1]
    data = next_frame(ears, "file_offered")["data"]
    t.check((data["id"], data["name"], data["size"]) == (offer["id"], "photo.jpg", 1_024_000), data)
    there = t.folder / "there"
    there.mkdir()
    answer = bob.post("/files/accept", {"peer_username": "alice", "id": data["id"], "directory": str(there)})
    t.check(answer[0] == 200, answer)
    path = next_frame(ears, "file_done")["data"]["path"]
    t.check(path == str(there / "photo.jpg") and (there / "photo.jpg").read_bytes() == photo.read_bytes(), path)
    ears.close()


@testing.case("wrong types, missing keys and bodies that are no JSON answer 400 and name the key")
def _(t):
    chat = Chat(t)
    good = {"username": "alice", "port": 0, "tracker_url": ""}
    wrong = {"username": [None, 7, "", ["a"], "#a", "a\nb"], "port": [None, -1, 65536, "1", 1.5, True, 2**70],
             "tracker_url": [None, 7, {}, "nonsense"]}
    for key, values in wrong.items():
        check_error(t, chat.post("/start", {k: v for k, v in good.items() if k != key}), 400, key)
        for value in values:
            check_error(t, chat.post("/start", {**good, key: value}), 400, key)
    t.check(chat.post("/start", {**good, "unknown": [{}]})[0] == 200, "unknown keys matter")
    for path, key in (("/connect", "peer_username"), ("/send", "peer_username"), ("/join", "room")):
        for body in ({}, {key: 7}, {key: None}):
            check_error(t, chat.post(path, body), 400, key)
    check_error(t, chat.post("/send", {"peer_username": "bob"}), 400, "content")
    for body in ("", "x", "[]", "{", "{}{}", '{"peer_username":"\\ud800"}', "[" * 100_000):
        check_error(t, chat.post("/send", body), 400, "body")
    large = t.folder / "large"
    large.write_text("x" * 140_000)
    code = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "--data-binary",
                           f"@{large}", chat.url + "/send"], capture_output=True, text=True, check=False).stdout
    t.check(code == "413", f"beyond 128 KiB: {code}")


@testing.case("A46 pages from elsewhere, by whatever name, reach nothing")
def _(t):
    chat = Chat(t, "--name", "alice")
    calls = (("/peers",), ("/messages",), ("/join", "-d", '{"room":"lobby"}'),
             ("/start", "-d", '{"username":"eve","port":0,"tracker_url":"http://evil.example"}'))
    page = f"http://evil.example:{chat.port}"
    foreign = ((("Host: evil.example",), 421), ((f"Host: evil.example:{chat.port}",), 421), (("Host: localhost",), 421),
               ((f"Host: evil.example:{chat.port}", f"Origin: {page}"), 421), (("Origin: http://evil.example",), 403),
               (("Origin: null",), 403), ((f"Origin: {page}",), 403), (("Sec-Fetch-Site: cross-site",), 403))
    for fields, expected in foreign:
        flags = [flag for field in fields for flag in ("-H", field)]
        for path, *data in calls:
            status, _answer = curl(t, *flags, *data, chat.url + path)
            t.check(status == expected, f"{fields} {path}: {status}")
    t.check(chat.get("/rooms") == (200, {"rooms": []}), "somebody joined")
    for origin in ("http://evil.example", page, "null"):
        try:
            chat.listen(origin).close()
        except WebSocketException as refusal:
            t.check("403" in str(refusal), refusal)
        else:
            raise testing.Failure(f"{origin} listens")
    for origin in ("http://localhost:3000", chat.url):
        t.check(curl(t, "-H", f"Origin: {origin}", chat.url + "/peers")[0] == 200, origin)


@testing.case("A46 the door is open on the loopback alone, and with a token only to who has it")
def _(t):
    chat = Chat(t, "--name", "alice", "--api-token", "s3cret")
    t.check(chat.get("/peers")[0] == 401, "open")
    t.check(curl(t, "-H", "Authorization: Bearer s3cret", chat.url + "/peers")[0] == 200, "closed")
    t.check(chat.get("/peers?token=s3cret")[0] == 200, "closed")
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    for address in own:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            t.check(probe.connect_ex((address, chat.port)) != 0, f"open at {address}")


testing.main()
