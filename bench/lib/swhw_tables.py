# SPDX-License-Identifier: Apache-2.0
"""
Rows of figures, looked up and named for bench/sw-vs-hw's report. A collection is what swhw.py writes as JSON: hosts, settings, rows,
timelines, conformance, failures, notes.
"""

import report_model as model
from swhw_settings import in_force, title_of

PATTERN_TITLES = {
    "sequential": "one after the other",
    "random": "in random order",
    "mixed": "one access in five writes",
    "sparse": "one access in fifty writes",
}
BACKENDS = ("bitmap", "manual", "ring", "uffd")


class ReportError(ValueError):
    """A collection that would make a report say what was not measured."""


class Collection:
    def __init__(self, data):
        self.data = data
        self.hosts = {host["id"]: host for host in data["hosts"]}
        self.rows = data["rows"]
        for row in self.rows:
            self._check(row)

    def _check(self, row):
        """A row says that an accelerator was in force: then `vmm caps` must have found it there. A prediction is no row."""
        if row.get("kind") == model.PREDICTION:
            raise ReportError(f"a prediction among the measured rows: {row.get('backend')} on {row.get('host_id')}")
        if row.get("host_id") not in self.hosts:
            raise ReportError(f"a row of an unknown host: {row.get('host_id')}")
        if not is_hardware(row):
            return
        if row["accel"] not in in_force(self.caps(row["host_id"], row["setting"]), row["setting"]):
            raise ReportError(f"a hardware row ({row['accel']}) of {row['host_id']}, {row['setting']}, where vmm caps found no such "
                              "accelerator")

    def settings(self, host_id):
        """Their names, in order."""
        return list(dict.fromkeys(s["setting"] for s in self.data["settings"] if s["host_id"] == host_id))

    def setting(self, host_id, name):
        return next((s for s in self.data["settings"] if (s["host_id"], s["setting"]) == (host_id, name)), None)

    def caps(self, host_id, name):
        return (self.setting(host_id, name) or {}).get("caps")

    def of(self, **wanted):
        return [row for row in self.rows if all(row.get(key) == value for key, value in wanted.items())]

    def one(self, **wanted):
        found = self.of(**wanted)
        return found[0] if found else None

    def values(self, key, **wanted):
        """The different values of a key, in the order of the rows."""
        return list(dict.fromkeys(row.get(key) for row in self.of(**wanted)))

    def backends(self, **wanted):
        found = self.values("backend", **wanted)
        return [name for name in BACKENDS if name in found] + [name for name in found if name not in BACKENDS]

    def kind(self, host_id):
        return model.EMULATED if self.hosts[host_id].get("emulated") else model.MEASURED

    def where(self, host_id):
        """What every figure's table says of its host."""
        host = self.hosts[host_id]
        facts = next((s["facts"] for s in self.data["settings"] if s["host_id"] == host_id), {})
        kernel = facts.get("kernel") or host.get("kernel")
        return f"{host['title']}, Linux {kernel}" if kernel else host["title"]

    def workload(self, host_id, workload):
        return f"{self.where(host_id)}; {workload}"

    def label(self, host_id, setting):
        """"pml=1 (intel-pml)": the setting and the accelerator that was in force for backends on KVM's log, rows or no rows."""
        accel = " ".join(sorted(in_force(self.caps(host_id, setting), setting))) or "software"
        return f"{title_of(setting)} ({accel})"

    def pairs(self, host_id):
        """[(software setting, hardware setting)] of one machine, each of the latter beside the one of the former."""
        hard = [s for s in self.settings(host_id) if any(map(is_hardware, self.of(host_id=host_id, setting=s)))]
        soft = [s for s in self.settings(host_id) if s not in hard]
        return [(soft[0], s) for s in hard] if soft else []


def is_hardware(row):
    return row.get("accel") not in (None, "none")


def pattern_title(name):
    return PATTERN_TITLES.get(name, name)


def median(figure):
    return figure["median"] if figure else None


def ends(figure):
    return (figure["min"], figure["max"]) if figure else None


def runs_text(rows):
    found = sorted({row["runs"] for row in rows})
    if not found:
        return ""
    span = f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return f"{span} run{'' if found == [1] else 's'}; medians, in brackets the least and the greatest where they differ"
