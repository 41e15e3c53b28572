#!/usr/bin/env python3
"""No source has a coroutine form that g++ 12 compiles wrongly (the list is in tests/README.md).

The short form of the rule: a co_await stands alone in its statement, `co_await f(named);` or `x = co_await f(named);`,
and its arguments are names or trivial values. Arguments:  [FILE...]  check these instead of the repository.
"""

import pathlib
import sys

from cpp_tokens import partners, tokens

ROOT = pathlib.Path(__file__).resolve().parents[2]
COROUTINE_WORDS = {"co_await", "co_return", "co_yield"}
TYPE_WORDS = {"struct", "class", "union", "enum", "namespace"}


class Source:
    """One source text and what is wrong in it, as (line, reason)."""

    def __init__(self, text):
        self.tokens = tokens(text)
        self.other = partners(self.tokens)
        self.found = set()
        self.blocks = {i for i, t in enumerate(self.tokens) if t.text == "{" and self.is_block(i)}
        self.lambdas = [i for i in range(len(self.tokens)) if self.is_lambda(i)]

    def text(self, index):
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def say(self, index, reason):
        self.found.add((self.tokens[index].line, reason))

    def close(self, index):
        return self.other.get(index, len(self.tokens))

    def inside(self, opened):
        """The indices directly inside a pair of brackets, not those of brackets within."""
        index, end = opened + 1, self.close(opened)
        while index < end:
            yield index
            index = self.close(index) + 1 if self.text(index) in ("(", "[", "{") else index + 1

    def is_block(self, brace):
        """A block holds statements, a braced initialiser does not: only the former has a `;` or a statement's block."""
        return any(self.text(i) == ";" or (self.text(i) == "{" and self.has_head(i) and self.is_block(i))
                   for i in self.inside(brace))

    def has_head(self, brace):
        """Whether the `{` follows `if (...)`, `else` and their like."""
        if self.text(brace - 1) in ("else", "do", "try"):
            return True
        return self.text(brace - 1) == ")" and self.text(self.other.get(brace - 1, 0) - 1) in (
            "if", "for", "while", "switch", "catch", "constexpr")

    def is_lambda(self, index):
        if self.text(index) != "[" or index not in self.other:
            return False
        if self.text(index + 1) == "[" or self.text(index - 1) == "[":
            return False  # an attribute
        before = self.tokens[index - 1] if index > 0 else None
        if before and (before.text in (")", "]", "this") or before.kind in ("string", "number")):
            return False
        if before and before.kind == "name":
            return before.text in ("return", "co_return", "co_await", "co_yield", "else", "do", "case", "throw")
        if before and before.text in ("&", "&&", "*", ">") and self.is_binding(index):
            return False
        after = self.text(self.close(index) + 1)
        return after in ("(", "{", "<", "mutable", "noexcept", "->")

    def is_binding(self, bracket):
        """auto& [a, b]"""
        index = bracket - 1
        while self.text(index) in ("&", "&&"):
            index -= 1
        return self.text(index) == "auto"

    def body_of(self, introducer):
        """The `{` of a lambda's body."""
        index = self.close(introducer) + 1
        while index < len(self.tokens) and self.text(index) not in ("{", ";"):
            index = self.close(index) + 1 if self.text(index) in ("(", "[") else index + 1
        return index if self.text(index) == "{" else None

    def own_tokens(self, body):
        """The indices within a function's body, without those of lambdas inside it."""
        index, end = body + 1, self.close(body)
        while index < end:
            if index in self.lambda_set:
                inner = self.body_of(index)
                if inner is not None:
                    index = self.close(inner) + 1
                    continue
            yield index
            index += 1

    def check(self):
        self.lambda_set = set(self.lambdas)
        for index in range(len(self.tokens)):
            if self.text(index) == "co_await":
                self.check_before(index)
                self.check_after(index)
        for index in self.lambdas:
            self.check_lambda(index)
        self.check_default_arguments()
        self.check_alignment()
        return sorted(self.found)

    # ---- what stands before a co_await ----

    def statement_start(self, index):
        """Goes back to the statement's first token: its index, and the bracket that encloses the co_await, if any."""
        at = index - 1
        while at >= 0:
            text = self.text(at)
            if text in (")", "]"):
                at = self.other.get(at, at) - 1
                continue
            if text == "}":
                opened = self.other.get(at)
                if opened is None or opened in self.blocks or self.ends_statement(at):
                    return at + 1, None
                at = opened - 1
                continue
            if text == ";":
                return at + 1, None
            if text == "{" and (at in self.blocks):
                return at + 1, None
            if text in ("(", "[", "{"):
                return at + 1, at
            at -= 1
        return 0, None

    def ends_statement(self, brace):
        """An empty block, `if (x) {} co_await y;`, seen from behind."""
        opened = self.other[brace]
        return opened + 1 == brace and self.text(opened - 1) in (")", "else", "do", "try")

    def skip_heads(self, start, end):
        """Passes labels and the heads of control statements: `else`, `do`, `if (...)`, `case x:`."""
        while start < end:
            text = self.text(start)
            if text in ("else", "do", "try"):
                start += 1
            elif text in ("if", "while", "for", "switch", "catch"):
                start += 1
                if self.text(start) in ("constexpr", "consteval"):
                    start += 1
                if self.text(start) != "(" or self.close(start) >= end:
                    return start
                start = self.close(start) + 1
            elif text in ("case", "default", "public", "private", "protected"):
                while start < end and self.text(start) != ":":
                    start += 1
                start += 1
            elif text == "[" and self.text(start + 1) == "[":
                start = self.close(start) + 1
            else:
                return start
        return start

    def check_before(self, index):
        start, bracket = self.statement_start(index)
        if bracket is not None:
            head = self.text(bracket - 1)
            if self.text(bracket) == "{":
                self.say(index, "co_await inside a braced initialiser")
            elif head in ("if", "while", "for", "switch", "constexpr"):
                self.say(index, f"co_await in the condition of {head}")
            else:
                self.say(index, "co_await inside parentheses or arguments")
            return
        start = self.skip_heads(start, index)
        prefix = list(range(start, index))
        words = [self.text(i) for i in self.flat(prefix)]
        if not words or words == ["co_return"] or words == ["(", ")"]:
            return  # (void)co_await f();
        if "?" in words:
            self.say(index, "co_await in a conditional expression")
        elif "=" in words and ("&&" in words[words.index("="):] or "||" in words[words.index("="):]):
            self.say(index, "co_await beside && or ||")
        elif words[-1] in ("&&", "||"):
            self.say(index, "co_await beside && or ||")
        elif words[-1] != "=":
            self.say(index, f"co_await does not stand alone: it follows `{words[-1]}`")
        elif words[0] in ("throw", "co_return", "return"):
            self.say(index, f"co_await inside {words[0]}")
        elif "auto" in words and any(self.text(i) == "[" and self.text(i + 1) != "[" and self.is_binding(i)
                                     for i in prefix):
            self.say(index, "structured binding from a co_await")

    def flat(self, indices):
        """Without what is inside brackets."""
        until = -1
        for i in indices:
            if i <= until:
                if i == until:
                    yield i
                continue
            yield i
            if self.text(i) in ("(", "[", "{"):
                until = self.close(i)

    # ---- what a co_await awaits ----

    def check_after(self, index):
        at = index + 1
        first = True  # an operator here is a unary one
        while at < len(self.tokens):
            text = self.text(at)
            if text in (";", ")", "]", "}", ","):
                return
            if text == "?":
                self.say(at, "co_await in a conditional expression")
            elif text in ("&&", "||"):
                self.say(at, "co_await beside && or ||")
            elif text in ("==", "!=", "<=>", "+", "-", "/", "%", "|", "^", "+=", "-=", "=") and not first:
                self.say(at, f"co_await does not stand alone: `{text}` follows")
            elif text == "{":
                self.say(at, "braced temporary in a co_await")
                at = self.close(at)
            elif at in self.lambda_set:
                self.check_awaited_lambda(at)
                body = self.body_of(at)
                at = self.close(body) if body is not None else at
            elif text in ("(", "["):
                self.check_arguments(at)
                at = self.close(at)
            first = False
            at += 1

    def check_awaited_lambda(self, introducer):
        if self.close(introducer) != introducer + 1:
            self.say(introducer, "capturing lambda in the same expression as a co_await")

    def check_arguments(self, opened):
        at, end = opened + 1, self.close(opened)
        while at < end:
            if at in self.lambda_set:
                self.check_awaited_lambda(at)
                body = self.body_of(at)
                at = self.close(body) if body is not None else at
            elif self.text(at) == "{":
                self.say(at, "braced temporary as an argument of a co_await")
                at = self.close(at)
            elif self.text(at) == "?":
                self.say(at, "conditional expression as an argument of a co_await")
            elif self.text(at) in ("&&", "||") and self.text(opened - 1) in ("co_await", "("):
                self.say(at, "co_await of && or ||")
            elif self.text(at) == "array" and self.text(at + 1) in ("(", "<", "{"):
                self.say(at, "std::array temporary as an argument of a co_await")
            at += 1

    # ---- declarations ----

    def check_lambda(self, introducer):
        body = self.body_of(introducer)
        if body is None or self.close(introducer) == introducer + 1:
            return
        if any(self.text(i) in COROUTINE_WORDS for i in self.own_tokens(body)):
            self.say(introducer, "lambda coroutine with captures")

    def check_default_arguments(self):
        """awaitable<T> f(options o = {}): the default is an aggregate temporary at each call."""
        for index, token in enumerate(self.tokens):
            if token.text != "awaitable" or self.text(index + 1) != "<":
                continue
            at, depth = index + 2, 1
            while at < len(self.tokens) and depth > 0 and self.text(at) not in (";", "{"):
                depth += {"<": 1, ">": -1, ">>": -2}.get(self.text(at), 0)
                at += 1
            while self.tokens[at:at + 1] and (self.tokens[at].kind == "name" or self.text(at) == "::"):
                at += 1
            if self.text(at) != "(":
                continue
            inside = [i for i in self.inside(at)]
            for i in inside:
                if self.text(i) == "=" and any(
                        self.text(j) == "{" for j in range(i + 1, self.next_comma(inside, i))):
                    self.say(i, "defaulted aggregate argument of a coroutine")

    def next_comma(self, inside, index):
        return next((i for i in inside if i > index and self.text(i) == ","), inside[-1] + 1)

    def check_alignment(self):
        """A local of a coroutine lives in its frame, which g++ 12 aligns to 16 only."""
        for index, token in enumerate(self.tokens):
            if token.text != "alignas" or self.text(index + 1) != "(":
                continue
            number = self.text(index + 2).replace("'", "")
            if number.isdigit() and int(number) <= 16:
                continue
            body = self.function_around(index)
            if body is not None and any(self.text(i) in COROUTINE_WORDS for i in self.own_tokens(body)):
                self.say(index, "over-aligned local of a coroutine")

    def function_around(self, index):
        """The outermost block around `index` that is not one of a type or namespace."""
        around = [b for b in self.blocks if b < index < self.close(b)]
        for brace in sorted(around):
            at = brace - 1
            words = []
            while at >= 0 and self.text(at) not in (";", "{", "}"):
                words.append(self.text(at))
                at = self.other.get(at, at) - 1 if self.text(at) in (")", "]") else at - 1
            if not TYPE_WORDS & set(words) or "(" in words:
                return brace
        return None


