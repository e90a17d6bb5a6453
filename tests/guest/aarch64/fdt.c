/* SPDX-License-Identifier: Apache-2.0 */
#include "fdt.h"

#include <stddef.h>

#define FDT_MAGIC 0xd00dfeedu
#define FDT_HEADER_BYTES 40u
#define FDT_VERSION 17u
#define FDT_BEGIN_NODE 1u
#define FDT_END_NODE 2u
#define FDT_PROP 3u
#define FDT_NOP 4u
#define FDT_END 9u
#define DEPTH_MAX 16u

/* The nodes that say something to this guest. */
enum node { NODE_OTHER, NODE_ROOT, NODE_CHOSEN, NODE_MEMORY, NODE_CPUS, NODE_CPU };

struct level {
	enum node node;
	uint32_t address_cells, size_cells; /* of its children's reg */
};

struct reader {
	const uint8_t *structure, *strings;
	uint32_t structure_bytes, strings_bytes;
	uint32_t at; /* in the structure, at most structure_bytes */
	struct level levels[DEPTH_MAX];
	uint32_t depth; /* levels that are open */
	struct boot_info *boot;
	struct fdt_cpus *cpus;
};

struct property {
	const uint8_t *value;
	uint32_t len;
	uint32_t name; /* in the strings */
};

static uint32_t read_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A number of one or two cells. */
static uint64_t read_cells(const uint8_t *p, uint32_t cells)
{
	return cells == 2 ? (uint64_t)read_be32(p) << 32 | read_be32(p + 4) : read_be32(p);
}

/* The next n bytes of the structure, padded to whole words; NULL when it has not so many. */
static const uint8_t *take(struct reader *r, uint32_t n)
{
	const uint8_t *p = r->structure + r->at;
	uint32_t left = r->structure_bytes - r->at;

	if (n > left || ((n + 3) & ~3u) > left)
		return NULL;
	r->at += (n + 3) & ~3u;
	return p;
}

/* The next string of the structure. */
static const char *take_string(struct reader *r)
{
	uint32_t left = r->structure_bytes - r->at;

	for (uint32_t n = 0; n < left; n++)
		if (!r->structure[r->at + n])
			return (const char *)take(r, n + 1);
	return NULL;
}

static bool name_is(const struct reader *r, uint32_t name, const char *s)
{
	for (; name < r->strings_bytes && r->strings[name] == (uint8_t)*s; name++, s++)
		if (!*s)
			return true;
	return false;
}

/* `name`, or `name@...`, as the unit address of a node says nothing here. */
static bool node_is(const char *node, const char *name)
{
	while (*name && *node == *name) {
		node++;
		name++;
	}
	return !*name && (!*node || *node == '@');
}

static enum node node_kind(const struct reader *r, const char *name)
{
	enum node parent = r->depth ? r->levels[r->depth - 1].node : NODE_OTHER;

	if (!r->depth)
		return NODE_ROOT;
	if (parent == NODE_CPUS && node_is(name, "cpu"))
		return NODE_CPU;
	if (parent != NODE_ROOT)
		return NODE_OTHER;
	if (node_is(name, "chosen"))
		return NODE_CHOSEN;
	if (node_is(name, "memory"))
		return NODE_MEMORY;
	return node_is(name, "cpus") ? NODE_CPUS : NODE_OTHER;
}

static void read_bootargs(struct boot_info *boot, const struct property *p)
{
	uint32_t i;

	for (i = 0; i < p->len && i < CMDLINE_BYTES - 1 && p->value[i]; i++)
		boot->cmdline[i] = (char)p->value[i];
	boot->cmdline[i] = 0;
}

/* Pairs of address and size. */
static const char *read_memory(struct boot_info *boot, const struct property *p,
			       const struct level *parent)
{
	uint32_t cells = parent->address_cells + parent->size_cells;
	const uint8_t *at = p->value;

	if (!parent->address_cells || parent->address_cells > 2 || !parent->size_cells ||
	    parent->size_cells > 2)
		return "memory has addresses or sizes that are neither 32 nor 64 bits";
	for (uint32_t n = p->len / (4 * cells); n; n--, at += (size_t)4 * cells) {
		uint64_t start = read_cells(at, parent->address_cells);
		uint64_t size =
			read_cells(at + (size_t)4 * parent->address_cells, parent->size_cells);

		if (!size || start + size < start)
			continue;
		if (boot->ram_count == RAM_RANGES_MAX)
			break;
		boot->ram[boot->ram_count++] = (struct ram_range){ start, start + size };
	}
	return NULL;
}

