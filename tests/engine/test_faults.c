/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/num.h"
#include "fake_vm.h"
#include "fault_transport.h"
#include "migration/wire/record.h"

/*
 * Every way in which a connection can fail, at every record: who owns the VM afterwards (stream.md §4), and does the next attempt succeed? The positions come from a
 * recorded migration of a VM that nobody writes to: its stream is the same length each time. A writer, where one runs, moves the later positions a little, which does no harm.
 */
#define STALL_NS (30 * NS_PER_MS)
#define MAX_RECORDS 64u
#define HOT_PAGES 24u

struct line {
	struct buf bytes; /* one direction of the recorded migration */
	unsigned int nrecords;
	struct {
		uint16_t type;
		uint64_t at, meta_at, payload_at, end;
	} record[MAX_RECORDS];
};

struct bed {
	struct fake_source s;
	struct line to_destination, to_source;
	uint64_t stall_ns; /* of attempts with a fault that makes somebody wait; 0: the default */
	unsigned int tried; /* attempts with a fault that was really met */
	unsigned int committed, unknown, survived; /* how they ended */
};

/* Both ends get the fault transport; a plan that is NULL means none. */
static void run(struct bed *b, struct attempt *a, struct fake_destination *d,
		struct fault_plan *at_source, struct fault_plan *at_destination, struct buf *sent,
		struct buf *answered)
{
	struct fault_plan none[2];
	struct transport *x, *y, *fx, *fy;

	fault_plan_init(&none[0]);
	fault_plan_init(&none[1]);
	memset(d, 0, sizeof(*d));
	transport_pair(&x, &y);
	assert_int_equal(
		fault_transport_create(x, at_source ? at_source : &none[0], sent, &fx, NULL), 0);
	assert_int_equal(fault_transport_create(y, at_destination ? at_destination : &none[1],
						answered, &fy, NULL),
			 0);
	if (b->stall_ns)
		fx->stall_ns = fy->stall_ns = b->stall_ns;
	attempt_run(a, &b->s, d, fx, fy);
	assert_one_owner(a, &b->s, d);
}

/* The VM is the source's again, as if it had come back or the operator had decided so. */
static void take_back(struct bed *b)
{
	b->s.committed = false;
	atomic_store(&b->s.cancel, false);
	atomic_store(&b->s.running, true);
}

static void succeed(struct bed *b)
{
	uint64_t stall_ns = b->stall_ns;
	struct fake_destination d;
	struct attempt a;

	attempt_defaults(&a);
	b->stall_ns = 0;
	run(b, &a, &d, NULL, NULL, NULL, NULL);
	b->stall_ns = stall_ns;
	if (a.send_rc)
		fail_msg("the next attempt failed: %s", a.send_err.msg);
	fake_destination_fini(&d);
	take_back(b);
}

/* One attempt with a fault, then one without. */
static void try_fault(struct bed *b, struct attempt *a, struct fault_plan *at_source,
		      struct fault_plan *at_destination)
{
	struct fake_destination d;

	attempt_defaults(a);
	run(b, a, &d, at_source, at_destination, NULL, NULL);
	b->tried += (at_source && at_source->hit) || (at_destination && at_destination->hit);
	b->committed += !a->send_rc;
	b->unknown += a->send_rc == -EINPROGRESS;
	b->survived += atomic_load(&b->s.running);
	if (a->send_rc)
		assert_true(a->send_err.msg[0]);
	if (a->receive_rc)
		assert_true(a->receive_err.msg[0]);
	fake_destination_fini(&d);
	take_back(b);
	succeed(b);
}

static void split(struct line *l)
{
	uint64_t at = 0;

	l->nrecords = 0;
	while (at < l->bytes.len_bytes) {
		const uint8_t *h = l->bytes.data + at;

		assert_true(l->nrecords < MAX_RECORDS);
		l->record[l->nrecords].type = le16_get(h + 4);
		l->record[l->nrecords].at = at;
		l->record[l->nrecords].meta_at = at + STREAM_HEADER_BYTES;
		l->record[l->nrecords].payload_at = at + STREAM_HEADER_BYTES + le32_get(h + 12);
		at = l->record[l->nrecords].payload_at + le64_get(h + 16);
		l->record[l->nrecords++].end = at;
	}
	assert_int_equal(at, l->bytes.len_bytes);
}

static void bed_init(struct bed *b, unsigned int hot_pages)
{
	struct fake_destination d;
	struct attempt a;

	memset(b, 0, sizeof(*b));
	fake_source_init(&b->s, 0);
	attempt_defaults(&a);
	run(b, &a, &d, NULL, NULL, &b->to_destination.bytes, &b->to_source.bytes);
	assert_int_equal(a.send_rc, 0);
	fake_destination_fini(&d);
	split(&b->to_destination);
	split(&b->to_source);
	if (hot_pages) {
		fake_source_fini(&b->s);
		fake_source_init(&b->s, hot_pages);
	} else {
		take_back(b);
	}
}

