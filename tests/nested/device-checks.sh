# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What Linux's own drivers make of a virtio console with two ports, a balloon and a source of entropy, and whether it is still so after
# a move; lies on the hosts as /device-checks.sh and comes after /linux-checks.sh. In the guest a shell is on the console, and what
# comes through the port named "agent" goes back through it (debian-root-init.sh).
#
# shellcheck disable=SC2016 # commands in single quotes are for the guest's shell to expand
# shellcheck disable=SC2034 # console_pty is for linux-checks.sh
# shellcheck disable=SC2154 # step_limit_s: checks.sh

# shellcheck disable=SC2089 # words without spaces
device_options='--virtio-console pty --virtio-console pty,name=agent --balloon --rng'
device_map='--virtio-console pty,id=console0 --virtio-console pty,id=console1'

agent_bytes=16384
balloon_mib=16

# port_path NAME ID: where that port of the VM's console goes, as people are told in /tmp/NAME.status.
port_path() {
	sed -n "s/^ *$2: port [0-9].*, //p" "/tmp/$1.status"
}

# guest_memory PID LOG: one line of the guest's kernel: its memory, what of it is free, and pages that went into the balloon and came
# out again. Not its total memory with the balloon's left out: a guest that may take pages back when it runs short keeps counting them.
guest_memory() {
	asked=$((${asked:-0} + 1))
	ask "$1" "$2" "awk '/^(MemTotal|MemFree):|^balloon_(in|de)flate/ { s = s \" \" \$1 \" \" \$2 } END { print \"memory-$asked\" s }' /proc/meminfo /proc/vmstat" \
		"^memory-$asked .*deflate [0-9]" || return 1
	grep "^memory-$asked " "$2" | tail -n 1 | tr -d '\r'
}

# word_after WORD TEXT
word_after() {
	echo "$2" | sed -n "s/.* $1 \([0-9]*\).*/\1/p"
}

# balloon_value NAME KEY
balloon_value() {
	vmm-ctl balloon "$1" --json >"/tmp/$1.balloon.json" 2>/tmp/balloon.out && json "$2" "/tmp/$1.balloon.json"
}

# wait_balloon NAME KEY TEST NUMBER: until the value passes.
wait_balloon() {
	deadline=$(($(date +%s) + step_limit_s))
	until test "$(balloon_value "$1" "$2")" "$3" "$4" 2>/dev/null; do
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.3
	done
}

# echoes NAME: random bytes through the guest's port and back, each as it was.
echoes() {
	dd if=/dev/urandom of="/tmp/$1.sent" bs=$agent_bytes count=1 2>/dev/null
	head -c $agent_bytes <"$agent_pty" >"/tmp/$1.echoed" &
	echo_reader=$!
	cat "/tmp/$1.sent" >"$agent_pty"
	wait_end "$step_limit_s" $echo_reader && cmp "/tmp/$1.sent" "/tmp/$1.echoed"
}

# open_console NAME PID: the guest's shell on its virtio console answers; what it says goes to /tmp/NAME.hvc.
open_console() {
	vmm status "$1" >"/tmp/$1.status" 2>/tmp/status.out
	console_pty=$(port_path "$1" console0) agent_pty=$(port_path "$1" console1)
	if [ ! -c "$console_pty" ] || [ ! -c "$agent_pty" ]; then
		bail "vmm status tells where the ports of $1 go"
	fi
	ok "vmm status tells where the ports of $1 go: $console_pty, $agent_pty"
	read_pty "/tmp/$1.hvc" "$console_pty"
	say ''
	ask "$2" "/tmp/$1.hvc" 'echo answer-$((6 * 7))' '^answer-42' || bail "the shell on the virtio console of $1 answers"
	ok "the shell on the virtio console of $1 answers"
}

# rng_checks NAME PID: 64 bytes, and then others.
rng_checks() {
	ask "$2" "/tmp/$1.hvc" 'for i in 1 2; do dd if=/dev/hwrng of=/tmp/rng$i bs=16 count=4 2>/dev/null; done; cmp -s /tmp/rng1 /tmp/rng2; echo "rng-$? $(cat /tmp/rng1 /tmp/rng2 | wc -c) $(cat /sys/class/misc/hw_random/rng_current)"' '^rng-[0-9]'
	check "$1 reads twice 64 bytes from its virtio source of entropy, and they differ" grep -q '^rng-1 128 virtio_rng' "/tmp/$1.hvc"
	grep '^rng-' "/tmp/$1.hvc" | tr -d '\r' | sed 's/^/#   /'
	vmm status "$1" --counters >"/tmp/$1.counters" 2>/tmp/counters.out
	served=$(sed -n 's/^rng0\.bytes_read  *//p' "/tmp/$1.counters")
	check "the device gave it as much (${served:-no} bytes)" [ "${served:-0}" -ge 128 ]
}

