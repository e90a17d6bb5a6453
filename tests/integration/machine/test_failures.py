#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a migration must leave exactly one running VM, a reason, and a source that can try again at once."""

import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys

from vmmtest import PATIENCE_S, PROGRAM, Skip, Vm, check, main, wait_for

SLOW = ("--max-bandwidth", "20MB/s")


def still_works(world, source):
    """The source runs on and its next migration succeeds, every word in place."""
    check(source.state() == "running", f"source is {source.state()}")
    destination = world.receive(name="second")
    world.migrate(source, destination)
    destination.verify()


def wait_for_rounds(destination):
    """Until the VM's configuration has arrived: what comes now is memory."""
    wait_for(lambda: destination.api("GET", "vm.info")[1]["memory_bytes"], "the migration to start")


def test_destination_killed(world):
    source, destination = world.run(), world.receive()
    client = world.start("migrate", "a", "--to", destination.address, *SLOW)
    wait_for_rounds(destination)
    destination.process.kill()
    out, err = client.communicate()
    check(client.returncode == 1, f"exit status {client.returncode}: {out}{err}")
    still_works(world, source)


def test_source_killed(world):
    source, destination = world.run(), world.receive()
    destination.read_console()
    client = world.start("migrate", "a", "--to", destination.address, *SLOW)
    wait_for_rounds(destination)
    source.process.kill()
    client.communicate()
    check(client.returncode != 0, "vmm migrate reports success")
    check(destination.wait_end() == 1, f"destination: {destination.log()}")
    check("not received" in destination.log(), destination.log())
    check(destination.read_console() == "", f"the guest ran on the destination: {destination.output}")


def test_destination_stalls(world):
    source, destination = world.run(), world.receive()
    before = destination.resident_bytes()
    client = world.start("migrate", "a", "--to", destination.address, *SLOW)
    # Pages arrive, so that it falls asleep in a round and not before: until CONFIG_OK the source has more patience.
    wait_for(lambda: destination.resident_bytes() > before + (16 << 20), "pages to arrive")
    destination.process.send_signal(signal.SIGSTOP)
    out, err = client.communicate()
    check(client.returncode == 1, f"exit status {client.returncode}: {out}{err}")
    check("10 s" in out + err, f"the reason does not name the stall: {out}{err}")
    destination.process.send_signal(signal.SIGCONT)
    still_works(world, source)


def test_cancel_by_interrupt(world):
    source, destination = world.run(), world.receive()
    client = world.start("migrate", "a", "--to", destination.address, *SLOW)
    wait_for_rounds(destination)
    client.send_signal(signal.SIGINT)
    out, err = client.communicate()
    check(client.returncode == 130, f"exit status {client.returncode}: {out}{err}")
    check(destination.wait_end() == 1, f"destination: {destination.log()}")
    port = int(destination.address.rsplit(":", 1)[1])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    still_works(world, source)


def test_timeout_cancels(world):
    source, destination = world.run(), world.receive()
    status, out, err = world.vmm("migrate", "a", "--to", destination.address, "--max-bandwidth", "8MB/s", "--max-downtime", "1ms",
                                 "--timeout", "1s", "--on-timeout", "cancel")
    check(status == 1, f"exit status {status}: {out}{err}")
    still_works(world, source)


def test_timeout_switches(world):
    source, destination = world.run(), world.receive()
    status, out, err = world.vmm("migrate", "a", "--to", destination.address, "--max-bandwidth", "100MB/s", "--max-downtime", "1ms",
                                 "--timeout", "1s", "--on-timeout", "switch")
    check(status == 0, f"exit status {status}: {out}{err}")
    check(source.wait_end() == 0, source.log())
    destination.verify()


def test_nobody_listens(world):
    source = world.run()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    status, out, err = world.vmm("migrate", "a", "--to", f"127.0.0.1:{port}")
    check(status == 1 and f"127.0.0.1:{port}" in out + err and "refused" in out + err, f"{status}: {out}{err}")
    still_works(world, source)


