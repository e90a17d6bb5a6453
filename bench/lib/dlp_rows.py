# SPDX-License-Identifier: Apache-2.0
"""
What dirty-log-perf printed, line by line, as rows of figures: bench/dirty-log-perf uses it on its own runs, and whoever captured such
lines on another host (an emulated one, say) on those. A line is one run of one backend, a row all runs of one configuration.
"""

import json

from report_model import figure_of

BENCH = "dirty-log-perf"
VERSION = 1
NS_PER_S = 1e9
GIB = 1 << 30

# The kernel test's words, in its order; the second one is ours.
PHASES = (
    ("populate_memory", "populate memory time"),
    ("unlogged_memory", "dirty memory time without logging"),
    ("enable_dirty_logging", "enabling dirty logging time"),
    ("dirty_memory", "dirty memory time"),
    ("dirty_memory_first", "dirty memory time, iteration 1"),
    ("dirty_memory_later", "dirty memory time, later iterations"),
    ("get_dirty_log", "get dirty log time"),
    ("clear_dirty_log", "clear dirty log time"),
    ("disable_dirty_logging", "disabling dirty logging time"),
)

OPTIONS = {"bytes_per_vcpu": int, "vcpus": int, "iterations": int, "backing": str, "write_percent": int, "random": bool,
           "slots": int, "overlap": bool, "seed": int, "mode": str}
WORDS = ("backend", "accel_asked", "accel", "accel_reason", "machine", "kernel", "kvm_module")
LINE_TIMES = ("populate_memory_ns", "unlogged_memory_ns", "enable_dirty_logging_ns", "disable_dirty_logging_ns")
ITERATION_COUNTS = ("dirty_memory_ns", "get_dirty_log_ns", "pages_written", "pages_found", "pages_missed", "pages_extra",
                    "setup_pages_found")


class BadLine(ValueError):
    """A line that begins as one of dirty-log-perf's and is none."""


def _count(where, found, key):
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadLine(f"{where}: {key}: expected a count, found {value!r}")


def _check(where, run):
    if run.get("version") != VERSION:
        raise BadLine(f"{where}: version: expected {VERSION}, found {run.get('version')!r}")
    for key in WORDS:
        if not isinstance(run.get(key), str):
            raise BadLine(f"{where}: {key}: expected text, found {run.get(key)!r}")
    if "skipped" in run:
        if not isinstance(run["skipped"], str):
            raise BadLine(f"{where}: skipped: expected the reason")
        return
    options = run.get("options")
    for key, kind in OPTIONS.items():
        if not isinstance(options, dict) or type(options.get(key)) is not kind:
            raise BadLine(f"{where}: options.{key}: expected {kind.__name__}")
    for key in LINE_TIMES:
        _count(where, run, key)
    if not isinstance(run.get("iterations"), list) or not run["iterations"] or not isinstance(run.get("calls"), list):
        raise BadLine(f"{where}: expected iterations and calls")
    for at, iteration in enumerate(run["iterations"]):
        if not isinstance(iteration, dict):
            raise BadLine(f"{where}: iteration {at + 1} is none")
        for key in ITERATION_COUNTS:
            _count(f"{where}: iteration {at + 1}", iteration, key)
    for call in run["calls"]:
        if not isinstance(call, dict) or not all(isinstance(call.get(key), str) for key in ("call", "phase")):
            raise BadLine(f"{where}: calls: expected the names of call and phase")
        _count(f"{where}: {call['call']}", call, "count")
        if not isinstance(call.get("ns_per_gib"), (int, float)):
            raise BadLine(f"{where}: {call['call']}: ns_per_gib: expected a number")


def runs_of_lines(lines):
    """
    The runs, in their order. What is not dirty-log-perf's is passed over, whatever stands before the object on a line too: captured
    consoles have other text. BadLine for a line of its that is broken off or lacks something.
    """
    runs = []
    for number, line in enumerate(lines, 1):
        at = line.find(f'{{"bench":"{BENCH}"')
        if at < 0:
            continue
        where = f"line {number}"
        try:
            run = json.loads(line[at:].strip())
        except ValueError as e:
            raise BadLine(f"{where}: {e}") from e
        _check(where, run)
        runs.append(run)
    return runs


def workload(options):
    """The command line that anybody can repeat."""
    size = options["bytes_per_vcpu"]
    text = next(f"{size // unit}{name}" for unit, name in ((GIB, "G"), (1 << 20, "M"), (1 << 10, "K"), (1, ""))
                if size % unit == 0)
    words = ["-b", text, "-v", options["vcpus"], "-i", options["iterations"], "-s", options["backing"],
             "-w", options["write_percent"]]
    words += ["-x", options["slots"]] if options["slots"] > 1 else []
    words += ["-a"] if options["random"] else []
    words += ["-o"] if options["overlap"] else []
    return f"{BENCH} " + " ".join(str(word) for word in words)


