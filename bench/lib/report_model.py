# SPDX-License-Identifier: Apache-2.0
"""
What a report is made of, before it becomes HTML or Markdown: sections with paragraphs, tables and plots. Every table and plot says
what kind of figures it holds, and both formats print that beside it, so that a prediction or somebody else's figure is never taken
for a measurement.
"""

import dataclasses

MEASURED = "measured"
EMULATED = "measured in emulated time"
PUBLISHED = "published by others"
PREDICTION = "prediction"
FACTS = "facts"          # counts, settings, words: nothing that was timed
KINDS = (MEASURED, EMULATED, PUBLISHED, PREDICTION, FACTS)

DASH = "–"
_TIMES = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))


@dataclasses.dataclass
class Table:
    title: str
    header: list                 # the first column is text, to the left; the others to the right unless in `left`
    rows: list                   # lists of str or None, as long as the header
    kind: str
    where: str = ""              # host, kernel, workload: what the figures belong to
    note: str = ""
    left: tuple = ()             # further columns to the left, by number

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"table \"{self.title}\": no such kind: {self.kind}")
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"table \"{self.title}\": a row of {len(row)} cells under {len(self.header)} columns")


@dataclasses.dataclass
class Plot:
    path: str                    # the SVG file, by bench/lib/plot.py
    caption: str
    kind: str
    where: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"plot \"{self.caption}\": no such kind: {self.kind}")


@dataclasses.dataclass
class Section:
    anchor: str
    title: str
    parts: list = dataclasses.field(default_factory=list)      # str (a paragraph), Table, Plot

    def add(self, *parts):
        self.parts.extend(part for part in parts if part is not None)
        return self


@dataclasses.dataclass
class Report:
    title: str
    lead: str
    sections: list


def three_digits(value):
    """Three digits that count: 0.00123, 1.50, 12.3, 1,234."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    digits = 2
    while size < 0.9995 and digits < 9:
        size *= 10
        digits += 1
    return f"{value:.{digits - 1 if size >= 9.995 else digits}f}"


def scaled(value, unit):
    """VALUE in a unit for people: times from ns or s as ns, µs, ms or s."""
    if unit in ("ns", "ns/GiB", "s", "ms"):
        per = unit[2:] if unit.startswith("ns") else ""
        ns = value * {"s": 1e9, "ms": 1e6}.get(unit, 1.0)
        for name, size in _TIMES:
            if abs(ns) >= size * 0.9995:
                return ns / size, name + per
        return ns, "ns" + per
    return value, unit


def _same_scale(value, reference, unit):
    scaled_reference, name = scaled(reference, unit)
    return (value * (scaled_reference / reference) if reference else value), name


def figure_text(figure, with_range=True):
    """"3.52 µs (3.40–3.81)" from {median, min, max, unit}; a dash for a figure that is not there."""
    if not figure or figure.get("median") is None:
        return DASH
    median, unit = figure["median"], figure.get("unit") or ""
    shown, name = scaled(median, unit)
    text = three_digits(shown) if unit not in ("pages", "count") else f"{shown:,.0f}"
    ends = [_same_scale(figure.get(key, median), median, unit)[0] for key in ("min", "max")]
    texts = [three_digits(end) if unit not in ("pages", "count") else f"{end:,.0f}" for end in ends]
    text += f" {name}" if name and name not in ("count", "pages", "ratio") else ""
    return text + (f" ({texts[0]}–{texts[1]})" if with_range and texts[0] != texts[1] else "")


def figure_of(values, unit):
    """Median, least and greatest of a list of numbers; None of an empty one."""
    found = sorted(v for v in values if v is not None)
    if not found:
        return None
    middle = len(found) // 2
    median = found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2
    return {"median": median, "min": found[0], "max": found[-1], "unit": unit}


def is_figure(value):
    return isinstance(value, dict) and "median" in value
