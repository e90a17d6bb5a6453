#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs inside the nested host (see vsock-move): a stock Debian kernel connects to programs of its host and they to it, through
# /tmp/va on the first vmm and /tmp/vb on the second.

# shellcheck source=tests/nested/checks.sh
. /checks.sh
# shellcheck source=tests/nested/linux-checks.sh
. /linux-checks.sh

# shellcheck disable=SC2034 # for checks.sh and linux-checks.sh
migrate_options='--max-downtime 10s' mem=192M cmdline='console=ttyS0 quiet panic=-1'
[ "${1:-}" != --verbose ] || cmdline='console=ttyS0 panic=-1'

# round_value FILE KEY: of the last whole line "round ...".
round_value() {
	sed -n "s/^round .* $2=\([0-9]*\).*\r$/\1/p" "$1" | tail -n 1
}

# goes_on NAME PID BEFORE WHAT: it has four more good rounds there than the last of the log BEFORE says; one may have ended unseen.
goes_on() {
	wait_for $count_limit_s "$2" " good=$(($(round_value "$3" good) + 4)) " "/tmp/$1.log" || bail "$4"
	ok "$4"
}

# counter NAME COUNTER
counter() {
	vmm status "$1" --counters 2>/tmp/counters.out | sed -n "s/^vsock0\.$2  *//p"
}

note "host: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cpus"
socket-echo serve /tmp/va_1000 >/tmp/serve-a.out 2>&1 &
socket-echo serve /tmp/vb_1000 >/tmp/serve-b.out 2>&1 &

vmm run --name a --cpus 2 --mem $mem --kernel /vmlinuz --initrd /guest.cpio --cmdline "$cmdline" --console file:/tmp/a.log \
	--vsock cid=7,path=/tmp/va </dev/null >/tmp/a.out 2>&1 &
a=$!
wait_for $boot_limit_s $a '^round 3 ' /tmp/a.log || bail 'a stock Debian kernel connects to its host'
elapsed 'the guest connects'
ok 'a stock Debian kernel connects to its host'
check 'its CID is what was asked for' grep -q '^guest cid=7' /tmp/a.log
check 'no round has failed' [ "$(round_value /tmp/a.log failed)" = 0 ]
check 'it holds a connection' grep -q '^hold 2:1000 begins' /tmp/a.log
check 'the host connects to the guest, and each of 3 MB comes back' socket-echo check /tmp/va:2000 3000000
check 'a port on which nobody listens is refused' sh -c '! socket-echo check /tmp/va:2001 1 2>/dev/null'
note "$(counter a opened) connections, $(counter a bytes_out) bytes from the guest, $(counter a bytes_in) to it"

move a b 4444 $a file:/tmp/b.log --vsock path=/tmp/vb,id=vsock0
b=$receiver
elapsed 'moved to b'
check 'the socket on the source is gone' [ ! -e /tmp/va ]
goes_on b $b /tmp/a.log 'it connects to its new host'
cat /tmp/a.log /tmp/b.log | tr -d '\r' | grep '^failed: \|^hold ' | head -n 8 | sed 's/^/#   /'
check 'the connection that it held has ended' grep -q '^hold 2:1000 ended after [1-9][0-9]*: ' /tmp/b.log
# One connection may have been under way.
check "its rounds go on (failed: $(round_value /tmp/b.log failed))" [ "$(round_value /tmp/b.log failed)" -le 1 ]
check 'its CID is still the same' [ "$(round_value /tmp/b.log cid)" = 7 ]
check 'its service is still there for the new host' socket-echo check /tmp/vb:2000 3000000
move b c 4445 $b file:/tmp/c.log --vsock path=/tmp/va,id=vsock0
c=$receiver
goes_on c $c /tmp/b.log 'it connects to its first host again'
check 'its service is there again' socket-echo check /tmp/va:2000 3000000
check 'the kernel complains of nothing' sh -c '! grep -i "BUG:\|Oops\|hung task\|lockup" /tmp/[abc].log'
vmm stop c >/tmp/stop.out 2>&1
kill -9 $c 2>/dev/null
scenario_end
