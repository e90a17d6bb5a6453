# SPDX-License-Identifier: Apache-2.0
"""
What swhw-measure.sh left in a directory, as rows of figures. A row belongs to one host, one setting of its KVM, one bench, one
backend and one workload; the same row of several turns becomes one with the median and the range of the turns.
"""

import json
import os
import re

import dlp_rows
import load_migrate
import monitor
from process import BenchError
from report_model import figure_of, is_figure

IDENTITY = ("host_id", "setting", "bench", "backend", "workload", "arm")
# KVM's log is not asked by this backend, so what fills the log for KVM changes nothing for it.
WITHOUT_KVM_LOG = {"uffd": "finds writes through the host's page tables, KVM's log and its accelerator are not in use"}
# "conformance backend="ring of 1024" memory=thp cases=16 failed=0 written=... missed=..." or "... SKIP: reason"
CONFORMANCE = re.compile(r'conformance backend="([^"]*)" memory=(\w+) (?:SKIP: (.*)|(.*))')
CONFORMANCE_COUNTS = ("cases", "failed", "collects", "written", "missed", "invented", "tables")


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return None


def _facts(directory):
    return dict((line + " ").split(" ", 1) for line in (_read(os.path.join(directory, "facts")) or "").splitlines())


def _json(path):
    text = _read(path)
    try:
        return json.loads(text) if text else None
    except ValueError as e:
        raise BenchError(f"{path}: {e}") from e


def _failures(directory):
    """[(step, reason)]"""
    found = []
    for line in (_read(os.path.join(directory, "failed")) or "").splitlines():
        step, status, reason = (line.split(" ", 2) + ["", ""])[:3]
        found.append((step, f"status {status}: {reason}"))
    return found


class Setting:
    """One setting in one turn: a directory TURN/SETTING."""

    def __init__(self, directory, host_id, name, turn):
        self.directory, self.host_id, self.name, self.turn = directory, host_id, name, turn
        self.caps = _json(os.path.join(directory, "caps.json"))
        self.facts = {key: value.strip() for key, value in _facts(directory).items()}
        self.failures = _failures(directory)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def row_facts(self):
        """What dlp_rows.rows_from_lines may want of the host besides what the lines say themselves."""
        return {"machine": f"{self.facts.get('cpus')} x {self.facts.get('cpu')}"}

    def _take(self, step, read):
        """READ's rows; a directory that is not whole is a failure of that step, and the report says so."""
        try:
            return read()
        except (BenchError, ValueError) as e:      # dlp_rows.BadLine is a ValueError
            if not any(name == step for name, _ in self.failures):
                self.failures.append((step, str(e)))
            return []

    def perf_rows(self):
        directory = self.path("perf")
        rows = []
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            lines = (_read(os.path.join(directory, name)) or "").splitlines()
            for row in self._take("perf", lambda lines=lines: dlp_rows.rows_from_lines(lines, self.row_facts())):
                rows.append(row | {"bench": "dirty-log-perf", "pattern": name.removesuffix(".jsonl")})
        return rows

    def monitor_rows(self):
        if not os.path.isdir(self.path("monitor")):
            return []
        return [row | {"bench": "monitor"} for row in self._take("monitor", lambda: monitor.rows_of(self.path("monitor")))]

    def load_rows(self):
        """(rows, timelines)"""
        if not os.path.isdir(self.path("load")):
            return [], []
        found = self._take("load", lambda: load_migrate.rows_of(self.path("load")))
        if not found:
            return [], []
        rows, runs = found
        lines = [{"host_id": self.host_id, "setting": self.name, "turn": (self.turn, run.turn), "arm": run.arm,
                  "points": run.points(), "migrated_s": (run.window()[1] - run.start_ms) / 1000 if run.moved else None}
                 for run in runs]
        return [row | {"bench": "migrate-load"} for row in rows], lines

    def conformance(self):
        """What the suite counted, by backend and backing of the memory; `skipped` is the reason where it could not run."""
        found = []
        for backend, memory, skipped, rest in CONFORMANCE.findall(_read(self.path("conformance")) or ""):
            counts = dict(re.findall(r"(\w+)=(\d+)", rest))
            if skipped or all(name in counts for name in CONFORMANCE_COUNTS):
                found.append({"host_id": self.host_id, "setting": self.name, "backend": backend, "memory": memory, "skipped": skipped}
                             | {name: int(counts.get(name, 0)) for name in CONFORMANCE_COUNTS})
        return found


def _stamp(row, setting):
    row = row | {"host_id": setting.host_id, "setting": setting.name}
    reason = WITHOUT_KVM_LOG.get(row.get("backend"))
    if reason:
        row |= {"accel": "none", "accel_reason": reason}
    return row


def _key(row):
    return tuple(json.dumps(row.get(name), sort_keys=True) for name in IDENTITY) + (row.get("pattern"),)


def _merge_values(values):
    """The same place in the rows of several turns."""
    first = values[0]
    if all(is_figure(value) for value in values if value is not None):
        known = [value for value in values if value is not None]
        if len(known) <= 1:
            return known[0] if known else None
        return figure_of([value["median"] for value in known], known[0].get("unit"))
    if isinstance(first, list) and first and all(isinstance(item, dict) and "call" in item for item in first):
        return [_merge_rows([item for value in values for item in value if _call(item) == call]) for call in map(_call, first)]
    return first


def _call(item):
    return item["call"], item["phase"]


def _merge_rows(same):
    return {name: _merge_values([other.get(name) for other in same]) for name in same[0]}


def merge(rows):
    """One row for each that is in several turns; where a row has a range of its own, a turn counts with its median."""
    together = {}
    for row in rows:
        together.setdefault(_key(row), []).append(row)
    merged = []
    for same in together.values():
        row = _merge_rows(same)
        for count in ("pages_missed", "pages_extra"):
            if isinstance(row.get(count), int):
                row[count] = sum(other[count] for other in same)
        row["runs"] = sum(other.get("runs") or 1 for other in same)
        merged.append(row)
    return merged


def _natural(name):
    """Groups of 64 come before groups of 512."""
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", name)]


def read(directory, host_id):
    """{rows, timelines, conformance, settings, failures} of everything a host measured."""
    settings, rows, timelines, conformance = [], [], [], []
    for turn in sorted((name for name in os.listdir(directory) if name.isdigit()), key=int):
        for name in sorted(os.listdir(os.path.join(directory, turn)), key=_natural):
            setting = Setting(os.path.join(directory, turn, name), host_id, name, int(turn))
            load, lines = setting.load_rows()
            rows += [_stamp(row, setting) for row in setting.perf_rows() + setting.monitor_rows() + load]
            timelines += lines
            conformance += setting.conformance()
            settings.append(setting)
    return {
        "rows": merge(rows), "timelines": timelines, "conformance": conformance,
        "settings": [{"host_id": host_id, "setting": s.name, "facts": s.facts, "caps": s.caps} for s in settings if s.turn == 1],
        "failures": [{"host_id": host_id, "setting": s.name, "turn": s.turn, "step": step, "reason": reason}
                     for s in settings for step, reason in s.failures],
    }
