# SPDX-License-Identifier: Apache-2.0
"""The parts of bench/sw-vs-hw's report that come from whole guests: bench/monitor and bench/migrate-load."""

import os

import plot
import published
import report_model as model
from report_model import Plot, Section, Table, figure_text
from swhw_tables import ends, median, runs_text

MAX_POINTS = 400         # of a curve


def _sentence(row):
    return f"{row['guest_cpus']} vCPUs, {row['guest_mem']}, {row['workload']}"


# ---- bench/monitor ----

def _monitor_table(collection, host):
    rows, found = [], collection.of(bench="monitor", host_id=host)
    for setting in collection.settings(host):
        for backend in collection.backends(bench="monitor", host_id=host, setting=setting):
            arms = {row["arm"]: row for row in found if (row["setting"], row["backend"]) == (setting, backend)}
            if set(arms) >= {"off", "unread", "read"}:
                rows.append([collection.label(host, setting), backend, figure_text(arms["off"]["score"]),
                             figure_text(arms["unread"]["loss_percent"]), figure_text(arms["read"]["loss_percent"]),
                             figure_text(arms["read"]["pages_dirtied"]), figure_text(arms["read"]["exits_per_dirtied_page"])])
    interval = next((row["interval_s"] for row in found if row["interval_s"]), 0)
    return Table("Loss of a guest's score",
                 ["setting", "backend", "score, logging off", "loss, logging on but unread", f"loss, read every {interval:g} s",
                  "pages found", "exits per dirtied page"], rows, collection.kind(host), left=(1,), where=collection.workload(host, _sentence(found[0])),
                 note=f"{runs_text(found)}. Losses are taken within a turn of the three arms, in percent of the score with logging off.")


def _monitor_plot(collection, host, directory):
    groups, values, errors = [], [[], []], [[], []]
    for setting in collection.settings(host):
        for backend in collection.backends(bench="monitor", host_id=host, setting=setting):
            groups.append(f"{backend}, {collection.label(host, setting)}")
            for line, spread, arm in zip(values, errors, ("unread", "read")):
                row = collection.one(bench="monitor", host_id=host, setting=setting, backend=backend, arm=arm)
                line.append(median(row["loss_percent"]) if row else None)
                spread.append(ends(row["loss_percent"]) if row else None)
    path = os.path.join(directory, f"monitor-{host}.svg")
    plot.bars(path, "", groups, ["logging on, unread", "read at the interval"],
              values, errors, "loss, % of the score")
    sentence = _sentence(collection.one(bench="monitor", host_id=host))
    return Plot(path, "What a guest's score loses", collection.kind(host), collection.workload(host, sentence))


def _monitor_published():
    source = published.MONITOR["source"]
    rows = []
    for guest in ("without graphics", "with graphics"):
        losses = published.monitor_losses(guest)
        for (arm, tracking), mean in published.monitor_scores(guest).items():
            how = {"off": "off", "unread": "on, unread", "read": "read every 1 s"}[arm]
            rows.append([guest, tracking, how, f"{mean:,.0f}", f"{losses[arm, tracking]:.2f} %"])
    return Table(f"{published.MONITOR['workload']}: the PML series' own table", ["guest", "tracking", "dirty log", "mean score", "loss"],
                 rows, model.PUBLISHED, left=(1, 2),
                 note=f"{source['title']} ({source['author']}). {source['machine']}. Means of six runs; loss against PML on and unread.")


def monitor(collection, directory):
    section = Section("monitor", "Bench 2: a guest under a monitor")
    section.add("A guest works while nobody looks, while the dirty log is on and nobody reads it, and while it is read at an interval.")
    for host in collection.hosts:
        if collection.of(bench="monitor", host_id=host):
            section.add(_monitor_plot(collection, host, directory), _monitor_table(collection, host))
    return section.add(_monitor_published())


# ---- bench/migrate-load ----

LOAD_COLUMNS = (("completion_s", "completion"), ("completion_ratio", "of that without"),
                ("requests_per_s_before", "requests/s before"), ("requests_per_s_during", "during"), ("guest_cost_ms", "guest cost"),
                ("total_ms", "migration"), ("downtime_ms", "blackout"), ("rounds", "rounds"),
                ("exits_per_dirtied_page", "exits per dirtied page"))


def _plain(figure):
    """A figure without its unit where the column says it."""
    return figure_text(figure and figure | {"unit": "ratio" if "/s" in figure.get("unit", "") or "/page" in figure.get("unit", "")
                                            else figure.get("unit")})


def _load_table(collection, host):
    rows, found = [], collection.of(bench="migrate-load", host_id=host)
    for setting in collection.settings(host):
        for row in (row for row in found if row["setting"] == setting):
            name = "no migration" if row["arm"] == "none" else row["backend"]
            rows.append([collection.label(host, setting), name] + [_plain(row.get(key)) for key, _ in LOAD_COLUMNS]
                        + [f"{row['checksums']} equal"])
    return Table("A key-value store while it moves",
                 ["setting", "backend", *(words for _, words in LOAD_COLUMNS), "RAM checksums"], rows, collection.kind(host), left=(1,),
                 where=collection.workload(host, _sentence(found[-1])),
                 note=f"{runs_text(found)}. Guest cost: the area between the steady and the actual rate, as time at the steady rate. "
                      "Checksums of all of the guest's memory, on both ends and of guests that never moved; after its last move each "
                      "guest verified every key.")


def _thin(points):
    step = max(1, len(points) // MAX_POINTS)
    return points[::step]


def _load_plots(collection, host, directory):
    plots = []
    for setting in collection.settings(host):
        lines = [line for line in collection.data["timelines"] if (line["host_id"], line["setting"]) == (host, setting)]
        if not lines:
            continue
        first = [line for line in lines if line["turn"] == lines[0]["turn"]]
        series = [("no migration" if line["arm"] == "none" else line["arm"], *map(list, zip(*_thin(line["points"])))) for line in first
                  if line["points"]]
        marks = [(0, "migrations begin")] + [(line["migrated_s"], f"{line['arm']} has moved") for line in first
                                             if line["migrated_s"] is not None]
        label = collection.label(host, setting)
        path = os.path.join(directory, f"load-{host}-{setting}.svg")
        plot.lines(path, "", series, "s since the migration began, guest's clock", "requests/s", marks=marks)
        sentence = _sentence(collection.of(bench="migrate-load", host_id=host)[-1])
        plots.append(Plot(path, f"Requests a second around a migration, first turn, {label}", collection.kind(host),
                          collection.workload(host, sentence)))
    return plots


def _load_published():
    source = published.MIGRATE_LOAD["source"]
    rows = [[row["what"], f"{row['software']:g} {row['unit']}", f"{row['hardware']:g} {row['unit']}",
             f"{row['software'] / row['hardware']:.3g}"] for row in published.MIGRATE_LOAD["rows"]]
    return Table(f"{published.MIGRATE_LOAD['workload']}: the combined log's own table", ["", source["software"], source["hardware"], "ratio"],
                 rows, model.PUBLISHED, note=f"{source['title']} ({source['author']}). {source['machine']}. Means of five runs.")


def load(collection, directory):
    section = Section("load", "Bench 3: a key-value store that moves under load")
    for host in collection.hosts:
        if collection.of(bench="migrate-load", host_id=host):
            section.add(*_load_plots(collection, host, directory), _load_table(collection, host))
    return section.add(_load_published())
