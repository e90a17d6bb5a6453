/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_DEVICE_KEYS_H
#define CLI_DEVICE_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "machine/devices.h"

/*
 * What one may say of a device: one table for the options' suboptions (`--disk PATH,ro,queues=2`) and for the objects of a configuration file (docs/spec/vm-config.schema.json).
 * Both give a key's value as text to the same parser. Pure.
 */
enum device_key_type {
	KEY_TEXT, /* char[size] */
	KEY_FLAG, /* bool: "on", "off"; in a suboption the key alone is on */
	KEY_COUNT, /* uint32_t within [min, max] */
	KEY_NUMBER, /* uint64_t */
	KEY_SIZE, /* uint64_t, bytes as in 512M */
	KEY_RATE, /* uint64_t, bytes a second as in 100MB/s */
	KEY_MAC, /* uint8_t[6] */
};

struct device_key {
	const char *name; /* in a suboption */
	const char *json; /* in a file */
	size_t offset; /* in struct machine_device */
	size_t size; /* TEXT: of the array */
	uint64_t min, max; /* COUNT */
	enum device_key_type type;
	bool first; /* the first suboption may leave the name out */
	bool required;
	bool here; /* it belongs to the host, not the VM: `receive` takes it too */
};

struct device_keys {
	const char *json; /* in a file: "disks" */
	bool list; /* there it is an array */
	bool optional; /* the option may come without a value */
	const char *arg; /* for --help */
	const char *receive_arg; /* the same of `receive`; NULL: that has no such option */
	const char *help;
	const struct device_key *key;
	size_t nkeys;
};

const struct device_keys *device_keys(enum machine_device_kind kind);

/* -EINVAL with what was expected and what was given; neither option nor key is named. */
int device_key_set(const struct device_key *key, const char *text, struct machine_device *dev,
		   struct err *err);

/*
 * Takes apart "first,key=value,flag"; ",," is a comma within a value. @receive: only what names a device on this host, and its id. -EINVAL names the suboption and where in @text it
 * stands, from 1.
 */
int device_parse(enum machine_device_kind kind, const char *text, bool receive,
		 struct machine_device *ret, struct err *err);

#endif
