#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of the guest that vsock-move moves, in the initramfs: Debian's driver for virtio sockets, a service on port 2000 and
# connections to port 1000 of the host. On the serial console it prints "guest KEY=VALUE", what becomes of a connection that it holds
# open, and "round N good=N failed=N cid=N" for ever.

export PATH=/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
# A kernel message in the middle of a line would look like a line lost.
dmesg -n 1
while read -r name; do
	insmod "/modules/$name.ko" || echo "guest failed=$name"
done </modules/order

socket-echo serve 4294967295:2000 &
echo "guest cid=$(socket-echo cid)"
until socket-echo check 2:1000 1000; do
	sleep 0.5
done
socket-echo hold 2:1000 &
n=0 good=0 failed=0
while :; do
	n=$((n + 1))
	if socket-echo check 2:1000 100000 >/tmp/check 2>&1; then
		good=$((good + 1))
	else
		failed=$((failed + 1))
		sed 's/^/failed: /' /tmp/check
	fi
	echo "round $n good=$good failed=$failed cid=$(socket-echo cid)"
	sleep 1
done
