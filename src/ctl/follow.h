/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_FOLLOW_H
#define CTL_FOLLOW_H

#include <jansson.h>

#include "api.h"
#include "base/err.h"

/*
 * Following something that a VM does until it is over: its events, and a Ctrl-C that asks the VM to end it. One thread; signals SIGINT and SIGTERM are the
 * follower's from follow_signals on.
 */
struct follow {
	const char *socket_path; /* the caller's */
	const char *cancel_route; /* PUT at the first signal */
	void (*note)(void *opaque, const char *text); /* a line for people, on stderr */
	void *opaque;
	struct api_stream *stream;
	int signal_fd; /* -1: none */
	unsigned int nsignals;
};

int follow_signals(struct follow *f, struct err *err);
/* The stream is open, and the server has us on its list: nothing that begins from now on is missed. */
int follow_open(struct follow *f, struct err *err);
/*
 * The next event, or NULL when the stream is over. The first signal cancels, and the end is waited for; a second one means that somebody does not want to
 * wait: NULL too, and nsignals is above one.
 */
json_t *follow_event(struct follow *f);
void follow_fini(struct follow *f);

#endif
