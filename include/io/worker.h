/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IO_WORKER_H
#define IO_WORKER_H

#include "base/err.h"
#include "io/loop.h"

/*
 * A thread with an event loop of its own. What lives on it (a device's queues, its backend's descriptors) is touched by nobody else: others ask it to run a
 * function and wait.
 */
struct worker;

/* @name: of the thread, at most 15 characters. The thread blocks all signals. */
int worker_create(const char *name, struct worker **ret, struct err *err);
/* Ends and joins the thread; calls that were accepted have run. Not on the worker's own thread. NULL is allowed. */
void worker_destroy(struct worker *w);
/* Its loop; loop_add and loop_del on the worker's thread only, that is: in a worker_call or one of the loop's own callbacks. */
struct loop *worker_loop(struct worker *w);
/* Runs fn(opaque) on the worker's thread between two of its loop's callbacks and returns when it has. Calls from several threads run one after another. On the
 * worker's own thread it is a plain call. */
void worker_call(struct worker *w, void (*fn)(void *opaque), void *opaque);

#endif
