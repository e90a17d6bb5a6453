# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the emulated hosts have in common: options, the initramfs and the wait for its end. Sourced by svm-host, intel-host and
# arm64-host after packages.sh and initramfs.sh. The caller sets:
#
#   host_name            name of the command, for messages
#   host_arch            Debian's name of the host's architecture (the machine's own)
#   host_kvm_module      kvm_amd or kvm_intel; empty where KVM is built into the kernel
#   host_needs           its parameters that must be on, in words
#   host_kernel          a kernel instead of Debian's (none); one that has KVM built in
#   host_ports           the ports for the program's output and for its status, as they are called there (ttyS1 ttyS2)
#   host_cpus, host_mem, host_timeout_s, host_boot_timeout_s   defaults of the options
#   host_extra_option OPTION VALUE     a function; 0 when the option is the caller's own and its value is good
#   host_edit_tree TREE                a function; last changes to what becomes the initramfs
#
# and gets from here the variables below. Status 124 is out of time, 125 a host that is of no use.

# shellcheck disable=SC2154,SC2034 # the caller's variables, and those for the caller

host_run='' host_log='' host_temp='' host_emulator_pid='' host_reader_pid=''
host_arch=$packages_native_arch host_kernel=''
host_kvm_options=''
host_ports=(ttyS1 ttyS2)
host_add=()
host_args=()

host_fail() {
	printf '%s: %s\n' "$host_name" "$*" >&2
	exit 125
}

# host_options "$@": reads the command line.
host_options() {
	while (($#)); do
		case $1 in
		--help | -h)
			usage
			exit 0
			;;
		--)
			shift
			host_args=("$@")
			break
			;;
		--*)
			(($# >= 2)) || host_fail "$1 needs a value (see --help)"
			case $1 in
			--run) host_run=$2 ;;
			--add) host_add+=("$2") ;;
			--cpus) host_cpus=$2 ;;
			--mem) host_mem=$2 ;;
			--timeout) host_timeout_s=$2 ;;
			--boot-timeout) host_boot_timeout_s=$2 ;;
			--log) host_log=$2 ;;
			*) host_extra_option "$1" "$2" || host_fail "unknown argument $1 (see --help)" ;;
			esac
			shift 2
			;;
		*) host_fail "unknown argument $1 (see --help)" ;;
		esac
	done
	[[ -n $host_run ]] || host_fail 'no --run PROGRAM (see --help)'
	[[ -f $host_run ]] || host_fail "--run $host_run: no such file"
	[[ $host_timeout_s =~ ^[1-9][0-9]*$ ]] || host_fail "--timeout $host_timeout_s: want a number of seconds"
	[[ $host_boot_timeout_s =~ ^[1-9][0-9]*$ ]] ||
		host_fail "--boot-timeout $host_boot_timeout_s: want a number of seconds"
	[[ $host_cpus =~ ^[1-9][0-9]*$ ]] || host_fail "--cpus $host_cpus: want a number of processors"
}

# host_tools PACKAGES TOOL...: each TOOL must be there.
host_tools() {
	local packages=$1 tool
	shift
	for tool in "$@" apt-get dpkg-deb cpio xz objcopy readelf; do
		command -v "$tool" >/dev/null ||
			host_fail "$tool is missing (packages: $packages apt dpkg cpio xz-utils binutils)"
	done
}

# shellcheck disable=SC2317,SC2329 # called by the trap
host_cleanup() {
	local pid
	for pid in $host_emulator_pid $host_reader_pid; do
		kill "$pid" 2>/dev/null
	done
	# The emulator writes into the directory until it is gone.
	[[ -z $host_emulator_pid ]] || wait "$host_emulator_pid" 2>/dev/null
	rm -rf "$host_temp"
}

# host_fetch: Debian's packages for the host. Sets the directories of kernel and busybox, and lister, a busybox that runs here.
host_fetch() {
	lister=$(packages_fetch busybox-static) || return 1
	busybox=$lister
	if [[ $host_arch != "$packages_native_arch" ]]; then
		packages_use "$host_arch" && busybox=$(packages_fetch busybox-static) || return 1
		initramfs_sysroot=$("$here/../cross/sysroot") || return 1
	fi
	[[ -n $host_kernel ]] || kernel=$(packages_kernel)
}

