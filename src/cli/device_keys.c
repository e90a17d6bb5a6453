/* SPDX-License-Identifier: Apache-2.0 */
#include "device_keys.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/num.h"

#define AT(member) .offset = offsetof(struct machine_device, member)
#define TEXT(member) \
	.type = KEY_TEXT, AT(member), .size = sizeof(((struct machine_device *)0)->member)
#define KEY_ID                                                                           \
	{                                                                                \
		.name = "id", .json = "id", TEXT(id), .here = true /* by which to map */ \
	}

static const struct device_key disk_keys[] = {
	{ .name = "path",
	  .json = "path",
	  TEXT(local),
	  .first = true,
	  .required = true,
	  .here = true },
	KEY_ID,
	{ .name = "ro", .json = "readonly", .type = KEY_FLAG, AT(readonly) },
	{ .name = "direct", .json = "direct", .type = KEY_FLAG, AT(direct) },
	{ .name = "shared", .json = "shared", .type = KEY_FLAG, AT(shared) },
	{ .name = "serial", .json = "serial", TEXT(label) },
	{ .name = "queues",
	  .json = "num_queues",
	  .type = KEY_COUNT,
	  AT(nqueues),
	  .min = 1,
	  .max = 16 },
	{ .name = "iops", .json = "iops", .type = KEY_NUMBER, AT(limit.ops_per_s) },
	{ .name = "bw", .json = "bandwidth", .type = KEY_RATE, AT(limit.bytes_per_s) },
};

static const struct device_key net_keys[] = {
	{ .name = "tap", .json = "tap", TEXT(local), .required = true, .here = true },
	KEY_ID,
	{ .name = "mac", .json = "mac", .type = KEY_MAC, AT(mac) },
	{ .name = "queues",
	  .json = "num_queue_pairs",
	  .type = KEY_COUNT,
	  AT(nqueues),
	  .min = 1,
	  .max = 8 },
	{ .name = "iops", .json = "packets_per_s", .type = KEY_NUMBER, AT(limit.ops_per_s) },
	{ .name = "bw", .json = "bandwidth", .type = KEY_RATE, AT(limit.bytes_per_s) },
};

static const struct device_key console_keys[] = {
	{ .name = "backend",
	  .json = "backend",
	  TEXT(local),
	  .first = true,
	  .required = true,
	  .here = true },
	KEY_ID,
	{ .name = "name", .json = "name", TEXT(label) },
};

static const struct device_key vsock_keys[] = {
	{ .name = "path", .json = "socket", TEXT(local), .required = true, .here = true },
	KEY_ID,
	{ .name = "cid", .json = "cid", .type = KEY_NUMBER, AT(cid), .required = true },
};

static const struct device_key balloon_keys[] = {
	KEY_ID,
	{ .name = "size", .json = "size", .type = KEY_SIZE, AT(balloon_bytes) },
};

static const struct device_key rng_keys[] = { KEY_ID };

#define KEYS(table) .key = (table), .nkeys = ARRAY_LEN(table)
static const struct device_keys kinds[MACHINE_DEVICE_KINDS] = {
	[MACHINE_BLK] = { .json = "disks",
			  .list = true,
			  .arg = "PATH[,ro][,direct][,shared][,id=ID][,serial=TEXT][,queues=N][,iops=N][,bw=RATE]",
			  .receive_arg = "PATH,id=ID",
			  .help = "a disk: a raw image or a block device",
			  KEYS(disk_keys) },
	[MACHINE_NET] = { .json = "net",
			  .list = true,
			  .arg = "tap=NAME[,id=ID][,mac=MAC][,queues=N][,iops=N][,bw=RATE]",
			  .receive_arg = "tap=NAME,id=ID",
			  .help = "a network card on a TAP interface that exists",
			  KEYS(net_keys) },
	[MACHINE_CONSOLE] = { .json = "console",
			      .list = true,
			      .arg = "SPEC[,id=ID][,name=NAME]",
			      .receive_arg = "SPEC,id=ID",
			      .help = "a port of the virtio console; SPEC as for --console",
			      KEYS(console_keys) },
	[MACHINE_VSOCK] = { .json = "vsock",
			    .arg = "path=PATH,cid=N[,id=ID]",
			    .receive_arg = "path=PATH,id=ID",
			    .help = "sockets between guest and host, by unix sockets PATH and PATH_PORT",
			    KEYS(vsock_keys) },
	[MACHINE_BALLOON] = { .json = "balloon",
			      .optional = true,
			      .arg = "[size=SIZE][,id=ID]",
			      .help = "a balloon to take memory back from the guest",
			      KEYS(balloon_keys) },
	[MACHINE_RNG] = { .json = "rng",
			  .optional = true,
			  .arg = "[id=ID]",
			  .help = "a source of entropy",
			  KEYS(rng_keys) },
};

