# SPDX-License-Identifier: Apache-2.0
"""A report as Markdown; its plots stay SVG files, named relative to it."""

import os
import re

import report_model as model

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#&$])")


def escape(text):
    """Text that shows as it is: host names and reasons come from outside."""
    return _SPECIAL.sub(r"\\\1", str(text).replace("\r", " ").replace("\n", " "))


def _about(part):
    """Host, kernel, workload and the kind of figures, in brackets behind a title."""
    words = [escape(part.where)] * bool(part.where) + [part.kind] * (part.kind != model.FACTS)
    return f" ({'; '.join(words)})" if words else ""


def _table(table):
    align = ["---"] + ["---" if i in table.left else "---:" for i in range(1, len(table.header))]
    lines = [f"**{escape(table.title)}**{_about(table)}", "",
             "| " + " | ".join(escape(cell) for cell in table.header) + " |", "|" + "|".join(align) + "|"]
    lines += ["| " + " | ".join(model.DASH if cell is None else escape(cell) for cell in row) + " |"
              for row in table.rows]
    if table.note:
        lines += ["", escape(table.note)]
    return "\n".join(lines)


def _plot(plot, directory):
    path = os.path.relpath(plot.path, directory).replace(" ", "%20")
    return f"![{escape(plot.caption)}]({path})\n\n*{escape(plot.caption)}*{_about(plot)}"


def _part(part, directory):
    if isinstance(part, model.Table):
        return _table(part)
    if isinstance(part, model.Plot):
        return _plot(part, directory)
    return escape(part)


def render(report, directory):
    """DIRECTORY: where the file will be, for the plots' paths."""
    parts = [f"# {escape(report.title)}", escape(report.lead)]
    for section in report.sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_part(part, directory) for part in section.parts]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(report, path):
    directory = os.path.dirname(os.path.abspath(path))
    text = render(report, directory)
    os.makedirs(directory, exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
