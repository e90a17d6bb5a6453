#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs on the emulated arm64 host (see arm64): what vmm says about it, the test programs, the built-in guest and a stock Linux, which
# move from one vmm to the next and are looked at in the end.

# shellcheck source=tests/nested/checks.sh
. /checks.sh

# Saving and restoring two vCPUs, a register a call, takes the emulated host a second and more.
# shellcheck disable=SC2034 # for checks.sh
step_limit_s=180 migrate_options='--max-downtime 8s'
cpu='' moves=1 parts='' leave_out='' quiet=quiet
while [ $# -gt 0 ]; do
	case $1 in
	--cpu) cpu=$2 ;;
	--moves) moves=$2 ;;
	--parts) parts=$2 ;;
	--leave-out) leave_out=$2 ;;
	--verbose)
		quiet=''
		shift
		continue
		;;
	esac
	shift 2
done

# The kernel's own words, once a boot.
kernel_says() {
	dmesg | grep -q "$1"
}

host_checks() {
	case $cpu in
	cortex-a72)
		check 'the host runs KVM beside the kernel (nVHE)' kernel_says 'Hyp nVHE mode initialized'
		check 'its processors have no dirty state in their tables' sh -c '! dmesg | grep -q "Hardware dirty bit management"'
		;;
	cortex-a76)
		check 'the host runs KVM in the kernel (VHE)' kernel_says ' VHE mode initialized'
		check 'its processors set the dirty state' kernel_says 'Hardware dirty bit management'
		;;
	esac
	check 'its interrupt controller is a GICv3 with ITS' kernel_says 'ITS \[mem'
}

caps() {
	vmm caps >/tmp/caps.out 2>&1
	status=$?
	check "vmm caps succeeds (status $status)" [ "$status" -eq 0 ]
	sed 's/^/#   /' /tmp/caps.out
	# Debian's kernel cannot do it, whatever the processor can.
	check 'vmm caps: no combined log with a stock kernel, and why' grep -q '^  arm64 combined log  *absent .' /tmp/caps.out
}

# test_programs SUITE: its own checks, one a program.
test_programs() {
	sed "/^run ${leave_out:-none} /d" "/$1-tests.sh" >/tmp/tests.sh
	sh /tmp/tests.sh 2>&1 | tee "/tmp/$1.tests" | awk '!/^  \| / { print; fflush() }'
	failed=$((failed + $(grep -c '^not ok - ' "/tmp/$1.tests")))
	# What the programs said themselves, but for the cases that went well.
	! grep -q '^not ok - ' "/tmp/$1.tests" ||
		sed -n '/\[ RUN\|\[       OK/d; s/^  | /#   /p' "/tmp/$1.tests" | tail -n 60
	check "the $1 tests ran" grep -q '^ok - ' "/tmp/$1.tests"
}

# The tests of whole machines, as on any host.
machine_tests() {
	tar -C / -xf /python.tar || bail 'Python unpacks'
	rm /python.tar
	for file in /machine/test_*.py; do
		[ "${file##*/}" != test_soak.py ] || continue
		{
			VMM=/bin/vmm VMM_TEST_SLOW=8 timeout 3000 /usr/bin/python3 -B "$file" 2>&1
			echo $? >/tmp/machine.status
		} | tee /tmp/machine.tests |
			awk -v name="${file##*/test_}" '/ok - / { sub(/ok - /, "&" name ": ") } !/ok - / { $0 = "#   " $0 } { print; fflush() }'
		status=$(cat /tmp/machine.status)
		failed=$((failed + $(grep -c '^not ok - ' /tmp/machine.tests)))
		check "${file##*/} ends (status $status)" [ "$status" -le 1 ]
	done
}

# backend N: what the Nth process tracks with; each of them in turn.
backend() {
	case $(($1 % 3)) in
	0) echo bitmap ;;
	1) echo manual ;;
	2) echo ring ;;
	esac
}

# move_on NAME CONSOLE PATTERN: from NAME-(n-1), process $source, to NAME-n, until a line of its console matches.
move_on() {
	move "$1-$((n - 1))" "$1-$n" $((4444 + n)) "$source" "$2" --dirty "$(backend "$n")"
	source=$receiver
	[ "$2" != pty ] || read_pty "/tmp/$1-$n.log"
	wait_for $step_limit_s "$source" "$3" "/tmp/$1-$n.log" || bail "the guest runs on as $1-$n"
}

