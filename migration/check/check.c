/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/check/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/state.h"
#include "migration/migration.h"

static int check_hello(struct stream_check *c, struct err *err)
{
	struct rec_hello hello;
	int rc = rec_hello_decode(c->meta, c->h.meta_len, &hello, err);

	if (rc)
		return rc;
	if (hello.version_min > STREAM_VERSION || hello.version_max < STREAM_VERSION)
		return err_set(err, -EOPNOTSUPP, "the stream's versions are %u to %u, this is %u",
			       hello.version_min, hello.version_max, STREAM_VERSION);
	c->features = hello.features;
	snprintf(c->detail, sizeof(c->detail), "versions=%u-%u features=0x%llx max_payload=%u",
		 hello.version_min, hello.version_max, (unsigned long long)hello.features,
		 hello.max_payload);
	return 0;
}

/* The size of memory: the first field of the `machine` section (state.md), the only one this reader needs to know. */
static int take_ram_size(struct stream_check *c, const struct state_section *section,
			 struct err *err)
{
	struct reader r = reader_over(section->data, section->len_bytes);
	uint64_t bytes = reader_u64(&r);

	if (r.failed || !bytes || bytes % STREAM_PAGE_BYTES)
		return err_set(err, -EBADMSG, "section machine: %llu bytes of memory",
			       (unsigned long long)bytes);
	if (bytes / STREAM_PAGE_BYTES > c->max_ram_pages)
		return err_set(err, -EFBIG, "section machine: %llu bytes of memory, at most %llu",
			       (unsigned long long)bytes,
			       (unsigned long long)(c->max_ram_pages * STREAM_PAGE_BYTES));
	if (c->ram_pages)
		return err_set(err, -EBADMSG, "section machine stands twice");
	c->ram_pages = bytes / STREAM_PAGE_BYTES;
	if (bitmap_init(&c->named, c->ram_pages) || bitmap_init(&c->unproven, c->ram_pages))
		return err_set(err, -ENOMEM, "no memory for the page bitmaps");
	return 0;
}

/* CONFIG and STATE: their sections, named one by one as far as a line holds them. */
static int check_sections(struct stream_check *c, struct err *err)
{
	struct reader r = reader_over(c->meta, c->h.meta_len);
	size_t used = 0;
	uint32_t n = 0;
	int rc;

	for (;; n++) {
		struct state_section section;

		rc = state_next_section(&r, &section, err);
		if (rc == -ENODATA)
			break;
		if (rc)
			return rc;
		if (c->h.type == REC_CONFIG && !strcmp(section.name, "machine")) {
			rc = take_ram_size(c, &section, err);
			if (rc)
				return rc;
		}
		if (used < sizeof(c->detail))
			used += (size_t)snprintf(c->detail + used, sizeof(c->detail) - used,
						 "%s%s.%u:%u", n ? " " : "", section.name,
						 section.instance, section.len_bytes);
	}
	if (used >= sizeof(c->detail)) /* of many vCPUs, say */
		memcpy(c->detail + sizeof(c->detail) - 4, "...", 4);
	if (!n)
		return err_set(err, -EBADMSG, "no section");
	if (c->h.type == REC_CONFIG && !c->ram_pages)
		return err_set(err, -EBADMSG, "section machine is missing");
	c->sections += n;
	return 0;
}

static int check_round_begin(struct stream_check *c, struct err *err)
{
	struct rec_round_begin begin;
	int rc = rec_round_begin_decode(c->meta, c->h.meta_len, &begin, err);

	if (rc)
		return rc;
	if (begin.round != c->round + 1)
		return err_set(err, -EPROTO, "round %u begins behind round %u", begin.round,
			       c->round);
	c->round = begin.round;
	c->last_round = begin.last;
	c->round_pages = c->round_zero = 0;
	c->round_bytes = 0;
	snprintf(c->detail, sizeof(c->detail), "round=%u%s", begin.round,
		 begin.last ? " last" : "");
	return 0;
}

