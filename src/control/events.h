/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_EVENTS_H
#define CONTROL_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * From the one who says what happened to those who listen, each at his own pace. Publishing never blocks: every subscriber has a bounded queue; a droppable
 * event is dropped for whoever lags, and one who lags beyond the limit loses his stream, not events out of its middle. All functions may be called from any
 * thread. One lock, taken last (but for the locks that suspend and resume take).
 */
struct event_hub;
struct event_sub;

#define EVENT_MAX_SUBS 16
#define EVENT_DROP_BYTES \
	(16u << 10) /* queued for one subscriber: droppable events are dropped from here on */
#define EVENT_LIMIT_BYTES (512u << 10) /* and from here on the stream is broken off */

/* How a subscriber is put to sleep and woken; called with the hub's lock held, in turns, suspend first. */
struct event_sub_ops {
	void (*suspend)(void *opaque);
	void (*resume)(void *opaque);
	bool (*gone)(void *opaque); /* the reader hung up; asked while it sleeps. May be NULL */
};

struct event_hub *event_hub_create(void);
void event_hub_destroy(struct event_hub *h); /* no subscribers left */

/* True when somebody listens: else making the text is wasted work. */
bool event_hub_wanted(struct event_hub *h);
/* @text (copied) is one line with its newline. */
void event_hub_publish(struct event_hub *h, const char *text, bool droppable);
/* No further events; the readers get what is queued and then the end. Nobody sleeps after it. */
void event_hub_close(struct event_hub *h);

/* NULL when there are too many or memory ran out. Sleeping subscribers whose reader is gone make room. */
struct event_sub *event_sub_create(struct event_hub *h, const struct event_sub_ops *ops,
				   void *opaque);
void event_sub_destroy(struct event_sub *s);
/* Puts @text ahead of everything queued: what a new subscriber starts with. 0 or -ENOMEM. */
int event_sub_push_first(struct event_sub *s, const char *text);

/* Up to @max bytes; 0: the queue is empty and suspend was called; EVENT_END after close; EVENT_BROKEN for one who lagged or hung up. */
#define EVENT_END ((ssize_t)-1)
#define EVENT_BROKEN ((ssize_t)-2)
ssize_t event_sub_read(struct event_sub *s, char *buf, size_t max);

#endif
