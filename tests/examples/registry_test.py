"""The tracker's registry of users and peers, as curl sees it."""
# deadline: 200

import json
import pathlib
import socket
import subprocess
import time

import roles
import testing

HEALTH = {"status", "service", "version", "uptime_s", "total_peers", "active_peers", "timestamp"}


class Registry:
    """A tracker and curl."""

    def __init__(self, t, *flags):
        self.t = t
        self.tracker = roles.Tracker(t, *flags)
        self.url = f"http://127.0.0.1:{self.tracker.port}"

    def curl(self, *arguments):
        """(status, JSON) of one request; what is not JSON is a failure."""
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", *arguments],
                              capture_output=True, text=True, check=False)
        self.t.check(done.returncode == 0, f"curl: {done.stderr}")
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    def get(self, path):
        return self.curl(self.url + path)

    def post(self, path, data):
        text = data if isinstance(data, str) else json.dumps(data)
        return self.curl("-X", "POST", self.url + path, "-H", "Content-Type: application/json", "-d", text)

    def delete(self, path):
        return self.curl("-X", "DELETE", self.url + path)

    def register(self, name, host="127.0.0.1", port=8001):
        return self.post("/register", {"username": name, "host": host, "port": port})

    def names(self):
        return [peer.get("username") for peer in self.get("/peers")[1]["peers"]]


def check_error(t, answer, status, key):
    code, body = answer
    t.check(code == status, f"{code} instead of {status}: {body}")
    t.check(body.get("status") == "error" and body["message"].startswith(key), f"{body} does not name {key}")


@testing.case("S3-09 POST /register {username,host,port} answers with the user, and updates")
def _(t):
    registry = Registry(t)
    status, alice = registry.register("alice")
    t.check(status == 200, alice)
    t.check(set(alice) == {"id", "username", "host", "port", "is_active", "last_heartbeat"}, alice)
    t.check((alice["id"], alice["username"], alice["host"], alice["port"], alice["is_active"]) ==
            (1, "alice", "127.0.0.1", 8001, True), alice)
    t.check(registry.register("bob", "0.0.0.0", 8002)[1]["host"] == "127.0.0.1", "not where it came from")
    again = registry.register("alice", "10.0.0.1", 9)[1]
    t.check((again["id"], again["host"], again["port"]) == (1, "10.0.0.1", 9), again)
    t.check(registry.post("/register", {"username": "c", "host": "", "port": 1, "unknown": [{}]})[0] == 200, "refused")


@testing.case("S1-20 POST /register {peer_id,address,timestamp} answers registered")
def _(t):
    registry = Registry(t)
    for number in (1, 2, 1):
        answer = registry.post("/register", {"peer_id": f"p{number}", "address": f"http://127.0.0.1:500{number}",
                                             "timestamp": 1700000000.25})
        t.check(answer == (200, {"status": "registered"}), answer)
    peers = registry.get("/peers")[1]["peers"]
    t.check([peer["peer_id"] for peer in peers] == ["p1", "p2"], peers)
    t.check(peers[0]["address"] == "http://127.0.0.1:5001" and peers[0]["timestamp"] == 1700000000.25, peers)


@testing.case("S3-10 POST /heartbeat answers with the name, 404 for the unknown")
def _(t):
    registry = Registry(t)
    registry.register("alice")
    status, answer = registry.post("/heartbeat", {"username": "alice"})
    t.check(status == 200 and set(answer) == {"message", "username"} and answer["username"] == "alice", answer)
    check_error(t, registry.post("/heartbeat", {"username": "bob"}), 404, "username")
    check_error(t, registry.post("/heartbeat", {}), 400, "username")


@testing.case("S1-21 S3-11 GET /peers lists the active ones with all that is known")
def _(t):
    registry = Registry(t)
    t.check(registry.get("/peers") == (200, {"peers": []}), "not empty")
    registry.register("alice")
    registry.register("josé 🙂", "peer.example", 2)
    registry.post("/register", {"peer_id": "p", "address": "x"})
    peers = registry.get("/peers")[1]["peers"]
    t.check([peer["id"] for peer in peers] == [1, 2, 3], peers)
    t.check(peers[1]["username"] == "josé 🙂" and peers[1]["host"] == "peer.example", peers)
    t.check(len(registry.get("/peers?limit=1&offset=1")[1]["peers"]) == 1, "no pages")


@testing.case("S3-12 DELETE /unregister/{username} ends it, 404 for the unknown")
def _(t):
    registry = Registry(t)
    registry.register("al ice")
    status, answer = registry.delete("/unregister/al%20ice")
    t.check(status == 200 and set(answer) == {"message"}, answer)
    check_error(t, registry.delete("/unregister/al%20ice"), 404, "username")
    t.check(registry.names() == [], "still there")


@testing.case("S3-05 S3-20 who is silent becomes inactive, and comes back with a heartbeat")
def _(t):
    registry = Registry(t, "--silent-after", "2")
    registry.register("alice")
    registry.register("bob")

    def only_bob():
        registry.post("/heartbeat", {"username": "bob"})
        return registry.names() == ["bob"]

    testing.until(only_bob, 10, "alice away")
    health = registry.get("/health")[1]
    t.check((health["total_peers"], health["active_peers"]) == (2, 1), health)
    registry.post("/heartbeat", {"username": "alice"})
    t.check(registry.names() == ["alice", "bob"], registry.names())


