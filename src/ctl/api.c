/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"

/* A reply or an event is far smaller; a server that sends more is none of ours. */
#define MAX_REPLY_BYTES (4u << 20)

/* curl_easy_setopt is a macro of curl's that checks types; each call can fail for want of memory only, which the transfer then reports. */
static CURL *easy_create(const char *socket_path, const char *route, struct buf *into,
			 curl_write_callback write_fn)
{
	CURL *c = curl_easy_init();
	char url[128];

	if (!c)
		return NULL;
	snprintf(url, sizeof(url), "http://localhost/api/v1/%s", route);
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket_path);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write_fn);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, into);
	return c;
}

static size_t collect(char *data, size_t size, size_t n, void *opaque)
{
	struct buf *b = opaque;

	if (b->len_bytes + size * n > MAX_REPLY_BYTES)
		return 0;
	buf_put(b, data, size * n);
	return buf_ok(b) ? size * n : 0;
}

static int transport_error(CURLcode code, struct err *err)
{
	switch ((int)code) {
	case CURLE_COULDNT_CONNECT:
		return err_set(err, -ENOTCONN, "nobody answers on its control socket");
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(err, -ETIMEDOUT, "it does not answer on its control socket");
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		return err_set(err, -ECONNRESET, "its control socket closed without an answer");
	default:
		return err_set(err, -EIO, "control socket: %s", curl_easy_strerror(code));
	}
}

static int read_reply(CURL *c, const struct buf *text, int *ret_status, json_t **ret_reply,
		      struct err *err)
{
	long status = 0;
	const char *why;
	json_t *o = NULL;
	json_error_t what;

	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if (ret_status)
		*ret_status = (int)status;
	if (text->len_bytes) {
		o = json_loadb((const char *)text->data, text->len_bytes, 0, &what);
		if (!o)
			return err_set(err, -EPROTO, "its answer is not JSON: %s", what.text);
	}
	if (status >= 200 && status < 300) {
		if (ret_reply)
			*ret_reply = o;
		else
			json_decref(o);
		return 0;
	}
	why = json_string_value(json_object_get(o, "error"));
	err_set(err, -EREMOTEIO, "%s", why ? why : "refused without a reason");
	json_decref(o);
	return -EREMOTEIO;
}

int api_call(const char *socket_path, const char *method, const char *route, const json_t *body,
	     long timeout_ms, int *ret_status, json_t **ret_reply, struct err *err)
{
	struct buf text = { 0 };
	CURL *c = easy_create(socket_path, route, &text, collect);
	char *out = body ? json_dumps(body, JSON_COMPACT) : NULL;
	CURLcode code;
	int rc;

	if (!c || (body && !out)) {
		rc = err_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms);
	if (strcmp(method, "GET") != 0) {
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, out ? out : "");
	}
	code = curl_easy_perform(c);
	rc = code ? transport_error(code, err) : read_reply(c, &text, ret_status, ret_reply, err);
out:
	curl_easy_cleanup(c);
	free(out);
	buf_fini(&text);
	return rc;
}

struct api_stream {
	CURLM *multi;
	CURL *easy;
	struct buf text; /* received, not yet handed out */
	size_t taken_bytes;
	bool done;
	CURLcode code;
};

int api_stream_open(const char *socket_path, struct api_stream **ret, struct err *err)
{
	struct api_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(err, -ENOMEM, "out of memory");
	s->multi = curl_multi_init();
	s->easy = easy_create(socket_path, "vm.events", &s->text, collect);
	if (!s->multi || !s->easy || curl_multi_add_handle(s->multi, s->easy)) {
		api_stream_close(s);
		return err_set(err, -ENOMEM, "out of memory");
	}
	*ret = s;
	return 0;
}

void api_stream_close(struct api_stream *s)
{
	if (!s)
		return;
	if (s->multi && s->easy)
		curl_multi_remove_handle(s->multi, s->easy);
	curl_easy_cleanup(s->easy);
	curl_multi_cleanup(s->multi);
	buf_fini(&s->text);
	free(s);
}

/* One line, parsed. 1, 0 (no whole line yet) or -EPROTO. */
static int take_event(struct api_stream *s, json_t **ret_event, struct err *err)
{
	size_t left = s->text.len_bytes - s->taken_bytes;
	const char *start, *end;
	json_error_t what;
	json_t *o;

	if (!left) {
		buf_clear(&s->text);
		s->taken_bytes = 0;
		return 0;
	}
	start = (const char *)s->text.data + s->taken_bytes;
	end = memchr(start, '\n', left);
	if (!end) {
		/* What there is of a line moves to the front, so that the buffer never holds more than one read and one line. */
		memmove(s->text.data, start, left);
		s->text.len_bytes = left;
		s->taken_bytes = 0;
		return 0;
	}
	o = json_loadb(start, (size_t)(end - start), 0, &what);
	if (!o)
		return err_set(err, -EPROTO, "an event is not JSON: %s", what.text);
	s->taken_bytes += (size_t)(end - start) + 1;
	*ret_event = o;
	return 1;
}

/* Without an event: why the stream is over. */
static enum api_next ending(struct api_stream *s, struct err *err)
{
	long status = 0;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (s->code) {
		transport_error(s->code, err);
		return API_BROKEN;
	}
	if (status == 200)
		return API_END;
	err_set(err, -EREMOTEIO, "no event stream: status %ld", status);
	return API_BROKEN;
}

static void pump(struct api_stream *s)
{
	int running = 0, left;
	CURLMsg *msg;

	curl_multi_perform(s->multi, &running);
	while ((msg = curl_multi_info_read(s->multi, &left))) {
		if (msg->msg == CURLMSG_DONE) {
			s->done = true;
			s->code = msg->data.result;
		}
	}
}

static int wait_ms(uint64_t until_ns, int timeout_ms)
{
	uint64_t now = clock_mono_ns();

	if (timeout_ms < 0)
		return 60000;
	return now >= until_ns ? 0 : (int)((until_ns - now) / NS_PER_MS) + 1;
}

enum api_next api_stream_next(struct api_stream *s, int wake_fd, int timeout_ms, json_t **ret_event,
			      struct err *err)
{
	uint64_t until = clock_mono_ns() + (uint64_t)MAX(timeout_ms, 0) * NS_PER_MS;

	for (;;) {
		struct curl_waitfd wake = { .fd = wake_fd, .events = CURL_WAIT_POLLIN };
		int rc = take_event(s, ret_event, err);
		int ms;

		if (rc)
			return rc > 0 ? API_EVENT : API_BROKEN;
		if (s->done)
			return ending(s, err);
		pump(s);
		if (s->done || s->text.len_bytes)
			if (s->done || memchr(s->text.data, '\n', s->text.len_bytes))
				continue;
		ms = wait_ms(until, timeout_ms);
		if (ms == 0)
			return API_TIMEOUT;
		curl_multi_poll(s->multi, &wake, wake_fd >= 0 ? 1 : 0, ms, NULL);
		if (wake.revents)
			return API_WAKE;
	}
}
