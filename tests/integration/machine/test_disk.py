#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The built-in guest's own virtio drivers on this host's KVM: a disk under load that moves, and a driver that breaks the rules."""

import os
import re
import struct
import sys

from vmmtest import check, main, wait_for

MIB = 1 << 20
SECTOR_BYTES = 512
SECTOR_MAGIC = 0x766D6D2D626C6B00
SPAN_MIB = 8
LOAD = f"ws=8M fill=random fillsize=all report=100 blk-span={SPAN_MIB}M"
REPORT = re.compile(r"vmm-guest: t_ms=\d+ .* blk=(\d+) blk_bad=(\d+)\n")
VERIFIED = re.compile(r"vmm-guest: blk verified blocks=(\d+) reads=(\d+) writes=(\d+) flushes=(\d+) maxgap_us=\d+ bad=(\d+)\n")
FAULTS = re.compile(r"vmm-guest: faults device=(\w+) (pci|mmio)=\S+ tried=(\d+) bad=(\d+)\n")
MOVES = 5


def make_image(world, name="disk.img", mib=16):
    path = os.path.join(world.directory, name)
    with open(path, "wb") as image:
        image.truncate(mib * MIB)
    return path


def wait_match(vm, pattern, skip=0):
    def found():
        check("BAD " not in vm.read_console(), f"{vm.name}: {vm.output.decode(errors='replace')}")
        matches = list(pattern.finditer(vm.read_console()))
        return matches[skip] if len(matches) > skip else None
    return wait_for(found, f"\"{pattern.pattern}\" on {vm.name}'s console")


def requests_grow(vm):
    """The disk answers here, too: a later report has more requests than the first one."""
    first = int(wait_match(vm, REPORT).group(1))

    def grown():
        return int(list(REPORT.finditer(vm.read_console()))[-1].group(1)) > first
    wait_for(grown, f"more requests on {vm.name}")


def check_image(path):
    """Every sector of the image is one that the guest wrote there, or untouched; how many it wrote."""
    written = 0
    with open(path, "rb") as image:
        for sector in range(SPAN_MIB * MIB // SECTOR_BYTES):
            word, version = struct.unpack("<QQ", image.read(SECTOR_BYTES)[:16])
            check(word in (0, SECTOR_MAGIC ^ sector), f"sector {sector} begins with {word:#x}")
            check(bool(word) == bool(version), f"sector {sector} has version {version}")
            written += word != 0
    return written


def finish(vm, path, block_sectors):
    vm.verify()
    blocks, reads, writes, flushes, bad = map(int, wait_match(vm, VERIFIED).groups())
    check(bad == 0 and blocks > 0 and reads > 0 and writes > 0 and flushes > 0,
          f"blocks {blocks}, reads {reads}, writes {writes}, flushes {flushes}, bad {bad}")
    check(check_image(path) == blocks * block_sectors, f"{blocks} blocks were written, and the image has others")


def disk_moves(world, transport, cmdline):
    path = make_image(world)
    vm = world.run(name="h0", cpus=1, cmdline=f"{LOAD} blk=MIX {cmdline}",
                   extra=("--transport", transport, "--disk", f"{path},id=d"))
    check(f" {transport}=0x" in vm.read_console(), vm.output.decode())
    requests_grow(vm)
    for move in range(1, MOVES + 1):
        # Another name on each host, as it may well be.
        local = os.path.join(world.directory, f"disk-{move}.img")
        os.link(path, local)
        destination = world.receive(name=f"h{move}", extra=("--disk", f"{local},id=d"))
        world.migrate(vm, destination, "--on-timeout", "switch")
        vm = destination
        requests_grow(vm)
    finish(vm, path, 8)


def test_disk_moves_on_pci(world):
    disk_moves(world, "pci", "blk-depth=32")


def test_disk_moves_on_mmio(world):
    disk_moves(world, "mmio", "blk-depth=32")


def test_disk_with_chains_moves(world):
    """Without indirect descriptors."""
    disk_moves(world, "pci", "blk-depth=8 blk-chain")


def test_large_requests(world):
    path = make_image(world)
    vm = world.run(cpus=1, cmdline=f"{LOAD} blk=MIX blk-size=64k blk-depth=4", extra=("--disk", f"{path},id=d"))
    requests_grow(vm)
    finish(vm, path, 128)


def test_wrong_sector_is_found(world):
    """A guest that could not see a wrong byte would prove nothing."""
    path = make_image(world)
    vm = world.run(cpus=1, cmdline=f"{LOAD} blk=WRITE blk-requests=2000", extra=("--disk", f"{path},id=d"))
    wait_match(vm, re.compile(r"vmm-guest: blk done requests=2000 .* bad=0\n"))
    with open(path, "r+b") as image:
        for sector in range(SPAN_MIB * MIB // SECTOR_BYTES):
            image.seek(sector * SECTOR_BYTES + 64)
            byte = image.read(1)
            image.seek(sector * SECTOR_BYTES)
            if image.read(8) != bytes(8):
                image.seek(sector * SECTOR_BYTES + 64)
                image.write(bytes([byte[0] ^ 1]))
                break
    vm.type("s")
    wait_for(lambda: "vmm-guest: FAIL" in vm.read_console(), "the verdict")
    check(f"BAD blk data sector={sector} " in vm.read_console(), vm.output.decode())
    check(vm.wait_end() == 0, vm.log())


def faults_found(world, transport):
    path = make_image(world)
    vm = world.run(cpus=1, cmdline=f"{LOAD} virtio-faults blk=MIX",
                   extra=("--transport", transport, "--disk", f"{path},id=d", "--rng", "--balloon"))
    devices = [match.groups() for match in FAULTS.finditer(vm.read_console())]
    check(sorted(device for device, _, _, _ in devices) == ["balloon", "blk", "rng"], f"{devices}: {vm.read_console()}")
    for device, kind, tried, bad in devices:
        check(kind == transport and int(tried) > 20 and bad == "0", f"{device} on {kind}: {tried} tried, {bad} bad")
    # The same device then serves a load, and the VM moves.
    requests_grow(vm)
    destination = world.receive(extra=("--disk", f"{path},id=d"))
    world.migrate(vm, destination, "--on-timeout", "switch")
    requests_grow(destination)
    finish(destination, path, 8)


def test_broken_drivers_on_pci(world):
    faults_found(world, "pci")


def test_broken_drivers_on_mmio(world):
    faults_found(world, "mmio")


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
