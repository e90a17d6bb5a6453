/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H

#include "options.h"

/* Exit statuses (vmm(1)). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1, /* migrate: the VM runs on here */
	CTL_USAGE = 2,
	CTL_UNKNOWN = 3, /* migrate: nobody can say where it runs */
	CTL_CANCELLED = 130,
};

int cmd_migrate(const struct ctl_args *args);
int cmd_dirtyrate(const struct ctl_args *args);
int cmd_list(const struct ctl_args *args);
int cmd_status(const struct ctl_args *args);
int cmd_pause(const struct ctl_args *args);
int cmd_resume(const struct ctl_args *args);
int cmd_stop(const struct ctl_args *args);
int cmd_balloon(const struct ctl_args *args);
int cmd_events(const struct ctl_args *args);

#endif
