#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of the emulated hosts (see host.sh). Loads KVM, runs /payload and reports. The kernel's messages, the payload's
# output and "ready", "exit N", "broken REASON" each have a serial port of their own.

export PATH=/bin HOME=/root

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
ip link set lo up

output='' status=''
# shellcheck source=/dev/null
. /etc/host.conf

# Bytes as they are: no CR before LF, no echo of what nobody typed; as fast as an emulated UART goes.
stty raw -echo 115200 <"$output"
stty raw -echo 115200 <"$status"

report() {
	echo "$*" >"$status"
}

finish() {
	report "$*"
	# What was written last must have left the ports before the machine goes.
	stty -F "$output" raw
	stty -F "$status" raw
	poweroff -f
}

# A warning on the emulated port takes longer than what it interrupts; "dmesg" still has it.
dmesg -n 4

reason=$(reload-kvm 2>&1) || finish "broken $(echo "$reason" | tr '\n' ' ')"

set --
while IFS= read -r arg; do
	set -- "$@" "$arg"
done </payload.args

report ready
cd /root || finish 'broken no /root'
/payload "$@" </dev/null >"$output" 2>&1
finish "exit $?"
