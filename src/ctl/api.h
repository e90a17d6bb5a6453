/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_API_H
#define CTL_API_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

/* A client of the control socket (docs/spec/control.md). One thread. */

#define API_TIMEOUT_MS 30000L

/*
 * One request. @body may be NULL. Returns 0 and the reply (NULL when it has no body; @ret_reply may be NULL) for a 2xx answer; -EREMOTEIO with the
 * server's words when it refused, *ret_status (may be NULL) saying how; -ENOTCONN, -ETIMEDOUT or another errno when there was no answer.
 */
int api_call(const char *socket_path, const char *method, const char *route, const json_t *body,
	     long timeout_ms, int *ret_status, json_t **ret_reply, struct err *err);

/* The event stream. */
struct api_stream;
int api_stream_open(const char *socket_path, struct api_stream **ret, struct err *err);
void api_stream_close(struct api_stream *s);

enum api_next {
	API_EVENT, /* *ret_event is the next one */
	API_TIMEOUT, /* nothing within the time */
	API_WAKE, /* @wake_fd (-1: none) is readable */
	API_END, /* the server ended the stream: its VM is gone from here */
	API_BROKEN, /* the stream broke off; err says why */
};
/* @timeout_ms -1: for ever. */
enum api_next api_stream_next(struct api_stream *s, int wake_fd, int timeout_ms, json_t **ret_event,
			      struct err *err);

#endif
