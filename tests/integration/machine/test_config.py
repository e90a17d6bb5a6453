#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Configuration files and options of devices, as `vmm run` takes them: the schema of docs/spec against what the program reads and
writes, and one line for whatever is wrong. No VM runs here."""

import copy
import json
import os
import sys

from vmmtest import Skip, check, main

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "docs", "spec", "vm-config.schema.json")

WHOLE = {
    "name": "whole",
    "cpus": {"boot_vcpus": 2, "pin": "0"},
    "memory": {"size": "512M", "thp": False},
    "payload": {"kernel": "/k", "initramfs": "/i", "cmdline": "console=ttyS0"},
    "serial": {"backend": "null"},
    "transport": "mmio",
    "dirty": "manual",
    "dirty_accel": "off",
    "paused": True,
    "disks": [{"path": "/a", "id": "root", "readonly": True, "direct": True, "shared": True, "serial": "s", "num_queues": 16,
               "iops": 10, "bandwidth": "10MB/s"}, {"path": "/b"}],
    "net": [{"tap": "tap0", "id": "lan", "mac": "52:54:00:12:34:56", "num_queue_pairs": 8, "packets_per_s": 5, "bandwidth": 7}],
    "console": [{"backend": "pty", "id": "c"}, {"backend": "unix:/x", "name": "org.example"}],
    "vsock": {"socket": "/v", "id": "v", "cid": 3},
    "balloon": {"id": "b", "size": 4096},
    "rng": {"id": "r"},
}


def schema():
    try:
        import jsonschema
    except ImportError as error:
        raise Skip("python3 module missing: jsonschema") from error
    with open(SCHEMA, encoding="utf-8") as file:
        return jsonschema.Draft202012Validator(json.load(file))


def write(world, value):
    path = os.path.join(world.directory, "vm.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(value if isinstance(value, str) else json.dumps(value, indent=2))
    return path


def dump(world, *arguments):
    status, out, err = world.vmm("run", *arguments, "--dump-config")
    check(status == 0 and not err, f"{arguments}: {status}: {err}")
    return json.loads(out)


def refused(world, *arguments):
    """The one line that says why."""
    status, out, err = world.vmm("run", *arguments, "--dump-config")
    check(status == 2 and not out, f"{arguments}: {status}: {out}{err}")
    check(err.count("\n") == 1 and err.startswith("vmm run: "), f"{arguments}: {err}")
    return err


def test_round_trip(world):
    validator = schema()
    validator.validate(WHOLE)
    first = dump(world, "--config", write(world, WHOLE))
    validator.validate(first)
    check(dump(world, "--config", write(world, first)) == first, "a dump changes when it is read")
    for key, value in WHOLE.items():
        if key not in ("memory", "disks", "console"):
            check(first[key] == value, f"{key}: {first[key]}")
    check(first["memory"] == {"size": 512 << 20, "thp": False}, f"{first['memory']}")
    check([d["id"] for d in first["disks"]] == ["root", "disk0"], f"{first['disks']}")
    check([c["id"] for c in first["console"]] == ["c", "console0"], f"{first['console']}")


def test_options_make_the_same_file(world):
    options = ["--name", "whole", "--cpus", "2", "--pin", "0", "--mem", "512M", "--no-thp", "--kernel", "/k", "--initrd", "/i",
               "--cmdline", "console=ttyS0", "--console", "null", "--transport", "mmio", "--dirty", "manual", "--dirty-accel", "off",
               "--paused", "--rng=id=r", "--balloon=size=4K,id=b", "--vsock", "path=/v,cid=3,id=v",
               "--net", "tap=tap0,id=lan,mac=52:54:00:12:34:56,queues=8,iops=5,bw=7",
               "--disk", "/a,id=root,ro,direct,shared,serial=s,queues=16,iops=10,bw=10MB/s", "--disk", "/b",
               "--virtio-console", "pty,id=c", "--virtio-console", "unix:/x,name=org.example"]
    check(dump(world, *options) == dump(world, "--config", write(world, WHOLE)), "options and file differ")


def test_defaults(world):
    validator = schema()
    first = dump(world)
    validator.validate(first)
    check("disks" not in first and "transport" not in first and "name" not in first, f"{first}")
    check(first["memory"]["size"] == 256 << 20 and first["cpus"] == {"boot_vcpus": 1}, f"{first}")


def test_options_win(world):
    path = write(world, WHOLE)
    got = dump(world, "--disk", "/c,id=root", "--config", path, "--mem", "1G", "--vsock", "path=/w,cid=9", "--disk", "/d")
    check([(d["path"], d.get("readonly", False)) for d in got["disks"]] == [("/c", False), ("/b", False), ("/d", False)],
          f"{got['disks']}")
    check(got["memory"]["size"] == 1 << 30 and got["vsock"]["cid"] == 9, f"{got}")
    # What was wrong in the file is not wrong any more when an option says something else.
    path = write(world, {"payload": {"initramfs": "/i"}})
    check("vm.json:3:5: key \"payload.initramfs\": " in refused(world, "--config", path), "no place")
    dump(world, "--config", path, "--kernel", "/k")


def test_schema_and_program_agree(world):
    """Every change that makes a good file bad is seen by both."""
    validator = schema()
    for path, value in ((("disks", 0, "num_queues"), 0), (("disks", 0, "num_queues"), 17), (("disks", 0, "path"), ""),
                        (("disks", 0, "ro"), True), (("net", 0, "mac"), "x"), (("net", 0, "tap"), 5), (("vsock", "cid"), 2),
                        (("rng",), []), (("net",), {}), (("cpus", "boot_vcpus"), 256), (("memory", "size"), True),
                        (("transport",), "isa"), (("console", 0, "backend"), "tty"), (("console", 0, "id"), ".x"),
                        (("paused",), 1), (("nothing",), 1), (("serial", "mode"), "x")):
        bad = copy.deepcopy(WHOLE)
        node = bad
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value
        check(not validator.is_valid(bad), f"the schema takes {path} {value!r}")
        line = refused(world, "--config", write(world, bad))
        place = line.split(": ")[1].rsplit(":", 2)
        check(place[0].endswith("vm.json") and int(place[1]) > 1 and int(place[2]) >= 1, line)
        check('key "' + str(path[0]) in line, line)


def test_mistakes_on_the_command_line(world):
    for arguments, message in (
            (["--disk", "a,iops=x"], "--disk: at character 3: \"iops\": expected a whole number, got \"x\""),
            (["--disk", "a,queue=2"], "--disk: at character 3: \"queue\" is unknown"),
            (["--disk", ""], "--disk: \"path\" is missing"),
            (["--net", "mac=52:54:00:00:00:01"], "--net: \"tap\" is missing"),
            (["--vsock", "path=x,cid=2"], "cid: expected 3 to 4294967294, got 2"),
            (["--balloon=size=lots"], "--balloon: at character 1: \"size\": expected a size"),
            (["--rng", "--rng"], "--rng: rng1: a VM has one at most"),
            (["--disk", "a,id=x", "--disk", "b,id=x"], "--disk: id: \"x\" is another device's already"),
            (["--virtio-console", "stdio"], "another console has stdio already"),
            (["--transport", "usb"], "--transport: expected pci or mmio, got \"usb\""),
            (["--config", "/nonexistent"], "--config /nonexistent: No such file"),
            (["--config", world.directory], "expected a file"),
            (["--config", write(world, "{}\0")], "a zero byte at offset 2")):
        line = refused(world, *arguments)
        check(message in line, f"{arguments}: {line}")
    line = refused(world, "--config", write(world, "{\n  \"rng\": {},\n"))
    check("vm.json:3:" in line or "vm.json:2:" in line, line)


def test_mistakes_of_a_receiver(world):
    for arguments, message in ((["--disk", "a"], "--disk: \"id\" is missing"),
                               (["--disk", "a,id=x,ro"], "at character 8: \"ro\" comes with the VM"),
                               (["--disk", "a,id=x", "--disk", "b,id=x"], "id: \"x\" stands twice"),
                               (["--rng"], "unknown option \"--rng\"")):
        status, _, err = world.vmm("receive", "--listen", "127.0.0.1:0", *arguments)
        check(status == 2 and message in err and err.count("\n") == 1, f"{arguments}: {status}: {err}")


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
