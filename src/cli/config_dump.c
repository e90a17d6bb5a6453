/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "config_file.h"
#include "device_keys.h"
#include "options.h"

/* Members that were not asked for are not there. Each returns negative when memory ran out. */
static int put_text(json_t *o, const char *key, const char *text)
{
	return text && *text ? json_object_set_new(o, key, json_string(text)) : 0;
}

static int put_number(json_t *o, const char *key, uint64_t n)
{
	return n ? json_object_set_new(o, key, json_integer((json_int_t)n)) : 0;
}

static int put_flag(json_t *o, const char *key, bool on)
{
	return on ? json_object_set_new(o, key, json_true()) : 0;
}

static int put_mac(json_t *o, const char *key, const uint8_t mac[6])
{
	static const uint8_t none[6];
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	return memcmp(mac, none, sizeof(none)) ? put_text(o, key, text) : 0;
}

static int put_key(json_t *o, const struct device_key *key, const struct machine_device *dev)
{
	const void *at = (const char *)dev + key->offset;

	switch (key->type) {
	case KEY_TEXT:
		return put_text(o, key->json, at);
	case KEY_FLAG:
		return put_flag(o, key->json, *(const bool *)at);
	case KEY_COUNT:
		return put_number(o, key->json, *(const uint32_t *)at);
	case KEY_NUMBER:
	case KEY_SIZE:
	case KEY_RATE:
		return put_number(o, key->json, *(const uint64_t *)at);
	case KEY_MAC:
		return put_mac(o, key->json, at);
	}
	return 0;
}

static json_t *device_json(const struct machine_device *dev)
{
	const struct device_keys *keys = device_keys(dev->kind);
	json_t *o = json_object();

	for (size_t i = 0; o && i < keys->nkeys; i++) {
		if (put_key(o, &keys->key[i], dev) < 0) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

static int put_devices(json_t *root, const struct machine_devices *d)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < d->n; i++) {
		const struct device_keys *keys = device_keys(d->dev[i].kind);
		json_t *dev = device_json(&d->dev[i]);
		json_t *list = json_object_get(root, keys->json);

		if (keys->list && !list) {
			list = json_array();
			rc = json_object_set_new(root, keys->json, list);
		}
		if (!rc)
			rc = keys->list ? json_array_append_new(list, dev) :
					  json_object_set_new(root, keys->json, dev);
	}
	return rc;
}

static int put_group(json_t *root, const char *key, json_t *group)
{
	if (!group || json_object_size(group))
		return json_object_set_new(root, key, group);
	json_decref(group);
	return 0;
}

static json_t *cpus_json(const struct machine_config *c)
{
	json_t *o = json_object();

	if (put_number(o, "boot_vcpus", c->ncpus) || put_text(o, "pin", c->pin)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static json_t *memory_json(const struct machine_config *c)
{
	json_t *o = json_object();
	int rc = put_number(o, "size", c->ram_bytes);

	if (c->backing == GMEM_HUGETLB)
		rc |= put_number(o, "hugepage_size", c->hugepage_bytes);
	else
		rc |= json_object_set_new(o, "thp", json_boolean(c->backing == GMEM_THP));
	if (rc) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static json_t *payload_json(const struct machine_config *c)
{
	json_t *o = json_object();

	if (put_text(o, "kernel", c->kernel_path) || put_text(o, "initramfs", c->initrd_path) ||
	    put_text(o, "cmdline", c->cmdline)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* The options' own texts: "ring,entries=4096", "on,group=all". */
static int put_tracking(json_t *root, const struct machine_config *c)
{
	char dirty[40], accel[40];
	int n = snprintf(dirty, sizeof(dirty), "%s", dirty_kind_name(c->dirty));

	if (c->dirty == DIRTY_RING)
		snprintf(dirty + n, sizeof(dirty) - (size_t)n, ",entries=%u", c->ring_entries);
	n = snprintf(accel, sizeof(accel), "%s", dirty_accel_mode_name(c->dirty_accel.mode));
	if (c->dirty_accel.group_pages == DIRTY_GROUP_ALL)
		snprintf(accel + n, sizeof(accel) - (size_t)n, ",group=all");
	else if (c->dirty_accel.group_pages)
		snprintf(accel + n, sizeof(accel) - (size_t)n, ",group=%u",
			 c->dirty_accel.group_pages);
	return put_text(root, "dirty", dirty) | put_text(root, "dirty_accel", accel);
}

json_t *config_dump(const struct vm_options *o)
{
	const struct machine_config *c = &o->config;
	json_t *root = json_object();
	int rc = o->named ? put_text(root, "name", c->name) : 0;

	rc |= put_group(root, "cpus", cpus_json(c));
	rc |= put_group(root, "memory", memory_json(c));
	rc |= put_group(root, "payload", payload_json(c));
	rc |= put_group(root, "serial",
			json_pack("{s:s}", "backend", c->console ? c->console : "stdio"));
	rc |= put_tracking(root, c);
	rc |= put_flag(root, "paused", c->paused);
	if (o->devices.n)
		rc |= put_text(root, "transport", o->devices.mmio ? "mmio" : "pci");
	rc |= put_devices(root, &o->devices);
	if (rc) {
		json_decref(root);
		return NULL;
	}
	return root;
}
