/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. Unknown keys are meant for other guests (console=ttyS0): a note, then ignored.
 */
#include "guest.h"

struct word {
	const char *text;
	size_t len;
};

static bool word_is(struct word w, const char *s)
{
	size_t i;

	for (i = 0; i < w.len; i++)
		if (!s[i] || s[i] != w.text[i])
			return false;
	return !s[i];
}

static bool parse_number(struct word w, uint64_t *ret_v)
{
	uint64_t v = 0;

	if (!w.len)
		return false;
	for (size_t i = 0; i < w.len; i++) {
		if (w.text[i] < '0' || w.text[i] > '9' || v > UINT64_MAX / 10 - 1)
			return false;
		v = v * 10 + (uint64_t)(w.text[i] - '0');
	}
	*ret_v = v;
	return true;
}

static bool parse_size(struct word w, uint64_t *ret_v)
{
	uint32_t shift = 0;
	uint64_t v;

	if (w.len) {
		char last = w.text[w.len - 1] | 0x20;

		shift = last == 'k' ? 10 : last == 'm' ? 20 : last == 'g' ? 30 : 0;
		w.len -= shift != 0;
	}
	if (!parse_number(w, &v) || v > UINT64_MAX >> shift >> 1)
		return false;
	*ret_v = v << shift;
	return true;
}

static bool parse_choice(struct word w, const char *const *names, uint32_t count, uint32_t *ret_i)
{
	for (uint32_t i = 0; i < count; i++) {
		if (word_is(w, names[i])) {
			*ret_i = i;
			return true;
		}
	}
	return false;
}

/* PAGE or PAGE:WORD. */
static bool parse_poke(struct word w, struct args *a)
{
	struct word page = { w.text, 0 };

	while (page.len < w.len && w.text[page.len] != ':')
		page.len++;
	a->poke_word = 300;
	if (page.len < w.len) {
		struct word rest = { w.text + page.len + 1, w.len - page.len - 1 };

		if (!parse_number(rest, &a->poke_word) || a->poke_word >= PAGE_WORDS)
			return false;
	}
	return parse_number(page, &a->poke_page);
}

enum key { KEY_OTHER, KEY_OK, KEY_WRONG };

static enum key verdict_of(bool ok)
{
	return ok ? KEY_OK : KEY_WRONG;
}

static enum key parse_named(struct args *a, struct word key, struct word value)
{
	static const char *const patterns[] = { "seq", "random", "hot" };
	static const char *const fills[] = { "none", "zero", "random", "text", "sparse" };
	uint32_t choice = 0;
	bool ok;

	if (word_is(key, "pattern")) {
		ok = parse_choice(value, patterns, 3, &choice);
		a->pattern = (enum pattern)choice;
		a->pattern_given = true;
		return verdict_of(ok);
	}
	if (word_is(key, "fill")) {
		ok = parse_choice(value, fills, 5, &choice);
		a->fill = (enum fill)choice;
		return verdict_of(ok);
	}
	if (word_is(key, "fillsize")) {
		if (word_is(value, "all")) {
			a->fillsize_bytes = UINT64_MAX;
			return KEY_OK;
		}
		return verdict_of(parse_size(value, &a->fillsize_bytes));
	}
	if (word_is(key, "poke"))
		return verdict_of(parse_poke(value, a));
	if (word_is(key, "idle")) {
		a->idle = true;
		return verdict_of(!value.len);
	}
	return KEY_OTHER;
}

static enum key parse_blk(struct args *a, struct word key, struct word value)
{
	static const char *const loads[] = { "READ", "read", "WRITE", "write", "MIX", "mix" };
	uint32_t choice = 0;
	uint64_t v;

	if (word_is(key, "blk")) {
		if (!parse_choice(value, loads, 6, &choice))
			return KEY_WRONG;
		a->blk = (enum blk_load)(BLK_READ + choice / 2);
		return KEY_OK;
	}
	if (word_is(key, "blk-size"))
		return verdict_of(parse_size(value, &a->blk_bytes) && a->blk_bytes &&
				  a->blk_bytes % 512 == 0 && a->blk_bytes <= BLK_BYTES_MAX);
	if (word_is(key, "blk-depth")) {
		if (!parse_number(value, &v) || v < 1 || v > BLK_DEPTH_MAX)
			return KEY_WRONG;
		a->blk_depth = (uint32_t)v;
		return KEY_OK;
	}
	if (word_is(key, "blk-span"))
		return verdict_of(parse_size(value, &a->blk_span));
	if (word_is(key, "blk-requests"))
		return verdict_of(parse_size(value, &a->blk_requests));
	if (word_is(key, "blk-chain")) {
		a->blk_chain = true;
		return verdict_of(!value.len);
	}
	if (word_is(key, "virtio-faults")) {
		a->faults = true;
		return verdict_of(!value.len);
	}
	return parse_named(a, key, value);
}

