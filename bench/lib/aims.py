# SPDX-License-Identifier: Apache-2.0
"""
What vmm wants to reach against QEMU at its best and bare TCP, judged. QEMU's best is the arm with the best median of the figure
in question; ratios are taken turn by turn against that arm, and their median is what counts.
"""

import statistics

import cases
import stats

TOTAL_QEMU, TOTAL_RAW, CPU, GAP, THROUGHPUT, ZERO = 0.7, 1.2, 0.75, 0.5, 1.0, 0.5
HALTED_GAP_MS = 8
OVER_SHARE = 0.02
START_MS, MEMORY_MB = 10, 3.0
ZIP_FREE = 1.05          # what "auto costs nothing" may cost, noise included


def _aim(what, case, aim, found, met, digits=2, unit="", note=""):
    """FOUND is a list of ratios or figures; its median is judged by MET."""
    spread = stats.spread(found)
    if spread is None:
        return {"what": what, "case": case, "aim": aim, "measured": None, "met": None, "text": "no figures"}
    middle, least, greatest = spread
    text = f"{middle:.{digits}f} ({least:.{digits}f}-{greatest:.{digits}f}){unit}{note}"
    return {"what": what, "case": case, "aim": aim, "measured": middle, "least": least, "greatest": greatest,
            "values": found, "met": met(middle), "text": text}


def _against_qemu(results, case, what, field, bound, least=False):
    """A ratio to QEMU's best; LEAST: at least the bound, where the greatest is best."""
    best = results.best_arm(case.name, cases.QEMU_ARMS, field, greatest=least)
    found = results.ratios(case.name, "vmm", best, field) if best else []
    sign = ">=" if least else "<="
    return _aim(what, case.name, f"{sign} {bound} x QEMU's best", found,
                (lambda v: v >= bound) if least else (lambda v: v <= bound), note=f" of {best}" if best else "")


def _ran(results, case):
    return bool(results.of(case.name, "vmm"))


def _main_aims(results, main):
    aims = []
    for case in main:
        if not case.ticks:
            aims.append(_against_qemu(results, case, "total time against QEMU", "external_ms", TOTAL_QEMU))
    for case in main:
        if "raw" in case.arms:
            aims.append(_aim("total time against bare TCP", case.name, f"<= {TOTAL_RAW} x raw",
                             results.ratios(case.name, "vmm", "raw", "external_ms"), lambda v: v <= TOTAL_RAW))
    for case in main:
        if not case.ticks:
            aims.append(_against_qemu(results, case, "CPU time per GB sent, both ends", "cpu_s_per_gb", CPU))
    for case in main:
        if case.limit_ms == 300 and (case.busy or case.ticks):
            aims.append(_against_qemu(results, case, "gap that the guest saw", "guest_gap_ms", GAP))
        if case.ticks:
            aims.append(_aim("gap that the guest saw", case.name, f"< {HALTED_GAP_MS} ms",
                             stats.values(results.of(case.name, "vmm"), "guest_gap_ms"),
                             lambda v: v < HALTED_GAP_MS, 1, " ms"))
    for case in main:
        if case.busy:
            aims.append(_against_qemu(results, case, "guest throughput during the migration", "pages_during_k",
                                      THROUGHPUT, least=True))
    return aims


def _share_over(results, main, arms, field):
    """Runs over the limit, unfinished ones included; all runs."""
    runs = [run for case in main for arm in arms for run in results.of(case.name, arm)]
    return sum(run.get("result") != "completed" or run[field] for run in runs), len(runs)


def _limit_aims(results, main):
    aims = []
    for field, title in (("over_limit", "by the tool's own figure"), ("over_limit_guest", "by the gap that the guest saw")):
        told = [case for case in main if field == "over_limit" or case.busy or case.ticks]
        over, count = _share_over(results, told, ("vmm",), field)
        qemu_over, qemu_count = _share_over(results, told, cases.QEMU_ARMS, field)
        if count:
            aims.append({"what": "runs over the limit", "case": title, "aim": f"<= {OVER_SHARE:.0%}",
                         "measured": over / count, "met": over / count <= OVER_SHARE,
                         "text": f"{over} of {count}" + (f" (QEMU: {qemu_over} of {qemu_count})" if qemu_count else "")})
    return aims


def _zip_aims(results):
    aims = []
    what = "compression"
    for name, arm, aim, met in (("zip-capped", "auto", "< 1", lambda v: v < 1),
                                ("zip-capped", "zlib", "< 1", lambda v: v < 1),
                                # Denser pages than two CPUs deflate in the link's time: auto has to notice.
                                ("zip-text-capped", "auto", f"<= {ZIP_FREE}", lambda v: v <= ZIP_FREE)):
        if results.of(name, f"vmm-{arm}-capped"):
            aims.append(_aim(what, f"{name}: {arm} against none", aim,
                             results.ratios(name, f"vmm-{arm}-capped", "vmm-none-capped", "external_ms"), met))
    for name in ("zip-random", "zip-text"):
        if results.of(name, "vmm-auto"):
            aims.append(_aim(what, f"{name}: auto against none", f"<= {ZIP_FREE}",
                             results.ratios(name, "vmm-auto", "vmm-none", "external_ms"), lambda v: v <= ZIP_FREE))
    return aims


def _extra_aims(results):
    aims = []
    for name, field, bound, unit in (("start", "first_byte_ms", START_MS, " ms"),
                                     ("memory", "anonymous_mb", MEMORY_MB, " MB")):
        runs = results.of(name, "vmm")
        if runs:
            other = stats.values(results.of(name, "qemu"), field)
            note = f" (QEMU: {statistics.median(other):.1f})" if other else ""
            aims.append(_aim(cases.EXTRA_CASES[name], name, f"<= {bound}{unit}", stats.values(runs, field),
                             lambda v, bound=bound: v <= bound, 1, unit, note))
    return aims


def judge(results, chosen):
    main = [case for case in chosen if case.group == "main" and _ran(results, case)]
    aims = _main_aims(results, main) + _limit_aims(results, main)
    for case in chosen:
        if case.group == "zero" and _ran(results, case):
            aims.append(_against_qemu(results, case, "zero pages: total time", "external_ms", ZERO))
    return aims + _extra_aims(results) + _zip_aims(results)
