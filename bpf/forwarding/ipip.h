/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tunnels: the packet, its TTL counted down, becomes the payload of another one
 * to the real server, by IP in IP, GUE or GRE, IPv4 and IPv6 in either
 * (net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_tunnel_xmit).
 */
#ifndef IPIP_H
#define IPIP_H

#include "../checksum.h"
#include "../next_hop.h"
#include "answer.h"

#define PATH_MTU_LIFETIME 600 /* seconds, sysctl ip_rt_mtu_expires */
#define ECN_MASK 3
#define ECN_CE 3
#define ECN_ECT_0 2
#define GRE_CHECKSUM 0x8000
#define GUE_SOURCE_PORT 32768 /* sysctl ip_local_port_range, by default */
#define GUE_SOURCE_PORTS (60999 - GUE_SOURCE_PORT)

struct gue {
	struct udphdr udp;
	__u8 version; /* and length of options, none */
	__u8 protocol;
	__be16 flags;
};

struct gre {
	__be16 flags;
	__be16 protocol;
};

/* What the outer header takes over from the packet. */
struct inner {
	__u32 bytes;
	__u8 tos;
	__u8 ttl;
	__u8 protocol; /* IPPROTO_IPIP, IPPROTO_IPV6 */
	__u8 reserved;
	__be16 do_not_fragment;
	__be16 ethernet_type;
};

/* Bytes that go through the tunnel at once. */
static __always_inline __u32 tunnel_mtu(const struct tunnel *tunnel, __u32 mtu)
{
	__u32 told = tunnel->path_mtu;

	if (told && told < mtu && sweep.tick - tunnel->path_mtu_tick < PATH_MTU_LIFETIME)
		mtu = told;
	return mtu > tunnel->overhead ? mtu - tunnel->overhead : 0;
}

static __always_inline bool read_inner(struct xdp_md *ctx, const struct packet *packet,
				       struct inner *inner)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *start = data + link_length(packet);
	struct iphdr *ip = start;

	if ((void *)(ip + 1) > data_end)
		return false;
	inner->bytes = packet->bytes;
	inner->ttl = packet->ttl - 1;
	if (packet->family == FAMILY_IPV6) {
		inner->tos = bpf_ntohs(*(__be16 *)start) >> 4;
		inner->protocol = IPPROTO_IPV6;
		inner->ethernet_type = bpf_htons(ETH_P_IPV6);
	} else {
		inner->tos = ip->tos;
		inner->do_not_fragment = ip->frag_off & bpf_htons(IP_DO_NOT_FRAGMENT);
		inner->protocol = IPPROTO_IPIP;
		inner->ethernet_type = bpf_htons(ETH_P_IP);
	}
	/* As INET_ECN_encapsulate(): congestion is noted inside, the outer packet can tell of more. */
	if ((inner->tos & ECN_MASK) == ECN_CE)
		inner->tos = (inner->tos & ~ECN_MASK) | ECN_ECT_0;
	return true;
}

static __always_inline bool write_outer_ipv4(void *start, void *data_end,
					     const struct tunnel *tunnel,
					     const struct real_server *real_server,
					     const struct inner *inner, __u8 protocol)
{
	struct iphdr *ip = start;
	__u64 sum = 0;

	if ((void *)(ip + 1) > data_end)
		return false;
	*(__be16 *)ip = bpf_htons(0x4500 | inner->tos);
	ip->tot_len = bpf_htons(inner->bytes + tunnel->overhead);
	ip->id = inner->do_not_fragment ? 0 : bpf_get_prandom_u32();
	ip->frag_off = inner->do_not_fragment;
	ip->ttl = inner->ttl;
	ip->protocol = protocol;
	ip->check = 0;
	ip->saddr = tunnel->source[3];
	ip->daddr = real_server->address[3];
	for (int i = 0; i < 5; i++)
		sum += ((__u32 *)ip)[i];
	ip->check = fold(sum);
	return true;
}

static __always_inline bool write_outer_ipv6(void *start, void *data_end,
					     const struct tunnel *tunnel,
					     const struct real_server *real_server,
					     const struct inner *inner, __u8 protocol)
{
	struct ipv6hdr *ip = start;

	if ((void *)(ip + 1) > data_end)
		return false;
	*(__be32 *)ip = bpf_htonl(0x60000000 | (__u32)inner->tos << 20);
	ip->payload_len = bpf_htons(inner->bytes + tunnel->overhead - sizeof(*ip));
	ip->nexthdr = protocol;
	ip->hop_limit = inner->ttl;
	__builtin_memcpy(&ip->saddr, tunnel->source, 16);
	__builtin_memcpy(&ip->daddr, real_server->address, 16);
	return true;
}

/* The sum of the pseudo header of UDP outside. */
static __always_inline __u64 pseudo_sum(const struct tunnel *tunnel,
					const struct real_server *real_server, __u32 length)
{
	__u64 sum = (__u64)bpf_htonl(length) + bpf_htonl(IPPROTO_UDP);

	for (int i = 0; i < 4; i++)
		sum += (__u64)tunnel->source[i] + real_server->address[i];
	return sum;
}

