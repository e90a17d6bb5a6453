/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_SEND_ZPAGE_OUT_H
#define MIGRATION_SEND_ZPAGE_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migration/migration.h"
#include "migration/policy.h"

struct compress_job;
struct compress_pool;
struct page_out;

/*
 * The compressed way out of a page_out: pages go to the workers in jobs, come back in order, and leave as ZPAGES records. Whether it is taken is decided for one stretch of
 * pages at a time: always with `zlib`, by the compression policy with `auto`. The worker threads start with the first job.
 */
struct zpage_out;

/* @workers, @level as in mig_send_params (0 workers: as many as host CPUs). -ENOMEM. */
int zpage_out_create(enum mig_compress mode, unsigned int workers, int level,
		     struct zpage_out **ret, struct err *err);
void zpage_out_destroy(struct zpage_out *z);
/* Whether the next page is compressed. */
bool zpage_out_active(const struct zpage_out *z);
int zpage_out_page(struct zpage_out *z, struct page_out *o, uint64_t page, struct err *err);
/* Called now and then with pages sent: ends the stretch when it is long enough and asks the policy about the next. */
void zpage_out_stretch(struct zpage_out *z, const struct page_out *o);
/* All pages that the workers have are with the transport, whole. */
int zpage_out_drain(struct zpage_out *z, struct page_out *o, struct err *err);
/* A round begins, and page_out's counts start from zero. */
void zpage_out_round_begins(struct zpage_out *z, const struct page_out *o);

#endif
