/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "dirty_cases.h"
#include "dirty_fixture.h"

/* Guests that never stop: a copy made the way a migration makes it equals guest memory in the end. */

struct device {
	struct gmem *mem;
	_Atomic bool end;
	uint64_t writes;
	pthread_t thread;
};

/* Counts up in pages of its own, in both regions, as fast as it can. */
static void *device_thread(void *arg)
{
	struct device *dev = arg;

	while (!atomic_load(&dev->end)) {
		uint64_t n = ++dev->writes;
		uint64_t gpa = n % 2 ? 600ULL << 12 : (4ULL << 30) + (100 << 12);

		gmem_write(dev->mem, gpa + n * 4096 % (64 << 12), &n, sizeof(n));
		if (n % 64 == 0)
			usleep(50);
	}
	return NULL;
}

/* The guest and the device. */
static void run_both(struct fixture *f, struct device *dev)
{
	*dev = (struct device){ .mem = vm_mem(f->t.vm) };
	run(f);
	assert_int_equal(pthread_create(&dev->thread, NULL, device_thread, dev), 0);
}

/* Both stop, and what they wrote last is copied: now the copy is whole. */
static void switch_over(struct fixture *f, struct device *dev)
{
	halt(f);
	atomic_store(&dev->end, true);
	pthread_join(dev->thread, NULL);
	finish(f);
	send_acc(f);
	assert_copy_equals_memory(f);
}

void test_live_copy(void **state)
{
	static struct fixture f;
	struct device dev;
	uint64_t done;

	set_up(&f, state, 2, TWO_REGIONS);
	tiny_set_work(&f.t, 0, HALF - 1024, 2048, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 2048, 256, 1);
	tiny_allow(&f.t, 0, UINT64_MAX);
	tiny_allow(&f.t, 1, UINT64_MAX);
	run_both(&f, &dev);
	assert_true(tiny_wait_done(&f.t, 1, 1000));
	start(&f);
	send_everything(&f);
	for (unsigned int round = 0; round < 30; round++) {
		collect(&f);
		assert_true(bitmap_count(&f.acc) > 0);
		send_acc(&f);
		/* Read after the collect: what is waited for was written after it. Of two steps the second began when the first was counted. */
		done = atomic_load(&tiny_control(&f.t, 1)->done);
		assert_true(tiny_wait_done(&f.t, 1, done + 2));
	}
	switch_over(&f, &dev);
	assert_int_equal(f.d->stats.collects, 31);
	dirty_stop(f.d);
	tear_down(&f);
}

/* Four vCPUs that write into each other's pages, and a device. */
void test_live_copy_of_4_vcpus(void **state)
{
	static struct fixture f;
	struct device dev;

	set_up(&f, state, 4, TWO_REGIONS);
	for (unsigned int c = 0; c < 4; c++) {
		tiny_set_work(&f.t, c, HALF - 512, 1024, PERMUTE + 2ULL * c);
		tiny_allow(&f.t, c, UINT64_MAX);
	}
	run_both(&f, &dev);
	start(&f);
	send_everything(&f);
	for (unsigned int round = 0; round < 10; round++) {
		collect(&f);
		send_acc(&f);
		for (unsigned int c = 0; c < 4; c++)
			assert_true(tiny_wait_done(&f.t, c,
						   atomic_load(&tiny_control(&f.t, c)->done) + 1));
	}
	switch_over(&f, &dev);
	dirty_stop(f.d);
	tear_down(&f);
}

/* An attempt that dies after a collect took the bits with it; the next one must not miss those pages. */
void test_after_a_failed_attempt(void **state)
{
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, 1024, 4096, PERMUTE);
	for (unsigned int attempt = 0; attempt < 3; attempt++) {
		start_quiet(&f);
		work(&f, 2000);
		collect(&f); /* never sent */
		work(&f, 2000);
		dirty_stop(f.d);
		bitmap_zero(&f.acc);
		work(&f, 100); /* nobody looks */
	}
	start(&f);
	run(&f);
	send_everything(&f);
	work(&f, 3000);
	collect(&f);
	send_acc(&f);
	work(&f, 3000);
	finish(&f);
	send_acc(&f);
	assert_copy_equals_memory(&f);
	/* A failure as late as that: the VM goes on, and so does its tracking once it is started anew. */
	dirty_stop(f.d);
	work(&f, 100);
	start_quiet(&f);
	work(&f, 50);
	finish(&f);
	assert_exact(&f, 50);
	dirty_stop(f.d);
	tear_down(&f);
}