const struct device_keys *device_keys(enum machine_device_kind kind)
{
	return &kinds[kind];
}

static int set_text(const struct device_key *key, const char *text, char *at, struct err *err)
{
	size_t len = strlen(text);

	if (!len || len >= key->size)
		return err_set(err, -EINVAL, "expected 1 to %zu characters, got %zu", key->size - 1,
			       len);
	memcpy(at, text, len + 1);
	return 0;
}

static int set_flag(const char *text, bool *ret, struct err *err)
{
	bool on = !strcmp(text, "on");

	if (!on && strcmp(text, "off") != 0)
		return err_set(err, -EINVAL, "expected on or off, got \"%s\"", text);
	*ret = on;
	return 0;
}

static int set_count(const struct device_key *key, const char *text, uint32_t *ret, struct err *err)
{
	uint64_t n;

	if (num_parse_u64(text, &n) || n < key->min || n > key->max)
		return err_set(err, -EINVAL, "expected %llu to %llu, got \"%s\"",
			       (unsigned long long)key->min, (unsigned long long)key->max, text);
	*ret = (uint32_t)n;
	return 0;
}

/* Two hexadecimal digits; sscanf would take blanks and signs too. */
static int hex_byte(const char *p)
{
	static const char digits[] = "0123456789abcdef";
	int byte = 0;

	for (unsigned int i = 0; i < 2; i++) {
		const char *at = p[i] ? strchr(digits, tolower((unsigned char)p[i])) : NULL;

		if (!at)
			return -EINVAL;
		byte = byte << 4 | (int)(at - digits);
	}
	return byte;
}

