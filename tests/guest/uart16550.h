/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a 16550 that the guest uses; how they are reached, the architecture knows. */
#ifndef GUEST_UART16550_H
#define GUEST_UART16550_H

#define UART_DATA 0
#define UART_IER 1
#define UART_FCR 2
#define UART_LCR 3
#define UART_MCR 4
#define UART_LSR 5

#define UART_IER_RECEIVED 0x01
#define UART_FCR_ENABLE 0x01 /* FIFOs on, an interrupt for each byte */
#define UART_LCR_8N1 0x03 /* and the divisor latch off */
#define UART_MCR_READY 0x0b /* DTR, RTS, and OUT2: interrupts pass */
#define UART_LSR_DATA_READY 0x01

#endif
