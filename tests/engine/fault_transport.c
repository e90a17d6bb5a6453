/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_transport.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"

struct fault_transport {
	struct transport base;
	struct transport *inner; /* NULL once it was cut */
	struct fault_plan *plan;
	struct buf *record;
	uint64_t sent, received;
	struct buf copy; /* the send under way when a byte of it is changed */
	bool pending; /* inner has a send under way */
};

void fault_plan_init(struct fault_plan *plan)
{
	*plan = (struct fault_plan){
		.cut_after_sent = FAULT_NEVER,
		.cut_after_received = FAULT_NEVER,
		.flip_sent = FAULT_NEVER,
		.stall_after_sent = FAULT_NEVER,
		.cancel_after_sent = FAULT_NEVER,
	};
}

static struct fault_transport *to_fault(struct transport *t)
{
	return (struct fault_transport *)t;
}

static int cut(struct fault_transport *f, struct err *err)
{
	f->plan->hit = true;
	transport_destroy(f->inner);
	f->inner = NULL;
	return err_set(err, -ECONNRESET, "%s: connection reset by peer", f->base.peer);
}

static int cancelled(struct fault_transport *f, struct err *err)
{
	/* The inner one ends what is under way. */
	if (f->inner)
		transport_cancel(f->inner);
	if (f->inner)
		f->inner->ops->send_wait(f->inner, NULL);
	return err_set(err, -ECANCELED, "%s: cancelled", f->base.peer);
}

/* Before each call: is the line still there? */
static int check(struct fault_transport *f, struct err *err)
{
	if (atomic_load(&f->base.cancelled))
		return cancelled(f, err);
	if (!f->inner)
		return err_set(err, -ECONNRESET, "%s: connection reset by peer", f->base.peer);
	return 0;
}

/* Sends @n bytes of f->copy and waits until they are gone. */
static int send_copy(struct fault_transport *f, uint64_t n, struct err *err)
{
	struct iovec iov = { .iov_base = f->copy.data, .iov_len = (size_t)n };
	int rc = n ? transport_send_begin(f->inner, &iov, 1, err) : 0;

	return rc ? rc : transport_send_wait(f->inner, err);
}

/* A send that @limit falls into: its head leaves, then the fault happens. */
static int send_head(struct fault_transport *f, uint64_t limit, bool stall, struct err *err)
{
	struct pollfd p = { .fd = f->base.cancel_fd, .events = POLLIN };
	int rc = send_copy(f, limit - f->sent, err);

	if (rc)
		return rc;
	f->sent = limit;
	f->plan->hit = true;
	if (!stall)
		return cut(f, err);
	if (poll(&p, 1, (int)(f->base.stall_ns / NS_PER_MS)) > 0)
		return cancelled(f, err);
	return err_set(err, -ETIMEDOUT, "%s: peer took no data", f->base.peer);
}

static int copy_vector(struct fault_transport *f, const struct iovec *iov, unsigned int niov)
{
	buf_clear(&f->copy);
	for (unsigned int i = 0; i < niov; i++)
		buf_put(&f->copy, iov[i].iov_base, iov[i].iov_len);
	return buf_ok(&f->copy) ? 0 : -ENOMEM;
}

static int fault_send_begin(struct transport *t, const struct iovec *iov, unsigned int niov,
			    struct err *err)
{
	struct fault_transport *f = to_fault(t);
	struct fault_plan *plan = f->plan;
	struct timespec delay = { .tv_sec = (time_t)(plan->delay_ns / NS_PER_S),
				  .tv_nsec = (long)(plan->delay_ns % NS_PER_S) };
	uint64_t end;
	int rc = check(f, err);

