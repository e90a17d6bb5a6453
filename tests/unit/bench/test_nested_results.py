#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an emulated host prints, taken apart: results between marks, the rest told on. The host's output is not trusted."""

import base64
import io
import os
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "bench", "lib"))

import swhw_nested  # noqa: E402
from process import BenchError  # noqa: E402


def archive(members):
    """{name: bytes, or the target of a symbolic link}, as the host prints it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return base64.encodebytes(buffer.getvalue()).decode().splitlines()


class TestResults(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = os.path.join(directory.name, "inside")
        os.mkdir(self.root)
        self.told = []
        self.results = swhw_nested.Results(self.root, self.told.append)

    def feed(self, *lines):
        for line in lines:
            self.results.line(line + "\r\n")

    def read(self, *path):
        with open(os.path.join(self.root, *path), "rb") as f:
            return f.read()

    def test_two_archives_among_other_lines(self):
        self.feed("# turn 1", swhw_nested.BEGIN, *archive({"1/pml=0/a": b"first\n"}), swhw_nested.END,
                  "between", swhw_nested.BEGIN, *archive({"1/pml=1/a": b"\0second"}), swhw_nested.END)
        self.assertEqual(self.told, ["# turn 1", "between"])
        self.assertEqual((self.read("1/pml=0/a"), self.read("1/pml=1/a")), (b"first\n", b"\0second"))
        self.assertEqual(self.results.count, 2)

    def test_damage_is_an_error(self):
        lines = archive({"a": os.urandom(3000)})
        with self.assertRaisesRegex(BenchError, "damaged"):
            self.feed(swhw_nested.BEGIN, *lines[:len(lines) // 2], swhw_nested.END)
        with self.assertRaisesRegex(BenchError, "damaged"):
            self.feed(swhw_nested.BEGIN, "# a message that came in between", *lines, swhw_nested.END)

    def test_nothing_is_written_outside(self):
        for name in ("../evil", "/tmp/evil", "a/../../evil"):
            with self.assertRaisesRegex(BenchError, "outside"):
                self.feed(swhw_nested.BEGIN, *archive({name: b"x"}), swhw_nested.END)
        self.assertEqual(os.listdir(os.path.dirname(self.root)), ["inside"])

    def test_links_are_left_out(self):
        self.feed(swhw_nested.BEGIN, *archive({"link": "/etc/passwd", "file": b"x"}), swhw_nested.END)
        self.assertEqual(os.listdir(self.root), ["file"])

    def test_a_cut_archive_is_not_counted(self):
        self.feed(swhw_nested.BEGIN, *archive({"a": b"x"}))
        self.assertEqual((self.results.count, os.listdir(self.root)), (0, []))


class TestRun(unittest.TestCase):
    def test_a_host_without_results(self):
        with tempfile.TemporaryDirectory() as root, self.assertRaisesRegex(BenchError, "status 125 before anything"):
            swhw_nested.run(["sh", "-c", "echo no; exit 125"], root, lambda text: None)


if __name__ == "__main__":
    unittest.main()
