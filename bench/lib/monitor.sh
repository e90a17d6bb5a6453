#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# One guest for each backend goes on working while dirty logging is off, on and unread, on and read at an interval, in turns. Writes
# consoles, the times of the turns by the guest's own clock, and what `vmm dirtyrate` reported into a directory; monitor.py reads it.
#
#   host                      lines "SETTING KEY VALUE"
#   settings                  lines "KEY VALUE": the arguments
#   SETTING.caps.json         vmm caps
#   SETTING.BACKEND.console   all that the guest said
#   SETTING.BACKEND.json      vmm status
#   SETTING.BACKEND.TURN.ARM.json    vmm dirtyrate, of the arms that have logging on
#   turns                     lines "SETTING BACKEND TURN ARM START_T_MS END_T_MS"

load_name=monitor
case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
# shellcheck source=bench/lib/load-common.sh
. "$here/load-common.sh"

dirty='manual bitmap ring' runs=5 seconds=5 interval=1 cpus=1 mem=1G cmdline='' report=200 settle=2

load_options "dirty runs seconds interval cpus mem cmdline report settle" "$@"

# arm OFF|UNREAD|READ TURN: one turn, its times into the file.
one_arm() {
	start=$(vm_t_ms m)
	case $1 in
	off) sleep "$seconds" ;;
	unread) log_for "$seconds" "$2.unread" ;;
	read) log_for "$interval" "$2.read" ;;
	esac
	echo "$setting $backend $2 $1 ${start:-0} $(vm_t_ms m)" >>"$load_out/turns"
}

# in_ms SECONDS: as vmm takes it, which knows of no fractions.
in_ms() {
	awk -v s="$1" 'BEGIN { printf "%dms\n", s * 1000 }'
}

# log_for INTERVAL NAME: logging is on for the time of a turn, read every INTERVAL and at the end.
log_for() {
	"$load_vmm" dirtyrate m --for "$(in_ms "$seconds")" --interval "$(in_ms "$1")" --json >"$load_out/$setting.$backend.$2.json" \
		2>"$load_tmp/dirtyrate.log" || load_fail 'vmm dirtyrate failed'
}

one_backend() {
	vm_start m 4 run --mem "$mem" --cpus "$cpus" --dirty "$backend" --cmdline "$cmdline report=$report"
	vm_wait "$load_boot_s" "$vm_pid" m '^vmm-guest: \(ready\|ERROR\|FAIL\)'
	grep -q '^vmm-guest: ready' "$load_tmp/m.console" || load_fail "the guest does not start: $(tail -n 2 "$load_tmp/m.console")"
	load_status m "$setting.$backend.json"
	vm_wait_reports m "$vm_pid" $((settle * 1000 / report + 1))
	turn=1
	while [ "$turn" -le "$runs" ]; do
		case $((turn % 3)) in
		1) arms='off unread read' ;;
		2) arms='unread read off' ;;
		*) arms='read off unread' ;;
		esac
		for arm in $arms; do
			one_arm "$arm" "$turn"
			echo "# $setting $backend turn $turn $arm" >&2
		done
		turn=$((turn + 1))
	done
	vm_wait_reports m "$vm_pid" 1
	vm_verify 4 "$vm_pid" m
	cp "$load_tmp/m.console" "$load_out/$setting.$backend.console"
}

each_backend() {
	setting=$1
	for backend in $dirty; do
		one_backend
	done
}

load_begin
for key in dirty runs seconds interval cpus mem cmdline report; do
	eval "echo \"$key \$$key\""
done >"$load_out/settings"
load_each_setting each_backend
load_finish
