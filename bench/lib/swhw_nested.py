# SPDX-License-Identifier: Apache-2.0
"""
Emulated hosts for bench/sw-vs-hw: what each is, how it is started, and how results come out of it, as archives between two marks in
what it prints.
"""

import base64
import binascii
import dataclasses
import io
import os
import subprocess
import sys
import tarfile

from process import BenchError, follow

BEGIN = "-----begin results-----"
END = "-----end results-----"
MAX_ARCHIVE_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class NestedHost:
    name: str
    title: str
    short: str                   # for plots
    command: str                 # tests/nested/...: --run PROGRAM --add FILE:PATH
    options: tuple               # for it
    clock: str                   # what its figures are times of
    settings: tuple              # for reload-kvm
    turns: int                   # few: its clock counts instructions, so that its figures repeat
    conformance: str             # arguments of the suite
    sizes: dict                  # arguments of swhw-measure.sh
    build: str = ""              # below the build root: programs for it; this machine's own where it is empty
    kernel: tuple = ()           # a command that prints the path of its kernel


HOSTS = {
    "intel": NestedHost(
        name="intel",
        title="Intel Core i7-7800X, emulated by Bochs",
        short="Intel (Bochs)",
        command="tests/nested/intel-host",
        options=("--timeout", "5400"),
        clock="Bochs, emulated time",
        settings=("pml=0", "pml=1"),
        turns=2,
        # As tests/nested/intel-dirty: several vCPUs that spin keep the one processor from whoever polls them for minutes, and a case takes long.
        conformance="thp bitmap manual test_sequential test_random_2_vcpus_2_regions test_more_than_a_ring test_rearm_is_exact test_device_writes "
                    "test_kvm_writes test_after_a_failed_attempt test_running_on_after_finish",
        sizes={
            "--perf-options": "-b 16M -i 4 --timeout 300",
            "--monitor-options": "--mem 64M --runs 1 --seconds 4 --interval 1 --report 200 --settle 1",
            "--monitor-cmdline": "kv=MIX pattern=hot keys=20k value=256",
            "--load-options": "--mem 64M --runs 1 --report 100 --lead 25",
            "--load-cmdline": "kv=SET keys=10k value=256 clients=50 requests=150000 fill=sparse fillsize=16M",
        },
    ),
    "arm64": NestedHost(
        name="arm64",
        title="Arm Cortex-A76, emulated by QEMU",
        short="arm64 (QEMU)",
        command="tests/nested/arm64-host",
        options=("--cpu", "cortex-a76", "--icount", "1", "--timeout", "9000"),
        clock="QEMU, emulated time",
        settings=("accel=off", "accel=on,group=all", "accel=on,group=16", "accel=on,group=64", "accel=on,group=512"),
        turns=3,
        conformance="thp bitmap manual test_sequential test_random_2_vcpus_2_regions test_one_in_eight test_rearm_is_exact test_device_writes "
                    "test_unmapped_before_a_collect test_live_copy test_after_a_failed_attempt",
        sizes={
            "--perf-options": "-b 16M -i 4 --timeout 300",
            "--monitor-options": "--mem 64M --runs 1 --seconds 4 --interval 1 --report 200 --settle 1",
            "--monitor-cmdline": "kv=MIX pattern=hot keys=20k value=256",
            "--load-options": "--mem 64M --runs 1 --report 100 --lead 25",
            "--load-cmdline": "kv=SET keys=10k value=256 clients=50 requests=16000000 fill=sparse fillsize=16M",
        },
        build="arm64",
        kernel=("kernel/build",),
    ),
}


class Results:
    """Takes what a host prints, line by line: archives go to a directory, the rest is told."""

    def __init__(self, directory, tell):
        self.directory = directory
        self.tell = tell
        self.archive = None
        self.size = 0
        self.count = 0

    def line(self, text):
        text = text.strip("\r\n")
        if text == BEGIN:
            self.archive, self.size = [], 0
        elif text == END and self.archive is not None:
            self._unpack("".join(self.archive))
            self.archive = None
        elif self.archive is not None:
            self.archive.append(text.strip())
            self.size += len(text)
            if self.size > MAX_ARCHIVE_BYTES:
                raise BenchError("the host's results are larger than a bench's can be")
        else:
            self.tell(text)

    def _unpack(self, encoded):
        try:
            data = base64.b64decode(encoded, validate=True)
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                for member in archive:
                    self._extract(archive, member)
        except (binascii.Error, tarfile.TarError, EOFError, OSError) as e:
            raise BenchError(f"the host's results came out damaged: {e}") from e
        self.count += 1

    def _extract(self, archive, member):
        path = os.path.normpath(member.name)
        if os.path.isabs(path) or path.split(os.sep)[0] == "..":
            raise BenchError(f"the host's results name a file outside: {member.name}")
        target = os.path.join(self.directory, path)
        if member.isdir():
            os.makedirs(target, exist_ok=True)
        elif member.isfile():
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                f.write(archive.extractfile(member).read())


def kernel_of(host):
    """The arguments that give the host a kernel of its own; it is built where it is not in the cache."""
    if not host.kernel:
        return []
    try:
        done = subprocess.run(host.kernel, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    except OSError as e:
        raise BenchError(f"{host.kernel[0]}: {e}") from e
    if done.returncode or not done.stdout.strip():
        raise BenchError(f"{' '.join(host.kernel)} ended with status {done.returncode} (above)")
    return ["--kernel", done.stdout.split("\n")[-2]]


def measure_argv(host, build, lib, turns, steps, patterns):
    """The command line that boots the host and measures there. BUILD has the programs for it."""
    files = {
        f"{build}/src/vmm": "/bin/vmm",
        f"{build}/src/vmm-ctl": "/bin/vmm-ctl",
        f"{build}/bench/perf/dirty-log-perf": "/bin/dirty-log-perf",
        f"{build}/tests/integration/vmm/test-vmm-dirty-conformance": "/bin/dirty-conformance",
        f"{lib}/monitor.sh": "/bench/monitor.sh",
        f"{lib}/migrate-load.sh": "/bench/migrate-load.sh",
        f"{lib}/load-common.sh": "/bench/load-common.sh",
    }
    argv = [host.command, "--run", f"{lib}/swhw-measure.sh", *host.options]
    for source, target in files.items():
        argv += ["--add", f"{source}:{target}"]
    argv += ["--", "--out", "/tmp/results", "--drivers", "/bench", "--emit", "yes", "--turns", str(turns),
             "--kvm", " ".join(host.settings), "--steps", steps, "--patterns", patterns,
             "--conformance", f"/bin/dirty-conformance {host.conformance}"]
    for name, value in host.sizes.items():
        argv += [name, value]
    return argv


def run(argv, directory, tell=None):
    """Status of the host; its results lie in DIRECTORY. 124: out of time, 125: the host is of no use."""
    tell = tell or (lambda text: print(text, file=sys.stderr, flush=True))
    results = Results(directory, tell)
    status = follow(argv, results.line)
    if results.count == 0:
        raise BenchError(f"{argv[0]} ended with status {status} before anything was measured")
    return status
