/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_vm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"

/* --- the dirty log: full at first, bits set by the writer after each write, cleared by rearm --- */

static int log_start(struct dirty *d, struct err *err)
{
	struct fake_dirty *f = (struct fake_dirty *)d;

	(void)err;
	for (uint64_t w = 0; w < bitmap_nwords(f->log.nbits); w++)
		__atomic_store_n(&f->log.words[w], ~0ull, __ATOMIC_RELEASE);
	f->on = true;
	return 0;
}

static int log_collect(struct dirty *d, struct bitmap *acc, struct err *err)
{
	struct fake_dirty *f = (struct fake_dirty *)d;

	(void)err;
	for (uint64_t i = 0; i < f->log.nbits; i++)
		if ((__atomic_load_n(&f->log.words[i / 64], __ATOMIC_ACQUIRE) >> (i % 64)) & 1)
			bitmap_set(acc, i);
	return 0;
}

static int log_rearm(struct dirty *d, const struct bitmap *pages, uint64_t first, uint64_t n,
		     struct err *err)
{
	struct fake_dirty *f = (struct fake_dirty *)d;

	(void)err;
	for (uint64_t w = first / 64; w < bitmap_nwords(first + n); w++)
		__atomic_and_fetch(&f->log.words[w], ~pages->words[w], __ATOMIC_ACQ_REL);
	return 0;
}

static void log_stop(struct dirty *d)
{
	((struct fake_dirty *)d)->on = false;
}

static const struct dirty_ops log_ops = {
	.name = "fake",
	.flags = DIRTY_SPLIT_REARM | DIRTY_STARTS_FULL,
	.start = log_start,
	.collect = log_collect,
	.rearm = log_rearm,
	.finish = log_collect,
	.stop = log_stop,
};

/* --- the source --- */

