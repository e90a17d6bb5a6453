/* SPDX-License-Identifier: Apache-2.0 */
#include "reg_set.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "sysreg.h"

int reg_set_add(struct reg_set *set, uint64_t id, const void *value, struct err *err)
{
	uint32_t len = arm64_reg_bytes(id);
	char name[ARM64_REG_NAME_MAX];

	if (!len)
		return err_set(err, -EINVAL, "%s: not of 4 to 256 bytes", arm64_reg_name(id, name));
	if (REG_SET_BYTES - set->len_bytes < sizeof(id) + len)
		return err_set(err, -E2BIG, "more registers than a section holds");
	le64_put(set->data + set->len_bytes, id);
	memcpy(set->data + set->len_bytes + sizeof(id), value, len);
	set->len_bytes += (uint32_t)sizeof(id) + len;
	return 0;
}

bool reg_set_next(struct reader *in, struct reg_record *ret)
{
	if (!reader_left(in))
		return false;
	ret->id = reader_u64(in);
	ret->len_bytes = arm64_reg_bytes(ret->id);
	if (!ret->len_bytes)
		in->failed = true;
	if (in->failed)
		return false;
	ret->value = reader_bytes(in, ret->len_bytes);
	return ret->value;
}

int reg_set_check(const struct reg_set *set, unsigned int classes, struct err *err)
{
	struct reader in = reg_set_reader(set);
	char name[ARM64_REG_NAME_MAX];
	struct reg_record r;
	uint64_t last = 0;
	uint32_t n = 0;

	while (reg_set_next(&in, &r)) {
		const char *reason;
		unsigned int class = arm64_reg_class(r.id, &reason);

		if (r.id <= last)
			return err_set(err, -EINVAL, "register %s comes twice or out of order",
				       arm64_reg_name(r.id, name));
		if (!(classes & 1u << class))
			return err_set(err, -EINVAL, "register %s does not belong here (%s)",
				       arm64_reg_name(r.id, name),
				       reason ? reason : "it is a vCPU's state");
		if (++n > REG_SET_MAX)
			return err_set(err, -EINVAL, "more than %u registers", REG_SET_MAX);
		last = r.id;
	}
	if (in.failed)
		return err_set(err, -EINVAL, "register %u is cut off or no register of arm64", n);
	return 0;
}

const uint8_t *reg_set_find(const struct reg_set *set, uint64_t id)
{
	struct reader in = reg_set_reader(set);
	struct reg_record r;

	while (reg_set_next(&in, &r)) {
		if (r.id == id)
			return r.value;
	}
	return NULL;
}

uint64_t reg_value(const struct reg_record *r)
{
	return r->len_bytes < 8 ? le32_get(r->value) : le64_get(r->value);
}

int reg_list_check(const struct reg_list *source, const struct reg_list *host, struct err *err)
{
	char name[ARM64_REG_NAME_MAX];
	uint32_t s = 0, h = 0;

	while (s < source->n || h < host->n) {
		bool source_first = h == host->n || (s < source->n && source->id[s] < host->id[h]);

		if (source_first)
			return err_set(err, -EOPNOTSUPP,
				       "the guest has register %s, which this host's KVM lacks",
				       arm64_reg_name(source->id[s], name));
		if (s < source->n && source->id[s] == host->id[h])
			s++;
		else if (!arm64_reg_may_be_new(host->id[h]))
			return err_set(
				err, -EOPNOTSUPP,
				"this host's KVM has register %s, which the guest does not have",
				arm64_reg_name(host->id[h], name));
		h++;
	}
	return 0;
}

void reg_set_ids(const struct reg_set *set, struct reg_list *ret)
{
	struct reader in = reg_set_reader(set);
	struct reg_record r;

	ret->n = 0;
	while (ret->n < REG_SET_MAX && reg_set_next(&in, &r))
		ret->id[ret->n++] = r.id;
}