static int check_round_end(struct stream_check *c, struct err *err)
{
	struct rec_round_end end;
	int rc = rec_round_end_decode(c->meta, c->h.meta_len, &end, err);

	if (rc)
		return rc;
	if (end.round != c->round)
		return err_set(err, -EPROTO, "round %u ends within round %u", end.round, c->round);
	if (end.pages != c->round_pages || end.zero_pages != c->round_zero ||
	    end.bytes != c->round_bytes)
		return err_set(
			err, -EBADMSG,
			"says %llu pages, %llu zero pages, %llu bytes; the round held %llu, %llu, %llu",
			(unsigned long long)end.pages, (unsigned long long)end.zero_pages,
			(unsigned long long)end.bytes, (unsigned long long)c->round_pages,
			(unsigned long long)c->round_zero, (unsigned long long)c->round_bytes);
	c->pages += c->round_pages;
	c->zero_pages += c->round_zero;
	snprintf(c->detail, sizeof(c->detail),
		 "round=%u pages=%llu zero=%llu bytes=%llu unproven=%llu", c->round,
		 (unsigned long long)c->round_pages, (unsigned long long)c->round_zero,
		 (unsigned long long)c->round_bytes,
		 (unsigned long long)bitmap_count(&c->unproven));
	return 0;
}

static int check_end(struct stream_check *c, struct err *err)
{
	uint64_t first, count;
	struct rec_end end;
	int rc = rec_end_decode(c->meta, c->h.meta_len, &end, err);

	if (rc)
		return rc;
	if (end.total_pages != c->pages || end.total_zero_pages != c->zero_pages ||
	    end.total_records != c->h.seq)
		return err_set(
			err, -EBADMSG,
			"says %llu pages, %llu zero pages, %llu records; the stream held %llu, %llu, %u",
			(unsigned long long)end.total_pages,
			(unsigned long long)end.total_zero_pages,
			(unsigned long long)end.total_records, (unsigned long long)c->pages,
			(unsigned long long)c->zero_pages, c->h.seq);
	if (bitmap_next_run(&c->unproven, 0, c->ram_pages, &first, &count))
		return err_set(err, -EBADMSG, "page %llu never arrived whole (%llu such pages)",
			       (unsigned long long)first,
			       (unsigned long long)bitmap_count(&c->unproven));
	snprintf(c->detail, sizeof(c->detail), "pages=%llu zero=%llu records=%llu",
		 (unsigned long long)end.total_pages, (unsigned long long)end.total_zero_pages,
		 (unsigned long long)end.total_records);
	return 0;
}

static int check_text(struct stream_check *c, struct err *err)
{
	struct rec_text text;
	int rc = rec_text_decode(c->meta, c->h.meta_len, &text, err);

	if (rc)
		return rc;
	/* Cut at the line's end; what a terminal may not see was replaced already. */
	snprintf(c->detail, sizeof(c->detail), "code=%u %.*s", text.code,
		 (int)sizeof(c->detail) - 24, text.text);
	return 0;
}

static int check_contents(struct stream_check *c, struct err *err)
{
	switch (c->h.type) {
	case REC_HELLO:
		return check_hello(c, err);
	case REC_CONFIG:
	case REC_STATE:
		return check_sections(c, err);
	case REC_ROUND_BEGIN:
		return check_round_begin(c, err);
	case REC_PAGES:
		return check_pages(c, err);
	case REC_ZERO:
		return check_zero(c, err);
	case REC_ZPAGES:
		return check_zpages(c, err);
	case REC_ROUND_END:
		return check_round_end(c, err);
	case REC_END:
		return check_end(c, err);
	case REC_ERROR:
	case REC_CANCEL:
		return check_text(c, err);
	case REC_COMMIT:
		return 0; /* nothing in it: the limits of its type say so */
	case REC_CONFIG_OK:
	case REC_ROUND_ACK:
	case REC_READY:
	case REC_STARTED:
	case REC_TYPE_COUNT:
		break;
	}
	return err_set(err, -EPROTO, "not a record of the source");
}

/* All of @len bytes. -ENODATA at an early end. */
static int take(struct stream_check *c, void *out, size_t len, struct err *err)
{
	size_t n = fread(out, 1, len, c->in);

	if (n == len)
		return 0;
	if (ferror(c->in))
		return err_sys(err, -EIO, "read");
	return err_set(err, -ENODATA, "the file ends within the record");
}

/* The rest of a record whose header is there. */
static int check_record(struct stream_check *c, struct err *err)
{
	bool last;
	int rc = record_decode_header(c->header, c->seq, &c->h, err);

	if (rc)
		return rc; /* names the record itself */
	rc = take(c, c->meta, c->h.meta_len, err);
	if (!rc) {
		rc = record_check_crc(c->header, &c->h, c->meta, err);
		if (rc)
			return rc;
	}
	if (!rc && c->h.payload_len)
		rc = take(c, c->payload, (size_t)c->h.payload_len, err);
	last = c->h.type == REC_ROUND_BEGIN && c->h.meta_len >= 8 && le32_get(c->meta + 4) == 1;
	if (!rc)
		rc = stream_next_state(&c->state, c->h.type, last, err);
	if (!rc)
		rc = check_contents(c, err);
	if (rc)
		return err_prefix(err, "record %u (%s)", c->h.seq, record_name(c->h.type));
	return 0;
}

