#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs on the emulated Intel host (see intel-dirty): the same checks with PML and without, which is the one difference between
# the two halves.

# shellcheck source=tests/nested/checks.sh
. /checks.sh

ws_mib=4
conformance_limit_s=600

# in_force WORD: what `vmm caps` says about Intel PML.
in_force() {
	grep -q "^  Intel PML  *$1 " /tmp/caps.out
}

caps() {
	vmm caps >/tmp/caps.out 2>&1 || bail 'vmm caps succeeds'
	check 'vmm caps: the module is kvm_intel' grep -q 'module kvm_intel$' /tmp/caps.out
	case $1 in
	1) check 'vmm caps: Intel PML is present' in_force present ;;
	0)
		check 'vmm caps: Intel PML is absent' in_force absent
		check 'vmm caps: says why' grep -q '^  Intel PML .*kvm_intel\.pml=N' /tmp/caps.out
		;;
	esac
	grep '^  Intel PML' /tmp/caps.out | sed 's/^ */# /'
}

# Not those with guests that never stop: several vCPUs that spin keep the one processor from whoever polls them for minutes.
cases="test_sequential test_random_2_vcpus_2_regions test_more_than_a_ring test_rearm_is_exact test_device_writes
	test_kvm_writes test_after_a_failed_attempt test_running_on_after_finish"
ncases=8

# conformance BACKEND...: these cases of the suite, one check a backend.
conformance() {
	# shellcheck disable=SC2086 # one word a case
	timeout "$conformance_limit_s" test-vmm-dirty-conformance thp $cases "$@" >/tmp/conformance.out 2>&1
	status=$?
	for backend in "$@"; do
		line=$(grep "^conformance backend=\"$backend\" " /tmp/conformance.out)
		case $line in
		*" cases=$ncases failed=0 "*' missed=0 '*) ok "dirty tracking conforms: ${line#conformance }" ;;
		*) not_ok "dirty tracking conforms: backend=\"$backend\" ${line#conformance } (status $status)" ;;
		esac
	done
	[ "$status" -eq 0 ] || grep -v '^\[ RUN\|^\[       OK\|^\[==' /tmp/conformance.out | sed 's/^/#   /'
}

# migration BACKEND ACCELERATOR: the built-in guest writes while it moves from one vmm to another, then looks at each word that
# it wrote.
migration() {
	rm -f /tmp/a.* /tmp/b.* /tmp/a-b.*
	vmm run --name a --mem 32M --cmdline "ws=${ws_mib}M rate=2000 pattern=random report=500" --dirty "$1" \
		--console file:/tmp/a.log </dev/null >/tmp/a.out 2>&1 &
	a=$!
	wait_for $step_limit_s $a '^vmm-guest: t_ms=' /tmp/a.log || bail 'the guest runs'
	ok 'the built-in guest runs'
	[ ! -e /dev/pts/0 ] || bail 'nobody else uses a pty'
	move a b 4444 "$a" pty
	read_pty /tmp/b.log
	wait_for $step_limit_s "$receiver" '^vmm-guest: t_ms=' /tmp/b.log || bail 'the guest runs on'
	ok 'the guest runs on'
	stop_guest "$receiver" /tmp/b.log /tmp/a.log
	check 'the report names the accelerator' grep -q "\"dirty_accel\": *\"$2\"" /tmp/a-b.json
}

# last KEY LINE: its number in the last iteration of a line that dirty-log-perf wrote.
last() {
	echo "$2" | sed -n "s/.*\"$1\":\([0-9]*\).*\"disable_dirty_logging_ns\".*/\1/p"
}

# The hardware at work, whatever anybody says: with write protection each page that is dirtied costs an exit, with PML every
# 512th. Timer interrupts end in exits too, and a full ring does.
exits() {
	dirty-log-perf -b 16M -i 2 -B bitmap,manual,ring --json-lines >/tmp/perf.json 2>/tmp/perf.out ||
		bail 'dirty-log-perf succeeds'
	for backend in bitmap manual ring; do
		line=$(grep "\"backend\":\"$backend" /tmp/perf.json | head -n 1)
		pages=$(last pages_written "$line") found=$(last pages_found "$line")
		missed=$(last pages_missed "$line") exits=$(last exits "$line")
		note "$backend, pml=$1: $pages pages dirtied, $found found, $missed missed, $exits exits"
		check "$backend: 4096 pages are dirtied, none is missed" [ "$pages/$missed" = 4096/0 ]
		case $1 in
		1) check "$backend: one exit for 64 pages or more with PML" [ $((${exits:-4096} * 64)) -le 4096 ] ;;
		0) check "$backend: an exit a page without PML" [ $((${exits:-0} * 10)) -ge $((4096 * 9)) ] ;;
		esac
	done
}

note "host: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cpus"
for pml in 1 0; do
	reload-kvm pml=$pml >/tmp/reload.out 2>&1 || bail "kvm_intel loads with pml=$pml"
	ok "kvm_intel runs with pml=$pml"
	caps $pml
	exits $pml
	# Without PML it is write protection as everywhere else: once is enough.
	case $pml in
	1)
		migration manual intel-pml
		conformance bitmap manual 'ring of 1024'
		;;
	0)
		migration manual none
		conformance manual
		;;
	esac
	note "pml=$pml after $(host_uptime_s) s"
done
check 'no vmm process is left' sh -c '! pidof vmm >/dev/null'
scenario_end
