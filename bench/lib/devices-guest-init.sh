#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of the Linux guest in bench/devices --nested. It says "guest up" before anything else, for whoever times the boot;
# then loads Debian's modules, says "guest ready", and runs device-load with the words of each line that comes on the console.
# The kernel's command line has the address of its card as net=A.B.C.D.

export PATH=/bin
echo 'guest up'

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
stty -echo
dmesg -n 1
while read -r name; do
	insmod "/modules/$name.ko" || echo "guest failed: insmod $name"
done </modules/order

tries=0
until [ -b /dev/vda ] && [ -d /sys/class/net/eth0 ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 300 ]; then
		echo 'guest failed: no disk or no card'
		break
	fi
	sleep 0.1
done
address=$(sed -n 's/.*\bnet=\([0-9.]*\).*/\1/p' /proc/cmdline)
ip link set lo up
ip addr add "$address/24" dev eth0 && ip link set eth0 up
echo "guest ready kernel=$(uname -r) scheduler=$(sed 's/.*\[\(.*\)\].*/\1/' /sys/block/vda/queue/scheduler) queues=$(find /sys/block/vda/mq -mindepth 1 -maxdepth 1 | wc -l)"

while read -r command; do
	# shellcheck disable=SC2086 # several words
	device-load $command || echo "guest failed: $command"
done
poweroff -f
