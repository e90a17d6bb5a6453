/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_INTERNAL_H
#define VMM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/arch.h"
#include "vmm/vm.h"

/*
 * How vCPUs are stopped and let go. The controlling thread writes an order into vm->order: a sequence number above two bits of what to do. A vCPU thread obeys
 * the newest order it sees; when that is not ORDER_RUN it leaves KVM_RUN for good (its pending exit completed), writes the order into its own parked_at and
 * sleeps until vm->order changes. A pause is complete when each vCPU's parked_at equals the order, so an order that came too late for a vCPU, or a vCPU that
 * came late after a pause that timed out, cannot be mistaken for an answer to another one. Both words are futexes.
 */
enum order { ORDER_PAUSE, ORDER_RUN, ORDER_EXIT };
#define ORDER_MASK 3u
#define ORDER_STEP 4u

struct vm;
struct msi_table; /* irq.c */

struct vcpu {
	struct vm *vm;
	unsigned int index;
	int fd;
	int stats_fd; /* -1 where KVM has no binary statistics */
	struct kvm_run *run;
	struct arch_vcpu *arch;
	pthread_t thread;
	bool thread_started;
	int pin_cpu; /* -1: not pinned */
	bool stopped_for_good; /* its thread's; set once, before the client hears of it */
	_Atomic uint32_t parked_at;
};

/* Where in a vCPU's statistics the counters of vm_exits are: offsets from @at in a piece of @len bytes; len 0: there are none. */
#define STATS_NO_COUNTER UINT32_MAX
struct stats_spot {
	uint64_t at;
	uint32_t len_bytes;
	uint32_t exits;
	uint32_t faults; /* STATS_NO_COUNTER: not counted */
};

struct vm {
	int kvm_fd;
	int fd;
	int stats_fd;
	struct stats_spot stats_spot;
	int vcpu_run_bytes; /* size of kvm_run's mapping */
	struct gmem *mem;
	struct dirty *dirty;
	struct arch_vm *arch;
	struct vm_client client;
	unsigned int ncpus;
	bool running; /* the controlling thread's view */
	_Atomic uint32_t order;
	pthread_mutex_t msi_lock;
	struct msi_table *msi; /* NULL until the first vector */
	struct vcpu vcpu[VM_MAX_VCPUS];
};

/* vcpu.c. Create: file descriptor, kvm_run, architecture's defaults, dirty ring; the thread starts parked. Destroy: after ORDER_EXIT. */
int vcpu_create(struct vm *vm, unsigned int index, int pin_cpu, struct err *err);
int vcpu_start_thread(struct vcpu *v, struct err *err);
void vcpu_join(struct vcpu *v); /* its thread, which was ordered to end */
void vcpu_destroy(struct vcpu *v);
/* Gets the vCPU out of KVM_RUN after vm->order changed; any thread. */
void vcpu_kick(struct vcpu *v);
/* The kick signal's handler; once per VM, idempotent. */
int vcpu_install_kick(struct err *err);

/* counters.c: finds the counters of vm_exits, once, when the first vCPU exists. Where there are none it says so in @ret. */
void stats_find(int vcpu_stats_fd, struct stats_spot *ret);

/* irq.c: before and after all else of a VM. Vectors that are still open end with its descriptor. */
void msi_init(struct vm *vm);
void msi_fini(struct vm *vm);

/* run.c: one exit of @v. False: the vCPU stopped for good and the client has been told. */
bool vcpu_handle_exit(struct vcpu *v, int run_result);

/* futex(2) on a word of this process. */
void futex_wait_while(_Atomic uint32_t *word, uint32_t value);
/* False at the deadline (CLOCK_MONOTONIC). */
bool futex_wait_until(_Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns);
void futex_wake_all(_Atomic uint32_t *word);

/* "0-1,4" into @ret (at most @max); the number of CPUs or -EINVAL. */
int pin_parse(const char *s, int *ret, unsigned int max, struct err *err);

#endif
