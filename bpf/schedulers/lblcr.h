/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Locality-based least connection with replication,
 * net/netfilter/ipvs/ip_vs_lblcr.c. As lblc, but the virtual address sticks to
 * a set of real servers, the replicas: the least loaded of them is taken, one
 * is added when that is crowded, and the most loaded one is taken out when the
 * set has not changed for a day. The set is a list through
 * real_server_histories, the newest first; changing it takes a lock, and who
 * does not get it goes without.
 */
#ifndef LBLCR_H
#define LBLCR_H

#include "lblc.h"

struct replica_walk {
	__u32 service;
	__u32 round;
	__u32 next;
	__u32 previous;
	__u32 count;
	__u32 least; /* of those that may be scheduled */
	__u64 least_load;
	__u32 most; /* of those with a weight */
	__u32 before_most;
	__u64 most_load;
	__u32 wanted; /* to be found in the list */
	__u32 before_wanted;
	__u32 found;
};

/* Of two loads, as cost and weight<<32: whether the first is less. */
static __always_inline bool is_less(__u64 a, __u64 b)
{
	return (a & 0xffffffff) * (b >> 32) < (b & 0xffffffff) * (a >> 32);
}

static long replica_step(__u32 i, void *context)
{
	struct replica_walk *walk = context;
	__u32 id = walk->next, weight;
	struct real_server_history *history = id ? lookup(real_server_histories, id) : NULL;
	struct real_server *real_server = lookup(real_servers, id);
	struct real_server_load *load = lookup(real_server_loads, id);
	bool available;
	__u64 weighted;

	if (!history || !real_server || !load || history->replicas_round != walk->round)
		return 1;
	walk->count++;
	if (id == walk->wanted) {
		walk->found = id;
		walk->before_wanted = walk->previous;
	}
	available = real_server->service == walk->service &&
		    real_server->flags & REAL_SERVER_AVAILABLE;
	/* One that was taken away counts with the weight it had. */
	weight = available ? load_weight(load) : history->last_weight;
	weighted = (__u64)weight << 32 | overhead(load);
	if (available && may_be_scheduled(load) &&
	    (!walk->least || is_less(weighted, walk->least_load))) {
		walk->least = id;
		walk->least_load = weighted;
	}
	if (weight && (!walk->most || is_less(walk->most_load, weighted))) {
		walk->most = id;
		walk->most_load = weighted;
		walk->before_most = walk->previous;
	}
	walk->previous = id;
	walk->next = history->next_replica;
	return 0;
}

static __always_inline void replicas_walk(struct replica_walk *walk, __u32 service_index,
					  const struct service_state *state)
{
	__u64 zero = unknown_zero(state->cursor);

	walk->service = service_index;
	walk->round = state->replicas_round;
	walk->next = state->sticky;
	walk->previous = zero;
	walk->count = zero;
	walk->least = zero;
	walk->least_load = zero;
	walk->most = zero;
	walk->before_most = zero;
	walk->most_load = zero;
	walk->before_wanted = zero;
	walk->found = zero;
	bpf_loop(MAX_REAL_SERVERS, replica_step, walk, 0);
}

static __always_inline bool replicas_lock(struct service_state *state)
{
	return !__sync_val_compare_and_swap(&state->replicas_lock, 0, 1);
}

static __always_inline void replicas_unlock(struct service_state *state)
{
	__sync_val_compare_and_swap(&state->replicas_lock, 1, 0);
}

/* Under the lock. */
static __always_inline void replica_add(struct service_state *state, __u32 id)
{
	struct real_server_history *history = lookup(real_server_histories, id);

	if (!history || history->replicas_round == state->replicas_round)
		return;
	history->next_replica = state->sticky;
	history->replicas_round = state->replicas_round;
	barrier();
	state->sticky = id;
	state->replicas_changed = sweep.tick;
}

/* Under the lock; `before`: the one before it in the list, 0: it is the first. */
static __always_inline void replica_remove(struct service_state *state, __u32 id, __u32 before)
{
	struct real_server_history *history = lookup(real_server_histories, id);
	struct real_server_history *previous = before ? lookup(real_server_histories, before)
						      : NULL;

	if (!history)
		return;
	if (previous)
		previous->next_replica = history->next_replica;
	else
		state->sticky = history->next_replica;
	history->replicas_round = 0;
	state->replicas_changed = sweep.tick;
}

/* Under the lock: a new round makes the members of the old one strangers. */
static __always_inline void replicas_clear(struct service_state *state)
{
	state->sticky = 0;
	state->replicas_round = state->replicas_round + 1 ? state->replicas_round + 1 : 1;
}

__noinline int lblcr_choose(__u32 service_index)
{
	struct service *service = lookup(services, service_index);
	struct service_state *state = lookup(service_states, service_index);
	struct replica_walk walk = { .wanted = 0 };
	struct real_server_load *load;
	__u32 id;

	if (!service || !state)
		return 0;
	if ((state->sticky && lblc_is_stale(state, settings.lblcr_expiration)) ||
	    !state->replicas_round) {
		if (replicas_lock(state)) {
			replicas_clear(state);
			replicas_unlock(state);
		}
	}
	if (state->sticky) {
		state->sticky_used = sweep.tick;
		replicas_walk(&walk, service_index, state);
		if (walk.count > 1 && walk.most &&
		    sweep.tick - state->replicas_changed > settings.lblcr_expiration &&
		    replicas_lock(state)) {
			replica_remove(state, walk.most, walk.before_most);
			replicas_unlock(state);
		}
		load = walk.least ? lookup(real_server_loads, walk.least) : NULL;
		if (load && !lblc_is_crowded(load, state))
			return walk.least;
	}
	id = tree_choose(service, service_index);
	if (id && replicas_lock(state)) {
		if (!state->sticky)
			state->sticky_used = sweep.tick;
		replica_add(state, id);
		replicas_unlock(state);
	}
	return id;
}

/* A real server's id is to be given to another one. Returns 0, or -1 while packets change the set. */
__noinline int replica_forget(__u32 id)
{
	struct real_server *real_server = lookup(real_servers, id);
	struct replica_walk walk = { .wanted = id };
	struct service_state *state;

	state = real_server ? lookup(service_states, real_server->service) : NULL;
	if (!state)
		return 0;
	if (!replicas_lock(state))
		return -1;
	replicas_walk(&walk, real_server->service, state);
	if (walk.found)
		replica_remove(state, id, walk.before_wanted);
	replicas_unlock(state);
	return 0;
}

#endif
