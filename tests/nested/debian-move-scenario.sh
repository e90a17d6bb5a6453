#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs inside the nested host (see debian-move). Two network namespaces, h0 and h1, are the two hosts; each has a bridge with a TAP of
# its own name and a link to the switch, where the outside world is:
#
#   h0: tap-h0 -- lan0 --- switch 10.0.0.1 --- lan0 -- tap-h1 :h1
#
# The guest starts on h0 and moves to h1, back, and so on. The disk's image is one file that both see.

# shellcheck source=tests/nested/checks.sh
. /checks.sh
# shellcheck source=tests/nested/linux-checks.sh
. /linux-checks.sh
# shellcheck source=tests/nested/device-checks.sh
. /device-checks.sh

moves=2 transport=pci slow=1 net=1 max_downtime_s=3 compress=''
# A driver that names free pages does not let go of its processor before it is through: on a busy host the watchdog's usual 20 s are short.
cmdline='console=ttyS0 panic=-1 watchdog_thresh=30 quiet'
while [ $# -gt 0 ]; do
	case $1 in
	--moves) moves=$2 && shift ;;
	--transport) transport=$2 && shift ;;
	--slow) slow=$2 && shift ;;
	--max-downtime) max_downtime_s=$2 && shift ;;
	--no-net) net='' ;;
	--no-compress) compress='--compress none' ;;
	--verbose) cmdline=${cmdline% quiet} ;;
	esac
	shift
done

# shellcheck disable=SC2034 # for checks.sh and linux-checks.sh
migrate_options="--max-downtime $((max_downtime_s * slow))s $compress" mem=192M
boot_limit_s=$((boot_limit_s * slow)) count_limit_s=$((count_limit_s * slow)) step_limit_s=$((step_limit_s * slow))
mac=52:54:00:12:34:56
ip=/usr/sbin/ip
image=/tmp/root.img

# in_host N COMMAND...: in that namespace.
in_host() {
	host=h$1
	shift
	if [ "$net" ]; then
		$ip netns exec "$host" "$@"
	else
		"$@"
	fi
}

make_host() {
	$ip netns add "h$1" &&
		$ip link add "up$1" type veth peer name uplink netns "h$1" &&
		$ip link set "up$1" master switch up &&
		in_host "$1" $ip link set lo up &&
		in_host "$1" $ip link add lan0 type bridge &&
		in_host "$1" $ip link set uplink master lan0 up &&
		in_host "$1" $ip tuntap add "tap-h$1" mode tap vnet_hdr &&
		in_host "$1" $ip link set "tap-h$1" master lan0 up &&
		in_host "$1" $ip addr add "10.0.0.1$1/24" dev lan0 &&
		in_host "$1" $ip link set lan0 up
}

make_network() {
	load_modules || return 1
	$ip link add switch type bridge && $ip addr add 10.0.0.1/24 dev switch && $ip link set switch up &&
		make_host 0 && make_host 1
}

# rounds FILE: the last whole line "round N bad=N" of a console, N.
rounds() {
	sed -n 's/^round \([0-9]*\) bad=[0-9]*\r$/\1/p' "$1" | tail -n 1
}

# wait_rounds FILE MORE PID: until the guest has written MORE files.
wait_rounds() {
	from=$(rounds "$1")
	target=$((${from:-0} + $2))
	deadline=$(($(date +%s) + count_limit_s))
	while :; do
		now=$(rounds "$1")
		[ "${now:-0}" -lt "$target" ] || return 0
		alive "$3" || return 1
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}

# files_right FILE: in this console every round was good.
files_right() {
	grep -q '^round ' "$1" && ! grep -q 'bad=[1-9]' "$1"
}

# stream_value KEY: of the client's last line.
stream_value() {
	sed -n "s/^stream.* $1=\([0-9]*\).*/\1/p" /tmp/stream.out | tail -n 1
}

# stream_goes_on: more came back after now.
stream_goes_on() {
	before=$(stream_value bytes)
	tries=0
	while [ "$(stream_value bytes)" = "$before" ]; do
		tries=$((tries + 1))
		[ $tries -lt 150 ] && alive "$client" || return 1
		sleep 0.2
	done
}

# gap_since LINE: the longest gap in what the client printed from that line on.
gap_since() {
	tail -n "+$1" /tmp/stream.out | sed -n 's/^stream.* gap_ms=\([0-9]*\).*/\1/p' | sort -n | tail -n 1
}

