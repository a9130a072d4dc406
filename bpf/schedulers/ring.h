/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rings that user space fills: rr and wrr walk theirs by a cursor. A ring is
 * a row of segments, each of which walks its members again and again, so that
 * weighted round robin costs no more memory than the distinct weights ask for
 * (src/dataplane/xdp/rings.ts).
 */
#ifndef RING_H
#define RING_H

#include "maps.h"

#define RING_SEARCH_STEPS 17 /* at most 2^16 distinct weights */

/* The member at a position of the ring whose segments begin with `first`; 0: none. */
__noinline int ring_at(__u32 first, __u32 segments, __u32 position)
{
	__u32 low = 0, high = segments, start = 0;
	struct ring_segment *segment;
	__u32 *member;

	/* The first segment that ends behind the position. */
	for (int step = 0; step < RING_SEARCH_STEPS; step++) {
		__u32 middle = (low + high) / 2;

		if (high - low <= 1)
			break;
		segment = lookup(ring_segments, first + middle - 1);
		if (!segment)
			return 0;
		if (position < segment->end)
			high = middle;
		else
			low = middle;
	}
	if (low) {
		segment = lookup(ring_segments, first + low - 1);
		if (!segment)
			return 0;
		start = segment->end;
	}
	segment = lookup(ring_segments, first + low);
	if (!segment || !segment->length)
		return 0;
	member = lookup(ring_members, segment->first + (position - start) % segment->length);
	return member ? *member : 0;
}

static __always_inline __u32 ring_choose(const struct service *service, struct service_state *state)
{
	if (!service->ring_length)
		return 0;
	return ring_at(service->ring_segment, service->ring_segments,
		       __sync_fetch_and_add(&state->cursor, 1) % service->ring_length);
}

/* A consistent hash over the real servers with a weight, for packets that found no slot. */
static __always_inline __u32 spread_choose(const struct service *service, __u64 hash)
{
	__u32 *member;

	if (!service->spread_length)
		return 0;
	member = lookup(ring_members,
			service->spread + (__u32)(hash >> 32) % service->spread_length);
	return member ? *member : 0;
}

#endif
