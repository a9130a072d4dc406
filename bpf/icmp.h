/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors that the director sends in the virtual address's name, as the
 * kernel's icmp_send() and icmp6_send() build them: IPv4 quotes up to 576
 * bytes in all, IPv6 up to 1280. Rate limited per CPU and second.
 */
#ifndef ICMP_H
#define ICMP_H

#include <linux/icmpv6.h>

#include "checksum.h"
#include "parse.h"

/* linux/icmp.h would bring in the C library's sockets. */
#define ICMP_DEST_UNREACH 3
#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4
#define ICMP_TIME_EXCEEDED 11
#define ICMP_EXC_TTL 0

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 word;
};

#define ICMPV4_ROOM (576 - sizeof(struct iphdr) - sizeof(struct icmp_header))
#define ICMPV6_ROOM (1280 - sizeof(struct ipv6hdr) - sizeof(struct icmp6hdr))
#define ICMP_TOS_PRECEDENCE 0xc0
#define ICMP_HOP_LIMIT 64

enum icmp_error {
	ICMP_ERROR_PORT_UNREACHABLE,
	ICMP_ERROR_TIME_EXCEEDED,
	ICMP_ERROR_TOO_BIG,
};

/* Without the MTU a client's packets are lost for good: who provokes other errors does not use up its share. */
static __always_inline bool icmp_allowed(struct scratch *scratch, bool too_big)
{
	if (scratch->tick != sweep.tick) {
		scratch->tick = sweep.tick;
		scratch->icmp_sent = 0;
		scratch->too_big_sent = 0;
	}
	return (too_big ? scratch->too_big_sent++ : scratch->icmp_sent++) <
	       settings.icmp_per_second;
}

static __always_inline void write_ipv4_error(struct iphdr *ip, const struct packet *packet,
					     __u32 quoted, __u8 tos, __u16 identification,
					     __u8 type, __u8 code, __be32 word, __s64 quote_sum)
{
	struct icmp_header *icmp = (void *)(ip + 1);
	__u64 sum = 0;
	__u32 i;

	*(__be16 *)ip = bpf_htons(0x4500 | (tos & 0x1e) | ICMP_TOS_PRECEDENCE);
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*icmp) + quoted);
	ip->id = identification;
	ip->frag_off = 0;
	ip->ttl = ICMP_HOP_LIMIT;
	ip->protocol = IPPROTO_ICMP;
	ip->check = 0;
	ip->saddr = packet->destination[3];
	ip->daddr = packet->source[3];
	for (i = 0; i < 5; i++)
		sum += ((__u32 *)ip)[i];
	ip->check = fold(sum);
	icmp->type = type;
	icmp->code = code;
	icmp->checksum = 0;
	icmp->word = word;
	icmp->checksum = fold((__u64)quote_sum + *(__u32 *)icmp + icmp->word);
}

static __always_inline void write_ipv6_error(struct ipv6hdr *ip, const struct packet *packet,
					     __u32 quoted, __u8 type, __u8 code, __be32 word,
					     __s64 quote_sum)
{
	struct icmp6hdr *icmp = (void *)(ip + 1);
	__u32 length = sizeof(*icmp) + quoted;
	__u64 sum = (__u64)quote_sum;

	*(__be32 *)ip = bpf_htonl(0x60000000);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ICMP_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, packet->destination, 16);
	__builtin_memcpy(&ip->daddr, packet->source, 16);
	icmp->icmp6_type = type;
	icmp->icmp6_code = code;
	icmp->icmp6_cksum = 0;
	icmp->icmp6_dataun.un_data32[0] = word;
	for (int i = 0; i < 4; i++)
		sum += (__u64)packet->source[i] + packet->destination[i];
	sum += (__u64)bpf_htonl(length) + bpf_htonl(IPPROTO_ICMPV6);
	sum += (__u64) * (__u32 *)icmp + icmp->icmp6_dataun.un_data32[0];
	icmp->icmp6_cksum = fold(sum);
}

/*
 * Turns the packet into an ICMP error to its sender, from its destination, in
 * the VLAN that it came by, without a priority: `what` is type << 8 | code,
 * `word` what follows the checksum. Returns XDP_TX, or XDP_DROP when over the
 * rate or not possible. Nothing is counted here.
 */
