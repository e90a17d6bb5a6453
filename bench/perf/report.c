/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/clock.h"

#define GIB ((double)(1ULL << 30))

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *options_json(const struct perf_options *o)
{
	return json_pack("{s:o, s:i, s:i, s:s, s:i, s:b, s:i, s:b, s:o, s:s}", "bytes_per_vcpu",
			 count(o->bytes_per_vcpu), "vcpus", (int)o->vcpus, "iterations",
			 (int)o->iterations, "backing", o->backing_name, "write_percent",
			 (int)o->write_percent, "random", o->random_order, "slots", (int)o->slots,
			 "overlap", o->overlap, "seed", count(o->seed), "mode", PERF_MODE);
}

static json_t *iterations_json(const struct perf_result *r)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < r->niterations; i++) {
		const struct perf_iteration *it = &r->iteration[i];
		json_t *item = json_object();

		json_object_set_new(item, "dirty_memory_ns", count(it->dirty_ns));
		json_object_set_new(item, "get_dirty_log_ns", count(it->get_ns));
		json_object_set_new(item, "clear_dirty_log_ns",
				    r->split_rearm ? count(it->clear_ns) : json_null());
		json_object_set_new(item, "pages_written", count(it->written));
		json_object_set_new(item, "pages_found", count(it->found));
		json_object_set_new(item, "pages_missed", count(it->missed));
		json_object_set_new(item, "pages_extra", count(it->extra));
		json_object_set_new(item, "setup_pages_found", count(it->setup));
		if (r->no_counters[0] == '\0')
			json_object_set_new(item, "exits", count(it->exits.exits));
		if (r->no_counters[0] == '\0' && it->exits.faults_known)
			json_object_set_new(item, "page_faults", count(it->exits.faults));
		json_array_append_new(list, item);
	}
	return list;
}

/* How often the calls of a phase went over the whole memory. */
static unsigned int passes_of(const struct perf_result *r, enum calls_phase phase)
{
	return phase == CALLS_ENABLE || phase == CALLS_DISABLE ? 1 : r->niterations;
}

static json_t *calls_json(const struct perf_options *o, const struct perf_result *r)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < r->ncalls; i++) {
		const struct calls_item *c = &r->call[i];
		unsigned int passes = passes_of(r, c->phase);
		double gib = (double)perf_bytes(o) / GIB * passes;

		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o, s:i, s:f}", "call",
						      c->call, "phase", calls_phase_name(c->phase),
						      "count", count(c->count), "ns", count(c->ns),
						      "passes", (int)passes, "ns_per_gib",
						      gib > 0 ? (double)c->ns / gib : 0.0));
	}
	return list;
}

static void add_counters(json_t *line, const struct perf_result *r)
{
	json_t *all = json_object(), *vcpus = json_array();

	for (unsigned int i = 0; i < r->counters.n; i++)
		json_object_set_new(all, r->counters.item[i].name,
				    count(r->counters.item[i].value));
	for (unsigned int i = 0; i < r->counters.nvcpus; i++)
		json_array_append_new(
			vcpus, json_pack("{s:o, s:o}", "exits", count(r->counters.vcpu[i].exits),
					 "page_faults", count(r->counters.vcpu[i].faults)));
	json_object_set_new(line, "counters", all);
	json_object_set_new(line, "vcpus", vcpus);
	if (r->no_counters[0])
		json_object_set_new(line, "no_counters", json_string(r->no_counters));
}

static int print_line(FILE *out, json_t *line)
{
	int r = line ? json_dumpf(line, out, JSON_COMPACT | JSON_PRESERVE_ORDER) : -1;

	json_decref(line);
	if (r < 0)
		return -ENOMEM;
	fputc('\n', out);
	fflush(out);
	return 0;
}

/* What every line begins with. */
static json_t *head(const struct perf_host *h, const char *backend, const struct dirty_accel *accel)
{
	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s}", "bench",
			 "dirty-log-perf", "version", 1, "backend", backend, "accel_asked",
			 dirty_accel_mode_name(accel->asked), "accel", accel->name, "accel_reason",
			 accel->reason, "machine", h->machine, "cpus", (int)h->cpus, "kernel",
			 h->kernel, "kvm_module", h->kvm_module);
}

int report_json(FILE *out, const struct perf_host *h, const struct perf_options *o,
		const struct perf_result *r)
{
	json_t *line = head(h, r->backend, &r->accel);

	if (!line)
		return -ENOMEM;
	json_object_set_new(line, "ring_entries",
			    r->ring_entries ? count(r->ring_entries) : json_null());
	json_object_set_new(line, "options", options_json(o));
	json_object_set_new(line, "starts_full", json_boolean(r->starts_full));
	json_object_set_new(line, "populate_memory_ns", count(r->populate_ns));
	json_object_set_new(line, "unlogged_memory_ns", count(r->unlogged_ns));
	if (r->no_counters[0] == '\0')
		json_object_set_new(line, "unlogged_exits", count(r->unlogged_exits.exits));
	json_object_set_new(line, "enable_dirty_logging_ns", count(r->enable_ns));
	json_object_set_new(line, "iterations", iterations_json(r));
	json_object_set_new(line, "disable_dirty_logging_ns", count(r->disable_ns));
	json_object_set_new(line, "ring_full_exits", count(r->ring_full_exits));
	json_object_set_new(line, "calls", calls_json(o, r));
	add_counters(line, r);
	return print_line(out, line);
}

