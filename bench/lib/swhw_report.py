# SPDX-License-Identifier: Apache-2.0
"""bench/sw-vs-hw's report: what came out, on what, and what was not measured and why."""

import os

import report_html
import report_md
import report_model as model
import swhw_guests
import swhw_perf
from report_model import Report, Section, Table, figure_text
from swhw_settings import accelerators, group_of, title_of, why_no_hardware
from swhw_tables import Collection, is_hardware, median

TITLE = "Dirty tracking: software against hardware"
PLAIN = {"bench": swhw_perf.BENCH, "pattern": swhw_perf.PLAIN}

# What is expected of a machine that ran both ways, in words and as a test of the figures.
SOFT_EXITS = (0.9, 1.5)
HARD_EXITS = 1 / 64      # about 1/512, and whatever else makes a vCPU leave
OTHER_EXITS = 1 / 256
EMULATED_METHOD = ("its clock counts instructions: its times are neither those of the processor it emulates nor of the one it runs on, but they "
                   "repeat and compare with each other.")
FIRST_WRITE_TIMES = 10
QUIET_LOAD = 0.5


def _verdict(met):
    return "yes" if met else "NO"


def _expected_exits(setting):
    """(words, limit) for exits per dirtied page with hardware at work under SETTING. Ticks and the end of a pass are exits as well."""
    group = group_of(setting)
    if group is None:
        return "about 1/512", HARD_EXITS
    if group == 0:
        return "next to none", HARD_EXITS
    return f"about 1/{group}", 1.25 / group + OTHER_EXITS


def _pair_checks(collection, host, pair):
    """Rows of the table of expectations, for backends that ran without and with the accelerator on one machine."""
    title, rows = collection.hosts[host]["short"], []
    names = [title_of(setting) for setting in pair]
    words, limit = _expected_exits(pair[1])
    for backend in collection.backends(host_id=host, setting=pair[1], **PLAIN):
        soft, hard = (collection.one(host_id=host, setting=s, backend=backend, **PLAIN) for s in pair)
        if not soft or not is_hardware(hard):
            continue
        exits = [median(row["exits_per_dirtied_page"]) for row in (soft, hard)]
        if None not in exits:
            rows.append([title, f"{backend}, {names[0]}: exits per dirtied page", "about 1", model.three_digits(exits[0]),
                         _verdict(SOFT_EXITS[0] <= exits[0] <= SOFT_EXITS[1])])
            rows.append([title, f"{backend}, {names[1]}: exits per dirtied page", words,
                         f"{model.three_digits(exits[1])} (1/{1 / exits[1]:.0f})" if exits[1] else "0", _verdict(exits[1] <= limit)])
        costs = [median(row["guest_cost_per_dirtied_page"]) for row in (soft, hard)]
        # A group's fault does the work of its pages: only the processor that logs alone is held to be that much cheaper.
        if None not in costs and costs[1] > 0 and group_of(pair[1]) is None:
            rows.append([title, f"{backend}: a logged page costs the guest", f"{FIRST_WRITE_TIMES} times less or better",
                         f"{costs[0] / costs[1]:.1f} times less", _verdict(costs[0] / costs[1] >= FIRST_WRITE_TIMES)])
    return rows


def _found_checks(collection, host):
    """What has to hold on every machine."""
    title, rows = collection.hosts[host]["short"], []
    perf = collection.of(host_id=host, bench=swhw_perf.BENCH)
    if perf:
        written = sum(row["runs"] for row in perf)
        missed = sum(row["pages_missed"] for row in perf)
        rows.append([title, f"written pages missed by the log, {written} runs of dirty-log-perf, all backends and patterns", "0",
                     str(missed), _verdict(missed == 0)])
    for setting in collection.settings(host):
        moved = [row for row in collection.of(host_id=host, setting=setting, bench="migrate-load") if row["arm"] != "none"]
        if moved:
            count = sum(row["runs"] for row in moved)
            rows.append([title, f"{collection.label(host, setting)}: migrations under load, verified", "all", f"{count} of {count}", "yes"])
        suite = [c for c in collection.data["conformance"] if (c["host_id"], c["setting"]) == (host, setting)]
        if suite:
            cases, failed, missed, written = (sum(c[key] for c in suite) for key in ("cases", "failed", "missed", "written"))
            rows.append([title, f"{collection.label(host, setting)}: conformance tests failed, pages missed", "0, 0",
                         f"{failed} of {cases}, {missed} of {written:,}", _verdict(failed == 0 and missed == 0)])
    for failure in collection.data["failures"]:
        if failure["host_id"] == host:
            rows.append([title, f"{failure['setting']}, turn {failure['turn']}: {failure['step']}", "ends well", failure["reason"], "NO"])
    return rows


