/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The power of two choices, net/netfilter/ipvs/ip_vs_twos.c of Linux 5.13: two
 * real servers are drawn by weight, the less loaded one is taken, the first at
 * a tie. Its ring has a segment for each real server, as long as its weight.
 * The kernel draws from 0 to the sum of the weights, both included, so the
 * first of its list has one chance more than its weight.
 */
#ifndef TWOS_H
#define TWOS_H

#include "ring.h"
#include "tree.h"

struct twos_walk {
	__u32 first; /* of ring_segments */
	__u32 found[2];
	__u64 sum; /* of the weights that may be scheduled */
	__s64 left[2];
};

static __always_inline __u64 draw(__u64 below)
{
	return bpf_get_prandom_u32() * below >> 32;
}

/* The id of the i-th real server and its weight if it may be scheduled, else 0. */
static __always_inline __u32 twos_member(const struct twos_walk *walk, __u32 i, __u32 *weight)
{
	struct ring_segment *segment = lookup(ring_segments, walk->first + i);
	__u32 *id = segment ? lookup(ring_members, segment->first) : NULL;
	struct real_server_load *load = id ? lookup(real_server_loads, *id) : NULL;

	if (!load || !may_be_scheduled(load))
		return 0;
	*weight = load_weight(load);
	return *id;
}

static long twos_add(__u32 i, void *context)
{
	struct twos_walk *walk = context;
	__u32 weight;

	if (twos_member(walk, i, &weight))
		walk->sum += weight;
	return 0;
}

static long twos_pick(__u32 i, void *context)
{
	struct twos_walk *walk = context;
	__u32 weight, id = twos_member(walk, i, &weight);

	if (!id)
		return 0;
	for (int draw = 0; draw < 2; draw++) {
		walk->left[draw] -= weight;
		if (walk->left[draw] <= 0 && !walk->found[draw])
			walk->found[draw] = id;
	}
	return walk->found[0] && walk->found[1];
}

/* Where real servers have thresholds, the sum is of those that are not overloaded. */
static __always_inline void twos_walk(const struct service *service, struct twos_walk *walk)
{
	__u64 zero = unknown_zero(service->ring_cursor);

	walk->first = service->ring_segment;
	walk->sum = zero;
	walk->found[0] = zero;
	walk->found[1] = zero;
	bpf_loop(service->ring_segments, twos_add, walk, 0);
	if (!walk->sum)
		return;
	walk->left[0] = draw(walk->sum + 1) + zero;
	walk->left[1] = draw(walk->sum + 1) + zero;
	bpf_loop(service->ring_segments, twos_pick, walk, 0);
}

static __always_inline __u32 twos_draw(const struct service *service)
{
	__u32 drawn = draw((__u64)service->ring_length + 1);

	return ring_at(service->ring_segment, service->ring_segments, drawn ? drawn - 1 : 0);
}

__noinline int twos_choose(__u32 service_index)
{
	struct service *service = lookup(services, service_index);
	struct real_server_load *first, *second;
	struct twos_walk walk = {};

	if (!service || !service->ring_length)
		return 0;
	if (service->flags & SERVICE_THRESHOLDS) {
		twos_walk(service, &walk);
	} else {
		walk.found[0] = twos_draw(service);
		walk.found[1] = twos_draw(service);
	}
	first = lookup(real_server_loads, walk.found[0]);
	second = lookup(real_server_loads, walk.found[1]);
	if (!first || !second)
		return 0;
	if ((__u64)overhead(first) * load_weight(second) >
	    (__u64)overhead(second) * load_weight(first))
		return walk.found[1];
	return walk.found[0];
}

#endif
