/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * An event loop (epoll, level-triggered): descriptors that become ready, nothing else. One thread runs it (main, a worker) and, once it runs, is
 * the only one to add and delete; loop_stop is the one call allowed from other threads and from signal handlers.
 */
struct loop;
typedef void (*loop_fn)(void *opaque, int fd, uint32_t events);

int loop_create(struct loop **ret, struct err *err);
void loop_destroy(struct loop *l);
/* @events: EPOLLIN and friends. The fd stays the caller's, who deletes it here before closing it. @fn may delete any watch, its own too, and add
 * others. 0, -ENOMEM, -EEXIST, or epoll_ctl's error (-EPERM for a regular file). */
int loop_add(struct loop *l, int fd, uint32_t events, loop_fn fn, void *opaque);
void loop_del(struct loop *l, int fd);
/* Runs until loop_stop; a stop that came before the call counts. 0 or -errno. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);

#endif
