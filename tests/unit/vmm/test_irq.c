/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/num.h"
#include "vmm/internal.h"
#include "vmm/ioevent.h"
#include "vmm/irq.h"

/* What KVM is told of interrupts and notifications. ioctl is this file's (--wrap). */

#define VM_FD 77
#define MAX_ROUTES 2048u

static struct {
	int routing, devid; /* what KVM_CHECK_EXTENSION says */
	unsigned int nset; /* tables that were set */
	unsigned int nroutes;
	struct kvm_irq_routing_entry route[MAX_ROUTES];
	unsigned int nassigned, ndeassigned;
	struct kvm_irqfd irqfd; /* the last one */
	struct kvm_ioeventfd ioeventfd;
	unsigned int nioevents;
	int fail; /* errno of the next call but KVM_CHECK_EXTENSION */
} kvm;

static int set_routing(const struct kvm_irq_routing *r)
{
	assert_in_range(r->nr, 0, MAX_ROUTES);
	assert_int_equal(r->flags, 0);
	kvm.nset++;
	kvm.nroutes = r->nr;
	memcpy(kvm.route, r->entries, r->nr * sizeof(r->entries[0]));
	return 0;
}

static int set_irqfd(const struct kvm_irqfd *i)
{
	kvm.irqfd = *i;
	if (i->flags & KVM_IRQFD_FLAG_DEASSIGN)
		kvm.ndeassigned++;
	else
		kvm.nassigned++;
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	assert_int_equal(fd, VM_FD);
	if (request != KVM_CHECK_EXTENSION && kvm.fail) {
		errno = kvm.fail;
		kvm.fail = 0;
		return -1;
	}
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return (uintptr_t)arg == KVM_CAP_IRQ_ROUTING ? kvm.routing :
		       (uintptr_t)arg == KVM_CAP_MSI_DEVID   ? kvm.devid :
							       0;
	case KVM_SET_GSI_ROUTING:
		return set_routing(arg);
	case KVM_IRQFD:
		return set_irqfd(arg);
	case KVM_IOEVENTFD:
		kvm.ioeventfd = *(const struct kvm_ioeventfd *)arg;
		kvm.nioevents++;
		return 0;
	default:
		fail_msg("ioctl %#lx", request);
		return -1;
	}
}

/* Lines of this architecture, as KVM has them by itself. */
static struct kvm_irq_routing_entry line[MAX_ROUTES];
static unsigned int nline_routes, nlines;

static int setup(void **state)
{
	static struct vm vm;

	memset(&kvm, 0, sizeof(kvm));
	kvm.routing = 4096;
	vm = (struct vm){ .fd = VM_FD };
	msi_init(&vm);
	nline_routes = arch_line_routes(NULL, line, MAX_ROUTES, &nlines);
	*state = &vm;
	return 0;
}

static int teardown(void **state)
{
	msi_fini(*state);
	return 0;
}

static void assert_lines_kept(void)
{
	assert_true(kvm.nroutes >= nline_routes);
	assert_memory_equal(kvm.route, line, nline_routes * sizeof(line[0]));
}

static const struct kvm_irq_routing_entry *vector_route(unsigned int vector)
{
	for (unsigned int i = nline_routes; i < kvm.nroutes; i++) {
		if (kvm.route[i].gsi == nlines + vector)
			return &kvm.route[i];
	}
	return NULL;
}

static const struct irq_msi message = { .addr = 0x1fee01000, .data = 0x4041, .devid = 0x18 };

static void open_vector(struct vm *vm, int eventfd, unsigned int expected)
{
	unsigned int vector = 12345;

	assert_int_equal(vm_msi_open(vm, eventfd, &vector, NULL), 0);
	assert_int_equal(vector, expected);
}

static void lines_come_first(void **state)
{
	unsigned int lines;

	assert_in_range(nline_routes, nlines, MAX_ROUTES);
	assert_in_range(nlines, 16, 1000);
	for (unsigned int i = 0; i < nline_routes; i++) {
		assert_int_equal(line[i].type, KVM_IRQ_ROUTING_IRQCHIP);
		assert_int_equal(line[i].flags, 0);
		assert_in_range(line[i].gsi, 0, nlines - 1);
		for (unsigned int j = 0; j < i; j++)
			assert_true(line[j].gsi != line[i].gsi ||
				    line[j].u.irqchip.irqchip != line[i].u.irqchip.irqchip);
	}
	assert_int_equal(arch_line_routes(NULL, NULL, 0, &lines), nline_routes);
	assert_int_equal(lines, nlines);
}

