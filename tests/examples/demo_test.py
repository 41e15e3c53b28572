"""examples/demo.sh around programs that only pretend, so that its own logic shows: bars, table, proof, and the end."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import testing

DEMO = testing.ROOT / "examples" / "demo.sh"

# Each notes its process id, so that a test can see whether it has ended. FAKE_LEECHER says how leechers behave.
NOTE = '#!/usr/bin/env bash\necho $$ >"$FAKE_STATE/$$"\n'
FAKES = {
    "make_torrent": NOTE + '[ "$2 $4" = "-o --tracker" ] || exit 2\nprintf "%s" "$1" >"$3"\n',
    "tracker": NOTE + '[ "$*" = "--host 127.0.0.1 --port 0" ] || exit 2\n'
               'echo "tracker: listening on http://127.0.0.1:40001/announce"\nexec sleep 600\n',
    "seeder": NOTE + '[ "$(cat "$1")" = "$2" ] || exit 2\n'
              'echo \'{"event":"listening","port":40002}\'\nexec sleep 600\n',
    "leecher": NOTE + r"""
total=$(find "$(cat "$1")" -xtype f -exec stat -L -c %s {} + | awk '{ s += $1 } END { print s }')
echo '{"event":"listening","port":40003}'
[ "$FAKE_LEECHER" != fails ] || { echo "leecher: disk full" >&2; exit 1; }
for i in 0 1 2 3 4 5 6 7 8 9; do
    printf '{"done":%d,"down_rate":1.5e+07,"event":"prog' $((total * i / 10))
    sleep 0.05
    printf 'ress","peers":3,"total":%d,"up_rate":0}\n' "$total"
    [ "$FAKE_LEECHER$i" != hangs5 ] || exec sleep 600
