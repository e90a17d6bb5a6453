/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stdint.h>

/* What a load did: requests of one size, or bytes of a stream that has no requests. */
struct load_result {
	uint64_t requests, bytes;
	uint64_t elapsed_ns;
	uint64_t longest_ns; /* from a request to its answer; 0 for a stream */
};

struct disk_load {
	const char *path; /* opened with O_DIRECT */
	bool write, sequential;
	uint32_t size_bytes;
	unsigned int depth;
	uint64_t duration_ns;
};

enum net_mode { NET_SEND = 's', NET_RECV = 'r', NET_PINGPONG = 'p' };

/* Between the set-up and the load: blocks until it may begin. */
typedef void (*load_gate_fn)(void);

/* Failures end the process with a message and status 1: nothing is measured then. */
void disk_load(const struct disk_load *l, load_gate_fn gate, struct load_result *ret);
void net_load(const char *address, enum net_mode mode, uint64_t duration_ns, load_gate_fn gate,
	      struct load_result *ret);
/* The other end of net_load, one connection at a time, for ever. */
_Noreturn void net_serve(void);

_Noreturn void load_fail(const char *what, int error);

#endif
