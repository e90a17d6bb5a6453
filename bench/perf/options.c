/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "tiny_guest.h"
#include "vmm/dirty.h"
#include "vmm/vm.h"

#define MIB2 (2ULL << 20)
#define GIB1 (1ULL << 30)
#define TEST_GPA (4ULL << 30) /* above the hole that x86 has for its devices */

const char perf_usage[] =
	"usage: dirty-log-perf [options]\n"
	"  -b SIZE   bytes of memory that each vCPU dirties (1G)\n"
	"  -v N      vCPUs (1)\n"
	"  -i N      iterations with dirty logging on (2)\n"
	"  -s TYPE   backing: anonymous, anonymous_thp, anonymous_hugetlb, anonymous_hugetlb_2mb, anonymous_hugetlb_1gb (anonymous)\n"
	"  -w N      percentage of accesses that write, the others read (100)\n"
	"  -a        access pages in random order instead of one after the other\n"
	"  -r SEED   of the random numbers (1)\n"
	"  -x N      cut the memory into this many memslots (1)\n"
	"  -o        overlap: every vCPU accesses all of the memory, not a part of its own\n"
	"  -g        do not use KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: the default list of backends without manual\n"
	"  -m MODE   guest mode: " PERF_MODE " (64-bit, pages of 4 KiB) is the one there is\n"
	"  -c LIST   vCPU i runs on the i-th host CPU of the list\n"
	"  -B LIST   backends: bitmap, manual, ring, ring,entries=N, uffd (all that the host has)\n"
	"  --dirty-accel auto|on|off   hardware beneath the backends (auto); on: those that have none do not run. arm64: on,group=N\n"
	"  --json-lines   one JSON object a backend instead of text\n"
	"  --timeout S    give up on a pass after so many seconds (600)\n";

static int bad(struct err *err, const char *option, const char *value, const char *expected)
{
	return err_set(err, -EINVAL, "%s %s: expected %s", option, value, expected);
}

static int parse_count(const char *option, const char *value, uint64_t min, uint64_t max,
		       uint64_t *ret, struct err *err)
{
	uint64_t n;

	if (num_parse_u64(value, &n) < 0 || n < min || n > max)
		return err_set(err, -EINVAL, "%s %s: expected a number from %llu to %llu", option,
			       value, (unsigned long long)min, (unsigned long long)max);
	*ret = n;
	return 0;
}

static int parse_backing(const char *value, struct perf_options *o, struct err *err)
{
	static const struct {
		const char *name;
		enum gmem_backing backing;
		uint64_t hugepage_bytes;
	} known[] = {
		{ "anonymous", GMEM_4K, 0 },
		{ "anonymous_thp", GMEM_THP, 0 },
		{ "anonymous_hugetlb", GMEM_HUGETLB, MIB2 },
		{ "anonymous_hugetlb_2mb", GMEM_HUGETLB, MIB2 },
		{ "anonymous_hugetlb_1gb", GMEM_HUGETLB, GIB1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(value, known[i].name) == 0) {
			o->backing_name = known[i].name;
			o->backing = known[i].backing;
			o->hugepage_bytes = known[i].hugepage_bytes;
			return 0;
		}
	}
	return bad(
		err, "-s", value,
		"anonymous, anonymous_thp, anonymous_hugetlb, anonymous_hugetlb_2mb or anonymous_hugetlb_1gb");
}

static int add_backend(struct perf_options *o, const char *name, size_t len, struct err *err)
{
	if (o->nbackends == PERF_MAX_BACKENDS || len >= sizeof(o->backend[0]))
		return err_set(err, -EINVAL, "-B: expected at most %d backends with short names",
			       PERF_MAX_BACKENDS);
	memcpy(o->backend[o->nbackends], name, len);
	o->backend[o->nbackends++][len] = '\0';
	return 0;
}

/* "ring,entries=N" has a comma of its own. */
static int parse_backends(const char *value, struct perf_options *o, struct err *err)
{
	static const char entries[] = ",entries=";
	const char *at = value;
	int r = 0;

	o->backends_asked = true;
	while (r == 0) {
		size_t len = strcspn(at, ",");

		if (strncmp(at + len, entries, sizeof(entries) - 1) == 0)
			len += 1 + strcspn(at + len + 1, ",");
		r = add_backend(o, at, len, err);
		if (at[len] == '\0')
			break;
		at += len + 1;
	}
	for (unsigned int i = 0; r == 0 && i < o->nbackends; i++) {
		enum dirty_kind kind;
		uint32_t ring_entries;

		r = dirty_parse(o->backend[i], &kind, &ring_entries, err);
		if (r == 0 && kind == DIRTY_AUTO)
			r = bad(err, "-B", "auto", "backends by name");
	}
	return r;
}

static int default_backends(struct perf_options *o, bool no_manual, struct err *err)
{
	static const char *const all[] = { "bitmap", "manual", "ring", "uffd" };

	for (unsigned int i = 0; o->backends_asked && i < o->nbackends; i++) {
		if (no_manual && strcmp(o->backend[i], "manual") == 0)
			return err_set(err, -EINVAL,
				       "-g: excludes the manual backend that -B names");
	}
	for (size_t i = 0; !o->backends_asked && i < ARRAY_LEN(all); i++) {
		enum dirty_kind kind;
		uint32_t entries;
		int r;

		if ((no_manual && strcmp(all[i], "manual") == 0) ||
		    dirty_parse(all[i], &kind, &entries, NULL) < 0)
			continue;
		r = add_backend(o, all[i], strlen(all[i]), err);
		if (r < 0)
			return r;
	}
	return 0;
}

