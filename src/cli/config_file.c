/* SPDX-License-Identifier: Apache-2.0 */
#include "config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "device_keys.h"
#include "json_place.h"
#include "options.h"

struct loader {
	const char *name; /* of the file */
	const char *text;
	const json_t *root;
	struct vm_options *o;
	struct err *err; /* never NULL */
};

#define KEY_PATH_MAX 192

/* A key that is longer than any of ours is cut: it is unknown anyway. */
static void join(char path[KEY_PATH_MAX], const char *object, const char *key)
{
	snprintf(path, KEY_PATH_MAX, "%.60s.%.120s", object, key);
}

int config_file_place(const char *name, const char *text, const char *path, struct err *err)
{
	struct json_place at = json_place_find(text, path);

	if (!*path)
		return err_prefix(err, "%s:%u:%u", name, at.line, at.column);
	return err_prefix(err, "%s:%u:%u: key \"%s\"", name, at.line, at.column, path);
}

/* What is wrong with the value at @path is in l->err. */
static int wrong(const struct loader *l, const char *path)
{
	return config_file_place(l->name, l->text, path, l->err);
}

/* A value as its parser takes it. Text of numbers goes to @number. */
static const char *as_text(const json_t *v, enum option_json want, char *number,
			   size_t number_bytes, struct err *err)
{
	static const char *const expected[] = {
		[OPTION_TEXT] = "a string",
		[OPTION_NUMBER] = "a whole number",
		[OPTION_SIZE] = "a whole number, or a string with a unit",
		[OPTION_FLAG] = "true or false",
	};

	if (want == OPTION_FLAG && json_is_boolean(v))
		return json_is_true(v) ? "on" : "off";
	if ((want == OPTION_TEXT || want == OPTION_SIZE) && json_is_string(v))
		return json_string_value(v);
	if ((want == OPTION_NUMBER || want == OPTION_SIZE) && json_is_integer(v)) {
		snprintf(number, number_bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return number;
	}
	err_set(err, -EINVAL, "expected %s", expected[want]);
	return NULL;
}

/* "memory.size" */
static const json_t *find(const json_t *root, const char *key)
{
	char group[32];
	size_t len = strcspn(key, ".");

	if (!key[len])
		return json_object_get(root, key);
	snprintf(group, sizeof(group), "%.*s", (int)len, key);
	return json_object_get(json_object_get(root, group), key + len + 1);
}

bool config_file_has(const json_t *root, const char *key)
{
	return find(root, key) != NULL;
}

static int load_options(const struct loader *l)
{
	size_t n;
	const struct vm_option *options = option_table(&n);

	for (size_t i = 0; i < n; i++) {
		const json_t *v = options[i].key ? find(l->root, options[i].key) : NULL;
		char number[24];
		const char *text;

		if (!v)
			continue;
		text = as_text(v, options[i].json, number, sizeof(number), l->err);
		if (!text || options[i].set(l->o, text, l->err))
			return wrong(l, options[i].key);
	}
	return 0;
}

static bool is_device(const char *key)
{
	for (unsigned int k = 0; k < MACHINE_DEVICE_KINDS; k++)
		if (!strcmp(device_keys((enum machine_device_kind)k)->json, key))
			return true;
	return false;
}

/* An option's whole key, or with @group the part up to its dot. */
static bool is_option(const char *path, bool group)
{
	size_t n, len = strlen(path);
	const struct vm_option *options = option_table(&n);

	for (size_t i = 0; i < n; i++) {
		const char *key = options[i].key;

		if (key && !strncmp(key, path, len) && key[len] == (group ? '.' : 0))
			return true;
	}
	return false;
}

static int check_group(const struct loader *l, const char *group, const json_t *v)
{
	const char *key;
	json_t *member;

	if (!json_is_object(v)) {
		err_set(l->err, -EINVAL, "expected an object");
		return wrong(l, group);
	}
	json_object_foreach((json_t *)v, key, member) {
		char path[KEY_PATH_MAX];

		join(path, group, key);
		if (!is_option(path, false)) {
			err_set(l->err, -EINVAL, "unknown");
			return wrong(l, path);
		}
	}
	return 0;
}

/* Nothing in the file is passed over in silence. */
static int check_keys(const struct loader *l)
{
	const char *key;
	json_t *v;
	int rc = 0;

	json_object_foreach((json_t *)l->root, key, v) {
		if (is_option(key, true)) {
			rc = check_group(l, key, v);
		} else if (!is_option(key, false) && !is_device(key)) {
			err_set(l->err, -EINVAL, "unknown");
			rc = wrong(l, key);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static enum option_json json_of(enum device_key_type type)
{
	switch (type) {
	case KEY_TEXT:
	case KEY_MAC:
		return OPTION_TEXT;
	case KEY_FLAG:
		return OPTION_FLAG;
	case KEY_SIZE:
	case KEY_RATE:
		return OPTION_SIZE;
	case KEY_COUNT:
	case KEY_NUMBER:
		break;
	}
	return OPTION_NUMBER;
}

/* The members of the object at @path that no key of the device's kind has. */
static int check_members(const struct loader *l, const struct device_keys *keys, const char *path,
			 const json_t *o)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)o, key, v) {
		char member[KEY_PATH_MAX];
		size_t i = 0;

		while (i < keys->nkeys && strcmp(keys->key[i].json, key) != 0)
			i++;
		if (i < keys->nkeys)
			continue;
		join(member, path, key);
		err_set(l->err, -EINVAL, "unknown");
		return wrong(l, member);
	}
	return 0;
}

static int load_device(const struct loader *l, enum machine_device_kind kind, const char *path,
		       const json_t *o)
{
	const struct device_keys *keys = device_keys(kind);
	struct machine_devices *d = &l->o->devices;
	struct machine_device dev = { .kind = kind };

	if (!json_is_object(o) || d->n == MACHINE_MAX_DEVICES) {
		err_set(l->err, -EINVAL,
			json_is_object(o) ? "too many devices" : "expected an object");
		return wrong(l, path);
	}
	for (size_t i = 0; i < keys->nkeys; i++) {
		const struct device_key *key = &keys->key[i];
		const json_t *v = json_object_get(o, key->json);
		char member[KEY_PATH_MAX], number[24];
		const char *text = NULL;

		join(member, path, key->json);
		if (v)
			text = as_text(v, json_of(key->type), number, sizeof(number), l->err);
		else if (key->required)
			err_set(l->err, -EINVAL, "missing");
		else
			continue;
		if (!text || device_key_set(key, text, &dev, l->err))
			return wrong(l, member);
	}
	if (check_members(l, keys, path, o))
		return -EINVAL;
	d->dev[d->n++] = dev;
	return 0;
}

/* The object of a kind, or its @index-th. */
static void device_path(char *path, size_t path_bytes, enum machine_device_kind kind, size_t index)
{
	const struct device_keys *keys = device_keys(kind);

	if (keys->list)
		snprintf(path, path_bytes, "%s[%zu]", keys->json, index);
	else
		snprintf(path, path_bytes, "%s", keys->json);
}

static int load_kind(const struct loader *l, enum machine_device_kind kind)
{
	const struct device_keys *keys = device_keys(kind);
	const json_t *v = json_object_get(l->root, keys->json);
	char path[KEY_PATH_MAX];
	int rc = 0;

	if (!v)
		return 0;
	if (keys->list && !json_is_array(v)) {
		err_set(l->err, -EINVAL, "expected an array");
		return wrong(l, keys->json);
	}
	for (size_t i = 0; !rc && i < (keys->list ? json_array_size(v) : 1); i++) {
		device_path(path, sizeof(path), kind, i);
		rc = load_device(l, kind, path, keys->list ? json_array_get(v, i) : v);
	}
	return rc;
}

/* By kinds, as they will stand after settling: an entry that is then found bad is the one that was loaded as that. */
static int load_devices(const struct loader *l)
{
	struct machine_devices *d = &l->o->devices;
	char path[KEY_PATH_MAX];
	unsigned int bad, before = 0;
	int rc = 0;

	for (unsigned int k = 0; !rc && k < MACHINE_DEVICE_KINDS; k++)
		rc = load_kind(l, (enum machine_device_kind)k);
	if (rc || !machine_devices_settle(d, &bad, l->err))
		return rc;
	while (before < bad && d->dev[bad - before - 1].kind == d->dev[bad].kind)
		before++;
	device_path(path, sizeof(path), d->dev[bad].kind, before);
	config_file_strip(l->err, machine_device_option(d->dev[bad].kind));
	return wrong(l, path);
}

/* A file has keys, no options: takes "--NAME: " away from the front of the message. */
void config_file_strip(struct err *err, const char *option)
{
	size_t len = strlen(option);

	if (!strncmp(err->msg, "--", 2) && !strncmp(err->msg + 2, option, len) &&
	    !strncmp(err->msg + 2 + len, ": ", 2))
		memmove(err->msg, err->msg + len + 4, strlen(err->msg + len + 4) + 1);
}

int config_text_load(const char *name, const char *text, struct vm_options *o, struct err *err)
{
	struct loader l = { .name = name, .text = text, .o = o, .err = err };
	json_error_t what;
	int rc;

	o->document = json_loads(text, JSON_REJECT_DUPLICATES, &what);
	if (!o->document)
		return err_set(err, -EINVAL, "%s:%d:%d: %s", name, what.line, what.column,
			       what.text);
	l.root = o->document;
	if (!json_is_object(l.root)) {
		err_set(err, -EINVAL, "expected an object");
		return wrong(&l, "");
	}
	rc = check_keys(&l);
	if (!rc)
		rc = load_options(&l);
	if (!rc)
		rc = load_devices(&l);
	o->nfile = o->devices.n;
	return rc;
}

static int read_text(const char *path, char **ret, struct err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, -errno, "--config %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_FILE_MAX_BYTES)
		return err_set(err, -EINVAL, "--config %s: expected a file of at most %u bytes",
			       path, CONFIG_FILE_MAX_BYTES);
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return err_set(err, -ENOMEM, "--config %s: no memory", path);
	rc = fd_read_all(fd, text, (size_t)st.st_size);
	if (rc)
		return err_sys(err, rc, "--config %s", path);
	if (strlen(text) != (size_t)st.st_size)
		return err_set(err, -EINVAL, "--config %s: a zero byte at offset %zu", path,
			       strlen(text));
	*ret = text;
	text = NULL;
	return 0;
}

int config_file_load(const char *path, struct vm_options *o, struct err *err)
{
	int rc = read_text(path, &o->text, err);

	return rc ? rc : config_text_load(path, o->text, o, err);
}
