/* SPDX-License-Identifier: Apache-2.0 */
#include "state_vms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"

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

void assert_near(uint64_t a, uint64_t b, uint64_t by)
{
	uint64_t diff = a > b ? a - b : b - a;

	if (diff > by)
		fail_msg("%llu and %llu differ by %llu, more than %llu", (unsigned long long)a,
			 (unsigned long long)b, (unsigned long long)diff, (unsigned long long)by);
}
