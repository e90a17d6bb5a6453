#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The built-in guest's key-value mode and its checksum of all memory, on this host's KVM and across migrations."""

import re
import sys

from vmmtest import check, main, wait_for

KEYS = 5000
STORE = f"keys={KEYS} value=200 clients=10 fill=random fillsize=all report=100"
SUM = re.compile(r"vmm-guest: ram pages=(\d+) sum=(0x[0-9a-f]+)\n")
VERIFIED = re.compile(r"vmm-guest: verified pages=(\d+) words=(\d+) bad=(\d+) keys=(\d+)\n")
REPORT = re.compile(r"vmm-guest: t_ms=\d+ requests=(\d+) pass=\d+ gap_us=\d+ maxgap_us=\d+ bad=0")


def wait_match(vm, pattern, skip=0):
    """The match with SKIP others before it."""
    def found():
        matches = list(pattern.finditer(vm.read_console()))
        return matches[skip] if len(matches) > skip else None
    return wait_for(found, f"\"{pattern.pattern}\" on {vm.name}'s console")


def ram_sum(vm):
    """Of a guest whose load is halted or done: asked twice, since a checksum that changes compares nothing."""
    vm.type("cc")
    first, second = wait_match(vm, SUM).groups(), wait_match(vm, SUM, 1).groups()
    check(first == second, f"{vm.name} is not halted: {first} and then {second}")
    return first


def finish(vm):
    vm.verify()
    pages, words, bad, keys = map(int, wait_match(vm, VERIFIED).groups())
    check(keys == KEYS and bad == 0, f"{keys} keys verified, {bad} bad")
    # Version, length, checksum and 25 words of each value; and every page behind the store.
    check(words >= KEYS * 28 + pages * 512 and pages > 10000, f"{words} words, {pages} pages")


def load_moves(world, backend, cpus):
    source = world.run(cpus=cpus, cmdline=f"kv=SET {STORE}", extra=("--dirty", backend))
    before = int(wait_match(source, REPORT).group(1))
    destination = world.receive(extra=("--dirty", backend))
    report = world.migrate(source, destination, "--on-timeout", "switch")
    check(report["dirty_backend"] == backend, report["dirty_backend"])
    after = int(wait_match(destination, REPORT).group(1))
    check(after > before > 0, f"{before} requests before, {after} after")
    finish(destination)


def test_set_load_moves_with_bitmap(world):
    load_moves(world, "bitmap", 2)


def test_set_load_moves_with_manual(world):
    load_moves(world, "manual", 1)


def test_set_load_moves_with_ring(world):
    load_moves(world, "ring", 2)


def test_mixed_load_on_hot_keys_moves(world):
    source = world.run(cmdline=f"kv=MIX pattern=hot {STORE}")
    destination = world.receive()
    world.migrate(source, destination, "--on-timeout", "switch")
    wait_match(destination, REPORT)
    finish(destination)


def test_sum_of_a_halted_guest_moves_along(world):
    source = world.run(cmdline=f"kv=SET {STORE}")
    source.type("h")
    source.wait_console("vmm-guest: halted")
    before = ram_sum(source)
    destination = world.receive()
    world.migrate(source, destination)
    check(ram_sum(destination) == before, "the memory's checksum is another one")
    destination.type("h")
    destination.wait_console("vmm-guest: goes on")
    finish(destination)


def test_sum_is_that_of_a_guest_that_never_moved(world):
    """A number of requests has one outcome, whatever happened on the way."""
    cmdline = f"kv=SET {STORE} requests=300000 rate=100000"
    stayed = world.run(name="stayed", cmdline=cmdline)
    stayed.wait_console("vmm-guest: done requests=300000 ")
    expected = ram_sum(stayed)
    finish(stayed)
    source, destination = world.run(cmdline=cmdline), world.receive()
    world.migrate(source, destination, "--on-timeout", "switch")
    destination.wait_console("vmm-guest: done requests=300000 ")
    check("vmm-guest: done" not in source.read_console(), "the load was over before the migration")
    check(ram_sum(destination) == expected, "the memory's checksum is another one")
    finish(destination)


def found_bad(world, poke):
    vm = world.run(cpus=1, cmdline=f"kv=SET {STORE} requests=1 poke={poke}")
    wait_for(lambda: "vmm-guest: done" in vm.read_console(), "the load to end")
    vm.type("s")
    wait_for(lambda: "vmm-guest: FAIL" in vm.read_console(), "the verdict")
    check("BAD cpu=0 page=" in vm.read_console(), "no word was named")
    check(vm.wait_end() == 0, vm.log())


def test_flipped_bit_in_a_record_is_found(world):
    # Behind 16384 places of the index, 32 pages, and 10 buffers of 256 bytes.
    found_bad(world, "200")


def test_flipped_bit_in_the_index_is_found(world):
    found_bad(world, "7")


def test_wrong_arguments_are_refused(world):
    for cmdline, word in (("kv=SET ws=16M", "kv="), ("kv=GET", "kv=GET"), ("kv=SET keys=0", "keys=0"),
                          ("kv=SET keys=1M value=1M", "do not fit"), ("kv=SET keys=1", "a key and a client")):
        status, out, err = world.vmm("run", "--name", "x", "--mem", "64M", "--cpus", "2", "--console", "stdio",
                                     "--cmdline", cmdline + " cpus=2")
        check(status == 0 and "vmm-guest: FAIL" in out, f"{cmdline}: {status}: {out}{err}")
        error = [line for line in out.splitlines() if line.startswith("vmm-guest: ERROR")]
        check(len(error) == 1 and word in error[0], f"{cmdline}: {out}")


def test_sparse_pages_compress_and_move(world):
    source = world.run(cmdline="ws=8M fill=sparse fillsize=all report=200 rate=2000")
    destination = world.receive()
    report = world.migrate(source, destination, "--compress", "zlib")
    first = report["round_details"][0]
    check(first["compressed_pages"] > 12000, f"{first['compressed_pages']} of {first['pages']} pages compressed")
    check(first["saved_bytes"] > 5 * first["bytes"], f"saved {first['saved_bytes']}, sent {first['bytes']} bytes")
    destination.verify()


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
