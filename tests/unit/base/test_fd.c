/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

static void close_sets_minus_one_and_keeps_errno(void **state)
{
	int fd = dup(0);

	errno = EPROTO;
	fd_close(&fd);
	assert_int_equal(fd, -1);
	fd_close(&fd);
	assert_int_equal(errno, EPROTO);
}

static void cleanup_closes(void **state)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	{
		cleanup_fd int w = p[1];
		cleanup_free char *text = strdup("x");

		assert_true(w >= 0);
		assert_non_null(text);
	}
	/* Its only writer is gone. */
	assert_int_equal(fd_read_all(p[0], &(char){ 0 }, 1), -ENODATA);
	close(p[0]);
}

#define TRANSFER_BYTES (1u << 20) /* more than a pipe holds */

static void *reader_thread(void *opaque)
{
	int *p = opaque;
	uint8_t *got = malloc(TRANSFER_BYTES);
	intptr_t bad = fd_read_all(p[0], got, TRANSFER_BYTES);

	for (uint32_t i = 0; i < TRANSFER_BYTES; i++)
		bad += got[i] != (uint8_t)(i * 31);
	free(got);
	return (void *)bad;
}

static void all_bytes_pass_a_pipe(void **state)
{
	uint8_t *data = malloc(TRANSFER_BYTES);
	pthread_t thread;
	void *bad;
	int p[2];

	assert_int_equal(pipe(p), 0);
	for (uint32_t i = 0; i < TRANSFER_BYTES; i++)
		data[i] = (uint8_t)(i * 31);
	assert_int_equal(pthread_create(&thread, NULL, reader_thread, p), 0);
	assert_int_equal(fd_write_all(p[1], data, TRANSFER_BYTES), 0);
	pthread_join(thread, &bad);
	assert_null(bad);
	close(p[0]);
	close(p[1]);
	free(data);
}

static void errors(void **state)
{
	char c[4];
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(fd_write_all(p[0], "x", 1), -EBADF);
	assert_int_equal(fd_read_all(p[1], c, 1), -EBADF);
	assert_int_equal(fd_write_all(p[1], "ab", 2), 0);
	close(p[1]);
	assert_int_equal(fd_read_all(p[0], c, 4), -ENODATA);
	close(p[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(close_sets_minus_one_and_keeps_errno),
		cmocka_unit_test(cleanup_closes),
		cmocka_unit_test(all_bytes_pass_a_pipe),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
