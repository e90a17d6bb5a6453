#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of debian-move's guest in its root file system. On the serial console it prints "guest KEY=VALUE..." about what it
# found, then "round N bad=N" for each time that it has written a file, synced it, and read all files back from the disk. On TCP port
# 7000 it echoes; its power button, or a connection to port 7001, ends it: files checked once more, file system clean, power off.

export PATH=/bin HOME=/root

files=8

# A kernel message in the middle of a line would look like a line lost.
dmesg -n 1
mount -t tmpfs tmpfs /tmp

net=none
if [ -d /sys/class/net/eth0 ]; then
	ip link set lo up
	ip addr add 10.0.0.2/24 dev eth0 && ip link set eth0 up && net=$(cat /sys/class/net/eth0/address)
	nc -ll -p 7000 -e cat &
	nc -l -p 7001 -e /bin/request-end &
fi

# The power button is a key, where the kernel has its driver.
button=0
if [ -e /dev/input/event0 ]; then
	button=1
	mkdir -p /etc/acpi/PWRF
	printf '#!/bin/sh\necho guest button >/dev/console\n: >/tmp/end\n' >/etc/acpi/PWRF/00000080
	chmod 755 /etc/acpi/PWRF/00000080
	acpid -d -p /tmp/acpid.pid >/tmp/acpid.out 2>&1 &
fi

# A shell on the virtio console, and what comes through the port of this name goes back. Only one program may have a port open.
if [ -c /dev/hvc0 ]; then
	(while :; do setsid sh -c 'exec sh -i <>/dev/hvc0 >&0 2>&1'; done) &
fi
port=$(grep -l '^agent$' /sys/class/virtio-ports/*/name 2>/dev/null)
if [ "$port" ]; then
	port=${port%/name}
	cat <>"/dev/${port##*/}" >&0 &
fi

disk=$(cat /sys/block/vda/serial 2>/dev/null)
echo "guest kernel=$(uname -r) disk=${disk:-none} sectors=$(cat /sys/block/vda/size)" \
	"ro=$(cat /sys/block/vda/ro) net=$net cpus=$(grep -c ^processor /proc/cpuinfo) button=$button"

mkdir -p /work
n=0 bad=0
while [ ! -e /tmp/end ]; do
	n=$((n + 1))
	file=/work/file$((n % files))
	# Made in memory, so that the sum is of what was meant and not of what was read back.
	dd if=/dev/urandom of=/tmp/new bs=16k count=$((n % 5 + 4)) 2>/dev/null
	sum=$(sha1sum </tmp/new)
	dd if=/tmp/new of="$file" bs=16k conv=fsync 2>/dev/null || bad=$((bad + 1))
	echo "${sum%% *}  $file" >"$file.sum"
	sync
	# What is not in memory must come from the disk.
	echo 3 >/proc/sys/vm/drop_caches
	cat /work/*.sum >/tmp/sums
	sha1sum -c /tmp/sums >/tmp/checked || bad=$((bad + 1))
	echo "round $n bad=$bad"
done

dmesg | grep -i 'I/O error\|EXT4-fs error\|lockup\|hung task\|stall\|BUG:\|Oops\|nobody cared\|NETDEV WATCHDOG' >/tmp/complaints
cat /tmp/complaints
sync
mount -o remount,ro / || bad=$((bad + 1))
echo "guest end rounds=$n bad=$bad complaints=$(grep -c . /tmp/complaints)"
poweroff -f
