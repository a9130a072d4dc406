/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about packets of ours: what a router or host on the way quotes
 * tells whose they are (net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_icmp,
 * ip_vs_out_icmp). About a reply: to the real server that sent it, by its
 * forwarding method. About a packet to a masqueraded real server: to the
 * client, translated. About a tunnel: a new error to the client.
 */
#ifndef ICMP_RELATED_H
#define ICMP_RELATED_H

#include "forward.h"
#include "reply.h"
#include "schedule.h"

#define ICMP_SOURCE_QUENCH 4
#define ICMP_HOST_UNREACH 1
#define IPV4_MIN_MTU 552 /* sysctl ip_rt_min_pmtu */
#define IPV6_MIN_MTU 1280
#define GUE_OPTIONS 0x1f

struct icmp_message {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 word; /* too big: the MTU, IPv4 in its last 16 bits */
};

/* The kinds that IPVS looks into: of IPv6 all errors there may ever be. IPv4 parameter problems it leaves to the stack. */
static __always_inline bool tells_of_a_packet(const struct icmp_message *message, const bool ipv6)
{
	if (ipv6)
		return !(message->type & ICMPV6_INFOMSG_MASK);
	return message->type == ICMP_DEST_UNREACH || message->type == ICMP_SOURCE_QUENCH ||
	       message->type == ICMP_TIME_EXCEEDED;
}

static __always_inline bool is_too_big(const struct icmp_message *message, const bool ipv6)
{
	return ipv6 ? message->type == ICMPV6_PKT_TOOBIG
		    : message->type == ICMP_DEST_UNREACH && message->code == ICMP_FRAG_NEEDED;
}

/* An error of IPv4 whose checksum is wrong goes nowhere. IPv6's is judged by whoever it is for. */
static __always_inline bool icmp_checksum_good(struct xdp_md *ctx, const struct packet *packet)
{
	__u32 length = packet->bytes - (packet->l4_offset - packet->l2_length);
	long sum = sum_of(ctx, packet->l4_offset, length);
	__u64 total = sum;

	if (sum < 0)
		return false;
	if (packet->family == FAMILY_IPV6) {
		for (int i = 0; i < 4; i++)
			total += (__u64)packet->source[i] + packet->destination[i];
		total += (__u64)bpf_htonl(length) + bpf_htonl(IPPROTO_ICMPV6);
	}
	return fold(total) == 0;
}

/*
 * Reads the packet that is quoted from `offset` on, of which 4 bytes behind the
 * IP header suffice, into *flow; turned round, so that source and destination
 * are those of the answer to it. flow->bytes is what there is of it.
 */
__noinline int read_quote(struct xdp_md *ctx, const struct packet *packet, struct packet *flow,
			  __u32 offset)
{
	if (!packet || !flow)
		return 0;
	__u32 end = packet->l2_length + packet->bytes, length, whole;
	__be16 ports[2];

	flow->fragment = FRAGMENT_NONE;
	flow->flags = 0;
	if (flow->family == FAMILY_IPV6) {
		struct ipv6hdr ip;

		if (bpf_xdp_load_bytes(ctx, offset, &ip, sizeof(ip)) || *(__u8 *)&ip >> 4 != 6)
			return 0;
		__builtin_memcpy(flow->source, &ip.daddr, 16);
		__builtin_memcpy(flow->destination, &ip.saddr, 16);
		flow->protocol = ip.nexthdr;
		flow->ttl = ip.hop_limit;
		whole = sizeof(ip) + bpf_ntohs(ip.payload_len);
		length = offset + sizeof(ip);
		if (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP &&
		    flow->protocol != IPPROTO_SCTP && flow->protocol != IPPROTO_IPIP &&
		    flow->protocol != IPPROTO_IPV6 && flow->protocol != IPPROTO_GRE) {
			int found = ipv6_extensions(ctx, flow, flow->protocol, length);

			if (found <= 0)
				return 0;
			length = found;
		}
	} else {
		struct iphdr ip;

		if (bpf_xdp_load_bytes(ctx, offset, &ip, sizeof(ip)) || *(__u8 *)&ip >> 4 != 4 ||
		    (*(__u8 *)&ip & 0xf) < 5)
			return 0;
		for (int i = 0; i < 3; i++)
			flow->source[i] = flow->destination[i] = 0;
		flow->source[3] = ip.daddr;
		flow->destination[3] = ip.saddr;
		flow->protocol = ip.protocol;
		flow->ttl = ip.ttl;
		whole = bpf_ntohs(ip.tot_len);
		if (ip.frag_off & bpf_htons(IP_FRAGMENT_BITS & ~IP_MORE_FRAGMENTS))
			flow->fragment = FRAGMENT_LATER;
		length = offset + (*(__u8 *)&ip & 0xf) * 4;
	}
	if (flow->fragment == FRAGMENT_LATER || length + sizeof(ports) > end ||
	    bpf_xdp_load_bytes(ctx, length, ports, sizeof(ports)))
		return 0;
	flow->source_port = ports[1];
	flow->destination_port = ports[0];
	flow->l4_offset = length;
	flow->bytes = whole < end - offset ? whole : end - offset;
	return 1;
}

