/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "device_set.h"

/* From what somebody asked for to what each type of device wants to be told. */

static int create_blk(const struct machine_device *dev, const struct virtio_common *common,
		      unsigned int ncpus, struct virtio **ret, struct err *err)
{
	struct blk_config c = {
		.path = dev->local,
		.readonly = dev->readonly,
		.direct = dev->direct,
		.shared = dev->shared,
		.nqueues = dev->nqueues,
		.limit = dev->limit,
	};

	snprintf(c.serial, sizeof(c.serial), "%.20s", dev->label);
	return virtio_blk_create(common, &c, ncpus, ret, err);
}

static int create_net(const struct machine_device *dev, const struct virtio_common *common,
		      struct virtio **ret, struct err *err)
{
	struct net_config c = {
		.tap = dev->local,
		.nqueue_pairs = dev->nqueues,
		.limit = dev->limit,
	};

	memcpy(c.mac, dev->mac, sizeof(c.mac));
	return virtio_net_create(common, &c, ret, err);
}

static int create_console(const struct machine_device *ports, unsigned int nports,
			  const struct virtio_common *common, const struct device_set_env *env,
			  struct virtio **ret, struct err *err)
{
	struct console_config c = { .nports = nports,
				    .quit = env->quit,
				    .quit_opaque = env->quit_opaque };

	for (unsigned int i = 0; i < nports; i++)
		c.port[i] = (struct console_port){
			.spec = ports[i].local,
			.name = ports[i].label[0] ? ports[i].label : NULL,
		};
	return virtio_console_create(common, &c, ret, err);
}

static int create_balloon(const struct machine_device *dev, const struct virtio_common *common,
			  struct virtio **ret, struct err *err)
{
	int rc = virtio_balloon_create(common, ret, err);

	/* One that has come is as large as it was. */
	if (!rc && !common->face && dev->balloon_bytes)
		rc = virtio_balloon_set_target(*ret, dev->balloon_bytes / GMEM_PAGE_SIZE, err);
	return rc;
}

static int create_vsock(const struct machine_device *dev, const struct virtio_common *common,
			struct virtio **ret, struct err *err)
{
	const struct vsock_config c = { .cid = dev->cid, .path = dev->local };

	return virtio_vsock_create(common, &c, ret, err);
}

int device_create(const struct machine_device *dev, unsigned int n,
		  const struct virtio_common *common, const struct device_set_env *env,
		  struct virtio **ret, struct err *err)
{
	switch (dev->kind) {
	case MACHINE_BLK:
		return create_blk(dev, common, env->ncpus, ret, err);
	case MACHINE_NET:
		return create_net(dev, common, ret, err);
	case MACHINE_CONSOLE:
		return create_console(dev, n, common, env, ret, err);
	case MACHINE_BALLOON:
		return create_balloon(dev, common, ret, err);
	case MACHINE_RNG:
		return virtio_rng_create(common, ret, err);
	case MACHINE_VSOCK:
		return create_vsock(dev, common, ret, err);
	case MACHINE_DEVICE_KINDS:
		break;
	}
	return err_set(err, -EOPNOTSUPP, "%s: there are no devices of kind %u", dev->id,
		       (unsigned int)dev->kind);
}
