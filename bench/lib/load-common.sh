# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What the scripts that drive guests under load share. They run on a real host and, with busybox alone, on an emulated one,
# which is why they know of no bash and no Python: they write what they see into a directory, and others make sense of it.
#
# The script sets load_name to its own name and calls load_begin before anything else.

: "${load_name:?}"
load_vmm=vmm load_out='' load_emit='' load_tmp='' load_pids='' load_kvm_settings='' load_accel=''
# Nothing waits when it need not; these are for machines that are busy or emulated.
: "${load_boot_s:=120}" "${load_step_s:=120}" "${load_poll_s:=0.05}"

load_fail() {
	echo "$load_name: $*" >&2
	for log in "$load_tmp"/*.log; do
		[ ! -s "$log" ] || tail -n 4 "$log" | sed "s|^|$load_name: ${log##*/}: |" >&2
	done
	exit 1
}

# shellcheck disable=SC2317,SC2329 # called by the trap
load_end() {
	for pid in $load_pids; do
		kill -9 "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	rm -rf "$load_tmp"
}

# load_begin: a place for sockets and logs that goes with the script.
load_begin() {
	[ -n "$load_out" ] || load_fail 'no --out DIRECTORY'
	load_tmp=$(mktemp -d) || exit 1
	trap load_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir -p "$load_out" || exit 1
	export VMM_RUNTIME_DIR="$load_tmp/run"
	mkdir -m 0700 "$VMM_RUNTIME_DIR" || exit 1
}

# load_options "NAME..." ARGUMENT...: takes the command line apart. --NAME VALUE sets the variable of that name, for the script's own names and
# for those that all scripts have.
load_options() {
	load_names=" $1 "
	shift
	while [ $# -gt 0 ]; do
		if [ "$1" = --emit ]; then
			load_emit=1
			shift
			continue
		fi
		[ $# -ge 2 ] || load_fail "$1 needs a value"
		case $1 in
		--vmm) load_vmm=$2 ;;
		--out) load_out=$2 ;;
		--kvm) load_kvm_settings=$2 ;;
		--dirty-accel) load_accel=$2 ;;
		--*[!a-z]*) load_fail "unknown argument $1" ;;
		*)
			case $load_names in
			*" ${1#--} "*) eval "${1#--}=\$2" ;; # a name of the list and nothing else
			*) load_fail "unknown argument $1" ;;
			esac
			;;
		esac
		shift 2
	done
}

# load_each_setting FUNCTION: calls it for each of KVM's settings asked for, such as "pml=0 pml=1", after reloading KVM with it;
# once, with "as-is", where none was.
load_each_setting() {
	if [ -z "$load_kvm_settings" ]; then
		load_note_host as-is
		"$1" as-is
		return
	fi
	for setting in $load_kvm_settings; do
		reload-kvm "$setting" >"$load_tmp/reload.log" 2>&1 || load_fail "reload-kvm $setting failed"
		load_note_host "$setting"
		"$1" "$setting"
	done
}

# load_note_host SETTING: what the figures were taken on, a line "SETTING KEY VALUE" each.
load_note_host() {
	{
		echo "$1 kernel $(uname -r)"
		echo "$1 cpus $(grep -c ^processor /proc/cpuinfo)"
		echo "$1 cpu $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
		echo "$1 memory $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
		for parameter in /sys/module/kvm_intel/parameters/pml /sys/module/kvm_intel/parameters/ept \
			/sys/module/kvm_intel/parameters/eptad /sys/module/kvm_amd/parameters/npt /sys/module/kvm_amd/parameters/pml; do
			[ ! -r "$parameter" ] || echo "$1 $(echo "$parameter" | cut -d / -f 4).${parameter##*/} $(cat "$parameter")"
		done
	} >>"$load_out/host"
	"$load_vmm" caps --json >"$load_out/$1.caps.json" 2>"$load_tmp/caps.log" || load_fail 'vmm caps failed'
}

# --- VMs: each has its console in $load_tmp/NAME.console and its keyboard on a descriptor, 4 to 6 ---

