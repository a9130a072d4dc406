/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage 1: Ethernet with up to two VLAN tags, IPv4 and IPv6, TCP, UDP and SCTP ->
 * struct packet, addresses and ports in network byte order. XDP sees frames
 * before the stack has judged them, so everything that the stack would refuse
 * (another host's MAC address, a broken header) is left to it here.
 */
#ifndef PARSE_H
#define PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "counters.h"
#include "sctp_state.h"

#define GO_ON (-1)
#define GO_ON_ICMP (-2) /* parsed up to the header of ICMP or ICMPv6 */

#define IP_FRAGMENT_BITS 0x3fff /* more fragments, or an offset */
#define IP_MORE_FRAGMENTS 0x2000
#define IP_OPTION_END 0
#define IP_OPTION_NOP 1
#define IP_OPTION_RECORD_ROUTE 7
#define IP_OPTION_TIMESTAMP 68
#define IP_OPTION_CIPSO 134 /* a label of a domain that only the stack knows */
#define IP_OPTION_ROUTER_ALERT 148
#define TIMESTAMP_AND_ADDRESS 1
#define TIMESTAMP_PRESPECIFIED 3
#define IP_OPTION_LOOSE_SOURCE_ROUTE 131
#define IP_OPTION_STRICT_SOURCE_ROUTE 137
#define IP_OPTIONS_MAX 40
#define IPV6_EXTENSIONS_MAX 24 /* headers in a chain; the kernel has no limit of its own */
#define IPPROTO_MOBILITY 135
#define SCTP_HEADER 12
#define VLAN_OF_NOBODY 0xffff /* more than the 12 bits of an id */

struct vlan_header {
	__be16 tci;
	__be16 type;
};

/* An Ethernet address as three words: packed bytes would be loaded one by one. */
struct ethernet_header {
	__u16 destination[3];
	__u16 source[3];
	__be16 type;
};

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

/* The VLAN id of a tag; with 802.1ad there are other VLANs of the same ids, and none of them is ours. */
static __always_inline __u32 tag_vlan(__be16 type, __be16 tci)
{
	__u32 vlan = bpf_ntohs(tci) & 0xfff;

	return vlan && type == bpf_htons(ETH_P_8021AD) ? VLAN_OF_NOBODY : vlan;
}

/* The VLAN id under which the frame came in, tag 0 being no VLAN; two real tags are nobody's. */
__noinline int parse_tags(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethernet_header *ethernet = data;
	struct vlan_header *tag = (void *)(ethernet + 1);
	__u32 vlan, inner = 0;

	if ((void *)(tag + 1) > data_end)
		return -1;
	vlan = tag_vlan(ethernet->type, tag->tci);
	if (is_vlan(tag->type)) {
		if ((void *)(tag + 2) > data_end)
			return -1;
		inner = tag_vlan(tag->type, tag[1].tci);
		if (vlan && inner)
			return VLAN_OF_NOBODY;
	}
	return vlan | inner;
}

static __always_inline __u32 interface_place(__u32 ifindex, __u32 vlan, __u32 probe)
{
	return (ifindex * 31 + vlan + probe) & (MAX_INTERFACES - 1);
}

static __always_inline struct interface *find_interface(__u32 ifindex, __u32 vlan)
{
	for (__u32 probe = 0; probe < 8; probe++) {
		__u32 index = interface_place(ifindex, vlan, probe);
		struct interface *interface = bpf_map_lookup_elem(&interfaces, &index);

		if (!interface || !interface->ifindex)
			return NULL;
		if (interface->ifindex == ifindex && interface->vlan == vlan)
			return interface;
	}
	return NULL;
}

/* Compared as a word and a half: the first six bytes of a frame, and of an even place in memory. */
static __always_inline bool is_addressed_to(const struct ethernet_header *ethernet,
					    const struct interface *interface)
{
	return *(const __u32 *)ethernet->destination == *(const __u32 *)interface->mac &&
	       ethernet->destination[2] == *(const __u16 *)(interface->mac + 4);
}

/* Leaves *type and packet->l2_length behind, or says what becomes of the frame. */
static __always_inline int parse_ethernet(struct xdp_md *ctx, struct packet *packet, __be16 *type)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethernet_header *ethernet = data;
	struct interface *interface;
	__u32 vlan = 0;

	if ((void *)(ethernet + 1) > data_end)
		return pass(COUNTER(pass_not_ip));
	*type = ethernet->type;
	packet->l2_length = ETH_HLEN;
	if (is_vlan(*type)) {
		struct vlan_header *tag = (void *)(ethernet + 1);
		int tags = parse_tags(ctx);

		if (tags < 0)
			return pass(COUNTER(pass_not_ip));
		vlan = tags;
		if ((void *)(tag + 1) > data_end)
			return pass(COUNTER(pass_not_ip));
		*type = tag->type;
		packet->l2_length = ETH_HLEN + 4;
		if (is_vlan(*type)) {
			if ((void *)(tag + 2) > data_end)
				return pass(COUNTER(pass_not_ip));
			*type = tag[1].type;
			packet->l2_length = ETH_HLEN + 8;
		}
	}
	interface = find_interface(ctx->ingress_ifindex, vlan);
	if (interface) {
		if (!is_addressed_to(ethernet, interface))
			return pass(COUNTER(pass_other_mac));
		packet->ingress_mtu = interface->mtu;
	} else if (vlan) {
		/* The stack has no such VLAN, or no interface of ours. */
		return pass(COUNTER(pass_other_vlan));
	}
	return GO_ON;
}