	if (rc)
		return rc;
	if (f->pending)
		return err_set(err, -EBUSY, "%s: a send is under way", t->peer);
	if (copy_vector(f, iov, niov))
		return err_set(err, -ENOMEM, "no memory");
	if (plan->delay_ns)
		nanosleep(&delay, NULL);
	end = f->sent + f->copy.len_bytes;
	if (f->record)
		buf_put(f->record, f->copy.data,
			(size_t)(MIN(end, MIN(plan->cut_after_sent, plan->stall_after_sent)) -
				 f->sent));
	if (plan->flip_sent >= f->sent && plan->flip_sent < end) {
		f->copy.data[plan->flip_sent - f->sent] ^= 1;
		plan->hit = true;
	}
	if (plan->cancel_after_sent < end) {
		plan->hit = true;
		transport_cancel(t);
		return cancelled(f, err);
	}
	if (plan->cut_after_sent < end)
		return send_head(f, plan->cut_after_sent, false, err);
	if (plan->stall_after_sent < end)
		return send_head(f, plan->stall_after_sent, true, err);
	f->sent = end;
	f->pending = true;
	return transport_send_begin(
		f->inner, &(struct iovec){ .iov_base = f->copy.data, .iov_len = f->copy.len_bytes },
		1, err);
}

static int fault_send_wait(struct transport *t, struct err *err)
{
	struct fault_transport *f = to_fault(t);
	int rc = check(f, err);

	if (rc)
		return rc;
	f->inner->stall_ns = t->stall_ns;
	rc = transport_send_wait(f->inner, err);
	f->pending = false;
	t->bytes_sent = f->inner->bytes_sent;
	t->blocked_ns = f->inner->blocked_ns;
	return rc;
}

static int fault_recv(struct transport *t, const struct iovec *iov, unsigned int niov, void *extra,
		      size_t extra_cap, size_t *ret_extra, uint64_t timeout_ns, struct err *err)
{
	struct fault_transport *f = to_fault(t);
	uint64_t wanted = 0, left = f->plan->cut_after_received - f->received;
	size_t more = 0;
	int rc = check(f, err);

	if (rc)
		return rc;
	for (unsigned int i = 0; i < niov; i++)
		wanted += iov[i].iov_len;
	if (wanted > left)
		return cut(f, err);
	/* What was read ahead is received: no further than the cut. */
	extra_cap = (size_t)MIN((uint64_t)extra_cap, left - wanted);
	f->inner->stall_ns = t->stall_ns;
	rc = transport_recv(f->inner, iov, niov, extra, extra_cap, &more, timeout_ns, err);
	if (rc)
		return rc;
	f->received += wanted + more;
	if (ret_extra)
		*ret_extra = more;
	return 0;
}

static bool fault_readable(struct transport *t)
{
	struct fault_transport *f = to_fault(t);

	return f->inner && transport_readable(f->inner);
}

static void fault_destroy(struct transport *t)
{
	struct fault_transport *f = to_fault(t);

	transport_destroy(f->inner);
	buf_fini(&f->copy);
	transport_fini(t);
	free(f);
}

static const struct transport_ops fault_ops = {
	.name = "fault",
	.send_begin = fault_send_begin,
	.send_wait = fault_send_wait,
	.recv = fault_recv,
	.readable = fault_readable,
	.destroy = fault_destroy,
};

int fault_transport_create(struct transport *inner, struct fault_plan *plan, struct buf *record,
			   struct transport **ret, struct err *err)
{
	struct fault_transport *f = calloc(1, sizeof(*f));
	int rc = f ? transport_init(&f->base, &fault_ops, inner->peer, err) :
		     err_set(err, -ENOMEM, "no memory");

	if (rc) {
		free(f);
		transport_destroy(inner);
		return rc;
	}
	f->inner = inner;
	/* One event for both: a wait within the inner transport must see it. */
	if (dup3(inner->cancel_fd, f->base.cancel_fd, O_CLOEXEC) < 0) {
		rc = err_sys(err, -errno, "dup3");
		fault_destroy(&f->base);
		return rc;
	}
	f->plan = plan;
	f->record = record;
	*ret = &f->base;
	return 0;
}
