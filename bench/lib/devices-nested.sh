#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The measuring half of bench/devices --nested: it runs on the emulated host, and so with busybox alone. All guests are booted once and
# stay; each case runs in turns in one guest after the other, while the others idle. What it prints is for devices_nested.py:
#
#   host KEY VALUE...        what the figures were taken on
#   run KEY=VALUE...         one load in one guest
#   mapping ARM SIZE ANONYMOUS PROPORTIONAL    in KiB, each of a process's mappings, after all loads
#   boot ARM TURN NS         from the start of the process to the first line of the guest's init
#   failed ARM WHAT
#   # ...                    for whoever watches
#
#   devices-nested.sh --arms LIST --cases "NAME=COMMAND;..." --runs N --seconds N --boots N --boot-arms LIST --mem MIB

PATH=$PATH:/usr/bin
arms='' cases='' runs=1 seconds=2 boots=0 boot_arms='' mem=192
# The guest's CR is what tells a whole line from one that is still being written.
ready_line='^ready.$' done_line='^done .*longest_us=[0-9]*[^0-9]$'
boot_limit_s=300 step_limit_s=60 image_mib=64 cmdline='console=ttyS0 quiet loglevel=1 panic=-1'

fail() {
	echo "failed host $*"
	echo "# $*"
	exit 1
}

while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || fail "$1 needs a value"
	case $1 in
	--arms) arms=$2 ;;
	--cases) cases=$2 ;;
	--runs) runs=$2 ;;
	--seconds) seconds=$2 ;;
	--boots) boots=$2 ;;
	--boot-arms) boot_arms=$2 ;;
	--mem) mem=$2 ;;
	*) fail "unknown argument $1" ;;
	esac
	shift 2
done

set_up_host() {
	while read -r name; do
		case $name in
		brd) insmod "/bench/modules/$name.ko" rd_nr=1 rd_size=$(((image_mib + 32) * 1024)) || return 1 ;;
		*) insmod "/bench/modules/$name.ko" || return 1 ;;
		esac
	done </bench/modules/order
	mount -t debugfs debugfs /sys/kernel/debug || return 1
	# What is written is written back before a load and not while another one runs.
	echo 0 >/proc/sys/vm/dirty_writeback_centisecs
	mkdir -p /mnt && /usr/sbin/mke2fs -q -F -t ext4 /dev/ram0 >/dev/null && mount -t ext4 /dev/ram0 /mnt || return 1
	dd if=/dev/urandom of=/tmp/piece bs=1M count=4 2>/dev/null
	n=0
	while [ $n -lt $((image_mib / 4)) ]; do
		cat /tmp/piece || return 1
		n=$((n + 1))
	done >/mnt/disk.img
	sync
	device-load serve >/tmp/serve.log 2>&1 &
}

tell_host() {
	echo "host kernel $(uname -r)"
	echo "host cpu $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
	echo "host cpus $(grep -c ^processor /proc/cpuinfo)"
	echo "host memory $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
	echo "host kvm kvm_amd npt=$(cat /sys/module/kvm_amd/parameters/npt)"
	echo "host vmm $(vmm --version)"
	echo "host qemu $(qemu-system-x86_64 --version | head -n 1)"
}

# number_of ARM: its place in the list, from 1.
number_of() {
	n=1
	for arm in $arms $boot_arms; do
		[ "$arm" != "$1" ] || break
		n=$((n + 1))
	done
	echo $n
}

make_tap() {
	/usr/sbin/ip tuntap add "tap$1" mode tap vnet_hdr && /usr/sbin/ip addr add "10.0.$1.1/24" dev "tap$1" &&
		/usr/sbin/ip link set "tap$1" up
}

