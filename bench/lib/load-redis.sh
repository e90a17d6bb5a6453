#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A Linux guest with redis runs redis-benchmark -t set, in turns without a migration and with one under each backend. It is booted
# once and goes on from VM to VM, since a boot takes longer than all runs together where the host is emulated. Writes what
# migrate-load.sh writes; the checksum is that of the data in redis.

load_name=load-redis
case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
# shellcheck source=bench/lib/load-common.sh
. "$here/load-common.sh"

dirty=manual runs=1 cpus=1 mem=256M requests=60000 clients=10 lead=8 options='--compress none --on-timeout switch'
kernel=/vmlinuz initrd=/redis.cpio load_boot_s=600 load_step_s=600

load_options "dirty runs cpus mem requests clients lead options kernel initrd" "$@"

# A backend is chosen where a VM is received, and used by the migration that takes it away: each hop prepares for the next arm.
fd_of() {
	echo $((4 + $1 % 3))
}

backend_of() {
	[ "$1" = none ] && echo auto && return
	echo "$1"
}

# hop ARM: the VM of number $hop moves to the next one, which will find dirty pages as ARM says.
hop() {
	next=$((hop + 1))
	vm_start "r$next" "$(fd_of $next)" receive --listen 127.0.0.1:0 --dirty "$(backend_of "$1")"
	next_pid=$vm_pid
	address=$(vm_address "r$next" "$next_pid") || exit 1
	# shellcheck disable=SC2086 # several words
	"$load_vmm" migrate "r$hop" --to "$address" --json $options >"$2" 2>"$load_tmp/migrate.log" || load_fail 'vmm migrate failed'
	vm_wait_end "$load_step_s" "$pid" "r$hop"
	hop=$next pid=$next_pid
}

# samples FILE: how many whole ones it has.
samples() {
	grep -c '^redis-guest: t_ms=[0-9]* requests=[0-9]*.$' "$1"
}

show_run() {
	tail -n 6 "$load_tmp/now" | tr -d '\r' | sed 's/^/# the guest: /' >&2
}

begin_load() {
	lines=$(wc -l <"$load_tmp/r$hop.console")
	vm_type "$(fd_of "$hop")" "load $requests $clients
"
	wait_end=$(($(date +%s) + load_step_s))
	while tail -n +$((lines + 1)) "$load_tmp/r$hop.console" >"$load_tmp/now" && [ "$(samples "$load_tmp/now")" -lt "$lead" ]; do
		if grep -q '^redis-guest: done' "$load_tmp/now"; then
			show_run
			load_fail 'the load was over before it was steady: more requests'
		fi
		vm_alive "$pid" || load_fail "r$hop ended"
		[ "$(date +%s)" -lt "$wait_end" ] || load_fail 'the load does not begin'
		sleep 0.2
	done
	start=$(sed -n 's/^redis-guest: t_ms=\([0-9]*\) requests=.*/\1/p' "$load_tmp/now" | tail -n 1)
}

one_arm() {
	name=$setting.$turn.$1
	load_status "r$hop" "$name.status.json"
	begin_load
	source_samples=0
	if [ "$1" = none ]; then
		: >"$load_tmp/before"
		from=$((lines + 1))
	else
		old=$hop
		hop "$2" "$load_out/$name.json"
		tail -n +$((lines + 1)) "$load_tmp/r$old.console" >"$load_tmp/before"
		source_samples=$(samples "$load_tmp/before")
		from=1
		grep -q '^redis-guest: done' "$load_tmp/before" && load_fail 'the load was over before the guest moved: more requests'
	fi
	echo "$setting $turn $1 $start $source_samples" >>"$load_out/turns"
	wait_end=$(($(date +%s) + load_step_s))
	while :; do
		tail -n +$from "$load_tmp/r$hop.console" | cat "$load_tmp/before" - >"$load_tmp/now"
		grep -q '^redis-guest: \(PASS\|FAIL\)' "$load_tmp/now" && break
		vm_alive "$pid" || load_fail "r$hop ended"
		[ "$(date +%s)" -lt "$wait_end" ] || load_fail 'the load does not end'
		sleep 0.5
	done
	cp "$load_tmp/now" "$load_out/$name.console"
	show_run
	[ "$1" != none ] || [ "$2" = none ] || hop "$2" "$load_tmp/between.json"
	echo "# $setting turn $turn $1" >&2
}

each_turn() {
	setting=$1 hop=0
	vm_start r0 "$(fd_of 0)" run --mem "$mem" --cpus "$cpus" --kernel "$kernel" --initrd "$initrd" \
		--cmdline 'console=ttyS0 quiet panic=-1'
	pid=$vm_pid
	vm_wait "$load_boot_s" "$pid" r0 '^redis-guest: \(up\|ERROR\)'
	grep -q '^redis-guest: up' "$load_tmp/r0.console" || load_fail "$(grep '^redis-guest: ERROR' "$load_tmp/r0.console")"
	sed -n 's/\r$//; s/^redis-guest: up //p' "$load_tmp/r0.console" | sed "s/^/$setting guest /" >>"$load_out/host"
	turn=1
	while [ "$turn" -le "$runs" ]; do
		# Each arm is told the one behind it, for which it chooses the backend.
		# shellcheck disable=SC2086 # several words
		set -- none $dirty none
		while [ $# -ge 2 ]; do
			one_arm "$1" "$2"
			shift
		done
		turn=$((turn + 1))
	done
	vm_type "$(fd_of "$hop")" 'off
'
	vm_wait_end "$load_step_s" "$pid" "r$hop"
}

load_begin
for key in dirty runs cpus mem options; do
	eval "echo \"$key \$$key\""
done >"$load_out/settings"
echo "cmdline redis-benchmark -t set -c $clients -n $requests
moves 1" >>"$load_out/settings"
load_each_setting each_turn
load_finish
