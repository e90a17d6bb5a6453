#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs inside the nested host (see linux-svm): starts a stock Linux under vmm, moves it twice and looks
# at it. One line "ok - WHAT" or "not ok - WHAT" for each check, "# ..." for everything else, "end" last.
#
#   a  started with the console in a file; counts; moves to b
#   b  received with the console in a file; counts on; moves to c
#   c  received with the console on a pty: a shell answers; "poweroff" ends it
#   d  started with the console on stdio: "reboot" ends it or starts it afresh

# shellcheck source=tests/nested/checks.sh
. /checks.sh
# shellcheck source=tests/nested/linux-checks.sh
. /linux-checks.sh

# A machine that other tests keep busy spends the usual limit on saving and restoring alone.
# shellcheck disable=SC2034 # for checks.sh and linux-checks.sh
migrate_options='--max-downtime 3s' mem=256M
cmdline='console=ttyS0 quiet panic=-1'
[ "${1:-}" != --verbose ] || cmdline='console=ttyS0 panic=-1'

note "host: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cpus, npt=$(cat /sys/module/kvm_amd/parameters/npt)"

# --- a: boots, with two processors, kvmclock and ACPI; counts -------------------------------------
run_linux a 2 /vmlinuz file:/tmp/a.log </dev/null >/tmp/a.out 2>&1 &
a=$!
wait_for $boot_limit_s $a '^count 5 ' /tmp/a.log || bail 'a stock Debian kernel boots and counts'
elapsed 'the guest counts'
ok 'a stock Debian kernel boots and counts'
check 'the guest has 2 processors online' guest_says /tmp/a.log cpus=2
check "the guest's clocksource is kvm-clock" guest_says /tmp/a.log clocksource=kvm-clock
check "the guest's kernel found kvmclock" guest_says /tmp/a.log kvmclock=1
check "the guest's ACPI supports S5" guest_says /tmp/a.log acpi-off=1
grep '^guest ' /tmp/a.log | tr -d '\r' | sed 's/^/# /'
wait_counts /tmp/a.log 10 $a || bail 'the guest goes on counting before any migration'
offset_a_ms=$(clock_offset_ms /tmp/a.log)

# --- a moves to b and counts on ----------------------------------------------------------------
move a b 4444 $a file:/tmp/b.log
b=$receiver
elapsed 'moved to b'
wait_for $count_limit_s $b '^count [0-9]* ' /tmp/b.log || bail 'the guest counts on as b'
wait_counts /tmp/b.log 20 $b || bail 'the guest goes on counting as b'
ok 'the guest goes on counting as b'
check 'no number is lost or repeated as a' contiguous /tmp/a.log
check 'no number is lost or repeated as b' contiguous /tmp/b.log
check 'no byte of the console is lost between a and b' contiguous /tmp/a.log /tmp/b.log
drift_ms=$(($(clock_offset_ms /tmp/b.log) - offset_a_ms))
# Two readings by polling, a guest that prints five times a second, and at most the downtime.
check "the guest's clock did not jump (moved by $drift_ms ms against the host's)" within $drift_ms 2000

# --- b moves to c, whose shell answers -----------------------------------------------------------
[ ! -e /dev/pts/0 ] || bail 'nobody else uses a pty'
move b c 4445 $b pty
c=$receiver
elapsed 'moved to c'
read_pty /tmp/c.log
wait_for $count_limit_s $c '^count [0-9]* ' /tmp/c.log || bail 'the guest counts on as c'
wait_counts /tmp/c.log 10 $c || bail 'the guest goes on counting as c'
ok 'the guest goes on counting as c'
check 'no number is lost or repeated as c' contiguous /tmp/c.log
missed=$(($(first_count /tmp/c.log) - $(last_count /tmp/b.log)))
check "c counts on from b's last number (first $missed later)" [ "$missed" -ge 1 ]
drift_ms=$(($(clock_offset_ms /tmp/c.log) - offset_a_ms))
check "the guest's clock did not jump in two moves (moved by $drift_ms ms)" within $drift_ms 3000

shell_checks $c /tmp/c.log kvm-clock
# Worth knowing, but an emulated and busy host makes the guest's watchdog see skew by itself at times.
grep -q 'skew-0' /tmp/c.log || note "the guest's kernel saw its TSC and kvmclock run apart"

poweroff_checks c $c
kill "$reader" 2>/dev/null
elapsed 'powered off'

# --- d: reboots ------------------------------------------------------------------------------------
reboot_checks d /vmlinuz

check 'no vmm process is left' sh -c '! pidof vmm >/dev/null'
scenario_end
