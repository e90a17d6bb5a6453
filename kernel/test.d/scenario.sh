#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs on an emulated arm64 host with the kernel of the series (see kernel/test): present, conformance, absent or mutant.

# shellcheck source=tests/nested/checks.sh
. /checks.sh

step=$1
case_limit_s=1200

# by_group FILE: a check for each group of cases that FILE, the output of cmocka's programs, tells of, and the cases that failed.
by_group() {
	awk '
		/^group / { group = substr($0, 7); failed = "" }
		/^\[  FAILED  \] test_/ && index(failed " ", " " $4 " ") == 0 { failed = failed " " $4 }
		/^end of group / {
			if ($NF == "failed=0" && failed == "")
				print "ok - " group ": " $4
			else
				print "not ok - " group ":" failed
			group = ""
		}
		END { if (group != "") print "not ok - " group ": did not end" }' "$1" >/tmp/groups
	cat /tmp/groups
	failed=$((failed + $(grep -c '^not ok' /tmp/groups)))
	grep '^exits ' "$1" | sed 's/^/# /'
	grep ': error: \|was lost\|exits, .* expected\|pages missed\|pages invented' "$1" | head -n 20 | sed 's/^/# /'
}

# dirty_log WORD [MODE]
dirty_log() {
	timeout "$case_limit_s" test-arm64-dirty-log "$@" >/tmp/dirty-log.out 2>&1
	status=$?
	by_group /tmp/dirty-log.out
	if [ "$status" -gt 1 ] || ! grep -q "^dirty-log $1 failed=" /tmp/dirty-log.out; then
		not_ok "test-arm64-dirty-log ends (status $status)"
		quote /tmp/dirty-log.out
	fi
}

# conformance ACCEL WORD...: the suite with these arguments; one check for each backend and backing of the memory.
conformance() {
	accel=$1
	shift
	timeout "$case_limit_s" test-vmm-dirty-conformance "--dirty-accel=$accel" "$@" >/tmp/conformance.out 2>&1
	status=$?
	grep '^conformance ' /tmp/conformance.out >/tmp/conformance.lines
	while read -r line; do
		case $line in
		*' failed=0 '*' missed=0 '*) ok "$accel: $line" ;;
		*) not_ok "$accel: $line" ;;
		esac
	done </tmp/conformance.lines
	check "$accel $*: the suite ends well (status $status)" [ "$status" -eq 0 ]
	[ "$status" -eq 0 ] || grep -v '^\[ RUN\|^\[       OK\|^\[==' /tmp/conformance.out | tail -n 30 | sed 's/^/#   /'
}

# What `vmm caps` says of the accelerator.
caps() {
	vmm caps >/tmp/caps.out 2>&1 || bail 'vmm caps succeeds'
	check "vmm caps: the combined log is $1" grep -q "^  arm64 combined log  *$1 " /tmp/caps.out
	grep '^  arm64' /tmp/caps.out | sed 's/^ */# /'
}

complaints() {
	dmesg | grep -i 'warning:\|bug:\|call trace\|rcu.*stall\|blocked for more' >/tmp/complaints
	check 'the kernel has no complaint' [ ! -s /tmp/complaints ]
	[ ! -s /tmp/complaints ] || dmesg | grep -A 25 -i 'warning:\|bug:\|call trace\|stall' | head -n 60 | sed 's/^/#   /'
}

note "host: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cpus, part $(sed -n 's/^CPU part.*: //p' /proc/cpuinfo | head -n 1)"
check 'the kernel is ours' sh -c 'uname -r | grep -q combined-log'
case $step in
present)
	caps present
	dirty_log present
	;;
conformance)
	conformance on bitmap manual thp
	conformance on --no-eager-split manual thp 4k
	conformance on,group=all manual thp
	;;
absent)
	caps absent
	dirty_log absent
	;;
mutant)
	dirty_log present on,group=64
	;;
*) bail "no step called $step" ;;
esac
complaints
note "$step after $(host_uptime_s) s"
scenario_end