static void print_record(struct stream_check *c)
{
	char text[sizeof(c->detail) + 64];

	if (!c->dump)
		return;
	snprintf(text, sizeof(text), "%8u %14llu %-11s %s", c->h.seq, (unsigned long long)c->offset,
		 record_name(c->h.type), c->detail);
	c->line(c->opaque, text);
}

static void print_summary(struct stream_check *c)
{
	char text[320];

	snprintf(text, sizeof(text),
		 "%u records, %llu bytes, %u rounds, %u sections; %llu pages of memory", c->seq,
		 (unsigned long long)c->bytes, c->round, c->sections,
		 (unsigned long long)c->ram_pages);
	c->line(c->opaque, text);
	snprintf(
		text, sizeof(text),
		"pages: %llu with data (%llu in ZPAGES, %llu bytes there, %llu stored), %llu zero, %llu never named",
		(unsigned long long)c->pages, (unsigned long long)c->zpages,
		(unsigned long long)c->zpages_bytes, (unsigned long long)c->stored,
		(unsigned long long)c->zero_pages,
		(unsigned long long)(c->ram_pages - bitmap_count(&c->named)));
	c->line(c->opaque, text);
	snprintf(text, sizeof(text),
		 "torn pages: %llu seen in live rounds, %llu left; ends with %s",
		 (unsigned long long)c->torn, (unsigned long long)bitmap_count(&c->unproven),
		 record_name(c->h.type));
	c->line(c->opaque, text);
}

/* The next record's header. *ret_end at the end of the file, where the last record must have been the stream's last. */
static int next_header(struct stream_check *c, bool *ret_end, struct err *err)
{
	bool over = c->state == STREAM_COMMITTED || c->state == STREAM_OVER;
	size_t n = fread(c->header, 1, sizeof(c->header), c->in);

	*ret_end = n == 0;
	if (ferror(c->in))
		return err_sys(err, -EIO, "read");
	if (over && n)
		return err_set(err, -EPROTO, "bytes behind the last record (%s)",
			       record_name(c->h.type));
	if (n == sizeof(c->header) || (over && !n))
		return 0;
	if (n)
		return err_set(err, -ENODATA, "record %u: the file ends within the header", c->seq);
	return err_set(err, -ENODATA, "the stream ends after %u records, before COMMIT", c->seq);
}

static int run(struct stream_check *c, struct err *err)
{
	for (;;) {
		bool end;
		int rc = next_header(c, &end, err);

		if (rc || end)
			return rc;
		c->detail[0] = '\0';
		rc = check_record(c, err);
		if (rc)
			return rc;
		print_record(c);
		c->offset += STREAM_HEADER_BYTES + c->h.meta_len + c->h.payload_len;
		c->bytes = c->offset;
		c->round_bytes += STREAM_HEADER_BYTES + c->h.meta_len + c->h.payload_len;
		c->seq++;
	}
}

int stream_check_run(struct stream_check *c, struct err *err)
{
	int rc = inflater_create(&c->inflater, err);

	if (rc)
		return rc;
	c->meta = malloc(STREAM_MAX_META);
	c->payload = malloc(STREAM_MAX_PAYLOAD);
	rc = c->meta && c->payload ? run(c, err) : err_set(err, -ENOMEM, "no memory for a record");
	if (!rc && c->line)
		print_summary(c);
	free(c->meta);
	free(c->payload);
	inflater_destroy(c->inflater);
	bitmap_fini(&c->named);
	bitmap_fini(&c->unproven);
	return rc;
}

int mig_stream_check(int fd, bool dump, void (*line)(void *opaque, const char *text), void *opaque,
		     struct err *err)
{
	struct stream_check *c;
	int copy, rc;

	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, -ENOMEM, "no memory");
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	c->in = copy < 0 ? NULL : fdopen(copy, "rb");
	if (!c->in) {
		rc = err_sys(err, -errno, "open the stream");
		fd_close(&copy);
		free(c);
		return rc;
	}
	c->max_ram_pages = STREAM_MAX_RAM_PAGES;
	c->line = line;
	c->opaque = opaque;
	c->dump = dump && line;
	rc = stream_check_run(c, err);
	fclose(c->in);
	free(c);
	return rc;
}
