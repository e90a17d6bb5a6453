/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "migration/receive/place.h"
#include "vmm/gmem.h"

/* The destination's side of one migration. */
struct receiver {
	struct transport *t;
	const struct mig_destination_ops *ops;
	void *host;
	struct record_reader in;
	struct record_writer w;
	enum stream_state state;
	uint64_t features;
	struct gmem *mem;
	struct place place;
	struct buf sections; /* STATE, all of it */
	uint32_t round;
	uint64_t round_pages0, round_zero0; /* the report's counts when the round began */
	uint64_t last_round_ns; /* when the last round began */
	uint64_t pause_real_ns;
	bool ready_sent;
	struct mig_receive_report *report;
};

#define STATE_TOTAL_MAX (64u << 20)

typedef int (*record_fn)(struct receiver *r, const struct record_header *h, const uint8_t *meta,
			 struct err *err);

static int on_hello(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		    struct err *err)
{
	struct rec_hello theirs;
	int rc = rec_hello_decode(meta, h->meta_len, &theirs, err);

	if (rc)
		return rc;
	r->report->met_source = true;
	if (theirs.version_min > STREAM_VERSION || theirs.version_max < STREAM_VERSION)
		return err_set(err, -EPROTONOSUPPORT,
			       "stream version: source speaks %u to %u, this vmm %u",
			       theirs.version_min, theirs.version_max, STREAM_VERSION);
	if (theirs.page_size != STREAM_PAGE_BYTES)
		return err_set(err, -EPROTONOSUPPORT, "source has pages of %u bytes, expected %u",
			       theirs.page_size, STREAM_PAGE_BYTES);
	r->features = theirs.features & STREAM_FEATURE_ZPAGES;
	buf_clear(&r->w.meta);
	rec_hello_encode(&(struct rec_hello){ .version_min = STREAM_VERSION,
					      .version_max = STREAM_VERSION,
					      .features = r->features,
					      .page_size = STREAM_PAGE_BYTES,
					      .max_payload = STREAM_MAX_PAYLOAD },
			 &r->w.meta);
	return record_write(&r->w, REC_HELLO, err);
}

static int on_config(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		     struct err *err)
{
	struct rec_config_ok ok = { 0 };
	int rc;

	rc = r->ops->prepare(r->host, meta, h->meta_len, &r->mem, &ok.restore_ns, err);
	if (!rc)
		rc = place_init(&r->place, r->mem, r->report, err);
	if (rc)
		return rc;
	ok.npages = r->mem->npages;
	buf_clear(&r->w.meta);
	rec_config_ok_encode(&ok, &r->w.meta);
	return record_write(&r->w, REC_CONFIG_OK, err);
}

static int on_round_begin(struct receiver *r, const struct record_header *h, const uint8_t *meta,
			  struct err *err)
{
	struct rec_round_begin begin;
	int rc = rec_round_begin_decode(meta, h->meta_len, &begin, err);

	if (rc)
		return rc;
	if (begin.round != r->round + 1)
		return err_set(err, -EBADMSG, "record %u: round %u begins after round %u", h->seq,
			       begin.round, r->round);
	r->round = begin.round;
	r->round_pages0 = r->report->pages;
	r->round_zero0 = r->report->zero_pages;
	r->place.last_round = begin.last;
	if (begin.last)
		r->last_round_ns = clock_mono_ns();
	r->report->rounds++;
	return 0;
}

static int on_pages(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		    struct err *err)
{
	return place_pages(&r->place, &r->in, h, meta, err);
}

static int on_zero(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		   struct err *err)
{
	return place_zero(&r->place, h, meta, err);
}

static int on_zpages(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		     struct err *err)
{
	if (!(r->features & STREAM_FEATURE_ZPAGES))
		return err_set(err, -EBADMSG, "record %u: ZPAGES was not negotiated", h->seq);
	return place_zpages(&r->place, &r->in, h, meta, err);
}