static enum key parse_kv(struct args *a, struct word key, struct word value)
{
	static const char *const loads[] = { "SET", "set", "MIX", "mix" };
	uint32_t choice = 0;

	if (word_is(key, "kv")) {
		if (!parse_choice(value, loads, 4, &choice))
			return KEY_WRONG;
		a->kv = choice < 2 ? KV_SET : KV_MIX;
		return KEY_OK;
	}
	if (word_is(key, "keys"))
		return verdict_of(parse_size(value, &a->keys) && a->keys && a->keys <= KV_KEYS_MAX);
	if (word_is(key, "value")) {
		if (!parse_size(value, &a->value_bytes) || !a->value_bytes ||
		    a->value_bytes > KV_VALUE_MAX)
			return KEY_WRONG;
		a->value_bytes = (a->value_bytes + 7) & ~7ull;
		return KEY_OK;
	}
	if (word_is(key, "clients"))
		return verdict_of(parse_number(value, &a->clients) && a->clients &&
				  a->clients <= KV_CLIENTS_MAX);
	if (word_is(key, "requests"))
		return verdict_of(parse_number(value, &a->requests));
	return parse_blk(a, key, value);
}

static enum key parse_one(struct args *a, struct word key, struct word value)
{
	uint64_t v;

	if (word_is(key, "ws")) {
		a->ws_given = true;
		return verdict_of(parse_size(value, &a->ws_bytes));
	}
	if (word_is(key, "mem"))
		return verdict_of(parse_size(value, &a->mem_bytes));
	if (word_is(key, "rate"))
		return verdict_of(parse_number(value, &a->rate) && a->rate <= 1000000000);
	if (word_is(key, "report"))
		return verdict_of(parse_number(value, &a->report_ms) && a->report_ms <= 86400000);
	if (word_is(key, "tick"))
		return verdict_of(parse_number(value, &a->tick_hz) && a->tick_hz <= 100000);
	if (word_is(key, "tsc_khz"))
		return verdict_of(parse_number(value, &a->tsc_khz) && a->tsc_khz <= 100000000);
	if (word_is(key, "passes"))
		return verdict_of(parse_number(value, &a->passes));
	if (word_is(key, "cpus")) {
		if (!parse_number(value, &v) || v < 1 || v > CPUS_MAX)
			return KEY_WRONG;
		a->cpus = (uint32_t)v;
		return KEY_OK;
	}
	return parse_kv(a, key, value);
}

static void print_about(const char *what, struct word w)
{
	struct line l;

	l.len = 0;
	line_str(&l, what);
	line_strn(&l, w.text, w.len);
	line_print(&l);
}

bool args_parse(struct args *ret_args, const char *cmdline)
{
	struct args a = {
		.ws_bytes = 64ull << 20,
		.mem_bytes = UINT64_MAX,
		.report_ms = 1000,
		.poke_page = POKE_NONE,
		.cpus = 1,
		.keys = 100000,
		.value_bytes = 256,
		.clients = 50,
		.blk_bytes = 4096,
		.blk_span = 16ull << 20,
		.blk_depth = 16,
	};
	const char *s = cmdline;

	for (;;) {
		struct word all, key, value;

		while (*s == ' ' || *s == '\t' || *s == '\n')
			s++;
		if (!*s)
			break;
		all.text = s;
		while (*s && *s != ' ' && *s != '\t' && *s != '\n')
			s++;
		all.len = (size_t)(s - all.text);
		key = (struct word){ all.text, 0 };
		while (key.len < all.len && all.text[key.len] != '=')
			key.len++;
		value = (struct word){ s, 0 };
		if (key.len < all.len)
			value = (struct word){ all.text + key.len + 1, all.len - key.len - 1 };
		switch (parse_one(&a, key, value)) {
		case KEY_OK:
			break;
		case KEY_OTHER:
			print_about("vmm-guest: note ignored ", all);
			break;
		case KEY_WRONG:
			print_about("vmm-guest: ERROR bad value ", all);
			return false;
		}
	}
	if (a.kv && (a.ws_given || a.idle || a.passes)) {
		console_puts("vmm-guest: ERROR kv= goes with none of ws=, idle and passes=");
		return false;
	}
	if (a.blk && a.blk_span / a.blk_bytes > BLK_BLOCKS_MAX) {
		console_puts("vmm-guest: ERROR blk-span= has too many blocks of blk-size=");
		return false;
	}
	if (a.kv && !a.pattern_given)
		a.pattern = PATTERN_RANDOM;
	*ret_args = a;
	return true;
}