def expectations(collection):
    """The table's rows, all hosts."""
    found = []
    for host in collection.hosts:
        for pair in collection.pairs(host):
            found += [row for row in _pair_checks(collection, host, pair) if row not in found]
        found += _found_checks(collection, host)
    return found


def _pair_sentences(collection, host, pair):
    for backend in collection.backends(host_id=host, setting=pair[1], **PLAIN):
        soft, hard = (collection.one(host_id=host, setting=s, backend=backend, **PLAIN) for s in pair)
        if soft and is_hardware(hard) and soft["guest_cost_per_dirtied_page"] and hard["guest_cost_per_dirtied_page"]:
            yield (f"{collection.hosts[host]['title']}, {backend}: with {collection.label(host, pair[1])} a dirtied page costs the guest "
                   f"{figure_text(hard['guest_cost_per_dirtied_page'])} instead of {figure_text(soft['guest_cost_per_dirtied_page'])}, and "
                   f"{figure_text(hard['exits_per_dirtied_page'])} exits instead of {figure_text(soft['exits_per_dirtied_page'])}.")


def _summary(collection):
    section = Section("summary", "What came out").add(*_warnings(collection, collection.data.get("host") or {}))
    for host in collection.hosts:
        for pair in collection.pairs(host):
            section.add(*_pair_sentences(collection, host, pair))
        if not any(is_hardware(row) for row in collection.of(host_id=host)):
            section.add(_no_hardware_text(collection, host))
    rows = expectations(collection)
    if rows:
        section.add(Table("Expected and found", ["host", "what", "expected", "found", "met"], rows, model.FACTS, left=(1, 2, 3, 4)))
    return section


def _no_hardware_text(collection, host):
    settings, title = collection.settings(host), collection.hosts[host]["title"]
    if not settings:
        return f"Nothing was measured on {title}."
    why = why_no_hardware(collection.caps(host, settings[0]))
    if why:
        return f"{title} has no hardware tracking, so no figure of it is in a hardware row. vmm caps says: {why}."
    return f"{title} has an accelerator, but nothing was measured with it in force."


def _hosts(collection):
    rows, found = [], {}
    for host, about in collection.hosts.items():
        for name in collection.settings(host):
            setting = collection.setting(host, name)
            caps, facts = setting["caps"] or {}, setting["facts"]
            auto = caps.get("dirty_auto") or {}
            words = " ".join(f"{key.split('.')[1]}={value}" for key, value in facts.items() if "." in key and "split" not in key)
            rows.append([about["title"], collection.label(host, name), caps.get("kernel") or facts.get("kernel"),
                         f"{caps.get('kvm_module')} {words}".strip(),
                         auto.get("backend"), about.get("clock") or "real time"])
            for accelerator in accelerators(caps):
                found.setdefault((about["title"], *accelerator), []).append(name)
    section = Section("hosts", "Where it was measured, and with what")
    section.add(Table("Hosts and settings", ["host", "setting", "kernel", "KVM", "auto picks", "times"], rows,
                      model.FACTS, left=tuple(range(1, 6))))
    section.add(Table("Accelerators, as vmm caps found them", ["host", "settings", "accelerator", "state", "reason"],
                      [[title, ", ".join(map(title_of, names)), name, state, reason]
                       for (title, name, state, reason), names in found.items()], model.FACTS, left=(1, 2, 3, 4)))
    section.add(*(note for note in collection.data["notes"]))
    return section