/* The real server of the connection that *flow, as a client's packet, belongs to; 0: it is for no service. */
__noinline int real_server_of(struct packet *flow, int known_only)
{
	if (!flow)
		return 0;
	bool ipv6 = flow->family == FAMILY_IPV6;
	struct connection connection = {};
	struct real_server *real_server;
	struct service *service;
	__u32 id;

	flow->service = service_lookup(flow, ipv6);
	service = flow->service ? lookup(services, flow->service) : NULL;
	if (!service)
		return 0;
	flow->hash = connection_hash(flow->source, flow->destination, packet_ports(flow),
				     flow->protocol, flow->service, ipv6);
	if (connection_lookup(flow->hash, &connection)) {
		id = word_real_server(connection.word);
		real_server = lookup(real_servers, id);
		if (real_server && is_connection_of(flow, &connection, real_server))
			return id;
	}
	/* Another director may know the connection: where it would go without a slot is the best guess. */
	return known_only ? 0 : spread_choose(service, flow->hash);
}

/* Replaces an address of the frame; returns what the sum over it grows by, or -1. */
__noinline long replace_address(struct xdp_md *ctx, __u32 offset, const struct endpoint *to,
				int ipv6)
{
	if (!to)
		return -1;
	__be32 from[4];
	__u64 change = 0;

	if (!ipv6) {
		if (bpf_xdp_load_bytes(ctx, offset, from, 4) ||
		    bpf_xdp_store_bytes(ctx, offset, (void *)&to->address[3], 4))
			return -1;
		return difference(from[0], to->address[3]);
	}
	if (bpf_xdp_load_bytes(ctx, offset, from, 16) ||
	    bpf_xdp_store_bytes(ctx, offset, (void *)to->address, 16))
		return -1;
	for (int i = 0; i < 4; i++)
		change += difference(from[i], to->address[i]);
	return change;
}

/* Adapts a checksum of the frame. Returns 0 if it is not there. */
__noinline int adapt_checksum(struct xdp_md *ctx, __u32 offset, __u64 change)
{
	__u16 checksum;

	if (bpf_xdp_load_bytes(ctx, offset, &checksum, sizeof(checksum)))
		return 0;
	checksum = checksum_adapted(checksum, change);
	return !bpf_xdp_store_bytes(ctx, offset, &checksum, sizeof(checksum));
}

/*
 * Rewrites one end of an error, and the same end of what it quotes: the
 * destination outside is the source inside. to->source is that of outside.
 */
__noinline int translate_error(struct xdp_md *ctx, const struct packet *packet,
			       const struct packet *flow, const struct endpoint *to)
{
	if (!packet || !flow || !to)
		return 0;
	bool ipv6 = packet->family == FAMILY_IPV6;
	__u32 outer = packet->l2_length, quote = packet->l4_offset + sizeof(struct icmp_message);
	__u32 port = flow->l4_offset + (to->source ? 2 : 0), source = ipv6 ? 8 : 12;
	__u32 destination = ipv6 ? 24 : 16;
	long outside, inside;
	__u64 change;
	__be16 from;

	if (bpf_xdp_load_bytes(ctx, port, &from, sizeof(from)) ||
	    bpf_xdp_store_bytes(ctx, port, (void *)&to->port, sizeof(to->port)))
		return 0;
	change = difference16(from, to->port);
	outside = replace_address(ctx, outer + (to->source ? source : destination), to, ipv6);
	inside = replace_address(ctx, quote + (to->source ? destination : source), to, ipv6);
	if (outside < 0 || inside < 0)
		return 0;
	/* IPv6's pseudo header has the outer address; an IPv4 header takes its own change out again. */
	if (ipv6)
		change += (__u64)outside + inside;
	else if (!adapt_checksum(ctx, outer + 10, outside) ||
		 !adapt_checksum(ctx, quote + 10, inside))
		return 0;
	return adapt_checksum(ctx, packet->l4_offset + 2, change);
}