static void *writer(void *opaque)
{
	struct fake_source *s = opaque;
	uint64_t i = 0;

	while (!atomic_load(&s->quit)) {
		if (!atomic_load(&s->running)) {
			atomic_store(&s->parked, true);
			sched_yield();
			continue;
		}
		atomic_store(&s->parked, false);
		if (!atomic_load(&s->running))
			continue;
		for (unsigned int k = 0; k < 8; k++, i++) {
			uint64_t page = i * 7919 % s->hot_pages;

			__atomic_store_n((uint64_t *)(void *)gmem_page(s->mem, page) + i % 512,
					 i + 1, __ATOMIC_RELAXED);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			bitmap_set_atomic(&s->dirty.log, page);
			s->counter++;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
	return NULL;
}

void fake_source_init(struct fake_source *s, unsigned int hot_pages)
{
	const struct gmem_config config = {
		.backing = GMEM_4K,
		.nregions = 1,
		.region = { { .gpa = 0, .len_bytes = (uint64_t)FAKE_PAGES * GMEM_PAGE_SIZE } },
	};
	uint64_t x = 88172645463325252ull;

	memset(s, 0, sizeof(*s));
	assert_int_equal(gmem_create(&config, &s->mem, NULL), 0);
	/* A third of the pages stays untouched, a third is written with zeros, a third holds noise. */
	for (uint64_t page = 0; page < FAKE_PAGES; page++) {
		uint64_t *words = (uint64_t *)(void *)gmem_page(s->mem, page);

		for (unsigned int k = 0; k < 512 && page % 3; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			words[k] = page % 3 == 1 ? 0 : x;
		}
	}
	assert_int_equal(bitmap_init(&s->dirty.log, FAKE_PAGES), 0);
	s->dirty.d.ops = &log_ops;
	s->dirty.d.mem = s->mem;
	s->hot_pages = hot_pages;
	atomic_store(&s->running, true);
	atomic_store(&s->parked, !hot_pages);
	if (hot_pages)
		assert_int_equal(pthread_create(&s->writer, NULL, writer, s), 0);
}

void fake_source_fini(struct fake_source *s)
{
	atomic_store(&s->quit, true);
	if (s->hot_pages)
		pthread_join(s->writer, NULL);
	bitmap_fini(&s->dirty.log);
	bitmap_fini(&s->free.named);
	bitmap_fini(&s->free.left_out);
	gmem_destroy(s->mem);
}

/* One section of one u64, as state.md defines it. */
static void put_section(struct buf *out, const char *name, uint64_t value)
{
	buf_u8(out, (uint8_t)strlen(name));
	buf_put(out, name, strlen(name));
	buf_u32(out, 0);
	buf_u16(out, 1);
	buf_u32(out, 8);
	buf_u64(out, value);
}
#define SECTION_BYTES(name) (1 + sizeof(name) - 1 + 4 + 2 + 4 + 8)

/* As far as readers of recorded streams look: the size of memory first. */
static int source_describe(void *host, struct buf *out, struct err *err)
{
	struct fake_source *s = host;

	(void)err;
	put_section(out, "machine", s->mem->npages * GMEM_PAGE_SIZE);
	return 0;
}

static int source_pause(void *host, struct err *err)
{
	struct fake_source *s = host;

	(void)err;
	s->pauses++;
	atomic_store(&s->running, false);
	if (s->hot_pages)
		atomic_store(&s->parked, false);
	while (!atomic_load(&s->parked))
		sched_yield();
	return 0;
}

static int source_resume(void *host, struct err *err)
{
	struct fake_source *s = host;

	(void)err;
	assert_false(s->committed);
	s->resumes++;
	atomic_store(&s->running, true);
	return 0;
}

static int source_save(void *host, struct buf *out, struct err *err)
{
	struct fake_source *s = host;

	if (s->fail_save)
		return err_set(err, -EIO, "fake: cannot save");
	put_section(out, "fake", s->counter);
	return 0;
}

static int source_commit(void *host, struct err *err)
{
	struct fake_source *s = host;

	if (s->cancel_at_commit)
		return err_set(err, -ECANCELED, "cancelled");
	nanosleep(&(struct timespec){ .tv_nsec = (long)s->commit_delay_ns }, NULL);
	s->committed = true;
	return 0;
}

static void source_uncommit(void *host)
{
	((struct fake_source *)host)->committed = false;
}

static int source_exits(void *host, struct mig_exits *ret, struct err *err)
{
	struct fake_source *s = host;

	if (s->no_exit_counts)
		return err_set(err, -ENOTSUP, "fake: no statistics");
	s->exits_asked++;
	*ret = (struct mig_exits){ .exits_known = true,
				   .faults_known = true,
				   .exits = 100 * s->exits_asked,
				   .faults = 10 * s->exits_asked };
	return 0;
}

void fake_source_offer_free(struct fake_source *s)
{
	assert_int_equal(bitmap_init(&s->free.named, FAKE_PAGES), 0);
	assert_int_equal(bitmap_init(&s->free.left_out, FAKE_PAGES), 0);
}

static int free_begin(void *host, struct err *err)
{
	struct fake_source *s = host;

	if (!s->free.named.words)
		return err_set(err, -ENOTSUP, "fake: no balloon");
	bitmap_zero(&s->free.named);
	bitmap_zero(&s->free.left_out);
	s->free.begun++;
	return 0;
}

static void free_ask(void *host)
{
	struct fake_source *s = host;

	s->free.asked++;
	s->free.rearms_when_asked = (unsigned int)s->dirty.d.stats.rearms;
}

static uint64_t free_take(void *host, uint64_t first, uint64_t n, struct bitmap *pages)
{
	struct fake_source *s = host;

	assert_true(s->free.asked > s->free.stopped);
	if (s->free.play)
		s->free.play(s, first);
	for (uint64_t i = first; i < first + n; i++)
		if (bitmap_test(pages, i) && bitmap_test(&s->free.named, i))
			bitmap_set(&s->free.left_out, i);
	return bitmap_subtract_range(pages, &s->free.named, first, n);
}

static void free_stop(void *host)
{
	struct fake_source *s = host;

	s->free.stopped++;
	s->free.pauses_when_stopped = s->pauses;
}

static void free_end(void *host)
{
	struct fake_source *s = host;

	s->free.ended++;
	s->free.running_when_ended = atomic_load(&s->running);
}

static const struct mig_free_ops free_ops = {
	.begin = free_begin,
	.ask = free_ask,
	.take = free_take,
	.stop = free_stop,
	.end = free_end,
};

const struct mig_source_ops fake_source_ops = {
	.describe = source_describe,
	.pause = source_pause,
	.resume = source_resume,
	.save = source_save,
	.commit = source_commit,
	.uncommit = source_uncommit,
	.exits = source_exits,
	.free = &free_ops,
};

/* --- the destination --- */

/* Until the source has given up; for ever where it does not, which the test's own limit ends. */
static void wait_for(const atomic_bool *flag)
{
	while (flag && !atomic_load(flag))
		nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS }, NULL);
}

static int destination_prepare(void *host, const void *config, size_t len_bytes,
			       struct gmem **ret_mem, uint64_t *ret_restore_ns, struct err *err)
{
	struct fake_destination *d = host;
	struct gmem_config c = { .backing = GMEM_4K, .nregions = 1 };
	int rc;

	wait_for(d->prepare_waits_for);
	if (d->fail_prepare)
		return err_set(err, -ENOMEM, "fake: no memory for 8 MiB of RAM");
	if (len_bytes != SECTION_BYTES("machine"))
		return err_set(err, -EBADMSG, "fake: bad config");
	c.region[0].len_bytes = le64_get((const uint8_t *)config + len_bytes - 8);
	rc = gmem_create(&c, &d->mem, err);
	if (rc)
		return rc;
	d->prepared = true;
	*ret_mem = d->mem;
	*ret_restore_ns = 1000;
	return 0;
}