def check_text(text, in_library=False):
    """What is wrong: (line, reason) each. In the library nothing is detached either: someone must see the exception."""
    source = Source(text)
    found = source.check()
    if in_library:
        found += [(t.line, "detached: nobody sees the exception") for t in source.tokens if t.text == "detached"]
    return found


def check_files(paths):
    bad = 0
    for path in paths:
        for line, reason in check_text(path.read_text(encoding="utf-8"), ROOT / "include" in path.parents):
            shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            print(f"not ok coroutine forms: {shown}:{line}: {reason}")
            bad += 1
    if not bad:
        print(f"ok no source has a coroutine form that g++ 12 miscompiles ({len(paths)} files)")
    return bad


def sources():
    return sorted(
        path for folder in ("include", "examples", "tests") for path in (ROOT / folder).rglob("*")
        if path.suffix in (".hpp", ".cpp", ".h") and (ROOT / "tests/data") not in path.parents)


BAD = {
    "aggregate argument": "co_await f(Agg{a, b});",
    "designated argument": "co_await f({.x = 1});",
    "braced argument, several lines": "auto r = co_await f(\n    url,\n    {a,\n     b});",
    "std::array argument": "co_await send(std::array<int, 2>());",
    "braced empty argument": "co_await f(x, {});",
    "braced operand": "co_await awaiter{1};",
    "ternary": "auto x = c ? co_await a() : b;",
    "ternary after": "auto x = co_await a() ? 1 : 2;",
    "co_return ternary": "co_return c ? co_await a() : b;",
    "ternary argument": "co_await f(c ? a : b);",
    "and": "bool x = ok && co_await a();",
    "or after": "bool x = co_await a() || ok;",
    "awaitable operators": "co_await (read() || timer());",
    "awaitable operators, and": "auto r = co_await (read() && write());",
    "if": "if (co_await f(name)) return;",
    "if, several lines": "if (const auto x =\n        co_await f(name);\n    x) g();",
    "if constexpr": "if constexpr (co_await f()) g();",
    "while": "while (co_await f()) {}",
    "while not": "while (!co_await f()) { g(); }",
    "for": "for (auto x = co_await f(); x; ++x) g();",
    "range for": "for (auto& x : co_await f()) g();",
    "switch": "switch (co_await f()) { default: break; }",
    "throw": "throw X(co_await f());",
    "new": "auto p = new T(co_await f());",
    "braced result": "auto a = Agg{co_await f(), b};",
    "braced initialisation": "T a{co_await f()};",
    "parenthesised initialisation": "T a(co_await f());",
    "co_return braced": "co_return Agg{co_await f()};",
    "co_return sum": "co_return 1 + co_await f();",
    "nested": "co_await f(co_await g());",
    "member of result": "auto n = (co_await f()).size();",
    "sum": "auto n = 1 + co_await f();",
    "sum after": "auto n = co_await f(x) + 1;",
    "comparison": "bool same = co_await f(x) == 1;",
    "compound assignment": "n += co_await f(x);",
    "stream": "out << co_await f(x);",
    "call": "CHECK(co_await f(x));",
    "structured binding": "auto [a, b] = co_await f();",
    "structured binding by reference": "const auto& [a, b] = co_await f();",
    "structured binding by forwarding reference": "auto&& [a, b] = co_await f();",
    "immediately awaited lambda": "co_await [&]() -> awaitable<void> { co_return; }();",
    "lambda argument": "co_await with(5, [x] { return g(x); });",
    "lambda argument in a nested call": "co_await spawn(ex, wrap([this] { return g(); }), token);",
    "lambda coroutine with captures": "auto f = [&]() -> awaitable<void> { co_await g(); };",
    "lambda coroutine capturing this": "post([this]() -> awaitable<int> { co_return 1; });",
    "lambda coroutine, nested in a plain one": "auto f = [] { return [x]() -> awaitable<int> { co_return x; }; };",
    "mutable lambda coroutine":
        "spawn(ex, [s = std::move(s)]() mutable -> awaitable<void> { co_await s.run(); }, token);",
    "in a lambda coroutine": "auto f = []() -> awaitable<void> { if (co_await g()) co_return; };",
    "over-aligned local": "asio::awaitable<void> f() { alignas(64) char x[64]; co_await g(x); }",
    "over-aligned local of a member": "struct s { asio::awaitable<void> f() { alignas(32) int x; co_await g(x); } };",
    "comment between": "if (/* is it */ co_await f()) g();",
    "after an else": "if (a) { b(); } else if (co_await f()) c();",
    "default argument": "asio::awaitable<void> f(int a, options o = {}, int b = 1);",
    "default argument, named type": "awaitable<std::vector<int>> f(options o = options{}) { co_return x; }",
}

