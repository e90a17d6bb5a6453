#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# reload-kvm [PARAMETER=VALUE]...: loads the host's KVM module anew with these parameters, so that one boot serves several
# settings. No VM may exist. Prints the module's parameters that matter; status 1 and a reason when the module is not usable.
# In host.conf: module (kvm_intel; empty: KVM is built in and nothing is loaded), needs (parameters that must be on), options
# (parameters of every load).

module='' needs='' options=''
# shellcheck source=/dev/null
. /etc/host.conf

fail() {
	echo "reload-kvm: $*" >&2
	exit 1
}

if [ -z "$module" ]; then
	[ $# -eq 0 ] || fail "KVM is built into this kernel, and its parameters with it: $*"
	[ -c /dev/kvm ] || fail 'no /dev/kvm'
	exit 0
fi
if [ -d "/sys/module/$module" ]; then
	rmmod "$module" || fail "cannot unload $module: is a VM running?"
fi
# Dependencies first; those that are loaded stay.
while read -r name; do
	[ ! -d "/sys/module/$(echo "$name" | tr - _)" ] || continue
	if [ "$(echo "$name" | tr - _)" = "$module" ]; then
		# Of a parameter given twice the later word counts, so the caller's come last.
		# shellcheck disable=SC2086 # several words
		insmod "/modules/$name.ko" $options "$@" || fail "cannot load $module $options $*"
	else
		insmod "/modules/$name.ko" || fail "cannot load $name"
	fi
done </modules/order
[ -c /dev/kvm ] || fail 'no /dev/kvm'
for name in $needs; do
	value=$(cat "/sys/module/$module/parameters/$name")
	case $value in
	1 | Y) ;;
	*) fail "$module runs with $name=$value" ;;
	esac
done
# What was asked for must be in force: kvm_intel drops what the processor does not support.
last_setting() {
	for word in $options "$@"; do
		[ "${word%%=*}" != "$parameter" ] || setting=${word#*=}
	done
}
for word in $options "$@"; do
	parameter=${word%%=*}
	last_setting "$@"
	value=$(cat "/sys/module/$module/parameters/$parameter") || exit 1
	case $setting/$value in
	[1Yy]/[1Y] | [0Nn]/[0N]) ;;
	*) [ "$setting" = "$value" ] || fail "asked $module for $parameter=$setting, in force is $value" ;;
	esac
done
exit 0
