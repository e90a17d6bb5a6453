/* SPDX-License-Identifier: Apache-2.0 */
/* What happens on a device's worker: queues are served, the device is paused and let go, requests are drained. */
#include "run.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"

#define RESET_WAIT_S 5u
/* How often a queue is served in a row while its driver goes on adding; then it is another queue's turn. */
#define MAX_ROUNDS 4u
#define MAX_POLLED_ROUNDS 64u /* where it is watched, and the only one */

void virtio_interrupt(struct virtio *v, int queue)
{
	if (v->transport_ops)
		v->transport_ops->interrupt(v->transport, queue);
}

static void set_serving(struct virtio *v, bool on)
{
	if (v->serving == on)
		return;
	v->serving = on;
	if (v->type->serving)
		v->type->serving(v->self, on);
}

static bool is_idle(const struct virtio *v)
{
	return !v->type->in_flight || v->type->in_flight(v->self) == 0;
}

/* The queue has more: for a while with notifications off, then once with them on. */
static bool has_more(struct virtio_queue *q)
{
	struct virtio *v = q->v;

	if (v->type->polls && is_idle(v) && virtio_poll_watch(&q->poll, &q->vq))
		return true;
	return virtq_enable_notify(&q->vq, true);
}

static void serve(struct virtio_queue *q)
{
	struct virtio *v = q->v;
	unsigned int index = (unsigned int)(q - v->queue);
	unsigned int rounds = v->type->polls && v->nqueues == 1 ? MAX_POLLED_ROUNDS : MAX_ROUNDS;

	if (!v->serving || !q->enabled)
		return;
	virtio_poll_woken(&q->poll);
	while (rounds--) {
		if (!q->quiet)
			virtq_enable_notify(&q->vq, false);
		v->type->serve(v->self, index);
		if (!v->serving || q->quiet || !has_more(q))
			return;
	}
	virtio_again(v, index);
}

/* While the device is paused, broken or not started the signal is taken and nothing done: whatever starts it looks at all queues. */
static void on_kick(void *opaque, int fd, uint32_t events)
{
	struct virtio_queue *q = opaque;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	if (n > q->again)
		atomic_fetch_add_explicit(&q->notifications, n - q->again, memory_order_relaxed);
	q->again = 0;
	serve(q);
}

void virtio_kick(struct virtio *v, unsigned int queue)
{
	const uint64_t one = 1;
	ssize_t n;

	if (queue >= v->nqueues)
		return;
	n = write(v->queue[queue].kick_fd, &one, sizeof(one));
	(void)n; /* EAGAIN: it is signalled */
}

void virtio_again(struct virtio *v, unsigned int queue)
{
	v->queue[queue].again++;
	virtio_kick(v, queue);
}

void virtio_serve(struct virtio *v, unsigned int queue)
{
	serve(&v->queue[queue]);
}

static void again_all(struct virtio *v)
{
	for (unsigned int i = 0; i < v->nqueues; i++)
		if (v->queue[i].enabled)
			virtio_again(v, i);
}

