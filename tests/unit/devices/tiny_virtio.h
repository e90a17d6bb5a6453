/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_TINY_VIRTIO_H
#define TESTS_UNIT_DEVICES_TINY_VIRTIO_H

#include "devices/virtio/core.h"

/* The smallest virtio device for tests of a transport: it fills the device-writable part of each request with TINY_FILL, and its configuration keeps what the driver writes. */
#define TINY_QUEUES 3u
#define TINY_QUEUE_SIZE 16u
#define TINY_CONFIG_BYTES 12u
#define TINY_CONFIG "tiny-config" /* and its NUL, at first */
#define TINY_FEATURE 3u
#define TINY_FILL 0x5a
#define TINY_DEVICE_ID 42u
#define TINY_CLASS 0xff0000u

/* 0 or -errno. End: virtio_destroy. */
int tiny_virtio_create(const struct dev_host *host, struct virtio **ret);

#endif
