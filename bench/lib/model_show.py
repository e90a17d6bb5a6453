# SPDX-License-Identifier: Apache-2.0
"""The model's tables, plots and JSON rows. Whatever comes out of the model says that it is a prediction, wherever it stands."""

import os

import model_check
import model_documents
import model_sweeps
import published
import table
from report_model import MEASURED, PREDICTION, PUBLISHED, figure_text, scaled, three_digits

MACHINE_NONE = "no machine: an event model"


def time_text(ns):
    if ns is None:
        return "-"
    value, unit = scaled(ns, "ns")
    return f"{three_digits(value)} {unit}"


def percent(value, digits=0):
    return "-" if value is None else f"{value:+.{digits}f} %"


def figure(value, unit):
    return None if value is None else {"median": value, "min": value, "max": value, "unit": unit}


def row(section, backend, accel, workload, costs, figures, **more):
    """One prediction. COSTS says whose."""
    return {"kind": PREDICTION, "section": section, "backend": backend, "accel_asked": accel, "accel": accel,
            "accel_reason": "modelled", "machine": MACHINE_NONE, "kernel": None, "kvm_module": None, "costs_of": costs,
            "workload": workload, "runs": 0} | more | figures


# ---- against measurements ----

def check_rows(calibrated, host):
    rows = []
    for one in calibrated:
        for o in one.errors:
            c = o.configuration
            units = {name: "ns" if name.endswith("_ns") else "count" for name, _ in model_check.FIGURES}
            predicted = {name: figure(o.prediction[name], unit) for name, unit in units.items()}
            errors = {name: o.error_percent(name) for name in units}
            rows.append(row("check", one.backend, one.accel, c.workload, host, predicted, error_percent=errors,
                            calibrated_on_it=o.calibration, judged=[name for name in units if o.judged(name)]))
            rows.append({"kind": MEASURED, "section": "check", "backend": one.backend} | c.host
                        | {"workload": c.workload, "runs": len(c.runs)} | {name: c.figures[name] for name in units})
    return rows


def check_tables(calibrated):
    for one in calibrated:
        yield f"{one.backend}, accelerator {one.accel}: costs from the measurements marked *", _check_table(one)


def _check_table(one):
    cells = [["workload", "", "prediction", "measured", "error of the prediction"]]
    for o in one.errors:
        words = o.configuration.workload.removeprefix("dirty-log-perf ") + (" *" if o.calibration else "")
        for name, title in model_check.FIGURES:
            error = o.error_percent(name)
            if error is None:
                continue
            mark = "" if o.judged(name) or o.calibration else " (too short)" if name not in model_check.UNJUDGED else " (not judged)"
            time = name.endswith("_ns")
            predicted = time_text(o.prediction[name]) if time else f"{o.prediction[name]:,.0f}"
            cells.append([words, title, predicted, figure_text(o.configuration.figures[name]), percent(error) + mark])
            words = ""
    return table.draw(cells)


def summary_table(calibrated):
    titles = dict(model_check.FIGURES)
    cells = [["errors of predictions it was not calibrated on", "predictions", f"within {model_check.AIM_PERCENT} %", "median error",
              "greatest"]]
    for name, (judged, within, median, greatest) in model_check.summary(calibrated).items():
        cells.append([titles[name], str(judged), str(within), f"{median:.1f} %", f"{greatest:.1f} %"])
    return table.draw(cells)


def check_plot(calibrated, directory, plot, host):
    """Predicted over measured dirty memory time: the one that tracking is about."""
    series, groups = [], []
    for one in calibrated:
        for o in one.errors:
            if o.configuration.workload not in groups and not o.calibration:
                groups.append(o.configuration.workload)
    short = [g.removeprefix("dirty-log-perf ").replace(" -s anonymous", "") for g in groups]
    values = []
    for one in calibrated:
        by = {o.configuration.workload: o for o in one.errors if not o.calibration}
        series.append(one.backend if one.accel == "none" else f"{one.backend}, {one.accel}")
        values.append([by[g].error_percent("dirty_later_ns") if g in by else None for g in groups])
    absolute = [[abs(v) if v is not None else None for v in line] for line in values]
    plot.bars(os.path.join(directory, "model-errors.svg"),
              f"Prediction: error of the dirty memory time against the measured one, {host}", short, series, absolute, None,
              "error of the prediction, percent")