static __always_inline bool write_gue(void *start, void *data_end, const struct tunnel *tunnel,
				      const struct real_server *real_server,
				      const struct inner *inner, __be16 source_port, __s64 sum)
{
	struct gue *gue = start;
	__u32 length = sizeof(*gue) + inner->bytes;

	if ((void *)(gue + 1) > data_end)
		return false;
	gue->udp.source = source_port;
	gue->udp.dest = tunnel->port;
	gue->udp.len = bpf_htons(length);
	gue->udp.check = 0;
	gue->version = 0;
	gue->protocol = inner->protocol;
	gue->flags = 0;
	if (tunnel->checksum == TUNNEL_CHECKSUM_FULL) {
		__u16 check = fold((__u64)sum + ((__u32 *)gue)[0] + ((__u32 *)gue)[1] +
				   ((__u32 *)gue)[2] + pseudo_sum(tunnel, real_server, length));

		gue->udp.check = check ? check : 0xffff;
	}
	return true;
}

static __always_inline bool write_gre(void *start, void *data_end, const struct tunnel *tunnel,
				      const struct inner *inner, __s64 sum)
{
	bool checksum = tunnel->checksum == TUNNEL_CHECKSUM_FULL;
	struct gre *gre = start;
	__u32 *word = start;

	if ((void *)(gre + 1) > data_end)
		return false;
	gre->flags = checksum ? bpf_htons(GRE_CHECKSUM) : 0;
	gre->protocol = inner->ethernet_type;
	if (checksum) {
		if ((void *)(word + 2) > data_end)
			return false;
		word[1] = 0;
		*(__be16 *)(word + 1) = fold((__u64)sum + word[0]);
	}
	return true;
}

/* As udp_flow_src_port(): the packets of a flow take one path. Fragments have no ports, or not all of them. */
static __always_inline __be16 flow_port(const struct packet *packet)
{
	__u64 hash = packet->hash;

	if (packet->fragment || !hash) {
		hash = (packet->source[0] ^ packet->source[1] ^ packet->source[2] ^
			packet->source[3] ^ packet->destination[3] ^ settings.key[0]) *
		       settings.key[1];
		hash ^= hash >> 29;
		hash *= settings.key[3];
	}
	return bpf_htons(GUE_SOURCE_PORT + ((hash >> 32) * GUE_SOURCE_PORTS >> 32));
}

/* Makes room before the packet and fills it, behind where the link header will be. */
__noinline int wrap(struct xdp_md *ctx, const struct packet *packet, __u32 id)
{
	if (!packet)
		return 0;
	struct real_server *real_server = lookup(real_servers, id);
	struct tunnel *tunnel = lookup(tunnels, id);
	struct inner inner = {};
	__u32 overhead;
	__u8 protocol;
	__s64 sum = 0;
	void *data, *data_end;

	if (!real_server || !tunnel || !read_inner(ctx, packet, &inner))
		return 0;
	if (tunnel->checksum == TUNNEL_CHECKSUM_FULL && tunnel->type != TUNNEL_IPIP) {
		sum = sum_of(ctx, packet->l2_length, packet->bytes);
		if (sum < 0)
			return 0;
	}
	overhead = tunnel->overhead & 127;
	if (bpf_xdp_adjust_head(ctx, (int)packet->l2_length - (int)(ETH_HLEN + overhead)))
		return 0;
	data = (void *)(long)ctx->data + ETH_HLEN;
	data_end = (void *)(long)ctx->data_end;
	protocol = tunnel->type == TUNNEL_GUE	? IPPROTO_UDP
		   : tunnel->type == TUNNEL_GRE ? IPPROTO_GRE
						: inner.protocol;
	if (real_server->family == FAMILY_IPV6) {
		if (!write_outer_ipv6(data, data_end, tunnel, real_server, &inner, protocol))
			return 0;
		data += sizeof(struct ipv6hdr);
	} else {
		if (!write_outer_ipv4(data, data_end, tunnel, real_server, &inner, protocol))
			return 0;
		data += sizeof(struct iphdr);
	}
	if (tunnel->type == TUNNEL_GUE)
		return write_gue(data, data_end, tunnel, real_server, &inner, flow_port(packet),
				 sum);
	if (tunnel->type == TUNNEL_GRE)
		return write_gre(data, data_end, tunnel, &inner, sum);
	return 1;
}

__noinline int forward_ipip(struct xdp_md *ctx, const struct packet *packet, __u32 id)
{
	if (!packet)
		return XDP_ABORTED;
	struct real_server *real_server = lookup(real_servers, id);
	struct tunnel *tunnel = lookup(tunnels, id);
	struct next_hop hop;
	__u32 mtu;
	int action;

	if (!real_server || !tunnel)
		return XDP_ABORTED;
	if (!hop_to(ctx, packet, id, &hop))
		return drop(COUNTER(drop_unresolved));
	/* Not resolved by user space: no source address for outside, no MTU. */
	if (!tunnel->source[3])
		return drop(COUNTER(drop_unresolved));
	mtu = hop.mtu ? tunnel_mtu(tunnel, hop.mtu) : 0;
	if (too_big(packet, mtu))
		return answer_too_big(ctx, packet, mtu);
	if (!count_down(ctx, link_length(packet), packet->family == FAMILY_IPV6) ||
	    !wrap(ctx, packet, id))
		return drop(COUNTER(drop_rewrite));
	action = real_server->family == FAMILY_IPV6 ? leave(ctx, ETH_HLEN, &hop, true, true)
						    : leave(ctx, ETH_HLEN, &hop, false, true);
	if (action != XDP_DROP)
		count_packet(id, packet->bytes);
	return action;
}

#endif
