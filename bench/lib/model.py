# SPDX-License-Identifier: Apache-2.0
"""bench/model: an event model of dirty tracking, checked against this host, then asked about machines that nobody here has."""

import argparse
import json
import os
import sys

import facts
import model_cases
import model_check
import model_documents
import model_show
import model_sim
import model_sweeps
from process import BenchError

NOTHING_TO_RUN = "the costs are of none of bitmap, manual, ring and uffd"
PARTS = ("check", "documents", "sweeps")


def _arguments():
    p = argparse.ArgumentParser(prog="bench/model", description="Predicts what dirty tracking costs. What it prints are predictions, "
                                "but for what is marked as measured or published.")
    p.add_argument("--runs", type=int, help="of each measured configuration (5)")
    p.add_argument("--quick", action="store_true", help="small measurements, fewer points; no figures to keep")
    p.add_argument("--parts", metavar="LIST", help=f"of {', '.join(PARTS)} (all)")
    p.add_argument("--lines", metavar="FILE", help="calibrate on what `dirty-log-perf --json-lines` printed elsewhere; nothing is measured")
    p.add_argument("--costs", metavar="FILE", help="take the costs from this file; nothing is measured or checked")
    p.add_argument("--save-costs", metavar="FILE", help="write the fitted costs there")
    p.add_argument("--save-lines", metavar="FILE", help="write what was measured there, for --lines")
    p.add_argument("--trace", metavar="FILE", help="replay this trace (vmm dirtyrate --trace) under every mechanism")
    p.add_argument("--trace-vcpus", metavar="N", type=int, default=1, help="vCPUs to deal the trace's pages to (1)")
    p.add_argument("--json", metavar="FILE", help="where everything is written (build/bench/model.json)")
    p.add_argument("--svg", metavar="DIR", help="plots go there")
    for name in ("--sim", "--program", "--vmm", "--out"):
        p.add_argument(name, required=True, help=argparse.SUPPRESS)
    a = p.parse_args()
    a.runs = a.runs if a.runs is not None else 2 if a.quick else 5
    a.json = a.json or os.path.join(a.out, "model.json")
    a.parts = a.parts.split(",") if a.parts else list(PARTS)
    for part in a.parts:
        if part not in PARTS:
            p.error(f"--parts: \"{part}\": expected {', '.join(PARTS)}")
    if a.runs < 1 or a.trace_vcpus < 1:
        p.error("--runs and --trace-vcpus: at least 1")
    if a.costs and (a.lines or a.save_costs or a.save_lines):
        p.error("--costs: nothing is fitted or measured then; --lines, --save-costs and --save-lines do not go with it")
    return a


