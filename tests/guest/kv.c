/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key-value store and its clients, both in this guest: what redis-benchmark does to a redis over
 * the loopback, without the network. A client writes a request into its buffer, the server hashes
 * the key, finds the record by open addressing and copies the value. Each CPU has a shard of its
 * own, with its own clients: nothing is shared.
 */
#include "guest.h"

#define RECORD_NONE UINT32_MAX
#define MIX_CYCLE 5u /* with KV_MIX one request in so many sets, the others get */
#define HOT_SHARE \
	10u /* what PATTERN_HOT calls hot: that part of the keys, all reads but one of so many */

enum op { OP_SET = 1, OP_GET };

struct kv_key {
	uint64_t text[2]; /* key: and 12 decimal digits, as redis-benchmark names them */
};

/* Behind both of these lies the value, in whole words. */
struct request {
	struct kv_key key;
	uint64_t version;
	uint32_t op;
	uint32_t value_bytes;
	uint64_t sum;
	uint64_t reply; /* version of the record; 0 from the client */
	uint64_t value[];
};

struct record {
	struct kv_key key;
	uint64_t version; /* how often the key was set since the beginning */
	uint64_t value_bytes;
	uint64_t sum;
	uint64_t value[];
};

static enum kv_load load;
static uint32_t cpus;
static uint32_t value_words;
static uint64_t keys_total, clients_total;
static uint64_t shard_bytes;
static bool hot_reads;

/* ---- layout of a shard: index, buffers of the clients, records ---- */

static uint64_t share(uint64_t total, uint32_t cpu)
{
	return total * (cpu + 1) / cpus - total * cpu / cpus;
}

static uint64_t index_slots(uint64_t keys)
{
	uint64_t slots = 64;

	while (slots < 2 * keys)
		slots <<= 1;
	return slots;
}

static uint64_t request_bytes(void)
{
	return (sizeof(struct request) + 8ull * value_words + 63) & ~63ull;
}

static uint64_t record_bytes(void)
{
	return sizeof(struct record) + 8ull * value_words;
}

uint64_t kv_store_pages(const struct args *args)
{
	uint64_t keys = args->keys / args->cpus + 1;
	uint64_t clients = args->clients / args->cpus + 1;
	uint64_t bytes;

	if (args->keys < args->cpus || args->clients < args->cpus) {
		console_puts("vmm-guest: ERROR kv= wants a key and a client for each CPU");
		return 0;
	}
	value_words = (uint32_t)(args->value_bytes / 8);
	bytes = index_slots(keys) * 8 + clients * request_bytes() + keys * record_bytes();
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * args->cpus;
}

void kv_init(const struct args *args, uint64_t store_pages)
{
	load = args->kv;
	cpus = args->cpus;
	keys_total = args->keys;
	clients_total = args->clients;
	hot_reads = args->pattern == PATTERN_HOT;
	shard_bytes = store_pages / cpus * PAGE_BYTES;
}

/* ---- keys and values ---- */

static struct kv_key key_named(uint64_t number)
{
	struct kv_key k = { { 0x3a79656b, 0 } }; /* "key:" */
	char *at = (char *)&k;

	for (uint32_t i = 15; i >= 4; i--) {
		at[i] = (char)('0' + number % 10);
		number /= 10;
	}
	return k;
}