# ---- the documents ----

def combined_rows(found):
    return [row("combined log", "manual", "none" if label == "software" else "combined",
                published.DIRTY_LOG_PERF["workload"], origin,
                {name: figure(p[name], "ns") for name, _ in model_documents.PHASES} | {"exits_per_page": figure(p["exits_per_page"], "ratio")},
                mechanism=label) for label, origin, p in found]


def combined_table(found):
    rows_ = {line["phase"]: line for line in published.DIRTY_LOG_PERF["rows"]}
    cells = [["", "costs from", *(title for _, title in model_documents.PHASES), "exits a page"]]
    cells.append([f"published: {published.COMBINED_LOG['software']}", "", *(f"{rows_[t]['software']} s" for _, t in model_documents.PHASES), ""])
    cells.append([f"published: {published.COMBINED_LOG['hardware']}", "", *(f"{rows_[t]['hardware']} s" for _, t in model_documents.PHASES), ""])
    for label, origin, p in found:
        cells.append([f"prediction: {label}", origin, *(f"{p[name] / 1e9:.5f} s" for name, _ in model_documents.PHASES),
                      three_digits(p["exits_per_page"])])
    return table.draw(cells)


def combined_words(found):
    ours = next(p for label, origin, p in found if label == "combined, groups of 64")
    theirs = {line["phase"]: line["hardware"] for line in published.DIRTY_LOG_PERF["rows"]}
    error = 100 * (ours["dirty_ns"] / 1e9 / theirs["dirty memory time"] - 1)
    return (f"Out of the software column alone the model predicts {ours['dirty_ns'] / 1e9:.2f} s of dirty memory time with groups of 64; published "
            f"are {theirs['dirty memory time']} s ({percent(error)}).\nIts scan is too cheap: it takes a page's entry for as dear as in clearing, "
            f"{model_documents.software_costs()['scan_page_ns']:.0f} ns; the published get dirty log time implies "
            f"{model_documents.implied_scan_ns():.0f} ns.\nThat machine flushes the TLB page by page (no FEAT_TLBIRANGE), which no figure of the "
            "software column tells.")


def monitor_rows(curve, host):
    return [row("PML series", "bitmap", accel, f"4 vCPUs, 1 GB, {rate} pages written a second, log read once a second", host,
                {"loss": figure(loss, "percent")})
            for rate, wp, pml in curve for accel, loss in (("none", wp), ("pml", pml))]


def monitor_table(curve):
    wp, pml = model_documents.monitor_published()
    cells = [["pages written a second", "loss, write protection", "loss, PML", "difference"],
             ["published (SPECjbb; rate not published)", f"{wp:.2f} %", f"{pml:.2f} %", f"{wp - pml:.2f} %"]]
    cells += [[f"prediction: {rate:,}", f"{w:.2f} %", f"{p:.2f} %", f"{w - p:.2f} %"] for rate, w, p in curve]
    return table.draw(cells)


def monitor_words(curve):
    wp, pml = model_documents.monitor_published()
    rate = model_documents.rate_of_difference(curve, wp - pml)
    text = (f"The published difference, {wp - pml:.2f} %, is the model's at {rate:,.0f} pages a second." if rate else
            "The published difference lies beyond the rates modelled.")
    return text + ("\nBoth published losses are greater than the model's by about the same: what reading costs whichever way pages are found "
                   "(the monitoring\nthread's own time, the TLB after each flush) is not in these costs, which are assumed, not measured.")


# ---- sweeps ----

def sweep_rows(sweep, mechanisms, host):
    rows = []
    for label, keys, assumed in mechanisms:
        for (x, text, _), found in zip(sweep.points, sweep.found[label]):
            rows.append(row(f"sweep {sweep.name}", keys["backend"], keys["accel"], f"{sweep.title}: {text}", host,
                            {"loss": figure(found["loss_percent"], "percent"), "cpu_per_page": figure(found["cpu_ns_per_page"], "ns"),
                             "reader": figure(found["reader_percent"], "percent"),
                             "exits_per_page": figure(found["exits_per_page"], "ratio")},
                            mechanism=label, x=x, hardware_costs_assumed=assumed))
    return rows


