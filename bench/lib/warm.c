/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warm BYTES HOLD_MS: touches that much memory in huge pages, holds it, and gives it back. On a virtual machine whose host takes free memory away again the first touch
 * of a page costs ten times as much as later ones; run just ahead of a measurement this moves the cost out of it. The kernel reports free memory to the host 2 s after a
 * page was freed, and once more for all that was freed until then: holding it for longer than that lets a report that is due pass, so that the time after this program's
 * end is free of them. Prints the nanoseconds that the touching took.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PIECE_BYTES (256ULL << 20)
#define PAGE_BYTES 4096
#define MAX_PIECES 1024

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static volatile uint8_t *touch_piece(void)
{
	volatile uint8_t *p =
		mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise((void *)p, PIECE_BYTES, MADV_HUGEPAGE);
	for (uint64_t i = 0; i < PIECE_BYTES; i += PAGE_BYTES)
		p[i] = 1;
	return p;
}

int main(int argc, char **argv)
{
	static volatile uint8_t *piece[MAX_PIECES];
	uint64_t start = now_ns();
	uint64_t bytes = argc == 3 ? strtoull(argv[1], NULL, 0) : 0;
	uint64_t hold_ms = argc == 3 ? strtoull(argv[2], NULL, 0) : 0;
	uint64_t touched;
	uint64_t npieces = (bytes + PIECE_BYTES - 1) / PIECE_BYTES;

	if (npieces == 0 || npieces > MAX_PIECES) {
		fprintf(stderr, "usage: warm BYTES HOLD_MS\n");
		return 2;
	}
	for (uint64_t i = 0; i < npieces; i++) {
		piece[i] = touch_piece();
		if (!piece[i]) {
			perror("warm: mmap");
			return 1;
		}
	}
	touched = now_ns();
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(hold_ms / 1000),
				      .tv_nsec = (long)(hold_ms % 1000) * 1000000 },
		  NULL);
	for (uint64_t i = 0; i < npieces; i++)
		munmap((void *)piece[i], PIECE_BYTES);
	printf("%" PRIu64 "\n", touched - start);
	return 0;
}
