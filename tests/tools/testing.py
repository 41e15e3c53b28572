"""The frame of the scripts in tests/examples, tests/interop and tests/faults: cases, processes, and their ends.

A script defines cases and ends with testing.main():

    import testing

    @testing.case("a leecher fetches a file from a seeder")
    def _(t):
        tracker = t.start("tracker", "--port", "0")
        port = tracker.wait_for(r":(\\d+)/announce").group(1)
        t.check(t.run("leecher", "x.torrent", t.folder / "out").code == 0, "the leecher fails")

    testing.main()

It prints one line a case, which tests/run.sh counts: `ok NAME`, `not ok NAME: reason` or `skip NAME: reason`.
Whatever a case started is ended after it. Arguments of the script choose cases by parts of their names.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Sanitized programs are slower: every deadline is multiplied.
TIME_FACTOR = float(os.environ.get("COHORT_TIME_FACTOR", "1"))
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: |SUMMARY: \w+Sanitizer")

_cases = []


class Failure(Exception):
    """What a case expected is not so."""


class Skip(Exception):
    """The case cannot run on this machine; the text says why."""


class Deadline(BaseException):
    """The case took too long. Not an Exception, so that no case catches it by accident."""


def case(name, deadline=60):
    """Registers a function of one argument, the Context, as the case `name`; `deadline` is in seconds."""

    def register(function):
        _cases.append((name, function, deadline * TIME_FACTOR))
        return function

    return register


def program_path(name):
    """Where an example program is, or the name itself for one that PATH finds."""
    built = pathlib.Path(os.environ.get("COHORT_PROGRAMS", ROOT / "build" / "release" / "examples")) / name
    return str(built) if built.exists() else str(name)


def until(condition, timeout=10, what="condition"):
    """The first true value of condition(); Failure after `timeout` seconds."""
    end = time.monotonic() + timeout * TIME_FACTOR
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {timeout * TIME_FACTOR:g} s")
        time.sleep(0.02)


class Process:
    """A running program, in a process group of its own. Its outputs are files, so that no pipe ever fills up."""

    def __init__(self, folder, number, arguments, **options):
        self.name = pathlib.Path(str(arguments[0])).name
        stem = folder / f".{number:02d}-{self.name}"
        self.out_path, self.err_path = stem.with_suffix(".out"), stem.with_suffix(".err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.popen = subprocess.Popen(
                [program_path(arguments[0]), *map(str, arguments[1:])],
                start_new_session=True, **{"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **options})
        self.pid = self.popen.pid

    @property
    def out(self):
        return self.out_path.read_text(errors="replace")

    @property
    def err(self):
        return self.err_path.read_text(errors="replace")

    @property
    def code(self):
        """The exit code, negative for a signal; None while it runs."""
        return self.popen.poll()

    def events(self, kind=None):
        """The JSON lines printed so far, those of one `event` if given."""
        lines = [json.loads(line) for line in self.out.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if kind is None or line.get("event") == kind]

    def wait_for(self, pattern, timeout=10):
        """Waits until the output matches; the match. Failure if the program ends before."""

        def look():
            ended = self.code is not None
            found = re.search(pattern, self.out) or re.search(pattern, self.err)
            if not found and ended:
                raise Failure(f"{self.name} ended with {self.code} before /{pattern}/: {self.tail()}")
            return found

        return until(look, timeout, f"/{pattern}/ from {self.name}")

    def wait_event(self, kind, timeout=10):
        """Waits for the first JSON line of this `event`."""

        def look():
            ended = self.code is not None
            found = self.events(kind)
            if not found and ended:
                raise Failure(f"{self.name} ended with {self.code} before event {kind}: {self.tail()}")
            return found

        return until(look, timeout, f"event {kind} from {self.name}")[0]

    def wait(self, timeout=30):
        """Waits for the end; the exit code."""
        try:
            return self.popen.wait(timeout * TIME_FACTOR)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} still runs after {timeout * TIME_FACTOR:g} s: {self.tail()}") from None

    def stop(self, sig=signal.SIGTERM, timeout=10):
        """Asks it to end and waits; the exit code."""
        if self.code is None:
            self.popen.send_signal(sig)
        return self.wait(timeout)

    def kill(self):
        """kill -9, of what it started too."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()

    def tail(self):
        return " | ".join((self.out + self.err).strip().splitlines()[-4:])[-600:]


class Context:
    """What a case works with: an own folder, and the processes it started."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def start(self, *arguments, **options):
        process = Process(self.folder, len(self.processes), arguments, **options)
        self.processes.append(process)
        return process

    def run(self, *arguments, timeout=30, **options):
        """Starts and waits for the end; the Process, whose `code`, `out` and `err` say the rest."""
        process = self.start(*arguments, **options)
        process.wait(timeout)
        return process

    def check(self, truth, reason):
        if not truth:
            raise Failure(reason)

    def close(self):
        """Ends everything; Failure if a sanitizer complained in any of the outputs."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            report = SANITIZER.search(process.err)
            if report:
                raise Failure(f"{process.name}: {process.err[report.start():report.start() + 2000]}")


def _run(function, deadline):
    def expire(_signal, _frame):
        raise Deadline()

    folder = pathlib.Path(tempfile.mkdtemp(prefix="cohort-test-"))
    context = Context(folder)
    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        try:
            function(context)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            context.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _one_line(text):
    return " ".join(str(text).split())


def main():
    """Runs the cases and ends the script."""
    # SIGTERM comes from run.sh's deadline: the finally clauses must run then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = sys.argv[1:]
    failed = False
    for name, function, deadline in _cases:
        if wanted and not any(part in name for part in wanted):
            continue
        try:
            _run(function, deadline)
            print(f"ok {name}", flush=True)
        except Skip as reason:
            print(f"skip {name}: {_one_line(reason)}", flush=True)
        except (Failure, Deadline, Exception) as reason:
            failed = True
            text = f"not within {deadline:g} s" if isinstance(reason, Deadline) else _one_line(reason)
            print(f"not ok {name}: {text or type(reason).__name__}", flush=True)
            traceback.print_exc()
    sys.exit(1 if failed else 0)
