/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/irq.h"

#include <errno.h>
#include <stdlib.h>

#include "base/num.h"
#include "internal.h"
#include "kvm.h"

/* A vector's GSI is its number above the lines. Its irqfd stays for as long as it is open, and its route for longer than its owner wants: it is not told to KVM that a message is gone. */
struct msi_vector {
	int eventfd;
	bool open;
	bool routed; /* has had a message */
	struct irq_msi message;
};

struct msi_table {
	unsigned int nlines;
	unsigned int nline_routes;
	bool devid; /* KVM wants to know who sends */
	unsigned int nvectors; /* those above were never open */
	struct msi_vector vector[VM_MAX_MSI];
	bool batch; /* changes are only noted ... */
	bool stale; /* ... and there are some */
	/* What KVM is told: the lines', then the vectors' that have one. */
	struct kvm_irq_routing *routing;
};

int vm_irq_line(struct vm *vm, unsigned int gsi, bool level)
{
	return kvm_irq_line(vm->fd, arch_irq_line(gsi), level ? 1 : 0, NULL);
}

static int set_irqfd(const struct vm *vm, int eventfd, unsigned int gsi, uint32_t flags,
		     struct err *err)
{
	struct kvm_irqfd req = { .fd = (uint32_t)eventfd, .gsi = gsi, .flags = flags };

	return kvm_irqfd(vm->fd, &req, err);
}

int vm_irqfd(struct vm *vm, int eventfd, unsigned int gsi, struct err *err)
{
	return set_irqfd(vm, eventfd, gsi, 0, err);
}

void msi_init(struct vm *vm)
{
	pthread_mutex_init(&vm->msi_lock, NULL);
}

void msi_fini(struct vm *vm)
{
	if (vm->msi)
		free(vm->msi->routing);
	free(vm->msi);
	vm->msi = NULL;
	pthread_mutex_destroy(&vm->msi_lock);
}

static int create_table(struct vm *vm, struct err *err)
{
	int most = kvm_check_extension(vm->fd, KVM_CAP_IRQ_ROUTING);
	unsigned int nlines, nline_routes = arch_line_routes(vm->arch, NULL, 0, &nlines);
	struct msi_table *t;

	if (most <= 0 || (unsigned int)most < nlines + VM_MAX_MSI)
		return err_set(
			err, -ENOTSUP,
			"message-signalled interrupts need %u routes, this host's KVM has %d (KVM_CAP_IRQ_ROUTING)",
			nlines + VM_MAX_MSI, MAX(most, 0));
	t = calloc(1, sizeof(*t));
	if (t)
		t->routing =
			calloc(1, sizeof(*t->routing) + (nline_routes + VM_MAX_MSI) *
								sizeof(t->routing->entries[0]));
	if (!t || !t->routing) {
		free(t);
		return err_set(err, -ENOMEM, "no memory for interrupt routes");
	}
	(void)arch_line_routes(vm->arch, t->routing->entries, nline_routes, &nlines);
	t->nline_routes = nline_routes;
	t->nlines = nlines;
	t->devid = kvm_check_extension(vm->fd, KVM_CAP_MSI_DEVID) > 0;
	vm->msi = t;
	return 0;
}

static void put_route(const struct msi_table *t, unsigned int i, struct kvm_irq_routing_entry *e)
{
	const struct irq_msi *m = &t->vector[i].message;

	*e = (struct kvm_irq_routing_entry){
		.gsi = t->nlines + i,
		.type = KVM_IRQ_ROUTING_MSI,
		.flags = t->devid ? KVM_MSI_VALID_DEVID : 0,
		.u.msi = {
			.address_lo = (uint32_t)m->addr,
			.address_hi = (uint32_t)(m->addr >> 32),
			.data = m->data,
			.devid = t->devid ? m->devid : 0,
		},
	};
}

/* Lock held. */
static int tell_routes(const struct vm *vm, struct err *err)
{
	struct msi_table *t = vm->msi;
	uint32_t n = t->nline_routes;

	for (unsigned int i = 0; i < t->nvectors; i++) {
		if (t->vector[i].routed)
			put_route(t, i, &t->routing->entries[n++]);
	}
	t->routing->nr = n;
	return kvm_set_gsi_routing(vm->fd, t->routing, err);
}

