/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "dirty_fixture.h"
#include "vmm/internal.h"
#include "vmm/kvm.h"

#define CHUNK 1024ULL
#define MIB2 (2ULL << 20)

void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->msg);
}

/* Memory of RAM_PAGES. Five: some of one huge page, with holes and without between them, two above 4 GiB. */
static struct gmem_config memory(enum layout layout, enum gmem_backing backing)
{
	static const struct gmem_region regions[][5] = {
		[ONE_REGION] = { { .len_bytes = RAM_PAGES << 12 } },
		[TWO_REGIONS] = { { .len_bytes = HALF << 12 },
				  { .gpa = 4ULL << 30, .len_bytes = HALF << 12 } },
		[FIVE_REGIONS] = { { .len_bytes = 6 * MIB2 },
				   { .gpa = 1ULL << 30, .len_bytes = MIB2 },
				   { .gpa = (1ULL << 30) + MIB2, .len_bytes = 3 * MIB2 },
				   { .gpa = 4ULL << 30, .len_bytes = 20 * MIB2 },
				   { .gpa = 7ULL << 30, .len_bytes = 2 * MIB2 } },
	};
	static const unsigned int n[] = { 1, 2, 5 };
	struct gmem_config c = { .backing = backing, .hugepage_bytes = MIB2 };

	c.nregions = n[layout];
	memcpy(c.region, regions[layout], sizeof(regions[layout]));
	return c;
}

static int create(const struct subject *s, unsigned int ncpus, enum layout layout,
		  enum tiny_program program, bool walker, struct tiny *ret, struct err *err)
{
	struct gmem_config mem = memory(layout, s->backing);
	struct tiny_config config = { .ncpus = ncpus,
				      .dirty = s->backend.kind,
				      .ring_entries = s->backend.ring_entries,
				      .dirty_accel = s->backend.accel,
				      .mem = &mem,
				      .no_eager_split = s->no_eager_split,
				      .walker = walker,
				      .program = program };

	return tiny_create(&config, ret, err);
}

/* What arm64's KVM splits ahead, when it was asked to. Elsewhere neither capability is known. */
static int check_split(struct subject *s, int vm_fd, struct err *err)
{
	bool offered = kvm_check_extension(vm_fd, KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES) > 0;

	s->split_bytes = kvm_check_extension(vm_fd, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE);
	if ((s->split_bytes > 0) == (offered && !s->no_eager_split))
		return 0;
	return err_set(err, -EINVAL, "eager page split by %d bytes, which was %s", s->split_bytes,
		       s->no_eager_split ? "not wanted" : "offered");
}

int try_subject(struct subject *s, struct err *err)
{
	struct tiny t;
	int r = create(s, 1, ONE_REGION, TINY_WORK, false, &t, err);

	if (r < 0)
		return r;
	s->accel_name = vm_dirty(t.vm)->accel.name;
	r = check_split(s, t.vm->fd, err);
	tiny_destroy(&t);
	return r;
}

void skip_case(struct fixture *f, const struct err *err)
{
	print_message("skip: %s\n", err->msg);
	f->subject->tally.skipped++;
	skip();
}

static void set_up_any(struct fixture *f, void **state, unsigned int ncpus, enum layout layout,
		       enum tiny_program program, bool walker)
{
	struct err err = { 0 };
	int r;

	memset(f, 0, sizeof(*f));
	f->subject = *state;
	r = create(f->subject, ncpus, layout, program, walker, &f->t, &err);
	if (r == -EOPNOTSUPP && walker)
		skip_case(f, &err);
	must(r, &err);
	f->subject->live = f;
	assert_int_equal(vm_mem(f->t.vm)->npages, RAM_PAGES);
	f->d = vm_dirty(f->t.vm);
	assert_int_equal(bitmap_init(&f->acc, RAM_PAGES), 0);
	f->copy = calloc(RAM_PAGES, GMEM_PAGE_SIZE);
	assert_non_null(f->copy);
}

void set_up_untouched(struct fixture *f, void **state, unsigned int ncpus, enum layout layout,
		      enum tiny_program program)
{
	set_up_any(f, state, ncpus, layout, program, false);
}

void populate(struct fixture *f)
{
	struct gmem *m = vm_mem(f->t.vm);

	for (uint64_t p = TINY_WORK_FIRST_PAGE; p < RAM_PAGES; p++)
		memset(gmem_page(m, p), 0xa5, GMEM_PAGE_SIZE);
}

void set_up(struct fixture *f, void **state, unsigned int ncpus, enum layout layout)
{
	set_up_untouched(f, state, ncpus, layout, TINY_WORK);
	populate(f);
}

void set_up_walker(struct fixture *f, void **state, unsigned int ncpus, enum layout layout)
{
	set_up_any(f, state, ncpus, layout, TINY_WORK, true);
	populate(f);
}

static void drop(struct fixture *f)
{
	f->subject->live = NULL;
	tiny_destroy(&f->t);
	bitmap_fini(&f->acc);
	free(f->copy);
	f->copy = NULL;
}

void tear_down(struct fixture *f)
{
	if (atomic_load(&f->t.exits) != 0)
		fail_msg("%s", f->t.exit_text);
	drop(f);
}

int clean_up(void **state)
{
	struct subject *s = *state;

	if (s->live)
		drop(s->live);
	return 0;
}

void start(struct fixture *f)
{
	struct err err = { 0 };

	must(dirty_start(f->d, &err), &err);
}

void collect(struct fixture *f)
{
	struct err err = { 0 };

	must(dirty_collect(f->d, &f->acc, &err), &err);
}

