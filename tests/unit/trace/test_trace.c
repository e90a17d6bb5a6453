/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fd.h"
#include "base/num.h"
#include "format.h"
#include "trace/trace.h"

/* What was written is read back; each rule of docs/spec/trace.md §3, broken alone, is refused. */

#define NPAGES 1000u
#define INTERVAL_NS 1000u

static struct trace_header good_header(void)
{
	return (struct trace_header){ .page_bytes = 4096,
				      .npages = NPAGES,
				      .interval_ns = INTERVAL_NS,
				      .text = "name=a\nkernel=6.1 x=y\n" };
}

struct file {
	char dir[64];
	char path[128];
};

static int make_dir(void **state)
{
	struct file *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test-trace-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/trace", f->dir);
	*state = f;
	return 0;
}

static int remove_dir(void **state)
{
	struct file *f = *state;

	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* nothing else was left in it */
	free(f);
	return 0;
}

/* The pages of interval @i: nothing, a run at either end, every third page, everything. */
static void fill(struct bitmap *pages, unsigned int i)
{
	bitmap_zero(pages);
	if (i == 1) {
		bitmap_set_range(pages, 0, 3);
		bitmap_set_range(pages, NPAGES - 200, 200);
	} else if (i == 2) {
		for (unsigned int p = 1; p < NPAGES; p += 3)
			bitmap_set(pages, p);
	} else if (i == 3) {
		bitmap_fill(pages);
	}
}
#define NINTERVALS 4u

static void written_is_read_back(void **state)
{
	struct file *f = *state;
	struct trace_header h = good_header(), got;
	struct trace_writer *w;
	struct trace_reader *r;
	struct trace_interval interval;
	struct bitmap pages, want;
	struct stat st;
	char text[32];

	assert_int_equal(bitmap_init(&pages, NPAGES), 0);
	assert_int_equal(bitmap_init(&want, NPAGES), 0);
	assert_int_equal(trace_writer_create(f->path, &h, &w, NULL), 0);
	for (unsigned int i = 0; i < NINTERVALS; i++) {
		fill(&pages, i);
		assert_int_equal(trace_writer_interval(w, (i + 1) * INTERVAL_NS, &pages, NULL), 0);
	}
	assert_int_equal(access(f->path, F_OK), -1); /* not before it is whole */
	assert_int_equal(trace_writer_finish(w, NULL), 0);
	trace_writer_destroy(w);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	assert_int_equal(trace_reader_open(f->path, &got, &r, NULL), 0);
	assert_int_equal(got.npages, NPAGES);
	assert_int_equal(got.interval_ns, INTERVAL_NS);
	assert_string_equal(got.text, h.text);
	assert_int_equal(trace_text_get(&got, "kernel", text, sizeof(text)), 0);
	assert_string_equal(text, "6.1 x=y");
	assert_int_equal(trace_text_get(&got, "kern", text, sizeof(text)), -ENOENT);
	for (unsigned int i = 0; i < NINTERVALS; i++) {
		assert_int_equal(trace_reader_next(r, &pages, &interval, NULL), 1);
		fill(&want, i);
		assert_memory_equal(pages.words, want.words, trace_bitmap_bytes(NPAGES));
		assert_int_equal(interval.end_ns, (i + 1) * INTERVAL_NS);
		assert_int_equal(interval.pages, bitmap_count(&want));
	}
	assert_int_equal(trace_reader_next(r, &pages, &interval, NULL), 0);
	assert_int_equal(trace_reader_next(r, &pages, &interval, NULL), 0);
	trace_reader_destroy(r);
	bitmap_fini(&pages);
	bitmap_fini(&want);
}