static int on_round_end(struct receiver *r, const struct record_header *h, const uint8_t *meta,
			struct err *err)
{
	struct rec_round_ack ack = { .round = r->round };
	struct rec_round_end end;
	int rc = rec_round_end_decode(meta, h->meta_len, &end, err);

	if (rc)
		return rc;
	if (end.round != r->round || end.pages != r->report->pages - r->round_pages0 ||
	    end.zero_pages != r->report->zero_pages - r->round_zero0)
		return err_set(
			err, -EBADMSG,
			"record %u: round %u: the source counts %llu pages and %llu zero pages, %llu and %llu arrived",
			h->seq, end.round, (unsigned long long)end.pages,
			(unsigned long long)end.zero_pages,
			(unsigned long long)(r->report->pages - r->round_pages0),
			(unsigned long long)(r->report->zero_pages - r->round_zero0));
	if (r->place.last_round)
		return 0;
	ack.unproven_pages = bitmap_count(&r->place.unproven);
	buf_clear(&r->w.meta);
	rec_round_ack_encode(&ack, &r->w.meta);
	return record_write(&r->w, REC_ROUND_ACK, err);
}

static int on_state(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		    struct err *err)
{
	if (h->meta_len > STATE_TOTAL_MAX - r->sections.len_bytes)
		return err_set(err, -EBADMSG, "record %u: more than %u bytes of state", h->seq,
			       STATE_TOTAL_MAX);
	buf_put(&r->sections, meta, h->meta_len);
	return buf_ok(&r->sections) ? 0 : err_set(err, -ENOMEM, "no memory for the state");
}

static int on_end(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		  struct err *err)
{
	struct rec_ready ready = { 0 };
	uint64_t t0 = clock_mono_ns();
	struct rec_end end;
	int rc = rec_end_decode(meta, h->meta_len, &end, err);

	if (rc)
		return rc;
	if (end.total_pages != r->report->pages || end.total_zero_pages != r->report->zero_pages ||
	    end.total_records != h->seq)
		return err_set(
			err, -EBADMSG,
			"record %u: END counts %llu pages, %llu zero pages, %llu records; %llu, %llu, %u arrived",
			h->seq, (unsigned long long)end.total_pages,
			(unsigned long long)end.total_zero_pages,
			(unsigned long long)end.total_records, (unsigned long long)r->report->pages,
			(unsigned long long)r->report->zero_pages, h->seq);
	rc = place_all_proven(&r->place, err);
	if (!rc)
		rc = r->ops->load(r->host, r->sections.data, r->sections.len_bytes,
				  end.pause_real_ns, err);
	if (rc)
		return rc;
	ready.receive_ns = t0 - r->last_round_ns;
	ready.restore_ns = clock_mono_ns() - t0;
	r->report->receive_ns = ready.receive_ns;
	r->report->restore_ns = ready.restore_ns;
	buf_clear(&r->w.meta);
	rec_ready_encode(&ready, &r->w.meta);
	r->ready_sent = true;
	return record_write(&r->w, REC_READY, err);
}

static int on_commit(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		     struct err *err)
{
	uint64_t t0 = clock_mono_ns();
	struct rec_started started;
	int rc;

	(void)h;
	(void)meta;
	rc = r->ops->start(r->host, err);
	if (rc)
		return rc;
	started.resume_ns = clock_mono_ns() - t0;
	r->report->resume_ns = started.resume_ns;
	buf_clear(&r->w.meta);
	rec_started_encode(&started, &r->w.meta);
	/* The VM runs here now; whether the source hears of it changes nothing about that. */
	(void)record_write(&r->w, REC_STARTED, NULL);
	return 0;
}

static const record_fn handlers[REC_TYPE_COUNT] = {
	[REC_HELLO] = on_hello,
	[REC_CONFIG] = on_config,
	[REC_ROUND_BEGIN] = on_round_begin,
	[REC_PAGES] = on_pages,
	[REC_ZERO] = on_zero,
	[REC_ZPAGES] = on_zpages,
	[REC_ROUND_END] = on_round_end,
	[REC_STATE] = on_state,
	[REC_END] = on_end,
	[REC_COMMIT] = on_commit,
};

