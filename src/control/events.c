/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/num.h"

struct event_msg {
	unsigned int refs; /* under the hub's lock */
	size_t len_bytes;
	char text[];
};

struct event_node {
	TAILQ_ENTRY(event_node) link;
	struct event_msg *msg;
};

struct event_sub {
	LIST_ENTRY(event_sub) link;
	struct event_hub *hub;
	const struct event_sub_ops *ops;
	void *opaque;
	TAILQ_HEAD(, event_node) queue;
	size_t queued_bytes;
	size_t head_offset; /* of the first node, already read */
	bool asleep;
	bool broken;
};

struct event_hub {
	pthread_mutex_t lock;
	LIST_HEAD(, event_sub) subs;
	unsigned int nsubs;
	bool closed;
};

struct event_hub *event_hub_create(void)
{
	struct event_hub *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	LIST_INIT(&h->subs);
	return h;
}

void event_hub_destroy(struct event_hub *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

bool event_hub_wanted(struct event_hub *h)
{
	bool wanted;

	pthread_mutex_lock(&h->lock);
	wanted = h->nsubs > 0 && !h->closed;
	pthread_mutex_unlock(&h->lock);
	return wanted;
}

static struct event_msg *msg_create(const char *text)
{
	size_t len = strlen(text);
	struct event_msg *msg = malloc(sizeof(*msg) + len + 1);

	if (!msg)
		return NULL;
	msg->refs = 1;
	msg->len_bytes = len;
	memcpy(msg->text, text, len + 1);
	return msg;
}

static void msg_unref(struct event_msg *msg)
{
	if (--msg->refs == 0)
		free(msg);
}

static void wake(struct event_sub *s)
{
	if (!s->asleep)
		return;
	s->asleep = false;
	s->ops->resume(s->opaque);
}

static void pop(struct event_sub *s)
{
	struct event_node *node = TAILQ_FIRST(&s->queue);

	TAILQ_REMOVE(&s->queue, node, link);
	s->queued_bytes -= node->msg->len_bytes;
	s->head_offset = 0;
	msg_unref(node->msg);
	free(node);
}

/* A subscriber that cannot be given an event it must not miss is broken off, so that no stream ever has a hole. */
static void push(struct event_sub *s, struct event_msg *msg, bool droppable)
{
	struct event_node *node;

	if (s->broken || (droppable && s->queued_bytes >= EVENT_DROP_BYTES))
		return;
	node = s->queued_bytes + msg->len_bytes <= EVENT_LIMIT_BYTES ? malloc(sizeof(*node)) : NULL;
	if (node) {
		node->msg = msg;
		msg->refs++;
		s->queued_bytes += msg->len_bytes;
		TAILQ_INSERT_TAIL(&s->queue, node, link);
	} else {
		s->broken = true;
	}
	wake(s);
}

void event_hub_publish(struct event_hub *h, const char *text, bool droppable)
{
	struct event_msg *msg = msg_create(text);
	struct event_sub *s;

	pthread_mutex_lock(&h->lock);
	LIST_FOREACH(s, &h->subs, link)
	{
		if (msg && !h->closed) {
			push(s, msg, droppable);
		} else if (!msg && !droppable) {
			s->broken = true;
			wake(s);
		}
	}
	if (msg)
		msg_unref(msg);
	pthread_mutex_unlock(&h->lock);
}

void event_hub_close(struct event_hub *h)
{
	struct event_sub *s;

	pthread_mutex_lock(&h->lock);
	h->closed = true;
	LIST_FOREACH(s, &h->subs, link)
	wake(s);
	pthread_mutex_unlock(&h->lock);
}

struct event_sub *event_sub_create(struct event_hub *h, const struct event_sub_ops *ops,
				   void *opaque)
{
	struct event_sub *s = calloc(1, sizeof(*s));
	struct event_sub *other;
	unsigned int live = 0;

	if (!s)
		return NULL;
	s->hub = h;
	s->ops = ops;
	s->opaque = opaque;
	TAILQ_INIT(&s->queue);
	pthread_mutex_lock(&h->lock);
	/* Nothing tells a sleeper that its reader went away: here is where it begins to matter. It leaves by its next read. */
	LIST_FOREACH(other, &h->subs, link)
	{
		if (other->asleep && ops->gone && other->ops->gone(other->opaque)) {
			other->broken = true;
			wake(other);
		}
		live += !other->broken;
	}
	if (live >= EVENT_MAX_SUBS || h->closed) {
		free(s);
		s = NULL;
	} else {
		h->nsubs++;
		LIST_INSERT_HEAD(&h->subs, s, link);
	}
	pthread_mutex_unlock(&h->lock);
	return s;
}

void event_sub_destroy(struct event_sub *s)
{
	struct event_hub *h;

	if (!s)
		return;
	h = s->hub;
	pthread_mutex_lock(&h->lock);
	LIST_REMOVE(s, link);
	h->nsubs--;
	while (!TAILQ_EMPTY(&s->queue))
		pop(s);
	pthread_mutex_unlock(&h->lock);
	free(s);
}

int event_sub_push_first(struct event_sub *s, const char *text)
{
	struct event_msg *msg = msg_create(text);
	struct event_node *node = malloc(sizeof(*node));

	if (!msg || !node) {
		free(msg);
		free(node);
		return -ENOMEM;
	}
	node->msg = msg;
	pthread_mutex_lock(&s->hub->lock);
	s->queued_bytes += msg->len_bytes;
	TAILQ_INSERT_HEAD(&s->queue, node, link);
	pthread_mutex_unlock(&s->hub->lock);
	return 0;
}

static ssize_t take(struct event_sub *s, char *buf, size_t max)
{
	size_t done = 0;

	while (done < max && !TAILQ_EMPTY(&s->queue)) {
		struct event_msg *msg = TAILQ_FIRST(&s->queue)->msg;
		size_t n = MIN(max - done, msg->len_bytes - s->head_offset);

		memcpy(buf + done, msg->text + s->head_offset, n);
		done += n;
		s->head_offset += n;
		if (s->head_offset == msg->len_bytes)
			pop(s);
	}
	return (ssize_t)done;
}

ssize_t event_sub_read(struct event_sub *s, char *buf, size_t max)
{
	ssize_t n;

	pthread_mutex_lock(&s->hub->lock);
	n = take(s, buf, max);
	if (n == 0 && s->broken) {
		n = EVENT_BROKEN;
	} else if (n == 0 && s->hub->closed) {
		n = EVENT_END;
	} else if (n == 0) {
		s->asleep = true;
		s->ops->suspend(s->opaque);
	}
	pthread_mutex_unlock(&s->hub->lock);
	return n;
}
