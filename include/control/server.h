/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_SERVER_H
#define CONTROL_SERVER_H

#include <stdint.h>

#include "base/err.h"
#include "control/runtime.h"

/*
 * The control socket: HTTP/1.1 with JSON on a unix socket (docs/spec/control.md, docs/spec/openapi.yaml). A thread of its own; talks to the machine through
 * machine.h only.
 */
struct machine;
struct control_server;

/* Binds @api_path (NULL: RUNTIME_DIR/NAME.sock), mode 0600, and registers itself as the machine's sink. A stale socket is replaced, a live one is -EADDRINUSE ("a VM named a
 * is running"). With an explicit path a symlink NAME.sock in the runtime directory makes the VM visible to `vmm list`. */
int control_server_start(struct machine *m, const char *name, const char *api_path,
			 struct control_server **ret, struct err *err);
/*
 * The end has two halves, since server and machine each call the other. Stop first: it removes socket and symlink, waits up to @linger_ns until every request
 * is answered and every event stream has been given all that was queued, and does not call the machine again. Then the machine is destroyed, whose threads may
 * deliver events until then (to nobody). Destroy last. NULL is fine.
 */
void control_server_stop(struct control_server *s, uint64_t linger_ns);
void control_server_destroy(struct control_server *s);
const char *control_server_path(const struct control_server *s);

#endif
