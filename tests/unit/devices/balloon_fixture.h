/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_BALLOON_FIXTURE_H
#define TESTS_UNIT_DEVICES_BALLOON_FIXTURE_H

#include "test.h"

#include "base/buf.h"
#include "devices/virtio/balloon.h"
#include "virtio_driver.h"

/* A driver in front of a balloon. Memory from AREA_GPA on, which rings and buffers leave alone, is full of 'x'. */
#define PAGE GMEM_PAGE_SIZE
#define AREA_GPA (DRIVER_RAM_GPA + (2u << 20))
#define AREA_PAGE ((AREA_GPA - DRIVER_RAM_GPA) / PAGE)
#define AREA_PAGES 512u
#define ALL_FEATURES UINT64_MAX

struct balloon_fixture {
	struct driver d;
	struct virtio *v;
	uint64_t buffer; /* 128 KiB of the driver's */
};

int balloon_setup(void **state);
int balloon_teardown(void **state);
#define TEST(f) cmocka_unit_test_setup_teardown(f, balloon_setup, balloon_teardown)

/* The driver takes all features, and the fixture its place if there was one before. */
void balloon_start(struct balloon_fixture *f);
/* The page at @gpa reads as zero. */
bool balloon_zero(struct balloon_fixture *f, uint64_t gpa);
uint32_t balloon_config(struct balloon_fixture *f, unsigned int offset);
uint64_t balloon_counter(struct balloon_fixture *f, const char *name);
/* The device needs a reset, for a reason that has @why in it, and gets one. */
void balloon_assert_broken(struct balloon_fixture *f, const char *why);

/* Pauses the device and saves its state, of which the section "balloon" is the last. */
void balloon_save(struct balloon_fixture *f, struct buf *ret);
/* A device on the other side, which here is the same memory, with that state; or what was wrong with it. */
int balloon_move(struct balloon_fixture *f, const struct buf *saved, struct virtio **ret,
		 struct err *err);

#endif