# files_on_disk: what lies in the image, against the sums that lie beside.
files_on_disk() {
	mkdir -p /tmp/found
	/usr/sbin/debugfs -R 'rdump /work /tmp/found' $image >/tmp/debugfs.out 2>&1
	cat /tmp/found/work/*.sum | sed 's|  /work|  /tmp/found/work|' >/tmp/found/sums
	[ "$(grep -c . /tmp/found/sums)" -ge 1 ] && sha1sum -c /tmp/found/sums >/tmp/found/checked
}

note "host: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cpus, $moves moves, transport $transport${net:+, with a network}"
cp /root.img $image
[ ! -f /tools.tar ] || tar -C / -xf /tools.tar || bail 'the tools unpack'
net_h0=''
if [ "$net" ]; then
	make_network >/tmp/network.out 2>&1 || bail 'two hosts and a network between them'
	ok 'two hosts and a network between them'
	net_h0="--net tap=tap-h0,id=net0,mac=$mac"
fi

# --- the guest starts on h0 ------------------------------------------------------------------------
single_pages
# shellcheck disable=SC2086 # several words, or none
in_host 0 vmm run --name g0 --cpus 2 --mem "$mem" --kernel /vmlinuz --initrd /guest.cpio --cmdline "$cmdline" \
	--console file:/tmp/g0.log --transport "$transport" --disk "$image,id=root,serial=moving-disk" $net_h0 $device_options \
	</dev/null >/tmp/g0.out 2>&1 &
source=$!
wait_for $boot_limit_s $source '^round 2 ' /tmp/g0.log || bail 'a stock Debian kernel boots from its disk and writes files'
ok 'a stock Debian kernel boots from its disk and writes files'
elapsed 'the guest writes'
grep '^guest ' /tmp/g0.log | tr -d '\r' | sed 's/^/# /'
check "the disk's serial number is what was asked for" guest_says /tmp/g0.log disk=moving-disk
if [ "$net" ]; then
	check "the card's address is what was asked for" guest_says /tmp/g0.log "net=$mac"
	echo-stream 10.0.0.2 7000 100000 >/tmp/stream.out 2>/tmp/stream.err &
	client=$!
	wait_for $count_limit_s $client '^stream bytes=[1-9]' /tmp/stream.out || bail 'a connection from outside reaches the guest'
	ok 'a connection from outside reaches the guest'
fi

device_checks g0 $source
elapsed 'console, balloon and entropy'

# a second writer is refused as long as the image is in use
check 'a second VM cannot have the disk' sh -c "! vmm run --name thief --mem 64M --disk $image,id=root </dev/null >/tmp/thief.out 2>&1"
grep . /tmp/thief.out | tail -n 2 | sed 's/^/#   /'

# --- and moves -------------------------------------------------------------------------------------
n=0
# On an emulated host a guest needs seconds to name its free pages, and the processor to itself now and then.
usual=$migrate_options migrate_options="$migrate_options --max-bandwidth 5MB/s"
while [ "$n" -lt "$moves" ]; do
	n=$((n + 1))
	side=$((n % 2))
	net_here=''
	[ -z "$net" ] || net_here="--net tap=tap-h$side,id=net0"
	# shellcheck disable=SC2034 # for checks.sh
	if [ "$net" ]; then
		lines=$(wc -l </tmp/stream.out)
		move_in="$ip netns exec h$side" move_address=10.0.0.1$side
	fi
	# shellcheck disable=SC2086 # several words, or none
	move "g$((n - 1))" "g$n" $((4443 + n)) "$source" "file:/tmp/g$n.log" $net_here $device_map
	source=$receiver
	if [ "$n" -eq 1 ]; then
		migrate_options=$usual
		hint_checks g0 g1
	fi
	elapsed "move $n"
	wait_rounds "/tmp/g$n.log" 2 "$source" || bail "the guest writes on after move $n"
	ok "the guest writes on after move $n"
	check "its files are right after move $n" files_right "/tmp/g$n.log"
	if [ "$net" ]; then
		stream_goes_on || bail "the connection goes on after move $n"
		ok "the connection goes on after move $n"
		note "longest gap from the beginning of move $n until now: $(gap_since "$lines") ms"
	fi
done

moved_device_checks g0 "g$n" "$source"
elapsed 'console and entropy again'

# --- the end ---------------------------------------------------------------------------------------
if [ "$net" ]; then
	kill "$client"
	wait_end $step_limit_s "$client"
	status=$?
	check "each byte came back over one connection (status $status)" [ "$status" -eq 0 ]
	sed 's/^/#   /' /tmp/stream.err
	note "longest gap of the whole connection: $(stream_value longest_gap_ms) ms; $(stream_value bytes) bytes came back"
fi
if guest_says /tmp/g0.log button=1; then
	vmm stop "g$n" --timeout "${step_limit_s}s" >/tmp/stop.out 2>&1 &
	wait_end $step_limit_s $!
	status=$?
	check "vmm stop ends with status 0, having waited for the guest (it was $status)" [ "$status" -eq 0 -a ! -s /tmp/stop.out ]
	check 'the guest heard its power button' grep -q '^guest button' "/tmp/g$n.log"
elif [ "$net" ]; then
	echo end | nc -w 20 10.0.0.2 7001
else
	vmm pause "g$n" >/tmp/pause.out 2>&1
	kill "$source"
fi
wait_end $step_limit_s "$source"
status=$?
check "the guest powers off when it is told to (status $status)" [ "$status" -eq 0 ]
if grep -q '^guest end' "/tmp/g$n.log"; then
	check 'its last check of all files is right' grep -q '^guest end rounds=[0-9]* bad=0 ' "/tmp/g$n.log"
	check 'its kernel complains about nothing' grep -q '^guest end .*complaints=0' "/tmp/g$n.log"
	grep -q '^guest end .*complaints=0' "/tmp/g$n.log" || quote "/tmp/g$n.log"
	grep '^guest end' "/tmp/g$n.log" | tr -d '\r' | sed 's/^/# /'
else
	# It had no chance to leave its file system clean: the journal says what is missing.
	/usr/sbin/e2fsck -fy $image >/tmp/replay.out 2>&1
fi
check 'the file system is clean' sh -c "/usr/sbin/e2fsck -fn $image >/tmp/fsck.out 2>&1"
tail -n 1 /tmp/fsck.out | sed 's/^/# /'
check 'the files on the disk are right' files_on_disk
elapsed 'all'
check 'no vmm process is left' sh -c '! pidof vmm >/dev/null'
scenario_end
