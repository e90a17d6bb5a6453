# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# How bench/monitor and bench/migrate-load begin; sourced after common.sh.

: "${bench:?}" "${bench_root:?}" "${bench_build:?}"

# load_start PROGRAM ARGUMENT...: builds what is needed and becomes that program of bench/lib.
load_start() {
	local program=$1 argument own_kvm=1
	shift
	for argument in "$@"; do
		case $argument in
		-h | --help)
			bench_usage "bench/$bench"
			exec /usr/bin/python3 -B "bench/lib/$program" --build . --out . --help
			;;
		--nested | --from | --nested=* | --from=*) own_kvm='' ;;
		esac
	done
	bench_make src/vmm src/vmm-ctl
	[[ -z $own_kvm ]] || bench_need_kvm
	mkdir -p "$bench_root/bench"
	exec /usr/bin/python3 -B "bench/lib/$program" --build "$bench_build" --out "$bench_root/bench" "$@"
}
