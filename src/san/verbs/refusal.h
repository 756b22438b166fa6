/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a connection was refused, in the private data of the refusal: the connection
 * manager itself tells only that the consumer refused.
 *
 *	0	u32	little-endian REFUSAL_MAGIC
 *	4	u8	enum refusal
 *	5		the answer of the condition function, at most REFUSAL_ANSWER bytes
 *
 * Anything else, or less, comes from another program or from the kernel (a process
 * that ended with requests waiting): unknown, so the peer tries TCP.
 */
#ifndef WSD_SAN_VERBS_REFUSAL_H
#define WSD_SAN_VERBS_REFUSAL_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <wsdirect/ws2san.h>

#define REFUSAL_MAGIC	0x52445357u
#define REFUSAL_LENGTH	5
#define REFUSAL_ANSWER	WSDIRECT_CONNECT_DATA

enum refusal {
	REFUSAL_BACKLOG = 1,	/* the backlog is full, or the listener is closing */
	REFUSAL_REJECTED,	/* CF_REJECT */
	REFUSAL_DECLINED,	/* CF_WSDIRECT_DECLINE, or this end could not: try TCP */
};

static inline void refusal_encode(enum refusal refusal, uint8_t bytes[REFUSAL_LENGTH])
{
	uint32_t magic = htole32(REFUSAL_MAGIC);

	memcpy(bytes, &magic, sizeof(magic));
	bytes[4] = (uint8_t)refusal;
}

static inline bool refusal_is_ours(const uint8_t *bytes, unsigned length)
{
	uint32_t magic;

	if (length < REFUSAL_LENGTH)
		return false;
	memcpy(&magic, bytes, sizeof(magic));
	return le32toh(magic) == REFUSAL_MAGIC;
}

/* What WSPConnect ends with. */
static inline int refusal_wsa_error(const uint8_t *bytes, unsigned length)
{
	if (!refusal_is_ours(bytes, length))
		return WSAETIMEDOUT;
	switch (bytes[4]) {
	case REFUSAL_BACKLOG:
	case REFUSAL_REJECTED:
		return WSAECONNREFUSED;
	default:
		return WSAETIMEDOUT;
	}
}

#endif