# vm_start NAME DESCRIPTOR COMMAND OPTION...: its process id in $vm_pid.
vm_start() {
	vm_name=$1 vm_fd=$2
	shift 2
	rm -f "$load_tmp/$vm_name.in"
	mkfifo "$load_tmp/$vm_name.in" || load_fail 'cannot create a fifo'
	# For reading as well, so that opening does not wait and the guest never sees an end.
	eval "exec $vm_fd<>\"$load_tmp/$vm_name.in\""
	: >"$load_tmp/$vm_name.console"
	[ -z "$load_accel" ] || set -- "$@" --dirty-accel "$load_accel"
	"$load_vmm" "$@" --name "$vm_name" --console stdio <"$load_tmp/$vm_name.in" >>"$load_tmp/$vm_name.console" \
		2>"$load_tmp/$vm_name.log" 4<&- 5<&- 6<&- &
	vm_pid=$!
	load_pids="$load_pids $vm_pid"
}

# vm_type DESCRIPTOR KEYS
vm_type() {
	eval "printf %s \"\$2\" >&$1"
}

vm_alive() {
	kill -0 "$1" 2>/dev/null
}

# vm_wait SECONDS PID NAME PATTERN: until a line of its console matches.
vm_wait() {
	wait_end=$(($(date +%s) + $1))
	while ! grep -q "$4" "$load_tmp/$3.console"; do
		if ! vm_alive "$2"; then
			grep -q "$4" "$load_tmp/$3.console" && return
			load_fail "$3 ended before its guest said \"$4\": $(tail -n 1 "$load_tmp/$3.console")"
		fi
		[ "$(date +%s)" -lt "$wait_end" ] || load_fail "$3's guest did not say \"$4\" within $1 s"
		sleep "$load_poll_s"
	done
}

# vm_wait_end SECONDS PID NAME: until the process has ended, well.
vm_wait_end() {
	wait_end=$(($(date +%s) + $1))
	while vm_alive "$2"; do
		[ "$(date +%s)" -lt "$wait_end" ] || load_fail "$3 did not end within $1 s"
		sleep "$load_poll_s"
	done
	wait "$2" || load_fail "$3 ended with an error"
}

# vm_verify DESCRIPTOR PID NAME: the guest stops, checks all it owns and powers off.
vm_verify() {
	vm_type "$1" s
	vm_wait_end "$load_step_s" "$2" "$3"
	grep -q '^vmm-guest: PASS' "$load_tmp/$3.console" || load_fail "$3: the guest's memory is wrong: $(grep '^BAD' "$load_tmp/$3.console" | head -n 2)"
}

# vm_listen_port NAME PID: waits until `vmm receive` has said where it listens; prints that.
vm_address() {
	wait_end=$(($(date +%s) + load_step_s))
	while :; do
		address=$(grep -o '127\.0\.0\.1:[0-9][0-9]*' "$load_tmp/$1.log" | head -n 1)
		[ -z "$address" ] || break
		vm_alive "$2" || load_fail "$1 ended before it listened"
		[ "$(date +%s)" -lt "$wait_end" ] || load_fail "$1 does not listen"
		sleep "$load_poll_s"
	done
	echo "$address"
}

# vm_t_ms NAME: the guest's own time in the last whole report.
vm_t_ms() {
	sed -n 's/^vmm-guest: t_ms=\([0-9]*\) .* bad=.*/\1/p' "$load_tmp/$1.console" | tail -n 1
}

# vm_wait_reports NAME PID COUNT: that many more reports.
vm_wait_reports() {
	reports=$(grep -c '^vmm-guest: t_ms=' "$load_tmp/$1.console")
	wait_end=$(($(date +%s) + load_step_s))
	while [ "$(grep -c '^vmm-guest: t_ms=' "$load_tmp/$1.console")" -lt $((reports + $3)) ]; do
		vm_alive "$2" || load_fail "$1 ended"
		[ "$(date +%s)" -lt "$wait_end" ] || load_fail "$1's guest does not report"
		sleep "$load_poll_s"
	done
}

# load_status NAME FILE: what tracking is asked for and in force, as `vmm status` says.
load_status() {
	"$load_vmm" status "$1" --json >"$load_out/$2" 2>"$load_tmp/status.log" || load_fail "vmm status $1 failed"
}

# load_finish: where the directory cannot be reached from outside, all of it on the standard output.
load_finish() {
	echo complete >"$load_out/complete"
	[ -n "$load_emit" ] || return 0
	echo '-----begin results-----'
	tar -C "$load_out" -czf - . | base64
	echo '-----end results-----'
}
