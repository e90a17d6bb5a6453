#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`vmm dirtyrate` of running guests on this host's KVM: what it finds is held against what the guest says it wrote, never against a clock."""

import json
import os
import re
import signal
import sys

from vmmtest import SLOW, Skip, check, main, wait_for

# The guest's own: stack, counters, page tables, what the console needs.
FEW = 32
WS = 4096


def measure(world, *options):
    status, out, err = world.vmm("dirtyrate", "a", "--json", *options)
    check(status == 0, f"exit status {status}: {out}{err}")
    report = json.loads(out)
    check(report["result"] == "completed", report)
    return report


def visits(vm):
    """Pages the guest has visited since it began, by its own count."""
    seen = len(re.findall(r"t_ms=\d+ pages=(\d+)", vm.read_console()))
    vm.type("r")
    return int(wait_for(lambda: re.findall(r"t_ms=\d+ pages=(\d+)", vm.read_console())[seen:], "a report")[-1])


def finds_the_working_set(world, backend):
    vm = world.run(cmdline="ws=16M fill=random fillsize=all report=0", extra=("--dirty", backend))
    # The guest has time to write all of it.
    report = measure(world, "--for", f"{600 * SLOW}ms", "--interval", f"{200 * SLOW}ms")
    check(report["dirty_backend"] == backend.split(",")[0], report["dirty_backend"])
    check(WS <= report["working_set_pages"] <= WS + FEW, f"working set of {report['working_set_pages']} pages")
    check(report["intervals"] >= 2, f"{report['intervals']} intervals")
    check(report["ram_pages"] == (64 << 20) // 4096, report["ram_pages"])
    points = report["first_touch"]
    check(points[-1]["pages"] == report["working_set_pages"] and points[-1]["intervals"] == report["intervals"], points)
    check([p["pages"] for p in points] == sorted(p["pages"] for p in points), points)
    check(report["hot_set_pages"] <= report["working_set_pages"] <= report["pages_dirtied"], report)
    check(not vm.api("GET", "vm.info")[1]["measuring"], "it says that it measures still")
    vm.verify()


def test_backend_manual(world):
    finds_the_working_set(world, "manual")


def test_backend_bitmap(world):
    finds_the_working_set(world, "bitmap")


def test_backend_ring(world):
    finds_the_working_set(world, "ring")


def test_backend_ring_with_few_entries(world):
    finds_the_working_set(world, "ring,entries=1024")


def test_backend_uffd(world):
    status, out, _ = world.vmm("caps", "--json")
    check(status == 0, out)
    backends = {b["name"]: b for b in json.loads(out)["backends"]}
    if backends.get("uffd", {}).get("state") != "present":
        raise Skip(f"no userfaultfd backend here: {backends.get('uffd')}")
    finds_the_working_set(world, "uffd")


def test_no_more_than_was_written(world):
    vm = world.run(cpus=1, cmdline="ws=16M fill=random rate=1000 report=0")
    before = visits(vm)
    report = measure(world, "--for", "400ms", "--interval", "50ms")
    written = visits(vm) - before
    check(report["working_set_pages"] <= written + FEW, f"{report['working_set_pages']} pages, the guest visited {written}")
    # Word by word the guest goes through its pages in order: but for those that a read of the log cuts in two, none is found twice.
    check(report["pages_dirtied"] <= written + FEW * report["intervals"], f"{report['pages_dirtied']} dirtied, {written} visited")
    vm.verify()


def test_hot_set(world):
    vm = world.run(cpus=1, cmdline="ws=16M fill=random pattern=hot rate=20000 report=0")
    report = measure(world, "--for", "1s", "--interval", "100ms")
    # A tenth of the working set gets nine visits of ten; of the rest a page is due in one interval of eighteen, if the guest keeps its rate.
    check(0 < report["hot_set_pages"] <= WS // 10 + FEW, f"hot set of {report['hot_set_pages']} pages of {report['working_set_pages']}")
    check(report["working_set_pages"] > report["hot_set_pages"] * 2, f"working set of {report['working_set_pages']} pages")
    vm.verify()


def test_halted_and_paused(world):
    vm = world.run(cpus=1, cmdline="ws=16M fill=random idle")
    report = measure(world, "--for", "50ms", "--interval", "10ms")
    check(report["working_set_pages"] <= FEW, f"{report['working_set_pages']} pages of a halted guest")
    check(world.vmm("pause", "a")[0] == 0, "pause")
    report = measure(world, "--for", "50ms", "--interval", "50ms")
    check(report["working_set_pages"] == 0 and report["hot_set_pages"] is None, report)
    check(report["cost"]["exits_per_dirtied_page"] is None, report["cost"])
    check(world.vmm("resume", "a")[0] == 0, "resume")
    vm.verify()


def test_cost_in_exits(world):
    vm = world.run(cpus=2, cmdline="ws=16M fill=random rate=20000 report=0", extra=("--dirty", "manual"))
    cost = measure(world)["cost"]
    if cost["faults"] is None:
        raise Skip(cost["exits_reason"])
    # By write protection a dirtied page is one fault; hardware that tracks needs far fewer.
    check(cost["faults_per_dirtied_page"] <= 1.1 and cost["exits"] >= cost["faults"], cost)
    check(world.vmm("pause", "a")[0] == 0, "pause")
    counters = vm.api("GET", "vm.counters")[1]
    check(len(counters["vcpus"]) == 2 and all(v["exits"] > 0 for v in counters["vcpus"]), counters["vcpus"])
    check(sum(v["exits"] for v in counters["vcpus"]) == counters["exits"], counters)
    check(world.vmm("resume", "a")[0] == 0, "resume")
    vm.verify()


def test_predictions(world):
    vm = world.run(cpus=1, cmdline="ws=16M fill=random fillsize=all report=0")
    slow, = measure(world, "--for", "300ms", "--bandwidth", "1MB/s", "--max-downtime", "20ms")["predictions"]
    check(not slow["converges"] and slow["downtime_ms"] == 0, slow)
    fast, = measure(world, "--for", "300ms", "--bandwidth", "100GB/s", "--max-downtime", "300ms")["predictions"]
    check(fast["converges"] and 0 < fast["downtime_ms"] <= 300, fast)
    check(fast["bytes"] > 64 << 20, fast)  # fillsize=all: nothing of it is left out of the first round
    table = measure(world, "--for", "50ms")["predictions"]
    check([p["bandwidth"] for p in table] == sorted({p["bandwidth"] for p in table}) and len(table) == 5, table)
    vm.verify()


def test_trace(world):
    vm = world.run(cmdline="ws=16M fill=random report=0")
    path = world.directory + "/trace"
    report = measure(world, "--for", "600ms", "--interval", "100ms", "--trace", path)
    check(report["trace"] == path and os.stat(path).st_mode & 0o777 == 0o600, "its name and mode")
    status, out, err = world.vmm("trace", "verify", path)
    check(status == 0, f"verify: {status}: {out}{err}")
    check(out == f"{report['intervals']} intervals, {report['pages_dirtied']} pages dirtied, {report['working_set_pages']} different ones of "
          f"{report['ram_pages']}\n", out)
    status, out, err = world.vmm("trace", "dump", path)
    check(status == 0 and out.count("INTERVAL ") == report["intervals"] and f"dirty_backend={report['dirty_backend']}\n" in out, out + err)
    with open(path, "r+b") as trace:
        trace.seek(-40, os.SEEK_END)
        byte = trace.read(1)[0]
        trace.seek(-1, os.SEEK_CUR)
        trace.write(bytes([byte ^ 4]))
    status, out, err = world.vmm("trace", "verify", path)
    check(status == 1 and len(err.strip().splitlines()) == 1, f"verify of a damaged trace: {status}: {out}{err}")
    vm.verify()


def test_trace_that_cannot_be(world):
    vm = world.run()
    for path in ("/nonexistent/trace", world.directory):
        status, out, err = world.vmm("dirtyrate", "a", "--trace", path)
        check(status == 1 and path in err and len(err.strip().splitlines()) == 1, f"{path}: {status}: {out}{err}")
    check(vm.api("PUT", "vm.dirty-rate", {"trace": "relative"})[0] == 400, "a relative path")
    measure(world, "--for", "50ms", "--interval", "50ms")
    vm.verify()


def test_interrupt(world):
    vm = world.run()
    path = world.directory + "/trace"
    client = world.start("dirtyrate", "a", "--for", "30m", "--interval", "50ms", "--json", "--trace", path)
    wait_for(lambda: vm.api("GET", "vm.info")[1]["measuring"], "the measurement to start")
    client.send_signal(signal.SIGINT)
    out, err = client.communicate()
    check(client.returncode == 130 and json.loads(out)["result"] == "cancelled", f"{client.returncode}: {out}{err}")
    check(not [name for name in os.listdir(world.directory) if name.startswith("trace")], "a trace of a cancelled measurement")
    check(not vm.api("GET", "vm.info")[1]["measuring"], "it says that it measures still")
    check(vm.api("PUT", "vm.cancel-dirty-rate")[0] == 409, "nothing was left to cancel")
    measure(world, "--for", "50ms", "--interval", "10ms")
    vm.verify()


def test_excludes_a_migration_both_ways(world):
    source, destination = world.run(), world.receive()
    check(source.api("PUT", "vm.dirty-rate", {"for_ns": 3600 * 10**9})[0] == 202, "measuring")
    status, answer = source.api("PUT", "vm.dirty-rate", {})
    check(status == 409 and "another measurement" in answer["error"], f"{status}: {answer}")
    status, out, err = world.vmm("migrate", "a", "--to", destination.address)
    check(status == 1 and "dirty rate is being measured" in err, f"{status}: {out}{err}")
    check(source.api("PUT", "vm.cancel-dirty-rate")[0] == 204, "cancel")
    wait_for(lambda: not source.api("GET", "vm.info")[1]["measuring"], "the measurement to end")
    check(source.api("GET", "vm.dirty-rate-status")[1]["result"] == "cancelled", "its result")
    client = world.start("migrate", "a", "--to", destination.address, "--max-bandwidth", "20MB/s")
    wait_for(lambda: source.api("GET", "vm.migration-status")[0] == 200, "the migration to start")
    status, out, err = world.vmm("dirtyrate", "a")
    check(status == 1 and f"a migration to {destination.address} is under way" in err, f"{status}: {out}{err}")
    client.send_signal(signal.SIGINT)
    client.communicate()
    measure(world, "--for", "50ms", "--interval", "50ms")
    world.migrate(source, world.receive(name="second"))
    world.vms[-1].verify()


def test_stop_and_guest_end_meanwhile(world):
    for end in ("stop", "guest"):
        vm = world.run(name=end)
        client = world.start("dirtyrate", end, "--for", "30m")
        wait_for(lambda vm=vm: vm.api("GET", "vm.info")[1]["measuring"], "the measurement to start")
        if end == "stop":
            check(world.vmm("stop", end)[0] == 0, "stop")
        else:
            vm.verify()
        out, err = client.communicate()
        check(client.returncode == 1 and "the VM ended" in err, f"{end}: {client.returncode}: {out}{err}")
        check(vm.wait_end() == 0, vm.log())


def test_many_leak_nothing(world):
    vm = world.run()
    measure(world, "--for", "10ms", "--interval", "10ms")
    before = vm.descriptors(), vm.threads()
    for _ in range(10):
        measure(world, "--for", "10ms", "--interval", "1ms", "--trace", world.directory + "/trace")
    wait_for(lambda: vm.threads() <= before[1], "the measurement's thread to end")
    wait_for(lambda: vm.descriptors() <= before[0], f"descriptors: {before[0]} before, {vm.descriptors()} now")
    vm.verify()


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
