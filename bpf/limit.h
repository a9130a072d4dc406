/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Limits of new connections a second, of a virtual service and of one source
 * of it. Off unless a service has one; live connections never meet them.
 */
#ifndef LIMIT_H
#define LIMIT_H

#include "counters.h"
#include "packet.h"

static __always_inline bool service_allows(__u32 service_index, __u32 limit)
{
	struct service_state *state = lookup(service_states, service_index);
	__u32 tick = sweep.tick, before;

	if (!state)
		return false;
	before = state->limit_tick;
	if (before != tick &&
	    __sync_val_compare_and_swap(&state->limit_tick, before, tick) == before)
		__sync_lock_test_and_set(&state->limit_count, 0);
	return __sync_fetch_and_add(&state->limit_count, 1) < limit;
}

static __always_inline bool source_allows(const struct packet *packet, __u32 limit)
{
	struct source_key key = { .service = packet->service };
	struct source fresh = { .tick = sweep.tick, .count = 1 }, *source;

	if (packet->family == FAMILY_IPV6) {
		key.network[0] = packet->source[0];
		key.network[1] = packet->source[1];
	} else {
		key.network[3] = packet->source[3];
	}
	source = bpf_map_lookup_elem(&sources, &key);
	if (!source) {
		bpf_map_update_elem(&sources, &key, &fresh, BPF_NOEXIST);
		return true;
	}
	/* Two CPUs at a second's turn may let one more through. */
	if (source->tick != fresh.tick) {
		source->tick = fresh.tick;
		source->count = 0;
	}
	return __sync_fetch_and_add(&source->count, 1) < limit;
}

__noinline int within_limits(const struct packet *packet, const struct service *service)
{
	if (!packet || !service)
		return 0;
	if (service->new_per_source && !source_allows(packet, service->new_per_source)) {
		count(COUNTER(drop_source_limit));
		return 0;
	}
	if (service->new_per_second && !service_allows(packet->service, service->new_per_second)) {
		count(COUNTER(drop_service_limit));
		return 0;
	}
	return 1;
}

#endif
