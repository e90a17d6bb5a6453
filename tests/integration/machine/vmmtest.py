# SPDX-License-Identifier: Apache-2.0
"""What the tests of whole machines share: processes, consoles, the control socket, and results as TAP lines."""

import fcntl
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import termios
import time
import traceback

PROGRAM = os.environ.get("VMM", "vmm")
# How often as long as usual everything may take, on an emulated host.
SLOW = int(os.environ.get("VMM_TEST_SLOW", "1"))
# How long anything may take before it counts as hanging; nothing is asserted about times below it.
PATIENCE_S = 120 * SLOW
DEFAULT_DOWNTIME_MS = 300
# For a migration that is not about time: a busy host shall not keep a VM from moving.
PATIENT = ("--max-downtime", "30s")


class Failure(Exception):
    pass


class Skip(Exception):
    """A test that cannot be run here, and why."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_for(condition, what, patience_s=PATIENCE_S):
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise Failure(f"still waiting for {what} after {patience_s} s")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def take_terminal():
    """In the child, whose standard input a terminal is: its session's."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Vm:
    """A `vmm run` or `vmm receive` process with its serial console on a unix socket. With a terminal it is in its foreground."""

    def __init__(self, world, name, arguments, terminal=None):
        self.world, self.name = world, name
        self.console_path = os.path.join(world.directory, name + ".console")
        self.log_path = os.path.join(world.directory, name + ".log")
        self.output, self.console = b"", None
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, *arguments, "--name", name, "--console", "unix:" + self.console_path],
                stdin=subprocess.DEVNULL if terminal is None else terminal, stdout=log if terminal is None else terminal,
                stderr=log, env=world.environment, preexec_fn=None if terminal is None else take_terminal)
        world.vms.append(self)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def listen_address(self):
        def announced():
            check(self.process.poll() is None, f"{self.name} ended: {self.log()}")
            for word in self.log().replace(",", " ").split():
                if word.startswith("127.0.0.1:"):
                    return word
            return None
        return wait_for(announced, f"{self.name} to listen")

    def connect_console(self):
        console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            console.connect(self.console_path)
        except (FileNotFoundError, ConnectionRefusedError):  # not bound yet, or not listening yet
            console.close()
            return None
        console.setblocking(False)
        return console

    def read_console(self):
        if not self.console:
            self.console = wait_for(self.connect_console, f"{self.name}'s console")
        try:
            while data := self.console.recv(65536):
                self.output += data
        except BlockingIOError:
            pass
        except ConnectionResetError:
            pass
        return self.output.decode(errors="replace")

    def wait_console(self, text):
        def seen():
            check("BAD " not in self.read_console(), f"{self.name}: {self.output.decode(errors='replace')}")
            return text in self.read_console()
        wait_for(seen, f"\"{text}\" on {self.name}'s console")

    def type(self, keys):
        self.read_console()
        self.console.sendall(keys.encode())

    def api(self, method, route, body=None):
        connection = UnixConnection(os.path.join(self.world.runtime, self.name + ".sock"))
        connection.request(method, "/api/v1/" + route, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, json.loads(data) if data else None

    def state(self):
        return self.api("GET", "vm.info")[1]["state"]

    def wait_end(self):
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name} did not end: {self.log()}") from error

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def verify(self):
        """Stops the guest's work, has it check every word it owns, and ends it."""
        self.type("s")
        self.wait_console("vmm-guest: PASS")
        check(self.wait_end() == 0, f"{self.name} ended badly: {self.log()}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.console:
            self.console.close()


def for_this_host(arguments):
    """The same command, with a default that a slow host can keep."""
    if SLOW == 1 or arguments[:1] != ("migrate",) or "--to" not in arguments or "--max-downtime" in arguments:
        return arguments
    return (*arguments, "--max-downtime", f"{DEFAULT_DOWNTIME_MS * SLOW}ms")


class World:
    """A runtime directory of its own; everything in it ends with it."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="vmm-test-")
        self.runtime = os.path.join(self.directory, "run")
        os.mkdir(self.runtime, 0o700)
        self.environment = dict(os.environ, VMM_RUNTIME_DIR=self.runtime)
        self.vms = []
        return self

    def __exit__(self, *unused):
        for vm in self.vms:
            vm.kill()
        shutil.rmtree(self.directory)

    def run(self, name="a", mem="64M", cpus=2, cmdline="ws=16M fill=random fillsize=all report=200", extra=(), terminal=None):
        vm = Vm(self, name, ["run", "--mem", mem, "--cpus", str(cpus), "--cmdline", cmdline, *extra], terminal)
        vm.wait_console("vmm-guest: ready")
        return vm

    def receive(self, name="b", extra=(), terminal=None):
        vm = Vm(self, name, ["receive", "--listen", "127.0.0.1:0", *extra], terminal)
        vm.address = vm.listen_address()
        return vm

    def vmm(self, *arguments):
        """Runs a client command to its end: status, stdout, stderr."""
        done = subprocess.run([PROGRAM, *for_this_host(arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=self.environment, timeout=PATIENCE_S, check=False)
        return done.returncode, done.stdout, done.stderr

    def attempt(self, *arguments):
        """`vmm run` that is expected to fail: its one line."""
        status, _, err = self.vmm("run", "--mem", "64M", "--console", "null", *arguments)
        check(status == 1 and err.count("\n") == 1, f"{arguments}: {status}: {err}")
        return err

    def start(self, *arguments):
        return subprocess.Popen([PROGRAM, *for_this_host(arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.environment)

    def fails_to_move(self, source, destination, *messages):
        """A migration that the destination refuses, for what the messages say."""
        status, out, err = self.vmm("migrate", source.name, "--to", destination.address, "--json", *PATIENT)
        check(status == 1, f"{status}: {out}{err}")
        for message in messages:
            check(message in err, f"\"{err}\" does not say {message}")
        check(destination.wait_end() == 1, destination.log())

    def migrate(self, source, destination, *extra):
        """Moves source to destination; the report."""
        status, out, err = self.vmm("migrate", source.name, "--to", destination.address, "--json", *extra)
        check(status == 0, f"vmm migrate: exit status {status}: {err}{out}")
        check(source.wait_end() == 0, f"the source ended badly: {source.log()}")
        return json.loads(out.splitlines()[-1])


def main(tests):
    """Runs the functions, each with a world of its own; names on the command line select."""
    failed = 0
    for test in tests:
        name = test.__name__.removeprefix("test_").replace("_", " ")
        if len(sys.argv) > 1 and test.__name__ not in sys.argv[1:]:
            continue
        try:
            with World() as world:
                try:
                    test(world)
                except Skip:
                    raise
                except BaseException:
                    for vm in world.vms:
                        print(f"# {vm.name}: {vm.log()}# console: {vm.output[-2000:].decode(errors='replace')}")
                    raise
            print(f"ok - {name}", flush=True)
        except Skip as why:
            print(f"ok - {name} # skip: {why}", flush=True)
        except (Failure, OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print(f"not ok - {name}: {error}", flush=True)
    return 1 if failed else 0


