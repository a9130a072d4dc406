/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The word of a connection's slot: tag, real server, state and tick; 0: free. */
#ifndef SLOT_H
#define SLOT_H

#include "maps.h"

static __always_inline __u32 word_tick(__u64 word)
{
	return word & SLOT_TICK_MASK;
}

static __always_inline __u32 word_state(__u64 word)
{
	return word >> SLOT_STATE_SHIFT & SLOT_STATE_MASK;
}

static __always_inline __u32 word_real_server(__u64 word)
{
	return word >> SLOT_REAL_SERVER_SHIFT & SLOT_REAL_SERVER_MASK;
}

static __always_inline bool is_half_open(__u32 state)
{
	const __u32 half_open = 1U << STATE_SYN_RECV | 1U << STATE_SYN_SENT | 1U << STATE_SYNACK |
				((1U << STATE_SCTP_ESTABLISHED) - (1U << STATE_SCTP_INIT1));

	return half_open >> (state & SLOT_STATE_MASK) & 1;
}

/* Seconds since the slot's tick; the twelve bits wrap after 68 minutes. */
static __always_inline __u32 word_age(__u64 word, __u32 tick)
{
	return (tick - word_tick(word)) & SLOT_TICK_MASK;
}

static __always_inline __u64 make_word(__u64 tag, __u32 real_server, __u32 state, __u32 tick)
{
	return tag << SLOT_TAG_SHIFT | (__u64)real_server << SLOT_REAL_SERVER_SHIFT |
	       (__u64)state << SLOT_STATE_SHIFT | (tick & SLOT_TICK_MASK);
}

static __always_inline __u64 *slot_at(__u32 index)
{
	struct connection_line *line = lookup(connections, index / SLOTS_PER_LINE);

	return line ? &line->slot[index % SLOTS_PER_LINE] : NULL;
}

#endif
