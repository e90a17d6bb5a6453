# SPDX-License-Identifier: Apache-2.0
"""bench/migrate-load: what a migration costs a guest that serves requests meanwhile."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

import load_command
import load_raw
import published
from load_raw import Raw, RawError
from process import BenchError
from report_model import figure_of

RUNS = 5
NONE = "none"
SETTLE_MS = 500          # behind the migration: what it costs its guest still
WARM_INTERVALS = 2       # the first ones are not steady yet
WORKLOAD = ("kv=SET keys=100k value=256 clients=50 requests=20000000 fill=sparse fillsize=512M", "1G")
QUICK = ("kv=SET keys=10k value=256 clients=50 rate=500000 requests=1500000 fill=sparse fillsize=32M", "128M")
NESTED = ("kv=SET keys=20k value=256 requests=600000 fill=sparse fillsize=16M", "64M")
FIGURES = (("completion_s", "s"), ("requests_per_s", "requests/s"), ("requests_per_s_before", "requests/s"),
           ("requests_per_s_during", "requests/s"), ("lost_requests", "requests"), ("guest_cost_ms", "ms"),
           ("guest_gap_ms", "ms"), ("total_ms", "ms"), ("downtime_ms", "ms"), ("bytes_sent", "bytes"), ("rounds", "count"),
           ("exits_per_dirtied_page", "exits/page"))


class Run:
    """One guest, from its start to its verdict."""

    def __init__(self, raw, words):
        self.setting, self.turn, self.arm = words[0], int(words[1]), words[2]
        self.start_ms, self.source_reports = int(words[3]), int(words[4])
        self.name = f"{self.setting}.{self.turn}.{self.arm}"
        self.guest = raw.guest(f"{self.name}.console")
        self.status = raw.objects(f"{self.name}.status.json")[-1]
        self.moved = self.arm != NONE
        self.report = raw.objects(f"{self.name}.json")[-1] if self.moved else {}
        self._check(raw)
        self.figures = self._figures()

    def _check(self, raw):
        path = raw.path(f"{self.name}.console")
        if self.guest.done is None or not self.guest.verified:
            raise RawError(f"{path}: the guest did not say how the load ended")
        if len(self.guest.sums) != (int(raw.setting("moves")) if self.moved else 1):
            raise RawError(f"{path}: {len(self.guest.sums)} checksums of the memory")
        if self.moved and self.report.get("result") != "completed":
            raise RawError(f"{raw.path(self.name)}.json: the migration is {self.report.get('result')}")

    def serving(self):
        """The reports while the load was on."""
        return [sample for sample in self.guest.samples if sample.t_ms <= self.guest.done["t_ms"]]

    def steady(self):
        """Requests a second before the migration: the median of the intervals between reports."""
        before = [value for at, _, value in load_raw.rates(self.serving()) if at < self.start_ms][WARM_INTERVALS:]
        if len(before) < 3:
            raise RawError(f"{self.name}: too few reports before the migration: a longer lead")
        return statistics.median(before)

    def window(self):
        """The migration by the guest's clock: last report before the command, first one from the destination."""
        samples = self.guest.samples
        if self.source_reports >= len(samples):
            raise RawError(f"{self.name}: no report from the destination: more requests")
        return self.start_ms, samples[self.source_reports].t_ms

    def _lost(self, steady):
        """The area between the steady and the actual rate, from the migration's begin until shortly after its end."""
        start, end = self.window()
        return sum((steady - value) * length / 1000 for at, length, value in load_raw.rates(self.serving())
                   if start <= at <= end + SETTLE_MS)

    def _figures(self):
        done = self.guest.done
        found = {"completion_s": done["elapsed_us"] / 1e6, "requests_per_s": done["per_s"],
                 "requests_per_s_before": self.steady()}
        if not self.moved:
            return found | {"guest_gap_ms": self._gap_ms()}
        start, end = self.window()
        lost = self._lost(found["requests_per_s_before"])
        found |= {key: self.report.get(key) for key in ("total_ms", "downtime_ms", "bytes_sent", "rounds",
                                                        "exits_per_dirtied_page")}
        return found | {"requests_per_s_during": load_raw.rate(self.guest.between(start, end)),
                        "lost_requests": lost, "guest_cost_ms": lost * 1000 / found["requests_per_s_before"],
                        "guest_gap_ms": self._gap_ms()}

    def _gap_ms(self):
        """None where the guest does not see its gaps."""
        return self.guest.done["maxgap_us"] / 1000 if "maxgap_us" in self.guest.done else None

    def points(self):
        """(seconds since the migration began, requests a second)"""
        return [((at - self.start_ms) / 1000, value) for at, _, value in load_raw.rates(self.serving())]


