/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "migration/check/check.h"
#include "migration/migration.h"
#include "stream_maker.h"

struct lines {
	unsigned int n;
	char last[3][400];
};

static void take_line(void *opaque, const char *text)
{
	struct lines *l = opaque;

	snprintf(l->last[l->n++ % 3], sizeof(l->last[0]), "%s", text);
}

static int check_bytes(const void *data, size_t len, struct err *err)
{
	struct stream_check *c = calloc(1, sizeof(*c));
	char none = 0;
	int rc;

	c->in = fmemopen(len ? (void *)(uintptr_t)data : &none, len ? len : 1, "rb");
	assert_non_null(c->in);
	if (!len)
		(void)fgetc(c->in);
	c->max_ram_pages = 1 << 20;
	rc = stream_check_run(c, err);
	fclose(c->in);
	free(c);
	return rc;
}

static int check_made(struct stream_maker *m, struct err *err)
{
	int rc;

	assert_true(buf_ok(&m->out));
	rc = check_bytes(m->out.data, m->out.len_bytes, err);
	maker_fini(m);
	return rc;
}

static void whole_stream_is_right(void **state)
{
	struct stream_maker m = { 0 };
	struct lines l = { 0 };
	struct err err = { 0 };
	int fd = memfd_create("stream", MFD_CLOEXEC);

	maker_whole(&m);
	assert_int_equal(write(fd, m.out.data, m.out.len_bytes), m.out.len_bytes);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(mig_stream_check(fd, false, take_line, &l, &err), 0);
	assert_int_equal(l.n, 3);
	assert_non_null(strstr(l.last[0], "16 records"));
	assert_non_null(strstr(l.last[0], "3 rounds, 4 sections; 64 pages of memory"));
	assert_non_null(strstr(l.last[1], "15 with data (8 in ZPAGES"));
	assert_non_null(strstr(l.last[1], "2 stored), 40 zero, 12 never named"));
	assert_non_null(strstr(l.last[2], "1 seen in live rounds, 0 left; ends with COMMIT"));
	lseek(fd, 0, SEEK_SET);
	memset(&l, 0, sizeof(l));
	assert_int_equal(mig_stream_check(fd, true, take_line, &l, &err), 0);
	assert_int_equal(l.n, 16 + 3);
	assert_int_equal(mig_stream_check(-1, true, take_line, &l, &err), -EBADF);
	close(fd);
	maker_fini(&m);
}

static void every_truncation_is_found(void **state)
{
	struct stream_maker m = { 0 };

	maker_whole(&m);
	for (size_t n = 0; n < m.out.len_bytes; n += n < 600 ? 1 : 97) {
		struct err err = { 0 };

		assert_int_equal(check_bytes(m.out.data, n, &err), -ENODATA);
		assert_true(err.msg[0]);
	}
	buf_u8(&m.out, 0);
	assert_int_equal(check_bytes(m.out.data, m.out.len_bytes, NULL), -EPROTO);
	maker_fini(&m);
}

/* Where the bytes of a page (as the maker fills them) begin in the stream, at or after @from. */
static size_t find_page(const struct stream_maker *m, uint64_t number, size_t from)
{
	uint8_t start[16];

	memset(start, (int)number + 1, sizeof(start));
	le64_put(start, number);
	for (size_t i = from; i + sizeof(start) <= m->out.len_bytes; i++)
		if (!memcmp(m->out.data + i, start, sizeof(start)))
			return i;
	fail();
	return 0;
}

/* One inverted bit anywhere is found, but in pages of live rounds that come again. */
static void every_flipped_byte_is_found(void **state)
{
	struct stream_maker m = { 0 };
	size_t first, second;
	unsigned int accepted = 0;

	maker_whole(&m);
	first = find_page(&m, 0, 0); /* pages 0 and 1, before the same in round 2 */
	second = find_page(&m, 1,
			   find_page(&m, 0, first + 1)); /* page 1 in round 2, before the last */
	for (size_t i = 0; i < m.out.len_bytes; i += 13) {
		bool again = (i >= first && i < first + 2 * STREAM_PAGE_BYTES) ||
			     (i >= second && i < second + STREAM_PAGE_BYTES);
		struct err err = { 0 };
		int rc;

		m.out.data[i] ^= 0x10;
		rc = check_bytes(m.out.data, m.out.len_bytes, &err);
		m.out.data[i] ^= 0x10;
		assert_int_equal(rc == 0, again);
		accepted += rc == 0;
	}
	assert_in_range(accepted, 900, 3 * STREAM_PAGE_BYTES / 13 + 2);
	maker_fini(&m);
}

