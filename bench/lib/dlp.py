# SPDX-License-Identifier: Apache-2.0
"""bench/dirty-log-perf: runs the measuring program, backends in turns, and shows its figures with the kernel test's words."""

import argparse
import json
import os
import subprocess
import sys

import dlp_rows
import facts
import published
import table
from process import BenchError
from report_model import figure_text

PROBE_TIMEOUT_S = 120
WARM_HOLD_MS = 2300

# Passed on to the program as they are: (flag, metavar or None for a switch, help).
FORWARDED = (
    ("-b", "SIZE", "bytes that each vCPU dirties (512M)"),
    ("-v", "N", "vCPUs (as many as the host has CPUs)"),
    ("-i", "N", "iterations with dirty logging on (5)"),
    ("-s", "TYPE", "backing: anonymous, anonymous_thp, anonymous_hugetlb, ..._2mb, ..._1gb (anonymous_thp)"),
    ("-w", "N", "percentage of accesses that write (100)"),
    ("-a", None, "random order"),
    ("-r", "SEED", "of the random numbers (1)"),
    ("-x", "N", "memory slots (1)"),
    ("-o", None, "vCPUs overlap"),
    ("-g", None, "without KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, and so without the backend manual"),
    ("-m", "MODE", "guest mode: PXXV48_4K"),
    ("-c", "LIST", "host CPUs of the vCPUs"),
)


def _arguments():
    p = argparse.ArgumentParser(prog="bench/dirty-log-perf",
                                description="What dirty tracking costs, by every backend of this host, in turns.")
    for flag, metavar, text in FORWARDED:
        if metavar:
            p.add_argument(flag, metavar=metavar, help=text)
        else:
            p.add_argument(flag, action="store_true", help=text)
    p.add_argument("-B", metavar="LIST", help="backends: bitmap, manual, ring, ring,entries=N, uffd (all that the host has)")
    p.add_argument("--dirty-accel", metavar="MODE", default="auto",
                   help="hardware beneath the backends (auto); on: those that have none do not run")
    p.add_argument("--runs", type=int, help="of each backend (5)")
    p.add_argument("--quick", action="store_true", help="2 runs of 64M and 3 iterations, unless asked for otherwise; no figures to keep")
    p.add_argument("--timeout", default="600", metavar="S", help="of one pass of the guest (600)")
    p.add_argument("--published", action="store_true", help="the combined log's own table beside ours")
    p.add_argument("--json", metavar="FILE", help="where everything is written (build/bench/dirty-log-perf.json; with --lines only where asked for)")
    p.add_argument("--svg", metavar="DIR", help="plots go there")
    p.add_argument("--lines", metavar="FILE", help="show lines that dirty-log-perf --json-lines printed elsewhere; nothing is measured")
    for name in ("--program", "--vmm", "--warm", "--out"):
        p.add_argument(name, required=True, help=argparse.SUPPRESS)
    a = p.parse_args()
    defaults = {"b": "64M" if a.quick else "512M", "i": "3" if a.quick else "5", "s": "anonymous_thp",
                "v": str(os.cpu_count()), "runs": 2 if a.quick else 5}
    for key, value in defaults.items():
        if getattr(a, key) is None:
            setattr(a, key, value)
    if a.runs < 1:
        p.error("--runs: at least 1")
    if not a.lines:
        a.json = a.json or os.path.join(a.out, "dirty-log-perf.json")
    return a


def _forwarded(a):
    words = ["--timeout", a.timeout, "--dirty-accel", a.dirty_accel]
    for flag, metavar, _ in FORWARDED:
        value = getattr(a, flag[1:])
        if not value:
            continue
        words += [flag, value] if metavar else [flag]
    return words


def _run(argv, timeout_s):
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BenchError(f"{argv[0]}: {e}") from e
    if done.returncode:
        raise BenchError(done.stderr.strip().split("\n")[-1].removeprefix("dirty-log-perf: ")
                         or f"{argv[0]}: exit status {done.returncode}")
    return done.stdout.splitlines()


