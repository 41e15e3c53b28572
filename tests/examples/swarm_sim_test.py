"""Simulated swarms as people play them: seeds, policies, limits, and a report that stands alone."""

import html.parser
import json

import testing

SMALL = ("--peers", "12", "--pieces", "40")


def swarms(t, *flags, size=SMALL, code=0):
    shown = t.run("swarm_sim", "--json", *size, *flags)
    t.check(shown.code == code, f"swarm_sim ends with {shown.code}: {shown.tail()}")
    lines = [json.loads(line) for line in shown.out.splitlines()]
    for line in lines:
        del line["computed_s"]
    return lines


@testing.case("the same seed gives the same swarm, another seed another one, and everybody completes")
def _(t):
    once, again, other = swarms(t), swarms(t), swarms(t, "--seed", "2")
    t.check(once == again, f"{once} is not {again}")
    t.check(once != other, f"{once} for two seeds")
    for line in once + other:
        t.check(line["complete"] == line["leechers"] == 12, str(line))
        t.check(line["from_leechers"] > 0.5, str(line))


@testing.case("policies are compared: sequential order is slower, and who gives nothing waits where giving is scarce")
def _(t):
    lines = swarms(t, "--order", "rarest-first", "sequential", "--choking", "tit-for-tat", "everybody")
    t.check(len(lines) == 4, str(lines))
    median = {(line["order"], line["choking"]): line["median_s"] for line in lines}
    t.check(median["sequential", "tit-for-tat"] > median["rarest-first", "tit-for-tat"], str(median))
    scarce = ("--leave", "--seeder-up", "25000", "--free-riders", "0.3")
    (riders,) = swarms(t, *scarce, size=("--peers", "30", "--pieces", "100"))
    t.check(riders["free_rider_median_s"] > riders["median_s"], str(riders))


@testing.case("who super-seeds gives less")
def _(t):
    size = ("--peers", "30", "--pieces", "100")
    (plain,), (sparing,) = swarms(t, size=size), swarms(t, "--super-seed", size=size)
    t.check(sparing["complete"] == 30 and sparing["fewest_copies"] == 31, str(sparing))
    t.check(sparing["seeder_copies"] < plain["seeder_copies"], f"{sparing} beside {plain}")


@testing.case("a swarm that cannot complete is told with 3, after its own time and not ours")
def _(t):
    (line,) = swarms(t, "--limit", "0.001", "--up", "100", "--seeder-up", "100", code=3)
    t.check(line["complete"] < 12 and line["lasted_s"] > 3, str(line))


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href")]


@testing.case("the report has charts for each swarm, and nothing from elsewhere")
def _(t):
    path = t.folder / "report.html"
    swarms(t, "--order", "rarest-first", "random", "--report", path)
    page = Page()
    text = path.read_text(encoding="utf-8")
    page.feed(text)
    t.check(page.tags.count("svg") == 1 + 2 * 6, f"{page.tags.count('svg')} charts")
    t.check("script" not in page.tags and not page.links and "http" not in text, f"not alone: {page.links}")


@testing.case("a trace has the first leecher's conversations, the same for the same seed")
def _(t):
    traces = [t.folder / "one", t.folder / "two"]
    for path in traces:
        swarms(t, "--trace", path)
    one, two = (path.read_text(encoding="utf-8") for path in traces)
    t.check(one == two, "two traces of one seed differ")
    pieces = [line for line in map(json.loads, one.splitlines()) if line["message"] == "piece" and line["dir"] == "in"]
    t.check(len({line["index"] for line in pieces}) == 40, f"{len(pieces)} pieces came")


@testing.case("flags that make no sense, and reports that cannot be written, end in one line")
def _(t):
    for flags, code in ((("--peers", "0"), 2), (("--order", "best"), 2), (("--loss", "1"), 2),
                        (("--pieces", "100000", "--piece-length", "16777216"), 2)):
        shown = t.run("swarm_sim", *flags)
        t.check(shown.code == code and shown.err.count("\n") == 1, f"{flags}: {shown.code}: {shown.tail()}")
    nowhere = t.folder / "no" / "where"
    for flag in ("--report", "--trace"):
        for path, why in ((nowhere, "No such file or directory"), ("/dev/full", "No space left on device")):
            shown = t.run("swarm_sim", *SMALL, flag, path)
            t.check(shown.code == 1 and shown.err == f"swarm_sim: cannot write {path}: {why}\n",
                    f"{flag} {path}: {shown.code}: {shown.tail()}")
            t.check(path != nowhere or not shown.out, f"played a swarm before it looked: {shown.out}")


testing.main()
