/* SPDX-License-Identifier: Apache-2.0 */
#include "control/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "bind.h"
#include "commands.h"
#include "dirty_rate_json.h"
#include "events.h"
#include "report_json.h"

/* docs/spec/control.md §2 names these. */
#define MAX_BODY_BYTES (64u << 10)
/* A body over the limit is read up to here and thrown away, so that its sender gets to read why; beyond it he may find the connection closed. */
#define MAX_DISCARD_BYTES (1u << 20)
#define MAX_CONNECTIONS 32u
#define REQUEST_TIMEOUT_S 10u
#define STREAM_TIMEOUT_S 60u

/* The pool of one connection: its request line, headers, and the piece of the body or reply that is on its way. */
#define CONNECTION_POOL_BYTES (8u << 10)
#define STREAM_BLOCK_BYTES 2048
/* The JSON parser recurses up to 2048 deep. Only pages that are touched cost anything. */
#define THREAD_STACK_BYTES (1u << 20)

#define JSON_OUT (JSON_COMPACT | JSON_REAL_PRECISION(12))

struct control_server {
	struct machine *machine;
	struct bound_socket socket;
	char path[512];
	struct MHD_Daemon *daemon;
	struct event_hub *hub;
	pthread_mutex_t lock; /* of the two below */
	pthread_cond_t idle;
	unsigned int nrequests; /* begun, not yet answered to the last byte */
};

struct request {
	struct buf body;
	size_t received_bytes;
};

struct stream {
	struct MHD_Connection *connection;
	struct event_sub *sub;
	int fd;
};

/* ---- replies ---- */

static enum MHD_Result queue_text(struct MHD_Connection *c, int status, char *text,
				  const char *allow)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(text ? strlen(text) : 0, text,
								 text ? MHD_RESPMEM_MUST_FREE :
									MHD_RESPMEM_PERSISTENT);
	enum MHD_Result ok;

	if (!r) {
		free(text);
		return MHD_NO;
	}
	if (text)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	if (allow)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
	ok = MHD_queue_response(c, (unsigned int)status, r);
	MHD_destroy_response(r);
	return ok;
}

/* One line with its newline, or NULL. Takes the reference. */
static char *line_of(json_t *o)
{
	char *text = o ? json_dumps(o, JSON_OUT) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = text ? realloc(text, len + 2) : NULL;

	json_decref(o);
	if (!line) {
		free(text);
		return NULL;
	}
	memcpy(line + len, "\n", 2);
	return line;
}

static enum MHD_Result queue_error(struct MHD_Connection *c, int status, const char *message,
				   const char *allow)
{
	json_t *o = json_object();

	if (json_object_set_new(o, "error", shape_text(message)) < 0) {
		json_decref(o);
		o = NULL;
	}
	return queue_text(c, status, line_of(o), allow);
}

/* ---- events ---- */

