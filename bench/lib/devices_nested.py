# SPDX-License-Identifier: Apache-2.0
"""
bench/devices on an emulated host: one and the same Linux guest under vmm and under QEMU, both on that host's KVM. devices-nested.sh measures
there; here its output becomes records and tables.
"""

import collections
import os
import re
import subprocess
import sys

import extras
from process import BenchError, follow
import stats
import table

MEM_MIB = 192
SECONDS = 2              # of each load
LOAD_S = 6               # that a load takes with all around it, amply
BOOT_S = 60              # the same of a boot
MARGIN_S = 300

Case = collections.namedtuple("Case", "name title command unit")


def _disk_cases():
    for kind, title, size in (("random", "4 KiB", "4K"), ("sequential", "128 KiB, sequential", "128K")):
        for way in ("read", "write"):
            for depth in (1, 16):
                name = f"{'seq-' if kind == 'sequential' else ''}{way}-{depth}"
                under_way = "one at a time" if depth == 1 else f"{depth} under way"
                yield Case(name, f"disk: {way}s of {title}, {under_way}", f"disk /dev/vda {way} {kind} {size} {depth} {SECONDS}", "request")


CASES = list(_disk_cases()) + [
    Case("send", "network: one TCP stream from the guest", f"net HOST send {SECONDS}", "MB"),
    Case("receive", "network: one TCP stream to the guest", f"net HOST recv {SECONDS}", "MB"),
    Case("ping-pong", "network: one byte there and back over TCP, again and again", f"net HOST pingpong {SECONDS}", "request"),
]
ARMS = ["vmm-pci", "qemu-pci", "vmm-mmio", "qemu-mmio"]
MORE_ARMS = ["qemu-q35"]                 # where asked for
BOOT_ARMS = ["vmm-pci", "vmm-mmio", "qemu-lean"]
PAIRS = [("vmm-pci", "qemu-pci"), ("vmm-mmio", "qemu-mmio"), ("vmm-pci", "qemu-q35")]
QUICK_CASES = ("read-1", "send")
HOSTS = {"svm": "tests/nested/svm-host"}
FIRMWARE = ["bios-microvm.bin", "qboot.rom", "linuxboot_dma.bin", "kvmvapic.bin", "bios-256k.bin"]
FIRMWARE_DIRS = ["/usr/share/qemu", "/usr/share/seabios"]
NUMBER = re.compile(r"^\d+$")


def _program(name):
    for directory in os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/sbin"]:
        if os.access(f"{directory}/{name}", os.X_OK):
            return os.path.realpath(f"{directory}/{name}")
    raise BenchError(f"{name} is missing (packages: qemu-system-x86 e2fsprogs iproute2)")


def _firmware():
    """QEMU looks in these directories, in this order."""
    for name in FIRMWARE:
        for directory in FIRMWARE_DIRS:
            if os.path.exists(f"{directory}/{name}"):
                yield f"{directory}/{name}", f"{directory}/{name}"
                break


def _files(build, image):
    yield f"{build}/src/vmm", "/bin/vmm"
    yield f"{build}/src/vmm-ctl", "/bin/vmm-ctl"
    yield f"{build}/bench/load/device-load", "/bin/device-load"
    yield f"{build}/firstbyte", "/bin/firstbyte"
    yield _program("qemu-system-x86_64"), "/usr/bin/qemu-system-x86_64"
    yield _program("ip"), "/usr/sbin/ip"
    yield _program("mke2fs"), "/usr/sbin/mke2fs"
    yield from _firmware()
    for name in ("vmlinuz", "guest.cpio"):
        yield f"{image}/{name}", f"/bench/{name}"
    for name in os.listdir(f"{image}/modules"):
        yield f"{image}/modules/{name}", f"/bench/modules/{name}"


def _image(build, lib, scratch):
    """The guest's kernel and initramfs, and the host's modules."""
    done = subprocess.run([f"{lib}/devices-image", scratch, f"{build}/bench/load/device-load"], check=False)
    if done.returncode:
        raise BenchError("the guest's image could not be made (above)")
    return scratch


def _argv(arguments, scratch):
    lib = os.path.dirname(os.path.abspath(__file__))
    argv = [HOSTS[arguments.nested], "--run", f"{lib}/devices-nested.sh", "--mem", "4G"]
    boots = 0 if arguments.quick else arguments.boots
    argv += ["--timeout", str(MARGIN_S + len(arguments.arms) * (BOOT_S + arguments.runs * len(arguments.cases) * LOAD_S) +
                              boots * len(BOOT_ARMS) * BOOT_S)]
    for source, target in _files(arguments.build, _image(arguments.build, lib, scratch)):
        argv += ["--add", f"{source}:{target}"]
    return argv + ["--", "--arms", " ".join(arguments.arms), "--runs", str(arguments.runs), "--seconds", str(SECONDS),
                   "--cases", ";".join(f"{case.name}={case.command}" for case in arguments.cases),
                   "--boots", str(boots), "--boot-arms", " ".join(BOOT_ARMS), "--mem", str(MEM_MIB)]


def _fields(words):
    pairs = (word.split("=", 1) for word in words)
    return {key: int(value) if NUMBER.match(value) else value for key, value in pairs}


