/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "internal.h"
#include "kvm.h"

#define KICK_SIGNAL SIGRTMIN
/* A device's callback may put a page or two on the stack; the default of 8 MiB may become a huge page. */
#define VCPU_STACK_BYTES (256u << 10)

static void on_kick(int sig)
{
	(void)sig; /* its delivery ends KVM_RUN with EINTR, that is all */
}

int vcpu_install_kick(struct err *err)
{
	struct sigaction sa = { .sa_handler = on_kick };

	sigemptyset(&sa.sa_mask);
	if (sigaction(KICK_SIGNAL, &sa, NULL) < 0)
		return err_sys(err, -errno, "sigaction of the vCPU kick signal");
	return 0;
}

static uint32_t order_now(const struct vm *vm)
{
	return atomic_load_explicit(&vm->order, memory_order_acquire);
}

static bool order_is(uint32_t word, enum order o)
{
	return (word & ORDER_MASK) == (uint32_t)o;
}

/*
 * Runs until an order other than ORDER_RUN. KVM finishes the I/O of the last exit at the start of KVM_RUN and looks at immediate_exit and at
 * signals only then (api.rst 5, kvm_run.immediate_exit), so leaving this loop on EINTR alone means that nothing is half done. The order is written before
 * immediate_exit and before the signal: whichever of the three this thread meets first, it meets the order as well.
 */
static void run_until_ordered(struct vcpu *v)
{
	struct vm *vm = v->vm;

	while (!v->stopped_for_good) {
		int r = kvm_run(v->fd);

		if (r == -EINTR || r == -EAGAIN) {
			if (!order_is(order_now(vm), ORDER_RUN))
				return;
			continue;
		}
		if (!vcpu_handle_exit(v, r))
			v->stopped_for_good = true;
	}
	for (;;) {
		uint32_t order = order_now(vm);

		if (!order_is(order, ORDER_RUN))
			return;
		futex_wait_while(&vm->order, order);
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	for (;;) {
		uint32_t order = order_now(v->vm);

		if (order_is(order, ORDER_EXIT))
			return NULL;
		if (order_is(order, ORDER_RUN)) {
			run_until_ordered(v);
			continue;
		}
		/* Release: what this vCPU wrote (guest memory, device state) is seen by who sees it parked. */
		atomic_store_explicit(&v->parked_at, order, memory_order_release);
		futex_wake_all(&v->parked_at);
		futex_wait_while(&v->vm->order, order);
	}
}

static int set_affinity(pthread_attr_t *attr, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return pthread_attr_setaffinity_np(attr, sizeof(set), &set);
}

int vcpu_start_thread(struct vcpu *v, struct err *err)
{
	sigset_t all, old;
	pthread_attr_t attr;
	char name[16];
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	if (v->pin_cpu >= 0)
		set_affinity(&attr, v->pin_cpu);
	/* Signals of the process (SIGINT, SIGTERM, SIGCHLD) are other threads' business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r != 0) {
		if (v->pin_cpu >= 0)
			return err_sys(err, -r, "vCPU %u: thread on host CPU %d", v->index,
				       v->pin_cpu);
		return err_sys(err, -r, "vCPU %u: thread", v->index);
	}
	v->thread_started = true;
	snprintf(name, sizeof(name), "vcpu%u", v->index);
	pthread_setname_np(v->thread, name);
	return 0;
}

void vcpu_kick(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
	pthread_kill(v->thread, KICK_SIGNAL);
}

static int create(struct vm *vm, struct vcpu *v, struct err *err)
{
	void *run;
	int r = kvm_create_vcpu(vm->fd, v->index, &v->fd, err);

	if (r < 0)
		return r;
	run = mmap(NULL, (size_t)vm->vcpu_run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return err_sys(err, -errno, "mmap of kvm_run");
	v->run = run;
	/* Reading it later through the vCPU's fd would wait for the vCPU to leave KVM_RUN. */
	if (kvm_get_stats_fd(v->fd, &v->stats_fd, NULL) < 0)
		v->stats_fd = -1;
	if (vm->dirty->ops->attach_vcpu) {
		r = vm->dirty->ops->attach_vcpu(vm->dirty, v->fd, err);
		if (r < 0)
			return r;
	}
	return arch_vcpu_create(vm->arch, v->fd, v->index, &v->arch, err);
}

int vcpu_create(struct vm *vm, unsigned int index, int pin_cpu, struct err *err)
{
	struct vcpu *v = &vm->vcpu[index];
	int r;

	*v = (struct vcpu){
		.vm = vm, .index = index, .fd = -1, .stats_fd = -1, .pin_cpu = pin_cpu
	};
	/* An order never has this value: its sequence starts at one. */
	atomic_init(&v->parked_at, ORDER_MASK);
	r = create(vm, v, err);
	if (r < 0)
		err_prefix(err, "vCPU %u", index);
	return r;
}

void vcpu_join(struct vcpu *v)
{
	if (v->thread_started)
		pthread_join(v->thread, NULL);
	v->thread_started = false;
}

void vcpu_destroy(struct vcpu *v)
{
	arch_vcpu_destroy(v->arch);
	if (v->run)
		munmap(v->run, (size_t)v->vm->vcpu_run_bytes);
	fd_close(&v->stats_fd);
	fd_close(&v->fd);
}
