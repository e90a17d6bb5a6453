# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What the scenarios with a Linux guest share, whose first process is l2-init.sh; lies beside /checks.sh on the hosts and comes
# after it.
#
# shellcheck disable=SC2016 # commands in single quotes are for the guest's shell to expand
# shellcheck disable=SC2154 # step_limit_s, receiver: checks.sh

boot_limit_s=300
count_limit_s=60

# counts FILE...: "N UPTIME" for each whole line "count N UPTIME" of the consoles joined. The guest's
# CR is what tells a whole line from one that is still being written.
counts() {
	cat "$@" | awk '/^count [0-9]+ [0-9.]+\r$/ { sub(/\r$/, ""); print $2, $3 }'
}

first_count() {
	counts "$1" | head -n 1 | cut -d ' ' -f 1
}

last_count() {
	counts "$1" | tail -n 1 | cut -d ' ' -f 1
}

last_uptime_s() {
	counts "$1" | tail -n 1 | cut -d ' ' -f 2
}

# wait_counts FILE MORE PID: until the guest has counted MORE further.
wait_counts() {
	from=$(last_count "$1")
	target=$((${from:-0} + $2))
	deadline=$(($(date +%s) + count_limit_s))
	while :; do
		now=$(last_count "$1")
		[ "${now:-0}" -lt "$target" ] || return 0
		alive "$3" || return 1
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}

# contiguous FILE...: in all of them joined each number is the one before plus 1, no uptime is less
# than the one before, and there are at least 10.
contiguous() {
	counts "$@" | awk '
		n && $1 != last + 1 { bad = 1; print "#   " last " is followed by " $1 }
		n && $2 + 0 < uptime { bad = 1; print "#   uptime " uptime " is followed by " $2 }
		{ last = $1; uptime = $2 + 0; n++ }
		END { print "#   " n + 0 " numbers, the last is " last; exit bad || n < 10 }'
}

# clock_offset_ms FILE: how far the host's uptime is ahead of the guest's, in ms, seen just after the
# guest said its own. It stays the same as long as the guest's clock neither jumps nor stops.
clock_offset_ms() {
	before=$(last_count "$1")
	tries=0
	while now=$(last_count "$1") && [ "$now" = "$before" ] && [ "$tries" -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	awk -v h="$(host_uptime_s)" -v g="$(last_uptime_s "$1")" 'BEGIN { printf "%d\n", (h - g) * 1000 }'
}

# within VALUE LIMIT: |VALUE| <= LIMIT
within() {
	[ "$1" -le "$2" ] && [ "$1" -ge "-$2" ]
}

# guest_says FILE KEY=VALUE: on the line that the guest's init prints.
guest_says() {
	grep -q "^guest .*\b$2\b" "$1"
}

start_s=$(host_uptime_s)
elapsed() {
	note "$1 after $(awk -v a="$start_s" -v b="$(host_uptime_s)" 'BEGIN { printf "%.1f", b - a }') s"
}

# single_pages: on the arm64 host, before a Linux guest that moves. Its tables are written by the processor's walk, and where such a write
# meets the write protection of the second stage, QEMU 7.2 reports the level at which the walk stood instead of the second stage's. KVM
# takes the 2 MiB block that is there for a page then: all of it becomes writable and one page is logged. With pages alone both levels
# are the same.
single_pages() {
	[ "$(uname -m)" != aarch64 ] || echo never >/sys/kernel/mm/transparent_hugepage/enabled
}

# run_linux NAME CPUS KERNEL CONSOLE: becomes vmm with that guest; for the background, where $! is then its process. The caller has
# set mem and cmdline.
run_linux() {
	exec vmm run --name "$1" --cpus "$2" --mem "$mem" --kernel "$3" --initrd /l2.cpio --cmdline "$cmdline" --console "$4"
}

# Where the guest's shell is.
console_pty=/dev/pts/0

# say COMMAND: types it into the shell on the pty.
say() {
	printf '%s\n' "$1" >"$console_pty"
}

# ask PID LOG COMMAND PATTERN: types it, and waits for the answer in LOG.
ask() {
	say "$3"
	wait_for "$step_limit_s" "$1" "$4" "$2"
}

# shell_checks PID LOG CLOCKSOURCE: the guest on the pty, whose output goes to LOG, two processors in it: what it was it still is.
shell_checks() {
	say ''
	ask "$1" "$2" 'echo answer-$((6 * 7))' 'answer-42' || bail 'the shell answers'
	ok 'the shell on the serial console answers'
	ask "$1" "$2" 'sha1sum -c /tmp/data.sum; echo sum-$?' 'sum-[0-9]'
	check "the guest's memory is as it was" grep -q 'sum-0' "$2"
	ask "$1" "$2" 'taskset 1 true && taskset 2 true; echo processors-$?' 'processors-[0-9]'
	check 'both processors still run programs' grep -q 'processors-0' "$2"
	ask "$1" "$2" 'echo clock-$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)' 'clock-[a-z]'
	check "the clocksource is still $3" grep -q "clock-$3" "$2"
	ask "$1" "$2" complaints 'complaints-[0-9]'
	check 'the kernel complains about nothing' grep -q 'complaints-0' "$2"
	grep -q 'complaints-0' "$2" || quote "$2"
}

# poweroff_checks NAME PID: the guest on the pty ends.
poweroff_checks() {
	say 'poweroff -f'
	wait_end "$step_limit_s" "$2"
	status=$?
	check "poweroff in the guest ends vmm with status 0 (it was $status)" [ "$status" -eq 0 ]
	[ "$status" -eq 0 ] || quote "/tmp/$1.out"
}

# boots FILE: how often a guest has started.
boots() {
	grep -c '^guest ' "$1"
}

# reboot_checks NAME KERNEL: a guest with one processor and its console on stdio. A reset either ends vmm or starts the guest
# afresh: both are an orderly end of the old one.
reboot_checks() {
	mkfifo "/tmp/$1.in"
	run_linux "$1" 1 "$2" stdio <"/tmp/$1.in" >"/tmp/$1.log" 2>"/tmp/$1.out" &
	rebooting=$!
	exec 4>"/tmp/$1.in"
	wait_for $boot_limit_s $rebooting '^count 5 ' "/tmp/$1.log" || bail 'a second guest boots, on stdio'
	elapsed 'a second guest counts'
	ok 'a second guest boots, with 1 processor and its console on stdio'
	printf '\nreboot -f\n' >&4
	deadline=$(($(date +%s) + boot_limit_s))
	while alive $rebooting && [ "$(boots "/tmp/$1.log")" -lt 2 ] && [ "$(date +%s)" -lt $deadline ]; do
		sleep 0.2
	done
	if alive $rebooting && [ "$(boots "/tmp/$1.log")" -ge 2 ]; then
		ok 'reboot in the guest starts it afresh'
		elapsed 'it boots again'
		printf '\npoweroff -f\n' >&4
		wait_end "$step_limit_s" $rebooting
		status=$?
		check "poweroff after a reboot ends vmm with status 0 (it was $status)" [ "$status" -eq 0 ]
	else
		wait_end 1 $rebooting
		status=$?
		check "reboot in the guest ends vmm with status 0 (it was $status)" [ "$status" -eq 0 ]
	fi
	quote "/tmp/$1.out" 3
	exec 4>&-
	elapsed 'rebooted'
}
