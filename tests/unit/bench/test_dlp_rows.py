#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From the lines of dirty-log-perf to rows of figures, with lines as consoles and broken-off runs leave them."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "bench", "lib"))

import dlp_rows  # noqa: E402

MS = 1000000


def iteration(dirty_ms, exits, written=1000, found=None, clear_ms=None, missed=0, extra=0):
    return {"dirty_memory_ns": dirty_ms * MS, "get_dirty_log_ns": MS, "clear_dirty_log_ns": clear_ms and clear_ms * MS,
            "pages_written": written, "pages_found": written if found is None else found, "pages_missed": missed,
            "pages_extra": extra, "setup_pages_found": 3, "exits": exits, "page_faults": exits - 1}


def run(backend="bitmap", iterations=None, accel="none", **changes):
    found = {"bench": "dirty-log-perf", "version": 1, "backend": backend, "accel_asked": "auto", "accel": accel,
             "accel_reason": "because", "machine": "A CPU", "cpus": 2, "kernel": "6.12", "kvm_module": "kvm_intel",
             "options": {"bytes_per_vcpu": 64 << 20, "vcpus": 2, "iterations": 3, "backing": "anonymous", "write_percent": 100,
                         "random": False, "slots": 1, "overlap": False, "seed": 1, "mode": "PXXV48_4K"},
             "starts_full": backend == "manual", "populate_memory_ns": 50 * MS, "unlogged_memory_ns": 2 * MS,
             "enable_dirty_logging_ns": 1 * MS,
             "iterations": iterations or [iteration(10, 1000), iteration(12, 1000), iteration(14, 1000)],
             "disable_dirty_logging_ns": MS, "ring_full_exits": 0,
             "calls": [{"call": "KVM_GET_DIRTY_LOG", "phase": "get dirty log", "count": 6, "ns": 900, "passes": 3, "ns_per_gib": 2400}]}
    return found | changes


def line(*args, **kwargs):
    return json.dumps(run(*args, **kwargs), separators=(",", ":"))