GOOD = {
    "statement": "co_await f(named);",
    "initialisation": "auto x = co_await f(named, 5, true, \"text\");",
    "const reference": "const auto& x = co_await f(named);",
    "forwarding reference": "auto&& x = co_await f(named);",
    "rvalue reference of a type": "std::vector<int>&& x = co_await f(named);",
    "assignment": "this->x = co_await f(named);",
    "assignment through a pointer": "*x = co_await f(named);",
    "assignment to an element": "x[i] = co_await f(named);",
    "discarded": "(void)co_await f(named);",
    "attribute": "[[maybe_unused]] const auto x = co_await f(named);",
    "after if": "if (a && b) co_await f(named);",
    "after if, both ways": "if (a) co_await f(x); else co_await f(y);",
    "after while": "while (a || b) co_await f(named);",
    "after for": "for (int i = 0; i < 3; ++i) co_await f(i);",
    "after range for": "for (const auto& [a, b] : c) co_await f(a);",
    "after a block": "if (a) { g(); } co_await f(named);",
    "after an empty block": "if (a) {} co_await f(named);",
    "after a braced variable": "int a{1}; co_await f(a);",
    "case": "switch (a) { case 1: co_await f(x); break; default: co_await g(x); }",
    "label of an enum": "switch (a) { case kind::one: x = co_await f(x); break; }",
    "co_return": "co_return co_await f(named);",
    "several lines": "const auto x =\n    co_await peer\n        .request(wanted);",
    "move": "co_await f(std::move(x));",
    "calls in arguments": "co_await socket.async_write(asio::buffer(x), asio::use_awaitable);",
    "durations": "co_await net.sleep_for(5s);",
    "template": "auto x = co_await f<int, char>(named);",
    "minus one": "co_await f(-1, a - b, a + 1);",
    "comparison in an argument": "co_await f(a == b, a && b);",
    "binding afterwards": "auto r = co_await f(); auto& [a, b] = r;",
    "lambda without captures in the expression": "co_await init([](auto handler, int n) { g(handler, n); }, token, n);",
    "lambda coroutine without captures": "auto f = [](int x) -> awaitable<void> { co_await g(x); };",
    "capturing lambda that is no coroutine": "auto f = [&](int x) { return g(x); }; co_await f(1);",
    "capturing lambda around a plain one": "run([&] { auto f = [](int x) -> awaitable<int> { co_return x; }; g(f); });",
    "named lambda": "const auto done = [&] { return x; }; co_await wait(done);",
    "default argument of a plain function": "void f(options o = {});",
    "scalar default argument": "asio::awaitable<void> f(int a = 1, bool b = true) { co_await g(a, b); }",
    "string": "g(\"if (co_await f()) {\"); co_await f(x);",
    "raw string": "g(R\"(auto [a] = co_await f({});)\"); co_await f(x);",
    "character": "g('\"'); co_await f(x); g('{');",
    "comment": "// if (co_await f()) x;\nco_await f(x); /* co_await f({}) */",
    "preprocessor": "#define WAIT(x) if (co_await x) \\\n    y\nco_await f(x);",
    "digit separators": "co_await f(1'000'000); g(2'000);",
    "try": "try { co_await f(x); } catch (const error& e) { g(e); } co_await h(x);",
    "do": "do { x = co_await f(y); } while (x);",
    "aligned type outside": "struct s { alignas(64) int x; };",
    "subscript": "co_await f(x[0], y[i]);",
    "function that returns an awaitable": "asio::awaitable<int> f(int x) { if (x) { co_return 1; } co_return 2; }",
    "doctest":
        "TEST_CASE(\"x\") { run([](net& n) -> awaitable<void> { const auto x = co_await f(n); CHECK(x == 1); }); }",
}


def self_test():
    wrong = []
    for name, snippet in BAD.items():
        inside = snippet if "awaitable<" in snippet.split("(")[0] or snippet.startswith("struct") else (
            f"asio::awaitable<void> outer() {{\n    int before{{0}};\n    {snippet}\n    after();\n}}\n")
        if not check_text(inside):
            wrong.append(f"accepts: {name}")
    for name, snippet in GOOD.items():
        for text in (snippet, f"asio::awaitable<void> outer() {{\n{snippet}\nafter();\n}}\n"):
            reasons = check_text(text, in_library=True)
            if reasons:
                wrong.append(f"complains of: {name}: {reasons}")
    if not check_text("co_spawn(ex, f(), asio::detached);", in_library=True):
        wrong.append("accepts: detached in the library")
    for one in wrong:
        print(f"not ok self-test of check_coroutines: {one}")
    if not wrong:
        print(f"ok check_coroutines knows {len(BAD)} bad forms and {len(GOOD)} good ones")
    return len(wrong)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(1 if check_files([pathlib.Path(name).resolve() for name in sys.argv[1:]]) else 0)
    sys.exit(1 if self_test() + check_files(sources()) else 0)
