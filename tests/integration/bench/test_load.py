#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench/monitor and bench/migrate-load in small: what they record and make of it. Nothing is said about how fast anything is."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
import unittest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
LIB = os.path.join(TOP, "bench/lib")
sys.path.insert(0, LIB)
sys.dont_write_bytecode = True

import load_migrate  # noqa: E402
import load_raw  # noqa: E402
import monitor  # noqa: E402

STORE = "kv=SET keys=2000 value=64 fill=sparse fillsize=4M"


def script(name, directory, *options):
    done = subprocess.run(["sh", os.path.join(LIB, name), "--vmm", os.environ.get("VMM", "vmm"), "--out", directory, "--mem", "64M",
                           *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        raise AssertionError(f"{name}: {done.returncode}: {done.stderr}")


def shown(function, rows):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        function(rows)
    return text.getvalue()


class Directory(unittest.TestCase):
    """One that a script writes once for all tests; each test has a copy to spoil."""

    original = None

    @classmethod
    def setUpClass(cls):
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise unittest.SkipTest("no /dev/kvm")
        cls.original = tempfile.mkdtemp(prefix="load-test-")
        cls.addClassCleanup(shutil.rmtree, cls.original)
        cls.record(cls.original)

    def setUp(self):
        self.directory = os.path.join(tempfile.mkdtemp(prefix="load-test-"), "raw")
        self.addCleanup(shutil.rmtree, os.path.dirname(self.directory))
        shutil.copytree(self.original, self.directory)

    def change(self, name, old, new):
        path = os.path.join(self.directory, name)
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        self.assertIn(old, text)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new, 1))


class MonitorTest(Directory):
    @staticmethod
    def record(directory):
        script("monitor.sh", directory, "--dirty", "manual ring", "--runs", "1", "--seconds", "0.8", "--interval", "0.2",
               "--report", "60", "--settle", "0", "--cmdline", f"{STORE} rate=200000")

    def test_rows(self):
        rows = monitor.rows_of(self.directory)
        self.assertEqual([(row["backend"], row["arm"]) for row in rows],
                         [(backend, arm) for backend in ("manual", "ring") for arm in ("off", "unread", "read")])
        for row in rows:
            self.assertEqual((row["runs"], row["score"]["unit"], len(row["scores"])), (1, "requests/s", 1))
            self.assertGreater(row["score"]["median"], 0)
            self.assertEqual(row["loss_percent"] is None, row["arm"] == "off")
            self.assertEqual(row["pages_dirtied"] is None, row["arm"] == "off")
            self.assertTrue(row["kernel"] and row["machine"] and row["kvm_module"])

    def test_unread_log_is_read_once_and_read_log_at_each_interval(self):
        rows = {(row["backend"], row["arm"]): row for row in monitor.rows_of(self.directory)}
        for backend in ("manual", "ring"):
            self.assertEqual(rows[backend, "unread"]["intervals"]["median"], 1)
            self.assertEqual(rows[backend, "read"]["intervals"]["median"], 4)
            # Every page of the store is written in each of the intervals.
            self.assertGreater(rows[backend, "read"]["pages_dirtied"]["median"], rows[backend, "unread"]["pages_dirtied"]["median"])

    def test_table(self):
        text = shown(monitor.show, monitor.rows_of(self.directory))
        self.assertEqual(sum(line.startswith(("manual", "ring")) for line in text.splitlines()), 6)

    def test_bad_memory_is_refused(self):
        self.change("as-is.ring.console", "vmm-guest: PASS", "vmm-guest: FAIL")
        with self.assertRaisesRegex(load_raw.RawError, "did not end with PASS"):
            monitor.rows_of(self.directory)

    def test_run_cut_short_is_refused(self):
        os.remove(os.path.join(self.directory, "complete"))
        with self.assertRaisesRegex(load_raw.RawError, "not complete"):
            monitor.rows_of(self.directory)

    def test_turn_that_is_missing_is_noticed(self):
        self.change("turns", "as-is ring 1 read", "as-is ring 1 off")
        with self.assertRaisesRegex(load_raw.RawError, "not 1 turns of each arm"):
            monitor.rows_of(self.directory)


