#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The socket device of whole machines: whose its unix socket is, where it goes in a migration, and what a driver that breaks the rules makes of it."""

import os
import re
import socket
import stat
import sys

from vmmtest import PATIENT, check, main, wait_for

QUIET = {"cmdline": "ws=1M rate=1000", "cpus": 1}
FAULTS = re.compile(r"vmm-guest: faults device=vsock (?:pci|mmio)=\S+ tried=(\d+) bad=(\d+)\n")


def place(world, name):
    return os.path.join(world.directory, name)


def listens(path):
    """Whether somebody does; nothing is said to him."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    try:
        connection.connect(path)
        return True
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    finally:
        connection.close()


def shape(vm):
    return [(d["kind"], d["id"], d["local"], d["transport"], d["slot"]) for d in vm.api("GET", "vm.info")[1]["devices"]]


def test_the_socket_is_ours(world):
    path = place(world, "v")
    vm = world.run(extra=("--vsock", f"path={path},cid=5"), **QUIET)
    check(shape(vm) == [("vsock", "vsock0", path, "pci", 1)], f"{shape(vm)}")
    mode = os.stat(path).st_mode
    check(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, oct(mode))
    line = world.attempt("--vsock", f"path={path},cid=6")
    check("--vsock: " in line and path in line and "Address already in use" in line, line)
    vm.verify()
    check(not os.path.exists(path), "the socket file is left")
    # One that a killed process left is nobody's.
    vm = world.run("b", extra=("--vsock", f"path={path},cid=5"), **QUIET)
    vm.kill()
    check(os.path.exists(path) and not listens(path), "killed, and somebody listens")
    vm = world.run("c", extra=("--vsock", f"path={path},cid=5"), **QUIET)
    check(listens(path), "a stale socket was not replaced")
    vm.verify()


def test_paths_that_do_not_do(world):
    file = place(world, "file")
    with open(file, "wb"):
        pass
    check("is no socket" in world.attempt("--vsock", f"path={file},cid=3"), "a file")
    check("directory /nonexistent" in world.attempt("--vsock", "path=/nonexistent/v,cid=3"), "a directory that is missing")
    check("longer than the 96 bytes" in world.attempt("--vsock", f"path=/{'x' * 96},cid=3"), "too long")
    check(os.path.exists(file), "the file was removed")


def moves(world, transport):
    here, there = place(world, "here"), place(world, "there")
    slot = 1 if transport == "pci" else 0
    source = world.run(extra=("--vsock", f"path={here},cid=77,id=sock", "--transport", transport), **QUIET)
    for mapping, messages in ((("--vsock", "path=/nonexistent/v,id=sock"), ("device \"sock\"", "--vsock", "directory /nonexistent")),
                              (("--vsock", f"path={there},id=other"), ("no such device \"other\"", "\"sock\"")),
                              (("--mapped-only",), ("--mapped-only", "\"sock\"", here))):
        world.fails_to_move(source, world.receive("x" + str(len(world.vms)), extra=mapping), *messages)
        check(source.state() == "running", source.state())
        check(source.api("GET", "vm.migration-status")[1]["rounds"] == 0, "memory has moved")
    # It was free when the VM was built there, and is somebody else's when it is handed over.
    other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    other.bind(there)
    other.listen(8)
    world.fails_to_move(source, world.receive("y", extra=("--vsock", f"path={there},id=sock")), "--vsock", there, "Address already in use")
    check(listens(here), "the source has lost its socket")
    other.close()
    destination = world.receive(extra=("--vsock", f"path={there},id=sock"))
    check(not listens(there), "the destination listens while the source has the VM")
    world.migrate(source, destination, *PATIENT)
    check(shape(destination) == [("vsock", "sock", there, transport, slot)], f"{shape(destination)}")
    check(not os.path.exists(here) and listens(there), "the socket did not move")
    # To the same path, on the same host.
    third = world.receive("c")
    world.migrate(destination, third, *PATIENT)
    check(shape(third)[0][2] == there and listens(there), f"{shape(third)}")
    third.verify()
    check(not os.path.exists(there), "the socket file is left")


def test_vsock_moves_pci(world):
    moves(world, "pci")


def test_vsock_moves_mmio(world):
    moves(world, "mmio")


def faults(world, transport):
    """A driver that breaks the rules of rings and registers, and of nobody's packets: the device wants a reset, and gets it."""
    vm = world.run(cpus=1, cmdline="ws=1M rate=1000 virtio-faults",
                   extra=("--vsock", f"path={place(world, 'v')},cid=9", "--transport", transport))
    found = wait_for(lambda: FAULTS.search(vm.read_console()), "the faults")
    check(int(found[1]) > 10 and found[2] == "0", found[0])
    vm.verify()


def test_faults_pci(world):
    faults(world, "pci")


def test_faults_mmio(world):
    faults(world, "mmio")


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