def _load_record(case, raw):
    """A load's figures, by request, or by megabyte of a stream."""
    seconds = raw["elapsed_us"] / 1e6
    count = raw["requests"] if case.unit == "request" else raw["bytes"] / 1e6
    if not count or not seconds:
        return {"result": "failed", "reason": "nothing was done", "raw": raw}
    record = {"result": "completed", "raw": raw, "mb_per_s": raw["bytes"] / 1e6 / seconds, "longest_us": raw["longest_us"],
              "exits_per_unit": raw["exits"] / count, "halts_per_unit": raw["halts"] / count,
              "vcpu_us_per_unit": raw["vcpu_us"] / count, "device_us_per_unit": max(0, raw["cpu_us"] - raw["vcpu_us"]) / count}
    if raw["requests"]:
        record["per_s"] = raw["requests"] / seconds
    if case.name in ("send", "receive") and raw["exits"]:
        record["packets_per_exit"] = raw["packets"] / raw["exits"]
    return record


class Output:
    """What the emulated host prints, line by line, as records."""

    def __init__(self, arguments, results, host):
        self.cases = {case.name: case for case in arguments.cases}
        self.results = results
        self.host = host
        self.mappings = {}
        self.ended = False

    def line(self, text):
        word, _, rest = text.strip().partition(" ")
        take = {"run": self._run, "boot": self._boot, "mapping": self._mapping, "host": self._host, "failed": self._failed}.get(word)
        try:
            if take and rest:
                take(rest)
        except (KeyError, ValueError) as e:
            raise BenchError(f"the emulated host says what nobody understands: {text.strip()}") from e
        if text.strip() == "# end":
            self.ended = True
        if word != "mapping":
            print(text.rstrip(), file=sys.stderr, flush=True)

    def _run(self, rest):
        raw = _fields(rest.split())
        case, arm, turn = raw.pop("case"), raw.pop("arm"), raw.pop("turn")
        self.results.add(case, arm, turn, _load_record(self.cases[case], raw))

    def _boot(self, rest):
        arm, turn, ns = rest.split()
        self.results.add("boot", arm, int(turn), {"result": "completed", "boot_ms": int(ns) / 1e6})

    def _mapping(self, rest):
        arm, *sizes = rest.split()
        self.mappings.setdefault(arm, []).append(tuple(map(int, sizes)))

    def _host(self, rest):
        key, _, value = rest.partition(" ")
        self.host[key] = value

    def _failed(self, rest):
        arm, _, reason = rest.partition(" ")
        self.results.add(reason.split(":")[0].split(" ")[0], arm, 0, {"result": "failed", "reason": reason})

    def add_memory(self):
        for arm, mappings in self.mappings.items():
            self.results.add("memory", arm, 1, {"result": "completed"} | extras.beside_ram(mappings, MEM_MIB << 10))


def measure(arguments, results, host, scratch):
    """Fills in RESULTS and HOST, the host's facts, with all that there is when it raises BenchError as well: the host did not come to its end."""
    output = Output(arguments, results, host)
    status = follow(_argv(arguments, scratch), output.line)
    output.add_memory()
    if status or not output.ended:
        raise BenchError(f"{HOSTS[arguments.nested]} ended with status {status} before the end")


def describe(host):
    return f"an emulated host: {host.get('cpu')} with {host.get('cpus')} CPUs, {host.get('kvm')}, Linux {host.get('kernel')}"


def _columns(case):
    columns = [("requests/s", "per_s", 0)] if case.unit == "request" else []
    columns += [("MB/s", "mb_per_s", 2)] if case.name != "ping-pong" else []
    columns += [(f"exits/{case.unit}", "exits_per_unit", 2), (f"halts/{case.unit}", "halts_per_unit", 2),
                (f"device CPU us/{case.unit}", "device_us_per_unit", 0), (f"vCPU us/{case.unit}", "vcpu_us_per_unit", 0)]
    return columns + ([("packets/exit", "packets_per_exit", 2)] if case.unit == "MB" else [])


def _case_table(case, arms, results):
    rows = [["arm"] + [title for title, _, _ in _columns(case)] + ["failed"]]
    for arm in arms:
        runs = results.of(case.name, arm)
        failed = sum(run["result"] != "completed" for run in runs)
        if runs:
            rows.append([arm] + [table.ranged(runs, field, digits) for _, field, digits in _columns(case)] + [str(failed) if failed else ""])
    return f"{case.title}  [{case.name}]\n{table.draw(rows)}" if len(rows) > 1 else ""


def _other_table(name, title, field, digits, arms, results):
    rows = [["arm", title]] + [[arm, table.ranged(results.of(name, arm), field, digits)] for arm in arms if results.of(name, arm)]
    return f"{title}  [{name}]\n{table.draw(rows)}" if len(rows) > 1 else ""


def _ratio(results, case, pair, field):
    found = stats.spread(results.ratios(case.name, *pair, field))
    return "-" if not found else "{:.2f} ({:.2f}-{:.2f})".format(*found)


def _ratio_table(arguments, results, pair):
    rows = [["case", "requests/s or MB/s", "exits", "device CPU", "vCPU"]]
    for case in arguments.cases:
        rate = "per_s" if case.unit == "request" else "mb_per_s"
        if results.ratios(case.name, *pair, rate):
            rows.append([case.name] + [_ratio(results, case, pair, field)
                                       for field in (rate, "exits_per_unit", "device_us_per_unit", "vcpu_us_per_unit")])
    return f"{pair[0]} / {pair[1]}, turn by turn\n{table.draw(rows)}" if len(rows) > 1 else ""


def tables(arguments, results):
    parts = [_case_table(case, arguments.arms, results) for case in arguments.cases]
    parts.append(_other_table("memory", "anonymous MB beside the guest's RAM", "anonymous_mb", 2, arguments.arms, results))
    parts.append(_other_table("boot", "start to init, ms", "boot_ms", 0, BOOT_ARMS, results))
    parts += [_ratio_table(arguments, results, pair) for pair in PAIRS]
    return "\n\n".join(part for part in parts if part)