static json_t *state_event_json(enum machine_state state, const char *reason)
{
	json_t *o = json_object();
	int rc = json_object_set_new(o, "event", json_string("state"));

	rc |= json_object_set_new(o, "state", json_string(machine_state_name(state)));
	rc |= json_object_set_new(o, "reason", shape_text(reason ? reason : ""));
	if (rc < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static json_t *event_json(const struct machine_event *ev)
{
	switch (ev->type) {
	case MACHINE_EV_STATE:
		return state_event_json(ev->state, ev->reason);
	case MACHINE_EV_PROGRESS:
		return json_pack("{s:s, s:o}", "event", "progress", "progress",
				 report_progress_json(ev->progress));
	case MACHINE_EV_ROUND:
		return json_pack("{s:s, s:o}", "event", "round", "round",
				 report_round_json(ev->round));
	case MACHINE_EV_MIGRATION_DONE:
		return json_pack("{s:s, s:o}", "event", "migration-done", "report",
				 report_json(ev->report));
	case MACHINE_EV_DIRTY_RATE_DONE:
		return json_pack("{s:s, s:o}", "event", "dirty-rate-done", "dirty_rate",
				 dirty_rate_json(ev->dirty_rate));
	}
	return NULL;
}

/* On whichever thread of the machine it happened. */
static void on_machine_event(void *opaque, const struct machine_event *ev)
{
	struct control_server *s = opaque;
	char *line;

	if (!event_hub_wanted(s->hub))
		return;
	line = line_of(event_json(ev));
	/* A stream without the event would lie: its readers are better off without a stream. */
	if (line)
		event_hub_publish(s->hub, line, ev->type == MACHINE_EV_PROGRESS);
	else if (ev->type != MACHINE_EV_PROGRESS)
		event_hub_close(s->hub);
	free(line);
}

static void stream_suspend(void *opaque)
{
	MHD_suspend_connection(((struct stream *)opaque)->connection);
}

static void stream_resume(void *opaque)
{
	MHD_resume_connection(((struct stream *)opaque)->connection);
}

static bool stream_gone(void *opaque)
{
	struct pollfd p = { .fd = ((struct stream *)opaque)->fd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

static const struct event_sub_ops stream_ops = {
	.suspend = stream_suspend,
	.resume = stream_resume,
	.gone = stream_gone,
};

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	ssize_t n = event_sub_read(((struct stream *)cls)->sub, buf, max);

	if (n == EVENT_END)
		return MHD_CONTENT_READER_END_OF_STREAM;
	return n == EVENT_BROKEN ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

static void stream_free(void *cls)
{
	struct stream *st = cls;

	event_sub_destroy(st->sub);
	free(st);
}

static int connection_fd(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *i =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

	return i ? i->connect_fd : -1;
}

/* Subscribed first, asked second: what happens in between is in the queue behind the snapshot, at worst told twice. */
static int stream_open(struct control_server *s, struct MHD_Connection *c, struct stream **ret)
{
	struct stream *st = calloc(1, sizeof(*st));
	struct machine_info info;
	char *line;
	int rc;

	if (!st)
		return -ENOMEM;
	st->connection = c;
	st->fd = connection_fd(c);
	st->sub = event_sub_create(s->hub, &stream_ops, st);
	if (!st->sub) {
		free(st);
		return -EAGAIN;
	}
	machine_get_info(s->machine, &info);
	line = line_of(state_event_json(info.state, info.stop_reason));
	rc = line ? event_sub_push_first(st->sub, line) : -ENOMEM;
	free(line);
	if (rc) {
		stream_free(st);
		return rc;
	}
	*ret = st;
	return 0;
}

static enum MHD_Result queue_stream(struct control_server *s, struct MHD_Connection *c)
{
	struct stream *st = NULL;
	struct MHD_Response *r;
	enum MHD_Result ok;
	int rc = stream_open(s, c, &st);

	if (rc)
		return queue_error(c, command_status(rc),
				   rc == -EAGAIN ? "too many event streams" : "out of memory",
				   NULL);
	r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, stream_read, st,
					      stream_free);
	if (!r) {
		stream_free(st);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
	MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, STREAM_TIMEOUT_S);
	ok = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return ok;
}

/* ---- requests ---- */

static const struct command *find_command(const char *url, const char *method,
					  const char **ret_allow)
{
	size_t n;
	const struct command *table = command_table(&n);

	*ret_allow = NULL;
	if (strncmp(url, COMMAND_PREFIX, strlen(COMMAND_PREFIX)) != 0)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(table[i].path, url + strlen(COMMAND_PREFIX)) != 0)
			continue;
		if (!strcmp(table[i].method, method))
			return &table[i];
		*ret_allow = table[i].method;
	}
	return NULL;
}

static enum MHD_Result answer(struct control_server *s, struct MHD_Connection *c, const char *url,
			      const char *method, const struct request *rq)
{
	const char *allow;
	const struct command *cmd = find_command(url, method, &allow);
	json_t *reply = NULL;
	struct err err = { 0 };
	char *line;
	int rc;

	if (!cmd && allow)
		return queue_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "this route has another method",
				   allow);
	if (!cmd)
		return queue_error(c, MHD_HTTP_NOT_FOUND, "no such route", NULL);
	if (rq->received_bytes > MAX_BODY_BYTES)
		return queue_error(c, command_status(-EMSGSIZE), "the body is larger than 64 KiB",
				   NULL);
	if (!buf_ok(&rq->body))
		return queue_error(c, command_status(-ENOMEM), "out of memory", NULL);
	if (!cmd->run)
		return queue_stream(s, c);
	rc = command_run(cmd, s->machine, rq->body.data, rq->body.len_bytes, &reply, &err);
	if (rc)
		return queue_error(c, command_status(rc), *err.msg ? err.msg : strerror(-rc), NULL);
	if (!reply)
		return queue_text(c, cmd->ok_status, NULL, NULL);
	line = line_of(reply);
	if (!line)
		return queue_error(c, command_status(-ENOMEM), "out of memory", NULL);
	return queue_text(c, cmd->ok_status, line, NULL);
}

