# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The part "devices" of arm64-scenario.sh, where it lies as /arm64-devices.sh: the built-in guest's own virtio drivers break the rules
# in front of each device, then one loads a disk while the guest moves. (Interrupts by the ITS: the Linux guest of debian-move.)
#
# shellcheck disable=SC2154 # moves, source: arm64-scenario.sh

# last_blk LOG: requests that the disk had answered by the last whole report there.
last_blk() {
	sed -n 's/^vmm-guest: t_ms=.* blk=\([0-9]*\) blk_bad=.*/\1/p' "$1" | tail -n 1
}

# faults_right LOG KIND TRANSPORT: the device of that kind, reached that way, took each of many faults as it should.
faults_right() {
	sed -n "s/^vmm-guest: faults device=$2 $3=0x[0-9a-f]* tried=\([0-9]*\) bad=0\$/\1/p" "$1" >/tmp/tried
	tried=$(cat /tmp/tried)
	[ "${tried:-0}" -gt 20 ]
}

# grew NAME: in each process that the guest was in, the disk answered more than in the one before.
grew() {
	i=0 before=0
	while [ "$i" -le "$moves" ]; do
		now=$(last_blk "/tmp/$1-$i.log")
		if [ "${now:-0}" -le "$before" ]; then
			note "$1-$i: ${now:-no} requests, $before before"
			return 1
		fi
		before=$now
		i=$((i + 1))
	done
	note "$before requests"
}

# disk_guest NAME TRANSPORT
disk_guest() {
	truncate -s 16M "/tmp/$1.img"
	vmm run --name "$1-0" --cpus 1 --mem 64M --dirty "$(backend 0)" --console "file:/tmp/$1-0.log" --transport "$2" \
		--disk "/tmp/$1.img,id=d" --rng --balloon \
		--cmdline 'ws=8M fill=random fillsize=all rate=2000 report=300 blk=MIX blk-span=8M virtio-faults' \
		</dev/null >"/tmp/$1-0.out" 2>&1 &
	source=$!
	report='^vmm-guest: t_ms=.* blk=[1-9]'
	wait_for "$step_limit_s" "$source" "$report" "/tmp/$1-0.log" || bail "the built-in guest loads a disk on $2"
	ok "the built-in guest loads a disk on $2"
	for kind in blk rng balloon; do
		check "a driver that breaks the rules does no harm: $kind on $2" faults_right "/tmp/$1-0.log" "$kind" "$2"
	done
	grep '^vmm-guest: faults\|^vmm-guest: blk' "/tmp/$1-0.log" | tr -d '\r' | sed 's/^/# /'
	move_all "$1" "$report"
	stop_guest "$source" "/tmp/$1-$moves.log" "/tmp/$1-"[0-9]*.log
	check "the disk on $2 answers on each side" grew "$1"
	grep '^vmm-guest: blk verified' "/tmp/$1-$moves.log" | tr -d '\r' | sed 's/^/# /'
	check "each block that was written on $2 is there" \
		grep -q '^vmm-guest: blk verified blocks=[1-9].* reads=[1-9].* writes=[1-9].* flushes=[1-9].* bad=0' "/tmp/$1-$moves.log"
	rm "/tmp/$1.img"
}

devices() {
	disk_guest pci pci
	disk_guest mmio mmio
}
