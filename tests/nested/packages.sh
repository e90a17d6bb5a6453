# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Debian packages as test material: fetched with apt-get, unpacked with dpkg-deb, never installed.
#
# Sourced by the nested tests and tests/cross/sysroot. Nothing is written outside the cache (${VMM_CACHE:-$HOME/.cache/vmm}).
# An unpacked package lives in <cache>/packages/<name>_<version>_<first 16 digits of its SHA-256>, so a
# new version or a rebuilt one never meets an old directory. Any of them may be deleted at any time.

# Debian's name of the architecture whose packages are meant, and what apt must be told for it; see packages_use.
packages_arch=$(dpkg --print-architecture 2>/dev/null)
packages_native_arch=$packages_arch
packages_apt=()

packages_cache_root() {
	printf '%s\n' "${VMM_CACHE:-${HOME:?HOME is not set and neither is VMM_CACHE}/.cache/vmm}"
}

packages_cache_dir() {
	printf '%s/packages\n' "$(packages_cache_root)"
}

packages_error() {
	printf 'packages: %s\n' "$*" >&2
}

# packages_update STATE: new package lists for a foreign architecture, unless they are of today. Old ones will do when there is
# no network.
packages_update() {
	local state=$1
	[[ -z $(find "$state/updated" -mtime -1 2>/dev/null) ]] || return 0
	if apt-get -q "${packages_apt[@]}" -o Acquire::Retries=3 update >"$state/log" 2>&1; then
		touch "$state/updated"
	elif [[ ! -e $state/updated ]]; then
		packages_error "apt-get update for $packages_arch failed:"
		tail -n 5 "$state/log" >&2
		return 1
	fi
}

# packages_use ARCH: from here on everything is about ARCH, in Debian's name. A foreign one gets package lists of its own, in the
# cache, made from the machine's apt sources: neither does it need privilege, nor is dpkg told of another architecture, nor could
# its packages push out those that are installed.
packages_use() {
	local state
	packages_arch=$1
	packages_apt=()
	[[ $1 != "$packages_native_arch" ]] || return 0
	state=$(packages_cache_root)/apt-$1 || return 1
	mkdir -p "$state"/{lists,cache/archives}/partial && : >>"$state/status" || return 1
	# Apt's other user could not write to a home directory.
	packages_apt=(-o "APT::Architecture=$1" -o "APT::Architectures=$1" -o "Dir::State=$state" -o "Dir::State::status=$state/status"
		-o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root
		# Images of Debian for containers turn these off, and apt then reads all lists anew for each question.
		-o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin)
	(
		flock 9
		packages_update "$state"
	) 9>"$state/lock"
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
	done < <(apt-cache ${packages_apt[@]+"${packages_apt[@]}"} depends --important "$1" 2>/dev/null |
		sed -n 's/^ *[|]\{0,1\}\(Pre\)\{0,1\}Depends: //p')
	packages_error "no dependency of $1 matches $2; is the package list empty? (apt-get update)"
	return 1
}

# packages_fetch PACKAGE: prints the directory that holds the unpacked package, downloading it first
# when the cache has no copy of exactly this content.
packages_fetch() {
	local name=$1 record version sha256 cache dir work deb got
	record=$(apt-cache ${packages_apt[@]+"${packages_apt[@]}"} show --no-all-versions "$name" 2>/dev/null)
	version=$(sed -n 's/^Version: //p' <<<"$record" | head -n 1)
	sha256=$(sed -n 's/^SHA256: //p' <<<"$record" | head -n 1)
	if [[ -z $version || ! $sha256 =~ ^[0-9a-f]{64}$ ]]; then
		packages_error "apt knows no package $name for $packages_arch; is the package list empty? (apt-get update)"
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
	if ! (cd "$work" && apt-get -q ${packages_apt[@]+"${packages_apt[@]}"} download "$name=$version") >"$work/log" 2>&1; then
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
	name=$(packages_depends "linux-image-6.12-cloud-$packages_arch" 'linux-image-6.12*') || return 1
	packages_fetch "$name"
}