static bool peer_allowed(struct MHD_Connection *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = connection_fd(c);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static enum MHD_Result begin(struct control_server *s, struct MHD_Connection *c, void **con_cls)
{
	const char *length =
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	struct request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return MHD_NO;
	pthread_mutex_lock(&s->lock);
	s->nrequests++;
	pthread_mutex_unlock(&s->lock);
	*con_cls = rq;
	/* Answered before the body is read; the library closes such a connection. */
	if (!peer_allowed(c))
		return queue_error(c, command_status(-EACCES), "this VM belongs to another user",
				   NULL);
	if (length && strtoull(length, NULL, 10) > MAX_DISCARD_BYTES)
		return queue_error(c, command_status(-EMSGSIZE), "the body is larger than 64 KiB",
				   NULL);
	return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *upload_data,
				  size_t *upload_data_size, void **con_cls)
{
	struct control_server *s = cls;
	struct request *rq = *con_cls;

	if (!rq)
		return begin(s, c, con_cls);
	if (*upload_data_size == 0)
		return answer(s, c, url, method, rq);
	if (*upload_data_size > MAX_DISCARD_BYTES - rq->received_bytes)
		return MHD_NO;
	rq->received_bytes += *upload_data_size;
	if (rq->received_bytes <= MAX_BODY_BYTES)
		buf_put(&rq->body, upload_data, *upload_data_size);
	*upload_data_size = 0;
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
			 enum MHD_RequestTerminationCode toe)
{
	struct control_server *s = cls;
	struct request *rq = *con_cls;

	if (!rq)
		return;
	*con_cls = NULL;
	buf_fini(&rq->body);
	free(rq);
	pthread_mutex_lock(&s->lock);
	if (--s->nrequests == 0)
		pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

/* ---- life ---- */

static void server_free(struct control_server *s)
{
	bound_socket_fini(&s->socket);
	event_hub_destroy(s->hub);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct control_server *server_alloc(struct machine *m)
{
	struct control_server *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;

	if (!s)
		return NULL;
	s->machine = m;
	s->socket.fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	s->hub = event_hub_create();
	if (!s->hub) {
		server_free(s);
		return NULL;
	}
	return s;
}

/* Signals are for the threads that wait for them: the library's own thread inherits a mask with all of them blocked. */
static int start_daemon(struct control_server *s, struct err *err)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0,
				     NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET,
				     (MHD_socket)s->socket.fd, MHD_OPTION_NOTIFY_COMPLETED,
				     on_completed, s, MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS,
				     MHD_OPTION_CONNECTION_TIMEOUT, REQUEST_TIMEOUT_S,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)CONNECTION_POOL_BYTES, MHD_OPTION_THREAD_STACK_SIZE,
				     (size_t)THREAD_STACK_BYTES, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!s->daemon)
		return err_set(err, -EIO, "the HTTP server does not start on %s", s->path);
	s->socket.fd = -1; /* the daemon's, until it is quiesced */
	return 0;
}

int control_server_start(struct machine *m, const char *name, const char *api_path,
			 struct control_server **ret, struct err *err)
{
	struct control_server *s = server_alloc(m);
	struct machine_sink sink;
	int rc;

	if (!s)
		return err_set(err, -ENOMEM, "out of memory");
	rc = bound_socket_init(&s->socket, name, api_path, err);
	if (!rc) {
		memcpy(s->path, s->socket.path, sizeof(s->path));
		/* Before the first request can make the machine do something. */
		sink = (struct machine_sink){ .event = on_machine_event, .opaque = s };
		machine_set_sink(m, &sink);
		rc = start_daemon(s, err);
	}
	if (rc) {
		server_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

static void wait_idle(struct control_server *s, uint64_t linger_ns)
{
	uint64_t until = clock_mono_ns() + linger_ns;
	struct timespec ts = { .tv_sec = (time_t)(until / NS_PER_S),
			       .tv_nsec = (long)(until % NS_PER_S) };
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	while (s->nrequests && rc == 0)
		rc = pthread_cond_timedwait(&s->idle, &s->lock, &ts);
	pthread_mutex_unlock(&s->lock);
}

void control_server_stop(struct control_server *s, uint64_t linger_ns)
{
	if (!s || !s->daemon)
		return;
	/* First of all, so that a VM that takes over the name never loses its socket to this one. */
	bound_socket_unlink(&s->socket);
	s->socket.fd = MHD_quiesce_daemon(s->daemon);
	event_hub_close(s->hub);
	wait_idle(s, linger_ns);
	MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
}

void control_server_destroy(struct control_server *s)
{
	if (!s)
		return;
	control_server_stop(s, 0);
	server_free(s);
}

const char *control_server_path(const struct control_server *s)
{
	return s->path;
}
