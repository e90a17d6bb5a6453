/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include <zlib.h>

#include "migration/compress/compress.h"

struct inflater {
	z_stream z;
};

int inflater_create(struct inflater **ret, struct err *err)
{
	struct inflater *f = calloc(1, sizeof(*f));

	/* The largest window: whatever a sender chose, distances reach no further back than the page itself. */
	if (!f || inflateInit2(&f->z, -15) != Z_OK) {
		free(f);
		return err_set(err, -ENOMEM, "no memory to decompress pages");
	}
	*ret = f;
	return 0;
}

void inflater_destroy(struct inflater *f)
{
	if (!f)
		return;
	inflateEnd(&f->z);
	free(f);
}

int inflater_page(struct inflater *f, const void *data, uint32_t len_bytes, void *out,
		  struct err *err)
{
	int rc;

	inflateReset(&f->z);
	f->z.next_in = (z_const Bytef *)data;
	f->z.avail_in = len_bytes;
	f->z.next_out = out;
	f->z.avail_out = STREAM_PAGE_BYTES;
	rc = inflate(&f->z, Z_FINISH);
	if (rc == Z_MEM_ERROR)
		return err_set(err, -ENOMEM, "no memory to decompress pages");
	if (rc == Z_BUF_ERROR && f->z.avail_out)
		return err_set(err, -EBADMSG, "deflate stream of %u bytes ends early", len_bytes);
	if (rc == Z_BUF_ERROR || rc == Z_OK)
		return err_set(err, -EBADMSG, "deflate stream yields more than a page");
	if (rc != Z_STREAM_END)
		return err_set(err, -EBADMSG, "damaged deflate stream: %s",
			       f->z.msg ? f->z.msg : "unknown reason");
	if (f->z.avail_out)
		return err_set(err, -EBADMSG, "deflate stream yields %u bytes, not a page",
			       STREAM_PAGE_BYTES - f->z.avail_out);
	if (f->z.avail_in)
		return err_set(err, -EBADMSG, "%u bytes behind the deflate stream", f->z.avail_in);
	return 0;
}