/* Whether the kernel would take an option that has parts of its own, __ip_options_compile() of net/ipv4/ip_options.c. */
static __always_inline bool ipv4_option_sound(struct xdp_md *ctx, __u32 offset, __u8 kind,
					      __u8 length)
{
	/* Kind, length, and of record route and timestamp where the next entry goes, from 1 on. */
	__u8 option[4] = {}, entry = 4;

	if (kind != IP_OPTION_RECORD_ROUTE && kind != IP_OPTION_TIMESTAMP)
		return kind != IP_OPTION_CIPSO && (kind != IP_OPTION_ROUTER_ALERT || length >= 4);
	if (length < 3 || bpf_xdp_load_bytes(ctx, offset, option, sizeof(option)))
		return false;
	if (kind == IP_OPTION_TIMESTAMP) {
		__u8 flag = option[3] & 0x0f;

		if (length < 4 || option[2] < 5)
			return false;
		if (option[2] > length)
			return flag == TIMESTAMP_PRESPECIFIED || option[3] >> 4 != 15;
		if (flag == TIMESTAMP_AND_ADDRESS || flag == TIMESTAMP_PRESPECIFIED)
			entry = 8;
	}
	return option[2] >= 4 && (option[2] > length || option[2] - 1 + entry <= length);
}

/* Options that the kernel forwards, if not untouched; others are the stack's business. */
__noinline int ipv4_options_allowed(struct xdp_md *ctx, __u32 offset, __u32 end)
{
	bool recorded = false, stamped = false;

	for (int i = 0; i < IP_OPTIONS_MAX; i++) {
		__u8 option[2] = {};

		if (offset >= end)
			return 1;
		if (bpf_xdp_load_bytes(ctx, offset, option, sizeof(option)))
			return 0;
		if (option[0] == IP_OPTION_END)
			return 1;
		if (option[0] == IP_OPTION_NOP) {
			offset++;
			continue;
		}
		if (option[0] == IP_OPTION_LOOSE_SOURCE_ROUTE ||
		    option[0] == IP_OPTION_STRICT_SOURCE_ROUTE)
			return 0;
		if (offset + 1 >= end || option[1] < 2 || offset + option[1] > end ||
		    !ipv4_option_sound(ctx, offset, option[0], option[1]))
			return 0;
		/* Each of these at most once. */
		if ((recorded && option[0] == IP_OPTION_RECORD_ROUTE) ||
		    (stamped && option[0] == IP_OPTION_TIMESTAMP))
			return 0;
		recorded |= option[0] == IP_OPTION_RECORD_ROUTE;
		stamped |= option[0] == IP_OPTION_TIMESTAMP;
		offset += option[1];
	}
	return 1;
}

