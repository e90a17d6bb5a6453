# SPDX-License-Identifier: Apache-2.0
"""The parts of bench/sw-vs-hw's report that come from dirty-log-perf: exits, phases, calls, what each backend costs its guest."""

import os

import dlp_rows
import plot
import published
import report_model as model
from report_model import Plot, Section, Table, figure_text
from swhw_tables import ends, median, pattern_title, runs_text

BENCH = "dirty-log-perf"
PLAIN = "sequential"     # the pattern whose figures stand for a host where one has to do
PLOTTED = (("dirty_memory_later", "dirty memory"), ("get_dirty_log", "get dirty log"), ("clear_dirty_log", "clear dirty log"))


def _hosts(collection):
    """Those whose plain pattern ran: it stands for the others."""
    return [host for host in collection.hosts if collection.of(bench=BENCH, host_id=host, pattern=PLAIN)]


def _columns(collection, host, setting):
    """The rows that stand for a setting, by backend."""
    return [collection.one(bench=BENCH, host_id=host, setting=setting, pattern=PLAIN, backend=backend)
            for backend in collection.backends(bench=BENCH, host_id=host, setting=setting, pattern=PLAIN)]


# ---- exits per dirtied page ----

def _exits_table(collection):
    backends = collection.backends(bench=BENCH)
    rows = []
    for host in _hosts(collection):
        for pattern in collection.values("pattern", bench=BENCH, host_id=host):
            for setting in collection.settings(host):
                cells = [collection.one(bench=BENCH, host_id=host, setting=setting, pattern=pattern, backend=b) for b in backends]
                if any(cells):
                    rows.append([collection.hosts[host]["title"], collection.label(host, setting), pattern_title(pattern)]
                                + [figure_text(cell["exits_per_dirtied_page"]) if cell else model.DASH for cell in cells])
    return Table("Exits per dirtied page", ["host", "setting", "accesses", *backends], rows, model.FACTS, left=(1, 2),
                 note="Exits of all vCPUs while the guest wrote, over the pages that it wrote, in iterations whose pages had all been "
                      "rearmed. A count: it does not depend on how fast a machine is. uffd's exits are page faults that KVM hands to "
                      "the host's page tables; no accelerator of KVM's log takes part.")


def _exits_plot(collection, directory):
    groups, backends = [], collection.backends(bench=BENCH)
    values = [[] for _ in backends]
    for host in _hosts(collection):
        for setting in collection.settings(host):
            groups.append(f"{collection.hosts[host]['short']}: {collection.label(host, setting)}")
            for line, backend in zip(values, backends):
                row = collection.one(bench=BENCH, host_id=host, setting=setting, pattern=PLAIN, backend=backend)
                line.append(median(row["exits_per_dirtied_page"]) if row else None)
    if not any(value for line in values for value in line):
        return None
    path = os.path.join(directory, "exits.svg")
    plot.bars(path, "", groups, backends, values, None, "exits per page (log)", log=True)
    return Plot(path, "Exits per dirtied page, pages written one after the other", model.FACTS,
                "; ".join(collection.where(host) for host in _hosts(collection)))


def exits(collection, directory):
    return Section("exits", "Exits per dirtied page").add(
        "The number that shows tracking hardware at work. With write protection the first write to each page leaves the guest once; PML "
        "leaves it once when its 512 entries are full, and whenever something else makes the vCPU leave.",
        _exits_plot(collection, directory), _exits_table(collection))


# ---- phases ----

def _phase_table(collection, host, setting, found):
    rows = [[words] + [figure_text(row[figure]) for row in found] for figure, words in dlp_rows.PHASES]
    rows.append(["pages written in an iteration"] + [figure_text(row["pages_written"]) for row in found])
    rows.append(["found by the log"] + [figure_text(row["pages_found"]) for row in found])
    rows.append(["missed, all runs"] + [str(row["pages_missed"]) for row in found])
    rows.append(["not written but reported, all runs"] + [str(row["pages_extra"]) for row in found])
    return Table(f"All phases, {collection.label(host, setting)}", ["", *(row["backend"] for row in found)], rows, collection.kind(host),
                 where=collection.workload(host, found[0]["workload"]), note=f"{runs_text(found)}.")


