# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML file that needs nothing beside it: styles and plots are inside, there is no script."""

import os
import re

import jinja2

import report_model as model

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
KIND_CLASS = {model.MEASURED: "measured", model.EMULATED: "emulated", model.PUBLISHED: "published",
              model.PREDICTION: "prediction", model.FACTS: "facts"}


def inline_svg(path):
    """The plot without what only a file of its own has: declaration, document type, styles (the page has its own)."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style>\s*\.plot.*?</style>", "", text, count=1, flags=re.S)
    if re.search(r"<script|\son\w+=|javascript:", text, re.I):
        raise ValueError(f"{path}: a plot holds a script")
    return jinja2.utils.markupsafe.Markup(text)


def _part_type(part):
    return "text" if isinstance(part, str) else type(part).__name__.lower()


def render(report):
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.globals.update(svg=inline_svg, part_type=_part_type, kind_class=KIND_CLASS, dash=model.DASH, nbhyphen="\u2011")
    return environment.get_template("report.html.j2").render(report=report)


def write(report, path):
    text = render(report)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
