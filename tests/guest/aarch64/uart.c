/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port: a 16550 with its registers byte by byte. Its interrupt is level-triggered, so the
 * handler takes the bytes out and the work finds them here. CPU 0 alone receives.
 */
#include "uart.h"
#include "gic.h"
#include "guest.h"
#include "layout.h"
#include "uart16550.h"

#define RECEIVED_MAX 256u /* a power of two: the counts wrap */
#define DRAIN_MAX 64u

static uint8_t received[RECEIVED_MAX];
static uint32_t received_in, received_out; /* bytes so far */
static bool full; /* the port's interrupt is off until the work has taken what there is */

void uart_write(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mmio_write8(UART_PA + UART_DATA, (uint8_t)s[i]);
}

void uart_init(void)
{
	gic_open_spi(INTID_UART);
	mmio_write8(UART_PA + UART_LCR, UART_LCR_8N1);
	mmio_write8(UART_PA + UART_FCR, UART_FCR_ENABLE);
	mmio_write8(UART_PA + UART_MCR, UART_MCR_READY);
	mmio_write8(UART_PA + UART_IER, UART_IER_RECEIVED);
}

/* More than a bound at once is left: the line stays up. What does not fit stays in the port, which says no more of it. */
void uart_handle_interrupt(void)
{
	uint32_t out = __atomic_load_n(&received_out, __ATOMIC_RELAXED);
	uint32_t in = received_in;

	for (uint32_t i = 0; i < DRAIN_MAX; i++) {
		uint8_t c;

		if (in - out == RECEIVED_MAX) {
			__atomic_store_n(&full, true, __ATOMIC_RELAXED);
			mmio_write8(UART_PA + UART_IER, 0);
			break;
		}
		if (!(mmio_read8(UART_PA + UART_LSR) & UART_LSR_DATA_READY))
			break;
		c = mmio_read8(UART_PA + UART_DATA);
		received[in++ % RECEIVED_MAX] = c;
	}
	__atomic_store_n(&received_in, in, __ATOMIC_RELEASE);
}

int uart_getc(void)
{
	uint32_t out = received_out;
	int c;

	if (__atomic_load_n(&received_in, __ATOMIC_ACQUIRE) == out) {
		if (__atomic_load_n(&full, __ATOMIC_RELAXED)) {
			__atomic_store_n(&full, false, __ATOMIC_RELAXED);
			mmio_write8(UART_PA + UART_IER, UART_IER_RECEIVED);
		}
		return -1;
	}
	c = received[out % RECEIVED_MAX];
	__atomic_store_n(&received_out, out + 1, __ATOMIC_RELEASE);
	return c;
}
