/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/num.h"
#include "vmm/caps.h"

/* The value behind "@key : value" in /proc/cpuinfo; false where there is no such line. */
static bool cpuinfo(const char *key, char *ret, size_t ret_bytes)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (!colon || strncmp(line, key, strlen(key)) != 0)
			continue;
		colon += strspn(colon, ": \t");
		colon[strcspn(colon, "\n")] = '\0';
		snprintf(ret, ret_bytes, "%s", colon);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

static void name_machine(struct perf_host *h)
{
	struct utsname uts;
	char part[32];

	if (cpuinfo("model name", h->machine, sizeof(h->machine)))
		return;
	/* arm64's file has numbers alone. */
	snprintf(h->machine, sizeof(h->machine), "%s", uname(&uts) == 0 ? uts.machine : "unknown");
	if (cpuinfo("CPU part", part, sizeof(part)))
		snprintf(h->machine, sizeof(h->machine), "%.65s, CPU part %s", uts.machine, part);
}

int perf_host_probe(struct perf_host *ret, struct err *err)
{
	struct perf_host h = { .cpus = (unsigned int)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1) };
	struct caps *c = malloc(sizeof(*c));
	int r = c ? caps_probe(c, err) : err_set(err, -ENOMEM, "out of memory");

	if (r < 0) {
		free(c);
		return r;
	}
	name_machine(&h);
	snprintf(h.kernel, sizeof(h.kernel), "%s", c->kernel);
	snprintf(h.kvm_module, sizeof(h.kvm_module), "%s", c->kvm_module);
	free(c);
	*ret = h;
	return 0;
}
