# SPDX-License-Identifier: Apache-2.0
"""bench/monitor: what a guest's score loses while dirty logging is on, and while somebody reads the log at an interval."""

import argparse
import os
import statistics
import sys

import load_command
import load_raw
import published
from load_raw import Raw, RawError
from report_model import figure_of

RUNS = 5
ARMS = ("off", "unread", "read")
WORKLOADS = {
    "mix": ("kv=MIX pattern=hot keys=400k value=256", "1G"),
    "set": ("kv=SET keys=400k value=256", "1G"),
    "visits": ("ws=128M pattern=hot", "1G"),
}
QUICK = {"mix": "kv=MIX pattern=hot keys=20k value=256", "set": "kv=SET keys=20k value=256", "visits": "ws=16M pattern=hot"}
REPORT_MS_PER_S = 100    # ten reports a turn: each costs the guest about 90 exits
MARGIN = 0.1             # of a turn at either end, where one state may reach into the other


def _score(raw, guest, turn, seconds):
    """Work a second by the guest's own clock, in the middle of the time in which logging was on, or off."""
    setting, backend, number, arm = turn[:4]
    start, end = int(turn[4]), int(turn[5])
    if arm != "off":
        # The command that has logging on takes its time to start, on an emulated host a second and more: no part of the arm.
        start = end - raw.objects(f"{setting}.{backend}.{number}.{arm}.json")[-1]["measured_ms"]
    margin = seconds * 1000 * MARGIN
    found = load_raw.rate(guest.between(start + margin, end - margin))
    if found is None:
        raise RawError(f"{raw.path('turns')}: too few reports in turn {number} of {backend}, {arm} "
                       f"({start:.0f} to {end} ms): longer turns or shorter reports")
    return found


def _dirtyrates(raw, setting, backend, arm, turns):
    """The figures of `vmm dirtyrate` in the turns that had logging on."""
    reports = [raw.objects(f"{setting}.{backend}.{turn}.{arm}.json")[-1] for turn in turns] if arm != "off" else []
    figures = {}
    for key, unit in (("exits", "exits"), ("exits_per_dirtied_page", "exits/page"), ("faults_per_dirtied_page", "faults/page")):
        figures[key] = figure_of([report.get("cost", {}).get(key) for report in reports], unit)
    for key, unit in (("collect_ms", "ms"), ("rearm_ms", "ms")):
        figures[key] = figure_of([report.get("cost", {}).get(key, {}).get("median") for report in reports], unit)
    figures["pages_dirtied"] = figure_of([report.get("pages_dirtied") for report in reports], "pages")
    figures["intervals"] = figure_of([report.get("intervals") for report in reports], "count")
    figures["exits_per_s"] = figure_of([report["cost"]["exits"] * 1000 / report["measured_ms"] for report in reports
                                        if report.get("measured_ms") and report.get("cost", {}).get("exits") is not None],
                                       "exits/s")
    return figures


def _losses(scores, arm):
    """Percent of the score of the same turn with logging off."""
    return [100 * (off - score) / off for off, score in zip(scores["off"], scores[arm])] if arm != "off" else []


def _backend_rows(raw, setting, backend):
    guest = raw.guest(f"{setting}.{backend}.console")
    seconds = float(raw.setting("seconds"))
    turns = {arm: [turn for turn in raw.turns if turn[:2] == [setting, backend] and turn[3] == arm] for arm in ARMS}
    runs = int(raw.setting("runs"))
    if any(len(found) != runs for found in turns.values()):
        raise RawError(f"{raw.path('turns')}: {setting} {backend}: not {runs} turns of each arm")
    for found in turns.values():
        found.sort(key=lambda turn: int(turn[2]))
    scores = {arm: [_score(raw, guest, turn, seconds) for turn in found] for arm, found in turns.items()}
    status = raw.objects(f"{setting}.{backend}.json")[-1]
    unit = "requests/s" if "keys" in guest.ready else "visits/s"
    rows = []
    for arm in ARMS:
        row = raw.identity(setting, status, raw.setting("cmdline"))
        row |= {"arm": arm, "runs": runs, "seconds": seconds,
                "interval_s": float(raw.setting("interval")) if arm == "read" else None,
                "score": figure_of(scores[arm], unit), "loss_percent": figure_of(_losses(scores, arm), "%"),
                "scores": scores[arm], "losses": _losses(scores, arm)}
        rows.append(row | _dirtyrates(raw, setting, backend, arm, range(1, runs + 1)))
    return rows


def rows_of(directory):
    """The rows of a directory that monitor.sh wrote: one a setting, backend and arm."""
    raw = Raw(directory)
    return [row for setting in raw.names() for backend in raw.setting("dirty").split()
            for row in _backend_rows(raw, setting, backend)]


