#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A guest serves a fixed number of requests, in turns without a migration and with one under each backend. Afterwards the guest
# prints the checksum of its memory, moves once more with the load over, prints it again, and verifies all it owns. Writes consoles,
# reports and times into a directory; load_migrate.py reads it.
#
#   host, settings, SETTING.caps.json   as monitor.sh
#   SETTING.TURN.ARM.console            all that the guest said, from both ends; ARM is a backend or none
#   SETTING.TURN.ARM.json               vmm migrate: the rounds, the report last
#   SETTING.TURN.ARM.status.json        vmm status before
#   turns                               lines "SETTING TURN ARM START_T_MS REPORTS": the guest's own clock in its last report
#                                       before the command, and how many reports of the console are the source's

load_name=migrate-load
case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
# shellcheck source=bench/lib/load-common.sh
. "$here/load-common.sh"

dirty='manual bitmap ring' runs=5 cpus=1 mem=1G cmdline='' report=100 lead=10 options='--compress none --on-timeout switch'

load_options "dirty runs cpus mem cmdline report lead options" "$@"

start_guest() {
	vm_start a 4 run --mem "$mem" --cpus "$cpus" --dirty "$1" --cmdline "$cmdline report=$report"
	a=$vm_pid
	vm_wait "$load_boot_s" "$a" a '^vmm-guest: \(ready\|ERROR\|FAIL\)'
	grep -q '^vmm-guest: ready' "$load_tmp/a.console" || load_fail "the guest does not start: $(tail -n 2 "$load_tmp/a.console")"
}

# move FROM PID TO DESCRIPTOR REPORT: the receiver's process id in $vm_pid.
move() {
	vm_start "$3" "$4" receive --listen 127.0.0.1:0 --dirty "$backend"
	address=$(vm_address "$3" "$vm_pid") || exit 1
	start=$(vm_t_ms "$1")
	# shellcheck disable=SC2086 # several words
	"$load_vmm" migrate "$1" --to "$address" --json $options >"$5" 2>"$load_tmp/migrate.log" || load_fail 'vmm migrate failed'
	vm_wait_end "$load_step_s" "$2" "$1"
}

# wait_done NAME DESCRIPTOR PID: until the load is over; then the checksum.
wait_done() {
	vm_wait "$load_step_s" "$3" "$1" '^vmm-guest: done '
	ask_sum "$@"
}

ask_sum() {
	vm_type "$2" c
	vm_wait "$load_step_s" "$3" "$1" '^vmm-guest: \(ram\|note\) '
}

without_migration() {
	start_guest auto
	load_status a "$name.status.json"
	vm_wait_reports a "$a" "$lead"
	echo "$setting $turn $arm $(vm_t_ms a) 0" >>"$load_out/turns"
	vm_type 4 g
	wait_done a 4 "$a"
	vm_verify 4 "$a" a
	cp "$load_tmp/a.console" "$load_out/$name.console"
}

with_migration() {
	start_guest "$backend"
	load_status a "$name.status.json"
	vm_wait_reports a "$a" "$lead"
	vm_type 4 g
	move a "$a" b 5 "$load_out/$name.json"
	b=$vm_pid
	grep -q '^vmm-guest: done' "$load_tmp/a.console" && load_fail 'the load was over before the guest moved: more requests'
	echo "$setting $turn $arm ${start:-0} $(grep -c '^vmm-guest: t_ms=.* bad=' "$load_tmp/a.console")" >>"$load_out/turns"
	wait_done b 5 "$b"
	move b "$b" c 6 "$load_tmp/second.json"
	ask_sum c 6 "$vm_pid"
	vm_verify 6 "$vm_pid" c
	cat "$load_tmp/a.console" "$load_tmp/b.console" "$load_tmp/c.console" >"$load_out/$name.console"
}

one_arm() {
	name=$setting.$turn.$arm
	backend=$arm
	if [ "$arm" = none ]; then
		without_migration
	else
		with_migration
	fi
	echo "# $setting turn $turn $arm" >&2
}

# rotate N WORD...: the words, beginning with the one behind the first N.
rotate() {
	by=$1
	shift
	by=$((by % $#))
	while [ "$by" -gt 0 ]; do
		first=$1
		shift
		set -- "$@" "$first"
		by=$((by - 1))
	done
	echo "$*"
}

each_turn() {
	setting=$1
	turn=1
	while [ "$turn" -le "$runs" ]; do
		# shellcheck disable=SC2086 # several words
		for arm in $(rotate $((turn - 1)) none $dirty); do
			one_arm
		done
		turn=$((turn + 1))
	done
}

load_begin
for key in dirty runs cpus mem cmdline report options; do
	eval "echo \"$key \$$key\""
done >"$load_out/settings"
echo 'moves 2' >>"$load_out/settings"
load_each_setting each_turn
load_finish
