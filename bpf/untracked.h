/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections that found no slot: a consistent hash says the same for each of
 * their packets. Their line remembers that there are some for as long as one
 * may rest, so that they go on when the line has room again, and get a slot
 * there: half open first, which a flood of segments without a connection does
 * not fill the table with.
 */
#ifndef UNTRACKED_H
#define UNTRACKED_H

#include "connection.h"
#include "counters.h"
#include "packet.h"
#include "schedulers/ring.h"

/*
 * Chooses for a packet that goes without a slot, and counts it; 0: there is
 * nobody. A datagram's flow gets a slot as soon as there is one.
 */
__noinline int go_untracked(const struct service *service, __u64 hash, __u32 protocol)
{
	__u32 *last = lookup(untracked_lines, hash_line(hash)), now = sweep.tick + 1, id;

	id = service ? spread_choose(service, hash) : 0;
	if (!id)
		return 0;
	count(COUNTER(forward_untracked));
	if (last && protocol != IPPROTO_UDP && *last != now)
		*last = now;
	return id;
}

/* Whether the line has had no room, so recently that such a connection may live on. */
static __always_inline bool had_no_room(const struct packet *packet, const struct service *service)
{
	__u32 *last = lookup(untracked_lines, hash_line(packet->hash));
	__u32 state = packet->protocol == IPPROTO_TCP ? STATE_ESTABLISHED : STATE_SCTP_ESTABLISHED;
	__u32 rest = service->idle_timeout ? service->idle_timeout : settings.timeout[state];

	return last && *last && sweep.tick + 1 - *last <= rest;
}

/* In mid-flow, and no connection: returns the real server whose it is if it found no slot, 0: it is none of ours. */
__noinline int choose_untracked(const struct packet *packet, const struct service *service)
{
	const __u32 ends = TCP_FIN | TCP_RST;
	int id, opened;

	if (!packet || !service)
		return 0;
	bool full = lines_are_full(packet->hash);

	if (!had_no_room(packet, service) && (!full || packet->flags & TCP_RST))
		return 0;
	if (!full && packet->protocol == IPPROTO_TCP && !(packet->flags & ends)) {
		id = spread_choose(service, packet->hash);
		opened = id ? connection_open(packet, id, STATE_SYN_RECV) : 0;
		if (opened > 0)
			change_load(id, 1, 0);
		if (opened)
			return id;
	}
	return go_untracked(service, packet->hash, packet->protocol);
}

#endif
