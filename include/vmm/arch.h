/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_H
#define VMM_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/state.h"
#include "vmm/gmem.h"
#include "vmm/vm.h"

/*
 * The one architecture that is linked in (vmm/arch/x86_64 or vmm/arch/aarch64). Called by vmm/vm.c and vmm/vcpu.c only, on the controlling thread
 * unless said otherwise. File descriptors stay vmm/'s.
 */
struct kvm_irq_routing_entry; /* linux/kvm.h */
struct arch_vm; /* what the architecture keeps per VM */
struct arch_vcpu; /* per vCPU */

/* Where this architecture's machine has its devices; what firmware tables and the guest are told, the composition root must build. */
struct arch_platform {
	const char *name; /* what the names of its state sections begin with, before the dot */
	bool mmio; /* the devices are on the MMIO bus, else on the port bus */
	uint64_t serial_base;
	unsigned int serial_gsi;
	uint64_t power_base; /* ACPI power block; 0: none, KVM has the guest's way to power off */
	unsigned int power_gsi; /* power button */
	uint64_t rtc_base; /* PL031; 0: none */
	unsigned int rtc_gsi;
	uint64_t kbc_base; /* keyboard controller's reset port; 0: none */
	uint64_t gpio_base; /* PL061 with the power button; 0: none */
	unsigned int gpio_gsi;
	/* What is there only when struct boot_devices says so. */
	uint64_t pci_ecam_base; /* of bus 0, 1 MiB */
	uint64_t pci_window_base, pci_window_bytes; /* for memory BARs, below 4 GiB */
	uint64_t virtio_base; /* virtio-mmio: slot i is 4 KiB at virtio_base + i * 4 KiB ... */
	unsigned int virtio_gsi; /* ... on the line virtio_gsi + i, edge-triggered */
	unsigned int virtio_slots;
	unsigned int genid_gsi; /* the generation ID has changed: an edge */
};
extern const struct arch_platform arch_platform;

/* KVM's capabilities that matter on this architecture alone, for `vmm caps`. */
struct arch_cap {
	const char *name; /* "KVM_CAP_XCRS" */
	uint32_t cap;
	const char *use;
};
extern const struct arch_cap arch_caps[];
extern const unsigned int arch_ncaps;

/* The regions RAM of @ram_bytes occupies (multiple of 2 MiB or the caller's alignment of 256 KiB); returns the number of regions or -EINVAL. */
int arch_mem_layout(uint64_t ram_bytes, struct gmem_region regions[GMEM_MAX_REGIONS],
		    struct err *err);

/* Where in guest memory a VM with @mem has its generation ID (struct boot_devices), 16 bytes; a function of the regions alone, and so the same on both sides of a migration. */
uint64_t arch_genid_gpa(const struct gmem *mem);

/* KVM_CREATE_VM's machine type for a VM with this memory; -EOPNOTSUPP when this host's KVM cannot address it. */
int arch_vm_type(int kvm_fd, const struct gmem_config *mem, unsigned long *ret, struct err *err);
/* What KVM_IRQ_LINE calls the interrupt line @gsi. Any thread. */
uint32_t arch_irq_line(unsigned int gsi);
/* The routes of the interrupt lines as KVM sets them up with its controllers: GSIs from 0 on, one or two entries each. KVM_SET_GSI_ROUTING replaces them, and so has to repeat them.
 * Writes at most @max and returns how many there are; *ret_lines: the first GSI that is no line. The VM is complete; any thread. */
unsigned int arch_line_routes(const struct arch_vm *av, struct kvm_irq_routing_entry *routes,
			      unsigned int max, unsigned int *ret_lines);
/* After KVM_CREATE_VM, before memslots: what must be set that early. @cpu_model as in vm_config (checked here against the host, before anything is
 * allocated for memory). */
int arch_vm_create(int kvm_fd, int vm_fd, unsigned int ncpus, const struct buf *cpu_model,
		   struct arch_vm **ret, struct err *err);
/*
 * Tracking hardware that KVM uses only for a VM that asked: asks for it beneath backend @kind (not uffd) as @asked, once, before the memslots and vCPUs of @vm_fd (-1: of a VM
 * that is made for the question). True with name and reason in @ret, "none" where it was refused; false where the host switches such hardware and no VM can
 * (x86; vmm/accel.c). Any thread.
 */
bool arch_accel_ask(int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		    struct dirty_accel *ret);
/* Interrupt controllers and timers; after the memslots and before the first vCPU. In this order because KVM on x86 (Linux 6.18) starts a grace period that nobody
 * hurries when a chip goes onto its I/O bus, and the next change of memslots waits 5 to 10 ms for it. */
int arch_chips_create(struct arch_vm *av, struct err *err);
void arch_vm_destroy(struct arch_vm *av);

/* After KVM_CREATE_VCPU: CPUID, MSR defaults, LAPIC id. */
int arch_vcpu_create(struct arch_vm *av, int vcpu_fd, unsigned int index, struct arch_vcpu **ret,
		     struct err *err);
void arch_vcpu_destroy(struct arch_vcpu *ac);
/* After the last vCPU, before the first runs: what interrupt controllers need to know all of them for. */
int arch_vcpus_ready(struct arch_vm *av, struct err *err);

/* Load the kernel and tables into @mem and set the boot vCPU's registers (api of boot.h of the architecture). */
int arch_boot(struct arch_vm *av, struct gmem *mem, const struct boot_config *boot,
	      struct err *err);

/* As vm_cpu_model and vm_state_entries. instance = vCPU index, 0 for what the VM has once; the order of the table is the order of apply. */
int arch_cpu_model(struct arch_vm *av, struct buf *out, struct err *err);
unsigned int arch_state_entries(struct arch_vm *av, struct state_entry *entries, unsigned int max);

/* Called once per pause, right before the vCPUs run again, and on a restored VM before its first run: KVM_KVMCLOCK_CTRL on each, so that the guest's watchdog
 * is not surprised (a vCPU without kvmclock says EINVAL, which is no error). */
int arch_paused(struct arch_vm *av, struct err *err);

#endif
