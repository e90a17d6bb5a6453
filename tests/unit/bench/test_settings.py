#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Loading KVM's module anew, against a pretended /sys/module and a pretended modprobe."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "bench", "lib"))

import swhw_settings  # noqa: E402
from process import BenchError  # noqa: E402

RELOAD = os.path.join(os.path.dirname(os.path.abspath(swhw_settings.__file__)), "swhw-reload.sh")


def caps(module, present=False):
    return {"kvm_module": module, "accelerators": [
        {"name": "Intel PML", "state": "present" if present else "absent", "reason": "kvm_intel.pml=Y" if present else "no such thing"},
        {"name": "AMD PML", "state": "absent", "reason": "kvm_amd is not loaded"}]}


class FakeKernel:
    """Knows one module; its defaults, and what it makes of parameters."""

    def __init__(self, root, name, defaults, stubborn=()):
        self.path = os.path.join(root, name)
        self.name = name
        self.defaults = defaults
        self.stubborn = stubborn         # parameters that stay as the hardware has them
        self.calls = []
        self.load({})

    def load(self, options):
        os.makedirs(os.path.join(self.path, "parameters"))
        for name, value in (self.defaults | {k: v for k, v in options.items() if k not in self.stubborn}).items():
            with open(os.path.join(self.path, "parameters", name), "w", encoding="ascii") as f:
                f.write({"0": "N", "1": "Y"}.get(value, value) + "\n")
        self.use(0)

    def use(self, count):
        with open(os.path.join(self.path, "refcnt"), "w", encoding="ascii") as f:
            f.write(f"{count}\n")

    def unload(self):
        subprocess.run(["rm", "-r", self.path], check=True)

    def run(self, argv, **_):
        self.calls.append(list(argv))
        if argv[0] == "rmmod":
            self.unload()
        else:
            self.load(dict(word.split("=") for word in argv[2:]))
        return subprocess.CompletedProcess(argv, 0, "", "")