static inline uint64_t key_hash(const struct kv_key *k)
{
	uint64_t h = k->text[0] * 0x9e3779b97f4a7c15ull;

	h = (h ^ h >> 32 ^ k->text[1]) * 0xc2b2ae3d27d4eb4full;
	h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

/* Word `i` of a value. */
static inline uint64_t value_word(uint64_t base, uint32_t i, enum fill kind)
{
	if (kind == FILL_TEXT)
		return page_text[(base + i * 5ull) & 63];
	if (kind == FILL_SPARSE)
		return i % 4 ? 0 : (base + i) & 0xffff;
	return base + i * 0x9e3779b97f4a7c15ull;
}

static inline uint64_t value_base(uint64_t key, uint64_t version)
{
	return page_data_word(key, version, FILL_RANDOM);
}

static inline uint64_t value_sum(const uint64_t *value, uint64_t version)
{
	uint64_t sum = version;

	for (uint32_t i = 0; i < value_words; i++) {
		sum = (sum ^ value[i]) * 0x9e3779b97f4a7c15ull;
		sum ^= sum >> 29;
	}
	return sum;
}

static __attribute__((noinline, cold)) void bad_word(struct worker *w, const void *at,
						     uint64_t expected, uint64_t found)
{
	uint64_t word = (uint64_t)at / 8 % PAGE_WORDS;

	w->bad++;
	pages_report_bad(w->cpu, page_of(at), (uint32_t)word, expected, found);
}

/* ---- the server ---- */

static inline struct record *record_at(const struct kv_shard *s, uint64_t number)
{
	return (struct record *)(s->records + number * (record_bytes() / 8));
}

static inline bool key_equal(const struct kv_key *a, const struct kv_key *b)
{
	return a->text[0] == b->text[0] && a->text[1] == b->text[1];
}

/* The place of the key in the index: its own, or the free one where it would go. */
static inline uint64_t *find_slot(struct kv_shard *s, const struct kv_key *key, uint64_t hash)
{
	for (uint64_t i = hash, n = 0; n <= s->index_mask; i++, n++) {
		uint64_t *slot = &s->index[i & s->index_mask];
		uint32_t number = (uint32_t)*slot - 1;

		if (!*slot)
			return slot;
		/* A number that cannot be is memory gone bad: the verification will tell. */
		if (*slot >> 32 == hash >> 32 && number < s->records_used &&
		    key_equal(&record_at(s, number)->key, key))
			return slot;
	}
	return NULL;
}

static inline struct record *find_record(struct kv_shard *s, const struct kv_key *key)
{
	uint64_t *slot = find_slot(s, key, key_hash(key));

	return slot && *slot ? record_at(s, (uint32_t)*slot - 1) : NULL;
}

static struct record *insert_record(struct kv_shard *s, const struct kv_key *key)
{
	uint64_t hash = key_hash(key);
	uint64_t *slot = find_slot(s, key, hash);
	struct record *r;

	if (!slot || s->records_used == s->keys)
		return NULL;
	r = record_at(s, s->records_used++);
	r->key = *key;
	r->version = UINT64_MAX;
	*slot = hash >> 32 << 32 | s->records_used;
	return r;
}

static void serve_set(struct worker *w, struct request *q)
{
	struct record *r = find_record(&w->kv, &q->key);

	if (unlikely(!r))
		r = insert_record(&w->kv, &q->key);
	if (unlikely(!r)) {
		bad_word(w, w->kv.index, q->key.text[1], 0);
		return;
	}
	/* A SET that got lost, or a record from an earlier time. */
	if (unlikely(r->version != q->version - 1))
		bad_word(w, &r->version, q->version - 1, r->version);
	r->version = q->version;
	r->value_bytes = q->value_bytes;
	r->sum = q->sum;
	memcpy(r->value, q->value, 8ull * value_words);
	q->reply = r->version;
}

static void serve_get(struct worker *w, struct request *q)
{
	struct record *r = find_record(&w->kv, &q->key);

	if (unlikely(!r)) {
		bad_word(w, w->kv.index, q->key.text[1], 0);
		return;
	}
	memcpy(q->value, r->value, 8ull * value_words);
	q->sum = r->sum;
	q->value_bytes = (uint32_t)r->value_bytes;
	q->reply = r->version;
}

/* ---- the clients ---- */

static struct request *next_client(struct kv_shard *s)
{
	struct request *q = (struct request *)(s->clients + s->client_next * (request_bytes() / 8));

	s->client_next = s->client_next + 1 == s->client_count ? 0 : s->client_next + 1;
	return q;
}

static void client_set(struct worker *w, uint64_t key, uint64_t version)
{
	struct request *q = next_client(&w->kv);
	uint64_t base = value_base(key, version);
	enum fill kind = pages_fill_kind();

	q->key = key_named(key);
	q->version = version;
	q->op = OP_SET;
	q->value_bytes = value_words * 8;
	q->reply = 0;
	for (uint32_t i = 0; i < value_words; i++)
		q->value[i] = value_word(base, i, kind);
	q->sum = value_sum(q->value, version);
	serve_set(w, q);
}

/* Which key the n-th GET is for: any, or with hot keys nine times in ten one of those. */
static uint64_t key_to_get(const struct worker *w, uint64_t n)
{
	uint64_t h = page_data_word(n, w->cpu, FILL_RANDOM);
	const struct stream *s = &w->streams[hot_reads && h % HOT_SHARE == 0];

	if (!s->count)
		s = &w->streams[0];
	return s->first +
	       (uint64_t)((unsigned __int128)(h * 0x9e3779b97f4a7c15ull) * s->count >> 64);
}

static void client_get(struct worker *w)
{
	struct request *q = next_client(&w->kv);
	uint64_t sum;

	q->key = key_named(key_to_get(w, w->kv.gets++));
	q->version = 0;
	q->op = OP_GET;
	q->reply = 0;
	serve_get(w, q);
	sum = value_sum(q->value, q->reply);
	if (unlikely(sum != q->sum))
		bad_word(w, &q->sum, sum, q->sum);
}

void kv_start(struct worker *w)
{
	struct kv_shard *s = &w->kv;
	uint64_t slots;

	s->first_key = keys_total * w->cpu / cpus;
	s->keys = share(keys_total, w->cpu);
	slots = index_slots(s->keys);
	s->index = (uint64_t *)(POOL_VA + shard_bytes * w->cpu);
	s->index_mask = slots - 1;
	memset(s->index, 0, slots * 8);
	s->clients = s->index + slots;
	s->client_count = (uint32_t)share(clients_total, w->cpu);
	s->records = s->clients + s->client_count * (request_bytes() / 8);
	for (uint64_t i = 0; i < s->keys; i++)
		client_set(w, s->first_key + i, 0);
}

uint32_t kv_batch(struct worker *w, struct stream *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (load == KV_MIX && (w->pages + i) % MIX_CYCLE) {
			client_get(w);
			continue;
		}
		client_set(w, stream_next(s, 0), s->pass);
		if (stream_advance(s, 1))
			return i + 1;
	}
	return n;
}

