/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dirty_cases.h"
#include "dirty_fixture.h"

/* More pages than a ring holds, and what finish leaves in it. To the other backends these are cases as any. */

/* More pages than a small ring has entries, with nobody collecting meanwhile. */
void test_more_than_a_ring(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, 4096, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 1024, 4096, 1);
	start_quiet(&f);
	for (unsigned int round = 0; round < 2; round++) {
		work(&f, 4096);
		collect(&f);
		assert_exact(&f, 4096);
		send_acc(&f);
	}
	if (f.subject->backend.kind == DIRTY_RING && f.subject->backend.ring_entries == 1024)
		assert_true(f.d->stats.ring_full_exits >= 2 * 3); /* a full ring empties both */
	else
		assert_int_equal(f.d->stats.ring_full_exits, 0);
	work(&f, 4096);
	finish(&f);
	assert_exact(&f, 4096);
	dirty_stop(f.d);
	tear_down(&f);
}

void test_full_rings_of_4_vcpus(void **state)
{
	static struct fixture f;

	set_up(&f, state, 4, TWO_REGIONS);
	for (unsigned int c = 0; c < 4; c++)
		tiny_set_work(&f.t, c, 1024 + c * 3072, 2048, PERMUTE);
	start_quiet(&f);
	work(&f, 2048);
	collect(&f);
	assert_exact(&f, 2048);
	send_acc(&f);
	if (f.subject->backend.kind == DIRTY_RING && f.subject->backend.ring_entries == 1024)
		assert_true(f.d->stats.ring_full_exits >= 2);
	work(&f, 2048);
	finish(&f);
	assert_exact(&f, 2048);
	dirty_stop(f.d);
	tear_down(&f);
}

/* Rings keep working when what finish delivered is not followed by stop at once. */
void test_running_on_after_finish(void **state)
{
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, 1024, 8192, 1);
	start_quiet(&f);
	work(&f, 900);
	finish(&f);
	assert_exact(&f, 900);
	work(&f, 7000);
	dirty_stop(f.d);
	work(&f, 10000);
	tear_down(&f);
}
