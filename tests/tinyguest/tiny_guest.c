/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arch.h"
#include "base/clock.h"
#include "base/num.h"
#include "vmm/internal.h"

#define MIB2 (2ULL << 20)
#define FIRST_PASS_TIMEOUT_NS (60 * NS_PER_S)

static void load_code(struct gmem *m, enum tiny_program program)
{
	static const struct {
		const uint8_t *code, *end;
	} programs[] = {
		[TINY_WORK] = { tiny_work_start, tiny_work_end },
		[TINY_IN] = { tiny_in_start, tiny_in_end },
		[TINY_PASS] = { tiny_pass_start_of_code, tiny_pass_end_of_code },
	};
	const uint8_t *code = programs[program].code;

	memcpy(gmem_page(m, TINY_CODE_PAGE), code, (size_t)(programs[program].end - code));
}

/* A vCPU of TINY_PASS has ended its pass: it stays here, outside KVM_RUN, until the next one. */
static void wait_for_pass(struct tiny *t)
{
	uint32_t seen = atomic_load(&t->pass);
	uint64_t now = clock_mono_ns();
	uint64_t last = atomic_load(&t->last_end_ns);

	while (last < now && !atomic_compare_exchange_weak(&t->last_end_ns, &last, now))
		continue;
	if (atomic_fetch_add(&t->idle, 1) + 1 == vm_ncpus(t->vm))
		futex_wake_all(&t->idle);
	while (!atomic_load(&t->closing) && atomic_load(&t->pass) == seen)
		futex_wait_until(&t->pass, seen, clock_mono_ns() + NS_PER_S);
}

static void on_pio(void *opaque, uint16_t port, bool is_write, void *data, unsigned int size_bytes,
		   unsigned int count)
{
	struct tiny *t = opaque;
	size_t bytes = (size_t)size_bytes * count;

	if (is_write && port == TINY_PASS_PORT)
		wait_for_pass(t);
	if (!is_write)
		memset(data, port == TINY_PORT ? 0x5a : 0xff, bytes);
	if (is_write || port != TINY_PORT)
		return;
	atomic_fetch_add(&t->port_reads, 1);
	while (atomic_load(&t->stuck))
		usleep(1000);
}

static void on_mmio(void *opaque, uint64_t gpa, bool is_write, void *data, unsigned int len_bytes)
{
	on_pio(opaque, (uint16_t)(gpa % GMEM_PAGE_SIZE), is_write, data, len_bytes, 1);
}

static void on_exit(void *opaque, enum vm_exit_reason reason, unsigned int vcpu, const char *text)
{
	struct tiny *t = opaque;

	(void)reason;
	snprintf(t->exit_text, sizeof(t->exit_text), "vCPU %u: %s", vcpu, text);
	atomic_fetch_add(&t->exits, 1);
	futex_wake_all(&t->idle);
}

static int memory_of(const struct tiny_config *config, struct gmem_config *ret, struct err *err)
{
	uint64_t bytes = config->pages << 12;
	uint64_t sum = 0;

	if (!config->mem) {
		ret->nregions = config->two_regions ? 2 : 1;
		ret->region[0].len_bytes = config->two_regions ? bytes / 2 : bytes;
		ret->region[1] = (struct gmem_region){ .gpa = 4ULL << 30, .len_bytes = bytes / 2 };
		return 0;
	}
	*ret = *config->mem;
	for (unsigned int i = 0; i < ret->nregions && i < GMEM_MAX_REGIONS; i++) {
		if (ret->region[i].len_bytes % MIB2 != 0)
			return err_set(err, -EINVAL,
				       "guest memory: region %u is not made of 2 MiB pieces", i);
		if (ret->region[i].len_bytes > TINY_MAX_RAM_BYTES - sum)
			return err_set(err, -EINVAL,
				       "guest memory: more than %llu GiB is not possible here",
				       (unsigned long long)(TINY_MAX_RAM_BYTES >> 30));
		sum += ret->region[i].len_bytes;
	}
	if (config->walker && sum > TINY_WALKER_MAX_PAGES << 12)
		return err_set(err, -EINVAL,
			       "guest memory: more than %llu pages are too many to map singly",
			       TINY_WALKER_MAX_PAGES);
	if (ret->region[0].len_bytes < TINY_SETUP_BYTES)
		return err_set(err, -EINVAL, "guest memory: the first region is too small");
	return 0;
}