def _mean(values):
    found = [v for v in values if v is not None]
    return sum(found) / len(found) if found else None


def _later(run):
    """The iterations in which every page had been rearmed: the first one is cheap where nothing is protected at the start."""
    return run["iterations"][1:]


def _ratio(iterations, key):
    if not iterations or any(key not in it for it in iterations):
        return None
    written = sum(it["pages_written"] for it in iterations)
    return sum(it[key] for it in iterations) / written if written else None


def _seconds(run, figure):
    if figure == "dirty_memory_first":
        return run["iterations"][0]["dirty_memory_ns"] / NS_PER_S
    if figure == "dirty_memory_later":
        value = _mean(it["dirty_memory_ns"] for it in _later(run))
    elif figure in ("dirty_memory", "get_dirty_log", "clear_dirty_log"):
        value = _mean(it.get(f"{figure}_ns") for it in run["iterations"])
    else:
        value = run[f"{figure}_ns"]
    return None if value is None else value / NS_PER_S


def _cost_per_page(run):
    """What logging adds to a guest's write of a rearmed page, in nanoseconds of a CPU: the rest of the pass costs the same without."""
    later = _later(run)
    written = sum(it["pages_written"] for it in later)
    if not written:
        return None
    busy = min(run["options"]["vcpus"], run.get("cpus") or 1)
    added = sum(it["dirty_memory_ns"] for it in later) - run["unlogged_memory_ns"] * len(later)
    return added * busy / written


def _slowdown(run):
    later = _mean(it["dirty_memory_ns"] for it in _later(run))
    return later / run["unlogged_memory_ns"] if later and run["unlogged_memory_ns"] else None


def _calls(runs):
    names = dict.fromkeys((call["call"], call["phase"]) for run in runs for call in run["calls"])
    rows = []
    for name, phase in names:
        found = [call for run in runs for call in run["calls"] if (call["call"], call["phase"]) == (name, phase)]
        rows.append({"call": name, "phase": phase, "count": figure_of([c["count"] for c in found], "count"),
                     "ns_per_gib": figure_of([c["ns_per_gib"] for c in found], "ns/GiB")})
    return rows


def _row(runs, facts):
    first = runs[0]
    row = {"bench": BENCH} | {key: first[key] for key in WORDS}
    row |= {"machine": f"{first['cpus']} x {first['machine']}" if first.get("cpus") else first["machine"]}
    row |= facts
    row |= {"workload": workload(first["options"]), "options": first["options"], "ring_entries": first.get("ring_entries"),
            "runs": len(runs)}
    for figure, _ in PHASES:
        row[figure] = figure_of([_seconds(run, figure) for run in runs], "s")
    row["exits_per_dirtied_page"] = figure_of([_ratio(_later(run), "exits") for run in runs], "ratio")
    row["faults_per_dirtied_page"] = figure_of([_ratio(_later(run), "page_faults") for run in runs], "ratio")
    row["exits_per_dirtied_page_first"] = figure_of([_ratio(run["iterations"][:1], "exits") for run in runs], "ratio")
    row["guest_cost_per_dirtied_page"] = figure_of([_cost_per_page(run) for run in runs], "ns")
    row["slowdown"] = figure_of([_slowdown(run) for run in runs], "ratio")
    for key in ("pages_written", "pages_found", "setup_pages_found"):
        row[key] = figure_of([it[key] for run in runs for it in _later(run) or run["iterations"]], "pages")
    # Of all iterations of all runs. The first log of some backends names every page, and its reader expects it.
    row["pages_missed"] = sum(it["pages_missed"] for run in runs for it in run["iterations"])
    row["pages_extra"] = sum(it["pages_extra"] for run in runs
                             for it in run["iterations"][1 if run.get("starts_full") else 0:])
    row["ring_full_exits"] = figure_of([run.get("ring_full_exits") for run in runs], "count")
    row["no_counters"] = first.get("no_counters")
    row["calls"] = _calls(runs)
    return row


def rows_from_lines(lines, facts=None):
    """
    One row for each configuration (backend, accelerator, options) of the lines, in the order of their first appearance; backends that a host
    lacks have none. @facts go into each row and override what the lines say of their host: {"machine": "Bochs ..."} where the processor
    calls itself something better.
    """
    groups = {}
    for run in runs_of_lines(lines):
        if "skipped" in run:
            continue
        key = json.dumps([run["backend"], run["accel_asked"], run["accel"], run["machine"], run["kernel"], run["kvm_module"],
                          run.get("ring_entries"), run["options"]], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return [_row(runs, facts or {}) for runs in groups.values()]


def skipped_of_lines(lines):
    """{backend: reason} of those that a host lacks."""
    return {run["backend"]: run["skipped"] for run in runs_of_lines(lines) if "skipped" in run}
