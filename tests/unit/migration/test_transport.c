/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "migration/transport.h"

#define MIB (1u << 20)

enum kind { PAIR, TCP };

struct link {
	struct transport *a, *b;
};

static void link_make(struct link *l, enum kind kind)
{
	struct tcp_listener *listener = NULL;
	struct err err = { 0 };
	int fd[2];

	if (kind == PAIR) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		assert_int_equal(transport_from_socket(fd[0], "left", &l->a, &err), 0);
		assert_int_equal(transport_from_socket(fd[1], "right", &l->b, &err), 0);
		return;
	}
	assert_int_equal(tcp_listen("127.0.0.1:0", &listener, &err), 0);
	assert_int_equal(tcp_connect(tcp_listener_address(listener), NS_PER_S, -1, &l->a, &err), 0);
	assert_int_equal(tcp_accept(listener, -1, &l->b, &err), 0);
	assert_string_equal(l->a->peer, tcp_listener_address(listener));
	tcp_listener_destroy(listener);
}

static void link_drop(struct link *l)
{
	transport_destroy(l->a);
	transport_destroy(l->b);
}

static void pattern(uint8_t *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

static int send_all(struct transport *t, const void *data, size_t n, struct err *err)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = n };
	int rc = transport_send_begin(t, &iov, 1, err);

	return rc ? rc : transport_send_wait(t, err);
}

static int recv_all(struct transport *t, void *data, size_t n, uint64_t timeout_ns, struct err *err)
{
	struct iovec iov = { .iov_base = data, .iov_len = n };
	size_t extra = 1;
	int rc = transport_recv(t, &iov, 1, NULL, 0, &extra, timeout_ns, err);

	assert_true(rc || extra == 0);
	return rc;
}

/* The other end, on a thread: takes @n bytes in pieces of odd sizes, into @data. */
struct taker {
	struct transport *t;
	uint8_t *data;
	size_t n;
	int rc;
};

static void *take(void *arg)
{
	struct taker *k = arg;
	size_t pos = 0, piece = 1;

	while (pos < k->n && !k->rc) {
		size_t want = piece < k->n - pos ? piece : k->n - pos;

		k->rc = recv_all(k->t, k->data + pos, want, 0, NULL);
		pos += want;
		piece = piece * 3 % 300007 + 1;
	}
	return NULL;
}

/* 64 records of many vectors, more than any socket buffer holds. */
static void bytes_arrive(enum kind kind)
{
	enum { RECORDS = 32, VECTORS = 258 };
	size_t total = (size_t)RECORDS * VECTORS * 4096;
	uint8_t *out = malloc(total), *in = calloc(1, total);
	static struct iovec iov[VECTORS];
	struct link l;
	struct taker k;
	pthread_t thread;

	pattern(out, total, 7);
	link_make(&l, kind);
	k = (struct taker){ .t = l.b, .data = in, .n = total };
	pthread_create(&thread, NULL, take, &k);
	for (size_t r = 0; r < RECORDS; r++) {
		for (size_t i = 0; i < VECTORS; i++)
			iov[i] = (struct iovec){ .iov_base = out + (r * VECTORS + i) * 4096,
						 .iov_len = 4096 };
		assert_int_equal(transport_send_wait(l.a, NULL), 0);
		assert_int_equal(transport_send_begin(l.a, iov, VECTORS, NULL), 0);
		/* The arrays are free at once, the bytes are not. */
		memset(iov, 0, sizeof(iov));
	}
	assert_int_equal(transport_send_wait(l.a, NULL), 0);
	assert_int_equal(transport_send_wait(l.a, NULL), 0);
	pthread_join(thread, NULL);
	assert_int_equal(k.rc, 0);
	assert_memory_equal(in, out, total);
	assert_true(l.a->bytes_sent == total);
	link_drop(&l);
	free(in);
	free(out);
}

static void bytes_arrive_pair(void **state)
{
	bytes_arrive(PAIR);
}

static void bytes_arrive_tcp(void **state)
{
	bytes_arrive(TCP);
}

