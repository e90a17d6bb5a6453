# SPDX-License-Identifier: Apache-2.0
"""Medians, ranges and ratios over runs. A run is a dict; those that did not complete have no figures."""

import statistics


def values(runs, field):
    return [run[field] for run in runs if run.get("result") == "completed" and run.get(field) is not None]


def median(runs, field):
    found = values(runs, field)
    return statistics.median(found) if found else None


def spread(found):
    """Median, least, greatest; or None."""
    return (statistics.median(found), min(found), max(found)) if found else None


SUMMARY_FIELDS = ("external_ms", "total_ms", "downtime_ms", "predicted_downtime_ms", "guest_gap_ms", "bytes_sent", "cpu_s",
                  "cpu_s_per_gb", "rounds", "pages_before_k", "pages_during_k", "pages_after_k", "first_byte_ms",
                  "anonymous_mb", "proportional_mb")


class Results:
    """All runs, by case and arm; one turn is one run of each arm."""

    def __init__(self):
        self.runs = []

    def add(self, case, arm, turn, record):
        self.runs.append({"case": case, "arm": arm, "turn": turn} | record)

    def of(self, case, arm):
        return [run for run in self.runs if run["case"] == case and run["arm"] == arm]

    def best_arm(self, case, arms, field, greatest=False):
        """The arm with the best median of a field, among those with figures."""
        found = [(median(self.of(case, arm), field), arm) for arm in arms]
        found = [pair for pair in found if pair[0] is not None]
        if not found:
            return None
        return (max(found) if greatest else min(found))[1]

    def ratios(self, case, arm, other, field):
        """arm/other turn by turn, where both have a figure."""
        base = {run["turn"]: run.get(field) for run in self.of(case, other) if run.get("result") == "completed"}
        found = []
        for run in self.of(case, arm):
            below = base.get(run["turn"])
            if run.get("result") == "completed" and run.get(field) is not None and below:
                found.append(run[field] / below)
        return found

    def summary(self):
        """[median, least, greatest] of each figure, by case and arm."""
        found = {}
        for case, arm in dict.fromkeys((run["case"], run["arm"]) for run in self.runs):
            runs = self.of(case, arm)
            figures = {field: spread(values(runs, field)) for field in SUMMARY_FIELDS}
            found.setdefault(case, {})[arm] = {"runs": len(runs), "completed": len(values(runs, "result"))} | {
                field: figure for field, figure in figures.items() if figure}
        return found