static int set_mac(const char *text, uint8_t ret[6], struct err *err)
{
	uint8_t mac[6];
	bool good = strlen(text) == 17;

	for (unsigned int i = 0; good && i < 6; i++) {
		int byte = hex_byte(&text[3 * i]);

		good = byte >= 0 && (i == 5 || text[3 * i + 2] == ':');
		mac[i] = (uint8_t)byte;
	}
	if (!good)
		return err_set(err, -EINVAL,
			       "expected an address such as 52:54:00:12:34:56, got \"%s\"", text);
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

int device_key_set(const struct device_key *key, const char *text, struct machine_device *dev,
		   struct err *err)
{
	void *at = (char *)dev + key->offset;

	switch (key->type) {
	case KEY_TEXT:
		return set_text(key, text, at, err);
	case KEY_FLAG:
		return set_flag(text, at, err);
	case KEY_COUNT:
		return set_count(key, text, at, err);
	case KEY_MAC:
		return set_mac(text, at, err);
	case KEY_NUMBER:
		if (num_parse_u64(text, at))
			return err_set(err, -EINVAL, "expected a whole number, got \"%s\"", text);
		return 0;
	case KEY_SIZE:
		if (num_parse_size(text, at))
			return err_set(err, -EINVAL,
				       "expected a size such as 512M or 2G, got \"%s\"", text);
		return 0;
	case KEY_RATE:
		if (num_parse_rate(text, at))
			return err_set(err, -EINVAL,
				       "expected a rate such as 100MB/s or 1Gbit/s, got \"%s\"",
				       text);
		return 0;
	}
	return err_set(err, -EINVAL, "cannot be set");
}

/* A suboption with its doubled commas made single ones. Its length in @text, or -EINVAL. */
static int next_suboption(const char *text, char *item, size_t item_bytes)
{
	size_t n = 0;
	const char *p = text;

	for (; *p && (*p != ',' || p[1] == ','); p++) {
		if (*p == ',')
			p++;
		if (n + 1 >= item_bytes)
			return -EINVAL;
		item[n++] = *p;
	}
	item[n] = 0;
	return (int)(p - text);
}

static const struct device_key *find_key(const struct device_keys *keys, const char *name)
{
	for (size_t i = 0; i < keys->nkeys; i++)
		if (!strcmp(keys->key[i].name, name))
			return &keys->key[i];
	return NULL;
}

/* What @item (taken apart in place) sets, and to what. The first one may be a value alone: all of it, unless a key that is known stands before a '='. */
static const struct device_key *which_key(const struct device_keys *keys, char *item, bool first,
					  char **ret_value)
{
	const struct device_key *key;
	char *equals = strchr(item, '=');

	if (equals)
		*equals = 0;
	key = find_key(keys, item);
	*ret_value = equals ? equals + 1 : NULL;
	if (first && keys->key[0].first && (!key || !equals)) {
		if (equals)
			*equals = '=';
		*ret_value = item;
		return &keys->key[0];
	}
	return key;
}

static int set_suboption(const struct device_keys *keys, char *item, bool first, bool receive,
			 uint32_t *given, struct machine_device *dev, struct err *err)
{
	char *value;
	const struct device_key *key = which_key(keys, item, first, &value);
	uint32_t bit;
	int rc;

	if (!key)
		return err_set(err, -EINVAL, "\"%s\" is unknown", item);
	if (receive && !key->here)
		return err_set(err, -EINVAL, "\"%s\" comes with the VM", key->name);
	bit = 1u << (key - keys->key);
	if (*given & bit)
		return err_set(err, -EINVAL, "\"%s\" stands twice", key->name);
	*given |= bit;
	if (!value && key->type != KEY_FLAG)
		return err_set(err, -EINVAL, "\"%s\": a value is missing", key->name);
	rc = device_key_set(key, value ? value : "on", dev, err);
	if (rc)
		err_prefix(err, "\"%s\"", key->name);
	return rc;
}

static int check_given(const struct device_keys *keys, uint32_t given, bool receive,
		       struct err *err)
{
	for (size_t i = 0; i < keys->nkeys; i++) {
		const struct device_key *key = &keys->key[i];
		bool wanted = receive ? key->here : key->required;

		if (wanted && !(given >> i & 1))
			return err_set(err, -EINVAL, "\"%s\" is missing", key->name);
	}
	return 0;
}

int device_parse(enum machine_device_kind kind, const char *text, bool receive,
		 struct machine_device *ret, struct err *err)
{
	const struct device_keys *keys = &kinds[kind];
	struct machine_device dev = { .kind = kind };
	char item[MACHINE_LOCAL_MAX + 32];
	const char *p = text;
	uint32_t given = 0;

	while (*p) {
		int len = next_suboption(p, item, sizeof(item)), rc;

		if (len < 0)
			return err_set(err, len, "at character %td: too long", p - text + 1);
		rc = set_suboption(keys, item, p == text, receive, &given, &dev, err);
		if (rc) {
			err_prefix(err, "at character %td", p - text + 1);
			return rc;
		}
		p += len;
		if (*p == ',' && !*++p)
			return err_set(err, -EINVAL, "at character %td: a suboption is missing",
				       p - text + 1);
	}
	if (check_given(keys, given, receive, err))
		return -EINVAL;
	*ret = dev;
	return 0;
}