static void bed_fini(struct bed *b)
{
	fake_source_fini(&b->s);
	buf_fini(&b->to_destination.bytes);
	buf_fini(&b->to_source.bytes);
}

/* Positions worth a fault in one record: its borders, within the header, within the meta data, within the payload. */
static unsigned int positions(const struct line *l, unsigned int i, uint64_t out[16])
{
	const uint64_t at = l->record[i].at, meta = l->record[i].meta_at,
		       payload = l->record[i].payload_at, end = l->record[i].end;
	const uint64_t all[] = { at,
				 at + 1,
				 at + 12,
				 at + 31,
				 meta,
				 meta + 1,
				 meta + (payload - meta) / 2,
				 payload - 1,
				 payload,
				 payload + 1,
				 payload + STREAM_PAGE_BYTES,
				 payload + (end - payload) / 2 + 7,
				 end - 1 };
	unsigned int n = 0;

	for (unsigned int k = 0; k < ARRAY_LEN(all); k++)
		if (all[k] < end && (!n || all[k] > out[n - 1]))
			out[n++] = all[k];
	return n;
}

static void cut_everywhere(unsigned int hot_pages)
{
	struct attempt a;
	struct bed b;

	bed_init(&b, hot_pages);
	for (unsigned int i = 0; i < b.to_destination.nrecords; i++) {
		uint64_t at[16];
		unsigned int n = positions(&b.to_destination, i, at);

		for (unsigned int k = 0; k < n; k++) {
			struct fault_plan plan;

			fault_plan_init(&plan);
			plan.cut_after_sent = at[k];
			try_fault(&b, &a, &plan, NULL);
		}
	}
	/* The other direction is short: every byte of it, lost on the way out or on the way in. */
	for (uint64_t at = 0; at < b.to_source.bytes.len_bytes; at += hot_pages ? 5 : 2) {
		struct fault_plan plan;

		fault_plan_init(&plan);
		plan.cut_after_sent = at;
		try_fault(&b, &a, NULL, &plan);
		fault_plan_init(&plan);
		plan.cut_after_received = at;
		try_fault(&b, &a, &plan, NULL);
	}
	print_message("%u cuts: %u attempts completed, %u of unknown outcome, %u source runs on\n",
		      b.tried, b.committed, b.unknown, b.survived);
	if (!hot_pages)
		assert_int_equal(b.committed, 0);
	assert_true(b.tried >= (hot_pages ? 180 : 300));
	assert_true(b.unknown > 0);
	assert_true(b.survived >= (hot_pages ? 150 : 250));
	bed_fini(&b);
}

static void test_cut_everywhere(void **state)
{
	(void)state;
	cut_everywhere(0);
}

static void test_cut_everywhere_writer(void **state)
{
	(void)state;
	cut_everywhere(HOT_PAGES);
}

/* stream.md §4, row by row. The stream's last record is COMMIT, the answers' last one STARTED. */
static void test_owner_table(void **state)
{
	const struct line *l;
	struct fault_plan plan;
	struct attempt a;
	struct bed b;
	uint64_t commit, started;

	(void)state;
	bed_init(&b, 0);
	l = &b.to_destination;
	assert_int_equal(l->record[l->nrecords - 1].type, REC_COMMIT);
	commit = l->record[l->nrecords - 1].at;
	l = &b.to_source;
	assert_int_equal(l->record[l->nrecords - 1].type, REC_STARTED);
	started = l->record[l->nrecords - 1].at;

	/* Before COMMIT was handed over: END cut short, READY lost. */
	fault_plan_init(&plan);
	plan.cut_after_sent = commit - 1;
	try_fault(&b, &a, &plan, NULL);
	assert_int_equal(b.survived, 1);
	assert_int_not_equal(a.receive_rc, 0);
	fault_plan_init(&plan);
	plan.cut_after_received = started - 1;
	try_fault(&b, &a, &plan, NULL);
	assert_int_equal(b.survived, 2);
	assert_int_not_equal(a.receive_rc, 0);
	assert_non_null(strstr(a.receive_err.msg, "the source did not hand over"));

	/* After COMMIT was handed over, no answer: paused, outcome unknown. Nothing, a part, all of it arrived. */
	for (uint64_t n = 0; n <= STREAM_HEADER_BYTES; n += 16) {
		fault_plan_init(&plan);
		if (n < STREAM_HEADER_BYTES)
			plan.cut_after_sent = commit + n;
		else
			plan.cut_after_received = started;
		try_fault(&b, &a, &plan, NULL);
		assert_int_equal(a.send_rc, -EINPROGRESS);
		assert_int_equal(a.report.result, MIG_OUTCOME_UNKNOWN);
		/* It runs where the whole of COMMIT arrived, and only there. */
		assert_int_equal(a.receive_rc == 0, n == STREAM_HEADER_BYTES);
	}
	assert_int_equal(b.survived, 2);

	/* STARTED came damaged: the source knows no more than that there was an answer. */
	fault_plan_init(&plan);
	plan.flip_sent = started + 5;
	try_fault(&b, &a, NULL, &plan);
	assert_int_equal(a.send_rc, -EINPROGRESS);
	assert_int_equal(a.receive_rc, 0);

	/* COMMIT came damaged: the destination refuses in so many words, and the source runs on. */
	fault_plan_init(&plan);
	plan.flip_sent = commit + 8;
	try_fault(&b, &a, &plan, NULL);
	assert_int_equal(a.send_rc, -EREMOTEIO);
	assert_int_not_equal(a.receive_rc, 0);
	assert_int_equal(b.survived, 3);
	assert_int_equal(b.tried, 7);
	bed_fini(&b);
}

