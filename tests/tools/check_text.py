#!/usr/bin/env python3
"""The text of the repository: nothing left open, no path of one machine, no long lines or headers, a tidy top level."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

TOP_LEVEL = {"include", "examples", "tests", "CMakeLists.txt", "meson.build", "README.md", "LICENSE", "build"}
SKIPPED = {ROOT / "build", ROOT / ".git", ROOT / ".cache", ROOT / "tests" / "data",
           ROOT / "tests" / "fuzz" / "corpus"}
CODE = {".hpp", ".cpp", ".h", ".py", ".sh", ".cmake", ".txt", ".build", ".yml", ""}
LONGEST_LINE = 120
LONGEST_HEADER = 500

# Written so that this file does not find itself.
LEFT_OPEN = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers"]) + r")/")


def check_line(line, is_code):
    """The reasons against one line."""
    if LEFT_OPEN.search(line):
        yield "left open: " + LEFT_OPEN.search(line).group()
    if MACHINE_PATH.search(line):
        yield "a path of one machine: " + MACHINE_PATH.search(line).group()
    if is_code and len(line) > LONGEST_LINE:
        yield f"{len(line)} characters, more than {LONGEST_LINE}"
    if line != line.rstrip():
        yield "white space at the end"
    if is_code and "\t" in line:
        yield "a tab"


def check_file(name, text):
    """What is wrong in one file: texts `path:line: reason`."""
    path = pathlib.PurePosixPath(name)
    lines = text.split("\n")
    found = [f"{name}:{number}: {reason}" for number, line in enumerate(lines, 1)
             for reason in check_line(line, path.suffix in CODE)]
    if text and not text.endswith("\n"):
        found.append(f"{name}:{len(lines)}: no newline at the end")
    if path.suffix == ".hpp" and len(lines) - 1 > LONGEST_HEADER:
        found.append(f"{name}:1: {len(lines) - 1} lines, more than {LONGEST_HEADER}: split it by idea")
    return found


def files():
    waiting = [ROOT]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if path in SKIPPED or path.name == "__pycache__" or path.is_symlink():
                continue
            if path.is_dir():
                waiting.append(path)
            else:
                yield path


BAD = [
    ("a.hpp", "// TO" + "DO: later\n"), ("a.md", "FIX" + "ME\n"), ("a.hpp", "int x;  // X" + "XX\n"),
    ("a.md", "see /wo" + "rk/x\n"), ("a.py", "open('/ho" + "me/me/x')\n"), ("a.sh", "cd /ro" + "ot/x\n"),
    ("a.cpp", "x" * 121 + "\n"), ("a.cpp", "x \n"), ("a.cpp", "\tx\n"), ("a.cpp", "x"), ("a.hpp", "x\n" * 501),
]
GOOD = [
    ("a.hpp", "x\n" * 500), ("a.cpp", "é" * 120 + "\n"), ("a.md", "x" * 500 + "\n"), ("a.cpp", "x\n" * 501),
    ("a.sh", "mktemp -d x.XXXXXX\n"), ("a.cpp", "// a method, not a TODOS\n"), ("a.md", "build/work/ ~/home\n"),
    ("a.md", "http://x/home/page\n"),
]


def main():
    failed = 0
    wrong = [f"accepts {name} {text[:40]!r}" for name, text in BAD if not check_file(name, text)]
    wrong += [f"refuses {name} {text[:40]!r}" for name, text in GOOD if check_file(name, text)]
    for one in wrong:
        print(f"not ok self-test of check_text: {one}")
    if not wrong:
        print(f"ok check_text judges {len(BAD) + len(GOOD)} small files rightly")
    failed += len(wrong)

    found, count = [], 0
    for path in files():
        count += 1
        name = path.relative_to(ROOT).as_posix()
        try:
            found += check_file(name, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            found.append(f"{name}:1: not UTF-8")
    for path in sorted(ROOT.iterdir()):
        if not path.name.startswith(".") and path.name not in TOP_LEVEL:
            found.append(f"{path.name}:1: does not belong to the top level")
    for one in found:
        print(f"not ok text: {one}")
    if not found:
        print(f"ok nothing left open, no machine's paths, no long lines in {count} files")
    return 1 if failed or found else 0


if __name__ == "__main__":
    sys.exit(main())
