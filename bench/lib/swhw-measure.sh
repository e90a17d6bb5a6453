#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The measuring half of bench/sw-vs-hw. It runs on a real host and, with busybox alone, on an emulated one, and so knows of no bash
# and no Python. In each turn, under each of KVM's settings, it runs the benches and the conformance suite and keeps what they
# wrote; swhw_collect.py reads it.
#
#   TURN/SETTING/caps.json         vmm caps
#   TURN/SETTING/facts             lines "KEY VALUE"
#   TURN/SETTING/perf/NAME.jsonl   dirty-log-perf --json-lines, by pattern
#   TURN/SETTING/monitor/, load/   what monitor.sh and migrate-load.sh write
#   TURN/SETTING/conformance       the suite's output, in the first turn
#   TURN/SETTING/failed            lines "STEP STATUS REASON", if any
#
# KVM is loaded anew by the command reload-kvm of the PATH, where --kvm names settings. A setting "accel=MODE" is vmm's own, for
# hosts whose KVM uses the hardware for a VM that asked: everything runs with --dirty-accel MODE.

out='' turns=1 kvm='as-is' steps='conformance perf monitor load' vmm=vmm perf=dirty-log-perf conformance='' emit=''
drivers=${0%/*} limit_s=900
perf_options='-b 64M' perf_runs=1 patterns='sequential:' monitor_options='' monitor_cmdline='' load_options='' load_cmdline=''

fail() {
	echo "sw-vs-hw: $*" >&2
	exit 1
}

while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || fail "$1 needs a value"
	case $1 in
	--out) out=$2 ;;
	--turns) turns=$2 ;;
	--kvm) kvm=$2 ;;
	--steps) steps=$2 ;;
	--vmm) vmm=$2 ;;
	--perf) perf=$2 ;;
	--conformance) conformance=$2 ;;
	--drivers) drivers=$2 ;;
	--perf-options) perf_options=$2 ;;
	--perf-runs) perf_runs=$2 ;;
	--patterns) patterns=$2 ;;
	--monitor-options) monitor_options=$2 ;;
	--monitor-cmdline) monitor_cmdline=$2 ;;
	--load-options) load_options=$2 ;;
	--load-cmdline) load_cmdline=$2 ;;
	--limit) limit_s=$2 ;;
	--emit) emit=$2 ;;
	*) fail "unknown argument $1" ;;
	esac
	shift 2
done
[ -n "$out" ] || fail 'no --out DIRECTORY'

# A step has a process group of its own by timeout(1), which a Ctrl-C at the terminal does not reach.
step_pid=
# shellcheck disable=SC2317,SC2329 # called by the traps
stop() {
	[ -z "$step_pid" ] || kill "$step_pid" 2>/dev/null
	wait
	exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP

# step NAME COMMAND...: a step that fails is written down and the others go on.
step() {
	name=$1
	shift
	echo "# turn $turn, $setting: $name" >&2
	status=0
	timeout "$limit_s" "$@" >"$dir/$name.out" 2>"$dir/$name.log" </dev/null &
	step_pid=$!
	wait "$step_pid" || status=$?
	step_pid=
	[ "$status" -eq 0 ] || echo "$name $status $(tail -n 1 "$dir/$name.log")" >>"$dir/failed"
	return "$status"
}

note_host() {
	"$vmm" caps --json >"$dir/caps.json" || fail 'vmm caps failed'
	{
		echo "kernel $(uname -r)"
		echo "arch $(uname -m)"
		echo "cpus $(grep -c ^processor /proc/cpuinfo)"
		echo "cpu $(sed -n 's/^model name[^:]*: //p; s/^CPU part[^:]*: /part /p' /proc/cpuinfo | head -n 1)"
		echo "memory $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
		for parameter in /sys/module/kvm_*/parameters/pml /sys/module/kvm_*/parameters/ept* /sys/module/kvm_*/parameters/npt \
			/sys/module/kvm/parameters/tdp_mmu /sys/module/kvm/parameters/eager_page_split; do
			[ ! -r "$parameter" ] ||
				echo "$(echo "$parameter" | cut -d / -f 4).${parameter##*/} $(cat "$parameter")"
		done
	} >"$dir/facts"
}

