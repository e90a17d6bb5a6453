# SPDX-License-Identifier: Apache-2.0
"""The parts of bench/sw-vs-hw's report that come from whole guests: bench/monitor and bench/migrate-load."""

import os

import plot
import published
import report_model as model
from report_model import Plot, Section, Table, figure_text
from swhw_tables import BACKENDS, ends, median, runs_text

MAX_POINTS = 400         # of a curve


def _sentence(row):
    return f"{row['guest_cpus']} vCPU{'' if row['guest_cpus'] == 1 else 's'}, {row['guest_mem']}, {row['workload']}"


# ---- bench/monitor ----

def _monitor_table(collection, host):
    rows, found = [], collection.of(bench="monitor", host_id=host)
    for setting in collection.settings(host):
        for backend in collection.backends(bench="monitor", host_id=host, setting=setting):
            arms = {row["arm"]: row for row in found if (row["setting"], row["backend"]) == (setting, backend)}
            if set(arms) >= {"off", "unread", "read"}:
                rows.append([collection.label(host, setting), backend, figure_text(arms["off"]["score"]),
                             figure_text(arms["unread"]["loss_percent"]), figure_text(arms["read"]["loss_percent"]),
                             figure_text(arms["read"]["pages_dirtied"]), _plain(arms["read"]["exits_per_dirtied_page"])])
    interval = next((row["interval_s"] for row in found if row["interval_s"]), 0)
    return Table("Loss of a guest's score",
                 ["setting", "backend", "score, logging off", "loss, logging on but unread", f"loss, read every {interval:g} s",
                  "pages found", "exits per dirtied page"], rows, collection.kind(host), left=(1,),
                 where=collection.workload(host, _sentence(found[0])),
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

GUEST_COLUMNS = (("completion_s", "completion"), ("completion_ratio", "of that without"),
                 ("requests_per_s_before", "requests/s before"), ("requests_per_s_during", "during"), ("guest_cost_ms", "guest cost"))
MIGRATION_COLUMNS = (("total_ms", "total time"), ("downtime_ms", "blackout"), ("guest_gap_ms", "longest gap, guest's clock"),
                     ("rounds", "rounds"), ("exits_per_dirtied_page", "exits per dirtied page"))


def _plain(figure):
    """A figure without its unit where the column says it."""
    return figure_text(figure and figure | {"unit": "ratio" if "/s" in figure.get("unit", "") or "/page" in figure.get("unit", "")
                                            else figure.get("unit")})


def _load_rows(collection, host):
    """[(setting's label, row)], settings in order, in each the guest that stays first and then the backends."""
    found = []
    for setting in collection.settings(host):
        mine = collection.of(bench="migrate-load", host_id=host, setting=setting)
        mine.sort(key=lambda row: BACKENDS.index(row["backend"]) if row["backend"] in BACKENDS else -1)
        found += [(collection.label(host, setting), row) for row in mine]
    return found


def _load_tables(collection, host):
    found = _load_rows(collection, host)
    moved = [(label, row) for label, row in found if row["arm"] != "none"]
    runs, where = runs_text([row for _, row in found]), collection.workload(host, _sentence(found[-1][1]))
    guest = Table("What the migration costs the guest", ["setting", "backend", *(words for _, words in GUEST_COLUMNS)],
                  [[label, "no migration" if row["arm"] == "none" else row["backend"], *(_plain(row.get(key)) for key, _ in GUEST_COLUMNS)]
                   for label, row in found], collection.kind(host), where, left=(1,),
                  note=f"{runs}. Guest cost: the area between the steady and the actual rate, as time at the steady rate.")
    moves = Table("The migration", ["setting", "backend", *(words for _, words in MIGRATION_COLUMNS), "RAM checksums"],
                  [[label, row["backend"], *(_plain(row.get(key)) for key, _ in MIGRATION_COLUMNS), f"{row['checksums']} equal"]
                   for label, row in moved], collection.kind(host), where, left=(1,),
                  note="Checksums of all of the guest's memory, behind the load and behind one more move, equal to those of guests that "
                       "never moved; at the end each guest verified every key.")
    return guest, moves


def _window(points, migrated):
    """The stretch around the migrations, thinned out."""
    end = max(migrated, default=0)
    near = [point for point in points if -max(1, end / 2) <= point[0] <= end * 2 + 1]
    return near[::max(1, len(near) // MAX_POINTS)]


def _load_plot(collection, host, setting, directory):
    lines = [line for line in collection.data["timelines"] if (line["host_id"], line["setting"]) == (host, setting)]
    if not lines:
        return None
    first = [line for line in lines if line["turn"] == lines[0]["turn"]]
    first.sort(key=lambda line: BACKENDS.index(line["arm"]) if line["arm"] in BACKENDS else -1)
    migrated = [line["migrated_s"] for line in first if line["migrated_s"] is not None]
    series, marks = [], [(0, "migrations begin")]
    for line in first:
        points = _window(line["points"], migrated)
        if line["migrated_s"] is not None:
            marks.append((line["migrated_s"], f"{line['arm']} has moved", len(series)))
        series.append(("no migration" if line["arm"] == "none" else line["arm"], [p[0] for p in points], [p[1] for p in points]))
    path = os.path.join(directory, f"load-{host}-{setting}.svg")
    plot.lines(path, "", series, "s since the migration began, guest's clock", "requests/s", marks=marks)
    sentence = _sentence(collection.of(bench="migrate-load", host_id=host)[-1])
    return Plot(path, f"Requests a second around a migration, first turn, {collection.label(host, setting)}", collection.kind(host),
                collection.workload(host, sentence))


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
            section.add(*(_load_plot(collection, host, setting, directory) for setting in collection.settings(host)),
                        *_load_tables(collection, host))
    return section.add(_load_published())
