# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the commands in bench/ share: sourced from the project's top directory by a script that has set `bench` to its own name.

: "${bench:?}"
bench_root=${VMM_BUILD:-build}
bench_build=$bench_root/gcc

bench_die()
{
	echo "$bench: $*" >&2
	exit 1
}

# bench_usage FILE: the comment at the top of FILE, but for its first paragraph's licence, is its help.
bench_usage()
{
	sed -n '4,/^[^#]/s/^# \{0,1\}//p' "$1"
}

# bench_make_in DIR OPTION... -- TARGET...: builds these targets in DIR, which is set up with these options of Meson when it is new.
bench_make_in()
{
	local dir=$1 options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	mkdir -p "$dir"
	if ! {
		{ [ -f "$dir/build.ninja" ] ||
			CC=gcc meson setup "$dir" --buildtype=release -Dwerror=true "${options[@]}"; } &&
			ninja -C "$dir" "$@"
	} >"$dir.log" 2>&1 </dev/null; then
		tail -30 "$dir.log" >&2
		bench_die "the build failed; all of its output is in $dir.log"
	fi
}

# bench_make TARGET...: installs what is missing and builds these targets as tests/run does.
bench_make()
{
	tests/install-deps build bench || exit 1
	bench_make_in "$bench_build" -- "$@"
}

# bench_make_arm64 TARGET...: the same for arm64.
bench_make_arm64()
{
	tests/cross/sysroot >/dev/null || exit 1
	bench_make_in "$bench_root/arm64" --cross-file tests/cross/aarch64.txt -- "$@"
}

# Ends the bench where /dev/kvm is of no use.
bench_need_kvm()
{
	(: <>/dev/kvm) 2>/dev/null || bench_die "cannot open /dev/kvm: this needs a real one"
}
