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
static __always_inline void count_down_at(void *header, const bool ipv6)
{
	struct ipv6hdr *ipv6_header = header;
	struct iphdr *ip = header;
	__u32 check;

	if (ipv6) {
		ipv6_header->hop_limit--;
		return;
	}
	check = (__u32)ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}

static __always_inline bool count_down(struct xdp_md *ctx, __u32 l2_length, const bool ipv6)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;

	void *header = data + l2_length;

	if (header + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) > data_end)
		return false;
	count_down_at(header, ipv6);
	return true;
}

/* The first part of struct real_server: what a frame needs to get there. */
struct next_hop {
	__u8 mac[6];
	__u8 source_mac[6]; /* of the outgoing interface */
	__u32 ifindex;	    /* physical outgoing interface */
	__u16 vlan;	    /* tag to leave with, 0: none */
	__u16 mtu;	    /* bytes; 0: unknown */
};

_Static_assert(__builtin_offsetof(struct real_server, source_mac) == 6 &&
		       __builtin_offsetof(struct real_server, ifindex) == 12 &&
		       __builtin_offsetof(struct real_server, vlan) == 16 &&
		       __builtin_offsetof(struct real_server, mtu) == 18,
	       "next_hop");

static __always_inline const struct next_hop *next_hop_of(const struct real_server *real_server)
{
	return (const struct next_hop *)real_server;
}

/* Both addresses lie side by side, in the frame as in the record: twelve bytes in two moves. */
static __always_inline void write_macs(struct ethernet_header *ethernet, const struct next_hop *hop)
{
	const __u64 *from = (const __u64 *)hop->mac;
	__u64 *to = (__u64 *)ethernet->destination;

	to[0] = from[0];
	*(__u32 *)(to + 1) = *(const __u32 *)(from + 1);
}

/* Another number of tags goes out than came in: moves the frame's start. */
__noinline int resize_link_header(struct xdp_md *ctx, __u32 from, __u32 to)
{
	return bpf_xdp_adjust_head(ctx, (int)from - (int)to);
}

/* Replaces a link header of `l2_length` bytes; `fresh`: in which no type has been written yet. */
static __always_inline bool write_link_header(struct xdp_md *ctx, __u32 l2_length,
					      const struct next_hop *hop, const bool ipv6,
					      const bool fresh)
{
	__u32 vlan = hop->vlan;
	struct ethernet_header *ethernet;
	struct vlan_header *tag;
	__be16 type = ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);

	if (vlan || l2_length != ETH_HLEN) {
		__u32 length = vlan ? ETH_HLEN + 4 : ETH_HLEN;

		if (l2_length != length && resize_link_header(ctx, l2_length, length))
			return false;
	}
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return false;
	write_macs(ethernet, hop);
	if (fresh || vlan || l2_length != ETH_HLEN) {
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