static void arm_timer(struct virtio *v)
{
	struct itimerspec t = { 0 };
	uint64_t first = UINT64_MAX;

	for (unsigned int i = 0; i < v->nqueues; i++)
		if (v->queue[i].again_ns && v->queue[i].again_ns < first)
			first = v->queue[i].again_ns;
	if (first != UINT64_MAX) {
		t.it_value.tv_sec = (time_t)(first / NS_PER_S);
		t.it_value.tv_nsec = (long)(first % NS_PER_S);
	}
	timerfd_settime(v->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void on_timer(void *opaque, int fd, uint32_t events)
{
	struct virtio *v = opaque;
	uint64_t now, n;

	if (read(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	now = clock_mono_ns();
	for (unsigned int i = 0; i < v->nqueues; i++) {
		struct virtio_queue *q = &v->queue[i];

		if (!q->again_ns || q->again_ns > now)
			continue;
		q->again_ns = 0;
		virtio_again(v, i);
	}
	arm_timer(v);
}

void virtio_again_in(struct virtio *v, unsigned int queue, uint64_t delay_ns)
{
	struct virtio_queue *q = &v->queue[queue];
	uint64_t at = clock_mono_ns() + MIN(delay_ns, 3600 * NS_PER_S);

	if (q->again_ns && q->again_ns <= at)
		return;
	q->again_ns = at;
	arm_timer(v);
}

int virtio_run_init(struct virtio *v)
{
	struct loop *loop = worker_loop(v->worker);
	int rc = loop_add(loop, v->timer_fd, EPOLLIN, on_timer, v);

	for (unsigned int i = 0; i < v->nqueues && !rc; i++)
		rc = loop_add(loop, v->queue[i].kick_fd, EPOLLIN, on_kick, &v->queue[i]);
	return rc;
}

void virtio_signal(struct virtio *v, unsigned int queue)
{
	struct virtio_queue *q = &v->queue[queue];

	if (!v->live || !virtq_wants_interrupt(&q->vq))
		return;
	atomic_fetch_add_explicit(&q->interrupts, 1, memory_order_relaxed);
	virtio_interrupt(v, (int)queue);
}

void virtio_note_fault(struct virtio *v, const struct err *err)
{
	v->status |= VIRTIO_NEEDS_RESET;
	v->broken++;
	if (err)
		v->fault = *err;
}

void virtio_fault(struct virtio *v, const struct err *err)
{
	v->live = false;
	pthread_mutex_lock(&v->lock);
	virtio_note_fault(v, err);
	pthread_mutex_unlock(&v->lock);
	set_serving(v, false);
	virtio_interrupt(v, -1);
}

void virtio_broken(struct virtio *v, const struct err *err)
{
	if (v->live)
		virtio_fault(v, err);
}

/* What is still in flight at the deadline. */
static unsigned int drain(struct virtio *v, uint64_t deadline_ns)
{
	unsigned int n;

	if (!v->type->in_flight)
		return 0;
	while ((n = v->type->in_flight(v->self)) > 0 && clock_mono_ns() < deadline_ns)
		v->type->wait(v->self, deadline_ns);
	return n;
}

int virtio_run_activate(struct virtio *v, struct err *err)
{
	for (unsigned int i = 0; i < v->nqueues; i++) {
		struct virtio_queue *q = &v->queue[i];
		int rc;

		if (!q->enabled) {
			virtq_stop(&q->vq);
			continue;
		}
		q->vq.indirect = virtio_has(v, VIRTIO_F_RING_INDIRECT_DESC);
		q->vq.event_idx = virtio_has(v, VIRTIO_F_RING_EVENT_IDX);
		rc = virtq_start(&q->vq, err);
		if (rc) {
			err_prefix(err, "queue %u", i);
			return rc;
		}
	}
	v->live = v->activated = true;
	if (v->type->activate)
		v->type->activate(v->self);
	if (v->live && !v->paused) {
		set_serving(v, true);
		again_all(v);
	}
	return 0;
}

void virtio_run_deactivate(struct virtio *v)
{
	v->live = false;
	set_serving(v, false);
	if (!v->activated)
		return;
	drain(v, clock_mono_ns() + RESET_WAIT_S * NS_PER_S);
	if (v->type->reset)
		v->type->reset(v->self);
	v->activated = false;
	v->restored = false;
	for (unsigned int i = 0; i < v->nqueues; i++) {
		v->queue[i].quiet = false;
		v->queue[i].again_ns = 0;
	}
}

/* The source's last interrupts may have been on their way when it saved its interrupt controllers. One too many does no harm. */
static void tell_again(struct virtio *v)
{
	bool changed;

	if (!v->restored)
		return;
	v->restored = false;
	for (unsigned int i = 0; i < v->nqueues && v->live; i++)
		if (v->queue[i].enabled && virtq_unseen(&v->queue[i].vq))
			virtio_interrupt(v, (int)i);
	pthread_mutex_lock(&v->lock);
	changed = v->status & VIRTIO_DRIVER_OK &&
		  (v->config_unseen || v->status & VIRTIO_NEEDS_RESET);
	pthread_mutex_unlock(&v->lock);
	if (changed)
		virtio_interrupt(v, -1);
}

static void resume_now(void *opaque)
{
	struct virtio *v = opaque;

	if (!v->paused)
		return;
	v->paused = false;
	tell_again(v);
	if (!v->live)
		return;
	set_serving(v, true);
	again_all(v);
}

void virtio_resume(struct virtio *v)
{
	worker_call(v->worker, resume_now, v);
}

struct pause_call {
	struct virtio *v;
	uint64_t deadline_ns;
	struct err *err;
	int rc;
};

static void pause_now(void *opaque)
{
	struct pause_call *c = opaque;
	struct virtio *v = c->v;
	unsigned int n;

	if (v->paused)
		return;
	v->paused = true;
	set_serving(v, false);
	n = drain(v, c->deadline_ns);
	if (!n)
		return;
	c->rc = err_set(c->err, -ETIMEDOUT, "%s %s: %u requests are still in flight", v->type->kind,
			v->id, n);
	resume_now(v);
}

int virtio_pause(struct virtio *v, uint64_t deadline_ns, struct err *err)
{
	struct pause_call c = { .v = v, .deadline_ns = deadline_ns, .err = err };

	worker_call(v->worker, pause_now, &c);
	return c.rc;
}
