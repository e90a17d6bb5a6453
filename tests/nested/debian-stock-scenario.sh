#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs inside the nested host (see debian-stock), whose disk is the guest's. Each vmm has a TAP of its own, all in one bridge with the
# host's address, 10.0.0.1. The guest is 10.0.0.2.
#
# shellcheck disable=SC2016 # commands in single quotes are for the guest's shell to expand

# shellcheck source=tests/nested/checks.sh
. /checks.sh
# shellcheck source=tests/nested/linux-checks.sh
. /linux-checks.sh

moves=2 slow=1 verbose=''
while [ $# -gt 0 ]; do
	case $1 in
	--moves) moves=$2 && shift ;;
	--slow) slow=$2 && shift ;;
	--verbose) verbose=1 ;;
	esac
	shift
done

# shellcheck disable=SC2034 # for checks.sh
migrate_options="--max-downtime $((3 * slow))s"
boot_limit_s=$((600 * slow)) step_limit_s=$((step_limit_s * slow))
disk=/dev/vda
ip=/usr/sbin/ip

make_network() {
	load_modules || return 1
	$ip link add br0 type bridge && $ip addr add 10.0.0.1/24 dev br0 && $ip link set br0 up || return 1
	for tap in tap0 tap1; do
		$ip tuntap add $tap mode tap && $ip link set $tap master br0 up || return 1
	done
}

