/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage 5: real server -> an action. Local ones go to the stack with nothing
 * changed; for others the packet is rewritten by the forwarding method, the
 * next hop is written, and the frame leaves by the interface it came in by
 * (XDP_TX) or by another (redirect).
 */
#ifndef FORWARD_H
#define FORWARD_H

#include "fellow.h"
#include "forwarding/answer.h"
#include "forwarding/ipip.h"
#include "forwarding/masq.h"

#define FORWARD_FLAGS \
	(REAL_SERVER_AVAILABLE | REAL_SERVER_LOCAL | REAL_SERVER_RESOLVED | REAL_SERVER_FELLOW)

/* Every real server but the usual one: a neighbour, by gate. */
__noinline int forward_otherwise(struct xdp_md *ctx, const struct packet *packet, __u32 id)
{
	if (!packet)
		return XDP_ABORTED;
	struct real_server *real_server = lookup(real_servers, id);
	struct next_hop hop;

	if (!real_server)
		return XDP_ABORTED;
	if (!(real_server->flags & REAL_SERVER_AVAILABLE))
		return drop(COUNTER(drop_real_server_gone));
	if (real_server->flags & REAL_SERVER_FELLOW && is_directed(ctx, packet))
		return pass(COUNTER(pass_directed));
	if (real_server->flags & REAL_SERVER_LOCAL) {
		count_packet(id, packet->bytes);
		return XDP_PASS;
	}
	if (packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet);
	if (real_server->method == METHOD_IPIP)
		return forward_ipip(ctx, packet, id);
	if (real_server->method == METHOD_MASQ)
		return forward_masq(ctx, packet, id);
	if (!hop_to(ctx, packet, id, &hop))
		return drop(COUNTER(drop_unresolved));
	if (too_big(packet, hop.mtu))
		return answer_too_big(ctx, packet, hop.mtu);
	return packet->family == FAMILY_IPV6 ? transmit_to(ctx, packet, &hop, id, true)
					     : transmit_to(ctx, packet, &hop, id, false);
}

/* The usual real server: a neighbour, by gate. */
static __always_inline bool is_plain(const struct real_server *real_server)
{
	return (real_server->flags & FORWARD_FLAGS) ==
		       (REAL_SERVER_AVAILABLE | REAL_SERVER_RESOLVED) &&
	       real_server->method == METHOD_GATE;
}

static __always_inline int forward(struct xdp_md *ctx, const struct packet *packet,
				   const struct real_server *real_server, __u32 id, const bool ipv6)
{
	if (!is_plain(real_server))
		return forward_otherwise(ctx, packet, id);
	if (packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet);
	if (too_big(packet, real_server->mtu))
		return answer_too_big(ctx, packet, real_server->mtu);
	return transmit_to(ctx, packet, next_hop_of(real_server), id, ipv6);
}

#endif
