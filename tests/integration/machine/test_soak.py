#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A guest with two vCPUs that writes all the time moves HOPS times in a row; then it checks every word."""

import os
import sys

from vmmtest import check, main

HOPS = int(os.environ.get("VMM_SOAK_HOPS", "200"))


def test_moves_in_a_row(world):
    vm = world.run(name="vm0", mem="32M", cmdline="ws=8M fill=random fillsize=all pattern=random report=1000")
    descriptors = []
    for hop in range(1, HOPS + 1):
        destination = world.receive(name=f"vm{hop}")
        report = world.migrate(vm, destination, "--on-timeout", "switch")
        check(report["result"] == "completed", f"hop {hop}: {report}")
        # What a process keeps of the migration that brought its VM must not grow with the VM's history.
        destination.read_console()
        descriptors.append((destination.descriptors(), destination.threads()))
        vm.kill()
        world.vms.remove(vm)
        vm = destination
    check(max(descriptors[1:]) <= (descriptors[0][0] + 1, descriptors[0][1] + 1), f"descriptors and threads grow: {descriptors}")
    vm.verify()


if __name__ == "__main__":
    sys.exit(main([test_moves_in_a_row]))
