/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_UART_H
#define GUEST_UART_H

/* In the handler of the UART's interrupt: keeps what came for uart_getc(). */
void uart_handle_interrupt(void);

#endif
