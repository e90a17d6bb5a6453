# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests on the emulated hosts share on this side: they find programs, run a scenario on a host and count its checks.
# Sourced by those tests, which set scenario_name and have a function usage.

# shellcheck disable=SC2154,SC2034 # the caller's variables, and those for the caller

scenario_host_args=()
scenario_temp='' scenario_host_pid='' scenario_tee_pid='' scenario_status=0
scenario_kernel='' scenario_passed=0 scenario_failed=0 scenario_skipped=0

scenario_fail() {
	printf '%s: %s\n' "$scenario_name" "$*" >&2
	exit 2
}

# shellcheck disable=SC2317,SC2329 # called by the trap
scenario_cleanup() {
	local pid
	for pid in $scenario_host_pid $scenario_tee_pid; do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$scenario_temp"
}

scenario_begin() {
	scenario_temp=$(mktemp -d) || scenario_fail 'no temporary directory'
	trap scenario_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	scenario_host_args+=(--add "$here/checks.sh:/checks.sh")
	mkfifo "$scenario_temp/fifo" || scenario_fail 'cannot create a fifo'
}

# scenario_add DIR PROGRAM...: each PROGRAM is somewhere below DIR, and goes to /bin of the host. vmm runs its client subcommands
# from the vmm-ctl beside it, so the two stay together.
scenario_add() {
	local dir=$1 program file
	shift
	for program in "$@"; do
		file=$(find "$dir" -name "$program" -type f -perm -u+x -print -quit 2>/dev/null)
		[[ -n $file ]] || scenario_fail "no $program below $dir; build first or say --vmm DIR"
		scenario_host_args+=(--add "$file:/bin/$program")
	done
}

# scenario_linux ARCH: a stock Debian kernel and an initramfs for a guest, and the checks for it, go to the host as /vmlinuz,
# /l2.cpio and /linux-checks.sh. Sets scenario_kernel to that kernel here. Wants packages.sh and initramfs.sh.
scenario_linux() {
	local arch=$1 tree=$scenario_temp/tree lister busybox kernel vmlinuz
	lister=$(packages_fetch busybox-static) || scenario_fail 'cannot get busybox'
	packages_use "$arch" || scenario_fail "cannot get package lists for $arch"
	kernel=$(packages_kernel) || scenario_fail 'cannot get the kernel'
	busybox=$(packages_fetch busybox-static) || scenario_fail 'cannot get busybox'
	if ! mkdir "$tree" || ! initramfs_skeleton "$tree" "$busybox/bin/busybox" "$lister/bin/busybox" ||
		! initramfs_add "$tree" "$here/l2-init.sh" /init || ! initramfs_pack "$tree" "$scenario_temp/l2.cpio"; then
		scenario_fail "cannot build the guest's initramfs"
	fi
	vmlinuz=("$kernel"/boot/vmlinuz-*)
	scenario_kernel=${vmlinuz[0]}
	scenario_host_args+=(--add "$scenario_kernel:/vmlinuz" --add "$scenario_temp/l2.cpio:/l2.cpio"
		--add "$here/linux-checks.sh:/linux-checks.sh")
}

# scenario_packages TREE PACKAGE...: what is in these packages lies in TREE then, here. Wants packages.sh, told of the
# architecture.
scenario_packages() {
	local tree=$1 package dir
	shift
	mkdir -p "$tree" || scenario_fail "cannot create $tree"
	for package in "$@"; do
		dir=$(packages_fetch "$package") || scenario_fail "cannot get $package for $packages_arch"
		cp -a "$dir/." "$tree" || scenario_fail "cannot copy $dir"
	done
}

# scenario_add_tree NAME TREE: goes to the host as one archive, /NAME.tar, without manuals.
scenario_add_tree() {
	tar -C "$2" --exclude=./usr/share -cf "$scenario_temp/$1.tar" . || scenario_fail "cannot pack $2"
	scenario_host_args+=(--add "$scenario_temp/$1.tar:/$1.tar")
}

# scenario_add_modules KERNEL NAME...: Debian's modules for the host go to /host-modules there, with /host-modules/order beside them.
# Wants initramfs.sh.
scenario_add_modules() {
	local package=$1 tree=$scenario_temp/host name
	shift
	for name in "$@"; do
		initramfs_add_module "$tree" "$package" "$name" || return 1
	done
	while read -r name; do
		scenario_host_args+=(--add "$tree/modules/$name.ko:/host-modules/$name.ko")
	done <"$tree/modules/order"
	scenario_host_args+=(--add "$tree/modules/order:/host-modules/order")
}

# scenario_add_tools NAME...: programs of this machine go to /usr/sbin of the host, not where busybox has some of the same names.
scenario_add_tools() {
	local name file
	for name in "$@"; do
		file=$(PATH=$PATH:/usr/sbin:/sbin command -v "$name") || scenario_fail "$name is missing (packages: e2fsprogs iproute2)"
		scenario_host_args+=(--add "$file:/usr/sbin/$name")
	done
}

# scenario_run HOST ARGUMENT...: its output is shown as it comes, indented; what counts is printed at the end.
scenario_run() {
	tee "$scenario_temp/output" <"$scenario_temp/fifo" | sed -u 's/^/  /' &
	scenario_tee_pid=$!
	"$@" >"$scenario_temp/fifo" &
	scenario_host_pid=$!
	wait "$scenario_host_pid"
	scenario_status=$?
	scenario_host_pid=''
	wait "$scenario_tee_pid"
	scenario_tee_pid=''
}

# scenario_insist HOST ARGUMENT...: scenario_run, and once more from the start when the emulated host itself died. The AMD host's CPUs are
# threads of the emulator, and now and then one runs into an int3 that the other's kernel has just patched away: a panic in the middle
# of a NOP. That is no word about vmm. A second time it is a failure.
scenario_insist() {
	scenario_run "$@"
	if ((scenario_status == 125)); then
		echo '# the emulated host itself died (above); once more' >&2
		scenario_run "$@"
	fi
}

# scenario_tally PREFIX: the checks of the last run once more, each behind PREFIX, and counted. A scenario that did not reach its
# end has not passed, whatever it printed before.
scenario_tally() {
	local output=$scenario_temp/output passed failed skipped
	sed -nE "s/^((not )?ok - )(.*)/\1$1\3/p" "$output"
	skipped=$(grep -c '^ok - .* # skip' "$output")
	passed=$(($(grep -c '^ok - ' "$output") - skipped))
	failed=$(grep -c '^not ok - ' "$output")
	if ((failed == 0)) && { ((scenario_status != 0)) || ! grep -q '^# end$' "$output"; }; then
		printf 'not ok - %sthe scenario reaches its end (status %d)\n' "$1" "$scenario_status"
		failed=$((failed + 1))
	fi
	scenario_passed=$((scenario_passed + passed))
	scenario_failed=$((scenario_failed + failed))
	scenario_skipped=$((scenario_skipped + skipped))
}

# scenario_total: "N passed, N failed, N skipped" of all runs.
scenario_total() {
	printf '%d passed, %d failed, %d skipped\n' "$scenario_passed" "$scenario_failed" "$scenario_skipped"
	((scenario_failed == 0))
}

# scenario_count: both, for a test of one run.
scenario_count() {
	scenario_tally ''
	scenario_total
}