done
cd "$(dirname "$(cat "$1")")" && find "$(basename "$(cat "$1")")" -xtype f -exec cp -L --parents -t "$2" {} +
[ "$FAKE_LEECHER" != corrupts ] || find "$2" -name big -exec sed -i 1s/x/y/ {} +
echo '{"event":"peer_totals","peers":[{"address":"127.0.0.1:40002","downloaded":3000000,"uploaded":0},'\
'{"address":"127.0.0.1:40004","downloaded":1000000,"uploaded":5},{"address":"[::1]:7","downloaded":0,"uploaded":5}]}'
echo '{"event":"completed","seconds":0.50}'
""",
}


def prepare(t):
    """The pretending programs, and a folder to share."""
    programs, state, files = t.folder / "programs", t.folder / "state", t.folder / "Füße und\tBeine"
    for folder in (programs, state, files / "sub"):
        folder.mkdir(parents=True)
    for name, text in FAKES.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (files / "sub" / "big").write_bytes(b"x" * 4_000_000)
    (files / "empty").touch()
    (files / "日本 語").write_text("text")
    return files


def environment(t, leecher=""):
    (t.folder / "tmp").mkdir(exist_ok=True)
    return dict(os.environ, COHORT_PROGRAMS=str(t.folder / "programs"), FAKE_STATE=str(t.folder / "state"),
                FAKE_LEECHER=leecher, TMPDIR=str(t.folder / "tmp"), TERM="xterm")


def check_all_ended(t):
    def alive():
        return [pid for pid in os.listdir(t.folder / "state") if pathlib.Path("/proc", pid).exists()]

    testing.until(lambda: not alive(), 10, "the end of all that the demo started")
    left = os.listdir(t.folder / "tmp")
    t.check(not left, f"left behind: {left}")


@testing.case("the demo in a pipe prints plain lines, a table and the proof")
def _(t):
    files = prepare(t)
    demo = t.run(DEMO, files, env=environment(t))
    t.check(demo.code == 0, demo.tail())
    t.check("\x1b" not in demo.out and "\r" not in demo.out, "control characters in a pipe")
    t.check("tracker:  http://127.0.0.1:40001/announce" in demo.out, demo.out)
    t.check("3 files, 4,000,004 bytes" in demo.out, demo.out)
    for n in (1, 2, 3):
        steps = re.findall(rf"^leecher {n}: (\d+) %", demo.out, re.MULTILINE)
        t.check(steps and steps[-1] == "100" and len(steps) <= 11, f"leecher {n}: {steps}")
        row = rf"^leecher {n} +4,000,004 +0\.50 +8\.0 +3\.0 MB \(75 %\) +1\.0 MB \(25 %\) *$"
        t.check(re.search(row, demo.out, re.MULTILINE), demo.out)
    t.check(re.search(r"^all +12,000,012 +0\.50 +24\.0 +9\.0 MB \(75 %\)", demo.out, re.MULTILINE), demo.out)
    t.check(re.search(r"All 3 copies equal the original: 3 files.*\n[0-9a-f]{64}\n$", demo.out), demo.out)
    check_all_ended(t)


@testing.case("the demo takes a single file")
def _(t):
    files = prepare(t)
    demo = t.run(DEMO, files / "sub" / "big", env=environment(t))
    t.check(demo.code == 0 and "big: 1 files, 4,000,000 bytes" in demo.out, demo.tail())
    check_all_ended(t)


@testing.case("the demo on a terminal redraws one bar for each leecher")
def _(t):
    files = prepare(t)
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
    process = subprocess.Popen([DEMO, files], stdin=slave, stdout=slave, stderr=slave, env=environment(t),
                               start_new_session=True)
    os.close(slave)
    text = b""
    end = time.monotonic() + 30 * testing.TIME_FACTOR
    while time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            try:
                more = os.read(master, 65536)
            except OSError:
                break  # the terminal's other side is closed
            text += more
        elif process.poll() is not None:
            break
    t.check(process.wait(5) == 0, text.decode()[-500:])
    text = text.decode()
    t.check("\x1b[3A" in text, "the bars are not redrawn in place")
    bars = re.findall(r"\r(leecher \d \[=*>? *\] [^\x1b]*)\x1b\[K", text)
    t.check(len(bars) >= 9 and all(len(bar) < 90 for bar in bars), f"bars: {bars}")
    t.check(any(re.search(r"\[=+> +\] +[1-9]\d? % +\d+\.\d MB/s  3 peers", bar) for bar in bars), f"bars: {bars}")
    t.check(re.search(r"\[=+\] 100 %  done", bars[-1]), bars[-1])
    t.check(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0, "the cursor stays hidden")
    check_all_ended(t)


def interrupted(t, sig, whole_group):
    demo = t.start(DEMO, prepare(t), env=environment(t, "hangs"))
    demo.wait_for(r"leecher 3: [45]0 %")
    if whole_group:
        os.killpg(demo.pid, sig)  # as a terminal does
    else:
        os.kill(demo.pid, sig)
    code = demo.wait(15)
    check_all_ended(t)
    return code


@testing.case("Ctrl-C ends the demo and all it started")
def _(t):
    t.check(interrupted(t, signal.SIGINT, True) == 130, "exit code")


@testing.case("SIGTERM ends the demo and all it started")
def _(t):
    t.check(interrupted(t, signal.SIGTERM, False) == 143, "exit code")


@testing.case("a demo that is killed takes its programs along")
def _(t):
    demo = t.start(DEMO, prepare(t), env=environment(t, "hangs"))
    demo.wait_for(r"leecher 3: [45]0 %")
    os.kill(demo.pid, signal.SIGKILL)
    testing.until(lambda: not [p for p in os.listdir(t.folder / "state") if pathlib.Path("/proc", p).exists()],
                  10, "the end of the programs")


@testing.case("the demo fails with the leecher's words, and cleans up")
def _(t):
    demo = t.run(DEMO, prepare(t), env=environment(t, "fails"))
    t.check(demo.code == 1, f"exit code {demo.code}")
    t.check(re.search(r"^demo.sh: the leecher-\d failed: leecher: disk full$", demo.err, re.MULTILINE), demo.err)
    check_all_ended(t)


@testing.case("the demo notices a copy that differs")
def _(t):
    demo = t.run(DEMO, prepare(t), env=environment(t, "corrupts"))
    t.check(demo.code == 1 and "differs from the original" in demo.err, demo.tail())
    check_all_ended(t)


@testing.case("links to files count as files in the demo, and links to folders and to nothing do not count")
def _(t):
    files = prepare(t)
    for name, target in (("link", "sub/big"), ("folder link", "sub"), ("dangling", "nowhere")):
        (files / name).symlink_to(target)
    demo = t.run(DEMO, files, env=environment(t))
    t.check(demo.code == 0 and ": 4 files, 8,000,004 bytes" in demo.out, demo.tail())
    check_all_ended(t)


@testing.case("two demos at once do not meet")
def _(t):
    files = prepare(t)
    both = [t.start(DEMO, files, env=environment(t)) for _ in range(2)]
    for demo in both:
        t.check(demo.wait() == 0, demo.tail())
    check_all_ended(t)


@testing.case("the demo refuses what it cannot share, with one line")
def _(t):
    prepare(t)
    (t.folder / "nothing").mkdir()
    for path, words in (("no-such-file", "no such file"), ("nothing", "no bytes to share")):
        demo = t.run(DEMO, t.folder / path, env=environment(t))
        t.check(demo.code == 1 and words in demo.err and demo.err.count("\n") == 1, f"{path}: {demo.err}")
    t.check(t.run(DEMO, "a", "b").code == 2, "two paths")
    check_all_ended(t)


testing.main()