class TestModule(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        self.kernel = FakeKernel(self.root, "kvm_intel", {"pml": "Y", "ept": "Y", "l1d": "not required"})

    def module(self):
        return swhw_settings.Module("kvm_intel", self.root, self.kernel.run)

    def test_untouched_is_not_reloaded(self):
        self.module().restore()
        self.assertEqual(self.kernel.calls, [])

    def test_restores_the_default(self):
        module = self.module()
        self.kernel.unload()
        self.kernel.load({"pml": "0"})
        module.restore()
        self.assertEqual(module.parameters(), {"pml": "Y", "ept": "Y", "l1d": "not required"})
        self.assertEqual(self.kernel.calls, [["rmmod", "kvm_intel"], ["modprobe", "kvm_intel"]])

    def test_restores_what_was_not_the_default(self):
        self.kernel.unload()
        self.kernel.load({"pml": "0", "ept": "0"})
        module = self.module()
        self.kernel.unload()
        self.kernel.load({"pml": "1"})
        module.restore()
        self.assertEqual(module.parameters(), module.found)
        self.assertEqual(self.kernel.calls[-1], ["modprobe", "kvm_intel", "ept=N", "pml=N"])

    def test_restores_a_module_that_did_not_load(self):
        module = self.module()
        self.kernel.unload()
        module.restore()
        self.assertEqual(self.kernel.calls, [["modprobe", "kvm_intel"]])

    def test_says_when_it_cannot(self):
        self.kernel.unload()
        self.kernel.load({"pml": "0"})
        module = self.module()
        self.kernel.stubborn = ("pml",)
        self.kernel.unload()
        with self.assertRaisesRegex(BenchError, "pml was N, is Y"):
            module.restore()

    def test_refuses_while_vms_run(self):
        self.kernel.use(2)
        if os.geteuid() != 0:
            self.skipTest("needs root to get as far")
        with self.assertRaisesRegex(BenchError, "in use \\(2\\)"):
            self.module().check()


class TestPlan(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name

    def test_nothing_to_switch(self):
        settings, module, why = swhw_settings.plan(caps("kvm_pvm"), True, self.root)
        self.assertEqual((settings, module), (["as-is"], None))
        self.assertIn("kvm_pvm", why)

    def test_not_asked(self):
        FakeKernel(self.root, "kvm_intel", {"pml": "Y"})
        settings, module, why = swhw_settings.plan(caps("kvm_intel", True), False, self.root)
        self.assertEqual((settings, module), (["as-is"], None))
        self.assertIn("--reload-kvm", why)

    def test_module_without_the_parameter(self):
        FakeKernel(self.root, "kvm_amd", {"npt": "Y"})
        self.assertIn("no parameter pml", swhw_settings.plan(caps("kvm_amd"), True, self.root)[2])

    def test_why_no_hardware(self):
        self.assertIsNone(swhw_settings.why_no_hardware(caps("kvm_intel", True)))
        self.assertIn("Intel PML: no such thing", swhw_settings.why_no_hardware(caps("kvm_pvm")))


class TestAsked(unittest.TestCase):
    CAPS = {"accelerators": [{"name": name, "state": "present", "reason": ""} for name in ("arm64 combined log", "arm64 DBM", "eager page split")]}

    def test_in_force(self):
        for setting, found in (("accel=off", set()), ("accel=on,group=16", {swhw_settings.COMBINED}), ("accel=on", {swhw_settings.COMBINED}),
                               ("accel=on,group=all", {swhw_settings.ALONE}), ("as-is", {swhw_settings.COMBINED})):
            self.assertEqual(swhw_settings.in_force(self.CAPS, setting), found, setting)
        self.assertEqual(swhw_settings.in_force({"accelerators": []}, "accel=on,group=16"), set())

    def test_groups(self):
        self.assertEqual([swhw_settings.group_of(s) for s in ("accel=on,group=16", "accel=on,group=all", "accel=off", "pml=1", "group=16")],
                         [16, 0, None, None, None])

    def test_titles(self):
        self.assertEqual([swhw_settings.title_of(s) for s in ("as-is", "accel=off", "accel=on,group=512", "accel=on,group=all", "pml=0")],
                         ["as found", "not asked", "groups of 512", "no groups, full scan", "pml=0"])


class TestReload(unittest.TestCase):
    """The script, with commands that it finds first on its PATH."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        self.kernel = FakeKernel(self.root, "kvm_intel", {"pml": "Y"})
        for name, body in {"rmmod": ":", "modprobe": f'echo "$*" >>{self.root}/modprobe.log; '
                                                     f'[ -n "$STUBBORN" ] || echo N >{self.kernel.path}/parameters/pml'}.items():
            path = os.path.join(self.root, name)
            with open(path, "w", encoding="ascii") as f:
                f.write(f"#!/bin/sh\n{body}\n")
            os.chmod(path, 0o755)

    def reload(self, *arguments, **more):
        env = dict(os.environ, PATH=f"{self.root}:{os.environ['PATH']}", SWHW_MODULE="kvm_intel", SWHW_SYSFS=self.root, **more)
        return subprocess.run(["sh", RELOAD, *arguments], env=env, capture_output=True, text=True, check=False, timeout=30)

    def test_loads_and_checks(self):
        done = self.reload("pml=0")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(f"{self.root}/modprobe.log", encoding="ascii") as f:
            self.assertEqual(f.read(), "kvm_intel pml=0\n")

    def test_what_is_not_in_force_is_an_error(self):
        done = self.reload("pml=0", STUBBORN="1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("in force is Y", done.stderr)

    def test_refuses_while_vms_run(self):
        self.kernel.use(3)
        done = self.reload("pml=0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("in use (3)", done.stderr)
        self.assertFalse(os.path.exists(f"{self.root}/modprobe.log"))


if __name__ == "__main__":
    unittest.main()
