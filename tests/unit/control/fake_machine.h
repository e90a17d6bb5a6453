/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAKE_MACHINE_H
#define TESTS_FAKE_MACHINE_H

#include "machine/machine.h"

/*
 * machine.h without a VM: states, and migrations that follow a script instead of moving anything. The script is the host part of the address:
 *   ok:PORT      progress, two rounds, completed; the machine is MIGRATED then
 *   many:PORT    the same with N = PORT rounds
 *   fail:PORT    one round, then failed
 *   wait:PORT    rounds go on until it is cancelled
 *   unknown:PORT one round, then outcome unknown
 *   die:PORT     one round, then the process is gone
 *   any other address is refused as one that cannot be resolved
 */
struct machine *fake_machine_create(const char *name, const char *kernel, enum machine_state state);

#endif
