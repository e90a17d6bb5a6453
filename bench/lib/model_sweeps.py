# SPDX-License-Identifier: Apache-2.0
"""
Where each mechanism wins: one thing swept at a time, a guest that runs while its log is read. Two figures: what part of its vCPUs' time the
guest loses, and the CPU time that a dirtied page costs guest and reader together.
"""

import model_sim
from process import BenchError

VCPUS = 4
PAGES_PER_VCPU = 65536
INTERVAL_MS = 1000
STEPS_PER_S = 50000          # by each vCPU, where the rate is not what is swept

# (label, backend, accelerator, further keys). The ring and userfaultfd appear where the host's costs have them.
SOFTWARE = (("bitmap", "bitmap", "none", {}), ("manual", "manual", "none", {}), ("ring", "ring", "none", {}),
            ("uffd", "uffd", "none", {}))
HARDWARE = (("PML", "manual", "pml", {"buffer_entries": 512}), ("HDBSS", "manual", "hdbss", {"buffer_entries": 4096}),
            ("full scan", "manual", "scan", {}), ("combined 16", "manual", "combined", {"group_pages": 16}),
            ("combined 64", "manual", "combined", {"group_pages": 64}), ("combined 512", "manual", "combined", {"group_pages": 512}))


def mechanisms(document):
    """[(label, scenario keys, whether the costs are assumed in part)] for the mechanisms whose costs are known or follow from known ones."""
    sets, found = document["sets"], []
    for label, backend, accel, keys in SOFTWARE:
        if backend in sets:
            found.append((label, dict(keys, backend=backend, accel=accel, costs=_running(sets[backend])), False))
    for label, backend, accel, keys in HARDWARE:
        own = sets.get(model_sim.key_of(backend, accel))
        costs = own or (model_sim.with_hardware(sets[backend]) if backend in sets else None)
        if costs:
            found.append((label, dict(keys, backend=backend, accel=accel, costs=_running(costs)), own is None))
    return found


def _running(costs):
    """A kick beside running vCPUs cannot be told from passes: unless the costs have one, it is taken for as dear as a fault."""
    return dict({"kick_ns": costs.get("fault_ns", 0)}, **costs)


def _scenario(mechanism, pattern, steps_per_s=STEPS_PER_S, interval_ms=INTERVAL_MS, group=None):
    duration_ms = max(4 * interval_ms, 2000)
    keys = dict(mechanism, mode="run", vcpus=VCPUS, pages_per_vcpu=PAGES_PER_VCPU, interval_ns=int(interval_ms * 1e6),
                duration_ns=int(duration_ms * 1e6), pattern=dict(pattern, think_ns=1e9 / steps_per_s))
    if group:
        keys["group_pages"] = group
    return keys


def figures(result):
    counts, vcpus = result["counts"], result["vcpus"]
    pages = counts["logged"]
    lost_ns = result["elapsed_ns"] * vcpus - counts["useful_ns"]
    reader_ns = result["get_ns"] + result["clear_ns"]
    return {"loss_percent": 100 * result["loss"], "exits_per_page": counts["exits_per_logged_page"],
            "reader_percent": 100 * reader_ns / result["elapsed_ns"],
            "cpu_ns_per_page": (lost_ns + reader_ns) / pages if pages else None}


class Sweep:
    """NAME, the swept values with their texts, and the figures of each mechanism at each of them."""

    def __init__(self, name, title, xlabel, points, logx=True):
        self.name, self.title, self.xlabel, self.logx = name, title, xlabel, logx
        self.points = points         # (x, text, function from a mechanism's keys to a scenario)
        self.found = {}              # mechanism -> figures, in the order of the points

    def run(self, simulator, mechanisms_, quick):
        points = self.points = self.points[::2] if quick else self.points
        scenarios = [make(keys) for _, keys, _ in mechanisms_ for _, _, make in points]
        results = [figures(r) for r in simulator.run(scenarios)]
        for at, (label, _, _) in enumerate(mechanisms_):
            self.found[label] = results[at * len(points):(at + 1) * len(points)]
        return self

    def winners(self, figure, among):
        """The mechanism of AMONG with the least of FIGURE at each point."""
        best = []
        for i in range(len(self.points)):
            ranked = [(self.found[label][i][figure], label) for label in among if self.found[label][i][figure] is not None]
            best.append(min(ranked)[1] if ranked else "-")
        return best


