/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "kvm.h"

/* KVM's binary statistics, api.rst 4.133 KVM_GET_STATS_FD: header, descriptors of one size each (name behind a fixed part), values. */

#define MAX_DESCRIPTORS 4096u
#define MAX_NAME_BYTES 1024u

struct stats_layout {
	struct kvm_stats_header header;
	size_t desc_bytes;
	uint8_t *descs;
};

static int read_at(int fd, void *to, size_t len_bytes, uint64_t offset)
{
	uint8_t *p = to;

	while (len_bytes > 0) {
		ssize_t n = pread(fd, p, len_bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		offset += (uint64_t)n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

static int read_layout(int fd, struct stats_layout *l)
{
	int r = read_at(fd, &l->header, sizeof(l->header), 0);

	if (r < 0)
		return r;
	if (l->header.num_desc > MAX_DESCRIPTORS || l->header.name_size == 0 ||
	    l->header.name_size > MAX_NAME_BYTES)
		return -EPROTO;
	l->desc_bytes = sizeof(struct kvm_stats_desc) + l->header.name_size;
	l->descs = malloc(l->header.num_desc * l->desc_bytes + 1);
	if (!l->descs)
		return -ENOMEM;
	r = read_at(fd, l->descs, l->header.num_desc * l->desc_bytes, l->header.desc_offset);
	if (r < 0) {
		free(l->descs);
		l->descs = NULL;
	}
	return r;
}

static uint64_t combine(const struct kvm_stats_desc *desc, uint64_t a, uint64_t b)
{
	if ((desc->flags & KVM_STATS_TYPE_MASK) == KVM_STATS_TYPE_PEAK)
		return a > b ? a : b;
	return a + b;
}

/* All of @fds have the first one's layout (vCPUs of one VM do). Histograms (size above one) are left out. */
static int report(const int *fds, unsigned int nfds,
		  void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque)
{
	struct stats_layout l;
	int r = read_layout(fds[0], &l);

	if (r < 0)
		return r;
	for (unsigned int i = 0; r == 0 && i < l.header.num_desc; i++) {
		struct kvm_stats_desc desc;
		char *name = (char *)l.descs + i * l.desc_bytes + sizeof(desc);
		uint64_t sum = 0, value;

		memcpy(&desc, l.descs + i * l.desc_bytes, sizeof(desc));
		name[l.header.name_size - 1] = '\0';
		if (desc.size != 1)
			continue;
		for (unsigned int f = 0; r == 0 && f < nfds; f++) {
			r = read_at(fds[f], &value, sizeof(value),
				    (uint64_t)l.header.data_offset + desc.offset);
			if (r == 0)
				sum = combine(&desc, sum, value);
		}
		if (r == 0)
			fn(opaque, name, sum);
	}
	free(l.descs);
	return r;
}

static int no_statistics(struct err *err)
{
	return err_set(err, -ENOTSUP, "KVM_CAP_BINARY_STATS_FD: not on this host");
}

int vm_counters(struct vm *vm, void (*fn)(void *opaque, const char *name, uint64_t value),
		void *opaque, struct err *err)
{
	int fds[VM_MAX_VCPUS];
	int r;

	for (unsigned int i = 0; i < vm->ncpus; i++)
		fds[i] = vm->vcpu[i].stats_fd;
	if (vm->stats_fd < 0 || vm->ncpus == 0 || fds[0] < 0)
		return no_statistics(err);
	r = report(&vm->stats_fd, 1, fn, opaque);
	if (r == 0)
		r = report(fds, vm->ncpus, fn, opaque);
	return r < 0 ? err_sys(err, r, "KVM statistics") : 0;
}

int vm_vcpu_counters(struct vm *vm, unsigned int index,
		     void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque,
		     struct err *err)
{
	int r;

	if (index >= vm->ncpus)
		return err_set(err, -EINVAL, "vCPU %u: there are %u", index, vm->ncpus);
	if (vm->vcpu[index].stats_fd < 0)
		return no_statistics(err);
	r = report(&vm->vcpu[index].stats_fd, 1, fn, opaque);
	return r < 0 ? err_sys(err, r, "KVM statistics of vCPU %u", index) : 0;
}

/* ---- the few counters that are read often ---- */

/* More than this apart they would not be read at once; KVM's vCPU counters take a few hundred bytes. */
#define MAX_SPOT_BYTES 4096u

static uint64_t offset_of(const struct stats_layout *l, const char *wanted)
{
	for (unsigned int i = 0; i < l->header.num_desc; i++) {
		struct kvm_stats_desc desc;
		const char *name = (const char *)l->descs + i * l->desc_bytes + sizeof(desc);

		memcpy(&desc, l->descs + i * l->desc_bytes, sizeof(desc));
		if (desc.size == 1 && strncmp(name, wanted, l->header.name_size) == 0)
			return (uint64_t)l->header.data_offset + desc.offset;
	}
	return UINT64_MAX;
}

void stats_find(int vcpu_stats_fd, struct stats_spot *ret)
{
	struct stats_layout l;
	uint64_t exits, faults, first, last;

	*ret = (struct stats_spot){ .faults = STATS_NO_COUNTER };
	if (vcpu_stats_fd < 0 || read_layout(vcpu_stats_fd, &l) < 0)
		return;
	exits = offset_of(&l, "exits");
	faults = offset_of(&l, "pf_fixed");
	free(l.descs);
	if (exits == UINT64_MAX)
		return;
	if (faults == UINT64_MAX)
		faults = exits;
	first = exits < faults ? exits : faults;
	last = exits < faults ? faults : exits;
	if (last - first > MAX_SPOT_BYTES - sizeof(uint64_t))
		return;
	ret->at = first;
	ret->len_bytes = (uint32_t)(last - first + sizeof(uint64_t));
	ret->exits = (uint32_t)(exits - first);
	if (faults != exits)
		ret->faults = (uint32_t)(faults - first);
}

static uint64_t counter_at(const uint8_t *data, uint32_t offset)
{
	uint64_t value;

	memcpy(&value, data + offset, sizeof(value));
	return value;
}

int vm_exits(struct vm *vm, struct vm_exits *ret, struct err *err)
{
	const struct stats_spot *spot = &vm->stats_spot;
	struct vm_exits sum = { .faults_known = spot->faults != STATS_NO_COUNTER };
	uint8_t data[MAX_SPOT_BYTES];

	if (vm->ncpus == 0 || vm->vcpu[0].stats_fd < 0)
		return no_statistics(err);
	if (spot->len_bytes == 0)
		return err_set(err, -ENOTSUP, "KVM's statistics on this host do not count exits");
	for (unsigned int i = 0; i < vm->ncpus; i++) {
		int r = read_at(vm->vcpu[i].stats_fd, data, spot->len_bytes, spot->at);

		if (r < 0)
			return err_sys(err, r, "KVM statistics of vCPU %u", i);
		sum.exits += counter_at(data, spot->exits);
		if (sum.faults_known)
			sum.faults += counter_at(data, spot->faults);
	}
	*ret = sum;
	return 0;
}