# command_of ARM: the words of its command line, but for the kernel's, in "$command".
command_of() {
	tap=tap$(number_of "$1")
	case $1 in
	vmm-*)
		command="vmm run --name $1 --mem ${mem}M --transport ${1#vmm-} --disk /mnt/disk.img,shared,id=disk --net tap=$tap,id=net
			--virtio-console null --console stdio --kernel /bench/vmlinuz --initrd /bench/guest.cpio"
		return
		;;
	qemu-pci) machine=microvm,pcie=on suffix=pci rom=,romfile= ;;
	qemu-q35) machine=q35 suffix=pci rom=,romfile= ;;
	qemu-mmio) machine=microvm suffix=device rom='' ;;
	# As docs/system/i386/microvm.rst has it for the least: no legacy device that a guest with kvmclock and ACPI can do without.
	qemu-lean) machine=microvm,x-option-roms=off,pit=off,pic=off,isa-serial=on,rtc=off suffix=device rom='' ;;
	esac
	command="qemu-system-x86_64 -M $machine -enable-kvm -cpu host -smp 1 -m ${mem}M -nodefaults -no-user-config -display none
		-name $1,debug-threads=on -chardev stdio,id=console,signal=off -serial chardev:console
		-global virtio-mmio.force-legacy=false -object iothread,id=worker
		-drive file=/mnt/disk.img,if=none,id=disk,format=raw,aio=io_uring,file.locking=off
		-device virtio-blk-$suffix,drive=disk,iothread=worker
		-netdev tap,id=net,ifname=$tap,script=no,downscript=no -device virtio-net-$suffix,netdev=net$rom
		-device virtio-serial-$suffix -chardev null,id=port -device virtconsole,chardev=port
		-kernel /bench/vmlinuz -initrd /bench/guest.cpio"
}

append_option() {
	case $1 in
	vmm-*) echo --cmdline ;;
	*) echo -append ;;
	esac
}

# start_guest ARM: its process id in pid_N, N its number.
start_guest() {
	n=$(number_of "$1")
	mkfifo "/tmp/$n.in"
	command_of "$1"
	# shellcheck disable=SC2086 # several words
	$command "$(append_option "$1")" "$cmdline net=10.0.$n.2" <>"/tmp/$n.in" >"/tmp/$n.log" 2>"/tmp/$n.err" &
	eval "pid_$n=$!"
}

# wait_count PATTERN FILE COUNT PID LIMIT: until so many lines match.
wait_count() {
	deadline=$(($(date +%s) + $5))
	until [ -e "$2" ] && [ "$(grep -c "$1" "$2")" -ge "$3" ]; do
		kill -0 "$4" 2>/dev/null || return 1
		[ "$(date +%s)" -lt $deadline ] || return 1
		sleep 0.1
	done
}

quote() {
	tail -n 8 "$1" | tr -d '\r' | sed "s|^|#   $1: |"
}

boot_guests() {
	for arm in $arms; do
		n=$(number_of "$arm")
		start_guest "$arm"
		eval "pid=\$pid_$n"
		if ! wait_count '^guest ready' "/tmp/$n.log" 1 "$pid" $boot_limit_s; then
			echo "failed $arm does not boot"
			quote "/tmp/$n.log"
			quote "/tmp/$n.err"
			kill "$pid" 2>/dev/null
			continue
		fi
		arms_up="$arms_up $arm"
		echo "# $arm: $(sed -n 's/\r$//; s/^guest ready //p' "/tmp/$n.log")"
	done
}

