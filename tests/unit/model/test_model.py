#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Python half of bench/model, against lines that this test makes up from known costs. argv: the model's program, cost files."""

import copy
import json
import os
import sys
import tempfile
import unittest

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path.insert(0, os.path.join(TREE, "bench", "lib"))

import model_cases  # noqa: E402
import model_check  # noqa: E402
import model_documents  # noqa: E402
import model_show  # noqa: E402
import model_sim  # noqa: E402
import model_sweeps  # noqa: E402
from process import BenchError  # noqa: E402

PROGRAM = sys.argv.pop(1)
SIMULATOR = model_sim.Simulator(PROGRAM)

TRUE_COSTS = {
    "bitmap": {"visit_ns": 25, "visit_random_ns": 40, "pass_ns": 60000, "fault_ns": 3500, "fault_random_ns": 900, "lock_bounce_ns": 800,
               "get_call_ns": 9000, "get_word_ns": 3, "get_page_ns": 34, "get_random_ns": 6, "enable_call_ns": 300000, "enable_page_ns": 20,
               "disable_call_ns": 200000, "disable_page_ns": 5},
    "uffd": {"visit_ns": 25, "visit_random_ns": 40, "pass_ns": 60000, "fault_ns": 19000, "read_fault_ns": 15000, "get_call_ns": 5000,
             "get_word_ns": 700, "get_page_ns": 6, "clear_call_ns": 4000, "clear_page_ns": 100, "clear_run_ns": 4400},
}
SPLITS = ("manual", "uffd")


def line_of(backend, costs, options, accel="none"):
    """What dirty-log-perf would print on a machine that behaves as the model with these costs."""
    scenario = {"backend": backend, "accel": model_cases.ACCEL.get(accel), "vcpus": options["vcpus"], "slots": options["slots"],
                "pages_per_vcpu": options["bytes_per_vcpu"] // 4096, "iterations": options["iterations"],
                "clear_chunk_pages": model_cases.CHUNK_PAGES, "costs": costs,
                "pattern": {"kind": "random" if options["random"] else "sequential", "write_percent": options["write_percent"]}}
    scenario["accel"] = scenario["accel"] or "none"
    result, unlogged = SIMULATOR.run([scenario, model_sim.unlogged_of(scenario)], steps=True)
    iterations = [{"dirty_memory_ns": round(s["dirty_ns"]), "get_dirty_log_ns": round(s["get_ns"]),
                   "clear_dirty_log_ns": round(s["clear_ns"]) if backend in SPLITS else None, "pages_written": s["found"],
                   "pages_found": s["found"], "pages_missed": 0, "pages_extra": 0, "setup_pages_found": 0,
                   "exits": s["counts"]["exits"]} for s in result["steps"]]
    head = {"bench": "dirty-log-perf", "version": 1, "backend": backend, "accel_asked": "auto", "accel": accel, "accel_reason": "made up",
            "machine": "model", "cpus": 2, "kernel": "none", "kvm_module": "none",
            "options": dict(options, backing="anonymous", overlap=False, seed=1, mode="PXXV48_4K"),
            "populate_memory_ns": 1, "unlogged_memory_ns": round(unlogged["steps"][0]["dirty_ns"]),
            "enable_dirty_logging_ns": round(result["enable_ns"]), "iterations": iterations,
            "disable_dirty_logging_ns": round(result["disable_ns"]), "ring_full_exits": 0, "calls": []}
    return json.dumps(head, separators=(",", ":"))


def lines_of(cases):
    return [line_of(backend, costs, options) for options in cases for backend, costs in TRUE_COSTS.items()]


