/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things lie in the 16 KiB area that each CPU owns, for the C files and for the assembler:
 * plain #defines. The stack pointer of an exception handler points into page 0, so that its low
 * bits cleared are the area's address.
 */
#ifndef GUEST_AREA_H
#define GUEST_AREA_H

/* struct cpu_area, page 0: what the exception handlers need. */
#define AREA_WAKE 0x000 /* u32: an interrupt came; the work clears it */
#define AREA_RX 0x004 /* u32: the UART has something; the work clears it */
#define AREA_TICKS 0x008 /* u32: timer interrupts so far */
#define AREA_ARCH 0x040 /* from here on the architecture's own */
#define AREA_STACK_TRAP 0x1000 /* the handlers' stack grows down from here */
/* Page 1: the worker's state. Pages 2 and 3: the stack of the work. */
#define AREA_STACK_WORK 0x4000
#define AREA_SHIFT 14
#define AREA_SIZE (1 << AREA_SHIFT)

#endif
