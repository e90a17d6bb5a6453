# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Builds initramfs images from a directory tree. Sourced by the nested tests, after packages.sh.
# Nothing here needs root: the kernel brings /dev/console, everything else in /dev is devtmpfs.

# initramfs_skeleton TREE BUSYBOX: mount points, busybox and a link for each of its applets.
initramfs_skeleton() {
	local tree=$1 busybox=$2 applet
	mkdir -p "$tree"/{bin,dev,etc,proc,root,run,sys,tmp} || return 1
	cp "$busybox" "$tree/bin/busybox" || return 1
	chmod 755 "$tree/bin/busybox"
	while read -r applet; do
		[[ $applet == busybox ]] || ln -s busybox "$tree/bin/$applet" || return 1
	done < <("$busybox" --list)
	ln -s bin "$tree/sbin"
	printf '127.0.0.1\tlocalhost\n' >"$tree/etc/hosts"
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$tree/etc/passwd"
}

# initramfs_add TREE FILE PATH: copies FILE to PATH, and with a dynamically linked program the shared
# libraries that ldd finds, each to the path it has here.
initramfs_add() {
	local tree=$1 file=$2 path=$3 libs lib
	if [[ $path != /* ]]; then
		printf 'initramfs: %s: the path inside must be absolute\n' "$path" >&2
		return 1
	fi
	mkdir -p "$tree$(dirname "$path")" && cp -L "$file" "$tree$path" || return 1
	# ldd fails on scripts, data and static programs: those need nothing more.
	libs=$(ldd "$file" 2>/dev/null) || return 0
	if [[ $libs == *'not found'* ]]; then
		printf 'initramfs: %s: shared library missing:\n%s\n' "$file" "$libs" >&2
		return 1
	fi
	while read -r lib; do
		[[ -e $tree$lib ]] && continue
		mkdir -p "$tree$(dirname "$lib")" && cp -L "$lib" "$tree$lib" || return 1
	done < <(sed -n 's/^.*[[:space:]]\(\/[^ ]*\) (0x[0-9a-f]*)$/\1/p' <<<"$libs")
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
	objcopy --strip-unneeded -R .BTF "$target" || return 1
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
