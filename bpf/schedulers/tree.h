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
 * node is one word, and the lesser word wins: 2^32 / leaves times the fraction,
 * rounded down, and below that the place of the leaf, so that no two words are
 * the same and a walk carries nothing else. Rounded so, whatever differs is
 * still told apart as long as no weight's square is above 2^32 / leaves (two
 * fractions differ by one over the product of their weights at least). Where a
 * weight is greater, fractions that look the same are compared by cross
 * multiplication. The lesser word is chosen by a mask, because whether a server
 * wins is a branch that no processor can predict.
 *
 * Nobody locks. Two CPUs that walk at once can leave a stale node; the next
 * walk over it, at the latest that of the connection which was given to the
 * stale winner, mends it.
 */
#ifndef TREE_H
#define TREE_H

#include "load.h"

#define COST_MAX 0x7ffffffeU		     /* the kernel's is an int, too */
#define TREE_NEVER ((COST_MAX + 1ULL) << 32) /* a word of what is not to be scheduled, or greater */

/* So many real servers that the tree still names may have gone at once. */
#define STALE_ROOTS 8

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

/* Where a tree is. The two are written by one store, and read by one load: of a tree that replaces another never half. */
struct tree {
	__u32 offset;
	__u32 leaves; /* a power of two; 0: there is no tree */
};

static __always_inline struct tree tree_of(const struct service *service)
{
	__u64 both = *(volatile __u64 *)&service->tree;

	return (struct tree){ .offset = both, .leaves = both >> 32 };
}

static __always_inline __u64 *tree_nodes(struct tree tree)
{
	struct trees *all = lookup(trees, 0);

	return all ? &all->nodes[tree.offset & (TREE_NODES - 1)] : NULL;
}

/* The real server at the leaf that is so many from the left; 0: none. */
static __always_inline __u32 tree_member(struct tree tree, __u32 place)
{
	__u32 *id = lookup(tree_leaves, tree.offset / 2 + place);

	return id ? *id : 0;
}

static __always_inline struct fraction member_fraction(__u32 scheduler, __u32 id)
{
	struct real_server_load *load = id ? lookup(real_server_loads, id) : NULL;

	return load ? tree_fraction(scheduler, load) : fraction(0, 0);
}

static __always_inline __u64 tree_word(__u32 scheduler, __u32 leaves, __u32 place, __u32 id)
{
	struct fraction of = member_fraction(scheduler, id);

	if (!of.weight)
		return TREE_NEVER | place;
	/* Most weights are, and a division takes longer than a walk of three levels. */
	if (of.weight == 1)
		return (__u64)of.cost << 32 | place;
	return ((__u64)of.cost << 32) / ((__u64)of.weight * leaves) * leaves | place;
}

static __always_inline __u64 lesser(__u64 a, __u64 b)
{
	__u64 difference = a - b, mask = (__s64)difference >> 63;

	/* Or clang sees what it is, and makes the branch after all. */
	asm volatile("" : "+r"(mask));
	return b + (difference & mask);
}

/*
 * Weights that are too great for the words are rare, and their code is out of
 * the way, where there is little stack: a tree and its scheduler are one number
 * there, of 32, 24 and 8 bits.
 */
static __always_inline __u64 packed_tree(struct tree tree, __u32 scheduler)
{
	return (__u64)scheduler << 56 | (__u64)tree.leaves << 32 | tree.offset;
}

static __always_inline struct tree unpacked_tree(__u64 packed)
{
	barrier_var(packed);
	return (struct tree){ .offset = packed, .leaves = packed >> 32 & 0xffffff };
}

/* Cost and weight, of 32 bits each. */
static __always_inline __u64 packed_fraction(__u64 packed, __u32 place)
{
	__u32 id = tree_member(unpacked_tree(packed), place);
	struct fraction of = member_fraction(packed >> 56, id);
	__u64 both = (__u64)of.weight << 32 | of.cost;

	barrier_var(both);
	return both;
}

