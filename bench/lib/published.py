# SPDX-License-Identifier: Apache-2.0
"""
Figures that others published, to stand beside ours: what they measured, on what, and where it can be read. They are never mixed with
measured figures, and nothing is computed from them but their own percentages.
"""

COMBINED_LOG = {
    "id": "combined-log",
    "title": "KVM: arm64: Implement SW/HW combined dirty log, RFC v2",
    "author": "Shameer Kolothum, August 2023",
    "machine": "HiSilicon arm64 without FEAT_TLBIRANGE, Linux 6.5-rc5, eager page split with chunks of 2 MiB",
    "software": "6.5-rc5",
    "hardware": "6.5-rc5 with the series",
}

PML_SERIES = {
    "id": "pml-series",
    "title": "KVM: VMX: Page Modification Logging (PML) support, cover letter",
    "author": "Kai Huang, 2015",
    "machine": "Broadwell server, 16 CPUs at 1.4 GHz, 4 GB; guest: Ubuntu 14.04, 4 vCPUs pinned, 1 GB; THP off",
    "software": "write protection",
    "hardware": "PML",
}

# dirty_log_perf_test, seconds.
DIRTY_LOG_PERF = {
    "source": COMBINED_LOG,
    "workload": "dirty_log_perf_test -b 512MB -v 96 -i 5 -m 2 -s anonymous_thp",
    "unit": "s",
    "rows": (
        {"phase": "dirty memory time", "software": 4.22, "hardware": 0.41},
        {"phase": "get dirty log time", "software": 0.00047, "hardware": 3.25},
        {"phase": "clear dirty log time", "software": 0.48, "hardware": 0.98},
    ),
}

# A key-value store under a SET load while it migrates, mean of 5 runs. The document gives the second figure in seconds; QEMU's
# "info migrate" counts milliseconds.
MIGRATE_LOAD = {
    "source": COMBINED_LOG,
    "workload": "redis-benchmark -t set -c 900 -n 5000000 --threads 96 in a guest with 96 vCPUs and 1 GB, migrated locally",
    "rows": (
        {"what": "completion time of the benchmark", "unit": "s", "software": 79.428, "hardware": 71.49},
        {"what": "total migration time", "unit": "ms", "software": 8438, "hardware": 9097},
    ),
}

# SPECjbb's score, the six runs of each; "none": PML on, nobody reads the log; "off": a kernel without PML, no logging either.
MONITOR = {
    "source": PML_SERIES,
    "workload": "SPECjbb, 4 vCPUs, 1 GB; the log read once a second",
    "unit": "score",
    "rows": (
        {"guest": "with graphics", "arm": "off", "tracking": "no PML",
         "scores": (109755, 108786, 109234, 109257, 108514, 109740)},
        {"guest": "with graphics", "arm": "unread", "tracking": "PML",
         "scores": (109379, 109300, 109663, 107471, 108904, 107623)},
        {"guest": "with graphics", "arm": "read", "tracking": "PML",
         "scores": (104748, 102934, 103525, 105331, 106038, 104776)},
        {"guest": "with graphics", "arm": "read", "tracking": "write protection",
         "scores": (101358, 99895, 98832, 100678, 99476, 99851)},
        {"guest": "without graphics", "arm": "off", "tracking": "no PML",
         "scores": (109090, 109461, 110523, 109960, 109090, 110787)},
        {"guest": "without graphics", "arm": "unread", "tracking": "PML",
         "scores": (109686, 110533, 108550, 110775, 109802, 109192)},
        {"guest": "without graphics", "arm": "read", "tracking": "PML",
         "scores": (104778, 104856, 103783, 105210, 106218, 105475)},
        {"guest": "without graphics", "arm": "read", "tracking": "write protection",
         "scores": (98967, 99380, 99406, 100638, 99763, 99287)},
    ),
}


def monitor_scores(guest):
    """{(arm, tracking): mean score}, for the guest with or without graphics."""
    return {(row["arm"], row["tracking"]): sum(row["scores"]) / len(row["scores"])
            for row in MONITOR["rows"] if row["guest"] == guest}


def monitor_losses(guest):
    """What the score loses, in percent of that with PML on and nobody reading the log, as the document computes it."""
    means = monitor_scores(guest)
    base = means["unread", "PML"]
    return {key: 100 * (base - mean) / base for key, mean in means.items()}