static void look_ahead_takes_what_is_there(void **state)
{
	uint8_t out[100], in[60], extra[100];
	struct iovec iov[2] = { { .iov_base = in, .iov_len = 10 },
				{ .iov_base = in + 10, .iov_len = 50 } };
	size_t got = 0;
	struct link l;

	pattern(out, sizeof(out), 1);
	link_make(&l, PAIR);
	assert_false(transport_readable(l.b));
	assert_int_equal(send_all(l.a, out, sizeof(out), NULL), 0);
	assert_true(transport_readable(l.b));
	assert_int_equal(transport_recv(l.b, iov, 2, extra, 30, &got, 0, NULL), 0);
	assert_int_equal(got, 30);
	assert_memory_equal(in, out, 60);
	assert_memory_equal(extra, out + 60, 30);
	iov[0].iov_len = 4;
	assert_int_equal(transport_recv(l.b, iov, 1, extra, 100, &got, 0, NULL), 0);
	assert_int_equal(got, 6);
	assert_memory_equal(extra, out + 94, 6);
	assert_false(transport_readable(l.b));
	link_drop(&l);
}

/* Both ways at once, in one thread: the send goes on while the answer is awaited. */
static void send_goes_on_during_receive(void **state)
{
	uint8_t *big = malloc(16 * MIB), *in = calloc(1, 16 * MIB);
	struct iovec iov = { .iov_base = big, .iov_len = 16 * MIB };
	struct link l;
	struct taker k;
	pthread_t thread;
	char answer = 0;

	pattern(big, 16 * MIB, 3);
	link_make(&l, PAIR); /* short sends are begun again by this side */
	k = (struct taker){ .t = l.b, .data = in, .n = 16 * MIB };
	assert_int_equal(transport_send_begin(l.a, &iov, 1, NULL), 0);
	assert_int_equal(transport_send_begin(l.a, &iov, 1, NULL), -EBUSY);
	assert_int_equal(send_all(l.b, "y", 1, NULL), 0);
	assert_int_equal(recv_all(l.a, &answer, 1, 0, NULL), 0);
	assert_int_equal(answer, 'y');
	pthread_create(&thread, NULL, take, &k);
	assert_int_equal(transport_send_wait(l.a, NULL), 0);
	pthread_join(thread, NULL);
	assert_int_equal(k.rc, 0);
	assert_memory_equal(in, big, 16 * MIB);
	link_drop(&l);
	free(in);
	free(big);
}

static void orderly_close_is_told_apart(void **state)
{
	struct err err = { 0 };
	uint8_t in[8];
	struct link l;

	for (enum kind kind = PAIR; kind <= TCP; kind++) {
		link_make(&l, kind);
		assert_int_equal(send_all(l.a, "abc", 3, &err), 0);
		transport_destroy(l.a);
		l.a = NULL;
		assert_int_equal(recv_all(l.b, in, 3, 0, &err), 0); /* what was sent is delivered */
		assert_memory_equal(in, "abc", 3);
		assert_int_equal(recv_all(l.b, in, 3, 0, &err), -ENODATA);
		assert_non_null(strstr(err.msg, l.b->peer));
		assert_non_null(strstr(err.msg, "peer closed the connection"));
		link_drop(&l);

		link_make(&l, kind);
		assert_int_equal(send_all(l.a, "abc", 3, &err), 0);
		transport_destroy(l.a);
		l.a = NULL;
		assert_int_equal(recv_all(l.b, in, 4, 0, &err), -ECONNRESET);
		assert_non_null(strstr(err.msg, "in the middle"));
		link_drop(&l);
	}
}

static void cut_is_an_error_of_the_sender(void **state)
{
	uint8_t *big = calloc(1, 8 * MIB);
	struct err err = { 0 };
	struct link l;
	int rc;

	for (enum kind kind = PAIR; kind <= TCP; kind++) {
		link_make(&l, kind);
		transport_destroy(l.b);
		l.b = NULL;
		rc = send_all(l.a, big, 8 * MIB, &err);
		if (!rc) /* the first may still fit a buffer */
			rc = send_all(l.a, big, 8 * MIB, &err);
		assert_true(rc == -EPIPE || rc == -ECONNRESET);
		assert_non_null(strstr(err.msg, l.a->peer));
		link_drop(&l);
	}
	free(big);
}

/* The peer says why, closes with our bytes unread (a reset), and its last words can still be read. */
static void last_words_survive_a_reset(void **state)
{
	uint8_t *big = calloc(1, 8 * MIB);
	struct err err = { 0 };
	char words[5];
	struct link l;
	int rc;

	link_make(&l, TCP);
	assert_int_equal(send_all(l.a, big, 1000, &err), 0);
	assert_int_equal(send_all(l.b, "sorry", 5, &err), 0);
	transport_destroy(l.b);
	l.b = NULL;
	do
		rc = send_all(l.a, big, 8 * MIB, &err);
	while (!rc);
	assert_true(rc == -EPIPE || rc == -ECONNRESET);
	assert_true(transport_readable(l.a));
	assert_int_equal(recv_all(l.a, words, 5, 0, &err), 0);
	assert_memory_equal(words, "sorry", 5);
	link_drop(&l);
	free(big);
}