static void begin(struct stream_maker *m)
{
	maker_hello(m, STREAM_FEATURE_ZPAGES);
	maker_config(m, MAKER_RAM_PAGES * (uint64_t)STREAM_PAGE_BYTES);
}

static void finish(struct stream_maker *m)
{
	maker_round_begin(m, true);
	maker_round_end(m);
	maker_state(m);
	maker_end(m);
	maker_commit(m);
}

static void counts_must_agree(void **state)
{
	struct stream_maker m = { 0 };
	struct err err = { 0 };

	begin(&m);
	maker_round_begin(&m, false);
	maker_pages(&m, 0, 4, false);
	m.round_pages--;
	maker_round_end(&m);
	finish(&m);
	assert_int_equal(check_made(&m, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "record 4 (ROUND_END)"));
	assert_non_null(strstr(err.msg, "the round held 4, 0,"));

	m = (struct stream_maker){ 0 };
	begin(&m);
	maker_round_begin(&m, false);
	m.round_start--; /* one byte more than there was */
	maker_round_end(&m);
	finish(&m);
	assert_int_equal(check_made(&m, &err), -EBADMSG);

	for (int what = 0; what < 3; what++) {
		m = (struct stream_maker){ 0 };
		begin(&m);
		maker_round_begin(&m, true);
		maker_round_end(&m);
		maker_state(&m);
		m.pages += what == 0;
		m.zero_pages += what == 1;
		if (what == 2) {
			const struct rec_end end = { 0, 0, m.seq + 1, 0 };

			rec_end_encode(&end, &m.meta);
			maker_record(&m, REC_END, NULL, 0);
		} else
			maker_end(&m);
		maker_commit(&m);
		assert_int_equal(check_made(&m, &err), -EBADMSG);
		assert_non_null(strstr(err.msg, "(END)"));
	}
}

static void torn_pages_must_be_mended(void **state)
{
	struct stream_maker m = { 0 };
	struct err err = { 0 };

	for (int how = 0; how < 4; how++) {
		m = (struct stream_maker){ 0 };
		begin(&m);
		maker_round_begin(&m, false);
		maker_pages(&m, 7, 2, true);
		if (how == 1)
			maker_pages(&m, 7, 1, false);
		else if (how == 2)
			maker_zero(&m, 0, 20);
		else if (how == 3)
			maker_zpages(&m, 5, 4);
		maker_round_end(&m);
		finish(&m);
		assert_int_equal(check_made(&m, &err), how ? 0 : -EBADMSG);
	}
	assert_non_null(strstr(err.msg, "page 7 never arrived whole (1 such pages)"));

	m = (struct stream_maker){ 0 };
	begin(&m);
	maker_round_begin(&m, true);
	maker_pages(&m, 9, 1, true);
	maker_round_end(&m);
	assert_int_equal(check_made(&m, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "page 9"));
	assert_non_null(strstr(err.msg, "in the last round"));
}

static void order_is_kept(void **state)
{
	struct stream_maker m = { 0 };
	struct err err = { 0 };

	maker_config(&m, 4096);
	assert_int_equal(check_made(&m, &err), -EPROTO);
	assert_string_equal(err.msg, "record 0 (CONFIG): CONFIG is not allowed before HELLO");

	m = (struct stream_maker){ 0 };
	begin(&m);
	maker_pages(&m, 0, 1, false);
	assert_int_equal(check_made(&m, &err), -EPROTO);

	m = (struct stream_maker){ 0 };
	begin(&m);
	maker_round_begin(&m, true);
	maker_round_end(&m);
	maker_end(&m); /* no STATE */
	assert_int_equal(check_made(&m, &err), -EPROTO);

	m = (struct stream_maker){ 0 };
	begin(&m);
	maker_round_begin(&m, false);
	maker_round_end(&m);
	m.round++;
	maker_round_begin(&m, false); /* number 3 */
	assert_int_equal(check_made(&m, &err), -EPROTO);

	m = (struct stream_maker){ 0 };
	begin(&m);
	maker_record(&m, REC_COMMIT, NULL, 0);
	assert_int_equal(check_made(&m, &err), -EPROTO);

	m = (struct stream_maker){ 0 };
	begin(&m);
	buf_u64(&m.meta, 1);
	maker_record(&m, REC_STARTED, NULL, 0); /* the destination's */
	assert_int_equal(check_made(&m, &err), -EPROTO);
}

