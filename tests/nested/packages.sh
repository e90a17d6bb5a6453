# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Debian packages as test material: fetched with apt-get, unpacked with dpkg-deb, never installed.
#
# Sourced by the nested tests. Nothing is written outside the cache (${VMM_CACHE:-$HOME/.cache/vmm}).
# An unpacked package lives in <cache>/packages/<name>_<version>_<first 16 digits of its SHA-256>, so a
# new version or a rebuilt one never meets an old directory. Any of them may be deleted at any time.

packages_cache_dir() {
	printf '%s\n' "${VMM_CACHE:-${HOME:?HOME is not set and neither is VMM_CACHE}/.cache/vmm}/packages"
}

packages_error() {
	printf 'packages: %s\n' "$*" >&2
}

# packages_field PACKAGE FIELD: one field of the version that apt-get would download.
packages_field() {
	apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n "s/^$2: //p" | head -n 1
}

# packages_depends PACKAGE PATTERN: the first direct dependency of PACKAGE that matches the shell
# PATTERN. A metapackage names the real one that way.
packages_depends() {
	local name
	while read -r name; do
		# shellcheck disable=SC2254 # the caller passes a pattern on purpose
		case $name in
		$2)
			printf '%s\n' "$name"
			return 0
			;;
		esac
	done < <(apt-cache depends --important "$1" 2>/dev/null |
		sed -n 's/^ *[|]\{0,1\}\(Pre\)\{0,1\}Depends: //p')
	packages_error "no dependency of $1 matches $2; is the package list empty? (apt-get update)"
	return 1
}

# packages_fetch PACKAGE: prints the directory that holds the unpacked package, downloading it first
# when the cache has no copy of exactly this content.
packages_fetch() {
	local name=$1 version sha256 cache dir work deb got
	version=$(packages_field "$name" Version)
	sha256=$(packages_field "$name" SHA256)
	if [[ -z $version || ! $sha256 =~ ^[0-9a-f]{64}$ ]]; then
		packages_error "apt knows no package $name; is the package list empty? (apt-get update)"
		return 1
	fi
	cache=$(packages_cache_dir) || return 1
	dir=$cache/${name}_${version//[:\/]/-}_${sha256:0:16}
	if [[ -d $dir ]]; then
		printf '%s\n' "$dir"
		return 0
	fi
	mkdir -p "$cache" || return 1
	work=$(mktemp -d "$cache/.fetch.XXXXXX") || return 1
	# As root apt drops to the user _apt, who cannot write here; it then says so and goes on as root.
	if ! (cd "$work" && apt-get -q download "$name=$version") >"$work/log" 2>&1; then
		packages_error "apt-get download $name=$version failed:"
		tail -n 5 "$work/log" >&2
		rm -rf "$work"
		return 1
	fi
	deb=$(find "$work" -name '*.deb' -print -quit)
	got=$(sha256sum "$deb")
	if [[ ${got%% *} != "$sha256" ]]; then
		packages_error "$name $version has SHA-256 ${got%% *}, the package list says $sha256"
		rm -rf "$work"
		return 1
	fi
	# Unpacked aside and renamed, so that neither an interrupted run nor a parallel one leaves half
	# a package under the final name. When another run was faster, its copy is as good.
	if ! dpkg-deb -x "$deb" "$work/tree" || ! chmod 755 "$work/tree"; then
		packages_error "cannot unpack $name $version into $work"
		rm -rf "$work"
		return 1
	fi
	mv -T "$work/tree" "$dir" 2>/dev/null
	rm -rf "$work"
	if [[ ! -d $dir ]]; then
		packages_error "cannot create $dir"
		return 1
	fi
	printf '%s\n' "$dir"
}

# packages_kernel: the directory of the Debian 12 cloud kernel that the nested tests use, for the
# hosts and for their Linux guests alike: 6.12, whose /boot/vmlinuz-* holds everything a guest needs
# and whose modules hold kvm.
packages_kernel() {
	local name
	name=$(packages_depends linux-image-6.12-cloud-amd64 'linux-image-6.12*') || return 1
	packages_fetch "$name"
}