int tiny_create(const struct tiny_config *config, struct tiny *t, struct err *err)
{
	struct vm_client client = {
		.pio = on_pio, .mmio = on_mmio, .exited = on_exit, .opaque = t
	};
	struct vm_config vc = { .ncpus = config->ncpus,
				.dirty = config->dirty,
				.ring_entries = config->ring_entries,
				.dirty_accel = config->dirty_accel,
				.no_eager_split = config->no_eager_split,
				.pin = config->pin };
	int r;

	memset(t, 0, sizeof(*t));
	r = memory_of(config, &vc.mem, err);
	if (r == 0)
		r = vm_create(&vc, &client, &t->vm, err);
	if (r < 0)
		return r;
	tiny_arch_load(vm_mem(t->vm), config);
	load_code(vm_mem(t->vm), config->program);
	for (unsigned int i = 0; r == 0 && i < config->ncpus; i++) {
		tiny_control(t, i)->cpu = i;
		r = tiny_arch_set_registers(&t->vm->vcpu[i], config, err);
	}
	if (r < 0)
		tiny_destroy(t);
	return r;
}

void tiny_destroy(struct tiny *t)
{
	atomic_store(&t->closing, true);
	atomic_fetch_add(&t->pass, 1);
	futex_wake_all(&t->pass);
	vm_destroy(t->vm);
	t->vm = NULL;
}

uint64_t tiny_gpa(const struct gmem *m, uint64_t page)
{
	for (unsigned int i = m->nregions; i-- > 0;) {
		if (page >= m->region[i].first_page)
			return m->region[i].gpa + ((page - m->region[i].first_page) << 12);
	}
	return 0;
}

struct tiny_control *tiny_control(struct tiny *t, unsigned int cpu)
{
	return (struct tiny_control *)(void *)gmem_page(vm_mem(t->vm), TINY_CONTROL_PAGE + cpu);
}

void tiny_set_work(struct tiny *t, unsigned int cpu, uint64_t first, uint64_t npages, uint64_t mul)
{
	struct tiny_control *c = tiny_control(t, cpu);

	c->mul = mul;
	c->mask = npages - 1;
	c->first_va = tiny_va(first);
}

uint64_t tiny_page(struct tiny *t, unsigned int cpu, uint64_t i)
{
	struct tiny_control *c = tiny_control(t, cpu);

	return ((c->first_va - TINY_RAM_VA) >> 12) + (i * c->mul & c->mask);
}

void tiny_allow(struct tiny *t, unsigned int cpu, uint64_t limit)
{
	atomic_store(&tiny_control(t, cpu)->limit, limit);
}

bool tiny_wait_done(struct tiny *t, unsigned int cpu, uint64_t n)
{
	uint64_t deadline_ns = clock_mono_ns() + 60 * NS_PER_S;

	/* Ever longer: on one slow processor a wait of 100 us ends before the guest has got anywhere. */
	for (unsigned int us = 100; atomic_load(&tiny_control(t, cpu)->done) < n;
	     us = MIN(2 * us, 20000u)) {
		if (atomic_load(&t->exits) != 0 || clock_mono_ns() > deadline_ns)
			return false;
		usleep(us);
	}
	return true;
}

static int wait_for_all(struct tiny *t, uint64_t timeout_ns, struct err *err)
{
	uint64_t deadline_ns = clock_mono_ns() + timeout_ns;
	uint32_t idle;

	while ((idle = atomic_load(&t->idle)) != vm_ncpus(t->vm)) {
		uint64_t now = clock_mono_ns();

		if (atomic_load(&t->exits) != 0)
			return err_set(err, -EIO, "%s", t->exit_text);
		if (now >= deadline_ns)
			return err_set(err, -ETIMEDOUT,
				       "%u of %u vCPUs ended their pass within %llu s", idle,
				       vm_ncpus(t->vm),
				       (unsigned long long)(timeout_ns / NS_PER_S));
		/* Looked at once a second in any case: a vCPU that stops does not count as idle. */
		futex_wait_until(&t->idle, idle, MIN(deadline_ns, now + NS_PER_S));
	}
	return 0;
}

int tiny_pass_start(struct tiny *t, struct err *err)
{
	int r = vm_resume(t->vm, err);

	return r < 0 ? r : wait_for_all(t, FIRST_PASS_TIMEOUT_NS, err);
}

int tiny_pass_run(struct tiny *t, uint64_t timeout_ns, uint64_t *ret_ns, struct err *err)
{
	uint64_t start_ns;
	int r;

	atomic_store(&t->idle, 0);
	start_ns = clock_mono_ns();
	atomic_fetch_add(&t->pass, 1);
	futex_wake_all(&t->pass);
	r = wait_for_all(t, timeout_ns, err);
	if (r == 0)
		*ret_ns = atomic_load(&t->last_end_ns) - start_ns;
	return r;
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
	*state = *state * TINY_RNG_MUL + TINY_RNG_ADD;
	return (*state >> 32) * below >> 32;
}

void tiny_pass_plan(const struct tiny_pass *p, struct bitmap *ret)
{
	uint64_t state = p->seed;

	for (uint64_t i = 0; i < p->npages; i++) {
		uint64_t drawn = draw(&state, p->npages);

		if (draw(&state, 100) < p->write_percent)
			bitmap_set(ret, p->random_order ? drawn : i);
	}
}
