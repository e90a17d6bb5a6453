# SPDX-License-Identifier: Apache-2.0
"""bench/vs-qemu: arguments, the turns, what is printed and written."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time

import aims
import cases
import extras
import facts
import guest
import process
import run
import stats
import table

MEMORY_RUNS = 3
ZIP_RUNS = 3             # they differ by far more than by chance


def _list(text):
    return [word for word in text.split(",") if word]


def _arguments():
    p = argparse.ArgumentParser(prog="bench/vs-qemu")
    p.add_argument("--runs", type=int, default=5, help="of each arm in each case (5)")
    p.add_argument("--quick", action="store_true", help="the same as --runs 2")
    p.add_argument("--cases", type=_list, help="a list with commas; a prefix such as ws64 takes all that begin so")
    p.add_argument("--arms", type=_list, help="a list with commas")
    p.add_argument("--json", default=None, help="where every run is written (build/bench/vs-qemu.json)")
    p.add_argument("--list", action="store_true", help="name the cases and arms")
    for name in ("--vmm", "--guest", "--helpers"):
        p.add_argument(name, required=True, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.quick:
        a.runs = 2
    if a.runs < 1:
        p.error("--runs: at least 1")
    known = cases.all_arms()
    for arm in a.arms or []:
        if arm not in known:
            p.error(f"no arm called {arm}; there are: {', '.join(known)}")
    a.json = a.json or os.path.join(a.helpers, "vs-qemu.json")
    return p, a


def _choose(parser, names):
    """The migrating cases and the names of the others."""
    every = cases.all_cases()
    if names is None:
        return every, list(cases.EXTRA_CASES)
    known = [case.name for case in every] + list(cases.EXTRA_CASES)
    picked = set()
    for name in names:
        found = [name] if name in known else [other for other in known if other.startswith(name)]
        if not found:
            parser.error(f"no case called {name}; --list names them")
        picked.update(found)
    return [case for case in every if case.name in picked], [name for name in cases.EXTRA_CASES if name in picked]


def _print_list():
    for case in cases.all_cases():
        print(f"{case.name:16} {case.title}\n{'':16}   {' '.join(case.arms)}")
    for name, title in cases.EXTRA_CASES.items():
        print(f"{name:16} {title}\n{'':16}   {' '.join(cases.EXTRA_ARMS)}")


class Bench:
    def __init__(self, arguments, tools):
        self.arguments = arguments
        self.tools = tools
        self.results = stats.Results()
        self.started = time.monotonic()
        self.vmm_bytes = {}      # what vmm sent in this turn of a case: as much as bare TCP has to send

    def _wanted(self, arms):
        return [arm for arm in arms if self.arguments.arms is None or arm in self.arguments.arms]

    def _one(self, case, arm, turn):
        load = os.getloadavg()[0]
        try:
            if arm.startswith("raw"):
                total = self.vmm_bytes.get(case.name) or case.mem
                record = run.raw_run(self.tools, case, total, arm == "raw-busy")
            else:
                record = run.vm_run(run.make_arm(arm, self.tools), case, self.tools)
        except process.RunError as e:
            record = {"result": "failed", "reason": str(e)}
        except guest.GuestBad as e:
            self.results.add(case.name, arm, turn, {"result": "corrupt", "reason": str(e), "load": load})
            raise
        if arm == "vmm":
            self.vmm_bytes[case.name] = record.get("bytes_sent") if record["result"] == "completed" else None
        self.results.add(case.name, arm, turn, record | {"load": load})
        self._say(case.name, arm, turn, record)

    def _say(self, case, arm, turn, record):
        if record["result"] == "completed":
            keys = ("external_ms", "downtime_ms", "guest_gap_ms", "cpu_s", "first_byte_ms", "anonymous_mb")
            text = " ".join(f"{key}={record[key]:.1f}" for key in keys if record.get(key) is not None)
        else:
            text = f"{record['result']}: {record.get('reason', 'did not end in time')}"
        print(f"[{time.monotonic() - self.started:5.0f} s] {case} turn {turn + 1} {arm}: {text}", file=sys.stderr,
              flush=True)

    def migrations(self, case):
        """Turn by turn, each turn beginning with another arm; bare TCP stays behind vmm, whose bytes it sends."""
        units = [[arm] for arm in self._wanted(case.arms) if not arm.startswith("raw")]
        raw = [arm for arm in self._wanted(case.arms) if arm.startswith("raw")]
        if raw:
            behind = next((unit for unit in units if unit == ["vmm"]), None)
            if behind is None:
                units.append(raw)
            else:
                behind.extend(raw)
        runs = min(self.arguments.runs, ZIP_RUNS) if case.group == "zip" else self.arguments.runs
        for turn in range(runs if units else 0):
            first = turn % len(units)
            for unit in units[first:] + units[:first]:
                for arm in unit:
                    self._one(case, arm, turn)

    def extra(self, name):
        runs = {"start": extras.START_RUNS, "memory": MEMORY_RUNS}[name]
        if self.arguments.quick:
            runs = 2
        arms = self._wanted(cases.EXTRA_ARMS)
        for turn in range(runs):
            for arm in arms:
                try:
                    record = extras.RUNNERS[name](arm, self.tools)
                except process.RunError as e:
                    record = {"result": "failed", "reason": str(e)}
                self.results.add(name, arm, turn, record)
                if name != "start" or record["result"] != "completed":
                    self._say(name, arm, turn, record)


def _write_json(path, host, bench, judged, complete):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"host": host, "complete": complete, "seconds": time.monotonic() - bench.started,
                   "aims": judged, "summary": bench.results.summary(), "runs": bench.results.runs}, f, indent=1)
        f.write("\n")


def _print_tables(host, bench, chosen, extra_names, judged):
    print(f"\n{host['vmm'] or 'vmm'} ({(host['commit'] or '?')[:12]}{', changed' if host['uncommitted_changes'] else ''}) and "
          f"{host['qemu']}\non {host['cpus']} x {host['cpu']}, Linux {host['kernel']}; medians (least-greatest)\n")
    parts = [table.case_table(case, bench.results) for case in chosen]
    parts += [table.extra_table(name, cases.EXTRA_CASES[name], bench.results, cases.EXTRA_ARMS)
              for name in extra_names]
    if judged:
        parts.append(table.aims_table(judged))
    print("\n\n".join(part for part in parts if part))


def _run_all(bench, chosen, extra_names):
    """True when every case was gone through; the reason why not, otherwise."""
    try:
        for name in extra_names:
            bench.extra(name)
        for case in chosen:
            bench.migrations(case)
    except guest.GuestBad as e:
        last = bench.results.runs[-1]
        return f"THE GUEST'S MEMORY IS WRONG in {last['case']}, turn {last['turn'] + 1}, {last['arm']}: {e}"
    except process.BenchError as e:
        return str(e)
    except KeyboardInterrupt:
        return "interrupted"
    return None


def main():
    parser, arguments = _arguments()
    if arguments.list:
        _print_list()
        return 0
    chosen, extra_names = _choose(parser, arguments.cases)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host = facts.collect(arguments.vmm, qemu=True)
    if host["load_at_start"][0] > 0.5:
        print(f"vs-qemu: the machine is not quiet (load {host['load_at_start'][0]:.1f}): figures will be off",
              file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="vs-qemu-") as scratch:
        bench = Bench(arguments, run.Tools(arguments.vmm, arguments.guest, arguments.helpers, scratch))
        try:
            stopped = _run_all(bench, chosen, extra_names)
        finally:
            process.end_all()
    judged = aims.judge(bench.results, chosen)
    _write_json(arguments.json, host, bench, judged, stopped is None)
    _print_tables(host, bench, chosen, extra_names, judged)
    failed = sum(r["result"] != "completed" for r in bench.results.runs)
    print(f"\n{len(bench.results.runs)} runs, {failed} failed; all of them: {arguments.json}")
    if stopped:
        print(f"vs-qemu: {stopped}", file=sys.stderr)
    return 1 if stopped or failed else 0


if __name__ == "__main__":
    sys.exit(main())