static void configuration_is_checked(void **state)
{
	static const uint64_t bad_bytes[] = { 0, 1, 4095, UINT64_MAX, (1ull << 32) + 4096 };
	struct stream_maker m = { 0 };
	struct err err = { 0 };

	for (size_t i = 0; i < 5; i++) {
		m = (struct stream_maker){ 0 };
		maker_hello(&m, 0);
		maker_config(&m, bad_bytes[i]);
		assert_int_equal(check_made(&m, &err), i == 4 ? -EFBIG : -EBADMSG);
		assert_non_null(strstr(err.msg, "machine"));
	}
	m = (struct stream_maker){ 0 };
	maker_hello(&m, 0);
	maker_record(&m, REC_CONFIG, NULL, 0);
	assert_int_equal(check_made(&m, &err), -EBADMSG);

	m = (struct stream_maker){ 0 };
	rec_hello_encode(&(struct rec_hello){ 2, 9, 0, 4096, 65536 }, &m.meta);
	maker_record(&m, REC_HELLO, NULL, 0);
	assert_int_equal(check_made(&m, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "versions are 2 to 9"));

	m = (struct stream_maker){ 0 };
	maker_hello(&m, 0); /* no ZPAGES */
	maker_config(&m, 64 * 4096);
	maker_round_begin(&m, false);
	maker_zpages(&m, 0, 1);
	assert_int_equal(check_made(&m, &err), -EPROTO);

	m = (struct stream_maker){ 0 };
	begin(&m);
	maker_round_begin(&m, false);
	maker_pages(&m, MAKER_RAM_PAGES - 1, 2, false);
	assert_int_equal(check_made(&m, &err), -EBADMSG);
}

/* The payload's crc is right, what it holds is not. */
static void damaged_deflate_is_found(void **state)
{
	struct pages_meta *list = calloc(1, sizeof(*list));
	uint8_t meta[PAGES_META_MAX_BYTES];
	static const uint8_t junk[7] = { 0xff, 0xff, 0xff, 0xff, 1, 2, 3 };
	struct stream_maker m = { 0 };
	struct err err = { 0 };

	begin(&m);
	maker_round_begin(&m, false);
	list->nruns = list->npages = 1;
	list->run[0] = (struct page_run){ 0, 1 };
	list->length[0] = sizeof(junk);
	list->payload_crc = crc32c(0, junk, sizeof(junk));
	buf_put(&m.meta, meta, zpages_encode(list, meta));
	maker_record(&m, REC_ZPAGES, junk, sizeof(junk));
	assert_int_equal(check_made(&m, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "(ZPAGES): compressed page 0 of the record: damaged"));
	free(list);
}

static void cancelled_stream_is_whole(void **state)
{
	struct stream_maker m = { 0 };
	struct err err = { 0 };

	begin(&m);
	maker_round_begin(&m, false);
	maker_pages(&m, 0, 1, true);
	rec_text_encode(ECANCELED, "user", &m.meta);
	maker_record(&m, REC_CANCEL, NULL, 0);
	assert_int_equal(check_made(&m, &err), 0);

	m = (struct stream_maker){ 0 };
	rec_text_encode(ENOMEM, "no\x1b memory", &m.meta);
	maker_record(&m, REC_ERROR, NULL, 0);
	maker_hello(&m, 0);
	assert_int_equal(check_made(&m, &err), -EPROTO); /* nothing may follow */
}

/* Streams written by an earlier build are still read: the format has not drifted. */
static void old_streams_are_read(void **state)
{
	static const char *const names[] = { "whole", "zero", "cancelled" };
	const char *root = getenv("VMM_SOURCE_ROOT");

	if (!root)
		skip();
	for (size_t i = 0; i < 3; i++) {
		struct err err = { 0 };
		struct lines l = { 0 };
		char path[512];
		int fd;

		snprintf(path, sizeof(path), "%s/tests/fuzz/stream/corpus/stream/%s", root,
			 names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(mig_stream_check(fd, false, take_line, &l, &err), 0);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_stream_is_right),
		cmocka_unit_test(every_truncation_is_found),
		cmocka_unit_test(every_flipped_byte_is_found),
		cmocka_unit_test(counts_must_agree),
		cmocka_unit_test(torn_pages_must_be_mended),
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(configuration_is_checked),
		cmocka_unit_test(damaged_deflate_is_found),
		cmocka_unit_test(cancelled_stream_is_whole),
		cmocka_unit_test(old_streams_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
