/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port, COM1, and the 8259s that bring its interrupt; ring 3 may use their ports. */
#include "guest.h"
#include "layout.h"
#include "uart16550.h"

void uart_write(const char *s, size_t n)
{
	__asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(UART_PORT) : "memory");
}

/* Vectors from VEC_PIC on, the UART's line open, nothing else. */
static void init_pic(void)
{
	outb(0x20, 0x11);
	outb(0x21, VEC_PIC);
	outb(0x21, 0x04);
	outb(0x21, 0x01);
	outb(0xa0, 0x11);
	outb(0xa1, VEC_PIC + 8);
	outb(0xa1, 0x02);
	outb(0xa1, 0x01);
	outb(0x21, 0xff & ~(1 << 4));
	outb(0xa1, 0xff);
}

void uart_init(void)
{
	/*
	 * The 8259 reaches the BSP through LINT0. Its first command word opens all lines while its vectors are still what they were, so that
	 * an interrupt that is waiting would come as some exception.
	 */
	mmio_write32(LAPIC_PA + LAPIC_LVT_LINT0, LAPIC_MASKED);
	init_pic();
	mmio_write32(LAPIC_PA + LAPIC_LVT_LINT0, LAPIC_EXTINT);
	outb(UART_PORT + UART_LCR, UART_LCR_8N1);
	outb(UART_PORT + UART_FCR, UART_FCR_ENABLE);
	outb(UART_PORT + UART_MCR, UART_MCR_READY);
	outb(UART_PORT + UART_IER, UART_IER_RECEIVED);
}

int uart_getc(void)
{
	if (!(inb(UART_PORT + UART_LSR) & UART_LSR_DATA_READY))
		return -1;
	return inb(UART_PORT + UART_DATA);
}
