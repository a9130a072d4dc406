/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the client hears of a packet that cannot be forwarded. Everything is counted here. */
#ifndef ANSWER_H
#define ANSWER_H

#include "../icmp.h"
#include "gate.h"

#define IP_DO_NOT_FRAGMENT 0x4000

__noinline int answer_time_exceeded(struct xdp_md *ctx, const struct packet *packet)
{
	if (!packet)
		return XDP_ABORTED;
	int action = icmp_error(ctx, packet, ICMP_ERROR_TIME_EXCEEDED, 0);

	count(action == XDP_TX ? COUNTER(icmp_time_exceeded) : COUNTER(drop_time_exceeded));
	return action;
}

/* Whether a router may cut the packet. */
static __always_inline bool may_be_cut(struct xdp_md *ctx, const struct packet *packet)
{
	__be16 fragment = 0;

	return packet->family == FAMILY_IPV4 &&
	       !bpf_xdp_load_bytes(ctx, packet->l2_length + 6, &fragment, sizeof(fragment)) &&
	       !(fragment & bpf_htons(IP_DO_NOT_FRAGMENT));
}

/*
 * The kernel would cut IPv4 without DF into fragments. One frame cannot become
 * two here, so its sender is told all the same, which makes it send smaller ones.
 */
__noinline int answer_too_big(struct xdp_md *ctx, const struct packet *packet, __u32 mtu)
{
	if (!packet)
		return XDP_ABORTED;
	int action = XDP_DROP;

	/* The quote has the TTL that the packet would have left with. */
	if (packet->fragment != FRAGMENT_LATER &&
	    count_down(ctx, link_length(packet), packet->family == FAMILY_IPV6))
		action = icmp_error(ctx, packet, ICMP_ERROR_TOO_BIG, mtu);
	count(action == XDP_TX ? COUNTER(icmp_too_big) : COUNTER(drop_too_big));
	return action;
}

#endif
