# SPDX-License-Identifier: Apache-2.0
"""What the commands around the scripts with guests under load share: where a script runs, and where its directory goes."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import facts
import swhw_nested
from process import BenchError

HOSTS = {"intel": "tests/nested/intel-host", "svm": "tests/nested/svm-host"}
BACKENDS = ("manual", "bitmap", "ring", "uffd")
SCRIPT_TIMEOUT_S = 5400


def add_options(parser, runs):
    parser.add_argument("--dirty", default=None, help="backends, with commas (those that the host offers)")
    parser.add_argument("--runs", type=int, default=None, help=f"turns; in each every arm runs once ({runs})")
    parser.add_argument("--cpus", type=int, default=None, help="of the guest (half of the host's)")
    parser.add_argument("--mem", default=None, help="of the guest")
    parser.add_argument("--cmdline", default=None, help="of the guest: another workload (docs/spec/guest.md)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that all works")
    parser.add_argument("--json", default=None, help="where the figures are written (build/bench/NAME.json)")
    parser.add_argument("--svg", default=None, metavar="DIR", help="where plots are written (none)")
    parser.add_argument("--keep", default=None, metavar="DIR", help="keep what the script wrote there")
    parser.add_argument("--from", dest="given", default=None, metavar="DIR", help="measure nothing, show such a directory")
    parser.add_argument("--nested", choices=sorted(HOSTS), help="on an emulated host")
    parser.add_argument("--kvm", default="", help="with --nested: settings to load KVM with, such as \"pml=0 pml=1\"")
    parser.add_argument("--dirty-accel", metavar="MODE", default="auto", help="of vmm run and receive (auto)")
    for name in ("--build", "--out"):
        parser.add_argument(name, required=True, help=argparse.SUPPRESS)


def check(parser, arguments, runs):
    arguments.runs = (1 if arguments.quick else runs) if arguments.runs is None else arguments.runs
    if arguments.runs < 1:
        parser.error("--runs: at least 1")
    if arguments.kvm and not arguments.nested:
        parser.error("--kvm: only with --nested; on a real host bench/sw-vs-hw loads KVM anew")
    unknown = [name for name in (arguments.dirty or BACKENDS[0]).split(",") if name not in BACKENDS]
    if unknown:
        parser.error(f"--dirty {unknown[0]}: want a list of {', '.join(BACKENDS)}")
    if arguments.cpus is None:
        arguments.cpus = 1 if arguments.nested else max(1, os.cpu_count() // 2)


def _backends(arguments):
    """Those asked for, those that this host offers, or on an emulated one those that every KVM of its age has."""
    if arguments.dirty:
        return arguments.dirty.split(",")
    if arguments.nested:
        return [name for name in BACKENDS if name != "uffd"]
    caps = facts.collect(f"{arguments.build}/src/vmm")["vmm_caps"] or {}
    present = [item["name"] for item in caps.get("backends", ()) if item["state"] == "present"]
    return [name for name in BACKENDS if name in present]


def _native(script, options, directory, build):
    argv = ["sh", f"bench/lib/{script}", "--vmm", f"{build}/src/vmm", "--out", directory, *options]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=SCRIPT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as e:
        raise BenchError(f"{script}: no end after {SCRIPT_TIMEOUT_S} s") from e
    if done.returncode:
        raise BenchError(f"{script} ended with status {done.returncode} (above)")


def _nested(host, script, options, directory, build, host_options):
    argv = [HOSTS[host], "--run", f"bench/lib/{script}", "--timeout", str(SCRIPT_TIMEOUT_S), *host_options]
    for source, target in ((f"{build}/src/vmm", "/bin/vmm"), (f"{build}/src/vmm-ctl", "/bin/vmm-ctl"),
                           ("bench/lib/load-common.sh", "/load-common.sh")):
        argv += ["--add", f"{source}:{target}"]
    argv += ["--", "--out", "/tmp/results", "--emit", *options]
    status = swhw_nested.run(argv, directory)
    if status:
        raise BenchError(f"{script} on {HOSTS[host]} ended with status {status} (above)")


def collect(arguments, script, options, host_options=()):
    """Runs the script, or takes the directory that is given; calls back with the directory."""
    if arguments.given:
        return arguments.given
    directory = arguments.keep or tempfile.mkdtemp(prefix="load-")
    os.makedirs(directory, exist_ok=True)
    if os.listdir(directory):
        raise BenchError(f"--keep {directory}: not empty")
    options = ["--dirty", " ".join(_backends(arguments)), "--runs", str(arguments.runs), "--cpus", str(arguments.cpus),
               "--mem", arguments.mem, *options]
    if arguments.dirty_accel != "auto":
        options += ["--dirty-accel", arguments.dirty_accel]
    if arguments.kvm:
        options += ["--kvm", arguments.kvm]
    if arguments.nested:
        _nested(arguments.nested, script, options, directory, arguments.build, host_options)
    else:
        _native(script, options, directory, arguments.build)
    return directory


def release(arguments, directory):
    if not arguments.given and not arguments.keep:
        shutil.rmtree(directory, ignore_errors=True)


def write_json(arguments, name, rows, more=None):
    path = arguments.json or os.path.join(arguments.out, f"{name}.json")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"bench": name, "host": facts.collect(f"{arguments.build}/src/vmm"), "nested": arguments.nested,
                   "rows": rows} | (more or {}), f, indent=1)
        f.write("\n")
    return path


def show_table(header, rows, left=1):
    """A table for a terminal; the first LEFT columns to the left."""
    lines = [header] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) if i < left else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def main(name, run):
    """Runs a command's main function; a BenchError is one clear line and status 1."""
    try:
        return run()
    except BenchError as e:
        print(f"{name}: {e}", file=sys.stderr)
        return 1
