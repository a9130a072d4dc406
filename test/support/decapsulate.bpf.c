// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A real server's end of every tunnel, for kernels without tunnel devices:
 * takes off what is around a packet by IP in IP, GUE (UDP port 6080) or GRE,
 * over IPv4 and IPv6, and passes the rest on as if it had come by itself. A
 * packet of another tunnel than the program's, or whose outer headers are not
 * what they must be, is dropped. What is in no tunnel is passed.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define GUE_PORT 6080
#define GRE_CHECKSUM 0x8000
#define BROKEN (-1)

struct gue {
	__u8 version; /* and length of options */
	__u8 protocol;
	__be16 flags;
};

static __always_inline bool ipv4_sound(const struct iphdr *ip, const void *end)
{
	const __u32 *word = (const void *)ip;
	__u64 sum = 0;

	for (int i = 0; i < 5; i++)
		sum += word[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff && bpf_ntohs(ip->tot_len) <= end - (const void *)ip;
}

/* The length of what is behind an outer IP header, and in *inner the IP protocol of the packet inside. */
static __always_inline int tunnel_header(const void *start, const void *end, __u8 *inner)
{
	const struct udphdr *udp = start;
	const struct gue *gue = (const void *)(udp + 1);
	const __be16 *gre = start;

	switch (*inner) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
		return 0;
	case IPPROTO_UDP:
		if ((const void *)(gue + 1) > end || udp->dest != bpf_htons(GUE_PORT))
			return BROKEN;
		if (bpf_ntohs(udp->len) > end - start || gue->version || gue->flags)
			return BROKEN;
		*inner = gue->protocol;
		return sizeof(*udp) + sizeof(*gue);
	case IPPROTO_GRE:
		if ((const void *)(gre + 2) > end || gre[0] & ~bpf_htons(GRE_CHECKSUM))
			return BROKEN;
		*inner = gre[1] == bpf_htons(ETH_P_IP)	   ? IPPROTO_IPIP
			 : gre[1] == bpf_htons(ETH_P_IPV6) ? IPPROTO_IPV6
							   : 0;
		return gre[0] ? 8 : 4;
	default:
		return BROKEN;
	}
}

static __always_inline bool is_tunnel(__u8 protocol, const void *transport, const void *end)
{
	const struct udphdr *udp = transport;

	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE ||
	       (protocol == IPPROTO_UDP && (const void *)(udp + 1) <= end &&
		udp->dest == bpf_htons(GUE_PORT));
}

static __always_inline bool is_wanted(__u8 protocol, const __u8 wanted)
{
	return wanted == protocol || (wanted == IPPROTO_IPIP && protocol == IPPROTO_IPV6);
}

/* `wanted`: the outer IP protocol. */
static __always_inline int decapsulate(struct xdp_md *ctx, const __u8 wanted)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data, saved;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct ipv6hdr *ip6 = (void *)(ethernet + 1);
	int outer, behind;
	__u8 inner;

	if ((void *)(ip + 1) > data_end)
		return XDP_PASS;
	saved = *ethernet;
	if (saved.h_proto == bpf_htons(ETH_P_IP)) {
		outer = sizeof(*ip);
		inner = ip->protocol;
		if (ip->ihl != 5 || !is_tunnel(inner, ip + 1, data_end))
			return XDP_PASS;
		if (!is_wanted(inner, wanted) || !ipv4_sound(ip, data_end))
			return XDP_DROP;
		behind = tunnel_header(ip + 1, data_end, &inner);
	} else if (saved.h_proto == bpf_htons(ETH_P_IPV6) && (void *)(ip6 + 1) <= data_end) {
		outer = sizeof(*ip6);
		inner = ip6->nexthdr;
		if (!is_tunnel(inner, ip6 + 1, data_end))
			return XDP_PASS;
		if (!is_wanted(inner, wanted))
			return XDP_DROP;
		behind = tunnel_header(ip6 + 1, data_end, &inner);
	} else {
		return XDP_PASS;
	}
	if (behind < 0 || (inner != IPPROTO_IPIP && inner != IPPROTO_IPV6) ||
	    bpf_xdp_adjust_head(ctx, outer + behind))
		return XDP_DROP;
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	saved.h_proto = inner == IPPROTO_IPIP ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	*ethernet = saved;
	return XDP_PASS;
}

SEC("tunnel/ipip")
int ipip(struct xdp_md *ctx)
{
	return decapsulate(ctx, IPPROTO_IPIP);
}

SEC("tunnel/gue")
int gue(struct xdp_md *ctx)
{
	return decapsulate(ctx, IPPROTO_UDP);
}

SEC("tunnel/gre")
int gre(struct xdp_md *ctx)
{
	return decapsulate(ctx, IPPROTO_GRE);
}

char _license[] SEC("license") = "Dual BSD/GPL";
