# SPDX-License-Identifier: Apache-2.0
"""
Plots as SVG files, by matplotlib. They show on light and on dark backgrounds alike (the background is transparent, text takes the
colour that the reader's scheme asks for), text stays text, and the same figures give the same file, byte by byte.
"""

import os
import re
import textwrap

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (use() comes first)
from matplotlib import ticker  # noqa: E402

# Okabe and Ito's colours, which people with any colour vision can tell apart; those that show on white and on black alike.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C", "#B5A200")
INK = "#010203"          # stands for the reader's text colour until the file is written
GRID = "#8C8C8C"
WIDTH_IN = 8.4
HEIGHT_IN = 3.6
TITLE_CHARS = 84
MIN_LABELLED_PT = 20        # a bar that is narrower has no room for its figure above it

STYLE = """<style>
.plot { color: #1f2328; max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) { .plot { color: #d1d7e0 } }
</style>"""

SETTINGS = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"], "axes.unicode_minus": False,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.linewidth": 0.8,
    "grid.color": GRID, "grid.linewidth": 0.5, "grid.alpha": 0.4, "legend.frameon": False,
}


def short(value):
    """Three digits, as people write them: 0.0042, 3.14, 271, 12.3k, 4.5M."""
    if value is None:
        return ""
    size = abs(value)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit * (1 - 5e-4):
            return short(value / (1e3 if name == "k" else unit)) + name
    if size >= 99.95:
        return f"{value:.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.2g}" if size else "0"


def _figure(title, ylabel, nlegend):
    figure, axes = plt.subplots(figsize=(WIDTH_IN, HEIGHT_IN))
    lines = textwrap.wrap(title, TITLE_CHARS) or [""]
    legend_rows = (nlegend + 4) // 5 if nlegend > 1 else 0
    if title:
        axes.set_title("\n".join(lines), loc="left", fontsize=10, fontweight="bold", pad=8 + 13 * legend_rows)
    axes.set_ylabel(ylabel)
    axes.grid(True, axis="y")
    return figure, axes


def _legend(axes, nlegend):
    if nlegend > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.995), ncol=5, fontsize=8, borderaxespad=0.2,
                    handlelength=1.4, columnspacing=1.6)


