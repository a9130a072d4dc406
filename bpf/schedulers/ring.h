/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rings that user space fills: rr and wrr walk theirs by a cursor. A ring is
 * a row of segments, each of which walks its members again and again, so that
 * weighted round robin costs no more memory than the distinct weights ask for
 * (src/dataplane/xdp/rings.ts). The last segment has every member.
 */
#ifndef RING_H
#define RING_H

#include "load.h"

#define RING_SEARCH_STEPS 17 /* at most 2^16 distinct weights */
#define RING_STEPS (1 << 20) /* more than any walk over a ring takes */
#define RING_TRIES 4

/* The segment of a position in the ring that begins with `first`, counted from there. */
static __always_inline __u32 ring_segment_of(__u32 first, __u32 segments, __u32 position)
{
	__u32 low = 0, high = segments;
	struct ring_segment *segment;

	/* The first segment that ends behind the position. */
	for (int step = 0; step < RING_SEARCH_STEPS; step++) {
		__u32 middle = (low + high) / 2;

		if (high - low <= 1)
			break;
		segment = lookup(ring_segments, first + middle - 1);
		if (!segment)
			break;
		if (position < segment->end)
			high = middle;
		else
			low = middle;
	}
	return low;
}

/* The member at a position of the ring whose segments begin with `first`; 0: none. */
__noinline int ring_at(__u32 first, __u32 segments, __u32 position)
{
	__u32 index = ring_segment_of(first, segments, position), start = 0;
	struct ring_segment *segment;
	__u32 *member;

	if (index) {
		segment = lookup(ring_segments, first + index - 1);
		if (!segment)
			return 0;
		start = segment->end;
	}
	segment = lookup(ring_segments, first + index);
	if (!segment || !segment->length)
		return 0;
	member = lookup(ring_members, segment->first + (position - start) % segment->length);
	return member ? *member : 0;
}

/* A walk from a position to the next real server that may be scheduled. */
struct ring_walk {
	__u32 first; /* of ring_segments */
	__u32 segments;
	__u32 length; /* of the ring */
	__u32 weight; /* the highest of those that may be scheduled: only segments up to it have one */
	__u32 segment; /* where it stands, counted from `first` */
	__u32 start;   /* the position that the segment begins with */
	__u32 position;
	__u32 passed;  /* positions since the beginning */
	__u32 found;   /* 0: not yet */
	__u32 members; /* ring_members of the last segment */
};

static long ring_weigh(__u32 i, void *context)
{
	struct ring_walk *walk = context;
	__u32 *id = lookup(ring_members, walk->members + i);
	struct real_server_load *load = id ? lookup(real_server_loads, *id) : NULL;

	if (load && may_be_scheduled(load) && load_weight(load) > walk->weight)
		walk->weight = load_weight(load);
	return 0;
}

static long ring_step(__u32 i, void *context)
{
	struct ring_walk *walk = context;
	struct ring_segment *segment = lookup(ring_segments, walk->first + walk->segment);
	__u32 *member, step = 1;

	if (!segment || !segment->length || walk->passed >= walk->length)
		return 1;
	if (segment->weight > walk->weight) {
		step = segment->end - walk->position;
	} else {
		member = lookup(ring_members,
				segment->first + (walk->position - walk->start) % segment->length);
		if (member && id_may_be_scheduled(*member)) {
			walk->found = *member;
			return 1;
		}
	}
	walk->passed += step;
	walk->position += step;
	if (walk->position < segment->end)
		return 0;
	walk->start = segment->end;
	if (++walk->segment == walk->segments) {
		walk->segment = 0;
		walk->start = 0;
		walk->position = 0;
	}
	return 0;
}

/*
 * Nothing may be scheduled. rr stays where it is; wrr, too, when it stands in
 * the round of weight 1, and otherwise begins anew from the head of the list
 * (ip_vs_wrr_schedule() of net/netfilter/ipvs/ip_vs_wrr.c).
 */
static __always_inline void ring_failed(const struct service *service, struct service_state *state,
					__u64 cursor, __u32 last_length)
{
	__u32 length = service->ring_length, last = (cursor + length - 1) % length;

	if (service->scheduler != SCHEDULER_WRR || state->restarted)
		return;
	if (cursor != service->ring_cursor && last >= length - last_length)
		return;
	/* Forward, so that it never comes to stand where the ring was made. */
	__sync_val_compare_and_swap(&state->cursor, cursor, (cursor / length + 1) * length);
	state->restarted = 1;
}

/* Round robin where real servers have thresholds: overloaded ones are passed over. */
__noinline int ring_seek(__u32 service_index)
{
	struct service *service = lookup(services, service_index);
	struct service_state *state = lookup(service_states, service_index);
	struct ring_segment *last, *before;
	struct ring_walk walk = {};

	if (!service || !state || !service->ring_length || !service->ring_segments)
		return 0;
	last = lookup(ring_segments, service->ring_segment + service->ring_segments - 1);
	if (!last)
		return 0;
	for (int try = 0; try < RING_TRIES; try++) {
		__u64 cursor = *(volatile __u64 *)&state->cursor;
		__u64 zero = unknown_zero(cursor);

		walk.first = service->ring_segment;
		walk.segments = service->ring_segments;
		walk.length = service->ring_length;
		walk.position = cursor % service->ring_length;
		walk.segment = ring_segment_of(walk.first, walk.segments, walk.position);
		walk.start = zero;
		walk.passed = zero;
		walk.found = zero;
		before = walk.segment ? lookup(ring_segments, walk.first + walk.segment - 1) : NULL;
		if (before)
			walk.start = before->end;
		walk.weight = ~0U;
		/* What is next may be scheduled, most of the time. */
		bpf_loop(1, ring_step, &walk, 0);
		if (!walk.found) {
			walk.weight = zero;
			walk.members = last->first;
			bpf_loop(last->length, ring_weigh, &walk, 0);
			if (!walk.weight) {
				ring_failed(service, state, cursor, last->length);
				return 0;
			}
			bpf_loop(RING_STEPS, ring_step, &walk, 0);
		}
		if (!walk.found)
			return 0;
		if (__sync_val_compare_and_swap(&state->cursor, cursor, cursor + walk.passed + 1) ==
		    cursor)
			break;
	}
	if (state->restarted)
		state->restarted = 0;
	return walk.found;
}

/* As ring_at(), without a call and a second division if all have the same weight. */
static __always_inline __u32 ring_member(const struct service *service, __u32 position)
{
	struct ring_segment *segment = lookup(ring_segments, service->ring_segment);
	__u32 *member;

	if (!segment || service->ring_segments != 1 || position >= segment->length)
		return ring_at(service->ring_segment, service->ring_segments, position);
	member = lookup(ring_members, segment->first + position);
	return member ? *member : 0;
}

static __always_inline __u32 ring_choose(const struct service *service, __u32 service_index,
					 struct service_state *state)
{
	if (!service->ring_length)
		return 0;
	if (service->flags & SERVICE_THRESHOLDS)
		return ring_seek(service_index);
	return ring_member(service, __sync_fetch_and_add(&state->cursor, 1) % service->ring_length);
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