static void a_vector_sends_what_it_was_told(void **state)
{
	struct vm *vm = *state;
	const struct kvm_irq_routing_entry *r;

	open_vector(vm, 5, 0);
	assert_int_equal(kvm.irqfd.fd, 5);
	assert_int_equal(kvm.irqfd.gsi, nlines);
	assert_int_equal(kvm.irqfd.flags, 0);
	assert_int_equal(kvm.nset, 0); /* nothing to say yet */
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0);
	assert_int_equal(kvm.nset, 1);
	assert_int_equal(kvm.nroutes, nline_routes + 1);
	assert_lines_kept();
	r = vector_route(0);
	assert_non_null(r);
	assert_int_equal(r->type, KVM_IRQ_ROUTING_MSI);
	assert_int_equal(r->flags, 0);
	assert_int_equal(r->u.msi.address_lo, 0xfee01000);
	assert_int_equal(r->u.msi.address_hi, 1);
	assert_int_equal(r->u.msi.data, 0x4041);
	assert_int_equal(r->u.msi.devid, 0);
}

static void the_its_hears_who_sends(void **state)
{
	struct vm *vm = *state;

	kvm.devid = 1;
	open_vector(vm, 5, 0);
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0);
	assert_int_equal(vector_route(0)->flags, KVM_MSI_VALID_DEVID);
	assert_int_equal(vector_route(0)->u.msi.devid, 0x18);
}

static void no_news_cost_nothing(void **state)
{
	struct vm *vm = *state;
	struct irq_msi other = message;

	open_vector(vm, 5, 0);
	open_vector(vm, 6, 1);
	assert_int_equal(vm_msi_set(vm, 0, NULL, NULL), 0);
	assert_int_equal(kvm.nset, 0);
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0);
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0);
	assert_int_equal(kvm.nset, 1);
	assert_int_equal(vm_msi_set(vm, 1, &message, NULL), 0);
	assert_int_equal(kvm.nset, 2);
	assert_int_equal(kvm.nroutes, nline_routes + 2);
	other.data++;
	assert_int_equal(vm_msi_set(vm, 0, &other, NULL), 0);
	other.devid++;
	assert_int_equal(vm_msi_set(vm, 0, &other, NULL), 0);
	other.addr += 1ull << 32;
	assert_int_equal(vm_msi_set(vm, 0, &other, NULL), 0);
	assert_int_equal(kvm.nset, 5);
	/* Masked and unmasked. */
	assert_int_equal(vm_msi_set(vm, 0, NULL, NULL), 0);
	assert_int_equal(vm_msi_set(vm, 0, NULL, NULL), 0);
	assert_int_equal(vm_msi_set(vm, 0, &other, NULL), 0);
	assert_int_equal(kvm.nset, 5);
	/* Masked, changed and unmasked. */
	assert_int_equal(vm_msi_set(vm, 0, NULL, NULL), 0);
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0);
	assert_int_equal(kvm.nset, 6);
	assert_int_equal(vector_route(0)->u.msi.data, message.data);
}

static void a_state_is_told_at_once(void **state)
{
	struct vm *vm = *state;
	struct irq_msi other = { .addr = 1, .data = 2 };
	struct err err = { 0 };

	vm_msi_begin(vm); /* nothing is open: nothing to do */
	assert_int_equal(vm_msi_end(vm, NULL), 0);
	for (int i = 0; i < 8; i++)
		open_vector(vm, 10 + i, (unsigned int)i);
	vm_msi_begin(vm);
	for (unsigned int i = 0; i < 7; i++)
		assert_int_equal(vm_msi_set(vm, i, &message, NULL), 0);
	assert_int_equal(kvm.nset, 0);
	assert_int_equal(vm_msi_end(vm, NULL), 0);
	assert_int_equal(kvm.nset, 1);
	assert_int_equal(kvm.nroutes, nline_routes + 7);
	assert_lines_kept();
	vm_msi_begin(vm);
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0);
	assert_int_equal(vm_msi_end(vm, NULL), 0);
	assert_int_equal(kvm.nset, 1); /* no news */
	vm_msi_begin(vm);
	assert_int_equal(vm_msi_set(vm, 0, &other, NULL), 0);
	kvm.fail = ENOMEM;
	assert_int_equal(vm_msi_end(vm, &err), -ENOMEM);
	assert_int_equal(strncmp(err.msg, "KVM_SET_GSI_ROUTING: ", 21), 0);
	/* It is over all the same. */
	assert_int_equal(vm_msi_set(vm, 7, &message, NULL), 0);
	assert_int_equal(kvm.nset, 2);
	assert_int_equal(kvm.nroutes, nline_routes + 8);
}

static void a_refusal_changes_nothing(void **state)
{
	struct vm *vm = *state;
	struct irq_msi other = { .addr = 1, .data = 2 };
	struct err err = { 0 };
	unsigned int vector = 9;

	kvm.fail = EBUSY;
	assert_int_equal(vm_msi_open(vm, 5, &vector, &err), -EBUSY);
	assert_int_equal(strncmp(err.msg, "KVM_IRQFD: ", 11), 0);
	assert_int_equal(vector, 9);
	open_vector(vm, 5, 0);
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0);
	kvm.fail = ENOMEM;
	assert_int_equal(vm_msi_set(vm, 0, &other, &err), -ENOMEM);
	assert_int_equal(strncmp(err.msg, "KVM_SET_GSI_ROUTING: ", 21), 0);
	assert_int_equal(kvm.nset, 1);
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), 0); /* still in force */
	assert_int_equal(kvm.nset, 1);
	assert_int_equal(vm_msi_set(vm, 0, &other, NULL), 0);
	assert_int_equal(kvm.nset, 2);
}