# host_add_kvm TREE: the modules, and what reload-kvm and init want to know.
host_add_kvm() {
	if [[ -n $host_kvm_module ]]; then
		initramfs_add_module "$1" "$kernel" "${host_kvm_module//_/-}" || return 1
	fi
	printf 'module=%s\nneeds="%s"\noptions="%s"\noutput=/dev/%s\nstatus=/dev/%s\n' "$host_kvm_module" "$host_needs" \
		"$host_kvm_options" "${host_ports[@]}" >"$1/etc/host.conf"
}

host_build_tree() {
	local tree=$1 entry kernel='' busybox lister vmlinuz
	host_fetch || return 1
	vmlinuz=("$kernel"/boot/vmlinuz-*)
	cp "${host_kernel:-${vmlinuz[0]}}" "$host_temp/vmlinuz" || return 1
	mkdir "$tree" && initramfs_skeleton "$tree" "$busybox/bin/busybox" "$lister/bin/busybox" || return 1
	host_add_kvm "$tree" || return 1
	initramfs_add "$tree" "$here/host-init.sh" /init || return 1
	initramfs_add "$tree" "$here/reload-kvm.sh" /bin/reload-kvm || return 1
	initramfs_add "$tree" "$host_run" /payload || return 1
	chmod 755 "$tree"/{init,payload,bin/reload-kvm}
	: >"$tree/payload.args"
	((${#host_args[@]} == 0)) || printf '%s\n' "${host_args[@]}" >"$tree/payload.args"
	for entry in ${host_add[@]+"${host_add[@]}"}; do
		[[ -f ${entry%:*} && $entry == *:/* ]] || {
			printf '%s: --add %s: want FILE:PATH of an existing file\n' "$host_name" "$entry" >&2
			return 1
		}
		initramfs_add "$tree" "${entry%:*}" "${entry##*:}" || return 1
	done
	host_edit_tree "$tree"
}

# host_build [FILTER]: $host_temp with vmlinuz, initramfs (through FILTER), an empty log and the fifo that takes the program's
# output to stdout.
host_build() {
	host_temp=$(mktemp -d) || host_fail 'no temporary directory'
	trap host_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	if ! host_build_tree "$host_temp/tree" ||
		! initramfs_pack "$host_temp/tree" "$host_temp/initramfs" "$@" ||
		! rm -rf "$host_temp/tree"; then
		host_fail 'cannot build the initramfs'
	fi
	host_log=${host_log:-$host_temp/console}
	: >"$host_log" || host_fail "cannot write $host_log"
	: >"$host_temp/status"
	: >"$host_temp/emulator"
}

# host_give_up STATUS MESSAGE: what happened, the end of the kernel's log, what the emulator said.
host_give_up() {
	printf '%s: %s; the end of the host'\''s log:\n' "$host_name" "$2" >&2
	tail -n 25 "$host_log" | tr -d '\r' | sed 's/^/  | /' >&2
	[[ ! -s $host_temp/emulator ]] || tail -n 25 "$host_temp/emulator" | sed 's/^/  emulator: /' >&2
	exit "$1"
}

# host_wait: until the emulator ends or time is out. Sets host_emulator_status.
host_wait() {
	local ready=0
	SECONDS=0
	while kill -0 "$host_emulator_pid" 2>/dev/null; do
		((SECONDS < host_timeout_s)) || host_give_up 124 "no end after $host_timeout_s s"
		if ((!ready)); then
			if grep -q '^ready' "$host_temp/status"; then
				ready=1
			elif ((SECONDS >= host_boot_timeout_s)); then
				host_give_up 124 "the host did not boot within $host_boot_timeout_s s"
			fi
		fi
		sleep 0.2
	done
	wait "$host_emulator_pid"
	host_emulator_status=$?
	host_emulator_pid=''
	[[ -z $host_reader_pid ]] || wait "$host_reader_pid"
	host_reader_pid=''
}

# host_exit: with the status of the program, as the host reported it.
host_exit() {
	local word rest
	read -r word rest < <(grep -v '^ready' "$host_temp/status")
	case ${word-} in
	exit) exit "$rest" ;;
	broken) host_give_up 125 "the host is of no use: $rest" ;;
	*) host_give_up 125 "the host died (the emulator's status is $host_emulator_status)" ;;
	esac
}
