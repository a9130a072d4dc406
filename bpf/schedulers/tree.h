/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tournament trees for the schedulers that look at the loads: lc wlc sed nq
 * lblc lblcr fo ovf. A leaf is a real server, an inner node the better of its
 * two children, the root the choice: a SYN reads one node, and a changed count
 * walks one path up (7 comparisons for 100 real servers) in place of a scan of
 * all. Ties go left, to the server added last, which is the first in the
 * kernel's list.
 *
 * Every scheduler is a fraction, cost over weight, of which the least wins. Two
 * are compared by cross multiplication and chosen by a mask, because whether a
 * server wins is a branch that no processor can predict.
 *
 * Nobody locks. Two CPUs that walk at once can leave a stale node; the next
 * walk over it, at the latest that of the connection which was given to the
 * stale winner, mends it.
 */
#ifndef TREE_H
#define TREE_H

#include "load.h"

#define COST_NEVER 0xffffffffU /* over weight 1: more than any load gives */

/* Cost in the lower half, weight in the upper. */
static __always_inline __u64 fraction(__u64 cost, __u64 weight)
{
	return cost | weight << 32;
}

/* As ip_vs_dest_conn_overhead() of include/net/ip_vs.h. */
static __always_inline __u32 overhead(const struct real_server_load *load)
{
	return (load->active << 8) + load->inactive;
}

static __always_inline __u64 tree_fraction(__u32 scheduler, const struct real_server_load *load)
{
	__u32 weight = load->weight;

	if ((__s32)weight <= 0)
		return fraction(COST_NEVER, 1);
	switch (scheduler) {
	case SCHEDULER_LC:
		return fraction(overhead(load), 1);
	case SCHEDULER_SED:
		return fraction(load->active + 1, weight);
	case SCHEDULER_NQ:
		/* An idle one before all others, whatever its weight. */
		return load->active ? fraction(load->active + 1, weight) : fraction(0, 1);
	case SCHEDULER_FO:
		return fraction(1, weight);
	case SCHEDULER_OVF:
		return load->active <= weight ? fraction(1, weight) : fraction(COST_NEVER, 1);
	default:
		return fraction(overhead(load), weight);
	}
}

/* A node as two words, so that one mask chooses it. */
struct tree_words {
	__u64 fraction;
	__u64 real_server;
};

static __always_inline struct tree_words tree_leaf(__u32 scheduler, __u32 id)
{
	struct tree_words leaf = { .fraction = fraction(COST_NEVER, 1), .real_server = id };
	struct real_server_load *load = id ? lookup(real_server_loads, id) : NULL;

	if (load)
		leaf.fraction = tree_fraction(scheduler, load);
	return leaf;
}

/* All ones if the fraction a is less than b by `ties` or more: 1 leaves ties to b, 0 gives them to a. */
static __always_inline __u64 less_mask(__u64 a, __u64 b, __u64 ties)
{
	__s64 difference = (a & 0xffffffff) * (b >> 32) - (b & 0xffffffff) * (a >> 32);

	return (difference - (__s64)(1 - ties)) >> 63;
}

static __always_inline struct tree_words *siblings_at(__u32 tree, __u32 position)
{
	return (struct tree_words *)lookup(tree_nodes, (tree + position) / 2);
}

/* Walks up from the leaf of a real server whose load has changed. */
static __always_inline void tree_update(const struct service *service, __u32 id, __u32 leaf)
{
	struct tree_words winner = tree_leaf(service->scheduler, id);
	__u32 tree = service->tree, position = 2 * service->tree_leaves - 1 - leaf;

	for (int level = 0; level < TREE_LEVELS; level++) {
		struct tree_words *siblings = siblings_at(tree, position);
		__u64 right = position & 1, mask;

		if (!siblings)
			return;
		siblings[right] = winner;
		if (position <= 1)
			return;
		mask = less_mask(winner.fraction, siblings[right ^ 1].fraction, right);
		winner.fraction = (winner.fraction & mask) | (siblings[right ^ 1].fraction & ~mask);
		winner.real_server = (winner.real_server & mask) |
				     (siblings[right ^ 1].real_server & ~mask);
		position >>= 1;
	}
}

static __always_inline __u32 tree_choose(const struct service *service)
{
	struct tree_words *root = siblings_at(service->tree, 1);
	struct real_server_load *load;
	__u32 id;

	if (!service->tree_leaves || !root || (__u32)root[1].fraction == COST_NEVER)
		return 0;
	id = root[1].real_server;
	load = lookup(real_server_loads, id);
	return load && may_be_scheduled(load) ? id : 0;
}

/* lblc's other server that has room: 2 * active < weight. */
static __always_inline bool is_light(__u32 active, __u32 weight)
{
	return 2 * (__u64)active < weight;
}

#endif