/* As lesser(), where words that differ in nothing but the place may stand for fractions that differ. */
static __always_inline __u64 lesser_of_wide(__u64 packed, __u64 a, __u64 b)
{
	__u64 places = unpacked_tree(packed).leaves - 1, of_a, of_b;
	__s64 difference;

	if ((a ^ b) & ~places)
		return lesser(a, b);
	of_a = packed_fraction(packed, a & places);
	of_b = packed_fraction(packed, b & (unpacked_tree(packed).leaves - 1));
	difference = (of_a & 0xffffffff) * (of_b >> 32) - (of_b & 0xffffffff) * (of_a >> 32);
	if (!difference)
		return lesser(a, b);
	return difference < 0 ? a : b;
}

__noinline int tree_walk_wide(__u64 packed, __u64 word)
{
	__u32 leaves = unpacked_tree(packed).leaves;
	__u32 position = leaves + (word & (leaves - 1));

	for (position &= TREE_POSITIONS - 1; position; position >>= 1) {
		__u64 *nodes = tree_nodes(unpacked_tree(packed));

		if (!nodes)
			return 0;
		nodes[position] = word;
		word = lesser_of_wide(packed, word, nodes[position ^ 1]);
	}
	return 0;
}

/* Walks up from the leaf at that place, where the real server is whose load has changed. */
static __always_inline void tree_walk(const struct service *service, struct tree tree, __u32 place,
				      __u32 id)
{
	__u32 position = tree.leaves + place;
	__u64 word, *nodes;

	/* It has a leaf in a greater tree, which packets do not meet yet. */
	if (place >= tree.leaves)
		return;
	word = tree_word(service->scheduler, tree.leaves, place, id);
	if (service->flags & SERVICE_WIDE_WEIGHTS) {
		tree_walk_wide(packed_tree(tree, service->scheduler), word);
		return;
	}
	nodes = tree_nodes(tree);
	if (!nodes)
		return;
	for (position &= TREE_POSITIONS - 1; position; position >>= 1) {
		nodes[position] = word;
		word = lesser(word, nodes[position ^ 1]);
	}
}

static __always_inline void tree_update(const struct service *service,
					const struct real_server *real_server, __u32 id)
{
	struct tree tree = tree_of(service);

	tree_walk(service, tree, tree.leaves - 1 - real_server->leaf, id);
}

/* The place that wins; -1: nothing is to be scheduled. */
static __always_inline __s64 tree_root(struct tree tree)
{
	__u64 *nodes = tree_nodes(tree);

	if (!tree.leaves || !nodes || nodes[1] >= TREE_NEVER)
		return -1;
	return nodes[1] & (tree.leaves - 1);
}

struct root_try {
	__u32 service;
	__u32 id;
};

static long try_root(__u32 i, void *context)
{
	struct root_try *root_try = context;
	const struct service *service = lookup(services, root_try->service);
	__u64 packed;
	__s64 place;

	(void)i;
	if (!service)
		return 1;
	packed = packed_tree(tree_of(service), service->scheduler);
	place = tree_root(unpacked_tree(packed));
	if (place < 0)
		return 1;
	root_try->id = tree_member(unpacked_tree(packed), place);
	if (id_may_be_scheduled(root_try->id))
		return 1;
	tree_walk_wide(packed,
		       tree_word(packed >> 56, unpacked_tree(packed).leaves, place, root_try->id));
	root_try->id = 0;
	return 0;
}

/* Looks again where the root is stale: its real server has just left, or lost its weight. */
__noinline int tree_choose_again(__u32 service_index)
{
	struct root_try root_try = { .service = service_index };

	bpf_loop(STALE_ROOTS, try_root, &root_try, 0);
	return root_try.id;
}

static __always_inline __u32 tree_choose(const struct service *service, __u32 service_index)
{
	struct tree tree = tree_of(service);
	__s64 place = tree_root(tree);
	__u32 id;

	if (place < 0)
		return 0;
	id = tree_member(tree, place);
	return id_may_be_scheduled(id) ? id : tree_choose_again(service_index);
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
