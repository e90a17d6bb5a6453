# SPDX-License-Identifier: Apache-2.0
"""One run: a guest started, moved, measured, verified."""

import json
import os
import subprocess
import time

import guest
from process import BenchError, Process, RunError, now
from qemu import Qemu
from vmm import Vmm
import cases

WINDOW_S = 0.5           # guest throughput before and after
SETTLE_S = 0.15          # the first report after a change may mix both
GAP_RESET_S = 0.05
WARM_SPARE = 256 << 20
WARM_HOLD_MS = 2300


class Tools:
    """Where the programs lie, and a place for sockets and logs."""

    def __init__(self, vmm, guest_image, helpers, scratch):
        self.vmm = os.path.abspath(vmm)
        self.guest = os.path.abspath(guest_image)
        self.helpers = os.path.abspath(helpers)
        self.scratch = scratch

    def helper(self, name):
        return os.path.join(self.helpers, name)

    def warm(self, size, hold_ms=0):
        """
        Milliseconds that touching took: far more than 100 a GiB says that the memory was cold, or the machine busy. With
        HOLD_MS what follows has memory that the host will not take away for the next two seconds (warm.c).
        """
        done = subprocess.run([self.helper("warm"), str(size), str(hold_ms)], check=False, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"warming {size >> 20} MiB up: {done.stderr.strip()}")
        return int(done.stdout) / 1e6


def make_arm(name, tools):
    cap = ["--max-bandwidth", cases.CAP]
    table = {
        "vmm": lambda: Vmm(name, tools),
        "qemu": lambda: Qemu(name, tools, 0),
        "qemu-multifd2": lambda: Qemu(name, tools, 2),
        "qemu-multifd4": lambda: Qemu(name, tools, 4),
        "vmm-none": lambda: Vmm(name, tools, ["--compress", "none"]),
        "vmm-auto": lambda: Vmm(name, tools, ["--compress", "auto"]),
        "vmm-none-capped": lambda: Vmm(name, tools, ["--compress", "none"] + cap),
        "vmm-auto-capped": lambda: Vmm(name, tools, ["--compress", "auto"] + cap),
        "vmm-zlib-capped": lambda: Vmm(name, tools, ["--compress", "zlib"] + cap),
    }
    return table[name]()


def raw_run(tools, case, total_bytes, busy):
    """Bare TCP with as many bytes as vmm sent in this turn."""
    argv = [tools.helper("rawtcp"), str(case.mem), str(total_bytes)]
    if busy:
        argv += [str(case.ws), str(case.rate)]
    warm_ms = [tools.warm(2 * case.mem + WARM_SPARE)]
    process = Process(argv, os.path.join(tools.scratch, "rawtcp.log"))
    try:
        out = process.popen.stdout
        if out.readline() != b"ready\n":
            raise RunError(f"rawtcp: {process.log_tail()}")
        warm_ms.append(tools.warm(case.mem + WARM_SPARE, WARM_HOLD_MS))
        process.popen.stdin.write(b"\n")
        answer = out.readline()
        if process.wait(10) != 0 or not answer:
            raise RunError(f"rawtcp: {process.log_tail()}")
    finally:
        process.end()
    found = json.loads(answer)
    return {"result": "completed", "external_ms": found["total_ns"] / 1e6, "total_ms": found["total_ns"] / 1e6,
            "bytes_sent": found["bytes"], "cpu_s": found["cpu_ns"] / 1e9,
            "cpu_s_per_gb": found["cpu_ns"] / found["bytes"], "warm_ms": warm_ms}


def _throughput(case, source, destination, before, outcome):
    if not case.busy:
        return {}
    start, end = outcome["start"], outcome["end"]
    points = guest.samples(source.console, destination.console)
    return {"pages_before_k": guest.rate(points, *before),
            "pages_during_k": guest.rate(points, start, end),
            "pages_after_k": guest.rate(points, end + SETTLE_S, end + SETTLE_S + WINDOW_S)}


def _watch_before(case):
    """The time before the migration over which throughput is taken."""
    if not case.busy:
        return (0, 0)
    time.sleep(SETTLE_S)
    start = now()
    time.sleep(WINDOW_S)
    return (start, now())


def _watch_after(case, destination):
    """Waits until the reports cover the time after the migration; the gap that the guest saw."""
    gap = guest.read_gap_ms(destination.console) if case.busy or case.ticks else None
    if case.busy:
        time.sleep(SETTLE_S + WINDOW_S + 0.2)
    return gap


def _measure(arm, case, source, destination, tools, record):
    before = _watch_before(case)
    record["warm_ms"].append(tools.warm(case.mem + WARM_SPARE, WARM_HOLD_MS))
    guest.reset_gap(source.console)
    time.sleep(GAP_RESET_S)
    meters = [arm.meter(source), arm.meter(destination)]
    outcome = arm.migrate(source, destination, case)
    cpu_s = [meter.stop() for meter in meters]
    record.update(arm.report(outcome))
    record["result"] = outcome["result"]
    record["external_ms"] = (outcome["end"] - outcome["start"]) * 1000
    record["cpu_source_s"], record["cpu_destination_s"] = cpu_s
    record["cpu_s"] = sum(cpu_s)
    if (record["bytes_sent"] or 0) > case.mem / 100:    # meaningless when hardly anything had to be sent
        record["cpu_s_per_gb"] = record["cpu_s"] / record["bytes_sent"] * 1e9
    if record["result"] != "completed":
        return
    record["guest_gap_ms"] = _watch_after(case, destination)
    record.update(_throughput(case, source, destination, before, outcome))
    record["over_limit"] = record["downtime_ms"] > case.limit_ms
    record["over_limit_guest"] = (record["guest_gap_ms"] or 0) > case.limit_ms
    record.update(guest.verify(destination.console))


def vm_run(arm, case, tools):
    """Raises RunError when this run cannot be counted, guest.GuestBad when the guest's memory is wrong."""
    source = destination = None
    record = {"warm_ms": [tools.warm(2 * case.mem + WARM_SPARE)]}
    try:
        source = arm.start_source(case)
        guest.wait_ready(source.console)
        record["boot_s"] = now() - source.process.started
        arm.prepare(source, case)
        destination = arm.start_destination(case)
        _measure(arm, case, source, destination, tools, record)
    finally:
        for vm in (destination, source):
            if vm:
                vm.end()
    return record
