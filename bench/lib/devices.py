# SPDX-License-Identifier: Apache-2.0
"""bench/devices: arguments, the turns, what is printed and written."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time

import devices_nested
import devices_rings
import facts
import guest
import process
import stats
import table


def _list(text):
    return [word for word in text.split(",") if word]


def _arguments():
    p = argparse.ArgumentParser(prog="bench/devices")
    p.add_argument("--runs", type=int, default=None, help="of each arm in each case (5)")
    p.add_argument("--quick", action="store_true", help="one short turn")
    p.add_argument("--cases", type=_list, help="a list with commas")
    p.add_argument("--arms", type=_list, help="a list with commas")
    p.add_argument("--json", default=None, help="where every run is written (build/bench/devices.json)")
    p.add_argument("--nested", choices=sorted(devices_nested.HOSTS), help="a Linux guest, on this emulated host")
    p.add_argument("--boots", type=int, default=None, help="of each arm, with --nested (as many as runs)")
    p.add_argument("--list", action="store_true", help="name the cases and arms")
    for name in ("--build", "--out"):
        p.add_argument(name, required=True, help=argparse.SUPPRESS)
    a = p.parse_args()
    a.runs = a.runs or (1 if a.quick else 5)
    a.boots = a.runs if a.boots is None else a.boots
    half = devices_nested if a.nested else devices_rings
    _choose(p, a, half.CASES, half.ARMS, getattr(half, "MORE_ARMS", []))
    a.json = a.json or os.path.join(a.out, f"devices-{a.nested}.json" if a.nested else "devices.json")
    return a


def _choose(p, a, cases, arms, more_arms):
    """The names that were given, or all."""
    for given, known, what in ((a.cases, [case.name for case in cases], "case"), (a.arms, arms + more_arms, "arm")):
        for name in given or []:
            if name not in known:
                p.error(f"no {what} called {name}; there are: {', '.join(known)}")
    if a.nested and a.quick:
        a.cases = a.cases or devices_nested.QUICK_CASES
    a.cases = [case for case in cases if a.cases is None or case.name in a.cases]
    a.arms = [arm for arm in arms if a.arms is None or arm in a.arms] + [arm for arm in more_arms if arm in (a.arms or [])]


def _print_list(arguments):
    for case in arguments.cases:
        print(f"{case.name:12} {case.title}")
    print(f"{'arms':12} {' '.join(arguments.arms)}")


def _say(case, arm, turn, record):
    if record["result"] == "completed":
        text = " ".join(f"{key}={value:.4g}" for key, value in record.items() if isinstance(value, (int, float)))
    else:
        text = f"{record['result']}: {record.get('reason')}"
    print(f"{case} turn {turn + 1} {arm}: {text}", file=sys.stderr, flush=True)


def _rings(arguments, results):
    with tempfile.TemporaryDirectory(prefix="devices-") as scratch:
        tools = devices_rings.Tools(arguments.build, scratch)
        for case in arguments.cases:
            for turn in range(arguments.runs):
                first = turn % len(arguments.arms)
                for arm in arguments.arms[first:] + arguments.arms[:first]:
                    record = devices_rings.run(arm, case, tools, arguments.quick)
                    results.add(case.name, arm, turn, record)
                    _say(case.name, arm, turn, record)


COLUMNS = [("requests/s", "per_s", 0), ("MB/s", "mb_per_s", 0), ("longest us", "longest_us", 0),
           ("kicks/request", "kicks_per_request", 3), ("exits/request", "exits_per_request", 3),
           ("device CPU us/request", "device_us_per_request", 2),
           ("vCPU us/request", "vcpu_us_per_request", 2), ("anonymous MB", "anonymous_mb", 2)]


def _tables(arguments, results):
    parts = []
    for case in arguments.cases:
        rows = [["arm"] + [title for title, _, _ in COLUMNS] + ["failed"]]
        for arm in arguments.arms:
            runs = results.of(case.name, arm)
            failed = sum(run["result"] != "completed" for run in runs)
            if runs:
                rows.append([arm] + [table.ranged(runs, field, digits) for _, field, digits in COLUMNS] +
                            [str(failed) if failed else ""])
        if len(rows) > 1:
            parts.append(f"{case.title}  [{case.name}]\n{table.draw(rows)}")
    return "\n\n".join(parts)


def _nested(arguments, results, host):
    with tempfile.TemporaryDirectory(prefix="devices-") as scratch:
        devices_nested.measure(arguments, results, host.setdefault("nested", {}), scratch)


def _run_all(arguments, results, host):
    """None, or why it ended early."""
    try:
        if arguments.nested:
            _nested(arguments, results, host)
        else:
            _rings(arguments, results)
    except (guest.GuestBad, process.BenchError) as e:
        return str(e)
    except KeyboardInterrupt:
        return "interrupted"
    return None


def main():
    arguments = _arguments()
    if arguments.list:
        _print_list(arguments)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host = facts.collect(f"{arguments.build}/src/vmm", qemu=True)
    if host["load_at_start"][0] > 0.5:
        print(f"devices: the machine is not quiet (load {host['load_at_start'][0]:.1f}): figures will be off", file=sys.stderr)
    results, started = stats.Results(), time.monotonic()
    try:
        stopped = _run_all(arguments, results, host)
    finally:
        process.end_all()
    with open(arguments.json, "w", encoding="utf-8") as f:
        json.dump({"host": host, "complete": stopped is None, "seconds": time.monotonic() - started, "runs": results.runs}, f,
                  indent=1)
        f.write("\n")
    print(f"\n{host['vmm'] or 'vmm'} ({(host['commit'] or '?')[:12]}) and {host['qemu']}\non {host['machine']}, "
          f"Linux {host['kernel']}; medians (least-greatest)\n")
    if arguments.nested:
        print(f"in {devices_nested.describe(host.get('nested', {}))}\n")
    print(devices_nested.tables(arguments, results) if arguments.nested else _tables(arguments, results))
    failed = sum(run["result"] != "completed" for run in results.runs)
    print(f"\n{len(results.runs)} runs, {failed} failed; all of them: {arguments.json}")
    if stopped:
        print(f"devices: {stopped}", file=sys.stderr)
    return 1 if stopped or failed or not results.runs else 0


if __name__ == "__main__":
    sys.exit(main())