def test_destination_out_of_memory(world):
    if "ASAN_OPTIONS" in os.environ:
        raise Skip("the address sanitizer reserves terabytes itself, a limit of the address space stops it at once")
    source = world.run(mem="1G", cmdline="ws=16M fill=none report=200")
    destination = Vm.__new__(Vm)
    world.vms.append(destination)
    destination.world, destination.name, destination.output, destination.console = world, "b", b"", None
    destination.log_path = world.directory + "/b.log"
    destination.console_path = world.directory + "/b.console"
    with open(destination.log_path, "wb") as log:
        destination.process = subprocess.Popen(
            ["/bin/sh", "-c", 'ulimit -v 700000; exec "$0" "$@"', PROGRAM, "receive", "--listen", "127.0.0.1:0", "--name", "b", "--console",
             "null"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=world.environment)
    status, out, err = world.vmm("migrate", "a", "--to", destination.listen_address())
    check(status == 1 and "memory" in out + err, f"{status}: {out}{err}")
    check(destination.wait_end() == 1, destination.log())
    still_works(world, source)


def test_strangers_do_not_use_up_a_destination(world):
    source = world.run(cmdline="ws=4M fill=random report=200")
    recording = world.directory + "/recording"
    destination = world.receive(extra=("--record", recording))
    host, port = destination.address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
        peer.settimeout(PATIENCE_S)
        answer = b"".join(iter(lambda: peer.recv(4096), b""))
        check(b"magic" in answer, f"answered {answer}")
    with socket.create_connection((host, int(port))):
        pass
    check(destination.process.poll() is None, destination.log())
    check(world.migrate(source, destination)["result"] == "completed", destination.log())
    destination.verify()
    status, out, err = world.vmm("stream", "verify", recording)
    check(status == 0, out + err)


def crc32c(data):
    """CRC-32C, bit by bit: a record or two."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def record(header, meta):
    """A record as docs/spec/stream.md has it, with @header's type and number and other meta data."""
    head = header[:12] + struct.pack("<IQI", len(meta), 0, 0)
    return head + struct.pack("<I", crc32c(head + meta)) + meta


def test_other_architecture(world):
    source = world.run()
    recording = world.directory + "/recording"
    destination = world.receive(extra=("--record", recording))
    check(world.migrate(source, destination)["result"] == "completed", destination.log())
    with open(recording, "rb") as file:
        stream = file.read(1 << 20)
    config_at = 32 + struct.unpack_from("<I", stream, 12)[0]
    header, meta = stream[config_at:config_at + 32], stream[config_at + 32:]
    # The first section, the machine, stays; what follows is another architecture's.
    name_len = meta[0]
    machine = meta[:1 + name_len + 10 + struct.unpack_from("<I", meta, 1 + name_len + 6)[0]]
    check(b"machine" in machine[:8], f"CONFIG begins with {machine[:8]}")
    own, other, name = ("arm64", "x86", b"x86.cpuid") if platform.machine() == "aarch64" else ("x86", "arm64", b"arm64.vm")
    foreign = bytes([len(name)]) + name + struct.pack("<IHI", 0, 1, 0)

    third = world.receive(name="c")
    host, port = third.address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as peer:
        peer.settimeout(PATIENCE_S)
        peer.sendall(stream[:config_at] + record(header, machine + foreign))
        answer = b"".join(iter(lambda: peer.recv(4096), b""))
    text = f"the VM comes from a host of architecture {other}, this one is {own}"
    check(text.encode() in answer, f"answered {answer}")
    check(third.wait_end() == 1, third.log())
    check(text in third.log(), third.log())


def test_many_failures_leak_nothing(world):
    source = world.run()

    def fail_once():
        destination = world.receive(name="d")
        client = world.start("migrate", "a", "--to", destination.address, "--max-bandwidth", "40MB/s", "--compress", "zlib")
        wait_for_rounds(destination)
        destination.process.kill()
        client.communicate()
        check(client.returncode == 1, f"exit status {client.returncode}")
        destination.kill()
        os.unlink(destination.console_path)

    fail_once()
    before = (source.descriptors(), source.threads())
    for _ in range(10):
        fail_once()
    wait_for(lambda: source.threads() <= before[1], "the migration's threads to end")
    wait_for(lambda: source.descriptors() <= before[0], f"descriptors: {before[0]} before, {source.descriptors()} now")
    still_works(world, source)


def test_name_in_use(world):
    world.run()
    status, _, err = world.vmm("run", "--name", "a", "--console", "null")
    check(status == 1 and "a" in err and "running" in err, f"{status}: {err}")


def test_hardware_that_is_not_there(world):
    """What no hardware serves is refused on every host; KVM's logs are refused where the host has nothing for them."""
    refused = [("uffd", "page tables")]
    caps = json.loads(world.vmm("caps", "--json")[1])
    if not any(a["state"] == "present" and a["name"].endswith("PML") for a in caps["accelerators"]):
        refused.append(("manual", "dirty-accel on"))
    for backend, reason in refused:
        for command in (["run", "--console", "null"], ["receive", "--listen", "127.0.0.1:0"]):
            status, out, err = world.vmm(*command, "--dirty", backend, "--dirty-accel", "on")
            check(status == 1 and reason in err and len(err.strip().splitlines()) == 1, f"{command} {backend}: {status}: {out}{err}")


def test_kernels_that_are_none(world):
    path = world.directory + "/kernel"
    cases = {b"": "empty", b"#!/bin/sh\necho hello\n" * 50: "text", b"\x7fELF\x02\x01\x01" + bytes(5): "cut", b"\x7fELF\x02\x01\x01" + bytes(200): "zeros"}
    for content, what in cases.items():
        with open(path, "wb") as kernel:
            kernel.write(content)
        status, out, err = world.vmm("run", "--kernel", path, "--console", "null")
        check(status == 1 and path in err and len(err.strip().splitlines()) == 1, f"{what}: {status}: {out}{err}")
    status, _, err = world.vmm("run", "--kernel", path + ".none", "--console", "null")
    check(status == 1 and path + ".none" in err, f"missing: {status}: {err}")


def test_bad_options(world):
    for arguments in (["run", "--cpus", "0"], ["run", "--mem", "lots"], ["run", "--dirty", "magic"], ["run", "--dirty-accel", "maybe"], ["run", "--console", "x:y"], ["receive"],
                      ["run", "--initrd", "x"], ["run", "extra"], ["receive", "--listen", "127.0.0.1:99999"], ["migrate"], ["frobnicate"],
                      ["run", "--name", "../x"], ["stream", "verify"]):
        status, out, err = world.vmm(*arguments)
        check(status in (1, 2) and len(err.strip().splitlines()) == 1, f"{arguments}: {status}: {out}{err}")


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