/* One flipped bit: never a VM that runs with other memory or state than the source's (assert_one_owner compares). */
static void flip_everywhere(unsigned int hot_pages)
{
	static const uint8_t header_offsets[] = { 0,  4,  5,  6,  8,  11, 12, 14,
						  16, 18, 23, 24, 27, 28, 31 };
	unsigned int seen[REC_TYPE_COUNT] = { 0 };
	struct fault_plan plan;
	struct attempt a;
	struct bed b;

	bed_init(&b, hot_pages);
	b.stall_ns = STALL_NS;
	for (unsigned int i = 0; i < b.to_destination.nrecords; i++) {
		uint16_t type = b.to_destination.record[i].type;
		uint64_t at[16];
		unsigned int n = positions(&b.to_destination, i, at);

		if (seen[type]++ > 1)
			continue;
		for (unsigned int k = 0; seen[type] == 1 && k < ARRAY_LEN(header_offsets); k++) {
			fault_plan_init(&plan);
			plan.flip_sent = b.to_destination.record[i].at + header_offsets[k];
			try_fault(&b, &a, &plan, NULL);
			if (!hot_pages)
				assert_int_not_equal(a.send_rc, 0);
		}
		for (unsigned int k = 0; k < n; k++) {
			if (at[k] < b.to_destination.record[i].meta_at)
				continue;
			fault_plan_init(&plan);
			plan.flip_sent = at[k];
			try_fault(&b, &a, &plan, NULL);
			if (!hot_pages)
				assert_int_not_equal(a.send_rc, 0);
		}
	}
	for (uint64_t at = 0; at < b.to_source.bytes.len_bytes; at += hot_pages ? 11 : 4) {
		fault_plan_init(&plan);
		plan.flip_sent = at;
		try_fault(&b, &a, NULL, &plan);
		if (!hot_pages)
			assert_int_not_equal(a.send_rc, 0);
	}
	print_message("%u flips: %u attempts completed, %u of unknown outcome, %u source runs on\n",
		      b.tried, b.committed, b.unknown, b.survived);
	assert_true(b.tried >= 120);
	assert_true(b.survived >= 100);
	bed_fini(&b);
}

static void test_flip_everywhere(void **state)
{
	(void)state;
	flip_everywhere(0);
}

static void test_flip_everywhere_writer(void **state)
{
	(void)state;
	flip_everywhere(HOT_PAGES);
}

static void test_stall(void **state)
{
	struct attempt a;
	struct bed b;
	unsigned int n;

	(void)state;
	bed_init(&b, HOT_PAGES);
	b.stall_ns = STALL_NS;
	for (n = 0; n < b.to_destination.nrecords; n += 1 + n / 8) {
		struct fault_plan plan;

		fault_plan_init(&plan);
		plan.stall_after_sent = b.to_destination.record[n].at + n % 40;
		try_fault(&b, &a, &plan, NULL);
		assert_int_not_equal(a.send_rc, 0);
	}
	for (n = 0; n < b.to_source.nrecords; n++) {
		struct fault_plan plan;

		fault_plan_init(&plan);
		plan.stall_after_sent = b.to_source.record[n].at + 3;
		try_fault(&b, &a, NULL, &plan);
		assert_int_not_equal(a.send_rc, 0);
	}
	assert_true(b.tried >= 12);
	bed_fini(&b);
}

