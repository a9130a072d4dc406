/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Direct routing: both MAC addresses are written, the TTL or hop limit is
 * counted down, the VLAN tag becomes that of the outgoing interface, and
 * nothing else is touched (net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_dr_xmit).
 */
#ifndef GATE_H
#define GATE_H

#include "parse.h"

/* As ip_decrease_ttl() of include/net/ip.h: the checksum grows by what the TTL loses. */
static __always_inline bool count_down(struct xdp_md *ctx, __u32 l2_length, const bool ipv6)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	if (ipv6) {
		struct ipv6hdr *ip = data + l2_length;

		if ((void *)(ip + 1) > data_end)
			return false;
		ip->hop_limit--;
	} else {
		struct iphdr *ip = data + l2_length;
		__u32 check;

		if ((void *)(ip + 1) > data_end)
			return false;
		check = (__u32)ip->check + bpf_htons(0x0100);
		ip->check = check + (check >= 0xffff);
		ip->ttl--;
	}
	return true;
}

/* Another number of tags goes out than came in: moves the frame's start. */
__noinline int resize_link_header(struct xdp_md *ctx, __u32 from, __u32 to)
{
	return bpf_xdp_adjust_head(ctx, (int)from - (int)to);
}

static __always_inline bool write_link_header(struct xdp_md *ctx, const struct packet *packet,
					      const struct real_server *real_server,
					      const bool ipv6)
{
	const __u16 *to = (const __u16 *)real_server->next_hop_mac;
	const __u16 *from = (const __u16 *)real_server->source_mac;
	__u32 vlan = real_server->vlan;
	struct ethernet_header *ethernet;
	struct vlan_header *tag;
	__be16 type = ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);

	if (vlan || packet->l2_length != ETH_HLEN) {
		__u32 length = vlan ? ETH_HLEN + 4 : ETH_HLEN;

		if (packet->l2_length != length &&
		    resize_link_header(ctx, packet->l2_length, length))
			return false;
	}
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return false;
	for (int i = 0; i < 3; i++) {
		ethernet->destination[i] = to[i];
		ethernet->source[i] = from[i];
	}
	if (vlan || packet->l2_length != ETH_HLEN) {
		tag = (void *)(ethernet + 1);
		if ((void *)(tag + 1) > (void *)(long)ctx->data_end)
			return false;
		ethernet->type = vlan ? bpf_htons(ETH_P_8021Q) : type;
		if (vlan) {
			tag->tci = bpf_htons(vlan);
			tag->type = type;
		}
	}
	return true;
}

#endif