class Fit(unittest.TestCase):
    def test_solve(self):
        self.assertEqual([round(v, 6) for v in model_sim.solve([[1, 0], [1, 1], [0, 2]], [3, 5, 4], 2)], [3, 2])
        # The best without a bound would be negative.
        found = model_sim.solve([[1, 1], [1, 2]], [2, 1], 2)
        self.assertTrue(all(v >= 0 for v in found))
        self.assertAlmostEqual(found[1], 0)

    def test_finds_its_own_costs_again(self):
        known = model_cases.QUICK_CALIBRATION
        lines = lines_of(known + model_cases.QUICK_CHECKS)
        calibrated, left_out = model_check.calibrate(SIMULATOR, lines, known)
        self.assertEqual(left_out, [])
        self.assertEqual([one.backend for one in calibrated], ["bitmap", "uffd"])
        for one in calibrated:
            self.assertEqual(len(one.used), len(known))
            self.assertAlmostEqual(one.costs["fault_ns"] / TRUE_COSTS[one.backend]["fault_ns"], 1, delta=0.05)
            for outcome in one.errors:
                for name, _ in model_check.FIGURES:
                    if outcome.judged(name):
                        self.assertLess(abs(outcome.error_percent(name)), 5, (one.backend, outcome.configuration.workload, name))
        self.assertAlmostEqual(calibrated[0].costs["lock_bounce_ns"], 800, delta=50)
        judged = model_check.summary(calibrated)
        self.assertEqual(judged["exits"][0], 2 * len(model_cases.QUICK_CHECKS))
        self.assertEqual(judged["pages_written"][3], 0)
        self.assertNotIn("enable_ns", judged)

    def test_counts_what_it_gets_wrong(self):
        """A machine that is three times as slow where only half of the accesses write is not the model's, and the summary says so."""
        known = model_cases.QUICK_CALIBRATION
        lines = lines_of(known + model_cases.QUICK_CHECKS)
        wrong = []
        for line in lines:
            run = json.loads(line)
            if run["options"]["write_percent"] == 50:
                for it in run["iterations"]:
                    it["dirty_memory_ns"] *= 3
            wrong.append(json.dumps(run, separators=(",", ":")))
        judged = model_check.summary(model_check.calibrate(SIMULATOR, wrong, known)[0])
        self.assertEqual(judged["dirty_later_ns"][0] - judged["dirty_later_ns"][1], 2)
        self.assertGreater(judged["dirty_later_ns"][3], 60)

    def test_calibration_of_foreign_lines(self):
        cases = (model_cases.case(2), model_cases.case(8), model_cases.case(4), model_cases.case(8, vcpus=2), model_cases.case(4, random=True))
        configurations = model_cases.configurations_of([line_of("bitmap", TRUE_COSTS["bitmap"], c) for c in cases])
        used = model_cases.calibrates(configurations, model_cases.CALIBRATION)
        self.assertEqual([(c.options["bytes_per_vcpu"] >> 20, c.options["vcpus"], c.options["random"]) for c in used],
                         [(2, 1, False), (8, 1, False), (4, 1, True), (8, 2, False)])

    def test_hosts_are_never_mixed(self):
        lines = lines_of(model_cases.QUICK_CALIBRATION)
        other = [line.replace('"machine":"model"', '"machine":"another"') for line in lines]
        calibrated, _ = model_check.calibrate(SIMULATOR, lines + other, model_cases.QUICK_CALIBRATION)
        self.assertEqual(len(calibrated), 4)
        with self.assertRaisesRegex(BenchError, "2 hosts"):
            model_check.costs_document(calibrated)

    def test_unknown_accelerator_is_left_out(self):
        lines = [line_of("bitmap", TRUE_COSTS["bitmap"], c, accel="new-thing") for c in model_cases.QUICK_CALIBRATION]
        calibrated, left_out = model_check.calibrate(SIMULATOR, lines, model_cases.QUICK_CALIBRATION)
        self.assertEqual(calibrated, [])
        self.assertEqual(len(left_out), 1)


class Costs(unittest.TestCase):
    GOOD = {"format": model_sim.FORMAT, "host": "h", "note": "n", "source": "assumed", "sets": {"manual": {"fault_ns": 1}}}

    def test_bad_files(self):
        model_sim.check_costs(self.GOOD, "f")
        for change, named in (({"format": "x"}, "format"), ({"host": ""}, "host"), ({"source": "guessed"}, "source"), ({"sets": {}}, "sets"),
                              ({"sets": {"magic": {}}}, "magic"), ({"sets": {"manual": {"fault_ns": "1"}}}, "manual"),
                              ({"sets": {"manual": {"fault_ns": -1}}}, "manual"), ({"sets": {"manual": {"fault_ns": True}}}, "manual")):
            with self.assertRaisesRegex(BenchError, named):
                model_sim.check_costs(self.GOOD | change, "f")
        with self.assertRaisesRegex(BenchError, "f: format"):
            model_sim.check_costs([], "f")

    def test_misspelt_cost_is_refused(self):
        with self.assertRaisesRegex(BenchError, "fault_n\": unknown key"):
            SIMULATOR.run([{"costs": {"fault_n": 1}}])

    def test_bundled(self):
        found = os.listdir(os.path.dirname(model_documents.DOCUMENT_COSTS))
        self.assertTrue(found)
        for name in found:
            document = model_sim.load_costs(os.path.join(os.path.dirname(model_documents.DOCUMENT_COSTS), name))
            self.assertNotEqual(document["source"], "measured", name)
            SIMULATOR.run([{"backend": key.split("+")[0], "accel": (key.split("+") + ["none"])[1], "pages_per_vcpu": 64, "costs": costs}
                           for key, costs in document["sets"].items()])


