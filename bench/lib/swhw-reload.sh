#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# reload-kvm PARAMETER=VALUE... on a real host, for swhw-measure.sh: loads the vendor's KVM module anew with these parameters. Refuses
# while VMs run. The module's name is in $SWHW_MODULE; whoever called puts the old setting back (swhw_settings.py).

module=${SWHW_MODULE:?}
sysfs=${SWHW_SYSFS:-/sys/module}/$module

fail() {
	echo "reload-kvm: $*" >&2
	exit 1
}

if [ -d "$sysfs" ]; then
	users=$(cat "$sysfs/refcnt") || fail "cannot tell whether VMs use $module"
	[ "$users" -eq 0 ] || fail "$module is in use ($users): a VM runs on this host, and it stays"
	rmmod "$module" || fail "cannot unload $module"
fi
modprobe "$module" "$@" || fail "cannot load $module $*"
for word in "$@"; do
	now=$(cat "$sysfs/parameters/${word%%=*}") || fail "$module has no parameter ${word%%=*}"
	case ${word#*=}/$now in
	[1Yy]/[1Y] | [0Nn]/[0N]) ;;
	*) [ "${word#*=}" = "$now" ] || fail "asked $module for $word, in force is $now: the processor does not offer it" ;;
	esac
done