static void stalled_peer_is_found(void **state)
{
	uint8_t *big = calloc(1, 64 * MIB);
	struct err err = { 0 };
	uint8_t in[8];
	struct link l;

	for (enum kind kind = PAIR; kind <= TCP; kind++) {
		link_make(&l, kind);
		l.a->stall_ns = 200 * NS_PER_MS;
		assert_int_equal(send_all(l.a, big, 64 * MIB, &err), -ETIMEDOUT);
		assert_non_null(strstr(err.msg, "took no data for 0.2 s"));
		assert_int_equal(recv_all(l.a, in, 8, 50 * NS_PER_MS, &err), -ETIMEDOUT);
		assert_non_null(strstr(err.msg, "sent nothing for 0.05 s"));
		/* A peer that began and stopped is stalled even where the first byte may take any time. */
		assert_int_equal(send_all(l.b, "abc", 3, &err), 0);
		assert_int_equal(recv_all(l.a, in, 8, 0, &err), -ETIMEDOUT);
		link_drop(&l);
	}
	free(big);
}

/* Nothing of the caller's memory is read after a call has failed: what the peer finds in its buffer then is from before. */
static void failed_send_leaves_the_memory(void **state)
{
	uint8_t *big = malloc(64 * MIB);
	uint8_t piece[4096];
	struct err err = { 0 };
	struct link l;
	int rc;

	memset(big, 'a', 64 * MIB);
	link_make(&l, TCP);
	l.a->stall_ns = 50 * NS_PER_MS;
	assert_int_equal(send_all(l.a, big, 64 * MIB, &err), -ETIMEDOUT);
	memset(big, 'b', 64 * MIB);
	do {
		rc = recv_all(l.b, piece, sizeof(piece), 100 * NS_PER_MS, &err);
		for (size_t i = 0; !rc && i < sizeof(piece); i++)
			assert_int_equal(piece[i], 'a');
	} while (!rc);
	assert_int_equal(rc, -ETIMEDOUT);
	link_drop(&l);
	free(big);
}

static int set_loopback(bool up)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = up ? IFF_UP : 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = ioctl(fd, SIOCSIFFLAGS, &ifr);

	close(fd);
	return rc;
}

/* In a network of its own, on a thread: the wire is pulled, nobody says goodbye. */
static void *pull_the_wire(void *arg)
{
	uint8_t *big = calloc(1, 64 * MIB), in;
	struct err *err = arg;
	struct link l;

	if (unshare(CLONE_NEWNET) || set_loopback(true)) {
		free(big);
		return NULL;
	}
	link_make(&l, TCP);
	assert_int_equal(send_all(l.a, "x", 1, err), 0);
	assert_int_equal(recv_all(l.b, &in, 1, 0, err), 0);
	assert_int_equal(set_loopback(false), 0);
	l.a->stall_ns = NS_PER_S;
	err->code = send_all(l.a, big, 64 * MIB, err);
	link_drop(&l);
	free(big);
	return err;
}

static void vanished_peer_is_no_full_one(void **state)
{
	struct err err = { 0 };
	pthread_t thread;
	void *ran;

	pthread_create(&thread, NULL, pull_the_wire, &err);
	pthread_join(thread, &ran);
	if (!ran)
		skip(); /* no right to make network namespaces */
	assert_int_equal(err.code, -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "peer vanished"));
}

