# SPDX-License-Identifier: Apache-2.0
"""What is measured: the guests, the limits and who takes part."""

import dataclasses

MIB = 1 << 20
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    cmdline: str            # the guest's (docs/spec/guest.md)
    limit_ms: int           # the downtime allowed
    arms: tuple
    mem: int = 2 * GIB
    ws: int = 0             # the guest's working set and rate, for the writer beside bare TCP
    rate: int = 0
    busy: bool = False      # the guest works: throughput and gaps can be measured
    ticks: bool = False     # it halts, but a timer lets it notice gaps
    group: str = "main"     # which table and which aims


QEMU_ARMS = ("qemu", "qemu-multifd2", "qemu-multifd4")
MAIN_ARMS = ("vmm", "raw") + QEMU_ARMS
BUSY_ARMS = ("vmm", "raw", "raw-busy") + QEMU_ARMS
ZIP_ARMS = ("vmm-none", "vmm-auto")
CAPPED_ARMS = ("vmm-none-capped", "vmm-auto-capped", "vmm-zlib-capped")
CAP = "125MB/s"

GUESTS = (
    ("halted", "halted", "idle ws=64M", {}),
    ("ws64", "64 MiB, no limit", "ws=64M report=100", {"busy": True, "ws": 64 * MIB}),
    ("ws256", "256 MiB at 100 k/s", "ws=256M rate=100000 report=100",
     {"busy": True, "ws": 256 * MIB, "rate": 100000}),
    ("ws1g", "1 GiB, no limit", "ws=1G report=100", {"busy": True, "ws": GIB}),
)


def all_cases():
    cases = []
    for limit in (300, 30):
        for name, title, cmdline, extra in GUESTS:
            arms = BUSY_ARMS if extra and limit == 300 else MAIN_ARMS
            cases.append(Case(f"{name}-{limit}", f"{title}, limit {limit} ms",
                              f"{cmdline} fill=random fillsize=all", limit, arms, **extra))
        if limit == 300:
            cases.append(Case("tick-300", "halted, 1000 ticks a second, limit 300 ms",
                              "idle tick=1000 ws=64M fill=random fillsize=all report=100", limit,
                              ("vmm",) + QEMU_ARMS, ticks=True))
    cases.append(Case("zero-untouched", "2 GiB never touched, halted", "idle ws=0 fill=none", 300,
                      ("vmm",) + QEMU_ARMS, group="zero"))
    cases.append(Case("zero-written", "2 GiB of written zeros, halted", "idle ws=0 fill=zero fillsize=all", 300,
                      ("vmm",) + QEMU_ARMS, group="zero"))
    for name, fill, title in (("zip-capped", "sparse", "heap-like pages"), ("zip-text-capped", "text", "text")):
        cases.append(Case(name, f"512 MiB of {title} over {CAP}, halted", f"idle ws=16M fill={fill} fillsize=all", 300,
                          CAPPED_ARMS, mem=512 * MIB, group="zip"))
    cases.append(Case("zip-random", "2 GiB incompressible, no cap", "idle ws=64M fill=random fillsize=all", 300,
                      ZIP_ARMS, group="zip"))
    cases.append(Case("zip-text", "2 GiB of text, no cap", "idle ws=64M fill=text fillsize=all", 300,
                      ZIP_ARMS, group="zip"))
    return cases


# Cases that move nothing: extras.py.
EXTRA_CASES = {
    "start": "exec to the guest's first byte",
    "memory": "anonymous memory beyond the guest's RAM",
}
EXTRA_ARMS = ("vmm", "qemu")


def all_arms():
    names = []
    for case in all_cases():
        names += [arm for arm in case.arms if arm not in names]
    return names
