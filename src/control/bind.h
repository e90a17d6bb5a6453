/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_BIND_H
#define CONTROL_BIND_H

#include "base/err.h"

/* The control socket's place in the file system. */
struct bound_socket {
	int fd; /* listening; -1: none, or handed on */
	char path[512]; /* absolute */
	char link[512]; /* the symbolic link in the runtime directory; "": none */
};

/* As control_server_start says. */
int bound_socket_init(struct bound_socket *s, const char *name, const char *api_path,
		      struct err *err);
/* The files vanish; the descriptor stays. */
void bound_socket_unlink(struct bound_socket *s);
void bound_socket_fini(struct bound_socket *s);

#endif
