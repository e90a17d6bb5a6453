#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A guest with two vCPUs that writes all the time moves HOPS times in a row; then it checks every word."""

import os
import sys

from vmmtest import check, main, wait_for

HOPS = int(os.environ.get("VMM_SOAK_HOPS", "200"))


def held(vm):
    return vm.descriptors(), vm.threads()


def at_most(numbers, limits):
    return all(number <= limit for number, limit in zip(numbers, limits))


def test_moves_in_a_row(world):
    vm = world.run(name="vm0", mem="32M", cmdline="ws=8M fill=random fillsize=all pattern=random report=1000")
    limit = None
    for hop in range(1, HOPS + 1):
        destination = world.receive(name=f"vm{hop}")
        report = world.migrate(vm, destination, "--on-timeout", "switch")
        check(report["result"] == "completed", f"hop {hop}: {report}")
        # What a process keeps of the migration that brought its VM must not grow with the VM's history. A connection that was
        # just answered is closed a moment later.
        destination.read_console()
        limit = limit or [n + 1 for n in held(destination)]
        wait_for(lambda: at_most(held(destination), limit), f"hop {hop} to hold at most {limit} descriptors and threads", 10)
        vm.kill()
        world.vms.remove(vm)
        vm = destination
    vm.verify()


if __name__ == "__main__":
    sys.exit(main([test_moves_in_a_row]))
