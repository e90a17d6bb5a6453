#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices of whole machines: what is built, what moves with the VM, who owns a disk meanwhile, and what is refused in time."""

import fcntl
import os
import platform
import struct
import subprocess
import sys

from vmmtest import PATIENT, Skip, Vm, check, main, wait_for

F_OFD_SETLK = 37
IMAGE_BYTES = 4 << 20
QUIET = {"cmdline": "ws=1M rate=1000", "cpus": 1}


def image(world, name, size=IMAGE_BYTES):
    path = os.path.join(world.directory, name)
    with open(path, "wb") as file:
        file.truncate(size)
    return path


class Lock:
    """What another program would hold on an image that it writes."""

    def __init__(self, path):
        self.file = open(path, "r+b")  # pylint: disable=consider-using-with
        fcntl.fcntl(self.file, F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_WRLCK, 0, 0, 0, 0))

    def close(self):
        self.file.close()


def shape(vm):
    """Devices as the guest sees them."""
    return [(d["kind"], d["id"], d["transport"], d["slot"]) for d in vm.api("GET", "vm.info")[1]["devices"]]


def moves(world, transport):
    disk = image(world, "disk")
    source = world.run(extra=("--disk", f"{disk},id=root,queues=2", "--rng", "--balloon", "--transport", transport,
                              "--disk", f"{image(world, 'data')},ro,id=data,iops=500"), **QUIET)
    before = shape(source)
    first = 1 if transport == "pci" else 0
    check(before == [("blk", "root", transport, first), ("blk", "data", transport, first + 1),
                     ("balloon", "balloon0", transport, first + 2), ("rng", "rng0", transport, first + 3)], f"{before}")
    destination = world.receive(extra=("--disk", f"{image(world, 'copy')},id=data"))
    world.migrate(source, destination, *PATIENT)
    check(shape(destination) == before, f"{shape(destination)}")
    local = {d["id"]: d["local"] for d in destination.api("GET", "vm.info")[1]["devices"]}
    check(local == {"root": disk, "data": os.path.join(world.directory, "copy"), "balloon0": "", "rng0": ""}, f"{local}")
    check("has it open" in world.attempt("--disk", disk), "the disk's lock did not come along")
    # And back, with what the destination knows of it.
    third = world.receive("c")
    world.migrate(destination, third, *PATIENT)
    check(shape(third) == before, f"{shape(third)}")
    third.verify()


def test_devices_move_pci(world):
    moves(world, "pci")


def test_devices_move_mmio(world):
    moves(world, "mmio")


def test_without_devices(world):
    source = world.run(**QUIET)
    check(shape(source) == [], f"{shape(source)}")
    destination = world.receive()
    world.migrate(source, destination, *PATIENT)
    check(shape(destination) == [], f"{shape(destination)}")
    destination.verify()


def test_refused_before_memory_moves(world):
    disk = image(world, "disk")
    source = world.run(extra=("--disk", f"{disk},id=root"), **QUIET)
    small = image(world, "small", IMAGE_BYTES // 2)
    for mapping, messages in ((f"{world.directory}/none,id=root", ("device \"root\"", f"--disk {world.directory}/none", "No such file")),
                              (f"{small},id=root", ("device \"root\"", small)),
                              (f"{disk},id=boot", ("no such device \"boot\"", "\"root\""))):
        world.fails_to_move(source, world.receive("b" + str(len(world.vms)), extra=("--disk", mapping)), *messages)
        report = source.api("GET", "vm.migration-status")[1]
        check(report["rounds"] == 0 and source.state() == "running", f"{report}")
    world.fails_to_move(source, world.receive("m", extra=("--mapped-only",)), "--mapped-only", "\"root\"", disk)
    destination = world.receive(extra=("--mapped-only", "--disk", f"{disk},id=root"))
    world.migrate(source, destination, *PATIENT)
    destination.verify()


def test_one_image_one_writer(world):
    disk = image(world, "disk")
    first = world.run(extra=("--disk", disk), **QUIET)
    line = world.attempt("--disk", disk)
    check(f"--disk {disk}: " in line and "has it open for writing" in line, line)
    check("has it open" in world.attempt("--disk", f"{disk},ro"), "a reader beside a writer")
    shared = world.run("s", extra=("--disk", f"{disk},shared"), **QUIET)
    shared.verify()
    first.verify()
    readers = [world.run(name, extra=("--disk", f"{disk},ro"), **QUIET) for name in ("r1", "r2")]
    check("has it open" in world.attempt("--disk", disk), "a writer beside readers")
    for reader in readers:
        reader.verify()


def test_destination_cannot_take_the_disk(world):
    """It was there when the VM was built, and is somebody else's when it is handed over: the source goes on with its own."""
    disk, copy = image(world, "disk"), image(world, "copy")
    source = world.run(extra=("--disk", f"{disk},id=root"), **QUIET)
    lock = Lock(copy)
    world.fails_to_move(source, world.receive(extra=("--disk", f"{copy},id=root")), f"--disk {copy}: ", "has it open")
    lock.close()
    check(source.state() == "running", source.state())
    check("has it open" in world.attempt("--disk", disk), "the source has lost its lock")
    destination = world.receive("c", extra=("--disk", f"{copy},id=root"))
    world.migrate(source, destination, *PATIENT)
    destination.verify()


def test_disk_is_lost_in_between(world):
    """The same, and the source's image is gone when it wants it back: the VM stands still until its user has sorted that out."""
    disk, copy, moved = image(world, "disk"), image(world, "copy"), os.path.join(world.directory, "moved")
    source = world.run(extra=("--disk", f"{disk},id=root"), **QUIET)
    lock = Lock(copy)
    os.rename(disk, moved)
    world.fails_to_move(source, world.receive(extra=("--disk", f"{copy},id=root")), "could not be resumed here either", disk)
    check(source.state() == "paused", source.state())
    status, answer = source.api("PUT", "vm.resume", {})
    check(status == 409 and disk in answer["error"], f"{status} {answer}")
    check(source.state() == "paused", source.state())
    os.rename(moved, disk)
    check(source.api("PUT", "vm.resume", {})[0] == 204, source.log())
    check("has it open" in world.attempt("--disk", disk), "the lock was not taken back")
    lock.close()
    destination = world.receive("c", extra=("--disk", f"{copy},id=root"))
    world.migrate(source, destination, *PATIENT)
    destination.verify()


def test_pause_and_resume(world):
    source = world.run(extra=("--disk", image(world, "disk"), "--rng", "--balloon"), **QUIET)
    for _ in range(3):
        check(world.vmm("pause", "a")[0] == 0 and world.vmm("resume", "a")[0] == 0, source.log())
    check(world.vmm("pause", "a")[0] == 0, source.log())
    destination = world.receive()
    world.migrate(source, destination, *PATIENT)
    check(destination.state() == "paused", destination.state())
    check(world.vmm("resume", "b")[0] == 0, destination.log())
    destination.verify()


def resetting_kernel(world):
    """A PVH image that writes 1 to the reset register: entered in 32-bit mode, at 1 MiB."""
    code = bytes.fromhex("66ba0106b001eef4ebfd")  # mov dx, 0x601; mov al, 1; out dx, al; hlt; jmp to the hlt
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x100000)
    offset = 64 + 2 * 56
    elf = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, 0x100000, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, offset, 0x100000, 0x100000, len(code), len(code), 1)
    elf += struct.pack("<IIQQQQQQ", 4, 4, offset + len(code), 0, 0, len(note), len(note), 4)
    path = os.path.join(world.directory, "reset.elf")
    with open(path, "wb") as file:
        file.write(elf + code + note)
    return path


