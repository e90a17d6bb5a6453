#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What users do to a VM while it migrates: pause it, resume it, type."""

import sys
import threading

from vmmtest import check, main, wait_for

# Slow enough for a user to act in the first round.
SLOW = ("--max-bandwidth", "20MB/s", "--compress", "none", "--on-timeout", "switch")


def migrate_meanwhile(world, source, destination, act, *options):
    """act() runs in the first round; the result of the migration."""
    client = world.start("migrate", source.name, "--to", destination.address, "--json", *options)
    wait_for(lambda: source.api("GET", "vm.info")[1].get("migrating"), "the migration to begin")
    act()
    out, err = client.communicate()
    check(client.returncode == 0, f"vmm migrate: {client.returncode}: {err}{out}")
    check(source.wait_end() == 0, source.log())


def test_pause_in_migration_comes_along(world):
    source, destination = world.run(), world.receive()
    migrate_meanwhile(world, source, destination,
                      lambda: check(world.vmm("pause", "a")[0] == 0, "pause"), *SLOW)
    check(destination.state() == "paused", f"destination is {destination.state()}")
    check(world.vmm("resume", "b")[0] == 0, "resume")
    destination.verify()


def test_resume_in_migration_comes_along(world):
    source, destination = world.run(), world.receive()
    check(world.vmm("pause", "a")[0] == 0, "pause")
    migrate_meanwhile(world, source, destination,
                      lambda: check(world.vmm("resume", "a")[0] == 0, "resume"), *SLOW)
    check(destination.state() == "running", f"destination is {destination.state()}")
    destination.verify()


def test_resume_cannot_wake_a_vm_that_leaves(world):
    """Somebody resumes the source all the time, in the blackout too: its vCPUs must not run there then."""
    source, destination = world.run(), world.receive()
    over = threading.Event()
    answers = {}

    def hammer():
        while not over.is_set():
            try:
                status = source.api("PUT", "vm.resume", {})[0]
            except (OSError, ValueError):
                return
            answers[status] = answers.get(status, 0) + 1

    threads = [threading.Thread(target=hammer) for _ in range(2)]

    def act():
        for thread in threads:
            thread.start()

    # The rest of 16 MiB at 40 MB/s makes a blackout long enough to be hit.
    migrate_meanwhile(world, source, destination, act, "--max-bandwidth", "40MB/s", "--compress", "none",
                      "--max-downtime", "900ms", "--on-timeout", "switch")
    over.set()
    for thread in threads:
        thread.join()
    check(sum(answers.values()) > 10, f"answers: {answers}")
    destination.verify()


def test_keys_typed_in_migration_come_along(world):
    """The key that has the guest verify its memory is typed while a switch of a second or so is under way, or just before or after."""
    source, destination = world.run(), world.receive()
    client = world.start("migrate", "a", "--to", destination.address, "--json", "--max-bandwidth", "40MB/s",
                         "--compress", "none", "--max-downtime", "900ms", "--on-timeout", "switch")
    wait_for(lambda: source.api("GET", "vm.info")[1].get("migrating"), "the migration to begin")
    destination.type("s")  # waits there for the VM
    out, err = client.communicate()
    check(client.returncode == 0, f"vmm migrate: {client.returncode}: {err}{out}")
    destination.wait_console("vmm-guest: PASS")
    check(destination.wait_end() == 0, destination.log())


def test_paste_longer_than_the_ports_queue(world):
    """Keys that mean nothing to the guest, more than port and queue hold, and then one that does: none is lost on the way."""
    source = world.run()
    source.type("." * 3000 + "s")
    source.wait_console("vmm-guest: PASS")
    check(source.wait_end() == 0, source.log())


if __name__ == "__main__":
    sys.exit(main([value for name, value in list(globals().items()) if name.startswith("test_")]))