enum long_option { OPTION_JSON_LINES = 256, OPTION_TIMEOUT, OPTION_ACCEL };

static int take_number(int c, const char *value, struct perf_options *o, struct err *err)
{
	const char name[] = { '-', (char)c, '\0' };
	uint64_t n = 0;
	int r;

	switch (c) {
	case 'v':
		r = parse_count(name, value, 1, VM_MAX_VCPUS, &n, err);
		o->vcpus = (unsigned int)n;
		return r;
	case 'i':
		r = parse_count(name, value, 1, PERF_MAX_ITERATIONS, &n, err);
		o->iterations = (unsigned int)n;
		return r;
	case 'w':
		r = parse_count(name, value, 0, 100, &n, err);
		o->write_percent = (unsigned int)n;
		return r;
	case 'x':
		r = parse_count(name, value, 1, PERF_MAX_SLOTS, &n, err);
		o->slots = (unsigned int)n;
		return r;
	case 'r':
		return parse_count(name, value, 0, UINT64_MAX, &o->seed, err);
	default:
		r = parse_count("--timeout", value, 1, 86400, &n, err);
		o->timeout_ns = n * NS_PER_S;
		return r;
	}
}

static int take(int c, const char *value, struct perf_options *o, bool *no_manual, struct err *err)
{
	switch (c) {
	case 'b':
		if (num_parse_size(value, &o->bytes_per_vcpu) < 0 || o->bytes_per_vcpu == 0 ||
		    o->bytes_per_vcpu > GMEM_MAX_BYTES / VM_MAX_VCPUS)
			return bad(err, "-b", value, "a size such as 512M");
		return 0;
	case 's':
		return parse_backing(value, o, err);
	case 'B':
		return parse_backends(value, o, err);
	case 'm':
		if (strcmp(value, PERF_MODE) != 0)
			return bad(
				err, "-m", value,
				PERF_MODE
				", the one guest mode there is (numbers of modes differ between kernels)");
		return 0;
	case 'a':
		o->random_order = true;
		return 0;
	case 'o':
		o->overlap = true;
		return 0;
	case 'g':
		*no_manual = true;
		return 0;
	case 'c':
		o->pin = value;
		return 0;
	case OPTION_ACCEL:
		return dirty_accel_parse(value, &o->accel, err);
	case OPTION_JSON_LINES:
		o->json_lines = true;
		return 0;
	default:
		return take_number(c, value, o, err);
	}
}

int perf_options_parse(int argc, char **argv, struct perf_options *ret,
		       enum perf_action *ret_action, struct err *err)
{
	static const struct option longs[] = {
		{ "json-lines", no_argument, NULL, OPTION_JSON_LINES },
		{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
		{ "dirty-accel", required_argument, NULL, OPTION_ACCEL },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct perf_options o = { .bytes_per_vcpu = GIB1,
				  .vcpus = 1,
				  .iterations = 2,
				  .backing_name = "anonymous",
				  .backing = GMEM_4K,
				  .write_percent = 100,
				  .seed = 1,
				  .slots = 1,
				  .timeout_ns = 600 * NS_PER_S };
	struct gmem_config mem;
	bool no_manual = false;
	int c, r;

	opterr = 0;
	optind = 0; /* glibc: begin anew, whatever an earlier call left */
	while ((c = getopt_long(argc, argv, ":b:v:i:s:w:ar:x:ogm:c:B:h", longs, NULL)) != -1) {
		if (c == 'h') {
			*ret_action = PERF_HELP;
			return 0;
		}
		if (c == '?')
			return err_set(err, -EINVAL, "%s: no such option; --help names them",
				       argv[optind - 1]);
		if (c == ':')
			return err_set(err, -EINVAL, "%s: expected a value", argv[optind - 1]);
		r = take(c, optarg, &o, &no_manual, err);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return err_set(err, -EINVAL, "%s: expected options only", argv[optind]);
	r = default_backends(&o, no_manual, err);
	if (r == 0)
		r = perf_memory(&o, &mem, err);
	if (r < 0)
		return r;
	*ret = o;
	*ret_action = PERF_RUN;
	return 0;
}

int perf_memory(const struct perf_options *o, struct gmem_config *ret, struct err *err)
{
	struct gmem_config mem = { .backing = o->backing,
				   .hugepage_bytes = o->hugepage_bytes,
				   .nregions = 1 + o->slots };
	uint64_t align = MAX(MIB2, o->hugepage_bytes);
	uint64_t slot_bytes = perf_bytes(o) / o->slots;

	if (perf_bytes(o) % o->slots != 0 || slot_bytes % align != 0)
		return err_set(
			err, -EINVAL,
			"-b, -v, -x: %llu bytes in %u slots: expected a multiple of %llu MiB in each",
			(unsigned long long)perf_bytes(o), o->slots,
			(unsigned long long)(align >> 20));
	if (perf_bytes(o) > TINY_MAX_RAM_BYTES - align)
		return err_set(err, -EINVAL, "-b, -v: expected less than %llu GiB in all",
			       (unsigned long long)(TINY_MAX_RAM_BYTES >> 30));
	if (o->bytes_per_vcpu % GMEM_PAGE_SIZE != 0)
		return err_set(err, -EINVAL, "-b: expected a multiple of %u", GMEM_PAGE_SIZE);
	mem.region[0] = (struct gmem_region){ .gpa = 0, .len_bytes = align };
	for (unsigned int i = 0; i < o->slots; i++)
		mem.region[1 + i] = (struct gmem_region){ .gpa = TEST_GPA + i * slot_bytes,
							  .len_bytes = slot_bytes };
	*ret = mem;
	return 0;
}
