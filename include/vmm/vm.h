/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/state.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"
#include "vmm/irq.h"

/*
 * A VM and its vCPU threads over KVM. vm_create makes the VM, its memory slots, in-kernel interrupt controllers and vCPUs with their threads, stopped.
 * Thread: create, destroy, start, pause, resume and state calls come from one controlling thread at a time (the machine serialises them);
 * the callbacks of vm_client run on vCPU threads.
 */
struct vm;

enum vm_exit_reason {
	VM_EXIT_SHUTDOWN, /* the guest powered off */
	VM_EXIT_RESET, /* it asked for a reset */
	VM_EXIT_CRASH, /* it says so, or a triple fault */
	VM_EXIT_ERROR /* KVM or the host */
};

/* What the machine gives the VM. Accesses come with size 1, 2, 4 or 8; unclaimed reads must fill ones. */
struct vm_client {
	void (*pio)(void *opaque, uint16_t port, bool is_write, void *data, unsigned int size_bytes,
		    unsigned int count);
	void (*mmio)(void *opaque, uint64_t gpa, bool is_write, void *data, unsigned int len_bytes);
	/* A vCPU stopped for good; the VM keeps its other vCPUs running until the machine pauses it. Must not block or call back into the VM.
	 * @text is valid during the call. */
	void (*exited)(void *opaque, enum vm_exit_reason reason, unsigned int vcpu,
		       const char *text);
	void *opaque;
};

#define VM_MAX_VCPUS 255 /* what 8-bit APIC ids allow on x86 */

struct vm_config {
	unsigned int ncpus; /* 1 .. VM_MAX_VCPUS */
	enum dirty_kind dirty;
	uint32_t ring_entries;
	struct dirty_accel_ask dirty_accel;
	struct gmem_config mem;
	const char *
		pin; /* "0-1,4": vCPU i runs on the i-th host CPU of the list (wraps); NULL: not pinned */
	bool no_eager_split; /* arm64: a huge page is split by the guest's first write to it, not when it is rearmed */
	const struct buf *
		cpu_model; /* incoming migration: the source's cpu sections (see vm_cpu_model); NULL: this host's default */
};

int vm_create(const struct vm_config *config, const struct vm_client *client, struct vm **ret,
	      struct err *err);
/* Ends the vCPUs' threads for good; memory and interrupts stay, so that devices may end before them. Again, and NULL, do nothing. */
void vm_end(struct vm *vm);
void vm_destroy(struct vm *vm);

struct gmem *vm_mem(struct vm *vm);
struct dirty *vm_dirty(struct vm *vm);
unsigned int vm_ncpus(const struct vm *vm);

/* What the guest's firmware tables tell of beyond what each machine has; where that is, struct arch_platform says. The caller builds it. */
struct boot_devices {
	bool pci; /* the PCI host bridge */
	uint32_t virtio_slots; /* bit i: there is a virtio-mmio device in slot i */
	bool genid; /* a generation ID, at arch_genid_gpa */
};

/* Fresh boot: load kernel, initrd and firmware tables into memory and set the boot vCPU's registers. See vmm/arch.h for the loaders' rules. */
struct boot_config {
	const char *kernel_path; /* NULL: the image below */
	const void *kernel_image; /* built-in image, borrowed for the call */
	size_t kernel_image_bytes;
	const char *initrd_path; /* NULL: none */
	const char *cmdline; /* "" when none */
	const struct boot_devices *devices; /* NULL: none of them */
};
int vm_boot(struct vm *vm, const struct boot_config *boot, struct err *err);

/* Let the vCPUs run / stop every vCPU. Both are idempotent. vm_pause returns when no vCPU is in KVM_RUN, each one's pending I/O exit is completed
 * (KVM api.rst, KVM_EXIT_IO note) and its state can be read; bounded by 5 s, then -ETIMEDOUT with the vCPU named, and the VM runs on. */
int vm_resume(struct vm *vm, struct err *err);
int vm_pause(struct vm *vm, struct err *err);
bool vm_is_paused(const struct vm *vm);

/*
 * Migration. The cpu model is what must be equal or supported before any memory moves: CPUID as the guest sees it, MSR features, XSAVE size, TSC frequency.
 * vm_cpu_model appends it as state sections; vm_create on the other side refuses it by naming the feature (-EOPNOTSUPP) or applies it.
 * The state entries (registers, interrupt controllers, clock, timers) go into the machine's table; they are valid while the VM lives and may be captured and applied only
 * while it is paused.
 */
int vm_cpu_model(struct vm *vm, struct buf *out, struct err *err);
/* Do these cpu sections come from a host of this architecture? -EOPNOTSUPP with both named, -EBADMSG; the first section's name tells. Pure. */
int vm_check_origin(const void *cpu_model, size_t len_bytes, struct err *err);
/* Appends at most @max entries; returns how many there are (a count above @max: too small). */
unsigned int vm_state_entries(struct vm *vm, struct state_entry *entries, unsigned int max);

/* Counters from KVM's binary statistics (api.rst 4.131), by KVM's names: the VM's own and those of its vCPUs, summed; or those of vCPU @index alone. Calls fn
 * for each. -ENOTSUP where the host has none. Any thread. */
int vm_counters(struct vm *vm, void (*fn)(void *opaque, const char *name, uint64_t value),
		void *opaque, struct err *err);
int vm_vcpu_counters(struct vm *vm, unsigned int index,
		     void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque,
		     struct err *err);

/*
 * What says how much dirty tracking costs a guest, over all vCPUs and since they were made; one pread(2) a vCPU, so that it may be asked in every round. Exits are those
 * from the guest to KVM for whatever reason: faults, timers, interrupts, I/O. Faults are the page faults that KVM mended (x86: "pf_fixed"), write-protect
 * faults of dirty logging among them; KVM on arm64 does not count those.
 */
struct vm_exits {
	uint64_t exits;
	uint64_t faults;
	bool faults_known;
};
/* -ENOTSUP with the reason where KVM does not count exits. Any thread. */
int vm_exits(struct vm *vm, struct vm_exits *ret, struct err *err);

#endif