class Documents(unittest.TestCase):
    def test_software_column_comes_out_again(self):
        """Its costs are worked out of that column, so the model must give it back; a hundredth of the memory does."""
        costs = model_documents.software_costs()
        scenario = model_documents.combined_scenario("none", costs)
        scenario["pages_per_vcpu"] //= 128
        result = SIMULATOR.run([scenario], steps=True)[0]
        mean = sum(s["dirty_ns"] for s in result["steps"]) / 5 * 128
        self.assertAlmostEqual(mean / 4.22e9, 1, delta=0.01)
        self.assertAlmostEqual(result["clear_ns"] / 5 * 128 / 0.48e9, 1, delta=0.01)
        self.assertAlmostEqual(result["get_ns"] / 5 * 128 / 0.00047e9, 1, delta=0.01)

    def test_rate_of_difference(self):
        curve = [(10, 1.0, 0.5), (20, 3.0, 1.0), (30, 6.0, 2.0)]
        self.assertAlmostEqual(model_documents.rate_of_difference(curve, 1.25), 15)
        self.assertIsNone(model_documents.rate_of_difference(curve, 9))


class Shown(unittest.TestCase):
    DOCUMENT = {"host": "made up", "source": "assumed", "sets": {"manual": dict(TRUE_COSTS["bitmap"], clear_page_ns=36), "bitmap": TRUE_COSTS["bitmap"]}}

    def test_predictions_say_so(self):
        lines = lines_of(model_cases.QUICK_CALIBRATION + model_cases.QUICK_CHECKS[:1])
        calibrated, _ = model_check.calibrate(SIMULATOR, lines, model_cases.QUICK_CALIBRATION)
        rows = model_show.check_rows(calibrated, "made up")
        predicted = [row for row in rows if row["kind"] == "prediction"]
        measured = [row for row in rows if row["kind"] == "measured"]
        self.assertEqual((len(predicted), len(measured)), (12, 12))
        self.assertTrue(all(row["runs"] == 0 and row["machine"] == model_show.MACHINE_NONE for row in predicted))
        self.assertTrue(all(row["machine"] == "model" for row in measured))
        for _, text in model_show.check_tables(calibrated):
            header = text.splitlines()[0]
            self.assertIn("prediction", header)
            self.assertIn("measured", header)
        combined = model_show.combined_rows([("software", "somebody's", {"dirty_ns": 1, "get_ns": 1, "clear_ns": 1, "exits_per_page": 1})])
        rows = combined + model_show.monitor_rows([(10, 1.0, 0.5)], "h")
        self.assertTrue(all(row["kind"] == "prediction" for row in rows))
        self.assertIn("prediction: 10", model_show.monitor_table([(10, 1.0, 0.5)]))

    def test_assumed_hardware_is_marked(self):
        chosen = model_sweeps.mechanisms(self.DOCUMENT)
        assumed = {label: mark for label, _, mark in chosen}
        self.assertEqual([label for label in assumed if not assumed[label]], ["bitmap", "manual"])
        self.assertEqual(len(assumed), 8)
        sweep = model_sweeps.all_sweeps()[1]
        sweep.points = sweep.points[-1:]
        sweep.run(SIMULATOR, chosen, False)
        text = model_show.sweep_table(sweep, chosen, "loss_percent", "loss", lambda v: f"{v:.3f}")
        self.assertIn("prediction", text.splitlines()[0])
        self.assertIn("PML*", text)
        self.assertNotIn("manual*", text)
        # With costs of its own PML is nobody's assumption.
        own = copy.deepcopy(self.DOCUMENT)
        own["sets"]["manual+pml"] = dict(TRUE_COSTS["bitmap"], log_ns=5)
        self.assertIn(("PML", False), [(label, mark) for label, _, mark in model_sweeps.mechanisms(own)])
        self.assertTrue(all(row["hardware_costs_assumed"] == assumed[row["mechanism"]] for row in model_show.sweep_rows(sweep, chosen, "h")))

    def test_no_trace(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"VMMTRACF" + bytes(40))
            f.flush()
            with self.assertRaisesRegex(BenchError, "no trace"):
                model_sweeps.replay(SIMULATOR, self.DOCUMENT, f.name, 1)
        with self.assertRaises(BenchError):
            model_sweeps.replay(SIMULATOR, self.DOCUMENT, "/nonexistent", 1)


if __name__ == "__main__":
    unittest.main()
