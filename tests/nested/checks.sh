# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What the scenarios on the emulated hosts share; lies there as /checks.sh. One line "ok - WHAT" or "not ok - WHAT" for each
# check, "# ..." for everything else; the scenario ends with scenario_end.
#
# Limits are for machines that are busy and emulated; nothing waits when it need not.

step_limit_s=90
# More words for vmm migrate.
migrate_options=''
# Where "vmm receive" runs and listens: words in front of its command, and an address there.
move_in='' move_address=127.0.0.1
failed=0

ok() {
	echo "ok - $*"
}

not_ok() {
	failed=$((failed + 1))
	echo "not ok - $*"
}

note() {
	echo "# $*"
}

# check WHAT COMMAND...
check() {
	what=$1
	shift
	if "$@"; then
		ok "$what"
	else
		not_ok "$what"
	fi
}

quote() {
	tail -n "${2:-12}" "$1" 2>/dev/null | tr -d '\r' | cut -c 1-300 | sed "s|^|#   $1: |"
}

# Nothing that follows could succeed: show what there is and leave.
bail() {
	not_ok "$*"
	# The newest, which say why: many moves leave hundreds.
	# shellcheck disable=SC2012 # names of our own
	ls -t /tmp/*.log /tmp/*.out /tmp/*.json 2>/dev/null | head -n 12 | while read -r file; do
		[ ! -s "$file" ] || quote "$file"
	done
	note 'stopped early'
	exit 1
}

host_uptime_s() {
	cut -d ' ' -f 1 /proc/uptime
}

alive() {
	kill -0 "$1" 2>/dev/null
}

# wait_for SECONDS PID PATTERN FILE: until a line of FILE matches; 1 when out of time or PID is gone.
wait_for() {
	deadline=$(($(date +%s) + $1))
	while ! grep -q -- "$3" "$4" 2>/dev/null; do
		if ! alive "$2"; then
			grep -q -- "$3" "$4" 2>/dev/null
			return
		fi
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}

# wait_end SECONDS PID: until it ended; its status, or 124 when it did not.
wait_end() {
	deadline=$(($(date +%s) + $1))
	while alive "$2"; do
		[ "$(date +%s)" -lt "$deadline" ] || return 124
		sleep 0.2
	done
	wait "$2"
}

# load_modules: those that came with the scenario.
load_modules() {
	while read -r module; do
		insmod "/host-modules/$module.ko" || return 1
	done </host-modules/order
}

# json KEY FILE: a number or a word out of the last object of FILE.
json() {
	sed -n "s/.*\"$1\" *: *\"\{0,1\}\([^\",}]*\).*/\1/p" "$2" | tail -n 1
}

# move FROM TO PORT PID_FROM CONSOLE [OPTION...]: receives as TO with these options of vmm (its process id in $receiver), migrates
# FROM there.
move() {
	from=$1 to=$2 port=$3 from_pid=$4 console=$5
	shift 5
	# shellcheck disable=SC2086 # several words, or none
	$move_in vmm receive --listen "$move_address:$port" --name "$to" --console "$console" "$@" \
		</dev/null >"/tmp/$to.out" 2>&1 &
	receiver=$!
	tries=0
	# Port 4444 is 115C in /proc/net/tcp; 0A is the state "listening".
	hex=$(printf '%04X' "$port")
	until $move_in cat /proc/net/tcp | grep -q ":$hex 00000000:0000 0A"; do
		tries=$((tries + 1))
		if ! alive "$receiver" || [ "$tries" -gt 300 ]; then
			bail "vmm receive listens on port $port"
		fi
		sleep 0.2
	done
	# shellcheck disable=SC2086 # several words
	vmm migrate "$from" --to "$move_address:$port" --json $migrate_options >"/tmp/$from-$to.json" 2>"/tmp/$from-$to.out" &
	wait_end $step_limit_s $!
	status=$?
	if [ "$status" -ne 0 ]; then
		bail "vmm migrate $from --to $to succeeds (status $status)"
	fi
	ok "vmm migrate moves $from to $to"
	note "$(json result "/tmp/$from-$to.json"): total $(json total_ms "/tmp/$from-$to.json") ms," \
		"downtime $(json downtime_ms "/tmp/$from-$to.json") ms," \
		"$(json bytes_sent "/tmp/$from-$to.json") bytes, $(json rounds "/tmp/$from-$to.json") rounds"
	wait_end $step_limit_s "$from_pid"
	status=$?
	check "the source process of $from ends with status 0 (it was $status)" [ "$status" -eq 0 ]
}

# read_pty FILE [PTY]: what the guest writes to that pty, else the first, as it is, into FILE; a terminal program would do the same to
# its side. The reader's process id is then in $reader.
read_pty() {
	stty -F "${2:-/dev/pts/0}" raw -echo
	cat "${2:-/dev/pts/0}" >"$1" 2>/dev/null &
	reader=$!
}

# stop_guest PID LOG...: tells the built-in guest on the pty, whose output goes to the first LOG, to look at each word that it wrote,
# and to end. The other LOGs are of where it was before.
stop_guest() {
	guest_pid=$1 guest_log=$2
	shift
	printf s >/dev/pts/0
	wait_end $step_limit_s "$guest_pid"
	status=$?
	check "the guest ends there (status $status)" [ "$status" -eq 0 ]
	wait "$reader"
	check 'each word that the guest wrote is there' grep -q '^vmm-guest: PASS' "$guest_log"
	check 'not one is wrong' sh -c '! grep -q "BAD \|bad=[1-9]" "$@"' sh "$@"
	grep '^vmm-guest: verified' "$guest_log" | tr -d '\r' | sed 's/^/# /'
}

# scenario_end: the last line, by which the outer side knows that nothing was left out; the status.
scenario_end() {
	note end
	[ "$failed" -eq 0 ]
}
