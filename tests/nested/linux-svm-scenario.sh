#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs inside the nested host (see linux-svm): starts a stock Linux under vmm, moves it twice and looks
# at it. One line "ok - WHAT" or "not ok - WHAT" for each check, "# ..." for everything else, "end" last.
#
#   a  started with the console in a file; counts; moves to b
#   b  received with the console in a file; counts on; moves to c
#   c  received with the console on a pty: a shell answers; "poweroff" ends it
#   d  started with the console on stdio: "reboot" ends it or starts it afresh
#
# shellcheck disable=SC2016 # commands in single quotes are for the guest's shell to expand
#
# The limits below are for machines that are busy and emulated; nothing waits when it need not.

# shellcheck source=tests/nested/checks.sh
. /checks.sh

boot_limit_s=300
count_limit_s=60

mem=256M
cmdline='console=ttyS0 quiet panic=-1'
[ "${1:-}" != --verbose ] || cmdline='console=ttyS0 panic=-1'

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

# guest_says KEY=VALUE: on the line that the guest's init prints.
guest_says() {
	grep -q "^guest .*\b$1\b" /tmp/a.log
}

# say COMMAND: types it into the shell of c.
say() {
	printf '%s\n' "$1" >/dev/pts/0
}

start_s=$(host_uptime_s)
elapsed() {
	note "$1 after $(awk -v a="$start_s" -v b="$(host_uptime_s)" 'BEGIN { printf "%.1f", b - a }') s"
}

note "host: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cpus, npt=$(cat /sys/module/kvm_amd/parameters/npt)"

# --- a: boots, with two processors, kvmclock and ACPI; counts -------------------------------------
vmm run --name a --cpus 2 --mem $mem --kernel /vmlinuz --initrd /l2.cpio --cmdline "$cmdline" \
	--console file:/tmp/a.log </dev/null >/tmp/a.out 2>&1 &
a=$!
wait_for $boot_limit_s $a '^count 5 ' /tmp/a.log || bail 'a stock Debian kernel boots and counts'
elapsed 'the guest counts'
ok 'a stock Debian kernel boots and counts'
check 'the guest has 2 processors online' guest_says cpus=2
check "the guest's clocksource is kvm-clock" guest_says clocksource=kvm-clock
check "the guest's kernel found kvmclock" guest_says kvmclock=1
check "the guest's ACPI supports S5" guest_says acpi-off=1
grep '^guest ' /tmp/a.log | tr -d '\r' | sed 's/^/# /'
wait_counts /tmp/a.log 10 $a || bail 'the guest goes on counting before any migration'
offset_a_ms=$(clock_offset_ms /tmp/a.log)

# --- a moves to b and counts on ----------------------------------------------------------------
move a b 4444 $a file:/tmp/b.log
b=$receiver
elapsed 'moved to b'
wait_for $count_limit_s $b '^count [0-9]* ' /tmp/b.log || bail 'the guest counts on as b'
wait_counts /tmp/b.log 20 $b || bail 'the guest goes on counting as b'
ok 'the guest goes on counting as b'
check 'no number is lost or repeated as a' contiguous /tmp/a.log
check 'no number is lost or repeated as b' contiguous /tmp/b.log
check 'no byte of the console is lost between a and b' contiguous /tmp/a.log /tmp/b.log
drift_ms=$(($(clock_offset_ms /tmp/b.log) - offset_a_ms))
# Two readings by polling, a guest that prints five times a second, and at most the downtime.
check "the guest's clock did not jump (moved by $drift_ms ms against the host's)" within $drift_ms 2000

