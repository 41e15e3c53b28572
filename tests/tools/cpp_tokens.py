"""C++ source as tokens, as far as the checks in this folder need it: no comments, directives, or text of strings."""

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>//(?:[^\n\\]|\\.|\\\n)*|/\*.*?\*/)
    | (?P<raw>(?:u8|[uUL])?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)")
    | (?P<string>(?:u8|[uUL])?"(?:[^"\\\n]|\\.)*")
    | (?P<char>(?:u8|[uUL])?'(?:[^'\\\n]|\\.)+')
    | (?P<number>\.?\d(?:'?[\w.]|[eEpP][+-])*)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<operator>\.\.\.|->\*|<=>|<<=|>>=|::|->|\+\+|--|&&|\|\||[-+*/%&|^=!<>]=|<<|.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    kind: str  # name, number, string, char or operator
    text: str
    line: int


def tokens(source):
    """The tokens of a source text. Strings and characters keep their quotes only; `>>` stays two tokens."""
    out = []
    line = 1
    position = 0
    fresh = True  # only white space so far on this line: a # here starts a directive
    while position < len(source):
        if fresh and source[position] == "#":
            end = _end_of_directive(source, position)
            line += source.count("\n", position, end)
            position = end
            continue
        match = _TOKEN.match(source, position)
        kind = "string" if match.lastgroup in ("raw", "mark") else match.lastgroup
        text = match.group()
        if kind not in ("space", "comment"):
            shown = {"string": '""', "char": "''"}.get(kind, text)
            out.append(Token(kind, shown, line))
            fresh = False
        if kind != "comment" and "\n" in text:
            fresh = True
        line += text.count("\n")
        position = match.end()
    return out


def _end_of_directive(source, start):
    position = start
    while True:
        end = source.find("\n", position)
        if end < 0:
            return len(source)
        if not source[:end].endswith("\\"):
            return end
        position = end + 1


def partners(found):
    """For each bracket's index the index of its other half: ( ) [ ] { } only."""
    other = {}
    stack = []
    pairs = {")": "(", "]": "[", "}": "{"}
    for index, token in enumerate(found):
        if token.kind != "operator":
            continue
        if token.text in "([{":
            stack.append(index)
        elif token.text in pairs:
            while stack and found[stack[-1]].text != pairs[token.text]:
                stack.pop()  # unbalanced source: the compiler will say so
            if stack:
                opened = stack.pop()
                other[opened] = index
                other[index] = opened
    return other
