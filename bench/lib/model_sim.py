# SPDX-License-Identifier: Apache-2.0
"""
The event model's program, and the costs that feed it: from a file, or worked out of what dirty-log-perf measured. Costs belong to one
host and are never mixed with another's.
"""

import json
import math
import subprocess

from process import BenchError

FORMAT = "vmm-dirty-costs-1"
SOURCES = ("measured", "assumed", "published")
TIMEOUT_S = 540
FIT_SWEEPS = 4000
RESOLUTION_NS = 20e3         # what a few system calls and a wake-up take: nothing shorter is worth fitting closely

# What can be told from passes of one vCPU. The lock's costs come from two vCPUs, get_page_ns of `manual` is nothing: reading copies words.
_COMMON = ("visit_ns", "visit_random_ns", "pass_ns", "enable_call_ns", "disable_call_ns", "disable_page_ns", "get_call_ns")
_FAULTS = ("fault_ns", "fault_random_ns")
_PML = ("log_ns", "full_ns")
_READ = ("get_word_ns", "get_page_ns", "get_random_ns")
_SPLIT = ("clear_call_ns", "clear_word_ns", "clear_page_ns", "clear_random_ns")
FREE = {
    "bitmap": _COMMON + _READ + ("enable_page_ns",),
    "manual": _COMMON + ("get_word_ns",) + _SPLIT,
    "ring": _COMMON + ("get_page_ns", "get_random_ns", "ring_full_ns", "enable_page_ns"),
    "uffd": _COMMON + _READ + ("read_fault_ns", "clear_call_ns", "clear_word_ns", "clear_page_ns", "clear_run_ns"),
}


def free_costs(backend, accel):
    return FREE[backend] + (_PML if accel == "pml" else _FAULTS)


def key_of(backend, accel):
    return backend if accel == "none" else f"{backend}+{accel}"


