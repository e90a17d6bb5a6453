# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on, for whoever compares them."""

import glob
import json
import os
import platform
import subprocess
import sys

from qemu import PROGRAM as QEMU


def _output(*argv):
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return None


def _field(text, name):
    for line in (text or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _caps(vmm):
    try:
        return json.loads(_output(vmm, "caps", "--json") or "")
    except ValueError:
        return None


def machine():
    """The processors, in the words of a table: "2 x AMD EPYC"."""
    return f"{os.cpu_count()} x {_field(_read('/proc/cpuinfo'), 'model name') or platform.machine()}"


def collect(vmm, qemu=False):
    """@vmm: path of the program, for its version and what it finds of KVM; QEMU's version where it takes part."""
    kvm = sorted(os.path.basename(path) for path in glob.glob("/sys/module/kvm*"))
    thp = "/sys/kernel/mm/transparent_hugepage"
    caps = _caps(vmm)
    found = {
        "machine": machine(),
        "kernel": platform.release(),
        "cpu": _field(_read("/proc/cpuinfo"), "model name"),
        "cpus": os.cpu_count(),
        "memory": _field(_read("/proc/meminfo"), "MemTotal"),
        "kvm_module": (caps or {}).get("kvm_module"),
        "kvm_modules": kvm,
        "thp": _read(f"{thp}/enabled"),
        "thp_shmem": _read(f"{thp}/shmem_enabled"),
        "load_at_start": os.getloadavg(),
        "vmm": _output(vmm, "--version"),
        "vmm_caps": caps,
        "commit": _output("git", "rev-parse", "HEAD"),
        "uncommitted_changes": bool(_output("git", "status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "arguments": sys.argv[1:],
    }
    if qemu:
        found["qemu"] = (_output(QEMU, "--version") or "").split("\n")[0]
    return found
