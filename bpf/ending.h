/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The end of a connection whose real server was taken away: the client of a
 * TCP connection is told by a RST in the virtual address's name, with exactly
 * the sequence number that it expects (RFC 9293 section 3.10.7.1, RFC 5961
 * section 3.2: the acknowledgement number of the segment in hand). What is no
 * whole and sound segment with an acknowledgement is dropped in silence.
 */
#ifndef ENDING_H
#define ENDING_H

#include "connection.h"
#include "icmp.h"

#define RESET_TTL 64
#define ETHERNET_SHORTEST 60

static __always_inline bool reset_allowed(void)
{
	struct scratch *scratch = lookup(scratches, 0);

	if (!scratch)
		return false;
	if (scratch->reset_tick != sweep.tick) {
		scratch->reset_tick = sweep.tick;
		scratch->resets_sent = 0;
	}
	return scratch->resets_sent++ < settings.resets_per_second;
}

/* The TCP checksum over the whole segment, pseudo header included. */
static __always_inline bool segment_is_sound(struct xdp_md *ctx, const struct packet *packet)
{
	__u32 length = packet->bytes - (packet->l4_offset - packet->l2_length);
	long segment = sum_of(ctx, transport_offset(packet), length);
	__u64 sum = (__u64)segment + bpf_htonl(length) + bpf_htonl(IPPROTO_TCP);

	for (int i = 0; i < 4; i++)
		sum += (__u64)packet->source[i] + packet->destination[i];
	return segment >= 0 && !fold(sum);
}

static __always_inline void write_reset(struct tcphdr *tcp, const struct packet *packet,
					__be32 sequence)
{
	__u64 sum = (__u64)bpf_htonl(sizeof(*tcp)) + bpf_htonl(IPPROTO_TCP);

	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = packet->destination_port;
	tcp->dest = packet->source_port;
	tcp->seq = sequence;
	tcp->doff = sizeof(*tcp) / 4;
	tcp->rst = 1;
	for (int i = 0; i < 4; i++)
		sum += (__u64)packet->source[i] + packet->destination[i];
	for (int i = 0; i < 5; i++)
		sum += ((__u32 *)tcp)[i];
	tcp->check = fold(sum);
}

/* Turns the segment into the RST that answers it. */
__noinline int tcp_reset(struct xdp_md *ctx, const struct packet *packet)
{
	if (!packet)
		return XDP_ABORTED;
	bool ipv6 = packet->family == FAMILY_IPV6;
	__u32 l2_length = link_length(packet);
	__u32 length = l2_length + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) +
		       sizeof(struct tcphdr);
	struct ethernet_header *ethernet, saved;
	void *data, *data_end;
	__be32 sequence = 0;
	__u64 sum = 0;
	long frame;

	if (!segment_is_sound(ctx, packet) || !reset_allowed() ||
	    bpf_xdp_load_bytes(ctx, transport_offset(packet) + 8, &sequence, sizeof(sequence)))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	frame = data_end - data;
	asm volatile("" : "+r"(frame));
	if (length < ETHERNET_SHORTEST && frame >= ETHERNET_SHORTEST)
		length = ETHERNET_SHORTEST;
	if (bpf_xdp_adjust_tail(ctx, (long)length - frame))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ethernet = data;
	if (data + sizeof(saved) > data_end)
		return XDP_DROP;
	saved = *ethernet;
	for (int i = 0; i < 3; i++) {
		ethernet->destination[i] = saved.source[i];
		ethernet->source[i] = saved.destination[i];
	}
	if (ipv6) {
		struct ipv6hdr *ip = data + l2_length;

		if ((void *)(ip + 1) + sizeof(struct tcphdr) > data_end)
			return XDP_DROP;
		*(__be32 *)ip = bpf_htonl(0x60000000);
		ip->payload_len = bpf_htons(sizeof(struct tcphdr));
		ip->nexthdr = IPPROTO_TCP;
		ip->hop_limit = RESET_TTL;
		__builtin_memcpy(&ip->saddr, packet->destination, 16);
		__builtin_memcpy(&ip->daddr, packet->source, 16);
		write_reset((void *)(ip + 1), packet, sequence);
	} else {
		struct iphdr *ip = data + l2_length;

		if ((void *)(ip + 1) + sizeof(struct tcphdr) > data_end)
			return XDP_DROP;
		*(__be32 *)ip = bpf_htonl(0x45000000 | (sizeof(*ip) + sizeof(struct tcphdr)));
		*(__be32 *)&ip->id = bpf_htonl(0x4000); /* no identification, do not fragment */
		ip->ttl = RESET_TTL;
		ip->protocol = IPPROTO_TCP;
		ip->check = 0;
		ip->saddr = packet->destination[3];
		ip->daddr = packet->source[3];
		for (int i = 0; i < 5; i++)
			sum += ((__u32 *)ip)[i];
		ip->check = fold(sum);
		write_reset((void *)(ip + 1), packet, sequence);
	}
	return XDP_TX;
}

/* A packet of a connection whose real server was taken away. */
static __always_inline int end_connection(struct xdp_md *ctx, const struct packet *packet,
					  const struct connection *connection)
{
	const __u32 wanted = TCP_ACK, unwanted = TCP_SYN | TCP_RST | HEADER_SHORT;

	if (packet->protocol == IPPROTO_TCP && settings.resets_per_second && !packet->fragment &&
	    (packet->flags & (wanted | unwanted)) == wanted && tcp_reset(ctx, packet) == XDP_TX) {
		close_slot(connection->index, connection->word);
		count(COUNTER(reset_real_server_gone));
		return XDP_TX;
	}
	return drop(COUNTER(drop_real_server_gone));
}

#endif
