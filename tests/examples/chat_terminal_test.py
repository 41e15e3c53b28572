"""examples/chat as people use it: on a terminal with keys, and in a pipe with lines."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
import unicodedata

import roles
import testing


class Screen:
    """What a terminal shows after these bytes: rows since the start, without an end to them. Fails for what it does not
    know, so that nothing strange gets there unseen."""

    SEQUENCE = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")

    def __init__(self, columns):
        self.columns, self.rows, self.row, self.column, self.styles = columns, [[]], 0, 0, set()

    def write(self, text):
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = self.SEQUENCE.match(text, at)
                if not found:
                    raise testing.Failure(f"strange sequence {text[at:at + 20]!r}")
                self._sequence(*found.groups())
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def _sequence(self, parameter, kind):
        steps = int(parameter) if parameter.isdigit() else 1
        if kind == "A":
            self.row -= steps
        elif kind == "C":
            self.column += steps
        elif kind == "J" and not parameter:
            del self.rows[self.row + 1:]
            del self.rows[self.row][self.column:]
        elif kind == "K":
            del self.rows[self.row][self.column:]
        elif kind == "m":
            self.styles.add(parameter)
        elif not (kind in "hl" and parameter in ("?2004", "?25")):
            raise testing.Failure(f"strange sequence {parameter}{kind}")

    def _put(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append([])
        elif character != "\a":
            if ord(character) < 32:
                raise testing.Failure(f"control character {character!r} on the screen")
            width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
            if self.column + width > self.columns:
                self.row, self.column = self.row + 1, 0
                self.rows.append([])
            row = self.rows[self.row]
            row.extend(" " * (self.column + width - len(row)))
            row[self.column:self.column + width] = [character] + [""] * (width - 1)
            self.column += width

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.rows)

    def last(self):
        return "".join(self.rows[-1]).rstrip()


class Terminal:
    """A chat on a terminal of its own. type() is the keyboard; text() is the screen."""

    def __init__(self, t, *arguments, columns=90, env=None, program="chat"):
        self.master, self.slave = pty.openpty()
        os.set_blocking(self.master, False)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.modes = termios.tcgetattr(self.slave)
        self.columns, self.bytes = columns, b""
        self.process = t.start(program, *arguments, stdin=self.slave, stdout=self.slave,
                               env=dict(os.environ, TERM="xterm", **(env or {})))

    def type(self, text):
        os.write(self.master, text.encode())

    def raw(self):
        while True:
            try:
                more = os.read(self.master, 65536)
            except (BlockingIOError, OSError):
                break
            if not more:
                break
            self.bytes += more
        return self.bytes.decode(errors="ignore")

    def screen(self):
        screen = Screen(self.columns)
        screen.write(self.raw())
        return screen

    def text(self):
        return self.screen().text()

    def sees(self, pattern, timeout=15):
        """Waits until the screen matches; the match."""

        def look():
            found = re.search(pattern, self.text(), re.MULTILINE)
            if not found and self.process.code is not None:
                raise testing.Failure(f"ended with {self.process.code} before /{pattern}/: {self.text()[-600:]!r}")
            return found

        try:
            return testing.until(look, timeout, f"/{pattern}/")
        except testing.Failure as failure:
            raise testing.Failure(f"{failure} on the screen:\n{self.text()[-1500:]}\n{self.process.err}") from None

    def restored(self):
        """Whether the terminal is as it was."""
        self.raw()
        return termios.tcgetattr(self.slave) == self.modes and self.bytes.rfind(b"\x1b[?2004l") > self.bytes.rfind(
            b"\x1b[?2004h")


class People:
    """A tracker, and chats that use it."""

    def __init__(self, t):
        self.t = t
        self.tracker = roles.Tracker(t)
        self.url = self.tracker.http.removesuffix("/announce")

    def arguments(self, name, *more):
        return ["--name", name, "--tracker", self.url, "--host", "127.0.0.1", "--home", self.t.folder / name, *more]

    def on_terminal(self, name, *more, **options):
        terminal = Terminal(self.t, *self.arguments(name, *more), **options)
        terminal.sees(rf"{name} listens on port \d+")
        self.is_known(name)
        return terminal

    def in_pipe(self, name, *more, **options):
        process = self.t.start("chat", *self.arguments(name, *more), stdin=subprocess.PIPE, **options)
        process.wait_for(rf"listens on port \d+|\"event\":\"ready\"", 15)
        self.is_known(name)
        return process

    def is_known(self, name):
        """Waits until the others can find that person."""
        known = lambda: [one["username"] for one in json.loads(self.tracker.get("/peers"))["peers"]]
        testing.until(lambda: name in known(), 15, f"{name} at the tracker")


def say(process, *lines):
    for line in lines:
        process.popen.stdin.write((json.dumps(line) if isinstance(line, dict) else line).encode() + b"\n")
    process.popen.stdin.flush()


def connected(people, **options):
    """Alice and bob on terminals, talking with each other."""
    alice, bob = people.on_terminal("alice", **options), people.on_terminal("bob", **options)
    alice.type("/connect bob\r")
    alice.sees(r"bob is connected")
    alice.sees(r"^bob> ?$")
    bob.sees(r"alice is connected")
    return alice, bob


@testing.case("two people talk on terminals, and see how far their words have come")
def _(t):
    alice, bob = connected(People(t))
    alice.type("hello bob, ¡Hola! 🎉 日本\r")
    alice.sees(r"^\d\d:\d\d alice → bob: hello bob, ¡Hola! 🎉 日本$")
    bob.sees(r"^\d\d:\d\d alice: hello bob, ¡Hola! 🎉 日本$")
    bob.sees(r"^alice> ?$")  # the first who writes is whom one answers
    alice.sees(r"✓✓ read")
    bob.type("hi al")
    alice.sees(r"bob is typing…")
    bob.type("ice\r")
    alice.sees(r"^\d\d:\d\d bob: hi alice$")
    t.check("is typing" not in alice.text(), "still typing after the message")
    for one in (alice, bob):
        one.type("\x04")
        t.check(one.process.wait(10) == 0, one.process.tail())
        t.check(one.restored(), "the terminal is not as it was")
        t.check(not one.process.err, one.process.err)


@testing.case("a line half typed stays whole while messages come in, and can be edited")
def _(t):
    alice, bob = connected(People(t))
    bob.sees("alice is connected")
    bob.type("@alice\r")
    alice.type("a line half typxd")
    alice.sees(r"^bob> a line half typxd$")
    for n in range(20):
        bob.type(f"number {n}\r")
    alice.sees(r"bob: number 19$")
    t.check(alice.screen().last() == "bob> a line half typxd", alice.text())
    t.check(len(re.findall("a line half", alice.text())) == 1, f"torn: {alice.text()}")
    alice.type("\x1b[D\x7fe\x1b[F, no more\r")
    bob.sees(r"alice: a line half typed, no more$")
    shown = re.findall(r"bob: number (\d+)$", alice.text(), re.MULTILINE)
    t.check(shown == [str(n) for n in range(20)], f"order: {shown}")


@testing.case("Tab completes commands, names and files, and the arrows bring earlier lines back")
def _(t):
    (t.folder / "photo of us.txt").write_text("hello")
    alice, bob = connected(People(t))
    alice.type("/ver\t")
    alice.sees(r"> /verify ?$")
    alice.type("b\t\r")
    alice.sees(r"(\d{5} ){11}\d{5}")
    alice.type("\x1b[A")
    alice.sees(r"> /verify bob ?$")
    alice.type("yes\r")
    alice.sees(r"bob is verified")
    alice.type(f"/send {t.folder}/ph\t\r")
    alice.sees(r"offered photo of us.txt \(5 B\) to bob")
    bob.sees(r"alice offers photo of us.txt \(5 B\): /accept 1 or /refuse 1")
    bob.type(f"/accept 1 {t.folder}/received\r")
    bob.sees(r"the file is here: ", 30)
    t.check((t.folder / "received" / "photo of us.txt").read_text() == "hello", "another file")
    alice.sees(r"bob has photo of us.txt")


@testing.case("what others write cannot steer a terminal")
def _(t):
    people = People(t)
    alice = people.on_terminal("alice")
    bob = people.in_pipe("bob", "--json")
    evil = "\x1b[2J\x1b]0;title\x07\u202e\x9b31m\n12:00 carol: send money\r\nend"
    say(bob, {"command": "send", "to": "alice", "text": evil})
    alice.sees(r"\| end$")
    text = alice.text()
    t.check(re.search(r"bob: \?\[2J\?\]0;title\?\?\?31m$", text, re.MULTILINE), text)
    t.check(not re.search(r"^12:00 carol", text, re.MULTILINE), "a message passes for one of somebody else")


@testing.case("Ctrl-C empties the line, and twice on an empty one it leaves with 130")
def _(t):
    alice = People(t).on_terminal("alice")
    alice.type("some words")
    alice.sees("> some words$")
    alice.type("\x03")
    testing.until(lambda: alice.screen().last() == ">", 5, "an empty line")
    alice.type("\x03")
    alice.sees("Ctrl-C again leaves")
    t.check(alice.process.code is None, "left at the first Ctrl-C")
    alice.type("/peers\r")
    alice.sees("> /peers")
    alice.type("\x03\x03")
    t.check(alice.process.wait(10) == 130, alice.process.tail())
    t.check(alice.restored(), "the terminal is not as it was")


@testing.case("Ctrl-Z gives the terminal back until the program goes on")
def _(t):
    # Something like a shell between, because nobody can stop a program that has no parent in its session.
    (t.folder / "shell").write_text(
        "#!/usr/bin/python3\n"
        "import os, signal, subprocess, sys\n"
        "chat = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: os.setpgid(0, 0))\n"
        "os.waitpid(chat.pid, os.WUNTRACED)\n"
        "sys.stdin.readline()\n"
        "os.kill(chat.pid, signal.SIGCONT)\n"
        "sys.exit(chat.wait())\n")
    (t.folder / "shell").chmod(0o755)
    people = People(t)
    alice = Terminal(t, testing.program_path("chat"), *people.arguments("alice"), program=t.folder / "shell")
    alice.sees("alice listens on")
    alice.type("half a line")
    alice.sees("> half a line$")
    alice.type("\x1a")
    testing.until(lambda: termios.tcgetattr(alice.slave) == alice.modes, 5, "the terminal as it was")
    t.check(alice.process.code is None, alice.process.tail())
    alice.type("\n")
    testing.until(lambda: termios.tcgetattr(alice.slave) != alice.modes, 5, "the terminal raw again")
    alice.sees("> half a line$")
    alice.type("\x03/quit\r")
    t.check(alice.process.wait(10) == 0, alice.process.tail())
    t.check(alice.restored(), "the terminal is not as it was")


@testing.case("every signal leaves the terminal as it was")
def _(t):
    people = People(t)
    for sig, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGABRT, -6),
                      (signal.SIGQUIT, -3)):
        alice = people.on_terminal("alice")
        alice.type("half a line")
        alice.sees("> half a line$")
        t.check(termios.tcgetattr(alice.slave) != alice.modes, "not in raw mode")
        got = alice.process.stop(sig)
        t.check(got == code, f"{sig.name}: ends with {got}: {alice.process.tail()}")
        t.check(alice.restored(), f"{sig.name}: the terminal is not as it was")


@testing.case("colours on a terminal, none with NO_COLOR, and none in a pipe")
def _(t):
    people = People(t)
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        alice = people.on_terminal("alice", env={"NO_COLOR": "", **env})
        alice.type("/nonsense\r")
        alice.sees("no such command")
        styles = alice.screen().styles
        t.check(bool(styles) == coloured, f"styles {styles} with {env}")
        alice.type("/quit\r")
        t.check(alice.process.wait(10) == 0, alice.process.tail())
    piped = people.in_pipe("alice")
    say(piped, "/nonsense", "/quit")
    t.check(piped.wait(10) == 1 and "no such command" in piped.err, piped.tail())
    t.check("\x1b" not in piped.out + piped.err, piped.tail())


@testing.case("a narrower window draws the line anew")
def _(t):
    alice = People(t).on_terminal("alice")
    alice.type("x" * 100)
    alice.sees("x$")
    fcntl.ioctl(alice.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 40, 0, 0))
    os.kill(alice.process.pid, signal.SIGWINCH)
    testing.until(lambda: re.search(r"<x{20,36}\x1b\[K\r\x1b\[[23]\dC$", alice.raw()), 5, "a line of 40 columns")


@testing.case("a text that is pasted may have several lines")
def _(t):
    alice, bob = connected(People(t))
    alice.type("\x1b[200~one\ntwo\n\tthree\x1b[201~")
    alice.sees("> one↵two↵ three$")
    alice.type("\r")
    bob.sees(r"alice: one\n      \| two\n      \|     three$")


@testing.case("piped lines are said, handed over and then the program leaves")
def _(t):
    people = People(t)
    bob = people.in_pipe("bob")
    alice = people.in_pipe("alice")
    say(alice, "/connect bob", "first", "second", "//third")
    alice.popen.stdin.close()
    began = time.monotonic()
    t.check(alice.wait(10) == 0, alice.tail())
    took = time.monotonic() - began
    t.check(took < 5 * testing.TIME_FACTOR, f"took {took:.1f} s")
    bob.wait_for(r"alice: first\n.*alice: second\n.*alice: /third\n")
    t.check(not alice.err and "\x1b" not in alice.out, alice.tail())


@testing.case("in a pipe what fails is told on standard error and by the exit code, and what waits by a line")
def _(t):
    people = People(t)
    carol, alice = people.in_pipe("carol"), people.in_pipe("alice")
    say(alice, "/connect carol")
    alice.wait_for("carol is connected")
    say(carol, "/quit")
    alice.wait_for("carol is gone")
    say(alice, "/connect ghost", "@carol later")
    alice.popen.stdin.close()
    t.check(alice.wait(15) == 1, f"ends with {alice.code}: {alice.tail()}")
    t.check(re.fullmatch(r"!! .*ghost.*\n", alice.err) and "!!" not in alice.out, alice.tail())
    t.check("the text waits on disk for carol\n" in alice.out, alice.out)


@testing.case("a program without input leaves at once, or stays if it is to")
def _(t):
    people = People(t)
    nothing = t.run("chat", *people.arguments("alice"), timeout=10)
    t.check(nothing.code == 0, nothing.tail())
    staying = t.start("chat", *people.arguments("bob", "--stay"))
    staying.wait_for("listens on port")
    alice = people.in_pipe("alice")
    say(alice, "/connect bob", "are you there?")
    staying.wait_for("alice: are you there")
    t.check(staying.code is None, staying.tail())
    t.check(staying.stop(signal.SIGINT) == 130, staying.tail())


@testing.case("with --json each command is answered, in order, and events are one line each")
def _(t):
    people = People(t)
    alice, bob = people.in_pipe("alice", "--json"), people.in_pipe("bob", "--json")
    say(alice, {"command": "connect", "name": "bob", "tag": "first"}, {"command": "send", "text": "one\ntwo"},
        "people's words", "/nonsense", "{broken", {"command": "history", "count": 5}, {"command": "peers"})
    answers = testing.until(lambda: (found := [e for e in alice.events() if e["event"] in ("done", "error")]) and
                            len(found) >= 7 and found, 15, "seven answers")
    t.check([(e["event"], e["command"]) for e in answers] ==
            [("done", "connect"), ("done", "send"), ("done", "send"), ("error", None), ("error", None),
             ("done", "history"), ("done", "peers")], f"answers: {answers}")
    t.check(answers[0].get("tag") == "first" and "tag" not in answers[1], "tags")
    t.check([m["text"] for m in answers[5]["messages"]] == ["one\ntwo", "people's words"], f"{answers[5]}")
    t.check([p["name"] for p in answers[6]["peers"] if p["connected"]] == ["bob"], f"{answers[6]}")

    heard = testing.until(lambda: (found := bob.events("message")) and len(found) == 2 and found, 15, "messages")
    t.check([(m["with"], m["from"], m["text"], m["own"]) for m in heard] ==
            [("alice", "alice", "one\ntwo", False), ("alice", "alice", "people's words", False)], f"{heard}")
    t.check(heard[0]["id"] == answers[1]["id"], "another id")
    say(bob, {"command": "read", "with": "alice"})
    testing.until(lambda: any(r["state"] == "read" for r in alice.events("receipt")), 15, "a read receipt")
    for process in (alice, bob):
        say(process, "/quit")
        t.check(process.wait(10) == 0, process.tail())
        t.check(process.events()[-1] == {"event": "done", "command": "quit"}, process.out[-300:])


@testing.case("a reader that goes away ends the program with one line")
def _(t):
    people = People(t)
    read_end, write_end = os.pipe()
    chat = t.start("chat", *people.arguments("alice"), stdin=subprocess.PIPE, stdout=write_end)
    os.close(write_end)
    os.read(read_end, 100)
    os.close(read_end)
    say(chat, "/peers")
    t.check(chat.wait(10) == 1, f"ends with {chat.code}")
    t.check(re.fullmatch(r"chat: cannot write: Broken pipe\n", chat.err), chat.err)


@testing.case("flags that make no sense end in one line")
def _(t):
    for arguments, code, word in ((["--name", "a\x1b[2Jb"], 2, "not a valid name"), (["--port", "x"], 2, "--port"),
                                  (["--nonsense"], 2, "--nonsense")):
        chat = t.run("chat", "--home", t.folder / "home", *arguments)
        t.check(chat.code == code and word in chat.err and chat.err.count("\n") == 1 and "\x1b" not in chat.err,
                f"{arguments}: {chat.code} {chat.err!r}")
    shown = t.run("chat", "--help")
    t.check(shown.code == 0 and "@bob" in shown.out, shown.out)
    nobody = t.run("chat", "--name", "alice", env=dict(os.environ, XDG_DATA_HOME=str(t.folder / "data")))
    t.check(nobody.code == 0 and (t.folder / "data" / "cohort" / "chat" / "alice" / "identity").exists(),
            nobody.tail())


testing.main()
