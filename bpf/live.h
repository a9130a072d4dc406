/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The short way, which nearly every packet takes: untagged, with neither
 * options nor fragments, of a TCP connection that is established and stays
 * so, of a UDP one, or the first of either. The stages for this one case, with
 * every offset known and nothing kept in memory. Whatever else turns up, the
 * packet takes the long way from its beginning: nothing has been changed or
 * counted yet.
 */
#ifndef LIVE_H
#define LIVE_H

#include "forward.h"
#include "opening.h"

#define IPV4_NO_OPTIONS 0x45 /* version and length of the header */

/* As parse_ethernet() without tags; an interface that is not in its first place is left to that. */
static __always_inline bool live_ethernet(struct xdp_md *ctx,
					  const struct ethernet_header *ethernet,
					  struct packet *packet)
{
	__u32 ifindex = ctx->ingress_ifindex;
	struct interface *interface = lookup(interfaces, interface_place(ifindex, 0, 0));

	if (!interface)
		return false;
	if (interface->ifindex == ifindex && !interface->vlan) {
		packet->ingress_mtu = interface->mtu;
		return is_addressed_to(ethernet, interface);
	}
	return !interface->ifindex;
}

/* Changes no state of an established connection, or may open one; a datagram changes none at all. */
static __always_inline bool live_transport(const __u8 *transport, struct packet *packet,
					   __u32 ip_header)
{
	const struct udphdr *ports = (const struct udphdr *)transport;

	packet->source_port = ports->source;
	packet->destination_port = ports->dest;
	if (packet->protocol == IPPROTO_UDP) {
		packet->flags = 0;
		return packet->bytes >= ip_header + sizeof(struct udphdr);
	}
	packet->flags = transport[13];
	return packet->protocol == IPPROTO_TCP &&
	       packet->bytes >= ip_header + sizeof(struct tcphdr) &&
	       ((packet->flags & TCP_STATE_FLAGS) == TCP_ACK || may_be_opening(packet));
}

static __always_inline bool live_ipv4(struct iphdr *ip, struct packet *packet)
{
	if (*(__u8 *)ip != IPV4_NO_OPTIONS || ip->frag_off & bpf_htons(IP_FRAGMENT_BITS))
		return false;
	packet->family = FAMILY_IPV4;
	packet->protocol = ip->protocol;
	packet->ttl = ip->ttl;
	packet->bytes = bpf_ntohs(ip->tot_len);
	packet->source[3] = ip->saddr;
	packet->l4_offset = ETH_HLEN + sizeof(*ip);
	return live_transport((__u8 *)(ip + 1), packet, sizeof(*ip));
}

static __always_inline bool live_ipv6(struct ipv6hdr *ip, struct packet *packet)
{
	if (*(__u8 *)ip >> 4 != 6)
		return false;
	packet->family = FAMILY_IPV6;
	packet->protocol = ip->nexthdr;
	packet->ttl = ip->hop_limit;
	packet->bytes = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	__builtin_memcpy(packet->source, &ip->saddr, 16);
	packet->l4_offset = ETH_HLEN + sizeof(*ip);
	return live_transport((__u8 *)(ip + 1), packet, sizeof(*ip));
}

/* Whether the connection goes on as it is. */
static __always_inline bool live_word(__u64 word, const struct packet *packet)
{
	if (packet->protocol == IPPROTO_UDP)
		return word_state(word) == STATE_UDP &&
		       settings.expire_nodest_conn < EXPIRE_QUIESCENT;
	return word_state(word) == STATE_ESTABLISHED && packet->flags & TCP_ACK;
}

/* The packet is read once more, into memory: for what is out of line. */
static __always_inline void live_to_memory(void *ip, const struct packet *packet,
					   struct packet *memory, const bool ipv6)
{
	__builtin_memset(memory, 0, sizeof(*memory));
	memory->l2_length = ETH_HLEN;
	memory->ingress_mtu = packet->ingress_mtu;
	memory->service = packet->service;
	memory->hash = packet->hash;
	if (ipv6) {
		live_ipv6(ip, memory);
		__builtin_memcpy(memory->destination, &((struct ipv6hdr *)ip)->daddr, 16);
	} else {
		live_ipv4(ip, memory);
		memory->destination[3] = ((struct iphdr *)ip)->daddr;
	}
}

