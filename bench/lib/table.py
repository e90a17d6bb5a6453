# SPDX-License-Identifier: Apache-2.0
"""Tables for people to read."""

import stats


def number(value, digits=0):
    return "-" if value is None else f"{value:.{digits}f}"


def ranged(runs, field, digits=0, scale=1.0):
    """"median (least-greatest)"."""
    found = stats.spread([v * scale for v in stats.values(runs, field)])
    if not found:
        return "-"
    middle, least, greatest = (number(v, digits) for v in found)
    return f"{middle} ({least}-{greatest})"


def draw(rows, left=1):
    """Columns as wide as they must be; the first LEFT ones to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for at, row in enumerate(rows):
        cells = [cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  " + "  ".join(cells).rstrip())
        if at == 0:
            lines.append("  " + "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _throughput(runs):
    parts = [stats.median(runs, f"pages_{when}_k") for when in ("before", "during", "after")]
    return "-" if parts == [None] * 3 else "/".join(number(p) for p in parts)


def _over(runs):
    completed = stats.values(runs, "over_limit")
    if not completed:
        return "-"
    return f"{sum(completed)}/{sum(stats.values(runs, 'over_limit_guest'))} of {len(completed)}"


HEADER = ["arm", "total ms", "as reported", "downtime ms", "guest gap ms", "MB sent", "CPU s", "CPU s/GB", "rounds",
          "over limit tool/guest", "guest k pages/s before/during/after", "failed"]


def case_table(case, results):
    rows = [HEADER]
    for arm in case.arms:
        runs = results.of(case.name, arm)
        if not runs:
            continue
        failed = sum(run.get("result") != "completed" for run in runs)
        rows.append([arm, ranged(runs, "external_ms"), number(stats.median(runs, "total_ms")),
                     ranged(runs, "downtime_ms", 1), ranged(runs, "guest_gap_ms", 1),
                     number(stats.median([r | {"mb": (r.get("bytes_sent") or 0) / 1e6} for r in runs], "mb")),
                     number(stats.median(runs, "cpu_s"), 2), number(stats.median(runs, "cpu_s_per_gb"), 2),
                     number(stats.median(runs, "rounds")),
                     _over(runs), _throughput(runs), str(failed) if failed else ""])
    return f"{case.title}  [{case.name}]\n{draw(rows)}" if len(rows) > 1 else ""


def extra_table(name, title, results, arms):
    rows = [["arm", "median (least-greatest)"]]
    for arm in arms:
        runs = results.of(name, arm)
        if not runs:
            continue
        if name == "start":
            rows.append([arm, ranged(runs, "first_byte_ms", 1) + " ms"])
        else:
            rows.append([arm, ranged(runs, "anonymous_mb", 2) + " MB"])
    return f"{title}  [{name}]\n{draw(rows)}" if len(rows) > 1 else ""


def aims_table(aims):
    rows = [["case", "measured (least-greatest)", "aim", "met"]]
    current = None
    lines = []
    for aim in aims:
        if aim["what"] != current:
            current = aim["what"]
            rows.append([current, "", "", ""])
        rows.append([f"  {aim['case']}", aim["text"], aim["aim"], {True: "yes", False: "NO", None: "?"}[aim["met"]]])
    lines.append("Aims")
    lines.append(draw(rows))
    judged = [aim for aim in aims if aim["met"] is not None]
    lines.append(f"  {sum(aim['met'] for aim in judged)} of {len(judged)} met"
                 + (f", {len(aims) - len(judged)} without figures" if len(judged) < len(aims) else ""))
    return "\n".join(lines)
