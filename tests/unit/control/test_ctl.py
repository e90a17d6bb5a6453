#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""vmm-ctl against fake VMs: which VM is meant, exit statuses, output, signals, reports, stale sockets.

usage: test_ctl.py FAKE-VM VMM-CTL SPEC-DIRECTORY"""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import unittest

try:
    import jsonschema
except ImportError as e:
    print(f"skip: python3 module missing: {e.name}")
    sys.exit(77)

import fakevm

PROGRAM, CTL, SPEC = sys.argv[1:4]
with open(os.path.join(SPEC, "migrate-report.schema.json"), encoding="utf-8") as f:
    SCHEMA = json.load(f)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


class Ctl(unittest.TestCase):
    def setUp(self):
        self.runtime = fakevm.Runtime(PROGRAM)
        self.addCleanup(self.runtime.__exit__)

    def popen(self, *args, **kwargs):
        return subprocess.Popen(["vmm", *args], executable=CTL, env=self.runtime.env, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **kwargs)

    def ctl(self, *args, status=0):
        process = self.popen(*args)
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, status, (args, out, err))
        if status == 0:
            self.assertEqual(err, "")
        else:
            self.assertEqual(err.count("\n"), 1 if status != 130 else err.count("\n"), err)
            self.assertTrue(err.startswith("vmm"), err)
        return out if status == 0 else err

    # ---- which VM ----

    def test_none(self):
        self.assertEqual(self.ctl("list"), "")
        self.assertEqual(self.ctl("list", "--json"), "[]\n")
        self.assertEqual(self.ctl("status", status=1), "vmm status: no VM is running\n")
        self.assertEqual(self.ctl("status", "a", status=1), "vmm status: no VM is named a; none is running\n")

    def test_the_only_one(self):
        self.runtime.start("r", "--state", "receiving")
        self.assertIn("no VM runs or is paused; there are: r (receiving)", self.ctl("pause", status=1))
        self.runtime.start("a")
        self.ctl("pause")
        self.ctl("resume")
        self.assertEqual(json.loads(self.ctl("status", "--json"))["name"], "a")
        self.runtime.start("b", "--state", "paused")
        self.assertIn("which VM? There are: a (running), b (paused), r (receiving)", self.ctl("pause", status=1))
        self.assertEqual(json.loads(self.ctl("resume", "b", "--json")), {"name": "b", "state": "running"})
        self.assertIn("no VM is named c; there are: a (running), b (running)", self.ctl("pause", "c", status=1))
        self.assertIn('"../a" is not a VM\'s name', self.ctl("pause", "../a", status=1))

    def test_list(self):
        for name, state in (("b", "paused"), ("a", "running"), ("c", "receiving")):
            self.runtime.start(name, "--state", state)
        lines = self.ctl("list").splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "STATE", "PID", "CPUS", "MEMORY", "UP", "KERNEL"])
        self.assertEqual([line.split()[:2] for line in lines[1:]], [["a", "running"], ["b", "paused"], ["c", "receiving"]])
        self.assertIn("2 GiB  12.3 s  built-in guest", lines[1])
        self.assertTrue(lines[3].endswith("127.0.0.1:35123"))
        self.assertEqual([v["name"] for v in json.loads(self.ctl("list", "--json"))], ["a", "b", "c"])

    def test_status(self):
        self.runtime.start("a")
        self.assertIn("\nstate      running\n", self.ctl("status"))
        text = self.ctl("status", "--counters")
        self.assertIn("\ncounter            value  vCPU 0  vCPU 1\nexits               1234    1000    1001\nserial.bytes_out      77\n", text)
        self.assertIn("\ndevices    disk0: blk /d.img, pci slot 1\n           console0: console, pci slot 2\n"
                      "           console0: port 0, /dev/pts/7\n           console1: port 1 \"agent\", unix:/a.sock\n", text)
        self.assertEqual(json.loads(self.ctl("status", "a", "--counters", "--json"))["counters"]["exits"], 1234)

    # ---- sockets ----

    def dead_socket(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)

    def test_stale_socket(self):
        self.ctl("list")
        stale, plain = (os.path.join(self.runtime.path, n) for n in ("a.sock", "b.sock"))
        self.dead_socket(stale)
        with open(plain, "w", encoding="utf-8") as f:
            f.write("mine")
        self.assertEqual(self.ctl("list"), "")
        self.assertFalse(os.path.lexists(stale))
        self.assertTrue(os.path.exists(plain))
        self.dead_socket(stale)
        self.runtime.start("a")
        with self.assertRaisesRegex(RuntimeError, "b.sock exists and is not a socket"):
            self.runtime.start("b")
        with open(plain, encoding="utf-8") as f:
            self.assertEqual(f.read(), "mine")

    def test_name_taken(self):
        self.runtime.start("a")
        with self.assertRaisesRegex(RuntimeError, "a VM named a is running"):
            self.runtime.start("a")
        with self.assertRaisesRegex(RuntimeError, "a VM named a is running"):
            self.runtime.start("a", "--api", os.path.join(self.runtime.directory.name, "x"))
        self.assertEqual(json.loads(self.ctl("status", "--json"))["state"], "running")

    def test_two_at_once_for_one_stale_name(self):
        for _ in range(5):
            self.ctl("list")
            path = os.path.join(self.runtime.path, "a.sock")
            self.dead_socket(path)
            both = [subprocess.Popen([PROGRAM, "a"], env=self.runtime.env, text=True, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
            ready = [p.stdout.readline() for p in both]
            self.assertEqual(sorted(bool(r) for r in ready), [False, True])
            self.assertEqual(json.loads(self.ctl("status", "a", "--json"))["pid"], both[ready[0] == ""].pid)
            for p in both:
                p.stdin.close()
                p.stdout.close()
                p.wait(20)
            self.assertFalse(os.path.lexists(path))

    def test_api_path(self):
        path = os.path.join(self.runtime.directory.name, "elsewhere")
        vm = self.runtime.start("a", "--api", path)
        link = os.path.join(self.runtime.path, "a.sock")
        self.assertEqual(os.readlink(link), path)
        self.assertEqual(len(self.ctl("list").splitlines()), 2)
        self.assertEqual(json.loads(self.ctl("status", "--api", path, "--json"))["name"], "a")
        self.assertIn("is named a", self.ctl("status", "b", "--api", path, status=1))
        self.assertIn("nobody answers", self.ctl("status", "--api", "/nonexistent", status=1))
        self.ctl("stop", "a")
        self.assertEqual(vm.process.wait(20), 0)
        self.assertFalse(os.path.lexists(link) or os.path.lexists(path))

    def test_crashed_vm_with_api_path(self):
        path = os.path.join(self.runtime.directory.name, "elsewhere")
        vm = self.runtime.start("a", "--api", path)
        vm.process.kill()
        vm.process.wait()
        self.assertEqual(self.ctl("list"), "")
        self.assertFalse(os.path.lexists(os.path.join(self.runtime.path, "a.sock")))
        self.runtime.start("a", "--api", path)
        self.assertEqual(len(self.ctl("list").splitlines()), 2)

    def test_runtime_directory_of_others(self):
        os.mkdir(self.runtime.path)
        os.chmod(self.runtime.path, 0o777)
        self.assertIn("others may write to it", self.ctl("list", status=1))

    # ---- usage ----

    def test_usage(self):
        for args, text in (
                (("migrate",), "vmm migrate: --to HOST:PORT is missing"),
                (("migrate", "--to", "h:1", "--max-downtime", "x"), 'vmm migrate: --max-downtime: expected a duration such as 300ms, got "x"'),
                (("migrate", "--to", "h:1", "--max-downtime", "300"), 'vmm migrate: --max-downtime: expected a duration such as 300ms, got "300"'),
                (("migrate", "--to", "h:1", "--max-downtime", "0"), "vmm migrate: --max-downtime: expected more than 0"),
                (("migrate", "--to", "h:1", "--max-bandwidth", "fast"), 'vmm migrate: --max-bandwidth: expected a rate such as 500MB/s or 1Gbit/s, got "fast"'),
                (("migrate", "--to", "h:1", "--on-timeout", "x"), 'vmm migrate: --on-timeout: expected cancel or switch, got "x"'),
                (("migrate", "--to", "h:1", "--compress", "zlib,level=0"), 'vmm migrate: --compress: expected auto, none or zlib[,level=1..9], got "zlib,level=0"'),
                (("migrate", "--to", "h:1", "--compress", "7"), 'vmm migrate: --compress: expected auto, none or zlib[,level=1..9], got "7"'),
                (("migrate", "--to", ""), 'vmm migrate: --to: expected HOST:PORT, got ""'),
                (("migrate", "--to"), "vmm migrate: a value is missing behind --to (see vmm migrate --help)"),
                (("migrate", "--tea"), "vmm migrate: unknown option --tea (see vmm migrate --help)"),
                (("migrate", "a", "b", "--to", "h:1"), "vmm migrate: unexpected argument b (see vmm migrate --help)"),
                (("list", "a"), "vmm list: unexpected argument a (see vmm list --help)"),
                (("stop", "-x"), "vmm stop: unknown option -x (see vmm stop --help)"),
                (("fly",), 'vmm: no command "fly" (see vmm --help)')):
            self.assertEqual(self.ctl(*args, status=2), text + "\n")

    def test_help(self):
        commands = [line.split()[0] for line in self.ctl("--help").splitlines() if line.startswith("  ")]
        self.assertEqual(commands, ["migrate", "dirtyrate", "list", "status", "pause", "resume", "stop", "balloon", "events"])
        for command in commands:
            text = self.ctl(command, "--help")
            self.assertTrue(text.startswith("usage: vmm " + command))
            self.assertLessEqual(max(map(len, text.splitlines())), 100)

    # ---- balloon and devices ----

    def test_balloon(self):
        self.runtime.start("a")
        self.assertEqual(self.ctl("balloon"), "asked      0 B\ngiven      0 B\nreported   0 B\n")
        self.assertEqual(self.ctl("balloon", "a", "--size", "1G"), "")
        self.assertEqual(json.loads(self.ctl("balloon", "--json"))["target_bytes"], 1 << 30)
        self.assertIn("total      2 GiB\n", self.ctl("balloon"))
        self.assertIn("--size: expected a size", self.ctl("balloon", "--size", "much", status=2))

    def test_devices(self):
        self.runtime.start("a")
        self.assertIn("\ndevices    disk0: blk /d.img, pci slot 1\n", self.ctl("status"))
        rows = [line.split() for line in self.ctl("status", "--counters").splitlines()]
        self.assertIn(["disk0.requests", "5"], rows)

    # ---- dirtyrate ----

    def test_dirtyrate(self):
        vm = self.runtime.start("a")
        report = json.loads(self.ctl("dirtyrate", "--json", "--for", "500ms", "--interval", "50ms", "--bandwidth", "1GB/s", "--max-downtime", "20ms",
                                     "--trace", "x/trace"))
        with open(os.path.join(SPEC, "dirtyrate.schema.json"), encoding="utf-8") as f:
            jsonschema.Draft202012Validator(json.load(f)).validate(report)
        # The VM's process writes the trace, whose working directory is its own.
        self.assertEqual((report["for_ms"], report["interval_ms"], report["prediction_basis"]["max_downtime_ms"], report["trace"]),
                         (500, 50, 20, os.path.join(os.getcwd(), "x/trace")))
        self.assertEqual(vm.request("GET", "vm.dirty-rate-status").json, report)

    def test_dirtyrate_text(self):
        self.runtime.start("a")
        out = self.ctl("dirtyrate")
        self.assertTrue(out.startswith("a: 1.00 s in 10 intervals of 100 ms, 2 GiB of RAM, tracking manual, accelerator none\n"), out)
        self.assertIn("\ndirty rate     20.0 k/s pages, 81.9 MB/s (19.0 k/s to 21.0 k/s)\n", out)
        self.assertIn("\nworking set    4100 pages (16.8 MB) in any interval\n", out)
        self.assertIn("\na dirtied page exits 1.10, faults -\n", out)
        self.assertIn("migrations with a downtime of at most 300 ms, predicted\n", out)
        rows = [line.split() for line in out.splitlines()]
        self.assertIn(["125", "MB/s", "yes", "3", "2.30", "s", "70.0", "ms", "285", "MB"], rows)
        self.assertIn(["1.25", "MB/s", "no", "30", "99.0", "s", "-", "123", "B"], rows)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)

    def test_dirtyrate_refused(self):
        vm = self.runtime.start("a")
        self.assertIn("--interval: expected at most as long as --for", self.ctl("dirtyrate", "--for", "10ms", "--interval", "11ms", status=2))
        self.assertEqual(json.loads(self.ctl("dirtyrate", "--for", "10ms", "--json"))["interval_ms"], 10)
        self.assertIn("--for: expected a duration", self.ctl("dirtyrate", "--for", "fast", status=2))
        self.assertIn("interval_ns: 1000 is not within", self.ctl("dirtyrate", "--interval", "1us", status=1))
        vm.request("PUT", "vm.send-migration", {"to": "wait:1"})
        self.assertEqual(self.ctl("dirtyrate", status=1), "vmm dirtyrate: a: cannot measure the dirty rate: busy\n")

    def test_dirtyrate_interrupted(self):
        vm = self.runtime.start("a")
        process = self.popen("dirtyrate", "--for", "2s", "--json")
        end = time.monotonic() + 20
        while not vm.request("GET", "vm.info").json["measuring"]:
            self.assertLess(time.monotonic(), end)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        self.assertEqual((process.returncode, json.loads(out)["result"]), (130, "cancelled"), err)
        self.assertFalse(vm.request("GET", "vm.info").json["measuring"])

    def test_dirtyrate_of_one_that_dies(self):
        self.runtime.start("a")
        self.assertIn("vmm dirtyrate: a: its control socket closed", self.ctl("dirtyrate", "--trace", "/x/die", status=1))

    # ---- migrate ----

    def test_moved(self):
        vm = self.runtime.start("a")
        report = os.path.join(self.runtime.directory.name, "report.json")
        lines = self.ctl("migrate", "--to", "ok:1", "--json", "--report", report, "--max-downtime", "50ms", "--compress", "none").splitlines()
        objects = [json.loads(line) for line in lines]
        for o in objects:
            VALIDATOR.validate(o)
        self.assertEqual([o.get("round") for o in objects], [1, 2, None])
        self.assertEqual((objects[2]["result"], objects[2]["rounds"], objects[2]["max_downtime_ms"], objects[2]["compress"]),
                         ("completed", 2, 50, "none"))
        with open(report, encoding="utf-8") as f:
            self.assertEqual(json.load(f), objects[2])
        self.assertEqual(sorted(os.listdir(self.runtime.directory.name)), ["report.json", "run"])
        self.assertEqual(vm.process.wait(20), 0)

    def test_moved_text(self):
        self.runtime.start("a")
        out = self.ctl("migrate", "--to", "ok:1")
        lines = out.splitlines()
        self.assertTrue(lines[0].startswith("round 1  410 MB  500 ms  820 MB/s"), lines[0])
        self.assertTrue(lines[1].startswith("round 2 "), lines[1])
        self.assertIn("\na moved to ok:1\n", out)
        self.assertIn("\ndowntime 10.0 ms, predicted 14.0 ms (4.00 ms shorter, -29 %); limit 300 ms\n", out)
        self.assertLessEqual(max(map(len, lines)), 120)
        self.assertNotIn("\033", out)

    def test_moved_terminal(self):
        self.runtime.start("a")
        leader, follower = pty.openpty()
        process = subprocess.Popen(["vmm", "migrate", "--to", "many:20"], executable=CTL, env=self.runtime.env, stdout=follower, stderr=follower)
        os.close(follower)
        out = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:
                break
            if not piece:
                break
            out += piece
        os.close(leader)
        self.assertEqual(process.wait(20), 0)
        text = out.decode().replace("\r\n", "\n")
        live, _, tables = text.rpartition("\r\033[K")
        self.assertGreaterEqual(live.count("\r\033[K"), 1)
        self.assertIn("  dirty 410 MB/s", live)
        self.assertLess(max(len(piece) for piece in live.split("\r\033[K")), 80)
        lines = tables.splitlines()
        self.assertEqual(lines[0].split()[:4], ["#", "time", "sent", "pages"])
        self.assertEqual([line.split()[0] for line in lines[1:21]], [str(n) for n in range(1, 20)] + ["last"])
        self.assertLessEqual(max(map(len, lines)), 100)
        self.assertIn("total                                    10.0 ms  100 %", tables)

    def test_failed(self):
        self.runtime.start("a")
        self.assertEqual(self.ctl("migrate", "--to", "fail:1", status=1), "vmm migrate: the destination closed the connection; a runs on here\n")
        self.assertIn('vmm migrate: a: to: "nowhere" is not HOST:PORT', self.ctl("migrate", "--to", "nowhere", status=1))
        self.ctl("migrate", "--to", "ok:1")

    def test_failed_report_file(self):
        self.runtime.start("a")
        self.assertIn("--report /nonexistent/x: No such file", self.ctl("migrate", "--to", "ok:1", "--report", "/nonexistent/x", status=2))
        self.assertIn("is a directory", self.ctl("migrate", "--to", "ok:1", "--report", self.runtime.path, status=2))
        self.assertEqual(json.loads(self.ctl("status", "--json"))["state"], "running")
        report = os.path.join(self.runtime.directory.name, "r")
        with open(report, "w", encoding="utf-8") as f:
            f.write("old")
        self.ctl("migrate", "--to", "nowhere", "--report", report, status=1)
        self.assertEqual(sorted(os.listdir(self.runtime.directory.name)), ["r", "run"])
        with open(report, encoding="utf-8") as f:
            self.assertEqual(f.read(), "old")

    def test_busy(self):
        vm = self.runtime.start("a")
        vm.request("PUT", "vm.send-migration", {"to": "wait:1"})
        self.assertIn("a: a migration is under way already", self.ctl("migrate", "--to", "ok:1", status=1))
        self.assertIn(" migrating ", self.ctl("list"))

    def test_unknown_outcome(self):
        self.runtime.start("a")
        self.assertIn("outcome unknown: no answer to the commit; a is paused here", self.ctl("migrate", "--to", "unknown:1", status=3))
        self.ctl("resume", status=1)
        self.ctl("resume", "--force")

    def test_process_gone(self):
        self.runtime.start("a")
        process = self.popen("migrate", "--to", "die:1")
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 3, err)
        self.assertIn("outcome unknown: the VM's process went away", err)

    def interrupted(self, sig):
        self.runtime.start("a")
        process = self.popen("migrate", "--to", "wait:1")
        self.assertTrue(process.stdout.readline().startswith("round 1"))
        process.send_signal(sig)
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(err, "vmm migrate: cancelling\nvmm migrate: cancelled; a runs on here\n")
        info = json.loads(self.ctl("status", "--json"))
        self.assertEqual((info["state"], info["migrating"]), ("running", False))

    def test_interrupt(self):
        self.interrupted(signal.SIGINT)

    def test_terminate(self):
        self.interrupted(signal.SIGTERM)

    # ---- stop, events ----

    def ended(self, vm, name, reason):
        self.assertEqual(vm.process.wait(20), 0, (name, reason))

    def test_stop(self):
        self.ended(self.stopped("builtin"), "builtin", "kill")
        self.ended(self.stopped("linux", "--kernel", "/boot/vmlinuz"), "linux", "power button")
        self.ended(self.stopped("receiver", "--state", "receiving"), "receiver", "kill")
        self.ended(self.stopped("unknown", "--state", "unknown"), "unknown", "kill")

    def stopped(self, name, *options):
        vm = self.runtime.start(name, *options)
        stream = fakevm.Stream(vm.socket)
        self.ctl("stop", name)
        reason = list(stream)[-1]["reason"]
        self.assertEqual(reason, "guest powered off" if name == "linux" else "stopped by the control socket")
        return vm

    def test_stop_deaf(self):
        vm = self.runtime.start("a", "--kernel", "deaf")
        process = self.popen("stop", "--timeout", "100ms")
        _, err = process.communicate(timeout=30)
        self.assertEqual((process.returncode, err), (0, "vmm stop: a did not power off in time: stopping it\n"))
        self.ended(vm, "a", "kill")
        vm = self.runtime.start("b", "--kernel", "deaf")
        self.ctl("stop", "--force")
        self.ended(vm, "b", "kill")

    def test_stop_paused(self):
        vm = self.runtime.start("a", "--state", "paused")
        self.assertIn("it is paused", self.ctl("stop", status=1))
        self.ctl("stop", "--force")
        self.ended(vm, "a", "kill")

    def test_events(self):
        vm = self.runtime.start("a")
        text, lines = self.popen("events"), self.popen("events", "--json")
        self.assertEqual(text.stdout.readline(), "state running\n")
        self.assertEqual(json.loads(lines.stdout.readline())["state"], "running")
        vm.request("PUT", "vm.send-migration", {"to": "ok:1"})
        out = text.communicate(timeout=30)[0].splitlines()
        self.assertEqual(out[-2:], ["migration completed", "state migrated: migrated"])
        events = [json.loads(line)["event"] for line in lines.communicate(timeout=30)[0].splitlines()]
        self.assertEqual(events[-2:], ["migration-done", "state"])
        self.assertEqual((text.returncode, lines.returncode), (0, 0))

    def test_events_broken(self):
        vm = self.runtime.start("a")
        process = self.popen("events")
        self.assertEqual(process.stdout.readline(), "state running\n")
        vm.process.kill()
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn("vmm events: ", err)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], warnings="ignore")
