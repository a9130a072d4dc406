/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way out: of real servers user space knows the next hop beforehand and
 * keeps it in their record; for clients, and real servers whose next hop is
 * not known yet, the kernel's tables are asked.
 */
#ifndef NEXT_HOP_H
#define NEXT_HOP_H

#include "forwarding/gate.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

/* Whose way is asked for. Lies on the stack beside struct next_hop. */
struct way {
	__be32 source[4]; /* IPv4 in [3] */
	__be32 destination[4];
	__u16 length;  /* bytes that must pass; 0: any */
	__u8 protocol; /* IPPROTO_* */
	__u8 family;   /* enum address_family */
};

#define WAY_NONE (-1)
#define WAY_TOO_NARROW (-2) /* hop->mtu has its MTU */

/* Fills *hop and returns 0, or a WAY_*. A forwarding table without this interface knows no way. */
__noinline int find_way(struct xdp_md *ctx, const struct way *way, struct next_hop *hop)
{
	if (!way || !hop)
		return WAY_NONE;
	struct bpf_fib_lookup fib = { .ifindex = ctx->ingress_ifindex };
	struct vlan_link *link;
	long result;

	fib.l4_protocol = way->protocol;
	fib.tot_len = way->length;
	if (way->family == FAMILY_IPV6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, way->source, 16);
		__builtin_memcpy(fib.ipv6_dst, way->destination, 16);
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = way->source[3];
		fib.ipv4_dst = way->destination[3];
	}
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		hop->mtu = fib.tot_len;
		return WAY_TOO_NARROW;
	}
	if (result != BPF_FIB_LKUP_RET_SUCCESS)
		return WAY_NONE;
	__builtin_memcpy(hop->mac, fib.dmac, 6);
	__builtin_memcpy(hop->source_mac, fib.smac, 6);
	hop->ifindex = fib.ifindex;
	hop->vlan = 0;
	hop->mtu = 0;
	link = settings.vlan_links ? bpf_map_lookup_elem(&vlan_links, &fib.ifindex) : NULL;
	if (link) {
		hop->ifindex = link->ifindex;
		hop->vlan = link->vlan;
	}
	return 0;
}

/* The next hop of a real server, for a packet from the packet's source. Returns 0 if there is none. */
__noinline int hop_to(struct xdp_md *ctx, const struct packet *packet, __u32 id,
		      struct next_hop *hop)
{
	if (!packet || !hop)
		return 0;
	struct real_server *real_server = lookup(real_servers, id);
	struct way way = { .protocol = packet->protocol };

	if (!real_server)
		return 0;
	if (real_server->flags & REAL_SERVER_RESOLVED) {
		*hop = *next_hop_of(real_server);
		return 1;
	}
	way.family = real_server->family;
	if (real_server->family == packet->family)
		__builtin_memcpy(way.source, packet->source, 16);
	__builtin_memcpy(way.destination, real_server->address, 16);
	return !find_way(ctx, &way, hop);
}

/* A frame that is ready leaves by an interface. What was dropped is counted. */
static __always_inline int send_by(struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	if (bpf_redirect_map(&redirect_ports, ifindex, XDP_DROP) != XDP_REDIRECT)
		return drop(COUNTER(drop_unresolved));
	return XDP_REDIRECT;
}

/* Sends the frame with another link header: write_link_header() says how. What was dropped is counted. */
static __always_inline int leave(struct xdp_md *ctx, __u32 l2_length, const struct next_hop *hop,
				 const bool ipv6, const bool fresh)
{
	__u32 ifindex = hop->ifindex;

	if (!write_link_header(ctx, l2_length, hop, ipv6, fresh))
		return drop(COUNTER(drop_rewrite));
	return send_by(ctx, ifindex);
}

/* The same for a packet that is forwarded: its TTL is counted down. */
static __always_inline int transmit(struct xdp_md *ctx, const struct packet *packet,
				    const struct next_hop *hop, const bool ipv6)
{
	if (!count_down(ctx, link_length(packet), ipv6))
		return drop(COUNTER(drop_rewrite));
	return leave(ctx, packet->l2_length, hop, ipv6, false);
}

/* And counted for its real server. */
static __always_inline int transmit_to(struct xdp_md *ctx, const struct packet *packet,
				       const struct next_hop *hop, __u32 real_server,
				       const bool ipv6)
{
	int action = transmit(ctx, packet, hop, ipv6);

	if (action != XDP_DROP)
		count_packet(real_server, packet->bytes);
	return action;
}

/* A frame longer than its own interface allows was merged by GRO and is cut again. */
static __always_inline bool too_big(const struct packet *packet, __u32 mtu)
{
	return packet->bytes > mtu && mtu && packet->bytes <= packet->ingress_mtu;
}

#endif