def _backends(a):
    """The names to run and {name: reason} of those that this host lacks; a small run of each finds out, and checks the options."""
    small = ["-b", "2M", "-i", "1", "-v", "1", "--json-lines", "--dirty-accel", a.dirty_accel]
    small += ["-g"] if a.g else []
    small += ["-B", a.B] if a.B else []
    lines = _run([a.program, *small], PROBE_TIMEOUT_S)
    runs = dlp_rows.runs_of_lines(lines)
    skipped = dlp_rows.skipped_of_lines(lines)
    # The line names the backend alone; a ring's size is in what was asked for.
    asked = a.B.replace(",entries", "\0entries").split(",") if a.B else [run["backend"] for run in runs]
    return [name.replace("\0", ",") for name in asked if name not in skipped], skipped


def _bytes(a):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    text = a.b.upper().removesuffix("B").removesuffix("I")
    try:
        return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)
    except ValueError:
        return 0


def _warm(a):
    """Memory that a host below has taken back costs ten times as much to touch: done ahead, it is in no figure."""
    total = _bytes(a) * int(a.v) if a.v.isdigit() else 0
    if total:
        _run([a.warm, str(total), "0" if a.quick else str(WARM_HOLD_MS)], 600)


def measure(a):
    """(lines of all runs, {backend: why not}, load at each run)."""
    names, skipped = _backends(a)
    lines, loads = [], []
    timeout_s = (int(a.i) + 3) * int(a.timeout) + 60 if a.i.isdigit() and a.timeout.isdigit() else 3600
    for turn in range(a.runs):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            _warm(a)
            loads.append(os.getloadavg()[0])
            lines += _run([a.program, *_forwarded(a), "-B", name, "--json-lines"], timeout_s)
            print(f"turn {turn + 1} of {a.runs}: {name}", file=sys.stderr, flush=True)
    return lines, skipped, loads


# ---- what people see ----

def _label(row):
    ring = f" of {row['ring_entries']}" if row["ring_entries"] else ""
    return row["backend"] + ring + (f" ({row['accel']})" if row["accel"] != "none" else "")


def _tables(rows):
    """One table for each workload and host."""
    groups = {}
    for row in rows:
        groups.setdefault((row["workload"], row["machine"], row["kernel"], row["kvm_module"]), []).append(row)
    return groups.items()


def _phase_table(rows):
    cells = [["", *(_label(row) for row in rows)]]
    for figure, words in dlp_rows.PHASES:
        cells.append([words, *(figure_text(row[figure]) for row in rows)])
    cells.append(["exits per dirtied page", *(figure_text(row["exits_per_dirtied_page"]) for row in rows)])
    cells.append(["exits per dirtied page, iteration 1", *(figure_text(row["exits_per_dirtied_page_first"]) for row in rows)])
    cells.append(["guest's cost of a dirtied page", *(figure_text(row["guest_cost_per_dirtied_page"]) for row in rows)])
    cells.append(["times as slow as without logging", *(figure_text(row["slowdown"]) for row in rows)])
    cells.append(["pages an iteration: written", *(figure_text(row["pages_written"]) for row in rows)])
    cells.append(["  found by the log", *(figure_text(row["pages_found"]) for row in rows)])
    cells.append(["  of the guest's own", *(figure_text(row["setup_pages_found"]) for row in rows)])
    cells.append(["missed / not written, all runs", *(f"{row['pages_missed']} / {row['pages_extra']}" for row in rows)])
    return table.draw(cells)


def _call_table(rows):
    cells = [["call, per GiB of memory and pass over it", "in", *(_label(row) for row in rows)]]
    for name, phase in dict.fromkeys((c["call"], c["phase"]) for row in rows for c in row["calls"]):
        figures = [next((c["ns_per_gib"] for c in row["calls"] if (c["call"], c["phase"]) == (name, phase)), None) for row in rows]
        cells.append([name, phase, *(figure_text(figure) for figure in figures)])
    return table.draw(cells)


def _published_table(rows):
    document = published.DIRTY_LOG_PERF
    source = document["source"]
    keys = {words: figure for figure, words in dlp_rows.PHASES}
    cells = [["seconds", f"{source['software']} *", f"{source['hardware']} *", *(_label(row) for row in rows)]]
    for line in document["rows"]:
        ours = [row[keys[line["phase"]]] for row in rows]
        cells.append([line["phase"], str(line["software"]), str(line["hardware"]),
                      *(f"{figure['median']:.5f}" if figure else "-" for figure in ours)])
    return (f"{table.draw(cells)}\n  * published, not measured here: {source['title']} ({source['author']}),\n"
            f"    {document['workload']}, {source['machine']}")


