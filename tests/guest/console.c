/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines on the serial port. Each byte may be an exit to the host of tens of microseconds, string
 * output or not, and a line of them would look like a gap of milliseconds. So the lines of the
 * regular reports are queued and leave one byte a step.
 */
#include "guest.h"

/*
 * Who prints has the console. It may be free with a queued line half out: whoever takes it next
 * finishes that.
 */
enum console_state { CONSOLE_FREE, CONSOLE_TAKEN, CONSOLE_HALF_OUT };

static uint32_t console_state;
static struct line queued;
static size_t queued_out;

void line_strn(struct line *l, const char *s, size_t n)
{
	for (size_t i = 0; i < n && l->len < sizeof(l->text) - 1; i++)
		l->text[l->len++] = s[i];
}

void line_str(struct line *l, const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	line_strn(l, s, n);
}

static void line_number(struct line *l, const char *label, uint64_t v, uint32_t base)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	line_str(l, label);
	line_strn(l, digits + at, sizeof(digits) - at);
}

void line_dec(struct line *l, const char *label, uint64_t v)
{
	line_number(l, label, v, 10);
}

void line_hex(struct line *l, const char *label, uint64_t v)
{
	line_str(l, label);
	line_number(l, "0x", v, 16);
}

static void console_take(void)
{
	for (;;) {
		uint32_t state = __atomic_load_n(&console_state, __ATOMIC_RELAXED);

		if (state != CONSOLE_TAKEN &&
		    __atomic_compare_exchange_n(&console_state, &state, CONSOLE_TAKEN, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		cpu_pause();
	}
}

static void console_release(void)
{
	uint32_t state = queued_out < queued.len ? CONSOLE_HALF_OUT : CONSOLE_FREE;

	__atomic_store_n(&console_state, state, __ATOMIC_RELEASE);
}

static void console_finish_queued(void)
{
	uart_write(queued.text + queued_out, queued.len - queued_out);
	queued_out = queued.len;
}

void line_print_unlocked(struct line *l)
{
	l->text[l->len++] = '\n';
	uart_write(l->text, l->len);
	l->len = 0;
}

void line_print(struct line *l)
{
	console_take();
	console_finish_queued();
	line_print_unlocked(l);
	console_release();
}

void line_queue(struct line *l)
{
	console_take();
	console_finish_queued();
	queued = *l;
	queued.text[queued.len++] = '\n';
	queued_out = 0;
	console_release();
}

bool console_pending(void)
{
	return __atomic_load_n(&console_state, __ATOMIC_RELAXED) == CONSOLE_HALF_OUT;
}

void console_step(void)
{
	if (likely(!console_pending()))
		return;
	console_take();
	if (queued_out < queued.len)
		uart_write(queued.text + queued_out++, 1);
	console_release();
}

void console_puts(const char *s)
{
	struct line l;

	l.len = 0;
	line_str(&l, s);
	line_print(&l);
}