static bool same_message(const struct irq_msi *a, const struct irq_msi *b)
{
	return a->addr == b->addr && a->data == b->data && a->devid == b->devid;
}

/* Lock held; the vector is open. Each table costs a grace period in KVM, milliseconds on a busy host: only news are told. */
static int set_message(struct vm *vm, struct msi_vector *v, const struct irq_msi *message,
		       struct err *err)
{
	struct msi_vector was = *v;
	int r;

	if (v->routed && same_message(&v->message, message))
		return 0;
	v->routed = true;
	v->message = *message;
	if (vm->msi->batch) {
		vm->msi->stale = true;
		return 0;
	}
	r = tell_routes(vm, err);
	if (r < 0)
		*v = was;
	return r < 0 ? r : 0;
}

/* Lock held. */
static int open_vector(struct vm *vm, int eventfd, unsigned int *ret, struct err *err)
{
	struct msi_table *t;
	unsigned int i;
	int r = vm->msi ? 0 : create_table(vm, err);

	if (r < 0)
		return r;
	t = vm->msi;
	for (i = 0; i < t->nvectors && t->vector[i].open; i++)
		continue;
	if (i == VM_MAX_MSI)
		return err_set(err, -ENOSPC,
			       "message-signalled interrupts: all %u vectors are taken",
			       VM_MAX_MSI);
	r = set_irqfd(vm, eventfd, t->nlines + i, 0, err);
	if (r < 0)
		return r;
	t->vector[i] = (struct msi_vector){ .eventfd = eventfd, .open = true };
	t->nvectors = MAX(t->nvectors, i + 1);
	*ret = i;
	return 0;
}

/* Lock held; NULL when there is none. */
static struct msi_vector *find_vector(const struct vm *vm, unsigned int vector)
{
	struct msi_table *t = vm->msi;

	return t && vector < t->nvectors && t->vector[vector].open ? &t->vector[vector] : NULL;
}

int vm_msi_open(struct vm *vm, int eventfd, unsigned int *ret_vector, struct err *err)
{
	int r;

	pthread_mutex_lock(&vm->msi_lock);
	r = open_vector(vm, eventfd, ret_vector, err);
	pthread_mutex_unlock(&vm->msi_lock);
	return r;
}

int vm_msi_set(struct vm *vm, unsigned int vector, const struct irq_msi *message, struct err *err)
{
	struct msi_vector *v;
	int r;

	pthread_mutex_lock(&vm->msi_lock);
	v = find_vector(vm, vector);
	if (v)
		r = message ? set_message(vm, v, message, err) : 0;
	else
		r = err_set(err, -EINVAL, "message-signalled interrupts: vector %u is not open",
			    vector);
	pthread_mutex_unlock(&vm->msi_lock);
	return r;
}

void vm_msi_close(struct vm *vm, unsigned int vector)
{
	struct msi_vector *v;

	pthread_mutex_lock(&vm->msi_lock);
	v = find_vector(vm, vector);
	if (v) {
		(void)set_irqfd(vm, v->eventfd, vm->msi->nlines + vector, KVM_IRQFD_FLAG_DEASSIGN,
				NULL);
		*v = (struct msi_vector){ 0 };
	}
	pthread_mutex_unlock(&vm->msi_lock);
}

void vm_msi_begin(struct vm *vm)
{
	pthread_mutex_lock(&vm->msi_lock);
	if (vm->msi)
		vm->msi->batch = true;
	pthread_mutex_unlock(&vm->msi_lock);
}

int vm_msi_end(struct vm *vm, struct err *err)
{
	struct msi_table *t;
	int r = 0;

	pthread_mutex_lock(&vm->msi_lock);
	t = vm->msi;
	if (t && t->stale)
		r = tell_routes(vm, err);
	if (t)
		t->batch = t->stale = false;
	pthread_mutex_unlock(&vm->msi_lock);
	return r < 0 ? r : 0;
}