__noinline int icmp_answer(struct xdp_md *ctx, const struct packet *packet, __u32 what, __be32 word)
{
	if (!packet)
		return XDP_ABORTED;
	bool ipv6 = packet->family == FAMILY_IPV6;
	__u32 l2_length = link_length(packet), room = ipv6 ? ICMPV6_ROOM : ICMPV4_ROOM;
	__u32 header = ipv6 ? sizeof(struct ipv6hdr) + sizeof(struct icmp6hdr)
			    : sizeof(struct iphdr) + sizeof(struct icmp_header);
	__u32 quoted = packet->bytes < room ? packet->bytes : room;
	struct scratch *scratch = lookup(scratches, 0);
	struct ethernet_header *ethernet, saved;
	__be16 type = ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	__u32 vlan = l2_length > ETH_HLEN ? parse_tags(ctx) : 0;
	__u32 head = vlan ? ETH_HLEN + 4 : ETH_HLEN;
	struct vlan_header *tag;
	void *data, *data_end;
	long frame;
	__s64 sum;
	__u8 tos = 0;

	/* Never an error about an error. */
	if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6)
		return XDP_DROP;
	if (!scratch ||
	    !icmp_allowed(scratch, what == (ipv6 ? ICMPV6_PKT_TOOBIG << 8
						 : ICMP_DEST_UNREACH << 8 | ICMP_FRAG_NEEDED)))
		return XDP_DROP;
	sum = sum_of(ctx, l2_length, quoted);
	if (sum < 0 || bpf_xdp_load_bytes(ctx, l2_length + 1, &tos, 1))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (data + sizeof(saved) + sizeof(struct iphdr) > data_end)
		return XDP_DROP;
	saved = *(struct ethernet_header *)data;
	frame = data_end - data;
	/* Else clang 14 subtracts the pointers in 32 bits: "32-bit pointer arithmetic prohibited". */
	asm volatile("" : "+r"(frame));
	if (bpf_xdp_adjust_tail(ctx, (long)(l2_length + quoted) - frame) ||
	    bpf_xdp_adjust_head(ctx, (int)l2_length - (int)(head + header)))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ethernet = data;
	tag = (void *)(ethernet + 1);
	if ((void *)(tag + 1) > data_end)
		return XDP_DROP;
	for (int i = 0; i < 3; i++) {
		ethernet->destination[i] = saved.source[i];
		ethernet->source[i] = saved.destination[i];
	}
	ethernet->type = vlan ? bpf_htons(ETH_P_8021Q) : type;
	if (vlan)
		*tag = (struct vlan_header){ .tci = bpf_htons(vlan), .type = type };
	if (ipv6) {
		if (data + head + sizeof(struct ipv6hdr) + sizeof(struct icmp6hdr) > data_end)
			return XDP_DROP;
		write_ipv6_error(data + head, packet, quoted, what >> 8, what, word, sum);
	} else {
		if (data + head + sizeof(struct iphdr) + sizeof(struct icmp_header) > data_end)
			return XDP_DROP;
		write_ipv4_error(data + head, packet, quoted, tos,
				 (scratch->icmp_sent + scratch->too_big_sent) * 40503, what >> 8,
				 what, word, sum);
	}
	return XDP_TX;
}

/* As icmp_answer(); `mtu` in bytes only for too-big. */
static __always_inline int icmp_error(struct xdp_md *ctx, const struct packet *packet,
				      enum icmp_error error, __u32 mtu)
{
	bool ipv6 = packet->family == FAMILY_IPV6;

	/* The unspecified address is nobody's, RFC 4443 section 2.4 (e). */
	if (ipv6 && !packet->source[0] && !packet->source[1] && !packet->source[2] &&
	    !packet->source[3])
		return XDP_DROP;
	switch (error) {
	case ICMP_ERROR_PORT_UNREACHABLE:
		return icmp_answer(ctx, packet,
				   ipv6 ? ICMPV6_DEST_UNREACH << 8 | ICMPV6_PORT_UNREACH
					: ICMP_DEST_UNREACH << 8 | ICMP_PORT_UNREACH,
				   0);
	case ICMP_ERROR_TIME_EXCEEDED:
		return icmp_answer(ctx, packet,
				   ipv6 ? ICMPV6_TIME_EXCEED << 8 | ICMPV6_EXC_HOPLIMIT
					: ICMP_TIME_EXCEEDED << 8 | ICMP_EXC_TTL,
				   0);
	default:
		return icmp_answer(ctx, packet,
				   ipv6 ? ICMPV6_PKT_TOOBIG << 8
					: ICMP_DEST_UNREACH << 8 | ICMP_FRAG_NEEDED,
				   bpf_htonl(ipv6 ? mtu : mtu & 0xffff));
	}
}

#endif
