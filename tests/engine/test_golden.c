/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "fake_vm.h"
#include "fault_transport.h"
#include "migration/wire/record.h"

/* What the real sender writes, recorded on its way, against the reader of recorded streams (stream.md §5): the two know nothing of each other. */

static void record_stream(enum mig_compress compress, unsigned int hot_pages, struct buf *ret,
			  struct mig_report *ret_report)
{
	struct fake_destination d = { 0 };
	struct transport *x, *y, *tee;
	struct fault_plan none;
	struct fake_source s;
	struct attempt a;

	fake_source_init(&s, hot_pages);
	attempt_defaults(&a);
	a.params.compress = compress;
	a.params.workers = 2;
	transport_pair(&x, &y);
	fault_plan_init(&none);
	assert_int_equal(fault_transport_create(x, &none, ret, &tee, NULL), 0);
	attempt_run(&a, &s, &d, tee, y);
	assert_one_owner(&a, &s, &d);
	assert_int_equal(a.send_rc, 0);
	assert_int_equal(ret->len_bytes, a.report.bytes_sent);
	*ret_report = a.report;
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

struct lines {
	unsigned int n, of_type[REC_TYPE_COUNT];
	char last[400];
};

static void take_line(void *opaque, const char *text)
{
	struct lines *l = opaque;
	char name[16];

	l->n++;
	snprintf(l->last, sizeof(l->last), "%s", text);
	if (sscanf(text, "%*u %*u %15s", name) != 1)
		return;
	for (unsigned int t = 1; t < REC_TYPE_COUNT; t++)
		l->of_type[t] += !strcmp(name, record_name((enum record_type)t));
}

static int check_bytes(const uint8_t *data, size_t len, bool dump, struct lines *l, struct err *err)
{
	int fd = memfd_create("stream", MFD_CLOEXEC), rc;

	memset(l, 0, sizeof(*l));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	rc = mig_stream_check(fd, dump, take_line, l, err);
	close(fd);
	return rc;
}

static void test_accepted(enum mig_compress compress, unsigned int hot_pages)
{
	struct buf stream = { 0 };
	struct err err = { 0 };
	struct mig_report report;
	unsigned int nrecords = 0;
	struct lines l;

	record_stream(compress, hot_pages, &stream, &report);
	if (check_bytes(stream.data, stream.len_bytes, false, &l, &err))
		fail_msg("refused: %s", err.msg);
	assert_true(l.n > 0);
	assert_int_equal(l.of_type[REC_COMMIT], 0); /* the summary alone */
	assert_int_equal(check_bytes(stream.data, stream.len_bytes, true, &l, &err), 0);
	for (size_t at = 0; at < stream.len_bytes; nrecords++) {
		const uint8_t *h = stream.data + at;

		at += STREAM_HEADER_BYTES + le32_get(h + 12) + le64_get(h + 16);
	}
	assert_true(l.n > nrecords);
	assert_int_equal(l.of_type[REC_HELLO], 1);
	assert_int_equal(l.of_type[REC_CONFIG], 1);
	assert_int_equal(l.of_type[REC_ROUND_BEGIN], report.nrounds);
	assert_int_equal(l.of_type[REC_ROUND_END], report.nrounds);
	assert_true(l.of_type[REC_PAGES] + l.of_type[REC_ZPAGES] > 0);
	assert_int_equal(l.of_type[REC_STATE], 1);
	assert_int_equal(l.of_type[REC_END], 1);
	assert_int_equal(l.of_type[REC_COMMIT], 1);
	buf_fini(&stream);
}

static void test_idle(void **state)
{
	(void)state;
	test_accepted(MIG_COMPRESS_NONE, 0);
}

static void test_writer(void **state)
{
	(void)state;
	test_accepted(MIG_COMPRESS_NONE, 200);
}

static void test_compressed(void **state)
{
	(void)state;
	test_accepted(MIG_COMPRESS_ZLIB, 200);
}

/* Every byte of headers and meta data, and every 1000th of the pages: no flipped bit is overlooked. */
static void test_flipped(void **state)
{
	struct buf stream = { 0 };
	struct mig_report report;
	unsigned int refused = 0;

	(void)state;
	record_stream(MIG_COMPRESS_NONE, 0, &stream, &report);
	for (size_t at = 0; at < stream.len_bytes;) {
		const uint8_t *h = stream.data + at;
		size_t payload = at + STREAM_HEADER_BYTES + le32_get(h + 12);
		size_t end = payload + le64_get(h + 16);
		/* Meta data of pages is long: its checksum is one and the same for all of it. */
		size_t step = payload - at > 200 ? 29 : 5;

		for (size_t i = at; i < end; i += i < payload ? step : 40009) {
			struct err err = { 0 };
			struct lines l;

			stream.data[i] ^= 1u << (i % 8);
			if (!check_bytes(stream.data, stream.len_bytes, false, &l, &err))
				fail_msg("a flipped bit at byte %zu was overlooked", i);
			assert_true(err.msg[0]);
			stream.data[i] ^= 1u << (i % 8);
			refused++;
		}
		at = end;
	}
	assert_true(refused >= 100);
	buf_fini(&stream);
}

static void test_truncated(void **state)
{
	struct buf stream = { 0 };
	struct mig_report report;

	(void)state;
	record_stream(MIG_COMPRESS_NONE, 0, &stream, &report);
	for (size_t k = 0; k < 64; k++) {
		size_t len = k < 32 ? stream.len_bytes * k / 32 : stream.len_bytes - (k - 31);
		struct err err = { 0 };
		struct lines l;

		assert_int_not_equal(check_bytes(stream.data, len, false, &l, &err), 0);
	}
	buf_fini(&stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),       cmocka_unit_test(test_writer),
		cmocka_unit_test(test_compressed), cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