def _read_lines(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()
    except OSError as e:
        raise BenchError(str(e)) from e


def _write(path, text):
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    except OSError as e:
        raise BenchError(str(e)) from e


def _whose(document):
    return f"costs {document['source']}: {document['host']}"


class Bench:
    """What one invocation does: prints as it goes, collects rows for the JSON file."""

    def __init__(self, a):
        self.a = a
        self.simulator = model_sim.Simulator(a.sim)
        self.rows = []
        self.plot = None
        if a.svg:
            import plot  # pylint: disable=import-outside-toplevel
            self.plot = plot

    def costs(self):
        """(cost document, [Calibrated])."""
        a = self.a
        if a.costs:
            return model_sim.load_costs(a.costs), []
        known = model_cases.QUICK_CALIBRATION if a.quick else model_cases.CALIBRATION
        checks = model_cases.QUICK_CHECKS if a.quick else model_cases.CHECKS
        lines = _read_lines(a.lines) if a.lines else model_cases.measure(a.program, list(known + checks), a.runs)
        if a.save_lines:
            _write(a.save_lines, "\n".join(lines) + "\n")
        calibrated, left_out = model_check.calibrate(self.simulator, lines, known)
        for why in left_out:
            print(f"left out: {why}")
        if not calibrated:
            raise BenchError(f"{a.lines or a.program}: nothing that the model could be calibrated on")
        document = model_check.costs_document(calibrated)
        if a.save_costs:
            _write(a.save_costs, json.dumps(document, indent=1) + "\n")
        return document, calibrated

    def check(self, document, calibrated):
        print(f"\nThe model against measurements on {document['host']}\n")
        for title, text in model_show.check_tables(calibrated):
            print(f"{title}\n\n{text}\n")
        print(model_show.summary_table(calibrated))
        self.rows += model_show.check_rows(calibrated, document["host"])
        if self.plot:
            model_show.check_plot(calibrated, self.a.svg, self.plot, document["host"])

    def documents(self, document):
        manual = document["sets"].get("manual")
        known = [] if manual is None else [(f"{document['host']}, at best", manual),
                                           (f"{document['host']}, at worst", model_sim.upper_lock(manual))]
        found = model_documents.combined(self.simulator, known, self.a.quick)
        print(f"\nPrediction for {model_documents.VCPUS} vCPUs of 512 MB: the combined log's table\n\n{model_show.combined_table(found)}\n\n"
              f"{model_show.combined_words(found)}")
        self.rows += model_show.combined_rows(found)
        assumed = model_sim.load_costs(model_documents.DOCUMENT_COSTS)
        curve = model_documents.monitor(self.simulator, assumed)
        print(f"\nPrediction for the PML series' experiment; costs {assumed['source']}: {assumed['host']}\n\n"
              f"{model_show.monitor_table(curve)}\n\n{model_show.monitor_words(curve)}")
        self.rows += model_show.monitor_rows(curve, assumed["host"])

    def sweeps(self, document):
        chosen = model_sweeps.mechanisms(document)
        if not chosen:
            raise BenchError(NOTHING_TO_RUN)
        host = _whose(document)
        print(f"\nPredictions: where each mechanism wins; {host}\n"
              "* hardware costs are assumed from the software ones (docs/bench-model.md)")
        for sweep in model_sweeps.all_sweeps():
            sweep.run(self.simulator, chosen, self.a.quick)
            print(f"\n{sweep.title}")
            for name, title, show in model_show.SWEEP_FIGURES:
                print(f"\n{model_show.sweep_table(sweep, chosen, name, title, show)}")
            self.rows += model_show.sweep_rows(sweep, chosen, host)
            if self.plot:
                model_show.sweep_plots(sweep, self.a.svg, self.plot, host)
        groups = model_sweeps.group_sweep(self.simulator, document)
        if groups:
            print(f"\n{model_show.group_table(groups)}")
            self.rows += model_show.group_rows(groups, host)
            if self.plot:
                model_show.group_plot(groups, self.a.svg, self.plot, host)

    def trace(self, document):
        host = _whose(document)
        if not model_sweeps.mechanisms(document):
            raise BenchError(NOTHING_TO_RUN)
        found = model_sweeps.replay(self.simulator, document, os.path.abspath(self.a.trace), self.a.trace_vcpus)
        print(f"\nPredictions for the trace {self.a.trace}; {host}\n* hardware costs are assumed from the software ones")
        for name, title, show in model_show.SWEEP_FIGURES:
            print(f"\n{model_show.trace_table(found, name, title + ' by read interval', show)}")
        self.rows += model_show.trace_rows(found, self.a.trace, host)


def main():
    a = _arguments()
    bench = Bench(a)
    host = facts.collect(a.vmm)
    if not a.costs and not a.lines and host["load_at_start"][0] > 0.5:
        print(f"model: the machine is not quiet (load {host['load_at_start'][0]:.1f}): measured times, and so the errors, will be off",
              file=sys.stderr)
    document, calibrated = bench.costs()
    if "check" in a.parts and calibrated:
        bench.check(document, calibrated)
    if "documents" in a.parts:
        bench.documents(document)
    if "sweeps" in a.parts:
        bench.sweeps(document)
    if a.trace:
        bench.trace(document)
    errors = {name: dict(zip(("predictions", "within_aim", "median_percent", "greatest_percent"), found))
              for name, found in model_check.summary(calibrated).items()}
    _write(a.json, json.dumps({"bench": "model", "kind": "prediction", "host": host, "costs": document, "aim_percent": model_check.AIM_PERCENT,
                               "errors": errors, "rows": bench.rows}, indent=1) + "\n")
    print(f"\n{len(bench.rows)} rows: {a.json}")


if __name__ == "__main__":
    try:
        main()
    except (BenchError, ValueError) as e:
        print(f"model: {e}", file=sys.stderr)
        sys.exit(1)