static int destination_load(void *host, const void *state, size_t len_bytes, uint64_t pause_real_ns,
			    struct err *err)
{
	struct fake_destination *d = host;

	(void)pause_real_ns;
	if (d->fail_load)
		return err_set(err, -EBADMSG, "fake: state of a machine nobody built");
	if (len_bytes != SECTION_BYTES("fake"))
		return err_set(err, -EBADMSG, "fake: %zu bytes of state", len_bytes);
	d->counter = le64_get((const uint8_t *)state + len_bytes - 8);
	d->loaded = true;
	return 0;
}

static int destination_start(void *host, struct err *err)
{
	struct fake_destination *d = host;

	if (d->fail_start)
		return err_set(err, -EIO, "fake: vCPU 0 does not start");
	d->running = true;
	return 0;
}

const struct mig_destination_ops fake_destination_ops = {
	.prepare = destination_prepare,
	.load = destination_load,
	.start = destination_start,
};

void fake_destination_fini(struct fake_destination *d)
{
	gmem_destroy(d->mem);
	memset(d, 0, sizeof(*d));
}

/* --- attempts --- */

struct receiving {
	struct attempt *a;
	struct fake_destination *d;
	struct transport *t;
};

static void *receive_thread(void *opaque)
{
	struct receiving *r = opaque;

	r->a->receive_rc =
		mig_receive(r->t, &fake_destination_ops, r->d, &r->a->received, &r->a->receive_err);
	transport_destroy(r->t);
	return NULL;
}

void attempt_defaults(struct attempt *a)
{
	memset(a, 0, sizeof(*a));
	a->params.policy.max_downtime_ns = 300 * NS_PER_MS;
	a->params.policy.timeout_ns = 60 * NS_PER_S;
	a->params.policy.switch_on_timeout = true;
	a->params.compress = MIG_COMPRESS_NONE;
	a->params.compress_level = 1;
}

void attempt_run(struct attempt *a, struct fake_source *s, struct fake_destination *d,
		 struct transport *at_source, struct transport *at_destination)
{
	struct receiving r = { .a = a, .d = d, .t = at_destination };
	pthread_t thread;

	a->params.cancel = &s->cancel;
	assert_int_equal(pthread_create(&thread, NULL, receive_thread, &r), 0);
	a->send_rc = mig_send(&a->params, at_source, &fake_source_ops, s, s->mem, &s->dirty.d,
			      a->observer, &a->report, &a->send_err);
	atomic_store(&a->send_ended, true);
	transport_destroy(at_source);
	pthread_join(thread, NULL);
}

void transport_pair(struct transport **ret_a, struct transport **ret_b)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(transport_from_socket(fds[0], "destination", ret_a, NULL), 0);
	assert_int_equal(transport_from_socket(fds[1], "source", ret_b, NULL), 0);
}

static void assert_same_memory(const struct fake_source *s, const struct fake_destination *d)
{
	static const uint8_t zeros[GMEM_PAGE_SIZE];

	for (uint64_t p = 0; p < FAKE_PAGES; p++) {
		const uint8_t *there = gmem_page(d->mem, p);

		if (!memcmp(there, gmem_page(s->mem, p), GMEM_PAGE_SIZE))
			continue;
		if (!s->free.left_out.words || !bitmap_test(&s->free.left_out, p) ||
		    memcmp(there, zeros, GMEM_PAGE_SIZE))
			fail_msg("page %llu is another one", (unsigned long long)p);
	}
}

void assert_one_owner(const struct attempt *a, struct fake_source *s, struct fake_destination *d)
{
	bool source_runs = atomic_load(&s->running);

	assert_false(source_runs && d->running);
	assert_false(s->dirty.on);
	if (!source_runs && !d->running)
		assert_int_equal(a->send_rc, -EINPROGRESS);
	if (!a->send_rc)
		assert_true(d->running);
	if (source_runs) {
		assert_int_not_equal(a->send_rc, 0);
		assert_false(s->committed);
	}
	if (d->running) {
		assert_int_equal(a->receive_rc, 0);
		assert_int_equal(d->counter, s->counter);
		assert_same_memory(s, d);
	}
}

int fixture_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	attempt_defaults(&f->a);
	*state = f;
	return 0;
}

int fixture_tear_down(void **state)
{
	struct fixture *f = *state;

	fake_destination_fini(&f->d);
	fake_source_fini(&f->s);
	free(f);
	return 0;
}

void fixture_attempt(struct fixture *f)
{
	struct transport *x, *y;

	transport_pair(&x, &y);
	attempt_run(&f->a, &f->s, &f->d, x, y);
	assert_one_owner(&f->a, &f->s, &f->d);
}
