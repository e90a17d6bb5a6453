/* SPDX-License-Identifier: Apache-2.0 */
/* The arm64 kernel loader: good Images, every truncation, and each way an Image can lie. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vmm/arch/aarch64/boot_image.h"
#include "vmm/arch/aarch64/boot_stream.h"

#define RAM 0x40000000ull
#define MIB (1ull << 20)

static void make_header(uint8_t h[ARM64_IMAGE_HEADER_BYTES], uint64_t text_offset,
			uint64_t image_size, uint64_t flags)
{
	memset(h, 0, ARM64_IMAGE_HEADER_BYTES);
	le64_put(h + 8, text_offset);
	le64_put(h + 16, image_size);
	le64_put(h + 24, flags);
	memcpy(h + 56, "ARM\x64", 4);
}

static void refused(const uint8_t *h, uint64_t len_bytes, int code, const char *text)
{
	struct arm64_image image;
	struct err err = { 0 };

	memset(&image, 0x5a, sizeof(image));
	assert_int_equal(arm64_image_parse(h, len_bytes, "img", &image, &err), code);
	if (strncmp(err.msg, "img: ", 5) || !strstr(err.msg, text))
		fail_msg("message is \"%s\", expected \"img: ...%s\"", err.msg, text);
	for (size_t i = 0; i < sizeof(image); i++) /* outputs are untouched on failure */
		assert_int_equal(((uint8_t *)&image)[i], 0x5a);
}

static void test_header(void **state)
{
	static const unsigned int page_kib[] = { 0, 4, 16, 64 };
	uint8_t h[ARM64_IMAGE_HEADER_BYTES];
	struct arm64_image image;

	for (uint64_t i = 0; i < 4; i++) {
		make_header(h, 0x80000, 0x1234567, i << 1 | 8);
		assert_int_equal(arm64_image_parse(h, sizeof(h), "img", &image, NULL), 0);
		assert_int_equal(image.text_offset, 0x80000);
		assert_int_equal(image.image_size, 0x1234567);
		assert_int_equal(image.page_kib, page_kib[i]);
	}
}

static void test_header_lies(void **state)
{
	uint8_t h[ARM64_IMAGE_HEADER_BYTES];

	make_header(h, 0, MIB, 0);
	for (uint64_t n = 0; n < sizeof(h); n++)
		refused(h, n, -ENODATA, "header of 64");
	h[56] ^= 1;
	refused(h, sizeof(h), -ENOEXEC, "no arm64 Image: 0x644d5240 at byte 56");
	memcpy(h, "\177ELF", 4);
	refused(h, sizeof(h), -ENOEXEC, "an ELF file");
	memcpy(h, "MZ\0\0zimg", 8);
	refused(h, sizeof(h), -ENOEXEC, "EFI zboot");
	make_header(h, 0, 0, 0);
	refused(h, sizeof(h), -EINVAL, "image_size 0");
	make_header(h, 0, 63, 0);
	refused(h, sizeof(h), -EINVAL, "image_size 63");
	make_header(h, 0, MIB, 1);
	refused(h, sizeof(h), -EINVAL, "big-endian");
	make_header(h, 0x80004, MIB, 0);
	refused(h, sizeof(h), -EINVAL, "text_offset 0x80004");
}

/* Header at 0, PE header at 0x40 with an optional header of 16 bytes, two sections. */
#define PE_IMAGE_BYTES 0x300u
static void make_pe(uint8_t image[PE_IMAGE_BYTES])
{
	memset(image, 0, PE_IMAGE_BYTES);
	make_header(image, 0, MIB, 0);
	memcpy(image, "MZ", 2);
	le32_put(image + 60, 0x40);
	memcpy(image + 0x40, "PE\0\0", 4);
	le16_put(image + 0x40 + 6, 2);
	le16_put(image + 0x40 + 20, 16);
	le32_put(image + 0x68 + 16, 0x100); /* first section: bytes, offset */
	le32_put(image + 0x68 + 20, 0x100);
	le32_put(image + 0x90 + 16, 0x100);
	le32_put(image + 0x90 + 20, 0x200);
}

