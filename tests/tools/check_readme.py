#!/usr/bin/env python3
"""Every ```cpp block of the READMEs stands, word for word, in a file that is compiled: examples/ or tests/readme/."""

import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "examples/README.md"]
COMPILED = ["examples/*.cpp", "examples/support/*.hpp", "tests/readme/*.cpp"]

FENCE = re.compile(r"^( *)```cpp[^\n]*\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)


def blocks(markdown):
    """(line, code) of each ```cpp block."""
    return [(markdown.count("\n", 0, m.start()) + 1, m.group(2)) for m in FENCE.finditer(markdown)]


def normal(lines):
    """Without common indentation, trailing spaces and blank lines at both ends."""
    return textwrap.dedent("\n".join(line.rstrip() for line in lines)).strip("\n").split("\n")


def stands_in(code, source):
    """Whether the block is a run of whole lines of the source, indentation as a whole aside."""
    wanted = normal(code.split("\n"))
    lines = source.split("\n")
    for start in range(len(lines) - len(wanted) + 1):
        if lines[start].strip() == wanted[0].strip() and normal(lines[start:start + len(wanted)]) == wanted:
            return True
    return False


def self_test():
    source = "int main() {\n    int x = 1;\n    if (x) {\n        f(x);\n    }\n}\n"
    cases = [
        ("    if (x) {\n        f(x);\n    }\n", True), ("if (x) {\n    f(x);\n}\n", True), (source, True),
        ("if (x) {\nf(x);\n}\n", False), ("if (x) {\n    f(y);\n}\n", False), ("int x\n", False),
        ("int x = 1;\nf(x);\n", False),
    ]
    wrong = [code for code, expected in cases if stands_in(code, source) != expected]
    if [code for _, code in blocks("a\n```cpp\nx;\n```\n```sh\ny\n```\n  ```cpp\n  z;\n  ```\n")] != ["x;\n", "  z;\n"]:
        wrong.append("blocks()")
    for one in wrong:
        print(f"not ok self-test of check_readme: {one!r}")
    if not wrong:
        print(f"ok check_readme judges {len(cases)} small blocks rightly")
    return len(wrong)


def main():
    failed = self_test()
    sources = [path.read_text(encoding="utf-8") for pattern in COMPILED for path in sorted(ROOT.glob(pattern))]
    for name in DOCUMENTS:
        if not (ROOT / name).is_file():
            print(f"not ok code in {name}: there is no such file")
            failed += 1
            continue
        found = blocks((ROOT / name).read_text(encoding="utf-8"))
        wrong = [line for line, code in found if not any(stands_in(code, source) for source in sources)]
        for line in wrong:
            print(f"not ok code in {name}: the block at line {line} is in no compiled file")
        if not wrong:
            print(f"ok all {len(found)} code blocks of {name} are in compiled files")
        failed += len(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
