#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the control server against docs/spec/openapi.yaml: every route is in the file and the other way round, every answer has a
status and a shape that the file allows, every status that the file promises is really seen, and every property of a request is
known to the server, with its type and limits.

usage: test_openapi.py FAKE-VM SPEC-DIRECTORY"""

import copy
import json
import os
import stat
import subprocess
import sys
import unittest

try:
    import jsonschema
    import yaml
except ImportError as e:
    print(f"skip: python3 module missing: {e.name}")
    sys.exit(77)

import fakevm

PROGRAM, SPEC = sys.argv[1:3]
METHODS = ("get", "put", "post", "delete")


def load(name):
    with open(os.path.join(SPEC, name), encoding="utf-8") as f:
        return json.load(f) if name.endswith(".json") else yaml.safe_load(f)


DOCUMENTS = {name: load(name) for name in ("openapi.yaml", "migrate-report.schema.json", "dirtyrate.schema.json")}


def resolve(node, file="openapi.yaml"):
    """The schema with every $ref replaced by what it names (no schema of the file contains itself)."""
    if isinstance(node, list):
        return [resolve(v, file) for v in node]
    if not isinstance(node, dict):
        return node
    out = {k: resolve(v, file) for k, v in node.items() if k != "$ref"}
    if "$ref" in node:
        name, _, fragment = node["$ref"].partition("#")
        file = name or file
        target = DOCUMENTS[file]
        for part in fragment.strip("/").split("/"):
            target = target[part]
        out = {**resolve(target, file), **out}
    return out


API = resolve(DOCUMENTS["openapi.yaml"])
PREFIX = "/api/v1"
OPERATIONS = {(method.upper(), path): item[method] for path, item in API["paths"].items() for method in METHODS if method in item}
SEEN = set()  # (method, path, status)


def check(test, method, path, answer):
    """An answer of an operation that the file describes."""
    operation = OPERATIONS[method, path]
    test.assertIn(str(answer.status), operation["responses"], f"{method} {path}: {answer.status} {answer.text}")
    SEEN.add((method, path, str(answer.status)))
    content = operation["responses"][str(answer.status)].get("content")
    if content is None:
        test.assertEqual(answer.text, b"")
        return answer
    test.assertIn(answer.type, content)
    if answer.type == "application/json":
        jsonschema.Draft202012Validator(content["application/json"]["schema"]).validate(answer.json)
    return answer


def body_schema(operation):
    return operation["requestBody"]["content"]["application/json"]["schema"] if "requestBody" in operation else None


def good_value(name, schema):
    if name == "to":
        return "wait:1"
    return schema["enum"][-1] if "enum" in schema else {"string": "x", "boolean": True, "integer": schema.get("maximum", 7)}[schema["type"]]


def bad_values(schema):
    yield None
    yield []
    yield {}
    if schema["type"] != "boolean":
        yield True
    if schema["type"] != "string":
        yield "1"
    if schema["type"] != "integer":
        yield 1
    else:
        yield 1.5
        yield -1
        yield schema.get("minimum", 0) - 1
    if "maximum" in schema:
        yield schema["maximum"] + 1
    if "enum" in schema:
        yield "no such word"
    if "maxLength" in schema:
        yield "x" * (schema["maxLength"] + 1)


class OpenApi(unittest.TestCase):
    def setUp(self):
        self.runtime = self.enterContext(fakevm.Runtime(PROGRAM)) if hasattr(self, "enterContext") else fakevm.Runtime(PROGRAM)
        if not hasattr(self, "enterContext"):
            self.addCleanup(self.runtime.__exit__)
        self.vm = self.runtime.start("a")

    def call(self, method, route, body=None, vm=None):
        return check(self, method, "/" + route, (vm or self.vm).request(method, route, body))

    def wait_for(self, stream, kind, **values):
        for event in stream:
            if event["event"] == kind and all(event.get(k) == v for k, v in values.items()):
                return event
        return self.fail(f"the stream ended without {kind} {values}")

    def test_routes(self):
        lines = subprocess.run([PROGRAM, "--routes"], check=True, capture_output=True, text=True).stdout.split("\n")
        table = {tuple(line.split()) for line in lines if line}
        described = {(m, PREFIX + p, next(s for s in o["responses"] if s[0] == "2")) for (m, p), o in OPERATIONS.items()}
        self.assertEqual(table, described)

    def test_get(self):
        self.assertEqual(self.call("GET", "vmm.ping").json["pid"], self.vm.process.pid)
        info = self.call("GET", "vm.info").json
        self.assertEqual((info["name"], info["state"], info["cpus"], info["memory_bytes"]), ("a", "running", 2, 2 << 30))
        self.assertEqual(self.call("GET", "vm.counters").json, {"exits": 1234, "serial.bytes_out": 77,
                                                                 "vcpus": [{"exits": 1000}, {"exits": 1001}]})
        self.assertEqual(info["devices"], [{"kind": "blk", "id": "disk0", "local": "/d.img", "transport": "pci", "slot": 1,
                                            "ports": [], "counters": {"requests": 5}},
                                           {"kind": "console", "id": "console0", "local": "/dev/pts/7", "transport": "pci", "slot": 2,
                                            "ports": [{"id": "console0", "name": "", "local": "/dev/pts/7"},
                                                      {"id": "console1", "name": "agent", "local": "unix:/a.sock"}],
                                            "counters": {"requests": 6}}])
        self.assertEqual(self.call("GET", "vm.migration-status").status, 404)
        self.assertEqual(self.call("GET", "vm.dirty-rate-status").status, 404)

    def test_balloon(self):
        self.assertEqual(self.call("GET", "vm.balloon").json,
                         {"target_bytes": 0, "actual_bytes": 0, "reported_bytes": 0, "guest": None})
        self.assertEqual(self.call("PUT", "vm.resize-balloon", {"size_bytes": 1 << 30}).status, 204)
        balloon = self.call("GET", "vm.balloon").json
        self.assertEqual((balloon["target_bytes"], balloon["guest"]["total_bytes"]), (1 << 30, 2 << 30))
        receiving = self.runtime.start("r", "--state", "receiving")
        self.assertEqual(self.call("GET", "vm.balloon", vm=receiving).status, 409)
        self.assertEqual(self.call("PUT", "vm.resize-balloon", {"size_bytes": 1}, receiving).status, 409)

    def test_unknown_routes(self):
        for route in ("/", "/api/v1", "/api/v1/", "/api/v1/vm.infos", "/api/v2/vm.info", "/api/v1/vm.info/"):
            answer = fakevm.request(self.vm.socket, "GET", route)
            self.assertEqual(answer.status, 404, route)
            jsonschema.validate(answer.json, API["components"]["schemas"]["Error"])

    def test_other_methods(self):
        for method, path in OPERATIONS:
            for other in ("GET", "PUT", "POST", "DELETE"):
                if (other, path) not in OPERATIONS:
                    answer = check(self, method, path, self.vm.request(other, path[1:], {} if other in ("PUT", "POST") else None))
                    self.assertEqual((answer.status, answer.allow), (405, method))

    def test_large_bodies(self):
        for method, path in OPERATIONS:
            answer = check(self, method, path, self.vm.request(method, path[1:], b" " * ((64 << 10) + 1)))
            self.assertEqual(answer.status, 413)
        with self.assertRaises(OSError):
            self.vm.request("PUT", "vm.pause", b" " * (2 << 20))
        # Up to the limit it is read: this one is refused for what it says.
        self.assertEqual(self.call("PUT", "vm.pause", b" " * (64 << 10)).status, 400)

    def test_large_chunked_body(self):
        connection = fakevm.Connection(self.vm.socket)
        connection.request("PUT", "/api/v1/vm.pause", body=iter([b" " * (64 << 10), b" "]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(connection.getresponse().status, 413)
        connection.close()
        self.assertEqual(self.call("GET", "vm.info").json["state"], "running")

    def test_deep_body(self):
        self.assertEqual(self.call("PUT", "vm.pause", b"[" * (60 << 10)).status, 400)
        self.assertEqual(self.call("PUT", "vm.pause", b'{"a":' * (12 << 10)).status, 400)

    def test_not_json(self):
        for method, path in OPERATIONS:
            if body_schema(OPERATIONS[method, path]) is None:
                continue
            for body in (b"{", b"[]", b"1", b"null", b'{"a":1}x', b"\xff\xfe", b'{"\xff":1}', b'{"mode":"kill","mode":"kill"}',
                         b'{"to":"wait:1\\u0000"}'):
                self.assertEqual(self.call(method, path[1:], body).status, 400, body)
        self.assertEqual(self.call("GET", "vm.info").json["state"], "running")

    def test_request_properties(self):
        for (method, path), operation in OPERATIONS.items():
            schema = body_schema(operation)
            if schema is None:
                continue
            validator = jsonschema.Draft202012Validator(schema)
            good = {k: good_value(k, v) for k, v in schema["properties"].items()}
            validator.validate(good)
            vm = self.runtime.start("good" + operation["operationId"])
            self.assertNotEqual(self.call(method, path[1:], good, vm).status, 400)
            self.assertIn("zzz: unknown", self.refused(method, path, {**good, "zzz": 1}))
            for key in schema.get("required", ()):
                self.assertIn(f"{key}: missing", self.refused(method, path, {k: v for k, v in good.items() if k != key}))
            for key, property_schema in schema["properties"].items():
                for value in bad_values(property_schema):
                    self.assertTrue(self.refused(method, path, {**good, key: value}).startswith(key + ": "), (key, value))
        self.assertEqual(self.call("GET", "vm.info").json["state"], "running")

    def refused(self, method, path, body):
        answer = self.call(method, path[1:], body)
        self.assertEqual(answer.status, 400, body)
        return answer.json["error"]

    def test_states(self):
        self.assertEqual(self.call("PUT", "vm.resume").status, 409)
        self.assertEqual(self.call("PUT", "vm.pause").status, 204)
        self.assertEqual(self.call("PUT", "vm.pause", {}).status, 409)
        self.assertEqual(self.call("PUT", "vm.resume", {"force": False}).status, 204)
        self.assertEqual(self.call("PUT", "vm.cancel-migration").status, 409)
        self.assertEqual(self.call("PUT", "vm.set-max-downtime", {"max_downtime_ns": 1}).status, 409)
        self.assertEqual(self.call("PUT", "vm.shutdown", {"mode": "power-button"}).status, 409)
        receiving = self.runtime.start("r", "--state", "receiving")
        self.assertEqual(self.call("PUT", "vm.send-migration", {"to": "ok:1"}, receiving).status, 409)
        unknown = self.runtime.start("u", "--state", "unknown")
        self.assertEqual(self.call("PUT", "vm.resume", {}, unknown).status, 409)
        self.assertEqual(self.call("PUT", "vm.resume", {"force": True}, unknown).status, 204)

    def test_cancelled_migration(self):
        events = fakevm.Stream(self.vm.socket)
        self.assertEqual(next(iter(events))["event"], "state")
        self.assertEqual(self.call("PUT", "vm.send-migration", {"to": "wait:1", "max_downtime_ns": 5000000}).status, 202)
        self.assertEqual(self.call("PUT", "vm.send-migration", {"to": "wait:1"}).status, 409)
        self.assertEqual(self.call("PUT", "vm.set-max-downtime", {"max_downtime_ns": 7000000}).status, 204)
        status = self.call("GET", "vm.migration-status").json
        self.assertEqual((status["result"], status["max_downtime_ms"]), ("running", 7))
        self.assertEqual(self.call("PUT", "vm.cancel-migration").status, 204)
        self.assertEqual(self.wait_for(events, "migration-done")["report"]["result"], "cancelled")
        self.assertEqual(self.call("GET", "vm.migration-status").json["result"], "cancelled")
        self.assertEqual(self.call("GET", "vm.info").json["state"], "running")
        events.close()

    def test_dirty_rate(self):
        validator = jsonschema.Draft202012Validator(OPERATIONS["GET", "/vm.events"]["responses"]["200"]["content"]["application/x-ndjson"]["schema"])
        events = fakevm.Stream(self.vm.socket)
        self.assertEqual(next(iter(events))["event"], "state")
        self.assertEqual(self.call("PUT", "vm.dirty-rate").status, 202)
        done = validator.validate(event := self.wait_for(events, "dirty-rate-done")) or event["dirty_rate"]
        self.assertEqual((done["result"], done["intervals"], done["for_ms"], done["interval_ms"]), ("completed", 10, 1000, 100))
        self.assertEqual((done["working_set_pages"], done["hot_set_pages"]), (4100, 4096))
        self.assertEqual((done["pages_per_s"]["median"], done["bytes_per_s"]["median"]), (20000, 20000 * 4096))
        self.assertEqual([p["pages"] for p in done["first_touch"]], [2000, 4100])
        self.assertEqual((done["cost"]["exits_per_dirtied_page"], done["cost"]["faults_per_dirtied_page"]), (1.1, None))
        self.assertEqual([(p["bandwidth"], p["converges"]) for p in done["predictions"]], [(125000000, True), (1250000, False)])
        self.assertEqual(self.call("GET", "vm.dirty-rate-status").json, done)
        self.assertEqual(self.call("PUT", "vm.cancel-dirty-rate").status, 409)
        self.assertEqual(self.call("PUT", "vm.dirty-rate", {"for_ns": 2000000000, "interval_ns": 2000000000}).status, 202)
        self.assertTrue(self.call("GET", "vm.info").json["measuring"])
        running = self.call("GET", "vm.dirty-rate-status").json
        self.assertEqual((running["result"], running["hot_set_pages"], running["predictions"]), ("running", None, []))
        self.assertEqual(self.call("PUT", "vm.dirty-rate").status, 409)
        self.assertEqual(self.call("PUT", "vm.cancel-dirty-rate").status, 204)
        self.assertEqual(self.wait_for(events, "dirty-rate-done")["dirty_rate"]["result"], "cancelled")
        events.close()

    def test_events(self):
        validator = jsonschema.Draft202012Validator(OPERATIONS["GET", "/vm.events"]["responses"]["200"]["content"]["application/x-ndjson"]["schema"])
        stream = fakevm.Stream(self.vm.socket)
        self.assertEqual((stream.status, stream.type), (200, "application/x-ndjson"))
        SEEN.add(("GET", "/vm.events", "200"))
        events = [next(iter(stream))]
        self.assertEqual(self.call("PUT", "vm.send-migration", {"to": "many:70"}).status, 202)
        events += list(stream)
        for event in events:
            validator.validate(event)
        self.assertEqual(events[0], {"event": "state", "state": "running", "reason": ""})
        self.assertEqual([e["round"]["round"] for e in events if e["event"] == "round"], list(range(1, 71)))
        self.assertGreater(len([e for e in events if e["event"] == "progress"]), 0)
        self.assertEqual([e["event"] for e in events[-2:]], ["migration-done", "state"])
        self.assertEqual(events[-1]["state"], "migrated")
        report = events[-2]["report"]
        self.assertEqual((report["result"], report["rounds"], len(report["round_details"])), ("completed", 70, 64))
        self.assertEqual((report["downtime_ms"], report["downtime"]["memory_ms"], report["max_downtime_ms"]), (10, 7, 300))
        first, last = report["round_details"][0], report["round_details"][-1]
        self.assertEqual((first["exits"], first["faults"], first["exits_per_dirtied_page"], first["faults_per_dirtied_page"]),
                         (25000, 20000, 1.25, 1))
        self.assertEqual([last[k] for k in ("exits", "faults", "exits_per_dirtied_page", "faults_per_dirtied_page")], [None] * 4)
        self.assertEqual((report["exits"], report["faults"], report["faults_per_dirtied_page"]), (30000, None, None))
        self.assertAlmostEqual(report["exits_per_dirtied_page"], 30000 / report["pages_dirtied"], 9)
        self.assertEqual(report["exits_reason"], "faults are not counted")
        self.assertEqual(self.vm.process.wait(20), 0)
        self.assertFalse(os.path.lexists(self.vm.socket))

    def test_kill_answers_and_ends_the_streams(self):
        streams = [fakevm.Stream(self.vm.socket) for _ in range(3)]
        self.assertEqual(self.call("PUT", "vm.shutdown", {"mode": "kill"}).status, 204)
        for stream in streams:
            self.assertEqual([e["state"] for e in stream], ["running", "stopped"])
        self.assertEqual(self.vm.process.wait(20), 0)

    def test_too_many_streams(self):
        streams = [fakevm.Stream(self.vm.socket) for _ in range(16)]
        self.assertEqual({next(iter(s))["state"] for s in streams}, {"running"})
        self.assertEqual(self.call("GET", "vm.events").status, 503)
        self.assertEqual(self.call("GET", "vm.info").status, 200)
        for stream in streams[:4]:
            stream.close()
        again = [fakevm.Stream(self.vm.socket) for _ in range(4)]
        self.assertEqual([s.status for s in again], [200] * 4)
        for stream in streams[4:] + again:
            stream.close()

    def test_socket_file(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.vm.socket).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.runtime.path).st_mode), 0o700)

    def test_other_user(self):
        if os.geteuid() != 0:
            SEEN.update((m, p, "403") for m, p in OPERATIONS)
            self.skipTest("needs root to be another user for a moment")
        for path in (os.path.dirname(self.runtime.path), self.runtime.path):
            os.chmod(path, 0o755)
        os.chmod(self.vm.socket, 0o666)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgid(65534)
                os.setuid(65534)
                answers = [(m, p, a.status, a.type, a.text.decode()) for m, p in OPERATIONS for a in [self.vm.request(m, p[1:])]]
                os.write(writer, json.dumps(answers).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as f:
            answers = json.load(f)
        os.waitpid(pid, 0)
        self.assertEqual(len(answers), len(OPERATIONS))
        for method, path, status, kind, text in answers:
            answer = copy.copy(self)
            answer.status, answer.type, answer.text, answer.json = status, kind, text.encode(), json.loads(text)
            self.assertEqual(check(self, method, path, answer).status, 403)

    def test_zz_every_promise_was_seen(self):
        promised = {(m, p, s) for (m, p), o in OPERATIONS.items() for s in o["responses"]}
        self.assertEqual(promised - SEEN, set())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], warnings="ignore")
