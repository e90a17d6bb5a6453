# SPDX-License-Identifier: Apache-2.0
"""The model against measurements: calibrated on some configurations of a host, it predicts the others, with the error beside each."""

import model_cases
import model_sim
from process import BenchError

AIM_PERCENT = 20
# Shorter times are a handful of system calls and wake-ups: shown, but not judged.
JUDGED_FROM_NS = 200e3
FIGURES = (("dirty_first_ns", "dirty memory time, iteration 1"), ("dirty_later_ns", "dirty memory time, later iterations"),
           ("get_ns", "get dirty log time"), ("clear_ns", "clear dirty log time"), ("enable_ns", "enabling dirty logging time"),
           ("disable_ns", "disabling dirty logging time"), ("exits", "exits an iteration"), ("pages_written", "pages found an iteration"))


# Switching logging waits for a grace period of the kernel's: how long that is is the scheduler's affair, not tracking's.
UNJUDGED = ("enable_ns", "disable_ns")


class Calibrated:
    """One mechanism's costs on one host, and what came of predicting the rest."""

    def __init__(self, simulator, configurations, known):
        first = configurations[0]
        self.backend, self.accel, self.host = first.backend, first.accel, first.host
        self.used = model_cases.calibrates(configurations, known)
        alone = [c for c in self.used if c.options["vcpus"] == 1]
        if not alone:
            raise BenchError(f"{self.backend}: no run of one vCPU to calibrate on")
        self.costs = model_sim.fit(simulator, self.backend, self.accel, [(c.scenario(), c.median) for c in alone])
        self._lock(alone)
        self.errors = self._errors(simulator, configurations)

    def _lock(self, alone):
        together = [c for c in self.used if c.options["vcpus"] == 2]
        same = [a for a in alone if together and a.options["bytes_per_vcpu"] == together[0].options["bytes_per_vcpu"]
                and a.options["write_percent"] == 100 and not a.options["random"]]
        if same and self.accel == "none":
            self.costs = model_sim.add_lock(self.costs, same[0].median, together[0].median)

    def _errors(self, simulator, configurations):
        predictions = model_sim.predict(simulator, [dict(c.scenario(), costs=self.costs) for c in configurations])
        return [Outcome(c, p, c in self.used) for c, p in zip(configurations, predictions)]


class Outcome:
    """One configuration, predicted and measured."""

    def __init__(self, configuration, prediction, calibration):
        self.configuration = configuration
        self.prediction = prediction
        self.calibration = calibration

    def error_percent(self, name):
        """None where there is nothing to compare."""
        measured = self.configuration.median.get(name)
        if measured is None or not measured or (name == "clear_ns" and not self.prediction[name]):
            return None
        return 100 * (self.prediction[name] / measured - 1)

    def judged(self, name):
        if self.calibration or name in UNJUDGED or self.error_percent(name) is None:
            return False
        return not name.endswith("_ns") or self.configuration.median[name] >= JUDGED_FROM_NS


def calibrate(simulator, lines, known):
    """([Calibrated], [what was left out, and why])."""
    groups, left_out = {}, []
    for c in model_cases.configurations_of(lines):
        if c.accel is None:
            left_out.append(f"{c.backend} with {c.host['accel']}: the model has no such accelerator")
        else:
            groups.setdefault((c.host["machine"], c.backend, c.accel), []).append(c)
    return [Calibrated(simulator, group, known) for group in groups.values()], sorted(set(left_out))


def host_of(calibrated):
    """What a cost set is named by. BenchError for lines of several hosts: their costs are never mixed."""
    names = {(c.host["machine"], c.host["kernel"], c.host["kvm_module"]) for c in calibrated}
    if len(names) != 1:
        raise BenchError(f"the lines come from {len(names)} hosts; costs of one are never used for another")
    machine, kernel, module = names.pop()
    return f"{machine}, Linux {kernel}, {module}"


def costs_document(calibrated):
    host = host_of(calibrated)
    return model_sim.check_costs({
        "format": model_sim.FORMAT, "host": host, "source": "measured",
        "note": "fitted to dirty-log-perf's phases: " + "; ".join(sorted({c.workload for one in calibrated for c in one.used})),
        "sets": {model_sim.key_of(one.backend, one.accel): one.costs for one in calibrated}}, host)


def summary(calibrated):
    """{figure: (judged, within the aim, median |error|, greatest |error|)} over all mechanisms."""
    found = {}
    for name, _ in FIGURES:
        errors = sorted(abs(o.error_percent(name)) for one in calibrated for o in one.errors if o.judged(name))
        if errors:
            found[name] = (len(errors), sum(e <= AIM_PERCENT for e in errors), errors[len(errors) // 2], errors[-1])
    return found
