/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ENGINE_FAULT_TRANSPORT_H
#define TESTS_ENGINE_FAULT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "migration/transport.h"

#define FAULT_NEVER UINT64_MAX

/*
 * What goes wrong, by position in the stream of each direction (bytes since the start). fault_plan_init sets all to "never". The plan is the
 * caller's; its fields may be read while the transport lives.
 */
struct fault_plan {
	uint64_t
		cut_after_sent; /* exactly so many bytes leave, then the connection is dropped: -ECONNRESET here, the end there */
	uint64_t cut_after_received; /* as seen by this side's reads */
	uint64_t
		flip_sent; /* this byte leaves with bit 0 inverted; the caller's memory stays as it is */
	uint64_t
		stall_after_sent; /* so many bytes leave, then none until stall_ns of the transport: -ETIMEDOUT */
	uint64_t delay_ns; /* before each send */
	uint64_t cancel_after_sent; /* transport_cancel from within */
	bool hit; /* something of the above (but the delay) has happened */
};
void fault_plan_init(struct fault_plan *plan);

/* Takes @inner over in any case; @record: what was sent is written there too when it is not NULL (a recorded stream). */
struct buf;
int fault_transport_create(struct transport *inner, struct fault_plan *plan, struct buf *record,
			   struct transport **ret, struct err *err);

#endif