int report_json_skipped(FILE *out, const struct perf_host *h, const struct perf_options *o,
			const char *backend, const char *why)
{
	struct dirty_accel none = { .asked = o->accel.mode,
				    .name = "none",
				    .reason = "did not run" };
	json_t *line = head(h, backend, &none);

	if (line)
		json_object_set_new(line, "skipped", json_string(why));
	return print_line(out, line);
}

/* ---- text ---- */

static void print_time(FILE *out, const char *what, uint64_t ns)
{
	fprintf(out, "%s: %" PRIu64 ".%09" PRIu64 "s\n", what, (uint64_t)(ns / NS_PER_S),
		(uint64_t)(ns % NS_PER_S));
}

static void print_iteration_time(FILE *out, unsigned int iteration, const char *what, uint64_t ns)
{
	char text[64];

	snprintf(text, sizeof(text), "Iteration %u %s", iteration, what);
	print_time(out, text, ns);
}

static void print_average(FILE *out, const char *what, uint64_t ns, unsigned int n)
{
	fprintf(out, "%s over %u iterations took %.9fs. (Avg %.9fs/iteration)\n", what, n,
		(double)ns / NS_PER_S, n ? (double)ns / NS_PER_S / n : 0.0);
}

static void print_iteration(FILE *out, const struct perf_result *r, unsigned int i)
{
	const struct perf_iteration *it = &r->iteration[i];

	print_iteration_time(out, i + 1, "dirty memory time", it->dirty_ns);
	print_iteration_time(out, i + 1, "get dirty log time", it->get_ns);
	if (r->split_rearm)
		print_iteration_time(out, i + 1, "clear dirty log time", it->clear_ns);
	fprintf(out,
		"Iteration %u pages: %" PRIu64 " written, %" PRIu64 " found, %" PRIu64
		" missed, %" PRIu64 " not written, %" PRIu64 " of the guest's own\n",
		i + 1, it->written, it->found, it->missed, it->extra, it->setup);
	if (r->no_counters[0] == '\0' && it->written > 0)
		fprintf(out, "Iteration %u exits: %" PRIu64 ", %.5f a dirtied page\n", i + 1,
			it->exits.exits, (double)it->exits.exits / (double)it->written);
}

void report_text(FILE *out, const struct perf_options *o, const struct perf_result *r)
{
	struct perf_iteration sum = { 0 };

	fprintf(out, "Backend: %s\nTest iterations: %u\nTesting guest mode: " PERF_MODE "\n",
		r->backend, r->niterations);
	if (r->ring_entries > 0)
		fprintf(out, "Ring: %u entries\n", r->ring_entries);
	fprintf(out, "Hardware: %s (asked for: %s): %s\n", r->accel.name,
		dirty_accel_mode_name(r->accel.asked), r->accel.reason);
	fprintf(out, "Test memory: %u x %" PRIu64 " MiB, %s, %u slots, %u %% writes, %s%s\n",
		o->vcpus, o->bytes_per_vcpu >> 20, o->backing_name, o->slots, o->write_percent,
		o->random_order ? "random" : "sequential", o->overlap ? ", overlapping" : "");
	print_time(out, "Populate memory time", r->populate_ns);
	print_time(out, "Dirty memory time without logging", r->unlogged_ns);
	print_time(out, "Enabling dirty logging time", r->enable_ns);
	for (unsigned int i = 0; i < r->niterations; i++) {
		print_iteration(out, r, i);
		sum.dirty_ns += r->iteration[i].dirty_ns;
		sum.get_ns += r->iteration[i].get_ns;
		sum.clear_ns += r->iteration[i].clear_ns;
	}
	print_time(out, "Disabling dirty logging time", r->disable_ns);
	print_average(out, "Dirty memory", sum.dirty_ns, r->niterations);
	print_average(out, "Get dirty log", sum.get_ns, r->niterations);
	if (r->split_rearm)
		print_average(out, "Clear dirty log", sum.clear_ns, r->niterations);
	for (unsigned int i = 0; i < r->ncalls; i++) {
		const struct calls_item *c = &r->call[i];
		double gib = (double)perf_bytes(o) / GIB * passes_of(r, c->phase);

		fprintf(out, "%s (%s): %" PRIu64 " calls, %.6f ms/GiB\n", c->call,
			calls_phase_name(c->phase), c->count, (double)c->ns / gib / NS_PER_MS);
	}
	if (r->no_counters[0])
		fprintf(out, "No exits: %s\n", r->no_counters);
	fputc('\n', out);
	fflush(out);
}
