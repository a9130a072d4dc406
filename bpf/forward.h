/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage 5: real server -> an action. Local ones go to the stack with nothing
 * changed; for others the next hop is written and the frame leaves by the
 * interface it came in by (XDP_TX) or by another (redirect).
 */
#ifndef FORWARD_H
#define FORWARD_H

#include "forwarding/gate.h"
#include "icmp.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

__noinline int answer_time_exceeded(struct xdp_md *ctx, const struct packet *packet)
{
	if (!packet)
		return XDP_ABORTED;
	int action = icmp_error(ctx, packet, ICMP_ERROR_TIME_EXCEEDED, 0);

	count(action == XDP_TX ? COUNTER(icmp_time_exceeded) : COUNTER(drop_time_exceeded));
	return action;
}

/* The kernel would cut IPv4 without DF into fragments; that is not done here. */
__noinline int answer_too_big(struct xdp_md *ctx, const struct packet *packet, __u32 mtu)
{
	if (!packet)
		return XDP_ABORTED;
	int action = XDP_DROP;
	__be16 fragment = 0;

	if (packet->family == FAMILY_IPV6 ||
	    (!bpf_xdp_load_bytes(ctx, packet->l2_length + 6, &fragment, 2) &&
	     fragment & bpf_htons(0x4000)))
		action = icmp_error(ctx, packet, ICMP_ERROR_TOO_BIG, mtu);
	count(action == XDP_TX ? COUNTER(icmp_too_big) : COUNTER(drop_too_big));
	return action;
}

static __always_inline int transmit(struct xdp_md *ctx, const struct packet *packet,
				    const struct real_server *hop, __u32 id, const bool ipv6)
{
	__u32 ifindex = hop->ifindex;

	if (!count_down(ctx, link_length(packet), ipv6) ||
	    !write_link_header(ctx, packet, hop, ipv6))
		return drop(COUNTER(drop_rewrite));
	if (ifindex != ctx->ingress_ifindex &&
	    bpf_redirect_map(&redirect_ports, ifindex, XDP_DROP) != XDP_REDIRECT)
		return drop(COUNTER(drop_unresolved));
	count_packet(id, packet->bytes);
	return ifindex == ctx->ingress_ifindex ? XDP_TX : XDP_REDIRECT;
}

/* The next hop is not known yet: asks the kernel's tables, which the packet path otherwise never does. */
__noinline int transmit_unresolved(struct xdp_md *ctx, const struct packet *packet, __u32 id)
{
	if (!packet)
		return XDP_ABORTED;
	struct bpf_fib_lookup fib = { .ifindex = ctx->ingress_ifindex };
	struct real_server *real_server = lookup(real_servers, id);
	struct real_server hop = {};

	if (!real_server)
		return XDP_ABORTED;
	fib.l4_protocol = packet->protocol;
	if (packet->family == FAMILY_IPV6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, packet->source, 16);
		__builtin_memcpy(fib.ipv6_dst, real_server->address, 16);
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = packet->source[3];
		fib.ipv4_dst = real_server->address[3];
	}
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return drop(COUNTER(drop_unresolved));
	__builtin_memcpy(hop.next_hop_mac, fib.dmac, 6);
	__builtin_memcpy(hop.source_mac, fib.smac, 6);
	hop.ifindex = fib.ifindex;
	return packet->family == FAMILY_IPV6 ? transmit(ctx, packet, &hop, id, true)
					     : transmit(ctx, packet, &hop, id, false);
}

static __always_inline int forward(struct xdp_md *ctx, const struct packet *packet,
				   const struct real_server *real_server, __u32 id, const bool ipv6)
{
	__u32 flags = real_server->flags;

	if (!(flags & REAL_SERVER_AVAILABLE))
		return drop(COUNTER(drop_real_server_gone));
	if (flags & REAL_SERVER_LOCAL) {
		count_packet(id, packet->bytes);
		return XDP_PASS;
	}
	if (packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet);
	if (!(flags & REAL_SERVER_RESOLVED))
		return transmit_unresolved(ctx, packet, id);
	/* A frame longer than its own interface allows was merged by GRO and is cut again. */
	if (packet->bytes > real_server->mtu && real_server->mtu &&
	    packet->bytes <= packet->ingress_mtu)
		return answer_too_big(ctx, packet, real_server->mtu);
	return transmit(ctx, packet, real_server, id, ipv6);
}

#endif
