"""examples/demo.sh chat, with the real programs."""

import os
import pathlib
import re
import signal

import testing

DEMO = testing.ROOT / "examples" / "demo.sh"


def environment(t):
    (t.folder / "tmp").mkdir(exist_ok=True)
    programs = pathlib.Path(testing.program_path("chat")).parent
    return dict(os.environ, COHORT_PROGRAMS=str(programs), TMPDIR=str(t.folder / "tmp"))


def check_all_ended(t):
    def alive():
        marker = str(t.folder / "tmp").encode()
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if marker in entry.read_bytes():
                    found.append(entry.parent.name)
            except OSError:
                pass
        return found

    testing.until(lambda: not alive(), 10, "the end of all that the demo started")
    left = os.listdir(t.folder / "tmp")
    t.check(not left, f"left behind: {left}")


@testing.case("three people talk, meet in a room and send a file, in plain lines", deadline=180)
def _(t):
    demo = t.run(DEMO, "chat", env=environment(t), timeout=170)
    t.check(demo.code == 0, demo.tail())
    t.check("\x1b" not in demo.out and "\r" not in demo.out and not demo.err, f"{demo.err}")
    for words in (r"^tracker:  http://127\.0\.0\.1:\d+", r"^  alice → bob +hello bob, are you there\?$",
                  r"✓✓ read by bob$",
                  r"^  carol is back +and sees: it is at eight, by the way$", r"^  carol → #lobby +carol is here$",
                  r"^  the same order +of 3 messages for all", r"^  bob has it .*, equal to the original$",
                  r"of which none is readable without their keys\.$"):
        t.check(re.search(words, demo.out, re.MULTILINE), f"no /{words}/ in {demo.out}")
    numbers = re.findall(r"(?:\d{5} ){11}\d{5}", demo.out)
    t.check(len(numbers) == 2 and numbers[0] == numbers[1], f"safety numbers {numbers}")
    check_all_ended(t)


@testing.case("SIGTERM ends the chat demo and all it started")
def _(t):
    demo = t.start(DEMO, "chat", env=environment(t))
    demo.wait_for("carol: ", 30)
    os.kill(demo.pid, signal.SIGTERM)
    t.check(demo.wait(15) == 143, demo.tail())
    check_all_ended(t)


testing.main()