@testing.case("S0-17 S1-18 S3-13 GET /health")
def _(t):
    registry = Registry(t)
    registry.register("alice")
    status, health = registry.get("/health")
    t.check(status == 200 and set(health) == HEALTH, health)
    t.check(health["status"] == "healthy" and health["total_peers"] == health["active_peers"] == 1, health)


@testing.case("one listener serves users, announces and statistics")
def _(t):
    registry = Registry(t)
    registry.register("alice")
    t.check(b"missing info_hash" in registry.tracker.get("/announce"), "no announce")
    t.check(registry.tracker.stats()["service"] == "tracker", "no statistics")
    t.check(b"<title>" in registry.tracker.get("/"), "no page")


@testing.case("wrong types, missing keys and bodies that are no JSON answer 400 and name the key")
def _(t):
    registry = Registry(t)
    good = {"username": "alice", "host": "127.0.0.1", "port": 8001}
    wrong = {"username": [None, 7, "", "a/b", " a", "a\n", "a" * 65, ["a"]], "host": [None, 7, "a b", "a" * 300],
             "port": [None, 0, 65536, -1, "80", 1.5, True, 2**70]}
    for key, values in wrong.items():
        check_error(t, registry.post("/register", {k: v for k, v in good.items() if k != key}), 400, key)
        for value in values:
            check_error(t, registry.post("/register", {**good, key: value}), 400, key)
    for body in ("", "x", "[]", "{", "nul", "{}{}", '{"username":"\\ud800"}'):
        status, answer = registry.post("/register", body)
        t.check(status == 400 and answer["status"] == "error", f"{body!r}: {answer}")
    for body in ({"peer_id": 7, "address": "x"}, {"peer_id": "p"}, {"peer_id": "p", "address": "x", "timestamp": {}}):
        t.check(registry.post("/register", body)[0] == 400, body)
    t.check(registry.names() == [], "somebody is registered")


@testing.case("bodies beyond 64 KiB are refused, and JSON bombs cost nothing")
def _(t):
    registry = Registry(t)
    for length in (70_000, 10_000_000):
        body = t.folder / "large"
        body.write_text("x" * length)
        code = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:",
                               "--data-binary", f"@{body}", registry.url + "/register"],
                              capture_output=True, text=True, check=False).stdout
        t.check(code == "413", f"{length} bytes: {code}")
    start = time.monotonic()
    for bomb in ("[" * 65_000, '{"a":' * 10_000, '{"username":"' + "\\u0000" * 10_000 + '"}', "1" * 65_000,
                 '{"port":1' + "0" * 60_000 + "}"):
        status, _answer = registry.post("/register", bomb)
        t.check(status == 400, f"{bomb[:20]}: {status}")
    t.check(time.monotonic() - start < 10 * testing.TIME_FACTOR, "it took long")
    t.check(registry.register("alice")[0] == 200, "it is gone")


@testing.case("a flood of names from one address ends at 256, and leaves the registered where they are")
def _(t):
    registry = Registry(t)
    registry.register("alice")
    refused = 0
    with socket.create_connection(("127.0.0.1", registry.tracker.port)) as link:
        reader = link.makefile("rb")
        for number in range(2000):
            body = json.dumps({"username": f"flood {number}", "host": "", "port": 1}).encode()
            link.sendall(b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            refused += b" 429 " in reader.readline()
            length = 0
            for line in iter(reader.readline, b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            reader.read(length)
    t.check(refused == 2000 - 255, f"{refused} were refused")
    t.check(registry.register("alice", "127.0.0.1", 7)[1]["port"] == 7, "alice cannot update")
    status = pathlib.Path(f"/proc/{registry.tracker.process.pid}/status").read_text()
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    t.check(used < 40_000 * (8 if testing.TIME_FACTOR > 1 else 1), f"{used} KiB")


@testing.case("with --require-keys a registration without a key is refused")
def _(t):
    registry = Registry(t, "--require-keys")
    check_error(t, registry.register("alice"), 403, "key")
    check_error(t, registry.post("/register", {"peer_id": "p", "address": "x"}), 403, "key")


@testing.case("a signature that does not fit is refused, and one in the future too")
def _(t):
    registry = Registry(t)
    user = {"username": "alice", "host": "127.0.0.1", "port": 1}
    key, signature, now = "ab" * 32, "cd" * 64, int(time.time() * 1000)
    check_error(t, registry.post("/register", {**user, "key": key, "signature": signature, "signed_at": now}), 403,
                "signature")
    check_error(t, registry.post("/register", {**user, "key": key, "signature": signature, "signed_at": now + 700_000}),
                400, "signed_at")
    check_error(t, registry.post("/register", {**user, "key": key}), 400, "signed_at")
    check_error(t, registry.post("/register", {**user, "key": "zz"}), 400, "key")


@testing.case("S0-20 pages from elsewhere can neither read nor write, those of this machine can")
def _(t):
    registry = Registry(t)
    body = json.dumps({"username": "a", "host": "", "port": 1})
    for origin, allowed in (("http://evil.example", False), ("null", False), ("http://localhost:3000", True),
                            (registry.url, True)):
        status, _answer = registry.curl("-H", f"Origin: {origin}", "-d", body, registry.url + "/register")
        t.check(status == (200 if allowed else 403), f"{origin}: {status}")
        head = subprocess.run(["curl", "-sI", "-H", f"Origin: {origin}", registry.url + "/peers"],
                              capture_output=True, text=True, check=True).stdout
        t.check((f"Access-Control-Allow-Origin: {origin}" in head) == allowed, head)


testing.main()
