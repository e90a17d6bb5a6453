/* SPDX-License-Identifier: Apache-2.0 */
/* The ITS' tables and the LPIs' pending bits: KVM writes them to guest memory when the state is captured, the dirty log notes it, and another VM goes on from there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "vmm/arch/aarch64/layout.h"
#include "vmm/dirty.h"
#include "vmm/irq.h"
#include "vms.h"

/* Where the guest would have put its tables: device 0 with 32 events, of which event 0 is LPI 8192 on vCPU 1, pending. */
#define DEVICES (TEST_RAM + 0x400000u)
#define COLLECTIONS (TEST_RAM + 0x410000u)
#define TRANSLATIONS (TEST_RAM + 0x420000u)
#define COMMANDS (TEST_RAM + 0x430000u)
#define CONFIGURATION (TEST_RAM + 0x440000u)
#define PENDING(cpu) (TEST_RAM + 0x450000u + (cpu)*0x10000u)
#define LPI 8192u

/* arm-vgic-its.rst, "ITS Table ABI REV0" */
#define DTE (1ull << 63 | (uint64_t)TRANSLATIONS >> 8 << 5 | (5 - 1))
#define CTE (1ull << 63 | 1ull << 16)
#define ITE ((uint64_t)LPI << 16)
/* A table of one page of 64 KiB, or of 4 KiB (GITS_BASER, GITS_CBASER). */
#define BASER(gpa) (1ull << 63 | (gpa) | 2u << 8)
#define CBASER(gpa) (1ull << 63 | (gpa))

static void put(struct vm *vm, uint64_t gpa, uint64_t value)
{
	le64_put(gmem_ptr(vm_mem(vm), gpa, 8), value);
}

static uint8_t *pending_byte(struct vm *vm)
{
	return gmem_ptr(vm_mem(vm), PENDING(1) + LPI / 8, 1);
}

static void write_tables(struct vm *vm)
{
	put(vm, DEVICES, DTE);
	put(vm, COLLECTIONS, CTE);
	put(vm, TRANSLATIONS, ITE);
	*(uint8_t *)gmem_ptr(vm_mem(vm), CONFIGURATION, 1) = 0xa0 | 1; /* priority, enabled */
	*pending_byte(vm) = 1;
}

static void forget_tables(struct vm *vm)
{
	put(vm, DEVICES, 0);
	put(vm, COLLECTIONS, 0);
	put(vm, TRANSLATIONS, 0);
	*pending_byte(vm) = 0;
}

static void assert_tables(struct vm *vm)
{
	assert_true(guest_u64(vm, DEVICES) == DTE);
	assert_true(guest_u64(vm, COLLECTIONS) == CTE);
	assert_true(guest_u64(vm, TRANSLATIONS) == ITE);
}

/* What the guest would have written to the registers. */
static void fill(struct buf *state)
{
	uint32_t len;
	uint8_t *p = section(state, "arm64.gicd", 0, &len);

	le32_put(p + 4, le32_get(p + 4) | 2);
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		p = section(state, "arm64.gicr", cpu, &len);
		le32_put(p, le32_get(p) | 1); /* GICR_CTLR.EnableLPIs */
		le32_put(p + 12, CONFIGURATION | 13); /* propbaser: 14 bits of INTID */
		le32_put(p + 20, PENDING(cpu));
	}
	p = section(state, "arm64.its", 0, &len);
	assert_int_equal(len, 8 * 13);
	le64_put(p, 1);
	le64_put(p + 16, CBASER(COMMANDS));
	le64_put(p + 24, 0x40); /* cwriter and creadr: two commands have been done */
	le64_put(p + 32, 0x40);
	le64_put(p + 40, BASER(DEVICES));
	le64_put(p + 48, BASER(COLLECTIONS));
}

static bool is_dirty(struct vm *vm, const struct bitmap *pages, uint64_t gpa)
{
	const uint8_t *p = gmem_ptr(vm_mem(vm), gpa, 1);

	return bitmap_test(pages, (uint64_t)(p - vm_mem(vm)->base) / GMEM_PAGE_SIZE);
}

/* Saves while the log is on; the tables' pages and no others are in it. */
static void save_logged(struct vm *vm, struct buf *out)
{
	struct dirty *d = vm_dirty(vm);
	struct bitmap pages = { 0 };
	struct err err = { 0 };

	assert_int_equal(bitmap_init(&pages, vm_mem(vm)->npages), 0);
	if (dirty_start(d, &err) || dirty_collect(d, &pages, &err))
		fail_msg("%s", err.msg);
	bitmap_fill(&pages); /* a start may say so, and rearms what it is asked for */
	if (dirty_rearm(d, &pages, 0, pages.nbits, &err))
		fail_msg("%s", err.msg);
	bitmap_zero(&pages);
	save(vm, out);
	if (dirty_finish(d, &pages, &err))
		fail_msg("%s", err.msg);
	dirty_stop(d);
	assert_true(is_dirty(vm, &pages, DEVICES));
	assert_true(is_dirty(vm, &pages, COLLECTIONS));
	assert_true(is_dirty(vm, &pages, TRANSLATIONS));
	assert_true(is_dirty(vm, &pages, PENDING(1) + LPI / 8));
	assert_false(is_dirty(vm, &pages, CONFIGURATION));
	assert_false(is_dirty(vm, &pages, PENDING(0)));
	bitmap_fini(&pages);
}

