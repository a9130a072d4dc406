/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The short way of a packet that opens a connection, as live.h's of those that
 * go on with one: schedule() where it has no more to ask, for a service without
 * persistence, limits and thresholds and a scheduler that needs nothing of the
 * packet. Whatever else turns up, the packet takes the long way, before
 * anything has been chosen.
 */
#ifndef OPENING_H
#define OPENING_H

#include "foresight.h"
#include "schedule.h"

/* TCP: a SYN alone. Of UDP every datagram may be the first. */
static __always_inline bool may_be_opening(const struct packet *packet)
{
	return packet->protocol == IPPROTO_UDP || (packet->flags & TCP_STATE_FLAGS) == TCP_SYN;
}

/* schedule() would go straight to the scheduler. */
static __always_inline bool opens_unasked(const struct packet *packet,
					  const struct service *service)
{
	return !(service->flags & ~SERVICE_WIDE_WEIGHTS) && !service->persistence_timeout &&
	       service->port == packet->destination_port &&
	       packet->source_port != bpf_htons(FTP_DATA_PORT) && !settings.fellows &&
	       !settings.limits && source_possible(packet) &&
	       (packet->family == FAMILY_IPV6 || !maybe_own_address(packet->source));
}

/* As scheduler_choose(), and 0 too for a scheduler that the long way is for. */
static __always_inline __u32 choose_unasked(const struct service *service, __u32 service_index)
{
	struct service_state *state;

	switch (service->scheduler) {
	case SCHEDULER_RR:
	case SCHEDULER_WRR:
		state = lookup(service_states, service_index);
		return state ? ring_choose(service, service_index, state) : 0;
	case SCHEDULER_LC:
	case SCHEDULER_WLC:
	case SCHEDULER_SED:
	case SCHEDULER_NQ:
	case SCHEDULER_FO:
	case SCHEDULER_OVF:
		return tree_choose(service, service_index);
	default:
		return 0;
	}
}

/* change_load() without thresholds and without what only lblc and lblcr count. */
static __always_inline void account_unasked(const struct packet *packet,
					    const struct service *service, __u32 id, __u32 state)
{
	struct real_server *real_server = lookup(real_servers, id);

	load_opened(id, state);
	if (service->tree_leaves && real_server && real_server->service == packet->service &&
	    real_server->flags & REAL_SERVER_AVAILABLE)
		tree_update(service, real_server, id);
}

/*
 * For a packet whose connection is not in the line that its hash names: opens
 * one. Returns whom the packet goes to, 0: the long way.
 */
static __always_inline __u32 open_unasked(const struct packet *packet)
{
	struct service *service = lookup(services, packet->service);
	__u32 id, state;
	int opened;

	if (!service || !opens_unasked(packet, service) || has_overflowed(hash_line(packet->hash)))
		return 0;
	id = choose_unasked(service, packet->service);
	if (!id)
		return 0;
	state = first_state(packet, id);
	opened = connection_open(packet, id, state);
	if (opened > 0)
		account_unasked(packet, service, id, state);
	return opened_to(packet, service, id, opened);
}

/* The same out of line: main's stack has no room for both families. */
__noinline int open_ipv6_unasked(const struct packet *packet)
{
	return packet ? open_unasked(packet) : 0;
}

#endif