class MigrateLoadTest(Directory):
    @staticmethod
    def record(directory):
        script("migrate-load.sh", directory, "--dirty", "bitmap", "--runs", "1", "--report", "50", "--lead", "8",
               "--cmdline", f"{STORE} requests=300000 rate=200000")

    def test_rows(self):
        rows, runs = load_migrate.rows_of(self.directory)
        self.assertEqual([(row["backend"], row["arm"]) for row in rows], [("none", "none"), ("bitmap", "bitmap")])
        for row in rows:
            self.assertEqual(row["requests"], 300000)
            self.assertGreaterEqual(row["completion_s"]["median"], 1.4)    # the guest's clock and its rate, not the host's speed
        stayed, moved = rows
        self.assertEqual((stayed["checksums"], moved["checksums"]), (1, 2))
        self.assertEqual(stayed["checksum"], moved["checksum"])
        self.assertIsNone(stayed["total_ms"])
        self.assertGreater(moved["total_ms"]["median"], moved["downtime_ms"]["median"])
        self.assertGreater(moved["bytes_sent"]["median"], 4 << 20)
        for run in runs:
            self.assertGreater(len(run.points()), 10)
            self.assertEqual(run.guest.done["requests"], 300000)

    def test_lost_requests_are_the_area_under_the_steady_rate(self):
        raw = load_raw.Raw(self.directory)
        run = load_migrate.Run(raw, next(words for words in raw.turns if words[2] == "bitmap"))
        start, end = run.window()
        samples = run.serving()
        pairs = [(a, b) for a, b in zip(samples, samples[1:])
                 if start <= (a.t_ms + b.t_ms) / 2 <= end + load_migrate.SETTLE_MS]
        first, last = pairs[0][0], pairs[-1][1]
        expected = run.figures["requests_per_s_before"] * (last.t_ms - first.t_ms) / 1000 - (last.count - first.count)
        self.assertEqual(first.t_ms, start)
        self.assertGreaterEqual(last.t_ms, end)
        self.assertAlmostEqual(run.figures["lost_requests"], expected, delta=1)

    def test_other_checksum_is_an_error(self):
        raw = load_raw.Raw(self.directory)
        value = raw.guest("as-is.1.bitmap.console").sums[1]
        self.change("as-is.1.bitmap.console", f"sum={value}", "sum=0x1")
        with self.assertRaisesRegex(load_raw.RawError, "MEMORY IS WRONG"):
            load_migrate.rows_of(self.directory)

    def test_failed_migration_is_an_error(self):
        self.change("as-is.1.bitmap.json", '"result":"completed"', '"result":"failed"')
        with self.assertRaisesRegex(load_raw.RawError, "the migration is failed"):
            load_migrate.rows_of(self.directory)

    def test_table(self):
        text = shown(load_migrate.show, load_migrate.rows_of(self.directory)[0])
        self.assertIn("3 checksums of all memory", text)


def main():
    """As TAP lines, which the counting of all tests reads."""
    failed = 0
    for case in (MonitorTest, MigrateLoadTest):
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
        names = [test.id().split(".", 1)[1] for test in suite]
        result = unittest.TestResult()
        suite.run(result)
        wrongs = result.failures + result.errors
        bad = {test.id().split(".", 1)[1]: text for test, text in wrongs if hasattr(test, "_testMethodName")}
        whole = [text for test, text in wrongs if not hasattr(test, "_testMethodName")]
        skipped = result.skipped[0][1] if result.skipped else None
        for name in names:
            wrong = bad.get(name) or (whole[0] if whole else None)
            if wrong:
                failed += 1
                print("".join(f"# {line}\n" for line in wrong.splitlines()) + f"not ok - {name}", flush=True)
            else:
                print(f"ok - {name}" + (f" # skip: {skipped}" if skipped else ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