def _rate_points():
    return [(rate, f"{rate:,}", lambda m, rate=rate: _scenario(m, {"kind": "random"}, rate))
            for rate in (100, 300, 1000, 3000, 10000, 30000, 100000, 300000, 1000000)]


def _locality_points():
    # The same number of steps a second, over memory of which one page in n is written.
    return [(n, f"1 in {n}", lambda m, n=n: _scenario(m, {"kind": "sparse", "stride": n}))
            for n in (1, 2, 4, 8, 16, 32, 64, 128, 512)]


def _hot_points():
    return [(share, f"{share} %", lambda m, share=share: _scenario(m, {"kind": "hot", "hot_percent": 5, "hot_share_percent": share}))
            for share in (5, 25, 50, 75, 90, 99, 100)]


def _interval_points():
    return [(ms, f"{ms} ms", lambda m, ms=ms: _scenario(m, {"kind": "hot", "hot_percent": 10, "hot_share_percent": 90}, interval_ms=ms))
            for ms in (10, 30, 100, 300, 1000, 3000)]


def all_sweeps():
    where = f"{VCPUS} vCPUs of {PAGES_PER_VCPU * 4096 >> 20} MiB"
    return [
        Sweep("rate", f"dirty rate: {where}, random writes, log read every {INTERVAL_MS} ms", "writes a second by each vCPU",
              _rate_points()),
        Sweep("locality", f"locality: {where}, {STEPS_PER_S:,} writes a second by each, to one page in n", "one page in n is written",
              _locality_points()),
        Sweep("hot", f"hot set: {where}, {STEPS_PER_S:,} writes a second by each, a share of them to 5 % of the pages",
              "share of the writes that goes to the hot pages, percent", _hot_points(), logx=False),
        Sweep("interval", f"read interval: {where}, {STEPS_PER_S:,} writes a second by each, 90 % to 10 % of the pages",
              "milliseconds between readings", _interval_points()),
    ]


GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
GROUP_PATTERNS = (("sequential", {"kind": "sequential"}), ("random", {"kind": "random"}),
                  ("1 page in 16", {"kind": "sparse", "stride": 16}), ("1 page in 512", {"kind": "sparse", "stride": 512}))


def group_sweep(simulator, document):
    """{pattern: [figures for each of GROUP_SIZES]} of the combined log; None without costs to go by."""
    base = next((keys for label, keys, _ in mechanisms(document) if label == "combined 64"), None)
    if base is None:
        return None
    scenarios = [_scenario(base, pattern, group=g) for _, pattern in GROUP_PATTERNS for g in GROUP_SIZES]
    results = [figures(r) for r in simulator.run(scenarios)]
    n = len(GROUP_SIZES)
    return {name: results[i * n:(i + 1) * n] for i, (name, _) in enumerate(GROUP_PATTERNS)}


# ---- traces ----

# Read more often than it was recorded, a trace would show too little: it counts a page once an interval.
TRACE_MULTIPLES = (1, 2, 5, 10, 50)


def trace_interval_ns(path):
    """The interval that it was recorded with (docs/spec/trace.md, section 1); the model itself checks the rest of the file."""
    try:
        with open(path, "rb") as f:
            head = f.read(32)
    except OSError as e:
        raise BenchError(str(e)) from e
    interval_ns = int.from_bytes(head[24:32], "little")
    if head[:8] != b"VMMTRACE" or len(head) < 32 or not 0 < interval_ns < 1 << 53:
        raise BenchError(f"{path}: no trace (docs/spec/trace.md)")
    return interval_ns


def replay(simulator, document, path, vcpus):
    """[(label, assumed, [(interval in ms, figures)])] for a recorded trace."""
    chosen = mechanisms(document)
    intervals = [n * trace_interval_ns(path) for n in TRACE_MULTIPLES]
    scenarios = [dict(keys, mode="run", vcpus=vcpus, pages_per_vcpu=0, interval_ns=ns, pattern={"kind": "trace", "trace": path})
                 for _, keys, _ in chosen for ns in intervals]
    results = [figures(r) for r in simulator.run(scenarios)]
    n = len(intervals)
    return [(label, assumed, [(ns / 1e6, f) for ns, f in zip(intervals, results[i * n:(i + 1) * n])])
            for i, (label, _, assumed) in enumerate(chosen)]
