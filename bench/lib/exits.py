# SPDX-License-Identifier: Apache-2.0
"""
How often vCPUs left the guest, out of KVM's binary statistics (Documentation/virt/kvm/api.rst, 4.133). QEMU tells; of vmm, which has the
descriptors open, they are read directly. debugfs has the same numbers, but a locked-down kernel shows them to nobody.
"""

import ctypes
import os
import struct

SYS_PIDFD_GETFD = 438    # x86_64 and arm64
NAMES = ("exits",)
HEADER = struct.Struct("=IIIIII")        # flags, name_size, num_desc, id_offset, desc_offset, data_offset
DESCRIPTOR = struct.Struct("=IhHII")     # flags, exponent, size, offset, bucket_size; then the name

_libc = ctypes.CDLL(None, use_errno=True)


def _parse(fd):
    _, name_size, count, _, at, data = HEADER.unpack(os.pread(fd, HEADER.size, 0))
    step = DESCRIPTOR.size + name_size
    descriptors = os.pread(fd, step * count, at)
    found = {}
    for i in range(count):
        _, _, _, offset, _ = DESCRIPTOR.unpack_from(descriptors, i * step)
        name = descriptors[i * step + DESCRIPTOR.size:(i + 1) * step].split(b"\0")[0].decode("ascii")
        if name in NAMES:
            found[name] = struct.unpack("=Q", os.pread(fd, 8, data + offset))[0]
    return found


def _add(total, more):
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def of_process(pid):
    """Of all vCPUs whose statistics this process has open; empty where they cannot be had."""
    total = {}
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return total
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("anon_inode:kvm-vcpu-stats"):
                continue
            fd = _libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
            if fd >= 0:
                _add(total, _parse(fd))
                os.close(fd)
    except OSError:
        pass
    finally:
        os.close(pidfd)
    return total


def of_qemu(qmp):
    total = {}
    for vcpu in qmp.command("query-stats", target="vcpu"):
        if vcpu["provider"] == "kvm":
            _add(total, {stat["name"]: stat["value"] for stat in vcpu["stats"] if stat["name"] in NAMES})
    return total
