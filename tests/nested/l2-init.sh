#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of the Linux guest that linux-svm and arm64 boot and move. On the serial console it prints one
# line "guest KEY=VALUE..." about what it found, then "count N UPTIME" for ever; Enter starts a shell.

export PATH=/bin HOME=/root PS1='guest# '

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp

# A kernel message in the middle of a line would look like a number lost.
dmesg -n 1

# Memory whose content shows later whether it arrived as it was.
dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
sha1sum /tmp/data >/tmp/data.sum

cpus=$(grep -c ^processor /proc/cpuinfo)
clocksource=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
kvmclock=$(dmesg | grep -c 'kvm-clock: Using msrs')
acpi_off=$(dmesg | grep -c 'ACPI: PM: (supports.* S5')
psci=$(dmesg | grep -c 'psci: PSCIv')
gicv3=$(dmesg | grep -c 'GICv3: CPU0: found redistributor')
its=$(dmesg | grep -c 'ITS \[mem')
rtc=$(cut -d ' ' -f 1 /sys/class/rtc/rtc0/name 2>/dev/null)
echo "guest cpus=$cpus clocksource=$clocksource kvmclock=$kvmclock acpi-off=$acpi_off psci=$psci gicv3=$gicv3 its=$its" \
	"rtc=${rtc:-none} time=$(date +%s)"

# For the shell: what the kernel says when a processor stops or an interrupt is lost, and when it sees
# the TSC and kvmclock run apart.
cat >/bin/complaints <<'END'
#!/bin/sh
dmesg | grep -i 'lockup\|hung task\|stall\|BUG:\|Oops\|nobody cared' >/tmp/complaints
dmesg | grep -i 'clocksource.*skew\|TSC unstable' >/tmp/skew
cat /tmp/complaints /tmp/skew
echo skew-$(grep -c . /tmp/skew)
echo complaints-$(grep -c . /tmp/complaints)
END
chmod 755 /bin/complaints

count() {
	n=0
	while :; do
		n=$((n + 1))
		read -r uptime _ </proc/uptime
		echo "count $n $uptime"
		sleep 0.2
	done
}

# The last processor counts, so that all of them have something to do: the first one is where the
# serial port's interrupts go.
count &
taskset -p -c $((cpus - 1)) $! >/dev/null

# No prompt before somebody is there: it would stand in the middle of a number's line.
while :; do
	read -r _
	setsid cttyhack sh
done
