#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of a Linux guest with redis (load-redis.sh). A line on the serial console is a command; what it prints has the form
# of the built-in guest's lines, so that one program reads both. Its clock is redis's, which is the guest's real time.
#
#   load N CLIENTS    redis-benchmark -t set: samples "t_ms= requests=" meanwhile, then "done", checksum, verdict
#   off               power off

export PATH=/bin HOME=/root LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
ip link set lo up
stty -echo
dmesg -n 1

say() {
	echo "redis-guest: $*"
}

# What all of the data amounts to, whatever order it lies in.
digest() {
	redis-cli DEBUG DIGEST | tr -d '\r'
}

now_ms() {
	redis-cli TIME | tr -d '\r' | awk 'NR == 1 { s = $1 } NR == 2 { printf "%.0f%03.0f\n", s, int($1 / 1000) }'
}

# Two lines a second, so that a second's requests can be told from the one before. A field's value ends with CR.
sample() {
	redis-cli -r -1 -i 0.5 INFO server commandstats | awk -F '[:=,]' '
		$1 == "server_time_usec" { us = $2 }
		$1 == "cmdstat_set" { printf "redis-guest: t_ms=%.0f requests=%.0f\n", int(us / 1000), $3 - before; fflush() }' before="$1"
}

sets() {
	redis-cli INFO commandstats | tr -d '\r' | sed -n 's/^cmdstat_set:calls=\([0-9]*\),.*/\1/p'
}

run_load() {
	say "ready keys=$(redis-cli DBSIZE | tr -d '\r') clients=$2"
	before=$(digest)
	sample "$(sets)" &
	sampler=$!
	seconds=$(redis-benchmark -t set -c "$2" -n "$1" | tr '\r' '\n' | sed -n 's/.*requests completed in \([0-9.]*\) seconds.*/\1/p')
	end_ms=$(now_ms)
	kill $sampler 2>/dev/null
	killall redis-cli 2>/dev/null
	wait $sampler 2>/dev/null
	say "done requests=$1 elapsed_us=$(awk -v s="$seconds" 'BEGIN { printf "%.0f", s * 1000000 }')" \
		"per_s=$(awk -v n="$1" -v s="$seconds" 'BEGIN { printf "%.0f", n / s }') t_ms=$end_ms"
	after=$(digest)
	say "ram pages=0 sum=$after"
	say "verified keys=$(redis-cli DBSIZE | tr -d '\r')"
	if [ -n "$seconds" ] && [ "$before" = "$after" ]; then
		say PASS
	else
		say FAIL
	fi
}

redis-server --save '' --appendonly no --enable-debug-command yes --daemonize yes --dir /tmp >/tmp/redis.log 2>&1
tries=0
until redis-cli PING 2>/dev/null | grep -q PONG; do
	tries=$((tries + 1))
	if [ $tries -gt 200 ]; then
		say "ERROR redis does not answer: $(tail -n 2 /tmp/redis.log)"
		poweroff -f
	fi
	sleep 0.2
done
# Data that has to come through whole, and the one key that the load sets, always to the same value.
redis-cli DEBUG POPULATE 10000 key 100 >/dev/null
redis-benchmark -t set -c 1 -n 10 >/dev/null
say "up redis=$(redis-server --version | sed -n 's/.* v=\([^ ]*\).*/\1/p') kernel=$(uname -r) memory_kb=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)"

while read -r command requests clients; do
	case $command in
	load) run_load "$requests" "$clients" ;;
	off) poweroff -f ;;
	esac
done
poweroff -f
