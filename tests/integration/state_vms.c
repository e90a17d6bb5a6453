/* SPDX-License-Identifier: Apache-2.0 */
#include "state_vms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vmm/arch.h"

uint32_t guest_u32(struct vm *vm, uint64_t gpa)
{
	return *(volatile uint32_t *)gmem_ptr(vm_mem(vm), gpa, 4);
}

uint64_t guest_u64(struct vm *vm, uint64_t gpa)
{
	return *(volatile uint64_t *)gmem_ptr(vm_mem(vm), gpa, 8);
}

void run_until(struct vm *vm, uint64_t gpa, uint32_t above)
{
	struct err err = { 0 };

	assert_int_equal(vm_resume(vm, &err), 0);
	for (unsigned int i = 0; guest_u32(vm, gpa) <= above; i++) {
		if (i == 10000)
			fail_msg("the guest's word at 0x%llx stays at %u", (unsigned long long)gpa,
				 guest_u32(vm, gpa));
		usleep(1000);
	}
	assert_int_equal(vm_pause(vm, &err), 0);
}

static void on_pio(void *opaque, uint16_t port, bool is_write, void *data, unsigned int size_bytes,
		   unsigned int count)
{
	if (!is_write)
		memset(data, 0xff, (size_t)size_bytes * count);
}

static void on_mmio(void *opaque, uint64_t gpa, bool is_write, void *data, unsigned int len_bytes)
{
	if (!is_write)
		memset(data, 0xff, len_bytes);
}

static void on_exited(void *opaque, enum vm_exit_reason reason, unsigned int vcpu, const char *text)
{
	print_error("vCPU %u stopped: %s\n", vcpu, text ? text : "");
}

int test_vm_create(enum dirty_kind dirty, const struct buf *cpu_model, struct vm **ret,
		   struct err *err)
{
	struct vm_config config = {
		.ncpus = 2,
		.dirty = dirty,
		.ring_entries = dirty == DIRTY_RING ? 4096 : 0,
		.mem = { .backing = GMEM_4K },
		.cpu_model = cpu_model,
	};
	struct vm_client client = { .pio = on_pio, .mmio = on_mmio, .exited = on_exited };
	int n = arch_mem_layout(test_ram_bytes, config.mem.region, err);

	if (n < 0)
		return n;
	config.mem.nregions = (unsigned int)n;
	return vm_create(&config, &client, ret, err);
}

int pair_setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct err err = { 0 };

	assert_non_null(p);
	if (test_vm_create(DIRTY_BITMAP, NULL, &p->a, &err) ||
	    vm_cpu_model(p->a, &p->model, &err) ||
	    test_vm_create(DIRTY_BITMAP, &p->model, &p->b, &err)) {
		print_error("%s\n", err.msg);
		return -1;
	}
	*state = p;
	return 0;
}

int pair_teardown(void **state)
{
	struct pair *p = *state;

	vm_destroy(p->a);
	vm_destroy(p->b);
	buf_fini(&p->model);
	buf_fini(&p->sa);
	buf_fini(&p->sb);
	free(p);
	return 0;
}

#define MAX_ENTRIES 64u
void save(struct vm *vm, struct buf *out)
{
	struct state_entry entries[MAX_ENTRIES];
	unsigned int n = vm_state_entries(vm, entries, MAX_ENTRIES);
	struct err err = { 0 };

	assert_in_range(n, 1, MAX_ENTRIES);
	buf_clear(out);
	if (state_save_all(entries, n, out, &err))
		fail_msg("save: %s", err.msg);
}

int load(struct vm *vm, const struct buf *state, struct err *err)
{
	struct state_entry entries[MAX_ENTRIES];
	unsigned int n = vm_state_entries(vm, entries, MAX_ENTRIES);

	return state_load_all(entries, n, state->data, state->len_bytes, err);
}

void must_load(struct vm *vm, const struct buf *state)
{
	struct err err = { 0 };

	if (load(vm, state, &err))
		fail_msg("load: %s", err.msg);
}

void expect_refused(struct pair *p, const char *text)
{
	struct err err = { 0 };

	assert_true(load(p->b, &p->sa, &err) < 0);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not contain \"%s\"", err.msg, text);
	save(p->b, &p->sb);
}

void copy_memory(struct vm *to, struct vm *from)
{
	memcpy(vm_mem(to)->base, vm_mem(from)->base, vm_mem(to)->npages * GMEM_PAGE_SIZE);
}

uint8_t *section(struct buf *state, const char *name, uint32_t instance, uint32_t *ret_len)
{
	struct reader in = reader_over(state->data, state->len_bytes);
	struct state_section s;

	while (!state_next_section(&in, &s, NULL)) {
		if (!strcmp(s.name, name) && s.instance == instance) {
			*ret_len = s.len_bytes;
			return state->data + (s.data - state->data);
		}
	}
	fail_msg("no section %s.%u", name, instance);
	return NULL;
}

static bool named(const char *name, const char *const *list)
{
	for (; *list; list++) {
		if (!strcmp(name, *list))
			return true;
	}
	return false;
}

void assert_same_sections(struct buf *x, struct buf *y, const char *const *but,
			  unsigned int nsections)
{
	struct reader in = reader_over(x->data, x->len_bytes);
	struct state_section s;
	unsigned int n = 0;

	assert_int_equal(x->len_bytes, y->len_bytes);
	while (!state_next_section(&in, &s, NULL)) {
		uint32_t len;
		const uint8_t *other = section(y, s.name, s.instance, &len);

		n++;
		assert_int_equal(len, s.len_bytes);
		for (uint32_t i = 0; !named(s.name, but) && i < len; i++) {
			if (s.data[i] != other[i])
				fail_msg("%s.%u differs at byte %u: 0x%02x 0x%02x", s.name,
					 s.instance, i, s.data[i], other[i]);
		}
	}
	assert_int_equal(n, nsections);
}

struct vm *guest_moves(struct pair *p, const struct test_guest *guest)
{
	struct vm *from = p->a, *to = p->b;
	uint32_t count = 0, second = 0;

	for (unsigned int round = 0; round < 6; round++) {
		struct vm *was = from;

		run_until(from, guest->count, count + 50);
		if (round == 2) /* the second vCPU wakes up only after two moves as a sleeper */
			*(volatile uint32_t *)gmem_ptr(vm_mem(from), guest->start, 4) = 1;
		if (round >= 2)
			run_until(from, guest->second, second + 50);
		else
			assert_int_equal(guest_u32(from, guest->second), 0);
		count = guest_u32(from, guest->count);
		second = guest_u32(from, guest->second);
		save(from, &p->sa);
		copy_memory(to, from);
		must_load(to, &p->sa);
		assert_int_equal(guest_u32(to, guest->count), count);
		from = to;
		to = was;
	}
	run_until(from, guest->count, count + 50);
	run_until(from, guest->second, second + 50);
	/* 1: from nothing to the first reading cannot happen, since the first is compared with zero. */
	assert_int_equal(guest_u32(from, guest->backwards), 0);
	return from;
}

void assert_near(uint64_t a, uint64_t b, uint64_t by)
{
	uint64_t diff = a > b ? a - b : b - a;

	if (diff > by)
		fail_msg("%llu and %llu differ by %llu, more than %llu", (unsigned long long)a,
			 (unsigned long long)b, (unsigned long long)diff, (unsigned long long)by);
}
