/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_BLK_FACE_H
#define DEVICES_VIRTIO_BLK_FACE_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/backend/disk.h"
#include "devices/virtio.h"

/* What a guest sees of a block device before its first request: features and configuration (virtio 1.2 §5.2.3, §5.2.4). */

/* Without secure erase, which stands behind it in newer headers. */
#define BLK_CONFIG_BYTES 60u

uint64_t blk_features(bool readonly, unsigned int nqueues);
void blk_make_config(const struct disk_geometry *g, unsigned int nqueues,
		     struct virtio_blk_config *ret);
/* The source's configuration, if the image here can stand behind it: else -EOPNOTSUPP or -EINVAL, with both named. What it says of block sizes is advice to the driver and stays what the
 * driver has read. */
int blk_adopt_face(const struct blk_config *config, const struct virtio_face *face,
		   const struct disk_geometry *g, struct virtio_blk_config *ret, struct err *err);

#endif