def show(rows, skipped, with_published):
    for (workload, machine, kernel, module), group in _tables(rows):
        print(f"\n{workload}\non {machine}, Linux {kernel}, {module}; medians (least–greatest) of "
              f"{max(row['runs'] for row in group)} runs\n")
        for row in group:
            print(f"  {_label(row)}: accelerator asked {row['accel_asked']}, in force {row['accel']}: {row['accel_reason']}"
                  + (f"; no exits: {row['no_counters']}" if row["no_counters"] else ""))
        print(f"\n{_phase_table(group)}\n\n{_call_table(group)}")
        if with_published:
            print(f"\n{_published_table(group)}")
    for name, why in skipped.items():
        print(f"\n{name} did not run: {why}")


def _ends(figure, scale=1):
    return (figure["min"] * scale, figure["max"] * scale) if figure else None


def _median(figure, scale=1):
    return figure["median"] * scale if figure else None


def draw_plots(rows, directory):
    """Needs matplotlib, so only whoever asks for plots does."""
    import plot  # pylint: disable=import-outside-toplevel
    left_out = ("populate_memory", "dirty_memory_first", "dirty_memory_later")
    phases = [(figure, words) for figure, words in dlp_rows.PHASES if figure not in left_out]
    exits = (("exits_per_dirtied_page_first", "iteration 1"), ("exits_per_dirtied_page", "later iterations"))
    for number, ((workload, machine, kernel, module), group) in enumerate(_tables(rows)):
        suffix = f"-{number + 1}" if number else ""
        where = f"{workload}; {machine}, Linux {kernel}, {module}"
        series = [_label(row) for row in group]
        plot.bars(os.path.join(directory, f"dirty-log-perf{suffix}.svg"), f"Phases of {where}",
                  [words.removesuffix(" time") for _, words in phases], series,
                  [[_median(row[figure], 1e3) for figure, _ in phases] for row in group],
                  [[_ends(row[figure], 1e3) for figure, _ in phases] for row in group], "milliseconds (log)", log=True)
        if any(row[figure] for row in group for figure, _ in exits):
            plot.bars(os.path.join(directory, f"dirty-log-perf-exits{suffix}.svg"), f"Exits per dirtied page: {where}",
                      [words for _, words in exits], series,
                      [[_median(row[figure]) for figure, _ in exits] for row in group],
                      [[_ends(row[figure]) for figure, _ in exits] for row in group], "exits per dirtied page (log)", log=True)


def _write_json(path, document):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(document, f, indent=1)
        f.write("\n")


def main():
    a = _arguments()
    loads = []
    host = facts.collect(a.vmm)
    if not a.lines and host["load_at_start"][0] > 0.5:
        print(f"dirty-log-perf: the machine is not quiet (load {host['load_at_start'][0]:.1f}): times will be off",
              file=sys.stderr)
    try:
        if a.lines:
            with open(a.lines, encoding="utf-8", errors="replace") as f:
                lines = f.readlines()
            skipped = dlp_rows.skipped_of_lines(lines)
        else:
            lines, skipped, loads = measure(a)
        rows = dlp_rows.rows_from_lines(lines)
    except dlp_rows.BadLine as e:
        raise BenchError(f"{a.lines or a.program}: {e}") from e
    except OSError as e:
        raise BenchError(str(e)) from e
    if not rows:
        raise BenchError(f"{a.lines}: no line of dirty-log-perf's" if a.lines else "no backend ran")
    document = {"bench": "dirty-log-perf", "host": host if not a.lines else None, "loads": loads, "rows": rows,
                "skipped": skipped, "runs": dlp_rows.runs_of_lines(lines)}
    if a.json:
        _write_json(a.json, document)
    show(rows, skipped, a.published)
    if a.svg:
        draw_plots(rows, a.svg)
    places = [f"all of it: {a.json}"] if a.json else []
    places += [f"plots in {a.svg}"] if a.svg else []
    print("\n" + "; ".join(places) if places else "")
    return 1 if any(row["pages_missed"] for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as e:
        print(f"dirty-log-perf: {e}", file=sys.stderr)
        sys.exit(1)
