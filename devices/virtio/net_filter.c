/* SPDX-License-Identifier: Apache-2.0 */
#include "net_filter.h"

#include <string.h>

void net_filter_reset(struct net_filter *f)
{
	f->mode = NET_PROMISC;
	f->uni.len_bytes = 0;
	f->multi.len_bytes = 0;
}

static bool contains(const struct net_mac_table *t, const uint8_t *mac)
{
	for (uint32_t i = 0; i < t->len_bytes; i += NET_MAC_BYTES) {
		if (!memcmp(t->macs + i, mac, NET_MAC_BYTES))
			return true;
	}
	return false;
}

bool net_filter_wants(const struct net_filter *f, const uint8_t dst[NET_MAC_BYTES])
{
	static const uint8_t broadcast[NET_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (f->mode & NET_PROMISC)
		return true;
	if (!(dst[0] & 1)) {
		if (f->mode & NET_NOUNI)
			return false;
		return (f->mode & (NET_ALLUNI | NET_UNI_OVERFLOW)) ||
		       !memcmp(f->mac, dst, NET_MAC_BYTES) || contains(&f->uni, dst);
	}
	if (!memcmp(dst, broadcast, NET_MAC_BYTES))
		return !(f->mode & NET_NOBCAST);
	if (f->mode & NET_NOMULTI)
		return false;
	return (f->mode & (NET_ALLMULTI | NET_MULTI_OVERFLOW)) || contains(&f->multi, dst);
}