# size_checks NAME PID: the guest's console has the size of the pty, once somebody types there.
size_checks() {
	stty -F "$console_pty" cols 100 rows 40
	ask "$2" "/tmp/$1.hvc" 'for i in 1 2 3 4 5 6 7 8 9; do s=$(stty size); case $s in *100*) break ;; esac; sleep 1; done; echo "size-$s"' '^size-[0-9]'
	check 'the guest has the size of its terminal' grep -q '^size-40 100' "/tmp/$1.hvc"
	grep '^size-' "/tmp/$1.hvc" | tr -d '\r' | sed 's/^/#   /'
}

# balloon_checks NAME PID: its statistics, some of the guest's memory out and back in, and what it reports as free.
balloon_checks() {
	guest_memory "$2" "/tmp/$1.hvc" >/tmp/memory1
	total_kib=$(word_after MemTotal: "$(cat /tmp/memory1)")
	wait_balloon "$1" total_bytes -gt 0
	said=$(json total_bytes "/tmp/$1.balloon.json")
	check "the balloon's statistics have the guest's total memory ($total_kib KiB)" [ "${said:-0}" -eq $((total_kib * 1024)) ]
	said=$(json available_bytes "/tmp/$1.balloon.json")
	check "and less as available ($said bytes)" [ "${said:-0}" -gt 0 -a "${said:-0}" -lt $((total_kib * 1024)) ]
	vmm balloon "$1" --size ${balloon_mib}M >/tmp/balloon.out 2>&1
	check "the guest gives $balloon_mib MiB to the balloon" wait_balloon "$1" actual_bytes -eq $((balloon_mib << 20))
	guest_memory "$2" "/tmp/$1.hvc" >/tmp/memory2
	vmm balloon "$1" --size 0 >/tmp/balloon.out 2>&1
	check 'it takes all of it back' wait_balloon "$1" actual_bytes -eq 0
	guest_memory "$2" "/tmp/$1.hvc" >/tmp/memory3
	sed 's/^/#   /' /tmp/memory1 /tmp/memory2 /tmp/memory3
	pages=$((balloon_mib * 256))
	went=$(($(word_after balloon_inflate "$(cat /tmp/memory2)") - $(word_after balloon_inflate "$(cat /tmp/memory1)")))
	check "$went pages went into it" [ "$went" -eq $pages ]
	came=$(($(word_after balloon_deflate "$(cat /tmp/memory3)") - $(word_after balloon_deflate "$(cat /tmp/memory2)")))
	check "$came pages came out again" [ "$came" -eq $pages ]
	# The guest works meanwhile: not to the page.
	free2=$(word_after MemFree: "$(cat /tmp/memory2)") free3=$(word_after MemFree: "$(cat /tmp/memory3)")
	check "it has more free memory without than with it ($free3 KiB, $free2 KiB)" [ $((free3 - free2)) -gt $((balloon_mib * 512)) ]
	check 'it reports free pages' wait_balloon "$1" reported_bytes -gt 0
	note "reported free: $(json reported_bytes "/tmp/$1.balloon.json") bytes"
}

# device_checks NAME PID: a guest that has just booted.
device_checks() {
	open_console "$1" "$2"
	check "bytes of any value go to the port of $1 and back" echoes "$1"
	rng_checks "$1" "$2"
	size_checks "$1" "$2"
	balloon_checks "$1" "$2"
	say "kept=$1-here"
}

# moved_device_checks FIRST NAME PID: the same guest, elsewhere.
moved_device_checks() {
	open_console "$2" "$3"
	ask "$3" "/tmp/$2.hvc" 'echo kept-$kept-' '^kept-.*-'
	check "it is the same shell" grep -q "^kept-$1-here-" "/tmp/$2.hvc"
	check "bytes of any value go to the port of $2 and back" echoes "$2"
	rng_checks "$2" "$3"
}

# hint_checks FROM TO: the migration left out what the guest named free.
hint_checks() {
	# Each round has its own; the sum is the largest.
	free_pages=$(grep -o '"free_pages" *: *[0-9]*' "/tmp/$1-$2.json" | sed 's/.*: *//' | sort -n | tail -n 1)
	check "free pages were left out ($free_pages; \"$(json free_reason "/tmp/$1-$2.json")\")" [ "${free_pages:-0}" -gt 0 ]
}
