#!/usr/bin/python3
"""Makes of the figures that the benchmarks left one table, in Markdown, and two plots.

    report.py FIGURES.jsonl OUT_DIR

The table goes to the standard output and to OUT_DIR/table.md; medians of all rounds, and the median of the ratios of
rounds. OUT_DIR/rate.svg is what each client had on the disk while one leecher downloaded, OUT_DIR/cost.svg what the
piece picker costs by the number of pieces.
"""

import collections
import json
import math
import os
import statistics
import sys

# What is shown of a measurement: the key in it, what it is called, whether more is better, its form.
SHOWN = (("mb_s", "MB/s", True, ".0f"), ("seeder_cpu", "CPU s/GiB, seeder", False, ".2f"),
         ("leecher_cpu", "CPU s/GiB, leechers", False, ".2f"), ("seeder_mb", "peak MB, seeder", False, ".0f"),
         ("leecher_mb", "peak MB, leecher", False, ".0f"), ("copies", "copies from the seeder", False, ".2f"),
         ("answers_s", "answers/s", True, ",.0f"), ("cpu_per_million", "CPU s per million", False, ".1f"),
         ("cpu", "CPU s/GiB", False, ".2f"), ("median_ms", "ms, median", False, ".1f"),
         ("ns_per_block", "ns a block", False, ".0f"), ("bytes_per_peer", "bytes a peer", False, ".1f"),
         ("kib_per_idle_peer", "KiB for each that is idle", False, ".1f"),
         ("idle_percent", "% of a core while all are idle", False, ".2f"), ("fairness", "fairness", True, ".3f"),
         ("longest_sweep_ms", "longest sweep, ms", False, ".2f"), ("compile_s", "s to compile", False, ".1f"),
         ("mb", "peak MB", False, ".0f"))
COLOURS = ("#0b6e4f", "#b5651d", "#3b5ba5", "#777777")


def read(path):
    """{benchmark: {who: [measurement, ...]}}, in the order in which they were made."""
    out = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            out[one.pop("bench")][one.pop("who", "cohort")].append(one)
    return out


def table(measured):
    yield "| what | figure | cohort | beside | theirs | ratio |"
    yield "|---|---|---|---|---|---|"
    for bench, by_who in measured.items():
        ours = by_who.get("cohort")
        if not ours:
            ours, by_who = next(iter(by_who.values())), {}
        for key, name, more, form in SHOWN:
            mine = [one[key] for one in ours if one.get(key) is not None]
            if not mine:
                continue
            told = format(statistics.median(mine), form)
            rivals = {who: [one[key] for one in all_of if one.get(key) is not None]
                      for who, all_of in by_who.items() if who != "cohort"}
            rivals = {who: theirs for who, theirs in rivals.items() if theirs}
            if not rivals:
                yield f"| {bench} | {name} | {told} | | | |"
            for who, theirs in rivals.items():
                pairs = zip(mine, theirs) if more else zip(theirs, mine)
                ratio = statistics.median(a / b if b else math.inf for a, b in pairs)
                yield f"| {bench} | {name} | {told} | {who} | {format(statistics.median(theirs), form)} | {ratio:.2f} |"


class Plot:
    """Lines in a frame, as SVG."""

    width, height, left, top, right, bottom = 720, 360, 70, 40, 150, 50

    def __init__(self, title, x_name, y_name, log_x=False):
        self.title, self.x_name, self.y_name, self.log_x, self.lines = title, x_name, y_name, log_x, []

    def add(self, name, points):
        if len(points) > 1:
            self.lines.append((name, [(math.log10(x) if self.log_x else x, y) for x, y in points]))

    def place(self, x, y):
        wide, high = self.width - self.left - self.right, self.height - self.top - self.bottom
        return (self.left + wide * (x - self.x0) / (self.x1 - self.x0), self.top + high * (1 - y / self.y1))

    def text(self, x, y, words, anchor="middle", more=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{words}</text>'

    def svg(self):
        points = [point for _, line in self.lines for point in line]
        self.x0, self.x1 = min(x for x, _ in points), max(x for x, _ in points)
        self.y1 = max(y for _, y in points) * 1.05
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
               'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
               self.text(self.left, 22, self.title, "start", 'font-weight="bold"')]
        for i in range(6):
            x, y = self.x0 + (self.x1 - self.x0) * i / 5, self.y1 * i / 5
            at_x, at_y = self.place(x, 0)[0], self.place(self.x0, y)[1]
            base = self.height - self.bottom
            out.append(f'<path d="M{self.left} {at_y:.1f}H{self.width - self.right}" stroke="#ddd"/>')
            out.append(self.text(at_x, base + 16, f"{10 ** x:,.0f}" if self.log_x else f"{x:.2f}"))
            out.append(self.text(self.left - 6, at_y + 4, f"{y:,.0f}", "end"))
        out.append(self.text((self.left + self.width - self.right) / 2, self.height - 12, self.x_name))
        out.append(self.text(self.left - 50, self.top - 6, self.y_name, "start"))
        for (name, line), colour in zip(self.lines, COLOURS):
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (self.place(*point) for point in line))
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            x, y = self.place(*line[-1])
            out.append(self.text(x + 6, y + 4, name, "start", f'fill="{colour}"'))
        return "\n".join([*out, "</svg>", ""])


def plots(measured):
    """(file name, plot)"""
    for bench, by_who in measured.items():
        curves = {who: all_of[0]["curve"] for who, all_of in by_who.items() if all_of[0].get("curve")}
        if curves and bench.startswith("1 leecher"):
            plot = Plot(bench, "seconds after the first block", "MB on the leecher's disk")
            for who, curve in curves.items():
                plot.add(who, [(at, size / 1e6) for at, size in curve])
            yield "rate.svg", plot
            break
    costs = [(one["pieces"], one["ns_per_block"]) for bench, by_who in measured.items() for one in by_who["cohort"]
             if bench.startswith("picker") and one["peers"] == 200]
    if len(costs) > 1:
        plot = Plot("Picking blocks, 200 peers", "pieces", "ns a block", log_x=True)
        plot.add("cohort", sorted(costs))
        yield "cost.svg", plot


def main():
    figures, out = sys.argv[1:]
    measured = read(figures)
    text = "\n".join(table(measured))
    print(text)
    with open(os.path.join(out, "table.md"), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    for name, plot in plots(measured):
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(plot.svg())


if __name__ == "__main__":
    main()