def _conformance(collection):
    section = Section("conformance", "Conformance")
    found = collection.data["conformance"]
    if not found:
        why = [f"{f['setting']}: {f['reason']}" for f in collection.data["failures"] if f["step"] == "conformance"]
        return section.add(f"The suite did not end well. {'; '.join(why)}" if why else "The suite did not run.")
    rows = [[collection.hosts[c["host_id"]]["title"], collection.label(c["host_id"], c["setting"]), c["backend"], c["memory"]]
            + ([None] * 6 if c["skipped"] else [f"{c[key]:,}" for key in ("cases", "failed", "written", "missed", "invented", "tables")])
            for c in found]
    skipped = sorted({f"{c['backend']} with {c['memory']}: {c['skipped']}" for c in found if c["skipped"]})
    return section.add(
        "One suite for every backend: sequential, random, sparse and device writes, reads, several slots, huge pages, full rings, 1 to 4 vCPUs, "
        "guests that never stop. Nothing may be missed and nothing invented; page tables of the guest's own may be in the log where hardware "
        "writes their A and D bits.",
        Table("Tests and pages, by backend and backing of the memory",
              ["host", "setting", "backend", "memory", "tests", "failed", "pages written", "missed", "invented", "page tables"], rows,
              model.FACTS, left=(1, 2, 3), note=f"Not run: {'; '.join(skipped)}." if skipped else ""))


def _warnings(collection, host):
    """What takes the worth from figures, said where they are."""
    load = (host.get("load_at_start") or [0])[0]
    if load > QUIET_LOAD and any(not about.get("emulated") for about in collection.hosts.values()):
        yield f"The machine was not quiet: its load was {load:.1f} when measuring began. Times and rates of it are off, counts are not."
    if "--quick" in collection.data.get("arguments", []):
        yield "This was a quick run, small and short, to see that all works: its times are not to be kept."


def _method(collection):
    section = Section("method", "How it was measured")
    section.add("Settings, backends and patterns take turns. A figure is the median of the turns, with the least and the greatest in "
                "brackets where they differ.")
    for host in collection.hosts.values():
        if host.get("emulated"):
            section.add(f"{host['title']}: {EMULATED_METHOD} Counts (exits, pages) are as they would be on hardware.")
    host = collection.data.get("host") or {}
    section.add(f"Program: {host.get('vmm') or 'vmm'}, commit {host.get('commit') or 'unknown'}"
                f"{', with uncommitted changes' if host.get('uncommitted_changes') else ''}. "
                f"Command: bench/sw-vs-hw {' '.join(collection.data.get('arguments', []))}".rstrip() + ".")
    return section


def build(data, directory):
    """The report; its plots are drawn into DIRECTORY. swhw_tables.ReportError for data that would make it lie."""
    collection = Collection(data)
    benches = {row["bench"] for row in collection.rows}
    sections = [_summary(collection), _hosts(collection)]
    if swhw_perf.BENCH in benches:
        sections += [swhw_perf.exits(collection, directory), swhw_perf.phases(collection, directory),
                     swhw_perf.costs(collection, directory), swhw_perf.calls(collection)]
    if "monitor" in benches:
        sections.append(swhw_guests.monitor(collection, directory))
    if "migrate-load" in benches:
        sections.append(swhw_guests.load(collection, directory))
    sections += [_conformance(collection), _method(collection)]
    lead = "; ".join(collection.where(host) for host in collection.hosts)
    return Report(TITLE, f"What finding dirty pages costs a guest, with the hardware's help and without. Measured on: {lead}.", sections)


def write(data, html, markdown):
    """Both files, and the plots in a directory beside the Markdown."""
    directory = os.path.splitext(markdown)[0] + "-plots"
    os.makedirs(directory, exist_ok=True)
    report = build(data, directory)
    report_html.write(report, html)
    report_md.write(report, markdown)
    return report
