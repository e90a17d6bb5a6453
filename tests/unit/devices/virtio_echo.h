/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_VIRTIO_ECHO_H
#define TESTS_UNIT_DEVICES_VIRTIO_ECHO_H

#include "test.h"

#include "virtio_driver.h"

/* For tests of the core: a device that echoes, what it reads of a request it writes behind it, and the driver in front of it. */
/* Of the second, requests are kept until type->wait. */
enum { QUEUE_ECHO, QUEUE_HELD, NQUEUES };
#define QUEUE_SIZE 8
#define FEATURE_A 0
#define FEATURE_B 5
#define CONFIG "configuration"

struct echo {
	struct virtio v;
	struct virtq_chain chain;
	/* The worker's. */
	uint16_t held[QUEUE_SIZE];
	unsigned int nheld;
	unsigned int activations, resets, waits, ons, offs, stops;
	bool obstinate; /* wait() lets nothing go */
	bool short_sighted; /* serve() takes one request at a time */
	bool destroyed;
	unsigned int serves[NQUEUES];
};

struct fixture {
	struct driver d;
	struct echo e;
};

#define ALL_FEATURES UINT64_MAX
#define PLAIN (1ull << VIRTIO_F_VERSION_1)

int echo_make(struct fixture *f, struct echo *e, const struct virtio_face *face, struct err *err);
int echo_setup(void **state);
int echo_teardown(void **state);

/* A request of @text, answered with as much; returns where the answer is. */
uint64_t offer(struct fixture *f, unsigned int queue, const char *text);
/* It comes, and is @text. */
void assert_answer(struct fixture *f, uint64_t gpa, const char *text);
/* @n requests that the device has taken and keeps. */
void hold(struct fixture *f, unsigned int n);

#define TEST(f) cmocka_unit_test_setup_teardown(f, echo_setup, echo_teardown)

#endif
