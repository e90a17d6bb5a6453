#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The virtio console as people have it: on the terminal that vmm was started on, with its keys and its size, and on ptys."""

import fcntl
import os
import pty
import re
import signal
import stat
import struct
import sys
import termios

from vmmtest import PATIENT, check, main, wait_for

QUIET = {"cmdline": "ws=1M rate=1000", "cpus": 1}
# state.md, section "console": open and tell of 8 ports, columns, rows; behind name, instance and version the length of these.
SECTION = re.compile(rb"\x07console.{4}\x01\x00\x14\x00\x00\x00.{16}(.{4})", re.DOTALL)


class Terminal:
    """A pty; whoever is started on it has it for a terminal."""

    def __init__(self, cols, rows):
        self.master, self.slave = pty.openpty()
        self.resize(cols, rows)
        self.before = self.modes()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        os.close(self.master)
        os.close(self.slave)

    def resize(self, cols, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def modes(self):
        return termios.tcgetattr(self.slave)[:4]

    def is_raw(self):
        return not self.modes()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def type(self, keys):
        os.write(self.master, keys)


def recorded_size(path):
    """Of the screen, in the state that a stream carried."""
    with open(path, "rb") as file:
        sizes = [struct.unpack("<HH", size) for size in SECTION.findall(file.read())]
    check(sizes, f"no console in {path}")
    return sizes[-1]


def no_signal_pending(vm):
    with open(f"/proc/{vm.process.pid}/status", encoding="ascii") as status:
        pending = int(re.search(r"^ShdPnd:\s*([0-9a-f]+)$", status.read(), re.MULTILINE).group(1), 16)
    return not pending & 1 << signal.SIGWINCH - 1


def quits(world, terminal, vm):
    wait_for(terminal.is_raw, "the console to have the terminal")
    terminal.type(b"\x03\x1c")  # the guest's, as is what follows
    terminal.type(b"x\x01q")
    check(vm.state() == "running", vm.log())
    terminal.type(b"\x01x")
    check(vm.wait_end() == 0, vm.log())
    check("quit from the console" in vm.log(), vm.log())
    check(terminal.modes() == terminal.before, f"{world.directory}: {terminal.modes()} after {terminal.before}")


def test_quit_keys(world):
    with Terminal(80, 24) as terminal:
        quits(world, terminal, world.run(extra=("--virtio-console", "stdio"), terminal=terminal.slave, **QUIET))


def test_quit_keys_of_a_second_port(world):
    with Terminal(80, 24) as terminal:
        quits(world, terminal, world.run(extra=("--virtio-console", "null", "--virtio-console", "stdio,name=agent"),
                                         terminal=terminal.slave, **QUIET))


def test_quit_keys_where_it_went(world):
    with Terminal(80, 24) as terminal:
        source = world.run(extra=("--virtio-console", "null"), **QUIET)
        destination = world.receive(extra=("--virtio-console", "stdio,id=console0"), terminal=terminal.slave)
        world.migrate(source, destination, *PATIENT)
        quits(world, terminal, destination)


def test_size_of_the_terminal(world):
    """What the terminal has when it starts, what it is given then, and what the one on the other side has."""
    records = [os.path.join(world.directory, f"record{i}") for i in range(3)]
    with Terminal(80, 24) as first, Terminal(132, 43) as second:
        vm = world.run(extra=("--virtio-console", "stdio"), terminal=first.slave, **QUIET)
        terminals, sizes = (second, first, None), []
        for i, terminal in enumerate(terminals):
            extra = ("--record", records[i]) + (("--virtio-console", "stdio,id=console0") if terminal else ())
            destination = world.receive(f"b{i}", extra=extra, terminal=terminal.slave if terminal else None)
            if i == 0:
                first.resize(100, 40)
                wait_for(lambda vm=vm: no_signal_pending(vm), "the signal to be seen")
            world.migrate(vm, destination, *PATIENT)
            vm = destination
            sizes.append(recorded_size(records[i]))
        check(sizes == [(100, 40), (132, 43), (100, 40)], f"{sizes}")
        vm.verify()


def test_size_at_the_start(world):
    record = os.path.join(world.directory, "record")
    with Terminal(90, 30) as terminal:
        vm = world.run(extra=("--virtio-console", "stdio"), terminal=terminal.slave, **QUIET)
        world.migrate(vm, world.receive(extra=("--record", record)), *PATIENT)
        check(recorded_size(record) == (90, 30), f"{recorded_size(record)}")


def test_ports_are_found(world):
    """Where each port leads: vmm status and vm.info say it, before a move and after."""
    log = os.path.join(world.directory, "port")
    source = world.run(extra=("--virtio-console", "pty", "--virtio-console", "pty,name=agent,id=agent", "--virtio-console",
                              f"file:{log},name=log"), **QUIET)
    destination = world.receive(extra=("--virtio-console", "pty,id=agent"))
    for vm, expected in ((source, ("pty", "pty", f"file:{log}")), (destination, ("null", "pty", "null"))):
        if vm is destination:
            world.migrate(source, destination, *PATIENT)
        console = vm.api("GET", "vm.info")[1]["devices"][0]
        ports = console["ports"]
        check([(p["id"], p["name"]) for p in ports] == [("console0", ""), ("agent", "agent"), ("console1", "log")], f"{ports}")
        for port, where in zip(ports, expected):
            if where == "pty":
                check(stat.S_ISCHR(os.stat(port["local"]).st_mode) and port["local"].startswith("/dev/pts/"), f"{ports}")
            else:
                check(port["local"] == where, f"{ports}")
        check(console["local"] == ports[0]["local"] and ports[0]["local"] != ports[1]["local"], f"{console}")
        text = world.vmm("status", vm.name)[1]
        check(f" console0: port 0, {ports[0]['local']}\n" in text and f" agent: port 1 \"agent\", {ports[1]['local']}\n" in text, text)
    destination.verify()


if __name__ == "__main__":
    sys.exit(main([function for name, function in list(globals().items()) if name.startswith("test_")]))
