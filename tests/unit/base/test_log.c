/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Runs log_line with stderr in a pipe. */
static size_t logged(enum log_level level, const char *text, char *ret, size_t cap)
{
	int saved = dup(STDERR_FILENO);
	int p[2];
	ssize_t n;

	assert_int_equal(pipe(p), 0);
	dup2(p[1], STDERR_FILENO);
	log_line(level, "%s", text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(p[1]);
	n = read(p[0], ret, cap - 1);
	close(p[0]);
	assert_true(n > 0);
	ret[n] = '\0';
	return (size_t)n;
}

static void one_line_with_level(void **state)
{
	char out[1024];

	logged(LOG_WARN, "a=1", out, sizeof(out));
	assert_string_equal(out, "vmm: warning: a=1\n");
}

static void control_characters_are_masked(void **state)
{
	char out[1024];

	logged(LOG_ERROR, "a\nb\x1b[2Jc", out, sizeof(out));
	assert_string_equal(out, "vmm: error: a?b?[2Jc\n");
}

static void long_line_is_cut_and_ended(void **state)
{
	char text[2000];
	char out[4096];
	size_t n;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	n = logged(LOG_INFO, text, out, sizeof(out));
	assert_true(n <= 512);
	assert_int_equal(out[n - 1], '\n');
}

static void limit_stops_at_burst(void **state)
{
	/* A window that cannot end during the test. */
	struct log_limit limit = { .window_start_ns = UINT64_MAX, .burst = 3 };
	int passed = 0;

	assert_true(log_limit_ok(&limit)); /* opens a window at the present */
	limit.used = 0;
	for (int i = 0; i < 3; i++)
		passed += log_limit_ok(&limit);
	assert_int_equal(passed, 3);
	assert_int_equal(limit.used, 3);
	limit.burst = 0;
	assert_false(log_limit_ok(&limit));
}

static void limit_opens_again_in_a_new_window(void **state)
{
	struct log_limit limit = { .window_start_ns = 0, .used = 5, .burst = 1 };

	assert_true(log_limit_ok(&limit));
	assert_true(limit.window_start_ns > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line_with_level),
		cmocka_unit_test(control_characters_are_masked),
		cmocka_unit_test(long_line_is_cut_and_ended),
		cmocka_unit_test(limit_stops_at_burst),
		cmocka_unit_test(limit_opens_again_in_a_new_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
