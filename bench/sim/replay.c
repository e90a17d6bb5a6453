/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "trace/trace.h"

/* Takes over @pages. */
static int add_interval(struct replay *r, uint64_t *cap, double ns, struct bitmap *pages)
{
	if (r->nintervals == *cap) {
		uint64_t n = *cap ? *cap * 2 : 64;
		struct replay_interval *grown = realloc(r->intervals, n * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->intervals = grown;
		*cap = n;
	}
	r->intervals[r->nintervals++] = (struct replay_interval){ .ns = ns, .pages = *pages };
	*pages = (struct bitmap){ 0 };
	r->total_ns += ns;
	return 0;
}

static int load_all(struct trace_reader *t, struct replay *r, struct err *err)
{
	uint64_t last_ns = 0, cap = 0, bytes = bitmap_nwords(r->npages) * 8;

	for (;;) {
		struct trace_interval in;
		struct bitmap pages;
		int got;

		if (bytes > REPLAY_MAX_BYTES / (r->nintervals + 1))
			return err_set(err, -EFBIG, "more than %llu bytes of intervals",
				       (unsigned long long)REPLAY_MAX_BYTES);
		if (bitmap_init(&pages, r->npages) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		got = trace_reader_next(t, &pages, &in, err);
		if (got == 1 && add_interval(r, &cap, (double)(in.end_ns - last_ns), &pages) < 0)
			got = err_set(err, -ENOMEM, "out of memory");
		bitmap_fini(&pages);
		if (got <= 0)
			return got;
		last_ns = in.end_ns;
	}
}

int replay_load(const char *path, struct replay *ret, struct err *err)
{
	struct replay r = { 0 };
	struct trace_header *h = malloc(sizeof(*h));
	struct trace_reader *t = NULL;
	int e = h ? trace_reader_open(path, h, &t, err) : err_set(err, -ENOMEM, "out of memory");

	if (e == 0) {
		r.npages = h->npages;
		e = load_all(t, &r, err);
	}
	if (e == 0 && r.nintervals == 0)
		e = err_set(err, -ENODATA, "it has no interval");
	trace_reader_destroy(t);
	free(h);
	if (e < 0) {
		err_prefix(err, "trace %s", path);
		replay_fini(&r);
		return e;
	}
	*ret = r;
	return 0;
}

void replay_fini(struct replay *r)
{
	for (uint64_t i = 0; i < r->nintervals; i++)
		bitmap_fini(&r->intervals[i].pages);
	free(r->intervals);
	*r = (struct replay){ 0 };
}

void replay_cursor_init(struct replay_cursor *c, const struct replay *r, uint64_t vcpu,
			uint64_t nvcpus)
{
	*c = (struct replay_cursor){ .replay = r, .vcpu = vcpu, .nvcpus = nvcpus };
}

static uint64_t own_pages(const struct replay_cursor *c, const struct bitmap *b)
{
	uint64_t n = 0;

	for (uint64_t w = c->vcpu; w < bitmap_nwords(b->nbits); w += c->nvcpus)
		n += (uint64_t)__builtin_popcountll(b->words[w]);
	return n;
}

/* The next bit of the words that are this vCPU's, from page on. */
static bool next_own(const struct replay_cursor *c, const struct bitmap *b, uint64_t from,
		     uint64_t *ret)
{
	uint64_t w = from / 64;
	uint64_t bits;

	if (w % c->nvcpus == c->vcpu && w < bitmap_nwords(b->nbits)) {
		bits = b->words[w] & ~0ULL << from % 64;
		if (bits)
			return *ret = w * 64 + (uint64_t)__builtin_ctzll(bits), true;
		w += c->nvcpus;
	} else {
		w += (c->vcpu + c->nvcpus - w % c->nvcpus) % c->nvcpus;
	}
	for (; w < bitmap_nwords(b->nbits); w += c->nvcpus) {
		if (b->words[w])
			return *ret = w * 64 + (uint64_t)__builtin_ctzll(b->words[w]), true;
	}
	return false;
}

/* The time of a whole interval is spread over its pages: half a share before the first and behind the last, so that none falls on the interval's edge. */
bool replay_next(struct replay_cursor *c, uint64_t *ret_page, double *ret_think_ns,
		 bool *ret_nothing)
{
	const struct replay_interval *in;

	if (c->interval == c->replay->nintervals)
		return false;
	in = &c->replay->intervals[c->interval];
	*ret_nothing = false;
	*ret_think_ns = c->share_ns;
	if (!c->begun) {
		uint64_t n = own_pages(c, &in->pages);

		c->begun = true;
		c->page = 0;
		c->share_ns = n ? in->ns / (double)n : in->ns * 2;
		*ret_think_ns = c->share_ns / 2;
	}
	if (c->page < in->pages.nbits && next_own(c, &in->pages, c->page, ret_page)) {
		c->page = *ret_page + 1;
		return true;
	}
	*ret_nothing = true;
	*ret_think_ns = c->share_ns / 2;
	c->interval++;
	c->begun = false;
	return true;
}