/* Somebody holds the connection open and says nothing, ever. */
static void test_silent_peer(void **state)
{
	struct transport *x, *y;
	struct mig_report report;
	struct err err = { 0 };
	struct attempt a;
	struct bed b;
	int rc;

	(void)state;
	bed_init(&b, HOT_PAGES);
	attempt_defaults(&a);
	transport_pair(&x, &y);
	x->stall_ns = STALL_NS;
	rc = mig_send(&a.params, x, &fake_source_ops, &b.s, b.s.mem, &b.s.dirty.d, NULL, &report,
		      &err);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_true(atomic_load(&b.s.running));
	transport_destroy(x);
	transport_destroy(y);
	succeed(&b);
	bed_fini(&b);
}

/* A destination that answers HELLO and falls asleep while it builds its VM. */
static void test_sleeping_builder(void **state)
{
	struct fake_destination d = { 0 };
	struct transport *x, *y;
	struct attempt a;
	struct bed b;

	(void)state;
	bed_init(&b, HOT_PAGES);
	attempt_defaults(&a);
	transport_pair(&x, &y);
	x->stall_ns = STALL_NS;
	d.prepare_waits_for = &a.send_ended;
	attempt_run(&a, &b.s, &d, x, y);
	assert_one_owner(&a, &b.s, &d);
	assert_int_equal(a.send_rc, -ETIMEDOUT);
	assert_int_not_equal(a.receive_rc, 0);
	fake_destination_fini(&d);
	succeed(&b);
	bed_fini(&b);
}

static void test_silent_source(void **state)
{
	struct mig_receive_report report;
	struct fake_destination d = { 0 };
	struct transport *x, *y;
	struct err err = { 0 };

	(void)state;
	transport_pair(&x, &y);
	y->stall_ns = STALL_NS;
	assert_int_equal(mig_receive(y, &fake_destination_ops, &d, &report, &err), -ETIMEDOUT);
	transport_destroy(x);
	transport_destroy(y);
}

/* A source that falls asleep before COMMIT is refused; when it wakes up it keeps its VM. */
static void test_late_commit(void **state)
{
	struct fake_destination d = { 0 };
	struct transport *x, *y;
	struct attempt a;
	struct bed b;

	(void)state;
	bed_init(&b, HOT_PAGES);
	attempt_defaults(&a);
	/* Within the two seconds in which a destination that refuses still listens, far enough from its patience for a busy machine. */
	b.s.commit_delay_ns = 25 * STALL_NS;
	transport_pair(&x, &y);
	y->stall_ns = STALL_NS;
	attempt_run(&a, &b.s, &d, x, y);
	assert_one_owner(&a, &b.s, &d);
	assert_int_equal(a.receive_rc, -ETIMEDOUT);
	assert_int_equal(a.send_rc, -EREMOTEIO);
	assert_true(atomic_load(&b.s.running));
	fake_destination_fini(&d);
	b.s.commit_delay_ns = 0;
	succeed(&b);
	bed_fini(&b);
}

static void test_cancel_everywhere(void **state)
{
	struct attempt a;
	struct bed b;

	(void)state;
	bed_init(&b, HOT_PAGES);
	for (unsigned int i = 0; i + 1 < b.to_destination.nrecords; i++) {
		struct fault_plan plan;

		fault_plan_init(&plan);
		plan.cancel_after_sent = b.to_destination.record[i].at + i % 50;
		try_fault(&b, &a, &plan, NULL);
		if (!plan.hit)
			continue;
		/* Once COMMIT is out a cut connection leaves the outcome open; hosts do not cancel that late. */
		if (a.send_rc != -EINPROGRESS) {
			assert_int_equal(a.send_rc, -ECANCELED);
			assert_int_equal(a.report.result, MIG_CANCELLED);
		}
	}
	assert_true(b.survived >= 10);
	bed_fini(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {
		/* Those without a writer come first: the thread sanitizer runs them alone, the writer races for guest bytes by design. */
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_owner_table),
		cmocka_unit_test(test_flip_everywhere),
		cmocka_unit_test(test_cut_everywhere_writer),
		cmocka_unit_test(test_flip_everywhere_writer),
		cmocka_unit_test(test_stall),
		cmocka_unit_test(test_silent_peer),
		cmocka_unit_test(test_sleeping_builder),
		cmocka_unit_test(test_silent_source),
		cmocka_unit_test(test_late_commit),
		cmocka_unit_test(test_cancel_everywhere),
	};
	const struct CMUnitTest static_memory[] = { all[0], all[1], all[2] };

	(void)argv;
	return argc > 1 ? cmocka_run_group_tests(static_memory, NULL, NULL) :
			  cmocka_run_group_tests(all, NULL, NULL);
}
