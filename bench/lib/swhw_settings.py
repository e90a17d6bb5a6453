# SPDX-License-Identifier: Apache-2.0
"""
Which settings of dirty tracking a host can switch, and switching them back. Loading KVM's module anew is for whoever asks for it: it
takes the module from under everybody, so it refuses while VMs run, and whatever happens the parameters that were found return.
"""

import dataclasses
import os
import subprocess

from process import BenchError

MODPROBE_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True)
class Switch:
    """One accelerator that is the host's to switch, by a parameter of KVM's module."""
    accelerator: str             # as `vmm caps` names it
    module: str
    parameter: str

    def settings(self):
        return (f"{self.parameter}=0", f"{self.parameter}=1")


SWITCHES = (
    Switch("Intel PML", "kvm_intel", "pml"),
    Switch("AMD PML", "kvm_amd", "pml"),
)

# `vmm caps` lists it beside the hardware, but it finds no writes.
HELPERS = ("eager page split",)

# A setting that is vmm's own option: KVM on arm64 uses the hardware for a VM that asked. It begins with this, and --dirty-accel follows.
ASKED = "accel="
COMBINED, ALONE = "arm64-combined-log", "arm64-dbm"


class Module:
    """A loaded kernel module and the parameters it was found with."""

    def __init__(self, name, sysfs="/sys/module", run=subprocess.run):
        self.name = name
        self.sysfs = os.path.join(sysfs, name)
        self._run = run
        self.found = self.parameters()

    def _read(self, *path):
        with open(os.path.join(self.sysfs, *path), encoding="ascii", errors="replace") as f:
            return f.read().strip()

    def parameters(self):
        directory = os.path.join(self.sysfs, "parameters")
        found = {}
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            try:
                found[name] = self._read("parameters", name)
            except OSError:
                pass             # some are for root's eyes, or for writing alone
        return found

    def users(self):
        try:
            return int(self._read("refcnt"))
        except (OSError, ValueError):
            return 0

    def _command(self, *argv):
        try:
            done = self._run(argv, check=False, capture_output=True, text=True, timeout=MODPROBE_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise BenchError(f"{argv[0]}: {e}") from e
        if done.returncode:
            raise BenchError(f"{' '.join(argv)}: {done.stderr.strip() or f'status {done.returncode}'}")

    def check(self):
        """BenchError with the reason when the module cannot be loaded anew now."""
        if os.geteuid() != 0:
            raise BenchError(f"--reload-kvm: loading {self.name} anew needs root")
        if self.users():
            raise BenchError(f"--reload-kvm: {self.name} is in use ({self.users()}): a VM runs on this host, and it stays")

    def _load(self, options):
        if os.path.isdir(self.sysfs):
            self._command("rmmod", self.name)
        self._command("modprobe", self.name, *options)

    def restore(self):
        """
        As it was found. Loaded plainly first, since some parameters show words that they do not take; what differs then is given.
        """
        if os.path.isdir(self.sysfs) and self.parameters() == self.found:
            return
        self._load([])
        differs = [f"{name}={value}" for name, value in self.found.items() if self.parameters().get(name) != value]
        if differs:
            self._load(differs)
        now = self.parameters()
        wrong = [f"{name} was {value}, is {now.get(name)}" for name, value in self.found.items() if now.get(name) != value]
        if wrong:
            raise BenchError(f"{self.name} could not be put back as it was: {'; '.join(wrong)}")


def switch_of(caps):
    """The switch of the module that this host's KVM is, or None."""
    return next((switch for switch in SWITCHES if switch.module == (caps or {}).get("kvm_module")), None)


def accelerators(caps):
    """[(name, state, reason)] as `vmm caps` found them."""
    return [(item["name"], item["state"], item["reason"]) for item in (caps or {}).get("accelerators", ())]


def asked_of(setting):
    """What --dirty-accel is under such a setting; None where a setting is KVM's."""
    return setting.removeprefix(ASKED) if setting.startswith(ASKED) else None


def group_of(setting):
    """Pages of a group, 0 for the hardware alone, None where there are no groups."""
    _, found, group = setting.rpartition("group=")
    if asked_of(setting) is None or not found:
        return None
    return 0 if group == "all" else int(group)


def title_of(setting):
    """In a report's words."""
    if setting == "as-is":
        return "as found"
    if asked_of(setting) == "off":
        return "not asked"
    group = group_of(setting)
    if group is None:
        return setting
    return f"groups of {group}" if group else "no groups, full scan"


def in_force(caps, setting="as-is"):
    """
    The hardware that finds writes here, by the names that rows and reports have for it: {"intel-pml"}. Of arm64's two ways a VM has the
    one that it asked for, groups where it did not say.
    """
    found = {name.lower().replace(" ", "-") for name, state, _ in accelerators(caps) if state == "present" and name not in HELPERS}
    if asked_of(setting) == "off":
        return found - {COMBINED, ALONE}
    return found - ({COMBINED} if group_of(setting) == 0 else {ALONE})


def why_no_hardware(caps):
    """One line for a host on which no hardware finds writes; None where some does."""
    if in_force(caps):
        return None
    found = [f"{name}: {reason}" for name, _, reason in accelerators(caps) if name not in HELPERS]
    return "; ".join(found) or "vmm caps names no accelerator"


def plan(caps, reload_allowed, sysfs="/sys/module"):
    """(settings to run under, Module to restore or None, a line that says why it is not more)."""
    switch = switch_of(caps)
    if switch is None:
        return ["as-is"], None, f"one setting, since {(caps or {}).get('kvm_module') or 'this KVM'} has no accelerator to switch"
    path = os.path.join(sysfs, switch.module, "parameters", switch.parameter)
    if not os.path.exists(path):
        return ["as-is"], None, f"one setting, since this kernel's {switch.module} has no parameter {switch.parameter}"
    if not reload_allowed:
        with open(path, encoding="ascii") as f:
            now = f.read().strip()
        return ["as-is"], None, (f"one setting, {switch.module}.{switch.parameter}={now} as found: the other one needs the module "
                                 "loaded anew (--reload-kvm)")
    module = Module(switch.module, sysfs)
    module.check()
    return list(switch.settings()), module, ""
