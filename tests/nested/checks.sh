# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What the scenarios on the emulated hosts share; lies there as /checks.sh. One line "ok - WHAT" or "not ok - WHAT" for each
# check, "# ..." for everything else; the scenario ends with scenario_end.
#
# Limits are for machines that are busy and emulated; nothing waits when it need not.

step_limit_s=90
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
	for file in /tmp/*.log /tmp/*.out /tmp/*.json; do
		[ -s "$file" ] && quote "$file"
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

# json KEY FILE: a number or a word out of the last object of FILE.
json() {
	sed -n "s/.*\"$1\" *: *\"\{0,1\}\([^\",}]*\).*/\1/p" "$2" | tail -n 1
}

# move FROM TO PORT PID_FROM CONSOLE: receives as TO (its process id in $receiver), migrates FROM there.
move() {
	vmm receive --listen "127.0.0.1:$3" --name "$2" --console "$5" </dev/null >"/tmp/$2.out" 2>&1 &
	receiver=$!
	tries=0
	# Port 4444 is 115C in /proc/net/tcp; 0A is the state "listening".
	port=$(printf '%04X' "$3")
	until grep -q "0100007F:$port 00000000:0000 0A" /proc/net/tcp; do
		tries=$((tries + 1))
		if ! alive "$receiver" || [ "$tries" -gt 300 ]; then
			bail "vmm receive listens on port $3"
		fi
		sleep 0.2
	done
	vmm migrate "$1" --to "127.0.0.1:$3" --json >"/tmp/$1-$2.json" 2>"/tmp/$1-$2.out" &
	wait_end $step_limit_s $!
	status=$?
	if [ "$status" -ne 0 ]; then
		bail "vmm migrate $1 --to $2 succeeds (status $status)"
	fi
	ok "vmm migrate moves $1 to $2"
	note "$(json result "/tmp/$1-$2.json"): total $(json total_ms "/tmp/$1-$2.json") ms," \
		"downtime $(json downtime_ms "/tmp/$1-$2.json") ms," \
		"$(json bytes_sent "/tmp/$1-$2.json") bytes, $(json rounds "/tmp/$1-$2.json") rounds"
	wait_end $step_limit_s "$4"
	status=$?
	check "the source process of $1 ends with status 0 (it was $status)" [ "$status" -eq 0 ]
}

# scenario_end: the last line, by which the outer side knows that nothing was left out; the status.
scenario_end() {
	note end
	[ "$failed" -eq 0 ]
}
