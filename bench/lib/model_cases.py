# SPDX-License-Identifier: Apache-2.0
"""The configurations that bench/model measures: some to calibrate its costs on, the others to be predicted."""

import subprocess
import sys

import dlp_rows
from process import BenchError
from report_model import figure_of

MIB = 1 << 20
PAGE_BYTES = 4096
CHUNK_PAGES = 1 << 30        # dirty-log-perf rearms a slot with one call
ACCEL = {"none": "none", "intel-pml": "pml", "amd-pml": "pml"}


def case(mib, vcpus=1, iterations=3, write=100, random=False, slots=1):
    return {"bytes_per_vcpu": mib * MIB, "vcpus": vcpus, "iterations": iterations, "write_percent": write, "random": random,
            "slots": slots}


CALIBRATION = (case(16), case(64), case(64, write=10), case(64, random=True), case(64, vcpus=2))
CHECKS = (case(32), case(128), case(256, iterations=2), case(64, iterations=6), case(64, write=50), case(128, write=25),
          case(32, random=True), case(64, write=50, random=True), case(128, random=True), case(32, vcpus=2),
          case(64, vcpus=2, write=50), case(64, vcpus=2, random=True), case(64, slots=4))
QUICK_CALIBRATION = (case(4), case(16), case(16, write=10), case(16, random=True), case(16, vcpus=2))
QUICK_CHECKS = (case(8), case(16, write=50), case(8, random=True), case(8, vcpus=2))


def key(options):
    return tuple(options[name] for name in ("bytes_per_vcpu", "vcpus", "iterations", "write_percent", "random", "slots"))


def _argv(program, options, backend):
    words = [program, "-b", str(options["bytes_per_vcpu"]), "-v", str(options["vcpus"]), "-i", str(options["iterations"]),
             "-w", str(options["write_percent"]), "-x", str(options["slots"]), "-s", "anonymous", "-B", backend, "--json-lines"]
    return words + (["-a"] if options["random"] else [])


def _run(argv, timeout_s):
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BenchError(f"{argv[0]}: {e}") from e
    if done.returncode:
        raise BenchError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.splitlines()


def backends_of(program):
    """Those that this host has."""
    lines = _run([program, "-b", "2M", "-i", "1", "-v", "1", "-s", "anonymous", "--json-lines"], 120)
    return [run["backend"] for run in dlp_rows.runs_of_lines(lines) if "skipped" not in run]


def measure(program, cases, runs):
    """Lines of dirty-log-perf: cases and backends in turns, each turn beginning with another one."""
    backends = backends_of(program)
    lines = []
    for turn in range(runs):
        first = turn % len(cases)
        for options in cases[first:] + cases[:first]:
            at = turn % len(backends)
            for backend in backends[at:] + backends[:at]:
                lines += _run(_argv(program, options, backend), 300)
        print(f"turn {turn + 1} of {runs}", file=sys.stderr, flush=True)
    return lines


# ---- what was measured, in the model's words ----

def _run_figures(run):
    later = run["iterations"][1:] or run["iterations"]

    def mean(name):
        values = [it.get(name) for it in later]
        return None if any(v is None for v in values) else sum(values) / len(values)

    return {
        "unlogged_ns": run["unlogged_memory_ns"], "enable_ns": run["enable_dirty_logging_ns"],
        "dirty_first_ns": run["iterations"][0]["dirty_memory_ns"], "dirty_later_ns": mean("dirty_memory_ns"),
        "get_ns": mean("get_dirty_log_ns"), "clear_ns": mean("clear_dirty_log_ns"),
        "disable_ns": run["disable_dirty_logging_ns"], "exits": mean("exits"), "pages_written": mean("pages_written"),
    }


class Configuration:
    """All runs of one backend with the same options on one host."""

    def __init__(self, runs):
        first = runs[0]
        self.runs = runs
        self.options = first["options"]
        self.backend = first["backend"]
        self.accel = ACCEL.get(first["accel"])
        self.host = {name: first[name] for name in ("machine", "kernel", "kvm_module", "accel_asked", "accel", "accel_reason")}
        self.workload = dlp_rows.workload(self.options)
        found = [_run_figures(run) for run in runs]
        self.figures = {name: figure_of([f[name] for f in found], "ns" if name.endswith("_ns") else "count") for name in found[0]}
        self.median = {name: figure and figure["median"] for name, figure in self.figures.items()}

    def scenario(self):
        o = self.options
        return {"backend": self.backend, "accel": self.accel, "vcpus": o["vcpus"], "pages_per_vcpu": o["bytes_per_vcpu"] // PAGE_BYTES,
                "slots": o["slots"], "overlap": o["overlap"], "iterations": o["iterations"], "clear_chunk_pages": CHUNK_PAGES,
                "pattern": {"kind": "random" if o["random"] else "sequential", "write_percent": o["write_percent"], "seed": o["seed"]}}


def configurations_of(lines):
    """Only what the model has a mechanism for: an accelerator that it does not know is left out, and said so by its caller."""
    groups = {}
    for run in dlp_rows.runs_of_lines(lines):
        if "skipped" not in run:
            groups.setdefault((run["machine"], run["backend"], run["accel"], str(sorted(run["options"].items()))), []).append(run)
    return [Configuration(runs) for runs in groups.values()]


def calibrates(configurations, known):
    """
    Which of one mechanism's configurations its costs come from. Of those that bench/model measures itself the ones in KNOWN; of lines from
    elsewhere the smallest and the greatest plain ones, the one with the fewest writes, the greatest random one and the greatest plain one of two vCPUs.
    """
    keys = {key(options) for options in known}
    named = [c for c in configurations if key(c.options) in keys]
    if len(named) == len(keys):
        return named

    def pick(vcpus, random, full, best):
        found = [c for c in configurations if c.options["vcpus"] == vcpus and c.options["random"] == random
                 and (c.options["write_percent"] == 100) == full and not c.options["overlap"]]
        return [best(found, key=lambda c: (c.options["bytes_per_vcpu"], -c.options["write_percent"]))] if found else []

    picked = (pick(1, False, True, min) + pick(1, False, True, max) + pick(1, False, False, max) + pick(1, True, True, max)
              + pick(2, False, True, max))
    return list(dict.fromkeys(picked))
