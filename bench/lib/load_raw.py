# SPDX-License-Identifier: Apache-2.0
"""Directories that the scripts with guests under load (load-common.sh) have written, read and checked."""

import dataclasses
import json
import os
import re

from process import BenchError

# The Linux guest with redis says less: it sees no gaps, and checks its data at the end.
REPORT = re.compile(r"^(?:vmm-guest: t_ms=(\d+) (?:pages|requests)=(\d+) pass=\d+ gap_us=\d+ maxgap_us=\d+ bad=(\d+)"
                    r"|redis-guest: t_ms=(\d+) requests=(\d+)$)")
BUILT_IN = "built-in guest"
GUEST = re.compile(r"^(?:vmm|redis)-guest: (.*)")
FIELD = re.compile(r"(\w+)=(\S+)")


class RawError(BenchError):
    """A directory that is not what a script writes, or a run that must not be counted."""


@dataclasses.dataclass(frozen=True)
class Sample:
    t_ms: int                    # the guest's own clock
    count: int                   # visits or requests since the work began


def _fields(line):
    return dict(FIELD.findall(line))


class Guest:
    """What a guest said on its console, from `ready` to its verdict (docs/spec/guest.md, section 6)."""

    def __init__(self, path):
        self.path = path
        self.samples, self.sums, self.verified = [], [], None
        self.ready = self.done = self.verdict = None
        with open(path, encoding="ascii", errors="replace") as f:
            for line in f:
                self._take(line.rstrip("\r\n"))
        if self.ready is None or self.verdict != "PASS":
            raise RawError(f"{path}: the guest did not end with PASS (it said {self.verdict or 'nothing'})")

    def _take(self, line):
        match = REPORT.match(line)
        if match:
            t_ms, count, bad = [int(group) for group in match.groups() if group is not None] + ([0] if match[3] is None else [])
            self.samples.append(Sample(t_ms, count))
            if bad:
                raise RawError(f"{self.path}: the guest found bad memory at t_ms={t_ms}")
        elif line.startswith("BAD "):
            raise RawError(f"{self.path}: {line}")
        elif GUEST.match(line):
            self._take_other(GUEST.match(line)[1])

    def _take_other(self, text):
        word = text.split(" ", 1)[0]
        if word == "ready":
            self.ready = _fields(text)
        elif word == "done":
            self.done = {key: int(value) for key, value in _fields(text).items()}
        elif word == "ram":
            self.sums.append(_fields(text)["sum"])
        elif word == "verified":
            self.verified = {key: int(value) for key, value in _fields(text).items()}
        elif word in ("PASS", "FAIL"):
            self.verdict = word

    def between(self, start_ms, end_ms):
        return [sample for sample in self.samples if start_ms <= sample.t_ms <= end_ms]


def rate(samples):
    """Work a second over a stretch of reports; None when there are not two."""
    if len(samples) < 2 or samples[-1].t_ms <= samples[0].t_ms:
        return None
    return (samples[-1].count - samples[0].count) * 1000 / (samples[-1].t_ms - samples[0].t_ms)


def rates(samples):
    """[(time of its middle, its length in ms, work a second)] of each interval between reports."""
    return [((a.t_ms + b.t_ms) / 2, b.t_ms - a.t_ms, (b.count - a.count) * 1000 / (b.t_ms - a.t_ms))
            for a, b in zip(samples, samples[1:]) if b.t_ms > a.t_ms]


class Raw:
    """A directory. `settings` are the script's arguments, `turns` the words of its lines."""

    def __init__(self, directory):
        self.directory = directory
        if not os.path.exists(self.path("complete")):
            raise RawError(f"{directory}: not complete: the run that wrote it has failed")
        self.settings = dict(self._pairs("settings"))
        self.host = {}
        for line in self._lines("host"):
            setting, key, value = (line.split(" ", 2) + ["", ""])[:3]
            self.host.setdefault(setting, {})[key] = value
        self.turns = [line.split(" ") for line in self._lines("turns")]

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def _lines(self, name):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as f:
                return [line.rstrip("\n") for line in f if line.strip()]
        except OSError as e:
            raise RawError(f"{self.path(name)}: {e.strerror}") from e

    def _pairs(self, name):
        return [(line + " ").split(" ", 1) for line in self._lines(name)]

    def setting(self, key):
        value = self.settings.get(key, "").strip()
        if not value:
            raise RawError(f"{self.path('settings')}: no {key}")
        return value

    def objects(self, name):
        """All JSON objects of a file, one behind the other."""
        found, decoder, at = [], json.JSONDecoder(), 0
        try:
            with open(self.path(name), encoding="utf-8") as f:
                text = f.read().rstrip()
            while at < len(text):
                value, at = decoder.raw_decode(text, at)
                found.append(value)
                at += len(text) - at - len(text[at:].lstrip())
        except (OSError, ValueError) as e:
            raise RawError(f"{self.path(name)}: {e}") from e
        if not found or not all(isinstance(item, dict) for item in found):
            raise RawError(f"{self.path(name)}: no JSON objects")
        return found

    def guest(self, name):
        try:
            return Guest(self.path(name))
        except OSError as e:
            raise RawError(f"{self.path(name)}: {e.strerror}") from e

    def names(self):
        """KVM's settings that were gone through, in order."""
        return list(self.host)

    def identity(self, setting, status, workload):
        """What a row of figures begins with. STATUS is what `vmm status` said of the VM."""
        host = self.host[setting]
        caps = self.objects(f"{setting}.caps.json")[-1]
        return {
            "setting": setting,
            "backend": status.get("dirty_backend"),
            "accel_asked": status.get("dirty_accel_asked"),
            "accel": status.get("dirty_accel"),
            "accel_reason": status.get("dirty_accel_reason"),
            "machine": f"{host.get('cpus')} x {host.get('cpu') or 'unknown processor'}",
            "kernel": host.get("kernel"),
            "kvm_module": caps.get("kvm_module"),
            "parameters": {key: value for key, value in host.items() if "." in key},
            "guest_cpus": int(self.setting("cpus")),
            "guest_mem": self.setting("mem"),
            "workload": workload,
            "guest_system": host.get("guest", BUILT_IN),
        }


def machine_line(row):
    """One line that says what a row was measured on."""
    parameters = " ".join(f"{key}={value}" for key, value in row["parameters"].items())
    return (f"{row['machine']}, Linux {row['kernel']}, {row['kvm_module'] or 'kvm'}{' ' + parameters if parameters else ''}, "
            f"accelerator {row['accel'] or 'none'}"
            + (f" ({row['accel_reason']})" if row["accel_reason"] else ""))
