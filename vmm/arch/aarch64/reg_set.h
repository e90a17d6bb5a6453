/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_REG_SET_H
#define VMM_ARCH_AARCH64_REG_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * Registers as they travel (docs/spec/state.md, "arm64"): records of a u64 id and a value of as many bytes as the id says (4 to 256), ids strictly ascending. Pure.
 */
#define REG_SET_MAX 1024u
#define REG_SET_BYTES 32768u

struct reg_set {
	uint32_t len_bytes;
	uint8_t data[REG_SET_BYTES] __attribute__((aligned(8)));
};

struct reg_record {
	uint64_t id;
	uint32_t len_bytes;
	const uint8_t *value; /* into the set */
};

/* Appends a register; ids in ascending order. -E2BIG when the set is full. */
int reg_set_add(struct reg_set *set, uint64_t id, const void *value, struct err *err);

static inline struct reader reg_set_reader(const struct reg_set *set)
{
	return reader_over(set->data, set->len_bytes);
}
/* False at the end, and where the rest is no whole record (then in->failed, or bytes are left). */
bool reg_set_next(struct reader *in, struct reg_record *ret);

/* Whole records, ascending, at most REG_SET_MAX, and each of an allowed class: @classes is a mask of 1 << enum arm64_reg_class. -EINVAL with the register named. */
int reg_set_check(const struct reg_set *set, unsigned int classes, struct err *err);

/* The value of register @id in a well-formed set; NULL: not in it. */
const uint8_t *reg_set_find(const struct reg_set *set, uint64_t id);

/* A register's first eight bytes (its low half where it is longer) as a number. */
uint64_t reg_value(const struct reg_record *r);

/* Ids only; sorted, as the records are. */
struct reg_list {
	uint32_t n;
	uint64_t id[REG_SET_MAX];
};

/*
 * Has this host (@host) the same registers as the source? -EOPNOTSUPP with the first that either lacks; what newer kernels list and older ones do not may be missing on
 * the source (arm64_reg_may_be_new).
 */
int reg_list_check(const struct reg_list *source, const struct reg_list *host, struct err *err);
/* The same for a set's ids. */
void reg_set_ids(const struct reg_set *set, struct reg_list *ret);

#endif