static const char *read_cpu(struct fdt_cpus *cpus, const struct property *p,
			    const struct level *parent)
{
	if (!parent->address_cells || parent->address_cells > 2 ||
	    p->len < 4 * parent->address_cells)
		return "a CPU has a number that is neither 32 nor 64 bits";
	if (cpus->count < FDT_CPUS_MAX)
		cpus->mpidr[cpus->count++] = read_cells(p->value, parent->address_cells);
	return NULL;
}

/* A node's properties come before its children. */
static const char *read_property(struct reader *r, const struct property *p)
{
	struct level *own = &r->levels[r->depth - 1];
	const struct level *parent = r->depth > 1 ? own - 1 : own;

	if (p->len == 4 && name_is(r, p->name, "#address-cells"))
		own->address_cells = read_be32(p->value);
	else if (p->len == 4 && name_is(r, p->name, "#size-cells"))
		own->size_cells = read_be32(p->value);
	else if (own->node == NODE_CHOSEN && name_is(r, p->name, "bootargs"))
		read_bootargs(r->boot, p);
	else if (own->node == NODE_MEMORY && name_is(r, p->name, "reg"))
		return read_memory(r->boot, p, parent);
	else if (own->node == NODE_CPU && name_is(r, p->name, "reg"))
		return read_cpu(r->cpus, p, parent);
	return NULL;
}

static const char *take_node(struct reader *r)
{
	const char *name = take_string(r);

	if (!name)
		return "a node's name has no end";
	if (r->depth == DEPTH_MAX)
		return "its nodes are nested too deeply";
	/* What a node has that does not say (specification, 2.3.5). */
	r->levels[r->depth] = (struct level){ node_kind(r, name), 2, 1 };
	r->depth++;
	return NULL;
}

static const char *take_property(struct reader *r)
{
	const uint8_t *head = take(r, 8);
	struct property p;

	if (!head || !r->depth)
		return "a property is cut off or outside of all nodes";
	p.len = read_be32(head);
	p.name = read_be32(head + 4);
	p.value = take(r, p.len);
	if (!p.value)
		return "a property ends beyond the tree";
	return read_property(r, &p);
}

static const char *read_structure(struct reader *r)
{
	for (;;) {
		const uint8_t *token = take(r, 4);
		const char *why = NULL;

		if (!token)
			return "it has no end";
		switch (read_be32(token)) {
		case FDT_BEGIN_NODE:
			why = take_node(r);
			break;
		case FDT_END_NODE:
			if (!r->depth)
				return "a node ends that never began";
			r->depth--;
			break;
		case FDT_PROP:
			why = take_property(r);
			break;
		case FDT_NOP:
			break;
		case FDT_END:
			return r->depth ? "it ends within a node" : NULL;
		default:
			return "it holds a token that is none";
		}
		if (why)
			return why;
	}
}

const char *fdt_read(const void *blob, uint32_t limit, struct boot_info *ret,
		     struct fdt_cpus *ret_cpus)
{
	const uint8_t *b = blob;
	struct reader r = { .boot = ret, .cpus = ret_cpus };
	uint32_t total, structure, strings;
	const char *why;

	ret->cmdline[0] = 0;
	ret->ram_count = 0;
	ret_cpus->count = 0;
	if (limit < FDT_HEADER_BYTES || read_be32(b) != FDT_MAGIC)
		return "not one";
	total = read_be32(b + 4);
	structure = read_be32(b + 8);
	strings = read_be32(b + 12);
	r.strings_bytes = read_be32(b + 32);
	r.structure_bytes = read_be32(b + 36);
	if (read_be32(b + 20) < FDT_VERSION)
		return "its version is below 17";
	if (total > limit || structure > total || r.structure_bytes > total - structure ||
	    strings > total || r.strings_bytes > total - strings)
		return "its parts are not within it";
	r.structure = b + structure;
	r.strings = b + strings;
	why = read_structure(&r);
	if (!why && !ret->ram_count)
		why = "it has no memory";
	return why;
}