/* In a table from before layout 6. */
__noinline __u64 older_hash(const struct packet *packet)
{
	if (!packet)
		return 0;
	return service_hash(packet->source, packet_ports(packet), packet->service,
			    packet->family == FAMILY_IPV6);
}

/*
 * Finds the service, and the hash, of which nothing waits for it. IPv6
 * addresses stay where they are: copied they would take room on the stack.
 */
static __always_inline bool live_service(void *header, struct packet *packet, struct packet *memory,
					 const bool ipv6)
{
	const struct ipv6hdr *ipv6_header = header;
	const __be32 ipv4[4] = { 0, 0, 0, ((struct iphdr *)header)->daddr };
	const __be32 *destination = ipv6 ? (const __be32 *)&ipv6_header->daddr : ipv4;
	__u64 hash = tuple_hash(packet->source, destination, packet_ports(packet), packet->protocol,
				ipv6);

	/* Or its parts would be kept until it is asked for: there is no room for them. */
	asm volatile("" : "+r"(hash));
	packet->service = service_at(destination, packet->destination_port, packet->protocol, ipv6);
	if (!settings.tuple_hash) {
		live_to_memory(header, packet, memory, ipv6);
		hash = older_hash(memory);
	}
	packet->hash = hash;
	return packet->service;
}

/* A real-server id, 0: the long way. */
static __always_inline __u32 live_open(void *ip, const struct packet *packet, struct packet *memory,
				       const bool ipv6)
{
	if (!may_be_opening(packet))
		return 0;
	if (!ipv6)
		return open_unasked(packet);
	live_to_memory(ip, packet, memory, true);
	return open_ipv6_unasked(memory);
}

static __always_inline int forward_family(struct xdp_md *ctx, struct packet *memory,
					  const bool ipv6)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	const __u32 header = ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *ip = data + ETH_HLEN;
	struct packet packet = { .l2_length = ETH_HLEN };
	struct real_server *real_server;
	__u64 word;
	__u32 id;
	int action;

	if (ip + header + sizeof(struct tcphdr) > data_end)
		return GO_ON;
	if (ipv6 ? !live_ipv6(ip, &packet) : !live_ipv4(ip, &packet))
		return GO_ON;
	if (packet.ttl <= 1 || ETH_HLEN + packet.bytes > data_end - data ||
	    (!ipv6 && !ipv4_checksum_good(ip, header, data_end)) ||
	    !live_ethernet(ctx, data, &packet))
		return GO_ON;
	if (!live_service(ip, &packet, memory, ipv6))
		return GO_ON;
	if (ipv6 && may_be_opening(&packet))
		foresee_opening(packet.hash);
	word = word_in_line(hash_line(packet.hash), hash_tag(packet.hash));
	if (word) {
		id = live_word(word, &packet) ? word_real_server(word) : 0;
		real_server = lookup(real_servers, id);
		if (!id || !real_server || real_server->service != packet.service ||
		    !(real_server->flags & REAL_SERVER_AVAILABLE))
			return GO_ON;
		if (is_stale(word, sweep.tick))
			connection_refresh(packet.hash, word, sweep.tick);
	} else {
		id = live_open(ip, &packet, memory, ipv6);
		real_server = lookup(real_servers, id);
		if (!id || !real_server)
			return GO_ON;
	}
	if (!is_plain(real_server) || real_server->vlan || too_big(&packet, real_server->mtu)) {
		live_to_memory(ip, &packet, memory, ipv6);
		return forward_otherwise(ctx, memory, id);
	}
	write_macs(data, next_hop_of(real_server));
	count_down_at(ip, ipv6);
	action = send_by(ctx, real_server->ifindex);
	if (action != XDP_DROP)
		count_packet(id, packet.bytes);
	return action;
}

/* An action, or GO_ON: the long way. */
static __always_inline int forward_live(struct xdp_md *ctx, struct packet *memory)
{
	struct ethernet_header *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return GO_ON;
	if (ethernet->type == bpf_htons(ETH_P_IP))
		return forward_family(ctx, memory, false);
	if (ethernet->type == bpf_htons(ETH_P_IPV6))
		return forward_family(ctx, memory, true);
	return GO_ON;
}

#endif
