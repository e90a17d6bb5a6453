#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The report of bench/sw-vs-hw, built from what an emulated Intel host once measured (fixtures/intel) and from rows made up here."""

import copy
import html.parser
import json
import os
import re
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "bench", "lib"))
try:
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
except ImportError as e:
    print(f"skip: {e.name} is not installed (tests/install-deps bench)")
    sys.exit(77)

import plot  # noqa: E402
import report_html  # noqa: E402
import report_md  # noqa: E402
import report_model as model  # noqa: E402
import swhw  # noqa: E402
import swhw_collect  # noqa: E402
import swhw_report  # noqa: E402
import swhw_settings  # noqa: E402
from process import BenchError  # noqa: E402
from swhw_tables import Collection, ReportError  # noqa: E402

FIXTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures", "intel")
HOSTILE = '<script>alert("1")</script> | `x` & $y$ \'q\''


def collection(**more):
    return {"bench": "sw-vs-hw", "host": {"vmm": "vmm", "commit": "0123"}, "arguments": [], "notes": [],
            "hosts": [{"id": "intel", "title": "Emulated Intel", "short": "Intel", "clock": "emulated time", "emulated": True}],
            } | swhw_collect.read(FIXTURE, "intel") | more


def tables(report):
    return {part.title: part for section in report.sections for part in section.parts if isinstance(part, model.Table)}


def texts(report):
    return "\n".join(part for section in report.sections for part in section.parts if isinstance(part, str))


