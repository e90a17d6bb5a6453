/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stddef.h>

#include "base/num.h"
#include "fields.h"
#include "sim.h"

static const char *const backend_names[] = { "bitmap", "manual", "ring", "uffd" };
static const char *const accel_names[] = { "none", "pml", "scan", "combined", "hdbss" };
static const char *const pattern_names[] = { "sequential", "random", "hot", "sparse", "trace" };
static const char *const mode_names[] = { "passes", "run" };

const char *sim_backend_name(enum sim_backend b)
{
	return (unsigned int)b < ARRAY_LEN(backend_names) ? backend_names[b] : NULL;
}

const char *sim_accel_name(enum sim_accel a)
{
	return (unsigned int)a < ARRAY_LEN(accel_names) ? accel_names[a] : NULL;
}

const char *sim_pattern_name(enum sim_pattern_kind k)
{
	return (unsigned int)k < ARRAY_LEN(pattern_names) ? pattern_names[k] : NULL;
}

const char *sim_mode_name(enum sim_mode m)
{
	return (unsigned int)m < ARRAY_LEN(mode_names) ? mode_names[m] : NULL;
}

#define COST(name)                                      \
	{                                               \
#name, offsetof(struct sim_costs, name) \
	}
const struct sim_cost_field sim_cost_fields[] = {
	COST(read_fault_ns),   COST(clear_run_ns),    COST(visit_ns),       COST(visit_random_ns),
	COST(fault_ns),        COST(fault_random_ns), COST(fault_hold_ns),  COST(lock_bounce_ns),
	COST(log_ns),          COST(full_ns),         COST(full_entry_ns),  COST(arm_page_ns),
	COST(ring_full_ns),    COST(kick_ns),         COST(pass_ns),        COST(get_call_ns),
	COST(get_word_ns),     COST(get_page_ns),     COST(get_random_ns),  COST(scan_page_ns),
	COST(clear_call_ns),   COST(clear_word_ns),   COST(clear_page_ns),  COST(clear_random_ns),
	COST(flush_ns),        COST(enable_call_ns),  COST(enable_page_ns), COST(disable_call_ns),
	COST(disable_page_ns),
};
const unsigned int sim_ncost_fields = ARRAY_LEN(sim_cost_fields);

void sim_config_init(struct sim_config *c)
{
	*c = (struct sim_config){
		.backend = SIM_MANUAL,
		.buffer_entries = 512,
		.ring_entries = 16384,
		.group_pages = 64,
		.vcpus = 1,
		.pages_per_vcpu = 16384,
		.slots = 1,
		.clear_chunk_pages = 65536,
		.pattern = { .write_percent = 100,
			     .hot_percent = 10,
			     .hot_share_percent = 90,
			     .stride = 64,
			     .seed = 1 },
		.iterations = 3,
	};
}