def _spread(figure, digits):
    if not figure:
        return "-"
    if figure["min"] == figure["max"]:
        return f"{figure['median']:,.{digits}f}"
    return f"{figure['median']:,.{digits}f} ({figure['min']:,.{digits}f}..{figure['max']:,.{digits}f})"


def _interval(rows):
    return next((row["interval_s"] for row in rows if row["interval_s"]), 0)


def show(rows):
    for setting in dict.fromkeys(row["setting"] for row in rows):
        mine = [row for row in rows if row["setting"] == setting]
        print(f"\n{load_raw.machine_line(mine[0])}\nguest: {mine[0]['guest_cpus']} vCPUs, {mine[0]['guest_mem']}, "
              f"{mine[0]['workload']}; {mine[0]['runs']} turns of {mine[0]['seconds']:g} s; medians (least..greatest)\n")
        table = []
        for row in mine:
            how = {"off": "off", "unread": "on, unread", "read": f"read every {_interval(mine):g} s"}[row["arm"]]
            table.append([row["backend"], how, _spread(row["score"], 0), _spread(row["loss_percent"], 2),
                          _spread(row["pages_dirtied"], 0), _spread(row["exits_per_dirtied_page"], 3),
                          _spread(row["faults_per_dirtied_page"], 3)])
        load_command.show_table(["backend", "dirty log", f"score, {mine[0]['score']['unit']}", "loss %", "pages found", "exits per page",
                                 "faults per page"], table, 2)


def show_published():
    source = published.MONITOR["source"]
    print(f"\npublished, not measured here: {source['title']} ({source['author']})\n{source['machine']}\n"
          f"{published.MONITOR['workload']}\n")
    table = []
    for guest in ("without graphics", "with graphics"):
        losses = published.monitor_losses(guest)
        for (arm, tracking), mean in published.monitor_scores(guest).items():
            how = {"off": "off", "unread": "unread", "read": "read every 1 s"}[arm]
            table.append([guest, tracking, how, f"{mean:,.0f}", f"{losses[arm, tracking]:.2f}"])
    load_command.show_table(["guest", "tracking", "dirty log", "score", "loss %"], table, 3)


def draw(rows, directory):
    """Loss by backend; the paths of the files."""
    import plot              # only here: matplotlib is slow to load, and a run without plots does without
    paths = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        mine = [row for row in rows if row["setting"] == setting]
        backends = list(dict.fromkeys(row["backend"] for row in mine))
        figures = [[next(row["loss_percent"] for row in mine if (row["backend"], row["arm"]) == (backend, arm))
                    for backend in backends] for arm in ARMS[1:]]
        path = os.path.join(directory, f"monitor-{setting}.svg")
        plot.bars(path, f"What the guest's score loses ({mine[0]['workload']}; {mine[0]['machine']}, {setting})", backends,
                  ["logging on, unread", f"read every {_interval(mine):g} s"],
                  [[figure["median"] for figure in line] for line in figures],
                  [[(figure["min"], figure["max"]) for figure in line] for line in figures], "loss, % of the score")
        paths.append(path)
    return paths


def _arguments():
    parser = argparse.ArgumentParser(prog="bench/monitor")
    load_command.add_options(parser, RUNS)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="mix", help="of the guest (mix)")
    parser.add_argument("--seconds", type=float, default=5, help="of a turn (5)")
    parser.add_argument("--interval", type=float, default=1, help="seconds between two reads of the log (1)")
    a = parser.parse_args()
    load_command.check(parser, a, RUNS)
    if a.interval <= 0 or a.seconds < a.interval:
        parser.error("--interval: more than 0 and at most --seconds")
    if a.quick:
        a.seconds, a.interval = 1, 0.25
    cmdline, mem = WORKLOADS[a.workload]
    a.cmdline = a.cmdline or (QUICK[a.workload] if a.quick or a.nested else cmdline)
    a.mem = a.mem or ("128M" if a.quick or a.nested else mem)
    return a


def run():
    a = _arguments()
    options = ["--cmdline", a.cmdline, "--seconds", f"{a.seconds:g}",
               "--interval", f"{a.interval:g}", "--report", str(round(a.seconds * REPORT_MS_PER_S))]
    directory = load_command.collect(a, "monitor.sh", options)
    try:
        rows = rows_of(directory)
    finally:
        load_command.release(a, directory)
    show(rows)
    if not a.quick:
        show_published()
    path = load_command.write_json(a, "monitor", rows, {"published": published.MONITOR})
    plots = draw(rows, a.svg) if a.svg else []
    spread = statistics.median(figure["max"] / figure["min"] for figure in (row["score"] for row in rows if row["arm"] == "off"))
    print(f"\nscores with logging off differ by a factor of {spread:.3f}; figures: {path}"
          + (f"; plots: {' '.join(plots)}" if plots else ""))
    return 0


if __name__ == "__main__":
    sys.exit(load_command.main("monitor", run))
