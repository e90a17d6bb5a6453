/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_COMPRESS_COMPRESS_H
#define MIGRATION_COMPRESS_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "migration/wire/format.h"

/*
 * Pages deflated one by one on threads of their own, for ZPAGES (stream.md §2.6). Jobs stand in a ring and come back in the order in which they were submitted. One
 * thread drives the pool. All memory is there from the start.
 *
 *	job = compress_acquire(pool);           NULL: all in use, take the oldest first
 *	job->page[], job->number[], job->npages  filled in
 *	compress_submit(pool, job);
 *	job = compress_next(pool);              the oldest, finished; NULL: none submitted
 *	...send job->data...
 *	compress_release(pool, job);            when nobody reads job->data any more
 */
#define COMPRESS_JOB_PAGES 64u
#define COMPRESS_MAX_WORKERS 64u
/* A page that does not get smaller by this much is stored: it is not worth the receiver's time. */
#define COMPRESS_MIN_SAVING 64u

struct compress_pool;

struct compress_job {
	/* The caller's: what to compress. The pages may change meanwhile, each is copied once before it is looked at. */
	uint32_t npages; /* 1..COMPRESS_JOB_PAGES */
	const void *page[COMPRESS_JOB_PAGES];
	uint64_t number[COMPRESS_JOB_PAGES]; /* not read by the pool */
	/* The result. */
	uint32_t nstored; /* pages that did not shrink */
	uint32_t data_bytes;
	uint32_t data_crc; /* CRC-32C of data[0..data_bytes) */
	uint16_t length[COMPRESS_JOB_PAGES]; /* as in ZPAGES: STREAM_PAGE_BYTES means stored */
	uint8_t *data; /* the pages, one after the other; valid until compress_release */
	uint64_t cpu_ns; /* a worker's CPU time */
	/* The pool's. */
	bool done;
};

/* @workers: 1..COMPRESS_MAX_WORKERS, @level: 1..9. -EINVAL, -ENOMEM, -EAGAIN (threads). */
int compress_pool_create(unsigned int workers, int level, struct compress_pool **ret,
			 struct err *err);
/* Ends the threads; jobs that nobody took are dropped. */
void compress_pool_destroy(struct compress_pool *pool);
/* Jobs that may be acquired at a time: enough to keep all workers busy while the caller sends. */
unsigned int compress_pool_jobs(const struct compress_pool *pool);
struct compress_job *compress_acquire(struct compress_pool *pool);
/* In the order of compress_acquire. */
void compress_submit(struct compress_pool *pool, struct compress_job *job);
/* Blocks until the oldest submitted job is done. */
struct compress_job *compress_next(struct compress_pool *pool);
/* True when compress_next would not block (or would return NULL). */
bool compress_next_ready(struct compress_pool *pool);
/* In the order of compress_next. */
void compress_release(struct compress_pool *pool, struct compress_job *job);

/* The receiving side: one thread, one page a call. */
struct inflater;
int inflater_create(struct inflater **ret, struct err *err);
void inflater_destroy(struct inflater *f);
/*
 * A raw deflate stream of exactly @len_bytes that yields exactly one page, into @out (STREAM_PAGE_BYTES, never written beyond; its contents are undefined after a
 * failure). -EBADMSG for every other stream, -ENOMEM.
 */
int inflater_page(struct inflater *f, const void *data, uint32_t len_bytes, void *out,
		  struct err *err);

#endif
