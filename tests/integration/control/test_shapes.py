#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What real machines say over their control sockets has the shapes of docs/spec: the same VM before, during and after a
migration, from both ends, and the report of `vmm migrate --json`.

usage: VMM=PROGRAM test_shapes.py SPEC-DIRECTORY"""

import json
import os
import subprocess
import sys
import tempfile

try:
    import jsonschema
    import yaml
except ImportError as e:
    print(f"skip: python3 module missing: {e.name}")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "unit", "control"))
import fakevm

VMM, SPEC = os.environ["VMM"], sys.argv[1]


def resolve(node, documents, file):
    if isinstance(node, list):
        return [resolve(v, documents, file) for v in node]
    if not isinstance(node, dict):
        return node
    out = {k: resolve(v, documents, file) for k, v in node.items() if k != "$ref"}
    if "$ref" in node:
        name, _, fragment = node["$ref"].partition("#")
        target = documents[name or file]
        for part in fragment.strip("/").split("/"):
            target = target[part]
        out = {**resolve(target, documents, name or file), **out}
    return out


def load(name):
    with open(os.path.join(SPEC, name), encoding="utf-8") as f:
        return yaml.safe_load(f)


DOCUMENTS = {name: load(name) for name in ("openapi.yaml", "migrate-report.schema.json", "dirtyrate.schema.json")}
SCHEMAS = resolve(DOCUMENTS["openapi.yaml"]["components"]["schemas"], DOCUMENTS, "openapi.yaml")
REPORT = resolve(DOCUMENTS["migrate-report.schema.json"], DOCUMENTS, "migrate-report.schema.json")
RATE = resolve(DOCUMENTS["dirtyrate.schema.json"], DOCUMENTS, "dirtyrate.schema.json")


def valid(schema, value):
    jsonschema.Draft202012Validator(schema).validate(value)
    return value


def get(vm, route, schema, status=200):
    answer = fakevm.request(vm, "GET", "/api/v1/" + route)
    assert answer.status == status, (route, answer.status, answer.text)
    return valid(schema, answer.json)


def scenario(run, start):
    source = start("run", "--name", "a", "--mem", "64M")
    destination = start("receive", "--name", "b", "--listen", "127.0.0.1:0")
    info = get(source, "vm.info", SCHEMAS["Info"])
    assert (info["state"], info["cpus"], info["memory_bytes"], info["kernel"]) == ("running", 1, 64 << 20, "built-in guest")
    waiting = get(destination, "vm.info", SCHEMAS["Info"])
    assert waiting["state"] == "receiving" and waiting["listen"], waiting
    assert get(source, "vm.counters", SCHEMAS["Counters"])
    get(source, "vm.migration-status", SCHEMAS["Error"], 404)
    assert fakevm.request(destination, "PUT", "/api/v1/vm.pause").status == 409

    get(source, "vm.dirty-rate-status", SCHEMAS["Error"], 404)
    report = valid(RATE, json.loads(run("dirtyrate", "a", "--json", "--for", "100ms", "--interval", "20ms")))
    assert report["result"] == "completed" and report["ram_pages"] == (64 << 20) // 4096, report
    assert get(source, "vm.dirty-rate-status", RATE) == report

    streams = fakevm.Stream(source), fakevm.Stream(destination)
    firsts = [valid(SCHEMAS["Event"], next(iter(s))) for s in streams]
    assert [f["state"] for f in firsts] == ["running", "receiving"], firsts
    out = run("migrate", "a", "--to", waiting["listen"], "--json", "--on-timeout", "switch", "--timeout", "20s")
    lines = [valid(REPORT, json.loads(line)) for line in out.splitlines()]
    report = lines[-1]
    assert report["result"] == "completed" and report["rounds"] == len(lines) - 1, report
    assert report["ram_pages"] == (64 << 20) // 4096 and report["downtime_ms"] > 0, report
    assert lines[-2]["last"] and not any(r["last"] for r in lines[:-2])

    events = [valid(SCHEMAS["Event"], e) for e in streams[0]]
    assert [e["round"] for e in events if e["event"] == "round"] == lines[:-1]
    assert [e["report"] for e in events if e["event"] == "migration-done"] == [report]
    assert events[-1]["state"] == "migrated", events[-1]
    states = (valid(SCHEMAS["Event"], e) for e in streams[1])
    assert any(e["event"] == "state" and e["state"] == "running" for e in states)
    assert get(destination, "vm.info", SCHEMAS["Info"])["memory_bytes"] == 64 << 20
    run("stop", "b")
    assert [e["state"] for e in states if e["event"] == "state"][-1:] == ["stopped"]


def main():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skip: no /dev/kvm")
        return 77
    processes = []
    with tempfile.TemporaryDirectory(prefix="vmm-test-") as directory:
        env = dict(os.environ, VMM_RUNTIME_DIR=directory)

        def start(*args):
            process = subprocess.Popen([VMM, *args], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            processes.append(process)
            line = process.stderr.readline()
            assert "control socket" in line, line
            return line.split()[-1]

        try:
            scenario(lambda *args: subprocess.run([VMM, *args], env=env, stdout=subprocess.PIPE, text=True, check=True,
                                                  timeout=120).stdout, start)
            for process in processes:
                assert process.wait(30) == 0, process.stderr.read()
            assert os.listdir(directory) == []
        finally:
            for process in processes:
                process.kill()
                process.wait()
                process.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