# --- b moves to c, whose shell answers -----------------------------------------------------------
[ ! -e /dev/pts/0 ] || bail 'nobody else uses a pty'
move b c 4445 $b pty
c=$receiver
elapsed 'moved to c'
# A terminal program would do the same to its side.
stty -F /dev/pts/0 raw -echo
cat /dev/pts/0 >/tmp/c.log 2>/dev/null &
reader=$!
wait_for $count_limit_s $c '^count [0-9]* ' /tmp/c.log || bail 'the guest counts on as c'
wait_counts /tmp/c.log 10 $c || bail 'the guest goes on counting as c'
ok 'the guest goes on counting as c'
check 'no number is lost or repeated as c' contiguous /tmp/c.log
missed=$(($(first_count /tmp/c.log) - $(last_count /tmp/b.log)))
check "c counts on from b's last number (first $missed later)" [ "$missed" -ge 1 ]
drift_ms=$(($(clock_offset_ms /tmp/c.log) - offset_a_ms))
check "the guest's clock did not jump in two moves (moved by $drift_ms ms)" within $drift_ms 3000

say ''
say 'echo answer-$((6 * 7))'
wait_for $step_limit_s $c 'answer-42' /tmp/c.log || bail 'the shell answers'
ok 'the shell on the serial console answers'
say 'sha1sum -c /tmp/data.sum; echo sum-$?'
wait_for $step_limit_s $c 'sum-[0-9]' /tmp/c.log
check "the guest's memory is as it was" grep -q 'sum-0' /tmp/c.log
say 'taskset 1 true && taskset 2 true; echo processors-$?'
wait_for $step_limit_s $c 'processors-[0-9]' /tmp/c.log
check 'both processors still run programs' grep -q 'processors-0' /tmp/c.log
say 'echo clock-$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)'
wait_for $step_limit_s $c 'clock-[a-z]' /tmp/c.log
check 'the clocksource is still kvm-clock' grep -q 'clock-kvm-clock' /tmp/c.log
say complaints
wait_for $step_limit_s $c 'complaints-[0-9]' /tmp/c.log
check 'the kernel complains about nothing' grep -q 'complaints-0' /tmp/c.log
grep -q 'complaints-0' /tmp/c.log || quote /tmp/c.log
# Worth knowing, but an emulated and busy host makes the guest's watchdog see skew by itself at times.
grep -q 'skew-0' /tmp/c.log || note "the guest's kernel saw its TSC and kvmclock run apart"

say 'poweroff -f'
wait_end $step_limit_s $c
status=$?
check "poweroff in the guest ends vmm with status 0 (it was $status)" [ "$status" -eq 0 ]
[ "$status" -eq 0 ] || quote /tmp/c.out
kill $reader 2>/dev/null
elapsed 'powered off'

# --- d: reboots ------------------------------------------------------------------------------------
mkfifo /tmp/d.in
vmm run --name d --cpus 1 --mem $mem --kernel /vmlinuz --initrd /l2.cpio --cmdline "$cmdline" \
	--console stdio </tmp/d.in >/tmp/d.log 2>/tmp/d.out &
d=$!
exec 4>/tmp/d.in
wait_for $boot_limit_s $d '^count 5 ' /tmp/d.log || bail 'a second guest boots, on stdio'
elapsed 'a second guest counts'
ok 'a second guest boots, with 1 processor and its console on stdio'
printf '\nreboot -f\n' >&4
# A reset either ends vmm or starts the guest afresh: both are an orderly end of the old one.
boots() {
	grep -c '^guest ' /tmp/d.log
}
deadline=$(($(date +%s) + boot_limit_s))
while alive $d && [ "$(boots)" -lt 2 ] && [ "$(date +%s)" -lt $deadline ]; do
	sleep 0.2
done
if alive $d && [ "$(boots)" -ge 2 ]; then
	ok 'reboot in the guest starts it afresh'
	elapsed 'it boots again'
	printf '\npoweroff -f\n' >&4
	wait_end $step_limit_s $d
	status=$?
	check "poweroff after a reboot ends vmm with status 0 (it was $status)" [ "$status" -eq 0 ]
else
	wait_end 1 $d
	status=$?
	check "reboot in the guest ends vmm with status 0 (it was $status)" [ "$status" -eq 0 ]
fi
quote /tmp/d.out 3
exec 4>&-
elapsed 'rebooted'

check 'no vmm process is left' sh -c '! pidof vmm >/dev/null'
scenario_end