class Elements(html.parser.HTMLParser):
    """Names of elements and their attributes' names; text apart from styles."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes, self.text, self.ids, self.open = set(), set(), "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.ids += [value for name, value in attrs if name == "id"]
        self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def quick_plot(path, *_, **__):
    with open(path, "w", encoding="utf-8") as f:
        f.write("<svg></svg>")


class TestBase(unittest.TestCase):
    real_plots = False

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        if not self.real_plots:
            for name in ("bars", "lines"):
                patch = unittest.mock.patch.object(plot, name, quick_plot)
                patch.start()
                self.addCleanup(patch.stop)

    def build(self, data):
        return swhw_report.build(data, self.root)


class TestRecorded(TestBase):
    def test_rows(self):
        found = Collection(collection())
        self.assertEqual([(row["setting"], row["backend"], row["accel"]) for row in found.rows],
                         [("pml=0", "manual", "none"), ("pml=0", "uffd", "none"), ("pml=1", "manual", "intel-pml"), ("pml=1", "uffd", "none")])
        self.assertEqual(found.pairs("intel"), [("pml=0", "pml=1")])
        self.assertEqual(found.label("intel", "pml=1"), "pml=1 (intel-pml)")
        self.assertEqual(Collection(collection(rows=[])).label("intel", "pml=1"), "pml=1 (intel-pml)", "a setting whose steps failed")

    def test_expectations_are_met(self):
        rows = swhw_report.expectations(Collection(collection()))
        self.assertEqual({row[-1] for row in rows}, {"yes"})
        self.assertTrue(any("a logged page costs the guest" in row[1] and row[3] == "19.6 times less" for row in rows), rows)
        self.assertFalse(any("uffd" in row[1] for row in rows), "no accelerator helps it")

    def test_a_missed_page_is_told(self):
        data = collection()
        data["rows"][0]["pages_missed"] = 3
        row = next(row for row in swhw_report.expectations(Collection(data)) if "missed" in row[1])
        self.assertEqual(row[3:], ["3", "NO"])

    def test_slow_hardware_is_told(self):
        data = collection()
        hard = next(row for row in data["rows"] if row["accel"] == "intel-pml")
        hard["exits_per_dirtied_page"] = model.figure_of([0.5], "ratio")
        hard["guest_cost_per_dirtied_page"] = model.figure_of([30000.0], "ns")
        verdicts = [row[-1] for row in swhw_report.expectations(Collection(data)) if row[1].startswith("manual")]
        self.assertEqual(verdicts, ["yes", "NO", "NO"])

    def test_every_table_of_times_says_where_and_of_what_kind(self):
        for title, table in tables(self.build(collection())).items():
            if table.kind not in (model.FACTS, model.PUBLISHED):
                self.assertEqual(table.kind, model.EMULATED, title)
                self.assertIn("Emulated Intel, Linux 6.12", table.where, title)
                self.assertIn("dirty-log-perf", table.where, title)

    def test_conformance(self):
        found = collection()["conformance"]
        self.assertEqual([(c["setting"], c["backend"], c["memory"], c["cases"], c["written"], c["skipped"]) for c in found],
                         [("pml=1", "manual", "thp", 16, 85403, ""), ("pml=1", "manual", "hugetlb", 0, 0, "no huge pages of 2 MiB are free")],
                         "a line that was cut off does not count")
        table = tables(self.build(collection()))["Tests and pages, by backend and backing of the memory"]
        self.assertEqual(table.rows[0][3:], ["thp", "16", "0", "85,403", "0", "0", "9"])
        self.assertIn("no huge pages", table.note)

    def test_pages_missed_by_the_suite_are_told(self):
        data = collection()
        data["conformance"][0]["missed"] = 2
        row = next(row for row in swhw_report.expectations(Collection(data)) if "conformance" in row[1])
        self.assertEqual(row[3:], ["0 of 16, 2 of 85,403", "NO"])

    def test_a_host_that_did_not_boot(self):
        data = collection()
        data["hosts"].append({"id": "other", "title": "Another host", "short": "Another", "emulated": True})
        data["failures"].append({"host_id": "other", "setting": "all", "turn": 1, "step": "boot", "reason": "status 125"})
        report = self.build(data)
        self.assertIn("Nothing was measured on Another host.", texts(report))
        self.assertIn(["Another", "all, turn 1: boot", "ends well", "status 125", "NO"], tables(report)["Expected and found"].rows)

    def test_failures_are_told(self):
        failure = {"host_id": "intel", "setting": "pml=0", "turn": 1, "step": "monitor", "reason": "status 1: no"}
        rows = swhw_report.expectations(Collection(collection(failures=[failure])))
        self.assertIn(["Intel", "pml=0, turn 1: monitor", "ends well", "status 1: no", "NO"], rows)


def asked_collection(exits=1 / 60):
    """The recorded one as if hardware had been asked for by each VM, in groups of 64 and 16."""
    data = collection()
    text = json.dumps(data).replace("pml=0", "accel=off").replace("pml=1", "accel=on,group=64").replace("intel-pml", swhw_settings.COMBINED)
    data = json.loads(text)
    for item in data["settings"]:
        item["caps"]["accelerators"] = [{"name": name, "state": "present", "reason": "so it is"} for name in ("arm64 combined log", "arm64 DBM")]
    for row in data["rows"]:
        if row["accel"] == swhw_settings.COMBINED:
            row["exits_per_dirtied_page"] = model.figure_of([exits], "ratio")
    for key in ("settings", "rows"):
        data[key] += [other | {"setting": "accel=on,group=16"} for other in data[key] if other["setting"] == "accel=on,group=64"]
    return data


class TestAsked(TestBase):
    def test_each_group_beside_the_software(self):
        found = Collection(asked_collection())
        self.assertEqual(found.pairs("intel"), [("accel=off", "accel=on,group=64"), ("accel=off", "accel=on,group=16")])
        self.assertEqual(found.label("intel", "accel=off"), "not asked (software)")
        self.assertEqual(found.label("intel", "accel=on,group=16"), "groups of 16 (arm64-combined-log)")

    def test_each_group_has_its_own_limit(self):
        for exits, verdicts in ((1 / 60, {"64": "yes", "16": "yes"}), (1 / 20, {"64": "NO", "16": "yes"}), (1 / 8, {"64": "NO", "16": "NO"})):
            rows = swhw_report.expectations(Collection(asked_collection(exits)))
            self.assertEqual({row[2].split("/")[1]: row[-1] for row in rows if row[2].startswith("about 1/")}, verdicts)
            self.assertEqual(sum(row[2] == "about 1" for row in rows), 1, "the software's row is there once")

    def test_the_table_has_a_column_for_each(self):
        found = tables(self.build(asked_collection()))["In the published table's form"]
        self.assertEqual(found.header[2:], ["not asked (software)", "groups of 64 (arm64-combined-log)", "groups of 16 (arm64-combined-log)",
                                          "ratios"])

    def test_a_vm_that_did_not_ask_has_no_hardware_row(self):
        data = asked_collection()
        data["rows"][0]["accel"] = swhw_settings.COMBINED
        with self.assertRaises(ReportError):
            Collection(data)


class TestHonesty(TestBase):
    def without_hardware(self):
        data = collection()
        data["rows"] = [row for row in data["rows"] if row["setting"] == "pml=0"]
        data["settings"] = data["settings"][:1]
        return data

    def test_no_hardware_row_without_an_accelerator(self):
        report = self.build(self.without_hardware())
        self.assertIn("has no hardware tracking", texts(report))
        self.assertIn("Intel PML: kvm_intel.pml=N", texts(report))
        for title, table in tables(report).items():
            for cell in (cell for row in [table.header, *table.rows] for cell in row):
                self.assertNotIn("intel-pml", cell or "", title)
        self.assertFalse(any("1/512" in row[2] for row in swhw_report.expectations(Collection(self.without_hardware()))))

    def test_a_row_that_claims_an_accelerator_is_refused(self):
        data = self.without_hardware()
        data["rows"][0]["accel"] = "intel-pml"
        with self.assertRaisesRegex(ReportError, "hardware row \\(intel-pml\\).*no such accelerator"):
            Collection(data)

    def test_another_accelerator_does_not_do(self):
        data = collection()
        next(row for row in data["rows"] if row["accel"] == "intel-pml")["accel"] = "arm64-dbm"
        with self.assertRaisesRegex(ReportError, "arm64-dbm"):
            Collection(data)

    def test_a_prediction_is_no_measurement(self):
        data = collection()
        data["rows"].append(copy.deepcopy(data["rows"][0]) | {"kind": "prediction"})
        with self.assertRaisesRegex(ReportError, "prediction among the measured"):
            Collection(data)

    def test_figures_of_a_busy_machine_are_marked(self):
        data = collection(host={"load_at_start": [3.0, 1, 1]}, arguments=["--quick"])
        self.assertIn("quick run", texts(self.build(data)))
        self.assertNotIn("not quiet", texts(self.build(data)), "emulated time does not depend on it")
        del data["hosts"][0]["emulated"]
        self.assertIn("load was 3.0", texts(self.build(data)))

    def test_kinds_are_shown(self):
        table = model.Table("t", ["a"], [["1"]], model.PREDICTION)
        report = model.Report("r", "", [model.Section("s", "s", [table])])
        self.assertIn("(prediction)", report_md.render(report, self.root))
        self.assertIn('kind prediction">prediction<', report_html.render(report))
        with self.assertRaises(ValueError):
            model.Table("t", ["a"], [["1"]], "guess")

    def test_published_figures_are_marked(self):
        for title, table in tables(self.build(collection())).items():
            if "own table" in title:
                self.assertEqual(table.kind, model.PUBLISHED)


class TestHtml(TestBase):
    real_plots = True

    def render(self, data):
        return report_html.render(self.build(data))

    def test_it_needs_nothing_beside_it(self):
        text = self.render(collection())
        page = Elements(text)
        self.assertIn("svg", page.names)
        self.assertFalse(page.names & {"script", "img", "link", "iframe", "object"})
        self.assertFalse(page.attributes & {"src", "onload", "onclick"})
        for target in re.findall(r'href="([^"]*)"', text):
            self.assertTrue(target.startswith("#"), target)
        self.assertEqual(len(page.ids), len(set(page.ids)), "a name stands for one element")

    def test_hostile_words_stay_words(self):
        data = collection(notes=[HOSTILE])
        data["hosts"][0] |= {"title": HOSTILE, "short": HOSTILE}
        data["settings"][0]["caps"]["accelerators"][0]["reason"] = HOSTILE
        for row in data["rows"]:
            row["workload"] = HOSTILE
        text = self.render(data)
        page = Elements(text)
        self.assertNotIn("script", page.names)
        self.assertIn(HOSTILE, page.text)
        self.assertNotIn("<script", text)

    def test_a_plot_with_a_script_is_refused(self):
        path = os.path.join(self.root, "bad.svg")
        with open(path, "w", encoding="utf-8") as f:
            f.write("<svg><script>1</script></svg>")
        with self.assertRaisesRegex(ValueError, "script"):
            report_html.inline_svg(path)


class TestMarkdown(TestBase):
    def test_hostile_words_stay_words(self):
        data = collection(notes=[HOSTILE + "\n# no heading"])
        report = self.build(data)
        text = report_md.render(report, self.root)
        self.assertNotIn("<script", re.sub(r"\\<", "", text))
        self.assertNotIn("\n# no heading", text)
        rows = [line for line in text.splitlines() if line.startswith("| Emulated")]
        self.assertTrue(rows)

    def test_plots_are_named_from_where_the_file_is(self):
        report = self.build(collection())
        found = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", report_md.render(report, os.path.dirname(self.root)))
        self.assertEqual(len(found), 3)
        for path in found:
            self.assertTrue(os.path.exists(os.path.join(os.path.dirname(self.root), path)), path)


class TestRunHere(TestBase):
    """What was loaded is put back, however measuring ends, and the script does not outlive the bench."""

    def run_script(self, script):
        module = unittest.mock.Mock()
        module.name = "kvm_intel"
        try:
            swhw.run_here(["sh", "-c", script], module, self.root)
        finally:
            module.restore.assert_called_once_with()

    def test_well(self):
        self.run_script('command -v reload-kvm >/dev/null && [ "$SWHW_MODULE" = kvm_intel ]')

    def test_badly(self):
        with self.assertRaisesRegex(BenchError, "status 3"):
            self.run_script("exit 3")

    def test_interrupted(self):
        left = os.path.join(self.root, "left")
        with self.assertRaises(KeyboardInterrupt):
            self.run_script(f"trap 'echo ended >{left}; exit 143' TERM; sleep 1; kill -INT $PPID; for i in 1 2 3 4 5 6 7 8 9; do sleep 1; done")
        with open(left, encoding="ascii") as f:
            self.assertEqual(f.read(), "ended\n")


class TestMerge(unittest.TestCase):
    ROW = {"host_id": "h", "setting": "s", "bench": "b", "backend": "ring", "workload": "w", "runs": 1, "pages_missed": 1}

    def row(self, value, calls=10):
        return self.ROW | {"time": model.figure_of([value], "s"),
                           "calls": [{"call": "GET", "phase": "get", "ns_per_gib": model.figure_of([calls], "ns/GiB")}]}

    def test_turns_become_one_row(self):
        merged = swhw_collect.merge([self.row(3.0, 30), self.row(1.0, 10), self.row(2.0, 20)])
        self.assertEqual(len(merged), 1)
        self.assertEqual(merged[0]["time"], {"median": 2.0, "min": 1.0, "max": 3.0, "unit": "s"})
        self.assertEqual(merged[0]["calls"][0]["ns_per_gib"]["median"], 20)
        self.assertEqual((merged[0]["runs"], merged[0]["pages_missed"]), (3, 3))

    def test_other_settings_stay_apart(self):
        self.assertEqual(len(swhw_collect.merge([self.row(1.0), self.row(1.0) | {"setting": "t"}])), 2)

    def test_a_figure_that_a_turn_lacks(self):
        merged = swhw_collect.merge([self.row(1.0) | {"time": None}, self.row(2.0)])
        self.assertEqual(merged[0]["time"]["median"], 2.0)


class TestFigures(unittest.TestCase):
    def test_text(self):
        for values, unit, text in (([3.5216e-6], "s", "3.52 µs"), ([2.0e-3, 1.0e-3, 3.0e-3], "s", "2.00 ms (1.00–3.00)"),
                                   ([34100.0], "ns", "34.1 µs"), ([9.8e6], "ns/GiB", "9.80 ms/GiB"), ([4096], "pages", "4,096"),
                                   ([0.00219726], "ratio", "0.00220"), ([1], "ratio", "1.00"), ([0], "ratio", "0"),
                                   ([61538.2], "requests/s", "61,538 requests/s")):
            self.assertEqual(model.figure_text(model.figure_of(values, unit)), text)
        self.assertEqual(model.figure_text(None), model.DASH)
        self.assertIsNone(model.figure_of([None], "s"))


if __name__ == "__main__":
    unittest.main()