def _check_sums(runs):
    """
    Every run of the same requests has to leave the same memory, whether it moved or not, and the second move, with the load over,
    has to leave it as it was. Raises RawError; how many sums were compared.
    """
    sums = {}
    for run in runs:
        for place, value in enumerate(run.guest.sums):
            sums.setdefault(value, []).append(f"{run.name}{' after the second move' if place else ''}")
    if len(sums) > 1:
        told = "; ".join(f"{value}: {', '.join(names[:3])}" for value, names in sums.items())
        raise RawError(f"THE GUEST'S MEMORY IS WRONG: its checksums differ: {told}")
    return sum(len(names) for names in sums.values())


def _row(raw, setting, arm, runs):
    row = raw.identity(setting, runs[0].status, raw.setting("cmdline"))
    row |= {"arm": arm, "runs": len(runs), "requests": runs[0].guest.done["requests"], "options": raw.settings["options"].strip(),
            "checksums": sum(len(run.guest.sums) for run in runs), "checksum": runs[0].guest.sums[0]}
    if arm == NONE:
        row["backend"] = NONE
    for key, unit in FIGURES:
        row[key] = figure_of([run.figures.get(key) for run in runs], unit)
    return row


def rows_of(directory):
    """The rows of a directory that migrate-load.sh wrote, one a setting and arm, and its runs."""
    raw = Raw(directory)
    runs = [Run(raw, words) for words in raw.turns]
    arms = [NONE] + raw.setting("dirty").split()
    rows = []
    for setting in raw.names():
        mine = [run for run in runs if run.setting == setting]
        _check_sums(mine)
        base = {run.turn: run.figures["completion_s"] for run in mine if run.arm == NONE}
        for arm in arms:
            found = [run for run in mine if run.arm == arm]
            if len(found) != int(raw.setting("runs")):
                raise RawError(f"{raw.path('turns')}: {setting} {arm}: {len(found)} runs")
            row = _row(raw, setting, arm, found)
            row["completion_ratio"] = figure_of([run.figures["completion_s"] / base[run.turn] for run in found], "ratio")
            rows.append(row)
    return rows, runs


def _cell(figure, digits, scale=1):
    if not figure:
        return "-"
    median, least, greatest = (figure[key] / scale for key in ("median", "min", "max"))
    if figure["min"] == figure["max"]:
        return f"{median:,.{digits}f}"
    return f"{median:,.{digits}f} ({least:,.{digits}f}..{greatest:,.{digits}f})"


def show(rows):
    for setting in dict.fromkeys(row["setting"] for row in rows):
        mine = [row for row in rows if row["setting"] == setting]
        first = mine[-1]
        print(f"\n{load_raw.machine_line(mine[0])}\nguest: {first['guest_cpus']} vCPUs, {first['guest_mem']}, {first['workload']}; "
              f"{first['runs']} runs; medians (least..greatest)\n")
        load_command.show_table(
            ["migration", "completion s", "of that without", "requests/s before", "during", "guest cost ms", "total ms",
             "blackout ms", "guest gap ms", "exits per page"],
            [[row["backend"], _cell(row["completion_s"], 3), _cell(row["completion_ratio"], 3),
              _cell(row["requests_per_s_before"], 0), _cell(row["requests_per_s_during"], 0), _cell(row["guest_cost_ms"], 0),
              _cell(row["total_ms"], 0), _cell(row["downtime_ms"], 1), _cell(row["guest_gap_ms"], 1),
              _cell(row["exits_per_dirtied_page"], 4)] for row in mine])
        built_in = first["guest_system"] == load_raw.BUILT_IN
        print(f"\n{sum(row['checksums'] for row in mine)} checksums of {'all memory' if built_in else 'the data in redis'}, of guests "
              f"that {'moved under load, moved again without, or never' if built_in else 'moved under load, or never'}: "
              f"all {mine[0]['checksum']}")