/* About a packet that left from the virtual address: to the masqueraded real server. */
__noinline int error_to_real_server(struct xdp_md *ctx, const struct packet *packet,
				    const struct packet *flow, __u32 id)
{
	if (!packet || !flow)
		return XDP_ABORTED;
	struct real_server *real_server = lookup(real_servers, id);
	struct endpoint to = {};
	struct next_hop hop;

	if (!real_server)
		return XDP_ABORTED;
	if (!hop_to(ctx, packet, id, &hop))
		return drop(COUNTER(drop_unresolved));
	if (!real_endpoint(real_server, flow, &to) || !translate_error(ctx, packet, flow, &to))
		return drop(COUNTER(drop_rewrite));
	return packet->family == FAMILY_IPV6 ? transmit_to(ctx, packet, &hop, id, true)
					     : transmit_to(ctx, packet, &hop, id, false);
}

/* About a packet to a masqueraded real server: from the virtual address to the client. */
__noinline int error_to_client(struct xdp_md *ctx, const struct packet *packet,
			       const struct packet *flow, __u32 id)
{
	if (!packet || !flow)
		return XDP_ABORTED;
	struct endpoint to = {};
	struct next_hop hop = {};
	int action;

	if (!virtual_endpoint(id, flow, &to))
		return XDP_ABORTED;
	if (hop_to_client(ctx, packet, &to, &hop))
		return drop(COUNTER(drop_unresolved));
	if (!translate_error(ctx, packet, flow, &to))
		return drop(COUNTER(drop_rewrite));
	action = packet->family == FAMILY_IPV6 ? transmit(ctx, packet, &hop, true)
					       : transmit(ctx, packet, &hop, false);
	if (action != XDP_DROP)
		count_reply(id, packet->bytes);
	return action;
}

/* Whether a router must not cut the IPv4 packet at `offset`. */
static __always_inline bool do_not_fragment(struct xdp_md *ctx, __u32 offset)
{
	__be16 fragment = 0;

	return !bpf_xdp_load_bytes(ctx, offset + 6, &fragment, sizeof(fragment)) &&
	       fragment & bpf_htons(IP_DO_NOT_FRAGMENT);
}

/* Behind the header of a tunnel at `offset`: where the packet inside begins, 0: it is none of ours. */
static __always_inline __u32 inside_tunnel(struct xdp_md *ctx, struct packet *flow)
{
	__u32 offset = flow->l4_offset;
	__be16 words[2];
	__u8 gue[4];

	switch (flow->protocol) {
	case IPPROTO_IPIP:
		flow->family = FAMILY_IPV4;
		return offset;
	case IPPROTO_IPV6:
		flow->family = FAMILY_IPV6;
		return offset;
	case IPPROTO_GRE:
		if (bpf_xdp_load_bytes(ctx, offset, words, sizeof(words)) ||
		    words[0] & ~bpf_htons(GRE_CHECKSUM))
			return 0;
		flow->family = words[1] == bpf_htons(ETH_P_IPV6) ? FAMILY_IPV6 : FAMILY_IPV4;
		return offset + (words[0] ? 8 : 4);
	case IPPROTO_UDP:
		if (bpf_xdp_load_bytes(ctx, offset + sizeof(struct udphdr), gue, sizeof(gue)) ||
		    gue[0] || (gue[1] != IPPROTO_IPIP && gue[1] != IPPROTO_IPV6))
			return 0;
		flow->family = gue[1] == IPPROTO_IPV6 ? FAMILY_IPV6 : FAMILY_IPV4;
		return offset + sizeof(struct gue);
	default:
		return 0;
	}
}

