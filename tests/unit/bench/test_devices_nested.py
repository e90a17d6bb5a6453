#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/devices makes of an emulated host's output."""

import argparse
import contextlib
import io
import os
import sys
import unittest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
sys.path.insert(0, os.path.join(TOP, "bench/lib"))
sys.dont_write_bytecode = True

import devices_nested  # noqa: E402
from process import BenchError  # noqa: E402
import stats  # noqa: E402

READ = ("run case=read-1 arm={arm} turn={turn} cpu_us=900000 vcpu_us=500000 exits=3000 halts=1000 packets=0 "
        "requests={requests} bytes=4096000 elapsed_us=2000000 longest_us=700")
SEND = ("run case=send arm=vmm-pci turn=1 cpu_us=900000 vcpu_us=500000 exits=3000 halts=1000 packets=6000 "
        "requests=0 bytes=20000000 elapsed_us=2000000 longest_us=0")


class Output(unittest.TestCase):
    def setUp(self):
        self.arguments = argparse.Namespace(cases=devices_nested.CASES, arms=devices_nested.ARMS)
        self.results = stats.Results()
        self.output = devices_nested.Output(self.arguments, self.results, {})

    def take(self, *lines):
        with contextlib.redirect_stderr(io.StringIO()):
            for line in lines:
                self.output.line(line + "\n")

    def test_requests(self):
        self.take(READ.format(arm="vmm-pci", turn=1, requests=1000))
        run, = self.results.of("read-1", "vmm-pci")
        self.assertEqual((run["per_s"], run["mb_per_s"], run["exits_per_unit"], run["halts_per_unit"]), (500, 2.048, 3, 1))
        self.assertEqual((run["device_us_per_unit"], run["vcpu_us_per_unit"], run["turn"]), (400, 500, 1))
        self.assertNotIn("packets_per_exit", run)

    def test_stream(self):
        self.take(SEND)
        run, = self.results.of("send", "vmm-pci")
        self.assertEqual((run["mb_per_s"], run["exits_per_unit"], run["packets_per_exit"]), (10, 150, 2))
        self.assertNotIn("per_s", run)

    def test_nothing_done_is_a_failure(self):
        self.take(READ.format(arm="vmm-pci", turn=1, requests=0))
        self.assertEqual(self.results.of("read-1", "vmm-pci")[0]["result"], "failed")

    def test_ratios_within_a_turn(self):
        for turn, (ours, theirs) in enumerate([(1000, 500), (300, 100)]):
            self.take(READ.format(arm="vmm-pci", turn=turn, requests=ours), READ.format(arm="qemu-pci", turn=turn, requests=theirs))
        self.assertEqual(self.results.ratios("read-1", "vmm-pci", "qemu-pci", "per_s"), [2, 3])
        self.assertIn("2.50 (2.00-3.00)", devices_nested.tables(self.arguments, self.results))

    def test_memory_is_without_the_guests(self):
        ram_kib = devices_nested.MEM_MIB << 10
        self.take(f"mapping vmm-pci {ram_kib} 100000 100000", "mapping vmm-pci 4096 1000 1200")
        self.output.add_memory()
        run, = self.results.of("memory", "vmm-pci")
        self.assertEqual(run["anonymous_mb"], 1.024)

    def test_boot_host_failure_end(self):
        self.take("host cpus 2", "boot qemu-lean 3 1500000000", "failed qemu-pci read-1: not done", "# end")
        self.assertEqual(self.results.of("boot", "qemu-lean")[0]["boot_ms"], 1500)
        self.assertEqual(self.results.of("read-1", "qemu-pci")[0]["result"], "failed")
        self.assertEqual((self.output.host, self.output.ended), ({"cpus": "2"}, True))

    def test_damaged_line(self):
        for line in ("run case=read-1 arm=vmm-pci", "run case=nothing arm=vmm-pci turn=1", "boot vmm-pci 1", "mapping vmm-pci x"):
            with self.subTest(line), self.assertRaises(BenchError):
                self.take(line)


if __name__ == "__main__":
    unittest.main()
