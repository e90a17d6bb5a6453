/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_SERVER_H
#define CONTROL_SERVER_H

#include <stdint.h>

#include "base/err.h"

/*
 * The control socket: HTTP/1.1 with JSON on a unix socket (docs/spec/control.md, docs/spec/openapi.yaml). Threads of its own; talks to the machine through machine.h only.
 */
struct machine;
struct control_server;

/* Binds @api_path (NULL: RUNTIME_DIR/NAME.sock), mode 0600, and registers itself as the machine's sink. A stale socket is replaced, a live one is -EADDRINUSE ("a VM named a
 * is running"). With an explicit path a symlink NAME.sock in the runtime directory makes the VM visible to `vmm list`. */
int control_server_start(struct machine *m, const char *name, const char *api_path, struct control_server **ret, struct err *err);
/* Waits up to @linger_ns until every event stream has been given all that was queued, then removes socket and symlink. */
void control_server_stop(struct control_server *s, uint64_t linger_ns);
const char *control_server_path(const struct control_server *s);

/* $VMM_RUNTIME_DIR, else $XDG_RUNTIME_DIR/vmm, else /run/vmm for root, else /tmp/vmm-UID; made with mode 0700 and refused when somebody else owns it. */
int control_runtime_dir(char *ret, unsigned int ret_bytes, struct err *err);

#endif
