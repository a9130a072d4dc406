/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tournament trees for the schedulers that look at the loads: lc wlc sed nq
 * lblc lblcr fo ovf. A leaf is a real server, an inner node the better of its
 * two children, the root the choice: a SYN reads one node, and a changed count
 * walks one path up (7 comparisons for 100 real servers) in place of a scan of
 * all. Ties go left, to the server added last, which is the first in the
 * kernel's list.
 *
 * Every scheduler is a fraction, cost over weight, of which the least wins. A
 * node keeps it as one number, its key: the fraction times 2^32, rounded down,
 * which tells apart whatever differs as long as no weight is above 65535 (two
 * fractions differ by one over the product of their weights at least). With
 * greater weights the key is cost and weight themselves, and two of them are
 * compared by cross multiplication. Either way the better one is chosen by a
 * mask, because whether a server wins is a branch that no processor can
 * predict.
 *
 * Nobody locks. Two CPUs that walk at once can leave a stale node; the next
 * walk over it, at the latest that of the connection which was given to the
 * stale winner, mends it.
 */
#ifndef TREE_H
#define TREE_H

#include "load.h"

#define COST_MAX 0x7fffffffU /* the kernel's is an int, too */

struct fraction {
	__u32 cost;
	__u32 weight; /* 0: not to be scheduled */
};

/* As ip_vs_dest_conn_overhead() of include/net/ip_vs.h. */
static __always_inline __u32 overhead(const struct real_server_load *load)
{
	return (load->active << 8) + load->inactive;
}

static __always_inline struct fraction fraction(__u32 cost, __u32 weight)
{
	return (struct fraction){ .cost = cost < COST_MAX ? cost : COST_MAX, .weight = weight };
}

static __always_inline struct fraction tree_fraction(__u32 scheduler,
						     const struct real_server_load *load)
{
	__u32 weight = load->weight;

	if ((__s32)weight <= 0)
		return fraction(0, 0);
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
		return load->active <= weight ? fraction(1, weight) : fraction(0, 0);
	default:
		return fraction(overhead(load), weight);
	}
}

/* Keys are compared as signed numbers, and their difference does not overflow. */
static __always_inline __u64 tree_key(struct fraction of, const bool wide)
{
	if (!of.weight)
		return TREE_KEY_NEVER;
	if (wide)
		return (__u64)of.weight << 32 | of.cost;
	/* Most weights are, and a division takes longer than a walk of three levels. */
	if (of.weight == 1)
		return (__u64)of.cost << 32;
	return ((__u64)of.cost << 32) / of.weight;
}

/* All ones if the key a is less than b by `ties` or more: 1 leaves ties to b, 0 gives them to a. */
static __always_inline __u64 less_mask(__u64 a, __u64 b, __u64 ties, const bool wide)
{
	__s64 difference = a - b;

	if (wide) {
		if (a == TREE_KEY_NEVER)
			return 0;
		if (b == TREE_KEY_NEVER)
			return ~0ULL;
		difference = (a & 0xffffffff) * (b >> 32) - (b & 0xffffffff) * (a >> 32);
	}
	return (difference - (__s64)(1 - ties)) >> 63;
}

/* A node as two words, so that one mask chooses it. */
struct tree_words {
	__u64 key;
	__u64 real_server;
};

static __always_inline struct tree_words tree_leaf(__u32 scheduler, __u32 id, const bool wide)
{
	struct tree_words leaf = { .key = TREE_KEY_NEVER, .real_server = id };
	struct real_server_load *load = id ? lookup(real_server_loads, id) : NULL;

	if (load)
		leaf.key = tree_key(tree_fraction(scheduler, load), wide);
	return leaf;
}

static __always_inline struct tree_words *siblings_at(__u32 tree, __u32 position)
{
	return (struct tree_words *)lookup(tree_nodes, tree / 2 + position / 2);
}

static __always_inline void tree_walk(const struct service *service, struct tree_words winner,
				      __u32 leaf, const bool wide)
{
	__u32 tree = service->tree, position = 2 * service->tree_leaves - 1 - leaf;

	for (position &= (1U << TREE_LEVELS) - 1; position; position >>= 1) {
		struct tree_words *siblings = siblings_at(tree, position), other;
		__u64 right = position & 1, mask;

		if (!siblings)
			return;
		siblings[right] = winner;
		other = siblings[right ^ 1];
		mask = less_mask(winner.key, other.key, right, wide);
		/* Or clang sees what it is, and makes the branch after all. */
		asm volatile("" : "+r"(mask));
		winner.key = other.key ^ ((winner.key ^ other.key) & mask);
		winner.real_server = other.real_server ^
				     ((winner.real_server ^ other.real_server) & mask);
	}
}

/* Weights above 65535 are rare, and their code is out of the way. */
__noinline int tree_update_wide(__u32 service_index, __u32 id, __u32 leaf)
{
	struct service *service = lookup(services, service_index);

	if (service)
		tree_walk(service, tree_leaf(service->scheduler, id, true), leaf, true);
	return 0;
}

/* Walks up from the leaf of a real server whose load has changed. */
static __always_inline void tree_update(const struct service *service,
					const struct real_server *real_server, __u32 id)
{
	if (service->flags & SERVICE_WIDE_WEIGHTS)
		tree_update_wide(real_server->service, id, real_server->leaf);
	else
		tree_walk(service, tree_leaf(service->scheduler, id, false), real_server->leaf,
			  false);
}

static __always_inline __u32 tree_choose(const struct service *service)
{
	struct tree_words *root = siblings_at(service->tree, 1);
	struct real_server_load *load;
	__u32 id;

	if (!service->tree_leaves || !root || root[1].key == TREE_KEY_NEVER)
		return 0;
	id = root[1].real_server;
	load = lookup(real_server_loads, id);
	return load && may_be_scheduled(load) ? id : 0;
}

/* lblc's and lblcr's other server that has room: 2 * active < weight. */
static __always_inline bool is_light(__u32 active, __u32 weight)
{
	return 2 * (__u64)active < weight;
}

static __always_inline bool counts_light(__u32 scheduler)
{
	return scheduler == SCHEDULER_LBLC || scheduler == SCHEDULER_LBLCR;
}

#endif