# open_console NAME: the guest's serial console, where vmm status says that it is; what comes goes to /tmp/NAME.log.
open_console() {
	tries=0
	until console_pty=$(vmm status "$1" 2>/tmp/status.out | sed -n 's|^console  *\(/dev/pts/[0-9]*\)$|\1|p') && [ -c "$console_pty" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || bail "vmm status tells where the console of $1 is"
		sleep 0.2
	done
	read_pty "/tmp/$1.log" "$console_pty"
}

# log_in PID LOG: as root, as a person would.
log_in() {
	say root
	wait_for "$step_limit_s" "$1" 'Password: ' "$2" || bail 'login asks for a password'
	ask "$1" "$2" vmm 'root@debian:~# ' || bail 'root logs in with the password'
	# The shell's marks around what is typed stand before the first word of each answer.
	ask "$1" "$2" "bind 'set enable-bracketed-paste off'; echo plain-\$?" 'plain-0' || bail 'the shell answers'
	ok 'root logs in on the serial console with the password'
}

# state PID LOG: waits for the end of the boot; what systemd thinks of it.
state() {
	asked=$((${asked:-0} + 1))
	ask "$1" "$2" "echo state$asked-\$(systemctl is-system-running --wait)" "^state$asked-[a-z]"
	sed -n "s/^state$asked-\([a-z]*\).*/\1/p" "$2"
}

# complaints PID LOG: shows the lines of the guest's kernel about what it should not have met, and says how many. systemd's there say
# that it installed something: no stall.
complaints() {
	ask "$1" "$2" 'dmesg | grep -i "I/O error\|EXT4-fs error\|lockup\|hung task\|\bstall\|BUG:\|Oops\|nobody cared\|NETDEV WATCHDOG" | tee /run/complaints; echo complaints-$(wc -l </run/complaints)' \
		'^complaints-[0-9]'
	sed -n 's/^complaints-\([0-9]*\).*/\1/p' "$2" | tail -n 1
}

# network_checks PID LOG WHEN: both ways.
network_checks() {
	check "the host reaches the guest $3" sh -c "ping -q -c 3 -w $step_limit_s 10.0.0.2 >/tmp/ping.out"
	pinged=$((${pinged:-0} + 1))
	ask "$1" "$2" "ping -q -c 3 -w $step_limit_s 10.0.0.1; echo ping$pinged-\$?" "^ping$pinged-[0-9]"
	check "the guest reaches the host $3" grep -q "^ping$pinged-0" "$2"
}

note "host: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cpus, $moves moves"
make_network >/tmp/network.out 2>&1 || bail "the host's disk and its network"

# --- Debian boots ------------------------------------------------------------------------------------
vmm run --name g0 --cpus 2 --mem 1G --kernel /vmlinuz --initrd /initrd.img --cmdline 'root=/dev/vda console=ttyS0' \
	--disk $disk,id=root --net tap=tap0,id=net0 --balloon --rng --console pty </dev/null >/tmp/g0.out 2>&1 &
source=$!
open_console g0
wait_for $boot_limit_s $source '^debian login: ' /tmp/g0.log || bail 'Debian boots to its login prompt'
ok 'Debian boots to its login prompt'
elapsed 'the login prompt is there'
log_in $source /tmp/g0.log
now=$(state $source /tmp/g0.log)
check "systemd says that the system is running (it says $now)" [ "$now" = running ]
if [ "$now" != running ]; then
	ask $source /tmp/g0.log 'systemctl --no-pager --plain --failed; echo failed-$?' '^failed-[0-9]'
	quote /tmp/g0.log 20
fi
ask $source /tmp/g0.log 'echo kernel-$(uname -r) from $(findmnt -no SOURCE,FSTYPE /)' '^kernel-[0-9]'
sed -n 's/^\(kernel-[0-9].*\)\r$/# \1/p' /tmp/g0.log
network_checks $source /tmp/g0.log 'before it moves'
ask $source /tmp/g0.log 'kept=g0; head -c 3000000 /dev/urandom >/root/before; sha1sum /root/before >/root/before.sum; sync; echo written-$?' '^written-0'
check 'it writes a file' grep -q '^written-0' /tmp/g0.log
elapsed 'it writes'

# --- and moves ---------------------------------------------------------------------------------------
n=0
while [ "$n" -lt "$moves" ]; do
	n=$((n + 1))
	kill "$reader" 2>/dev/null
	move "g$((n - 1))" "g$n" $((4443 + n)) "$source" pty --disk $disk,id=root --net tap=tap$((n % 2)),id=net0
	source=$receiver log=/tmp/g$n.log
	open_console "g$n"
	elapsed "move $n"
	say ''
	ask "$source" "$log" 'echo kept-$kept-$((6 * 7))' '^kept-g0-42' || bail "the shell that logged in is still there after move $n"
	ok "the shell that logged in is still there after move $n"
	network_checks "$source" "$log" "after move $n"
	ask "$source" "$log" "echo 3 >/proc/sys/vm/drop_caches; sha1sum -c /root/before.sum; echo sum-\$?" '^sum-[0-9]'
	check "the file of before is right after move $n" grep -q '^sum-0' "$log"
	ask "$source" "$log" "echo $n >/root/after$n; sync; echo written-\$?" '^written-[0-9]'
	check "it writes another after move $n" grep -q '^written-0' "$log"
done
now=$(state "$source" "$log")
check "systemd says that the system is running (it says $now)" [ "$now" = running ]
count=$(complaints "$source" "$log")
check "its kernel complains about nothing (${count:-unknown})" [ "$count" = 0 ]
[ "$count" = 0 ] || quote "$log"

# --- the end -----------------------------------------------------------------------------------------
vmm stop "g$n" --timeout "${boot_limit_s}s" >/tmp/stop.out 2>&1 &
wait_end $boot_limit_s $!
status=$?
check "vmm stop ends with status 0, having waited for the guest (it was $status)" [ "$status" -eq 0 -a ! -s /tmp/stop.out ]
wait_end "$step_limit_s" "$source"
status=$?
check "systemd powers the machine off (status $status)" [ "$status" -eq 0 ]
[ "$status" -eq 0 ] || quote "$log" 30
wait "$reader"
check 'by the way of a shutdown' grep -q 'reboot: Power down' "$log"
elapsed 'powered off'
[ ! "$verbose" ] || { cat /tmp/g0.log "$log" && echo; } | tr -d '\r' | sed 's/^/# console: /'
check 'the file system is clean' sh -c "/usr/sbin/e2fsck -fn $disk >/tmp/fsck.out 2>&1"
tail -n 1 /tmp/fsck.out | sed 's/^/# /'
check "the last file is on the disk" sh -c "/usr/sbin/debugfs -R 'cat /root/after$n' $disk 2>/dev/null | grep -qx $n"
check 'no vmm process is left' sh -c '! pidof vmm >/dev/null'
scenario_end