static void must_create(enum dirty_kind dirty, const struct buf *model, struct vm **ret)
{
	struct err err = { 0 };

	if (test_vm_create(dirty, model, ret, &err))
		fail_msg("%s", err.msg);
}

static void check_backend(enum dirty_kind dirty)
{
	static const char *const but[] = { "arm64.counter", "arm64.regs", NULL };
	struct buf model = { 0 }, sa = { 0 }, sb = { 0 };
	struct err err = { 0 };
	struct vm *a, *b;

	must_create(dirty, NULL, &a);
	assert_int_equal(vm_cpu_model(a, &model, &err), 0);
	must_create(dirty, &model, &b);
	save(a, &sa);
	fill(&sa);
	write_tables(a);
	must_load(a, &sa);
	assert_int_equal(*pending_byte(a), 0); /* KVM has taken it */
	forget_tables(a);
	save_logged(a, &sa);
	assert_tables(a);
	assert_int_equal(*pending_byte(a), 1);
	copy_memory(b, a);
	must_load(b, &sa);
	assert_int_equal(*pending_byte(b), 0);
	forget_tables(b);
	save(b, &sb);
	assert_tables(b);
	assert_int_equal(*pending_byte(b), 1);
	assert_same_sections(&sa, &sb, but, 2 + 2 * 5 + 1);
	vm_destroy(a);
	vm_destroy(b);
	buf_fini(&model);
	buf_fini(&sa);
	buf_fini(&sb);
}

static void test_bitmap(void **state)
{
	check_backend(DIRTY_BITMAP);
}

static void test_manual(void **state)
{
	check_backend(DIRTY_MANUAL);
}

/* The ring does not see it: its backup bitmap does. */
static void test_ring(void **state)
{
	check_backend(DIRTY_RING);
}

/* GITS_TRANSLATER, in the second of the ITS' frames (IHI 0069, 12.19). */
#define TRANSLATER (LAYOUT_ITS + 0x10040)

/* Whether LPI 8192 is pending on vCPU 1, by what KVM writes to memory when the state is captured. */
static bool lpi_pends(struct vm *vm, struct buf *scrap)
{
	*pending_byte(vm) = 0;
	save(vm, scrap);
	return *pending_byte(vm) & 1;
}

/* A device's message goes by the ITS' tables to the vCPU: by who sends it and which event it is. */
static void test_messages(void **state)
{
	const struct irq_msi good = { .addr = TRANSLATER },
			     stranger = { .addr = TRANSLATER, .devid = 1 },
			     elsewhere = { .addr = LAYOUT_RAM };
	struct buf sa = { 0 }, scrap = { 0 };
	int fd = eventfd(0, EFD_CLOEXEC);
	struct err err = { 0 };
	unsigned int vector;
	struct vm *a;

	must_create(DIRTY_BITMAP, NULL, &a);
	save(a, &sa);
	fill(&sa);
	write_tables(a);
	*pending_byte(a) = 0;
	must_load(a, &sa);
	if (vm_msi_open(a, fd, &vector, &err) || vm_msi_set(a, vector, &stranger, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(eventfd_write(fd, 1), 0);
	usleep(100000);
	assert_false(lpi_pends(a, &scrap));
	assert_int_equal(vm_msi_set(a, vector, &elsewhere, &err), 0);
	assert_int_equal(eventfd_write(fd, 1), 0);
	usleep(100000);
	assert_false(lpi_pends(a, &scrap));
	assert_int_equal(vm_msi_set(a, vector, &good, &err), 0);
	assert_int_equal(eventfd_write(fd, 1), 0);
	/* KVM may deliver from a workqueue. */
	for (unsigned int i = 0; !lpi_pends(a, &scrap); i++) {
		if (i == 1000)
			fail_msg("the message does not arrive");
		usleep(10000);
	}
	vm_msi_close(a, vector);
	vm_destroy(a);
	close(fd);
	buf_fini(&sa);
	buf_fini(&scrap);
}

/* Tables that no ITS has written: named, and not a crash. */
static void test_broken_tables(void **state)
{
	struct buf sa = { 0 };
	struct err err = { 0 };
	struct vm *a;

	must_create(DIRTY_BITMAP, NULL, &a);
	save(a, &sa);
	fill(&sa);
	write_tables(a);
	put(a, TRANSLATIONS, 5u << 16); /* an LPI below 8192 */
	assert_int_equal(load(a, &sa, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "arm64.its.0: reading its tables from guest memory"));
	vm_destroy(a);
	buf_fini(&sa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bitmap),        cmocka_unit_test(test_manual),
		cmocka_unit_test(test_ring),          cmocka_unit_test(test_messages),
		cmocka_unit_test(test_broken_tables),
	};

	return cmocka_run_group_tests_name("arm64-its", tests, NULL, NULL);
}