def _phase_plot(collection, host, directory):
    """Groups are phases under each setting, so that a backend stands beside itself."""
    groups, backends = [], collection.backends(bench=BENCH, host_id=host, pattern=PLAIN)
    values, errors = [[] for _ in backends], [[] for _ in backends]
    for figure, words in PLOTTED:
        for setting in collection.settings(host):
            groups.append(f"{words}, {collection.label(host, setting)}")
            for i, backend in enumerate(backends):
                row = collection.one(bench=BENCH, host_id=host, setting=setting, pattern=PLAIN, backend=backend)
                values[i].append(median(row[figure]) if row else None)
                errors[i].append(ends(row[figure]) if row else None)
    path = os.path.join(directory, f"phases-{host}.svg")
    plot.bars(path, "", groups, backends, values, errors, "seconds (log)", log=True)
    return Plot(path, "Phases of an iteration, pages written one after the other", collection.kind(host),
                collection.workload(host, collection.one(bench=BENCH, host_id=host, pattern=PLAIN)["workload"]))


def _published_table():
    table = published.DIRTY_LOG_PERF
    source = table["source"]
    rows = [[row["phase"], f"{row['software']:g} s", f"{row['hardware']:g} s", f"{row['software'] / row['hardware']:.3g}"]
            for row in table["rows"]]
    return Table(f"{table['workload']}: the combined log's own table", ["", source["software"], source["hardware"], "ratio"], rows,
                 model.PUBLISHED, note=f"{source['title']} ({source['author']}). {source['machine']}.")


def _ratio_table(collection, host):
    """The hardware's figures beside the software's of the same machine, as the published table has them."""
    pairs = collection.pairs(host)
    if not pairs:
        return None
    rows, workload = [], ""
    settings = [pairs[0][0], *(hard for _, hard in pairs)]
    for backend in collection.backends(bench=BENCH, host_id=host, pattern=PLAIN):
        soft, *hard = (collection.one(bench=BENCH, host_id=host, setting=s, pattern=PLAIN, backend=backend) for s in settings)
        if not soft or not all(row and row["accel"] != "none" for row in hard):
            continue
        workload = soft["workload"]
        for figure, words in PLOTTED:
            if soft[figure] and all(row[figure] for row in hard):
                rows.append([backend, f"{words} time", figure_text(soft[figure]), *(figure_text(row[figure]) for row in hard),
                             ", ".join(model.three_digits(median(soft[figure]) / median(row[figure])) if median(row[figure]) else model.DASH
                                       for row in hard)])
    return Table("In the published table's form",
                 ["backend", "", *(collection.label(host, s) for s in settings), "ratio" if len(pairs) == 1 else "ratios"], rows,
                 collection.kind(host), left=(1,), where=collection.workload(host, workload),
                 note="Dirty memory time: of the iterations in which all pages had been rearmed.")


def phases(collection, directory):
    section = Section("phases", "Bench 1: populate, dirty, get, clear")
    section.add("The questions of the kernel's dirty_log_perf_test, with its phase names, asked of the program's own layers.")
    for host in _hosts(collection):
        section.add(_phase_plot(collection, host, directory), _ratio_table(collection, host))
        for setting in collection.settings(host):
            found = _columns(collection, host, setting)
            if found:
                section.add(_phase_table(collection, host, setting, found))
    return section.add(_published_table())


# ---- calls ----