def sweep_table(sweep, mechanisms, name, title, show):
    labels = [label for label, _, _ in mechanisms]
    mark = {label: "*" if assumed else "" for label, _, assumed in mechanisms}
    least = sweep.winners(name, labels)
    least_known = sweep.winners(name, [label for label, _, assumed in mechanisms if not assumed])
    cells = [[f"prediction: {title}", *(label + mark[label] for label in labels), "least", "least but for *"]]
    for i, (_, text, _) in enumerate(sweep.points):
        cells.append([text, *(show(sweep.found[label][i][name]) for label in labels), least[i], least_known[i]])
    return table.draw(cells)


SWEEP_FIGURES = (("loss_percent", "the guest's loss", lambda v: "-" if v is None else f"{v:.3f} %"),
                 ("cpu_ns_per_page", "CPU time a dirtied page, guest and reader", time_text))
# As many as colours can be told apart; the tables have them all.
PLOTTED = ("bitmap", "manual", "ring", "uffd", "PML", "full scan", "combined 64", "combined 512")


def sweep_plots(sweep, directory, plot, host):
    for name, what, _ in SWEEP_FIGURES:
        plot.lines(os.path.join(directory, f"model-{sweep.name}-{'loss' if name == 'loss_percent' else 'cpu'}.svg"),
                   f"Prediction: {what} by {sweep.title}; {host}, those of hardware assumed",
                   [(label, [x for x, _, _ in sweep.points], [f[name] for f in found]) for label, found in sweep.found.items()
                    if label in PLOTTED],
                   sweep.xlabel, "percent of its vCPUs' time" if name == "loss_percent" else "ns", logx=sweep.logx, logy=True)


def group_rows(found, host):
    return [row("sweep group", "manual", "combined", f"{pattern}, groups of {size} pages", host,
                {"loss": figure(f["loss_percent"], "percent"), "cpu_per_page": figure(f["cpu_ns_per_page"], "ns"),
                 "exits_per_page": figure(f["exits_per_page"], "ratio")}, x=size, hardware_costs_assumed=True)
            for pattern, line in found.items() for size, f in zip(model_sweeps.GROUP_SIZES, line)]


def group_table(found):
    cells = [["prediction: group size, the combined log", *(f"{pattern}: {what}" for pattern in found for what in ("loss", "CPU a page"))]]
    for i, size in enumerate(model_sweeps.GROUP_SIZES):
        cells.append([f"{size} pages", *(text for line in found.values()
                                         for text in (f"{line[i]['loss_percent']:.3f} %", time_text(line[i]["cpu_ns_per_page"])))])
    return table.draw(cells)


def group_plot(found, directory, plot, host):
    plot.lines(os.path.join(directory, "model-group-cpu.svg"),
               f"Prediction: CPU time a dirtied page by group size of the combined log; {host}, those of hardware assumed",
               [(pattern, list(model_sweeps.GROUP_SIZES), [f["cpu_ns_per_page"] for f in line]) for pattern, line in found.items()],
               "pages in a group", "CPU time of guest and reader, ns", logx=True, logy=True)


# ---- traces ----

def trace_rows(found, path, host):
    return [row("trace", label, "none" if not assumed else "assumed", f"{os.path.basename(path)}, log read every {ms:g} ms", host,
                {"loss": figure(f["loss_percent"], "percent"), "cpu_per_page": figure(f["cpu_ns_per_page"], "ns"),
                 "exits_per_page": figure(f["exits_per_page"], "ratio")}, mechanism=label, x=ms, hardware_costs_assumed=assumed)
            for label, assumed, line in found for ms, f in line]


def trace_table(found, name, title, show):
    cells = [[f"prediction: {title}", *(label + ("*" if assumed else "") for label, assumed, _ in found)]]
    for i, (ms, _) in enumerate(found[0][2]):
        cells.append([f"{ms:g} ms", *(show(line[i][1][name]) for _, _, line in found)])
    return table.draw(cells)