static void unfinished_leaves_what_was_there(void **state)
{
	struct file *f = *state;
	struct trace_header h = good_header();
	struct trace_writer *w;
	struct err err = { 0 };
	int fd = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;

	assert_int_equal(fd_write_all(fd, "old", 3), 0);
	fd_close(&fd);
	assert_int_equal(trace_writer_create(f->path, &h, &w, NULL), 0);
	trace_writer_destroy(w);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 3);

	assert_int_equal(trace_writer_create("/nonexistent/x", &h, &w, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/x"));
	assert_int_equal(trace_writer_create(f->dir, &h, &w, &err), -EISDIR);
	h.interval_ns = 0;
	assert_int_equal(trace_writer_create(f->path, &h, &w, &err), -EINVAL);
	trace_writer_destroy(NULL);
	trace_reader_destroy(NULL);
}

static void intervals_must_fit_in(void **state)
{
	struct file *f = *state;
	struct trace_header h = good_header();
	struct trace_writer *w;
	struct bitmap pages, other;

	assert_int_equal(bitmap_init(&pages, NPAGES), 0);
	assert_int_equal(bitmap_init(&other, NPAGES + 1), 0);
	assert_int_equal(trace_writer_create(f->path, &h, &w, NULL), 0);
	assert_int_equal(trace_writer_interval(w, 0, &pages, NULL), -EINVAL);
	assert_int_equal(trace_writer_interval(w, 5, &other, NULL), -EINVAL);
	assert_int_equal(trace_writer_interval(w, 5, &pages, NULL), 0);
	assert_int_equal(trace_writer_interval(w, 5, &pages, NULL), -EINVAL);
	trace_writer_destroy(w);
	bitmap_fini(&pages);
	bitmap_fini(&other);
}

/* --- broken files --- */

static ssize_t read_memory(void *opaque, void *to, size_t len_bytes)
{
	struct reader *r = opaque;
	/* In small pieces, as a pipe may. */
	size_t n = MIN(MIN(len_bytes, reader_left(r)), (size_t)7);

	memcpy(to, r->pos, n);
	r->pos += n;
	return (ssize_t)n;
}

/* Reads all of @b: 0, or what the reader refused it with. *ret_n intervals were good. */
static int read_all(const struct buf *b, unsigned int *ret_n)
{
	struct reader in = reader_over(b->data, b->len_bytes);
	struct trace_header h;
	struct trace_reader *r;
	struct trace_interval interval;
	struct bitmap pages;
	struct err err = { 0 };
	int rc = trace_reader_create(read_memory, &in, &h, &r, &err);

	*ret_n = 0;
	if (rc) {
		assert_true(err.msg[0]);
		return rc;
	}
	assert_int_equal(bitmap_init(&pages, h.npages), 0);
	while ((rc = trace_reader_next(r, &pages, &interval, &err)) == 1)
		++*ret_n;
	if (rc)
		assert_true(err.msg[0]);
	bitmap_fini(&pages);
	trace_reader_destroy(r);
	return rc;
}

static void put_record(struct buf *out, uint32_t type, uint32_t encoding, uint64_t time_ns,
		       uint64_t pages, const void *payload, size_t payload_bytes)
{
	struct trace_record rec = {
		.type = type, .encoding = encoding, .time_ns = time_ns, .pages = pages
	};
	struct buf p = { 0 };

	buf_put(&p, payload, payload_bytes);
	trace_record_encode(&rec, &p, out);
	buf_fini(&p);
}

static void a_whole_one(struct buf *out)
{
	struct trace_header h = good_header();

	trace_header_encode(&h, out);
	put_record(out, TRACE_INTERVAL, TRACE_RUNS, 10, 3, "\x05\x03", 2);
	put_record(out, TRACE_END, 0, 10, 1, NULL, 0);
}

static void a_cut_file_never_ends_well(void **state)
{
	struct buf b = { 0 };
	unsigned int n;
	size_t whole, header = TRACE_HEADER_BYTES + strlen(good_header().text);

	a_whole_one(&b);
	whole = b.len_bytes;
	assert_int_equal(read_all(&b, &n), 0);
	assert_int_equal(n, 1);
	for (b.len_bytes = 0; b.len_bytes < whole; b.len_bytes++) {
		assert_int_equal(read_all(&b, &n), b.len_bytes < header ? -EBADMSG : -ENODATA);
		assert_int_equal(n, b.len_bytes >= header + TRACE_RECORD_BYTES + 2);
	}
	buf_fini(&b);
}

static void a_flipped_bit_is_seen(void **state)
{
	struct buf b = { 0 };
	unsigned int n;

	a_whole_one(&b);
	for (size_t i = 0; i < b.len_bytes * 8; i++) {
		b.data[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_not_equal(read_all(&b, &n), 0);
		b.data[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
	buf_fini(&b);
}

/* Sums are right, so that it is the rule itself that refuses. */
static void header_with(size_t at, uint64_t value, unsigned int width, const char *text)
{
	struct buf b = { 0 };
	struct trace_header h = good_header();
	unsigned int n;
	uint32_t crc;

	strcpy(h.text, text);
	trace_header_encode(&h, &b);
	for (unsigned int i = 0; i < width; i++)
		b.data[at + i] = (uint8_t)(value >> (8 * i));
	crc = crc32c(crc32c(0, b.data, 44), b.data + TRACE_HEADER_BYTES,
		     b.len_bytes - TRACE_HEADER_BYTES);
	le32_put(b.data + 44, crc);
	assert_int_equal(read_all(&b, &n), -EBADMSG);
	buf_fini(&b);
}

static void headers_beyond_the_rules(void **state)
{
	header_with(0, 'x', 1, "");
	header_with(8, 2, 2, ""); /* version */
	header_with(10, 1, 2, ""); /* flags */
	header_with(12, 2048, 4, "");
	header_with(12, 12288, 4, "");
	header_with(16, 0, 8, "");
	header_with(16, (1ULL << 32) + 1, 8, "");
	header_with(24, 0, 8, "");
	header_with(32, NPAGES * 4096ULL + 1, 8, "");
	header_with(40, TRACE_MAX_TEXT + 1, 4, "");
	header_with(0, 'V', 1, "no end=of line");
	header_with(0, 'V', 1, "no sign\n");
	header_with(0, 'V', 1, "=no key\n");
	header_with(0, 'V', 1, "bell=\a\n");
}

static void record_refused(uint32_t type, uint32_t encoding, uint64_t time_ns, uint64_t pages,
			   const void *payload, size_t payload_bytes)
{
	struct buf b = { 0 };
	struct trace_header h = good_header();
	unsigned int n;

	trace_header_encode(&h, &b);
	put_record(&b, TRACE_INTERVAL, TRACE_RUNS, 10, 3, "\x05\x03", 2);
	put_record(&b, type, encoding, time_ns, pages, payload, payload_bytes);
	assert_int_equal(read_all(&b, &n), -EBADMSG);
	assert_int_equal(n, 1);
	buf_fini(&b);
}

static void records_beyond_the_rules(void **state)
{
	uint8_t words[136] = { 0 };

	record_refused(3, 0, 20, 0, NULL, 0);
	record_refused(TRACE_INTERVAL, 2, 20, 0, NULL, 0);
	record_refused(TRACE_INTERVAL, 0, 10, 1, "\0\1", 2); /* time stands still */
	record_refused(TRACE_INTERVAL, 0, 20, NPAGES + 1, "\0\1", 2);
	record_refused(TRACE_INTERVAL, 0, 20, 2, "\0\1", 2); /* not what was found */
	record_refused(TRACE_INTERVAL, 0, 20, 0, "\0\0", 2); /* a run of nothing */
	record_refused(TRACE_INTERVAL, 0, 20, 2, "\0\1\0\1", 4); /* two runs that are one */
	record_refused(TRACE_INTERVAL, 0, 20, 1, "\xe8\x07\x01", 3); /* page 1000 */
	record_refused(TRACE_INTERVAL, 0, 20, 1, "\0\x81\0", 3); /* not the shortest form */
	record_refused(TRACE_INTERVAL, 0, 20, 1, "\0\xff\xff\xff\xff\xff\xff\1", 8);
	record_refused(TRACE_INTERVAL, 0, 20, 0, "\5", 1); /* half a pair */
	record_refused(TRACE_INTERVAL, TRACE_BITMAP, 20, 0, words, 120);
	record_refused(TRACE_INTERVAL, TRACE_BITMAP, 20, 0, words, 136);
	words[0] = 1;
	record_refused(TRACE_INTERVAL, TRACE_BITMAP, 20, 2, words, 128);
	words[127] = 0x80; /* page 1023 */
	record_refused(TRACE_INTERVAL, TRACE_BITMAP, 20, 2, words, 128);
	record_refused(TRACE_END, 0, 10, 2, NULL, 0);
	record_refused(TRACE_END, 0, 11, 1, NULL, 0);
	record_refused(TRACE_END, 1, 10, 1, NULL, 0);
	record_refused(TRACE_END, 0, 10, 1, "\0", 1);
}

static void nothing_follows_the_end(void **state)
{
	struct buf b = { 0 };
	unsigned int n;

	a_whole_one(&b);
	buf_u8(&b, 0);
	assert_int_equal(read_all(&b, &n), -EBADMSG);
	buf_fini(&b);
}

/* A length of half a gigabyte with nothing behind it costs nothing; the bitmap is the caller's, and stays small here. */
static void a_length_reserves_nothing(void **state)
{
	struct trace_header h = good_header();
	struct buf b = { 0 };
	struct reader in;
	struct trace_reader *r;
	struct trace_interval interval;
	struct bitmap pages = { .nbits = TRACE_MAX_PAGES };
	uint8_t fixed[TRACE_RECORD_BYTES] = { 0 };

	h.npages = TRACE_MAX_PAGES;
	trace_header_encode(&h, &b);
	le32_put(fixed, TRACE_INTERVAL);
	le64_put(fixed + 8, 10);
	le32_put(fixed + 24, (uint32_t)trace_bitmap_bytes(TRACE_MAX_PAGES));
	buf_put(&b, fixed, sizeof(fixed));
	in = reader_over(b.data, b.len_bytes);
	assert_int_equal(trace_reader_create(read_memory, &in, NULL, &r, NULL), 0);
	assert_int_equal(trace_reader_header(r)->npages, TRACE_MAX_PAGES);
	assert_int_equal(trace_reader_next(r, &pages, &interval, NULL), -ENODATA);
	trace_reader_destroy(r);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(written_is_read_back, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(unfinished_leaves_what_was_there, make_dir,
						remove_dir),
		cmocka_unit_test_setup_teardown(intervals_must_fit_in, make_dir, remove_dir),
		cmocka_unit_test(a_cut_file_never_ends_well),
		cmocka_unit_test(a_flipped_bit_is_seen),
		cmocka_unit_test(headers_beyond_the_rules),
		cmocka_unit_test(records_beyond_the_rules),
		cmocka_unit_test(nothing_follows_the_end),
		cmocka_unit_test(a_length_reserves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