def _call_table(collection, host):
    settings = [s for s in collection.settings(host) if collection.of(bench=BENCH, host_id=host, setting=s, pattern=PLAIN)]
    found, names = {}, {}
    for setting in settings:
        for row in collection.of(bench=BENCH, host_id=host, setting=setting, pattern=PLAIN):
            for call in row["calls"]:
                name = (row["backend"], call["phase"], call["call"])
                names.setdefault(name)
                found[name, setting] = call
    rows = []
    for name in names:
        calls = [found.get((name, setting)) for setting in settings]
        rows.append([*name] + [figure_text(call["ns_per_gib"]) if call else model.DASH for call in calls])
    return Table("Time of each call, per GiB of guest memory",
                 ["backend", "phase", "call", *(collection.label(host, s) for s in settings)], rows, collection.kind(host),
                 left=(1, 2), where=collection.workload(host, collection.one(bench=BENCH, host_id=host, pattern=PLAIN)["workload"]),
                 note="Every call of the phase together, for one pass over the memory with all of its pages dirty.")


def calls(collection):
    section = Section("calls", "What each call of KVM costs")
    for host in _hosts(collection):
        section.add(_call_table(collection, host))
    return section


# ---- what the guest pays ----

def _cost_cell(row):
    if not row or not row["guest_cost_per_dirtied_page"]:
        return model.DASH
    return f"{figure_text(row['guest_cost_per_dirtied_page'])}, ×{figure_text(row['slowdown'], with_range=False)}"


def _cost_table(collection, host, patterns):
    rows = []
    for setting in collection.settings(host):
        for backend in collection.backends(bench=BENCH, host_id=host, setting=setting):
            cells = [collection.one(bench=BENCH, host_id=host, setting=setting, backend=backend, pattern=p) for p in patterns]
            rows.append([collection.label(host, setting), backend, *(_cost_cell(cell) for cell in cells)])
    return Table("What a dirtied page costs the guest, by pattern",
                 ["setting", "backend", *(pattern_title(p) for p in patterns)], rows, collection.kind(host), left=(1,),
                 where=collection.workload(host, _options(collection, host)),
                 note="Time that logging adds to the guest's pass over its memory, per page written in it, and after × how many times "
                      "longer the pass took than without logging.")


def _cost_plot(collection, host, patterns, directory):
    groups, backends = [], collection.backends(bench=BENCH, host_id=host)
    values, errors = [[] for _ in backends], [[] for _ in backends]
    for pattern in patterns:
        for setting in collection.settings(host):
            groups.append(f"{pattern_title(pattern)}, {collection.label(host, setting)}")
            for i, backend in enumerate(backends):
                row = collection.one(bench=BENCH, host_id=host, setting=setting, backend=backend, pattern=pattern)
                figure = row["guest_cost_per_dirtied_page"] if row else None
                positive = figure and figure["min"] > 0      # less than nothing is noise, and has no place on the axis
                values[i].append(figure["median"] / 1000 if positive else None)
                errors[i].append((figure["min"] / 1000, figure["max"] / 1000) if positive else None)
    if not any(value for line in values for value in line):
        return None
    path = os.path.join(directory, f"cost-{host}.svg")
    plot.bars(path, "", groups, backends, values, errors, "µs a page (log)", log=True)
    return Plot(path, "What a dirtied page costs the guest", collection.kind(host),
                collection.workload(host, _options(collection, host)))


def _options(collection, host):
    """The command line that the patterns have in common."""
    return f"{collection.one(bench=BENCH, host_id=host, pattern=PLAIN)['workload']} and its variants"


def _auto_text(collection, host):
    found = {}
    for setting in collection.settings(host):
        auto = (collection.caps(host, setting) or {}).get("dirty_auto")
        if auto:
            found.setdefault((auto["backend"], auto["reason"]), []).append(collection.label(host, setting))
    return [f"On {collection.hosts[host]['title']}, {' and '.join(labels)}: --dirty auto picks {backend}. {reason[:1].upper()}{reason[1:]}."
            for (backend, reason), labels in found.items()]


def costs(collection, directory):
    section = Section("cost", "What each backend costs its guest, and which one auto picks")
    for host in _hosts(collection):
        patterns = collection.values("pattern", bench=BENCH, host_id=host)
        patterns.sort(key=lambda name: (name != PLAIN, name))
        section.add(*_auto_text(collection, host), _cost_plot(collection, host, patterns, directory),
                    _cost_table(collection, host, patterns))
    return section
