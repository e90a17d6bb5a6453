# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests on the emulated hosts share on this side: they find programs, run a scenario on a host and count its checks.
# Sourced by linux-svm and intel-dirty, which set scenario_name and have a function usage.

# shellcheck disable=SC2154,SC2034 # the caller's variables, and those for the caller

scenario_host_args=()
scenario_temp='' scenario_host_pid='' scenario_tee_pid='' scenario_status=0

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

# scenario_count: the checks once more, and "N passed, N failed, N skipped". A scenario that did not reach its end has not
# passed, whatever it printed before.
scenario_count() {
	local output=$scenario_temp/output passed failed skipped
	grep -E '^(not )?ok - |^skip - ' "$output"
	passed=$(grep -c '^ok - ' "$output")
	failed=$(grep -c '^not ok - ' "$output")
	skipped=$(grep -c '^skip - ' "$output")
	if ((failed == 0)) && { ((scenario_status != 0)) || ! grep -q '^# end$' "$output"; }; then
		printf 'not ok - the scenario reaches its end (status %d)\n' "$scenario_status"
		failed=$((failed + 1))
	fi
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	((failed == 0))
}
