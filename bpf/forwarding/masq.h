/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Masquerading: the destination becomes the real server's address and port on
 * the way there, the source the virtual ones on the way back
 * (net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_nat_xmit; ip_vs_core.c,
 * handle_response). Checksums are adapted, so a wrong one stays wrong.
 */
#ifndef MASQ_H
#define MASQ_H

#include "../checksum.h"
#include "../next_hop.h"
#include "answer.h"

#define TCP_CHECKSUM_OFFSET 16
#define SCTP_CHECKSUM_OFFSET 8

struct endpoint {
	__be32 address[4]; /* IPv4 in [3] */
	__be16 port;
	__u8 source; /* of the packet, or its destination */
	__u8 reserved;
};

/* Returns false if the header is not there; *change: by how much the sum over the addresses grows. */
static __always_inline bool rewrite_address(void *start, void *data_end,
					    const struct packet *packet, const struct endpoint *to,
					    __u64 *change)
{
	const __be32 *from = to->source ? packet->source : packet->destination;

	if (packet->family == FAMILY_IPV6) {
		struct ipv6hdr *ip = start;
		__be32 *address;

		if ((void *)(ip + 1) > data_end)
			return false;
		address = to->source ? ip->saddr.in6_u.u6_addr32 : ip->daddr.in6_u.u6_addr32;
		*change = 0;
		for (int i = 0; i < 4; i++) {
			*change += difference(from[i], to->address[i]);
			address[i] = to->address[i];
		}
	} else {
		struct iphdr *ip = start;

		if ((void *)(ip + 1) > data_end)
			return false;
		*change = difference(from[3], to->address[3]);
		if (to->source)
			ip->saddr = to->address[3];
		else
			ip->daddr = to->address[3];
		ip->check = checksum_adapted(ip->check, *change);
	}
	return true;
}

/* SCTP's checksum is over the whole packet; of a fragment it cannot be known. */
__noinline int rewrite_sctp(struct xdp_md *ctx, const struct packet *packet, __u32 port,
			    __u32 source)
{
	if (!packet)
		return 0;
	__u32 l4 = transport_offset(packet);
	__u32 length = packet->bytes - (packet->l4_offset - packet->l2_length), crc;
	__be16 before = source ? packet->source_port : packet->destination_port, after = port;
	__u32 at = source ? 0 : 2;

	if (length < SCTP_HEADER)
		return 0;
	if (before == after)
		return 1;
	if (packet->fragment || length > 0xffff ||
	    bpf_xdp_load_bytes(ctx, l4 + SCTP_CHECKSUM_OFFSET, &crc, sizeof(crc)))
		return 0;
	crc ^= crc_change(before ^ after, length - at - 2);
	return !bpf_xdp_store_bytes(ctx, l4 + SCTP_CHECKSUM_OFFSET, &crc, sizeof(crc)) &&
	       !bpf_xdp_store_bytes(ctx, l4 + at, &after, sizeof(after));
}

/* Rewrites one side of a packet. A later fragment has no ports, only addresses. Returns 0 if it cannot be done. */
__noinline int rewrite_endpoint(struct xdp_md *ctx, const struct packet *packet,
				const struct endpoint *to)
{
	if (!packet || !to)
		return 0;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *ip = data + link_length(packet), *l4 = data + transport_offset(packet);
	__be16 from = to->source ? packet->source_port : packet->destination_port;
	struct udphdr *udp = l4;
	__be16 *check;
	__u64 change;

	/* SCTP needs no chunk behind its header. */
	if (packet->flags & HEADER_SHORT && packet->protocol != IPPROTO_SCTP)
		return 0;
	if (!rewrite_address(ip, data_end, packet, to, &change))
		return 0;
	if (packet->fragment == FRAGMENT_LATER)
		return 1;
	if (packet->protocol == IPPROTO_SCTP)
		return rewrite_sctp(ctx, packet, to->port, to->source);
	change += difference16(from, to->port);
	if (l4 + sizeof(*udp) > data_end)
		return 0;
	if (to->source)
		udp->source = to->port;
	else
		udp->dest = to->port;
	if (packet->protocol == IPPROTO_UDP) {
		/* None stays none, and what comes to 0 is written as its other form. */
		if (!udp->check)
			return 1;
		udp->check = checksum_adapted(udp->check, change);
		if (!udp->check)
			udp->check = 0xffff;
		return 1;
	}
	check = l4 + TCP_CHECKSUM_OFFSET;
	if ((void *)(check + 1) > data_end)
		return 0;
	*check = checksum_adapted(*check, change);
	return 1;
}

/*
 * Only the service's own port is mapped. A service of all ports, and FTP's data
 * connections, keep theirs, as ip_vs_sched_persist() of ip_vs_core.c has it.
 */
static __always_inline bool real_endpoint(const struct real_server *real_server,
					  const struct packet *packet, struct endpoint *endpoint)
{
	struct service *service = lookup(services, real_server->service);

	if (!service)
		return false;
	__builtin_memcpy(endpoint->address, real_server->address, 16);
	endpoint->port = packet->destination_port;
	if (service->port == packet->destination_port && real_server->port)
		endpoint->port = real_server->port;
	return true;
}

__noinline int forward_masq(struct xdp_md *ctx, const struct packet *packet, __u32 id)
{
	if (!packet)
		return XDP_ABORTED;
	struct real_server *real_server = lookup(real_servers, id);
	struct endpoint to = {};
	struct next_hop hop;
	bool cut;

	if (!real_server)
		return XDP_ABORTED;
	if (!hop_to(ctx, packet, id, &hop))
		return drop(COUNTER(drop_unresolved));
	cut = too_big(packet, hop.mtu);
	if (cut && !may_be_cut(ctx, packet))
		return answer_too_big(ctx, packet, hop.mtu);
	if (!real_endpoint(real_server, packet, &to) || !rewrite_endpoint(ctx, packet, &to))
		return drop(packet->flags & HEADER_SHORT ? COUNTER(drop_short_header)
							 : COUNTER(drop_rewrite));
	if (cut) {
		/* The stack routes it to the real server, and cuts it. */
		count_packet(id, packet->bytes);
		return XDP_PASS;
	}
	return packet->family == FAMILY_IPV6 ? transmit_to(ctx, packet, &hop, id, true)
					     : transmit_to(ctx, packet, &hop, id, false);
}

#endif