void finish(struct fixture *f)
{
	struct err err = { 0 };

	must(dirty_finish(f->d, &f->acc, &err), &err);
}

void run(struct fixture *f)
{
	struct err err = { 0 };

	must(vm_resume(f->t.vm, &err), &err);
}

void halt(struct fixture *f)
{
	struct err err = { 0 };

	must(vm_pause(f->t.vm, &err), &err);
}

void send_acc(struct fixture *f)
{
	struct gmem *m = vm_mem(f->t.vm);
	struct err err = { 0 };

	for (uint64_t first = 0; first < RAM_PAGES; first += CHUNK) {
		uint64_t at = first, run_first, run_count;

		must(dirty_rearm(f->d, &f->acc, first, CHUNK, &err), &err);
		while (bitmap_next_run(&f->acc, at, first + CHUNK, &run_first, &run_count)) {
			memcpy(f->copy + (run_first << 12), gmem_page(m, run_first),
			       run_count << 12);
			at = run_first + run_count;
		}
	}
	bitmap_zero(&f->acc);
}

void send_everything(struct fixture *f)
{
	bitmap_fill(&f->acc);
	send_acc(f);
}

void start_quiet(struct fixture *f)
{
	halt(f);
	start(f);
	send_everything(f);
	collect(f);
	send_acc(f);
	collect(f);
	assert_int_equal(bitmap_count(&f->acc), 0);
}

/* Under emulation thousands of faults take their time: as long as steps are made there is hope. */
static bool wait_done(struct fixture *f, unsigned int cpu, uint64_t n)
{
	_Atomic uint64_t *done = &tiny_control(&f->t, cpu)->done;
	uint64_t before;

	do {
		before = atomic_load(done);
		if (tiny_wait_done(&f->t, cpu, n))
			return true;
	} while (atomic_load(&f->t.exits) == 0 && atomic_load(done) > before);
	return false;
}

void work(struct fixture *f, uint64_t steps)
{
	unsigned int ncpus = vm_ncpus(f->t.vm);
	uint64_t limit[VM_MAX_VCPUS];

	for (unsigned int c = 0; c < ncpus; c++) {
		limit[c] = atomic_load(&tiny_control(&f->t, c)->done) + steps;
		tiny_allow(&f->t, c, limit[c]);
	}
	run(f);
	for (unsigned int c = 0; c < ncpus; c++) {
		if (!wait_done(f, c, limit[c]))
			fail_msg("%s: the guest does not get on: %s", f->subject->backend.name,
				 f->t.exit_text);
	}
	halt(f);
}

void assert_copy_equals_memory(struct fixture *f)
{
	for (uint64_t p = 0; p < RAM_PAGES; p++) {
		if (memcmp(f->copy + (p << 12), gmem_page(vm_mem(f->t.vm), p), 4096) != 0)
			fail_msg("%s: page %" PRIu64 " was lost", f->subject->backend.name, p);
	}
}

/* With EPT or NPT the processor's own writes to the guest's page tables (accessed and dirty bits) are in the log; control pages hold the counts; and KVM calls a page dirty
 * that it maps writable for a read or a fetch: the code. */
static bool may_be_dirty(struct fixture *f, uint64_t page)
{
	return (page >= 1 && page <= TINY_CODE_PAGE) ||
	       (page >= TINY_CONTROL_PAGE && page < TINY_CONTROL_PAGE + vm_ncpus(f->t.vm)) ||
	       (page >= TINY_TABLES_PAGE && page < TINY_WORK_FIRST_PAGE);
}

void assert_found(struct fixture *f, const struct bitmap *want, bool huge)
{
	struct tally *tally = &f->subject->tally;
	uint64_t missed = 0, invented = 0, first_missed = 0, first_invented = 0;

	for (uint64_t p = 0; p < RAM_PAGES; p++) {
		bool have = bitmap_test(&f->acc, p);
		bool is_wanted = bitmap_test(want, p);

		if (is_wanted && !have && missed++ == 0)
			first_missed = p;
		if (is_wanted || !have)
			continue;
		if (may_be_dirty(f, p))
			tally->tables++;
		else if (!(huge &&
			   bitmap_count_range(want, p / HUGE_PAGES * HUGE_PAGES, HUGE_PAGES)) &&
			 invented++ == 0)
			first_invented = p;
	}
	tally->collects++;
	tally->written += bitmap_count(want);
	tally->missed += missed;
	tally->invented += invented;
	if (missed)
		fail_msg("%s: %" PRIu64 " pages missed, page %" PRIu64 " first",
			 f->subject->backend.name, missed, first_missed);
	if (invented)
		fail_msg("%s: %" PRIu64 " pages invented, page %" PRIu64 " first",
			 f->subject->backend.name, invented, first_invented);
}

void wanted(struct fixture *f, uint64_t steps, struct bitmap *ret)
{
	assert_int_equal(bitmap_init(ret, RAM_PAGES), 0);
	for (unsigned int c = 0; c < vm_ncpus(f->t.vm); c++) {
		uint64_t done = atomic_load(&tiny_control(&f->t, c)->done);

		assert_true(done >= steps);
		for (uint64_t i = done - steps; i < done; i++)
			bitmap_set(ret, tiny_page(&f->t, c, i));
		bitmap_set(ret, TINY_CONTROL_PAGE + c);
	}
}

void assert_exact(struct fixture *f, uint64_t steps)
{
	struct bitmap want;

	wanted(f, steps, &want);
	assert_found(f, &want, false);
	bitmap_fini(&want);
}
