/* SPDX-License-Identifier: Apache-2.0 */
/* A peer's cpu model: what is accepted encodes to the same again, and comparing and spreading it over vCPUs stays inside the tables. */
#include <stdlib.h>
#include <string.h>

#include "vmm/arch/x86_64/cpu_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void use(const struct cpu_model *m)
{
	struct cpuid_table *t = malloc(sizeof(*t));
	struct cpu_model *host = malloc(sizeof(*host));
	struct err err = { 0 };
	bool scale;

	if (!t || !host)
		abort();
	for (unsigned int cpu = 0; cpu < 64; cpu += 21) {
		cpuid_for_vcpu(&m->cpuid, 64, cpu, t);
		if (t->nentries > CPUID_MAX_ENTRIES)
			abort();
	}
	/* A model is compatible with itself unless it contradicts itself, which has a reason. */
	cpu_model_guest_default(m, host);
	if (cpu_model_check(m, host, &err) && !err.code)
		abort();
	if (cpu_model_check_tsc(m->tsc_khz, 2600000, false, &scale, &err) && !err.code)
		abort();
	free(t);
	free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct cpu_model *m = calloc(1, sizeof(*m));
	struct cpu_model *again = calloc(1, sizeof(*again));
	struct err err = { 0 };
	struct buf out = { 0 };

	if (!m || !again)
		abort();
	if (!cpu_model_decode(data, len_bytes, m, &err)) {
		use(m);
		if (cpu_model_encode(m, &out, &err) ||
		    cpu_model_decode(out.data, out.len_bytes, again, &err) ||
		    memcmp(m, again, sizeof(*m)))
			abort();
	} else if (!err.code) {
		abort();
	}
	buf_fini(&out);
	free(again);
	free(m);
	return 0;
}
