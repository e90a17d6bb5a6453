# SPDX-License-Identifier: Apache-2.0
"""
What the model says about the two documents' own experiments, the published figures beside. Nothing here was measured by this project.
"""

import os

import model_sim
import published

VCPUS = 96
PAGES_PER_VCPU = (512 << 20) // 4096
PAGES = VCPUS * PAGES_PER_VCPU
ITERATIONS = 5
GROUPS = (16, 64, 512)
PHASES = (("dirty_ns", "dirty memory time"), ("get_ns", "get dirty log time"), ("clear_ns", "clear dirty log time"))
DOCUMENT_COSTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model-costs", "broadwell-2015.json")

# The PML series' guest: 4 vCPUs, 1 GB, the log read once a second. How many pages SPECjbb wrote a second nobody published.
MONITOR_VCPUS = 4
MONITOR_PAGES = (1 << 30) // 4096
MONITOR_RATES = (25000, 50000, 75000, 100000, 150000, 200000, 250000)


def _published_column(which):
    return {line["phase"]: line[which] * 1e9 for line in published.DIRTY_LOG_PERF["rows"]}


def software_costs():
    """
    Costs that the document's software column implies, and nothing else. With 96 vCPUs the faults' locked part is all that counts; one
    iteration in five has none, since logging starts with every page in the log.
    """
    column = _published_column("software")
    faulting = (ITERATIONS - 1) / ITERATIONS
    hold = column["dirty memory time"] / faulting / PAGES
    page = column["clear dirty log time"] / PAGES
    return {"visit_ns": 20, "fault_ns": hold, "fault_hold_ns": hold, "get_word_ns": column["get dirty log time"] / (PAGES / 64),
            "clear_page_ns": page, "arm_page_ns": page, "scan_page_ns": page}


def combined_scenario(accel, costs, group=64):
    return {"backend": "manual", "accel": accel, "group_pages": group, "vcpus": VCPUS, "pages_per_vcpu": PAGES_PER_VCPU,
            "iterations": ITERATIONS, "costs": costs, "clear_chunk_pages": 1 << 30,
            "pattern": {"kind": "sequential"}}


def _phases(result):
    steps = result["steps"]
    return {"dirty_ns": sum(s["dirty_ns"] for s in steps) / len(steps), "get_ns": result["get_ns"] / len(steps),
            "clear_ns": result["clear_ns"] / len(steps),
            "exits_per_page": result["counts"]["exits_per_logged_page"]}


def implied_scan_ns():
    """What one page's entry must have cost the document's machine to scan, for its own figure."""
    scanned = PAGES * (1 - 1 / 64) * (ITERATIONS - 1) / ITERATIONS
    return _published_column("hardware")["get dirty log time"] / scanned


def combined(simulator, host_sets, quick):
    """[(label, costs' origin, phases)]: from the document's own software column, then from this host's costs where it has some."""
    costs = software_costs()
    runs = [("software", "the document's software column", "none", 64, costs)]
    runs += [(f"combined, groups of {g}", "the document's software column", "combined", g, costs) for g in GROUPS]
    if not quick:
        for name, some in host_sets:
            runs.append(("software", name, "none", 64, some))
            runs.append(("combined, groups of 64", name, "combined", 64, model_sim.with_hardware(some)))
    results = simulator.run([combined_scenario(accel, c, group) for _, _, accel, group, c in runs], steps=True)
    return [(label, origin, _phases(r)) for (label, origin, _, _, _), r in zip(runs, results)]


# ---- the PML series ----

def monitor_scenario(accel, costs, pages_per_s, seconds=4):
    """Each vCPU goes round its part of the memory in order at such a pace that all together write PAGES_PER_S."""
    return {"backend": "bitmap", "accel": accel, "mode": "run", "vcpus": MONITOR_VCPUS, "pages_per_vcpu": MONITOR_PAGES // MONITOR_VCPUS,
            "duration_ns": int(seconds * 1e9), "interval_ns": 10 ** 9, "costs": costs,
            "pattern": {"kind": "sequential", "think_ns": 1e9 * MONITOR_VCPUS / pages_per_s - costs.get("visit_ns", 0)}}


def monitor(simulator, document):
    """[(pages a second, loss by write protection, loss by PML)], losses in percent."""
    sets = document["sets"]
    scenarios = [monitor_scenario(accel, sets[model_sim.key_of("bitmap", accel)], rate)
                 for rate in MONITOR_RATES for accel in ("none", "pml")]
    results = simulator.run(scenarios)
    return [(rate, 100 * results[2 * i]["loss"], 100 * results[2 * i + 1]["loss"]) for i, rate in enumerate(MONITOR_RATES)]


def monitor_published():
    losses = published.monitor_losses("without graphics")
    return losses["read", "write protection"], losses["read", "PML"]


def rate_of_difference(curve, difference):
    """The dirty rate at which the model's write protection costs that much more than its PML; None beyond the curve."""
    for (r0, w0, p0), (r1, w1, p1) in zip(curve, curve[1:]):
        d0, d1 = w0 - p0, w1 - p1
        if d0 <= difference <= d1 and d1 > d0:
            return r0 + (r1 - r0) * (difference - d0) / (d1 - d0)
    return None
