/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_fixture.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

static int make_image(struct blk_fixture *f)
{
	uint8_t sector[512] = { 0 };
	FILE *file;
	int fd;

	strcpy(f->path, "/tmp/test-blk-XXXXXX");
	fd = mkstemp(f->path);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return -1;
	for (uint64_t i = 0; i < IMAGE_SECTORS; i++) {
		le64_put(sector, i);
		if (fwrite(sector, sizeof(sector), 1, file) != 1)
			return -1;
	}
	return fclose(file);
}

int blk_setup(void **state)
{
	struct blk_fixture *f = calloc(1, sizeof(*f));

	*state = f;
	if (driver_init(&f->d) || make_image(f))
		return -1;
	f->header_gpa = driver_alloc(&f->d, 16);
	f->status_gpa = driver_alloc(&f->d, 1);
	f->data_gpa = driver_alloc(&f->d, DATA_BYTES);
	return 0;
}

int blk_teardown(void **state)
{
	struct blk_fixture *f = *state;

	virtio_destroy(f->v);
	unlink(f->path);
	driver_fini(&f->d);
	free(f);
	return 0;
}

int blk_create(struct blk_fixture *f, const struct virtio_face *face, struct blk_config config,
	       struct virtio **ret, struct err *err)
{
	const struct virtio_common common = { .id = "disk0", .host = f->d.host, .face = face };

	*err = (struct err){ 0 };
	config.path = f->path;
	return virtio_blk_create(&common, &config, 1, ret, err);
}

void blk_start(struct blk_fixture *f, struct blk_config config, uint64_t features)
{
	struct err err;

	if (blk_create(f, NULL, config, &f->v, &err))
		fail_msg("%s", err.msg);
	driver_attach(&f->d, f->v);
	assert_true(driver_start(&f->d, features, 256));
}

void blk_header(struct blk_fixture *f, uint64_t gpa, uint32_t type, uint64_t sector)
{
	uint8_t *p = driver_ptr(&f->d, gpa, 16);

	le32_put(p, type);
	le32_put(p + 4, 0);
	le64_put(p + 8, sector);
}

static bool writes_to_memory(uint32_t type)
{
	return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

int blk_request(struct blk_fixture *f, uint32_t type, uint64_t sector, uint32_t len_bytes)
{
	struct driver_part parts[3] = { { f->header_gpa, 16, false } };
	unsigned int n = 1;

	blk_header(f, f->header_gpa, type, sector);
	if (len_bytes)
		parts[n++] = (struct driver_part){ f->data_gpa, len_bytes, writes_to_memory(type) };
	parts[n++] = (struct driver_part){ f->status_gpa, 1, true };
	*(uint8_t *)driver_ptr(&f->d, f->status_gpa, 1) = 0xee;
	if (!driver_do(&f->d, 0, parts, n, &f->written))
		return -1;
	return *(uint8_t *)driver_ptr(&f->d, f->status_gpa, 1);
}

uint8_t *blk_place(struct blk_fixture *f, unsigned int place)
{
	return driver_ptr(&f->d, f->data_gpa + 1024u * place, 1024);
}

uint16_t blk_add(struct blk_fixture *f, unsigned int queue, unsigned int place, uint32_t type,
		 uint64_t sector)
{
	uint64_t gpa = f->data_gpa + 1024u * place;
	const struct driver_part parts[3] = { { gpa, 16, false },
					      { gpa + 512, 512, writes_to_memory(type) },
					      { gpa + 16, 1, true } };

	blk_header(f, gpa, type, sector);
	blk_place(f, place)[16] = 0xee;
	return driver_add(&f->d, queue, parts, 3);
}

void blk_wait_all(struct blk_fixture *f, unsigned int queue, unsigned int n)
{
	uint32_t written;
	uint16_t head;

	while (n--)
		assert_true(driver_wait_used(&f->d, queue, &head, &written));
	assert_int_equal(driver_used(&f->d, queue), 0);
}

uint64_t blk_file_word(struct blk_fixture *f, uint64_t sector)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	uint8_t p[8];

	assert_int_equal(pread(fd, p, sizeof(p), (off_t)sector * 512), sizeof(p));
	close(fd);
	return le64_get(p);
}

struct wanted {
	const char *name;
	uint64_t value;
	bool found;
};

static void on_counter(void *opaque, const char *name, uint64_t value)
{
	struct wanted *w = opaque;

	if (strcmp(name, w->name) != 0)
		return;
	w->value = value;
	w->found = true;
}

uint64_t blk_counter(struct virtio *v, const char *name)
{
	struct wanted w = { .name = name };

	virtio_counters(v, on_counter, &w);
	assert_true(w.found);
	return w.value;
}