static void test_truncated_file(void **state)
{
	uint8_t image[PE_IMAGE_BYTES];
	struct boot_source src = { .data = image, .fd = -1, .name = "img" };
	struct err err = { 0 };

	make_pe(image);
	src.len_bytes = sizeof(image);
	assert_int_equal(arm64_image_check_length(&src, &err), 0);
	for (src.len_bytes = 64; src.len_bytes < sizeof(image); src.len_bytes++) {
		assert_int_equal(arm64_image_check_length(&src, &err), -ENODATA);
		assert_non_null(strstr(err.msg, "img: truncated: "));
	}
	assert_string_equal(err.msg,
			    "img: truncated: the file has 767 bytes, the kernel's end is at 768");
	/* Numbers that no file has. */
	src.len_bytes = sizeof(image);
	le32_put(image + 0x90 + 16, 0xffffffff);
	le32_put(image + 0x90 + 20, 0xffffffff);
	assert_int_equal(arm64_image_check_length(&src, &err), -ENODATA);
	le32_put(image + 60, 0xffffffff);
	assert_int_equal(arm64_image_check_length(&src, &err), -ENODATA);
	/* No EFI program: nothing tells. */
	memset(image, 0, 2);
	assert_int_equal(arm64_image_check_length(&src, &err), 0);
}

static void test_plan(void **state)
{
	const struct arm64_image image = { .text_offset = 0x80000, .image_size = 3 * MIB };
	struct boot_source initrd = { .len_bytes = 2 * MIB, .name = "initrd" };
	struct arm64_plan plan;
	struct err err = { 0 };

	/* 0x380000 is the kernel's end. */
	assert_int_equal(arm64_image_plan(&image, "img", RAM, 8 * MIB, &initrd, &plan, &err), 0);
	assert_int_equal(plan.kernel, RAM + 0x80000);
	assert_int_equal(plan.fdt, RAM + 4 * MIB);
	assert_int_equal(plan.initrd, RAM + 6 * MIB);
	assert_int_equal(arm64_image_plan(&image, "img", RAM, 6 * MIB, NULL, &plan, &err), 0);
	assert_int_equal(plan.initrd, 0);
	initrd.len_bytes++;
	assert_int_equal(arm64_image_plan(&image, "img", RAM, 8 * MIB, &initrd, &plan, &err),
			 -E2BIG);
	assert_string_equal(
		err.msg,
		"initrd: too large: behind the kernel, the initrd's 2097153 bytes do not fit into 8388608 of memory");
	initrd.len_bytes = 32ull << 30; /* 32 GiB window, of which kernel and tree have some */
	assert_int_equal(arm64_image_plan(&image, "img", RAM, 1ull << 40, &initrd, &plan, &err),
			 -E2BIG);
	initrd.len_bytes -= 6 * MIB;
	assert_int_equal(arm64_image_plan(&image, "img", RAM, 1ull << 40, &initrd, &plan, &err), 0);
}

static void test_plan_too_large(void **state)
{
	static const struct arm64_image images[] = {
		{ .text_offset = 0, .image_size = 16 * MIB + 1 },
		{ .text_offset = 0, .image_size = 16 * MIB }, /* no room for the device tree */
		{ .text_offset = 0, .image_size = 14 * MIB + 1 },
		{ .text_offset = 4096, .image_size = 16 * MIB - 4095 },
		{ .text_offset = UINT64_MAX - 4095, .image_size = 4096 },
		{ .text_offset = 4096, .image_size = UINT64_MAX },
		{ .text_offset = UINT64_MAX - 4095, .image_size = UINT64_MAX },
	};
	struct arm64_plan plan;

	for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
		struct err err = { 0 };

		assert_int_equal(arm64_image_plan(&images[i], "img", RAM, 16 * MIB, NULL, &plan,
						  &err),
				 -E2BIG);
		assert_int_equal(strncmp(err.msg, "img: too large: ", 16), 0);
	}
}

