# SPDX-License-Identifier: Apache-2.0
"""A VM's process: started, listened to, its CPU time measured, and certainly ended."""

import os
import re
import select
import subprocess
import threading
import time

READ_PAUSE_S = 0.002     # the guest writes byte by byte: more of it at once costs the bench less CPU time
SAMPLE_S = 0.005
_running = []


class BenchError(Exception):
    """What ends the bench with one clear line."""


class RunError(BenchError):
    """What ends one run: counted, shown, and the next one starts."""


def now():
    return time.monotonic()


def end_all():
    for process in list(_running):
        process.end()


def follow(argv, take):
    """Runs a program to its end and gives each line of its output to TAKE; its status. What TAKE raises ends it."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                          errors="replace") as popen:
        try:
            for line in popen.stdout:
                take(line)
        except BaseException:
            popen.terminate()
            raise
    return popen.returncode


class Process:
    """A program with its standard input and output on pipes; its messages go to a file."""

    def __init__(self, argv, log_path, env=None):
        self.argv = argv
        self.log_path = log_path
        with open(log_path, "wb") as log:
            self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                          env=env, bufsize=0)
        self.pid = self.popen.pid
        self.started = now()
        _running.append(self)

    def log_tail(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                lines = [line.strip() for line in log if line.strip()]
        except OSError:
            lines = []
        return " | ".join(lines[-3:]) or "no message"

    def alive(self):
        return self.popen.poll() is None

    def wait(self, timeout_s):
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self):
        if self.alive():
            self.popen.terminate()
            if self.wait(0.5) is None:
                self.popen.kill()
                self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe and not pipe.closed:
                pipe.close()
        if self in _running:
            _running.remove(self)


class Console(threading.Thread):
    """The guest's serial console: lines with the time at which their first byte came."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process = process
        self.lines = []              # (time, text)
        self.partial = b""
        self.partial_time = 0.0
        self.first_byte = None
        self.closed = False
        self.changed = threading.Condition()
        # Our own: the process's may be closed, and its number another process's, while the thread is about to read.
        self.fd = os.dup(process.popen.stdout.fileno())
        self.start()

    def run(self):
        while True:
            try:
                select.select([self.fd], [], [])
                time.sleep(READ_PAUSE_S)
                data = os.read(self.fd, 65536)
            except (OSError, ValueError):
                data = b""
            with self.changed:
                self._take(data)
                self.changed.notify_all()
            if not data:
                os.close(self.fd)
                return

    def _take(self, data):
        at = now()
        self.closed = not data
        if self.first_byte is None and data:
            self.first_byte = at
        if not self.partial:
            self.partial_time = at
        pieces = (self.partial + data.replace(b"\r", b"")).split(b"\n")
        for piece in pieces[:-1]:
            self.lines.append((self.partial_time, piece.decode("ascii", "replace")))
            self.partial_time = at
        self.partial = pieces[-1]

    def send(self, byte):
        try:
            self.process.popen.stdin.write(byte)
        except (BrokenPipeError, ValueError) as e:
            raise RunError("the guest's console is gone") from e

    def wait_for(self, pattern, timeout_s, after=0):
        """The first line from number AFTER on that matches; its number and its match."""
        expression = re.compile(pattern)
        deadline = now() + timeout_s
        at = after
        with self.changed:
            while True:
                while at < len(self.lines):
                    match = expression.search(self.lines[at][1])
                    if match:
                        return at, match
                    at += 1
                left = deadline - now()
                if left <= 0 or self.closed:
                    what = "closed" if self.closed else f"silent for {timeout_s} s"
                    last = self.lines[-1][1] if self.lines else "nothing"
                    raise RunError(f"console {what} while waiting for \"{pattern}\"; last line: {last}; "
                                   f"program: {self.process.log_tail()}")
                self.changed.wait(left)


def _read(path):
    try:
        with open(path, encoding="ascii") as f:
            return f.read()
    except OSError:
        return None


def _thread_cpu_ns(pid, tid):
    text = _read(f"/proc/{pid}/task/{tid}/schedstat")
    if text is None:
        return None
    return int(text.split()[0])


def _process_cpu_ns(pid):
    """The process's CPU clock, which counts threads that have ended (clock_getcpuclockid(3): the kernel's encoding)."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return None


class CpuMeter(threading.Thread):
    """
    CPU time of all threads of a process but its vCPUs, which are found by their names. Sampled, since a process may be gone
    the moment its VM has moved away.
    """

    def __init__(self, pid, vcpu_name):
        super().__init__(daemon=True)
        self.pid = pid
        self.vcpu_name = re.compile(vcpu_name)
        self.vcpus = {}
        self.others_ns = 0
        self.done = threading.Event()
        self._find_vcpus()
        self.base_ns = self._sample() or 0
        self.start()

    def _find_vcpus(self):
        try:
            tids = os.listdir(f"/proc/{self.pid}/task")
        except OSError:
            return
        for tid in tids:
            name = _read(f"/proc/{self.pid}/task/{tid}/comm")
            if tid not in self.vcpus and name and self.vcpu_name.match(name.strip()):
                self.vcpus[tid] = 0

    def _sample(self):
        if not self.vcpus:
            self._find_vcpus()
        total = _process_cpu_ns(self.pid)
        for tid in self.vcpus:
            ns = _thread_cpu_ns(self.pid, tid)
            self.vcpus[tid] = max(self.vcpus[tid], ns or 0)
        if total is None:
            return None
        return total - sum(self.vcpus.values())

    def run(self):
        while not self.done.wait(SAMPLE_S):
            if not self._keep(self._sample()):
                return

    def _keep(self, ns):
        if ns is not None:
            self.others_ns = max(self.others_ns, ns)
        return ns is not None

    def stop(self):
        """Seconds since it was made."""
        self._find_vcpus()
        self._keep(self._sample())
        self.done.set()
        self.join()
        return max(0, self.others_ns - self.base_ns) / 1e9