class Rows(unittest.TestCase):
    def test_figures_of_one_run(self):
        row, = dlp_rows.rows_from_lines([line()])
        self.assertEqual(row["dirty_memory"], {"median": 0.012, "min": 0.012, "max": 0.012, "unit": "s"})
        self.assertAlmostEqual(row["dirty_memory_first"]["median"], 0.010)
        self.assertAlmostEqual(row["dirty_memory_later"]["median"], 0.013)
        self.assertIsNone(row["clear_dirty_log"])
        self.assertAlmostEqual(row["exits_per_dirtied_page"]["median"], 1.0)
        # 11 ms more than without logging for 1000 pages, on 2 CPUs.
        self.assertAlmostEqual(row["guest_cost_per_dirtied_page"]["median"], 22000)
        self.assertAlmostEqual(row["slowdown"]["median"], 6.5)
        self.assertEqual(row["calls"][0]["ns_per_gib"], {"median": 2400, "min": 2400, "max": 2400, "unit": "ns/GiB"})
        self.assertEqual(row["workload"], "dirty-log-perf -b 64M -v 2 -i 3 -s anonymous -w 100")
        self.assertEqual(row["machine"], "2 x A CPU")
        self.assertEqual((row["runs"], row["pages_missed"], row["pages_extra"]), (1, 0, 0))

    def test_median_and_range_over_runs(self):
        lines = [line(populate_memory_ns=ms * MS) for ms in (30, 10, 20)]
        row, = dlp_rows.rows_from_lines(lines)
        self.assertEqual(row["runs"], 3)
        self.assertEqual([row["populate_memory"][key] for key in ("median", "min", "max")], [0.02, 0.01, 0.03])

    def test_backends_and_accelerators_are_never_mixed(self):
        rows = dlp_rows.rows_from_lines([line(), line("manual"), line(accel="intel-pml"), line()])
        self.assertEqual([(r["backend"], r["accel"], r["runs"]) for r in rows],
                         [("bitmap", "none", 2), ("manual", "none", 1), ("bitmap", "intel-pml", 1)])

    def test_rings_of_two_sizes_are_two_rows(self):
        lines = [line("ring", ring_entries=size) for size in (1024, 65536, 1024)]
        self.assertEqual([(r["ring_entries"], r["runs"]) for r in dlp_rows.rows_from_lines(lines)], [(1024, 2), (65536, 1)])

    def test_first_log_that_names_everything_invents_nothing(self):
        iterations = [iteration(1, 10, written=300, found=1000, extra=700, clear_ms=2), iteration(5, 300, written=300, clear_ms=1),
                      iteration(5, 300, written=300, clear_ms=1)]
        row, = dlp_rows.rows_from_lines([line("manual", iterations)])
        self.assertEqual(row["pages_extra"], 0)
        self.assertAlmostEqual(row["exits_per_dirtied_page"]["median"], 1.0)
        self.assertAlmostEqual(row["clear_dirty_log"]["median"], 4 / 3 * 1e-3)
        row, = dlp_rows.rows_from_lines([line("bitmap", iterations)])
        self.assertEqual(row["pages_extra"], 700)

    def test_missed_pages_of_any_run_show(self):
        row, = dlp_rows.rows_from_lines([line(), line(iterations=[iteration(1, 1, missed=2), iteration(1, 1)])])
        self.assertEqual(row["pages_missed"], 2)

    def test_one_iteration_has_no_later_ones(self):
        row, = dlp_rows.rows_from_lines([line(iterations=[iteration(10, 1000)])])
        self.assertIsNone(row["exits_per_dirtied_page"])
        self.assertIsNone(row["guest_cost_per_dirtied_page"])
        self.assertAlmostEqual(row["exits_per_dirtied_page_first"]["median"], 1.0)

    def test_nothing_written_and_nothing_counted(self):
        nothing = [iteration(1, 1, written=0) for _ in range(2)]
        row, = dlp_rows.rows_from_lines([line(iterations=nothing)])
        self.assertIsNone(row["exits_per_dirtied_page"])
        uncounted = [{k: v for k, v in iteration(1, 1).items() if k not in ("exits", "page_faults")} for _ in range(2)]
        row, = dlp_rows.rows_from_lines([line(iterations=uncounted, no_counters="no statistics here")])
        self.assertIsNone(row["exits_per_dirtied_page"])
        self.assertEqual(row["no_counters"], "no statistics here")

    def test_console_of_another_host(self):
        lines = ["[    1.2] kvm: loading\r\n", "\x1b[0m[  12.3] " + line() + "\r\n", "exit 0\n"]
        row, = dlp_rows.rows_from_lines(lines, {"machine": "Bochs, 50 M instructions a second", "clock": "emulated"})
        self.assertEqual((row["machine"], row["clock"]), ("Bochs, 50 M instructions a second", "emulated"))
        self.assertEqual(row["kernel"], "6.12")

    def test_backend_that_the_host_lacks(self):
        skipped = json.dumps({k: run("uffd")[k] for k in ("bench", "version", *dlp_rows.WORDS)} | {"skipped": "no uffd"},
                             separators=(",", ":"))
        self.assertEqual(dlp_rows.rows_from_lines([skipped]), [])
        self.assertEqual(dlp_rows.skipped_of_lines([line(), skipped]), {"uffd": "no uffd"})

    def test_lines_that_are_broken(self):
        good = line()
        damaged = {
            "broken off": good[:300],
            "another version": line(version=2),
            "a time that is text": line(populate_memory_ns="1"),
            "a negative time": line(enable_dirty_logging_ns=-1),
            "no iterations": good.replace('"iterations":[', '"iterations_":['),
            "an iteration of text": line(iterations=["x"]),
            "a count that is true": line(iterations=[iteration(1, 1) | {"pages_found": True}]),
            "options without vcpus": good.replace('"vcpus"', '"cpus_"'),
            "calls without names": line(calls=[{"call": "X", "count": 1}]),
            "a call without a cost": line(calls=[{"call": "X", "phase": "y", "count": 1, "ns_per_gib": None}]),
            "a machine that is none": line(machine=None),
        }
        for name, text in damaged.items():
            with self.subTest(name), self.assertRaisesRegex(dlp_rows.BadLine, "line 2"):
                dlp_rows.rows_from_lines([good, text])

    def test_workload_is_a_command_line(self):
        options = run()["options"] | {"bytes_per_vcpu": 3 << 30, "random": True, "overlap": True, "slots": 7}
        self.assertEqual(dlp_rows.workload(options), "dirty-log-perf -b 3G -v 2 -i 3 -s anonymous -w 100 -x 7 -a -o")
        self.assertIn("-b 1025K ", dlp_rows.workload(options | {"bytes_per_vcpu": 1025 << 10}))


if __name__ == "__main__":
    unittest.main()