static __always_inline bool is_served(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/*
 * The event of an SCTP packet: that of its first chunk, but an ABORT behind a
 * cookie counts (ip_vs_proto_sctp.c, set_sctp_state). HEADER_SHORT: no chunk.
 */
__noinline int parse_sctp(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	__u8 chunk[4], type;

	if (length < SCTP_HEADER + sizeof(chunk) ||
	    bpf_xdp_load_bytes(ctx, offset + SCTP_HEADER, chunk, sizeof(chunk)))
		return HEADER_SHORT;
	type = chunk[0];
	if (type == CHUNK_COOKIE_ECHO || type == CHUNK_COOKIE_ACK) {
		__u32 next = SCTP_HEADER + ((chunk[2] << 8 | chunk[3]) + 3 & ~3U);

		if (next >= SCTP_HEADER + sizeof(chunk) && next + sizeof(chunk) <= length &&
		    !bpf_xdp_load_bytes(ctx, offset + next, chunk, sizeof(chunk)) &&
		    chunk[0] == CHUNK_ABORT)
			type = CHUNK_ABORT;
	}
	return chunk_event(type);
}

/* Ports, and the TCP flags when the header has its fixed part within the IP packet. */
static __always_inline int parse_transport(struct xdp_md *ctx, struct packet *packet,
					   __u32 l4_length)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *l4 = data + transport_offset(packet);
	bool tcp = packet->protocol == IPPROTO_TCP;

	if (l4 + sizeof(struct tcphdr) <= data_end) {
		packet->flags = tcp ? ((__u8 *)l4)[13] : 0;
	} else {
		if (l4 + 4 > data_end)
			return pass(COUNTER(pass_malformed));
		packet->flags = 0;
	}
	if (packet->protocol == IPPROTO_SCTP) {
		int event = parse_sctp(ctx, transport_offset(packet), l4_length);

		packet->flags = event & (HEADER_SHORT | 15);
		data = (void *)(long)ctx->data;
		data_end = (void *)(long)ctx->data_end;
		l4 = data + transport_offset(packet);
		if (l4 + 4 > data_end)
			return XDP_ABORTED;
	}
	if (l4_length < (tcp ? sizeof(struct tcphdr) : sizeof(struct udphdr))) {
		if (l4_length < 4)
			return pass(COUNTER(pass_malformed));
		packet->flags = HEADER_SHORT;
	}
	packet->source_port = ((struct udphdr *)l4)->source;
	packet->destination_port = ((struct udphdr *)l4)->dest;
	return GO_ON;
}

static __always_inline bool ipv4_checksum_good(struct iphdr *ip, __u32 header_length,
					       void *data_end)
{
	__u32 *word = (__u32 *)ip;
	__u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];

	if (header_length > sizeof(*ip)) {
		for (int i = 5; i < 15; i++) {
			if (i * 4 >= header_length || (void *)(word + i + 1) > data_end)
				break;
			sum += word[i];
		}
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static __always_inline int parse_ipv4(struct xdp_md *ctx, struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + link_length(packet);
	__u32 header_length, total_length;

	if ((void *)(ip + 1) > data_end)
		return pass(COUNTER(pass_malformed));
	header_length = (*(__u8 *)ip & 0x0f) * 4;
	total_length = bpf_ntohs(ip->tot_len);
	if (*(__u8 *)ip >> 4 != 4 || header_length < sizeof(*ip) || total_length < header_length ||
	    packet->l2_length + total_length > data_end - data)
		return pass(COUNTER(pass_malformed));
	packet->protocol = ip->protocol;
	if (!is_served(packet->protocol) && packet->protocol != IPPROTO_ICMP)
		return pass(COUNTER(pass_not_service));
	packet->family = FAMILY_IPV4;
	packet->source[3] = ip->saddr;
	packet->destination[3] = ip->daddr;
	packet->ttl = ip->ttl;
	packet->bytes = total_length;
	packet->l4_offset = packet->l2_length + header_length;
	packet->fragment = FRAGMENT_NONE;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_BITS)) {
		packet->fragment = ip->frag_off & bpf_htons(IP_FRAGMENT_BITS & ~IP_MORE_FRAGMENTS)
					   ? FRAGMENT_LATER
					   : FRAGMENT_FIRST;
		packet->fragment_id = ip->id;
		if (packet->fragment == FRAGMENT_LATER)
			return GO_ON;
	}
	if (packet->protocol == IPPROTO_ICMP)
		return GO_ON_ICMP;
	return parse_transport(ctx, packet, total_length - header_length);
}