def test_reset(world):
    """The guest resets again and again: each time the VM is built anew, with its locks."""
    if platform.machine() != "x86_64":
        raise Skip("the image is x86_64's")
    disk = image(world, "disk")
    vm = Vm(world, "a", ["run", "--mem", "16M", "--kernel", resetting_kernel(world), "--disk", disk, "--rng", "--balloon"])
    wait_for(lambda: vm.log().count("stopped: guest asked for a reset") >= 5, "five resets")
    check(vm.process.poll() is None, vm.log())
    check("error" not in vm.log(), vm.log())
    vm.process.terminate()
    check(vm.wait_end() == 0, vm.log())
    vm = world.run("b", extra=("--disk", disk), **QUIET)
    vm.verify()


def test_balloon_command(world):
    vm = world.run(extra=("--balloon=size=4M",), **QUIET)
    status, balloon = vm.api("GET", "vm.balloon")
    check(status == 200 and balloon["target_bytes"] == 4 << 20 and balloon["guest"] is None, f"{balloon}")
    check(world.vmm("balloon", "a", "--size", "8M")[0] == 0, vm.log())
    check(vm.api("GET", "vm.balloon")[1]["target_bytes"] == 8 << 20, "not resized")
    status, _, err = world.vmm("balloon", "a", "--size", "1G")
    check(status == 1 and err.count("\n") == 1, f"{status}: {err}")
    destination = world.receive()
    world.migrate(vm, destination, *PATIENT)
    check(destination.api("GET", "vm.balloon")[1]["target_bytes"] == 8 << 20, "the size did not come along")
    destination.verify()


class Taps:
    """Interfaces of our own, for as long as a test lasts."""

    def __init__(self, *names):
        if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
            raise Skip("needs root and /dev/net/tun to make TAP interfaces")
        self.names = [f"vt{os.getpid() % 100000}{name}" for name in names]

    def __enter__(self):
        for name in self.names:
            done = subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Skip(f"cannot make a TAP interface: {done.stderr.strip()}")
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        return self.names

    def __exit__(self, *unused):
        for name in self.names:
            subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)


def test_network_moves(world):
    with Taps("a", "b") as (here, there):
        source = world.run(extra=("--net", f"tap={here},id=lan"), **QUIET)
        world.fails_to_move(source, world.receive("x", extra=("--net", "tap=vtnone,id=lan")), "device \"lan\"", "vtnone")
        world.fails_to_move(source, world.receive("y"), "device \"lan\"", here)
        destination = world.receive(extra=("--net", f"tap={there},id=lan"))
        world.migrate(source, destination, *PATIENT)
        check(shape(destination) == [("net", "lan", "pci", 1)], f"{shape(destination)}")
        back = world.receive("c", extra=("--net", f"tap={here},id=lan"))
        world.migrate(destination, back, *PATIENT)
        back.verify()


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