# look PID N: the process's and the card's counters now, in cpu_ticks, vcpu_ns, exits, halts, packets.
look() {
	vcpu_ns=0 pid=$1 number=$2
	read -r stat <"/proc/$pid/stat" || return 1
	# Behind the name in parentheses the third field is next; utime and stime are 14 and 15.
	# shellcheck disable=SC2086 # several words
	set -- ${stat##*) }
	shift 11
	cpu_ticks=$(($1 + $2))
	for task in /proc/"$pid"/task/*; do
		read -r name <"$task/comm" || continue
		case $name in
		vcpu[0-9]* | CPU\ [0-9]*)
			read -r ns _ <"$task/schedstat"
			vcpu_ns=$((vcpu_ns + ns))
			;;
		esac
	done
	for dir in /sys/kernel/debug/kvm/"$pid"-*; do
		read -r exits <"$dir/exits"
		read -r halts <"$dir/halt_exits"
	done
	read -r rx <"/sys/class/net/tap$number/statistics/rx_packets"
	read -r tx <"/sys/class/net/tap$number/statistics/tx_packets"
	packets=$((rx + tx))
}

# say N TEXT: a line to that guest's console.
say() {
	echo "$2" >"/tmp/$1.in"
}

# one_load ARM CASE TURN COMMAND...
one_load() {
	arm=$1 case=$2 turn=$3
	shift 3
	n=$(number_of "$arm")
	guest=''
	eval "guest=\$pid_$n"
	readies=$(grep -c "$ready_line" "/tmp/$n.log") dones=$(grep -c "$done_line" "/tmp/$n.log")
	sync
	say "$n" "$(echo "$*" | sed "s/HOST/10.0.$n.1/")"
	if ! wait_count "$ready_line" "/tmp/$n.log" $((readies + 1)) "$guest" $step_limit_s; then
		echo "failed $arm $case: not ready"
		quote "/tmp/$n.log"
		return
	fi
	sleep 0.3
	look "$guest" "$n"
	cpu_before=$cpu_ticks vcpu_before=$vcpu_ns exits_before=$exits halts_before=$halts packets_before=$packets
	say "$n" ''
	sleep $((seconds + 1))
	look "$guest" "$n"
	say "$n" ''
	if ! wait_count "$done_line" "/tmp/$n.log" $((dones + 1)) "$guest" $step_limit_s; then
		echo "failed $arm $case: not done"
		quote "/tmp/$n.log"
		return
	fi
	# The clock counts hundredths of a second.
	echo "run case=$case arm=$arm turn=$turn cpu_us=$(((cpu_ticks - cpu_before) * 10000))" \
		"vcpu_us=$(((vcpu_ns - vcpu_before) / 1000)) exits=$((exits - exits_before)) halts=$((halts - halts_before))" \
		"packets=$((packets - packets_before)) $(sed -n 's/\r$//; s/^done //p' "/tmp/$n.log" | tail -n 1)"
}

# order TURN NAME...: forwards in one turn, backwards in the next, so that what drifts hits all alike.
order() {
	turn_of=$1
	shift
	if [ $((turn_of % 2)) -eq 1 ]; then
		echo "$@"
		return
	fi
	reversed=''
	for name; do
		reversed="$name $reversed"
	done
	echo "$reversed"
}

loads() {
	turn=1
	while [ $turn -le "$runs" ]; do
		echo "$cases" | tr ';' '\n' >/tmp/cases
		while IFS='=' read -r case words <&3; do
			# shellcheck disable=SC2086 # several words
			for arm in $(order $turn $arms_up); do
				# shellcheck disable=SC2086 # several words
				one_load "$arm" "$case" $turn $words
			done
		done 3</tmp/cases
		turn=$((turn + 1))
	done
}

memory() {
	sleep 2
	for arm in $arms_up; do
		eval "pid=\$pid_$(number_of "$arm")"
		awk -v arm="$arm" '
			/^[0-9a-f]+-[0-9a-f]+ / { if (size) print "mapping", arm, size, anonymous, pss; size = anonymous = pss = 0 }
			$1 == "Size:" { size = $2 }
			$1 == "Anonymous:" { anonymous = $2 }
			$1 == "Pss:" { pss = $2 }
			END { if (size) print "mapping", arm, size, anonymous, pss }' "/proc/$pid/smaps"
	done
}

end_guests() {
	for arm in $arms; do
		eval "pid=\$pid_$(number_of "$arm")"
		kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
}

boot_turns() {
	turn=1
	while [ $turn -le "$boots" ]; do
		# shellcheck disable=SC2086 # several words
		for arm in $(order $turn $boot_arms); do
			command_of "$arm"
			rm -rf /run/vmm "$HOME/.vmm"
			# shellcheck disable=SC2086 # several words
			if ns=$(firstbyte -t 'guest up' $command "$(append_option "$arm")" "$cmdline" 2>/tmp/boot.err); then
				echo "boot $arm $turn $ns"
			else
				echo "failed $arm boot: $(tail -n 1 /tmp/boot.err)"
			fi
		done
		turn=$((turn + 1))
	done
}

arms_up=''
set_up_host || fail 'the host cannot be set up'
tell_host
for arm in $arms $boot_arms; do
	make_tap "$(number_of "$arm")" 2>/dev/null
done
# A VM that does nothing, so that none of those that are measured is the first or the last: each time KVM patches the scheduler, and the
# emulator does not always bear that.
vmm run --name anchor --mem 16M --paused --console null </dev/null >/tmp/anchor.out 2>&1 &
anchor=$!
boot_guests
loads
memory
end_guests
boot_turns
kill "$anchor"
echo '# end'
