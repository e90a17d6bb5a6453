# SPDX-License-Identifier: Apache-2.0
"""vmm, used as its user would: vmm run, vmm receive, vmm migrate --json."""

import json
import os
import shutil
import subprocess

from process import Console, CpuMeter, Process, RunError, now

VCPU_NAME = r"vcpu ?\d+"
MIGRATE_TIMEOUT_S = 120


class Vm:
    def __init__(self, process):
        self.process = process
        self.console = Console(process)
        self.address = None

    def end(self):
        self.process.end()


class Vmm:
    """An arm of the comparison; OPTIONS go to `vmm migrate`."""

    vcpu_name = VCPU_NAME

    def __init__(self, name, tools, options=()):
        self.name = name
        self.tools = tools
        self.options = list(options)
        self.runtime = os.path.join(tools.scratch, "run")
        self.env = dict(os.environ, VMM_RUNTIME_DIR=self.runtime)

    @staticmethod
    def argv(vmm, mem, cmdline, name="source"):
        return [vmm, "run", "--name", name, "--mem", f"{mem >> 20}M", "--cmdline", cmdline, "--console", "stdio"]

    def start_source(self, case):
        shutil.rmtree(self.runtime, ignore_errors=True)
        os.mkdir(self.runtime, 0o700)
        return Vm(Process(self.argv(self.tools.vmm, case.mem, case.cmdline),
                          os.path.join(self.tools.scratch, "source.log"), self.env))

    def start_destination(self, case):
        del case
        vm = Vm(Process([self.tools.vmm, "receive", "--name", "destination", "--listen", "127.0.0.1:0",
                         "--console", "stdio"], os.path.join(self.tools.scratch, "destination.log"), self.env))
        try:
            vm.address = self._address(vm)
        except RunError:
            vm.end()
            raise
        return vm

    def _address(self, vm):
        deadline = now() + 20
        while now() < deadline and vm.process.alive():
            asked = subprocess.run([self.tools.vmm, "status", "destination", "--json"], env=self.env, check=False,
                                   capture_output=True, text=True, timeout=20)
            try:
                address = json.loads(asked.stdout).get("listen") if asked.returncode == 0 else None
            except ValueError:
                address = None
            if address:
                return address
            vm.process.wait(0.02)
        raise RunError(f"vmm receive does not listen: {vm.process.log_tail()}")

    def prepare(self, source, case):
        pass

    def migrate(self, source, destination, case):
        """Both ends: from just before `vmm migrate` starts until it has ended."""
        argv = [self.tools.vmm, "migrate", "source", "--to", destination.address,
                "--max-downtime", f"{case.limit_ms}ms", "--json"] + self.options
        start = now()
        with subprocess.Popen(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as client:
            try:
                out, complaint = client.communicate(timeout=MIGRATE_TIMEOUT_S)
                end = now()
                timed_out = False
            except subprocess.TimeoutExpired:
                client.terminate()
                out, complaint = client.communicate()
                end = now()
                timed_out = True
        objects = self._objects(out)
        last = objects[-1] if objects and "result" in objects[-1] else {}
        if not timed_out and last.get("result") != "completed":
            raise RunError(f"vmm: {complaint.strip() or last or 'vmm migrate said nothing'}; "
                           f"source: {source.process.log_tail()}; destination: {destination.process.log_tail()}")
        return {"result": "timeout" if timed_out else "completed", "start": start, "end": end, "info": last}

    @staticmethod
    def _objects(out):
        try:
            return [json.loads(line) for line in out.splitlines() if line.strip()]
        except ValueError as e:
            raise RunError(f"vmm migrate --json: {e}") from e

    @staticmethod
    def report(outcome):
        info = outcome["info"]
        return {"total_ms": info.get("total_ms"), "downtime_ms": info.get("downtime_ms"),
                "bytes_sent": info.get("bytes_sent"), "rounds": info.get("rounds"),
                "predicted_downtime_ms": info.get("predicted_downtime_ms"), "details": info}

    def meter(self, vm):
        return CpuMeter(vm.process.pid, self.vcpu_name)
