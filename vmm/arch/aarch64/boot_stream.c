/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_stream.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/num.h"

#define GZIP_ONLY (16 + MAX_WBITS) /* zlib.h, inflateInit2 */
#define BUFFER_BYTES (64u << 10)

struct boot_stream {
	const struct boot_source *src;
	uint64_t at; /* read so far */
	bool is_gzip;
	bool ended; /* the compressed data's end has been seen */
	z_stream z;
	uint8_t buffer[BUFFER_BYTES];
};

static bool has_gzip_magic(const struct boot_source *src)
{
	uint8_t magic[2];

	return boot_source_read(src, 0, magic, sizeof(magic)) == 0 && magic[0] == 0x1f &&
	       magic[1] == 0x8b;
}

int boot_stream_open(const struct boot_source *src, struct boot_stream **ret, struct err *err)
{
	struct boot_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(err, -ENOMEM, "%s: no memory to read it", src->name);
	s->src = src;
	s->is_gzip = has_gzip_magic(src);
	if (s->is_gzip && inflateInit2(&s->z, GZIP_ONLY) != Z_OK) {
		free(s);
		return err_set(err, -ENOMEM, "%s: no memory to decompress it", src->name);
	}
	*ret = s;
	return 0;
}

void boot_stream_close(struct boot_stream *s)
{
	if (!s)
		return;
	if (s->is_gzip)
		(void)inflateEnd(&s->z);
	free(s);
}

bool boot_stream_is_gzip(const struct boot_stream *s)
{
	return s->is_gzip;
}

/* At most @len_bytes of the source. */
static int read_source(struct boot_stream *s, void *dst, size_t len_bytes, size_t *ret_bytes,
		       struct err *err)
{
	size_t n = (size_t)MIN((uint64_t)len_bytes, s->src->len_bytes - s->at);
	int r = boot_source_read(s->src, s->at, dst, n);

	if (r < 0)
		return err_sys(err, r, "%s: cannot read", s->src->name);
	s->at += n;
	*ret_bytes = n;
	return 0;
}

static int refill(struct boot_stream *s, struct err *err)
{
	size_t n = 0;
	int r = read_source(s, s->buffer, sizeof(s->buffer), &n, err);

	if (r < 0)
		return r;
	if (n == 0)
		return err_set(err, -ENODATA,
			       "%s: truncated: the file ends in the middle of its gzip data",
			       s->src->name);
	s->z.next_in = s->buffer;
	s->z.avail_in = (uInt)n;
	return 0;
}

static int read_gzip(struct boot_stream *s, void *dst, size_t len_bytes, size_t *ret_bytes,
		     struct err *err)
{
	uint8_t *p = dst;
	size_t done = 0;

	while (done < len_bytes && !s->ended) {
		uInt room = (uInt)MIN(len_bytes - done, (size_t)INT_MAX);
		int r = s->z.avail_in ? 0 : refill(s, err);

		if (r < 0)
			return r;
		s->z.next_out = p + done;
		s->z.avail_out = room;
		r = inflate(&s->z, Z_NO_FLUSH);
		done += room - s->z.avail_out;
		if (r == Z_STREAM_END)
			s->ended = true;
		else if (r == Z_MEM_ERROR)
			return err_set(err, -ENOMEM, "%s: no memory to decompress it",
				       s->src->name);
		else if (r != Z_OK && r != Z_BUF_ERROR)
			return err_set(err, -EBADMSG, "%s: gzip data is damaged: %s", s->src->name,
				       s->z.msg ? s->z.msg : "no reason given");
	}
	*ret_bytes = done;
	return 0;
}

int boot_stream_read(struct boot_stream *s, void *dst, size_t len_bytes, size_t *ret_bytes,
		     struct err *err)
{
	return s->is_gzip ? read_gzip(s, dst, len_bytes, ret_bytes, err) :
			    read_source(s, dst, len_bytes, ret_bytes, err);
}
