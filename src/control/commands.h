/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_COMMANDS_H
#define CONTROL_COMMANDS_H

#include <jansson.h>

#include "base/err.h"
#include "machine/dirty_rate.h"
#include "machine/machine.h"
#include "shape.h"

#define COMMAND_PREFIX "/api/v1/"

struct command_resume {
	bool force;
};
struct command_shutdown {
	int mode; /* 0 power-button, 1 kill */
};
struct command_set_max_downtime {
	uint64_t max_downtime_ns;
};
struct command_send_migration {
	char to[256];
	uint64_t max_downtime_ns;
	uint64_t max_bandwidth;
	uint64_t timeout_ns;
	int on_timeout; /* 0 cancel, 1 switch */
	int compress; /* enum mig_compress */
	int compress_level;
};
struct command_resize_balloon {
	uint64_t size_bytes;
};
struct command_dirty_rate {
	uint64_t for_ns;
	uint64_t interval_ns;
	uint64_t bandwidth;
	uint64_t max_downtime_ns;
	char trace[DIRTY_RATE_MAX_TRACE + 1];
};
union command_args {
	struct command_resume resume;
	struct command_shutdown shutdown;
	struct command_set_max_downtime set_max_downtime;
	struct command_send_migration send_migration;
	struct command_resize_balloon resize_balloon;
	struct command_dirty_rate dirty_rate;
};

/* One route. What a route takes is its fields (none: an empty body or {}), what it gives is *ret_reply (NULL: no body). */
struct command {
	const char *method;
	const char *path; /* behind COMMAND_PREFIX */
	const char *states; /* in which it succeeds; the machine is who decides (409) */
	const struct shape_field *fields;
	size_t nfields;
	union command_args defaults;
	int ok_status;
	int (*run)(struct machine *m, const union command_args *args, json_t **ret_reply,
		   struct err *err); /* NULL: the event stream */
};

/* All routes; *ret_n of them. */
const struct command *command_table(size_t *ret_n);

/* The HTTP status that says @rc, a negative errno of command_run or of a command. */
int command_status(int rc);

/* Takes @body (len 0: none), decodes it by the command's fields, runs it. 0 or -errno with the reason. */
int command_run(const struct command *c, struct machine *m, const void *body, size_t body_bytes,
		json_t **ret_reply, struct err *err);

#endif