# The backends that `vmm caps` found, in words; with hardware that was asked for, those that it goes with.
offered() {
	case $accel in
	on*)
		echo bitmap manual
		return
		;;
	esac
	awk -F '"' '/"backends":/ { in_list = 1 } in_list && /\]/ { exit }
		in_list && $2 == "name" { name = $4 } in_list && $2 == "state" && $4 == "present" { printf "%s ", name }' \
		"$dir/caps.json"
}

# A pattern is NAME:OPTIONS, the options joined by commas. Patterns take turns as well.
perf_steps() {
	mkdir -p "$dir/perf"
	run=1
	while [ "$run" -le "$perf_runs" ]; do
		for pattern in $patterns; do
			# shellcheck disable=SC2046,SC2086 # several words
			step "perf-${pattern%%:*}" "$perf" $perf_options $(echo "${pattern#*:}" | tr , ' ') \
				${accel:+--dirty-accel "$accel"} --json-lines ||
				true
			cat "$dir/perf-${pattern%%:*}.out" >>"$dir/perf/${pattern%%:*}.jsonl"
		done
		run=$((run + 1))
	done
}

one_step() {
	case $1 in
	perf) perf_steps ;;
	conformance)
		[ -n "$conformance" ] && [ "$turn" -eq 1 ] || return 0
		# shellcheck disable=SC2086 # several words
		step conformance $conformance ${accel:+"--dirty-accel=$accel"} || true
		# The suite speaks of what went well on one stream and of what did not on the other.
		cat "$dir/conformance.out" "$dir/conformance.log" >"$dir/conformance"
		;;
	monitor)
		# shellcheck disable=SC2086 # several words
		step monitor sh "$drivers/monitor.sh" --vmm "$vmm" --out "$dir/monitor" --cmdline "$monitor_cmdline" \
			--dirty "$(offered)" ${accel:+--dirty-accel "$accel"} $monitor_options || true
		;;
	load)
		# shellcheck disable=SC2086 # several words
		step load sh "$drivers/migrate-load.sh" --vmm "$vmm" --out "$dir/load" --cmdline "$load_cmdline" \
			--dirty "$(offered)" ${accel:+--dirty-accel "$accel"} $load_options || true
		;;
	*) fail "no step called $1" ;;
	esac
}

one_setting() {
	dir=$out/$turn/$setting
	mkdir -p "$dir" || fail "cannot create $dir"
	accel=''
	case $setting in
	as-is) ;;
	accel=*) accel=${setting#accel=} ;;
	*)
		if ! reload-kvm "$setting" >"$dir/reload.log" 2>&1; then
			echo "reload-kvm 1 $(tail -n 1 "$dir/reload.log")" >>"$dir/failed"
			emit_step reload
			return
		fi
		;;
	esac
	note_host
	for word in $steps; do
		one_step "$word"
		emit_step "$word"
	done
}

# emit_step STEP: piece by piece, so that what has come out stays out, whatever happens to the host afterwards.
emit_step() {
	[ -n "$emit" ] || return 0
	echo "-----begin results-----"
	(
		cd "$out/$turn/$setting" || exit
		# shellcheck disable=SC2012,SC2046 # a list of names that this script made
		tar -C "$out" -czf - $(ls -d caps.json facts failed reload.log "$1"* 2>/dev/null | sed "s|^|$turn/$setting/|")
	) | base64
	echo "-----end results-----"
}

turn=1
while [ "$turn" -le "$turns" ]; do
	for setting in $kvm; do
		one_setting
	done
	turn=$((turn + 1))
done
