# SPDX-License-Identifier: Apache-2.0
"""What is measured without moving anything: time to the guest's first byte, memory beside the guest's."""

import os
import re
import shutil
import subprocess
import time

import cases
import guest
from process import Console, Process, RunError
from qemu import Qemu
from vmm import Vmm

MEM = 256 << 20
CMDLINE = "ws=64M"
START_RUNS = 20
MEMORY_SETTLE_S = 1.0
VMA = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


def _argv(arm, tools):
    if arm == "vmm":
        return Vmm.argv(tools.vmm, MEM, CMDLINE, "extra")
    return Qemu.argv(tools.guest, MEM, CMDLINE)


def _env(tools):
    runtime = os.path.join(tools.scratch, "run")
    shutil.rmtree(runtime, ignore_errors=True)
    os.mkdir(runtime, 0o700)
    return dict(os.environ, VMM_RUNTIME_DIR=runtime)


def start_run(arm, tools):
    tools.warm(MEM)
    done = subprocess.run([tools.helper("firstbyte")] + _argv(arm, tools), env=_env(tools), check=False,
                          capture_output=True, text=True)
    if done.returncode:
        raise RunError(done.stderr.strip())
    return {"result": "completed", "first_byte_ms": int(done.stdout) / 1e6}


def _mappings(pid):
    """(size, anonymous, proportional) in KiB of every mapping."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as smaps:
        for line in smaps:
            if VMA.match(line):
                found.append({})
                continue
            fields = line.split()
            if fields[0] in ("Size:", "Anonymous:", "Pss:"):
                found[-1][fields[0]] = int(fields[1])
    return [(m.get("Size:", 0), m.get("Anonymous:", 0), m.get("Pss:", 0)) for m in found]


def beside_ram(mappings, ram_kib):
    """
    What is left without the guest's RAM. That is one mapping of exactly its size; should the kernel have split or merged it, it
    is the one mapping that holds most.
    """
    exact = [m for m in mappings if m[0] == ram_kib and m[1] > 0]
    ram = exact[0] if len(exact) == 1 else max(mappings, key=lambda m: m[1])
    return {"anonymous_mb": (sum(m[1] for m in mappings) - ram[1]) * 1024 / 1e6,
            "proportional_mb": (sum(m[2] for m in mappings) - ram[2]) * 1024 / 1e6,
            "ram_mapping_kib": ram[0], "ram_mapping_found_by": "size" if len(exact) == 1 else "contents"}


def memory_of(pid, ram_kib):
    return beside_ram(_mappings(pid), ram_kib)


def memory_run(arm, tools):
    process = Process(_argv(arm, tools), os.path.join(tools.scratch, "extra.log"), _env(tools))
    try:
        guest.wait_ready(Console(process))
        time.sleep(MEMORY_SETTLE_S)
        return {"result": "completed"} | memory_of(process.pid, MEM >> 10)
    finally:
        process.end()


RUNNERS = {"start": start_run, "memory": memory_run}
assert set(RUNNERS) == set(cases.EXTRA_CASES)
