/* SPDX-License-Identifier: Apache-2.0 */
#include "follow.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"

#define FIRST_EVENT_MS 10000

int follow_signals(struct follow *f, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	f->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return f->signal_fd < 0 ? err_sys(err, -errno, "signals") : 0;
}

int follow_open(struct follow *f, struct err *err)
{
	json_t *first = NULL;
	int rc = api_stream_open(f->socket_path, &f->stream, err);

	if (rc)
		return rc;
	switch (api_stream_next(f->stream, -1, FIRST_EVENT_MS, &first, err)) {
	case API_EVENT:
		json_decref(first);
		return 0;
	case API_BROKEN:
		return err->code ? err->code : -EIO;
	case API_TIMEOUT:
	case API_WAKE:
	case API_END:
		break;
	}
	return err_set(err, -ETIMEDOUT, "no events come from its control socket");
}

/* True: stop watching. */
static bool on_signal(struct follow *f)
{
	struct signalfd_siginfo si;
	struct err err = { 0 };

	if (read(f->signal_fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return false;
	if (f->nsignals++)
		return true;
	f->note(f->opaque, "cancelling");
	if (api_call(f->socket_path, "PUT", f->cancel_route, NULL, API_TIMEOUT_MS, NULL, NULL,
		     &err))
		f->note(f->opaque, err.msg);
	return false;
}

json_t *follow_event(struct follow *f)
{
	for (;;) {
		json_t *ev = NULL;
		struct err err = { 0 };

		switch (api_stream_next(f->stream, f->signal_fd, -1, &ev, &err)) {
		case API_EVENT:
			return ev;
		case API_WAKE:
			if (on_signal(f))
				return NULL;
			continue;
		case API_TIMEOUT:
			continue;
		case API_BROKEN:
			f->note(f->opaque, err.msg);
			return NULL;
		case API_END:
			return NULL;
		}
	}
}

void follow_fini(struct follow *f)
{
	api_stream_close(f->stream);
	f->stream = NULL;
	fd_close(&f->signal_fd);
}
