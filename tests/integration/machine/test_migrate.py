#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Live migrations of the built-in guest between two processes on this host's KVM; the guest proves its memory itself."""

import json
import sys

from vmmtest import check, main

REPORT_KEYS = {"result", "total_ms", "downtime_ms", "bytes_sent", "rounds", "predicted_downtime_ms"}


def move(world, **arguments):
    options = arguments.pop("options", ())
    source = world.run(**arguments)
    destination = world.receive(extra=arguments.get("extra", ()))
    report = world.migrate(source, destination, *options)
    check(report["result"] == "completed", f"result is {report['result']}")
    check(destination.state() == "running", f"destination is {destination.state()}")
    return destination, report


def test_backend_manual(world):
    destination, report = move(world, extra=("--dirty", "manual"))
    check(report["dirty_backend"] == "manual", report["dirty_backend"])
    destination.verify()


def test_backend_bitmap(world):
    destination, report = move(world, extra=("--dirty", "bitmap"))
    check(report["dirty_backend"] == "bitmap", report["dirty_backend"])
    destination.verify()


def test_backend_ring(world):
    destination, report = move(world, extra=("--dirty", "ring"))
    check(report["dirty_backend"] == "ring", report["dirty_backend"])
    destination.verify()


def test_backend_uffd(world):
    destination, report = move(world, extra=("--dirty", "uffd"))
    check(report["dirty_backend"] == "uffd", report["dirty_backend"])
    check(report["dirty_accel"] == "none" and "page tables" in report["dirty_accel_reason"], report["dirty_accel_reason"])
    destination.verify()


def test_accelerator_is_reported(world):
    """What is in force is the host's affair; that report and status tell the same, and what was asked for, is ours."""
    source = world.run(extra=("--dirty-accel", "off"))
    destination = world.receive()
    report = world.migrate(source, destination)
    check(report["dirty_accel_asked"] == "off", report["dirty_accel_asked"])
    check(report["dirty_accel"] and report["dirty_accel_reason"], str(report["dirty_accel"]))
    info = destination.api("GET", "vm.info")[1]
    check(info["dirty_accel_asked"] == "auto" and info["dirty_accel"] == report["dirty_accel"], str(info))


def test_backend_ring_with_few_entries(world):
    destination, _ = move(world, extra=("--dirty", "ring,entries=1024"))
    destination.verify()


def test_random_pattern_on_four_kib_pages(world):
    source = world.run(cmdline="ws=16M fill=text fillsize=all pattern=random report=200", extra=("--no-thp",))
    destination = world.receive()
    world.migrate(source, destination)
    destination.verify()


def test_hot_pattern_tight_limit(world):
    destination, _ = move(world, cmdline="ws=32M fill=random fillsize=all pattern=hot report=200",
                          options=("--max-downtime", "20ms", "--timeout", "20s", "--on-timeout", "switch"))
    destination.verify()


def test_halted_guest(world):
    destination, report = move(world, cpus=1, cmdline="ws=16M fill=random fillsize=all idle")
    # Nobody writes: the first round is all there is to send, and the last finds next to nothing.
    rounds = report["round_details"]
    check(rounds[-1]["last"] and rounds[-1]["pages"] < 16, f"last round sent {rounds[-1]['pages']} pages")
    destination.verify()


def test_zero_memory_is_not_sent(world):
    source = world.run(cpus=1, mem="256M", cmdline="ws=1M fill=zero fillsize=all idle")
    destination = world.receive()
    report = world.migrate(source, destination)
    check(report["bytes_sent"] < 8 << 20, f"{report['bytes_sent']} bytes for zeros")
    destination.verify()


def test_compressed(world):
    destination, report = move(world, cmdline="ws=8M fill=text fillsize=all report=200 rate=2000",
                               options=("--compress", "zlib"))
    first = report["round_details"][0]
    check(first["compressed_pages"] > 8000, f"{first['compressed_pages']} of {first['pages']} pages compressed")
    check(first["saved_bytes"] > first["bytes"], f"saved {first['saved_bytes']} of {first['bytes']} bytes")
    destination.verify()


def test_auto_compresses_behind_a_slow_link(world):
    destination, report = move(world, mem="128M", cmdline="ws=8M fill=text fillsize=all report=200 rate=2000",
                               options=("--compress", "auto", "--max-bandwidth", "20MB/s"))
    check(report["round_details"][0]["compressed_pages"] > 0, "auto never tried")
    destination.verify()


def test_paused_vm_stays_paused(world):
    source = world.run()
    destination = world.receive()
    check(world.vmm("pause", "a")[0] == 0, "pause")
    world.migrate(source, destination)
    check(destination.state() == "paused", f"destination is {destination.state()}")
    check(world.vmm("resume", "b")[0] == 0, "resume")
    destination.verify()


def test_name_may_be_left_out(world):
    source = world.run()
    destination = world.receive()
    status, out, err = world.vmm("migrate", "--to", destination.address)
    check(status == 0, f"exit status {status}: {err}")
    check("round 1" in out and "downtime" in out, out)
    check(source.wait_end() == 0, source.log())
    destination.verify()


def test_json_stream_and_report_file(world):
    source = world.run(name="source")
    destination = world.receive()
    path = world.directory + "/report.json"
    status, out, err = world.vmm("migrate", "source", "--to", destination.address, "--json", "--report", path)
    check(status == 0, f"exit status {status}: {err}")
    objects = [json.loads(line) for line in out.splitlines()]
    check(len(objects) == objects[-1]["rounds"] + 1, f"{len(objects)} objects for {objects[-1]['rounds']} rounds")
    check(REPORT_KEYS <= set(objects[-1]), f"missing {REPORT_KEYS - set(objects[-1])}")
    with open(path, encoding="utf-8") as report:
        check(json.load(report)["bytes_sent"] == objects[-1]["bytes_sent"], "the report file is another one")
    check(source.wait_end() == 0, source.log())
    destination.verify()


def test_recorded_stream_verifies(world):
    source = world.run(cmdline="ws=8M fill=text fillsize=all report=200")
    path = world.directory + "/stream"
    destination = world.receive(extra=("--record", path))
    report = world.migrate(source, destination, "--compress", "zlib", "--on-timeout", "switch")
    destination.verify()
    status, out, err = world.vmm("stream", "verify", path)
    check(status == 0, f"verify: {status}: {out}{err}")
    status, out, err = world.vmm("stream", "dump", path)
    check(status == 0 and out.count("ROUND_END") == report["rounds"], f"dump: {status}: {out[-500:]}{err}")
    with open(path, "r+b") as stream:
        stream.seek(report["bytes_sent"] // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, 1)
        stream.write(bytes([byte ^ 4]))
    status, out, err = world.vmm("stream", "verify", path)
    check(status == 1 and len(err.strip().splitlines()) == 1, f"verify of a damaged stream: {status}: {out}{err}")


def test_back_and_forth(world):
    vm = world.run(name="vm0")
    for hop in range(6):
        destination = world.receive(name=f"vm{hop + 1}")
        world.migrate(vm, destination)
        vm = destination
    vm.verify()


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