/* ---- verification ---- */

static void verify_word(struct worker *w, const uint64_t *at, uint64_t expected)
{
	w->found.words++;
	if (likely(*at == expected))
		return;
	w->found.bad++;
	pages_report_bad(w->cpu, page_of(at), (uint32_t)((uint64_t)at / 8 % PAGE_WORDS), expected,
			 *at);
}

static void verify_key(struct worker *w, uint64_t key, uint64_t version)
{
	struct kv_key name = key_named(key);
	struct record *r = find_record(&w->kv, &name);
	uint64_t base = value_base(key, version);

	if (!r) {
		w->found.bad++;
		pages_report_bad(w->cpu, page_of(w->kv.index), 0, name.text[1], 0);
		return;
	}
	verify_word(w, &r->version, version);
	verify_word(w, &r->value_bytes, value_words * 8);
	for (uint32_t i = 0; i < value_words; i++)
		verify_word(w, &r->value[i], value_word(base, i, pages_fill_kind()));
	verify_word(w, &r->sum, value_sum(r->value, version));
	w->found.keys++;
}

void kv_verify_stream(struct worker *w, const struct stream *s)
{
	struct stream walk = *s;

	stream_start_pass(&walk);
	for (uint64_t i = 0; i < s->count; i++)
		verify_key(w, stream_next(&walk, i), i < s->cursor ? s->pass : s->pass - 1);
}

void kv_verify_index(struct worker *w)
{
	const struct kv_shard *s = &w->kv;
	uint64_t used = 0;

	for (uint64_t i = 0; i <= s->index_mask; i++)
		used += s->index[i] != 0;
	w->found.words += s->index_mask + 1;
	if (used == s->keys)
		return;
	w->found.bad++;
	pages_report_bad(w->cpu, page_of(s->index), 0, s->keys, used);
}