/* The order is checked before the contents; for ROUND_BEGIN the order depends on one field of it. */
static int check_order(struct receiver *r, const struct record_header *h, const uint8_t *meta,
		       struct err *err)
{
	struct rec_round_begin begin = { 0 };

	if (h->type == REC_ROUND_BEGIN) {
		int rc = rec_round_begin_decode(meta, h->meta_len, &begin, err);

		if (rc)
			return rc;
	}
	return stream_next_state(&r->state, h->type, begin.last, err);
}

/*
 * How long the source may take for its next record. Between rounds it may be collecting, saving, or limited in bandwidth: only keepalive judges it. HELLO and CONFIG it sends
 * at once, whoever connects and says nothing is no source; COMMIT too, and a source that hesitates is better refused, which it survives, than waited for.
 */
static uint64_t patience_ns(const struct receiver *r)
{
	return r->state == STREAM_START || r->state == STREAM_HELLO_DONE ||
			       r->state == STREAM_ENDED ?
		       r->t->stall_ns :
		       0;
}

static int receive_all(struct receiver *r, struct err *err)
{
	while (r->state != STREAM_COMMITTED) {
		struct record_header h;
		const uint8_t *meta;
		int rc;

		rc = record_read(&r->in, patience_ns(r), &h, &meta, err);
		if (rc == -ENODATA)
			return err_set(
				err, -ECONNRESET,
				"%s closed the connection before it handed the VM over (cancelled or ended)",
				r->t->peer);
		if (rc)
			return rc;
		if (h.type == REC_ERROR || h.type == REC_CANCEL)
			return record_peer_error(&h, meta, "source", err);
		rc = check_order(r, &h, meta, err);
		if (!rc && !handlers[h.type])
			rc = err_set(err, -EPROTO, "record %u: %s is not the source's to send",
				     h.seq, record_name(h.type));
		if (!rc)
			rc = handlers[h.type](r, &h, meta, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Tell the source why, then take what it still has under way for a while: closing with unread bytes resets the connection, and the reset would overtake the
 * reason. */
static void refuse(struct receiver *r, int rc, const struct err *err)
{
	uint64_t until = clock_mono_ns() + 2 * NS_PER_S;
	static const size_t scratch_bytes = 64 << 10;
	uint8_t *scratch;

	if (rc == -EREMOTEIO || rc == -ECONNRESET)
		return;
	record_write_text(&r->w, REC_ERROR, rc, err->msg);
	scratch = malloc(scratch_bytes);
	while (scratch && clock_mono_ns() < until) {
		struct iovec one = { .iov_base = scratch, .iov_len = 1 };
		size_t extra;

		if (transport_recv(r->t, &one, 1, scratch, scratch_bytes, &extra, NS_PER_S, NULL))
			break;
	}
	free(scratch);
}

int mig_receive(struct transport *t, const struct mig_destination_ops *ops, void *host,
		struct mig_receive_report *ret_report, struct err *err)
{
	struct receiver *r = calloc(1, sizeof(*r));
	struct err local = { 0 };
	int rc;

	if (!r)
		return err_set(err, -ENOMEM, "no memory to receive");
	memset(ret_report, 0, sizeof(*ret_report));
	r->t = t;
	r->ops = ops;
	r->host = host;
	r->report = ret_report;
	record_reader_init(&r->in, t);
	record_writer_init(&r->w, t);

	rc = receive_all(r, &local);
	ret_report->bytes = r->in.bytes;
	if (rc)
		refuse(r, rc, &local);
	if (rc && r->ready_sent && r->state != STREAM_COMMITTED)
		err_prefix(&local, "the source did not hand over");
	if (rc && err)
		*err = local;

	place_fini(&r->place);
	buf_fini(&r->sections);
	record_writer_fini(&r->w);
	record_reader_fini(&r->in);
	free(r);
	return rc;
}
