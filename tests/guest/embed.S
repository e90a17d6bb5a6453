/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's image as data of the program that boots it. GUEST_IMAGE is its path. */
	.section .rodata
	.balign 4096
	.globl builtin_guest_start, builtin_guest_end
builtin_guest_start:
	.incbin GUEST_IMAGE
builtin_guest_end:

	.section .note.GNU-stack, "", %progbits
