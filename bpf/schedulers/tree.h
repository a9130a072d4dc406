/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tournament trees for the schedulers that look at the loads: lc wlc sed nq
 * lblc lblcr fo ovf. A leaf is a real server, an inner node the better of its
 * two children, the root the choice: a SYN reads one node, and a changed
 * count walks one path up (7 comparisons for 100 real servers) in place of a
 * scan of all. Ties go left, to the server added last, which is the first in
 * the kernel's list.
 *
 * Nobody locks. Two CPUs that walk at once can leave a stale winner in a
 * shared node; the next walk through it, at the latest that of the connection
 * which was given to the stale winner, mends it.
 */
#ifndef TREE_H
#define TREE_H

#include "maps.h"

/* As ip_vs_dest_conn_overhead() of include/net/ip_vs.h. */
static __always_inline __u64 overhead(const struct real_server_load *load)
{
	return ((__u64)load->active << 8) + load->inactive;
}

/* Whether `right` is chosen before `left`, which stands before it in the kernel's list. */
static __always_inline bool is_better(__u32 scheduler, const struct real_server_load *right,
				      const struct real_server_load *left)
{
	if (!right->weight)
		return false;
	if (!left->weight)
		return true;
	switch (scheduler) {
	case SCHEDULER_LC:
		return overhead(right) < overhead(left);
	case SCHEDULER_SED:
		return ((__u64)right->active + 1) * left->weight <
		       ((__u64)left->active + 1) * right->weight;
	case SCHEDULER_NQ:
		if (!left->active || !right->active)
			return left->active && !right->active;
		return ((__u64)right->active + 1) * left->weight <
		       ((__u64)left->active + 1) * right->weight;
	case SCHEDULER_FO:
		return right->weight > left->weight;
	case SCHEDULER_OVF:
		if (right->active >= right->weight || left->active >= left->weight)
			return left->active >= left->weight && right->active < right->weight;
		return right->weight > left->weight;
	default:
		return overhead(right) * left->weight < overhead(left) * right->weight;
	}
}

/* The better of two real servers by id, 0: none. */
static __always_inline __u32 tree_winner(__u32 scheduler, __u32 left, __u32 right)
{
	struct real_server_load *left_load, *right_load;

	if (!right)
		return left;
	if (!left)
		return right;
	left_load = lookup(real_server_loads, left);
	right_load = lookup(real_server_loads, right);
	if (!left_load || !right_load)
		return 0;
	return is_better(scheduler, right_load, left_load) ? right : left;
}

/* Walks up from the leaf of a real server whose load has changed. */
static __always_inline void tree_update(const struct service *service, __u32 id, __u32 leaf)
{
	__u32 position = 2 * service->tree_leaves - 1 - leaf;

	for (int level = 0; level < TREE_LEVELS; level++) {
		__u32 *left, *right, *node, winner;

		if (position <= 1)
			break;
		left = lookup(tree_nodes, service->tree + (position & ~1U));
		right = lookup(tree_nodes, service->tree + (position | 1));
		position >>= 1;
		node = lookup(tree_nodes, service->tree + position);
		if (!left || !right || !node)
			break;
		winner = tree_winner(service->scheduler, *left, *right);
		if (winner == *node && winner != id)
			break;
		*node = winner;
	}
}

static __always_inline __u32 tree_choose(const struct service *service)
{
	__u32 *root = lookup(tree_nodes, service->tree + 1);
	struct real_server_load *load;

	if (!service->tree_leaves || !root)
		return 0;
	load = lookup(real_server_loads, *root);
	return load && load->weight ? *root : 0;
}

/* lblc's other server that has room: 2 * active < weight. */
static __always_inline bool is_light(__u32 active, __u32 weight)
{
	return 2 * (__u64)active < weight;
}

#endif
