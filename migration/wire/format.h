/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_WIRE_FORMAT_H
#define MIGRATION_WIRE_FORMAT_H

#include <stdint.h>

/* The wire format of docs/spec/stream.md, version 1. Numbers only; record.h and pages.h turn records into bytes and back. */
#define STREAM_MAGIC 0x314d4d56u
#define STREAM_VERSION 1u
#define STREAM_HEADER_BYTES 32u
#define STREAM_PAGE_BYTES 4096u
#define STREAM_MAX_META (1u << 20)
#define STREAM_MAX_PAYLOAD (1u << 20)
#define STREAM_MAX_PAGES (STREAM_MAX_PAYLOAD / STREAM_PAGE_BYTES) /* per PAGES or ZPAGES record */
#define STREAM_MAX_ZERO_RUNS 4096u
#define STREAM_MAX_TEXT 512u
#define STREAM_MAX_ERRNO 4095u
#define STREAM_MIN_MAX_PAYLOAD (64u * 1024) /* a HELLO may ask for no smaller limit */
#define STREAM_MAX_RAM_PAGES (1ULL << 32)
#define STREAM_FEATURE_ZPAGES (1ULL << 0)

enum record_type {
	REC_HELLO = 1,
	REC_CONFIG,
	REC_CONFIG_OK,
	REC_ROUND_BEGIN,
	REC_PAGES,
	REC_ZERO,
	REC_ZPAGES,
	REC_ROUND_END,
	REC_ROUND_ACK,
	REC_STATE,
	REC_END,
	REC_READY,
	REC_COMMIT,
	REC_STARTED,
	REC_ERROR,
	REC_CANCEL,
	REC_TYPE_COUNT
};

#endif
