/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/send/zpage_out.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "migration/compress/compress.h"
#include "migration/send/page_out.h"
#include "vmm/gmem.h"

/* One record's header and meta data; two take turns, as the raw frames do. */
struct zpage_frame {
	uint8_t header[STREAM_HEADER_BYTES];
	uint8_t meta[PAGES_META_MAX_BYTES];
	struct compress_job *job; /* under way: released when the next record starts */
};

struct zpage_out {
	enum mig_compress mode;
	unsigned int workers;
	int level;
	struct compress_policy policy;
	struct compress_pool *pool; /* with the first job */
	struct compress_job *filling;
	struct pages_meta pages;
	struct zpage_frame frame[2];
	unsigned int cur;
	bool active;
	struct compress_sample stretch; /* so far; may span rounds */
	uint64_t since_ns, since_blocked_ns, since_pages, since_saved_bytes;
};

int zpage_out_create(enum mig_compress mode, unsigned int workers, int level,
		     struct zpage_out **ret, struct err *err)
{
	struct zpage_out *z = calloc(1, sizeof(*z));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!z)
		return err_set(err, -ENOMEM, "no memory for compression");
	z->mode = mode;
	z->workers = workers ? workers : (unsigned int)MAX(cpus, 1L);
	z->workers = MIN(z->workers, COMPRESS_MAX_WORKERS);
	z->level = level;
	z->active = mode == MIG_COMPRESS_ZLIB;
	compress_policy_init(&z->policy, z->workers);
	*ret = z;
	return 0;
}

void zpage_out_destroy(struct zpage_out *z)
{
	if (!z)
		return;
	compress_pool_destroy(z->pool);
	free(z);
}

bool zpage_out_active(const struct zpage_out *z)
{
	return z->active;
}

static uint64_t blocked_ns(const struct page_out *o)
{
	return o->w->t->blocked_ns + o->counts.paced_ns;
}

/* The clock of a stretch stands still between rounds: what happens there is not the pages' doing. */
static void run_clock(struct zpage_out *z, const struct page_out *o)
{
	z->since_ns = clock_mono_ns();
	z->since_blocked_ns = blocked_ns(o);
	z->since_pages = o->counts.pages;
	z->since_saved_bytes = o->counts.saved_bytes;
}

static void stop_clock(struct zpage_out *z, const struct page_out *o)
{
	z->stretch.wall_ns += clock_mono_ns() - z->since_ns;
	z->stretch.blocked_ns += blocked_ns(o) - z->since_blocked_ns;
	z->stretch.pages += o->counts.pages - z->since_pages;
	z->stretch.saved_bytes += o->counts.saved_bytes - z->since_saved_bytes;
	z->stretch.on = z->active;
}

void zpage_out_round_begins(struct zpage_out *z, const struct page_out *o)
{
	run_clock(z, o);
}

void zpage_out_stretch(struct zpage_out *z, const struct page_out *o)
{
	if (z->mode != MIG_COMPRESS_AUTO)
		return;
	stop_clock(z, o);
	run_clock(z, o);
	if (!compress_policy_done(&z->policy, &z->stretch))
		return;
	z->active = compress_policy_step(&z->policy, &z->stretch);
	z->stretch = (struct compress_sample){ 0 };
}

static void describe_job(struct zpage_out *z, const struct compress_job *job)
{
	struct pages_meta *m = &z->pages;

	m->npages = job->npages;
	m->nruns = 0;
	for (uint32_t i = 0; i < job->npages; i++) {
		struct page_run *run = m->nruns ? &m->run[m->nruns - 1] : NULL;

		if (run && run->first_page + run->count == job->number[i])
			run->count++;
		else
			m->run[m->nruns++] =
				(struct page_run){ .first_page = job->number[i], .count = 1 };
		m->length[i] = job->length[i];
	}
	m->payload_crc = job->data_crc;
}

static void release(struct zpage_out *z, struct zpage_frame *f)
{
	if (f->job)
		compress_release(z->pool, f->job);
	f->job = NULL;
}

/* The oldest job, finished, as one record. */
static int send_job(struct zpage_out *z, struct page_out *o, struct compress_job *job,
		    struct err *err)
{
	struct zpage_frame *f = &z->frame[z->cur], *before = &z->frame[z->cur ^ 1];
	struct iovec iov[2];
	uint32_t meta_len;
	int rc;

	describe_job(z, job);
	meta_len = zpages_encode(&z->pages, f->meta);
	record_encode_header(f->header, REC_ZPAGES, o->w->seq++, f->meta, meta_len,
			     job->data_bytes);
	iov[0] = (struct iovec){ .iov_base = f->header, .iov_len = STREAM_HEADER_BYTES + meta_len };
	iov[1] = (struct iovec){ .iov_base = job->data, .iov_len = job->data_bytes };
	f->job = job;
	rc = page_out_begin(o, iov, 2, iov[0].iov_len + iov[1].iov_len, err);
	if (rc)
		return rc;
	release(z, before); /* page_out_begin waited for it */
	z->cur ^= 1;
	o->counts.pages += job->npages;
	o->counts.zpages += job->npages - job->nstored;
	o->counts.saved_bytes += (uint64_t)job->npages * STREAM_PAGE_BYTES - job->data_bytes;
	o->counts.compress_ns += job->cpu_ns;
	return 0;
}

static int submit(struct zpage_out *z, struct page_out *o, struct err *err)
{
	int rc = 0;

	compress_submit(z->pool, z->filling);
	z->filling = NULL;
	while (!rc && compress_next_ready(z->pool)) {
		struct compress_job *job = compress_next(z->pool);

		if (!job)
			break;
		rc = send_job(z, o, job, err);
	}
	if (!rc)
		zpage_out_stretch(z, o);
	return rc;
}

/* A job to fill: all in use means that the oldest is either with the workers or with the transport. */
static int acquire(struct zpage_out *z, struct page_out *o, struct err *err)
{
	int rc = 0;

	if (!z->pool)
		rc = compress_pool_create(z->workers, z->level, &z->pool, err);
	while (!rc && !(z->filling = compress_acquire(z->pool))) {
		struct compress_job *job = compress_next(z->pool);

		if (job) {
			rc = send_job(z, o, job, err);
		} else {
			rc = transport_send_wait(o->w->t, err);
			release(z, &z->frame[z->cur ^ 1]);
		}
	}
	if (!rc)
		z->filling->npages = 0;
	return rc;
}

int zpage_out_page(struct zpage_out *z, struct page_out *o, uint64_t page, struct err *err)
{
	struct compress_job *job;

	if (!z->filling) {
		int rc = acquire(z, o, err);

		if (rc)
			return rc;
	}
	job = z->filling;
	job->page[job->npages] = gmem_page(o->mem, page);
	job->number[job->npages] = page;
	if (++job->npages < COMPRESS_JOB_PAGES)
		return 0;
	return submit(z, o, err);
}

int zpage_out_drain(struct zpage_out *z, struct page_out *o, struct err *err)
{
	struct compress_job *job;
	int rc = 0;

	if (z->filling && z->filling->npages)
		rc = submit(z, o, err);
	while (!rc && z->pool && (job = compress_next(z->pool)))
		rc = send_job(z, o, job, err);
	if (!rc)
		rc = transport_send_wait(o->w->t, err);
	if (!rc)
		release(z, &z->frame[z->cur ^ 1]);
	zpage_out_stretch(z, o);
	return rc;
}
