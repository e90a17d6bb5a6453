/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an arm64 kernel, plain or gzip: what is accepted has a place in RAM, an error has a text with the name in front. */
#include <stdlib.h>
#include <string.h>

#include "vmm/arch/aarch64/boot_image.h"
#include "vmm/arch/aarch64/boot_stream.h"

#define RAM 0x40000000ull
#define MOST_BYTES (4u << 20)

static void check_text(int rc, const struct err *err)
{
	if (rc && (err->code != rc || strncmp(err->msg, "image: ", 7)))
		abort();
}

static void plan(const struct arm64_image *image)
{
	static const uint64_t ram_bytes[] = { 4u << 20, 1ull << 30, 1ull << 42 };
	struct boot_source initrd = { .len_bytes = 12345, .name = "initrd" };

	for (size_t i = 0; i < sizeof(ram_bytes) / sizeof(ram_bytes[0]); i++) {
		uint64_t end = RAM + ram_bytes[i];
		struct arm64_plan p;
		struct err err = { 0 };

		if (arm64_image_plan(image, "image", RAM, ram_bytes[i], &initrd, &p, &err)) {
			if (!strstr(err.msg, ": too large: "))
				abort();
			continue;
		}
		if (p.kernel < RAM || p.kernel > end || image->image_size > end - p.kernel ||
		    p.fdt < p.kernel + image->image_size || p.fdt % ARM64_FDT_MAX_BYTES ||
		    p.initrd < p.fdt + ARM64_FDT_MAX_BYTES || p.initrd > end ||
		    initrd.len_bytes > end - p.initrd)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct boot_source src = {
		.data = data, .fd = -1, .len_bytes = len_bytes, .name = "image"
	};
	uint8_t header[ARM64_IMAGE_HEADER_BYTES] = { 0 }, scrap[4096];
	struct arm64_image image;
	struct boot_stream *s;
	struct err err = { 0 };
	size_t n, total = 0;
	int rc;

	if (boot_stream_open(&src, &s, &err))
		return 0;
	rc = boot_stream_read(s, header, sizeof(header), &n, &err);
	if (!rc)
		rc = arm64_image_parse(header, n, "image", &image, &err);
	if (!rc)
		plan(&image);
	check_text(rc, &err);
	err = (struct err){ 0 };
	check_text(arm64_image_check_length(&src, &err), &err);
	for (n = 1, rc = 0; !rc && n && total < MOST_BYTES; total += n) {
		err = (struct err){ 0 };
		rc = boot_stream_read(s, scrap, sizeof(scrap), &n, &err);
		check_text(rc, &err);
		if (!rc && n > sizeof(scrap))
			abort();
	}
	boot_stream_close(s);
	return 0;
}
