#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of the guest that debian-move moves, in the initramfs: loads Debian's modules for the disk and the network, and goes
# on in the disk's root file system.

export PATH=/bin

fail() {
	echo "guest failed: $*"
	poweroff -f
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r name; do
	insmod "/modules/$name.ko" || fail "insmod $name"
done </modules/order

tries=0
until [ -b /dev/vda ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 100 ] || fail 'no /dev/vda'
	sleep 0.1
done
mkdir -p /disk
mount -t ext4 /dev/vda /disk || fail 'cannot mount /dev/vda'
for dir in proc sys dev; do
	mount --move "/$dir" "/disk/$dir"
done
exec switch_root /disk /etc/init "$@"
