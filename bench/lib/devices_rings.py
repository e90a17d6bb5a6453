# SPDX-License-Identifier: Apache-2.0
"""bench/devices on this machine's KVM: the built-in guest's own driver drives a disk (docs/spec/guest.md, section 8)."""

import collections
import os
import re
import shutil

import exits
import extras
import guest
from process import CpuMeter, Process, RunError, Console, now
import qemu
import vmm

MEM = 256 << 20
IMAGE_MIB = 64
LOAD_TIMEOUT_S = 120
DONE = re.compile(r"^vmm-guest: blk done requests=(\d+) .*elapsed_us=(\d+) per_s=(\d+) kicks=(\d+) maxgap_us=(\d+) bad=(\d+)")

Case = collections.namedtuple("Case", "name title load size_kib depth requests")

CASES = [
    Case("read-1", "4 KiB reads, one at a time", "READ", 4, 1, 20000),
    Case("read-32", "4 KiB reads, 32 under way", "READ", 4, 32, 150000),
    Case("write-1", "4 KiB writes, one at a time", "WRITE", 4, 1, 20000),
    Case("write-32", "4 KiB writes, 32 under way", "WRITE", 4, 32, 150000),
    Case("read-64k", "64 KiB reads, 8 under way", "READ", 64, 8, 30000),
    Case("write-64k", "64 KiB writes, 8 under way", "WRITE", 64, 8, 30000),
]
ARMS = ["vmm-pci", "vmm-mmio", "qemu", "qemu-uring"]
QUICK_PART = 10          # of the requests


class Tools:
    def __init__(self, build, scratch):
        self.vmm = os.path.abspath(f"{build}/src/vmm")
        self.guest = os.path.abspath(f"{build}/tests/guest/guest.elf")
        self.scratch = scratch


def _cmdline(case, requests):
    return (f"ws=0 report=0 blk={case.load} blk-size={case.size_kib}k blk-depth={case.depth} "
            f"blk-span={IMAGE_MIB}M blk-requests={requests}")


def _vmm_argv(arm, tools, image, cmdline):
    return vmm.Vmm.argv(tools.vmm, MEM, cmdline) + ["--transport", arm.removeprefix("vmm-"), "--disk", f"{image},id=disk"]


def _qemu_argv(arm, tools, image, cmdline):
    """The only transport that microvm has without firmware; QEMU's defaults but for what the arm is about."""
    engine = ",aio=io_uring" if arm == "qemu-uring" else ""
    return qemu.Qemu.argv(tools.guest, MEM, cmdline) + [
        "-global", "virtio-mmio.force-legacy=false", "-drive", f"file={image},format=raw,if=none,id=disk{engine}",
        "-device", "virtio-blk-device,drive=disk"]


def _image(tools):
    """Written in full, so that no run pays for a hole, and in the page cache: what is compared is the way there."""
    path = os.path.join(tools.scratch, "disk.img")
    if not os.path.exists(path):
        with open(path, "wb") as f:
            for _ in range(IMAGE_MIB):
                f.write(os.urandom(1 << 20))
    return path


def _measure(console, process, qmp, name):
    console.wait_for(r"^vmm-guest: ready ", guest.START_TIMEOUT_S)
    meter = CpuMeter(process.pid, name)
    vcpu_before = sum(meter.vcpus.values())
    exits_before = exits.of_qemu(qmp) if qmp else exits.of_process(process.pid)
    _, done = console.wait_for(DONE.pattern, LOAD_TIMEOUT_S)
    exits_after = exits.of_qemu(qmp) if qmp else exits.of_process(process.pid)
    others_s = meter.stop()
    requests, elapsed_us, per_s, kicks, gap_us, bad = map(int, done.groups())
    if bad:
        raise guest.GuestBad(f"{bad} wrong answers of the disk")
    record = {"result": "completed", "requests": requests, "elapsed_ms": elapsed_us / 1000, "per_s": per_s,
              "kicks_per_request": kicks / requests, "longest_us": gap_us,
              "device_us_per_request": others_s * 1e6 / requests,
              "vcpu_us_per_request": (sum(meter.vcpus.values()) - vcpu_before) / 1e3 / requests}
    for key, after in exits_after.items():
        if key in exits_before:
            record[f"{key}_per_request"] = (after - exits_before[key]) / requests
    return record


def run(arm, case, tools, quick):
    requests = case.requests // QUICK_PART if quick else case.requests
    cmdline = _cmdline(case, requests)
    image = _image(tools)
    if arm.startswith("vmm"):
        runtime = os.path.join(tools.scratch, "run")
        shutil.rmtree(runtime, ignore_errors=True)
        os.mkdir(runtime, 0o700)
        argv, env, name = _vmm_argv(arm, tools, image, cmdline), dict(os.environ, VMM_RUNTIME_DIR=runtime), vmm.VCPU_NAME
    else:
        path = os.path.join(tools.scratch, "qmp")
        argv = _qemu_argv(arm, tools, image, cmdline) + ["-qmp", f"unix:{path},server=on,wait=on"]
        env, name = None, qemu.VCPU_NAME
    process, qmp = Process(argv, os.path.join(tools.scratch, f"{arm}.log"), env), None
    try:
        if not arm.startswith("vmm"):
            qmp = qemu.Qmp(process, path)
        record = _measure(Console(process), process, qmp, name)
        record["mb_per_s"] = record["per_s"] * case.size_kib * 1024 / 1e6
        record.update(extras.memory_of(process.pid, MEM >> 10))
        record["total_s"] = now() - process.started
        return record
    except RunError as e:
        return {"result": "failed", "reason": str(e)}
    finally:
        if qmp:
            qmp.close()
            os.unlink(path)
        process.end()
