/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/num.h"

/*
 * Declarative device and vCPU state (docs/spec/state.md). A device describes its migratable state as a plain C struct (the image)
 * and a const table of the image's fields. Encoding and decoding are pure functions of table and image: they never touch the
 * device. Fields are encoded in table order, little-endian, without padding; a field with since > version is skipped on
 * decode and keeps what desc->defaults gave it (zero without that).
 */
enum state_type {
	STATE_U8, /* arrays of @count elements of the width */
	STATE_U16,
	STATE_U32,
	STATE_U64,
	STATE_VBYTES, /* u32 length (the uint32_t at len_offset), then that many bytes; @count is the capacity in bytes */
};

struct state_field {
	const char *name;
	enum state_type type;
	uint16_t since; /* first version of the section that has it; 1 for the original fields */
	uint32_t offset; /* in the image */
	uint32_t count; /* elements, or capacity in bytes */
	uint32_t len_offset; /* STATE_VBYTES only */
};

#define STATE_FIELD_(img, member, ty, n)                                                    \
	{                                                                                   \
		.name = #member, .type = (ty), .since = 1, .offset = offsetof(img, member), \
		.count = (n)                                                                \
	}
#define STATE_FIELD_U8(img, member) STATE_FIELD_(img, member, STATE_U8, sizeof(((img *)0)->member))
#define STATE_FIELD_U16(img, member) \
	STATE_FIELD_(img, member, STATE_U16, sizeof(((img *)0)->member) / 2)
#define STATE_FIELD_U32(img, member) \
	STATE_FIELD_(img, member, STATE_U32, sizeof(((img *)0)->member) / 4)
#define STATE_FIELD_U64(img, member) \
	STATE_FIELD_(img, member, STATE_U64, sizeof(((img *)0)->member) / 8)
#define STATE_FIELD_VBYTES(img, member, lenmember)                                    \
	{                                                                             \
		.name = #member, .type = STATE_VBYTES, .since = 1,                    \
		.offset = offsetof(img, member), .count = sizeof(((img *)0)->member), \
		.len_offset = offsetof(img, lenmember)                                \
	}

struct state_desc {
	const char *name; /* section name, at most STATE_NAME_MAX bytes, [a-z0-9.-] */
	uint16_t version; /* written */
	uint16_t min_version; /* oldest that can still be read */
	uint32_t image_size; /* sizeof the image */
	const struct state_field *fields;
	unsigned int nfields;
	/* All optional but capture and apply; @dev is the device's own pointer.
	 * capture: fills the image, changes nothing in the device. check: refuses values no healthy device has (peer is hostile).
	 * apply: makes the device hold the image; runs only after every section of the stream has been decoded and checked. */
	int (*capture)(void *dev, void *image, struct err *err);
	int (*check)(const void *image, struct err *err);
	int (*apply)(void *dev, const void *image, struct err *err);
	/* Values of the fields an older section lacks, set in the zeroed image ahead of decoding. */
	void (*defaults)(void *image);
};

/* A section in its first version: image type @img, fields @table, functions PREFIX_capture and PREFIX_apply; @check_fn may be NULL. */
#define STATE_DESC_(section, img, table, prefix, check_fn)                                    \
	{                                                                                     \
		.name = (section), .version = 1, .min_version = 1, .image_size = sizeof(img), \
		.fields = (table), .nfields = ARRAY_LEN(table), .capture = prefix##_capture,  \
		.check = (check_fn), .apply = prefix##_apply                                  \
	}

#define STATE_NAME_MAX 31
#define STATE_MAX_SECTION_BYTES (1u << 20)
#define STATE_MAX_SECTIONS 4096

/* A section as it stands in the stream: u8 name_len, name, u32 instance, u16 version, u32 len, len bytes. */
struct state_section {
	char name[STATE_NAME_MAX + 1];
	uint32_t instance; /* vCPU index, or 0 */
	uint16_t version;
	const uint8_t *data; /* into the reader's bytes */
	uint32_t len_bytes;
};

/* Append one section holding @image. -ENOMEM, -EINVAL when a length field exceeds its capacity. */
int state_encode(const struct state_desc *desc, uint32_t instance, const void *image,
		 struct buf *out, struct err *err);
/* Next section header; 0, -ENODATA at the clean end, -EBADMSG. */
int state_next_section(struct reader *in, struct state_section *ret, struct err *err);
/* Decode into @image (image_size bytes, zeroed by the callee) and run desc->check. -EBADMSG, -EOPNOTSUPP (version), or what check says; errors name
 * section, instance and field. */
int state_decode(const struct state_desc *desc, const struct state_section *section, void *image,
		 struct err *err);

/* A device instance that has state; the composition root keeps one table of these and passes it to the three functions below. */
struct state_entry {
	const struct state_desc *desc;
	uint32_t instance;
	void *dev;
};
/* capture + encode of each entry, in table order. */
int state_save_all(const struct state_entry *entries, unsigned int nentries, struct buf *out,
		   struct err *err);
/* Decodes and checks every section first (unknown section, missing section, double section, leftover bytes: -EBADMSG, named), then applies in
 * table order. Nothing is applied when anything was wrong with any section. */
int state_load_all(const struct state_entry *entries, unsigned int nentries, const void *data,
		   size_t len_bytes, struct err *err);
/* The same for one device whose state is @ndescs sections, at most STATE_MAX_PARTS, all of instance 0. */
#define STATE_MAX_PARTS 8
int state_save_parts(const struct state_desc *descs, unsigned int ndescs, void *dev,
		     struct buf *out, struct err *err);
int state_load_parts(const struct state_desc *descs, unsigned int ndescs, void *dev,
		     const void *data, size_t len_bytes, struct err *err);

#endif