/* After the packet is known to be a service's: what the stack would not let through. */
static __always_inline int check_ipv4(struct xdp_md *ctx, struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 l2_length = link_length(packet);
	struct iphdr *ip = data + l2_length;

	if ((void *)(ip + 1) > data_end)
		return XDP_ABORTED;
	if (!ipv4_checksum_good(ip, packet->l4_offset - l2_length, data_end))
		return pass(COUNTER(pass_malformed));
	if (packet->l4_offset - l2_length > sizeof(*ip) &&
	    !ipv4_options_allowed(ctx, l2_length + sizeof(*ip), packet->l4_offset))
		return pass(COUNTER(pass_option));
	return GO_ON;
}

/* The same, out of line, for packets of either family that take another way than most. */
__noinline int check_unusual(struct xdp_md *ctx, struct packet *packet)
{
	if (!packet)
		return XDP_ABORTED;
	return packet->family == FAMILY_IPV6 ? GO_ON : check_ipv4(ctx, packet);
}

/*
 * Walks the extension headers that IPVS looks through. Returns the offset of
 * the transport header, or 0 when there is none for us.
 */
__noinline int ipv6_extensions(struct xdp_md *ctx, struct packet *packet, __u32 next, __u32 offset)
{
	if (!packet)
		return 0;
	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		__u8 header[8];

		if (is_served(next) || next == IPPROTO_ICMPV6) {
			packet->protocol = next;
			return offset;
		}
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_AH && next != IPPROTO_FRAGMENT)
			return 0;
		if (bpf_xdp_load_bytes(ctx, offset, header, sizeof(header)))
			return 0;
		if (next == IPPROTO_FRAGMENT) {
			__u32 place = (header[2] << 8 | header[3]) & 0xfff9;

			if (place) {
				packet->fragment = place & 0xfff8 ? FRAGMENT_LATER : FRAGMENT_FIRST;
				__builtin_memcpy(&packet->fragment_id, header + 4, 4);
			}
			if (packet->fragment == FRAGMENT_LATER) {
				packet->protocol = header[0];
				return offset + 8;
			}
			offset += 8;
		} else if (next == IPPROTO_AH) {
			offset += (header[1] + 2) * 4;
		} else {
			offset += (header[1] + 1) * 8;
		}
		next = header[0];
		if (offset > 2048)
			return 0;
	}
	return 0;
}

static __always_inline int parse_ipv6(struct xdp_md *ctx, struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + link_length(packet);
	__u32 payload;

	if ((void *)(ip + 1) > data_end)
		return pass(COUNTER(pass_malformed));
	payload = bpf_ntohs(ip->payload_len);
	if (*(__u8 *)ip >> 4 != 6 || packet->l2_length + sizeof(*ip) + payload > data_end - data)
		return pass(COUNTER(pass_malformed));
	packet->family = FAMILY_IPV6;
	packet->fragment = FRAGMENT_NONE;
	packet->protocol = ip->nexthdr;
	packet->l4_offset = packet->l2_length + sizeof(*ip);
	__builtin_memcpy(packet->source, &ip->saddr, 16);
	__builtin_memcpy(packet->destination, &ip->daddr, 16);
	packet->ttl = ip->hop_limit;
	packet->bytes = sizeof(*ip) + payload;
	if (!is_served(packet->protocol)) {
		int offset = ipv6_extensions(ctx, packet, packet->protocol, packet->l4_offset);

		if (offset <= 0 || offset > 4096)
			return pass(COUNTER(pass_not_service));
		packet->l4_offset = offset;
		if (packet->l4_offset - packet->l2_length > packet->bytes)
			return pass(COUNTER(pass_malformed));
		if (packet->fragment == FRAGMENT_LATER)
			return GO_ON;
		if (packet->protocol == IPPROTO_ICMPV6)
			return GO_ON_ICMP;
	}
	return parse_transport(ctx, packet,
			       packet->bytes - (packet->l4_offset - packet->l2_length));
}

#endif