static bool power_of_two(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

static int check_mechanism(const struct sim_config *c, struct err *err)
{
	if (!sim_backend_name(c->backend) || !sim_accel_name(c->accel))
		return err_set(err, -EINVAL, "backend or accel: not one that the model knows");
	/* The ring is fed by faults and by PML; userfaultfd is a matter of the host's page tables, which KVM's accelerators do not serve. */
	if ((c->backend == SIM_UFFD && c->accel != SIM_WP) ||
	    (c->backend == SIM_RING && c->accel != SIM_WP && c->accel != SIM_PML))
		return err_set(err, -EOPNOTSUPP, "backend %s with accel %s: no kernel has that",
			       sim_backend_name(c->backend), sim_accel_name(c->accel));
	if (c->buffer_entries == 0)
		return err_set(err, -EINVAL, "buffer_entries: 0, at least 1 expected");
	if (!power_of_two(c->group_pages))
		return err_set(err, -EINVAL, "group_pages: %u is not a power of two",
			       c->group_pages);
	if (!power_of_two(c->ring_entries) || c->ring_entries < 1024 || c->ring_entries > 65536)
		return err_set(err, -EINVAL,
			       "ring_entries: %u, a power of two from 1024 to 65536 expected",
			       c->ring_entries);
	return 0;
}

static int check_pattern(const struct sim_config *c, struct err *err)
{
	const struct sim_pattern *p = &c->pattern;

	if (!sim_pattern_name(p->kind))
		return err_set(err, -EINVAL, "pattern.kind: not one that the model knows");
	if (p->write_percent > 100)
		return err_set(err, -EINVAL, "pattern.write_percent: %u, 0 to 100 expected",
			       p->write_percent);
	if (p->kind == SIM_HOT &&
	    (p->hot_percent < 1 || p->hot_percent > 99 || p->hot_share_percent > 100))
		return err_set(
			err, -EINVAL,
			"pattern.hot_percent, hot_share_percent: 1 to 99 and 0 to 100 expected");
	if (p->kind == SIM_SPARSE && (p->stride == 0 || p->stride > c->pages_per_vcpu))
		return err_set(err, -EINVAL, "pattern.stride: 1 to pages_per_vcpu expected");
	if (!isfinite(p->think_ns) || p->think_ns < 0)
		return err_set(err, -EINVAL, "pattern.think_ns: a time expected");
	if (p->kind == SIM_TRACE && (c->mode != SIM_RUN || p->trace_path[0] == '\0' || c->overlap))
		return err_set(err, -EINVAL,
			       "pattern trace: wants mode run, a trace and no overlap");
	return 0;
}

static int check_mode(const struct sim_config *c, struct err *err)
{
	if (!sim_mode_name(c->mode))
		return err_set(err, -EINVAL, "mode: not one that the model knows");
	if (c->mode == SIM_PASSES) {
		if (c->iterations == 0 || c->iterations > SIM_MAX_STEPS)
			return err_set(err, -EINVAL, "iterations: 1 to %u expected", SIM_MAX_STEPS);
		return 0;
	}
	if (c->interval_ns == 0)
		return err_set(err, -EINVAL, "interval_ns: 0, a time expected");
	if (c->pattern.kind == SIM_TRACE)
		return 0;
	if (c->duration_ns == 0 || c->duration_ns / c->interval_ns > SIM_MAX_STEPS)
		return err_set(err, -EINVAL, "duration_ns: 1 to %u intervals expected",
			       SIM_MAX_STEPS);
	/* Or a vCPU's clock would stand still. */
	if (c->pattern.think_ns + c->costs.visit_ns < 0.01)
		return err_set(err, -EINVAL,
			       "mode run: a step must take time (think_ns, costs.visit_ns)");
	return 0;
}

static int check_size(const struct sim_config *c, struct err *err)
{
	if (c->vcpus == 0 || c->vcpus > SIM_MAX_VCPUS)
		return err_set(err, -EINVAL, "vcpus: %u, 1 to %u expected", c->vcpus,
			       SIM_MAX_VCPUS);
	if (c->pattern.kind == SIM_TRACE ?
		    c->pages_per_vcpu != 0 :
		    c->pages_per_vcpu == 0 ||
			    c->pages_per_vcpu > SIM_MAX_PAGES / (c->overlap ? 1 : c->vcpus))
		return err_set(err, -EINVAL,
			       "pages_per_vcpu: 1 to %llu pages in all expected, 0 with a trace",
			       (unsigned long long)SIM_MAX_PAGES);
	if (c->slots == 0 || c->slots > 32768)
		return err_set(err, -EINVAL, "slots: %u, 1 to 32768 expected", c->slots);
	if (c->clear_chunk_pages == 0 || c->clear_chunk_pages % 64 != 0)
		return err_set(err, -EINVAL, "clear_chunk_pages: a multiple of 64 expected");
	return 0;
}

int sim_config_check(const struct sim_config *c, struct err *err)
{
	int r = check_mechanism(c, err);

	if (r == 0)
		r = check_size(c, err);
	if (r == 0)
		r = check_pattern(c, err);
	if (r == 0)
		r = check_mode(c, err);
	for (unsigned int i = 0; r == 0 && i < sim_ncost_fields; i++) {
		double v = *sim_cost_field((struct sim_costs *)&c->costs, i);

		if (!isfinite(v) || v < 0 || v > 1e12)
			r = err_set(err, -EINVAL, "costs.%s: 0 to 1e12 ns expected",
				    sim_cost_fields[i].name);
	}
	if (r == 0 && c->costs.fault_hold_ns > c->costs.fault_ns)
		r = err_set(err, -EINVAL, "costs.fault_hold_ns is a part of fault_ns, but greater");
	return r;
}