/* The same news in the words of the client's family, as type << 8 | code. */
static __always_inline __u32 reworded(const struct icmp_message *message, bool from_ipv6,
				      bool to_ipv6)
{
	if (from_ipv6 == to_ipv6)
		return (__u32)message->type << 8 | message->code;
	if (to_ipv6)
		return message->type == ICMP_TIME_EXCEEDED
			       ? ICMPV6_TIME_EXCEED << 8 | message->code
			       : ICMPV6_DEST_UNREACH << 8 | ICMPV6_ADDR_UNREACH;
	return message->type == ICMPV6_TIME_EXCEED ? ICMP_TIME_EXCEEDED << 8 | message->code
						   : ICMP_DEST_UNREACH << 8 | ICMP_HOST_UNREACH;
}

/* What the client is told, as type << 8 | code; 0: nothing. The path's MTU is remembered. */
static __always_inline __u32 news_of_tunnel(const struct icmp_message *message,
					    struct tunnel *tunnel, bool from_ipv6, bool to_ipv6,
					    bool may_be_cut, __be32 *word)
{
	__u32 mtu = from_ipv6 ? bpf_ntohl(message->word) : bpf_ntohl(message->word) & 0xffff;

	*word = 0;
	if (!is_too_big(message, from_ipv6))
		return reworded(message, from_ipv6, to_ipv6);
	if (mtu < (from_ipv6 ? IPV6_MIN_MTU : IPV4_MIN_MTU))
		mtu = from_ipv6 ? IPV6_MIN_MTU : IPV4_MIN_MTU;
	if (mtu > 0xffff)
		return 0;
	tunnel->path_mtu = mtu;
	tunnel->path_mtu_tick = sweep.tick;
	if (may_be_cut)
		return 0;
	mtu -= tunnel->overhead;
	if (to_ipv6)
		mtu = mtu < IPV6_MIN_MTU ? IPV6_MIN_MTU : mtu;
	*word = bpf_htonl(mtu);
	return to_ipv6 ? ICMPV6_PKT_TOOBIG << 8 : ICMP_DEST_UNREACH << 8 | ICMP_FRAG_NEEDED;
}

/* A packet to a real server: *flow, as read_quote() leaves it, in the direction that it had. */
static __always_inline void turn_round(struct packet *flow)
{
	__be16 port = flow->source_port;

	for (int i = 0; i < 4; i++) {
		__be32 address = flow->destination[i];

		flow->destination[i] = flow->source[i];
		flow->source[i] = address;
	}
	flow->source_port = flow->destination_port;
	flow->destination_port = port;
}

/*
 * Reads what a tunnel's packet, which is quoted, has inside. Returns the id of
 * the real server that it was for, 0: it is none of ours. *inside: its offset.
 */
__noinline int tunnelled(struct xdp_md *ctx, const struct packet *packet, struct packet *flow,
			 __u32 *inside)
{
	if (!packet || !flow || !inside)
		return 0;
	struct real_server *real_server;
	__be32 target[4];
	__u32 id;

	flow->family = packet->family;
	if (!read_quote(ctx, packet, flow, packet->l4_offset + sizeof(struct icmp_message)) ||
	    !is_same_address(packet->destination, flow->destination))
		return 0;
	__builtin_memcpy(target, flow->source, 16);
	*inside = inside_tunnel(ctx, flow);
	if (!*inside || !read_quote(ctx, packet, flow, *inside))
		return 0;
	turn_round(flow);
	id = real_server_of(flow, true);
	real_server = id ? lookup(real_servers, id) : NULL;
	if (!real_server || real_server->method != METHOD_IPIP)
		return 0;
	for (int i = 0; i < 4; i++)
		if (real_server->address[i] != target[i])
			return 0;
	return id;
}

/* What the client is told of it; see news_of_tunnel(). */
__noinline int learn_of_tunnel(struct xdp_md *ctx, const struct packet *packet,
			       const struct packet *flow, __u32 id, __be32 *word)
{
	if (!packet || !flow || !word)
		return 0;
	struct tunnel *tunnel = lookup(tunnels, id);
	struct icmp_message message;

	if (!tunnel || bpf_xdp_load_bytes(ctx, packet->l4_offset, &message, sizeof(message)))
		return 0;
	return news_of_tunnel(&message, tunnel, packet->family == FAMILY_IPV6,
			      flow->family == FAMILY_IPV6, flow->flags, word);
}