/* A slow peer is no stalled one: single bytes of progress reset the limit. */
static void *take_slowly(void *arg)
{
	struct taker *k = arg;
	struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

	for (size_t pos = 0; pos < k->n && !k->rc; pos += MIB) {
		k->rc = recv_all(k->t, k->data, MIB, 0, NULL);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void slow_peer_is_not_stalled(void **state)
{
	uint8_t *big = calloc(1, 48 * MIB), *in = malloc(MIB);
	struct err err = { 0 };
	pthread_t thread;
	struct taker k;
	struct link l;

	for (enum kind kind = PAIR; kind <= TCP; kind++) {
		link_make(&l, kind);
		k = (struct taker){ .t = l.b, .data = in, .n = 48 * MIB };
		l.a->stall_ns = 400 * NS_PER_MS; /* the whole takes about a second */
		pthread_create(&thread, NULL, take_slowly, &k);
		assert_int_equal(send_all(l.a, big, 48 * MIB, &err), 0);
		assert_true(l.a->blocked_ns > 0);
		pthread_join(thread, NULL);
		assert_int_equal(k.rc, 0);
		link_drop(&l);
	}
	free(in);
	free(big);
}

static void *cancel_soon(void *arg)
{
	struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };

	nanosleep(&pause, NULL);
	transport_cancel(arg);
	return NULL;
}

static void cancel_ends_calls(void **state)
{
	uint8_t *big = calloc(1, 64 * MIB);
	struct err err = { 0 };
	pthread_t thread;
	uint8_t in[8];
	struct link l;

	for (enum kind kind = PAIR; kind <= TCP; kind++) {
		link_make(&l, kind);
		pthread_create(&thread, NULL, cancel_soon, l.a);
		assert_int_equal(send_all(l.a, big, 64 * MIB, &err), -ECANCELED);
		pthread_join(thread, NULL);
		assert_non_null(strstr(err.msg, "cancelled"));
		assert_int_equal(send_all(l.a, big, 1, &err), -ECANCELED);
		assert_int_equal(transport_send_wait(l.a, &err), -ECANCELED);
		assert_int_equal(recv_all(l.a, in, 1, 0, &err), -ECANCELED);

		pthread_create(&thread, NULL, cancel_soon, l.b);
		{
			uint8_t *sink = malloc(64 * MIB);

			assert_int_equal(recv_all(l.b, sink, 64 * MIB, 0, &err), -ECANCELED);
			free(sink);
		}
		pthread_join(thread, NULL);
		link_drop(&l);
	}
	free(big);
}

/* The thread that first waited is gone: its poll of the cancellation went with it. */
static void *wait_briefly(void *arg)
{
	uint8_t in;

	assert_int_equal(recv_all(arg, &in, 1, 10 * NS_PER_MS, NULL), -ETIMEDOUT);
	return NULL;
}

static void cancel_works_after_a_change_of_threads(void **state)
{
	struct err err = { 0 };
	pthread_t thread;
	struct link l;
	uint8_t in;

	link_make(&l, PAIR);
	pthread_create(&thread, NULL, wait_briefly, l.a);
	pthread_join(thread, NULL);
	pthread_create(&thread, NULL, cancel_soon, l.a);
	assert_int_equal(recv_all(l.a, &in, 1, 0, &err), -ECANCELED);
	pthread_join(thread, NULL);
	link_drop(&l);
}

static void destroy_ends_a_send(void **state)
{
	uint8_t *big = calloc(1, 64 * MIB);
	struct iovec iov = { .iov_base = big, .iov_len = 64 * MIB };
	struct link l;

	link_make(&l, TCP);
	assert_int_equal(transport_send_begin(l.a, &iov, 1, NULL), 0);
	transport_destroy(l.a);
	free(big);
	transport_destroy(l.b);
	transport_destroy(NULL);
}

static void too_many_vectors_are_refused(void **state)
{
	static struct iovec iov[TRANSPORT_MAX_IOV + 1];
	struct link l;
	size_t extra;

	link_make(&l, PAIR);
	assert_int_equal(transport_send_begin(l.a, iov, TRANSPORT_MAX_IOV + 1, NULL), -EINVAL);
	assert_int_equal(transport_recv(l.a, iov, TRANSPORT_MAX_IOV + 1, NULL, 0, &extra, 0, NULL),
			 -EINVAL);
	assert_int_equal(transport_send_begin(l.a, iov, 1, NULL), 0); /* nothing to send */
	assert_int_equal(transport_send_wait(l.a, NULL), 0);
	link_drop(&l);
}

static void addresses_are_checked(void **state)
{
	static const char *const bad[] = { "",           "host",          ":",
					   "1.2.3.4:",   "1.2.3.4:70000", "1.2.3.4:12x",
					   "1.2.3.4:-1", "::1:80",        "[::1:80",
					   "[::1]80",    "1.2.3.4: 80",   ":4444",
					   "1.2.3.4:0" };
	struct transport *t = NULL;
	struct err err = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(tcp_connect(bad[i], NS_PER_S, -1, &t, &err), -EINVAL);
		assert_non_null(strstr(err.msg, bad[i]));
	}
	assert_null(t);
}

