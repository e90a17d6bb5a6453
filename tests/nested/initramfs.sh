# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Builds initramfs images from a directory tree. Sourced by the nested tests, after packages.sh.
# Nothing here needs root: the kernel brings /dev/console, everything else in /dev is devtmpfs.

# A directory with the libraries of another architecture's programs, laid out as Debian does; empty: programs are this machine's.
initramfs_sysroot=''
# The objcopy that knows modules of another architecture; empty: this machine's.
initramfs_objcopy=''

# initramfs_skeleton TREE BUSYBOX [LISTER]: mount points, busybox and a link for each of its applets. When BUSYBOX does not run
# here, LISTER is one that does and has the same applets.
initramfs_skeleton() {
	local tree=$1 busybox=$2 lister=${3:-$2} applet
	mkdir -p "$tree"/{bin,dev,etc,proc,root,run,sys,tmp} || return 1
	cp "$busybox" "$tree/bin/busybox" || return 1
	chmod 755 "$tree/bin/busybox"
	while read -r applet; do
		[[ $applet == busybox ]] || ln -s busybox "$tree/bin/$applet" || return 1
	done < <("$lister" --list)
	ln -s bin "$tree/sbin"
	printf '127.0.0.1\tlocalhost\n' >"$tree/etc/hosts"
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$tree/etc/passwd"
}

# initramfs_libraries FILE: the shared libraries that ldd finds for a dynamically linked program, by path; nothing for a script,
# data or a static program.
initramfs_libraries() {
	local libs
	libs=$(ldd "$1" 2>/dev/null) || return 0
	if [[ $libs == *'not found'* ]]; then
		printf 'initramfs: %s: shared library missing:\n%s\n' "$1" "$libs" >&2
		return 1
	fi
	sed -n 's/^.*[[:space:]]\(\/[^ ]*\) (0x[0-9a-f]*)$/\1/p' <<<"$libs"
}

# initramfs_foreign_libraries FILE...: the same for programs that the dynamic loader here knows nothing of, by their paths below
# initramfs_sysroot: the loader that they name, what they need, what that needs, each once.
initramfs_foreign_libraries() {
	local queue=("$@") seen=' ' file name found
	while ((${#queue[@]} > 0)); do
		file=${queue[0]}
		queue=("${queue[@]:1}")
		while read -r name; do
			[[ $seen != *" $name "* ]] || continue
			seen+="$name "
			for found in "$initramfs_sysroot"{,/lib/*,/usr/lib/*}/"${name#/}" ''; do
				[[ ! -f $found ]] || break
			done
			if [[ -z $found ]]; then
				printf 'initramfs: %s: no %s below %s\n' "$file" "$name" "$initramfs_sysroot" >&2
				return 1
			fi
			printf '%s\n' "${found#"$initramfs_sysroot"}"
			queue+=("$found")
		done < <(readelf -W -l -d "$file" 2>/dev/null |
			sed -n 's/.*Shared library: \[\(.*\)\]$/\1/p; s/.*program interpreter: \(.*\)\]$/\1/p')
	done
}

# initramfs_add TREE FILE PATH: copies FILE to PATH, and the shared libraries of a program each to the path it has here.
initramfs_add() {
	local tree=$1 file=$2 path=$3 libs lib
	if [[ $path != /* ]]; then
		printf 'initramfs: %s: the path inside must be absolute\n' "$path" >&2
		return 1
	fi
	mkdir -p "$tree$(dirname "$path")" && cp -L "$file" "$tree$path" || return 1
	if [[ -n $initramfs_sysroot ]]; then
		libs=$(initramfs_foreign_libraries "$file") || return 1
	else
		libs=$(initramfs_libraries "$file") || return 1
	fi
	for lib in $libs; do
		[[ -e $tree$lib ]] && continue
		mkdir -p "$tree$(dirname "$lib")" && cp -L "$initramfs_sysroot$lib" "$tree$lib" || return 1
	done
}

# initramfs_add_module TREE KERNEL_PACKAGE NAME: the module and what it depends on, unpacked, into
# /modules, and its name into /modules/order behind those of its dependencies.
initramfs_add_module() {
	local tree=$1 package=$2 name=$3 source target dep
	target=$tree/modules/$name.ko
	[[ -e $target ]] && return 0
	source=$(find "$package/lib/modules" -name "$name.ko*" -print -quit)
	mkdir -p "$tree/modules" || return 1
	case $source in
	*.ko) cp "$source" "$target" || return 1 ;;
	*.ko.xz) xz -dc "$source" >"$target" || return 1 ;;
	*)
		printf 'initramfs: no module %s in %s\n' "$name" "$package" >&2
		return 1
		;;
	esac
	# Debian builds modules.dep at installation, so ask the module itself. Its names come with '_'
	# or '-' as the author pleased; the file names of Debian's modules follow the same spelling.
	while read -r dep; do
		initramfs_add_module "$tree" "$package" "$dep" || return 1
	done < <(readelf -p .modinfo "$target" | sed -n 's/^.* depends=//p' | tr ',' '\n' | sed '/^$/d')
	# Type information is most of a module and insmod of a module without it is twice as fast.
	"${initramfs_objcopy:-objcopy}" --strip-unneeded -R .BTF "$target" || return 1
	printf '%s\n' "$name" >>"$tree/modules/order"
}

# initramfs_pack TREE FILE [gzip]: an uncompressed image unpacks fastest where memory is cheap, a
# compressed one where each byte goes through an emulated processor twice.
initramfs_pack() {
	local tree=$1 file=$2 filter=${3:-cat}
	(
		set -o pipefail
		cd "$tree" && find . -print0 | LC_ALL=C sort -z |
			cpio --null --quiet -o -H newc -R 0:0 | "$filter" >"$file.part"
	) && mv "$file.part" "$file"
}