def show_published():
    table = published.MIGRATE_LOAD
    print(f"\npublished, not measured here: {table['source']['title']} ({table['source']['author']})\n"
          f"{table['source']['machine']}\n{table['workload']}\n")
    load_command.show_table(["what", table["source"]["software"], table["source"]["hardware"]],
                            [[f"{row['what']}, {row['unit']}", row["software"], row["hardware"]] for row in table["rows"]])


def draw(rows, runs, directory):
    """Requests a second over time, the first turn; the paths of the files."""
    import plot              # only here: matplotlib is slow to load, and a run without plots does without
    paths = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        first = [run for run in runs if run.setting == setting and run.turn == 1]
        mine = next(row for row in rows if row["setting"] == setting and row["arm"] != NONE)
        path = os.path.join(directory, f"migrate-load-{setting}.svg")
        # The rest of the load is all alike.
        horizon = 2 * max((run.window()[1] - run.start_ms) / 1000 for run in first if run.moved) + 1
        series = [(run.arm if run.moved else "no migration", *zip(*(point for point in run.points() if point[0] <= horizon)))
                  for run in first]
        marks = [(0, "migration begins")] + [((run.window()[1] - run.start_ms) / 1000, f"{run.arm} has moved")
                                             for run in first if run.moved]
        plot.lines(path, f"A key-value store while it moves ({mine['workload']}; {mine['machine']}, {setting})", series,
                   "s since the migration began, by the guest's clock", "requests/s", marks=marks)
        paths.append(path)
    return paths


def _arguments():
    parser = argparse.ArgumentParser(prog="bench/migrate-load")
    load_command.add_options(parser, RUNS)
    parser.add_argument("--redis", action="store_true",
                        help="a Linux guest with redis and redis-benchmark, on the emulated AMD host")
    parser.add_argument("--requests", type=int, default=60000, help="with --redis (%(default)s)")
    parser.add_argument("--clients", type=int, default=10, help="with --redis (%(default)s)")
    parser.add_argument("--options", default="--compress none --on-timeout switch", help="of vmm migrate (%(default)s)")
    a = parser.parse_args()
    if a.redis:
        if a.nested not in (None, "svm") or a.cmdline or a.kvm:
            parser.error("--redis: runs on the emulated AMD host alone, with its own workload")
        a.nested = "svm"
    load_command.check(parser, a, 1 if a.redis else RUNS)
    cmdline, mem = NESTED if a.nested else QUICK if a.quick else WORKLOAD
    a.cmdline, a.mem = a.cmdline or cmdline, a.mem or ("256M" if a.redis else mem)
    return a


def _collect(a):
    """A directory with what a script wrote."""
    if not a.redis:
        return load_command.collect(a, "migrate-load.sh", ["--cmdline", a.cmdline, "--options", a.options,
                                                           "--report", "50" if a.quick else "100"])
    with tempfile.TemporaryDirectory(prefix="redis-") as images:
        if not a.given and subprocess.run(["bench/lib/load-redis-image", images], check=False).returncode:
            raise BenchError("the guest with redis could not be made (above)")
        options = ["--options", a.options, "--requests", str(a.requests), "--clients", str(a.clients)]
        return load_command.collect(a, "load-redis.sh", options, ["--mem", "3G", "--add", f"{images}/vmlinuz:/vmlinuz",
                                                                  "--add", f"{images}/redis.cpio:/redis.cpio"])


def run():
    a = _arguments()
    directory = _collect(a)
    try:
        rows, runs = rows_of(directory)
    finally:
        load_command.release(a, directory)
    show(rows)
    if not a.quick:
        show_published()
    timelines = [{"setting": run.setting, "turn": run.turn, "arm": run.arm, "points": run.points(),
                  "migrated_s": (run.window()[1] - run.start_ms) / 1000 if run.moved else None} for run in runs]
    path = load_command.write_json(a, "migrate-load", rows, {"published": published.MIGRATE_LOAD, "timelines": timelines})
    plots = draw(rows, runs, a.svg) if a.svg else []
    print(f"\nfigures: {path}" + (f"; plots: {' '.join(plots)}" if plots else ""))
    return 0


if __name__ == "__main__":
    sys.exit(load_command.main("migrate-load", run))