# move_all NAME PATTERN: so many times; the last one has its console on a pty.
move_all() {
	[ ! -e /dev/pts/0 ] || bail 'nobody else uses a pty'
	n=1
	while [ "$n" -lt "$moves" ]; do
		move_on "$1" "file:/tmp/$1-$n.log" "$2"
		n=$((n + 1))
	done
	move_on "$1" pty "$2"
	ok "the guest runs on after each of $moves moves"
}

# The built-in guest: every word that it wrote, on two processors.
builtin_guest() {
	report='^vmm-guest: t_ms='
	vmm run --name g-0 --cpus 2 --mem 64M --dirty "$(backend 0)" --console file:/tmp/g-0.log \
		--cmdline 'ws=8M cpus=2 rate=2000 pattern=random fill=sparse fillsize=24M report=300' </dev/null >/tmp/g-0.out 2>&1 &
	source=$!
	wait_for $step_limit_s $source "$report" /tmp/g-0.log || bail 'the built-in guest runs'
	ok 'the built-in guest runs'
	move_all g "$report"
	stop_guest "$source" "/tmp/g-$moves.log" /tmp/g-[0-9]*.log
}

# logs NAME: the consoles in the order of the moves, but for the last, the pty: what the guest wrote before its reader came is gone.
logs() {
	i=0
	while [ "$i" -lt "$moves" ]; do
		echo "/tmp/$1-$i.log"
		i=$((i + 1))
	done
}

linux() {
	# shellcheck source=tests/nested/linux-checks.sh
	. /linux-checks.sh
	single_pages
	# shellcheck disable=SC2034 # for run_linux
	mem=256M cmdline="console=ttyS0 $quiet panic=-1"
	run_linux l-0 2 /vmlinuz file:/tmp/l-0.log </dev/null >/tmp/l-0.out 2>&1 &
	source=$!
	wait_for $boot_limit_s $source '^count 5 ' /tmp/l-0.log || bail 'a stock Debian kernel boots and counts'
	elapsed 'the guest counts'
	ok 'a stock Debian kernel boots and counts'
	grep '^guest ' /tmp/l-0.log | tr -d '\r' | sed 's/^/# /'
	for fact in cpus=2 clocksource=arch_sys_counter psci=1 gicv3=1 its=1 rtc=rtc-pl031; do
		check "the guest says $fact" guest_says /tmp/l-0.log "$fact"
	done
	started_s=$(sed -n 's/^guest .* time=\([0-9]*\).*/\1/p' /tmp/l-0.log)
	check "the guest's clock shows the host's time of day" within $((started_s - $(date +%s))) $boot_limit_s
	offset_ms=$(clock_offset_ms /tmp/l-0.log)
	move_all l '^count [0-9]* '
	elapsed 'moved on'
	wait_counts "/tmp/l-$moves.log" 10 "$source" || bail 'the guest goes on counting'
	# shellcheck disable=SC2046 # one word a file
	check 'no number is lost or repeated, no byte of the console is lost between two of them' contiguous $(logs l)
	check 'no number is lost or repeated by the last' contiguous "/tmp/l-$moves.log"
	missed=$(($(first_count "/tmp/l-$moves.log") - $(last_count "/tmp/l-$((moves - 1)).log")))
	check "the last counts on (first $missed later)" [ "$missed" -ge 1 ]
	drift_ms=$(($(clock_offset_ms "/tmp/l-$moves.log") - offset_ms))
	check "the guest's clock did not jump (moved by $drift_ms ms against the host's)" within $drift_ms 3000
	shell_checks "$source" "/tmp/l-$moves.log" arch_sys_counter
	poweroff_checks "l-$moves" "$source"
	kill "$reader" 2>/dev/null
	elapsed 'powered off'
	reboot_checks r /vmlinuz.gz
}

thp=/sys/kernel/mm/transparent_hugepage/enabled
note "host: $(uname -r), $cpu, $(grep -c ^processor /proc/cpuinfo) cpus"
for part in $parts; do
	case $part in
	caps)
		host_checks
		caps
		;;
	unit) test_programs unit ;;
	kvm) test_programs integration ;;
	machine) machine_tests ;;
	guest) builtin_guest ;;
	devices)
		# shellcheck source=tests/nested/arm64-devices.sh
		. /arm64-devices.sh
		devices
		;;
	linux)
		huge_pages=$(sed 's/.*\[\(.*\)\].*/\1/' "$thp")
		linux
		echo "$huge_pages" >"$thp"
		;;
	esac
	note "$part after $(host_uptime_s) s"
done
check 'no vmm process is left' sh -c '! pidof vmm >/dev/null'
scenario_end