def _write(figure, path, title):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": os.path.basename(path) + title}):
        figure.savefig(path, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.08,
                       metadata={"Date": None, "Creator": None, "Title": title})
    plt.close(figure)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    # One page may hold several plots: only what is referred to keeps its name, and those names are salted.
    referred = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: m.group(0) if m.group(1) in referred else "", text)
    text = text.replace(INK, "currentColor")
    text = re.sub(r"<svg ", '<svg class="plot" role="img" ', text, count=1)
    text = re.sub(r"(<svg [^>]*>)", lambda m: m.group(1) + "\n" + STYLE, text, count=1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def _log_floor(found):
    """Where the axis of a logarithmic plot begins: bars of nothing have no place on it."""
    positive = [v for v in found if v is not None and v > 0]
    return min(positive) / 3 if positive else 1


def _error_bar(value, error):
    least, greatest = error
    return [[max(0, value - least)], [max(0, greatest - value)]]


def _label(axes, at, value, error):
    """The figure above its bar and range, or below where the bar hangs down."""
    up = value >= 0
    end = error[1 if up else 0] if error else value
    axes.annotate(short(value), (at, end), xytext=(0, 2.5 if up else -2.5), textcoords="offset points", ha="center",
                  va="bottom" if up else "top", fontsize=7)


def bars(path, title, groups, series, values, errors, ylabel, log=False):
    """
    Bars side by side, under TITLE unless it is empty: GROUPS are the labels of the x axis, SERIES those of the colours. VALUES[s][g] is
    the figure of series s in group g, or None where there is none (no bar then). ERRORS is None, or has the same shape with (least,
    greatest) or None.
    """
    with matplotlib.rc_context(SETTINGS):
        figure, axes = _figure(title, ylabel, len(series))
        floor = _log_floor([v for row in values for v in row])
        if log:
            axes.set_yscale("log")
        width = 0.8 / max(1, len(series))
        labelled = WIDTH_IN * 72 * 0.86 * width / max(1, len(groups)) >= MIN_LABELLED_PT
        for s, name in enumerate(series):
            first = True
            for g in range(len(groups)):
                value = values[s][g]
                if value is None:
                    continue
                at = g - 0.4 + width * (s + 0.5)
                axes.bar(at, value, width * 0.92, color=COLOURS[s % len(COLOURS)], label=name if first else None)
                first = False
                error = errors[s][g] if errors else None
                if error and error[0] < error[1]:
                    axes.errorbar(at, value, yerr=_error_bar(value, error), fmt="none", ecolor=INK, elinewidth=0.9,
                                  capsize=2.2)
                if labelled:
                    _label(axes, at, value, error)
            if first:
                axes.bar(0, 0, 0, color=COLOURS[s % len(COLOURS)], label=f"{name} (none)")
        if any(v is not None and v < 0 for row in values for v in row):
            axes.axhline(0, color=INK, linewidth=0.8)
        _bar_axes(axes, groups, log, floor)
        _legend(axes, len(series))
        _write(figure, path, title)


def _bar_axes(axes, groups, log, floor):
    axes.set_xticks(range(len(groups)))
    longest = max((len(group) for group in groups), default=0)
    wrapped = ["\n".join(textwrap.wrap(group, max(8, int(96 / max(1, len(groups)))), break_on_hyphens=False)) for group in groups]
    axes.set_xticklabels(wrapped, fontsize=8 if longest * len(groups) > 60 else 9)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.14)
    if log:
        axes.set_ylim(bottom=floor)
    _number_axis(axes.yaxis, log)


def _number_axis(axis, log):
    if log:
        axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}" if 1e-5 < v < 1e4 else short(v)))
        axis.set_minor_formatter(ticker.NullFormatter())
    else:
        axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:,.6g}" if abs(v) < 1e6 else short(v)))


def lines(path, title, series, xlabel, ylabel, logx=False, logy=False, marks=()):
    """
    Curves: SERIES is a list of (label, xs, ys); a y of None is a gap. MARKS are (x, label) or (x, label, number of a series, whose
    colour it takes): a vertical line each, such as the beginning of a migration.
    """
    with matplotlib.rc_context(SETTINGS):
        figure, axes = _figure(title, ylabel, len(series))
        axes.grid(True, axis="x")
        if logx:
            axes.set_xscale("log")
        if logy:
            axes.set_yscale("log")
        for s, (name, xs, ys) in enumerate(series):
            few = len(xs) <= 24
            axes.plot(xs, [float("nan") if y is None else y for y in ys], color=COLOURS[s % len(COLOURS)], label=name,
                      linewidth=1.5, marker="o" if few else None, markersize=3.5)
        if not logy and all(y is None or y >= 0 for _, _, ys in series for y in ys):
            axes.set_ylim(bottom=0)
        axes.set_xlabel(xlabel)
        _number_axis(axes.xaxis, logx)
        _number_axis(axes.yaxis, logy)
        _marks(axes, marks)
        _legend(axes, len(series))
        _write(figure, path, title)


def _marks(axes, marks):
    """Labels stand beside their lines at the top, above the curves, one under the other."""
    if not marks:
        return
    lower, upper = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(lower, upper * (upper / lower) ** (0.07 * (len(marks) + 1)))
    else:
        axes.set_ylim(lower, upper + (upper - lower) * 0.07 * (len(marks) + 1))
    for at, (x, label, *series) in enumerate(marks):
        colour = COLOURS[series[0] % len(COLOURS)] if series else INK
        axes.axvline(x, color=colour, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.annotate(label, (x, 0.95 - 0.058 * at), xycoords=("data", "axes fraction"), xytext=(3, 0),
                      textcoords="offset points", fontsize=7.5)
