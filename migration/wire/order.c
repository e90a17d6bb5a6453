/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "migration/wire/record.h"

/* Where each record of the source leads (stream.md §3); what is not here is not allowed. ERROR and CANCEL are handled apart: they may stand anywhere before COMMIT. */
static const struct {
	enum stream_state from;
	enum record_type type;
	enum stream_state to;
} transitions[] = {
	{ STREAM_START, REC_HELLO, STREAM_HELLO_DONE },
	{ STREAM_HELLO_DONE, REC_CONFIG, STREAM_CONFIGURED },
	{ STREAM_CONFIGURED, REC_ROUND_BEGIN, STREAM_IN_ROUND }, /* or STREAM_IN_LAST_ROUND */
	{ STREAM_IN_ROUND, REC_PAGES, STREAM_IN_ROUND },
	{ STREAM_IN_ROUND, REC_ZERO, STREAM_IN_ROUND },
	{ STREAM_IN_ROUND, REC_ZPAGES, STREAM_IN_ROUND },
	{ STREAM_IN_ROUND, REC_ROUND_END, STREAM_CONFIGURED },
	{ STREAM_IN_LAST_ROUND, REC_PAGES, STREAM_IN_LAST_ROUND },
	{ STREAM_IN_LAST_ROUND, REC_ZERO, STREAM_IN_LAST_ROUND },
	{ STREAM_IN_LAST_ROUND, REC_ZPAGES, STREAM_IN_LAST_ROUND },
	{ STREAM_IN_LAST_ROUND, REC_ROUND_END, STREAM_LAST_ROUND_DONE },
	{ STREAM_LAST_ROUND_DONE, REC_STATE, STREAM_IN_STATE },
	{ STREAM_IN_STATE, REC_STATE, STREAM_IN_STATE },
	{ STREAM_IN_STATE, REC_END, STREAM_ENDED },
	{ STREAM_ENDED, REC_COMMIT, STREAM_COMMITTED },
};

static const char *const state_names[] = {
	[STREAM_START] = "before HELLO",
	[STREAM_HELLO_DONE] = "before CONFIG",
	[STREAM_CONFIGURED] = "between rounds",
	[STREAM_IN_ROUND] = "in a round",
	[STREAM_IN_LAST_ROUND] = "in the last round",
	[STREAM_LAST_ROUND_DONE] = "after the last round",
	[STREAM_IN_STATE] = "after STATE",
	[STREAM_ENDED] = "after END",
	[STREAM_COMMITTED] = "after COMMIT",
	[STREAM_OVER] = "after the stream's end",
};

int stream_next_state(enum stream_state *state, enum record_type type, bool last, struct err *err)
{
	if ((type == REC_ERROR || type == REC_CANCEL) && *state < STREAM_COMMITTED) {
		*state = STREAM_OVER;
		return 0;
	}
	for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
		if (transitions[i].from != *state || transitions[i].type != type)
			continue;
		*state = type == REC_ROUND_BEGIN && last ? STREAM_IN_LAST_ROUND : transitions[i].to;
		return 0;
	}
	return err_set(err, -EPROTO, "%s is not allowed %s", record_name(type),
		       state_names[*state]);
}
