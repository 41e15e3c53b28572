"""Talking in a swarm: seeder and leecher with --chat, as scripts and people use them."""

import os
import pty
import subprocess

import content
import roles
import testing


def start(t, program, *arguments, **options):
    """A program with --chat and an input that the test types into, once it listens."""
    process = t.start(program, *arguments, "--host", "127.0.0.1", "--port", 0, "--json", "--chat", *options.pop("chat"),
                      stdin=subprocess.PIPE, **options)
    process.port = process.wait_event("listening", 20)["port"]
    return process


def say(process, text):
    process.popen.stdin.write(text.encode(errors="surrogateescape") + b"\n")
    process.popen.stdin.flush()


def heard(process, text):
    """The message with that text, as soon as it is there."""
    return testing.until(lambda: next((one for one in process.events("chat_message") if one["text"] == text), None), 20,
                         f"{text!r} at {process.name}")


def torrent_of(t, size=3 * content.MIB):
    path = content.write_file(t.folder / "seed" / "file", size)
    return roles.make_torrent(t, path), path


@testing.case("a seeder and two leechers in a line hear each other once, while they load and after that")
def _(t):
    torrent, path = torrent_of(t)
    seeder = start(t, "seeder", torrent, path, chat=["alice"])
    seeder.wait_event("started", 30)
    say(seeder, "nobody is here yet")
    bob = start(t, "leecher", torrent, t.folder / "bob", "--seed", "--peer", f"127.0.0.1:{seeder.port}", chat=["bob"])
    carol = start(t, "leecher", torrent, t.folder / "carol", "--seed", "--peer", f"127.0.0.1:{bob.port}", chat=[])
    for leecher in (bob, carol):
        leecher.wait_event("completed", 40)
        first = heard(leecher, "nobody is here yet")
        t.check(first["name"] == "alice" and len(first["key"]) == 64 and first["time_ms"] > 1.7e12, first)
    say(carol, "héllo 🙂 \x1b[2J")
    t.check(heard(seeder, "héllo 🙂 \x1b[2J")["name"] == "leecher", seeder.tail())
    say(bob, "from the middle")
    say(bob, "")
    say(bob, "x" * 4097)
    say(bob, "not \udcff UTF-8")
    heard(seeder, "from the middle")
    heard(carol, "from the middle")
    t.check(len(testing.until(lambda: bob.events("note")[1:], 10, "two notes")) == 1, bob.tail())
    for process in (seeder, bob, carol):
        process.popen.stdin.close()
    for process in (carol, bob, seeder):
        t.check(process.code is None, f"{process.name} ended with its input: {process.tail()}")
        texts = [one["text"] for one in process.events("chat_message")]
        t.check(len(texts) == 2 and len(set(texts)) == 2, f"{process.name} heard {texts}")
        t.check(process.stop() == 143 and not process.err, process.tail())
    content.check_equal(t.folder / "carol" / path.name, path)


@testing.case("more lines than a swarm takes at once all arrive, one after the other")
def _(t):
    torrent, path = torrent_of(t)
    seeder = start(t, "seeder", torrent, path, chat=["alice"])
    leecher = start(t, "leecher", torrent, t.folder / "out", "--seed", "--peer", f"127.0.0.1:{seeder.port}", chat=[])
    leecher.wait_event("completed", 40)
    lines = [f"line {number}" for number in range(30)]
    say(leecher, "\n".join(lines))
    heard(seeder, lines[-1])
    t.check([one["text"] for one in seeder.events("chat_message")] == lines, seeder.tail())


@testing.case("without --chat nothing is said or heard, and a name must be one")
def _(t):
    torrent, path = torrent_of(t)
    seeder = start(t, "seeder", torrent, path, chat=["alice"])
    say(seeder, "is anybody there?")
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[seeder.port])
    roles.finish(t, leecher)
    t.check(not leecher.events("chat_message"), leecher.tail())
    for name in (" ", "a\tb", "x" * 65, "\x1b[31mroot"):
        refused = t.run("seeder", torrent, path, "--chat", name)
        t.check(refused.code == 2 and refused.err.count("\n") == 1, f"{name!r}: {refused.tail()}")
    # The flag takes no argument that the program needs.
    done = t.run("leecher", "--host", "127.0.0.1", "--port", 0, "--peer", f"127.0.0.1:{seeder.port}", "--chat", torrent,
                 t.folder / "again")
    t.check(done.code == 0, done.tail())


@testing.case("on a terminal messages stand above the progress and the line being typed, and escapes do nothing")
def _(t):
    torrent, path = torrent_of(t)
    seeder = start(t, "seeder", torrent, path, chat=["alice"])
    master, slave = pty.openpty()
    leecher = t.start("leecher", torrent, t.folder / "out", "--host", "127.0.0.1", "--port", 0, "--seed", "--chat",
                      "bob", "--peer", f"127.0.0.1:{seeder.port}", stdin=slave, stdout=slave,
                      env=dict(os.environ, TERM="xterm"))
    os.close(slave)
    os.set_blocking(master, False)
    text = ""

    def seen(words):
        def look():
            nonlocal text
            try:
                text += os.read(master, 65536).decode(errors="replace")
            except (BlockingIOError, OSError):
                pass
            return words in text
        testing.until(look, 20, f"{words!r} on the terminal")

    try:
        seen("100 %")
        os.write(master, b"half a li")
        seen("half a li")
        say(seeder, "evil \x1b]0;owned\x07 \x1b[2J words")
        seen("words\r")
        os.write(master, b"ne\r")
        heard(seeder, "half a line")
        seen("you: half a line\r")
        t.check("\x1b]0;" not in text and "\x1b[2J words" not in text, repr(text))
        os.write(master, b"\x03")
        t.check(leecher.wait(10) == 130, leecher.tail())
        seen(" down, ")
    finally:
        os.close(master)


testing.main()
