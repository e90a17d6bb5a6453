/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/genid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

struct genid {
	struct gmem *mem;
	uint64_t gpa;
	struct irq_pin changed;
};

int genid_create(struct gmem *mem, uint64_t gpa, const struct irq_pin *changed, struct genid **ret,
		 struct err *err)
{
	struct genid *g;

	if (!gmem_ptr(mem, gpa, GENID_BYTES))
		return err_set(err, -EFAULT, "generation ID: 0x%llx is not guest memory",
			       (unsigned long long)gpa);
	g = malloc(sizeof(*g));
	if (!g)
		return err_set(err, -ENOMEM, "generation ID: out of memory");
	*g = (struct genid){ .mem = mem, .gpa = gpa, .changed = *changed };
	*ret = g;
	return 0;
}

void genid_destroy(struct genid *g)
{
	free(g);
}

int genid_renew(struct genid *g, bool tell, struct err *err)
{
	uint8_t id[GENID_BYTES];
	int r;

	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return err_sys(err, -errno, "generation ID: getrandom");
	r = gmem_write(g->mem, g->gpa, id, sizeof(id));
	if (r < 0)
		return err_sys(err, r, "generation ID");
	if (!tell)
		return 0;
	/* The guest takes an edge. */
	g->changed.set(g->changed.opaque, g->changed.gsi, true);
	g->changed.set(g->changed.opaque, g->changed.gsi, false);
	return 0;
}
