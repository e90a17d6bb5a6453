/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/num.h"
#include "migration/compress/compress.h"

/*
 * A page fits a window of 8 KiB whole; memLevel 6 holds all its symbols in one block, and clears a hash of 16 KiB for each page where
 * the default clears 64.
 */
#define WINDOW_BITS (-13)
#define MEM_LEVEL 6

struct worker {
	struct compress_pool *pool;
	pthread_t thread;
	bool started, deflating;
	z_stream z;
	uint8_t copy[STREAM_PAGE_BYTES];
};

/*
 * The ring: counters that only grow, a job's slot is its number modulo njobs. released <= returned <= taken-or-not <= submitted <= acquired. The lock guards submitted, taken,
 * quit and the jobs' done; the others are the driving thread's own.
 */
struct compress_pool {
	unsigned int njobs, nworkers;
	struct compress_job *job;
	uint8_t *data;
	uint64_t acquired, returned, released;

	pthread_mutex_t lock;
	pthread_cond_t work, done;
	uint64_t submitted, taken;
	bool quit;
	struct worker worker[];
};

/* Deflate w->copy into @out; the length, or 0 when that saves too little. */
static uint32_t deflate_page(struct worker *w, uint8_t *out)
{
	deflateReset(&w->z);
	w->z.next_in = w->copy;
	w->z.avail_in = STREAM_PAGE_BYTES;
	w->z.next_out = out;
	w->z.avail_out = STREAM_PAGE_BYTES - COMPRESS_MIN_SAVING;
	if (deflate(&w->z, Z_FINISH) != Z_STREAM_END)
		return 0;
	return STREAM_PAGE_BYTES - COMPRESS_MIN_SAVING - w->z.avail_out;
}

static void run_job(struct worker *w, struct compress_job *job)
{
	uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	uint8_t *out = job->data;

	job->nstored = 0;
	for (uint32_t i = 0; i < job->npages; i++) {
		uint32_t n;

		memcpy(w->copy, job->page[i], STREAM_PAGE_BYTES);
		n = deflate_page(w, out);
		if (!n) {
			memcpy(out, w->copy, STREAM_PAGE_BYTES);
			n = STREAM_PAGE_BYTES;
			job->nstored++;
		}
		job->length[i] = (uint16_t)n;
		out += n;
	}
	job->data_bytes = (uint32_t)(out - job->data);
	job->data_crc = crc32c(0, job->data, job->data_bytes);
	job->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct compress_pool *pool = w->pool;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct compress_job *job;

		while (!pool->quit && pool->taken == pool->submitted)
			pthread_cond_wait(&pool->work, &pool->lock);
		if (pool->quit)
			break;
		job = &pool->job[pool->taken++ % pool->njobs];
		pthread_mutex_unlock(&pool->lock);
		run_job(w, job);
		pthread_mutex_lock(&pool->lock);
		job->done = true;
		pthread_cond_signal(&pool->done);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Signals are the main thread's business. */
static int start_thread(struct worker *w)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->started = rc == 0;
	return -rc;
}

static int start_worker(struct worker *w, struct compress_pool *pool, int level)
{
	w->pool = pool;
	w->deflating = deflateInit2(&w->z, level, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
				    Z_DEFAULT_STRATEGY) == Z_OK;
	return w->deflating ? start_thread(w) : -ENOMEM;
}

int compress_pool_create(unsigned int workers, int level, struct compress_pool **ret,
			 struct err *err)
{
	struct compress_pool *pool;
	int rc = 0;

	if (!workers || workers > COMPRESS_MAX_WORKERS || level < 1 || level > 9)
		return err_set(err, -EINVAL, "compression: %u threads, level %d", workers, level);
	pool = calloc(1, sizeof(*pool) + workers * sizeof(pool->worker[0]));
	if (!pool)
		return err_set(err, -ENOMEM, "no memory for compression");
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->done, NULL);
	/* One in work and one waiting for each worker, one with the caller being filled and two on the wire. */
	pool->njobs = 2 * workers + 3;
	pool->job = calloc(pool->njobs, sizeof(*pool->job));
	pool->data = malloc((size_t)pool->njobs * COMPRESS_JOB_PAGES * STREAM_PAGE_BYTES);
	if (!pool->job || !pool->data)
		rc = -ENOMEM;
	for (unsigned int i = 0; !rc && i < pool->njobs; i++)
		pool->job[i].data = pool->data + (size_t)i * COMPRESS_JOB_PAGES * STREAM_PAGE_BYTES;
	for (unsigned int i = 0; !rc && i < workers; i++) {
		pool->nworkers = i + 1;
		rc = start_worker(&pool->worker[i], pool, level);
	}
	if (rc) {
		compress_pool_destroy(pool);
		return err_sys(err, rc, "compression with %u threads", workers);
	}
	*ret = pool;
	return 0;
}

void compress_pool_destroy(struct compress_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->nworkers; i++) {
		if (pool->worker[i].started)
			pthread_join(pool->worker[i].thread, NULL);
		if (pool->worker[i].deflating)
			deflateEnd(&pool->worker[i].z);
	}
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool->data);
	free(pool->job);
	free(pool);
}

unsigned int compress_pool_jobs(const struct compress_pool *pool)
{
	return pool->njobs;
}

struct compress_job *compress_acquire(struct compress_pool *pool)
{
	struct compress_job *job;

	if (pool->acquired - pool->released == pool->njobs)
		return NULL;
	job = &pool->job[pool->acquired++ % pool->njobs];
	job->npages = 0;
	job->done = false;
	return job;
}

void compress_submit(struct compress_pool *pool, struct compress_job *job)
{
	(void)job; /* the next in the ring; named so that a caller's code says what it hands over */
	pthread_mutex_lock(&pool->lock);
	pool->submitted++;
	pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
}

struct compress_job *compress_next(struct compress_pool *pool)
{
	struct compress_job *job = &pool->job[pool->returned % pool->njobs];

	pthread_mutex_lock(&pool->lock);
	if (pool->returned == pool->submitted) {
		pthread_mutex_unlock(&pool->lock);
		return NULL;
	}
	while (!job->done)
		pthread_cond_wait(&pool->done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pool->returned++;
	return job;
}

bool compress_next_ready(struct compress_pool *pool)
{
	bool ready;

	pthread_mutex_lock(&pool->lock);
	ready = pool->returned == pool->submitted || pool->job[pool->returned % pool->njobs].done;
	pthread_mutex_unlock(&pool->lock);
	return ready;
}

void compress_release(struct compress_pool *pool, struct compress_job *job)
{
	(void)job;
	pool->released++;
}