/* ---- the stream ---- */

#define PLAIN_BYTES 200000u

struct gz {
	uint8_t plain[PLAIN_BYTES];
	uint8_t packed[PLAIN_BYTES + 1024];
	size_t packed_bytes;
};

static struct gz *make_gz(void)
{
	struct gz *g = calloc(1, sizeof(*g));
	uint32_t x = 1;
	z_stream z = { 0 };

	assert_non_null(g);
	for (size_t i = 0; i < PLAIN_BYTES;
	     i++) { /* part of it hard to compress: several buffers long */
		x = x * 1664525u + 1013904223u;
		g->plain[i] = i < 150000 ? (uint8_t)(x >> 24) : 7;
	}
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	z.next_in = g->plain;
	z.avail_in = PLAIN_BYTES;
	z.next_out = g->packed;
	z.avail_out = sizeof(g->packed);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	g->packed_bytes = sizeof(g->packed) - z.avail_out;
	deflateEnd(&z);
	return g;
}

/* Reads all in pieces; what boot_stream_read said last, and how much there was. */
static int drain(const uint8_t *data, size_t len_bytes, uint8_t *out, size_t *ret_bytes,
		 struct err *err)
{
	struct boot_source src = { .data = data, .fd = -1, .len_bytes = len_bytes, .name = "img" };
	struct boot_stream *s;
	size_t n, total = 0;
	int r;

	assert_int_equal(boot_stream_open(&src, &s, err), 0);
	do {
		r = boot_stream_read(s, out + total, 70001, &n, err);
		total += r == 0 ? n : 0;
	} while (r == 0 && n > 0);
	boot_stream_close(s);
	*ret_bytes = total;
	return r;
}

static void test_stream(void **state)
{
	struct gz *g = make_gz();
	uint8_t *out = calloc(1, PLAIN_BYTES + 80000);
	size_t n;

	assert_non_null(out);
	assert_int_equal(drain(g->packed, g->packed_bytes, out, &n, NULL), 0);
	assert_int_equal(n, PLAIN_BYTES);
	assert_memory_equal(out, g->plain, PLAIN_BYTES);
	memset(out, 0, PLAIN_BYTES);
	assert_int_equal(drain(g->plain, PLAIN_BYTES, out, &n, NULL), 0);
	assert_int_equal(n, PLAIN_BYTES);
	assert_memory_equal(out, g->plain, PLAIN_BYTES);
	assert_int_equal(drain(g->plain, 1, out, &n, NULL), 0);
	assert_int_equal(n, 1);
	boot_stream_close(NULL);
	free(out);
	free(g);
}

static void test_stream_damaged(void **state)
{
	struct gz *g = make_gz();
	uint8_t *out = calloc(1, PLAIN_BYTES + 80000);
	struct err err = { 0 };
	size_t n;

	assert_non_null(out);
	for (size_t len = 2; len < g->packed_bytes; len += 997) {
		assert_int_equal(drain(g->packed, len, out, &n, &err), -ENODATA);
		assert_string_equal(err.msg,
				    "img: truncated: the file ends in the middle of its gzip data");
	}
	assert_int_equal(drain(g->packed, g->packed_bytes - 1, out, &n, &err), -ENODATA);
	g->packed[g->packed_bytes - 6] ^= 1; /* checksum */
	assert_int_equal(drain(g->packed, g->packed_bytes, out, &n, &err), -EBADMSG);
	assert_string_equal(err.msg, "img: gzip data is damaged: incorrect data check");
	g->packed[g->packed_bytes - 6] ^= 1;
	g->packed[2] = 9; /* no such method */
	assert_int_equal(drain(g->packed, g->packed_bytes, out, &n, &err), -EBADMSG);
	free(out);
	free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),         cmocka_unit_test(test_header_lies),
		cmocka_unit_test(test_truncated_file), cmocka_unit_test(test_plan),
		cmocka_unit_test(test_plan_too_large), cmocka_unit_test(test_stream),
		cmocka_unit_test(test_stream_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
