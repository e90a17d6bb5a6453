/* SPDX-License-Identifier: Apache-2.0 */
#include "devices_json.h"

#include "base/num.h"
#include "shape.h"

#define DEVICE(json_name, json_kind, member)                           \
	{                                                              \
		.name = (json_name), .kind = (json_kind),              \
		.offset = offsetof(struct machine_device_info, member) \
	}
static const struct shape_field device_fields[] = {
	DEVICE("kind", SHAPE_STRING, kind),
	DEVICE("id", SHAPE_CHARS, id),
	DEVICE("local", SHAPE_CHARS, local),
	DEVICE("slot", SHAPE_U32, slot),
};
_Static_assert(sizeof(unsigned int) == sizeof(uint32_t), "slot is encoded as 32 bits");

#define PORT(json_name, member)                                      \
	{                                                            \
		.name = (json_name), .kind = SHAPE_CHARS,            \
		.offset = offsetof(struct machine_port_info, member) \
	}
static const struct shape_field port_fields[] = {
	PORT("id", id),
	PORT("name", name),
	PORT("local", local),
};

/* Empty for what is no console. */
static json_t *ports_json(struct machine *m, unsigned int device)
{
	json_t *list = json_array();
	struct machine_port_info info;

	for (unsigned int i = 0; list && !machine_device_port(m, device, i, &info); i++) {
		if (json_array_append_new(list, shape_encode(port_fields, ARRAY_LEN(port_fields),
							     &info))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static void add_counter(void *opaque, const char *name, uint64_t value)
{
	/* Without memory for it the counter is missing from the reply; nothing else depends on it. */
	(void)json_object_set_new(opaque, name,
				  json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
}

json_t *devices_json(struct machine *m)
{
	json_t *list = json_array();

	for (unsigned int i = 0; list; i++) {
		struct machine_device_info info;
		json_t *counters = json_object(), *o;
		int rc;

		if (machine_device_info(m, i, &info, add_counter, counters)) {
			json_decref(counters);
			break;
		}
		o = shape_encode(device_fields, ARRAY_LEN(device_fields), &info);
		rc = json_object_set_new(o, "transport", json_string(info.mmio ? "mmio" : "pci"));
		rc |= json_object_set_new(o, "ports", ports_json(m, i));
		rc |= json_object_set_new(o, "counters", counters);
		rc |= json_array_append_new(list, o);
		if (rc) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

#define STATS(json_name, json_kind, member)                      \
	{                                                        \
		.name = (json_name), .kind = (json_kind),        \
		.offset = offsetof(struct balloon_stats, member) \
	}
static const struct shape_field stats_fields[] = {
	STATS("swap_in_bytes", SHAPE_U64, swap_in),
	STATS("swap_out_bytes", SHAPE_U64, swap_out),
	STATS("free_bytes", SHAPE_U64, free_bytes),
	STATS("total_bytes", SHAPE_U64, total_bytes),
	STATS("available_bytes", SHAPE_U64, available_bytes),
	STATS("disk_caches_bytes", SHAPE_U64, disk_caches_bytes),
	STATS("major_faults", SHAPE_U64, major_faults),
	STATS("minor_faults", SHAPE_U64, minor_faults),
};

json_t *balloon_json(const struct balloon_stats *s)
{
	json_t *o = json_pack("{s:I, s:I, s:I}", "target_bytes",
			      (json_int_t)s->target_pages * GMEM_PAGE_SIZE, "actual_bytes",
			      (json_int_t)s->actual_pages * GMEM_PAGE_SIZE, "reported_bytes",
			      (json_int_t)MIN(s->reported_bytes, (uint64_t)INT64_MAX));
	json_t *guest =
		s->known ? shape_encode(stats_fields, ARRAY_LEN(stats_fields), s) : json_null();

	if (json_object_set_new(o, "guest", guest)) {
		json_decref(o);
		return NULL;
	}
	return o;
}
