# SPDX-License-Identifier: Apache-2.0
"""QEMU as the other side of the comparison: microvm, driven over QMP."""

import collections
import json
import os
import socket

from process import Console, CpuMeter, Process, RunError, now

PROGRAM = "qemu-system-x86_64"
VCPU_NAME = r"CPU \d+/KVM"
UNLIMITED_BANDWIDTH = 10 ** 12
MIGRATE_TIMEOUT_S = 120


class Qmp:
    """One QMP connection; events are kept until somebody waits for them."""

    def __init__(self, process, path):
        self.process = process
        self.socket = socket.socket(socket.AF_UNIX)
        self.events = collections.deque()
        self.buffer = b""
        deadline = now() + 20
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError as e:
                if now() > deadline or not process.alive():
                    raise RunError(f"QMP: {e}; program: {process.log_tail()}") from e
                process.wait(0.01)
        self._message(20)
        self.command("qmp_capabilities")

    def _message(self, timeout_s):
        deadline = now() + timeout_s
        while b"\n" not in self.buffer:
            left = deadline - now()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            except OSError as e:
                raise RunError(f"QMP: {e}") from e
            if not data:
                raise RunError(f"QEMU went away: {self.process.log_tail()}")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def command(self, name, timeout_s=30, **arguments):
        request = {"execute": name}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self._message(timeout_s)
            if message is None:
                raise RunError(f"QMP: no answer to {name}")
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise RunError(f"QMP: {name}: {message['error'].get('desc')}")
            else:
                return message["return"]

    def wait_event(self, wanted, timeout_s):
        """The first event for which wanted(event) is true; None when none comes in time."""
        deadline = now() + timeout_s
        while True:
            while self.events:
                event = self.events.popleft()
                if wanted(event):
                    return event
            message = self._message(max(0, deadline - now()))
            if message is None:
                return None
            if "event" in message:
                self.events.append(message)

    def close(self):
        self.socket.close()


class Vm:
    def __init__(self, process, qmp):
        self.process = process
        self.qmp = qmp
        self.console = Console(process)
        self.address = None

    def end(self):
        self.qmp.close()
        self.process.end()


class Qemu:
    """An arm of the comparison: CHANNELS is 0 for the default, or the number of multifd channels."""

    vcpu_name = VCPU_NAME

    def __init__(self, name, tools, channels):
        self.name = name
        self.tools = tools
        self.channels = channels

    @staticmethod
    def argv(guest, mem, cmdline):
        return [PROGRAM, "-M", "microvm,acpi=off", "-enable-kvm", "-cpu", "host,-arch-capabilities", "-smp", "1",
                "-m", f"{mem >> 20}M", "-no-user-config", "-nodefaults", "-display", "none",
                "-name", "vs-qemu,debug-threads=on", "-chardev", "stdio,id=console,signal=off",
                "-serial", "chardev:console", "-kernel", guest, "-append", cmdline]

    def _start(self, which, case, extra):
        path = os.path.join(self.tools.scratch, f"{which}.qmp")
        if os.path.exists(path):
            os.unlink(path)
        process = Process(self.argv(self.tools.guest, case.mem, case.cmdline) +
                          ["-qmp", f"unix:{path},server=on,wait=off"] + extra,
                          os.path.join(self.tools.scratch, f"{which}.log"))
        try:
            return Vm(process, Qmp(process, path))
        except RunError:
            process.end()
            raise

    def _configure(self, vm, case):
        capabilities = [{"capability": "events", "state": True}]
        parameters = {"max_bandwidth": UNLIMITED_BANDWIDTH, "downtime_limit": case.limit_ms}
        if self.channels:
            capabilities.append({"capability": "multifd", "state": True})
            parameters["multifd_channels"] = self.channels
        vm.qmp.command("migrate-set-capabilities", capabilities=capabilities)
        vm.qmp.command("migrate-set-parameters", **parameters)

    def start_source(self, case):
        return self._start("source", case, [])

    def start_destination(self, case):
        vm = self._start("destination", case, ["-incoming", "defer"])
        try:
            self._configure(vm, case)
            vm.qmp.command("migrate-incoming", uri="tcp:127.0.0.1:0")
            address = vm.qmp.command("query-migrate")["socket-address"][0]
            vm.address = f"{address['host']}:{address['port']}"
        except (RunError, KeyError, IndexError):
            vm.end()
            raise
        return vm

    def prepare(self, source, case):
        self._configure(source, case)

    def migrate(self, source, destination, case):
        """Both ends: from the command until the destination says that its VM runs."""
        del case
        start = now()
        source.qmp.command("migrate", uri=f"tcp:{destination.address}")
        ended = source.qmp.wait_event(
            lambda e: e["event"] == "MIGRATION" and e["data"]["status"] in ("completed", "failed", "cancelled"),
            MIGRATE_TIMEOUT_S)
        if ended is None:
            return self._unfinished(source, start)
        if ended["data"]["status"] != "completed":
            info = source.qmp.command("query-migrate")
            raise RunError(f"QEMU: {ended['data']['status']}: {info.get('error-desc', 'no reason given')}")
        if destination.qmp.wait_event(lambda e: e["event"] == "RESUME", 30) is None:
            raise RunError("QEMU: the destination does not run")
        end = now()
        return {"result": "completed", "start": start, "end": end, "info": source.qmp.command("query-migrate")}

    @staticmethod
    def _unfinished(source, start):
        source.qmp.command("migrate_cancel")
        return {"result": "timeout", "start": start, "end": now(), "info": source.qmp.command("query-migrate")}

    @staticmethod
    def report(outcome):
        info = outcome["info"]
        ram = info.get("ram", {})
        return {"total_ms": info.get("total-time"), "downtime_ms": info.get("downtime"),
                "bytes_sent": ram.get("transferred"), "rounds": ram.get("dirty-sync-count"),
                "predicted_downtime_ms": None, "details": info}

    def meter(self, vm):
        return CpuMeter(vm.process.pid, self.vcpu_name)