static void numbers_are_used_again(void **state)
{
	struct vm *vm = *state;

	for (int i = 0; i < 3; i++)
		open_vector(vm, 10 + i, (unsigned int)i);
	assert_int_equal(vm_msi_set(vm, 1, &message, NULL), 0);
	vm_msi_close(vm, 1);
	assert_int_equal(kvm.ndeassigned, 1);
	assert_int_equal(kvm.irqfd.fd, 11);
	assert_int_equal(kvm.irqfd.gsi, nlines + 1);
	assert_int_equal(vm_msi_set(vm, 1, &message, NULL), -EINVAL);
	vm_msi_close(vm, 1);
	vm_msi_close(vm, 3);
	vm_msi_close(vm, UINT32_MAX);
	assert_int_equal(kvm.ndeassigned, 1);
	open_vector(vm, 20, 1);
	assert_int_equal(kvm.nset, 1);
	assert_int_equal(vm_msi_set(vm, 1, &message, NULL),
			 0); /* the same, but the number's owner is another one */
	assert_int_equal(kvm.nset, 2);
}

static void there_are_so_many(void **state)
{
	struct vm *vm = *state;
	struct err err = { 0 };
	unsigned int vector;

	for (unsigned int i = 0; i < VM_MAX_MSI; i++)
		open_vector(vm, (int)(100 + i), i);
	assert_int_equal(vm_msi_open(vm, 5, &vector, &err), -ENOSPC);
	assert_string_equal(err.msg, "message-signalled interrupts: all 1024 vectors are taken");
	assert_int_equal(vm_msi_set(vm, VM_MAX_MSI, &message, NULL), -EINVAL);
	for (unsigned int i = 0; i < VM_MAX_MSI; i++)
		assert_int_equal(vm_msi_set(vm, i, &message, NULL), 0);
	assert_int_equal(kvm.nroutes, nline_routes + VM_MAX_MSI);
	assert_lines_kept();
	vm_msi_close(vm, 500);
	open_vector(vm, 5, 500);
}

static void kvm_may_not_route(void **state)
{
	struct vm *vm = *state;
	struct err err = { 0 };
	unsigned int vector;

	kvm.routing = 0;
	assert_int_equal(vm_msi_open(vm, 5, &vector, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "this host's KVM has 0 (KVM_CAP_IRQ_ROUTING)"));
	assert_int_equal(vm_msi_set(vm, 0, &message, NULL), -EINVAL);
	vm_msi_close(vm, 0);
	assert_int_equal(kvm.nassigned + kvm.ndeassigned + kvm.nset, 0);
	kvm.routing = (int)(nlines + VM_MAX_MSI) - 1;
	assert_int_equal(vm_msi_open(vm, 5, &vector, &err), -ENOTSUP);
	kvm.routing++;
	open_vector(vm, 5, 0);
}

static void notifications(void **state)
{
	struct vm *vm = *state;
	struct ioevent e = {
		.gpa = 0xe8000050, .len_bytes = 4, .match = true, .value = 3, .fd = 8
	};
	struct err err = { 0 };

	assert_int_equal(vm_ioevent_add(vm, &e, NULL), 0);
	assert_int_equal(kvm.ioeventfd.addr, 0xe8000050);
	assert_int_equal(kvm.ioeventfd.len, 4);
	assert_int_equal(kvm.ioeventfd.fd, 8);
	assert_int_equal(kvm.ioeventfd.datamatch, 3);
	assert_int_equal(kvm.ioeventfd.flags, KVM_IOEVENTFD_FLAG_DATAMATCH);
	vm_ioevent_del(vm, &e);
	assert_int_equal(kvm.ioeventfd.flags,
			 KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_DEASSIGN);
	e.match = false;
	e.len_bytes = 0;
	assert_int_equal(vm_ioevent_add(vm, &e, NULL), 0);
	assert_int_equal(kvm.ioeventfd.len, 0);
	assert_int_equal(kvm.ioeventfd.datamatch, 0);
	assert_int_equal(kvm.ioeventfd.flags, 0);
	kvm.fail = EEXIST;
	assert_int_equal(vm_ioevent_add(vm, &e, &err), -EEXIST);
	assert_string_equal(err.msg, "device notification at 0xe8000050: another one is there");
	kvm.fail = ENOENT; /* it is gone: nobody minds */
	vm_ioevent_del(vm, &e);
	assert_int_equal(kvm.nioevents, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_come_first),        TEST(a_vector_sends_what_it_was_told),
		TEST(the_its_hears_who_sends), TEST(no_news_cost_nothing),
		TEST(a_state_is_told_at_once), TEST(a_refusal_changes_nothing),
		TEST(numbers_are_used_again),  TEST(there_are_so_many),
		TEST(kvm_may_not_route),       TEST(notifications),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
