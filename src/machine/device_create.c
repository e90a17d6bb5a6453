/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "device_set.h"

/* From what somebody asked for to what each type of device wants to be told. */

int device_create(const struct machine_device *dev, unsigned int n,
		  const struct virtio_common *common, unsigned int ncpus, struct virtio **ret,
		  struct err *err)
{
	(void)n;
	(void)common;
	(void)ncpus;
	(void)ret;
	return err_set(err, -EOPNOTSUPP, "--%s: %s: this vmm cannot build such a device yet",
		       machine_device_option(dev->kind), dev->id);
}
