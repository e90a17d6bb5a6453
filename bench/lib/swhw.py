# SPDX-License-Identifier: Apache-2.0
"""bench/sw-vs-hw: measures under each setting, here and on emulated hosts, and writes one report of it all."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import facts
import load_migrate
import monitor
import swhw_collect
import swhw_nested
import swhw_report
import swhw_settings
from process import BenchError
from swhw_tables import ReportError

LIB = "bench/lib"
STEPS = ("conformance", "perf", "monitor", "load")
PATTERNS = "sequential: random:-a mixed:-w,20 sparse:-w,2"
QUICK_PATTERNS = "sequential: random:-a"
CONFORMANCE = "tests/integration/vmm/test-vmm-dirty-conformance"
STEP_LIMIT_S = 3600


def _words(text):
    return [word for word in text.split(",") if word]


def _arguments():
    p = argparse.ArgumentParser(prog="bench/sw-vs-hw", description="Software against hardware dirty tracking, in one report.")
    p.add_argument("--nested", type=_words, default=[], metavar="LIST", help=f"emulated hosts to measure on as well: "
                   f"{', '.join(swhw_nested.HOSTS)}")
    p.add_argument("--not-here", action="store_true", help="measure on the emulated hosts alone")
    p.add_argument("--reload-kvm", action="store_true", help="load KVM's module anew with the accelerator off and on; put back afterwards")
    p.add_argument("--runs", type=int, help="of each (5; on an emulated host 2 or 3)")
    p.add_argument("--quick", action="store_true", help="one small run of each, to see that all works; no figures to keep")
    p.add_argument("--steps", type=_words, default=list(STEPS), help=f"a part of it: {','.join(STEPS)} (all)")
    p.add_argument("--html", metavar="FILE", help="the report in one file (build/bench/sw-vs-hw.html)")
    p.add_argument("--md", metavar="FILE", help="the same as Markdown, plots beside it (build/bench/sw-vs-hw.md)")
    p.add_argument("--json", metavar="FILE", help="all figures (build/bench/sw-vs-hw.json)")
    p.add_argument("--keep", metavar="DIR", help="keep what the benches wrote there")
    p.add_argument("--from", dest="given", metavar="FILE", help="measure nothing, write the report of such a JSON file")
    for name in ("--build", "--out"):
        p.add_argument(name, required=True, help=argparse.SUPPRESS)
    a = p.parse_args()
    for name in a.nested:
        if name not in swhw_nested.HOSTS:
            p.error(f"--nested {name}: there are: {', '.join(swhw_nested.HOSTS)}")
    for name in a.steps:
        if name not in STEPS:
            p.error(f"--steps {name}: there are: {', '.join(STEPS)}")
    if a.runs is not None and a.runs < 1:
        p.error("--runs: at least 1")
    if a.not_here and not a.nested:
        p.error("--not-here: needs --nested")
    if a.not_here and a.reload_kvm:
        p.error("--reload-kvm: is for this host, and --not-here leaves it out")
    for key in ("html", "md", "json"):
        if getattr(a, key) is None:
            setattr(a, key, os.path.join(a.out, f"sw-vs-hw.{key}"))
    return a


def _tell(text):
    print(text, file=sys.stderr, flush=True)


def _shown_arguments():
    """Those that a user gave and that say what was measured."""
    found, words = [], iter(sys.argv[1:])
    for word in words:
        if word in ("--build", "--out", "--json", "--html", "--md", "--keep"):
            next(words, None)
        else:
            found.append(word)
    return found


# ---- this host ----

def _sizes(a, runs):
    """Arguments of swhw-measure.sh. RUNS: within each turn."""
    cpus = max(1, os.cpu_count() // 2)
    if a.quick:
        perf, seconds = "-b 16M -i 3", "--seconds 2 --interval 0.5 --report 50 --settle 1"
        guest, mem, load = monitor.QUICK["mix"], "128M", load_migrate.QUICK
    else:
        perf, seconds = "-b 256M -i 4 -s anonymous_thp", ""
        (guest, mem), load = monitor.WORKLOADS["mix"], load_migrate.WORKLOAD
    return {
        "--perf-options": f"{perf} -v {os.cpu_count()}", "--perf-runs": str(runs),
        "--monitor-options": f"--runs {runs} --cpus {cpus} --mem {mem} {seconds}".rstrip(), "--monitor-cmdline": guest,
        "--load-options": f"--runs {runs} --cpus {cpus} --mem {load[1]} --report {50 if a.quick else 100}", "--load-cmdline": load[0],
    }


def _measure_argv(a, directory, settings, runs):
    """Where KVM has one setting only, all runs are of one turn, in which backends and patterns alternate."""
    turns, within = (runs, 1) if len(settings) > 1 else (1, runs)
    argv = ["sh", f"{LIB}/swhw-measure.sh", "--out", directory, "--turns", str(turns), "--kvm", " ".join(settings),
            "--steps", " ".join(a.steps), "--vmm", f"{a.build}/src/vmm", "--perf", f"{a.build}/bench/perf/dirty-log-perf",
            "--conformance", f"{a.build}/{CONFORMANCE}", "--patterns", QUICK_PATTERNS if a.quick else PATTERNS,
            "--limit", str(STEP_LIMIT_S)]
    for name, value in _sizes(a, within).items():
        argv += [name, value]
    return argv


def _environment(module, scratch):
    """The script finds reload-kvm on its PATH, as it does on an emulated host."""
    env = dict(os.environ)
    if module:
        shim = os.path.join(scratch, "bin")
        os.mkdir(shim)
        os.symlink(os.path.join(os.path.dirname(os.path.abspath(__file__)), "swhw-reload.sh"), os.path.join(shim, "reload-kvm"))
        env |= {"PATH": f"{shim}:{env.get('PATH', '')}", "SWHW_MODULE": module.name}
    return env


def _run_script(argv, env):
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=env) as script:
        try:
            return script.wait()
        except BaseException:
            script.terminate()
            script.wait()
            raise


def run_here(argv, module, scratch):
    """@module: whose parameters return to what they were, however this ends."""
    env = _environment(module, scratch)
    try:
        status = _run_script(argv, env)
    finally:
        if module:
            module.restore()
    if status:
        raise BenchError(f"measuring ended with status {status} (above)")


def _here(a, directory, scratch):
    """(host, collection)"""
    found = facts.collect(f"{a.build}/src/vmm")
    if found["load_at_start"][0] > 0.5:
        _tell(f"sw-vs-hw: the machine is not quiet (load {found['load_at_start'][0]:.1f}): times will be off")
    settings, module, why = swhw_settings.plan(found["vmm_caps"], a.reload_kvm)
    if why:
        _tell(f"sw-vs-hw: {why}")
    run_here(_measure_argv(a, directory, settings, a.runs or (1 if a.quick else 5)), module, scratch)
    host = {"id": "here", "title": found["machine"], "short": found["cpu"] or "this host", "kernel": found["kernel"]}
    return host, swhw_collect.read(directory, "here"), [f"{found['machine']}: {why}."] if why else []


# ---- emulated hosts ----

def _nested(a, name, directory):
    about = swhw_nested.HOSTS[name]
    turns = a.runs or (1 if a.quick else about.turns)
    build = os.path.join(os.path.dirname(a.build), about.build) if about.build else a.build
    argv = swhw_nested.measure_argv(about, build, LIB, turns, " ".join(a.steps), QUICK_PATTERNS if a.quick else PATTERNS)
    try:
        argv[1:1] = swhw_nested.kernel_of(about)
        _tell(f"sw-vs-hw: booting {about.title}")
        status = swhw_nested.run(argv, directory)
        reason = f"ended with status {status}" if status else None
    except BenchError as e:                  # what this host measured until then is kept, and so are the other hosts
        reason = str(e)
    collection = swhw_collect.read(directory, name)
    if reason:
        collection["failures"].append({"host_id": name, "setting": "all", "turn": turns, "step": about.command, "reason": reason})
    host = {"id": name, "title": about.title, "short": about.short, "clock": about.clock, "emulated": True}
    return host, collection, []


def measure(a, scratch):
    """The collection: what swhw_tables.Collection takes."""
    base = a.keep or os.path.join(scratch, "results")
    data = {"bench": "sw-vs-hw", "host": facts.collect(f"{a.build}/src/vmm"), "arguments": _shown_arguments(),
            "hosts": [], "rows": [], "timelines": [], "conformance": [], "settings": [], "failures": [], "notes": []}
    jobs = [] if a.not_here else [("here", lambda directory: _here(a, directory, scratch))]
    jobs += [(name, lambda directory, name=name: _nested(a, name, directory)) for name in a.nested]
    for name, job in jobs:
        directory = os.path.join(base, name)
        if os.path.exists(directory):
            raise BenchError(f"--keep {a.keep}: {directory} is there already")
        os.makedirs(directory)
        host, collection, notes = job(directory)
        data["hosts"].append(host)
        data["notes"] += notes
        for key, value in collection.items():
            data[key] += value
    return data


def _write(a, data):
    os.makedirs(os.path.dirname(os.path.abspath(a.json)), exist_ok=True)
    if not a.given:
        with open(a.json, "w", encoding="utf-8") as f:
            json.dump(data, f, indent=1)
            f.write("\n")
    swhw_report.write(data, a.html, a.md)


def _show(data):
    """The table of expectations, and where the rest is."""
    import table  # pylint: disable=import-outside-toplevel
    from swhw_tables import Collection  # pylint: disable=import-outside-toplevel
    rows = swhw_report.expectations(Collection(data))
    if rows:
        print(table.draw([["host", "what", "expected", "found", "met"], *rows], left=5))
    return all(row[-1] == "yes" for row in rows)


def main():
    a = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = tempfile.mkdtemp(prefix="sw-vs-hw-")
    try:
        if a.given:
            with open(a.given, encoding="utf-8") as f:
                data = json.load(f)
        else:
            data = measure(a, scratch)
        _write(a, data)
        good = _show(data)
    except KeyboardInterrupt:
        _tell("sw-vs-hw: interrupted")
        return 130
    except (BenchError, ReportError, OSError) as e:
        _tell(f"sw-vs-hw: {e}")
        return 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\nreport: {a.html} and {a.md}; all figures: {a.given or a.json}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