/* About a packet of a tunnel to a real server: the client is told of the packet inside. */
__noinline int error_of_tunnel(struct xdp_md *ctx, const struct packet *packet)
{
	if (!packet)
		return XDP_ABORTED;
	struct packet *flow = lookup(quotes, 0);
	struct endpoint from = {};
	struct next_hop hop = {};
	__u32 inside = 0, id;
	__be32 word = 0;
	int what, action;

	if (!flow)
		return XDP_ABORTED;
	id = tunnelled(ctx, packet, flow, &inside);
	if (!id || !source_allowed(packet) || !icmp_checksum_good(ctx, packet))
		return pass(COUNTER(pass_icmp));
	flow->flags = flow->family == FAMILY_IPV4 && !do_not_fragment(ctx, inside);
	what = learn_of_tunnel(ctx, packet, flow, id, &word);
	count(COUNTER(forward_icmp));
	if (!what)
		return XDP_DROP;
	__builtin_memcpy(from.address, flow->destination, 16);
	turn_round(flow);
	flow->ingress_mtu = 0;
	if (hop_to_client(ctx, flow, &from, &hop) ||
	    bpf_xdp_adjust_head(ctx, (inside & 0xfff) - ETH_HLEN))
		return XDP_DROP;
	turn_round(flow);
	flow->l2_length = ETH_HLEN;
	action = icmp_answer(ctx, flow, what, word);
	if (action != XDP_TX)
		return action;
	return flow->family == FAMILY_IPV6 ? leave(ctx, ETH_HLEN, &hop, true, true)
					   : leave(ctx, ETH_HLEN, &hop, false, true);
}

#define RELATED_TO_NONE (-16)

/*
 * An ICMP message of any kind. Returns the id of the real server that it is for
 * as it is, an action as -action, or RELATED_TO_NONE.
 */
__noinline int icmp_related(struct xdp_md *ctx, const struct packet *packet)
{
	if (!packet)
		return ACTION(XDP_ABORTED);
	bool ipv6 = packet->family == FAMILY_IPV6;
	struct packet *flow = lookup(quotes, 0);
	struct connection connection = {};
	struct real_server *real_server;
	struct icmp_message message;
	__u32 id, from;

	if (!flow || packet->fragment ||
	    bpf_xdp_load_bytes(ctx, packet->l4_offset, &message, sizeof(message)) ||
	    !tells_of_a_packet(&message, ipv6))
		return ACTION(pass(COUNTER(pass_not_service)));
	flow->family = packet->family;
	if (!read_quote(ctx, packet, flow, packet->l4_offset + sizeof(message)))
		return ACTION(pass(COUNTER(pass_icmp)));
	id = real_server_of(flow, !is_same_address(packet->destination, flow->destination));
	from = id || !settings.masquerades ? 0 : reply_lookup(flow, &connection);
	if (!id && !from)
		return RELATED_TO_NONE;
	real_server = lookup(real_servers, from ? from : id);
	if (!real_server)
		return ACTION(XDP_ABORTED);
	if (!source_allowed(packet))
		return ACTION(pass(COUNTER(pass_source_address)));
	/* The stack drops what is for the virtual address, but would route what is for a client. */
	if (!ipv6 && !icmp_checksum_good(ctx, packet))
		return ACTION(from ? drop(COUNTER(drop_rewrite)) : pass(COUNTER(pass_malformed)));
	if (packet->ttl <= 1 && (from || !(real_server->flags & REAL_SERVER_LOCAL)))
		return ACTION(drop(COUNTER(drop_time_exceeded)));
	count(COUNTER(forward_icmp));
	if (from)
		return ACTION(error_to_client(ctx, packet, flow, from));
	if (real_server->method == METHOD_MASQ &&
	    (real_server->flags & (REAL_SERVER_AVAILABLE | REAL_SERVER_LOCAL)) ==
		    REAL_SERVER_AVAILABLE)
		return ACTION(error_to_real_server(ctx, packet, flow, id));
	return id;
}

#endif