class Simulator:
    def __init__(self, program):
        self.program = program

    def run(self, scenarios, steps=False):
        """One result for each scenario, in their order."""
        argv = [self.program] + (["--steps"] if steps else []) + ["-"]
        try:
            done = subprocess.run(argv, input=json.dumps(scenarios), check=False, capture_output=True, text=True,
                                  timeout=TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise BenchError(f"{self.program}: {e}") from e
        if done.returncode:
            raise BenchError(done.stderr.strip() or f"{self.program}: exit status {done.returncode}")
        results = [json.loads(line) for line in done.stdout.splitlines()]
        if len(results) != len(scenarios) or any(r.get("kind") != "prediction" for r in results):
            raise BenchError(f"{self.program}: {len(results)} predictions for {len(scenarios)} scenarios")
        return results


# ---- cost files ----

def check_costs(document, where):
    """BenchError unless DOCUMENT is a cost file; the names of the costs themselves the model checks."""
    def need(condition, what):
        if not condition:
            raise BenchError(f"{where}: {what}")
    need(isinstance(document, dict) and document.get("format") == FORMAT, f"format: expected \"{FORMAT}\"")
    for key in ("host", "note"):
        need(isinstance(document.get(key), str) and document[key], f"{key}: expected text")
    need(document.get("source") in SOURCES, f"source: expected one of {', '.join(SOURCES)}")
    sets = document.get("sets")
    need(isinstance(sets, dict) and sets, "sets: expected costs by mechanism")
    for name, costs in sets.items():
        need(name.split("+")[0] in FREE, f"sets: {name}: no such backend")
        need(isinstance(costs, dict) and all(isinstance(v, (int, float)) and not isinstance(v, bool) and v >= 0 and math.isfinite(v)
                                             for v in costs.values()), f"sets: {name}: expected times in ns")
    return document


def load_costs(path):
    try:
        with open(path, encoding="utf-8") as f:
            return check_costs(json.load(f), path)
    except (OSError, ValueError) as e:
        raise BenchError(f"{path}: {e}") from e


# ---- fitting ----

def solve(rows, targets, ncolumns):
    """The x >= 0 with the least squares of rows * x - targets, by cyclic coordinate descent: few columns, no library."""
    columns = [[row[j] for row in rows] for j in range(ncolumns)]
    norms = [sum(v * v for v in column) for column in columns]
    x = [0.0] * ncolumns
    residual = list(targets)
    for _ in range(FIT_SWEEPS):
        moved = 0.0
        for j, column in enumerate(columns):
            if norms[j] == 0:
                continue
            step = max(-x[j], sum(a * b for a, b in zip(column, residual)) / norms[j])
            if step:
                x[j] += step
                residual = [r - step * a for r, a in zip(residual, column)]
                moved = max(moved, abs(step) * math.sqrt(norms[j]))
        if moved < 1e-9:
            break
    return x


def predicted_times(result, unlogged=None):
    """The figures of a configuration, in the words of model_cases.figures_of."""
    steps = result["steps"]
    later = steps[1:] or steps
    mean = lambda values: sum(values) / len(values)  # noqa: E731
    return {
        "enable_ns": result["enable_ns"],
        "unlogged_ns": unlogged["steps"][0]["dirty_ns"] if unlogged else None,
        "dirty_first_ns": steps[0]["dirty_ns"],
        "dirty_later_ns": mean([s["dirty_ns"] for s in later]),
        "get_ns": mean([s["get_ns"] for s in later]),
        "clear_ns": mean([s["clear_ns"] for s in later]),
        "disable_ns": result["disable_ns"],
        "exits": mean([s["counts"]["exits"] for s in later]),
        "pages_written": mean([s["found"] for s in later]),
    }


def unlogged_of(scenario):
    """The same pass without logging: to the model, the first one of a log that starts full."""
    return dict(scenario, backend="manual", accel="none", iterations=1)


def predict(simulator, scenarios):
    results = simulator.run([s for scenario in scenarios for s in (scenario, unlogged_of(scenario))], steps=True)
    return [predicted_times(a, b) for a, b in zip(results[::2], results[1::2])]


TIMES = ("unlogged_ns", "enable_ns", "dirty_first_ns", "dirty_later_ns", "get_ns", "clear_ns", "disable_ns")


def fit(simulator, backend, accel, configurations):
    """
    CONFIGURATIONS: (scenario without costs, measured figures), of one vCPU. The model is linear in its costs there, so what each cost
    counts for in each figure is what the model predicts when that cost is 1 ns and all others are nothing.
    """
    names = free_costs(backend, accel)
    scenarios = [dict(scenario, costs={name: 1}) for scenario, _ in configurations for name in names]
    found = predict(simulator, scenarios)
    rows, targets = [], []
    for at, (_, measured) in enumerate(configurations):
        units = found[at * len(names):(at + 1) * len(names)]
        for time in TIMES:
            value = measured.get(time)
            if value is None:
                continue
            scale = max(value, RESOLUTION_NS)
            rows.append([unit[time] / scale for unit in units])
            targets.append(value / scale)
    return dict(zip(names, solve(rows, targets, len(names))))


def add_lock(costs, alone, together):
    """
    What a second vCPU adds to a fault, from the same pass by one and by two (measured figures and pages a vCPU): as long as it is
    less than a fault, the lock's change of hands; beyond that nothing of a fault runs beside another one.
    """
    costs = dict(costs)
    excess = (together["dirty_later_ns"] - alone["dirty_later_ns"] -
              max(0, (together["unlogged_ns"] or 0) - (alone["unlogged_ns"] or 0))) / max(1, alone["pages_written"])
    fault = costs.get("fault_ns", 0)
    if excess <= fault:
        costs["lock_bounce_ns"] = max(0.0, excess)
    else:
        costs["fault_hold_ns"] = fault
        costs["lock_bounce_ns"] = (excess - fault) / 2
    return costs


def upper_lock(costs):
    """Two vCPUs do not tell how much of a fault is serial beyond what they felt: at worst all of it."""
    return dict(costs, fault_hold_ns=costs.get("fault_ns", 0))


def with_hardware(costs):
    """
    Costs of hardware that the host lacks, ASSUMED from its own software costs by these rules: an exit on a full buffer or an interrupt
    costs what a fault does; moving a buffer's entry on, arming or looking at an entry costs what rearming one does; hardware sets a bit in 20 ns.
    """
    entry = costs.get("clear_page_ns") or costs.get("get_page_ns") or 0
    fault = costs.get("fault_ns", 0)
    return dict(costs, log_ns=20, full_ns=fault, full_entry_ns=entry, arm_page_ns=entry, scan_page_ns=entry, kick_ns=fault)