static void refused_connection_says_so(void **state)
{
	struct tcp_listener *l = NULL;
	struct transport *t = NULL;
	struct err err = { 0 };
	char address[80], expected[160];

	assert_int_equal(tcp_listen("127.0.0.1:0", &l, &err), 0);
	snprintf(address, sizeof(address), "%s", tcp_listener_address(l));
	snprintf(expected, sizeof(expected), "connect %s: connection refused", address);
	tcp_listener_destroy(l);
	assert_int_equal(tcp_connect(address, NS_PER_S, -1, &t, &err), -ECONNREFUSED);
	assert_string_equal(err.msg, expected);
	assert_int_equal(tcp_connect("no-such-host.invalid:4444", NS_PER_S, -1, &t, &err),
			 -EHOSTUNREACH);
	assert_non_null(strstr(err.msg, "no-such-host.invalid"));
}

/* A host that does not answer: a listener whose queue is full. */
static void connecting_can_be_cancelled(void **state)
{
	enum { FULL = 8 };
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct transport *t = NULL;
	struct tcp_listener *l;
	struct err err = { 0 };
	int fd[FULL], cancel_fd = eventfd(1, EFD_CLOEXEC);
	const char *address;

	assert_int_equal(tcp_listen("127.0.0.1:0", &l, &err), 0);
	address = tcp_listener_address(l);
	sa.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
	for (int i = 0; i < FULL; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fd[i], (struct sockaddr *)&sa, sizeof(sa));
	}
	assert_int_equal(tcp_connect(address, 600 * NS_PER_S, cancel_fd, &t, &err), -ECANCELED);
	assert_non_null(strstr(err.msg, "cancelled"));
	assert_null(t);
	for (int i = 0; i < FULL; i++)
		close(fd[i]);
	close(cancel_fd);
	tcp_listener_destroy(l);
}

static void listener_names_its_address(void **state)
{
	struct tcp_listener *l = NULL, *second = NULL;
	struct err err = { 0 };

	assert_int_equal(tcp_listen("127.0.0.1:0", &l, &err), 0);
	assert_int_equal(strncmp(tcp_listener_address(l), "127.0.0.1:", 10), 0);
	assert_string_not_equal(tcp_listener_address(l), "127.0.0.1:0");
	assert_int_equal(tcp_listen(tcp_listener_address(l), &second, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "already in use"));
	assert_null(second);
	tcp_listener_destroy(l);
	tcp_listener_destroy(NULL);
	if (tcp_listen("[::1]:0", &l, &err) == 0) { /* where there is IPv6 */
		assert_int_equal(strncmp(tcp_listener_address(l), "[::1]:", 6), 0);
		tcp_listener_destroy(l);
	}
}

static void *signal_soon(void *arg)
{
	struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	uint64_t one = 1;

	nanosleep(&pause, NULL);
	assert_int_equal(write(*(int *)arg, &one, sizeof(one)), sizeof(one));
	return NULL;
}

static void accept_can_be_cancelled(void **state)
{
	struct tcp_listener *l = NULL;
	struct transport *t = NULL;
	struct err err = { 0 };
	pthread_t thread;
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(tcp_listen("127.0.0.1:0", &l, &err), 0);
	pthread_create(&thread, NULL, signal_soon, &fd[1]);
	assert_int_equal(tcp_accept(l, fd[0], &t, &err), -ECANCELED);
	pthread_join(thread, NULL);
	assert_null(t);
	tcp_listener_destroy(l);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_pair),
		cmocka_unit_test(bytes_arrive_tcp),
		cmocka_unit_test(look_ahead_takes_what_is_there),
		cmocka_unit_test(send_goes_on_during_receive),
		cmocka_unit_test(orderly_close_is_told_apart),
		cmocka_unit_test(cut_is_an_error_of_the_sender),
		cmocka_unit_test(last_words_survive_a_reset),
		cmocka_unit_test(stalled_peer_is_found),
		cmocka_unit_test(failed_send_leaves_the_memory),
		cmocka_unit_test(vanished_peer_is_no_full_one),
		cmocka_unit_test(slow_peer_is_not_stalled),
		cmocka_unit_test(cancel_ends_calls),
		cmocka_unit_test(cancel_works_after_a_change_of_threads),
		cmocka_unit_test(destroy_ends_a_send),
		cmocka_unit_test(too_many_vectors_are_refused),
		cmocka_unit_test(addresses_are_checked),
		cmocka_unit_test(refused_connection_says_so),
		cmocka_unit_test(connecting_can_be_cancelled),
		cmocka_unit_test(listener_names_its_address),
		cmocka_unit_test(accept_can_be_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
